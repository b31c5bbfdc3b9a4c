"""Batch normalisations that have seen other data than they are used on."""

from __future__ import annotations

from typing import Any

from retemper._extras import load
from retemper._modules import batches, capture, evaluation
from retemper._text import number


def batch_statistics(module: Any, inputs: Any, word: str, batch_size: int = 256) -> list[str]:
    """Batch normalisations whose running statistics are those of other data, in words.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    inputs : tensor, array, tuple, mapping or DataLoader
        What it is used on.
    word : str
        Which of two networks it is, for messages.
    batch_size : int, default=256
        Rows that are sent through at a time; statistics are of the first batch.

    Returns
    -------
    list of str
        One sentence for a layer whose mean is off by more than one standard deviation in the mean
        square over channels, or whose variance by more than a factor of four in the median.
    """
    torch = load("torch", "diagnose")
    nn = torch.nn
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layers = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, kinds) and part.running_mean is not None
    }
    if not layers:
        return []
    with evaluation(module), torch.no_grad():
        arguments = next(iter(batches(module, inputs, batch_size)))
        caught = capture(module, arguments, list(layers), inputs_of=True, partial=True)
    out = []
    for name, value in caught.items():
        part = layers[name]
        rows = value.transpose(0, 1).flatten(1).double()
        var = part.running_var.double() + part.eps
        shift = float(((rows.mean(dim=1) - part.running_mean.double()) ** 2 / var).mean().sqrt())
        ratio = float(((rows.var(dim=1, correction=0) + part.eps) / var).log().median().exp())
        if shift > 1.0 or not 0.25 <= ratio <= 4.0:
            out.append(
                f"batch statistics of {name} {word} are of other data: means off by "
                f"{number(shift)} standard deviations, variance {number(ratio)} of the kept one; "
                "let the network see your inputs in training mode first"
            )
    return out
