"""What training on samples found: one result for every model."""

from __future__ import annotations

import dataclasses

from retemper._results import Result
from retemper._validation import FloatArray
from retemper.phases.model import DeepLinearModel, FeatureModel, LogisticModel, TwoLayerModel

__all__ = [
    "DeepLinearSimulation",
    "FeatureSimulation",
    "LogisticSimulation",
    "TwoLayerSimulation",
]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FeatureSimulation(Result):
    """Gradient descent on samples of a `FeatureModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : FeatureModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Mean over repeats of the fraction of unexplained variance of fresh inputs.
    task_r2 : ndarray of shape (T,)
        The same for the R² of the auxiliary task; empty without one.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, FeatureTheory

    Examples
    --------
    >>> from retemper.phases import FeatureModel, simulate
    >>> model = FeatureModel(4, [3.0, 1.0], [1.0, 0.2], times=[0.0, 1.0])
    >>> sample = simulate(model, n_samples=400, n_repeats=2)
    >>> sample.fuv.shape
    (2,)
    """

    model: FeatureModel
    times: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LogisticSimulation(Result):
    """Gradient descent on samples of a `LogisticModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : LogisticModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv_logit, fuv_prob : ndarray of shape (T,)
        Means over repeats of the fraction of unexplained variance.
    norm : ndarray of shape (T,)
        Mean norm of the weights.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, LogisticTheory

    Examples
    --------
    >>> from retemper.phases import LogisticModel, simulate
    >>> model = LogisticModel([1.0, 0.5], [1.0, 0.2], [0.01, 0.01], times=[0.0, 1.0])
    >>> sample = simulate(model, n_samples=400, n_repeats=2)
    >>> sample.fuv_logit.shape
    (2,)
    """

    model: LogisticModel
    times: FloatArray
    fuv_logit: FloatArray
    fuv_prob: FloatArray
    norm: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeepLinearSimulation(Result):
    """Gradient descent on samples of a `DeepLinearModel`, as `simulate` returns it.

    See `simulate` for what is done.

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : DeepLinearModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Mean over repeats of the fraction of unexplained variance of fresh inputs.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, DeepLinearTheory

    Examples
    --------
    >>> from retemper.phases import DeepLinearModel, simulate
    >>> model = DeepLinearModel([1.0, 0.5], [0.0, 0.4], relative_noise_var=0.01, times=[0.0, 1.0])
    >>> simulate(model, n_samples=400, n_repeats=2).fuv.shape
    (2,)
    """

    model: DeepLinearModel
    times: FloatArray
    fuv: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TwoLayerSimulation(Result):
    """Gradient descent of a network on samples of a `TwoLayerModel`, as `simulate` returns it.

    See `simulate` for what is done.

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : TwoLayerModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv, fuv_floor : ndarray of shape (T,)
        Means over repeats of the fraction of unexplained variance, at both relative ridges.
    test_error : ndarray of shape (T,)
        Mean squared error on fresh rows.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, TwoLayerTheory

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import TwoLayerModel, simulate
    >>> W0 = 0.1 * np.random.default_rng(0).normal(size=(2, 3))
    >>> model = TwoLayerModel([2.0, 1.0, 0.5], np.eye(1, 3), W0, [1.0, 1.0], times=[0.0, 1.0])
    >>> simulate(model, n_samples=400, n_repeats=2).fuv_floor.shape
    (2,)
    """

    model: TwoLayerModel
    times: FloatArray
    fuv: FloatArray
    fuv_floor: FloatArray
    test_error: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int
