"""All models under one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure
from retemper._parallel import map_threads
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed
from retemper._results import Status, Sweep, read_axes, report_points, stack_points
from retemper._threads import effective_n_threads
from retemper._validation import check_choice, check_kind
from retemper.exceptions import ValidityWarning
from retemper.phases.model import (
    DeepLinearModel,
    FeatureModel,
    LogisticModel,
    Model,
    TwoLayerModel,
    curves_of,
)
from retemper.phases.theory.deep import DeepLinearTheory, solve_deep_linear
from retemper.phases.theory.features import FeatureTheory, solve_features
from retemper.phases.theory.logistic import LogisticTheory, solve_logistic
from retemper.phases.theory.two_layer import TwoLayerTheory, solve_two_layer

__all__ = ["curve", "solve"]


@overload
def solve(
    model: FeatureModel,
    *,
    drop_common: bool = True,
    task: ArrayLike | None = None,
    n_init: int | None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> FeatureTheory: ...


@overload
def solve(
    model: LogisticModel,
    *,
    drop_common: bool = True,
    task: None = None,
    n_init: None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> LogisticTheory: ...


@overload
def solve(
    model: DeepLinearModel,
    *,
    drop_common: bool = True,
    task: None = None,
    n_init: None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> DeepLinearTheory: ...


@overload
def solve(
    model: TwoLayerModel,
    *,
    drop_common: bool = True,
    task: None = None,
    n_init: None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> TwoLayerTheory: ...


@overload
def solve(
    model: Model,
    *,
    drop_common: bool = True,
    task: ArrayLike | None = None,
    n_init: int | None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> FeatureTheory | LogisticTheory | DeepLinearTheory | TwoLayerTheory: ...


def solve(
    model: Model,
    *,
    drop_common: bool = True,
    task: ArrayLike | None = None,
    n_init: int | None = None,
    random_state: Seed = 0,
    on_failure: OnFailure = "warn",
) -> FeatureTheory | LogisticTheory | DeepLinearTheory | TwoLayerTheory:
    r"""Reconstruction during training, exactly.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        The problem, with the times to look at, and the step of descent if it is not gradient flow.
    drop_common : bool, default=True
        Feature model: whether to leave out the sum of the outputs, which carries no class signal
        and to which softmax is blind.
    task : array_like of shape (G,) or None, default=None
        Feature model: an auxiliary task :math:`\theta`, the combination :math:`\theta \cdot x_c`
        of the groups in every class contrast.
    n_init : int or None, default=None
        Feature model: average over this many initialisations, with standard errors; None is the
        annealed average (a ratio of averages), off by up to 9 % in FUV near time 0 where the layer
        is not wide, exact for ``init_scale=0``.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the initialisations.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the weights of a logistic model outgrow 1e4 before the last time, or those of
        a two-layer model 1e6.

    Returns
    -------
    FeatureTheory, LogisticTheory, DeepLinearTheory or TwoLayerTheory
        Curves over the model's times.

    Raises
    ------
    TypeError
        If ``model`` is none of the models.
    ValueError
        If a value is outside its domain, or the step is unstable.
    NumericalError
        If ``on_failure="raise"`` and weights outgrow what is said there; if the weights of more
        than two linear layers could not be integrated to the last time, or their descent diverges.

    Warns
    -----
    ValidityWarning
        If the weights of a logistic model outgrow 1e4 (classes all but separable); if those of a
        two-layer model outgrow 1e6, cannot be followed, or have decayed below what is resolved.

    See Also
    --------
    simulate, compare, summary

    Notes
    -----
    Derived here (`derivations/phases#strong-and-weak-features`). Feature model: every class
    contrast has the same modes, and a closed ratio of sums over them gives the annealed curve
    :math:`C = (K-1)(\sigma_0^2 \tau_2 + S_2)/(\sigma_0^2 \tau_1 + S_1)` with :math:`\tau_q = \sum
    \lambda^q d^2` over all modes and :math:`S_q = \sum \lambda^q (m \varphi)^2` over one contrast.
    Logistic model: the population flow closes on averages over a normal margin. Deep linear model:
    each direction has one weight (`derivations/phases#hidden-layers-of-deep-linear-networks`).
    Two-layer model: the flow closes on the overlaps of the weights, and so does the decoder
    (`derivations/phases#hidden-layers-of-nonlinear-units`).

    Examples
    --------
    >>> from retemper.phases import FeatureModel, solve
    >>> model = FeatureModel(
    ...     10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=[0.0, 1.0, 1000.0]
    ... )
    >>> solve(model).fuv.round(6).tolist()
    [0.660266, 0.463415, 0.634888]
    """
    check_kind(model, "model", *get_args(Model))
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    if isinstance(model, FeatureModel):
        return solve_features(
            model, drop_common=drop_common, task=task, n_init=n_init, random_state=random_state
        )
    if task is not None or n_init is not None:
        raise ValueError("task and n_init belong to the FeatureModel")
    if isinstance(model, DeepLinearModel):
        return solve_deep_linear(model)
    if isinstance(model, TwoLayerModel):
        return solve_two_layer(model, on_failure=on_failure)
    return solve_logistic(model, on_failure=on_failure)


def curve(
    model: Model,
    axes: Mapping[str, Iterable[Any]],
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Solve a model over a grid of its fields.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        What every point has in common.
    axes : mapping of str to iterable
        Values of each swept field of the model, numbers or vectors; the grid is their product.
    quantities : sequence of str or None, default=None
        Curves to keep: "fuv" of a feature or deep linear model, "fuv_logit", "fuv_prob" and "norm"
        of a logistic one, "fuv", "fuv_floor" and "test_error" of a two-layer one; None keeps all.
    n_jobs : int or None, default=None
        Threads, over points; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points that are not valid (as in `solve`): one warning for all of them, an
        error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points).

    Returns
    -------
    Sweep
        The curves on the grid, with the model's times as the last axis, and ``status`` and
        ``valid``. If the field "times" is swept over numbers there is no further axis.

    Raises
    ------
    ValueError
        If a name is not a field or a curve of the model, an axis is empty, or a value is outside
        its domain.
    TypeError
        If ``model`` is none of the models, or ``axes`` is not a mapping of names to values.
    NumericalError
        If ``on_failure="raise"`` and a point is not valid.

    Warns
    -----
    ValidityWarning
        If points are not valid; once for all.

    See Also
    --------
    solve

    Examples
    --------
    >>> from retemper.phases import FeatureModel, curve
    >>> model = FeatureModel(
    ...     10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=[1.0, 30.0]
    ... )
    >>> curve(model, {"init_scale": [0.0, 0.01]})["fuv"].round(4).tolist()
    [[0.4528, 0.6187], [0.4634, 0.6187]]
    """
    progress = as_callback(progress, "curve")
    check_kind(model, "model", *get_args(Model))
    known = curves_of(model)
    names = known if quantities is None else tuple(quantities)
    for name in names:
        check_choice(name, "quantities", known)
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    grid = read_axes(model, axes)
    models = grid.models()
    results = map_threads(
        lambda i, _: solve(models[i], on_failure="ignore"), len(models),
        effective_n_threads(n_jobs), progress,
    )  # fmt: skip
    messages = [r.message if r.status is not Status.CONVERGED else "" for r in results]
    report_points(grid, messages, ValidityWarning, on_failure=on_failure, stacklevel=3)
    sweep = stack_points(grid, results, names, messages)
    if "times" not in sweep.axes:
        return _with_times(sweep, model, names)
    if "times" not in sweep.axis_values:  # numbers, not vectors
        flat = {name: sweep[name][..., 0] for name in names}
        return dataclasses.replace(sweep, values={**sweep.values, **flat})
    return sweep


def _with_times(sweep: Sweep, model: Model, names: Sequence[str]) -> Sweep:
    """The same sweep with the model's times as a further axis of every value."""
    values = {
        name: value if name in names else np.repeat(value[..., None], model.times.size, axis=-1)
        for name, value in sweep.values.items()
    }
    return dataclasses.replace(sweep, axes={**sweep.axes, "times": model.times}, values=values)
