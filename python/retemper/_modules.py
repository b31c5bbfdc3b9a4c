"""Running a PyTorch module on any inputs: batches, devices, evaluation mode, hooks, pooling."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from retemper._extras import load
from retemper._validation import check_integer, naming

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

__all__ = [
    "POOLS",
    "Head",
    "batches",
    "check_module",
    "cut_layer",
    "evaluation",
    "find_head",
    "first_tensor",
    "forward",
    "n_rows",
    "named_layer",
    "origin_of_nan",
    "pick_rows",
    "pooled",
    "take_rows",
]

#: How positions of a layer's output are turned into features.
POOLS = ("flatten", "channels", "tokens", "cls", "last")


def torch_module() -> Any:
    """PyTorch, or an error that says how to install it."""
    return load("torch", "networks and phases.torch")


def check_module(value: Any, name: str = "module") -> None:
    """Refuse anything but a PyTorch module, by the name of the argument."""
    if not isinstance(value, torch_module().nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {value!r:.60}")
    places = [p.is_meta for p in value.parameters()]
    if places and all(places):
        raise ValueError(
            f"{name} has no numbers, its parameters are on the device 'meta': load weights first"
        )


def n_rows(inputs: Any) -> int:
    """Number of samples of a tensor, a tuple, a dictionary of tensors or a loader's data set."""
    first = inputs
    if isinstance(inputs, Mapping):
        first = next(iter(inputs.values()), None)
    elif isinstance(inputs, tuple | list):
        first = inputs[0] if inputs else None
    if isinstance(first, Mapping | tuple | list):
        return n_rows(first)
    if hasattr(first, "dataset"):
        return len(first.dataset)
    if not getattr(first, "shape", ()):
        raise TypeError(
            "inputs must be a tensor or an array with one row for every sample, a tuple or a "
            f"mapping of them, or a DataLoader, got {inputs!r:.60}"
        )
    return int(first.shape[0])


