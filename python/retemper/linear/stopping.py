"""Training stopped in time, in high dimension: gradient flow and stochastic descent."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.linear.rows import RowClasses
from retemper.linear.spectral import roots

ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]

__all__ = [
    "Steps",
    "Stopped",
    "complex_ridge",
    "contour",
    "repeated_descent",
    "stopped_classes",
    "stopped_flow",
]

#: Nodes of the contour above the real axis; the error of the rule falls as exp(-2 pi N / 3).
_NODES = 18
_FIXED_POINT, _NEWTON = 60, 60


class Steps(NamedTuple):
    """Steps of stochastic descent whose rows are drawn anew, with replacement."""

    size: float
    batch: float  # rows of a step
    total: int

    @property
    def time(self) -> float:
        """When they end."""
        return self.size * self.total


class Stopped(NamedTuple):
    """Means over samples of training from zero that stops at a time.

    For gradient flow F = exp(-t S) of the sample covariance S; stochastic descent adds its noise.
    """

    sums: FloatArray  # (m,) sum_i q_i [F Sigma F]_ii for every row q: the risk
    variance: Any  # tr[Sigma (1 - F)^2 S^-1] / n, the risk per variance of the label noise
    fitted: FloatArray  # (m,) sum_i q_i [F S F]_ii: mean squared residual of the rows
    floor: Any  # the same per variance of the label noise


def stopped_flow(spectrum: FloatArray, rows: FloatArray, n: float, time: float) -> Stopped:
    r"""Risk and training error, in several directions and from noise, of flow stopped at a time.

    The exponential of the sample covariance is a sum of resolvents on a parabola (Weideman and
    Trefethen 2007), and products of two resolvents have deterministic equivalents; derived here
    (`derivations/linear#training-that-stops`).

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    rows : ndarray of shape (m, d)
        Weights of the eigendirections; products of components of two vectors.
    n : float
        Number of samples, above 0.
    time : float
        When training stops, above 0; of the loss |y - Xw|² / (2n).

    Returns
    -------
    Stopped
        The sums and what noise adds.

    Raises
    ------
    NumericalError
        If the equation of the effective ridge is not solved at a node.
    """
    filter_ = contour(time)
    s, weight = contour(2.0 * time)  # of the square
    kappa = complex_ridge(spectrum, n, s)
    over = spectrum / (spectrum + kappa[:, None])
    once, twice = (_noise_sum(spectrum, n, *each) for each in (filter_, (s, weight)))
    return Stopped(
        _pair_sums(spectrum, rows, n, filter_),
        max(2.0 * once - twice, 0.0),
        (weight @ over @ rows.T).real,
        max(float((weight / kappa).sum().real), 0.0),
    )


def stopped_classes(
    spectrum: FloatArray, rows: FloatArray, n: float, time: float, classes: RowClasses
) -> Stopped:
    r"""The same for rows of several classes of noise, scale and weight.

    Derived here (`derivations/linear#rows-that-are-not-alike`).

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    rows : ndarray of shape (m, d)
        Weights of the eigendirections; products of components of two vectors.
    n : float
        Number of samples, above 0.
    time : float
        When training stops, above 0; of the weighted loss.
    classes : RowClasses
        The classes of the rows.

    Returns
    -------
    Stopped
        The sums and what noise adds, per variance of the noise of the model.

    Raises
    ------
    NumericalError
        If the equations of the effective ridge are not solved at a node.
    """
    n, time = n * classes.carried, time * classes.carried
    s, weight = contour(time)
    kappa, left = _class_ridge(spectrum, n, s, classes)
    held = 1.0 - left
    mean = held @ classes.share
    cross = (held * classes.share) @ held.T / (mean[:, None] * mean)
    sums = _pair_sums(spectrum, rows, n, (s, weight), kappa=kappa, cross=cross)
    # noise of row i is amplified by x_i' F(S) Sigma F(S) x_i, of resolvents without the row
    factor = weight / s
    loud = (left * classes.share * classes.size**2 * classes.noise) @ left.T / n
    pairs = factor[:, None] * factor * loud
    variance = _pair_sums(
        spectrum, spectrum[None], n, (s, np.ones_like(s)), kappa=kappa, cross=cross, pairs=pairs
    )
    s, weight = contour(2.0 * time)
    kappa, left = _class_ridge(spectrum, n, s, classes)
    over = spectrum / (spectrum + kappa[:, None])
    noise = classes.share * classes.size * classes.noise
    floor = float(((weight / s) @ left @ noise).real)
    return Stopped(
        sums,
        float(variance[0]),
        classes.carried * (weight @ over @ rows.T).real,
        classes.carried * max(floor, 0.0) + classes.empty,
    )


def _class_ridge(
    spectrum: FloatArray, n: float, ridge: ComplexArray, classes: RowClasses
) -> tuple[ComplexArray, ComplexArray]:
    """Effective ridge (k,) of complex ridges, and what every class leaves of its labels (k, m)."""
    q: ComplexArray = spectrum.sum() / n / ridge
    for turn in range(_FIXED_POINT + _NEWTON):
        left = 1.0 / (1.0 + classes.size * q[:, None])
        pull = left @ (classes.share * classes.size)
        over = 1.0 / (pull[:, None] * spectrum + ridge[:, None])
        image = over @ spectrum / n
        if turn >= _FIXED_POINT:
            bend = np.square(left) @ (classes.share * classes.size**2)
            image = q - (q - image) / (1.0 - bend * (np.square(over) @ spectrum**2) / n)
        elif turn % 2:
            image = 0.5 * (q + image)  # iterates that turn around the root
        close = abs(image - q) <= 1e-15 * abs(q)
        q = image
        if close.all():
            break
    left = 1.0 / (1.0 + classes.size * q[:, None])
    pull = left @ (classes.share * classes.size)
    gap = abs((1.0 / (pull[:, None] * spectrum + ridge[:, None])) @ spectrum / n - q) / abs(q)
    if not gap.max() <= 1e-10 or ((ridge / pull).imag * ridge.imag < 0.0).any():
        raise NumericalError(
            "the effective ridge of complex ridges and rows of several classes was not found: "
            f"relative residual {gap.max():g} of q = tr[Sigma (g Sigma + ridge)^-1] / n"
        )
    return ridge / pull, left


def _pair_sums(
    spectrum: FloatArray,
    rows: FloatArray,
    n: float,
    nodes: tuple[ComplexArray, ComplexArray],
    *,
    pairs: ComplexArray | float = 1.0,
    kappa: ComplexArray | None = None,
    cross: ComplexArray | float = 1.0,
) -> FloatArray:
    """Sums of q_i [F Sigma F]_ii for F = sum of weight / (s + S), (m,), its products weighed."""
    s, weight = nodes
    kappa = complex_ridge(spectrum, n, s) if kappa is None else kappa
    over = 1.0 / (spectrum + kappa[:, None])  # (2N, d)
    factor = weight * kappa / s
    apart = 1.0 - (over * spectrum**2) @ over.T * cross / n
    pairs = pairs * factor[:, None] * factor / apart
    above = s.imag > 0.0  # the other half of the nodes adds the conjugate
    half, pairs = over[above], 2.0 * pairs[above]
    return np.array([((half * (q * spectrum)) @ over.T * pairs).sum().real for q in rows])


#: Steps up to which moments are found one by one, and nodes of the circle that they are found on.
_FEW, _CIRCLE = 12, 96


def repeated_descent(spectrum: FloatArray, rows: FloatArray, n: float, steps: Steps) -> Stopped:
    r"""Risk and training error of stochastic descent with rows drawn with replacement.

    A Volterra equation of the training error, as Paquette et al. (2021) have it, with effective
    ridges in the place of the eigenvalues of a sample; derived here
    (`derivations/linear#several-passes-of-stochastic-descent`).

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    rows : ndarray of shape (m, d)
        Weights of the eigendirections; products of components of two vectors.
    n : float
        Number of samples, above 0.
    steps : Steps
        The steps, at least one, of a size below `largest_step_size`.

    Returns
    -------
    Stopped
        The sums and what noise adds.

    Raises
    ------
    NumericalError
        If the equation of the effective ridge is not solved at a node.
    """
    # above all sample eigenvalues
    edge = (spectrum.max() ** 0.5 + (spectrum.sum() / n) ** 0.5) ** 2
    if steps.total < _FEW:
        return _few_steps(spectrum, rows, n, steps, edge)
    # products of two filters: to second order in the step, (1 - h z)(1 - h z') + h² z z' / b are
    # those of steps h (1 - 1/b)
    pair = _power(steps, steps.size * (1.0 - 1.0 / steps.batch), edge)
    once = _noise_sum(spectrum, n, *_power(steps, steps.size, edge))
    # squares: powers of a(z) = (1 - h z)² + h² z² / b, by their generating function 1 / (q - a(z))
    p, weight = contour(steps.time)
    weight = weight * steps.size * np.exp(steps.size * p)
    s, ratio = _generating(p, steps)
    twice = _noise_sum(spectrum, n, s, np.concatenate([weight * ratio, -weight * ratio]))
    kappa = complex_ridge(spectrum, n, s)
    over = spectrum / (spectrum + kappa[:, None])

    def generated(at_nodes: ComplexArray) -> ComplexArray:
        near, far = np.split(at_nodes, 2)
        return ratio.reshape(-1, *(1,) * (near.ndim - 1)) * (near - far)

    heat = steps.size**2 / steps.batch
    memory = generated((over * (spectrum + (kappa - s)[:, None])).sum(axis=1))
    response = weight / (1.0 - heat * memory)
    forced, noise = generated(over @ rows.T), generated(1.0 / kappa)
    passed = heat * response * generated(over @ spectrum)
    return Stopped(
        _pair_sums(spectrum, rows, n, pair) + (passed @ forced).real,
        max(2.0 * once - twice + float((passed @ noise).real), 0.0),
        (response @ forced).real,
        max(float((response @ noise).real), 0.0),
    )


def _power(steps: Steps, step: float, edge: float) -> tuple[ComplexArray, ComplexArray]:
    """Nodes and weights of `contour`, and its mirror image where eigenvalues are overshot."""
    s, weight = contour(steps.time, step)
    if step * edge < 1.0:
        return s, weight
    sign = 1.0 if steps.total % 2 else -1.0
    return np.concatenate([s, -s - 2.0 / step]), np.concatenate([weight, sign * weight])


def _generating(p: ComplexArray, steps: Steps) -> tuple[ComplexArray, ComplexArray]:
    """1 / (exp(h p) - a(z)) = ratio (1 / (z + s) - 1 / (z + s')): s with s', and the ratio."""
    bend = 1.0 + 1.0 / steps.batch
    root = np.sqrt(1.0 + bend * np.expm1(steps.size * p))
    near = -np.expm1(steps.size * p) / (1.0 + root)  # (1 - root) / bend without cancellation
    far = (1.0 + root) / bend
    both = np.concatenate([-near, -far]).astype(np.complex128) / steps.size
    return both, 0.5 / (steps.size * root)


def _few_steps(
    spectrum: FloatArray, rows: FloatArray, n: float, steps: Steps, edge: float
) -> Stopped:
    """The same for few steps: powers one by one, as sums over a circle around all eigenvalues."""
    turn = np.exp(2j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE)
    z = edge * (0.5 + 0.75 * turn)
    s, weight = -z, -0.75 * edge * turn / _CIRCLE
    kappa = complex_ridge(spectrum, n, s)
    over = spectrum / (spectrum + kappa[:, None])
    k, h, b = steps.total, steps.size, steps.batch
    kept = (1.0 - h * z) ** 2 + (h * z) ** 2 / b
    powers = weight * kept ** np.arange(k + 1)[:, None]  # (k + 1, nodes)
    pairs = (1.0 - h * z[:, None]) * (1.0 - h * z) + h**2 / b * z[:, None] * z
    memory = (powers @ (over * (spectrum + (kappa - s)[:, None])).sum(axis=1)).real
    passed = (powers @ (over @ spectrum)).real
    forced = (powers @ np.column_stack([over @ rows.T, 1.0 / kappa])).real  # (k + 1, m + 1)
    heat, error = h**2 / b, forced.copy()
    for j in range(1, k + 1):
        error[j] += heat * memory[j - 1 :: -1] @ error[:j]
    sums = _pair_sums(spectrum, rows, n, (s, weight), pairs=pairs**k)
    once = _noise_sum(spectrum, n, s, weight * (1.0 - h * z) ** k)
    variance = 2.0 * once - _noise_sum(spectrum, n, s, powers[k])
    more = heat * passed[k - 1 :: -1] @ error[:k]
    return Stopped(sums + more[:-1], max(variance + more[-1], 0.0), error[k, :-1], error[k, -1])


def _noise_sum(spectrum: FloatArray, n: float, s: ComplexArray, weight: ComplexArray) -> float:
    """tr[Sigma (1 - F) S^-1] / n of F = sum of weight / (s + S), F = 1 at S = 0.

    As the sum of weight (kappa - end - s) / s², without the difference of near numbers.
    """
    end = float(roots(spectrum, np.array([n]), np.zeros(1), 1).effective_ridge[0])
    kappa = complex_ridge(spectrum, n, s)
    some = spectrum[spectrum > 0.0]
    share = (some / (some + kappa[:, None])) @ (some / (some + end)) / n
    return float((weight * share / (1.0 - share) / s).sum().real)


def contour(time: float, step: float = 0.0) -> tuple[ComplexArray, ComplexArray]:
    """Nodes s and weights w with exp(-t z) = sum of w / (s + z) for every z >= 0.

    Parameters
    ----------
    time : float
        The time t, above 0.
    step : float, default=0.0
        Step h of descent: (1 - h z)^(t / h) in the place of the exponential, for h z < 1.

    Returns
    -------
    ndarray of shape (2N,), ndarray of shape (2N,)
        Nodes and weights, in conjugate pairs: entry k and entry 2N - 1 - k.
    """
    spacing, size = 3.0 / _NODES, np.pi * _NODES / (12.0 * time)
    u = spacing * (np.arange(-_NODES, _NODES) + 0.5)
    s = size * (1.0 + 1j * u) ** 2
    slope = 2j * size * (1.0 + 1j * u)
    weight = spacing / (2j * np.pi) * np.exp(s * time) * slope
    if step > 0.0:  # the logarithm of 1 - h z for -h z
        weight = weight * np.exp(step * s)
        s = np.expm1(step * s) / step
    return s, weight


def complex_ridge(spectrum: FloatArray, n: float, ridge: ComplexArray) -> ComplexArray:
    """Effective ridge of complex ridges off the negative axis: kappa (1 - df1 / n) = ridge.

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    n : float
        Number of samples.
    ridge : ndarray of shape (k,)
        Complex ridges.

    Returns
    -------
    ndarray of shape (k,)
        The root that continues the one of positive ridges; it has the sign of the ridge above
        and below the real axis.

    Raises
    ------
    NumericalError
        If it is not found.
    """
    for contours in (1, 2):  # conjugate nodes have conjugate roots
        if ridge.size % (2 * contours):
            continue
        each = ridge.reshape(contours, 2, -1)
        if (each[:, 0] == each[:, 1, ::-1].conj()).all():
            root = _complex_root(spectrum, n, each[:, 0].ravel()).reshape(contours, 1, -1)
            return np.concatenate([root, root[..., ::-1].conj()], axis=1).ravel()
    return _complex_root(spectrum, n, ridge)


def _complex_root(spectrum: FloatArray, n: float, ridge: ComplexArray) -> ComplexArray:
    """Roots of kappa (1 - df1 / n) = ridge: Newton's method, after a few turns of the map."""
    for first in (_FIXED_POINT // 10, _FIXED_POINT):  # more of them where few are not enough
        kappa, wrong, gap = _from_map(spectrum, n, ridge, first)
        if not wrong.any():
            return kappa
    raise NumericalError(
        f"the effective ridge of complex ridges was not found: relative residual {gap:g}"
    )


def _from_map(
    spectrum: FloatArray, n: float, ridge: ComplexArray, first: int
) -> tuple[ComplexArray, NDArray[np.bool_], float]:
    """Roots after some turns of the map and Newton's steps, where they are wrong, residual."""
    kappa: ComplexArray = ridge + spectrum.sum() / n
    for turn in range(first + _NEWTON):
        over = 1.0 / (spectrum + kappa[:, None])
        image = ridge + kappa * (over @ spectrum) / n
        if turn >= first:  # the map keeps half planes: its iterates are near the root
            image = kappa - (kappa - image) / (1.0 - np.square(over) @ spectrum**2 / n)
        # the error after a step of Newton's is the square of the step
        close = abs(image - kappa) <= (1e-15 if turn < first else 1e-10) * abs(kappa)
        kappa = image
        if close.all():
            break
    over = 1.0 / (spectrum + kappa[:, None])
    left = abs(kappa - kappa * (over @ spectrum) / n - ridge) / (abs(ridge) + abs(kappa))
    wrong = ~(left <= 1e-11) | (kappa.imag * ridge.imag < 0.0)
    return kappa, wrong, float(left.max())
