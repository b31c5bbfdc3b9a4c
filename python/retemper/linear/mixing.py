"""Several sources, known or learned: their best weights, and what it costs to fit these."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.linear.eigenbasis import Problem, SourceLaw, source_law
from retemper.linear.model import LinearModel
from retemper.linear.points import Points, target_root
from retemper.linear.risks import FAST, best_ridge, bias_sums, evaluate
from retemper.linear.rows import ClassRoots
from retemper.linear.sources import are_fitted
from retemper.linear.spectral import roots

__all__ = ["Sources", "best_weights", "evaluate_sources", "mixed_law", "sources_ridge", "with_laws"]

#: Sources whose share of the largest variance of a mixture is below this depend on the others.
_DEPENDENT = 1e-12


class Sources(NamedTuple):
    """Laws of independent sources, w = mean + root(level) * (normal with a diagonal), and units."""

    mean: FloatArray  # (K, d)
    level: FloatArray  # (K,)
    diagonal: FloatArray  # (K, d)

    def pairs(self) -> FloatArray:
        """Mean products of components, (K * K, d); of sources of infinite level see `bounded`."""
        k, d = self.mean.shape
        product = self.mean[:, None] * self.mean
        product[np.arange(k), np.arange(k)] += self.level[:, None] * self.diagonal
        return product.reshape(k * k, d)

    @property
    def bounded(self) -> Sources:
        """Sources in units in which all are finite: of a wild one nothing but noise is left."""
        wild = np.isinf(self.level)
        return Sources(
            np.where(wild[:, None], 0.0, self.mean), np.where(wild, 1.0, self.level), self.diagonal
        )


def with_laws(problem: Problem, model: LinearModel) -> Sources:
    """The law of every source of a model.

    Parameters
    ----------
    problem : Problem
        The factorised model.
    model : LinearModel
        A model with several sources.

    Returns
    -------
    Sources
        In the eigenbasis of the target.
    """
    assert model.sources is not None
    laws = []
    for k, (one, source) in enumerate(zip(problem.several, model.sources, strict=True)):
        try:
            laws.append(
                source_law(one, source.n_samples_source, source.noise_source, source.ridge_source)
            )
        except ValueError as error:
            raise ValueError(f"sources[{k}]: {error}") from None
    return Sources(
        np.concatenate([law.mean for law in laws]),
        np.concatenate([law.level for law in laws]),
        np.array([law.diagonal for law in laws]),
    )


def mixed_law(sources: Sources, weights: FloatArray) -> SourceLaw:
    """Law of a mixture of sources.

    Parameters
    ----------
    sources : Sources
        K sources.
    weights : ndarray of shape (K,)
        Their weights.

    Returns
    -------
    SourceLaw
        Of one output; an infinite level counts where its weight is not zero.
    """
    used = weights != 0.0
    if np.isinf(sources.level[used]).any():
        return SourceLaw(
            (weights @ sources.mean)[None], np.array([np.inf]), sources.diagonal[used].sum(axis=0)
        )
    level = np.where(used, sources.level, 0.0)
    return SourceLaw(
        (weights @ sources.mean)[None], np.ones(1), (weights**2 * level) @ sources.diagonal
    )


def best_weights(
    problem: Problem, sources: Sources, points: Points
) -> tuple[FloatArray, FloatArray]:
    r"""Weights of smallest risk and the bias with them, at depth 1.

    They minimise :math:`(\theta - W^\top a)^\top M (\theta - W^\top a)` on average over sources;
    derived here (`derivations/linear#several-sources-that-were-learned`).

    Parameters
    ----------
    problem : Problem
        The factorised model.
    sources : Sources
        K sources.
    points : Points
        Where, k of them.

    Returns
    -------
    ndarray of shape (k, K), ndarray of shape (k,)
        Weights, 0 for a source of infinite spread; the bias before it is divided by 1 - df2/n.
    """
    spectrum, n = problem.spectrum, points.n_samples
    count, finite = len(sources.mean), sources.bounded
    kappa = target_root(spectrum, n, points.ridge, points)[0].effective_ridge
    # where every direction is learned the weights are those of the limit
    least = 1e-8 * spectrum[spectrum > 0.0].min() if spectrum.any() else 1.0
    kappa = np.where(kappa == 0.0, least, kappa)
    target = problem.target[0]
    rows = np.concatenate([finite.pairs(), finite.mean * target, target[None] ** 2])
    sums, _ = bias_sums(spectrum, rows, kappa, points)
    weights, bias = np.zeros((n.size, count)), sums[:, -1].copy()
    tame = np.isfinite(sources.level)
    for j, one in enumerate(sums):
        gram = one[: count**2].reshape(count, count)[np.ix_(tame, tame)]
        pull = one[count**2 : -1][tame]
        free = _independent(gram)
        weights[j, tame] = free @ (free.T @ pull)
        bias[j] = max(bias[j] - weights[j, tame] @ pull, 0.0)
    return weights, bias


def _independent(gram: FloatArray) -> FloatArray:
    """T with T' gram T = 1, (K, r): the sources that do not depend on each other."""
    size = np.sqrt(np.diag(gram))
    unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0.0)
    values, vectors = np.linalg.eigh(unit[:, None] * gram * unit)
    kept = values > _DEPENDENT * max(float(values[-1]), 1e-300) if values.size else values > 0.0
    return np.asarray(unit[:, None] * vectors[:, kept] / np.sqrt(values[kept]))


