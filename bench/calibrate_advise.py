"""Is the advice right? Verdicts, intervals and regret over pairs of source and target tasks.

``python bench/calibrate_advise.py [--seeds 4] [--jobs 2] [--half report|rules|all]`` runs what
`retemper.advise` decides by on every pair of ``suite_advise.py`` and prints tables in Markdown.
Pairs of even number set the rules, those of odd number report. Regret is the loss on thousands of
other rows (squared error, log loss) over that of the best single choice in hindsight, minus one.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib
import numpy as np
from scipy import optimize

from retemper._random import generator
from retemper.advisor.candidates import losses, predict
from retemper.advisor.evidence import (
    ODDS_OF_AVERAGE,
    ODDS_OF_SOURCE,
    gain_of,
    gain_score,
    standard_error,
    weigh,
)
from retemper.advisor.inputs import read_task
from retemper.advisor.judging import judge, make_splits
from retemper.advisor.verdicts import gain_of_average, judge_sources, overall
from rivals.transferability import h_score, logme
from suite_advise import PAIRS

#: Losses that differ by less are called equal.
SAME = 0.02
CONFIDENCE = 0.95
SHARPNESS = (0.5, 1.0, 2.0, 4.0)


def mean_loss(task, scores):
    loss, wrong = losses(task, scores, np.arange(len(task.y)))
    return loss.mean(), wrong.mean()


def told(name, difference, truth, base, odds):
    """What is said of a gain, and the gain on other rows."""
    gain = gain_of(difference, CONFIDENCE, odds)
    return {
        "of": name, "score": gain_score(difference), "n": len(difference), "helps": truth > 0.0,
        "p": gain.p_helps, "covered": gain.low <= truth <= gain.high,
        "width": (gain.high - gain.low) / base,
    }  # fmt: skip


def one(number, seed):
    pair = PAIRS[number]
    trial = pair.draw(np.random.default_rng([number, seed]))
    task = read_task(trial.X, trial.y, trial.sources, pair.task)
    test = read_task(trial.X_test, trial.y_test, trial.sources, pair.task)
    fits = judge(task, make_splits(task, None, generator(seed)), 1)
    rows = judge_sources(task, fits, CONFIDENCE, [], {})
    test = dataclasses.replace(test, units=task.units, X=task.units.rows(test.rows))
    scores = np.array(
        [predict(test, c, m) for c, m in zip(fits.candidates, fits.models, strict=True)]
    )
    loss, wrong = np.transpose([mean_loss(test, s) for s in scores])
    best = loss.min()
    held = fits.loss.mean(axis=1)

    def blended(weights):
        return mean_loss(test, np.einsum("c,cnq->nq", weights, scores))[0]

    weights = fits.weights
    if overall(rows) in ("same", "hurts") or gain_of_average(fits, CONFIDENCE).p_helps < 0.5:
        weights = np.eye(len(held))[0]
    left = np.array([np.inf if m is None else m.loo_ for m in fits.models])
    tuned = [i for i, c in enumerate(fits.candidates) if c.kind == "fine-tune"]
    target = task.y if task.is_regression else np.eye(len(task.classes))[task.y.astype(int)]
    evidence = [logme(task.X, target), *(logme(f, target) for f in task.scores)]
    behind = fits.loss - fits.loss[0]
    top = int(np.argmin(held))
    clear = behind[top].mean() < -standard_error(behind[top])
    chosen = {
        "always from scratch": 0,
        "always fine-tune (source by leave-one-out)": min(tuned, key=lambda i: left[i]),
        "exact or approximate leave-one-out": int(np.argmin(left)),
        "nested 5-fold cross-validation": int(np.argmin(held)),
        "cross-validation, one standard error before leaving scratch": top if clear else 0,
        "LogME": ([0, *tuned])[int(np.argmax(evidence))],
    }
    if not task.is_regression:
        ranked = [h_score(f, task.y) for f in task.scores]
        chosen["H-score, then fine-tune"] = tuned[int(np.argmax(ranked))]
    regret = {name: loss[i] / best - 1 for name, i in chosen.items()}
    regret["retemper.advise"] = blended(weights) / best - 1
    sharp = {k: blended(weigh(fits.loss, sharpness=k)) / best - 1 for k in SHARPNESS}

    behind = fits.loss[0] - fits.loss
    real = loss[0] - blended(fits.weights)
    gains = [told("average", fits.loss[0] - fits.average, real, loss[0], ODDS_OF_AVERAGE)]
    verdicts, covered = [], {"leave-one-out": [], "held out": [], "gain": []}
    for j, row in enumerate(rows):
        i = 0 if j == 0 else fits.best(j - 1)
        covered["leave-one-out"].append(row.predicted_low <= wrong[i] <= row.predicted_high)
        covered["held out"].append(row.held_out_low <= wrong[i] <= row.held_out_high)
        if j == 0:
            continue
        covered["gain"].append(row.gain_low <= loss[0] - loss[i] <= row.gain_high)
        uses = [loss[k] for k in fits.of(j - 1)]
        good = min(uses) < (1 - SAME) * loss[0]
        harm = loss[next(k for k in fits.of(j - 1) if fits.candidates[k].kind == "fine-tune")]
        truth = "helps" if good else "hurts" if harm > (1 + SAME) * loss[0] else "no difference"
        verdicts.append((row.verdict, truth))
        gains.append(told("source", behind[i], loss[0] - loss[i], loss[0], ODDS_OF_SOURCE))
    return {
        "number": number, "regression": task.is_regression, "n": len(task.y), "regret": regret,
        "sharp": sharp, "verdicts": verdicts, "covered": covered,
        "gains": [g for g in gains if np.isfinite(g["p"])],
        "gap": blended(weights) / loss[0] - 1, "average": real / loss[0],
        "by verdict": real / loss[0] if overall(rows) == "helps" else 0.0,
    }  # fmt: skip


def by_pair(found, value):
    """Average of a number over the trials of every pair."""
    numbers = sorted({f["number"] for f in found})
    return np.array([np.mean([value(f) for f in found if f["number"] == k]) for k in numbers])


def table(found):
    print(f"\n{len({f['number'] for f in found})} pairs, {len(found)} trials.\n")
    print("| rule | regret, mean | median | worst pair | regression | classes |")
    print("| --- | --- | --- | --- | --- | --- |")
    names = sorted({n for f in found for n in f["regret"]})
    for name in names:
        have = [f for f in found if name in f["regret"]]
        parts = [
            have,
            [f for f in have if f["regression"]],
            [f for f in have if not f["regression"]],
        ]
        regret = [by_pair(p, lambda f: f["regret"][name]) for p in parts]  # noqa: B023
        cells = [np.mean(regret[0]), np.median(regret[0]), np.max(regret[0])]
        cells += [np.mean(r) if len(r) else np.nan for r in regret[1:]]
        shown = ["—" if np.isnan(c) else f"{100 * c:.1f} %" for c in cells]
        print(f"| {name} | {' | '.join(shown)} |")
    print("\n| verdict | sources | right | wrong |")
    print("| --- | --- | --- | --- |")
    verdicts = [v for f in found for v in f["verdicts"]]
    for said, right in (
        ("helps", {"helps"}),
        ("hurts", {"hurts", "no difference"}),
        ("same", {"hurts", "no difference"}),
        ("undecided", set()),
    ):
        truths = [t for v, t in verdicts if v == said]
        if said == "undecided":
            counts = ", ".join(
                f"{truths.count(t)} {t}" for t in ("helps", "no difference", "hurts")
            )
            print(f"| undecided | {len(truths)} | truth: {counts} | |")
        else:
            hits = sum(t in right for t in truths)
            print(f"| {said} | {len(truths)} | {hits} | {len(truths) - hits} |")
    print("\n| 95 % interval of | contains the truth |")
    print("| --- | --- |")
    for name, text in (
        ("leave-one-out", "the error, around leave-one-out"),
        ("held out", "the error, around cross-validation"),
        ("gain", "the gain over scratch"),
    ):
        hits = [h for f in found for h in f["covered"][name]]
        print(f"| {text} | {100 * np.mean(hits):.0f} % of {len(hits)} |")
    print("\n| sharpness of the weights | regret, mean | worst pair |")
    print("| --- | --- | --- |")
    for k in SHARPNESS:
        regret = by_pair(found, lambda f: f["sharp"][k])  # noqa: B023
        print(f"| {k:g} | {100 * regret.mean():.1f} % | {100 * regret.max():.0f} % |")


def fit_odds(points):
    """Line of the log odds in the score, of largest likelihood with a little shrinkage."""
    score = np.array([g["score"] for g in points])
    helps = np.array([g["helps"] for g in points])

    def cost(line):
        z = line[0] + line[1] * score
        return np.logaddexp(0.0, np.where(helps, -z, z)).sum() + 0.5 * line[1] ** 2

    return optimize.minimize(cost, [0.5, 1.0]).x


def words(found):
    """Are the probabilities right, and what does a user gain who obeys?"""
    points = [g for f in found for g in f["gains"]]
    print(
        "\n| said likely to beat scratch | of a source: said, true | of the average: said, true |"
    )
    print("| --- | --- | --- |")
    edges = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
    for low, high in itertools.pairwise(edges):
        cells = []
        for name in ("source", "average"):
            some = [g for g in points if g["of"] == name and low <= g["p"] < high + (high == 1.0)]
            said, true = (np.mean([g[k] for g in some]) if some else np.nan for k in ("p", "helps"))
            cells.append(f"{said:.2f}, {true:.2f} of {len(some)}" if some else "—")
        print(f"| {low:.0%} to {high:.0%} | {' | '.join(cells)} |")
    for name in ("source", "average"):
        some = [g for g in points if g["of"] == name]
        said, true = (np.array([g[k] for g in some], float) for k in ("p", "helps"))
        line = fit_odds(some)
        print(
            f"\nOf the {name}: Brier score {np.mean((said - true) ** 2):.3f}, of the constant "
            f"{true.var():.3f}; fitted to this half the log odds are {line[0]:.2f} + "
            f"{line[1]:.2f} score."
        )
    print("\n| labels | 95 % interval of the gain contains it | width over loss from scratch |")
    print("| --- | --- | --- |")
    for low, high in ((0, 20), (21, 60), (61, 150), (151, 1000)):
        some = [g for g in points if low <= g["n"] <= high]
        if some:
            covered, width = np.mean([g["covered"] for g in some]), [g["width"] for g in some]
            print(f"| {low} to {high} | {covered:.0%} of {len(some)} | {np.median(width):.2f} |")
    print("\n| rule | mean gain over scratch | worst pair |")
    print("| --- | --- | --- |")
    for name, value in (
        ("obey the headline", lambda f: -f["gap"]),
        ("always the average", lambda f: f["average"]),
        ("only where the verdict is 'helps'", lambda f: f["by verdict"]),
    ):
        gain = by_pair(found, value)
        print(f"| {name} | {100 * gain.mean():.1f} % | {100 * gain.min():.1f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--half", choices=("report", "rules", "all"), default="all")
    parser.add_argument("--pairs", action="store_true", help="also print every pair")
    options = parser.parse_args()
    begin = time.perf_counter()
    keep = {"report": (1,), "rules": (0,), "all": (0, 1)}[options.half]
    work = [(k, s) for k in range(len(PAIRS)) for s in range(options.seeds) if k % 2 in keep]
    found = joblib.Parallel(options.jobs)(joblib.delayed(one)(*w) for w in work)
    for parity, title in ((0, "Pairs that set the rules"), (1, "Pairs that report")):
        part = [f for f in found if f["number"] % 2 == parity]
        if part:
            print(f"\n## {title}")
            table(part)
            words(part)
    if options.pairs:
        print("\n| pair | regret of advise | of cross-validation | advise against scratch |")
        print("| --- | --- | --- | --- |")
        for number, pair in enumerate(PAIRS):
            part = [f for f in found if f["number"] == number]
            if part:
                cells = [
                    np.mean([f["regret"]["retemper.advise"] for f in part]),
                    np.mean([f["regret"]["nested 5-fold cross-validation"] for f in part]),
                    np.mean([f["gap"] for f in part]),
                ]
                print(f"| {pair.name} | " + " | ".join(f"{100 * c:+.0f} %" for c in cells) + " |")
    print(
        f"\n{len(PAIRS)} pairs in all, {options.seeds} seeds, {time.perf_counter() - begin:.0f} s"
    )


if __name__ == "__main__":
    main()
