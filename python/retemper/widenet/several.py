r"""Several sources that pull one target, each with a coupling of its own.

The sources are sampled independently, so that they share nothing: the source block of every
covariance is one block for each, and what one source does to the equations is added up (derived
here: `derivations/widenet#several-sources`). Overlaps with the sources are a vector, which solves a
linear system once delta and Q_tt are known.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np

from retemper._validation import FloatArray, as_items, check_real
from retemper.exceptions import NumericalError
from retemper.widenet.activations import name_of
from retemper.widenet.coupled import Kernels, MeanShift, TargetEquations, Task
from retemper.widenet.elastic import ElasticKernels, ElasticNew, prior_covariance
from retemper.widenet.kernels import kernel_of_gram
from retemper.widenet.model import WideNetModel
from retemper.widenet.problem import Data, Problem, Solution, samples_per_dimension_of
from retemper.widenet.roots import find_roots
from retemper.widenet.single_task import SingleTask
from retemper.widenet.target import NewKernels, Target

__all__ = ["SeveralProblem", "SeveralSources"]


@dataclasses.dataclass(frozen=True, eq=False)
class SeveralSources:
    r"""Several source tasks, each with its own coupling to the target.

    It takes the place of ``source`` in `solve`, `curve`, `gamma_path`, `simulate` and `compare`.
    The target is pulled by all of them, :math:`\exp(-\sum_s \gamma_s \|W_t - W_s\|^2 / 2)` with
    :math:`\gamma_s` = ``weights[s]`` times the ``gamma`` of the model; at infinite ``gamma`` it
    keeps the average of their first layers, by these weights. The source networks are sampled
    independently of each other, so that their hidden units are not aligned; in an elastic coupling
    all networks are one draw, and infinite ``gamma`` gives them one first layer. ``Q_s`` and
    ``Q_st`` of results have an entry for each source.

    Parameters
    ----------
    sources : sequence of (tuple of array_like or None)
        ``(X, y)`` of each source, of shapes (n, n_features) and (n,). None is a random anchor: a
        network drawn from the prior. What a source adds to it is knowledge, the rest is
        regularisation; `gamma_path` puts anchors in place of all sources.
    weights : sequence of float or None, default=None
        Coupling of each source over the ``gamma`` of the model, from 0 on, one of them positive;
        None is 1 for each.

    Raises
    ------
    ValueError
        If there is no source, weights are not as many, one is negative or not finite, or none is
        positive.
    TypeError
        If a source is not a pair or None, or a weight is not a real number.

    See Also
    --------
    solve, gamma_path, compare

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, Phys. Rev. Lett. 134 (2025) 177301,
       for one source; several are derived here (`derivations/widenet#several-sources`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import SeveralSources, WideNetModel, solve
    >>> rng = np.random.default_rng(0)
    >>> X, teacher, other = rng.normal(size=(100, 40)), *rng.normal(size=(2, 40)) / 40**0.5
    >>> near, far = (X[20:60], X[20:60] @ teacher), (X[60:], X[60:] @ other)
    >>> sources = SeveralSources([near, far], weights=[1.0, 0.5])
    >>> theory = solve(WideNetModel(100, gamma=1.0), (X[:20], X[:20] @ teacher), sources)
    >>> theory.Q_st.shape, bool(theory.Q_st[0] > abs(theory.Q_st[1]))
    ((2,), True)
    """

    sources: Any
    weights: Any = None

    def __post_init__(self) -> None:
        """Check what does not need the target."""
        sources = tuple(as_items(self.sources, "sources"))
        if not sources:
            raise ValueError("sources must hold at least one source, got none")
        for i, source in enumerate(sources):
            if source is not None and not (isinstance(source, tuple | list) and len(source) == 2):
                raise TypeError(
                    f"sources[{i}] must be a pair (X, y) or None, got {type(source).__name__}"
                )
        given = [1.0] * len(sources) if self.weights is None else as_items(self.weights, "weights")
        weights = tuple(check_real(w, f"weights[{i}]", low=0.0) for i, w in enumerate(given))
        if len(weights) != len(sources):
            raise ValueError(
                f"weights must be one for each of {len(sources)} sources, got {len(weights)}"
            )
        if not any(weights):
            raise ValueError("weights must hold a positive number, got zeros alone")
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "weights", weights)


class _SeveralKernels(Kernels):
    """Of a target that several sources pull; blocks hold K_st of each, in its basis."""

    def __init__(self, model: WideNetModel, problem: SeveralProblem) -> None:
        self.pulls, loose = problem.pulls(model)
        var_off = float(self.pulls @ self.pulls) / model.lam0
        super().__init__(
            model,
            problem.gram,
            None,
            target=problem.target,
            source=None,
            spectrum=None,
            n_jobs=problem.n_jobs,
            prior=(var_off + loose, var_off),
        )
        self.blocks: list[FloatArray | None] = [
            problem.block(i, model, problem.target, self.var, float(pull))
            if self.is_coupled
            else None
            for i, pull in enumerate(self.pulls)
        ]


class _SeveralEquations(TargetEquations):
    """The equations with a vector of overlaps in place of one."""

    def __init__(
        self, kernels: _SeveralKernels, y: FloatArray, fits: list[SingleTask | None]
    ) -> None:
        super().__init__(kernels, y, None)
        self.fits, self.blocks = fits, kernels.blocks
        self.Q_s = self.Q_s_free = np.array([1.0 if fit is None else fit.Q for fit in fits])
        level = self.readout_var_st
        self._mu = np.zeros((len(fits), y.size))
        self._G = np.zeros((len(fits), y.size, y.size))
        for i, (fit, Z) in enumerate(zip(fits, kernels.blocks, strict=True)):
            if fit is not None and Z is not None:
                self._mu[i] = level * (fit.alpha @ Z)
                self._G[i] = level**2 * fit.form(Z, Z)

    def pulled(
        self,
        delta: float,
        q_tt: float,
        inverse: FloatArray,
        E: FloatArray,
        *,
        q_st: Any,
        shift: MeanShift,
    ) -> tuple[Any, FloatArray, FloatArray, float]:
        """Overlaps, E and labels without what the sources say, and q."""
        del shift
        R = q_st
        if R is None:
            toward = self._mu @ inverse
            stiff = toward @ self._mu.T - np.diag(np.einsum("sij,ij->s", self._G, inverse))
            stiff = np.diag(1.0 / (self.Q_s * delta)) + self.inv_width * stiff
            try:
                R = np.linalg.solve(stiff, self.inv_width * (toward @ self.y))
            except np.linalg.LinAlgError:
                raise NumericalError(
                    f"the overlaps with the sources are not determined at delta = {delta:g}, "
                    f"Q_tt = {q_tt:g}; raise temperature_target"
                ) from None
        E = E - np.einsum("s,sij->ij", R**2, self._G)
        return R, E, self.y - R @ self._mu, q_tt - float((R**2 / self.Q_s).sum())


class _SeveralNew(NewKernels):
    """Kernels between new inputs, the target and every source."""

    def __init__(self, kernels: _SeveralKernels, X: FloatArray, problem: SeveralProblem) -> None:
        super().__init__(kernels, X, problem.target, None, None, n_jobs=problem.n_jobs)
        new = Task(X, np.empty((len(X), 0)))
        var = kernels.var_diag * new.norms
        self._blocks = [
            None
            if Z is None
            else problem.block(i, kernels.model, new, var, float(kernels.pulls[i]))
            for i, Z in enumerate(kernels.blocks)
        ]

    def _mean(self, t: Target, d: FloatArray) -> FloatArray:
        out = super()._mean(t, d)
        for r, fit, Z, _ in self._sources(t):
            out += t.readout_var_st * r * (fit.alpha @ Z)
        return out

    def _known(self, t: Target, e: FloatArray, e_0: FloatArray) -> tuple[FloatArray, FloatArray]:
        for r, fit, Z, Z_t in self._sources(t):
            level = (t.readout_var_st * r) ** 2
            e, e_0 = e - level * fit.form(Z, Z_t), e_0 - level * fit.squares(Z)
        return e, e_0

    def _sources(self, t: Target) -> list[tuple[float, SingleTask, FloatArray, FloatArray]]:
        """Overlap, solution and both kernels of every source that has data."""
        e = t.equations
        assert isinstance(e, _SeveralEquations)
        every = zip(t.Q_st, e.fits, self._blocks, e.blocks, strict=True)
        return [
            (float(r), fit, Z, Z_t)
            for r, fit, Z, Z_t in every
            if fit is not None and Z is not None and Z_t is not None
        ]


class SeveralProblem(Problem):
    """Data of a target and several sources.

    Parameters
    ----------
    target : tuple of array_like
        ``(X, y)`` of one output.
    several : SeveralSources
        The sources.
    test : tuple of array_like or None, default=None
        As the target.
    n_jobs : int or None, default=None
        Threads of the kernels; never changes the result.
    """

    def __init__(
        self,
        target: Data,
        several: SeveralSources,
        test: Data | None = None,
        *,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(target, None, test, n_jobs=n_jobs)
        self.weights = np.array(several.weights)
        self.parts: list[Problem | None] = []
        alone = super().without_source()
        for i, data in enumerate(several.sources):
            part = copy.copy(alone)
            part._fits = {}
            part.source = self._other(data, f"sources[{i}]")
            for task, name in ((self.target, "target"), (part.source, f"sources[{i}]")):
                if task is not None and task.y.shape[1] != 1:
                    raise ValueError(
                        f"several sources need one output, and {name} y has {task.y.shape[1]}; "
                        "call once per column"
                    )
            self.parts.append(None if part.source is None else part)
        self.samples_per_dimension = samples_per_dimension_of(
            [self.target, *(t for t in self.tasks if t is not None)]
        )

    @property
    def tasks(self) -> list[Task | None]:
        """Data of every source; None is an anchor."""
        return [None if part is None else part.source for part in self.parts]

    @property
    def has_source(self) -> bool:
        """Whether some source has data."""
        return any(part is not None for part in self.parts)

    def without_source(self) -> Problem:
        """The random-anchor control: a draw from the prior in place of every source."""
        other = copy.copy(self)
        other.parts = [None] * len(self.parts)
        return other

    def pulls(self, model: WideNetModel) -> tuple[FloatArray, float]:
        """Factors of the sources in the prior mean of W_t, and the variance about it."""
        whole = float(self.weights.sum())
        if math.isinf(model.gamma):
            return self.weights / whole, 0.0
        precision = model.lam0 + model.gamma * whole
        return model.gamma * self.weights / precision, 1.0 / precision

    def block(
        self, i: int, model: WideNetModel, other: Task, var: FloatArray, pull: float
    ) -> FloatArray | None:
        """Kernel of source i with other inputs, in the basis of the source."""
        part = self.parts[i]
        if part is None or part.source is None:
            return None
        spectrum = part.spectrum(model)
        assert spectrum is not None
        gram, row_var = part.source.gram(other), part.source.norms / model.lam0
        K = kernel_of_gram(
            model.activation, gram, row_var, var, pull / model.lam0, n_jobs=self.n_jobs
        )
        return spectrum.rotate(K)

    def kernels(self, model: WideNetModel, y: FloatArray) -> Kernels:
        """Kernels of the target; labels do not enter."""
        del y
        return _SeveralKernels(model, self)

    def elastic_tasks(self, model: WideNetModel) -> tuple[list[Task], FloatArray]:
        """Sources with data and the target, and the prior covariance between their networks."""
        rho = prior_covariance(model, self.weights)
        kept = [i for i, task in enumerate(self.tasks) if task is not None]
        tasks = [task for task in self.tasks if task is not None]
        over = [*kept, len(self.parts)]
        return [*tasks, self.target], rho[np.ix_(over, over)]

    def new_kernels(self, kernels: Any, X: FloatArray, start: int) -> NewKernels | ElasticNew:
        """Kernels between new inputs and all tasks."""
        del start
        if isinstance(kernels, ElasticKernels):
            return ElasticNew(kernels, X)
        return _SeveralNew(kernels, X, self)

    def solve(self, model: WideNetModel, start: Solution | None = None) -> Solution:
        """The target at one coupling, from a solution nearby if there is one."""
        self._check_depth(model)
        if model.coupling == "elastic":
            return self._solve_together(model, start)
        kernels = _SeveralKernels(model, self)
        if kernels.mean.any():
            raise ValueError(
                "several sources need an activation of zero mean, such as 'erf', 'tanh', 'sine' or "
                f"'linear', got {name_of(model.activation)!r}"
            )
        fits = [None if part is None else part.source_fits(model)[0] for part in self.parts]
        equations = _SeveralEquations(kernels, np.ascontiguousarray(self.target.y[:, 0]), fits)
        near = None if start is None else start.columns[0].roots
        target = Target(equations, find_roots(equations, near))
        return Solution(self, kernels, [target], [fit for fit in fits if fit is not None])

    def _solve_together(self, model: WideNetModel, start: Solution | None) -> Solution:
        """All sources and the target pull each other; anchors are integrated out."""
        found = self._solve_elastic(model, start)
        t = found.columns[0]
        Q = t.G[t.equations.n_layers - 1]
        is_given = np.array([task is not None for task in self.tasks])
        t.Q_s, t.Q_st = np.ones(is_given.size), np.zeros(is_given.size)
        t.Q_s[is_given], t.Q_st[is_given] = np.diagonal(Q)[:-1], Q[:-1, -1]
        return found

    def _check_depth(self, model: WideNetModel) -> None:
        if model.coupling == "elastic":
            super()._check_depth(model)
        elif model.n_hidden_layers != 1:
            raise ValueError(
                f"several sources need one hidden layer where coupling is 'one_way', got "
                f"n_hidden_layers = {model.n_hidden_layers}"
            )
