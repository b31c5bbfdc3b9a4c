"""Rows that are not alike: classes with a noise, a scale and a weight of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray, as_float_array, check_shape
from retemper.exceptions import NumericalError
from retemper.linear.spectral import roots

if TYPE_CHECKING:
    from retemper.linear.model import LinearModel

__all__ = [
    "ROW_FIELDS",
    "ClassRoots",
    "RowClasses",
    "check_rows",
    "class_roots",
    "draw_classes",
    "row_classes",
]

#: Entries of one block of points times eigenvalues.
_BLOCK = 500_000

#: Fields of a model that describe its classes of rows.
ROW_FIELDS = ("row_shares", "row_noise", "row_scale", "row_weight")


class RowClasses(NamedTuple):
    """Classes of rows that carry weight, (m,) each; see `row_classes`."""

    share: FloatArray  # of the rows that carry weight; adds up to 1
    size: FloatArray  # weight times squared scale: variance of a row over that of the model
    noise: FloatArray  # squared noise over squared scale, in units of the noise of the model
    carried: float  # share of all rows that carry weight
    empty: float  # weighted squared noise of the rows of scale 0, per row and in units of the noise

    @property
    def start(self) -> tuple[float, float]:
        """Training error before training, per risk and per variance of the noise."""
        size = self.carried * self.share * self.size
        return float(size.sum()), float(size @ self.noise) + self.empty

    @property
    def least(self) -> tuple[float, float]:
        """Share of the rows, and the smallest size: rows of that size all have a larger kappa."""
        return self.carried, float(self.size.min())


class ClassRoots(NamedTuple):
    """Effective ridge of rows of several classes at k points, (k,) each."""

    effective_ridge: FloatArray
    df1: FloatArray
    df2: FloatArray
    residual: FloatArray
    n_iter: NDArray[np.intp]
    status: NDArray[np.int32]
    share: FloatArray  # what df2 / n is for equal rows
    heard: FloatArray  # effective label noise, squared, in units of that of the model
    unfit: FloatArray  # training error per risk, and
    unfit_noise: FloatArray  # per variance of the noise of the model


def _weights(model: LinearModel) -> tuple[FloatArray, ...]:
    """Shares, noises, scales and weights of mean one, (m,) each."""
    assert model.row_shares is not None
    ones = np.ones(model.row_shares.size)
    noise, scale, weight = (
        ones if getattr(model, name) is None else getattr(model, name) for name in ROW_FIELDS[1:]
    )
    return model.row_shares, noise, scale, weight / float(model.row_shares @ weight)


def row_classes(model: LinearModel) -> RowClasses | None:
    """Classes of the rows of a model; None where all rows are alike.

    Parameters
    ----------
    model : LinearModel
        The model.

    Returns
    -------
    RowClasses or None
        Those with rows, a scale and a weight above 0.
    """
    if model.row_shares is None:
        return None
    share, noise, scale, weight = _weights(model)
    kept = (share > 0.0) & (scale > 0.0) & (weight > 0.0)
    empty = float((share * weight * noise**2)[scale == 0.0].sum())
    share, noise, scale, weight = (a[kept] for a in (share, noise, scale, weight))
    carried = float(share.sum())
    return RowClasses(share / carried, weight * scale**2, (noise / scale) ** 2, carried, empty)


def draw_classes(model: LinearModel) -> tuple[FloatArray, FloatArray]:
    """Factors of rows and of noise, (n,) each, of an experiment; empty where all rows are alike.

    Parameters
    ----------
    model : LinearModel
        The model.

    Returns
    -------
    ndarray, ndarray
        Both count the root of the weight in. Numbers of rows are n times the shares, rounded to
        the largest remainders.
    """
    if model.row_shares is None:
        return np.empty(0), np.empty(0)
    share, noise, scale, weight = _weights(model)
    exact = model.n_samples * share / share.sum()
    count = np.floor(exact).astype(int)
    late = np.argsort(count - exact, kind="stable")[: model.n_samples - int(count.sum())]
    count[late] += 1
    root = np.sqrt(weight)
    return np.repeat(root * scale, count), np.repeat(root * noise, count)


def class_roots(
    spectrum: FloatArray, n_samples: FloatArray, ridge: FloatArray, rows: RowClasses, n_threads: int
) -> ClassRoots:
    r"""Effective ridge of rows of several classes, and what they hear of the noise.

    With sizes :math:`\tau_a` and shares :math:`\pi_a`, :math:`p_a = \tau_a q/(1 + \tau_a q)`,

    .. math:: \mathrm{df}_1(\kappa) = n \sum_a \pi_a p_a, \qquad
        \lambda = \frac{\kappa}{q} \sum_a \pi_a p_a .

    Derived here (`derivations/linear#rows-that-are-not-alike`).

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    n_samples, ridge : ndarray of shape (k,)
        Numbers of rows; ridges, not negative.
    rows : RowClasses
        The classes.
    n_threads : int
        Threads.

    Returns
    -------
    ClassRoots
        All quantities.

    Raises
    ------
    NumericalError
        If the two equations are not solved.
    """
    n, strength = n_samples * rows.carried, ridge / rows.carried
    small, large = float(rows.size.min()), float(rows.size.max())
    rank = np.count_nonzero(spectrum > 0.0)
    low = roots(spectrum, n, strength / large, n_threads)
    high = roots(spectrum, n, strength / small, n_threads)
    kappa, df1, df2 = (
        getattr(low, name).copy() for name in ("effective_ridge", "df1", "df2")
    )  # right where there is no ridge
    held = np.ones((n.size, rows.size.size))  # p of every class: 1 where the rows are fitted
    residual, n_iter = low.residual.copy(), low.n_iter + high.n_iter
    open_ = (n > 0.0) & (rank > 0) & ((strength > 0.0) | (n > rank))
    blocks = math.ceil(n.size * spectrum.size / _BLOCK)  # of memory
    for k in np.array_split(np.flatnonzero(open_), max(blocks, 1)):
        if not k.size:
            continue
        free = strength[k] == 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.where(free, n[k] - rank, n[k] * strength[k] / (large * kappa[k]))
            least = np.where(
                free, n[k] - rank, n[k] * strength[k] / (small * high.effective_ridge[k])
            )
        ends = np.log(high.df1[k] / least / large), np.log(df1[k] / gap / small)
        q, turns = _log_root(spectrum, n[k], strength[k], rows, ends)
        part = rows.size * q[:, None]
        held[k] = part / (1.0 + part)
        mean = held[k] @ rows.share
        kappa[k] = np.where(free, 0.0, strength[k] * q / mean)
        over = np.where(spectrum > 0.0, spectrum, 0.0) / np.where(
            spectrum > 0.0, spectrum + kappa[k, None], 1.0
        )
        df1[k], df2[k] = over.sum(axis=1), np.square(over).sum(axis=1)
        residual[k] = abs(n[k] * mean - df1[k]) / df1[k]
        n_iter[k] += turns
        if not residual[k].max() <= 1e-9:
            raise NumericalError(
                "the effective ridge of rows of several classes was not found: relative residual "
                f"{residual[k].max():g} of df1 = n sum_a share_a p_a"
            )
    mean, square = held @ rows.share, np.square(held) @ rows.share
    some = n > 0.0
    share = np.divide(df2, n, out=np.zeros_like(n), where=some) * square / mean**2
    heard = (np.square(held) @ (rows.share * rows.noise)) / square
    lost = np.square(1.0 - held) * (rows.carried * rows.share * rows.size)
    unfit, unfit_noise = lost.sum(axis=1), lost @ rows.noise + rows.empty
    return ClassRoots(
        kappa, df1, df2, residual, n_iter, low.status, share, heard, unfit, unfit_noise
    )


def _log_root(
    spectrum: FloatArray,
    n: FloatArray,
    ridge: FloatArray,
    rows: RowClasses,
    ends: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, int]:
    """Roots q of n sum p(q) = df1(ridge q / sum p(q)), and turns: Newton in log q in a bracket."""
    wide = 1e-9  # of the logarithms, against rounding where all classes are alike
    low, high = (
        end + sign * wide * (1.0 + abs(end)) for end, sign in zip(ends, (-1, 1), strict=True)
    )
    x = 0.5 * (low + high)
    turn = 0
    while turn < 200:
        turn += 1
        q = np.exp(x)
        part = rows.size * q[:, None]
        held = part / (1.0 + part)
        mean = held @ rows.share
        bend = (np.square(held) @ rows.share) / mean  # d log kappa / d log q
        kappa = ridge * q / mean
        over = np.divide(
            spectrum, spectrum + kappa[:, None], out=np.zeros((n.size, spectrum.size)),
            where=spectrum > 0.0,
        )  # fmt: skip
        df1, df2 = over.sum(axis=1), np.square(over).sum(axis=1)
        value = np.log(n * mean / df1)
        low, high = np.where(value < 0.0, x, low), np.where(value > 0.0, x, high)
        step = value / ((1.0 - bend) + (1.0 - df2 / df1) * bend)
        new = x - step
        new = np.where((new > low) & (new < high), new, 0.5 * (low + high))
        done = (abs(new - x) <= 4e-16 * np.maximum(1.0, abs(x))) | (abs(value) <= 2e-16)
        x = np.where(abs(value) <= 2e-16, x, new)
        if done.all():
            break
    return np.exp(x), turn


def check_rows(model: LinearModel) -> dict[str, FloatArray]:
    """The fields of the classes of rows, checked.

    Parameters
    ----------
    model : LinearModel
        A model whose other fields are checked.

    Returns
    -------
    dict of str to ndarray of shape (m,)
        Those that are given.

    Raises
    ------
    ValueError
        If a value is outside its domain, shares do not add up to one, lengths differ, or the model
        is of a kind that takes equal rows alone.
    """
    found: dict[str, FloatArray] = {}
    for name in ROW_FIELDS:
        value = getattr(model, name)
        if value is None:
            continue
        if "row_shares" not in found and name != "row_shares":
            raise ValueError(f"{name} is of classes of rows: it needs row_shares")
        array = as_float_array(value, name)
        if array.size and array.min() < 0.0:
            raise ValueError(f"{name} must not be negative, got {array.min():g}")
        if name == "row_shares":
            total = float(array.sum())
            if not array.size or abs(total - 1.0) > 1e-9:
                raise ValueError(f"row_shares must add up to 1, got {total:g}")
        else:
            check_shape(array, found["row_shares"].shape, name)
        found[name] = array
    if not found:
        return found
    ones = np.ones_like(found["row_shares"])
    if not (
        found["row_shares"] * found.get("row_scale", ones) * found.get("row_weight", ones)
    ).any():
        raise ValueError("row_shares, row_scale and row_weight leave no row above 0")
    if model.step_size is not None:
        raise ValueError(f"row_shares needs no step_size, got {model.step_size:g}")
    return found
