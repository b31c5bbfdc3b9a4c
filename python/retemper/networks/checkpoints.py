"""Which checkpoint of a pre-training to start from, by the labels of the target."""

from __future__ import annotations

import copy
import dataclasses
import html
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._modules import n_rows
from retemper._pickles import Versioned
from retemper._plot import BLUE, new_axes
from retemper._text import number, one_line, table
from retemper._validation import FloatArray, check_choice
from retemper.networks._features import features
from retemper.networks.regression import feature_path, label_matrix
from retemper.networks.weights import weight_files, write_weights
from retemper.phases.torch import watch

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from retemper.phases.monitor import PhaseMonitor

__all__ = ["CheckpointChoice", "choose_checkpoint", "watch_checkpoints"]


@dataclasses.dataclass(frozen=True)
class CheckpointChoice(Versioned):
    """Checkpoints judged by a probe on the target's labels (see `choose_checkpoint`).

    Parameters
    ----------
    step : int
        The checkpoint to start from: the smallest leave-one-out loss.
    steps : ndarray of shape (m,)
        All checkpoints, in the order given.
    loo : ndarray of shape (m,)
        Leave-one-out squared error of the probe, summed over classes.
    loo_error_rate : ndarray of shape (m,)
        Share of left-out rows that are classified wrong; NaN for regression.
    excess : ndarray of shape (m,)
        Leave-one-out loss over that of the chosen checkpoint.
    excess_stderr : ndarray of shape (m,)
        Its standard error, rows paired.
    ridges : ndarray of shape (m,)
        Ridge of the probe, over the mean squared norm of the features.
    n_samples : int
        Labels used.

    See Also
    --------
    choose_checkpoint

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import choose_checkpoint
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> choice = choose_checkpoint({10: net}, X, (X[:, 0] > 0).numpy())
    >>> choice.step, choice.n_samples
    (10, 40)
    """

    step: int
    steps: NDArray[np.int64]
    loo: FloatArray
    loo_error_rate: FloatArray
    excess: FloatArray
    excess_stderr: FloatArray
    ridges: FloatArray
    n_samples: int

    @property
    def close(self) -> NDArray[np.int64]:
        """Steps whose excess is at most two standard errors, the chosen one among them."""
        return self.steps[self.excess <= 2.0 * self.excess_stderr]

    def to_frame(self) -> pd.DataFrame:
        """One row for every checkpoint (needs pandas)."""
        columns = {
            "step": self.steps,
            "loo": self.loo,
            "loo_error_rate": self.loo_error_rate,
            "excess": self.excess,
            "excess_stderr": self.excess_stderr,
            "ridge": self.ridges,
        }
        frame: pd.DataFrame = load("pandas", "to_frame").DataFrame(columns)
        return frame

    __repr__ = one_line

    def __str__(self) -> str:
        others = [str(s) for s in self.close if s != self.step]
        if len(others) > 6:
            others = [*others[:3], "...", *others[-2:]]
        tied = f"; {self.n_samples} labels cannot tell it from {', '.join(others)}"
        where = ""
        if len(self.steps) > 1 and self.step == self.steps.max():
            where = "; it is the last one given: a longer run may be better"
        elif len(self.steps) > 1 and self.step == self.steps.min() == 0:
            where = "" if others else "; nothing that was learned later helps with these labels"
        elif len(self.steps) > 1 and self.step == self.steps.min():
            where = "; it is the first one given: an earlier one may be better"
        rows = [["step", "loo loss", "loo error rate", "excess", "stderr"]]
        for i, step in enumerate(self.steps):
            mark = " <-" if step == self.step else ""
            values = (self.loo, self.loo_error_rate, self.excess, self.excess_stderr)
            rows.append([f"{step}{mark}", *(number(float(v[i])) for v in values)])
        head = f"start from the checkpoint of step {self.step}{tied if others else ''}{where}"
        return f"{head}\n\n{table(rows)}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the loss over the steps (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        ax = new_axes(ax)
        order = np.argsort(self.steps)
        ax.errorbar(
            self.steps[order], self.loo[order], 2 * self.excess_stderr[order], color=BLUE,
            marker="o", capsize=2,
        )  # fmt: skip
        ax.axvline(self.step, color="0.5", linestyle=":")
        ax.set(xlabel="step of the pre-training", ylabel="leave-one-out loss of a probe")
        return ax


