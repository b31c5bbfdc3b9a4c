r"""Regression with the fine-tuning kernel: leave-one-out, time course, prediction.

The kernel of a recipe is :math:`K_\rho = (1 - \rho) K_\phi / \bar k_\phi + \rho K_\nabla / \bar
k_\nabla` with :math:`\bar k` the mean of a diagonal: the scale of the read-out, learning rates of
layers and the strength of a pull to the pre-trained weights only move :math:`\rho` and the ridge.
Labels are regressed about their mean, one column for every class.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import FloatArray, as_float_array, check_entries, check_real

__all__ = ["KernelPath", "Recipe", "feature_path", "kernel_path", "label_matrix", "mix"]

#: Ridges that are tried, over the mean of the kernel's diagonal.
RIDGES = 10.0 ** np.arange(-6.0, 1.51, 0.25)
#: Shares of the body's kernel that are tried.
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
#: More values of floating point than this, and than a third of the rows, are no classes.
_FEW_VALUES = 20


def label_matrix(y: ArrayLike, task: str) -> tuple[FloatArray, NDArray[Any] | None]:
    """Labels as columns of a regression.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels.
    task : {"classification", "regression"}
        What they are.

    Returns
    -------
    ndarray of shape (n, k), ndarray or None
        One column with 1 for every class, or the labels; and the classes.

    Raises
    ------
    ValueError
        If there are several columns, one class, or classes that are not whole numbers.
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"y must be one label for every row, got shape {labels.shape}")
    if task == "regression":
        return as_float_array(labels, "y")[:, None], None
    if labels.dtype.kind == "f":
        check_entries(labels, "y", largest=np.inf)
    classes, codes = np.unique(labels, return_inverse=True)
    if labels.dtype.kind == "f" and (classes != np.round(classes)).any():
        raise ValueError(
            f"y must hold classes, got numbers that are not whole, {len(classes)} different ones: "
            "task='regression' takes numbers"
        )
    if labels.dtype.kind == "f" and len(classes) > max(_FEW_VALUES, len(labels) // 3):
        raise ValueError(
            f"y must hold classes, got {len(classes)} different numbers in {len(labels)} rows: "
            "task='regression' takes numbers, y.astype(int) makes classes of them"
        )
    if not len(classes):
        raise ValueError("y is empty")
    if len(classes) < 2:
        raise ValueError(f"y has one class only: {classes.tolist()[0]!r}")
    return np.eye(len(classes))[codes], classes


def mix(
    probe: FloatArray, body: FloatArray, share: float, n_scaled: int | None = None
) -> FloatArray:
    """Kernel of a recipe: both parts scaled to a mean diagonal of one.

    Parameters
    ----------
    probe, body : ndarray of shape (n, n)
        Kernels of the read-out and of the body.
    share : float
        Share of the body in [0, 1].
    n_scaled : int or None, default=None
        Rows, from the first, whose diagonal has the mean one; all if None.

    Returns
    -------
    ndarray of shape (n, n)
        Their mixture.
    """
    out = np.zeros_like(probe)
    for weight, kernel in ((1.0 - share, probe), (share, body)):
        mean = float(np.mean(np.diag(kernel)[:n_scaled]))
        if weight and mean > 0.0:
            out += weight / mean * kernel
    return out


@dataclasses.dataclass(frozen=True)
class KernelPath:
    """Kernel regression along a path of ridges, from one eigendecomposition.

    Parameters
    ----------
    ridges : ndarray of shape (r,)
        Ridges λ in (1/n)‖Y - F‖² + λ‖F‖²; λ n is added to the kernel's diagonal.
    loo_path : ndarray of shape (r,)
        Leave-one-out mean of the squared error, summed over columns.
    loo_error_rate : ndarray of shape (r,)
        Share of rows whose left-out prediction has its largest entry in another column; NaN for
        one column.
    predictions : ndarray of shape (r, n, k)
        Left-out predictions.
    values, vectors : ndarray of shape (m,), ndarray of shape (n, m)
        Eigendecomposition of the centred kernel; m = n, or its rank.

    See Also
    --------
    FineTuningKernel, Recipe

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import FineTuningKernel
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> found = FineTuningKernel(net).fit(X, (X[:, 0] > 0).numpy())
    >>> path = found.recipes_["full"].path
    >>> path.loo_path.shape == path.ridges.shape
    True
    """

    ridges: FloatArray
    loo_path: FloatArray
    loo_error_rate: FloatArray
    predictions: FloatArray
    values: FloatArray
    vectors: FloatArray

    @property
    def best(self) -> int:
        """Place of the smallest leave-one-out loss."""
        return int(np.argmin(self.loo_path))


def kernel_path(kernel: FloatArray, Y: FloatArray, ridges: ArrayLike = RIDGES) -> KernelPath:
    r"""Exact leave-one-out of kernel regression with an intercept, for every ridge.

    Parameters
    ----------
    kernel : ndarray of shape (n, n)
        Kernel of the rows.
    Y : ndarray of shape (n, k)
        Labels as columns.
    ridges : array_like of shape (r,)
        Ridges.

    Returns
    -------
    KernelPath
        Losses and what is needed to predict.

    Notes
    -----
    Derived here (`networks#what-to-train-finetuningkernel-advise_network`). With an unpenalised
    intercept the hat matrix is :math:`H = 1 1^T / n + C K C (C K C + n \lambda)^{-1}` with
    :math:`C` the centring, and the left-out residual is :math:`(Y - HY)_i / (1 - H_{ii})`: leaving
    out a row moves the mean too.
    """
    mean = kernel.mean(axis=0)
    centred = kernel - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    return _path(values, vectors, Y, ridges)


def feature_path(features: FloatArray, Y: FloatArray, ridges: ArrayLike = RIDGES) -> KernelPath:
    """The path of a linear kernel, from features: cheaper if there are fewer of them than rows.

    Parameters
    ----------
    features : ndarray of shape (n, h)
        Features of the rows; the kernel is their Gram matrix.
    Y : ndarray of shape (n, k)
        Labels as columns.
    ridges : array_like of shape (r,)
        Ridges.

    Returns
    -------
    KernelPath
        As `kernel_path` gives for the Gram matrix.
    """
    left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    return _path(values**2, left, Y, ridges)


def _path(values: FloatArray, vectors: FloatArray, Y: FloatArray, ridges: ArrayLike) -> KernelPath:
    n = len(Y)
    grid = as_float_array(ridges, "ridges")
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ (Y - Y.mean(axis=0))
    shrink = values[:, None] / (values[:, None] + n * grid)  # (n, r)
    leverage = 1.0 / n + vectors**2 @ shrink  # (n, r)
    fitted = np.einsum("ij,jr,jk->rik", vectors, shrink, rotated, optimize=True) + Y.mean(axis=0)
    left = (Y - fitted) / np.maximum(1.0 - leverage.T[:, :, None], 1e-12)
    predictions = Y - left
    loss = (left**2).sum(axis=2).mean(axis=1)
    if Y.shape[1] > 1:
        wrong = (predictions.argmax(axis=2) != Y.argmax(axis=1)).mean(axis=1)
    else:
        wrong = np.full(len(grid), np.nan)
    return KernelPath(grid, loss, wrong, predictions, values, vectors)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A way to fine-tune, with its kernel and the prediction of its error.

    Parameters
    ----------
    name : str
        For instance "probe", "full", "last 2 blocks".
    share : float
        Share of the body's kernel.
    ridge : float
        Ridge of the smallest leave-one-out loss.
    loo : float
        Leave-one-out loss: squared error, summed over columns.
    loo_error_rate : float
        Share of left-out rows that are classified wrong; NaN for regression.
    path : KernelPath
        All ridges.
    kernel : ndarray of shape (n, n)
        The kernel.

    See Also
    --------
    FineTuningKernel, KernelPath

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import FineTuningKernel
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> found = FineTuningKernel(net).fit(X, (X[:, 0] > 0).numpy())
    >>> recipe = found.recipes_["probe"]
    >>> recipe.name, recipe.share
    ('probe', 0.0)
    """

    name: str
    share: float
    ridge: float
    loo: float
    loo_error_rate: float
    path: KernelPath = dataclasses.field(repr=False)
    kernel: FloatArray = dataclasses.field(repr=False)

    @classmethod
    def of(
        cls, name: str, probe: FloatArray, body: FloatArray, Y: FloatArray, shares: Any = SHARES
    ) -> Recipe:
        """The recipe at its best share and ridge."""
        found = []
        for share in shares:
            kernel = mix(probe, body, check_real(share, "shares", low=0.0, high=1.0))
            path = kernel_path(kernel, Y)
            found.append((float(path.loo_path[path.best]), share, path, kernel))
        loss, share, path, kernel = min(found, key=lambda item: item[0])
        at = path.best
        return cls(
            name, float(share), float(path.ridges[at]), loss, float(path.loo_error_rate[at]), path,
            kernel,
        )  # fmt: skip
