r"""Exact asymptotic risk of fine-tuning with linear teachers.

All equations hold in the limit of many dimensions and samples for inputs
:math:`x = \Sigma^{1/2} z` with independent standard entries (universality), and are accurate to
:math:`O(1/n)` at finite size. For a zero source they are the known ridgeless and ridge asymptotics
(Hastie et al. 2022); the shift to a source, finite sources and depth are derived here, after
Shachaf et al. (2021).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from retemper._control import report_status
from retemper._dispatch import core
from retemper._results import Result, Status, Sweep
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_real, check_shape
from retemper.linear.model import SCALARS, LinearModel, check_covariance

__all__ = [
    "EffectiveRidge",
    "LinearTheory",
    "ProbeRisk",
    "curve",
    "deep_scale",
    "effective_ridge",
    "probe_risk",
    "solve",
    "transfer_boundary",
]

#: A float where every argument is a scalar, an array otherwise.
FloatOrArray: TypeAlias = float | FloatArray

_ANY_RANK = tuple(range(9))
_RANK_CUT = 1e-14  # as in theory.hpp
_BIAS, _FITTED, _REST = range(3)  # Metric of theory.hpp


# ---------------------------------------------------------------------------------------------
# plain functions


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class EffectiveRidge(Result):
    r"""Effective ridge and degrees of freedom, as `effective_ridge` returns them (see `solve`).

    Parameters
    ----------
    status : Status
        The worst over the points.
    n_iter : int
        Largest number of passes over the spectrum.
    residual : float
        Largest relative residual of the self-consistent equation.
    message : str
        The status in words.
    kappa : float or ndarray
        Effective ridge :math:`\kappa`, in units of the eigenvalues; infinite at ``n = 0``.
    df1, df2 : float or ndarray
        :math:`\sum_i (\lambda_i/(\lambda_i+\kappa))^p` for p = 1, 2; counts of eigenvalues.
    """

    kappa: Any
    df1: Any
    df2: Any


def effective_ridge(
    spectrum: ArrayLike, n: ArrayLike, ridge: ArrayLike = 0.0, *, n_jobs: int | None = None
) -> EffectiveRidge:
    r"""Effective ridge of a covariance, for many sample sizes and ridges at once.

    Finds the largest root :math:`\kappa` of
    :math:`\kappa (1 - \mathrm{df}_1(\kappa)/n) = \lambda`, with
    :math:`\mathrm{df}_p(\kappa) = \sum_i (\lambda_i / (\lambda_i + \kappa))^p`. Directions with
    eigenvalues far above :math:`\kappa` are learned from n samples, those far below are not.

    Parameters
    ----------
    spectrum : array_like of shape (d,)
        Eigenvalues of the covariance, non-negative, in any order; those at or below 1e-14 of the
        largest count as zero.
    n : array_like
        Numbers of samples, at least 0, not necessarily integers; broadcast against ``ridge``.
    ridge : array_like, default=0.0
        Ridge :math:`\lambda` per sample, in units of the eigenvalues. Negative values are legal
        down to the point where :math:`\mathrm{df}_2 = n`.
    n_jobs : int or None, default=None
        Threads; None follows the OpenMP limit, -1 uses every processor. Never changes the result.

    Returns
    -------
    EffectiveRidge
        ``kappa``, ``df1`` and ``df2``, of the shape of ``n`` and ``ridge`` broadcast together.

    Raises
    ------
    ValueError
        If an argument is not finite or outside its domain; the message names the limit of a
        negative ridge.

    Notes
    -----
    The equation is standard (see [1]_); the iteration is derived here: the left side is convex in
    :math:`\kappa` with a negative third derivative, so that stepping to the root of the quadratic
    expansion, from the top-k bound on the root, decreases to it monotonically and cubically. With
    n at or above the rank and no ridge, :math:`\kappa = 0`.

    References
    ----------
    .. [1] T. Hastie, A. Montanari, S. Rosset and R. J. Tibshirani, "Surprises in High-Dimensional
       Ridgeless Least Squares Interpolation", Ann. Statist. 50 (2022) 949-986.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import effective_ridge
    >>> found = effective_ridge(np.ones(100), 40)
    >>> round(float(found.kappa), 12), round(float(found.df2), 12)
    (1.5, 16.0)
    """
    values = as_float_array(spectrum, "spectrum")
    if not values.size:
        raise ValueError("spectrum must not be empty")
    samples = as_float_array(n, "n", ndim=_ANY_RANK)
    ridges = as_float_array(ridge, "ridge", ndim=_ANY_RANK)
    samples, ridges = _broadcast(n=samples, ridge=ridges)
    root = _roots(values, samples.ravel(), ridges.ravel(), effective_n_threads(n_jobs))
    shape = samples.shape
    status = _worst(root.status)
    result = EffectiveRidge(
        kappa=root.kappa.reshape(shape)[()],
        df1=root.df1.reshape(shape)[()],
        df2=root.df2.reshape(shape)[()],
        status=status,
        n_iter=int(root.n_iter.max(initial=0)),
        residual=float(root.residual.max(initial=0.0)),
        message=status.sentence,
    )
    report_status(status, result.residual, "effective_ridge")
    return result


def deep_scale(a2: ArrayLike, p2: ArrayLike, q2: ArrayLike, depth: ArrayLike) -> FloatOrArray:
    r"""Rescaling of the source by a deep linear network.

    Gradient flow of a balanced linear network of depth L from the end-to-end vector
    :math:`\beta_0` ends at :math:`X^+ y + c\, P_\perp \beta_0`, as if a plain linear model had
    started at :math:`c \beta_0`, with c > 0 the root of
    :math:`c^{2L/(L-1)} (p^2 + q^2) = a^2 + c^2 q^2`. Derived here, after Shachaf et al. (2021).

    Parameters
    ----------
    a2 : array_like
        :math:`\|X^+ y\|^2`, squared norm of the minimum-norm solution.
    p2, q2 : array_like
        :math:`\|P\beta_0\|^2` and :math:`\|P_\perp\beta_0\|^2`: the source inside the row space
        of the data, and outside.
    depth : array_like
        Number L of weight matrices: integers from 1, or ``inf``. Broadcast with the others.

    Returns
    -------
    float or ndarray
        The scale c: 1 at depth 1, :math:`a/p` at infinite depth, monotone between; 0 for a zero
        source.

    Raises
    ------
    ValueError
        If a squared norm is negative or not finite, ``depth`` is not as above, or the source lies
        outside the row space at infinite depth, where c has no finite limit.

    Examples
    --------
    >>> from retemper.linear import deep_scale
    >>> round(deep_scale(0.25, 1.0, 3.0, 2), 9)
    0.908677011
    """
    arrays = [as_float_array(v, k, ndim=_ANY_RANK) for k, v in (("a2", a2), ("p2", p2), ("q2", q2))]
    a, p, q, layers = _broadcast(a2=arrays[0], p2=arrays[1], q2=arrays[2], depth=_depths(depth))
    scale, _ = core.linear.deep_scale(a.ravel(), p.ravel(), q.ravel(), layers.ravel())
    return _shaped(scale, a.shape)


def transfer_boundary(
    gamma: ArrayLike,
    *,
    source_norm: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    depth: ArrayLike = 1,
) -> FloatOrArray:
    r"""Cosine between teachers above which fine-tuning beats training from scratch.

    For isotropic inputs, a target teacher of unit norm and no ridge, fine-tuning from a source at
    an angle has the smaller risk exactly where the cosine exceeds :math:`c \rho / 2`, with c the
    `deep_scale` of :math:`a^2 = \gamma + \sigma^2 \gamma / (1 - \gamma)`,
    :math:`p^2 = \gamma \rho^2` and :math:`q^2 = (1 - \gamma) \rho^2`. Derived here.

    Parameters
    ----------
    gamma : array_like
        Target samples per dimension, n / d, in (0, 1).
    source_norm : array_like, default=1.0
        Norm :math:`\rho` of the source over that of the target teacher, positive.
    noise : array_like, default=0.0
        Standard deviation of the label noise over the norm of the target teacher.
    depth : array_like, default=1
        Number of weight matrices, integers from 1 or ``inf``.

    Returns
    -------
    float or ndarray
        The boundary, of the arguments' broadcast shape. A value of 1 or more says that transfer
        never helps.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    Examples
    --------
    >>> from retemper.linear import transfer_boundary
    >>> round(transfer_boundary(0.9, noise=0.2, depth=2), 9)
    0.541666469
    """
    g = as_float_array(gamma, "gamma", ndim=_ANY_RANK)
    _require((g > 0.0) & (g < 1.0), g, "gamma", "in (0, 1)")
    rho = as_float_array(source_norm, "source_norm", ndim=_ANY_RANK)
    _require(rho > 0.0, rho, "source_norm", "positive")
    sigma = as_float_array(noise, "noise", ndim=_ANY_RANK)
    _require(sigma >= 0.0, sigma, "noise", "non-negative")
    g, rho, sigma, layers = _broadcast(gamma=g, source_norm=rho, noise=sigma, depth=_depths(depth))
    scale = deep_scale(g + sigma**2 * g / (1.0 - g), g * rho**2, (1.0 - g) * rho**2, layers)
    return _shaped(np.asarray(scale) * rho / 2.0, g.shape)


class ProbeRisk(NamedTuple):
    """Risk of a linear probe, as `probe_risk` returns it (see `probe_risk`).

    Parameters
    ----------
    risk : float or ndarray
        Excess risk of the probe, of the shape of ``n``.
    residual : float
        Its limit for infinite data: what the features cannot express.
    """

    risk: FloatOrArray
    residual: float


def probe_risk(
    features: ArrayLike,
    theta_target: ArrayLike,
    n: ArrayLike,
    *,
    cov: ArrayLike | None = None,
    noise: float = 0.0,
) -> ProbeRisk:
    r"""Exact risk of a linear probe on frozen features.

    The probe is least squares of y on :math:`W^T x`, for frozen features W (the first layers of a
    pretrained network). For Gaussian inputs the expected excess risk is
    :math:`(\sigma^2 + R_\perp) (n - 1) / (n - k - 1) - \sigma^2` at every n > k + 1, with k the
    rank of the features and :math:`R_\perp` the part of the teacher's variance that the features
    miss. Derived here; summed over outputs.

    Parameters
    ----------
    features : array_like of shape (d,) or (d, k)
        Feature vectors as columns.
    theta_target : array_like of shape (d,) or (d, n_outputs)
        Target teacher.
    n : array_like of int
        Numbers of target samples, each above k + 1.
    cov : array_like of shape (d,) or (d, d), or None, default=None
        Covariance of the inputs; a vector is the diagonal of a diagonal one, None the identity.
    noise : float, default=0.0
        Standard deviation of the label noise.

    Returns
    -------
    ProbeRisk
        ``risk`` of the shape of ``n``, and ``residual``, its limit for infinite data.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or n is not above k + 1.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import probe_risk
    >>> found = probe_risk(np.eye(4)[:, :2], [1.0, 1.0, 1.0, 0.0], 10)
    >>> found.residual, round(found.risk, 9)
    (1.0, 1.285714286)
    """
    theta = as_float_array(theta_target, "theta_target", ndim=(1, 2))
    d = theta.shape[0]
    if not theta.size:
        raise ValueError(f"theta_target must not be empty, got shape {theta.shape}")
    w = as_float_array(features, "features", ndim=(1, 2))
    check_shape(w, (d,) if w.ndim == 1 else (d, None), "features")
    sigma = check_real(noise, "noise", low=0.0)
    w, theta = w.reshape(d, -1), theta.reshape(d, -1)
    if cov is not None:
        matrix = check_covariance(cov, "cov", d, ndim=(1, 2))
        if matrix.ndim == 1:
            root = np.sqrt(matrix)[:, None]
            w, theta = root * w, root * theta
        else:
            spectrum, vectors = _eigh(matrix, "cov")
            factor = np.sqrt(spectrum)[:, None] * vectors.T
            w, theta = factor @ w, factor @ theta
    best, _, rank, _ = np.linalg.lstsq(w, theta, rcond=None)
    residual = float(np.square(theta - w @ best).sum())
    samples = as_float_array(n, "n", ndim=_ANY_RANK)
    _require(
        samples > rank + 1, samples, "n", f"above the rank of the features plus one, {rank + 1}"
    )
    level = theta.shape[1] * sigma**2
    # written as a sum of positive terms: (s + r)(n - 1)/(n - k - 1) - s
    risk = residual + (level + residual) * rank / (samples - rank - 1.0)
    return ProbeRisk(_shaped(risk, samples.shape), residual)


# ---------------------------------------------------------------------------------------------
# the model in the eigenbasis of the target covariance


class _Roots(NamedTuple):
    kappa: FloatArray
    df1: FloatArray
    df2: FloatArray
    residual: FloatArray
    n_iter: NDArray[np.int64]
    status: NDArray[np.int32]


class _Problem(NamedTuple):
    """A model after its factorisations; vectors are rows, in the eigenbasis of the target."""

    spectrum: FloatArray  # (d,) descending, exact zeros
    target: FloatArray  # (K, d)
    fixed: FloatArray  # (K, d) fixed source, zero without one
    source_spectrum: FloatArray  # (d,) of a finite source
    source_teacher: FloatArray  # (K, d) of a finite source, in its own eigenbasis
    overlap: FloatArray | None  # (d, d) source eigenvectors as columns; None: the same basis


class _Points(NamedTuple):
    """Where to evaluate: arrays of shape (k,) and what they share."""

    n: FloatArray
    ridge: FloatArray
    noise: FloatArray
    depth: float
    n_threads: int


class _Source(NamedTuple):
    """Law of the source vector: mean, and covariance ``level[output] * (matrix with diagonal)``."""

    mean: FloatArray  # (K, d)
    level: FloatArray  # (K,)
    diagonal: FloatArray  # (d,)


def _roots(spectrum: FloatArray, n: FloatArray, ridge: FloatArray, n_threads: int) -> _Roots:
    return _Roots(
        *core.linear.effective_ridge(
            spectrum, np.ascontiguousarray(n), np.ascontiguousarray(ridge), n_threads
        )
    )


def _eigh(matrix: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues, descending and with exact zeros below the cut, and eigenvectors as columns."""
    spectrum, vectors = eigh(matrix, driver="evd", check_finite=False)
    top = max(float(spectrum[-1]), 0.0)
    if spectrum[0] < -1e-10 * top or (top == 0.0 and spectrum[0] < 0.0):
        raise ValueError(
            f"{name} must be positive semi-definite, its smallest eigenvalue is {spectrum[0]:g}"
        )
    return _cut(np.ascontiguousarray(spectrum[::-1])), np.ascontiguousarray(vectors[:, ::-1])


