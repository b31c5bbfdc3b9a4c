r"""The law of a unit of the last hidden layer, for activations with a mean.

A unit of a layer above the first sees :math:`t\,m(x)`, m the mean of the layer below and t a normal
number of its own, its type, beside a centred part. The joint density of its read-out and its type
is the order parameter, at a few types; it is normal in the read-out at each of them (derived here:
`derivations/widenet#several-hidden-layers`).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from retemper._validation import FloatArray
from retemper.numerics import gauss_hermite_rule
from retemper.widenet.activations import expansion_of
from retemper.widenet.coupled import Task
from retemper.widenet.layers import NONE_INSIDE, Pairs, layer_parts
from retemper.widenet.model import WideNetModel

__all__ = ["Law", "LawBlocks", "LawTask"]

_TYPES = 15
_DEGREE = 16  # of the Hermite series of a unit of the last layer; diagonals are exact
_BELOW = 12  # the same of a unit of the layer below, and of its square


class Law(NamedTuple):
    """The density of read-out and type, and what is left of the layers below.

    Attributes
    ----------
    share, mean, square : ndarray of shape (n_types,)
        Share of the units of each type; mean and mean square of their read-outs, times the root
        of the prior precision.
    through : ndarray of shape (n_layers - 1,)
        Order parameters of the layers below.
    """

    share: FloatArray
    mean: FloatArray
    square: FloatArray
    through: FloatArray

    @property
    def spread(self) -> FloatArray:
        """Variance of the read-outs of a type."""
        return self.square - self.mean**2

    @property
    def weights(self) -> FloatArray:
        """Products of the order parameters from each layer up."""
        return np.asarray(np.cumprod(self.through[::-1])[::-1], dtype=np.float64)


def _series(t: FloatArray, weighted: FloatArray, degree: int) -> FloatArray:
    """Averages with He_j / sqrt(j!), j = 0 ... degree, (n, degree + 1)."""
    now, before = np.ones_like(t), np.zeros_like(t)
    found = [weighted.sum(1)]
    for k in range(degree):
        now, before = (t * now - math.sqrt(k) * before) / math.sqrt(k + 1.0), now
        found.append((weighted * now).sum(1))
    return np.stack(found, 1)


def _inverse(x: FloatArray) -> FloatArray:
    """1 / x, and 0 at 0."""
    out: FloatArray = np.zeros_like(x)
    np.divide(1.0, x, out=out, where=x > 0.0)
    return out


class Types(NamedTuple):
    """Normal types and their shares a priori."""

    at: FloatArray
    share: FloatArray


@dataclasses.dataclass(frozen=True)
class Side:
    """What one set of inputs says of a unit by itself, for every type.

    Attributes
    ----------
    var : ndarray of shape (n,)
        Variance of the centred part of a pre-activation.
    level, slope, bend : ndarray of shape (n_types, n)
        Mean of the activation, and its derivatives in that part and in its variance.
    series : ndarray of shape (n_types, n, degree + 1)
        Hermite coefficients.
    rest : ndarray of shape (n_types, n)
        Variance that mean and slope do not explain.
    below_var : ndarray of shape (n,)
        Variance of a pre-activation of the layer below.
    below : ndarray of shape (2, degree, n)
        Hermite coefficients of a unit of the layer below and of its square, both centred.
    moment : ndarray of shape (2, 2, n)
        Their covariances.
    response : ndarray of shape (2, n)
        What both average to, by the variance of a pre-activation of the layer below.
    """

    var: FloatArray
    level: FloatArray
    slope: FloatArray
    bend: FloatArray
    series: FloatArray
    rest: FloatArray
    below_var: FloatArray
    below: FloatArray
    moment: FloatArray
    response: FloatArray

    @classmethod
    def of(
        cls,
        activation: Any,
        types: FloatArray,
        scale: float,
        *,
        mean: FloatArray,
        var: FloatArray,
        below_var: FloatArray,
    ) -> Side:
        """From mean and variance of a unit of the layer below, and the variance of its input."""
        expansion = expansion_of(activation)
        sd = np.sqrt(var)
        inverse = _inverse(sd)
        level, slope, bend, every, rest = [], [], [], [], []
        for t in types:
            x, w, s = expansion.about(scale * t * mean, var)
            h = _series(x, w * s, _DEGREE)
            every.append(h)
            level.append(h[:, 0])
            slope.append(h[:, 1] * inverse)
            bend.append(h[:, 2] * inverse**2 / math.sqrt(2.0))
            rest.append(np.maximum((w * s**2).sum(1) - h[:, 0] ** 2 - h[:, 1] ** 2, 0.0))
        x, w, s = expansion.about(np.zeros_like(below_var), below_var)
        unit = scale * (s - mean[:, None])
        both = [unit, unit**2 - (w * unit**2).sum(1)[:, None]]
        below = np.array([_series(x, w * u, _BELOW)[:, 1:].T for u in both])
        moment = np.array([[(w * u * v).sum(1) for v in both] for u in both])
        response = below[:, 1] * _inverse(math.sqrt(2.0) * below_var)
        return cls(
            var, np.array(level), np.array(slope), np.array(bend), np.array(every), np.array(rest),
            below_var, below, moment, response,
        )  # fmt: skip

    def coherent(self, law: Law, types: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights e and b of the fluctuations of the layer below (2, n), and their series."""
        pull = law.share * law.mean
        both = np.array([(pull * types) @ self.slope, pull @ self.bend])
        return both, np.einsum("an,ajn->jn", both, self.below)


