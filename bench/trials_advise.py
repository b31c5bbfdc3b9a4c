"""One draw of a pair, run through the parts of `retemper.advise` and through its rivals.

What a trial finds is plain data, kept in a folder outside the repository, so that tables and
constants cost no fits. A kept trial is used as long as the sources that made it are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import pickle
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold

import retemper
from retemper._random import generator
from retemper.advisor import judging
from retemper.advisor.averaging import stacked_weights
from retemper.advisor.candidates import MIXTURE, cross_validate, fit_rows, losses, predict
from retemper.advisor.inputs import read_task
from retemper.linear.logistic.path import log_loss_rows
from rivals.transferability import h_score, logme
from suite_advise import PAIRS, Pair, Trial

#: Multiples of the labels at which forecasts are compared with what comes.
LATER = (2, 4)
#: Files whose change makes kept trials void.
MADE_BY = (
    "averaging", "blocks", "candidates", "inputs", "judging", "linear_fits", "mixing", "sampling",
)  # fmt: skip


def digest() -> str:
    """Of the sources that a trial depends on."""
    folder = Path(retemper.__file__).parent
    files = [folder / "advisor" / f"{name}.py" for name in MADE_BY]
    files += sorted((folder / "linear").rglob("*.py"))
    files += [Path(__file__), *Path(__file__).parent.glob("suite_*.py")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def kept_trial(number: int, seed: int, folder: Path, made_by: str) -> dict[str, Any]:
    """A trial from its file, or made and written there."""
    name = hashlib.sha256(PAIRS[number].name.encode()).hexdigest()[:16]
    path = folder / f"{name}-{seed}.pickle"
    if path.exists():
        found = pickle.loads(path.read_bytes())
        if made_by in (found["made_by"], "any"):
            return found
    found = {**trial(PAIRS[number], seed), "made_by": made_by}
    path.write_bytes(pickle.dumps(found))
    return found


@contextmanager
def _held_out() -> Iterator[list[Any]]:
    """The losses of cross-validation with the predictions behind them, which `judge` drops."""
    seen: list[Any] = []

    def listening(*args: Any, **options: Any) -> Any:
        seen.append(cross_validate(*args, **options))
        return seen[-1]

    judging.cross_validate = listening
    try:
        yield seen
    finally:
        judging.cross_validate = cross_validate


def mean_loss(task, scores):
    loss, wrong = losses(task, scores, np.arange(len(task.y)))
    return loss.mean(), wrong.mean()


@dataclasses.dataclass(frozen=True)
class LightTask:
    """What verdicts and words read of the target, without its rows."""

    name: str
    is_regression: bool
    n: int
    d: int
    y: np.ndarray
    sources: list[Any]
    sample: Any
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, task):
        keys = ("name", "duplicate_of", "flags", "can_predict")
        return cls(
            name=task.name,
            is_regression=task.is_regression,
            n=len(task.y),
            d=task.X.shape[1],
            y=task.y,
            sources=[SimpleNamespace(**{k: getattr(s, k) for k in keys}) for s in task.sources],
            sample=task.sample,
        )

    @property
    def n_features(self):
        return self.d

    def name_of(self, source):
        known = {-1: "scratch", MIXTURE: "mixture"}
        return known[source] if source in known else self.sources[source].name


def light(fits):
    """Fits without their rows: the numbers that words read."""
    kept = ("loo_", "loo_error_rate_", "ridge_", "source_scale_", "sources")
    models = []
    for model in fits.models:
        if model is None:
            models.append(None)
            continue
        small = SimpleNamespace(**{k: getattr(model, k) for k in kept if hasattr(model, k)})
        if hasattr(model, "mixture"):
            small.mixture = SimpleNamespace(weights=model.mixture.weights)
        models.append(small)
    return dataclasses.replace(fits, models=models, splits=[None] * len(fits.splits))


def trial(pair: Pair, seed: int) -> dict[str, Any]:
    """Everything that is measured of one draw."""
    begin = time.perf_counter()
    draw = pair.draw(np.random.default_rng([*pair.name.encode(), seed]))
    n = len(draw.y)
    read = {"sources": draw.sources, "task": pair.task}
    task = read_task(draw.X, draw.y, read["sources"], pair.task)
    rng = generator(seed)
    with _held_out() as seen:
        clock = time.perf_counter()
        fits = judging.judge(task, judging.make_splits(task, None, rng), 1)
        curve = judging.learning_curve(task, fits, rng, 1, None)
        seconds = time.perf_counter() - clock
    half = min(len(draw.y_test) // 3, (max(LATER) - 1) * n)
    test = _other_rows(task, draw.X_test[half:], draw.y_test[half:], draw, pair)
    scores = np.array(
        [predict(test, c, m) for c, m in zip(fits.candidates, fits.models, strict=True)]
    )
    loss, wrong = np.transpose([mean_loss(test, s) for s in scores])

    def blended(weights):
        return mean_loss(test, np.einsum("c,cnq->nq", weights, scores))

    every = [losses(test, s, np.arange(len(test.y)))[0] for s in scores]
    every.append(
        losses(test, np.einsum("c,cnq->nq", fits.weights, scores), np.arange(len(test.y)))[0]
    )
    # standard errors of the gains on these rows: of every candidate, and of the average at last
    unsure = [float((every[0] - e).std(ddof=1) / math.sqrt(len(test.y))) for e in every]
    later: dict[str, dict[int, float]] = {}
    for i in {0, fits.choice}:
        key = task.name_of(fits.candidates[i].source)
        later[key] = {1: wrong[i]}
        for times in LATER:
            more = (times - 1) * n
            if more <= half and times * n <= 1200:
                X = np.vstack([draw.X, draw.X_test[:more]])
                y = np.concatenate([draw.y, draw.y_test[:more]])
                large = read_task(X, y, draw.sources, pair.task)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = fit_rows(large, fits.candidates[i], np.arange(len(y)))[0]
                wide = _other_rows(large, draw.X_test[half:], draw.y_test[half:], draw, pair)
                later[key][times] = mean_loss(wide, predict(wide, fits.candidates[i], model))[1]
    return {
        "pair": pair.name, "family": pair.family, "reports": pair.reports, "real": pair.is_real,
        "seed": seed, "task": LightTask.of(task), "fits": light(fits), "curve": curve,
        "seconds": seconds,
        "null": _null_loss(test), "loss": loss, "wrong": wrong, "average": blended(fits.weights),
        "unsure": unsure, "later": later,
        "rivals": rivals(draw, (task, test), fits, seen[0], scores),
        "total": time.perf_counter() - begin,
    }  # fmt: skip


def _null_loss(test):
    """Loss of the mean or of the shares of the classes: of knowing nothing."""
    if test.is_regression:
        return float(test.y.var())
    share = np.bincount(test.y.astype(int)) / len(test.y)
    return float(-np.sum(share * np.log(np.maximum(share, 1e-300))))


def _other_rows(task, X, y, draw: Trial, pair: Pair):
    """Other rows as a task, in the units of this one."""
    test = read_task(X, y, draw.sources, pair.task)
    return dataclasses.replace(test, units=task.units, X=task.units.rows(test.rows))


def rivals(draw, tasks, fits, held_out, scores):
    """Losses on other rows of other ways to decide."""
    task, test = tasks
    held = fits.loss.mean(axis=1)
    loss = np.array([mean_loss(test, s)[0] for s in scores])
    measure = "loo_" if task.is_regression else "loo_error_rate_"
    left = np.array([np.inf if m is None else getattr(m, measure) for m in fits.models])
    tuned = [i for i, c in enumerate(fits.candidates) if c.kind == "fine-tune" and c.source >= 0]
    behind = fits.loss - fits.loss[0]
    top = int(np.argmin(held))
    error = behind[top].std(ddof=1) / math.sqrt(behind.shape[1])
    target = task.y if task.is_regression else np.eye(len(task.classes))[task.y.astype(int)]
    features = [task.X, *task.scores]
    evidence = [logme(f, target) for f in features]
    published = [logme(f, target, intercept=False, published=True) for f in features]
    chosen = {
        "always from scratch": 0,
        "always fine-tune (source by leave-one-out)": min(tuned, key=lambda i: left[i]),
        "leave-one-out": int(np.argmin(left)),
        "nested 5-fold cross-validation": top,
        "cross-validation, one standard error before leaving scratch": top
        if behind[top].mean() < -error
        else 0,
        "LogME": ([0, *tuned])[int(np.argmax(evidence))],
        "LogME, published code": ([0, *tuned])[int(np.argmax(published))],
    }
    if not task.is_regression:
        ranked = [h_score(f, task.y) for f in task.scores]
        chosen["H-score, then fine-tune"] = tuned[int(np.argmax(ranked))]
    found = {name: float(loss[i]) for name, i in chosen.items()}
    every = np.ones(len(held), bool), np.ones(len(task.y), bool)
    stacked = np.einsum("c,cnq->nq", stacked_weights(task, held_out, *every), scores)
    found["convex stacking"] = float(mean_loss(test, stacked)[0])
    X_test, y_test = test.rows, test.labels
    found["boosted trees from scratch"] = _boosted(task, draw, X_test, y_test)
    if draw.rows:
        found["pooling of source and target rows"] = _pooled(task, draw, X_test, y_test)
    return found


def _log_loss(model, classes, X, y):
    """Log loss of a classifier, as of the others: probabilities not below those of doubles."""
    p = np.full((len(X), len(classes)), 1e-15)
    p[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X)
    return float(log_loss_rows(np.log(np.clip(p, 1e-15, 1.0)), np.searchsorted(classes, y)).mean())


def _boosted(task, draw, X_test, y_test):
    options = {"min_samples_leaf": 5, "max_iter": 50, "max_leaf_nodes": 8, "random_state": 0}
    if task.is_regression:
        model = HistGradientBoostingRegressor(**options).fit(draw.X, draw.y)
        return float(np.mean((model.predict(X_test) - y_test) ** 2))
    model = HistGradientBoostingClassifier(**options).fit(draw.X, draw.y)
    return _log_loss(model, task.classes, X_test, y_test)


def _pooled(task, draw, X_test, y_test):
    """Ridge or logistic regression on all rows, weight and strength by folds of the target."""
    X_s = np.vstack([X for X, _ in draw.rows.values()])
    y_s = np.concatenate([y for _, y in draw.rows.values()])
    if len(y_s) > 2000:
        keep = np.random.default_rng(0).permutation(len(y_s))[:2000]
        X_s, y_s = X_s[keep], y_s[keep]
    mean, scale = draw.X.mean(axis=0), draw.X.std(axis=0)
    scale[scale == 0.0] = 1.0
    X, X_s, X_t = ((A - mean) / scale for A in (draw.X, X_s, X_test))
    n = len(draw.y)

    def fit(rows, weight, strength):
        A, b = np.vstack([X[rows], X_s]), np.concatenate([draw.y[rows], y_s])
        w = np.concatenate([np.ones(len(rows)), np.full(len(y_s), weight)])
        if task.is_regression:
            return Ridge(strength).fit(A, b, sample_weight=w)
        return LogisticRegression(C=1.0 / strength, max_iter=200, tol=1e-3).fit(
            A, b, sample_weight=w
        )

    def cost(model, rows_X, y):
        if task.is_regression:
            return float(np.mean((model.predict(rows_X) - y) ** 2))
        return _log_loss(model, task.classes, rows_X, y)

    folds = list(
        (KFold if task.is_regression else StratifiedKFold)(
            min(5, 3 if not task.is_regression else 5), shuffle=True, random_state=0
        ).split(X, draw.y)
    )
    grid = [(w * n / len(y_s), s) for w in (0.1, 1.0, 10.0) for s in (1.0, 10.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried = [np.mean([cost(fit(a, *g), X[b], draw.y[b]) for a, b in folds]) for g in grid]
        model = fit(np.arange(n), *grid[int(np.argmin(tried))])
    return cost(model, X_t, y_test)


def gains_of(raw):
    """Of the average and of every source: held-out gains by rows, the gain that came, its error."""
    task, fits, loss, unsure = raw["task"], raw["fits"], raw["loss"], raw["unsure"]
    yield "average", fits.loss[0] - fits.average, loss[0] - raw["average"][0], unsure[-1]
    for source in dict.fromkeys(c.source for c in fits.candidates):
        if source == -1 or (source >= 0 and task.sources[source].duplicate_of is not None):
            continue
        i = fits.best(source)
        yield "source", fits.loss[0] - fits.loss[i], loss[0] - loss[i], unsure[i]


def all_trials(pairs, seeds, jobs, folder, *, made_by=None):
    """Trials of some pairs, from their files where these are good."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = digest() if made_by is None else made_by
    work = [(k, s) for s in range(seeds) for k in pairs]
    return joblib.Parallel(jobs)(joblib.delayed(kept_trial)(k, s, folder, stamp) for k, s in work)
