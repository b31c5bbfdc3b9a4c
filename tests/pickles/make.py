"""Write the pickles of this version: ``python -m tests.pickles.make``.

Run at every release, and before the first one whenever a class that is kept in files has changed.
The archive is text, ``tests/pickles/VERSION.json``: every pickle in base 64, beside numbers that
what is read must give again.
"""

from __future__ import annotations

import base64
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import retemper
from retemper import diagonal, estimators, linear, perceptron, phases, widenet
from retemper._results import Comparison, Sweep

HERE = Path(__file__).parent
ROWS = np.round(np.sin(np.arange(36.0)).reshape(12, 3), 3)
LABELS = np.round(ROWS @ [1.0, -2.0, 0.5] + 0.1 * np.cos(np.arange(12.0)), 3)
SOURCE = np.array([1.0, -1.5, 0.3])


def things() -> dict[str, Any]:
    """What users keep in files, small."""
    made: dict[str, Any] = {}
    for name in estimators.__all__:
        cls = getattr(estimators, name)
        if name == "LinearTransferReport":
            made[name] = cls({"old": SOURCE}).fit(ROWS, LABELS)
            continue
        classes = hasattr(cls, "predict_proba")
        made[name] = cls().fit(ROWS, (LABELS > 0).astype(int) if classes else LABELS)
    made["LinearTheory"] = linear.solve(linear.LinearModel(8, SOURCE, noise=0.1))
    made["DiagonalTheory"] = diagonal.solve(diagonal.DiagonalModel(0.3))
    made["PerceptronTheory"] = perceptron.solve(perceptron.PerceptronModel(1.0, 1.0))
    for channel in ("sign", "margin", "cluster", "absolute", "linear", "laplace"):
        model = perceptron.GLMModel(1.5, channel=channel)
        made[f"GLMTheory of {channel}"] = perceptron.solve(model)
    made["WideNetTheory"] = widenet.solve(widenet.WideNetModel(50), (ROWS, LABELS))
    made["FeatureTheory"] = phases.solve(phases.FeatureModel(4, [2.0, 1.0], [1.0, 0.2]))
    made["Sweep"] = Sweep({"alpha": np.array([0.2, 0.3])}, {"mse": np.array([0.4, 0.1])}, "swept")
    one = np.array([1.0])
    made["Comparison"] = Comparison(("risk",), one, 1.1 * one, 0.05 * one)
    return made


def numbers(thing: Any) -> list[float]:
    """What a thing says, as numbers."""
    if hasattr(thing, "predict"):
        return [float(v) for v in np.ravel(thing.predict(ROWS[:4]))]
    if isinstance(thing, Sweep):
        return thing["mse"].tolist()
    if isinstance(thing, Comparison):
        return thing.z.tolist()
    if hasattr(thing, "gain_"):
        return np.ravel(thing.gain_).tolist()
    values = [v for v in thing.as_dict().values() if isinstance(v, float)]
    return [v for v in values if np.isfinite(v)]


def main() -> None:
    """Write the archive of this version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive = {
            name: {
                "pickle": base64.b64encode(pickle.dumps(thing, protocol=4)).decode(),
                "numbers": numbers(thing),
            }
            for name, thing in things().items()
        }
    path = HERE / f"{retemper.__version__}.json"
    path.write_text(json.dumps(archive, indent=1) + "\n", encoding="utf-8")
    print(path.name, path.stat().st_size, "bytes,", len(archive), "pickles")


if __name__ == "__main__":
    main()
