"""The two models under one call."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._random import Seed
from retemper._results import Sweep
from retemper.phases.model import FeatureModel, LogisticModel
from retemper.phases.theory.features import solve_features
from retemper.phases.theory.logistic import solve_logistic
from retemper.phases.times import check_step_size, check_times

__all__ = ["curve", "solve"]


def solve(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float | None = None,
    drop_common: bool = True,
    task: ArrayLike | None = None,
    n_init: int | None = None,
    random_state: Seed = None,
) -> Any:
    r"""Reconstruction during training, exactly.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        The problem.
    t : float or array_like of shape (T,)
        Times of gradient flow, in units of 1 / (eigenvalue of the input covariance); with
        ``step_size``, the number of steps times ``step_size``.
    step_size : float or None, default=None
        Step of full-batch gradient descent on infinite data; None is gradient flow.
    drop_common : bool, default=True
        Feature model: whether to leave out the sum of the outputs, which carries no class signal
        and to which softmax is blind.
    task : array_like of shape (G,) or None, default=None
        Feature model: an auxiliary task :math:`\theta`, the combination :math:`\theta \cdot x_c`
        of the groups in every class contrast.
    n_init : int or None, default=None
        Feature model: average over this many initialisations, with standard errors; None is the
        annealed average (a ratio of averages), off by up to 9 % in FUV near t = 0 where the layer
        is not wide, exact for ``init_scale=0``.
    random_state : None, int, SeedSequence, Generator or RandomState, default=None
        Seed of the initialisations.

    Returns
    -------
    FeatureTheory or LogisticTheory
        Curves over ``t``.

    Raises
    ------
    TypeError
        If ``model`` is neither model.
    ValueError
        If a time is negative, the step unstable, times are no multiples of it, or an option
        belongs to the other model.

    Warns
    -----
    ValidityWarning
        If the weights of a logistic model outgrow 1e4 before the last time.

    Notes
    -----
    Derived here. Feature model, annealed: :math:`C = (K-1)(\sigma_0^2 \tau_2 + S_2)/(\sigma_0^2
    \tau_1 + S_1)` with :math:`\tau_q = \sum \lambda^q d^2` over all modes and :math:`S_q = \sum
    \lambda^q (m \varphi)^2` over one contrast. Logistic model: the population flow closes on
    averages over a normal margin.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, solve
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> solve(model, [0.0, 1.0, 1000.0]).fuv.round(6).tolist()
    [0.660266, 0.463415, 0.634888]
    """
    times, step = check_times(t), check_step_size(step_size)
    if isinstance(model, FeatureModel):
        return solve_features(
            model, times, step_size=step, drop_common=drop_common, task=task, n_init=n_init,
            random_state=random_state,
        )  # fmt: skip
    if not isinstance(model, LogisticModel):
        raise TypeError(
            f"model must be a FeatureModel or a LogisticModel, got {type(model).__name__}"
        )
    if task is not None or n_init is not None:
        raise ValueError("task and n_init belong to the FeatureModel")
    return solve_logistic(model, times, step)


def curve(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float | None = None,
    **axes: Iterable[float],
) -> Sweep:
    """Solve a model over a grid of its scalar parameters, and over time.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        What every point has in common.
    t : float or array_like of shape (T,)
        Times, as in `solve`; the last axis of the result.
    step_size : float or None, default=None
        As in `solve`.
    **axes : iterable of float
        Values of ``n_classes``, ``shared_noise``, ``n_noise``, ``noise_sd`` and ``init_scale`` of
        a feature model; the grid is their product.

    Returns
    -------
    Sweep
        ``fuv`` (feature model) or ``fuv_logit``, ``fuv_prob`` and ``norm`` on the grid.

    Raises
    ------
    ValueError
        If a name is not a scalar parameter, an axis is empty, or a value is outside its domain.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, curve
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> curve(model, [1.0, 30.0], init_scale=[0.0, 0.01])["fuv"].round(4).tolist()
    [[0.4528, 0.6187], [0.4634, 0.6187]]
    """
    feature = isinstance(model, FeatureModel)
    scalars = (
        {"n_classes", "shared_noise", "n_noise", "noise_sd", "init_scale"} if feature else set()
    )
    grid: dict[str, NDArray[Any]] = {}
    for name, values in axes.items():
        if name not in scalars:
            raise ValueError(
                f"{name!r} is not a scalar parameter of {type(model).__name__}: {sorted(scalars)}"
            )
        grid[name] = np.asarray(list(values))
        if grid[name].ndim != 1 or not grid[name].size:
            raise ValueError(f"axis {name!r} must be a non-empty list of numbers")
    names = ("fuv",) if feature else ("fuv_logit", "fuv_prob", "norm")
    times = check_times(t)
    points = [
        solve(
            dataclasses.replace(model, **dict(zip(grid, point, strict=True))),
            times, step_size=step_size,
        )
        for point in itertools.product(*(v.tolist() for v in grid.values()))
    ]  # fmt: skip
    shape = (*(v.size for v in grid.values()), times.size)
    stacked: dict[str, NDArray[Any]] = {
        name: np.array([getattr(p, name) for p in points]).reshape(shape) for name in names
    }
    status = np.array([[str(p.status)] * times.size for p in points]).reshape(shape)
    return Sweep({**grid, "t": times}, {**stacked, "status": status}, type(model).__name__)