@dataclasses.dataclass(frozen=True)
class LawBlocks:
    """Covariances between two sets of inputs, each (n, k).

    Attributes
    ----------
    rows, cols : Side
        The sets.
    parts : ndarray of shape (n_layers - 1, n, k)
        What the layers below the last add to the centred part of a pre-activation.
    own_parts : ndarray of shape (n_layers - 1, n)
        The same for a row with itself.
    correlation, below_correlation : ndarray of shape (n, k)
        Of the centred parts of pre-activations, and of pre-activations of the layer below.
    deeper, own_deeper : ndarray of shape (n, k) and (n,)
        Covariance of the variances of pre-activations of the layer below, from the fluctuations of
        all layers below that; the second of a row with itself.
    is_square : bool
        Whether both sets are the same, so that diagonals are known exactly.
    """

    rows: Side
    cols: Side
    parts: FloatArray
    own_parts: FloatArray
    correlation: FloatArray
    below_correlation: FloatArray
    deeper: FloatArray
    own_deeper: FloatArray
    is_square: bool

    def through(self, law: Law) -> FloatArray:
        """Slopes of both sides, averaged over the read-outs."""
        return self.rows.slope.T @ ((law.share * law.square)[:, None] * self.cols.slope)

    def rest(self, weight: FloatArray) -> FloatArray:
        """What mean and slope do not explain, summed over types with these weights."""
        out = np.zeros_like(self.correlation)
        for j in range(_DEGREE, 1, -1):
            out += self.rows.series[:, :, j].T @ (weight[:, None] * self.cols.series[:, :, j])
            out *= self.correlation
        out *= self.correlation
        if self.is_square:
            np.fill_diagonal(out, weight @ self.rows.rest)
        return out

    def rest_along(self, pull: FloatArray) -> FloatArray:
        """The sum of its products with a matrix of the rows, by type; of equal sides."""
        power, out = pull * self.correlation, np.zeros(len(self.rows.level))
        for j in range(2, _DEGREE + 1):
            power = power * self.correlation
            h = self.rows.series[:, :, j]
            out += np.einsum("ki,ki->k", h @ power, h)
        missed = self.rows.rest - np.square(self.rows.series[:, :, 2:]).sum(2)
        return np.asarray(out + missed @ np.diagonal(pull))

    def own(self, law: Law, types: FloatArray) -> FloatArray:
        """Covariance of the output at given means of the read-outs."""
        out = self.through(law) * np.tensordot(law.weights, self.parts, 1)
        out += self.rest(law.share * law.square)
        both, left = self.rows.coherent(law, types)
        other, right = (both, left) if self.is_square else self.cols.coherent(law, types)
        added = np.zeros_like(out)
        for j in reversed(range(len(left))):
            added += np.outer(left[j], right[j])
            added *= self.below_correlation
        if self.is_square:
            np.fill_diagonal(added, np.einsum("an,bn,abn->n", both, both, self.rows.moment))
        row, col = (
            np.einsum("an,an->n", b, side.response)
            for b, side in ((both, self.rows), (other, self.cols))
        )
        return np.asarray(out + added + np.outer(row, col) * self.deeper)

    def spread(self, law: Law) -> FloatArray:
        """Covariance of the mean of a unit times its read-out."""
        p, mean = law.share, law.share * law.mean
        out = self.rows.level.T @ ((p * law.square)[:, None] * self.cols.level)
        return np.asarray(out - np.outer(mean @ self.rows.level, mean @ self.cols.level))

    def prior(self, law: Law, types: FloatArray) -> FloatArray:
        """Variance of the output at every row, before the labels."""
        rows, weight = self.rows, law.share * law.square
        mean = (law.share * law.mean) @ rows.level
        both, _ = rows.coherent(law, types)
        out = (weight @ rows.slope**2) * (law.weights @ self.own_parts)
        out += weight @ (rows.rest + rows.level**2) - mean**2
        out += np.einsum("an,bn,abn->n", both, both, rows.moment)
        return np.asarray(out + np.einsum("an,an->n", both, rows.response) ** 2 * self.own_deeper)


