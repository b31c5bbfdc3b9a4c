"""Pairs on which `retemper.advise` is calibrated: tables, bundled data and synthetic tasks.

Half of them set constants and half report. Pairs of one table or of one kind of synthetic task are
a family, and a family is in one half alone: by whether the CRC-32 of its name is even or odd.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import zlib
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from suite_tables import TABLES, parts_of, sources_of

Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One draw of a pair: n labelled target rows, sources, and rows to judge on.

    ``rows`` are rows and labels that sources have learned from, where there are such.
    """

    X: np.ndarray
    y: np.ndarray
    sources: dict[str, object]
    X_test: np.ndarray
    y_test: np.ndarray
    rows: dict[str, Arrays] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Pair:
    name: str
    task: str
    draw: Callable[[np.random.Generator], Trial]
    family: str
    is_real: bool

    @property
    def reports(self) -> bool:
        """Whether it is of the half that reports."""
        return zlib.crc32(self.family.encode()) % 2 == 1


def synthetic(rng, *, n, d=100, kind="related", noise=0.5, task="regression", decay=0.0, classes=2):
    """Linear or logistic targets; the source is a coefficient vector near, far, turned, ..."""
    k = 1 if task == "regression" or classes == 2 else classes
    scale = np.arange(1.0, d + 1) ** (-decay / 2)
    scale /= np.sqrt(np.mean(scale**2))
    w = rng.normal(size=(k, d)) / d**0.5
    other = rng.normal(size=(k, d)) / d**0.5
    sparse = w + other * (rng.random(d) < 0.1) * 2.0
    sources = {
        "related": {"near": w + 0.4 * other},
        "same": {"same": w + 0.1 * other},
        "unrelated": {"other": other},
        "flipped": {"flipped": -(w + 0.3 * other)},
        "rescaled": {"large": 4.0 * (w + 0.2 * other)},
        "sparse": {"sparse": sparse},
        "many": {
            "near": w + 0.5 * other,
            "far": w + 2.0 * other,
            "other": rng.normal(size=(k, d)) / d**0.5,
            "flipped": -(w + 0.3 * other),
            "noise": rng.normal(size=(k, d)) / d**0.5,
        },
    }[kind]
    X = rng.normal(size=(n + 2000, d)) * scale
    z = X @ w.T
    if task == "regression":
        y = z[:, 0] + noise * rng.normal(size=len(X))
    elif classes == 2:
        y = (3 * z[:, 0] + rng.logistic(size=len(X)) * noise > 0).astype(int)
        sources = {name: 3 * v for name, v in sources.items()}
    else:
        y = (3 * z + rng.gumbel(size=z.shape) * noise).argmax(axis=1)
        sources = {name: 3 * v for name, v in sources.items()}
    # with an intercept: coefficients alone could be predictions where there are d rows
    sources = {name: (v, np.zeros(k)) if k > 1 else (v[0], 0.0) for name, v in sources.items()}
    return _cut(X, y, n, sources, rng)


def _cut(X, y, n, sources, rng, *, rows=None):
    """n rows to learn from, with 3 of every class at least; the rest judges."""
    order = rng.permutation(len(y))
    if y.dtype.kind in "iu":
        first = np.concatenate([order[y[order] == c][:3] for c in np.unique(y)])
        order = np.concatenate([first, order[~np.isin(order, first)]])
    few, rest = order[:n], order[n:]
    return Trial(X[few], y[few], sources, X[rest], y[rest], rows or {})


@lru_cache
def _digits(features):
    data = datasets.load_digits()
    X = data.data / 16.0
    if features == "random":
        rng = np.random.default_rng(7)
        W, b = rng.normal(size=(64, 300)) / 8, 0.3 * rng.normal(size=300)
        X = np.maximum((X - X.mean(0)) @ W * 3 + b, 0.0)
    return X - X.mean(axis=0), data.target


def digits_parity(rng, *, n, features="random"):
    """Even or odd as -1 and 1, squared loss; five sources of very different use."""
    X, digit = _digits(features)
    y = np.where(digit % 2, -1.0, 1.0)
    order = rng.permutation(len(y))
    old, new = order[:900], order[900:]

    def fit(labels, rows):
        return Ridge(1.0).fit(X[rows], labels[rows])

    same = fit(y, old)
    prime = np.where(np.isin(digit, [2, 3, 5, 7]), 1.0, -1.0)
    sources = {
        "same": same,
        "times four": (4.0 * same.coef_, 0.0),
        "swapped": (-same.coef_, 0.0),
        "small digits": fit(y, old[digit[old] < 6]),
        "prime": fit(prime, old),
    }
    return _cut(X[new], y[new], n, sources, rng)


def digits_pair(rng, *, n, target, source, noise=0.0, features="pixels"):
    """Tell two digits apart; the source tells two others apart."""
    X, digit = _digits(features)
    order = rng.permutation(len(digit))
    old, new = order[:900], order[900:]
    rows = old[np.isin(digit[old], source)]
    model = LogisticRegression(C=1.0, max_iter=1000).fit(
        X[rows], (digit[rows] == source[0]).astype(int)
    )
    keep = new[np.isin(digit[new], target)]
    y = (digit[keep] == target[0]).astype(int)
    inputs = X[keep] + noise * rng.normal(size=(len(keep), X.shape[1]))
    return _cut(inputs, y, n, {"source": model}, rng)


