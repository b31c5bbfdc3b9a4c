"""Features of a network: what a layer gives for every input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._extras import load
from retemper._modules import (
    POOLS,
    batches,
    capture,
    evaluation,
    find_head,
    origin_of_nan,
    pick_rows,
    pooled,
)
from retemper._validation import check_choice

__all__ = ["features"]


def features(
    module: Any,
    inputs: Any,
    *,
    layers: Sequence[str] | None = None,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    batch_size: int = 256,
) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
    """Features that a PyTorch module gives, ready for `retemper.advise` or any estimator.

    Parameters
    ----------
    module : torch.nn.Module
        The network; it runs in evaluation mode and is left as it was.
    inputs : tensor, array, tuple, mapping or DataLoader
        What the forward pass takes, n samples.
    layers : sequence of str or None, default=None
        Submodules whose outputs are wanted; None for the inputs of the head.
    head : str or None, default=None
        Name of the read-out, where no ``layers`` are given; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens. Outputs with more than two axes are refused without a
        choice.
    batch_size : int, default=256
        Rows that are sent through at a time.

    Returns
    -------
    ndarray of shape (n, units), or dict of str to ndarray
        Features in float64; by layer if ``layers`` are given.

    Raises
    ------
    ModuleNotFoundError
        If PyTorch is not installed.
    ValueError
        If a layer does not exist or does not run, its shape needs a ``pool``, or its features are
        not finite; the layer is named.

    See Also
    --------
    choose_checkpoint, tangent_kernel

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import features
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> features(net, torch.zeros(5, 3)).shape
    (5, 4)
    """
    torch = load("torch", "features")
    if pool is not None and not callable(pool):
        check_choice(pool, "pool", POOLS)
    if isinstance(layers, str):
        raise TypeError(f"layers must be a list of names, got the text {layers!r}")
    if head is not None and layers is not None:
        raise ValueError("head is for features below the read-out: give head or layers, not both")
    names = [find_head(module, head).name] if layers is None else list(layers)
    if not names:
        raise ValueError("layers must name at least one layer")
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    with evaluation(module), torch.no_grad():
        for arguments in batches(module, inputs, batch_size):
            caught = capture(module, arguments, names, inputs_of=layers is None)
            for name in names:
                out = pooled(caught[name], pool, name)
                parts[name].append(out.to("cpu", torch.float64).numpy())
    found = {name: np.concatenate(part) for name, part in parts.items()}
    for name, value in found.items():
        if not np.isfinite(value).all():
            row = int(np.argwhere(~np.isfinite(value).all(axis=1))[0, 0])
            with evaluation(module):
                arguments = next(
                    iter(
                        batches(
                            module,
                            inputs if hasattr(inputs, "dataset") else pick_rows(inputs, [row]),
                            batch_size,
                        )
                    )
                )
                where = origin_of_nan(module, arguments)
            raise ValueError(
                f"layer {name!r} gives NaN or infinite features, first for row {row}: {where}"
            )
    return found[names[0]] if layers is None else found
