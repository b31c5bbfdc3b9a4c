"""A transfer problem whose kernels the user gives, and which kind of problem data make."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from retemper._validation import FloatArray
from retemper.widenet.coupled import Kernels, Task
from retemper.widenet.given import GivenKernels, GivenTest, KernelTasks, TasksOfGamma
from retemper.widenet.model import WideNetModel
from retemper.widenet.problem import SAMPLES_PER_DIMENSION, Data, Problem
from retemper.widenet.several import SeveralProblem, SeveralSources
from retemper.widenet.target import NewKernels
from retemper.widenet.tridiagonal import Spectrum

__all__ = ["Input", "KernelProblem", "Source", "problem_of", "problem_of_data"]

#: What `solve` takes as its target.
Input: TypeAlias = Data | KernelTasks | TasksOfGamma

#: What `solve` takes as its source.
Source: TypeAlias = Data | SeveralSources


class KernelProblem(Problem):
    """Kernels in place of inputs.

    Parameters
    ----------
    tasks : KernelTasks or callable
        The kernels, or a function of the coupling that gives them.
    gamma : float
        A coupling at which they are asked for.
    """

    def __init__(self, tasks: KernelTasks | TasksOfGamma, gamma: float) -> None:
        self._given = tasks
        self._last: tuple[float, KernelTasks] | None = None
        self._is_control = False
        at = self._at(gamma)
        self.target, self.is_flat = _labels(at.target[1])
        self.source = None if at.source is None else _labels(at.source[1])[0]
        self.test = None if at.test is None else _labels(at.test[2])[0]
        n_outputs = self.target.y.shape[1]
        for task, name, allowed in (
            (self.source, "source", (1, n_outputs)),
            (self.test, "test", (n_outputs,)),
        ):
            if task is not None and task.y.shape[1] not in allowed:
                raise ValueError(
                    f"the {name} has {task.y.shape[1]} outputs and the target has {n_outputs}"
                )
        self.samples_per_dimension = at.samples_per_dimension
        self.n_jobs = None
        self._spectrum = None
        self._fits = {}
        self._deep = None

    def _at(self, gamma: float) -> KernelTasks:
        if not callable(self._given):
            return self._given
        if self._last is None or self._last[0] != gamma:
            tasks = self._given(gamma)
            if not isinstance(tasks, KernelTasks):
                raise TypeError(
                    f"target must give KernelTasks at every gamma, got {type(tasks).__name__} at "
                    f"{gamma:g}"
                )
            self._last = (gamma, tasks)
        return self._last[1]

    def without_source(self) -> Problem:
        """The random-anchor control: the same target, pulled towards a draw from the prior."""
        other = super().without_source()
        assert isinstance(other, KernelProblem)
        other._is_control = True
        return other

    def spectrum(self, model: WideNetModel) -> Spectrum | None:
        """Spectrum of the source kernel, made anew where that is another array."""
        tasks = self._at(model.gamma)
        if self.source is None or tasks.source is None:
            return None
        kernel = tasks.source[0]
        if self._spectrum is None or not np.array_equal(self._spectrum[0], kernel):
            self._fits = {}
            self._spectrum = (kernel, Spectrum(kernel.copy(), np.zeros(len(kernel))))
        return self._spectrum[1]

    def kernels(self, model: WideNetModel, y: FloatArray) -> Kernels:
        """Kernels of the target, the same for every column of labels."""
        del y
        tasks = self._at(model.gamma)
        if len(tasks.target[0]) != len(self.target.y):
            raise ValueError(
                f"target has {len(tasks.target[0])} rows at gamma = {model.gamma:g}, and "
                f"{len(self.target.y)} before"
            )
        return GivenKernels(model, tasks, self.spectrum(model))

    def new_kernels(self, kernels: Any, X: FloatArray, start: int) -> NewKernels:
        """Kernels of the test points from number ``start`` on."""
        tasks, rows = self._at(kernels.model.gamma), slice(start, start + len(X))
        given = GivenTest.of(tasks, rows, is_frozen=kernels.is_frozen)
        spectrum = None if self._is_control else self.spectrum(kernels.model)
        return NewKernels.given(kernels, given, spectrum)

    def _check_depth(self, model: WideNetModel) -> None:
        if model.coupling != "one_way":
            raise ValueError(
                f"coupling must be 'one_way' for kernels that are given, got {model.coupling!r}"
            )
        if model.n_hidden_layers != 1:
            raise ValueError(
                f"n_hidden_layers must be 1 for kernels that are given, got "
                f"{model.n_hidden_layers}: they are those of the last hidden layer"
            )

    def validity(self, model: WideNetModel) -> list[str]:
        """What is outside the range of the theory, a sentence each."""
        said = []
        if self.samples_per_dimension > SAMPLES_PER_DIMENSION:
            said.append(
                f"{self.samples_per_dimension:.3g} samples per effective dimension of the kernel "
                f"(more than {SAMPLES_PER_DIMENSION:g}): features that are not linear align with "
                "the labels in training, which the theory leaves out"
            )
        if math.isinf(model.gamma):
            values = np.linalg.eigvalsh(self._at(model.gamma).target[0])
            said += self._frozen_below_rank(model, int((values > 1e-12 * values[-1]).sum()))
        return said


def _labels(y: FloatArray) -> tuple[Task, bool]:
    """Labels as columns; inputs are not known."""
    return Task(np.zeros((len(y), 1)), y[:, None] if y.ndim == 1 else y), y.ndim == 1


def problem_of_data(
    target: Data, source: Source | None, test: Data | None, *, n_jobs: int | None = None
) -> Problem:
    """The problem of these data, with one source or several."""
    if isinstance(source, SeveralSources):
        return SeveralProblem(target, source, test, n_jobs=n_jobs)
    return Problem(target, source, test, n_jobs=n_jobs)


def problem_of(
    target: Input,
    source: Source | None,
    test: Data | None,
    model: WideNetModel,
    *,
    n_jobs: int | None = None,
) -> Problem:
    """The problem of these data.

    Parameters
    ----------
    target : tuple of array_like, KernelTasks or callable
        Data, or kernels.
    source : tuple of array_like, SeveralSources or None
        The source; None beside kernels.
    test : tuple of array_like or None
        Test data; None beside kernels.
    model : WideNetModel
        Whose coupling is asked for first.
    n_jobs : int or None, default=None
        Threads of the kernels.

    Returns
    -------
    Problem
        Checked.

    Raises
    ------
    TypeError
        If kernels are given beside data.
    """
    if not isinstance(target, KernelTasks) and not callable(target):
        return problem_of_data(target, source, test, n_jobs=n_jobs)
    for name, value in (("source", source), ("test", test)):
        if value is not None:
            raise TypeError(f"{name} must be None beside kernels: it is a field of KernelTasks")
    return KernelProblem(target, model.gamma)
