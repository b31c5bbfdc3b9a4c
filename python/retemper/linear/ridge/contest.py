"""The contest of ways to use a source: held-out errors in pairs, with intervals that cover."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import special

from retemper._validation import FloatArray
from retemper.linear.ridge.path import BLOCK, RidgePath

#: Above this number of rows the deletion of a second row is expanded to first order.
EXACT_ROWS = 256


@dataclasses.dataclass(frozen=True)
class PairedGain:
    """What one candidate gains over another: held-out errors of both, on the same rows.

    Attributes
    ----------
    gain, stderr : float
        Leave-one-out error of the second minus that of the first, positive where the first is
        better, and its standard error.
    low, high : float
        Interval of the gain.
    relative_gain : float
        Gain over the error of the second, at most 1.
    relative_low, relative_high : float
        Interval of the relative gain, which decides.
    ridges : tuple of float
        Ridges of the two candidates.
    """

    gain: float
    stderr: float
    low: float
    high: float
    relative_gain: float
    relative_low: float
    relative_high: float
    ridges: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What every candidate leaves of every row at some ridges.

    Attributes
    ----------
    label, along : ndarray of shape (m, 1, q, n) and (m, k, q, n)
        A y and A f of the k sources.
    plain : ndarray of shape (m, n)
        diag(A).
    residual, diagonal, direction : ndarray of shape (m, 1 + 2 k, q, n)
        A y, diag(A) and a / sqrt(f'a) of scratch, of the k tuned and of the k rescaled candidates.
    squares : ndarray of shape (m, 1 + 2 k, n)
        Squared leave-one-out residuals, summed over outputs.
    """

    label: FloatArray
    along: FloatArray
    plain: FloatArray
    residual: FloatArray
    diagonal: FloatArray
    direction: FloatArray
    squares: FloatArray


