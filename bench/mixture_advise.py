"""What a mixture of sources, and weights for the average itself, are worth by number of sources.

``python bench/mixture_advise.py [--seeds 4] [--jobs 2] [--classes]`` draws targets with 1 to 10
sources, fits all candidates of `retemper.advise` with the mixture always among them, and prints the
loss on other rows of some rules over that of the plain weights without the mixture, and the median
regret against the best candidate in hindsight, in percent.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from retemper._random import generator
from retemper.advisor.averaging import stacked_weights
from retemper.advisor.candidates import (
    KINDS,
    MIXTURE,
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
from suite_advise import PAIRS, _cut, _digits

COUNTS = (1, 2, 3, 4, 5, 8, 10)


def subspace(rng, *, n, classes=False, noise=0.1, k=8, d=50):
    """Sources and target in a common space of three dimensions."""
    basis = np.linalg.qr(rng.normal(size=(d, 3)))[0]
    sources, w = (basis @ rng.normal(size=(3, k))).T, basis @ rng.normal(size=3)
    w /= np.linalg.norm(w)
    X = rng.normal(size=(n + 2000, d))
    y = X @ w + noise * rng.normal(size=len(X)) * (np.arange(len(X)) < n)
    if classes:
        y, sources = (y > 0).astype(int), 3 * sources
    return _cut(X, y, n, {f"s{j}": v for j, v in enumerate(sources)}, rng) if classes else (
        X[:n], y[:n], {f"s{j}": v for j, v in enumerate(sources)}, X[n:], y[n:]
    )  # fmt: skip


def ten_digits(rng, *, n, classes=False, target="parity", features="random"):
    """One source for each digit; the target joins digits."""
    X, digit = _digits(features)
    order = rng.permutation(len(digit))
    old, new = order[:900], order[900:]
    inside = {
        "parity": digit % 2 == 1, "prime": np.isin(digit, [2, 3, 5, 7]), "small": digit < 5,
    }[target]  # fmt: skip
    y = inside.astype(int) if classes else np.where(inside, 1.0, -1.0)
    sources = {}
    for j in range(10):
        if classes:
            model = LogisticRegression(C=0.1, max_iter=500)
            sources[str(j)] = model.fit(X[old], (digit[old] == j).astype(int))
        else:
            sources[str(j)] = Ridge(1.0).fit(X[old], np.where(digit[old] == j, 1.0, -1.0))
    return _cut(X[new], y[new], n, sources, rng)


def _relatives(rng, *, n, k=10, d=60, noise=0.5, spread=1.0, classes=False):
    """Sources around the target, at distances of every size; one of them turned round."""
    w = rng.normal(size=d) / d**0.5
    far = spread * rng.exponential(size=(k, 1)) * rng.normal(size=(k, d)) / d**0.5
    sources = w + far
    sources[k // 2] *= -1.0
    X = rng.normal(size=(n + 2000, d))
    z = X @ w
    if classes:
        y = (3 * z + noise * rng.logistic(size=len(X)) > 0).astype(int)
        sources = 3 * sources
    else:
        y = z + noise * rng.normal(size=len(X))
    return _cut(X, y, n, {f"s{j}": v for j, v in enumerate(sources)}, rng)


def regressions():
    yield "subspace of 3, n=25", lambda rng: subspace(rng, n=25)
    yield "subspace of 3, noise .5, n=40", lambda rng: subspace(rng, n=40, noise=0.5)
    for target, features, n in (
        ("parity", "random", 30), ("prime", "pixels", 30), ("small", "random", 60),
        ("parity", "pixels", 120),
    ):  # fmt: skip
        name = f"ten digits, {target}, {features}, n={n}"
        yield (
            name,
            lambda rng, n=n, t=target, f=features: ten_digits(rng, n=n, target=t, features=f),
        )
    for n, spread in ((20, 0.5), (40, 1.0), (150, 2.0)):
        yield (
            f"relatives, spread {spread:g}, n={n}",
            lambda rng, n=n, s=spread: _relatives(rng, n=n, spread=s),
        )
    for pair in PAIRS:
        if pair.task == "regression" and ("many" in pair.name or "parity" in pair.name):
            yield pair.name, pair.draw


def classifications():
    yield "subspace of 3, classes, n=40", lambda rng: subspace(rng, n=40, classes=True)
    yield "ten digits, parity, n=40", lambda rng: ten_digits(rng, n=40, classes=True)
    yield (
        "ten digits, small, pixels, n=60",
        lambda rng: ten_digits(rng, n=60, classes=True, target="small", features="pixels"),
    )
    yield "relatives, classes, n=40", lambda rng: _relatives(rng, n=40, classes=True)
    for pair in PAIRS:
        if pair.task == "classification" and "many" in pair.name:
            yield pair.name, pair.draw


def one(name, draw, k, seed, task_name):
    trial = draw(np.random.default_rng([seed, 77]))
    X, y, sources, X_test, y_test = (
        trial
        if isinstance(trial, tuple)
        else (trial.X, trial.y, trial.sources, trial.X_test, trial.y_test)
    )
    names = list(sources)
    if len(names) < k:
        return None
    some = np.random.default_rng([seed, k]).permutation(len(names))[:k]
    sources = {names[j]: sources[names[j]] for j in sorted(some)}
    task = read_task(X, y, sources, task_name)
    test = read_task(X_test, y_test, sources, task_name)
    test.__dict__.update(units=task.units, X=task.units.rows(test.rows))
    candidates = [SCRATCH, *(Candidate(j, kind) for j in range(k) for kind in KINDS)]
    candidates += [Candidate(MIXTURE, "as is"), Candidate(MIXTURE, "fine-tune")]
    held = cross_validate(task, candidates, make_splits(task, None, generator(seed)), 1)
    loss = condense(task.sample, held.loss)[0]
    every = np.arange(len(task.y))
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for c in candidates:
            scores.append(predict(test, c, fit_rows(task, c, every)[0]))
    scores = np.array(scores)

    def judged(weights):
        value = np.einsum("c,cnq->nq", weights, scores)
        return losses(test, value, np.arange(len(test.y)))[0].mean()

    plain = np.arange(len(candidates)) < len(candidates) - 2
    found = {}
    for mixed, usable in (("", plain), (" and mixture", plain | True)):
        weights = np.zeros((2, len(candidates)))
        weights[0, usable] = weigh(loss[usable])
        weights[1, usable] = stacked_weights(task, held, usable, np.ones(len(task.y), dtype=bool))
        found["weights" + mixed] = judged(weights[0])
        found["half stacked" + mixed] = judged(weights.mean(axis=0))
        found["stacked" + mixed] = judged(weights[1])
    one_each = np.array([1.0 if c.source < 0 else 1.0 / k for c in candidates])
    by_source = weigh(loss) * one_each
    found["a source counts 1/k"] = judged(by_source / by_source.sum())
    half = (by_source / by_source.sum() + weights[1]) / 2  # the mixture among both
    found["half stacked, a source counts 1/k"] = judged(half)
    single = [judged(row) for row in np.eye(len(candidates))]
    return {
        "name": name, "k": k, "found": found, "scratch": single[0],
        "single": min(single[1:-2]), "mixture": single[-2:], "best": min(single),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--classes", action="store_true")
    parser.add_argument("--sources", type=int, nargs="+", default=COUNTS)
    options = parser.parse_args()
    begin = time.perf_counter()
    pairs = list(classifications() if options.classes else regressions())
    task = "classification" if options.classes else "regression"
    work = [
        (*p, k, s, task)
        for p, k, s in itertools.product(pairs, options.sources, range(options.seeds))
    ]
    found = joblib.Parallel(options.jobs)(joblib.delayed(one)(*w) for w in work)
    found = [f for f in found if f is not None]
    rules = [rule for rule in found[0]["found"] if rule != "weights"]
    print(f"| sources | trials | {' | '.join(rules)} |\n|{' --- |' * (2 + len(rules))}")
    for k in options.sources:
        part = [f for f in found if f["k"] == k]
        cells = []
        for rule in rules:
            ratio = np.log([f["found"][rule] / f["found"]["weights"] for f in part])
            over = [f["found"][rule] / f["best"] - 1 for f in part]
            cells.append(
                f"{100 * np.expm1(ratio.mean()):+.1f} %, worst {np.exp(ratio.max()):.2f}, "
                f"regret {100 * np.median(over):.1f}"
            )
        print(f"| {k} | {len(part)} | {' | '.join(cells)} |")
    print("\n| all sources | scratch | best single | mixture as is | fine-tuned | weights | ours |")
    print(f"|{' --- |' * 7}")
    for name, _ in pairs:
        most = max((f["k"] for f in found if f["name"] == name), default=0)
        if not most:
            continue
        part = [f for f in found if f["name"] == name and f["k"] == most]
        cells = [
            np.mean([f["scratch"] for f in part]),
            np.mean([f["single"] for f in part]),
            *np.mean([f["mixture"] for f in part], axis=0),
            np.mean([f["found"]["weights"] for f in part]),
            np.mean([f["found"]["half stacked and mixture"] for f in part]),
        ]
        print(f"| {name}, {most} | {' | '.join(f'{c:.4f}' for c in cells)} |")
    print(f"\n{len(found)} trials, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
