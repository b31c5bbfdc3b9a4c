"""Constants of the words of an advice, fitted to the half of the suite that sets them.

``python bench/calibrate_advise.py --constants`` prints them. Every pair of tasks counts once,
however many sources it has and however often it is drawn.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import numpy as np
from scipy import optimize, special

from retemper.advisor import evidence, forecast
from retemper.advisor.evidence import SHARED_ROWS, gain_score, standard_error
from trials_advise import LATER, gains_of

#: Labels, by which coverage is counted.
BINS = ((0, 20), (21, 60), (61, 150), (151, 1000))
#: Coverage that is aimed at in each of them, of intervals of this confidence.
AIM = 0.955
CONFIDENCE = 0.95
CHOICES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
UNSEEN = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
SHARES = (0.6, 0.8, 1.0, 1.2), (0.1, 0.2, 0.3, 0.45)
EXPONENTS = (0.25, 0.33, 0.4, 0.5, 0.7, 1.0)
PRIORS = (300.0, 1000.0, 3000.0, 10000.0)
SPREADS = (0.0, 0.04, 0.08, 0.12, 0.16, 0.2)


@contextmanager
def replaced(module, **values):
    """Other constants, for a while."""
    kept = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def by_pair(pairs):
    """Weights that add up to one for every pair."""
    _, place, count = np.unique(pairs, return_inverse=True, return_counts=True)
    return 1.0 / count[place]


def fit_odds(pairs, score, helps):
    """Line of the log odds in the score, of largest likelihood with a little shrinkage."""
    weight = by_pair(pairs)

    def cost(z):
        odds = z[0] + z[1] * score
        return weight @ np.logaddexp(0.0, np.where(helps, -odds, odds)) + 0.5 * z[1] ** 2

    return optimize.minimize(cost, [0.5, 1.0]).x


def odds_of(points):
    """Lines of the average and of a source."""
    for name, of in (("ODDS_OF_AVERAGE", "average"), ("ODDS_OF_SOURCE", "source")):
        some = [p for p in points if p["of"] == of]
        line = fit_odds(*(np.array([p[k] for p in some]) for k in ("pair", "score", "helps")))
        yield name, getattr(evidence, name), tuple(np.round(line, 2).tolist())


def interval_of(points):
    """Doubts of a gain: coverage in every bin of labels near the aim, then small widths."""
    n, error, off, unsure, base = (
        np.array([p[k] for p in points]) for k in ("n", "error", "off", "unsure", "base")
    )
    weight = by_pair([p["pair"] for p in points])
    quantile = special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)
    bins = [(n >= low) & (n <= high) for low, high in BINS]

    def judged(choice, unseen):
        share = SHARED_ROWS**2 + choice
        half = quantile * np.hypot(np.sqrt(share) * error, unseen * base / n)
        covered = off <= np.hypot(half, 1.96 * unsure)
        miss = sum(abs(np.average(covered[b], weights=weight[b]) - AIM) for b in bins)
        # of so few trials coverage is not known better than that
        return round(miss, 2), float(np.median(half / base))

    best = min(itertools.product(CHOICES, UNSEEN), key=lambda values: judged(*values))
    for name, value in zip(("CHOICE", "UNSEEN"), best, strict=True):
        yield name, getattr(evidence, name), value


def forecasts_of(raw):
    """Forecasts and what came, by trial, choice and multiple of the labels."""
    for trial in raw:
        task, fits, curve = trial["task"], trial["fits"], trial["curve"]
        if curve is None:
            continue
        for name, came in trial["later"].items():
            i = 0 if name == "scratch" else fits.choice
            said = forecast.forecast_error(
                (task.n, task.d), float(fits.wrong[i].mean()), 0.8,
                curve.n_samples[curve.measured].astype(float), curve.error[name][curve.measured],
                is_regression=task.is_regression, kind=fits.candidates[i].kind,
            )  # fmt: skip
            floor = 0.0 if task.is_regression else 0.5 / (task.n + 1)
            for times in LATER:
                if times in came:
                    truth = max(came[times], floor, 1e-300)
                    off = np.log(said.at(times * task.n) / truth)
                    low, high = said.band(times * task.n)
                    yield {
                        "pair": trial["pair"], "off": float(off), "covered": low <= truth <= high,
                        "regression": task.is_regression, "times": times,
                    }  # fmt: skip


def forecast_of(raw):
    """Exponents of least error of the logarithm, then spreads that cover as they say."""

    def error(values):
        names = ("SHARE_OF_SCRATCH", "SHARE_OF_SOURCE", "LARGEST_EXPONENT", "PRIOR_LABELS")
        with replaced(forecast, **dict(zip(names, values, strict=True))):
            points = list(forecasts_of(raw))
        return by_pair([p["pair"] for p in points]) @ np.abs([p["off"] for p in points])

    best = min(itertools.product(*SHARES, EXPONENTS, PRIORS), key=error)
    names = ("SHARE_OF_SCRATCH", "SHARE_OF_SOURCE", "LARGEST_EXPONENT", "PRIOR_LABELS")
    fitted = dict(zip(names, best, strict=True))
    for name, value in fitted.items():
        yield name, getattr(forecast, name), value

    def misses(level, spread):
        """How far bands are from their coverage, near and far, of numbers and of classes."""
        with replaced(forecast, **fitted, SPREAD_OF_LEVEL=level, SPREAD_OF_EXPONENT=spread):
            points = list(forecasts_of(raw))
        total = []
        for kind in (True, False):
            miss = 0.0
            for times in LATER:
                some = [p for p in points if p["regression"] == kind and p["times"] == times]
                if some:
                    weight = by_pair([p["pair"] for p in some])
                    held = np.average([p["covered"] for p in some], weights=weight)
                    miss += abs(held - forecast.COVERAGE)
            total.append(miss)
        return total

    tried = {
        (width, spread): misses({True: width, False: width}, spread)
        for width in np.arange(1.0, 5.01, 0.2) for spread in SPREADS
    }  # fmt: skip
    spread, numbers, classes = min(
        itertools.product(SPREADS, np.arange(1.0, 5.01, 0.2), np.arange(1.0, 5.01, 0.2)),
        key=lambda z: round(tried[z[1], z[0]][0] + tried[z[2], z[0]][1], 3),
    )
    level = {True: round(float(numbers), 1), False: round(float(classes), 1)}
    yield "SPREAD_OF_LEVEL", forecast.SPREAD_OF_LEVEL, level
    yield "SPREAD_OF_EXPONENT", forecast.SPREAD_OF_EXPONENT, spread


def constants_of(raw):
    """Names, values in use and values fitted."""
    points = []
    for trial in raw:
        for of, difference, truth, unsure in gains_of(trial):
            if difference.any():
                n = len(difference)
                points.append(
                    {
                        "pair": trial["pair"], "of": of, "n": n, "score": gain_score(difference),
                        "helps": truth > 0.0, "error": float(standard_error(difference)),
                        "off": abs(truth - difference.mean()), "unsure": unsure,
                        "base": trial["fits"].loss[0].mean(),
                    }
                )  # fmt: skip
    yield from odds_of(points)
    yield from interval_of(points)
    yield from forecast_of(raw)
