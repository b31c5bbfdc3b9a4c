"""Callbacks that let a trainer call a `PhaseMonitor`: Lightning, Hugging Face, Keras, plain loops.

Nothing here is loaded before it is asked for, and no tracker is known by name: a callback hands
plain dictionaries of numbers to any function ``log(numbers, step=step)``, which is the signature of
``wandb.log`` and of ``mlflow.log_metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._extras import load
from retemper._modules import POOLS
from retemper._validation import check_choice, check_integer
from retemper.phases.monitor import PhaseMonitor

__all__ = [
    "WatchSchedule",
    "keras_callback",
    "lightning_callback",
    "numbers_of",
    "transformers_callback",
]

Log = Callable[..., Any]


def numbers_of(monitor: PhaseMonitor) -> dict[str, float]:
    """What the last checkpoint of a monitor showed, as a plain dictionary of numbers.

    Parameters
    ----------
    monitor : PhaseMonitor
        After at least one observation.

    Returns
    -------
    dict of str to float
        ``layer/fuv``, ``layer/fuv_floor``, for every task ``layer/task.accuracy`` (where it has
        labels) and ``layer/task.r2``, and ``recommended_step`` and ``alarm`` (0 or 1).
    """
    out: dict[str, float] = {}
    for layer, score in list(monitor.history_.values())[-1].items():
        out[f"{layer}/fuv"], out[f"{layer}/fuv_floor"] = score.fuv, score.fuv_floor
        for task, probe in score.probes.items():
            out[f"{layer}/{task}.r2"] = probe.r2
            if probe.accuracy is not None:
                out[f"{layer}/{task}.accuracy"] = probe.accuracy
    out["recommended_step"] = float(monitor.recommended_step_)
    out["alarm"] = float(monitor.alarm_ is not None)
    return out


class WatchSchedule:
    """Calls an observation at chosen steps of a plain training loop.

    Parameters
    ----------
    observe : callable
        ``observe(step)``, for instance of the watcher that `retemper.phases.torch.watch` makes.
    monitor : PhaseMonitor
        What it feeds.
    steps : iterable of int or None, default=None
        Steps at which it is called; None for 0, 1, 2, 4, 8, ...
    log : callable or None, default=None
        ``log(numbers, step=step)``, called with the dictionary of `numbers_of`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import PhaseMonitor
    >>> from retemper.phases.callbacks import WatchSchedule
    >>> X = np.random.default_rng(0).normal(size=(40, 5))
    >>> monitor = PhaseMonitor(X)
    >>> watch = WatchSchedule(lambda step: monitor.observe(step, {"a": X[:, :3]}), monitor)
    >>> any(watch(step) for step in range(9)), list(monitor.history_)
    (False, [0, 1, 2, 4, 8])
    """

    def __init__(
        self,
        observe: Callable[[int], Any],
        monitor: PhaseMonitor,
        *,
        steps: Iterable[int] | None = None,
        log: Log | None = None,
    ) -> None:
        self.observe = observe
        self.monitor = monitor
        self.steps = None if steps is None else {check_integer(s, "steps", low=0) for s in steps}
        self.log = log

    def __call__(self, step: int) -> bool:
        """Observe if it is time to.

        Parameters
        ----------
        step : int
            Optimiser steps done so far.

        Returns
        -------
        bool
            Whether the alarm has rung, now or before.
        """
        wanted = not step & (step - 1) if self.steps is None else step in self.steps
        seen = self.monitor.history_
        if wanted and (not seen or step > next(reversed(seen))):
            self.observe(step)
            if self.log is not None:
                self.log(numbers_of(self.monitor), step=step)
        return self.monitor.alarm_ is not None


def _schedule(watcher: Any, steps: Iterable[int] | None, log: Log | None) -> WatchSchedule:
    return WatchSchedule(watcher.observe, watcher.monitor, steps=steps, log=log)


def lightning_callback(
    watcher: Any,
    *,
    steps: Iterable[int] | None = None,
    log: Log | None = None,
    stop_on_alarm: bool = False,
) -> Any:
    """Callback for the ``Trainer`` of Lightning (``lightning`` or ``pytorch_lightning``).

    Parameters
    ----------
    watcher : TorchWatcher
        Made by `retemper.phases.torch.watch` of the module that is trained.
    steps : iterable of int or None, default=None
        Global steps at which layers are measured; None for 0, 1, 2, 4, 8, ...
    log : callable or None, default=None
        ``log(numbers, step=step)``.
    stop_on_alarm : bool, default=False
        Whether training ends at the alarm.

    Returns
    -------
    lightning.pytorch.Callback
        For ``Trainer(callbacks=[...])``.

    Raises
    ------
    ModuleNotFoundError
        If neither package is installed.
    """
    try:
        base = load("lightning.pytorch", "lightning_callback").Callback
    except ModuleNotFoundError:
        base = load("pytorch_lightning", "lightning_callback").Callback
    watch = _schedule(watcher, steps, log)

    class PhaseCallback(base):  # type: ignore[misc, valid-type]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            watch(int(trainer.global_step))

        def on_train_batch_end(self, trainer: Any, *args: Any, **kw: Any) -> None:
            if watch(int(trainer.global_step)) and stop_on_alarm:
                trainer.should_stop = True

    return PhaseCallback()


def transformers_callback(
    watcher: Any,
    *,
    steps: Iterable[int] | None = None,
    log: Log | None = None,
    stop_on_alarm: bool = False,
) -> Any:
    """Callback for the ``Trainer`` of Hugging Face's transformers.

    Parameters
    ----------
    watcher : TorchWatcher
        Made by `retemper.phases.torch.watch` of the model that is trained.
    steps : iterable of int or None, default=None
        Global steps at which layers are measured; None for 0, 1, 2, 4, 8, ...
    log : callable or None, default=None
        ``log(numbers, step=step)``.
    stop_on_alarm : bool, default=False
        Whether training ends at the alarm.

    Returns
    -------
    transformers.TrainerCallback
        For ``Trainer(callbacks=[...])``.

    Raises
    ------
    ModuleNotFoundError
        If transformers is not installed.
    """
    base = load("transformers", "transformers_callback").TrainerCallback
    watch = _schedule(watcher, steps, log)

    class PhaseCallback(base):  # type: ignore[misc, valid-type]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            watch(int(state.global_step))

        def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if watch(int(state.global_step)) and stop_on_alarm:
                control.should_training_stop = True

    return PhaseCallback()


def keras_callback(
    model: Any,
    layers: Sequence[str],
    inputs: Any,
    monitor: PhaseMonitor,
    *,
    pool: str | Callable[[Any], Any] | None = None,
    steps: Iterable[int] | None = None,
    log: Log | None = None,
    stop_on_alarm: bool = False,
    batch_size: int = 1024,
) -> Any:
    """Callback for ``fit`` of a model of Keras 3, with any backend.

    Parameters
    ----------
    model : keras.Model
        A built functional or sequential model.
    layers : sequence of str
        Names of its layers whose outputs are measured.
    inputs : array or list of array
        Held-out inputs, those of the monitor, in the same order.
    monitor : PhaseMonitor
        What watches.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens, channels last as Keras has them; outputs with more than
        two axes are refused without a choice.
    steps : iterable of int or None, default=None
        Batches of training after which layers are measured; None for 0, 1, 2, 4, 8, ...
    log : callable or None, default=None
        ``log(numbers, step=step)``.
    stop_on_alarm : bool, default=False
        Whether training ends at the alarm.
    batch_size : int, default=1024
        Rows sent through the model at a time.

    Returns
    -------
    keras.callbacks.Callback
        For ``model.fit(callbacks=[...])``.

    Raises
    ------
    ModuleNotFoundError
        If Keras is not installed.
    ValueError
        If a layer does not exist, or its output needs a ``pool``.
    """
    keras = load("keras", "keras_callback")
    if pool is not None and not callable(pool):
        check_choice(pool, "pool", POOLS)
    check_integer(batch_size, "batch_size", low=1)
    known = [layer.name for layer in model.layers]
    missing = [name for name in layers if name not in known]
    if missing or not layers:
        raise ValueError(f"layers must name layers of {known}, got {list(layers)}")
    reader = keras.Model(model.inputs, [model.get_layer(name).output for name in layers])

    def parts() -> Iterator[Mapping[str, NDArray[Any]]]:
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        for start in range(0, len(given[0]), batch_size):
            found = reader([x[start : start + batch_size] for x in given], training=False)
            found = found if isinstance(found, list | tuple) else [found]
            yield {
                name: _pooled_last(keras.ops.convert_to_numpy(value), pool, name)
                for name, value in zip(layers, found, strict=True)
            }

    watch = WatchSchedule(lambda step: monitor.observe(step, parts), monitor, steps=steps, log=log)

    class PhaseCallback(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, logs: Any = None) -> None:
            self.n_batches = 0
            watch(0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.n_batches += 1
            if watch(self.n_batches) and stop_on_alarm:
                self.model.stop_training = True

    return PhaseCallback()


def _pooled_last(
    value: NDArray[Any], pool: str | Callable[[Any], Any] | None, name: str
) -> NDArray[Any]:
    """Features of shape (n, units) from an output with its channels last."""
    if callable(pool):
        return np.asarray(pool(value))
    if value.ndim == 2:
        return value
    if pool is None:
        raise ValueError(
            f"layer {name!r} gives shape {value.shape}: say what becomes of its positions by "
            f"pool=, one of {list(POOLS)} or a function"
        )
    if pool == "flatten":
        return value.reshape(len(value), -1)
    if pool == "channels":
        return np.asarray(value.reshape(len(value), -1, value.shape[-1]).mean(axis=1))
    if value.ndim != 3:
        raise ValueError(
            f"pool={pool!r} is for (n, tokens, units), layer {name!r} gives {value.shape}"
        )
    if pool == "tokens":
        return np.asarray(value.mean(axis=1))
    return value[:, 0] if pool == "cls" else value[:, -1]