def choose_checkpoint(
    checkpoints: Any,
    inputs: Any,
    y: ArrayLike,
    *,
    module: Any = None,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    task: Literal["classification", "regression"] = "classification",
    batch_size: int = 256,
) -> CheckpointChoice:
    r"""The checkpoint of a pre-training to start from, by leave-one-out on the target's labels.

    A ridge probe is fitted to the features of every checkpoint, with the ridge of its smallest
    exact leave-one-out loss; the checkpoint of the smallest loss is chosen. The source's own loss
    is not asked: features can serve the target best long before it is smallest. Each checkpoint
    costs one forward pass and one singular value decomposition; one of them is in memory at a time.

    Parameters
    ----------
    checkpoints : mapping of int to checkpoint, sequence of checkpoints, or path of a folder
        By training step, or in order (then the step is the place). A checkpoint is a module, or
        for the architecture ``module`` a state dict or its file, as `load_weights` takes it. Of a
        folder all such files are taken, or those in its folders (``checkpoint-500`` as trainers
        write them); the number after "step" in a name, or the last, is the step.
    inputs : tensor, array, tuple, mapping or DataLoader
        Target inputs, n samples.
    y : array_like of shape (n,)
        Their labels.
    module : torch.nn.Module or None, default=None
        Architecture that state dicts are read into (a copy of it).
    head : str or None, default=None
        Name of the read-out, whose inputs are the features; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens of the features.
    task : {"classification", "regression"}, default="classification"
        Kind of labels.
    batch_size : int, default=256
        Rows that are sent through at a time.

    Returns
    -------
    CheckpointChoice
        The choice and its table; prints as a recommendation.

    Raises
    ------
    ValueError
        If there is no checkpoint, a state dict comes without ``module`` or does not fit it, labels
        are of one class, or features are not finite; the step is named.

    See Also
    --------
    advise_network, features

    Notes
    -----
    Derived here (`networks#which-checkpoint-choose_checkpoint`): leave-one-out of ridge with an
    intercept from one decomposition of the centred features (`KernelPath`). Squared error decides,
    the count of errors is too coarse for few labels. The choice is for the features as they are;
    full fine-tuning moves them, so that its own best checkpoint can be another one. The page
    *PyTorch modules* says what the choice is worth beside other rules; the last checkpoint of a run
    that was not overdone can be as good.

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import choose_checkpoint
    >>> _ = torch.manual_seed(0)
    >>> nets = {
    ...     s: torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    ...     for s in (10, 20)
    ... }
    >>> _ = nets[10][0].weight.data.zero_()  # of no use
    >>> X = torch.randn(40, 3)
    >>> choose_checkpoint(nets, X, (X[:, 0] > 0).numpy()).step
    20
    """
    load("torch", "choose_checkpoint")
    check_choice(task, "task", ("classification", "regression"))
    Y, _ = label_matrix(y, task)
    if n_rows(inputs) != len(Y):
        raise ValueError(f"inputs and y must have one length, got {n_rows(inputs)}, {len(Y)}")
    if len(Y) < 3:
        raise ValueError(f"y must have at least 3 rows, got {len(Y)}")
    given = read_checkpoints(checkpoints)
    steps, rows, found = [], [], []
    for step, network in modules_of(given, module, head):
        try:
            phi = features(network, inputs, head=head, pool=pool, batch_size=batch_size)
        except ValueError as error:
            raise ValueError(f"checkpoint of step {step}: {error}") from error
        assert isinstance(phi, np.ndarray)
        scale = float(np.mean((phi**2).sum(axis=1)))
        path = feature_path(phi / np.sqrt(scale) if scale > 0.0 else phi, Y)
        at = path.best
        steps.append(step)
        rows.append(((Y - path.predictions[at]) ** 2).sum(axis=1))
        found.append((path.loo_path[at], path.loo_error_rate[at], path.ridges[at]))
    loo, rate, ridges = np.array(found).T
    best = int(np.argmin(loo))
    gaps = np.array(rows) - rows[best]
    stderr = gaps.std(axis=1, ddof=1) / np.sqrt(len(Y))
    return CheckpointChoice(
        steps[best], np.array(steps), loo, rate, loo - loo[best], stderr, ridges, len(Y)
    )


