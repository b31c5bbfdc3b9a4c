"""Whether `advise` raises anything internal: real tables, seeds and options, in random order.

    python bench/faults_advise.py                # every table, seed and option: hours
    python bench/faults_advise.py --minutes 10   # as many of these calls as ten minutes take

Every call takes a table of `suite_tables`, a number of labels from six up, and one option. Each
option of each seed of each table comes once; the numbers of labels take turns, so that each meets
every option and every table. A call ends in an answer with finite errors, or in an error that names
an argument. Everything else is a fault: another error, a warning of NumPy about invalid numbers, an
error that is not finite.
"""

from __future__ import annotations

import argparse
import collections
import inspect
import itertools
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import retemper
from suite_advise import of_table
from suite_tables import TABLES

ARGUMENTS = set(inspect.signature(retemper.advise).parameters)
#: Labels of the target; 0 is the number of the table.
SIZES = (6, 8, 12, 25, 0)
#: Options by name: what each makes of a trial, its seed's generator and whether labels are classes.
OPTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "plain": lambda t, rng, classes: {},
    "groups": lambda t, rng, classes: {"groups": rng.integers(0, max(3, len(t.y) // 3), len(t.y))},
    "cv": lambda t, rng, classes: {"cv": 3},
    "weights": lambda t, rng, classes: {"sample_weight": rng.exponential(size=len(t.y))},
    "one heavy row": lambda t, rng, classes: {
        "sample_weight": np.where(np.arange(len(t.y)) == 0, 1e6, 1.0)
    },
    "balanced": lambda t, rng, classes: {"class_weight": "balanced"} if classes else {},
    "absolute": lambda t, rng, classes: {"scoring": "accuracy" if classes else "absolute"},
    "scorer": lambda t, rng, classes: {"scoring": "balanced accuracy" if classes else "r2"},
    "budget": lambda t, rng, classes: {"budget": 10 * len(t.y)},
    "target error": lambda t, rng, classes: {"target_error": 0.2},
    "unlabelled": lambda t, rng, classes: {"unlabelled": t.X_test[:200]},
    "systems": lambda t, rng, classes: {"systems": "all"},
    "confidence": lambda t, rng, classes: {"confidence": 0.8},
    "rows": lambda t, rng, classes: {"sources": t.rows},
    "no sources": lambda t, rng, classes: {"sources": {}},
    "constant column": lambda t, rng, classes: {
        "X": np.column_stack([t.X, np.ones(len(t.X))]),
        "sources": {
            name: (np.column_stack([X, np.ones(len(X))]), y) for name, (X, y) in t.rows.items()
        },
    },
    "equal rows": lambda t, rng, classes: {"X": np.repeat(t.X[:1], len(t.X), axis=0)},
    "separable": lambda t, rng, classes: {
        "X": np.column_stack([t.X[:, :-1], t.y]),
        "sources": {"label": lambda X: np.asarray(X)[:, -1]} if not classes else t.sources,
    },
}  # fmt: skip


def outcome(arguments: dict[str, Any]) -> tuple[str, str]:
    """How one call ended, and what is wrong with that."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            advice = retemper.advise(**arguments, progress=False)
            str(advice), advice.to_frame()
            advice.estimator_.predict(arguments["X"])
        except (ValueError, TypeError) as error:
            text = str(error)
            named = any(re.search(rf"(?<!\w){name}(?!\w)", text) for name in ARGUMENTS)
            if named and not isinstance(error, np.linalg.LinAlgError):
                return "refused", text
            return "fault", traceback.format_exc()
        except Exception:
            return "fault", traceback.format_exc()
    bad = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    if bad:
        where = next(w for w in caught if issubclass(w.category, RuntimeWarning))
        return "fault", f"{where.filename}:{where.lineno}: {bad[0]}"
    errors = [candidate.held_out_error for candidate in advice.candidates]
    if not np.isfinite(errors).all():
        return "fault", f"errors {errors}"
    return "answered", ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=np.inf)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--order", type=int, default=0, help="seed of the order of the calls")
    options = parser.parse_args()
    cases = [
        (number, seed, option, SIZES[(number + seed + place) % len(SIZES)])
        for number, seed, (place, option) in itertools.product(
            range(len(TABLES)), range(options.seeds), enumerate(OPTIONS)
        )
    ]
    order = np.random.default_rng(options.order).permutation(len(cases))
    ends: collections.Counter[str] = collections.Counter()
    tables, refusals = set(), collections.Counter()
    began = time.monotonic()
    for place in order:
        number, seed, option, size = cases[place]
        if time.monotonic() - began > 60.0 * options.minutes:
            break
        table, rng = TABLES[number], np.random.default_rng(seed)
        try:
            trial = of_table(rng, number=number, n=size or table.n)
        except ImportError:
            ends["without its package"] += 1
            continue
        arguments = {"X": trial.X, "y": trial.y, "sources": trial.sources}
        if table.classes:
            arguments["task"] = "classification"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments |= OPTIONS[option](trial, rng, table.classes)
        end, detail = outcome(arguments)
        ends[end] += 1
        tables.add(number)
        if end == "fault":
            print(f"{table.name}, seed {seed}, {option}, n={len(trial.y)}:\n{detail}", flush=True)
        if end == "refused":
            refusals[detail[:90]] += 1
    minutes = (time.monotonic() - began) / 60.0
    print(
        f"{ends.total()} of {len(cases)} calls, {len(tables)} tables, {options.seeds} seeds,"
        f" {len(OPTIONS)} options in {minutes:.0f} min: {dict(ends)}"
    )
    for text, times in refusals.most_common(12):
        print(f"  {times:3d} x {text}")
    sys.exit(bool(ends["fault"]))


if __name__ == "__main__":
    main()
