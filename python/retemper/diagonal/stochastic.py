"""What the noise of stochastic gradients does to the scales of the penalty."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.diagonal.flow import gradient_flow
from retemper.diagonal.mirror import as_start
from retemper.diagonal.network import EffectiveScale
from retemper.exceptions import ValidityWarning

#: Loss of log scale per step above which the first order in the step size is too rough.
MOST_PER_STEP = 0.05
_N_TIMES = 600
_SMALLEST = 1e-300


def stochastic_scale(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    step_size: float,
    n_steps: int,
    label_noise: float = 0.0,
    batch_size: int | None = None,
    centre: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> EffectiveScale:
    r"""Scale and centre of the penalty after descent with noisy labels, with batches, or with both.

    A step :math:`\eta` with the gradient G multiplies the scale of two layers by
    :math:`|1-\eta^2G_d^2|` and moves the mirror coordinate by a combination of rows, exactly. So
    training from (scale, centre) ends where gradient flow from this function's (scale, centre)
    ends: `minimum_penalty` finds it. To first order in the step,

    .. math:: \ln\frac{c_d'}{c_d} = -\eta\int\mathrm E[G_d^2]\,dt,\qquad
        \mathrm E[G_d^2] = (x_d\cdot r)^2 + \delta^2\lVert x_d\rVert^2

    with all rows in every step, along the residuals r of gradient flow; a batch of b of n rows
    makes it :math:`(1-\tfrac1b)(x_d\cdot r)^2 + \tfrac nb\sum_iX_{id}^2(r_i^2+\delta^2)`. The
    centre shrinks by the same factor. Derived here
    (`derivations/diagonal#noise-of-stochastic-gradients`); that batches lower the scale by their
    loss is known from networks of squares [1]_, that label noise goes to the lasso from [2]_.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, as it is.
    y : array_like of shape (n_samples,)
        Labels without the noise of the steps.
    scale : array_like of shape (n_features,) or float
        Non-negative scales c at the start, such as those of `effective_scale`.
    step_size : float
        Geometric mean of the learning rates of the two layers, in [1e-100, 1e100].
    n_steps : int
        Steps.
    label_noise : float, default=0.0
        Standard deviation of normal noise that is drawn anew for every label of every step.
    batch_size : int or None, default=None
        Rows drawn with replacement at every step, their gradient scaled to the whole; all rows if
        None.
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at the start; zero if None.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    EffectiveScale
        ``scale`` and ``centre`` after these steps, both falling with the noise.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or a scale falls below 1e-300: the
        solution is then that of the lasso with the weights ``(X**2).sum(0)``.
    NumericalError
        If the flow did not arrive at the last step.

    Warns
    -----
    ValidityWarning
        If a single step takes more than a twentieth of a scale.

    See Also
    --------
    minimum_penalty, train_network, effective_scale

    References
    ----------
    .. [1] S. Pesme, L. Pillaud-Vivien, N. Flammarion, "Implicit Bias of SGD for Diagonal Linear
       Networks: a Provable Benefit of Stochasticity", NeurIPS (2021).
    .. [2] J. Z. HaoChen, C. Wei, J. D. Lee, T. Ma, "Shape Matters: Understanding the Implicit Bias
       of the Noise Covariance", COLT (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import stochastic_scale
    >>> X = np.random.default_rng(0).normal(size=(5, 10)) / 10**0.5
    >>> noisy = stochastic_scale(X, X[:, 0], 0.1, step_size=0.01, n_steps=10_000, label_noise=1.0)
    >>> plain = stochastic_scale(X, X[:, 0], 0.1, step_size=0.01, n_steps=10_000)
    >>> fall = np.exp(-(0.01**2) * 10_000 * (X**2).sum(0))
    >>> bool(np.allclose(noisy.scale / plain.scale, fall))
    True
    """
    design, labels = as_float_array(X, "X", ndim=2), as_float_array(y, "y")
    n, d = design.shape
    check_shape(labels, (n,), "y")
    c, start = as_start(scale, centre, d)
    eta = check_real(step_size, "step_size", low=1e-100, high=1e100)
    steps = check_integer(n_steps, "n_steps", low=0)
    noise = float(check_parameter(label_noise, "label_noise"))
    share = 0.0 if batch_size is None else n / check_integer(batch_size, "batch_size", low=1)
    squares = design**2
    per_label = np.full(n, noise**2 * (share or 1.0) * steps * eta)
    whole = np.zeros(d)
    if steps:
        times = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, _N_TIMES) * eta * steps])
        path = gradient_flow(
            design, labels, c, times, centre=start, n_jobs=n_jobs, on_failure="raise"
        )
        left = labels - path.coef @ design.T
        whole = np.trapezoid((left @ design) ** 2, times, axis=0)
        if share:
            whole *= 1.0 - share / n
            per_label = per_label + share * np.trapezoid(left**2, times, axis=0)
    lost = eta * (whole + per_label @ squares)
    _warn_of_large_steps(eta**2 * noise**2 * (share or 1.0) * float(squares.sum(axis=0).max()))
    return EffectiveScale(*shrunk(c, start, lost))


def label_noise_loss(label_noise: float, step_size: float | None, n_steps: int) -> float:
    """Loss of log scale by label noise for columns of squared norm one."""
    if step_size is None or not label_noise:
        return 0.0
    _warn_of_large_steps((step_size * label_noise) ** 2)
    return (step_size * label_noise) ** 2 * n_steps


def shrunk(c: FloatArray, centre: FloatArray, lost: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Scales and centres whose logarithms have fallen; an error if one leaves the range."""
    factor = np.exp(-np.asarray(lost))
    small = (c > 0.0) & (c * factor < _SMALLEST)
    if small.any():
        fall = float(np.broadcast_to(lost, c.shape)[small].max()) / math.log(10.0)
        raise ValueError(
            f"n_steps lowers a scale by a factor of 1e{fall:.0f}, to below {_SMALLEST:g}: the "
            "solution is that of the lasso, which is the limit"
        )
    return c * factor, centre * factor


def _warn_of_large_steps(loss: float) -> None:
    if loss > MOST_PER_STEP:
        warnings.warn(
            f"one step takes {loss:.2g} of the log of a scale: the theory is the first order in "
            "the step size, lower step_size or label_noise",
            ValidityWarning,
            stacklevel=3,
        )