def _cut(spectrum: FloatArray) -> FloatArray:
    return np.where(spectrum > _RANK_CUT * spectrum.max(), spectrum, 0.0)


def _prepare(model: LinearModel) -> _Problem:
    """Do every factorisation of a model: one per dense covariance."""
    d = model.n_features
    columns = model.theta_target.reshape(d, -1)
    basis = None
    if model.cov is not None:
        spectrum, basis = _eigh(model.cov, "cov")
        order = np.arange(d)
    else:
        spectrum = np.ones(d) if model.spectrum is None else _cut(model.spectrum)
        order = np.argsort(-spectrum, kind="stable")
        spectrum = spectrum[order]

    def rotate(vectors: FloatArray) -> FloatArray:
        x = vectors.reshape(d, -1)
        return np.ascontiguousarray((x[order] if basis is None else basis.T @ x).T)

    fixed = np.zeros((columns.shape[1], d))
    if model.theta_source is None:
        if model.source_coef is not None:
            fixed = rotate(model.source_coef)
        return _Problem(spectrum, rotate(columns), fixed, spectrum, fixed, None)
    teacher = rotate(model.theta_source)
    overlap = None
    source = model.cov_source
    if source is None:
        own = spectrum
    elif source.ndim == 1:
        own = _cut(source)
        if basis is None:
            own = own[order]
        else:
            overlap = np.ascontiguousarray(basis.T)  # its eigenvectors are the coordinate axes
    else:
        own, vectors = _eigh(source, "cov_source")
        overlap = vectors[order] if basis is None else basis.T @ vectors
    if overlap is not None:
        teacher = teacher @ overlap
    return _Problem(spectrum, rotate(columns), fixed, own, teacher, overlap)


