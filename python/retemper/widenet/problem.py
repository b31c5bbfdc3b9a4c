"""The data of a transfer problem, with every matrix that several solutions share."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure
from retemper._validation import FloatArray, as_float_array, check_shape
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.widenet.activations import name_of
from retemper.widenet.by_law import LawFit, LawNew, LawTarget
from retemper.widenet.coupled import Kernels, Task
from retemper.widenet.coupled_heads import HeadsEquations, HeadsTarget, solve_heads
from retemper.widenet.deep import (
    DeepKernels,
    DeepNew,
    DeepSource,
    DeepTarget,
    Side,
    solve_deep,
)
from retemper.widenet.elastic import (
    Alone,
    ElasticKernels,
    ElasticNew,
    ElasticTarget,
    SourcesAlone,
    prior_covariance,
    solve_elastic,
)
from retemper.widenet.heads import Turn, find_turn
from retemper.widenet.kernels import activation_mean, centred_kernel
from retemper.widenet.layers import Pairs, solve_alone, solve_layers
from retemper.widenet.model import WideNetModel
from retemper.widenet.single_task import SingleTask
from retemper.widenet.target import NewKernels, Parts, Target, solve_target
from retemper.widenet.tridiagonal import Spectrum
from retemper.widenet.unit_law import LawTask

__all__ = [
    "MEAN_SHARE",
    "SAMPLES_PER_DIMENSION",
    "Data",
    "Problem",
    "Solution",
    "labels_off_centre",
    "report_validity",
    "samples_per_dimension_of",
]

#: Samples per effective dimension beyond which a nonlinear network is outside the theory.
SAMPLES_PER_DIMENSION = 2.0

#: Share of a squared read-out that the mean of the labels may take. With 60 units Q_t is off
#: by at most 4 % at 10 %, by 2-6 % at 39-46 %, by up to 17 % at 78 %
#: (bench/agreement_widenet.py means).
MEAN_SHARE = 0.3

#: The same of two hidden layers, by the law of a unit: Q_t is off by at most 4 % below 11 % (ReLU
#: and GELU, 32 and 64 units), by 2-21 % at 18-44 % (bench/agreement_widenet.py deep_means).
TWO_LAYERS_MEAN_SHARE = 0.2

#: Of more, where the law of the units below the last is left out: errors are 6-16 % too small from
#: 3 % on (ReLU; the same command).
DEEP_MEAN_SHARE = 0.02

#: Inputs (n, n_features) and labels (n,) or (n, n_outputs).
Data: TypeAlias = tuple[ArrayLike, ArrayLike]

_BLOCK = 2048  # test points at a time: bounds the memory of a prediction


class Problem:
    """Validated data, with every matrix that several couplings, widths or outputs share.

    Parameters
    ----------
    target : tuple of array_like
        ``(X, y)``.
    source, test : tuple of array_like or None, default=None
        The same.
    n_jobs : int or None, default=None
        Threads of the kernels; never changes the result.
    """

    def __init__(
        self,
        target: Data,
        source: Data | None,
        test: Data | None = None,
        *,
        n_jobs: int | None = None,
    ) -> None:
        self.target, self.is_flat = _task(target, "target")
        n_outputs = self.target.y.shape[1]
        self.source = self._other(source, "source")
        self.test = self._other(test, "test")
        if self.source is not None and self.source.y.shape[1] not in (1, n_outputs):
            raise ValueError(
                f"the source has {self.source.y.shape[1]} outputs and the target has {n_outputs}"
            )
        if self.test is not None and self.test.y.shape[1] != n_outputs:
            raise ValueError(
                f"the test labels have {self.test.y.shape[1]} outputs, the target has {n_outputs}"
            )
        self.n_jobs = n_jobs
        self.gram = self.target.gram(self.target)
        self.gram_st = None if self.source is None else self.source.gram(self.target)
        tasks = [self.target] if self.source is None else [self.target, self.source]
        self.samples_per_dimension = samples_per_dimension_of(tasks)
        self._spectrum: tuple[tuple[Any, float], Spectrum] | None = None
        self._fits: dict[Any, list[SingleTask]] = {}
        self._deep: tuple[WideNetModel, list[DeepSource]] | None = None
        self._laws: tuple[Any, dict[int, LawTask]] = (None, {})

    def _other(self, data: Data | None, name: str) -> Task | None:
        if data is None:
            return None
        task, _ = _task(data, name)
        if task.X.shape[1] != self.target.X.shape[1]:
            raise ValueError(
                f"{name} has {task.X.shape[1]} features and target has {self.target.X.shape[1]}"
            )
        return task

    @property
    def has_source(self) -> bool:
        """Whether the target is pulled by what has data."""
        return self.source is not None

    def without_source(self) -> Problem:
        """The random-anchor control: the same target, pulled towards a draw from the prior."""
        other = copy.copy(self)
        other.source = other.gram_st = other._spectrum = other._deep = None
        other._fits = {}
        return other

    def spectrum(self, model: WideNetModel) -> Spectrum | None:
        """Spectrum of the source kernel; depends on ``activation`` and ``lam0`` alone."""
        if self.source is None:
            return None
        key = (model.activation, model.lam0)
        if self._spectrum is None or self._spectrum[0] != key:
            self._spectrum = None  # one at a time: it is the largest matrix there is
            self._fits = {}
            kernel = centred_kernel(model.activation, self.source.X, model.lam0, self.n_jobs)
            mean = activation_mean(model.activation, self.source.norms / model.lam0)
            self._spectrum = (key, Spectrum(kernel, mean))
        return self._spectrum[1]

    def source_fits(self, model: WideNetModel) -> list[SingleTask]:
        """The source solved, one for each of its outputs."""
        spectrum = self.spectrum(model)
        if spectrum is None or self.source is None:
            return []
        key = (model.width, model.temperature_source, model.inv_lam1_source)
        if key not in self._fits:
            spectrum.check_temperature(
                model.temperature_source, model.inv_lam1_source, "temperature_source"
            )
            fits = [
                SingleTask(
                    spectrum, y, model.width, model.temperature_source, model.inv_lam1_source
                )
                for y in self.source.y.T
            ]
            self._fits = {key: fits}
        return self._fits[key]

    def kernels(self, model: WideNetModel, y: FloatArray) -> Kernels:
        """Kernels of the target for one column of labels."""
        var = self.target.norms / model.lam0
        return Kernels(
            model,
            self.gram,
            self.gram_st,
            target=self.target,
            source=self.source,
            spectrum=self.spectrum(model) if model.n_hidden_layers == 1 else None,
            inner=solve_layers(model, Pairs(self.gram, var, var, 1.0 / model.lam0), y, self.n_jobs),
            n_jobs=self.n_jobs,
        )

    def new_kernels(
        self, kernels: Any, X: FloatArray, start: int
    ) -> NewKernels | DeepNew | ElasticNew | LawNew:
        """Kernels between both tasks and new inputs, numbered from ``start`` on."""
        del start
        if isinstance(kernels, LawTask):
            return LawNew(kernels, X)
        if isinstance(kernels, ElasticKernels):
            return ElasticNew(kernels, X)
        if isinstance(kernels, DeepKernels):
            return DeepNew(kernels, X, self.target, self.source)
        is_deep = kernels.model.n_hidden_layers > 1
        spectrum = None if is_deep else self.spectrum(kernels.model)
        return NewKernels(kernels, X, self.target, self.source, spectrum, n_jobs=self.n_jobs)

    def solve(self, model: WideNetModel, start: Solution | None = None) -> Solution:
        """All outputs at one coupling, from a solution nearby if there is one."""
        self._check_depth(model)
        if model.coupling == "elastic" and model.gamma > 0.0:
            return self._solve_elastic(model, start)
        if model.n_hidden_layers > 1 and model.gamma > 0.0:
            if model.heads == "shared" and self.target.y.shape[1] > 1:
                self._check_heads(model)
            return self._solve_deep(model, start)
        if self._has_types(model):
            return self._solve_by_law(model)
        if model.heads == "shared" and self.target.y.shape[1] > 1:
            self._check_heads(model)
            if model.n_hidden_layers > 1 or self._has_mean(model):
                return self._solve_elastic(model, start)
        deep = model.n_hidden_layers > 1
        fits = [s.fit for s in self.deep_sources(model)] if deep else self.source_fits(model)
        labels = self.target.y.T
        kernels = self.kernels(model, labels[0])
        turn = None
        if model.heads == "shared" and len(labels) > 1:
            if model.gamma > 0.0 or self.source is not None:
                return self._solve_heads(model, start)
            turn = find_turn(model, kernels.K_d, self.target.y)
            labels = turn.basis.T @ labels
        columns: list[Any] = []
        for i, y in enumerate(labels):
            fit = fits[min(i, len(fits) - 1)] if fits else None
            near = None if start is None else start.columns[i]
            near = near if isinstance(near, Target) else None
            is_own = i > 0 and len(kernels.inner.Q) > 0
            own = self.kernels(model, y) if is_own else kernels
            columns.append(solve_target(own, y, fit, near))
        return Solution(self, kernels, columns, fits, turn)

    @staticmethod
    def _has_types(model: WideNetModel) -> bool:
        """Whether units of the last layer differ by what they see of the mean of the one below."""
        return (
            model.n_hidden_layers > 1 and not math.isinf(model.width) and Problem._has_mean(model)
        )

    @staticmethod
    def _has_mean(model: WideNetModel) -> bool:
        """Whether the activation has a mean."""
        return bool(activation_mean(model.activation, np.ones(1) / model.lam0).any())

    def _law_task(self, model: WideNetModel, task: Task) -> LawTask:
        """Rows of a task, made anew where activation, ``lam0`` or layers are others."""
        key = (model.activation, model.lam0, model.n_hidden_layers)
        if self._laws[0] != key:
            self._laws = (key, {})
        made = self._laws[1]
        if id(task) not in made:
            made[id(task)] = LawTask(model, task, self.n_jobs)
        return made[id(task)].at(model)

    def _solve_by_law(self, model: WideNetModel) -> Solution:
        """Uncoupled layers of an activation with a mean."""
        if model.heads == "shared" and self.target.y.shape[1] > 1:
            self._check_heads(model)
        fits: list[Any] = []
        if self.source is not None:
            rows = self._law_task(model, self.source)
            own = (model.temperature_source, model.inv_lam1_source)
            fits = [LawFit(rows, y, *own) for y in self.source.y.T]
        kernels = self._law_task(model, self.target)
        columns = []
        for i, y in enumerate(self.target.y.T):
            fit = LawFit(kernels, y, model.temperature_target, 1.0 / model.lam1)
            columns.append(LawTarget(fit, fits[min(i, len(fits) - 1)] if fits else None))
        return Solution(self, kernels, columns, fits)

    def _check_heads(self, model: WideNetModel) -> None:
        """Refuse what several outputs of one network are not solved for."""
        many = f"{self.target.y.shape[1]} outputs with shared heads"
        of, has_mean = name_of(model.activation), self._has_mean(model)
        needs = "an activation of zero mean, such as 'erf', 'tanh', 'sine' or 'linear'"
        if model.n_hidden_layers > 1 and has_mean:
            raise ValueError(f"{many} and {model.n_hidden_layers} layers need {needs}, got {of!r}")
        if model.coupling == "elastic" or model.gamma == 0.0:
            return
        if model.n_hidden_layers > 1:
            raise ValueError(
                f"{many} need one hidden layer, got {model.n_hidden_layers}; coupling='elastic' "
                "takes more"
            )
        if has_mean:
            raise ValueError(f"{many} need {needs}, got {of!r}; coupling='elastic' takes it")

    def _solve_heads(self, model: WideNetModel, start: Solution | None) -> Solution:
        """Several outputs on one hidden layer, with a source or an anchor."""
        Y = self.target.y
        alone = dataclasses.replace(model, gamma=0.0)
        turn = find_turn(alone, self.kernels(alone, Y[:, 0]).K_d, Y)
        Q = [
            solve_target(self.kernels(alone, y), y, None).Q_t
            for y in np.ascontiguousarray((Y @ turn.basis).T)
        ]
        source_turn, fits = self._source_heads(model)
        made: dict[float, HeadsEquations] = {}

        def equations_at(gamma: float) -> HeadsEquations:
            if gamma not in made:
                at = dataclasses.replace(model, gamma=gamma)
                made[gamma] = HeadsEquations(self.kernels(at, Y[:, 0]), Y, fits)
            return made[gamma]

        near = None if start is None else start.columns[0]
        near = near if isinstance(near, HeadsTarget) else None
        found = solve_heads(equations_at, model.gamma, turn.matrix(np.array(Q)), source_turn, near)
        return Solution(self, found.kernels, [found], fits)

    def _source_heads(self, model: WideNetModel) -> tuple[Turn, list[SingleTask]]:
        """Outputs of the source among which its matrix is diagonal, each solved."""
        spectrum = self.spectrum(model)
        if spectrum is None or self.source is None:
            return Turn(np.eye(self.target.y.shape[1]), 0.0, 0, 1), []
        Y = self.source.y
        turn = Turn(np.eye(1), 0.0, 0, 1)
        if Y.shape[1] > 1:
            own = dataclasses.replace(
                model,
                lam1=1.0 / model.inv_lam1_source,
                temperature_target=model.temperature_source,
            )
            kernel = centred_kernel(model.activation, self.source.X, model.lam0, self.n_jobs)
            turn = find_turn(own, kernel, Y)
        spectrum.check_temperature(
            model.temperature_source, model.inv_lam1_source, "temperature_source"
        )
        shared = (model.width, model.temperature_source, model.inv_lam1_source)
        rotated = np.ascontiguousarray((Y @ turn.basis).T)
        return turn, [SingleTask(spectrum, y, *shared) for y in rotated]

    def _solve_deep(self, model: WideNetModel, start: Solution | None) -> Solution:
        """Several hidden layers, coupled."""
        sources: list[DeepSource | None] = [*self.deep_sources(model)] or [None]
        made: dict[tuple[int, float], DeepKernels] = {}

        def kernels_of(source: DeepSource | None, gamma: float) -> DeepKernels:
            key = (id(source), gamma)
            if key not in made:
                at = dataclasses.replace(model, gamma=gamma)
                made[key] = DeepKernels(
                    at, self.gram, self.gram_st, self.target, source, n_jobs=self.n_jobs
                )
            return made[key]

        var = self.target.norms / model.lam0
        pairs = Pairs(self.gram, var, var, 1.0 / model.lam0)
        columns: list[Any] = []
        for i, y in enumerate(self.target.y.T):
            source = sources[min(i, len(sources) - 1)]
            near = None if start is None else start.columns[i]
            near = near if isinstance(near, DeepTarget) else None
            alone = [1.0] * model.n_hidden_layers
            if near is None:
                alone[:-1] = solve_layers(model, pairs, y, self.n_jobs).Q
            columns.append(
                solve_deep(functools.partial(kernels_of, source), y, model.gamma, alone, near)
            )
        fits = [s.fit for s in sources if s is not None]
        return Solution(self, kernels_of(sources[0], model.gamma), columns, fits)

    def elastic_tasks(self, model: WideNetModel) -> tuple[list[Task], FloatArray]:
        """Sources with data and the target, and the prior covariance between their networks."""
        rho = prior_covariance(model, np.ones(1))
        if self.source is None:
            return [self.target], rho[1:, 1:]
        return [self.source, self.target], rho

    def _solve_elastic(self, model: WideNetModel, start: Solution | None) -> Solution:
        """Sources and target pull each other; or outputs of one network, which share its layers."""
        is_shared = model.heads == "shared"
        if is_shared and self.target.y.shape[1] > 1:
            self._check_heads(model)
        made: dict[float, ElasticKernels] = {}
        tasks = self.elastic_tasks(model)[0]
        outputs = [task.y.shape[1] if is_shared else 1 for task in tasks]

        def kernels_at(gamma: float) -> ElasticKernels:
            if gamma not in made:
                at = dataclasses.replace(model, gamma=gamma)
                made[gamma] = ElasticKernels(
                    at, *self.elastic_tasks(at), outputs, n_jobs=self.n_jobs
                )
            return made[gamma]

        columns: list[Any] = []
        fits: dict[int, Any] = {}
        every = [self.target.y.T] if is_shared else self.target.y.T[:, None]
        for i, target in enumerate(every):
            at = min(i, tasks[0].y.shape[1] - 1)
            labels = [
                y for task in tasks[:-1] for y in (task.y.T if is_shared else [task.y[:, at]])
            ]
            n_sources = len(labels)
            labels = [np.ascontiguousarray(y) for y in [*labels, *target]]

            def alone_at(gamma: float, labels: list[FloatArray] = labels) -> list[Alone]:
                return self._alone(dataclasses.replace(model, gamma=gamma), labels, outputs)

            near = None if start is None else start.columns[i]
            near = near if isinstance(near, ElasticTarget) else None
            together = None
            if n_sources > 1:
                together = self._sources_together(model, labels[:n_sources], outputs)
            columns.append(
                solve_elastic(
                    kernels_at,
                    np.concatenate(labels),
                    model.gamma,
                    alone_at,
                    near,
                    sources=together,
                )
            )
            if n_sources:
                fits[at] = columns[-1].source
        return Solution(self, kernels_at(model.gamma), columns, list(fits.values()))

    def _sources_together(
        self, model: WideNetModel, labels: list[FloatArray], outputs: list[int]
    ) -> SourcesAlone:
        """All outputs of elastic sources without the labels of the target, which ties them."""

        def kernels_at(gamma: float) -> ElasticKernels:
            at = dataclasses.replace(model, gamma=gamma)
            tasks, rho = self.elastic_tasks(at)
            of_sources = tasks[:-1], rho[:-1, :-1], outputs[:-1]
            return ElasticKernels(at, *of_sources, n_jobs=self.n_jobs, has_target=False)

        def alone_at(gamma: float) -> list[Alone]:
            return self._alone(dataclasses.replace(model, gamma=gamma), labels, outputs)

        found = solve_elastic(
            kernels_at,
            np.concatenate(labels),
            model.gamma,
            alone_at,
            sources=SourcesAlone(0.0),
        )
        roots = found.roots
        return SourcesAlone(found.log_evidence, roots.n_iter, found.residual, roots.n_minima)

    def _alone(
        self, model: WideNetModel, labels: list[FloatArray], outputs: list[int]
    ) -> list[Alone]:
        """Each of the first outputs of an elastic coupling as a network of its own."""
        tasks, rho = self.elastic_tasks(model)
        found = []
        for i, y in zip(np.repeat(np.arange(len(tasks)), outputs), labels, strict=False):
            task = tasks[i]
            own, name = dataclasses.replace(model, gamma=0.0, lam0=1.0 / float(rho[i, i])), "target"
            if i + 1 < len(tasks):
                own, name = (
                    dataclasses.replace(
                        own,
                        lam1=1.0 / model.inv_lam1_source,
                        temperature_target=model.temperature_source,
                    ),
                    "source",
                )
            var = task.norms / own.lam0
            pairs = Pairs(task.gram(task), var, var, 1.0 / own.lam0)
            inner, fit = solve_alone(own, pairs, y, f"temperature_{name}", self.n_jobs)
            found.append(Alone(inner.Q, fit))
        return found

    def deep_sources(self, model: WideNetModel) -> list[DeepSource]:
        """The source of several hidden layers solved, one for each of its outputs."""
        if self.source is None:
            return []
        alone = dataclasses.replace(
            model,
            lam1=1.0 / model.inv_lam1_source,
            temperature_target=model.temperature_source,
            gamma=0.0,
        )
        if self._deep is None or self._deep[0] != alone:
            var = self.source.norms / model.lam0
            pairs = Pairs(self.source.gram(self.source), var, var, 1.0 / model.lam0)
            side = Side(alone, self.source.norms, 1.0 / model.lam0)
            found = []
            for y in self.source.y.T:
                one = solve_alone(alone, pairs, y, "temperature_source", self.n_jobs)
                found.append(DeepSource(*one, side))
            self._deep = (alone, found)
        return self._deep[1]

    def _check_depth(self, model: WideNetModel) -> None:
        if model.n_hidden_layers == 1 or model.gamma == 0.0:
            return
        if self._has_mean(model):
            raise ValueError(
                f"{model.n_hidden_layers} hidden layers at gamma = {model.gamma:g} need an "
                "activation of zero mean, such as 'erf', 'tanh', 'sine' or 'linear', got "
                f"{name_of(model.activation)!r}"
            )

    def validity(self, model: WideNetModel) -> list[str]:
        """What is outside the range of the theory, a sentence each."""
        said = []
        name = name_of(model.activation)
        if name != "linear" and self.samples_per_dimension > SAMPLES_PER_DIMENSION:
            said.append(
                f"{self.samples_per_dimension:.3g} samples per effective input dimension "
                f"(more than {SAMPLES_PER_DIMENSION:g}): the features of a trained "
                f"{name} network align with the labels, which the theory leaves out"
            )
        n, d = self.target.X.shape
        return said + self._frozen_below_rank(
            model, min(n, d) if model.activation == "linear" else n
        )

    @staticmethod
    def _frozen_below_rank(model: WideNetModel, rank: int) -> list[str]:
        if not math.isinf(model.gamma) or model.width > rank:
            return []
        return [
            f"width {model.width:g} is not above the rank {rank} of the target kernel: errors "
            "of frozen features are heavy-tailed there, and their mean lies above the theory"
        ]


@dataclasses.dataclass(frozen=True)
class Solution:
    """Solved target columns of a problem at one coupling.

    Attributes
    ----------
    problem : Problem
        The data.
    kernels : Kernels
        Of the target, at the coupling.
    columns : list of Target, DeepTarget, HeadsTarget, ElasticTarget or LawTarget
        One for each output; one for all of them where coupled outputs share their hidden layer.
    fits : list of SingleTask or LawFit
        The source; empty without.
    turn : Turn or None, default=None
        What the columns are where outputs share their hidden layer; they are outputs if None.
    """

    problem: Problem
    kernels: Kernels | DeepKernels | ElasticKernels | LawTask
    columns: list[Any]
    fits: list[Any]
    turn: Turn | None = None

    @property
    def n_iter(self) -> int:
        """Evaluations of the saddle-point equations, of the target."""
        own = 0 if self.turn is None else self.turn.n_iter
        return own + int(sum(t.roots.n_iter + t.kernels.inner.n_iter for t in self.columns))

    @property
    def n_minima(self) -> int:
        """Minima of the single-task action, the largest number of any output."""
        own = [max(t.roots.n_minima, t.kernels.inner.n_minima) for t in self.columns]
        own += [] if self.turn is None else [self.turn.n_minima]
        return int(max(own + [f.n_minima for f in self.fits]))

    @property
    def mean_share(self) -> float:
        """Share of the squared read-outs that is there for the mean of the labels, the largest."""
        shares = [
            float(np.trace(np.atleast_2d(t.roots.shift.Q_tt)) / np.trace(np.atleast_2d(t.Q_t)))
            for t in self.columns
        ]
        return max(shares + [float(1.0 - f.Q_free / f.Q) for f in self.fits])

    def _blocks(self, X: FloatArray) -> Iterator[list[Any]]:
        """Kernels of every column; the same object where columns share it."""
        for i in range(0, len(X), _BLOCK):
            rows = X[i : i + _BLOCK]
            made: dict[int, Any] = {}
            for own in (t.kernels for t in self.columns):
                if id(own) not in made:
                    made[id(own)] = self.problem.new_kernels(own, rows, i)
            yield [made[id(t.kernels)] for t in self.columns]

    def predict(self, X: FloatArray) -> Parts:
        """Mean and variances at new inputs, each of shape (n, n_outputs)."""
        rows = []
        for kernels in self._blocks(X):
            parts = [
                t.predict(k) if isinstance(t, HeadsTarget) else k.predict(t)
                for k, t in zip(kernels, self.columns, strict=True)
            ]
            rows.append([np.column_stack(item) for item in zip(*parts, strict=True)])
        whole = Parts(*(np.vstack(item) for item in zip(*rows, strict=True)))
        if self.turn is None:
            return whole
        back = self.turn.basis.T
        return Parts(whole.mean @ back, whole.thermal @ back**2, whole.quenched @ back**2)

    def predict_mean(self, X: FloatArray) -> FloatArray:
        """The mean alone, which costs less."""
        rows = [
            np.column_stack(
                [
                    t.predict(k).mean if isinstance(t, HeadsTarget) else k.predict_mean(t)
                    for k, t in zip(kernels, self.columns, strict=True)
                ]
            )
            for kernels in self._blocks(X)
        ]
        mean = np.vstack(rows)
        return mean if self.turn is None else mean @ self.turn.basis.T

    def loo_loss_rows(self) -> FloatArray:
        """Leave-one-out loss of every target sample, summed over outputs."""
        return np.asarray(sum(t.loo_loss_rows for t in self.columns))


def _task(data: Data, name: str) -> tuple[Task, bool]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (X, y), got {type(data).__name__}")
    X = as_float_array(data[0], f"{name} X", ndim=2)
    y = as_float_array(data[1], f"{name} y", ndim=(1, 2))
    if not X.size:
        raise ValueError(f"{name} X must have samples and features, got shape {X.shape}")
    is_flat = y.ndim == 1
    if is_flat:
        y = y[:, None]
    check_shape(y, (len(X), None), f"{name} y")
    if not y.shape[1]:
        raise ValueError(f"{name} y must have at least one output, got shape {y.shape}")
    return Task(X, y), is_flat


def labels_off_centre(solutions: Iterable[Solution]) -> list[str]:
    """A sentence if the mean of the labels takes too much of the read-outs of some solution."""
    worst = max(solutions, key=lambda s: s.mean_share)
    model = worst.kernels.model
    by_layers = {1: MEAN_SHARE, 2: TWO_LAYERS_MEAN_SHARE}
    most = by_layers.get(model.n_hidden_layers, DEEP_MEAN_SHARE)
    if worst.mean_share <= most:
        return []
    activation = name_of(model.activation)
    return [
        f"{100 * worst.mean_share:.0f} % of the squared read-outs serve the mean of the labels "
        f"(more than {100 * most:g} %): the Gaussian law of the {activation} layer, which "
        "the theory assumes, then needs many more units, and order parameters are off by several "
        "per cent; centre the labels, y - y.mean()"
    ]


def report_validity(
    said: list[str], *, on_failure: OnFailure = "warn", stacklevel: int = 3
) -> None:
    """Warn about, or raise, what lies outside the range of the theory.

    Parameters
    ----------
    said : list of str
        A sentence for each thing.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do.
    stacklevel : int, default=3
        As in `warnings.warn`; 3 is the caller of the function that calls this one.

    Raises
    ------
    NumericalError
        If there is something to say and ``on_failure="raise"``.
    """
    if said and on_failure == "raise":
        raise NumericalError("; ".join(said))
    if on_failure == "warn":
        for sentence in said:
            warnings.warn(sentence, ValidityWarning, stacklevel=stacklevel)


def samples_per_dimension_of(tasks: list[Task]) -> float:
    """Samples of the largest task per effective dimension of all inputs."""
    return max(len(t.X) for t in tasks) / _effective_dimension(tasks)


def _effective_dimension(tasks: list[Task]) -> float:
    """(tr G)^2 / tr G^2 of the Gram matrix of the pooled inputs."""
    X = np.vstack([task.X for task in tasks])
    G = X.T @ X if X.shape[1] < X.shape[0] else X @ X.T
    square = float(np.vdot(G, G))
    return float(G.trace()) ** 2 / square if square > 0.0 else 1.0
