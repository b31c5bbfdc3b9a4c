"""How results show at a prompt: one short line, and a line a field when printed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import retemper
from retemper._repeats import mean_and_stderr
from retemper.linear import LinearModel, compare, curve, simulate, solve
from retemper.perceptron import GLMModel, Prior
from retemper.perceptron import solve as solve_glm

MODEL = LinearModel(n_samples=20, theta_target=np.ones(30), source_coef=np.ones(30), noise=0.3)


@pytest.mark.parametrize(
    "result",
    [
        solve(MODEL),
        simulate(MODEL, n_repeats=2),
        compare(MODEL, n_repeats=2),
        curve(MODEL, {"noise": np.linspace(0.1, 1.0, 30)}),
        solve_glm(GLMModel(3.0)),
        retemper.derivatives(MODEL, ["source_coef"], "risk"),
    ],
    ids=lambda result: type(result).__name__,
)
def test_one_line_at_a_prompt_and_several_when_printed(result):
    assert repr(result).startswith(f"{type(result).__name__}(")
    assert "\n" not in repr(result)
    assert "array(" not in repr(result)
    assert len(repr(result)) < 1200
    lines = str(result).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) < 400


def test_a_printed_result_has_its_numbers():
    lines = dict(line.split(maxsplit=1) for line in str(solve(MODEL)).splitlines()[1:])
    assert float(lines["risk"]) == pytest.approx(solve(MODEL).risk, rel=1e-5)
    found = curve(MODEL, {"noise": [0.1, 0.2]})
    assert str(found).startswith("Sweep of LinearModel, 2 points\nnoise")


def test_advice_shows_its_headline():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    advice = retemper.advise(X, X[:, 0] + rng.normal(size=20), sources=Ridge().fit(X, X[:, 0]))
    assert repr(advice) == f"TransferAdvice({advice.headline!r})"


def test_what_is_infinite_has_no_standard_error():
    means = mean_and_stderr({"risk": np.array([1.0, np.inf, 2.0]), "bias": np.array([1.0, 3.0])})
    assert means.mean == {"risk": np.inf, "bias": 2.0}
    assert np.isnan(means.stderr["risk"])
    assert means.stderr["bias"] == pytest.approx(1.0)


def test_a_prior_is_made_by_its_makers():
    with pytest.raises(TypeError, match=r"name must be a text, got \[0.2, 0.8\]: Prior.mixture"):
        Prior([0.2, 0.8], [0.0, 1.0], [1.0, 0.0])