class Contest:
    r"""Scratch, fine-tuning and rescaled fine-tuning from several sources, row by row.

    Every candidate has residuals A y on its labels, where A comes from one `RidgePath`; a factor on
    the source that is fitted without penalty takes :math:`aa^T/(f^Ta)`, a = A f, from A. Leaving
    rows i and j out, the residual of row i is :math:`(r_iA_{jj} - A_{ij}r_j)/(A_{ii}A_{jj} -
    A_{ij}^2)` with r = A y. Derived here (`derivations/linear#from-your-own-rows`).

    Parameters
    ----------
    path : RidgePath
        Path of the columns y, f_1, ..., f_k, with q outputs each.
    n_outputs : int
        q.

    Attributes
    ----------
    n_sources : int
        k.
    ridges : ndarray of shape (m,)
        Ridges tried, descending.
    curves : ndarray of shape (m, 1 + 2 k)
        Mean squared leave-one-out residual of scratch, of the k tuned and of the k rescaled
        candidates.
    mixing_curve : ndarray of shape (m,)
        The same of a start from all sources, each with its own factor.
    mixing_weights : ndarray of shape (m, k, q)
        Those factors.
    mixing_squares : ndarray of shape (n,)
        Squared leave-one-out residuals of that start, at its best ridge.
    """

    def __init__(self, path: RidgePath, n_outputs: int) -> None:
        self.path = path
        self.ridges = path.grid()
        m, (n, columns) = len(self.ridges), path.columns.shape
        k = self.n_sources = columns // n_outputs - 1
        self.source = path.columns.reshape(n, -1, n_outputs).transpose(1, 2, 0)[1:]
        given = (path.columns + path.column_mean).reshape(n, -1, n_outputs).transpose(1, 2, 0)
        size = np.abs(np.concatenate([given[:1], given[:1] - given[1:]])).max(axis=-1)
        self._rounding = 64 * np.finfo(float).eps * np.concatenate([size, size[[0] * k]])
        self.curves = np.empty((m, 1 + 2 * k))
        self.mixing_curve, self.mixing_weights = np.empty(m), np.empty((m, k, n_outputs))
        best = math.inf
        step = max(1, 4 * BLOCK // ((1 + 2 * k) * n_outputs * n))
        for start in range(0, m, step):
            block = slice(start, start + step)
            rows = self._rows(self.ridges[block])
            self.curves[block] = rows.squares.mean(axis=-1)
            squares, self.mixing_weights[block] = self._mixture(rows)
            self.mixing_curve[block] = squares.mean(axis=1)
            at = int(np.argmin(self.mixing_curve[block]))
            if self.mixing_curve[block][at] < best or start == 0:
                best, self.mixing_squares = float(self.mixing_curve[block][at]), squares[at].copy()
        self._all = rows if step >= m else None
        self._some: dict[int, Rows] = {}

    def _rows(self, ridges: FloatArray) -> Rows:
        k, q, n = self.source.shape
        value, plain = self.path.annihilate(ridges)
        value = value.reshape(-1, n, 1 + k, q).transpose(0, 2, 3, 1)
        label, along = value[:, :1], value[:, 1:]
        norm = np.einsum("skn,mskn->msk", self.source, along)
        free = norm > 1e-12 * np.square(self.source).sum(axis=-1)
        overlap = np.einsum("skn,mkn->msk", self.source, label[:, 0])
        scale = np.divide(overlap, norm, out=np.zeros_like(norm), where=free)
        residual = np.concatenate([label, label - along, label - scale[..., None] * along], axis=1)
        direction = np.zeros_like(residual)
        direction[:, 1 + k :] = along / np.sqrt(np.where(free, norm, np.inf))[..., None]
        diagonal = plain[:, None, None] - np.square(direction)
        bad = diagonal <= 1e-10 * diagonal.max(axis=-1, keepdims=True)
        loo = np.where(bad, np.inf, residual / np.where(bad, 1.0, diagonal))
        loo[np.abs(loo) <= self._rounding[..., None]] = 0.0
        squares = np.square(loo).sum(axis=2)
        return Rows(label, along, plain, residual, diagonal, direction, squares)

    def _mixture(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Squared residuals (m, n) and factors of all sources at once, as free columns."""
        k, q, _ = self.source.shape
        squares, weights = np.zeros(rows.plain.shape), np.zeros((len(rows.plain), k, q))
        for o in range(q):
            f, a, y = self.source[:, o], rows.along[:, :, o], rows.label[:, 0, o]
            gram = a @ f.T
            size = np.sqrt(np.maximum(np.einsum("maa->ma", gram), 0.0))
            size[size <= 1e-6 * np.linalg.norm(f, axis=1)] = np.inf  # part of the offset already
            size = size[:, :, None] * size[:, None]
            inverse = np.linalg.pinv(gram / size, rcond=1e-10, hermitian=True) / size
            weight = inverse @ (y @ f.T)[..., None]
            left = y - (weight.swapaxes(1, 2) @ a)[:, 0]
            diagonal = rows.plain - (a * (inverse @ a)).sum(axis=1)
            bad = diagonal <= 1e-10 * rows.plain
            loo = np.where(bad, np.inf, left / np.where(bad, 1.0, diagonal))
            squares += np.square(loo)
            weights[:, :, o] = weight[..., 0]
        return squares, weights

    def at(self, name: str, position: int, candidate: int) -> FloatArray:
        """One array of `Rows`, at one ridge and for one candidate."""
        if self._all is not None:
            array: FloatArray = getattr(self._all, name)[position, candidate]
            return array
        if position not in self._some:
            self._some[position] = self._rows(self.ridges[[position]])
        array = getattr(self._some[position], name)[0, candidate]
        return array

    def tuned(self, source: int) -> int:
        """Candidate that starts from a source."""
        return 1 + source

    def rescaled(self, source: int) -> int:
        """Candidate that starts from a source with a fitted factor."""
        return int(1 + self.n_sources + source)

    def paired_ridges(self, first: int, second: int) -> tuple[int, int]:
        """Positions of the ridges at which two candidates are compared.

        Both use the one with the smallest summed error, which keeps their errors paired; one of
        them leaves it for its own best only if that is better by more than a paired standard error.

        Parameters
        ----------
        first, second : int
            Candidates.

        Returns
        -------
        tuple of int
            Positions in ``ridges``.
        """
        shared = int(np.argmin(self.curves[:, first] + self.curves[:, second]))
        at = []
        for candidate in (first, second):
            own = int(np.argmin(self.curves[:, candidate]))
            with np.errstate(invalid="ignore"):  # residuals that are not determined
                saved = self.at("squares", shared, candidate) - self.at("squares", own, candidate)
                saved /= np.abs(saved).max() or 1.0
                stderr = saved.std(ddof=1) / np.sqrt(len(saved))
            at.append(own if saved.mean() > stderr else shared)
        return at[0], at[1]

    def deleted(self, at: list[tuple[int, int]]) -> FloatArray:
        """Leave-one-out error of the sample without row j, for every row j.

        Parameters
        ----------
        at : list of tuple of int
            Pairs (position of the ridge, candidate).

        Returns
        -------
        ndarray of shape (len(at), n)
            Mean over the other rows of the squared residual without both.
        """
        ridge, n = self.ridges[[position for position, _ in at]], len(self.path.columns)
        r, d, a = (  # (p, q, n)
            np.stack([self.at(name, *spot) for spot in at])
            for name in ("residual", "diagonal", "direction")
        )
        if n <= EXACT_ROWS:
            return self._deleted_exactly(ridge, r, d, a)
        d = np.where(d > 0.0, d, np.nan)
        e = r / d
        v = e / d
        p, q = e.shape[:2]
        both = np.concatenate([v, a]).reshape(2 * p * q, n)
        Av, Aa = self.path.apply(np.tile(ridge.repeat(q), 2), both.T).T.reshape(2, p, q, n)
        Av = Av - a * (a * v).sum(axis=-1, keepdims=True)
        square = self.path.diagonal(ridge, power=2)[:, None]
        square = square - 2 * a * Aa + a**2 * (a**2).sum(axis=-1, keepdims=True)
        near = square - d**2  # sum over i of A_ij**2 without the diagonal
        total = np.square(e).sum(axis=-1, keepdims=True) - np.square(e)
        total += near * (2 / d * (e * v).mean(axis=-1, keepdims=True))
        total += near * (e**2 * np.mean(1 / d**2, axis=-1, keepdims=True))
        total -= 2 * e * (Av - d * v)
        out: FloatArray = total.sum(axis=1) / (n - 1)
        return out

    def _deleted_exactly(
        self, ridge: FloatArray, r: FloatArray, d: FloatArray, a: FloatArray
    ) -> FloatArray:
        n = r.shape[-1]
        matrix = {
            one: self.path.apply(np.full(n, one), np.eye(n)) for one in np.unique(ridge).tolist()
        }
        out = np.zeros((len(r), n))
        for p, k in np.ndindex(r.shape[:2]):
            A = matrix[ridge[p]] - np.outer(a[p, k], a[p, k])
            minor = np.outer(d[p, k], d[p, k]) - A * A
            top = np.outer(r[p, k], d[p, k]) - A * r[p, k]
            np.fill_diagonal(minor, 1.0)
            np.fill_diagonal(top, 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                out[p] += np.square(top / minor).sum(axis=0) / (n - 1)
        return out

    def gains(self, pairs: list[tuple[int, int]], confidence: float = 0.95) -> list[PairedGain]:
        """What candidates gain over others, in pairs.

        The relative gain is judged by the logarithm of the ratio of the errors with Student's t,
        the gain with Hall's correction for skewness. The relative gain decides the sign: the
        interval of the gain is cut at zero where that of the relative gain excludes zero, and
        extended to zero where it does not.

        Parameters
        ----------
        pairs : list of tuple of int
            Candidates.
        confidence : float, default=0.95
            Coverage.

        Returns
        -------
        list of PairedGain
            Gains of the first over the second.
        """
        at = [spot for pair in pairs for spot in zip(self.paired_ridges(*pair), pair, strict=True)]
        unique = sorted(set(at))
        deleted = dict(zip(unique, self.deleted(unique), strict=True)) if unique else {}
        return [
            paired_gain(
                (self.at("squares", *one), self.at("squares", *two)),
                (deleted[one], deleted[two]),
                (float(self.ridges[one[0]]), float(self.ridges[two[0]])),
                confidence,
            )
            for one, two in zip(at[::2], at[1::2], strict=True)
        ]


def paired_gain(
    squares: tuple[FloatArray, FloatArray],
    deleted: tuple[FloatArray, FloatArray],
    ridges: tuple[float, float],
    confidence: float,
) -> PairedGain:
    """Gain of one candidate over another, from their residuals.

    Parameters
    ----------
    squares : tuple of ndarray of shape (n,)
        Squared leave-one-out residuals.
    deleted : tuple of ndarray of shape (n,)
        Leave-one-out errors of the samples without row j.
    ridges : tuple of float
        Passed on.
    confidence : float
        Coverage.

    Returns
    -------
    PairedGain
        Gain of the first over the second.
    """
    n = len(squares[0])
    unit = float(max(e.max() for e in squares)) or 1.0  # squares of squares must not overflow
    if not math.isfinite(unit):
        infinite = -math.inf, math.inf
        return PairedGain(math.nan, math.inf, *infinite, math.nan, -math.inf, 1.0, ridges)
    squares, deleted = ((a / unit, b / unit) for a, b in (squares, deleted))
    errors = [float(e.mean()) for e in squares]
    gain, d = errors[1] - errors[0], squares[1] - squares[0]
    if not d.any():  # the two predict the same
        return PairedGain(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ridges)
    stderr = standard_error(d, deleted[1] - deleted[0])
    low, high = skew_corrected_interval(gain, stderr, skewness(d), n, confidence)
    ratio = errors[0] / errors[1] if errors[1] else math.inf
    relative_low, relative_high = -math.inf, 1.0
    if min(errors) > 0.0 and min(d.min() for d in deleted) > 0.0:
        linear = squares[0] / errors[0] - squares[1] / errors[1]
        log_se = standard_error(linear, np.log(deleted[0] / deleted[1]))
        factor = math.exp(min(float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * log_se, 700.0))
        if math.isfinite(log_se):
            relative_low, relative_high = 1.0 - ratio * factor, 1.0 - ratio / factor
    low = max(low, 0.0) if relative_low > 0.0 else min(low, 0.0)
    high = min(high, 0.0) if relative_high < 0.0 else max(high, 0.0)
    return PairedGain(
        gain=gain * unit,
        stderr=stderr * unit,
        low=low * unit,
        high=high * unit,
        relative_gain=1.0 - ratio,
        relative_low=relative_low,
        relative_high=relative_high,
        ridges=ridges,
    )


def standard_error(contributions: FloatArray, deleted: FloatArray) -> float:
    """Larger of two standard errors of the mean contribution.

    The naive one times sqrt(2), which counts the overlap of the training sets (Nadeau and Bengio
    2003 with one test row), and the delete-one jackknife, which sees the correlation of the
    contributions and is biased upwards.

    Parameters
    ----------
    contributions : ndarray of shape (n,)
        Terms of the estimate, or of its linearisation.
    deleted : ndarray of shape (n,)
        The estimate from the sample without row j.

    Returns
    -------
    float
        The standard error; infinite where a deleted estimate is.
    """
    n = len(deleted)
    if not np.isfinite(deleted).all():
        return math.inf
    jackknife = math.sqrt((n - 1) / n * float(np.square(deleted - deleted.mean()).sum()))
    return max(math.sqrt(2 / n) * float(contributions.std(ddof=1)), jackknife)


def skewness(x: FloatArray) -> float:
    """Sample skewness with the usual factor for small samples; 0 for constant x."""
    n, spread = len(x), float(x.std())
    if spread <= 1e-12 * np.abs(x).max():
        return 0.0
    return float(np.mean(((x - x.mean()) / spread) ** 3)) * math.sqrt(n * (n - 1)) / (n - 2)


def skew_corrected_interval(
    centre: float, stderr: float, skewness: float, n: int, confidence: float
) -> tuple[float, float]:
    """Hall's transformed t interval.

    Parameters
    ----------
    centre, stderr : float
        Estimate and its standard error.
    skewness : float
        Skewness of one of the n contributions.
    n : int
        Their number.
    confidence : float
        Coverage.

    Returns
    -------
    tuple of float
        Ends of the interval.
    """
    if not np.isfinite(stderr):
        return -np.inf, np.inf
    t = float(special.stdtrit(n - 1, 0.5 + confidence / 2))
    g = skewness / np.sqrt(n)
    if abs(g) < 1e-8:
        return centre - t * stderr, centre + t * stderr
    low, high = (3 / g * (np.cbrt(1 + g * (x - g / 6)) - 1) for x in (t, -t))
    return float(centre - stderr * low), float(centre - stderr * high)
