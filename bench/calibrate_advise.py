"""Is the advice right? Words and models of `retemper.advise` over pairs of source and target tasks.

``python bench/calibrate_advise.py [--seeds 4] [--jobs 1] [--half report|rules|all]`` runs what
`retemper.advise` decides by on every pair of ``suite_advise.py`` and prints tables in Markdown.
One half of the pairs set the constants, the other half reports. ``--constants`` fits them anew, on
the first half alone, and prints them beside those in use.
Trials are kept in ``--kept FOLDER``, so that a second call is quick while the library is the same.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np

from constants_advise import BINS, constants_of, fit_odds
from retemper.advisor.evidence import ODDS_OF_AVERAGE, ODDS_OF_SOURCE, gain_of, gain_score
from retemper.advisor.forecast import forecast_error
from retemper.advisor.verdicts import (
    gain_of_average,
    is_worth_a_source,
    judge_sources,
    overall,
    unseen_rows,
)
from suite_advise import MISSING, PAIRS
from trials_advise import LATER, all_trials, gains_of

#: Losses that differ by less are called equal.
SAME = 0.02
CONFIDENCE = 0.95
#: This part of the loss of knowing nothing is added to losses before they are divided: where all
#: are almost zero, ratios say nothing.
GROUND = 0.01
ODDS_BINS = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
SOURCE_BINS = ((1, 1), (2, 3), (4, 99))


def words_of(raw):
    """What is said of a trial by the library as it is now, and what came."""
    task, fits, loss = raw["task"], raw["fits"], raw["loss"]
    rows = judge_sources(task, fits, CONFIDENCE, [], {})
    odds = gain_of_average(fits, CONFIDENCE)
    ground = GROUND * raw["null"]
    base, average = loss[0], raw["average"][0]
    uses = is_worth_a_source(rows, odds)
    found = {
        **raw,
        "n": task.n,
        "regression": task.is_regression,
        "n_sources": len({c.source for c in fits.candidates if c.source >= 0}),
        "uses": uses,
        "gain": relative(base, average if uses else base, ground),
        "always": relative(base, average, ground),
        "likely": relative(base, average if odds.p_helps > 0.5 else base, ground),
        "clear": relative(base, average if overall(rows) == "helps" else base, ground),
        "best": relative(base, min(*loss, average), ground),
        "regret": regrets(raw, average if uses else base, ground),
        "p": odds.p_helps,
    }
    verdicts, covered = [], collections.defaultdict(list)
    places = {task.name_of(c.source): c.source for c in fits.candidates}
    for row in rows:
        if row.duplicate_of is not None:
            continue
        source = places[row.name]
        i = 0 if source == -1 else fits.best(source)
        covered["leave-one-out"].append(row.predicted_low <= raw["wrong"][i] <= row.predicted_high)
        covered["held out"].append(row.held_out_low <= raw["wrong"][i] <= row.held_out_high)
        if source == -1:
            continue
        verdicts.append((row.verdict, came(fits, loss, source)))
    unseen = unseen_rows(fits)
    gains = [told(seen, unseen) for seen in gains_of(raw)]
    for gain in gains:
        gain["width"] /= fits.loss[0].mean()
        gain["pair"] = raw["pair"]
    return {
        **found, "gains": [g for g in gains if np.isfinite(g["p"])], "verdicts": verdicts,
        "covered": covered, "forecasts": list(forecasts(raw)),
    }  # fmt: skip


def came(fits, loss, source):
    """What a source did on other rows: "helps" by its best use, else by fine-tuning."""
    base = loss[0]
    good = min(loss[k] for k in fits.of(source)) < (1 - SAME) * base
    harm = loss[next(k for k in fits.of(source) if fits.candidates[k].kind == "fine-tune")]
    return "helps" if good else "hurts" if harm > (1 + SAME) * base else "no difference"


def relative(base, loss, ground):
    """Gain over the loss from scratch."""
    return (base - loss) / (base + ground)


def regrets(raw, said, ground):
    """Logarithms of losses over that of the best single choice."""
    best = np.log(raw["loss"].min() + ground)
    losses = {
        "retemper.advise": said,
        "retemper.advise, the average always": raw["average"][0],
        **raw["rivals"],
    }
    return {name: float(np.log(value + ground) - best) for name, value in losses.items()}


def told(seen, unseen):
    """What is said of a gain, and the gain on other rows, which are not infinitely many."""
    name, difference, truth, unsure = seen
    odds = ODDS_OF_AVERAGE if name == "average" else ODDS_OF_SOURCE
    gain = gain_of(difference, CONFIDENCE, odds, unseen=unseen)
    half = (gain.high - gain.low) / 2
    return {
        "of": name, "score": gain_score(difference), "n": len(difference), "helps": truth > 0.0,
        "p": gain.p_helps, "covered": abs(truth - gain.mean) <= np.hypot(half, 1.96 * unsure),
        "width": 2 * half,
    }  # fmt: skip


def forecasts(raw):
    """Errors with more labels as forecast and as they come, relative to the error measured now."""
    task, fits, curve = raw["task"], raw["fits"], raw["curve"]
    if curve is None:
        return
    for name, came in raw["later"].items():
        i = 0 if name == "scratch" else fits.choice
        share = 0.8
        said = forecast_error(
            (task.n, task.d), float(fits.wrong[i].mean()), share,
            curve.n_samples[curve.measured].astype(float), curve.error[name][curve.measured],
            is_regression=task.is_regression, kind=fits.candidates[i].kind,
        )  # fmt: skip
        floor = 0.0 if task.is_regression else 0.5 / (task.n + 1)
        for times in LATER:
            if times not in came:
                continue
            truth = max(came[times], floor, 1e-300)
            low, high = said.band(times * task.n)
            needed = said.labels_for(truth)
            yield {
                "n": task.n, "times": times, "scratch": name == "scratch", "kind":
                fits.candidates[i].kind, "regression": task.is_regression,
                "off": float(np.log(said.at(times * task.n) / truth)),
                "no change": float(np.log(max(fits.wrong[i].mean(), floor, 1e-300) / truth)),
                "covered": low <= truth <= high, "width": float(np.log(high / low)),
                "told": needed.is_told,
                "in range": needed.low <= times * task.n <= needed.high,
                "likely": needed.likely / (times * task.n),
            }  # fmt: skip


def by_pair(found, value):
    """Average of a number over the trials of every pair."""
    parts = collections.defaultdict(list)
    for f in found:
        parts[f["pair"]].append(value(f))
    return np.array([np.mean(p) for p in parts.values()])


def head(*cells):
    print("\n| " + " | ".join(cells) + " |")
    print("| " + " | ".join("---" for _ in cells) + " |")


def line(*cells):
    print("| " + " | ".join(cells) + " |")


def percent(value):
    return "—" if not np.isfinite(value) else f"{100 * value:.1f} %"


def table_of_regret(found):
    head("rule", "regret", "median", "worst pair", "regression", "classes", "pairs", "advise there")
    names = {n for f in found for n in f["regret"]}

    def typical(part, name):
        return np.expm1(by_pair(part, lambda f: f["regret"][name]).mean()) if part else np.nan

    lines = []
    for name in names:
        have = [f for f in found if name in f["regret"]]
        pairs = np.expm1(by_pair(have, lambda f: f["regret"][name]))  # noqa: B023
        split = [[f for f in have if f["regression"] == kind] for kind in (True, False)]
        lines.append(
            (
                typical(have, name), name, np.median(pairs), pairs.max(),
                *(typical(part, name) for part in split), len(pairs),
                typical(have, "retemper.advise"),
            )
        )  # fmt: skip
    for regret, name, *rest, pairs, ours in sorted(lines):
        line(name, *map(percent, (regret, *rest)), str(pairs), percent(ours))


def table_of_verdicts(found):
    head("verdict", "sources", "right", "wrong")
    verdicts = [v for f in found for v in f["verdicts"]]
    for said, right in (
        ("helps", {"helps"}),
        ("hurts", {"hurts", "no difference"}),
        ("same", {"hurts", "no difference"}),
    ):
        truths = [t for v, t in verdicts if v == said]
        hits = sum(t in right for t in truths)
        line(said, str(len(truths)), str(hits), str(len(truths) - hits))
    truths = [t for v, t in verdicts if v == "undecided"]
    counts = ", ".join(f"{truths.count(t)} {t}" for t in ("helps", "no difference", "hurts"))
    line("undecided", str(len(truths)), f"truth: {counts}", "")


def table_of_intervals(found):
    head("95 % interval of", "contains the truth")
    for name, text in (
        ("leave-one-out", "the error, around leave-one-out"),
        ("held out", "the error, around cross-validation"),
    ):
        hits = [h for f in found for h in f["covered"][name]]
        line(text, f"{100 * np.mean(hits):.0f} % of {len(hits)}")
    points = [g for f in found for g in f["gains"]]
    head("labels", "95 % interval of the gain contains it", "width over loss from scratch")
    for low, high in (*BINS, (0, 1000)):
        some = [g for g in points if low <= g["n"] <= high]
        if some:
            covered, width = np.mean([g["covered"] for g in some]), [g["width"] for g in some]
            name = "all" if (low, high) == (0, 1000) else f"{low} to {high}"
            line(name, f"{covered:.1%} of {len(some)}", f"{np.median(width):.2f}")


def table_of_odds(found):
    points = [g for f in found for g in f["gains"]]
    head("said likely to beat scratch", "a source: said, true", "the average: said, true")
    for low, high in itertools.pairwise(ODDS_BINS):
        cells = []
        for name in ("source", "average"):
            some = [g for g in points if g["of"] == name and low <= g["p"] < high + (high == 1.0)]
            said, true = (np.mean([g[k] for g in some]) if some else np.nan for k in ("p", "helps"))
            cells.append(f"{said:.2f}, {true:.2f} of {len(some)}" if some else "—")
        line(f"{low:.0%} to {high:.0%}", *cells)
    for name in ("source", "average"):
        some = [g for g in points if g["of"] == name]
        said, true = (np.array([g[k] for g in some], float) for k in ("p", "helps"))
        odds = fit_odds(*(np.array([g[k] for g in some]) for k in ("pair", "score", "helps")))
        print(
            f"\nOf the {name}: Brier score {np.mean((said - true) ** 2):.3f}, of the constant "
            f"{true.var():.3f}; fitted to this half the log odds are {odds[0]:.2f} + "
            f"{odds[1]:.2f} score."
        )


RULES = (
    ("obey the headline", "gain"),
    ("the average where P > ½", "likely"),
    ("always the average", "always"),
    ("only where the verdict is 'helps'", "clear"),
    ("best choice in hindsight", "best"),
)


def table_of_use(found):
    head("rule", "mean gain over scratch", "worst pair")
    for name, key in RULES:
        gain = by_pair(found, lambda f: f[key])  # noqa: B023
        line(name, f"{100 * gain.mean():.1f} %", f"{100 * gain.min():.1f} %")
    head("group", "pairs", "obey the headline", "best in hindsight", "above scratch's loss")
    groups = [(f"{a} to {b} labels", lambda f, a=a, b=b: a <= f["n"] <= b) for a, b in BINS]
    groups += [
        (
            "1 source" if b == 1 else f"{a} to {b} sources" if b < 99 else f"{a} sources or more",
            lambda f, a=a, b=b: a <= f["n_sources"] <= b,
        )
        for a, b in SOURCE_BINS
    ]
    groups += [
        ("regression", lambda f: f["regression"]),
        ("classes", lambda f: not f["regression"]),
        ("tables and images", lambda f: f["real"]),
        ("synthetic tasks", lambda f: not f["real"]),
    ]
    for name, rule in groups:
        some = [f for f in found if rule(f)]
        if some:
            gain = by_pair(some, lambda f: f["gain"])
            best = by_pair(some, lambda f: f["best"])
            line(
                name, str(len(gain)), f"{100 * gain.mean():.1f} %", f"{100 * best.mean():.1f} %",
                f"{np.sum(gain < 0)} of {len(gain)}, worst {100 * min(gain.min(), 0.0):.1f} %",
            )  # fmt: skip


def table_of_forecasts(found):
    points = [p for f in found for p in f["forecasts"]]
    head(
        "error with more labels", "forecasts", "typically off by", "no change", "off by 2 or more",
        "no change", "80 % band contains it", "its ends, a factor of",
    )  # fmt: skip
    for name, rule in (
        *((f"{t} times, scratch", lambda p, t=t: p["scratch"] and p["times"] == t) for t in LATER),
        *((f"{t} times, choice", lambda p, t=t: not p["scratch"] and p["times"] == t)
          for t in LATER),
        *((f"{a} to {b} labels", lambda p, a=a, b=b: a <= p["n"] <= b) for a, b in BINS),
        ("regression", lambda p: p["regression"]),
        ("classes", lambda p: not p["regression"]),
        ("all", lambda p: True),
    ):  # fmt: skip
        some = [p for p in points if rule(p)]
        if not some:
            continue
        off, still = (np.abs([p[k] for p in some]) for k in ("off", "no change"))
        line(
            name, str(len(some)), percent(np.expm1(off.mean())), percent(np.expm1(still.mean())),
            percent(np.mean(off > np.log(2))), percent(np.mean(still > np.log(2))),
            percent(np.mean([p["covered"] for p in some])),
            f"{np.exp(np.median([p['width'] for p in some])):.2f}",
        )  # fmt: skip
    told_, other = ([p for p in points if p["told"] == kind] for kind in (True, False))

    def share(some, rule):
        return percent(np.mean([rule(p) for p in some]) if some else np.nan)

    print(
        f"\nLabels needed for the error that comes: {share(points, lambda p: p['told'])} are told. "
        f"Of these {share(told_, lambda p: p['in range'])} lie in the range, and "
        f"{share(told_, lambda p: 0.5 <= p['likely'] <= 2.0)} within a factor of 2 of the likely "
        f"number; of the others {share(other, lambda p: p['in range'])} lie above the low end."
    )


def table_of_time(found):
    head("labels", "seconds of a call with one thread, median", "largest")
    for low, high in BINS:
        some = [f["seconds"] for f in found if low <= f["n"] <= high]
        if some:
            line(f"{low} to {high}", f"{np.median(some):.2f}", f"{max(some):.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--half", choices=("report", "rules", "all"), default="all")
    parser.add_argument("--pairs", action="store_true", help="also print every pair")
    parser.add_argument("--constants", action="store_true", help="fit constants, print no tables")
    parser.add_argument("--kept", type=Path, help="folder of trials, outside the repository")
    parser.add_argument("--as-kept", action="store_true", help="use trials of other versions too")
    options = parser.parse_args()
    begin = time.perf_counter()
    for package, count in MISSING.items():
        print(f"{package} is not installed: its {count} tables are left out.")
    if options.constants:
        options.half = "rules"
    halves = {"report": (True,), "rules": (False,), "all": (False, True)}[options.half]
    work = [k for k, pair in enumerate(PAIRS) if pair.reports in halves]
    folder = options.kept or Path(tempfile.gettempdir()) / "retemper-trials"
    raw = all_trials(
        work, options.seeds, options.jobs, folder, made_by="any" if options.as_kept else None
    )
    if options.constants:
        for name, now, fitted in constants_of(raw):
            print(f"{name}: {now} in use, {fitted} fitted")
        print(f"\n{len(raw)} trials of {len(work)} pairs, all of the half that sets constants.")
        return
    found = [words_of(r) for r in raw]
    for reports, title in ((False, "Pairs that set the rules"), (True, "Pairs that report")):
        part = [f for f in found if f["reports"] == reports]
        if not part:
            continue
        real = len({f["pair"] for f in part if f["real"]})
        print(f"\n## {title}")
        print(
            f"\n{len({f['pair'] for f in part})} pairs, {real} of them tables and images; "
            f"{len(part)} trials."
        )
        for table in (
            table_of_regret, table_of_use, table_of_odds, table_of_intervals, table_of_forecasts,
            table_of_verdicts, table_of_time,
        ):  # fmt: skip
            table(part)
    if options.pairs:
        head("pair", "half", "advise gains over scratch", "P", "best in hindsight", "regret")
        for pair in PAIRS:
            part = [f for f in found if f["pair"] == pair.name]
            if part:
                cells = [np.mean([f[k] for f in part]) for k in ("gain", "p", "best")]
                cells.append(np.expm1(np.mean([f["regret"]["retemper.advise"] for f in part])))
                line(
                    pair.name,
                    "reports" if pair.reports else "sets",
                    *(f"{100 * c:+.0f} %" for c in cells),
                )
    print(f"\n{options.seeds} seeds, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