def _source(
    problem: _Problem,
    n_source: float | None,
    noise_source: float,
    ridge_source: float,
) -> _Source:
    """Mean and spread of the source; exact asymptotics of ridge or minimum-norm estimation."""
    d = problem.spectrum.size
    outputs = problem.target.shape[0]
    if n_source is None:
        return _Source(problem.fixed, np.zeros(outputs), np.zeros(d))
    s = problem.source_spectrum
    try:
        root = _roots(s, np.array([float(n_source)]), np.array([float(ridge_source)]), 1)
    except ValueError as error:
        raise ValueError(f"source: {error}") from None
    kappa, df2 = float(root.kappa[0]), float(root.df2[0])
    if math.isinf(kappa):  # no data: the source is zero
        return _Source(np.zeros((outputs, d)), np.zeros(outputs), np.zeros(d))
    total = np.where(s > 0.0, s + kappa, 1.0)
    shrunk = np.where(s > 0.0, s / total, 0.0)
    missed = np.square(problem.source_teacher * (kappa / total)) @ s
    mean = problem.source_teacher * shrunk
    diagonal = shrunk / total
    if problem.overlap is not None:
        mean = mean @ problem.overlap.T
        diagonal = np.square(problem.overlap) @ diagonal
    level = missed + noise_source**2
    left = n_source - df2
    level = level / left if left > 0.0 else np.where(level > 0.0, np.inf, 0.0)
    return _Source(mean, level, diagonal)


