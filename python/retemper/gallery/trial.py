"""Five sources for one task on digits: what is advised, and whether it is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import FloatArray, check_choice, check_integer
from retemper.datasets import DigitsTask, digits_task, split_rows
from retemper.datasets.digits import Features

if TYPE_CHECKING:
    from retemper.advisor import TransferAdvice

__all__ = ["CHOICES", "DigitsTrial", "digits_advice", "digits_trial"]

Digits = tuple[tuple[int, ...], tuple[int, ...]]

EVEN_ODD: Digits = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
#: Source tasks by name: the two groups of digits, and a factor put on the fitted model.
SOURCES: dict[str, tuple[Digits, float]] = {
    "same task": (EVEN_ODD, 1.0),
    "same task, weights x 4": (EVEN_ODD, 4.0),
    "same task, labels swapped": (EVEN_ODD, -1.0),
    "even or odd, 0 to 5 only": (((0, 2, 4), (1, 3, 5)), 1.0),
    "prime or not": (((2, 3, 5, 7), (0, 1, 4, 6, 8, 9)), 1.0),
}


CHOICES = ("scratch", "as is", "fine-tune", "rescaled")


@dataclasses.dataclass(frozen=True)
class DigitsTrial:
    """Verdicts and held-out errors over repeats.

    Parameters
    ----------
    names : tuple of str
        The sources.
    features : str
        Feature map.
    n_labels : int
        Labelled target rows per repeat.
    verdicts : ndarray of str, shape (n_seeds, n_sources)
        What the report said.
    gain, gain_low, gain_high : ndarray of shape (n_seeds, n_sources)
        Predicted gain of fine-tuning over training from zero, and its 95 % interval; positive
        helps.
    held_out_gain : ndarray of shape (n_seeds, n_sources)
        The same gain, at the same ridges, on target rows that no model has seen.
    errors : dict of str to ndarray of shape (n_seeds, n_sources)
        Held-out mean squared error of each choice.
    advised : ndarray of shape (n_seeds,)
        Held-out error of the estimator that the report recommends, over all sources.
    accuracy : dict of str to ndarray of shape (n_seeds,)
        Held-out share of right signs, from scratch and as advised.

    See Also
    --------
    digits_trial

    Examples
    --------
    >>> from retemper.gallery import digits_trial
    >>> trial = digits_trial(n_labels=30, n_seeds=2)
    >>> trial.verdicts.shape == (2, len(trial.names))
    True
    """

    names: tuple[str, ...]
    features: str
    n_labels: int
    verdicts: NDArray[np.str_]
    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    held_out_gain: FloatArray
    errors: dict[str, FloatArray]
    advised: FloatArray
    accuracy: dict[str, FloatArray]

    @property
    def best(self) -> FloatArray:
        """Held-out error of the best choice in hindsight, of shape (n_seeds,)."""
        return np.asarray(np.min(list(self.errors.values()), axis=(0, 2)))

    @property
    def scratch(self) -> FloatArray:
        """Held-out error from scratch, of shape (n_seeds,)."""
        return self.errors["scratch"][:, 0]

    @property
    def coverage(self) -> float:
        """Share of intervals that contain the held-out gain."""
        inside = (self.gain_low <= self.held_out_gain) & (self.held_out_gain <= self.gain_high)
        return float(inside.mean())


def digits_trial(
    *,
    features: Features = "random",
    n_labels: int = 60,
    n_seeds: int = 40,
    random_state: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> DigitsTrial:
    """Ask the transfer report about sources on digits, and check it on held-out rows.

    The target task is to tell even from odd digits. Each repeat splits all images into a source
    half and a target half. Sources are ridge models fitted on the source half; the report sees
    ``n_labels`` images of the target half; the rest of it judges.

    Parameters
    ----------
    features : {"pixels", "random"}, default="random"
        Feature map, see `retemper.datasets.digits_task`.
    n_labels : int, default=60
        Labelled target rows, at least 10 and at most 500.
    n_seeds : int, default=40
        Repeats.
    random_state : int, default=0
        Seed.
    progress : callable or None, default=None
        Called with (done, total) after each repeat.

    Returns
    -------
    DigitsTrial
        Verdicts, predictions and held-out errors.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    digits_advice, DigitsTrial

    Examples
    --------
    >>> from retemper.gallery import digits_trial
    >>> trial = digits_trial(n_labels=30, n_seeds=2)
    >>> trial.n_labels, trial.gain.shape == trial.held_out_gain.shape
    (30, True)
    """
    from retemper.linear import FineTunedLinearRegression, LinearTransferReport

    check_choice(features, "features", ("pixels", "random"))
    check_integer(n_labels, "n_labels", low=10, high=500)
    check_integer(n_seeds, "n_seeds", low=1)
    tasks = _source_tasks(features)
    target = tasks[EVEN_ODD]
    shape = (n_seeds, len(SOURCES))
    gain, low, high, held_out = (np.empty(shape) for _ in range(4))
    verdicts = np.empty(shape, dtype="U20")
    errors = {choice: np.empty(shape) for choice in CHOICES}
    advised = np.empty(n_seeds)
    accuracy = {"scratch": np.empty(n_seeds), "as advised": np.empty(n_seeds)}
    rng = generator(random_state)

    for seed in range(n_seeds):
        before, after = split_rows(len(target.y), len(target.y) // 2, rng)
        sources = _fit_sources(tasks, before)
        few, rest = (after[rows] for rows in split_rows(len(after), n_labels, rng))
        X, y, X_test, y_test = target.X[few], target.y[few], target.X[rest], target.y[rest]

        def error(model: FineTunedLinearRegression) -> float:
            return float(np.mean((model.predict(X_test) - y_test) ** 2))  # noqa: B023

        report = LinearTransferReport(sources).fit(X, y)
        gain[seed], verdicts[seed] = report.gain_, report.verdict_
        low[seed], high[seed] = report.gain_low_, report.gain_high_
        scratch = FineTunedLinearRegression().fit(X, y)
        errors["scratch"][seed] = error(scratch)  # the same for every source
        for k, source in enumerate(sources.values()):
            errors["as is"][seed, k] = error(source)
            tuned = FineTunedLinearRegression(source=source).fit(X, y)
            errors["fine-tune"][seed, k] = error(tuned)
            tuned = FineTunedLinearRegression(source=source, source_scale="auto").fit(X, y)
            errors["rescaled"][seed, k] = error(tuned)
            ridges = report.gain_ridge_[k]
            held_out[seed, k] = error(FineTunedLinearRegression(ridge=ridges[1]).fit(X, y)) - error(
                FineTunedLinearRegression(source=source, ridge=ridges[0]).fit(X, y)
            )
        advised[seed] = error(report.estimator_)
        for name, model in (("scratch", scratch), ("as advised", report.estimator_)):
            accuracy[name][seed] = np.mean(np.sign(model.predict(X_test)) == y_test)
        if progress is not None:
            progress(seed + 1, n_seeds)
    return DigitsTrial(
        tuple(SOURCES), features, n_labels, verdicts, gain, low, high, held_out, errors, advised,
        accuracy,
    )  # fmt: skip


def digits_advice(
    *, features: Features = "random", n_labels: int = 60, random_state: int = 0
) -> TransferAdvice:
    """Ask every system about the five sources of the demo, on one sample.

    Parameters
    ----------
    features : {"pixels", "random"}, default="random"
        Feature map, see `retemper.datasets.digits_task`.
    n_labels : int, default=60
        Labelled target rows.
    random_state : int, default=0
        Seed.

    Returns
    -------
    TransferAdvice
        The answer.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    digits_trial, retemper.advise

    Examples
    --------
    >>> from retemper.gallery import digits_advice
    >>> digits_advice(n_labels=30).n_samples  # doctest: +SKIP
    30
    """
    from retemper.advisor import advise

    check_choice(features, "features", ("pixels", "random"))
    check_integer(n_labels, "n_labels", low=10, high=500)
    rng = generator(random_state)
    tasks = _source_tasks(features)
    target = tasks[EVEN_ODD]
    before, after = split_rows(len(target.y), len(target.y) // 2, rng)
    sources: dict[str, Any] = _fit_sources(tasks, before)
    name = "even or odd, 0 to 5 only"  # given by its rows: more systems have something to say
    given = tasks[SOURCES[name][0]]
    seen = np.isin(given.rows, before)
    sources[name] = given.X[seen], given.y[seen]
    few, _ = split_rows(len(after), n_labels, rng)
    return advise(
        target.X[after[few]], target.y[after[few]], sources=sources, task="regression",
        budget=5 * n_labels, target_error=0.3, systems="all", random_state=random_state,
    )  # fmt: skip


def _source_tasks(features: Features) -> dict[Digits, DigitsTask]:
    """Every task of the demo by its digits; the target is among them."""
    return {digits: digits_task(*digits, features=features) for digits, _ in SOURCES.values()}


def _fit_sources(tasks: dict[Digits, DigitsTask], rows: NDArray[np.intp]) -> dict[str, Any]:
    """The sources of the demo, fitted on some of the images."""
    from retemper.linear import FineTunedLinearRegression

    sources = {}
    for name, (digits, factor) in SOURCES.items():
        task = tasks[digits]
        seen = np.isin(task.rows, rows)
        fitted = FineTunedLinearRegression().fit(task.X[seen], task.y[seen])
        fitted.coef_ = factor * fitted.coef_
        fitted.intercept_ = factor * fitted.intercept_
        sources[name] = fitted
    return sources
