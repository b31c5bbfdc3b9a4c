"""Fitted models on disk: numbers that are safe to read, and, if asked, files that run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._extras import load
from retemper._state import find_head
from retemper._text import whole_file
from retemper._validation import as_path

__all__ = ["read_model", "write_model"]

_PICKLES = (".joblib", ".pkl", ".pickle")
_NUMBERS = (".npz", ".safetensors")
_BOOSTERS = (".json", ".ubj", ".txt")
#: Names of number types in files of safetensors.
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "<?",
}  # fmt: skip


def read_model(path: Path | str, *, allow_pickle: bool = False) -> Any:
    """A fitted model from a file, as ``sources=`` takes it.

    Parameters
    ----------
    path : Path or str
        .npz or .safetensors: arrays "coef" or "weight" and "intercept" or "bias", also behind the
        name of a layer, with "classes" and "feature_names" where these are known. .skops: a model
        of scikit-learn (needs skops). .json, .ubj or .txt: a booster of XGBoost or LightGBM (needs
        either). .joblib, .pkl, .pickle: anything, only with ``allow_pickle``.
    allow_pickle : bool, default=False
        Whether files of joblib and pickle may be read, and types in files of skops that are not
        known to be safe. Reading one runs whatever code is in it: do so only with files of your
        own.

    Returns
    -------
    object
        A fitted model with ``predict``; a dictionary of arrays if a file holds several layers.

    Raises
    ------
    TypeError
        If ``path`` is neither a path nor text.
    ValueError
        If the file is none of these, is broken, or is a pickle that was not allowed.
    OSError
        If it cannot be read.
    ModuleNotFoundError
        If a library for this kind of file is not installed.

    See Also
    --------
    write_model, retemper.advise

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from retemper.datasets import read_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/model.npz", coef=[1.0, -2.0], intercept=0.5)
    ...     read_model(f"{folder}/model.npz").predict([[2.0, 1.0]])
    array([0.5])
    """
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        if not allow_pickle:
            raise ValueError(
                f"{path} is a pickle, and reading it runs whatever code is in it: if it is your "
                "own, allow it (retemper.datasets.read_model(path, allow_pickle=True), on the "
                "command line --allow-pickle); else ask for .skops, .npz or .safetensors"
            )
        import joblib

        return _guarded(path, lambda: joblib.load(path))
    if suffix == ".skops":
        return _read_skops(path, allow_pickle)
    if suffix in _BOOSTERS:
        return _read_booster(path)
    if suffix not in _NUMBERS:
        known = ", ".join((*_NUMBERS, ".skops", *_BOOSTERS, *_PICKLES))
        raise ValueError(f"path must be a model in one of the formats {known}, got {path}")
    state = _guarded(path, lambda: _read_npz(path) if suffix == ".npz" else _read_tensors(path))
    try:
        return find_head(state, str(path))[0]
    except ValueError:
        layers = [key for key in state if str(key).endswith(("weight", "coef"))]
        if len(layers) < 2:
            raise
        return state  # which layer fits is known beside the rows


def write_model(path: Path | str, model: Any) -> Path:
    """Write a fitted model.

    Parameters
    ----------
    path : Path or str
        .npz: the numbers of a linear model, safe to read anywhere. .skops (needs skops) or .joblib:
        any model.
    model : estimator
        What to write.

    Returns
    -------
    Path
        The file; replaced as a whole or not at all.

    Raises
    ------
    ValueError
        If the format is none of these, or the model is not linear and should be .npz.

    See Also
    --------
    read_model

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.linear_model import Ridge
    >>> from retemper.datasets import read_model, write_model
    >>> model = Ridge(1e-9).fit([[0.0], [1.0]], [1.0, 3.0])
    >>> file = write_model(Path(tempfile.mkdtemp()) / "model.npz", model)
    >>> read_model(file).predict([[2.0]]).round(6)
    array([5.])
    """
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".skops", ".joblib"):
        raise ValueError(f"path must end in .npz, .skops or .joblib, got {path}")
    state = _linear_arrays(model) if suffix == ".npz" else None
    if suffix == ".npz" and state is None:
        raise ValueError(
            f"{path} can hold a linear model alone, {type(model).__name__} is none: write "
            ".joblib instead"
        )
    with whole_file(path) as part:
        if state is not None:
            with part.open("wb") as file:
                np.savez(file, **state)
        elif suffix == ".joblib":
            import joblib

            joblib.dump(model, part)
        else:
            load("skops.io", f"writing {path.name}").dump(model, part)
    return path


def _linear_arrays(model: Any) -> dict[str, Any] | None:
    """Slopes, offsets, classes and names of a model that is linear in its rows."""
    if hasattr(model, "members"):  # the average of an advice
        parts = [_linear_arrays(member) for member in model.members]
        if any(part is None for part in parts):
            return None
        mixed = dict(parts[0] or {})
        for key in ("coef", "intercept"):
            mixed[key] = sum(
                w * part[key] for w, part in zip(model.weights, parts, strict=True) if part
            )
        return mixed
    coef, offset = getattr(model, "coef_", None), getattr(model, "intercept_", 0.0)
    if coef is None or getattr(model, "source_function_", None) is not None:
        return None
    found = {"coef": np.asarray(coef), "intercept": np.asarray(offset)}
    if hasattr(model, "classes_"):
        classes = np.asarray(model.classes_)
        found["classes"] = classes.astype(np.str_) if classes.dtype.kind in "OT" else classes
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        found["feature_names"] = np.asarray([str(name) for name in names])
    return found


def _guarded(path: Path, read: Any) -> Any:
    try:
        return read()
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{path} cannot be read: it needs {error.name}") from error
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a file of safetensors: a length, a table of contents in JSON, and the numbers."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= path.stat().st_size - 8:
            raise ValueError("it is no file of safetensors")
        contents = json.loads(file.read(size))
        body = file.read()
    found: dict[str, NDArray[Any]] = {}
    for key, entry in contents.items():
        if key == "__metadata__":
            found |= {
                word: np.asarray(json.loads(text))
                for word, text in entry.items()
                if word in ("classes", "feature_names")
            }
            continue
        kind = entry["dtype"]
        if kind not in _TYPES:
            raise ValueError(f"tensor {key!r} has the type {kind}")
        start, end = entry["data_offsets"]
        array = np.frombuffer(body[start:end], dtype=_TYPES[kind]).reshape(entry["shape"])
        if kind == "BF16":  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        found[key] = array
    return found


def _read_skops(path: Path, allow_any: bool) -> Any:
    skops = load("skops.io", f"reading {path.name}")
    unknown = _guarded(path, lambda: skops.get_untrusted_types(file=path))
    foreign = [name for name in unknown if not name.startswith("retemper.")]
    if foreign and not allow_any:
        raise ValueError(
            f"{path} holds types that are not known to be safe: {', '.join(foreign)}; if it is "
            "your own, allow them (retemper.datasets.read_model(path, allow_pickle=True), on the "
            "command line --allow-pickle)"
        )
    return _guarded(path, lambda: skops.load(path, trusted=unknown))


def _read_booster(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix.lower() == ".txt" or start == b"tree":
        try:
            import lightgbm
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"reading {path.name} needs lightgbm, which is not installed", name="lightgbm"
            ) from None
        return _guarded(path, lambda: lightgbm.Booster(model_file=str(path)))
    try:
        import xgboost
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"reading {path.name} needs xgboost, which is not installed", name="xgboost"
        ) from None

    def read() -> Any:
        booster = xgboost.Booster()
        booster.load_model(path)
        return booster

    return _guarded(path, read)
