"""How often is an honest source suspected, and one that saw the labels not?

``python bench/leaks_advise.py [--seeds 4] [--jobs 2]`` fits models of ten kinds on one half of
bundled tables and synthetic tasks and takes them as sources for n rows of the other: as they are
(honest), with the n rows among those that they learn from, and fitted to the n rows alone. Sources
of ``suite_advise.py`` are honest too. Prints the share that `retemper.advise` asks about.
``--text`` makes a column of text of the first one, its quarters, adds one of no meaning, and
encodes both in pipelines: 40 rows, linear models left out.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib
import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import retemper
from retemper.advisor.inputs import read_task
from suite_advise import PAIRS

REGRESSORS = {
    "least squares": LinearRegression(),
    "ridge": Ridge(10.0),
    "forest": RandomForestRegressor(25, random_state=0),
    "forest, leaves of 5": RandomForestRegressor(25, min_samples_leaf=5, random_state=0),
    "extra trees": ExtraTreesRegressor(25, random_state=0),
    "tree": DecisionTreeRegressor(random_state=0),
    "boosting": HistGradientBoostingRegressor(max_iter=40, random_state=0),
    "neighbours": KNeighborsRegressor(5),
    "nearest": KNeighborsRegressor(1),
    "network": MLPRegressor(hidden_layer_sizes=(50,), max_iter=600, random_state=0),
    "kernel": SVR(C=10.0),
}
CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=1000),
    "forest": RandomForestClassifier(25, random_state=0),
    "forest, leaves of 5": RandomForestClassifier(25, min_samples_leaf=5, random_state=0),
    "extra trees": ExtraTreesClassifier(25, random_state=0),
    "tree": DecisionTreeClassifier(random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=40, random_state=0),
    "neighbours": KNeighborsClassifier(5),
    "nearest": KNeighborsClassifier(1),
    "network": MLPClassifier(hidden_layer_sizes=(50,), max_iter=600, random_state=0),
    "kernel": SVC(C=10.0, probability=True, random_state=0),
}


def tables(rng):
    """Name, rows and labels; the last says whether labels are numbers."""
    for name in ("diabetes", "breast_cancer", "wine", "digits"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield name, X, (y - y.mean()) / y.std() if name == "diabetes" else y, name == "diabetes"
    X = rng.uniform(size=(1500, 6))
    z = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3]
    for noise in (0.05, 0.5, 1.0):
        yield f"waves, noise {noise}", X, z / z.std() + noise * rng.normal(size=1500), True
    yield "waves, two classes", X, (z > np.median(z)).astype(int), False
    yield "coin flips", rng.normal(size=(1500, 8)), rng.integers(0, 2, size=1500), False
    yield "noise", rng.normal(size=(1500, 8)), rng.normal(size=1500), True


def suspected(X, y, source, task):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = read_task(X, y, {"s": source}, task)
    return any("see these labels" in flag for flag in read.sources[0].flags)


def with_text(X, rng):
    """Rows whose first column is text, beside one of no meaning; and what encodes them."""
    frame = pd.DataFrame(X[:, 1:], columns=[f"c{j}" for j in range(1, X.shape[1])])
    quarters = np.searchsorted(np.quantile(X[:, 0], (0.25, 0.5, 0.75)), X[:, 0])
    frame["quarter"] = np.array(["low", "below", "above", "high"])[quarters]
    frame["town"] = rng.choice(["Oslo", "Rome", "Bonn"], len(X))
    text = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return frame, make_column_transformer((text, ["quarter", "town"]), remainder=StandardScaler())


def suspected_table(X, y, source, task):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        advice = retemper.advise(X, y, sources={"s": source}, task=task, cv=2)
    return any("see these labels" in flag for flag in advice["s"].flags)


def one_of_text(seed, n):
    found = []
    rng = np.random.default_rng(seed)
    for name, numbers, y, is_regression in tables(rng):
        X, encoder = with_text(numbers, rng)
        order = rng.permutation(len(y))
        old, few = order[: len(y) // 2], order[len(y) // 2 :][:n]
        task = "regression" if is_regression else "classification"
        if not is_regression:  # classes of 3 rows and more
            few = few[np.isin(y[few], np.flatnonzero(np.bincount(y[few]) >= 3))]
        for kind, model in (REGRESSORS if is_regression else CLASSIFIERS).items():
            if kind in {"least squares", "ridge", "logistic"}:
                continue
            for how, rows in (("honest", old), ("among", np.r_[old, few]), ("alone", few)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    fitted = make_pipeline(encoder, model).fit(X.iloc[rows], y[rows])
                mine = X.iloc[few].reset_index(drop=True)
                found.append((name, kind, how, suspected_table(mine, y[few], fitted, task)))
    return found


def one(seed, n):
    found = []
    rng = np.random.default_rng(seed)
    for name, X, y, is_regression in tables(rng):
        order = rng.permutation(len(y))
        old, few = order[: len(y) // 2], order[len(y) // 2 :][:n]
        models = REGRESSORS if is_regression else CLASSIFIERS
        task = "regression" if is_regression else "classification"
        if not is_regression:  # classes of 3 rows and more
            few = few[np.isin(y[few], np.flatnonzero(np.bincount(y[few]) >= 3))]
        for kind, model in models.items():
            for how, rows in (("honest", old), ("among", np.r_[old, few]), ("alone", few)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    fitted = make_pipeline(StandardScaler(), model).fit(X[rows], y[rows])
                if kind in {"least squares", "ridge", "logistic"}:
                    scaler, last = fitted[0], fitted[-1]
                    w = np.atleast_2d(last.coef_) / scaler.scale_
                    b = np.ravel(last.intercept_) - w @ scaler.mean_
                    if not is_regression and len(w) != 1:
                        continue
                    fitted = (w[0], b[0])
                found.append((name, kind, how, suspected(X[few], y[few], fitted, task)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--text", action="store_true", help="tables with two columns of text")
    options = parser.parse_args()
    begin = time.perf_counter()
    work = [(s, n) for s in range(options.seeds) for n in ((40,) if options.text else (40, 150))]
    run = one_of_text if options.text else one
    parts = joblib.Parallel(options.jobs)(joblib.delayed(run)(*w) for w in work)
    found = [row for part in parts for row in part]
    for at, title in ((1, "model"), (0, "table")):
        print(f"\n| {title} | honest, asked | rows among its own, asked | rows alone, asked |")
        print("| --- | --- | --- | --- |")
        for key in [*dict.fromkeys(row[at] for row in found), "all"]:
            cells = []
            for how in ("honest", "among", "alone"):
                some = [row[3] for row in found if key in {row[at], "all"} and row[2] == how]
                cells.append(f"{np.mean(some):.1%} of {len(some)}")
            print(f"| {key} | {' | '.join(cells)} |")
    asked = []
    for number, pair in enumerate([] if options.text else PAIRS):
        for seed in range(options.seeds):
            trial = pair.draw(np.random.default_rng([number, seed]))
            asked += [
                suspected(trial.X, trial.y, source, pair.task) for source in trial.sources.values()
            ]
    if asked:
        print(f"\nSuite: {sum(asked)} of {len(asked)} honest sources are asked about.")
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