_SCALAR_FIELDS = (
    "risk",
    "bias",
    "variance",
    "kappa",
    "df1",
    "df2",
    "source_scale",
    "risk_scratch",
    "optimal_scale",
    "risk_optimal",
    "risk_zero_shot",
    "risk_bound",
    "bound_k",
)


def _evaluate(
    problem: _Problem, source: _Source, points: _Points
) -> tuple[dict[str, NDArray[Any]], _Roots]:
    """All quantities at the points, each of shape (k,)."""
    n, ridge, noise, depth, n_threads = points
    spectrum, target = problem.spectrum, problem.target
    outputs = target.shape[0]
    root = _roots(spectrum, n, ridge, n_threads)
    some = n > 0.0
    slope = 1.0 - np.divide(root.df2, n, out=np.zeros_like(n), where=some)
    regular = slope > 0.0

    def over_slope(x: FloatArray, otherwise: FloatArray | float) -> FloatArray:
        out = np.full_like(x, otherwise) if np.ndim(otherwise) == 0 else np.array(otherwise)
        return np.divide(x, slope, out=out, where=regular)

    spread_of_noise = outputs * np.square(noise)
    variance = over_slope(
        spread_of_noise * np.divide(root.df2, n, out=np.zeros_like(n), where=some),
        np.where(spread_of_noise > 0.0, np.inf, 0.0),
    )

    # the bias is a quadratic form in the scale c of the source: with delta = target - mean,
    # delta.M.delta + 2 (1 - c) delta.M.mean + (1 - c)^2 mean.M.mean + c^2 level diag(M).diagonal
    delta = target - source.mean
    forms = np.stack([delta**2, delta * source.mean, source.mean**2])  # (3, K, d)
    level = source.level
    if depth == 1:  # one scale for all outputs
        forms, level = forms.sum(axis=1, keepdims=True), level.sum(keepdims=True)
        scale = np.ones((n.size, 1))
    else:
        scale = _depth_scales(problem, source, root.kappa, points)
    groups = forms.shape[1]
    # where the source is forgotten its scale may be infinite, and must not meet a zero
    used = np.where(root.kappa[:, None] == 0.0, 1.0, scale)
    certain = bool(np.isfinite(level).all())
    finite_level = level if certain else np.zeros_like(level)
    rows = np.concatenate(
        [forms.reshape(3 * groups, -1), source.diagonal[None], np.square(target).sum(0)[None]]
    )

    def form(metric_sums: FloatArray, c: FloatArray) -> FloatArray:
        own = metric_sums[:, : 3 * groups].reshape(-1, 3, groups)
        apart = 1.0 - c
        value = own[:, 0] + 2.0 * apart * own[:, 1] + apart**2 * own[:, 2]
        spread = _times(level, metric_sums[:, -2, None], c**2)
        total: FloatArray = np.maximum(value + spread, 0.0).sum(axis=1)
        return total

    sums = core.linear.metric_sums(spectrum, rows, root.kappa, _BIAS, n_threads)
    bias = over_slope(form(sums, used), 0.0)
    if depth != 1 and not certain:
        bias = np.where(some & (root.kappa > 0.0), np.inf, bias)

    own = sums[:, : 3 * groups].reshape(-1, 3, groups).sum(axis=2)
    spread = _times(level, sums[:, -2, None], 1.0).sum(axis=1)
    power = own[:, 2] + spread
    best = np.divide(own[:, 1] + own[:, 2], power, out=np.ones_like(n), where=power > 0.0)
    scratch = over_slope(sums[:, -1], 0.0)
    optimal = over_slope(form(sums, best[:, None]), 0.0)
    optimal = np.where(np.isinf(power), scratch, np.minimum(optimal, scratch))

    at_infinity = core.linear.metric_sums(spectrum, rows, np.array([np.inf]), _BIAS, 1)
    zero_shot = form(at_infinity, np.ones((1, groups)))

    apart = 1.0 - used
    coef = np.concatenate(
        [np.ones_like(used), 2.0 * apart, apart**2, (used**2 @ finite_level)[:, None]], axis=1
    )
    if certain:
        bound, bound_k = core.linear.top_k_bound(
            spectrum, np.ascontiguousarray(rows[:-1]), coef, n, ridge, root.kappa, n_threads
        )
        bound = over_slope(bound, np.inf)
    else:
        bound, bound_k = np.full_like(n, np.inf), np.full(n.size, -1)
    values: dict[str, NDArray[Any]] = {
        "risk": bias + variance,
        "bias": bias,
        "variance": variance,
        "kappa": root.kappa,
        "df1": root.df1,
        "df2": root.df2,
        "source_scale": scale,
        "risk_scratch": scratch + variance,
        "optimal_scale": best,
        "risk_optimal": optimal + variance,
        "risk_zero_shot": np.broadcast_to(zero_shot, n.shape),
        "risk_bound": bound + variance,
        "bound_k": bound_k,
    }
    return values, root


