"""Networks fitted to data in the units of their user: what the estimators stand on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from retemper._domains import check_parameter
from retemper._results import Status, Sweep
from retemper._validation import FloatArray
from retemper.widenet.model import WideNetModel
from retemper.widenet.path import GammaPath, path_of, walk
from retemper.widenet.problem import Problem, Solution, labels_off_centre
from retemper.widenet.rates import score_scale
from retemper.widenet.scaling import Scaling, TaskData
from retemper.widenet.target import Parts
from retemper.widenet.verdict import TransferVerdict, best_of, transfer_verdict

__all__ = [
    "NetworkFit",
    "Rule",
    "ScaledTasks",
    "TransferFit",
    "advise_width",
    "fit_alone",
    "fit_transfer",
    "scale_tasks",
]

#: How the coupling is chosen.
Rule = Literal["loo", "evidence"]


@dataclasses.dataclass(frozen=True)
class ScaledTasks:
    """Tasks in the units of the network, and the way back.

    Attributes
    ----------
    data : TaskData
        The target, as its user gave it.
    inputs, labels : Scaling
        Units of the inputs of both tasks, and of the target's labels.
    problem : Problem
        The tasks in the units of the network.
    """

    data: TaskData
    inputs: Scaling
    labels: Scaling
    problem: Problem


@dataclasses.dataclass(frozen=True)
class NetworkFit:
    """A network at one coupling, in the units of the user.

    Attributes
    ----------
    tasks : ScaledTasks
        What it was fitted on.
    solution : Solution
        What was found, in the units of the network.
    said : tuple of str
        What lies outside the range of the theory.
    """

    tasks: ScaledTasks
    solution: Solution
    said: tuple[str, ...]

    @property
    def status(self) -> Status:
        """The worst over the outputs."""
        worst: Status = max((t.status for t in self.solution.columns), key=list(Status).index)
        return worst

    @property
    def residual(self) -> float:
        """The largest over the outputs."""
        return float(max(t.residual for t in self.solution.columns))

    def shaped(self, values: Iterable[float]) -> Any:
        """One number for labels that came as a vector, an array of them otherwise."""
        array = np.array(list(values))
        return float(array[0]) if self.tasks.data.is_flat else array

    @property
    def loo(self) -> float:
        """Leave-one-out squared error of one random network, summed over outputs."""
        pairs = zip(self.tasks.labels.scale, self.solution.columns, strict=True)
        return float(sum(s**2 * t.loo_loss_rows.mean() for s, t in pairs))

    @property
    def log_evidence(self) -> float:
        """Expected log evidence of the labels, nats."""
        jacobian = len(self.tasks.data.y) * np.log(self.tasks.labels.scale)
        pairs = zip(jacobian, self.solution.columns, strict=True)
        return float(sum(t.log_evidence - j for j, t in pairs))

    @property
    def noise_var(self) -> FloatArray:
        """Variance of the label noise of every output."""
        model = self.solution.kernels.model
        return np.asarray(model.temperature_target * self.tasks.labels.scale**2)

    def score_scale(self) -> float:
        """Factor of scores at which the left-out labels -1 and +1 of all outputs are likely."""
        labels, scores = self.tasks.labels, []
        for i, t in enumerate(self.solution.columns):
            mean = labels.mean[i] + labels.scale[i] * (t.equations.y - t.loo.mean)
            variance = labels.scale[i] ** 2 * (t.loo.thermal + t.loo.quenched)
            scores.append(mean / np.sqrt(np.maximum(variance + self.noise_var[i], 1e-300)))
        return score_scale(np.concatenate(scores), self.tasks.data.y.T.ravel())

    def predict_mean(self, X: FloatArray) -> FloatArray:
        """Mean prediction of shape (n, n_outputs)."""
        rows = self.tasks.inputs.apply(X)
        return self.tasks.labels.undo(self.solution.predict_mean(rows))

    def predict(self, X: FloatArray) -> Parts:
        """Mean, thermal and quenched variance, each of shape (n, n_outputs)."""
        parts = self.solution.predict(self.tasks.inputs.apply(X))
        labels, square = self.tasks.labels, self.tasks.labels.scale**2
        return Parts(labels.undo(parts.mean), parts.thermal * square, parts.quenched * square)


def scale_tasks(data: TaskData, source: TaskData | None, *, standardize: bool) -> ScaledTasks:
    """Bring the tasks into the units of the network.

    Parameters
    ----------
    data : TaskData
        The target.
    source : TaskData or None
        The source.
    standardize : bool
        Whether inputs are standardised with the pooled statistics of both tasks, and labels of
        either task on their own.

    Returns
    -------
    ScaledTasks
        Both, and the way back.
    """
    pooled = data.X if source is None else np.vstack([source.X, data.X])
    inputs = Scaling.of_inputs(pooled, standardize)

    def scaled(task: TaskData) -> tuple[FloatArray, FloatArray]:
        return inputs.apply(task.X), Scaling.of(task.y, standardize).apply(task.y)

    problem = Problem(scaled(data), None if source is None else scaled(source))
    return ScaledTasks(data, inputs, Scaling.of(data.y, standardize), problem)


def _fit_of(tasks: ScaledTasks, model: WideNetModel, solution: Solution) -> NetworkFit:
    said = tasks.problem.validity(model) + labels_off_centre([solution])
    if (np.ptp(tasks.data.y, axis=0) == 0.0).any():
        said.insert(0, "y is constant: the prediction is the prior mean")
    return NetworkFit(tasks, solution, tuple(said))


def fit_alone(model: WideNetModel, data: TaskData, *, standardize: bool) -> NetworkFit:
    """One network on one task.

    Parameters
    ----------
    model : WideNetModel
        The network; its coupling must be 0.
    data : TaskData
        The task.
    standardize : bool
        As in `scale_tasks`.

    Returns
    -------
    NetworkFit
        The fitted network.
    """
    tasks = scale_tasks(data, None, standardize=standardize)
    return _fit_of(tasks, model, tasks.problem.solve(model))


@dataclasses.dataclass(frozen=True)
class TransferFit:
    """A network that starts from a source, at the coupling that was chosen.

    Attributes
    ----------
    network : NetworkFit
        The network.
    path : GammaPath
        Theory along the grid, in the units of the network.
    gamma : float
        The coupling.
    verdict : TransferVerdict or None
        Whether the source helps; None without a source, or without couplings to compare.
    """

    network: NetworkFit
    path: GammaPath
    gamma: float
    verdict: TransferVerdict | None


def fit_transfer(
    model: WideNetModel,
    data: TaskData,
    source: TaskData | None,
    *,
    gamma: float | Rule,
    gammas: Sequence[float],
    standardize: bool,
) -> TransferFit:
    """Solve a grid of couplings and choose one.

    Parameters
    ----------
    model : WideNetModel
        What the couplings share.
    data : TaskData
        The target.
    source : TaskData or None
        The source; None is training from scratch.
    gamma : float, "loo" or "evidence"
        A coupling of the grid, or how to choose one.
    gammas : sequence of float
        The grid, increasing.
    standardize : bool
        As in `scale_tasks`.

    Returns
    -------
    TransferFit
        The network, the grid and the verdict.
    """
    tasks = scale_tasks(data, source, standardize=standardize)
    grid = [0.0] if source is None else list(gammas)
    anchor = None
    if source is not None:
        anchor = path_of(model, walk(tasks.problem.without_source(), model, grid), None)
    solutions = walk(tasks.problem, model, grid)
    path = path_of(model, solutions, anchor)
    if source is None:
        chosen = 0
    elif isinstance(gamma, str):
        chosen = best_of(path, gamma)
    else:
        chosen = grid.index(float(gamma))
    at = dataclasses.replace(model, gamma=grid[chosen])
    is_comparable = source is not None and len(grid) > 1 and grid[0] == 0.0
    return TransferFit(
        network=_fit_of(tasks, at, solutions[chosen]),
        path=path,
        gamma=grid[chosen],
        verdict=transfer_verdict(path) if is_comparable else None,
    )


def advise_width(fit: TransferFit, widths: Iterable[float]) -> Sweep:
    """At which widths the source is worth having.

    Parameters
    ----------
    fit : TransferFit
        A fit with a source.
    widths : iterable of float
        Widths to compare, on the data and couplings of the fit.

    Returns
    -------
    Sweep
        Over ``width``: ``loo`` at the best coupling, ``scratch`` without the source, ``control``
        with a random anchor, and the best ``gamma``.

    Raises
    ------
    ValueError
        If there is no source, or a width is below 2.
    """
    problem, grid = fit.network.tasks.problem, fit.path.gamma.tolist()
    if problem.source is None:
        raise ValueError("advice on the width needs a source")
    sizes = [check_parameter(w, "width", label="widths") for w in widths]
    rows = []
    for width in sizes:
        model = dataclasses.replace(fit.path.model, width=width)
        loss = [
            np.array([s.loo_loss_rows().mean() for s in walk(p, model, grid)])
            for p in (problem, problem.without_source())
        ]
        best = int(loss[0].argmin())
        rows.append((loss[0][best], loss[0][0], loss[1].min(), grid[best]))
    names = ("loo", "scratch", "control", "gamma")
    values = {n: np.array(v) for n, v in zip(names, zip(*rows, strict=True), strict=True)}
    return Sweep({"width": np.array(sizes)}, values, "width advice")
