"""Experiments with several sources, each drawn and fitted anew in every repeat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from retemper._control import Progress
from retemper._dispatch import core
from retemper._random import replica_generator
from retemper._repeats import run_repeats
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.linear._runs import Run, measured, new_key, stacked, target_task
from retemper.linear.eigenbasis import Problem
from retemper.linear.entries import core_law, draw_entries
from retemper.linear.sources import are_fitted

__all__ = ["source_samples"]

#: Purposes of the streams of the sources, and of the target's rows where weights are fitted.
_SOURCES, _FITTED = 7, 8


def source_samples(
    run: Run,
    problem: Problem,
    weights: FloatArray,
    n_repeats: int,
    how: tuple[int | None, Progress | None],
) -> dict[str, FloatArray]:
    """What every repeat measures where several sources are mixed.

    Parameters
    ----------
    run : Run
        The run.
    problem : Problem
        Its factorised model.
    weights : ndarray of shape (n_sources,)
        Weights of the sources; where training chooses them, those that stand for the best.
    n_repeats : int
        Number of repeats.
    how : tuple
        Threads and progress.

    Returns
    -------
    dict of str to ndarray
        Of shape (n_repeats,); the weights of shape (n_repeats, n_sources).
    """
    task = None if callable(run.entries) else target_task(run, problem)
    fitted = are_fitted(run.model.mixing_weights)

    def repeat(r: int, progress: Progress) -> dict[str, Any]:
        rng = replica_generator(run.key, r, _SOURCES)
        sources = _draw_sources(run, problem, rng)
        if fitted:
            rows = replica_generator(run.key, r, _FITTED)
            return _fit(run, problem, sources, weights @ sources, rows)
        found = core.linear.simulate(
            target_task(run, problem, rng) if task is None else task,
            core.linear.Source.fixed((weights @ sources)[None]),
            depth=float(run.model.depth),
            source_scale=run.scale,
            entries=core_law(run.entries),
            key=new_key(rng),
            n_repeats=1,
            n_threads=1,
            progress=progress,
        )
        one = {name: value[0] for name, value in measured(run, problem, found).items()}
        return one | {"mixing_weights": weights}

    return stacked(run_repeats(repeat, n_repeats, n_jobs=how[0], progress=how[1]))


def _draw_sources(run: Run, problem: Problem, rng: np.random.Generator) -> FloatArray:
    """One draw of every source, (K, d), in the eigenbasis of the target."""
    assert run.model.sources is not None
    drawn = []
    for one, source in zip(problem.several, run.model.sources, strict=True):
        n = source.n_samples_source
        if n is None:
            drawn.append(one.fixed[0])
            continue
        s, teacher = one.source_spectrum, one.source_teacher[0]
        X = draw_entries(rng, run.entries, (n, s.size)) * np.sqrt(s)
        y = X @ teacher + source.noise_source * rng.normal(size=n)
        coef = _ridge_fit(X, y, source.ridge_source)
        drawn.append(coef if one.overlap is None else coef @ one.overlap.T)
    return np.array(drawn)


def _ridge_fit(X: FloatArray, y: FloatArray, ridge: float) -> FloatArray:
    """Ridge regression towards zero, of least norm where there is no ridge."""
    n = len(X)
    if n == 0:
        return np.zeros(X.shape[1])
    left, size, right = np.linalg.svd(X, full_matrices=False)
    kept = size > 1e-12 * max(float(size[0]), 1e-300)
    strength = np.square(size[kept]) / n + ridge
    if ridge < 0.0 and not strength.min() > 0.0:
        raise NumericalError(
            f"ridge_source = {ridge:g} is beyond the smallest eigenvalue of a sample of a source"
        )
    coef: FloatArray = (size[kept] / n / strength * (left.T[kept] @ y)) @ right[kept]
    return coef


def _fit(
    run: Run, problem: Problem, sources: FloatArray, best: FloatArray, rng: np.random.Generator
) -> dict[str, Any]:
    """One repeat of training that chooses the weights: they are generalised least squares."""
    model, s, target = run.model, problem.spectrum, problem.target[0]
    n, d, ridge = model.n_samples, s.size, run.ridge
    rank = int(np.count_nonzero(s))
    X = draw_entries(rng, run.entries, (n, d)) * np.sqrt(s)
    heard = model.noise * rng.normal(size=n)
    y = X @ target + heard
    left, size, right = np.linalg.svd(X, full_matrices=False)
    left, size, right = left[:, :rank], size[:rank], right[:rank]
    weigh = 1.0 / (np.square(size) / n + ridge)
    seen = X @ sources.T  # (n, K)
    # A = (X X'/n + ridge)^-1: without ridge and with more rows than directions all is learned
    outside = n - size.size

    def solve_rows(v: FloatArray) -> FloatArray:
        inside = left.T @ v
        value = left @ (weigh[:, None] * inside)
        if outside and ridge > 0.0:
            value = value + (v - left @ inside) / ridge
        return np.asarray(value)

    both = solve_rows(np.column_stack([seen, y, heard]))
    weighed = both[:, : len(sources)]
    gram = seen.T @ weighed
    unit = 1.0 / np.sqrt(np.diag(gram).clip(1e-300))
    inverse = np.linalg.pinv(unit[:, None] * gram * unit, rcond=1e-10, hermitian=True)
    inverse = unit[:, None] * inverse * unit
    found, loud = inverse @ (seen.T @ both[:, -2]), inverse @ (seen.T @ both[:, -1])

    def learned(labels: FloatArray, start: FloatArray) -> FloatArray:
        more = left.T @ (labels - X @ start)
        coef: FloatArray = start + (size / n * weigh * more) @ right
        return coef

    full = learned(y, found @ sources)
    noise = learned(heard, loud @ sources)
    scratch = learned(y, np.zeros(d)) - target
    brought = learned(np.zeros(n), best)
    values: dict[str, Any] = {
        "risk": s @ np.square(full - target),
        "bias": s @ np.square(full - noise - target),
        "variance": s @ np.square(noise),
        "risk_scratch": s @ np.square(scratch),
        "risk_zero_shot": math.nan,
        "training_error": np.square(y - X @ full).mean() if outside or ridge > 0.0 else 0.0,
        "cross": s @ (scratch * brought),
        "spread": s @ np.square(brought),
        "source_scale": 1.0,
        "mixing_weights": found,
    }
    if outside and ridge == 0.0:
        df = float(size.size)
        exact = {"bias": 0.0, "cross": 0.0, "spread": 0.0}  # but for rounding
        return values | exact | {"effective_ridge": 0.0, "df1": df, "df2": df}
    # B = A - A Z (Z'AZ)^-1 Z'A leaves ridge * B of the labels, and traces of B and of B² are
    inner = inverse @ (weighed.T @ weighed)
    rest = 1.0 / ridge if outside else 0.0
    once = weigh.sum() + outside * rest - np.trace(inner)
    twice = np.square(weigh).sum() + outside * rest**2 + np.trace(inner @ inner)
    twice -= 2.0 * np.trace(inverse @ (weighed.T @ solve_rows(weighed)))
    return values | {
        "effective_ridge": n / once,
        "df1": n - ridge * once,
        "df2": n - once**2 / twice,
    }