def _times(level: FloatArray, form: FloatArray, factor: FloatArray | float) -> FloatArray:
    """Level * form * factor, where an infinite level times zero is zero."""
    product = np.asarray(form * factor)
    with np.errstate(invalid="ignore"):
        return np.where(product == 0.0, 0.0, level * product)


def _depth_scales(
    problem: _Problem, source: _Source, kappa: FloatArray, points: _Points
) -> FloatArray:
    """Scale of the source at every point and output, (k, K), without ridge."""
    n, _, noise, depth, n_threads = points
    outputs = source.mean.shape[0]
    if not np.isfinite(source.level).all():  # a source of infinite norm
        return np.where(n[:, None] > 0.0, 0.0, 1.0) * np.ones(outputs)
    spectrum = problem.spectrum
    rows = np.concatenate([source.mean**2, source.diagonal[None], problem.target**2])
    fitted = core.linear.metric_sums(spectrum, rows, kappa, _FITTED, n_threads)
    rest = core.linear.metric_sums(spectrum, rows[: outputs + 1], kappa, _REST, n_threads)
    some = n > 0.0
    # |X^+ noise|^2: sigma^2 / kappa below the rank, sigma^2 tr(Sigma^+) / (n - rank) above
    positive = spectrum[spectrum > 0.0]
    gain = np.divide(1.0, kappa, out=np.zeros_like(kappa), where=some & (kappa > 0.0))
    above = some & (kappa == 0.0)
    if above.any():
        extra = n - positive.size
        gain[above] = np.divide(
            (1.0 / positive).sum(), extra, out=np.full_like(n, np.inf), where=extra > 0.0
        )[above]
    heard = np.square(noise)
    heard = np.multiply(heard, gain, out=np.zeros_like(heard), where=heard > 0.0)
    a2 = fitted[:, outputs + 1 :] + heard[:, None]
    p2 = fitted[:, :outputs] + fitted[:, outputs, None] * source.level
    q2 = rest[:, :outputs] + rest[:, outputs, None] * source.level
    a2[~some], p2[~some], q2[~some] = 1.0, 1.0, 0.0  # no data: the source as it is
    layers = np.full(a2.size, float(depth))
    scale, _ = core.linear.deep_scale(a2.ravel(), p2.ravel(), q2.ravel(), layers)
    return np.asarray(scale).reshape(a2.shape)


