"""Weights from files: checked against the module before anything is written, one tensor at a time.

Nothing in a file is ever executed: pickles are read with ``weights_only``, arrays without pickles.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retemper._extras import load
from retemper._modules import check_module, find_head
from retemper._validation import as_path

__all__ = ["SUFFIXES", "load_weights", "weight_files"]

#: Files that are read, by suffix.
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz")
#: Where training scripts put the weights beside their other state.
_NESTED = ("state_dict", "model_state_dict", "model", "module")
#: Types of numbers of a .safetensors file.
_KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def load_weights(module: Any, weights: Any, *, head: str | None = None) -> Any:
    """A copy of a module with the weights of a checkpoint; the module itself stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
        The architecture.
    weights : path-like or mapping of str to tensor
        A state dict, or its file: ``torch.save`` (.pt, .pth, .bin, .ckpt), .safetensors or .npz. A
        state dict below "state_dict", "model_state_dict", "model" or "module" is found there.
    head : str or None, default=None
        Name of the read-out; None for the last linear layer. Its weights may be absent, or of
        another number of outputs: they are then left as they are.

    Returns
    -------
    torch.nn.Module
        The copy.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If keys are missing or unknown (they are listed), shapes differ, or the file does not hold
        weights alone. A pickle of anything else is refused without being executed.

    See Also
    --------
    choose_checkpoint, features

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import load_weights
    >>> net = torch.nn.Linear(2, 1)
    >>> net = torch.nn.Sequential(net)
    >>> load_weights(net, {"0.weight": torch.ones(1, 2), "0.bias": torch.zeros(1)})[0].weight.sum()
    tensor(2., grad_fn=<SumBackward0>)
    """
    check_module(module)
    out = copy.deepcopy(module)
    write_weights(out, weights, head=head)
    return out


def write_weights(module: Any, weights: Any, *, head: str | None = None) -> None:
    """Weights of a checkpoint into a module, all or none of them."""
    torch = load("torch", "load_weights")
    label = "the state dict" if isinstance(weights, Mapping) else str(weights)
    top = find_head(module, head).name + "."
    with open_weights(weights) as tensors, torch.no_grad():
        own = {**dict(module.named_parameters(remove_duplicate=False)), **_buffers(module)}
        missing = [k for k in own if k not in tensors and not k.startswith(top)]
        extra = [k for k in tensors if k not in own and not k.startswith(top)]
        if missing or extra:
            raise ValueError(
                f"{label} does not fit the module: missing keys {_few(missing)}, unknown keys "
                f"{_few(extra)}"
            )
        shared = []
        for key, value in own.items():
            if key not in tensors:
                continue
            shape, wanted = tuple(tensors.shape(key)), tuple(value.shape)
            if shape == wanted:
                shared.append(key)
            elif not key.startswith(top):
                raise ValueError(f"{label} has {key!r} of shape {shape}, the module {wanted}")
        for key in shared:
            own[key].copy_(tensors[key])


def _buffers(module: Any) -> dict[str, Any]:
    kept = set(module.state_dict(keep_vars=True))
    return {k: b for k, b in module.named_buffers(remove_duplicate=False) if k in kept}


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - 10} more" if len(keys) > 10 else ""
    return f"{keys[:10]}{more}"


class _Held:
    """Tensors that are in memory."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self.tensors = tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.tensors[key].shape)

    def __getitem__(self, key: str) -> Any:
        return self.tensors[key]


class _Arrays:
    """Arrays of an .npz file, each read when it is asked for."""

    def __init__(self, archive: Any) -> None:
        self.archive = archive

    def __iter__(self) -> Iterator[str]:
        return iter(self.archive.files)

    def __contains__(self, key: str) -> bool:
        return key in self.archive.files

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self[key].shape)

    def __getitem__(self, key: str) -> Any:
        try:
            array = self.archive[key]
        except ValueError as error:
            raise ValueError(f"{key!r} is not an array of numbers: {error}") from None
        return load("torch", "load_weights").as_tensor(np.array(array))


