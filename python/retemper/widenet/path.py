"""Theory along a grid of couplings, which share one factorisation of the source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._domains import check_parameter
from retemper._extras import load
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_items, check_kind
from retemper.widenet.kernel_problem import Input, Source, problem_of
from retemper.widenet.model import WideNetModel
from retemper.widenet.problem import (
    Data,
    Problem,
    Solution,
    labels_off_centre,
    report_validity,
)
from retemper.widenet.theory import WideNetTheory, theory_of

__all__ = ["GAMMAS", "GammaPath", "check_gammas", "gamma_path", "path_of", "walk"]

#: The default grid of couplings, in units of lam0.
GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GammaPath(Result):
    """Theory along a grid of couplings, as `gamma_path` returns it (see `solve`).

    Parameters
    ----------
    status : Status
        The worst over the grid.
    n_iter : int
        Evaluations of the saddle-point equations, in all.
    residual : float
        Largest residual.
    message : str
        What happened, in words.
    model : WideNetModel
        What all couplings share.
    gamma : ndarray of shape (n_gammas,)
        The couplings, increasing.
    theory : tuple of WideNetTheory
        The result at each coupling.
    loo_loss_rows : ndarray of shape (n_gammas, n_target)
        Leave-one-out loss of every target sample.
    control : GammaPath or None
        The same with a random anchor in place of the source.

    See Also
    --------
    gamma_path, transfer_verdict, GammaPathDisplay

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, gamma_path
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> tasks = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> path = gamma_path(WideNetModel(100), *tasks, gammas=[0.0, 1.0, np.inf])
    >>> path.gamma.tolist(), path["Q_st"].shape
    ([0.0, 1.0, inf], (3,))
    """

    model: WideNetModel
    gamma: FloatArray
    theory: tuple[WideNetTheory, ...]
    loo_loss_rows: FloatArray
    control: GammaPath | None

    def __getitem__(self, name: str) -> FloatArray:
        return np.array([getattr(t, name) for t in self.theory])

    def to_frame(self) -> Any:
        """One row per coupling, the control's errors beside (needs pandas)."""
        pd = load("pandas", "to_frame")
        names = [f.name for f in dataclasses.fields(WideNetTheory)]
        skipped = {"model", "mean", "message", "samples_per_dimension", "log_evidence_source"}
        skipped |= {"Q_layers", "probability"}
        rates = {"error_rate", "loo_error_rate"}
        skipped |= {n for n in rates if getattr(self.theory[0], n) is None}
        columns = {n: [getattr(t, n) for t in self.theory] for n in names if n not in skipped}
        if self.control is not None:
            for name in ("loo", "test_error"):
                columns[f"control_{name}"] = list(self.control[name])
        return pd.DataFrame(columns, index=pd.Index(self.gamma, name="gamma"))


def walk(problem: Problem, model: WideNetModel, gammas: Sequence[float]) -> list[Solution]:
    """Solutions along increasing couplings, each started from the one before."""
    solutions: list[Solution] = []
    for gamma in gammas:
        at = dataclasses.replace(model, gamma=gamma)
        solutions.append(problem.solve(at, solutions[-1] if solutions else None))
    return solutions


def check_gammas(gammas: Iterable[float]) -> list[float]:
    """Couplings in increasing order, without repetitions."""
    values = sorted(
        {check_parameter(g, "gamma", label="gammas") for g in as_items(gammas, "gammas")}
    )
    if not values:
        raise ValueError("gammas must hold at least one coupling")
    return values


def path_of(
    model: WideNetModel, solutions: list[Solution], control: GammaPath | None, message: str = ""
) -> GammaPath:
    """The path of solutions at increasing couplings."""
    theory = tuple(theory_of(s, message) for s in solutions)
    status = max((t.status for t in theory), key=list(Status).index)
    return GammaPath(
        model=model,
        gamma=np.array([t.model.gamma for t in theory]),
        theory=theory,
        loo_loss_rows=np.array([s.loo_loss_rows() for s in solutions]),
        control=control,
        status=status,
        n_iter=sum(t.n_iter for t in theory),
        residual=max(t.residual for t in theory),
        message=message or status.sentence,
    )


def gamma_path(
    model: WideNetModel,
    target: Input,
    source: Source | None = None,
    test: Data | None = None,
    *,
    gammas: Iterable[float] | None = None,
    control: bool = True,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
) -> GammaPath:
    """Solve a grid of couplings with one factorisation of the source.

    Parameters
    ----------
    model : WideNetModel
        What the couplings share; its ``gamma`` is not used.
    target, source, test : tuple of array_like
        As in `solve`.
    gammas : iterable of float or None, default=None
        Couplings, sorted before use; None takes (0, 0.1, 0.3, 1, 3, 10, 30, 100, inf) * ``lam0``.
    control : bool, default=True
        Also solve the random-anchor control. What it gains over coupling 0 is regularisation;
        what the source gains beyond it is knowledge. Without a source the path is this control.
    n_jobs : int or None, default=None
        Threads of the kernels; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do where the equations are not solved, or outside the range of the theory.

    Returns
    -------
    GammaPath
        One `WideNetTheory` per coupling; ``path["loo"]`` stacks a field.

    Raises
    ------
    ValueError
        As in `solve`, or if a coupling is negative.
    TypeError
        As in `solve`.

    Warns
    -----
    ValidityWarning
        As in `solve`.

    See Also
    --------
    solve, transfer_verdict, GammaPathDisplay

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, Phys. Rev. Lett. 134 (2025) 177301;
       the control is derived here (`derivations/widenet#predictions-and-their-variances`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, gamma_path
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> path = gamma_path(WideNetModel(50), *data, gammas=[0, 1, 10])
    >>> float(path.gamma[path["loo"].argmin()])
    10.0
    """
    check_kind(model, "model", WideNetModel)
    grid = check_gammas([g * model.lam0 for g in GAMMAS] if gammas is None else gammas)
    at = dataclasses.replace(model, gamma=grid[-1])
    problem = problem_of(target, source, test, at, n_jobs=n_jobs)
    said = problem.validity(at)
    solutions = walk(problem, model, grid)
    said += labels_off_centre(solutions)
    report_validity(said, on_failure=on_failure)
    anchor = None
    if control and problem.has_source:
        anchor = path_of(model, walk(problem.without_source(), model, grid), None)
    path = path_of(model, solutions, anchor, "; ".join(said))
    report_status(path.status, path.residual, "gamma_path", on_failure=on_failure)
    return path