# ---------------------------------------------------------------------------------------------
# solve and curve


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LinearTheory(Result):
    r"""Predicted risks of a `LinearModel`; all are excess risks, summed over outputs (see `solve`).

    Parameters
    ----------
    status : Status
        ``invalid`` where a risk is infinite (n or ``n_source`` equals the rank, with noise).
    n_iter : int
        Passes over the spectrum.
    residual : float
        Relative residual of the equation of ``kappa``.
    message : str
        What happened, in words.
    model : LinearModel
        What was solved.
    risk : float
        Fine-tuning from the source; ``bias + variance``.
    bias, variance : float
        The parts without and with the target's label noise.
    kappa, df1, df2 : float
        Effective ridge and degrees of freedom of the target problem (see `effective_ridge`).
    source_scale : float or ndarray of shape (n_outputs,)
        Scale c with which the source enters: 1 at depth 1, one per output in a deep network.
    risk_scratch : float
        The same training from a zero source.
    optimal_scale : float
        Scale of the source with the smallest risk (1 where the scale does not matter). It is the
        effective scale: compare it with ``source_scale``.
    risk_optimal : float
        Risk at ``optimal_scale``; never above ``risk_scratch``.
    risk_zero_shot : float
        The source as it is, without target data.
    risk_bound : float
        Top-k/tail upper bound on ``risk``.
    bound_k : int
        Number of leading eigenvalues in the best bound; -1 where there is none.
    """

    model: LinearModel
    risk: float
    bias: float
    variance: float
    kappa: float
    df1: float
    df2: float
    source_scale: Any
    risk_scratch: float
    optimal_scale: float
    risk_optimal: float
    risk_zero_shot: float
    risk_bound: float
    bound_k: int


def _check_depth(depth: float, ridge: FloatArray) -> None:
    if depth != 1 and (ridge != 0.0).any():
        raise ValueError(
            f"ridge must be 0 at depth {depth:g}: the asymptotic risk of deep networks is known "
            f"without ridge only, got {ridge[ridge != 0.0][0]:g}"
        )


