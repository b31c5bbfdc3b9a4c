"""Slow, obvious version of the leave-one-out statistics behind ``LinearTransferReport``.

Everything is a function of the centred Gram matrix of the target rows.  A candidate predicts
``offset + scale * f + X @ delta`` with an unpenalised intercept ``offset`` and

========================  ==================  ======================  ======================
candidate                 source part ``f``   scale                   penalty
========================  ==================  ======================  ======================
scratch                   none                --                      ridge on ``delta``
fine-tune                 source prediction   1                       ridge on ``delta``
rescaled                  source prediction   fitted, unpenalised     ridge on ``delta``
as is                     source prediction   1, no offset            ``delta = 0``, no fit
========================  ==================  ======================  ======================

The loss is ``mean((y - prediction)**2) + ridge * sum(delta**2)``; with rows left out, the penalty
``n * ridge`` of the sum-of-squares form is kept.  Derived here, except the skewness correction
(Hall 1992, J. R. Stat. Soc. B 54, 221) and the factor for overlapping training sets (Nadeau and
Bengio 2003, Machine Learning 52, 239).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

RIDGE_FLOOR = 1e-3  # in units of the mean squared centred row norm over n
PER_DECADE = 4


class Spectrum:
    """Eigenpairs of the centred Gram matrix ``Xc @ Xc.T / n`` orthogonal to the ones vector."""

    def __init__(self, X):
        n = len(X)
        ones = np.full((n, 1), n**-0.5)
        basis = np.linalg.qr(np.hstack([ones, np.eye(n)[:, : n - 1]]))[0][:, 1:]
        centred = basis.T @ (X - X.mean(axis=0))
        values, vectors = np.linalg.eigh(centred @ centred.T / n)
        values[values <= 1e-12 * max(values[-1], 0.0)] = 0.0
        self.n, self.values, self.vectors = n, values, basis @ vectors
        self.scale = values.sum() / n  # mean squared centred row norm over n
        size = np.square(X).mean(axis=0).max()
        self.usable = values[values > (64 * np.finfo(float).eps) ** 2 * size]
        rank, distinct = np.count_nonzero(values), len(np.unique(X, axis=0))
        tied = rank < n - 1 and rank < X.shape[1] and distinct - 1 <= rank
        self.zero = rank == len(self.usable) and not tied

    def grid(self):
        """Default ridges: zero, a tenth of the smallest eigenvalue, ten times the trace, infinity.

        The floor, a thousandth of the mean squared centred row norm over n, is a point of the grid;
        below it the steps go on until a tenth of the smallest usable eigenvalue is passed.
        """
        if self.scale == 0.0:
            return np.array([np.inf])
        low, high = np.log10(RIDGE_FLOOR), np.log10(10.0 * self.n)
        count = int(np.ceil((high - low) * PER_DECADE)) + 1
        ridges = list(self.scale * np.logspace(low, high, count))
        while ridges[0] > 0.1 * self.usable[0] * (1 + 1e-9):
            ridges.insert(0, ridges[0] * ridges[0] / ridges[1])
        return np.array([0.0] * self.zero + ridges + [np.inf])

    def weights(self, ridge):
        """``ridge / (values + ridge)``, its limit for ridge = inf, its leading order for 0."""
        if np.isinf(ridge):
            return np.ones(self.n - 1)
        if ridge > 0:
            return ridge / (self.values + ridge)
        null = self.values == 0.0
        return null * 1.0 if null.any() else self.values[0] / self.values

    def annihilator(self, ridge, free=None):
        """(n, n) matrix A: residuals are proportional to ``A @ y``, leave-out ones follow from A.

        ``free`` is a column with an unpenalised coefficient, such as a source to be rescaled.
        """
        A = (self.vectors * self.weights(ridge)) @ self.vectors.T
        if free is not None:
            column = A @ free
            norm = free @ column
            if norm > 1e-12 * (free @ free):  # a constant source is part of the intercept already
                A = A - np.outer(column, column) / norm
        return A


@dataclass(frozen=True)
class Candidate:
    """One way to use the source: the label vector, the free column, or a fixed predictor."""

    label: np.ndarray  # (n,) y, or y minus the source prediction
    free: np.ndarray | None = None  # (n,) source prediction if its scale is fitted
    fixed: bool = False  # the source as it is: nothing is fitted

    def annihilator(self, spectrum, ridge):
        return np.eye(spectrum.n) if self.fixed else spectrum.annihilator(ridge, self.free)

    def loo(self, spectrum, ridge):
        """(n,) exact leave-one-out residuals, intercept and scale included."""
        return loo_residuals(self.annihilator(spectrum, ridge), self.label)


def loo_residuals(A, label):
    """Residual of row i of the fit without row i, ``(A y)_i / A_ii``; inf if not determined."""
    diagonal = np.diag(A)
    bad = diagonal <= 1e-10 * diagonal.max()
    return np.where(bad, np.inf, (A @ label) / np.where(bad, 1.0, diagonal))


def leave_two_out(A, label):
    """(n, n): entry (i, j) is the residual of row i of the fit without rows i and j; diagonal 0."""
    residual, diagonal = A @ label, np.diag(A)
    minor = np.outer(diagonal, diagonal) - A * A
    np.fill_diagonal(minor, 1.0)
    top = np.outer(residual, diagonal) - A * residual
    np.fill_diagonal(top, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return top / minor


def loo_grid(spectrum, candidate, grid):
    """(n, K) leave-one-out residuals at every ridge of the grid, without forming A."""
    if candidate.fixed:
        return np.repeat(candidate.label[:, None], len(grid), axis=1)
    U = spectrum.vectors
    w = np.column_stack([spectrum.weights(ridge) for ridge in grid])
    residual, diagonal = U @ (w * (U.T @ candidate.label)[:, None]), U**2 @ w
    if candidate.free is not None:
        f = candidate.free
        column = U @ (w * (U.T @ f)[:, None])  # (n, K)
        norm = f @ column
        free = norm > 1e-12 * (f @ f)  # at ridge zero slopes may contain the source
        norm = np.where(free, norm, np.inf)
        residual = residual - column * (f @ residual) / norm
        diagonal = diagonal - column**2 / norm
    return residual / diagonal


def loo_error(spectrum, candidate):
    """Smallest mean squared leave-one-out residual over the default grid, and its ridge."""
    grid = spectrum.grid()
    curve = np.mean(loo_grid(spectrum, candidate, grid) ** 2, axis=0)
    return curve.min(), grid[curve.argmin()]


def paired_ridges(spectrum, first, second):
    """Ridges at which two candidates are compared.

    Both use the ridge with the smallest summed leave-one-out error, which keeps their errors
    paired; a candidate leaves it for its own best one only if that lowers its leave-one-out
    error by more than one paired standard error.
    """
    grid = spectrum.grid()
    squares = [loo_grid(spectrum, c, grid) ** 2 for c in (first, second)]
    shared = np.argmin(squares[0].mean(axis=0) + squares[1].mean(axis=0))
    ridges = []
    for s in squares:
        own = np.argmin(s.mean(axis=0))
        saved = s[:, shared] - s[:, own]
        se = saved.std(ddof=1) / np.sqrt(spectrum.n)
        ridges.append(grid[own if saved.mean() > se else shared])
    return tuple(ridges)


@dataclass(frozen=True)
class Gain:
    """What the first candidate gains over the second."""

    gain: float  # error of the second minus that of the first; positive if the first is better
    stderr: float
    interval: tuple[float, float]
    relative_gain: float  # over the error of the second
    relative_interval: tuple[float, float]
    ridges: tuple[float, float]  # of the first and of the second candidate


def standard_error(contributions, deleted):
    """Larger of two standard errors of the mean contribution.

    contributions : (n,) terms of the leave-one-out estimate, or of its linearisation
    deleted : (n,) the estimate from the sample without row j, each by leave-two-out

    sqrt(2) * naive counts the overlap of the training sets (Nadeau and Bengio 2003 with one test
    row); the delete-one jackknife, biased upwards, sees the correlation of the contributions.
    """
    n = len(deleted)
    naive = contributions.std(ddof=1) / np.sqrt(n)
    if not np.isfinite(deleted).all():
        return np.inf
    return max(np.sqrt(2) * naive, np.sqrt((n - 1) / n * np.sum((deleted - deleted.mean()) ** 2)))


def skew_corrected_interval(centre, se, skewness, n, confidence=0.95):
    """Hall's transformed t interval; ``skewness`` is that of one contribution."""
    t = stats.t.ppf(0.5 + confidence / 2, n - 1)
    g = skewness / np.sqrt(n)
    if not np.isfinite(se):
        return -np.inf, np.inf
    if abs(g) < 1e-8:
        return centre - t * se, centre + t * se
    low, high = (3 / g * (np.cbrt(1 + g * (x - g / 6)) - 1) for x in (t, -t))
    return centre - se * low, centre - se * high