def _slice(inputs: Any, rows: Any, device: Any, kinds: Sequence[Any] = ()) -> Any:
    """Some rows; numbers with a fraction in one of the types, the first if theirs is none."""
    torch = torch_module()
    if isinstance(inputs, Mapping):
        return {key: _slice(value, rows, device, kinds) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(_slice(value, rows, device, kinds) for value in inputs)
    part = np.array(inputs.iloc[rows], order="C") if hasattr(inputs, "iloc") else inputs[rows]
    with naming("inputs"):
        tensor = torch.as_tensor(part).to(device)
    foreign = tensor.is_floating_point() and kinds and tensor.dtype not in kinds
    return tensor.to(kinds[0]) if foreign else tensor


def take_rows(inputs: Any, count: int) -> Any:
    """The first samples of a tensor, an array, a tuple or a mapping of them."""
    if hasattr(inputs, "dataset"):
        raise TypeError("inputs must be tensors here, got a loader")
    return _slice(inputs, slice(0, count), "cpu")


def pick_rows(inputs: Any, rows: Any) -> Any:
    """Samples by their numbers."""
    if hasattr(inputs, "dataset"):
        raise TypeError("inputs must be tensors here, got a loader")
    return _slice(inputs, rows, None)


def _device(module: Any) -> Any:
    """Where inputs go; a module of which a part was left elsewhere is refused."""
    found: dict[str, tuple[str, Any]] = {}
    for name, p in module.named_parameters():
        found.setdefault(p.device.type, (name, p.device))
    if len(found) > 1 and not hasattr(module, "hf_device_map"):  # placed by accelerate
        places = ", ".join(f"{name!r} on {device}" for name, device in found.values())
        raise ValueError(
            f"the module lies on devices of {len(found)} kinds, {places}; move it with module.to"
        )
    return next((device for _, device in found.values()), None)


def batches(
    module: Any, inputs: Any, batch_size: int
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments of the module's forward pass, batch by batch, on the module's device.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    inputs : tensor, array, tuple, mapping or DataLoader
        A tensor, array or data frame is the one argument; a tuple are several; a mapping are named
        ones, as a tokenizer gives them. Numbers with a fraction are taken in the type of the
        module's parameters. A loader yields any of these, or a pair with labels, which are
        dropped.
    batch_size : int
        Rows at a time; a loader has its own.

    Yields
    ------
    tuple, dict
        Positional and named arguments.

    Raises
    ------
    ValueError
        If parameters lie on devices of two kinds, or a loader shuffles.
    """
    check_module(module)
    device = _device(module)
    kinds = [p.dtype for p in module.parameters() if p.is_floating_point()]
    check_integer(batch_size, "batch_size", low=1)
    if hasattr(inputs, "dataset"):
        if "Random" in type(getattr(inputs, "sampler", None)).__name__:
            raise ValueError("inputs must come in one order: make the loader with shuffle=False")
        parts: Any = (
            _slice(part[0] if isinstance(part, tuple | list) else part, slice(None), device, kinds)
            for part in inputs
        )
    else:
        n = n_rows(inputs)
        parts = (
            _slice(inputs, slice(start, start + batch_size), device, kinds)
            for start in range(0, n, batch_size)
        )
    for part in parts:
        if isinstance(part, Mapping):
            yield (), dict(part)
        elif isinstance(part, tuple):
            yield part, {}
        else:
            yield (part,), {}


def forward(module: Any, arguments: Arguments) -> Any:
    """One forward pass, whose failure names the inputs.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    arguments : tuple
        Positional and named arguments.

    Returns
    -------
    object
        What it gives.

    Raises
    ------
    ValueError
        If the module fails on these inputs, memory aside.
    """
    torch = torch_module()
    try:
        return module(*arguments[0], **arguments[1])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, IndexError) as error:
        given = [*arguments[0], *arguments[1].values()]
        shapes = ", ".join(
            f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
            for x in given
            if torch.is_tensor(x)
        )
        raise ValueError(
            f"inputs do not fit {type(module).__name__}, which fails on shapes {shapes}: "
            f"{str(error).splitlines()[0]}"
        ) from error


@contextlib.contextmanager
def evaluation(module: Any) -> Iterator[None]:
    """The module in evaluation mode, every submodule back in its own mode afterwards."""
    check_module(module)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def first_tensor(output: Any) -> Any:
    """The tensor of an output that may be a tuple, a mapping or a model output with fields."""
    for name in ("last_hidden_state", "logits"):
        if hasattr(output, name):
            return getattr(output, name)
    if isinstance(output, Mapping):
        return first_tensor(next(iter(output.values())))
    return first_tensor(output[0]) if isinstance(output, tuple | list) else output


def named_layer(module: Any, name: str) -> Any:
    """A submodule by its name; an unknown name is refused with those that exist."""
    named = dict(module.named_modules())
    if name not in named or not name:
        raise ValueError(f"layer {name!r} is not one of {sorted(filter(None, named))}")
    return named[name]


def pooled(output: Any, pool: str | Callable[[Any], Any] | None, name: str) -> Any:
    """Features of shape (n, units) from the output of a layer.

    Parameters
    ----------
    output : tensor of shape (n, ...)
        Output of the layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None
        "channels" averages (n, channels, positions...) over positions, "tokens" averages
        (n, tokens, units) over tokens, "cls" and "last" take the first and the last token.
    name : str
        The layer, for messages.

    Returns
    -------
    tensor of shape (n, units)
        Features.

    Raises
    ------
    ValueError
        If the output has positions or tokens and ``pool`` does not say what to do with them.
    """
    if callable(pool):
        out = pool(output)
        if out.ndim != 2:
            raise ValueError(f"pool must return shape (n, units), got {tuple(out.shape)}")
        return out
    if output.ndim == 2:
        return output
    if output.ndim < 2:
        raise ValueError(f"layer {name!r} gives {tuple(output.shape)}, not one row a sample")
    if pool is None and output.ndim == 4 and output.shape[2:] == (1, 1):
        return output.flatten(1)
    if pool is None:
        raise ValueError(
            f"layer {name!r} gives shape {tuple(output.shape)}: say what becomes of its positions "
            f"by pool=, one of {list(POOLS)} or a function"
        )
    if pool == "flatten":
        return output.flatten(1)
    if pool == "channels":
        return output.flatten(2).mean(dim=2)
    if output.ndim != 3:
        raise ValueError(
            f"pool={pool!r} is for (n, tokens, units), layer {name!r} gives {tuple(output.shape)}"
        )
    if pool == "tokens":
        return output.mean(dim=1)
    return output[:, 0] if pool == "cls" else output[:, -1]


@dataclasses.dataclass(frozen=True)
class Head:
    """The read-out of a network: the last linear layer, whose inputs are the features.

    Attributes
    ----------
    name : str
        Its name among the submodules.
    module : torch.nn.Linear
        The layer.
    """

    name: str
    module: Any


def find_head(module: Any, head: str | None) -> Head:
    """The read-out, by name or as the last linear layer in the order of definition.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    head : str or None
        Its name; None for the last `torch.nn.Linear`.

    Returns
    -------
    Head
        The read-out.

    Raises
    ------
    ValueError
        If there is none, or the name is not that of a linear layer.
    """
    torch = torch_module()
    check_module(module)
    linear = [n for n, part in module.named_modules() if isinstance(part, torch.nn.Linear) and n]
    if head is None:
        if not linear:
            raise ValueError("the module has no linear layer that could be its head; name one")
        head = linear[-1]
    elif head not in linear:
        raise ValueError(f"head must be one of the linear layers {linear}, got {head!r}")
    return Head(head, named_layer(module, head))


def capture(
    module: Any,
    arguments: Arguments,
    layers: Sequence[str],
    *,
    inputs_of: bool = False,
    partial: bool = False,
) -> dict[str, Any]:
    """Outputs, or inputs, of layers in one forward pass, with their gradients.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    arguments : tuple
        Positional and named arguments.
    layers : sequence of str
        Names of submodules.
    inputs_of : bool, default=False
        Whether their inputs are wanted.
    partial : bool, default=False
        Whether layers that do not run are left out.

    Returns
    -------
    dict of str to tensor
        By layer.

    Raises
    ------
    ValueError
        If a layer does not run.
    """
    caught: dict[str, Any] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: Any, args: Any, output: Any) -> None:
            caught[name] = first_tensor(args if inputs_of else output)

        return hook

    handles = [named_layer(module, n).register_forward_hook(keep(n)) for n in layers]
    try:
        forward(module, arguments)
    finally:
        for handle in handles:
            handle.remove()
    missing = [name for name in layers if name not in caught]
    if missing and not partial:
        raise ValueError(f"layer {missing[0]!r} did not run in the forward pass")
    return caught


def origin_of_nan(module: Any, arguments: Arguments) -> str:
    """Where numbers first stop being finite in a forward pass, in words for a message."""
    torch = torch_module()
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            value = first_tensor(output)
            is_number = isinstance(value, torch.Tensor) and value.is_floating_point()
            if is_number and not bool(torch.isfinite(value).all()):
                found.append(name)

        return hook

    given = [*arguments[0], *arguments[1].values()]
    if any(torch.is_tensor(x) and not bool(torch.isfinite(x).all()) for x in given):
        return "the inputs themselves are NaN or infinite"
    handles = [part.register_forward_hook(look(n)) for n, part in module.named_modules() if n]
    try:
        with torch.no_grad():
            module(*arguments[0], **arguments[1])
    finally:
        for handle in handles:
            handle.remove()
    return f"layer {found[0]!r} is the first to give any" if found else "no layer of its own does"


def cut_layer(module: Any, arguments: Arguments) -> str | None:
    """The first layer whose inputs carry gradients and whose output does not, if there is one."""
    torch = torch_module()
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: Any, args: Any, output: Any) -> None:
            value = first_tensor(output)
            given = [x for x in args if isinstance(x, torch.Tensor)]
            if not isinstance(value, torch.Tensor) or value.requires_grad:
                return
            if any(x.requires_grad for x in given):
                found.append(name)

        return hook

    handles = [part.register_forward_hook(look(n)) for n, part in module.named_modules() if n]
    try:
        module(*arguments[0], **arguments[1])
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
