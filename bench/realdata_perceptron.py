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

from retemper.gallery.few_labels import METHODS, TABLES, few_label_accuracies, table
from retemper.perceptron import MarginPerceptronClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    begin = time.perf_counter()
    print(f"{'table':<22}{'labels':>7}" + "".join(f"{m:>19}" for m in METHODS))
    wins = np.zeros(len(METHODS), dtype=int)
    for name in TABLES:
        means, errors = few_label_accuracies(name, arguments.labels, arguments.draws)
        for count, mean, error in zip(arguments.labels, means.T, errors.T, strict=True):
            wins[mean.argmax()] += 1
            print(
                f"{name:<22}{count:>7}"
                + "".join(f"{f'{m:.3f} +- {e:.3f}':>19}" for m, e in zip(mean, error, strict=True)),
                flush=True,
            )
        X, _ = table(name)
        fit = MarginPerceptronClassifier().fit(X)
        report = fit.report_
        print(f"{'':<22}  fit of the margin model: KS {report.ks_statistic:.2f}, "
              f"{'not rejected' if report.is_trustworthy else 'rejected'}")  # fmt: skip
    best = ", ".join(f"{name} {n}" for name, n in zip(METHODS, wins, strict=True))
    print(f"best mean accuracy: {best} of {wins.sum()}; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