def skewness(x):
    """Sample skewness with the usual small-sample factor; 0 for constant x."""
    n, spread = len(x), x.std()
    if spread <= 1e-12 * np.abs(x).max():
        return 0.0
    return np.mean((x - x.mean()) ** 3) / spread**3 * np.sqrt(n * (n - 1)) / (n - 2)


def compare(spectrum, first, second, ridges=None, confidence=0.95):
    """Paired comparison of two candidates, at ``paired_ridges`` unless two are given.

    The ratio of the errors is judged on the log scale with Student's t, the difference with
    Hall's correction.  The sign is decided by the ratio: the interval of the gain is cut at zero
    where that of the ratio excludes one, and extended to zero where it does not.
    """
    n = spectrum.n
    if ridges is None:
        ridges = paired_ridges(spectrum, first, second)
    squares, deleted = [], []
    for candidate, ridge in zip((first, second), ridges, strict=True):
        A = candidate.annihilator(spectrum, ridge)
        e = loo_residuals(A, candidate.label)
        e[np.abs(e) <= 64 * np.finfo(float).eps * np.abs(candidate.label).max()] = 0.0
        squares.append(e**2)
        deleted.append((leave_two_out(A, candidate.label) ** 2).sum(axis=0) / (n - 1))
    errors = [e.mean() for e in squares]
    unbounded = -np.inf, 1.0
    if not np.isfinite(errors).all():
        return Gain(np.nan, np.inf, (-np.inf, np.inf), np.nan, unbounded, ridges)
    gain, d = errors[1] - errors[0], squares[1] - squares[0]
    stderr = standard_error(d, deleted[1] - deleted[0])
    if not d.any():  # the two candidates predict the same
        return Gain(0.0, 0.0, (0.0, 0.0), 0.0, (0.0, 0.0), ridges)
    low, high = skew_corrected_interval(gain, stderr, skewness(d), n, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(errors[0], errors[1])
        linear = squares[0] / errors[0] - squares[1] / errors[1]
        log_se = standard_error(linear, np.log(deleted[0] / deleted[1]))
    relative = unbounded
    if np.isfinite(log_se):
        factor = np.exp(stats.t.ppf(0.5 + confidence / 2, n - 1) * log_se)
        relative = 1 - ratio * factor, 1 - ratio / factor
    low = max(low, 0.0) if relative[0] > 0 else min(low, 0.0)
    high = min(high, 0.0) if relative[1] < 0 else max(high, 0.0)
    return Gain(gain, stderr, (low, high), 1 - ratio, relative, ridges)


def verdict(X, y, source_prediction, confidence=0.95):
    """Verdict and use of a source, and what fine-tuning gains over scratch."""
    spectrum = Spectrum(X)
    scratch = Candidate(y)
    tuned = Candidate(y - source_prediction)
    rescaled = Candidate(y, free=source_prediction)
    gain = compare(spectrum, tuned, scratch, confidence=confidence)
    rescaled_gain = compare(spectrum, rescaled, scratch, confidence=confidence)
    as_is = np.mean(tuned.label**2)
    errors = [loo_error(spectrum, c)[0] for c in (scratch, tuned, rescaled)]
    if gain.relative_interval[0] > 0:
        better = compare(spectrum, rescaled, tuned, confidence=confidence)
        if better.relative_interval[0] > 0:
            return "helps", "rescaled", gain
        return "helps", "as is" if as_is <= errors[1] else "fine-tune", gain
    if rescaled_gain.relative_interval[0] > 0:
        return "helps", "rescaled", gain
    if gain.relative_interval[1] < 0:
        return "hurts", "scratch", gain
    names = ("scratch", "as is", "fine-tune", "rescaled")
    every = np.array([errors[0], as_is, *errors[1:]])
    return "undecided", names[np.argmax(every <= every.min() * (1 + 1e-6))], gain  # first of equals


class ReferenceReport:
    """The part of ``LinearTransferReport`` that the coverage table needs."""

    def __init__(self, sources):
        self.sources = np.atleast_2d(sources)  # (k, d) coefficients

    def fit(self, X, y):
        results = [verdict(X, y, X @ w) for w in self.sources]
        self.verdict_, self.use_, gains = (list(column) for column in zip(*results, strict=True))
        self.gain_ = np.array([g.gain for g in gains])
        self.gain_stderr_ = np.array([g.stderr for g in gains])
        self.gain_low_, self.gain_high_ = np.array([g.interval for g in gains]).T
        self.relative_gain_ = np.array([g.relative_gain for g in gains])
        ends = np.array([g.relative_interval for g in gains])
        self.relative_gain_low_, self.relative_gain_high_ = ends.T
        self.gain_ridge_ = np.array([g.ridges for g in gains])  # (k, 2): fine-tune, scratch
        return self


def refit_residual(X, y, source_prediction, ridge, out, target, scale):  # noqa: PLR0917
    """Residual of row ``target`` after refitting without the rows ``out``: the definition itself.

    ``scale`` is "none" (scratch), "one" (fine-tune) or "free" (rescaled).
    """
    n, d = X.shape
    keep = np.setdiff1d(np.arange(n), out)
    label = y - source_prediction if scale == "one" else y
    columns = [np.ones(n)] + ([source_prediction] if scale == "free" else [])
    Z = np.column_stack([*columns, X])
    penalty = np.diag(np.r_[np.zeros(len(columns)), np.full(d, n * ridge)])
    coef = np.linalg.solve(Z[keep].T @ Z[keep] + penalty, Z[keep].T @ label[keep])
    return label[target] - Z[target] @ coef
