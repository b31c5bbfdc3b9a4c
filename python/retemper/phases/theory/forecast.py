"""Will a linear layer show phases on this data? Answered from moments, before any training."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import mean_and_stderr
from retemper._results import Result, Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_shape,
)
from retemper.phases.streams import Purpose
from retemper.phases.tasks import one_hot
from retemper.phases.theory.layer import (
    RANK_CUT,
    RELEVANT,
    contrasts,
    data_modes,
    describe_phases,
    layer_curves,
    random_subspace_fuv,
    signal_limits,
)
from retemper.phases.times import check_step_size, check_times

__all__ = ["PhaseForecast", "phase_forecast"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PhaseForecast(Result):
    """Phases of a linear layer on a data set, as `phase_forecast` returns them.

    See `phase_forecast` for the source of the mathematics.

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Number of initialisations.
    residual : float
        Largest standard error of the curve.
    message : str
        Which phases the curve shows, in words.
    fuv_init, fuv_early, fuv_late : float
        Levels of a random layer, of the class means and of least squares.
    times : ndarray of shape (T,)
        Times of gradient flow.
    fuv, fuv_stderr : ndarray of shape (T,)
        Curve averaged over initialisations, and its standard error.
    t_star, fuv_star : float
        Turning point on the grid of times, and the smallest FUV.
    task_r2 : ndarray of shape (T,)
        R² on the auxiliary task; empty without one.

    See Also
    --------
    phase_forecast

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import phase_forecast
    >>> X, digit = load_digits(return_X_y=True)
    >>> forecast = phase_forecast(X, digit % 2)
    >>> forecast.fuv_early < forecast.fuv_late < forecast.fuv_init
    True
    """

    fuv_init: float
    fuv_early: float
    fuv_late: float
    times: FloatArray
    fuv: FloatArray
    fuv_stderr: FloatArray
    t_star: float
    fuv_star: float
    task_r2: FloatArray


def phase_forecast(
    X: ArrayLike,
    y: ArrayLike,
    *,
    init_scale: float = 0.01,
    relative_noise_var: float = 0.0,
    task: ArrayLike | None = None,
    times: ArrayLike | None = None,
    step_size: float | None = None,
    n_init: int = 8,
    random_state: Seed = 0,
) -> PhaseForecast:
    r"""Will a linear layer show phases on this data? Answered before any training.

    Parameters
    ----------
    X : array_like of shape (n, p)
        Inputs.
    y : array_like of shape (n,) or (n, K)
        Class labels (one dimension), or real targets (two dimensions).
    init_scale : float, default=0.01
        Standard deviation of the initial weights.
    relative_noise_var : float, default=0.0
        Variance of an independent noise on every unit, relative to their mean variance.
    task : array_like of shape (n,) or None, default=None
        A real auxiliary target, judged by the R² of its best linear predictor in X that survives.
    times : array_like of shape (T,) or None, default=None
        Times; None takes 120 from 0.01 / (largest eigenvalue) to 100 / (smallest above 1e-4 of
        it).
    step_size : float or None, default=None
        Step of gradient descent; None is gradient flow.
    n_init : int, default=8
        Initialisations averaged over, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Their seed.

    Returns
    -------
    PhaseForecast
        Levels, curve and turning point of the average over initialisations.

    Raises
    ------
    ValueError
        If X is constant, y has one class, or a value is outside its domain.

    See Also
    --------
    linear_network_fuv, ForecastDisplay, PhaseMonitor

    Notes
    -----
    Derived here (`derivations/phases#forecast`); see `linear_network_fuv`. It is the theory of *one
    linear* layer trained by squared loss: hidden layers of a nonlinear network may behave
    otherwise. Labels are read through their K - 1 contrasts. The three levels alone can mislead: at
    a finite ``init_scale`` the late phase may overtake the fall, which the curve shows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import phase_forecast
    >>> X, y = load_digits(return_X_y=True)
    >>> found = phase_forecast(X / 16.0, y)
    >>> round(found.fuv_init, 2), round(found.fuv_early, 2), round(found.fuv_late, 2)
    (0.52, 0.32, 0.43)
    """
    inputs = as_float_array(X, "X", ndim=2)
    scale = check_parameter(init_scale, "init_scale")
    floor = check_parameter(relative_noise_var, "relative_noise_var")
    draws = check_integer(n_init, "n_init", low=2)
    step = check_step_size(step_size)
    if np.ndim(y) == 2:
        targets = as_float_array(y, "y", ndim=2)
    else:
        hot, classes = one_hot(y)
        if classes.size < 2:
            raise ValueError(f"y must have at least two classes, got {classes.size}")
        targets = hot @ contrasts(classes.size).T
    check_shape(targets, (inputs.shape[0], None), "y")
    lam, m, u = data_modes(inputs, targets)
    if times is None:
        low = lam[lam > 1e-4 * lam.max()].min()
        at = np.geomspace(0.01 / lam.max(), 100.0 / low, 120)
        if step is not None:
            at = np.unique(np.rint(at / step)) * step
    else:
        at = check_times(times)
    theta = None
    if task is not None:
        aux = as_float_array(task, "task")
        check_shape(aux, (inputs.shape[0],), "task")
        cross = u.T @ (inputs - inputs.mean(axis=0)).T @ (aux - aux.mean()) / aux.size
        seen = lam > RANK_CUT * lam.max()
        theta = np.where(seen, cross / np.where(seen, lam, 1.0), 0.0)
        if not theta.any():
            raise ValueError("task is uncorrelated with X: no linear layer can serve it")
    key = stream_key(random_state)
    streams = [replica_generator(key, i, Purpose.INIT) for i in range(draws)]
    w0 = np.stack([stream.normal(size=m.shape) for stream in streams])
    curves, r2 = layer_curves(
        lam, m, scale * w0, at, step_size=step, relative_noise_var=floor, task=theta
    )
    mean, stderr = mean_and_stderr({"fuv": curves})
    fuv = np.asarray(mean["fuv"])
    early, late = signal_limits(lam, m) if m.any() else (1.0, 1.0)
    best = int(fuv.argmin())
    falls = float(fuv[0] - fuv[best]) > RELEVANT
    rises = float(fuv[-1] - fuv[best]) > RELEVANT
    return PhaseForecast(
        status=Status.CONVERGED, n_iter=draws, residual=float(np.max(stderr["fuv"], initial=0.0)),
        message=describe_phases(falls, rises), fuv_init=random_subspace_fuv(lam, m.shape[0]),
        fuv_early=early, fuv_late=late, times=at, fuv=fuv, fuv_stderr=np.asarray(stderr["fuv"]),
        t_star=float(at[best]), fuv_star=float(fuv[best]),
        task_r2=np.empty(0) if r2 is None else r2.mean(axis=0),
    )  # fmt: skip
