"""What fine-tuning a module on a few labels will give, from its kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._modules import n_rows
from retemper._random import Seed
from retemper._validation import FloatArray, as_float_array, check_choice
from retemper.networks.regression import SHARES, Recipe, label_matrix, mix
from retemper.networks.tangent import METRICS, Metric, TangentKernel, tangent_kernel

__all__ = ["FineTuningKernel"]


class FineTuningKernel:
    r"""Predicts fine-tuning of a PyTorch module by regression with its tangent kernel.

    Nothing is trained. From the labels at hand alone: the error of a probe, of fine-tuning the last
    blocks and of full fine-tuning, by exact leave-one-out; the course in time; the error for fewer
    labels; predictions for new inputs.

    Parameters
    ----------
    module : torch.nn.Module
        The pre-trained network; its weights are not changed.
    head : str or None, default=None
        Name of the read-out, which is replaced; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens of the features.
    task : {"classification", "regression"}, default="classification"
        Kind of labels.
    metric : {"sgd", "adam", "adafactor"}, default="adafactor"
        Optimiser that is imitated.
    n_readouts : int, default=4
        Random read-outs averaged over.
    batch_size : int, default=64
        Rows that are sent through at a time.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the read-outs.

    Attributes
    ----------
    kernel_ : TangentKernel
        Kernels of features and blocks.
    recipes_ : dict of str to Recipe
        "probe", "last 1 block", ..., "full", each at its best share and ridge.
    best_ : str
        Recipe of the smallest leave-one-out loss.
    classes_ : ndarray of shape (k,) or None
        Classes of the labels, sorted.

    See Also
    --------
    tangent_kernel, advise_network

    Notes
    -----
    See `retemper.networks` for the equations and their sources. The kernel is that of the
    linearised network: it misses what feature learning adds, most of all for training from scratch.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from retemper.networks import FineTuningKernel
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> found = FineTuningKernel(net).fit(X, (X[:, 0] > 0).numpy())
    >>> sorted(found.recipes_)
    ['full', 'probe']
    """

    def __init__(
        self,
        module: Any,
        *,
        head: str | None = None,
        pool: str | Callable[[Any], Any] | None = None,
        task: Literal["classification", "regression"] = "classification",
        metric: Metric = "adafactor",
        n_readouts: int = 4,
        batch_size: int = 64,
        random_state: Seed = 0,
    ) -> None:
        self.module = module
        self.head = head
        self.pool = pool
        self.task = task
        self.metric = metric
        self.n_readouts = n_readouts
        self.batch_size = batch_size
        self.random_state = random_state

    def _kernel(self, inputs: Any) -> TangentKernel:
        return tangent_kernel(
            self.module, inputs, head=self.head, pool=self.pool, metric=self.metric,
            n_readouts=self.n_readouts, batch_size=self.batch_size,
            random_state=self.random_state,
        )  # fmt: skip

    def fit(self, inputs: Any, y: ArrayLike) -> Self:
        """Compute the kernels and judge every recipe.

        Parameters
        ----------
        inputs : tensor, array, tuple or mapping
            What the forward pass takes, n samples.
        y : array_like of shape (n,)
            Labels.

        Returns
        -------
        FineTuningKernel
            Self.

        Raises
        ------
        ValueError
            If lengths differ, there is one class only or fewer rows than classes, or as
            `tangent_kernel` says.
        """
        check_choice(self.task, "task", ("classification", "regression"))
        check_choice(self.metric, "metric", METRICS)
        Y, self.classes_ = label_matrix(y, self.task)
        if n_rows(inputs) != len(Y):
            raise ValueError(f"inputs and y must have one length, got {n_rows(inputs)}, {len(Y)}")
        if len(Y) <= Y.shape[1]:
            raise ValueError(
                f"y must have more rows than classes, got {len(Y)} rows of {Y.shape[1]}"
            )
        self.kernel_ = self._kernel(inputs)
        self._inputs, self._Y = inputs, Y
        self.recipes_ = recipes(self.kernel_, Y)
        self.best_ = min(self.recipes_, key=lambda name: self.recipes_[name].loo)
        return self

    def time_course(self, times: ArrayLike, recipe: str = "full") -> FloatArray:
        r"""Leave-one-out loss of gradient flow stopped at given times.

        Parameters
        ----------
        times : array_like of shape (t,)
            Times, in units of the inverse mean of the recipe's kernel diagonal.
        recipe : str, default="full"
            Name of a recipe.

        Returns
        -------
        ndarray of shape (t,)
            Squared error of left-out rows, summed over columns.

        Notes
        -----
        Derived here (`networks#what-to-train-finetuningkernel-advise_network`). Flow for the time t
        shrinks an eigenvalue k to :math:`1 - e^{-k t / n}`; the left-out residual uses the leverage
        of this smoother, which is exact for ridge and first order in one row's influence here.
        """
        found = self.recipes_[check_choice(recipe, "recipe", tuple(self.recipes_))]
        grid = as_float_array(times, "times")
        path, Y, n = found.path, self._Y, len(self._Y)
        shrink = -np.expm1(-path.values[:, None] * grid / n)
        leverage = 1.0 / n + path.vectors**2 @ shrink
        rotated = path.vectors.T @ (Y - Y.mean(axis=0))
        fitted = np.einsum("ij,jt,jk->tik", path.vectors, shrink, rotated, optimize=True)
        left = (Y - Y.mean(axis=0) - fitted) / np.maximum(1.0 - leverage.T[:, :, None], 1e-12)
        return np.asarray((left**2).sum(axis=2).mean(axis=1))

    def learning_curve(
        self, n_labels: ArrayLike, recipe: str = "full", *, n_repeats: int = 20
    ) -> FloatArray:
        """Error of the recipe with fewer labels, on the rows that are left out.

        Parameters
        ----------
        n_labels : array_like of shape (t,)
            Numbers of labels, below n.
        recipe : str, default="full"
            Name of a recipe; its share and relative ridge are kept.
        n_repeats : int, default=20
            Random subsets averaged over.

        Returns
        -------
        ndarray of shape (t,)
            Share of rows classified wrong, or squared error for regression.
        """
        found = self.recipes_[check_choice(recipe, "recipe", tuple(self.recipes_))]
        rng = np.random.default_rng(0)
        sizes = np.asarray(n_labels, dtype=int)
        n = len(self._Y)
        if sizes.ndim != 1 or sizes.min() < 2 or sizes.max() >= n:
            raise ValueError(f"n_labels must lie in [2, {n - 1}], got {sizes.tolist()}")
        out = np.zeros(len(sizes))
        for i, size in enumerate(sizes):
            for _ in range(n_repeats):
                order = rng.permutation(n)
                train, test = order[:size], order[size:]
                predicted = regress(found.kernel, self._Y, train, test, found.ridge)
                out[i] += error(predicted, self._Y[test]) / n_repeats
        return out

    def predict(self, inputs: Any, recipe: str | None = None) -> NDArray[Any]:
        """Labels of new inputs.

        Parameters
        ----------
        inputs : tensor, array, tuple or mapping
            New inputs, m samples.
        recipe : str or None, default=None
            Name of a recipe; the best if None.

        Returns
        -------
        ndarray of shape (m,)
            Classes, or numbers for regression.
        """
        name = self.best_ if recipe is None else recipe
        found = self.recipes_[check_choice(name, "recipe", tuple(self.recipes_))]
        n = len(self._Y)
        joint = self._kernel(joined(self._inputs, inputs))
        probe, body = parts_of(joint, name)
        kernel = mix(probe, body, found.share, n)
        value = regress(kernel, self._Y, np.arange(n), np.arange(n, len(kernel)), found.ridge)
        return value[:, 0] if self.classes_ is None else self.classes_[value.argmax(axis=1)]


def recipes(kernel: TangentKernel, Y: FloatArray) -> dict[str, Recipe]:
    """Every depth of fine-tuning at its best share and ridge, the probe first.

    Parameters
    ----------
    kernel : TangentKernel
        Kernels of features and blocks.
    Y : ndarray of shape (n, k)
        Labels as columns.

    Returns
    -------
    dict of str to Recipe
        By name.
    """
    out = {"probe": Recipe.of("probe", kernel.probe, kernel.probe, Y, (0.0,))}
    count = len(kernel.blocks)
    for k in range(1, count + 1):
        name = "full" if k == count else f"last {k} block{'s' if k > 1 else ''}"
        out[name] = Recipe.of(name, kernel.probe, kernel.upper(k), Y, SHARES[1:])
    return out


def parts_of(kernel: TangentKernel, recipe: str) -> tuple[FloatArray, FloatArray]:
    """Kernels of the read-out and of what a recipe trains of the body."""
    if recipe == "probe":
        return kernel.probe, np.zeros_like(kernel.probe)
    if recipe == "full":
        return kernel.probe, kernel.body
    return kernel.probe, kernel.upper(int(recipe.split()[1]))


def regress(
    kernel: FloatArray,
    Y: FloatArray,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    ridge: float,
) -> FloatArray:
    """Predictions of kernel regression with an intercept, fitted on some rows for others."""
    K = kernel[np.ix_(train, train)]
    mean = K.mean(axis=0)
    centred = K - mean - mean[:, None] + mean.mean()
    cross = kernel[np.ix_(test, train)]
    cross = cross - cross.mean(axis=1)[:, None] - mean + mean.mean()
    centre = Y[train].mean(axis=0)
    alpha = np.linalg.solve(centred + len(train) * ridge * np.eye(len(train)), Y[train] - centre)
    return np.asarray(cross @ alpha + centre)


def error(predicted: FloatArray, Y: FloatArray) -> float:
    """Share classified wrong, or squared error for one column."""
    if Y.shape[1] == 1:
        return float(np.mean((predicted - Y) ** 2))
    return float(np.mean(predicted.argmax(axis=1) != Y.argmax(axis=1)))


def joined(first: Any, second: Any) -> Any:
    """Two sets of inputs, one after the other."""
    torch = load("torch", "predict")
    if isinstance(first, dict):
        return {key: joined(first[key], second[key]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(joined(a, b) for a, b in zip(first, second, strict=True))
    return torch.cat([torch.as_tensor(first), torch.as_tensor(second)])
