"""Quadrature, special functions and averages the systems stand on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import report_status
from retemper._dispatch import core
from retemper._results import Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_real

__all__ = [
    "acos",
    "asin",
    "erfc",
    "erfcx",
    "exp",
    "gauss_hermite_rule",
    "gauss_legendre_rule",
    "gaussian_average",
    "hazard",
    "integrate",
    "log",
    "log_ndtr",
    "ndtr",
    "ndtri",
]

CITATION_KEYS = ("golub1969",)


# ---- quadrature ----

LARGEST_ORDER = 10_000


@lru_cache(maxsize=32)
def _rule(name: str, order: int) -> tuple[FloatArray, FloatArray]:
    node, weight = getattr(core.numerics, name)(order)
    node.flags.writeable = weight.flags.writeable = False
    return node, weight


def gauss_hermite_rule(order: int) -> tuple[FloatArray, FloatArray]:
    r"""Gauss rule for averages over a standard normal variable.

    Parameters
    ----------
    order : int
        Number of nodes, in [1, 10000].

    Returns
    -------
    node : ndarray of shape (order,)
        Increasing, symmetric about zero, read-only.
    weight : ndarray of shape (order,)
        Positive, summing to one, read-only:
        :math:`\sum_k w_k f(z_k) \approx \mathbb{E} f(Z)`, exactly so for polynomials of degree
        below ``2 * order``. A weight below 5e-324 is zero.

    Raises
    ------
    TypeError
        If ``order`` is not an integer.
    ValueError
        If ``order`` is outside [1, 10000].

    See Also
    --------
    gauss_legendre_rule, gaussian_average

    References
    ----------
    .. [1] G. H. Golub and J. H. Welsch, "Calculation of Gauss quadrature rules", Math. Comp. 23
       (1969) 221-230.

    Examples
    --------
    >>> from retemper.numerics import gauss_hermite_rule
    >>> node, weight = gauss_hermite_rule(8)
    >>> round(float(weight @ node**6), 12)
    15.0
    """
    return _rule("gauss_hermite_rule", check_integer(order, "order", low=1, high=LARGEST_ORDER))


def gauss_legendre_rule(order: int) -> tuple[FloatArray, FloatArray]:
    r"""Gauss rule for integrals over [-1, 1].

    Parameters
    ----------
    order : int
        Number of nodes, in [1, 10000].

    Returns
    -------
    node : ndarray of shape (order,)
        Increasing, symmetric about zero, read-only.
    weight : ndarray of shape (order,)
        Positive, summing to two, read-only:
        :math:`\sum_k w_k f(x_k) \approx \int_{-1}^{1} f(x)\,dx`, exactly so for polynomials of
        degree below ``2 * order``.

    Raises
    ------
    TypeError
        If ``order`` is not an integer.
    ValueError
        If ``order`` is outside [1, 10000].

    See Also
    --------
    gauss_hermite_rule, integrate

    Notes
    -----
    Newton's iteration on the three-term recurrence written for the distance to the end of the
    interval; derived here (`derivations/numerics#gauss-legendre-rules`).

    Examples
    --------
    >>> from retemper.numerics import gauss_legendre_rule
    >>> node, weight = gauss_legendre_rule(5)
    >>> round(float(weight @ node**8), 12)  # 2 / 9
    0.222222222222
    """
    return _rule("gauss_legendre_rule", check_integer(order, "order", low=1, high=LARGEST_ORDER))


def _on_nodes(f: Callable[[FloatArray], ArrayLike]) -> Callable[[FloatArray], NDArray[Any]]:
    def values(x: FloatArray) -> NDArray[Any]:
        y = np.asarray(f(x))
        if y.shape != x.shape or y.dtype.kind not in "buif":
            raise ValueError(
                "f must return one real number for each of its arguments: it got an array of "
                f"shape {x.shape} and returned shape {y.shape}, dtype {y.dtype}"
            )
        return y.astype(np.float64, copy=False)

    return values


def _finish(result: tuple[float, float, float, int, str], what: str) -> tuple[float, float]:
    value, error, residual, _, status = result
    report_status(Status(status), residual, what, stacklevel=4)
    return value, error


def gaussian_average(
    f: Callable[[FloatArray], ArrayLike],
    *,
    breaks: ArrayLike = (),
    tol: float = 1e-12,
    max_panels: int = 1000,
    cutoff: float = 13.0,
) -> tuple[float, float]:
    r"""Average of a function of a standard normal variable, with an error estimate.

    Computes :math:`\mathbb{E} f(Z)`, :math:`Z \sim \mathcal{N}(0, 1)`, on panels of 24
    Gauss-Legendre nodes. The panels with the largest estimated errors are halved until the sum of
    the estimates is below ``tol`` times :math:`\mathbb{E} |f(Z)|`.

    Parameters
    ----------
    f : callable
        Takes an array of shape (m,) and returns one of that shape, real and finite.
    breaks : array_like of shape (n_breaks,), default=()
        Where ``f`` has kinks or jumps, in any order: they become panel edges. Without them such
        points are found by halving. A peak much narrower than 0.05 that lies between two nodes is
        not seen at all, nor is a jump closer than 0.01 to a break.
    tol : float, default=1e-12
        Tolerance relative to the average of the absolute value, in [1e-15, 1).
    max_panels : int, default=1000
        Limit on the number of panels.
    cutoff : float, default=13.0
        The average runs over [-cutoff, cutoff]; in (0, 38]. Raise it for functions that grow
        faster than ``exp(5 * z)``.

    Returns
    -------
    value : float
        The average.
    error : float
        Estimate of its absolute error: what the last terms of the Legendre series on each panel
        could add, and the size of ``f`` at the cut times the density there over ``cutoff``.

    Raises
    ------
    TypeError
        If ``f`` is not callable or an argument is of the wrong type.
    ValueError
        If an argument is outside its domain or ``f`` returns an array of another shape.
    NumericalError
        If ``f`` is not finite at a node.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached; the message carries the relative error estimate.

    See Also
    --------
    integrate, gauss_hermite_rule

    Notes
    -----
    The error estimate is derived here (`derivations/numerics#error-of-an-integral`): for values at
    the nodes of a panel, the four highest coefficients of the interpolating Legendre series tell
    what resolution is missing, and the difference between neighbouring series where they meet tells
    of a jump hidden beside the edge.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.numerics import gaussian_average
    >>> value, error = gaussian_average(lambda z: np.abs(z - 1), breaks=[1])
    >>> round(value, 12), error < 1e-14
    (1.166630941175, True)
    """
    return _finish(
        core.numerics.gaussian_average(
            _on_nodes(_check_callable(f)),
            as_float_array(breaks, "breaks"),
            check_real(cutoff, "cutoff", low=0.0, high=38.0, open_low=True),
            check_real(tol, "tol", low=1e-15, high=1.0, open_high=True),
            check_integer(max_panels, "max_panels", low=1),
        ),
        "gaussian_average",
    )


def integrate(
    f: Callable[[FloatArray], ArrayLike],
    low: float,
    high: float,
    *,
    breaks: ArrayLike = (),
    tol: float = 1e-12,
    max_panels: int = 1000,
) -> tuple[float, float]:
    r"""Integral of a function over a bounded interval, with an error estimate.

    The method of `gaussian_average` without the Gaussian weight; there are two panels at first
    between an end or break and the next.

    Parameters
    ----------
    f : callable
        Takes an array of shape (m,) and returns one of that shape, real and finite. It is not
        called at the ends or breaks themselves.
    low, high : float
        Ends of the interval, ``low < high``, at least 1e-290 apart.
    breaks : array_like of shape (n_breaks,), default=()
        Where ``f`` has kinks, jumps or narrow features, in any order.
    tol : float, default=1e-12
        Tolerance relative to the integral of the absolute value, in [1e-15, 1).
    max_panels : int, default=1000
        Limit on the number of panels.

    Returns
    -------
    value : float
        The integral.
    error : float
        Estimate of its absolute error.

    Raises
    ------
    TypeError
        If ``f`` is not callable or an argument is of the wrong type.
    ValueError
        If an argument is outside its domain or ``f`` returns an array of another shape.
    NumericalError
        If ``f`` is not finite at a node, or its integral overflows.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached; the message carries the relative error estimate.

    See Also
    --------
    gaussian_average, gauss_legendre_rule

    Notes
    -----
    The error estimate is derived here (`derivations/numerics#error-of-an-integral`); see
    `gaussian_average`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.numerics import integrate
    >>> value, error = integrate(np.sqrt, 0.0, 1.0)
    >>> round(value, 12), error < 1e-12
    (0.666666666667, True)
    """
    low = check_real(low, "low")
    return _finish(
        core.numerics.integrate(
            _on_nodes(_check_callable(f)),
            low,
            check_real(high, "high", low=low, open_low=True),
            as_float_array(breaks, "breaks"),
            check_real(tol, "tol", low=1e-15, high=1.0, open_high=True),
            check_integer(max_panels, "max_panels", low=1),
        ),
        "integrate",
    )


def _check_callable(f: object) -> Any:
    if not callable(f):
        raise TypeError(f"f must be callable, got {f!r}")
    return f


# ---- vector mathematics ----


def _elementwise(name: str, value: ArrayLike, argument: str, n_jobs: int | None) -> Any:
    raw = np.asarray(value)
    if raw.dtype.kind not in "buif":
        raise TypeError(f"{argument} must hold real numbers, got dtype {raw.dtype}")
    flat = np.ascontiguousarray(raw, dtype=np.float64).reshape(-1)
    result = getattr(core.numerics, name)(flat, effective_n_threads(n_jobs))
    return float(result[0]) if raw.ndim == 0 else result.reshape(raw.shape)


def exp(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Exponential.

    Parameters
    ----------
    x : array_like
        Exponents. Overflow gives infinity, underflow zero, without a warning.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`e^x`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    log

    Notes
    -----
    Within 1.5 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import exp
    >>> round(exp(1.0), 12)
    2.718281828459
    """
    return _elementwise("exp", x, "x", n_jobs)


