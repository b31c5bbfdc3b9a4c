"""PyTorch modules, watched by forward hooks. Needs the extra ``retemper[torch]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._modules import POOLS, batches, capture, check_module, evaluation, n_rows, pooled
from retemper._validation import as_items, check_choice, check_integer
from retemper.phases.instrument import ReconstructionScore
from retemper.phases.monitor import PhaseMonitor

if TYPE_CHECKING:
    from retemper.phases.report import Alarm

__all__ = ["TorchWatcher", "watch"]


class TorchWatcher:
    """Feeds a `PhaseMonitor` with the activations of a PyTorch module; made by `watch`.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    layers : sequence of str
        Names of its submodules whose outputs are measured.
    inputs : tensor, array, tuple, mapping or DataLoader
        Evaluation inputs, n samples, those of the monitor, in the same order.
    monitor : PhaseMonitor
        What watches.
    batch_size : int, default=1024
        Rows sent through the network at a time.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens: all of them side by side, the mean over positions of
        (n, channels, positions...), the mean over tokens of (n, tokens, units), the first or the
        last token. Outputs with more than two axes are refused without a choice.

    See Also
    --------
    PhaseMonitor

    Notes
    -----
    See `PhaseMonitor`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from retemper.phases.torch import watch
    >>> X = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> watcher = watch(net, ["1"], X)
    >>> sorted(watcher.observe(0))
    ['1']
    """

    def __init__(
        self,
        module: Any,
        layers: Sequence[str],
        inputs: Any,
        monitor: PhaseMonitor,
        *,
        batch_size: int = 1024,
        pool: str | Callable[[Any], Any] | None = None,
    ) -> None:
        self.module = module
        self.layers = as_items(layers, "layers")
        self.inputs = inputs
        self.monitor = monitor
        self.batch_size = batch_size
        self.pool = pool

    def observe(self, step: int) -> dict[str, ReconstructionScore]:
        """Measure the layers now.

        The module is put into evaluation mode without gradients, and back into the mode of every
        submodule afterwards; no activation is kept.

        Parameters
        ----------
        step : int
            Training step.

        Returns
        -------
        dict of str to ReconstructionScore
            By layer.
        """
        return self.monitor.observe(step, self.batches)

    @property
    def alarm(self) -> Alarm | None:
        """The monitor's alarm."""
        return self.monitor.alarm_

    def batches(self) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        """Activations of the evaluation inputs, batch by batch.

        Yields
        ------
        dict of str to ndarray
            By layer, float32 of shape (rows, units).
        """
        import torch

        with evaluation(self.module):
            for arguments in batches(self.module, self.inputs, self.batch_size):
                with torch.no_grad():
                    caught = capture(self.module, arguments, self.layers)
                yield {
                    name: pooled(caught[name], self.pool, name)
                    .detach().to("cpu", torch.float32).numpy().copy()
                    for name in self.layers
                }  # fmt: skip


def watch(
    module: Any,
    layers: Sequence[str],
    inputs: Any,
    *,
    y_eval: Any = None,
    aux: Mapping[str, Any] | None = None,
    monitor: PhaseMonitor | None = None,
    batch_size: int = 1024,
    pool: str | Callable[[Any], Any] | None = None,
    **options: Any,
) -> TorchWatcher:
    """Hook a `PhaseMonitor` to a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    layers : sequence of str
        Names of submodules, as in ``module.named_modules()``.
    inputs : tensor, array, tuple, mapping or DataLoader
        Held-out inputs, n samples. A tensor of numbers is what layers are asked to reconstruct; of
        anything else make a ``monitor`` that says what that is.
    y_eval : array_like of shape (n,) or None, default=None
        Source labels, probed as the task "source".
    aux : mapping of str to array_like, or None, default=None
        Further tasks.
    monitor : PhaseMonitor or None, default=None
        One made before, on the same inputs; None makes one from ``y_eval``, ``aux`` and
        ``options``.
    batch_size : int, default=1024
        Rows sent through the network at a time; a thousand or more keep the measurement fast.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens: all of them side by side, the mean over positions of
        (n, channels, positions...), the mean over tokens of (n, tokens, units), the first or the
        last token. Outputs with more than two axes are refused without a choice.
    **options : dict
        Further arguments of `PhaseMonitor`.

    Returns
    -------
    TorchWatcher
        Call its ``observe(step)`` in the training loop.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If a layer is not part of the module, inputs are ids of tokens or no single tensor and there
        is no ``monitor``, or an option is given twice.

    Notes
    -----
    See `PhaseMonitor`.
    """
    import torch

    check_module(module)
    layers = as_items(layers, "layers")
    named = dict(module.named_modules())
    missing = [name for name in layers if name not in named]
    if missing or not layers:
        raise ValueError(f"layers must name submodules of {sorted(named)[1:]}, got {layers}")
    if pool is not None and not callable(pool):
        check_choice(pool, "pool", POOLS)
    check_integer(batch_size, "batch_size", low=1)
    if monitor is None:

        def numpy_of(value: Any) -> Any:
            return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

        if isinstance(inputs, Mapping | tuple | list) or hasattr(inputs, "dataset"):
            raise ValueError(
                f"inputs are a {type(inputs).__name__}, which no layer can be asked to "
                "reconstruct: give monitor=PhaseMonitor(X) with the numbers X that are meant"
            )
        n_rows(inputs)  # refuses what has none
        X = numpy_of(torch.as_tensor(inputs))
        if X.dtype.kind in "iu" and X.dtype.itemsize > 1:
            raise ValueError(
                f"inputs are whole numbers ({X.dtype}), as ids of tokens are: their order means "
                "nothing that could be reconstructed; give monitor=PhaseMonitor(X) with their "
                "embeddings X, or inputs of another type if they are measurements"
            )
        monitor = PhaseMonitor(
            X, numpy_of(y_eval), {k: numpy_of(v) for k, v in (aux or {}).items()},
            layers=layers, **options,
        )  # fmt: skip
    elif y_eval is not None or aux or options:
        raise ValueError("give a monitor, or what to make one from, not both")
    return TorchWatcher(module, layers, inputs, monitor, batch_size=batch_size, pool=pool)
