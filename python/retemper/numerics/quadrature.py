"""Gauss rules, and averages and integrals with an estimate of their error."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import report_status
from retemper._dispatch import core
from retemper._results import Status
from retemper._validation import FloatArray, as_float_array, check_integer, check_real

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