def digits_classes(rng, *, n, shift, k=5):
    """The first k digits, as they are, or pixels turned, or inverted, in the source."""
    X, digit = _digits("pixels")
    order = rng.permutation(len(digit))
    order = order[digit[order] < k]
    old, new = order[: len(order) // 2], order[len(order) // 2 :]
    seen = X.reshape(-1, 8, 8)
    if shift == "turned":
        seen = seen.transpose(0, 2, 1)
    elif shift == "moved":
        seen = np.roll(seen, 1, axis=2)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(seen.reshape(-1, 64)[old], digit[old])
    return _cut(X[new], digit[new], n, {"source": model}, rng)


def by_feature(rng, *, n, data, column, flip=False, jitter=0.0):
    """Bundled tables: the source has learned on the rows with small values of a column."""
    X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    regression = data == "diabetes"
    y = (y - y.mean()) / y.std() if regression else y
    small = X[:, column] <= np.median(X[:, column])
    if small.all() or (not regression and len(np.unique(y[small])) < len(np.unique(y))):
        small = rng.random(len(y)) < 0.5
    model = Ridge(10.0) if regression else LogisticRegression(C=0.3, max_iter=1000)
    model.fit(X[small] + jitter * rng.normal(size=X[small].shape), y[small])
    if flip:
        model.coef_ = -model.coef_
    return _cut(X[~small], y[~small], n, {"source": model}, rng)


def of_table(rng, *, number, n):
    """A table of a public package: some of its parts are sources, another is the target."""
    parts = parts_of(number)
    X, y = parts[""]
    rows = {name: part for name, part in parts.items() if name}
    return _cut(X, y, n, sources_of(number), rng, rows=rows)


def _pairs() -> list[Pair]:
    pairs: list[Pair] = []

    def add(family, name, labels, function, real, **options):
        pairs.append(Pair(name, labels, partial(function, **options), family, real))

    for kind, n, extra in [
        ("related", 10, {}), ("related", 40, {}), ("related", 200, {}), ("related", 500, {}),
        ("same", 20, {}), ("same", 120, {"noise": 1.5}),
        ("unrelated", 15, {}), ("unrelated", 60, {}), ("unrelated", 300, {}),
        ("flipped", 30, {}), ("flipped", 150, {}), ("rescaled", 25, {}),
        ("rescaled", 90, {"decay": 1.0}),
        ("sparse", 50, {}), ("sparse", 250, {}), ("many", 30, {}), ("many", 120, {"decay": 1.0}),
        ("related", 60, {"noise": 3.0}), ("unrelated", 40, {"noise": 3.0}),
    ]:  # fmt: skip
        text = ", ".join(f"{k} {v:g}" for k, v in extra.items())
        add(
            f"regression, {kind}",
            f"regression, {kind}, n={n}{', ' + text if text else ''}",
            "regression",
            synthetic,
            False,
            kind=kind,
            n=n,
            **extra,
        )
    for kind, n, classes in [
        ("related", 20, 2), ("related", 100, 2), ("same", 40, 2), ("unrelated", 30, 2),
        ("unrelated", 200, 2), ("flipped", 70, 2), ("rescaled", 50, 2), ("many", 80, 2),
        ("related", 80, 4), ("unrelated", 80, 4),
    ]:  # fmt: skip
        add(
            f"classes, {kind}",
            f"{classes} classes, {kind}, n={n}",
            "classification",
            synthetic,
            False,
            kind=kind,
            n=n,
            classes=classes,
            d=60,
            task="classification",
        )
    for n, features in ((20, "random"), (60, "random"), (120, "pixels"), (280, "random")):
        add(
            "digits parity",
            f"digits parity, {features}, n={n}",
            "regression",
            digits_parity,
            True,
            n=n,
            features=features,
        )
    for n, target, source, noise in [
        (10, (3, 8), (5, 8), 0.0), (30, (3, 8), (3, 9), 0.0), (20, (1, 7), (1, 7), 0.3),
        (40, (4, 9), (7, 9), 0.2), (30, (0, 6), (8, 0), 0.0), (80, (2, 3), (3, 2), 0.2),
    ]:  # fmt: skip
        add(
            f"digits {target}",
            f"digits {target} from {source}, noise {noise:g}, n={n}",
            "classification",
            digits_pair,
            True,
            n=n,
            target=target,
            source=source,
            noise=noise,
        )
    for n, shift in ((20, "none"), (50, "turned"), (100, "moved")):
        add(
            "five digits",
            f"five digits, source {shift}, n={n}",
            "classification",
            digits_classes,
            True,
            n=n,
            shift=shift,
        )
    for data, column, n, extra in [
        ("diabetes", 0, 20, {}), ("diabetes", 1, 60, {}), ("diabetes", 2, 150, {}),
        ("diabetes", 3, 40, {"flip": True}),
        ("breast_cancer", 1, 10, {}), ("breast_cancer", 4, 40, {}),
        ("breast_cancer", 5, 100, {"flip": True}),
        ("wine", 1, 12, {}), ("wine", 4, 30, {"jitter": 2.0}),
    ]:  # fmt: skip
        text = ", ".join(extra)
        add(
            data,
            f"{data} by column {column}{', ' + text if text else ''}, n={n}",
            "regression" if data == "diabetes" else "classification",
            by_feature,
            True,
            data=data,
            column=column,
            n=n,
            **extra,
        )
    for number, table in enumerate(TABLES):
        if table.package not in MISSING:
            add(
                table.read[-1],
                table.name,
                "classification" if table.classes else "regression",
                of_table,
                True,
                number=number,
                n=table.n,
            )
    return pairs


#: Packages of tables that are not installed, and the pairs that are left out for it.
MISSING = {
    package: sum(t.package == package for t in TABLES)
    for package in sorted({t.package for t in TABLES})
    if importlib.util.find_spec(package) is None
}
PAIRS = _pairs()
