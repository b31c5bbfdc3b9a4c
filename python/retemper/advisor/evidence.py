"""From losses row by row to weights, intervals and verdicts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import special, stats

from retemper._validation import FloatArray

#: Weight of a candidate: exp(-SHARPNESS * deficit / standard error). Set on one half of the suite
#: of ``bench/calibrate_advise.py`` and reported on the other.
SHARPNESS = 2.0
#: Candidates of smaller weight are left out of the average.
LEAST_WEIGHT = 0.02
#: Rows of cross-validation share training rows: standard errors grow by this factor, for five
#: folds, after Nadeau and Bengio (2003).
SHARED_ROWS = math.sqrt(1.0 + 1.0 / 4.0)
#: Standard errors of errors grow by this factor: they are about fits to all rows, whose strength
#: was chosen on them. Set on one half of the suite to contain 95 %, reported on the other.
SPREAD = 1.7
#: Variance of a gain from the choice of strength and of use, as a part of the squared standard
#: error of its mean, beside the fourth for the rows that training parts share; and standard
#: deviation that rows of a kind that was not seen leave in it, as a part of the loss from scratch
#: over n: what none of n rows shows may be in one of n others. Set on one half of the suite
#: (``bench/calibrate_advise.py --constants``), reported on the other.
CHOICE = 0.5
UNSEEN = 5.0
#: Log odds that a model beats scratch, as a line in the normal score of the gain: of the best use
#: of a source, and of the average. The score is cut at ``LEAST_SCORE`` and ``LARGEST_SCORE``: most
#: sources that look bad on few rows are not. Set on one half of the suite, reported on the other.
ODDS_OF_SOURCE = (0.68, 0.74)
ODDS_OF_AVERAGE = (1.08, 0.74)
LEAST_SCORE = -1.0
LARGEST_SCORE = 3.0


@dataclasses.dataclass(frozen=True)
class Gain:
    """What a model gains over scratch: loss from scratch minus its own.

    Attributes
    ----------
    mean, low, high : float
        Held-out gain and its interval.
    p_value : float
        Of no gain, two-sided.
    p_helps : float
        Calibrated probability that the model beats scratch on new rows; NaN for scratch itself.
    n_decide : float
        Number of rows at which this gain would be significant, corrected for all candidates.
    """

    mean: float
    low: float
    high: float
    p_value: float
    p_helps: float
    n_decide: float


def standard_error(rows: FloatArray) -> FloatArray:
    """Standard error of the mean of rows.

    Parameters
    ----------
    rows : ndarray of shape (..., n)
        Losses, or differences of losses.

    Returns
    -------
    ndarray of shape (...)
        Not corrected for the rows that training parts share. NaN for one row: unknown.
    """
    if rows.shape[-1] < 2:
        return np.full(rows.shape[:-1], np.nan)
    return np.asarray(rows.std(axis=-1, ddof=1) / math.sqrt(rows.shape[-1]))


def weigh(loss: FloatArray, *, sharpness: float = SHARPNESS) -> FloatArray:
    """Weights of candidates in the average that predicts.

    The candidate of smallest loss has weight one before normalisation, the others
    ``exp(-sharpness * z)`` where z is how far behind they are, in standard errors of the paired
    difference: what the sample cannot tell apart is averaged. Derived here
    (`advise#how-it-decides`); evidence in ``bench/calibrate_advise.py``.

    Parameters
    ----------
    loss : ndarray of shape (c, n)
        Cross-validated losses.
    sharpness : float, default=SHARPNESS
        Factor on z.

    Returns
    -------
    ndarray of shape (c,)
        Weights that add up to one.
    """
    best = loss[int(np.argmin(loss.mean(axis=1)))]
    behind = loss - best
    mean = behind.mean(axis=1)
    error = standard_error(behind)
    z = np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)
    weight = np.exp(-sharpness * z)
    weight /= weight.sum()
    weight[weight < LEAST_WEIGHT] = 0.0
    return np.asarray(weight / weight.sum())


def gain_score(difference: FloatArray) -> float:
    """Normal score of a gain: its mean over its standard error, on the scale of a normal variate.

    Parameters
    ----------
    difference : ndarray of shape (n,)
        Loss of scratch minus that of a candidate, by rows: positive where the candidate gains.

    Returns
    -------
    float
        By Student's t with the standard error enlarged for shared training rows; cut at
        ``LEAST_SCORE`` and ``LARGEST_SCORE``.
    """
    mean, error = float(difference.mean()), float(standard_error(difference))
    size = LARGEST_SCORE if mean else 0.0
    if error > 0.0:
        tail = float(special.stdtr(len(difference) - 1, -abs(mean) / (SHARED_ROWS * error)))
        size = LARGEST_SCORE if tail <= 0.0 else -float(special.ndtri(tail))
    return min(max(math.copysign(size, mean), LEAST_SCORE), LARGEST_SCORE)


def gain_of(
    difference: FloatArray,
    confidence: float,
    odds: tuple[float, float] = ODDS_OF_SOURCE,
    *,
    n_compared: int = 1,
    unseen: float = 0.0,
) -> Gain:
    """The gain of a candidate, with its interval and the probability that it is one.

    Parameters
    ----------
    difference : ndarray of shape (n,)
        Loss of scratch minus that of a candidate, by rows: positive where the candidate gains.
    confidence : float
        Coverage.
    odds : tuple of float, default=ODDS_OF_SOURCE
        Line of the log odds in the normal score.
    n_compared : int, default=1
        Number of candidates over which the p-value is going to be corrected.
    unseen : float, default=0.0
        Standard deviation of the gain from rows of a kind that is not among these.

    Returns
    -------
    Gain
        Interval and p-value by Student's t.
    """
    n = len(difference)
    mean, error = float(difference.mean()), float(standard_error(difference))
    if not difference.any():
        return Gain(0.0, 0.0, 0.0, 1.0, math.nan, math.inf)
    p_helps = float(special.expit(odds[0] + odds[1] * gain_score(difference)))
    quantile = float(special.stdtrit(n - 1, 0.5 + confidence / 2))
    share = SHARED_ROWS**2 + CHOICE
    half = quantile * math.hypot(math.sqrt(share) * error, unseen)
    if error == 0.0:
        return Gain(mean, mean - half, mean + half, 0.0, p_helps, float(n))
    ratio = abs(mean) / (SHARED_ROWS * error)
    p = 2.0 * float(special.stdtr(n - 1, -ratio))
    clear = float(special.stdtrit(n - 1, 1.0 - (1.0 - confidence) / (2.0 * n_compared)))
    decide = n * (clear / ratio) ** 2 if ratio > 0.0 else math.inf
    return Gain(mean, mean - half, mean + half, p, p_helps, decide)


def error_interval(
    rows: FloatArray, level: float, confidence: float, *, share: bool
) -> tuple[float, float]:
    """Interval of an expected error.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        Errors by rows, whose spread is used.
    level : float
        The error itself.
    confidence : float
        Coverage.
    share : bool
        Whether the error is a share, in [0, 1]: Wilson's interval. Else Student's t on the log
        scale.

    Returns
    -------
    tuple of float
        Low and high.
    """
    n = len(rows)
    if share:
        found = stats.binomtest(round(level * n), n).proportion_ci(confidence, method="wilson")
        middle, half = (found.low + found.high) / 2, (found.high - found.low) / 2 * SPREAD
        return max(middle - half, 0.0), min(middle + half, 1.0)
    mean = float(rows.mean())
    if mean == 0.0 or level == 0.0:
        return level, level
    spread = (
        float(special.stdtrit(n - 1, 0.5 + confidence / 2))
        * float(standard_error(rows))
        * SPREAD
        / mean
    )
    return level * math.exp(-spread), level * math.exp(spread)


def holm(p: list[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979).

    Parameters
    ----------
    p : list of float
        P-values.

    Returns
    -------
    list of float
        Corrected, in the same order.
    """
    out, running = [1.0] * len(p), 0.0
    for rank, j in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        running = max(running, min(1.0, (len(p) - rank) * p[j]))
        out[j] = running
    return out
