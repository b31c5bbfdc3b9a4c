"""What a fit to the rows of source and target together adds to `retemper.advise`.

``python bench/pooled_advise.py [--seeds 4]`` splits bundled tables, and draws synthetic ones, into
source rows and n target rows. Prints by how much the loss on other rows changes when that candidate
may be averaged too, how often it beats the best other one in hindsight by more than 0.5 %, its
largest loss over that of the best other one, and its mean weight.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from retemper._random import generator
from retemper.advisor.candidates import (
    KINDS,
    SCRATCH,
    Candidate,
    cross_validate,
    fit_rows,
    losses,
    predict,
)
from retemper.advisor.evidence import weigh
from retemper.advisor.inputs import read_task
from retemper.advisor.judging import make_splits
from retemper.advisor.sampling import condense


def tables(rng, n, flip):
    """Name, task, target rows and labels (n first), source rows and labels."""
    sign = -1.0 if flip else 1.0
    X, y = datasets.load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    for column in (0, 2, 3):
        small = X[:, column] <= np.median(X[:, column])
        if small.all():
            continue
        order = rng.permutation(np.flatnonzero(~small))
        yield f"diabetes, {column}", X[order], y[order], X[small], sign * y[small]
    for near, d, m in ((0.3, 20, 100), (0.3, 20, 1000), (1.0, 20, 300), (0.1, 60, 200)):
        w = rng.normal(size=d) / d**0.5
        other = w + near * rng.normal(size=d) / d**0.5
        spread = np.geomspace(0.3, 3.0, d)
        rows = rng.normal(size=(n + 1000, d))
        source = rng.normal(size=(m, d)) * spread
        yield (
            f"synthetic, distance {near:g}, {d} columns, {m} rows",
            rows, rows @ w + 0.7 * rng.normal(size=len(rows)),
            source, sign * (source @ other + 0.7 * rng.normal(size=m)),
        )  # fmt: skip


def one(X, y, source, n, seed):
    task = read_task(X[:n], y[:n], {"s": source}, "regression")
    test = read_task(X[n:], y[n:], {"s": source}, "regression")
    test.__dict__.update(units=task.units, X=task.units.rows(test.rows))
    candidates = [SCRATCH, *(Candidate(0, kind) for kind in (*KINDS, "pooled"))]
    held = cross_validate(task, candidates, make_splits(task, None, generator(seed)), 1)
    loss = condense(task.sample, held.loss)[0]
    fits = [predict(test, c, fit_rows(task, c, np.arange(n))[0]) for c in candidates]
    scores = np.array(fits)

    def judged(weights):
        value = np.einsum("c,cnq->nq", weights, scores)
        return losses(test, value, np.arange(len(test.y)))[0].mean()

    single = [judged(row) for row in np.eye(len(candidates))]
    weight = weigh(loss)
    return (
        judged(np.append(weigh(loss[:-1]), 0.0)), judged(weight), single[-1], min(single[:-1]),
        weight[-1],
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    begin = time.perf_counter()
    for flip in (False, True):
        found = {}
        for seed in range(options.seeds):
            for n in (15, 40, 120):
                rng = np.random.default_rng([seed, n])
                for name, X, y, rows, labels in tables(rng, n, flip):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found.setdefault((n, name), []).append(one(X, y, (rows, labels), n, seed))
        print(f"\n## Source labels {'flipped' if flip else 'as they are'}\n")
        print("| labels | trials | change with it, mean | worst | wins | largest ratio | weight |")
        print("|" + " --- |" * 7)
        for n in (15, 40, 120):
            every = np.array([row for (m, _), rows in found.items() for row in rows if m == n])
            gain = np.expm1(np.log(every[:, 1] / every[:, 0]).mean())
            wins = (every[:, 2] < 0.995 * every[:, 3]).mean()
            worst, most = (every[:, 1] / every[:, 0]).max(), (every[:, 2] / every[:, 3]).max()
            print(
                f"| {n} | {len(every)} | {gain:+.2%} | {worst - 1:+.0%} | {wins:.0%} | {most:.1f} "
                f"| {every[:, 4].mean():.2f} |"
            )
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