def log(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Natural logarithm.

    Parameters
    ----------
    x : array_like
        Arguments; zero gives ``-inf`` and negative numbers NaN, without a warning.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\log x`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    exp

    Notes
    -----
    Within 1.5 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import log
    >>> log([1.0, 0.0])
    array([  0., -inf])
    """
    return _elementwise("log", x, "x", n_jobs)


def erfc(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Complementary error function.

    Parameters
    ----------
    x : array_like
        Arguments.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\operatorname{erfc}(x) = \frac{2}{\sqrt\pi} \int_x^\infty e^{-t^2}\,\mathrm{d}t`.
        Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    erfcx, ndtr

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> import math
    >>> from retemper.numerics import erfc
    >>> erfc([-math.inf, 0.0, math.inf])
    array([2., 1., 0.])
    """
    return _elementwise("erfc", x, "x", n_jobs)


def erfcx(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Scaled complementary error function.

    Parameters
    ----------
    x : array_like
        Arguments; below -26.7 the value overflows to infinity.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`e^{x^2} \operatorname{erfc}(x)`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    erfc, hazard

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> import math
    >>> from retemper.numerics import erfcx
    >>> round(erfcx(1e10) * 1e10 * math.sqrt(math.pi), 12)
    1.0
    """
    return _elementwise("erfcx", x, "x", n_jobs)


def ndtr(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Distribution function of the standard normal law.

    Parameters
    ----------
    x : array_like
        Quantiles.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\Phi(x) = \int_{-\infty}^x e^{-t^2/2}\,\mathrm{d}t / \sqrt{2\pi}`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    log_ndtr, ndtri

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import ndtr
    >>> ndtr(0.0)
    0.5
    """
    return _elementwise("ndtr", x, "x", n_jobs)


def log_ndtr(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Logarithm of the distribution function of the standard normal law.

    Parameters
    ----------
    x : array_like
        Quantiles; the lower tail does not underflow.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\log \Phi(x)`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    ndtr, hazard

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import log_ndtr
    >>> round(log_ndtr(-1e6), 3)
    -500000000014.734
    """
    return _elementwise("log_ndtr", x, "x", n_jobs)


def hazard(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Hazard of the standard normal law.

    Parameters
    ----------
    x : array_like
        Quantiles.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\varphi(x) / \Phi(x) = \frac{\mathrm{d}}{\mathrm{d}x} \log \Phi(x)`, close to
        :math:`-x` in the lower tail. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    log_ndtr, erfcx

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import hazard
    >>> round(hazard(-1e3), 6)
    1000.001
    """
    return _elementwise("hazard", x, "x", n_jobs)


def ndtri(p: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Inverse distribution function of the standard normal law.

    Parameters
    ----------
    p : array_like
        Probabilities; 0 and 1 give minus and plus infinity, anything outside gives NaN.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        The quantile :math:`x` with :math:`\Phi(x) = p`. Shape of ``p``.

    Raises
    ------
    TypeError
        If ``p`` does not hold real numbers.

    See Also
    --------
    ndtr

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> from retemper.numerics import ndtri
    >>> ndtri([0.0, 0.5, 1.0])
    array([-inf,   0.,  inf])
    """
    return _elementwise("ndtri", p, "p", n_jobs)


def asin(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Inverse sine.

    Parameters
    ----------
    x : array_like
        Arguments; NaN outside :math:`[-1, 1]`, without a warning.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\arcsin x` in radians, in :math:`[-\pi/2, \pi/2]`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    acos

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> import math
    >>> from retemper.numerics import asin
    >>> asin(1.0) == math.pi / 2
    True
    """
    return _elementwise("asin", x, "x", n_jobs)


def acos(x: ArrayLike, *, n_jobs: int | None = None) -> Any:
    r"""Inverse cosine.

    Parameters
    ----------
    x : array_like
        Arguments; NaN outside :math:`[-1, 1]`, without a warning.
    n_jobs : int or None, default=None
        Threads. ``None`` follows the OpenMP limit, ``-1`` uses every core. The value never
        changes a bit of the result.

    Returns
    -------
    float or ndarray of float64
        :math:`\arccos x` in radians, in :math:`[0, \pi]`. Shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` does not hold real numbers.

    See Also
    --------
    asin

    Notes
    -----
    Within 8 units in the last place. Derived here (`derivations/numerics#special-functions`):
    polynomials fitted with 60 digits.

    Examples
    --------
    >>> import math
    >>> from retemper.numerics import acos
    >>> acos(-1.0) == math.pi
    True
    """
    return _elementwise("acos", x, "x", n_jobs)


# ---- end of vector mathematics ----