class LawTask:
    """One set of rows, with everything that their labels do not enter.

    Parameters
    ----------
    model : WideNetModel
        The network, of two hidden layers or more.
    task : Task
        The rows.
    n_jobs : int or None, default=None
        Threads.
    """

    inner = NONE_INSIDE

    def __init__(self, model: WideNetModel, task: Task, n_jobs: int | None = None) -> None:
        self.model, self.task, self.n_jobs = model, task, n_jobs
        at, share = gauss_hermite_rule(_TYPES)
        self.types = Types(np.asarray(at), np.asarray(share))
        self.blocks = self.between(task)

    def at(self, model: WideNetModel) -> LawTask:
        """The same rows at another width, read-out, temperature or coupling."""
        other = copy.copy(self)
        other.model = model
        return other

    def between(self, new: Task) -> LawBlocks:
        """Blocks between new inputs and the rows, or of the rows with themselves."""
        model, task, is_square = self.model, self.task, new is self.task
        below = dataclasses.replace(model, n_hidden_layers=model.n_hidden_layers - 1)
        var = 1.0 / model.lam0
        pairs = Pairs(new.gram(task), var * new.norms, var * task.norms, var)
        made, layer = layer_parts(below, pairs, self.n_jobs)
        parts, own_parts = (
            var * np.array(v) for v in ([p.kernel for p in made], [p.rows for p in made])
        )
        rows = Side.of(
            model.activation, self.types.at, math.sqrt(var), mean=layer.row_mean,
            var=own_parts.sum(0), below_var=layer.below.rows,
        )  # fmt: skip
        cols = rows if is_square else self.blocks.rows
        return LawBlocks(
            rows,
            cols,
            parts,
            own_parts,
            _correlation(parts.sum(0), rows.var, cols.var),
            _correlation(layer.below.kernel, rows.below_var, cols.below_var),
            *self._deeper(pairs, is_square),
            is_square,
        )

    def _deeper(self, pairs: Pairs, is_square: bool) -> tuple[FloatArray, FloatArray]:
        """Covariance of the variances of pre-activations of the last layer but one."""
        model, var = self.model, 1.0 / self.model.lam0
        out, own = np.zeros_like(pairs.gram), np.zeros_like(pairs.row_var)
        for n_layers in range(1, model.n_hidden_layers - 1):
            at = dataclasses.replace(model, n_hidden_layers=n_layers)
            layer = layer_parts(at, pairs, self.n_jobs)[1]
            rows = _Square.of(model.activation, layer.row_var, var)
            cols = rows if is_square else _Square.of(model.activation, layer.col_var, var)
            z = _correlation(layer.below.kernel, layer.row_var, layer.col_var)
            out = np.outer(rows.response, cols.response) * out
            own = rows.response**2 * own + rows.moment
            added = np.zeros_like(out)
            for j in reversed(range(_BELOW)):
                added += np.outer(rows.series[j], cols.series[j])
                added *= z
            out += added
            if is_square:
                np.fill_diagonal(out, own)
        return out, own


class _Square(NamedTuple):
    """The square of a unit over lam0, centred: as in `Side` of the layer below."""

    series: FloatArray  # (degree, n)
    moment: FloatArray
    response: FloatArray

    @classmethod
    def of(cls, activation: Any, var: FloatArray, scale: float) -> _Square:
        x, w, s = expansion_of(activation).about(np.zeros_like(var), var)
        square = scale * s**2
        square -= (w * square).sum(1)[:, None]
        series = _series(x, w * square, _BELOW)[:, 1:].T
        response = series[1] * _inverse(math.sqrt(2.0) * var)
        return cls(series, (w * square**2).sum(1), response)


def _correlation(cov: FloatArray, row_var: FloatArray, col_var: FloatArray) -> FloatArray:
    size = np.sqrt(np.outer(row_var, col_var))
    z = np.divide(cov, size, out=np.zeros_like(cov), where=size > 0.0)
    return np.clip(z, -1.0, 1.0)
