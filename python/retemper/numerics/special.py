"""Special functions over arrays, the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._threads import effective_n_threads


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