def watch_checkpoints(
    checkpoints: Any,
    inputs: Any,
    layers: Sequence[str],
    *,
    module: Any = None,
    y_eval: Any = None,
    aux: Mapping[str, Any] | None = None,
    monitor: PhaseMonitor | None = None,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    batch_size: int = 1024,
    **options: Any,
) -> PhaseMonitor:
    """What layers know of the input at every checkpoint of a training that is over.

    Parameters
    ----------
    checkpoints : mapping of int to checkpoint, sequence of checkpoints, or path of a folder
        As `choose_checkpoint` takes them; they are measured in the order of their steps.
    inputs : tensor, array, tuple, mapping or DataLoader
        Held-out inputs, n samples.
    layers : sequence of str
        Submodules whose outputs are measured.
    module : torch.nn.Module or None, default=None
        Architecture that state dicts are read into (a copy of it).
    y_eval : array_like of shape (n,) or None, default=None
        Source labels, probed as the task "source".
    aux : mapping of str to array_like, or None, default=None
        Tasks that the features are wanted for.
    monitor : PhaseMonitor or None, default=None
        One made before, on the same inputs, for instance with a ``path`` to resume from; None makes
        one.
    head : str or None, default=None
        Name of the read-out, whose weights may be absent; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens.
    batch_size : int, default=1024
        Rows that are sent through at a time.
    **options : dict
        Further arguments of `retemper.phases.PhaseMonitor`.

    Returns
    -------
    PhaseMonitor
        With ``report``, ``plot`` and ``recommended_step_``.

    Raises
    ------
    ValueError
        As `choose_checkpoint` and `retemper.phases.torch.watch` say.

    See Also
    --------
    choose_checkpoint : The checkpoint for a target with labels, without a look at layers.

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import watch_checkpoints
    >>> _ = torch.manual_seed(0)
    >>> nets = {
    ...     s: torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    ...     for s in (1, 2, 4)
    ... }
    >>> list(watch_checkpoints(nets, torch.randn(50, 6), ["1"]).history_)
    [1, 2, 4]
    """
    load("torch", "watch_checkpoints")
    given = dict(sorted(read_checkpoints(checkpoints).items()))
    for step, network in modules_of(given, module, head):
        if monitor is not None and step in monitor.history_:
            continue
        own = {"y_eval": y_eval, "aux": aux, **options} if monitor is None else {"monitor": monitor}
        watcher = watch(network, layers, inputs, pool=pool, batch_size=batch_size, **own)
        monitor = watcher.monitor
        try:
            watcher.observe(step)
        except ValueError as error:
            raise ValueError(f"checkpoint of step {step}: {error}") from error
    assert monitor is not None
    return monitor


def read_checkpoints(given: Any) -> dict[int, Any]:
    """Checkpoints by step, from a mapping, a sequence or a folder; nothing is loaded."""
    if isinstance(given, str | os.PathLike):
        folder = Path(given)
        if not folder.is_dir():
            there = "a file: put it into a list" if folder.is_file() else "no such folder"
            raise ValueError(
                f"checkpoints must be a folder, a list or a mapping: {folder} is {there}"
            )
        return dict(weight_files(folder))
    if isinstance(given, Mapping):
        wrong = [s for s in given if isinstance(s, bool) or not isinstance(s, int | np.integer)]
        if wrong:
            raise ValueError(
                f"checkpoints must map training steps to checkpoints, got the key {wrong[0]!r}; a "
                "single state dict goes into a list"
            )
        out = {int(s): c for s, c in given.items()}
    else:
        try:
            out = dict(enumerate(given))
        except TypeError:
            raise TypeError(
                f"checkpoints must be a folder, a list or a mapping, got {type(given).__name__}"
            ) from None
    if not out:
        raise ValueError("checkpoints must hold at least one checkpoint")
    return out


def modules_of(given: dict[int, Any], module: Any, head: str | None) -> Iterator[tuple[int, Any]]:
    """Step and network of every checkpoint; state dicts share one copy of the architecture."""
    torch = load("torch", "choose_checkpoint")
    own = None
    for step, checkpoint in given.items():
        if isinstance(checkpoint, torch.nn.Module):
            yield step, checkpoint
            continue
        if module is None:
            raise ValueError(
                f"module must be given to read the checkpoint of step {step}, which holds weights "
                "alone: the network that they are of"
            )
        own = copy.deepcopy(module) if own is None else own
        try:
            write_weights(own, checkpoint, head=head)
        except ValueError as error:
            raise ValueError(f"checkpoint of step {step}: {error}") from error
        yield step, own