class _Fitted(NamedTuple):
    """Quantities of training that chooses the weights too, at one point."""

    kappa: float
    df1: float
    df2: float
    bias: float  # before it is divided by 1 - df2 / n
    weights: FloatArray


def _fit(problem: Problem, sources: Sources, n: float, ridge: float) -> _Fitted:
    """Effective ridge and bias where the span of the sources is free.

    Derived here (`derivations/linear#several-sources-that-were-learned`).
    """
    s, target = problem.spectrum, problem.target[0]
    count, finite = len(sources.mean), sources.bounded
    pairs, along = finite.pairs(), finite.mean * target

    def gram(weight: FloatArray) -> FloatArray:
        return (pairs @ weight).reshape(count, count)

    free = _independent(gram(s))  # in units in which their predictions have variance one
    rank = free.shape[1]
    if n <= rank:
        raise ValueError(
            f"n_samples must be above {rank}, the number of independent sources, with "
            f'mixing_weights="fitted", got {n:g}'
        )
    plain = roots(s, np.array([n]), np.array([ridge]), 1)
    low = float(plain.effective_ridge[0])
    if low == 0.0:  # every direction is learned from the rows
        df = float(plain.df1[0])
        start = min(s[s > 0.0].min(), 1.0) * 1e-8 if s.any() else 1.0
        return _Fitted(0.0, df, df, 0.0, _weights(free, gram, along, s / (s + start)))

    def inner(kappa: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """1 / (s + kappa), and the free directions with H = 1."""
        over = 1.0 / (s + kappa)
        h = free.T @ gram(s * over) @ free
        return over, s * over, free @ _independent(h)

    def df1(kappa: float) -> float:
        over, share, basis = inner(kappa)
        more = basis.T @ gram(kappa * share * over) @ basis
        return float(share.sum() + np.trace(more))

    def excess(log_kappa: float) -> float:
        kappa = math.exp(log_kappa)
        return 1.0 - df1(kappa) / n - ridge / kappa

    high = (n * ridge + s.sum()) / (n - rank)
    ends = math.log(low) - 1e-9, math.log(max(high, low)) + 1e-9
    kappa = math.exp(brentq(excess, *ends, xtol=1e-14, rtol=1e-14))
    over, share, basis = inner(kappa)
    missed = kappa * share * over
    more = basis.T @ gram(missed) @ basis
    twice = basis.T @ gram(missed * share) @ basis
    df2 = float((share**2).sum() + 2.0 * np.trace(twice) + np.square(more).sum())
    weights = basis @ (basis.T @ (along @ share))
    metric = kappa * missed
    bias = metric @ target**2 - 2.0 * weights @ (along @ metric) + weights @ gram(metric) @ weights
    return _Fitted(kappa, float(share.sum() + np.trace(more)), df2, max(float(bias), 0.0), weights)


def _weights(free: FloatArray, gram: Any, along: FloatArray, share: FloatArray) -> FloatArray:
    """Mean weights where the effective ridge tends to zero."""
    apart = share * (1.0 - share)  # kappa times the metric of the fit, to first order
    basis = free @ _independent(free.T @ gram(apart) @ free)
    return np.asarray(basis @ (basis.T @ (along @ apart)))


def sources_ridge(
    problem: Problem, sources: Sources, model: LinearModel, points: Points
) -> FloatArray:
    """Ridge of smallest risk at every point where several sources are mixed, (k,).

    Parameters
    ----------
    problem : Problem
        The factorised model.
    sources : Sources
        Its sources.
    model : LinearModel
        The model.
    points : Points
        Where; their ridge is not read.

    Returns
    -------
    ndarray of shape (k,)
        Zero included.
    """
    weights = model.mixing_weights
    if not isinstance(weights, str):
        return best_ridge(problem, mixed_law(sources, weights), points)

    def optimal(at: Points) -> FloatArray:
        _, share, heard, _ = target_root(problem.spectrum, at.n_samples, at.ridge, at)
        bias = best_weights(problem, sources, at)[1]
        return _risk(bias, share, heard * at.noise**2)

    def fitted(at: Points) -> FloatArray:
        found = [
            _fit(problem, sources, float(n), float(ridge))
            for n, ridge in zip(at.n_samples, at.ridge, strict=True)
        ]
        share = np.array([one.df2 for one in found]) / at.n_samples
        return _risk(np.array([one.bias for one in found]), share, at.noise**2)

    return best_ridge(problem, None, points, fitted if are_fitted(weights) else optimal)


def _risk(bias: FloatArray, share: FloatArray, noise: FloatArray) -> FloatArray:
    """(bias + noise * share) / (1 - share), infinite where only noise is left."""
    left = 1.0 - share
    value = bias + np.multiply(noise, share, out=np.zeros_like(bias), where=share > 0.0)
    return np.divide(value, left, out=np.where(value > 0.0, np.inf, 0.0), where=left > 0.0)


def evaluate_sources(
    problem: Problem, sources: Sources, points: Points, model: LinearModel
) -> tuple[dict[str, NDArray[Any]], core.linear.EffectiveRidge | ClassRoots]:
    """All quantities at the points where several sources are mixed, each of shape (k,) or (k, m).

    Parameters
    ----------
    problem : Problem
        The factorised model.
    sources : Sources
        Its sources.
    points : Points
        Where, k of them.
    model : LinearModel
        The model.

    Returns
    -------
    dict of str to ndarray, EffectiveRidge or ClassRoots
        The quantities, and how the plain effective ridge was found.
    """
    given = model.mixing_weights
    k = points.n_samples.size
    if not isinstance(given, str):
        values, root = evaluate(problem, mixed_law(sources, given), points)
        return values | {"mixing_weights": np.tile(given, (k, 1))}, root
    weights, _ = best_weights(problem, sources, points)
    one = points
    found = []
    for j in range(k):
        here = {name: getattr(points, name)[j : j + 1] for name in FAST}
        grows = None if points.grows is None else points.grows[j : j + 1]
        one = points._replace(grows=grows, **here)
        found.append(evaluate(problem, mixed_law(sources, weights[j]), one)[0])
    values = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    root = target_root(problem.spectrum, points.n_samples, points.ridge, points)[0]
    values["mixing_weights"] = weights
    if are_fitted(given):
        values |= _fitted_values(problem, sources, points, values)
    return values, root


def _fitted_values(
    problem: Problem, sources: Sources, points: Points, best: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What differs from the best weights where training chooses them."""
    n, ridge = points.n_samples, points.ridge
    found = [_fit(problem, sources, float(a), float(b)) for a, b in zip(n, ridge, strict=True)]
    kappa, df1, df2, bias = (np.array([one[i] for one in found]) for i in range(4))
    share, noise = df2 / n, points.noise**2
    left = np.divide(ridge, kappa, out=1.0 - df1 / n, where=kappa > 0.0)
    bias, variance = _risk(bias, share, np.zeros_like(noise)), _risk(0.0 * bias, share, noise)
    risk = bias + variance
    return {
        "risk": risk,
        "bias": bias,
        "variance": variance,
        "effective_ridge": kappa,
        "df1": df1,
        "df2": df2,
        "risk_optimal": best["risk"],
        "risk_zero_shot": np.full_like(risk, np.nan),
        "risk_bound": np.full_like(risk, np.inf),
        "bound_k": np.full(risk.size, -1),
        "training_error": np.multiply(
            left**2, risk + noise, out=np.zeros_like(risk), where=left > 0.0
        ),
        "mixing_weights": np.array([one.weights for one in found]),
    }
