"""Errors with more labels, and labels for an error: a point and a band, from a pinned power law."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import special

from retemper._validation import FloatArray

__all__ = ["COVERAGE", "Forecast", "LabelsNeeded", "forecast_error", "forecast_fields"]

#: Coverage of every band.
COVERAGE = 0.8
#: The exponent that is expected before any part of the sample is tried is this part of d / (n + d),
#: but no more than ``LARGEST_EXPONENT``: from scratch, and from a source. Least squares have the
#: error noise * (1 + d / n), whose local exponent is d / (n + d); penalties make the fall slower
#: where labels are few. These constants are set on one half of the suite of
#: ``bench/calibrate_advise.py`` and reported on the other.
SHARE_OF_SCRATCH = 0.8
SHARE_OF_SOURCE = 0.3
LARGEST_EXPONENT = 0.5
#: Labels that the expected exponent is worth beside the parts of the sample.
PRIOR_LABELS = 10000.0
#: Standard deviations of the logarithm of the error with the labels at hand, times the root of
#: their number, of squared errors and of shares of wrong classes; and of the exponent.
SPREAD_OF_LEVEL = {True: 2.0, False: 3.0}
SPREAD_OF_EXPONENT = 0.12
#: Beyond this many times the labels at hand nothing is said.
FARTHEST = 64.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """Labels for an error: likely so many, and a range.

    Parameters
    ----------
    likely : float
        Where the forecast reaches the error; NaN where it cannot be told.
    low, high : float
        Where the optimistic and the pessimistic end of the band do. Infinite where that is beyond
        64 times the labels at hand.
    """

    likely: float
    low: float
    high: float

    @property
    def is_told(self) -> bool:
        """Whether these labels tell it: both ends of the range are within reach."""
        return math.isfinite(self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """A power law through the held-out error, with what is not known of it.

    The error with m labels is ``level * (m / n) ** -exponent``; the standard deviation of its
    logarithm is ``sqrt(level_spread**2 + (exponent_spread * log(m / n))**2)``.

    Parameters
    ----------
    n_samples : int
        Labels at hand, n.
    level : float
        Error with these.
    exponent : float
        Not negative; 0 for a source as it is.
    level_spread, exponent_spread : float
        Standard deviations of the logarithm of the level, and of the exponent.
    """

    n_samples: int
    level: float
    exponent: float
    level_spread: float
    exponent_spread: float

    def at(self, n: FloatArray | float) -> FloatArray:
        """Errors with other numbers of labels, shape as ``n``."""
        return np.asarray(self.level * (np.asarray(n) / self.n_samples) ** -self.exponent)

    def band(self, n: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Low and high ends of the band that contains the error with probability 0.8."""
        far = np.log(np.asarray(n) / self.n_samples)
        spread = np.sqrt(self.level_spread**2 + (self.exponent_spread * far) ** 2)
        factor = np.exp(float(special.ndtri(0.5 + COVERAGE / 2)) * spread)
        error = self.at(n)
        return error / factor, error * factor

    def labels_for(self, target: float) -> LabelsNeeded:
        """Labels for an error.

        Parameters
        ----------
        target : float
            The error.

        Returns
        -------
        LabelsNeeded
            The least numbers at which the low end, the forecast and the high end are below it.
        """
        n = self.n_samples * np.geomspace(1.0 / self.n_samples, FARTHEST, 2000)
        low, high = self.band(n)

        def first(error: FloatArray) -> float:
            # from above, for the high end is not monotone: the largest number at which it is over
            over = np.flatnonzero(error > target)
            if not len(over):
                return 1.0
            last = int(over[-1])
            return math.inf if last == len(n) - 1 else float(n[last + 1])

        ends = [first(error) for error in (low, self.at(n), high)]
        likely = ends[1] if math.isfinite(ends[1]) else math.nan
        return LabelsNeeded(likely=likely, low=ends[0], high=ends[2])


def forecast_error(
    shape: tuple[int, int],
    held_out: float,
    share: float,
    sizes: FloatArray,
    errors: FloatArray,
    *,
    is_regression: bool,
    kind: str,
) -> Forecast:
    """Forecast of the error of a way to get a model.

    The curve is pinned to the held-out error: parts of the sample only shape it. Their slope is
    shrunk towards the exponent that theory expects of n labels and d columns, by as much as few
    labels say of it. Derived here (`advise#how-it-decides`); evidence in
    ``bench/calibrate_advise.py``.

    Parameters
    ----------
    shape : tuple of int
        Labels at hand n, and columns d.
    held_out : float
        Error of cross-validation.
    share : float
        Share of the labels that its models had.
    sizes, errors : ndarray of shape (m,)
        Smaller numbers of labels, and errors with these.
    is_regression : bool
        Whether errors are squared ones; else shares of wrong classes.
    kind : {"scratch", "as is", ...}
        What is done; labels change nothing in a source as it is.

    Returns
    -------
    Forecast
        Pinned at ``n_samples``.
    """
    n, d = shape
    pinned = float(_positive(held_out, n, is_regression))
    exponent, spread = 0.0, 0.0
    if kind != "as is":
        far = np.log(np.asarray(sizes) / (share * n))
        fall = np.log(_positive(errors, n, is_regression) / pinned)
        slope = -float(far @ fall) / float(far @ far)
        part = SHARE_OF_SCRATCH if kind == "scratch" else SHARE_OF_SOURCE
        expected = part * min(d / (n + d), LARGEST_EXPONENT)
        trust = n / (n + PRIOR_LABELS)
        exponent = min(max(trust * slope + (1.0 - trust) * expected, 0.0), 1.0)
        spread = SPREAD_OF_EXPONENT
    return Forecast(
        n_samples=n,
        level=pinned * share**exponent,
        exponent=exponent,
        level_spread=SPREAD_OF_LEVEL[is_regression] / math.sqrt(n),
        exponent_spread=spread,
    )


def forecast_fields(
    fits: dict[str, Forecast], budget: int | None, target_error: float | None
) -> dict[str, Any]:
    """What is forecast for a budget and for a target, as the fields of a record.

    Parameters
    ----------
    fits : dict of str to Forecast
        By "scratch" and the choice.
    budget : int or None
        A number of labels.
    target_error : float or None
        An error.

    Returns
    -------
    dict of str to dict
        By name of the field; empty where nothing was asked.
    """
    at = {} if budget is None else {key: (f.at(budget), *f.band(budget)) for key, f in fits.items()}
    needed = (
        {} if target_error is None else {key: f.labels_for(target_error) for key, f in fits.items()}
    )
    found: dict[str, Any] = {}
    for place, end in enumerate(("", "_low", "_high")):
        found[f"budget_error{end}"] = {key: float(v[place]) for key, v in at.items()}
    found["labels_needed"] = {key: v.likely if v.is_told else math.nan for key, v in needed.items()}
    for end in ("low", "high"):
        found[f"labels_needed_{end}"] = {key: getattr(v, end) for key, v in needed.items()}
    return found


def _positive(error: FloatArray | float, n: int, is_regression: bool) -> FloatArray:
    """Errors whose logarithm is finite: half an error more where they are shares."""
    if is_regression:
        return np.maximum(error, 1e-300)
    return (np.asarray(error) * n + 0.5) / (n + 1.0)
