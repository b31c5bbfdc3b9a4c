"""Time course of gradient flow on data."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.diagonal.mirror import as_start, check_depth, free_features, mirror_coordinate


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FlowPath(Result):
    """Gradient flow at the times asked for (see `gradient_flow`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Accepted steps.
    residual : float
        Residual at the last time, relative to y.
    message : str
        What happened, in words.
    times : ndarray of shape (n_times,)
        Times that were reached.
    coef : ndarray of shape (n_times, n_features)
        Coefficients.
    intercept : ndarray of shape (n_times,)
        Intercepts, 0 unless asked for.
    dual : ndarray of shape (n_times, n_samples)
        Residual integrated over time.
    train_error : ndarray of shape (n_times,)
        Mean squared residual.

    See Also
    --------
    gradient_flow

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import gradient_flow
    >>> X = np.eye(2, 3)
    >>> path = gradient_flow(X, [1.0, 0.5], [0.1, 0.1, 0.1], [0.0, 1.0, 100.0])
    >>> path.coef.round(2).tolist()
    [[0.0, 0.0, 0.0], [0.28, 0.1, 0.0], [1.0, 0.5, 0.0]]
    """

    times: FloatArray
    coef: FloatArray
    intercept: FloatArray
    dual: FloatArray
    train_error: FloatArray


def gradient_flow(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    times: ArrayLike,
    *,
    centre: ArrayLike | None = None,
    depth: int = 2,
    fit_intercept: bool = False,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_steps: int = 20_000,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> FlowPath:
    r"""Path of gradient flow on :math:`\tfrac12\|y - X\beta\|^2`.

    The 2 L D weights of L layers follow from an n-dimensional stiff equation, :math:`\dot s = y -
    X\beta`, where the force of the penalty at :math:`\beta` is that at the start plus
    :math:`X^\top s`; for two layers :math:`\beta = c\sinh(u_0 + 2X^\top s)` (derived here:
    `derivations/diagonal#what-the-flow-keeps` and `derivations/diagonal#deeper-networks`). It is
    integrated in the core by numerical differentiation formulas of orders 1 to 5 that keep their
    Jacobian over many steps [1]_. Scales may be as small as 1e-300: a step that overshoots the
    moment at which a coefficient emerges, and so raises the loss, which the flow never does, is
    taken again at half its length.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, as it is.
    y : array_like of shape (n_samples,)
        Labels.
    scale : array_like of shape (n_features,) or float
        Non-negative fine-tuning scales c.
    times : array_like of shape (n_times,)
        Increasing, non-negative.
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at time zero; zero if None.
    depth : int, default=2
        Layers of the network; above two all layers start alike.
    fit_intercept : bool, default=False
        Whether an intercept follows the coefficients at its optimum. False, as the equation is
        that of the rows as they are given.
    rtol, atol : float
        Local error of the dual variable kept per step.
    max_steps : int, default=20000
        Most steps.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the last time was not reached.
    progress : None, bool, callable or object, default=None
        Called from time to time; an exception raised in it stops the work.

    Returns
    -------
    FlowPath
        Coefficients at each time.

    Raises
    ------
    ValueError
        If shapes disagree or a value is outside its domain.
    NumericalError
        If ``on_failure="raise"`` and the last time was not reached; it names the tolerances.

    See Also
    --------
    minimum_penalty, train_network, population_path

    References
    ----------
    .. [1] L. F. Shampine, M. W. Reichelt, "The MATLAB ODE Suite", SIAM J. Sci. Comput. 18 (1997).

    Examples
    --------
    >>> from retemper.diagonal import gradient_flow, population_path
    >>> path = gradient_flow([[1.0]], [1.0], 0.1, [1.0])
    >>> bool(abs(path.coef[0, 0] - population_path(1.0, 0.1, 1.0)) < 1e-6)
    True
    """
    progress = as_callback(progress, "gradient_flow")
    design = as_float_array(X, "X", ndim=2)
    labels = as_float_array(y, "y")
    n, d = design.shape
    if not n or not d:
        raise ValueError(f"X must not be empty, got shape {design.shape}")
    check_shape(labels, (n,), "y")
    c, start = as_start(scale, centre, d)
    at = as_float_array(times, "times")
    if not at.size or at[0] < 0.0 or np.any(np.diff(at) <= 0.0):
        raise ValueError(f"times must increase from a value >= 0, got {at.tolist()[:5]}")
    check_real(rtol, "rtol", low=0.0, open_low=True)
    check_real(atol, "atol", low=0.0, open_low=True)
    check_depth(depth)
    free = free_features(c, start)
    small = np.ascontiguousarray(c[free])
    u0 = mirror_coordinate(start[free], small, depth)
    inside = design if free.all() else np.ascontiguousarray(design[:, free])
    x_mean, y_mean = np.zeros(small.size), 0.0
    if fit_intercept:
        x_mean, y_mean = inside.mean(axis=0), float(labels.mean())
        inside, labels = inside - x_mean, labels - y_mean
    found = core.diagonal.flow(
        X=inside,
        y=labels,
        scale=small,
        centre=u0,
        depth=float(depth),
        times=at,
        rtol=rtol,
        atol=atol,
        max_steps=check_integer(max_steps, "max_steps", low=1),
        n_threads=effective_n_threads(n_jobs),
        progress=progress,
    )
    dual = found["dual"]
    coef = np.zeros((dual.shape[0], d))
    coef[:, free] = found["coef"]
    left = labels - coef[:, free] @ inside.T
    status = Status(found["status"])
    norm = float(np.linalg.norm(labels))
    at_start = labels - start[free] @ inside.T
    residual = float(np.linalg.norm(left[-1] if len(left) else at_start)) / (norm or 1.0)
    report_status(
        status,
        residual,
        f"the gradient flow with rtol = {rtol:g}, atol = {atol:g} and max_steps = {max_steps}, at "
        f"time {found['time']:.3g} of {at[-1]:.3g},",
        on_failure=on_failure,
    )
    return FlowPath(
        status=status,
        n_iter=found["n_steps"],
        residual=residual,
        message=status.sentence,
        times=at[: dual.shape[0]],
        coef=coef,
        intercept=y_mean - coef[:, free] @ x_mean,
        dual=dual,
        train_error=np.mean(left**2, axis=1),
    )
