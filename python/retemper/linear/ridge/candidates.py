"""Labels, sources and their mixtures along one ridge path: what the estimators choose among."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from retemper._validation import FloatArray
from retemper.linear.ridge.path import BLOCK, RidgePath
from retemper.linear.ridge.streaming import Moments, StreamedPath, StreamedRows


class Candidates:
    """Labels, source predictions and their residuals along the ridge path.

    Parameters
    ----------
    X : ndarray or StreamedRows of shape (n, d)
        Rows.
    y : ndarray of shape (n, q)
        Labels.
    predictions : list of ndarray of shape (n, q)
        What k sources predict.
    fit_intercept : bool
        Whether every fit has a free offset.
    weight : ndarray of shape (n,) or None, default=None
        Weights of the rows, of mean one.
    total : Moments or None, default=None
        Moments of rows that are read in blocks, if they are known.
    """

    def __init__(
        self,
        X: FloatArray | StreamedRows,
        y: FloatArray,
        predictions: list[FloatArray],
        fit_intercept: bool,
        *,
        weight: FloatArray | None = None,
        total: Moments | None = None,
    ) -> None:
        self.labels, self.n_outputs = y, y.shape[1]
        self.shape = (1 + len(predictions), self.n_outputs)
        columns = np.hstack([y, *predictions])
        self.path: RidgePath
        if isinstance(X, StreamedRows):
            self.path = StreamedPath(X, columns, fit_intercept=fit_intercept, total=total)
        else:
            self.path = RidgePath(X, columns, fit_intercept=fit_intercept, weight=weight)

    def column(self, index: int, output: int) -> int:
        """Position in the path of the labels (index 0) or of source ``index``."""
        return int(index * self.n_outputs + output)

    def take(self, source: int) -> Candidates:
        """The same with one source alone, or none if the number is negative."""
        new = copy.copy(self)
        items = [0] if source < 0 else [0, source + 1]
        new.shape = (len(items), self.n_outputs)
        columns = [self.column(item, k) for item in items for k in range(self.n_outputs)]
        new.path = self.path.combine(np.eye(self.path.columns.shape[1])[:, columns])
        return new

    def mixed(self, weights: FloatArray) -> Candidates:
        """The same with one source, the sum of all with these weights, (k, q)."""
        new = copy.copy(self)
        new.shape = (2, self.n_outputs)
        mix = np.zeros((self.path.columns.shape[1], 2 * self.n_outputs))
        for k in range(self.n_outputs):
            mix[self.column(0, k), k] = 1.0
            for j, weight in enumerate(weights[:, k]):
                mix[self.column(j + 1, k), self.n_outputs + k] = weight
        new.path = self.path.combine(mix)
        return new

    def quadratic(self, criterion: str, ridge: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Error of every source residual, and the quadratic form behind any mixture.

        Parameters
        ----------
        criterion : {"loo", "gcv"}
            Exact leave-one-out or generalised cross-validation.
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        tuple of ndarray
            Errors of scratch and of y minus each source (m, q, 1 + k), and the form
            (m, q, 1 + k, 1 + k) whose value at (1, -c) is the error of the mixture c.
        """
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        items, q = self.shape
        if criterion == "gcv":
            unit = np.eye(items * q).reshape(-1, items, q).transpose(0, 2, 1)
            residual = np.concatenate([unit[..., :1], unit[..., :1] - unit[..., 1:]], axis=-1)
            form = self.path.products(lam, unit[..., None], unit[..., None, :])
            return self.path.products(lam, residual, residual), self._heard(lam, form)
        errors = np.empty((len(lam), q, items))
        form = np.empty((len(lam), q, items, items))
        n = len(self.path.columns)
        if isinstance(self.path, StreamedPath):
            errors[:], form[:] = 0.0, 0.0
            for _, piece in self.path.loo_pieces(lam):
                value = piece.reshape(len(lam), -1, items, q).transpose(0, 3, 2, 1)
                form += value @ value.swapaxes(2, 3) / n
                value[:, :, 1:] = value[:, :, :1] - value[:, :, 1:]
                errors += np.square(value).sum(axis=3) / n
            return errors, self._heard(lam, form)
        step = max(1, BLOCK // (n * items * q))
        for k in range(0, len(lam), step):
            rows = slice(k, k + step)
            value = self.path.loo(lam[rows]).reshape(-1, n, items, q).transpose(0, 3, 2, 1)
            form[rows] = value @ value.swapaxes(2, 3) / n
            value[:, :, 1:] = value[:, :, :1] - value[:, :, 1:]
            errors[rows] = np.square(value).mean(axis=3)
        return errors, self._heard(lam, form)

    def _heard(self, lam: FloatArray, form: FloatArray) -> FloatArray:
        """The form without sources of which only rounding is left, as slopes hold them."""
        items, q = self.shape
        size = np.square(self.path.columns).mean(axis=0).reshape(items, q).T
        share = np.where(lam == 0.0, 1e-12, 1e-24)[:, None, None]
        left = np.einsum("mqaa->mqa", form) > share * size
        left[..., 0] = True
        heard: FloatArray = np.where(left[..., None] & left[..., None, :], form, 0.0)
        return heard


def best_scale(form: FloatArray) -> FloatArray:
    """Factor on a single source that minimises a quadratic form (..., 2, 2); 0 if it is silent.

    Silent, to rounding, is also a source that the rows reproduce: without a ridge and with more
    rows than features every linear one.
    """
    along = form[..., 1, 1]
    heard = along > 1e-20 * along.max(axis=0, keepdims=True, initial=0.0)
    return np.divide(form[..., 0, 1], along, out=np.zeros_like(along), where=heard)


def mixture_error(form: FloatArray, scale: FloatArray) -> FloatArray:
    """Value of a quadratic form (..., 1 + k, 1 + k) at (1, -scale); scale (..., k)."""
    vector = np.concatenate([np.ones((*scale.shape[:-1], 1)), -scale], axis=-1)
    error: FloatArray = np.maximum(np.einsum("...a,...ab,...b->...", vector, form, vector), 0.0)
    return error


class PlainEquivalent(NamedTuple):
    """The plain fit with the end point of a deep one, as `deep_equivalent` finds it.

    Attributes
    ----------
    ridge : float
        Its ridge.
    source_scale : float
        Its factor on the source.
    unit : float
        t, by which a deep ridge is divided.
    """

    ridge: float
    source_scale: float
    unit: float


class NoLimitError(ValueError):
    """The end point of training runs away as the depth grows."""


def deep_equivalent(
    path: RidgePath,
    *,
    label: int,
    source: int | None,
    norm: float,
    null: float,
    depth: float,
    ridge: float,
) -> PlainEquivalent:
    r"""The plain fit with the end point of a deep one: its ridge, and its factor on the source.

    The minimiser of :math:`n^{-1}\lVert y - X\beta\rVert^2 + \lambda D_L(\beta, \beta_0)` is
    :math:`\beta(t) = (X^TX + (n\lambda/t) I)^{-1}(X^Ty + n\lambda u_0)` at the root of :math:`t =
    \lVert\beta(t)\rVert^{1-1/L}`, :math:`u_0 = \lVert\beta_0\rVert^{1/L-1}\beta_0`: the plain fit
    at ridge :math:`\lambda/t` from the source :math:`t u_0`. Ridge zero gives the end point of
    gradient flow on L balanced factors. Derived here (`derivations/linear#deep-linear-networks`),
    after Shachaf et al. (2021).

    Parameters
    ----------
    path : RidgePath
        The data.
    label : int
        Column of the labels.
    source : int or None
        Column of the source prediction; None is a source of zero.
    norm, null : float
        Norm of the source and of its part outside the row space.
    depth : float
        L, above 1, may be infinite.
    ridge : float
        Deep ridge, not negative; its unit depends on the scale of the labels.

    Returns
    -------
    PlainEquivalent
        Ridge and factor of the plain fit, and t.

    Raises
    ------
    NoLimitError
        If the depth is infinite and the source vanishes on the rows.
    """
    if np.isinf(ridge):
        return PlainEquivalent(ridge, 1.0, norm ** (1.0 - 1.0 / depth))
    power = 1.0 - 1.0 / depth
    unit = norm**-power if norm else 0.0
    s = np.sqrt(path.n_samples * path.eigenvalues)
    fit = path.coordinates[:, label] / s
    start = np.zeros_like(fit) if source is None else path.coordinates[:, source] / s * unit
    if math.isinf(depth) and not ridge and np.linalg.norm(start) < 1e-12 * norm * unit:
        raise NoLimitError("source vanishes on the rows of X: depth=inf has no finite limit there")
    shift = ridge / path.eigenvalues

    def excess(log_t: float) -> float:
        t = math.exp(log_t)
        inside = (fit + shift * start) / (1.0 + shift / t)
        size = math.hypot(float(np.linalg.norm(inside)), t * null * unit)
        return math.log(size) - log_t / power if size > 0.0 else -math.inf

    low = high = power * math.log(max(float(np.linalg.norm(fit)), norm, 1e-300))
    step = 1.0
    while excess(high) > 0.0 and high < 700.0:
        high, step = min(high + step, 700.0), 2.0 * step
    step = 1.0
    while excess(low) < 0.0 and low > -700.0:
        low, step = max(low - step, -700.0), 2.0 * step
    if low == -700.0:  # the fit is zero
        return PlainEquivalent(math.inf if ridge else 0.0, 0.0, 0.0)
    t = math.exp(optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14) if high > low else low)
    return PlainEquivalent(ridge / t, t * unit, t)