class _SafeTensors:
    """Tensors of a .safetensors file: a header in JSON, then the bytes of every tensor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise ValueError(f"{path} is not a whole .safetensors file")
            try:
                header = json.loads(file.read(length))
                header.pop("__metadata__", None)
                for key, entry in header.items():
                    self._check(key, entry, size - 8 - length)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{path} is not a whole .safetensors file: {error}") from None
        self.header: dict[str, Any] = header
        self.start = 8 + length

    @staticmethod
    def _check(key: str, entry: dict[str, Any], room: int) -> None:
        torch = load("torch", "load_weights")
        if entry["dtype"] not in _KINDS:
            raise ValueError(f"{key!r} is of type {entry['dtype']}, which is not read")
        low, high = entry["data_offsets"]
        count = math.prod(entry["shape"])
        wide = getattr(torch, _KINDS[entry["dtype"]]).itemsize
        if min(entry["shape"], default=0) < 0 or not 0 <= low <= high <= room:
            raise ValueError(f"{key!r} lies outside of the file")
        if high - low != count * wide:
            raise ValueError(f"{key!r} has {high - low} bytes for shape {entry['shape']}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.header)

    def __contains__(self, key: str) -> bool:
        return key in self.header

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.header[key]["shape"])

    def __getitem__(self, key: str) -> Any:
        torch = load("torch", "load_weights")
        entry = self.header[key]
        low, high = entry["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.start + low)
            raw = bytearray(file.read(high - low))
        kind = getattr(torch, _KINDS[entry["dtype"]])
        if not raw:
            return torch.zeros(entry["shape"], dtype=kind)
        return torch.frombuffer(raw, dtype=kind).reshape(entry["shape"])


@contextlib.contextmanager
def open_weights(weights: Any) -> Iterator[Any]:
    """Named tensors of a state dict or of its file."""
    if isinstance(weights, Mapping):
        yield _Held(_state_dict(weights, "weights"))
        return
    path = as_path(weights, "weights")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    if path.suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is not a .npz file")
        with np.load(path, allow_pickle=False) as archive:
            yield _Arrays(archive)
    elif path.suffix == ".safetensors":
        yield _SafeTensors(path)
    else:
        yield _Held(_state_dict(_pickled(path), str(path)))


def _pickled(path: Path) -> Any:
    """What ``torch.save`` wrote, mapped instead of read where the format allows it."""
    torch = load("torch", "load_weights")
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{path} holds something other than weights, or is damaged; it was not executed. Save "
            f"module.state_dict() instead ({reason[:120]})"
        ) from error


def _state_dict(found: Any, label: str) -> Mapping[str, Any]:
    torch = load("torch", "load_weights")
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{label} must be a state dict of tensors, got {type(found).__name__}")
    wrong = [str(k) for k, v in found.items() if not isinstance(v, torch.Tensor | np.ndarray)]
    if wrong:
        raise ValueError(f"{label} has entries that are no tensors: {_few(wrong)}")
    return {str(k): torch.as_tensor(v) for k, v in found.items()}


def _weights_of(folder: Path) -> Path | None:
    """The file of weights that a trainer wrote into the folder of a checkpoint."""
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
    named = [p for p in files if p.stem in ("model", "pytorch_model")]
    if not named and len(files) > 1:
        raise ValueError(
            f"{folder} has several files that could be its weights, "
            f"{_few([p.name for p in files])}; give a mapping of steps to files"
        )
    return next(iter(named or files), None)


def weight_files(folder: Path) -> dict[int, Path]:
    """Files of weights in a folder, by the number after "step" in their names, or the last one.

    Without any, those of its folders, ``checkpoint-500/model.safetensors`` as trainers write them:
    the number is that of the folder, the file is called ``model`` or ``pytorch_model``, or is the
    only one. Weights in several files are refused.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    dict of int to Path
        In the order of their numbers.
    """
    found: dict[int, Path] = {}
    inside = sorted(folder.iterdir())
    files = {p: p for p in inside if p.suffix in SUFFIXES and not p.is_dir()}
    if not files:
        files = {p: weights for p in inside if p.is_dir() and (weights := _weights_of(p))}
    for named, path in files.items():
        numbers = re.findall(r"step\D?(\d+)", named.stem) or re.findall(r"\d+", named.stem)
        if not numbers:
            raise ValueError(f"{named} has no number in its name that could be its step")
        step = int(numbers[-1])
        if step in found:
            raise ValueError(f"{found[step]} and {path} have one step, {step}")
        found[step] = path
    if not found:
        raise ValueError(f"{folder} has no file that ends in one of {', '.join(SUFFIXES)}")
    return dict(sorted(found.items()))