def solve(model: LinearModel) -> LinearTheory:
    r"""Exact asymptotic risk of fine-tuning, and of its alternatives.

    With :math:`\kappa` the `effective_ridge`, :math:`M = \kappa^2 (\Sigma+\kappa)^{-1} \Sigma
    (\Sigma+\kappa)^{-1}` (:math:`\Sigma` at n = 0) and the source used at scale c,

    .. math:: R(c) = \frac{(\theta_T - c v)^T M (\theta_T - c v) + c^2 e + \sigma^2\,
        \mathrm{df}_2/n}{1 - \mathrm{df}_2/n},

    where v is the source, or its mean :math:`(\Sigma_S+\kappa_S)^{-1} \Sigma_S \theta_S` if it is
    itself learned from ``n_source`` samples, and e is the spread of such a source in the metric M,
    :math:`(b_S + \sigma_S^2) \operatorname{tr}[M (\Sigma_S+\kappa_S)^{-1} \Sigma_S
    (\Sigma_S+\kappa_S)^{-1}] / (n_S - \mathrm{df}_{2,S})`. A deep network has the c of
    `deep_scale`, whose arguments concentrate.

    Parameters
    ----------
    model : LinearModel
        The problem. Covariances need not commute.

    Returns
    -------
    LinearTheory
        Risks, their parts, and the best scale of the source.

    Raises
    ------
    ValueError
        If a covariance is not positive semi-definite, a ridge is below its limit, or a deep
        network has a ridge.

    Warns
    -----
    ValidityWarning
        If a risk is infinite: n (or ``n_source``) equals the rank of the covariance, with noise
        and without ridge.

    Notes
    -----
    For a zero source the risk is the one of [2]_; the source, its finite sample, the best scale,
    the bound and depth are derived here, after [1]_.

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A Theoretical Analysis of Fine-tuning with
       Linear Teachers", NeurIPS 34 (2021).
    .. [2] T. Hastie, A. Montanari, S. Rosset and R. J. Tibshirani, "Surprises in High-Dimensional
       Ridgeless Least Squares Interpolation", Ann. Statist. 50 (2022) 949-986.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, solve
    >>> teacher = np.ones(100) / 10
    >>> theory = solve(LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1))
    >>> round(theory.risk, 9), round(theory.risk_scratch, 9)
    (0.135, 0.51)
    """
    _expect_model(model)
    n, ridge, noise = np.array([[float(model.n)], [model.ridge], [model.noise]])
    _check_depth(model.depth, ridge)
    problem = _prepare(model)
    source = _source(problem, model.n_source, model.noise_source, model.ridge_source)
    values, root = _evaluate(problem, source, _Points(n, ridge, noise, model.depth, 1))
    scale = values.pop("source_scale")[0]
    numbers = {name: value[0].item() for name, value in values.items()}
    status = _statuses(values, root)[0]
    message = status.sentence
    if status is Status.INVALID:
        where = "n" if math.isinf(numbers["variance"]) else "n_source"
        message = (
            f"the risk is infinite: {where} equals the rank of its covariance, with label noise "
            "and without ridge"
        )
    result = LinearTheory(
        model=model,
        source_scale=float(scale[0]) if scale.size == 1 else scale,
        status=status,
        n_iter=int(root.n_iter[0]),
        residual=float(root.residual[0]),
        message=message,
        **numbers,
    )
    report_status(
        status, result.residual, "solve" if status is not Status.INVALID else f"solve: {message}:"
    )
    return result


