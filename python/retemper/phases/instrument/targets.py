"""What is read off a layer and from which rows: targets, folds, activations."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._random import Seed, generator
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_shape,
    plain_array,
)
from retemper.exceptions import ValidityWarning
from retemper.phases.tasks import one_hot, task_factor

_MAX_UNITS = 4096


@dataclasses.dataclass(frozen=True)
class TargetGroup:
    """Columns of the target matrix that belong to one question."""

    name: str
    first: int
    last: int
    label_index: NDArray[np.int64] | None  # (n,) for labels, None for real targets
    variance: float  # per sample, summed over the columns, about the mean


class TargetSet:
    """Everything a layer is asked for: the inputs first, then labels and auxiliary tasks."""

    def __init__(
        self,
        X: ArrayLike,
        targets: Mapping[str, ArrayLike] | None,
        sketch: int | None,
        task_weights: ArrayLike | None,
        random_state: Seed,
        *,
        label: str = "X",
        shown: Mapping[str, str] | None = None,  # how errors name a target, if not by its own name
    ) -> None:
        inputs = np.asarray(X)
        if inputs.ndim > 2 and inputs.size:
            inputs = inputs.reshape(inputs.shape[0], -1)
        inputs = as_float_array(inputs, label, ndim=2)
        self.n_inputs = inputs.shape[1]
        if inputs.shape[0] < 2 or not inputs.shape[1]:
            raise ValueError(f"{label} must have two rows and a column, got shape {inputs.shape}")
        if not (inputs != inputs[0]).any():
            raise ValueError(
                f"{label} is constant: the fraction of unexplained input variance is undefined"
            )
        if task_weights is not None:
            inputs = inputs @ task_factor(task_weights, self.n_inputs)
        if sketch is not None:
            width = check_integer(sketch, "sketch", low=1)
            omega = generator(random_state).normal(size=(inputs.shape[1], width))
            inputs = inputs @ (omega / math.sqrt(width))
        columns, groups = [inputs], [self._group("reconstruction", 0, inputs, None)]
        if not isinstance(targets, Mapping | None):
            raise TypeError(f"targets must map names to arrays, got {targets!r:.60}")
        for name, value in (targets or {}).items():
            if name == "reconstruction":
                raise ValueError('a target may not be called "reconstruction"')
            title = (shown or {}).get(name, name)
            raw = np.asarray(plain_array(value))
            if raw.ndim and len(raw) != len(inputs):
                raise ValueError(f"{title} must have {len(inputs)} rows, got {len(raw)}")
            if raw.ndim == 1 and raw.dtype.kind != "f":
                block, classes = one_hot(raw, title)
                if classes.size < 2:
                    warnings.warn(
                        f"{title} has one class only: its probe is left out",
                        ValidityWarning, stacklevel=4,
                    )  # fmt: skip
                    continue
                index = block.argmax(axis=1).astype(np.int64)
            else:
                block = as_float_array(raw, title, ndim=(1, 2))
                block, index = block.reshape(len(block), math.prod(block.shape[1:])), None
                check_shape(block, (inputs.shape[0], None), title)
                if not (block != block[0]).any():
                    raise ValueError(f"{title} is constant: its R² is undefined")
            check_shape(block, (inputs.shape[0], None), title)
            groups.append(self._group(name, groups[-1].last, block, index))
            columns.append(block)
        self.T = np.ascontiguousarray(
            np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
        )
        self.groups = tuple(groups)

    @staticmethod
    def _group(
        name: str, first: int, block: FloatArray, index: NDArray[np.int64] | None
    ) -> TargetGroup:
        mean, total = block.mean(axis=0), 0.0
        for start in range(0, block.shape[0], 256):  # no second copy of the inputs
            part = block[start : start + 256] - mean
            total += float(np.einsum("ij,ij->", part, part))
        variance = total / block.shape[0]
        return TargetGroup(name, first, first + block.shape[1], index, variance)


def assign_folds(n: int, folds: int | ArrayLike, groups: ArrayLike | None) -> NDArray[np.int64]:
    """Fold of every row: i modulo the number, a given vector, or whole groups at a time."""
    if np.ndim(folds) == 1:
        given = np.asarray(folds)
        if given.dtype.kind not in "iu" or given.shape != (n,):
            raise ValueError(f"folds must be a number or {n} integers, got {given.shape}")
        fold = np.unique(given, return_inverse=True)[1].astype(np.int64)
        if groups is not None:
            raise ValueError("give folds or groups as a vector, not both")
        count = int(fold.max()) + 1
    else:
        count = check_integer(folds, "folds", low=2)
        fold = np.arange(n, dtype=np.int64) % count
    if n < 2 * count:
        raise ValueError(f"{n} samples are too few for {count} folds: at least {2 * count}")
    if count < 2:
        raise ValueError("folds must name at least two folds")
    if groups is not None:
        labels = np.asarray(groups)
        if labels.shape != (n,):
            raise ValueError(f"groups must have shape ({n},), got {labels.shape}")
        _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        if sizes.size < count:
            raise ValueError(f"{sizes.size} groups cannot fill {count} folds")
        load, home = np.zeros(count, np.int64), np.empty(sizes.size, np.int64)
        for g in np.argsort(-sizes, kind="stable"):
            home[g] = load.argmin()
            load[home[g]] += sizes[g]
        fold = home[index]
    return np.ascontiguousarray(fold)


def as_activations(H: ArrayLike, name: str) -> NDArray[Any]:
    """Activations as (n, h), float32 kept; everything after the first axis is flattened."""
    raw = np.asarray(plain_array(H))
    if str(getattr(H, "dtype", "")) == "torch.float32":
        raw = raw.astype(np.float32)
    if raw.ndim < 2:
        raise ValueError(f"{name} must have at least two axes, got shape {raw.shape}")
    if not raw.size:
        raise ValueError(f"{name} must not be empty, got shape {raw.shape}")
    raw = raw.reshape(raw.shape[0], -1)
    if raw.dtype != np.float32:
        try:
            raw = as_float_array(raw, name, ndim=2)
        except ValueError as error:
            if raw.dtype.kind == "f" and not np.isfinite(raw).all():
                raise ValueError(f"{name} holds NaN or infinity: training has diverged") from error
            raise
    else:
        raw = np.ascontiguousarray(raw)
        if not np.isfinite(raw).all():
            raise ValueError(f"{name} holds NaN or infinity: training has diverged")
    if not raw.shape[1]:
        raise ValueError(f"{name} has no units")
    return raw


def pool_units(H: NDArray[Any], most: int = _MAX_UNITS) -> tuple[NDArray[Any], bool]:
    """At most this many units: wider layers are summed into buckets with random signs."""
    h = H.shape[1]
    if h <= most:
        return H, False
    rng = generator(0)
    order = rng.permutation(h)
    sign = rng.integers(0, 2, size=h) * 2.0 - 1.0
    edges = np.linspace(0, h, most, endpoint=False).astype(np.int64)
    return np.add.reduceat((H * sign)[:, order], edges, axis=1), True


def pick_layers(batch: Mapping[str, Any], layers: Sequence[str] | None) -> list[str]:
    """The layers asked for, in the order they come."""
    if layers is None:
        return list(batch)
    missing = [name for name in layers if name not in batch]
    if missing:
        raise ValueError(f"layer {missing[0]!r} is not among the activations {list(batch)}")
    return list(layers)
