"""Accuracy of the margin perceptron on real tables with few labels, against three rivals.

``python bench/realdata_perceptron.py [--draws 20] [--labels 1 2 5 10 20]`` uses the pairs of digits
and the breast-cancer table that come with scikit-learn. All methods see the same standardised
features; a draw is a random choice of labelled rows, accuracy is measured on the rows whose label
is hidden. Prints mean and standard error over draws, and the fit of the margin model.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from retemper.perceptron import MarginPerceptronClassifier


def tables():
    X, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", X, y
    digits = load_digits()
    for a, b in ((3, 8), (4, 9), (1, 7), (0, 6), (5, 9)):
        used = np.isin(digits.target, (a, b))
        yield f"digits {a} against {b}", digits.data[used], (digits.target[used] == b).astype(int)


METHODS = {
    "margin": MarginPerceptronClassifier,
    "logistic": LogisticRegression,
    "spreading": lambda: LabelSpreading(kernel="knn", n_neighbors=7),
    "self-training": lambda: SelfTrainingClassifier(LogisticRegression()),
}


def accuracy(name, X, y, truth):
    hidden = y == -1
    model = METHODS[name]()
    fit = model.fit(X[~hidden], y[~hidden]) if name == "logistic" else model.fit(X, y)
    return (fit.predict(X[hidden]) == truth[hidden]).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    begin = time.perf_counter()
    print(f"{'table':<22}{'labels':>7}" + "".join(f"{name:>19}" for name in METHODS))
    wins = np.zeros(len(METHODS), dtype=int)
    for table, raw, truth in tables():
        X = StandardScaler().fit_transform(raw)
        for count in arguments.labels:
            scores = np.empty((len(METHODS), arguments.draws))
            for draw in range(arguments.draws):
                rng = np.random.default_rng([draw, count])
                y = np.full(truth.size, -1)
                for c in (0, 1):
                    y[rng.choice(np.flatnonzero(truth == c), count, replace=False)] = c
                scores[:, draw] = [accuracy(name, X, y, truth) for name in METHODS]
            mean = scores.mean(axis=1)
            error = scores.std(axis=1, ddof=1) / np.sqrt(arguments.draws)
            wins[mean.argmax()] += 1
            print(
                f"{table:<22}{count:>7}"
                + "".join(f"{f'{m:.3f} +- {e:.3f}':>19}" for m, e in zip(mean, error, strict=True)),
                flush=True,
            )
        fit = MarginPerceptronClassifier().fit(X)
        report = fit.report_
        print(f"{'':<22}  fit of the margin model: KS {report.ks_statistic:.2f}, "
              f"{'not rejected' if report.is_trustworthy else 'rejected'}")  # fmt: skip
    best = ", ".join(f"{name} {n}" for name, n in zip(METHODS, wins, strict=True))
    print(f"best mean accuracy: {best} of {wins.sum()}; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
