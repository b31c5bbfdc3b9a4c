"""A user's script: mypy and pyright find a type for everything that it touches."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import retemper
from retemper.advisor import TransferAdvice
from retemper.estimators import (
    DiagonalNetworkRegressor,
    FineTunedLasso,
    FineTunedLinearRegression,
    FineTunedLogisticRegression,
    LinearTransferReport,
    MarginPerceptronClassifier,
    WideNetRegressor,
)
from retemper.linear import LinearModel, LinearTheory, solve

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6))
y = X @ np.arange(6.0)
old = np.arange(6.0) + 0.1

# Estimators are classes, and fitting keeps the class.
model = FineTunedLinearRegression(source=old)
assert_type(model.fit(X, y), FineTunedLinearRegression)
assert_type(model.predict(X), NDArray[np.float64])
assert_type(model.coef_, NDArray[np.float64])
assert_type(FineTunedLasso(source=old).fit(X, y).change_, NDArray[np.float64])
assert_type(FineTunedLogisticRegression().fit(X, y > 0), FineTunedLogisticRegression)
assert_type(DiagonalNetworkRegressor().fit(X, y), DiagonalNetworkRegressor)
assert_type(MarginPerceptronClassifier().fit(X), MarginPerceptronClassifier)
assert_type(LinearTransferReport({"old": old}).fit(X, y), LinearTransferReport)
assert_type(WideNetRegressor().fit(X, y), WideNetRegressor)

# What an advice holds.
advice = retemper.advise(X, y, sources={"old": old})
assert_type(advice, TransferAdvice)
assert_type(advice.choice, str)
assert_type(advice.estimator_.score(X, y), float)
predicted: NDArray[np.float64] = advice.estimator_.predict(X)

# Theory.
theory = solve(LinearModel(20, old, source_coef=old, noise=0.1))
assert_type(theory, LinearTheory)
assert_type(theory.risk, float)
grid = retemper.linear.curve(LinearModel(20, old), {"n_samples": [10, 20]})
risk: NDArray[np.float64] = grid["risk"]
print(predicted.shape, risk.shape)
