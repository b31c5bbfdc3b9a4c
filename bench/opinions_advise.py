"""What are the opinions of the systems worth? Their record on the suite of `retemper.advise`.

``python bench/opinions_advise.py [--seeds 4] [--jobs 1] [--half report|rules|all]`` asks every
system about every source of every draw, as ``advise(..., systems="all", unlabelled=...)`` does with
up to 200 other rows without labels, and prints a table in Markdown. Systems that need the rows of a
source have those that it was made from, where the suite has them. What came is that of
``calibrate_advise.py``, whose kept trials (``--kept FOLDER``) are used where there are such.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np

from calibrate_advise import CONFIDENCE, came, head, line, words_of
from retemper.advisor.inputs import read_task, read_unlabelled
from retemper.advisor.opinions import SYSTEMS, ask_systems, numbers
from retemper.advisor.wording import changes_action, sources_in_use
from retemper.linear import FineTunedLinearRegression
from suite_advise import PAIRS
from trials_advise import digest, kept_trial

#: Rows without labels that are handed over.
UNLABELLED = 200
#: Systems that need the rows of a source.
OF_ROWS = ("widenet", "phases")
#: What may come where a claim is right; as in the table of verdicts of `calibrate_advise.py`.
RIGHT = {
    "helps": {"helps"},
    "use": {"helps"},
    "hurts": {"hurts", "no difference"},
    "same": {"hurts", "no difference"},
    "leave": {"hurts", "no difference"},
}


def draw_of(number, seed, folder, stamp):
    """Every opinion of one draw beside what came."""
    pair = PAIRS[number]
    raw = kept_trial(number, seed, folder, stamp)
    draw = pair.draw(np.random.default_rng([*pair.name.encode(), seed]))
    task = read_task(draw.X, draw.y, draw.sources, pair.task)
    test = read_task(draw.X_test, draw.y_test, draw.sources, pair.task)
    kept = {name: draw.rows[name] for name in draw.sources if name in draw.rows}
    of_rows = read_task(draw.X, draw.y, kept, pair.task) if kept else task
    piles = read_unlabelled(draw.X_test[:UNLABELLED], task)
    places = {raw["task"].name_of(c.source): c.source for c in raw["fits"].candidates}
    weights = raw["fits"].weights if words_of(raw)["uses"] else [1.0]
    used = sources_in_use(
        [
            raw["task"].name_of(c.source)
            for c, w in zip(raw["fits"].candidates, weights, strict=False)
            if w > 0.0
        ],
        [source.name for source in task.sources],
    )
    found = []
    for system in SYSTEMS:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said, _ = ask_systems(
                of_rows if system in OF_ROWS else task, (system,), CONFIDENCE, piles, 1
            )
        seconds = time.perf_counter() - begin
        cases = []
        for opinion in said:
            if system == "linear" and opinion.source == "scratch":
                continue
            case = {"given": bool(opinion.verdict or opinion.advice)}
            case["flags"] = sum(
                not flag.startswith(("not asked", "one linear layer")) for flag in opinion.flags
            )
            case["line"] = changes_action(opinion, used)
            claim = opinion.verdict or opinion.action
            if claim in RIGHT and opinion.source in places:
                truth = came(raw["fits"], raw["loss"], places[opinion.source])
                case["right"] = truth in RIGHT[claim]
            if np.isfinite(opinion.error_low):
                error = error_of(opinion, task, test, draw)
                case["inside"] = opinion.error_low <= error <= opinion.error_high
            cases.append(case)
        found.append((system, seconds, cases))
    return found


def error_of(opinion, task, test, draw):
    """Squared error on other rows of the use that `linear` speaks of."""
    j = next(k for k, source in enumerate(task.sources) if source.name == opinion.source)
    known, there = task.scores[j][:, 0], test.scores[j][:, 0]
    y = numbers(test)
    use = opinion.advice.removeprefix("leans to ")
    if use.startswith("as is"):
        return float(np.mean((y - there) ** 2))
    size = len(known)

    def source(rows):
        return known if len(rows) == size else there

    scale = "auto" if use.startswith("rescaled") else 1.0
    model = FineTunedLinearRegression(source=source, source_scale=scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(task.X, numbers(task))
        found = model.predict(task.units.rows(test.rows))
    return float(np.mean((y - found) ** 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--half", choices=("report", "rules", "all"), default="report")
    parser.add_argument("--kept", type=Path)
    options = parser.parse_args()
    begin = time.perf_counter()
    halves = {"report": (True,), "rules": (False,), "all": (False, True)}[options.half]
    folder = options.kept or Path(tempfile.gettempdir()) / "retemper-trials"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = digest()
    work = [
        (k, seed)
        for seed in range(options.seeds)
        for k, pair in enumerate(PAIRS)
        if pair.reports in halves
    ]
    draws = joblib.Parallel(options.jobs)(
        joblib.delayed(draw_of)(k, seed, folder, stamp) for k, seed in work
    )
    print(f"{len({k for k, _ in work})} pairs, {len(work)} draws.\n")
    head(
        "system", "sources", "opinions", "right", "wrong", "intervals that hold",
        "would change the action", "of these right", "flags", "median seconds of a call",
    )  # fmt: skip
    for k, system in enumerate(SYSTEMS):
        cases = [case for draw in draws for case in draw[k][2]]
        answered = [draw[k][1] for draw in draws if any(case["given"] for case in draw[k][2])]
        judged = [case["right"] for case in cases if "right" in case]
        changed = [case for case in cases if case["line"]]
        held = [case["inside"] for case in cases if "inside" in case]
        cells = (
            system,
            len(cases),
            sum(case["given"] for case in cases),
            sum(judged) if judged else "—",
            len(judged) - sum(judged) if judged else "—",
            f"{sum(held)} of {len(held)}" if held else "—",
            len(changed),
            sum(case.get("right", False) for case in changed) if judged else "—",
            sum(case["flags"] for case in cases),
            f"{np.median(answered):.2g}" if answered else "—",
        )
        line(*map(str, cells))
    print(f"\n{options.seeds} seeds, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
