"""PyTorch modules, watched by forward hooks. Needs the extra ``retemper[torch]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._validation import check_integer
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
    inputs : torch.Tensor
        Evaluation inputs of shape (n, ...), those of the monitor, in the same order.
    monitor : PhaseMonitor
        What watches.
    batch_size : int, default=1024
        Rows sent through the network at a time.
    pool : {"flatten", "mean"}, default="flatten"
        Whether feature maps are flattened, or averaged over their positions.

    Notes
    -----
    See `PhaseMonitor`.
    """

    def __init__(
        self,
        module: Any,
        layers: Sequence[str],
        inputs: Any,
        monitor: PhaseMonitor,
        *,
        batch_size: int = 1024,
        pool: str = "flatten",
    ) -> None:
        self.module = module
        self.layers = list(layers)
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

        caught: dict[str, NDArray[np.float32]] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(_module: Any, _args: Any, output: Any) -> None:
                if isinstance(output, tuple):
                    output = output[0]
                if self.pool == "mean" and output.ndim > 2:
                    output = output.flatten(2).mean(dim=2)
                caught[name] = output.detach().flatten(1).to("cpu", torch.float32).numpy().copy()

            return hook

        named = dict(self.module.named_modules())
        handles = [named[name].register_forward_hook(keep(name)) for name in self.layers]
        modes = {part: part.training for part in self.module.modules()}
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        self.module.eval()
        try:
            for start in range(0, len(self.inputs), self.batch_size):
                caught.clear()
                with torch.no_grad():
                    self.module(self.inputs[start : start + self.batch_size].to(device))
                missing = [name for name in self.layers if name not in caught]
                if missing:
                    raise ValueError(f"layer {missing[0]!r} did not run in the forward pass")
                yield {name: caught[name] for name in self.layers}
        finally:
            for handle in handles:
                handle.remove()
            for part, mode in modes.items():
                part.training = mode


def watch(
    module: Any,
    layers: Sequence[str],
    inputs: Any,
    *,
    y_eval: Any = None,
    aux: Mapping[str, Any] | None = None,
    monitor: PhaseMonitor | None = None,
    batch_size: int = 1024,
    pool: str = "flatten",
    **options: Any,
) -> TorchWatcher:
    """Hook a `PhaseMonitor` to a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    layers : sequence of str
        Names of submodules, as in ``module.named_modules()``.
    inputs : torch.Tensor
        Held-out inputs of shape (n, ...).
    y_eval : array_like of shape (n,) or None, default=None
        Source labels, probed as the task "source".
    aux : mapping of str to array_like, or None, default=None
        Further tasks.
    monitor : PhaseMonitor or None, default=None
        One made before, on the same inputs; None makes one from ``y_eval``, ``aux`` and
        ``options``.
    batch_size : int, default=1024
        Rows sent through the network at a time; a thousand or more keep the measurement fast.
    pool : {"flatten", "mean"}, default="flatten"
        Whether feature maps are flattened, or averaged over their positions.
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
        If a layer is not part of the module, or an option is given twice.

    Notes
    -----
    See `PhaseMonitor`.
    """
    import torch

    named = dict(module.named_modules())
    missing = [name for name in layers if name not in named]
    if missing or not layers:
        raise ValueError(f"layers must name submodules of {sorted(named)[1:]}, got {list(layers)}")
    if pool not in ("flatten", "mean"):
        raise ValueError(f"pool must be 'flatten' or 'mean', got {pool!r}")
    check_integer(batch_size, "batch_size", low=1)
    tensor = torch.as_tensor(inputs)
    if monitor is None:

        def numpy_of(value: Any) -> Any:
            return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

        monitor = PhaseMonitor(
            numpy_of(tensor), numpy_of(y_eval), {k: numpy_of(v) for k, v in (aux or {}).items()},
            layers=list(layers), **options,
        )  # fmt: skip
    elif y_eval is not None or aux or options:
        raise ValueError("give a monitor, or what to make one from, not both")
    return TorchWatcher(module, layers, tensor, monitor, batch_size=batch_size, pool=pool)