def curve(model: LinearModel, **axes: Iterable[float]) -> Sweep:
    """Solve a model over a grid of its scalar parameters, with one factorisation for all.

    Parameters
    ----------
    model : LinearModel
        What every point has in common.
    **axes : iterable of float
        Values of ``n``, ``noise``, ``ridge``, ``depth``, and of a finite source ``n_source``,
        ``noise_source`` and ``ridge_source``; the grid is their product.

    Returns
    -------
    Sweep
        Fields of `LinearTheory` and ``status`` on the grid. ``source_scale`` is left out where
        outputs have scales of their own. An infinite risk has the status ``invalid``; there is no
        warning.

    Raises
    ------
    ValueError
        If a name is not a scalar parameter, an axis is empty, or a value is outside its domain.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, curve
    >>> model = LinearModel(1, np.ones(100), source_coef=0.9 * np.ones(100))
    >>> sweep = curve(model, n=[20, 40, 60])
    >>> sweep["risk"].round(9).tolist()
    [0.8, 0.6, 0.4]
    """
    _expect_model(model)
    grid = _check_axes(model, axes)
    shape = tuple(len(v) for v in grid.values())
    order = {name: axis for axis, name in enumerate(grid)}
    fast = [name for name in ("n", "ridge", "noise") if name in grid]
    slow = [name for name in grid if name not in fast]
    inner = tuple(shape[order[name]] for name in fast)
    mesh = dict(zip(fast, np.meshgrid(*(grid[f] for f in fast), indexing="ij"), strict=True))
    n, ridge, noise = (
        np.array(np.broadcast_to(mesh.get(name, getattr(model, name)), inner), float).ravel()
        for name in ("n", "ridge", "noise")
    )
    for depth in grid.get("depth", [model.depth]):
        _check_depth(float(depth), ridge)

    problem = _prepare(model)
    n_threads = effective_n_threads(None)
    outer = tuple(shape[order[name]] for name in slow)
    several = model.n_outputs > 1 and max(grid.get("depth", [model.depth])) > 1
    names = [n for n in _SCALAR_FIELDS if n != "source_scale" or not several]
    out: dict[str, NDArray[Any]] = {
        n: np.empty(outer + inner, dtype=np.int64 if n == "bound_k" else np.float64) for n in names
    }
    status = np.empty(outer + inner, dtype=object)
    for index in itertools.product(*(range(s) for s in outer)):
        at = {name: grid[name][i].item() for name, i in zip(slow, index, strict=True)}
        source = _source(
            problem,
            *(at.get(name, getattr(model, name)) for name in _SOURCE_SCALARS),
        )
        depth = float(at.get("depth", model.depth))
        points = _Points(n, ridge, noise, depth, n_threads)
        values, root = _evaluate(problem, source, points)
        for name in names:
            value = values[name][:, 0] if name == "source_scale" else values[name]
            out[name][index] = value.reshape(inner)
        found = np.array([str(s) for s in _statuses(values, root)], dtype=object)
        status[index] = found.reshape(inner)
    back = [(slow + fast).index(name) for name in grid]
    stacked = {name: np.ascontiguousarray(v.transpose(back)) for name, v in out.items()}
    stacked["status"] = status.transpose(back).astype(str)
    return Sweep(grid, stacked, "LinearModel")


_SOURCE_SCALARS = ("n_source", "noise_source", "ridge_source")


def _check_axes(model: LinearModel, axes: Mapping[str, Iterable[float]]) -> dict[str, NDArray[Any]]:
    if not axes:
        raise ValueError("name at least one parameter to sweep, e.g. curve(model, n=[10, 20, 40])")
    grid = {}
    for name, values in axes.items():
        if name not in SCALARS:
            raise ValueError(
                f"{name!r} is not a scalar parameter of LinearModel: {sorted(SCALARS)}"
            )
        if name in _SOURCE_SCALARS and model.source_kind != "finite":
            raise ValueError(f"{name} describes a finite source: the model needs theta_source")
        items = np.asarray(list(values))
        if items.ndim != 1 or not items.size:
            raise ValueError(f"axis {name!r} must be a non-empty list of numbers")
        grid[name] = np.array([SCALARS[name](item) for item in _plain(items, name)])
    return grid


def _plain(items: NDArray[Any], name: str) -> list[Any]:
    """Entries of an axis; whole floats stand for integers, as arrays with ``inf`` need."""
    whole = name == "depth" and items.dtype.kind == "f"
    return [int(v) if whole and math.isfinite(v) and v == int(v) else v for v in items.tolist()]


def _statuses(values: Mapping[str, NDArray[Any]], root: _Roots) -> list[Status]:
    infinite = np.isinf(values["risk"])
    return [
        Status.INVALID if bad else Status.from_core(int(code))
        for bad, code in zip(infinite, root.status, strict=True)
    ]


def _worst(codes: NDArray[np.int32]) -> Status:
    return Status.from_core(int(codes.max(initial=0)))


def _expect_model(model: object) -> None:
    if not isinstance(model, LinearModel):
        raise TypeError(f"model must be a LinearModel, got {type(model).__name__}")


def _require(ok: NDArray[np.bool_], array: FloatArray, name: str, domain: str) -> None:
    if not ok.all():
        index = tuple(np.argwhere(~ok)[0])
        where = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(f"{name}{where} must be {domain}, got {array[index]:g}")


def _depths(depth: ArrayLike) -> FloatArray:
    array = np.asarray(depth)
    if array.dtype.kind not in "uif":
        raise TypeError(f"depth must hold integers or inf, got dtype {array.dtype}")
    layers = array.astype(np.float64)
    whole = (layers >= 1.0) & ((layers == np.floor(layers)) | np.isposinf(layers))
    _require(whole, layers, "depth", "an integer of at least 1, or inf")
    return layers


def _broadcast(**arrays: FloatArray) -> list[FloatArray]:
    try:
        return [a.copy(order="C") for a in np.broadcast_arrays(*arrays.values())]
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"shapes do not broadcast together: {shapes}") from None


def _shaped(values: FloatArray, shape: tuple[int, ...]) -> FloatOrArray:
    return values.reshape(shape) if shape else float(values.reshape(-1)[0])
