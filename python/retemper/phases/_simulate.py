"""Training on samples beside the exact curves: repeats of an experiment, and both compared."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_shape,
)
from retemper.phases._runs import (
    deep_linear_run,
    feature_run,
    logistic_run,
    two_layer_run,
)
from retemper.phases._simulations import (
    DeepLinearSimulation,
    FeatureSimulation,
    LogisticSimulation,
    TwoLayerSimulation,
)
from retemper.phases.model import (
    DeepLinearModel,
    FeatureModel,
    LogisticModel,
    Model,
    TwoLayerModel,
)
from retemper.phases.streams import Purpose
from retemper.phases.theory import solve
from retemper.phases.times import whole_steps

__all__ = ["compare", "simulate"]

#: Step of the descent where the model has none.
STEP_SIZE = 0.05


@overload
def simulate(
    model: FeatureModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation: ...


@overload
def simulate(
    model: LogisticModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> LogisticSimulation: ...


@overload
def simulate(
    model: DeepLinearModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> DeepLinearSimulation: ...


@overload
def simulate(
    model: TwoLayerModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> TwoLayerSimulation: ...


@overload
def simulate(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation | LogisticSimulation | DeepLinearSimulation | TwoLayerSimulation: ...


def simulate(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation | LogisticSimulation | DeepLinearSimulation | TwoLayerSimulation:
    """Train on samples by gradient descent, and measure on fresh inputs.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        The problem. Its times must increase; where its ``step_size`` is None the descent takes
        steps of 0.05, and the times must be whole multiples of that.
    n_samples : int, default=50000
        Rows of every training sample, at least 10; where the model has batches, of fresh rows, the
        number of rows on which a layer is measured.
    n_repeats : int, default=8
        Independent samples and initialisations, at least 2.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.
    n_jobs : int or None, default=None
        Threads, over repeats; never changes a bit.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if a curve is not finite.

    Returns
    -------
    FeatureSimulation, LogisticSimulation, DeepLinearSimulation or TwoLayerSimulation
        Means over repeats and their standard errors.

    Raises
    ------
    TypeError
        If ``model`` is none of the models.
    ValueError
        If a value is outside its domain, or the step is unstable on the sample.
    NumericalError
        If ``on_failure="raise"`` and a curve is not finite.

    Warns
    -----
    ValidityWarning
        If a curve is not finite.

    See Also
    --------
    solve, compare

    Notes
    -----
    Derived here (`derivations/phases#strong-and-weak-features`). The theory is that of infinite
    samples: the layer learned from n of them has a small extra part, which shows as a bias of order
    (number of features) / n.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, simulate
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=[1.0])
    >>> found = simulate(model, n_samples=20_000, n_repeats=3)
    >>> round(float(found.fuv[0]), 2)
    0.46
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", *get_args(Model))
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    n = check_integer(n_samples, "n_samples", low=10)
    eta = STEP_SIZE if model.step_size is None else model.step_size
    model = dataclasses.replace(model, step_size=eta)
    steps = whole_steps(model.times, eta)
    if (np.diff(steps) <= 0).any():
        raise ValueError(f"times must increase, got {model.times.tolist()}")
    key = stream_key(random_state)

    def experiment(i: int, watch: Progress) -> dict[str, FloatArray]:
        rng = replica_generator(key, i, Purpose.SAMPLE)
        if isinstance(model, FeatureModel):
            return feature_run(model, steps, n, rng, step_size=eta, theta=theta, watch=watch)
        if isinstance(model, DeepLinearModel):
            return deep_linear_run(model, steps, n, rng, step_size=eta, watch=watch)
        with np.errstate(over="ignore", invalid="ignore"):  # told by the status
            if isinstance(model, TwoLayerModel):
                return two_layer_run(model, steps, n, rng, step_size=eta, watch=watch)
            return logistic_run(model, steps, n, rng, step_size=eta, watch=watch)

    theta = None
    if task is not None:
        if not isinstance(model, FeatureModel):
            raise ValueError("task belongs to the FeatureModel")
        theta = as_float_array(task, "task")
        check_shape(theta, (model.n_groups,), "task")
    runs = run_repeats(experiment, n_repeats, n_jobs=n_jobs, progress=progress)
    samples = {name: np.array([run[name] for run in runs]) for name in runs[0]}
    mean, stderr = mean_and_stderr(samples)
    finite = all(np.isfinite(values).all() for values in samples.values())
    status = Status.CONVERGED if finite else Status.INVALID
    batches = isinstance(model, TwoLayerModel) and model.batch_size is not None
    how = f"batches of {model.batch_size} fresh rows" if batches else f"{n} samples"  # type: ignore[union-attr]
    done = f"{len(runs)} runs of gradient descent on {how}"
    report_status(status, 0.0, f"simulate: {done}:", on_failure=on_failure)
    result: dict[str, Any] = {
        "status": status, "n_iter": int(steps[-1]) if steps.size else 0, "residual": 0.0,
        "message": done, "model": model, "times": model.times, "samples": samples,
        "stderr": stderr, "n_samples": n, "n_repeats": len(runs), **mean,
    }  # fmt: skip
    if isinstance(model, FeatureModel):
        return FeatureSimulation(**result)
    if isinstance(model, DeepLinearModel):
        return DeepLinearSimulation(**result)
    if isinstance(model, TwoLayerModel):
        return TwoLayerSimulation(**result)
    return LogisticSimulation(**result)


def compare(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    n_init: int = 200,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory and simulation side by side, with deviations in standard errors.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        The problem, as in `simulate`; both take the same step.
    n_samples : int, default=50000
        As in `simulate`.
    n_repeats : int, default=8
        As in `simulate`.
    n_init : int, default=200
        Initialisations the theory of a feature model averages over; their standard error is added
        to that of the simulation.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.
    n_jobs : int or None, default=None
        Threads, over repeats; never changes a bit.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        As in `solve` and `simulate`.

    Returns
    -------
    Comparison
        One row per quantity and time.

    Raises
    ------
    TypeError
        If ``model`` is none of the models.
    ValueError
        If a value is outside its domain.

    See Also
    --------
    solve, simulate, retemper.compare

    Examples
    --------
    >>> from retemper.phases import LogisticModel, compare
    >>> model = LogisticModel([1.0, 0.25], [0.5, 0.5], [0.1, 0.0], times=[0.0, 2.0])
    >>> found = compare(model, n_samples=5000)
    >>> bool((abs(found.z) < 4).all())
    True
    """
    progress = as_callback(progress, "compare")
    check_kind(model, "model", *get_args(Model))
    words = stream_key(random_state)
    seeds = [np.random.SeedSequence([*words, i]) for i in range(2)]
    sample = simulate(
        model, n_samples=n_samples, n_repeats=n_repeats, task=task, random_state=seeds[0],
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    theory = solve(
        sample.model, task=task, n_init=n_init if isinstance(model, FeatureModel) else None,
        random_state=seeds[1], on_failure=on_failure,
    )  # fmt: skip
    names: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for quantity, measured in sample.stderr.items():
        values = getattr(theory, quantity)
        extra = getattr(theory, f"{quantity}_stderr", np.zeros_like(values))
        for i, time in enumerate(sample.times[: measured.size]):
            names.append(f"{quantity}[t={time:g}]")
            noise = math.hypot(float(measured[i]), float(extra[i]))
            rows.append((float(values[i]), float(getattr(sample, quantity)[i]), noise))
    table = np.array(rows).reshape(-1, 3)
    return Comparison(tuple(names), table[:, 0], table[:, 1], table[:, 2])
