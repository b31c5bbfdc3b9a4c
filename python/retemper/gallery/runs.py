"""The recorded training runs behind the figures and the documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from retemper._validation import check_choice, check_integer
from retemper.datasets import ImageTask, coloured_digits, noisy_digits
from retemper.phases.monitor import PhaseMonitor
from retemper.phases.trainer import MLPTrainer

__all__ = ["RUNS", "Run", "run_seeds"]


class Run(NamedTuple):
    """A training run and what to look at.

    Parameters
    ----------
    summary : str
        Task and network in words.
    data : callable
        Makes the images from a seed.
    source, transfer : str
        Names of the task that is trained and of the one that should transfer.
    alarm_layer : str
        Layer whose curves are drawn.
    settings : dict
        Arguments of `retemper.phases.MLPTrainer`.

    See Also
    --------
    run_seeds

    Examples
    --------
    >>> from retemper.gallery import RUNS
    >>> RUNS["parity"].source, RUNS["parity"].transfer
    ('parity', 'digit')
    """

    summary: str
    data: Callable[[int], ImageTask]
    source: str
    transfer: str
    alarm_layer: str
    settings: dict[str, Any]


def _plain(seed: int) -> ImageTask:
    return noisy_digits(random_state=seed)


def _coloured(correlation: float = 0.5, background: float = 0.0) -> Callable[[int], ImageTask]:
    return lambda seed: coloured_digits(
        correlation=correlation, background=background, random_state=seed
    )


_TANH: dict[str, Any] = {"hidden": (128, 64), "activation": "tanh", "n_steps": 4096}

RUNS: dict[str, Run] = {
    "parity": Run(
        "parity of digits, ReLU 64-64, weight decay 3e-3",
        _plain, "parity", "digit", "hidden2",
        {"hidden": (64, 64), "weight_decay": 3e-3, "n_steps": 8192},
    ),
    "control": Run(
        "the same without weight decay",
        _plain, "parity", "digit", "hidden2", {"hidden": (64, 64), "n_steps": 8192},
    ),
    "colour": Run(
        "digits in correlated colour, tanh 128-64",
        _coloured(), "digit", "colour", "hidden2", _TANH,
    ),
    "relu": Run(
        "digits in correlated colour, ReLU 128-64-32, weight decay 3e-3",
        _coloured(), "digit", "colour", "hidden3",
        {"hidden": (128, 64, 32), "weight_decay": 3e-3, "n_steps": 4096},
    ),
    "background": Run(
        "digits in a colour of no meaning on a random background, tanh 128-64",
        _coloured(correlation=0.0, background=0.4), "digit", "colour", "hidden2", _TANH,
    ),
    "independent": Run(
        "digits in a colour of no meaning, tanh 128-64",
        _coloured(correlation=0.0), "digit", "colour", "hidden2", _TANH,
    ),
}  # fmt: skip


def run_seeds(name: str, n_seeds: int = 5, *, use_groups: bool = True) -> list[PhaseMonitor]:
    """Train and watch one of `RUNS` from several seeds.

    Parameters
    ----------
    name : str
        Which run.
    n_seeds : int, default=5
        Seeds 0, 1, ... of data and network.
    use_groups : bool, default=True
        Whether copies of one image stay in one fold of the decoder.

    Returns
    -------
    list of PhaseMonitor
        One per seed.

    Raises
    ------
    ValueError
        If there is no such run.

    See Also
    --------
    Run, retemper.phases.PhaseMonitor

    Examples
    --------
    >>> from retemper.gallery import run_seeds
    >>> [monitor.recommended_step_ for monitor in run_seeds("parity", 2)]  # doctest: +SKIP
    [512, 1024]
    """
    check_choice(name, "name", tuple(RUNS))
    run = RUNS[name]
    monitors = []
    for seed in range(check_integer(n_seeds, "n_seeds", low=1)):
        task = run.data(seed)
        aux = {k: v for k, v in task.tasks_eval.items() if k != run.source}
        monitor = PhaseMonitor(
            task.X_eval, task.tasks_eval[run.source], aux,
            groups=task.groups_eval if use_groups else None,
        )  # fmt: skip
        net = MLPTrainer(random_state=seed, **run.settings)
        watch = _watch(monitor, task)
        net.fit(task.X, task.tasks[run.source], callback=watch)
        monitors.append(monitor)
    return monitors


def _watch(monitor: PhaseMonitor, task: ImageTask) -> Callable[[int, MLPTrainer], object]:
    def watch(step: int, net: MLPTrainer) -> None:
        monitor.observe(step, net.activations(task.X_eval))

    return watch
