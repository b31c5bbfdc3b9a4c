"""Where runs of finite size jump, beside the transition of many features."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._parallel import map_threads
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, generator, stream_key
from retemper._results import Result
from retemper._text import number
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_kind, check_memory
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.perceptron._simulate import draw_rows, start_weights
from retemper.perceptron._simulate_glm import draw, measure, pass_messages
from retemper.perceptron.glm import GLMModel, bayes_curve, matched_law
from retemper.perceptron.model import (
    UNLABELLED,
    PerceptronModel,
    laws_of,
    prior_of,
    worst_status,
)
from retemper.perceptron.passing import roles_of
from retemper.perceptron.saddle import ERMModel
from retemper.perceptron.theory import solve
from retemper.perceptron.thresholds import Transitions, transitions

__all__ = ["FiniteSize", "finite_size"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FiniteSize(Result):
    """How often message passing jumps at finite sizes; see `finite_size`.

    Parameters
    ----------
    status : Status
        The worst status.
    n_iter : int
        Largest number of iterations.
    residual : float
        Largest residual.
    message : str
        The status in words.
    model : PerceptronModel or GLMModel
        The problem; its ``alpha_u`` or ``alpha`` is not used.
    sizes : ndarray of int of shape (n_sizes,)
        Numbers of features.
    alphas : ndarray of shape (n_loads,)
        Rows per feature; of a `PerceptronModel` the unlabelled ones.
    theory : Transitions
        Thresholds of many features.
    cosine_cut : float
        A run with a larger cosine has jumped: half way between the branches at ``alpha_alg``.
    jump_share : ndarray of shape (n_sizes, n_loads)
        Share of runs that jumped; ``sqrt(share (1 - share) / n_repeats)`` is its standard error.
    alpha_half, alpha_half_stderr : ndarray of shape (n_sizes,)
        Rows per feature at which half of the runs jump, and its standard error; NaN where the loads
        do not enclose it.
    shift : ndarray of shape (n_sizes,)
        ``alpha_half - theory.alpha_alg``.
    samples : dict of str to ndarray
        ``cosine``, ``n_iter``, ``residual``, ``converged`` of shape (n_sizes, n_loads, n_repeats),
        and ``history``, the cosine after every iteration (one axis more, NaN after the last).
        Cosines are between the estimate and the true weights, their size where the rows show
        weights up to a sign.

    See Also
    --------
    finite_size, transitions

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, Prior, finite_size
    >>> model = GLMModel(1.0, channel="linear", prior=Prior.sparse(0.1))
    >>> found = finite_size(model, [50], alphas=[0.1, 0.4], n_repeats=4, on_failure="ignore")
    >>> found.jump_share.shape, found.samples["cosine"].shape
    ((1, 2), (1, 2, 4))
    """

    model: PerceptronModel | GLMModel
    sizes: NDArray[np.int64]
    alphas: FloatArray
    theory: Transitions
    cosine_cut: float
    jump_share: FloatArray
    alpha_half: FloatArray
    alpha_half_stderr: FloatArray
    shift: FloatArray
    samples: dict[str, NDArray[Any]]

    def _parts(self) -> list[list[str]]:
        head = ["features", "half jump at", "standard error", "shift", "unsettled runs"]
        unsettled = (~self.samples["converged"]).sum(axis=(1, 2))
        n_runs = self.samples["converged"][0].size
        columns = (self.sizes, self.alpha_half, self.alpha_half_stderr, self.shift, unsettled)
        return [head] + [
            [str(n), number(half), number(error), number(shift, sign=True), f"{k} of {n_runs}"]
            for n, half, error, shift, k in zip(*(c.tolist() for c in columns), strict=True)
        ]


class Problem(NamedTuple):
    """What is run: thresholds, a cosine between the branches, and one run.

    A run is of a load, a number of features and a seed; it is watched, and returns what it ended
    with and the cosine after every iteration.
    """

    theory: Transitions
    cut: float
    run: Callable[[float, int, np.random.SeedSequence, Callable[[], object]], dict[str, Any]]


def finite_size(
    model: PerceptronModel | GLMModel,
    sizes: ArrayLike,
    *,
    alphas: ArrayLike | None = None,
    n_repeats: int = 20,
    max_iter: int = 300,
    tol: float = 1e-6,
    damping: float = 0.3,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FiniteSize:
    """Run message passing at several sizes across the algorithmic transition.

    Parameters
    ----------
    model : PerceptronModel or GLMModel
        A matched problem whose overlap jumps; its ``alpha_u`` or ``alpha`` is not used.
    sizes : array_like of int of shape (n_sizes,)
        Numbers of features, at least 2.
    alphas : array_like of shape (n_loads,) or None, default=None
        Rows per feature, of a `PerceptronModel` the unlabelled ones, increasing; None for nine
        from 0.7 to 1.5 times ``alpha_alg``.
    n_repeats : int, default=20
        Independent data sets at every size and load.
    max_iter : int, default=300
        Limit of each run.
    tol : float, default=1e-6
        Relative change of the weights at which a run has converged.
    damping : float, default=0.3
        Share of the old iterate kept, in [0, 1).
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness; None takes fresh entropy.
    n_jobs : int or None, default=None
        Threads over the runs; changes no bit of the result.
    progress : None, bool, callable or object, default=None
        Called with (runs done, runs); an exception stops the call.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about runs that do not converge: near a transition many are slow, and a run that
        has not settled counts by where it is.

    Returns
    -------
    FiniteSize
        Share of runs that jump, the load at which half of them do, and every run.

    Raises
    ------
    ValueError
        If the overlap does not jump, the model is mismatched, or an argument is outside its domain.
    TypeError
        If ``model`` is no model of this system.
    NumericalError
        If ``on_failure="raise"`` and a run does not converge, or the loads do not enclose the one
        at which half of the runs jump.

    Warns
    -----
    ConvergenceWarning
        If ``on_failure="warn"`` and a run does not converge; it says how many.
    ValidityWarning
        If ``on_failure="warn"`` and several loads do not enclose the one at which half of the runs
        jump, so that ``alpha_half`` is NaN; it says on which side it lies.

    See Also
    --------
    transitions, simulate, phase_diagram

    Notes
    -----
    Derived here (`derivations/perceptron#message-passing`). Half of the runs jump where the share,
    made monotone by its running maximum and joined by straight lines, crosses 1/2; the standard
    error is that of a share of 1/2 over the slope there. Runs start as those of `simulate`.

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, Prior, finite_size
    >>> model = GLMModel(1.0, channel="linear", prior=Prior.sparse(0.1))
    >>> found = finite_size(model, [100], n_repeats=6, on_failure="ignore")
    >>> bool(abs(found.shift[0]) < 0.1)
    True
    >>> from retemper.perceptron import PerceptronModel
    >>> margin = PerceptronModel(0.5, 0.0)
    >>> finite_size(margin, [40], n_repeats=3, on_failure="ignore").theory.alpha_alg < 4.5
    True
    """
    progress = as_callback(progress, "finite_size")
    check_kind(model, "model", PerceptronModel, GLMModel, ERMModel)
    features = [check_integer(n, "sizes", low=2) for n in np.atleast_1d(np.asarray(sizes)).tolist()]
    if not features:
        raise ValueError("sizes must not be empty")
    n_repeats = check_parameter(n_repeats, "n_repeats")
    max_iter = check_parameter(max_iter, "max_iter")
    tol = check_parameter(tol, "tol")
    damping = check_parameter(damping, "damping")
    options: dict[str, Any] = {"max_iter": max_iter, "tol": tol, "damping": damping}
    if isinstance(model, ERMModel):
        raise ValueError(
            "model must be a PerceptronModel or GLMModel, got an ERMModel: minimising a convex "
            "loss has one solution, which does not jump; simulate has its spread at one size"
        )
    if isinstance(model, PerceptronModel):
        problem = _margin_problem(model, options)
    else:
        problem = _glm_problem(model, options)
    alg = _check_jump(problem.theory, "the model")[0]
    loads = alg * np.linspace(0.7, 1.5, 9) if alphas is None else as_float_array(alphas, "alphas")
    if not (loads.size and loads.min() > 0 and (np.diff(loads) > 0).all()):
        raise ValueError("alphas must be positive and increase")
    labels = model.alpha_l if isinstance(model, PerceptronModel) else 0.0
    check_memory(max(features) ** 2 * (float(loads[-1]) + labels), sizes=max(features))
    key = stream_key(random_state)
    cells = [(i, j, k) for i in range(len(features)) for j in range(loads.size)
             for k in range(n_repeats)]  # fmt: skip

    def run(number: int, watch: Progress) -> dict[str, Any]:
        i, j, k = cells[number]
        watch(number, len(cells))
        seed = np.random.SeedSequence([*key, features[i], j, k])
        done = problem.run(
            float(loads[j]), features[i], seed, lambda: watch(number, len(cells))
        )  # fmt: skip
        path = np.full(max_iter, np.nan)  # stays so where no iteration was possible
        path[: len(done["history"])] = done["history"]
        return {**done, "cosine": path[done["n_iter"] - 1], "history": path}

    runs = map_threads(run, len(cells), effective_n_threads(n_jobs), progress, unit="runs")
    shape = (len(features), loads.size, n_repeats)
    samples = {
        name: np.array([r[name] for r in runs]).reshape(*shape, *np.shape(runs[0][name]))
        for name in ("cosine", "n_iter", "residual", "history")
    }
    longest = int(samples["n_iter"].max())
    samples["history"] = samples["history"][..., :longest].copy()
    samples["converged"] = samples["residual"] <= tol
    status = worst_status(r["status"] for r in runs)
    residual = float(samples["residual"].max())
    slow = int((~samples["converged"]).sum())
    said = f"message passing in {slow} of {len(cells)} runs"
    report_status(status, residual, said, on_failure=on_failure)
    share = (samples["cosine"] > problem.cut).mean(axis=-1)
    halves = np.array([_half(loads, row, n_repeats) for row in share])
    if loads.size > 1:
        _report_sides(features, loads, share, halves[:, 0], on_failure)
    return FiniteSize(
        model=model,
        status=status,
        message=status.sentence,
        n_iter=longest,
        residual=residual,
        sizes=np.array(features, dtype=np.int64),
        alphas=loads.copy(),
        theory=problem.theory,
        cosine_cut=problem.cut,
        jump_share=share,
        alpha_half=halves[:, 0],
        alpha_half_stderr=halves[:, 1],
        shift=halves[:, 0] - alg,
        samples=samples,
    )


def _check_jump(theory: Transitions, what: str) -> tuple[float, float]:
    """Where the low branch ends, and its overlap there."""
    if theory.alpha_alg is None or theory.q_alg is None:
        raise ValueError(
            f"the overlap of {what} does not jump at any number of rows: there is no transition to "
            "shift"
        )
    return theory.alpha_alg, theory.q_alg


def _glm_problem(model: GLMModel, options: dict[str, Any]) -> Problem:
    law = matched_law(model, "finite_size")
    lines = transitions(model)
    alg, q_alg = _check_jump(lines, f"{law.channel} with {law.prior}")
    line = bayes_curve(law)
    above = next(b for b in line.branches(alg * (1 + 1e-6))[0] if b.is_stable)

    def run(
        load: float, n_features: int, seed: np.random.SeedSequence, check: Callable[[], object]
    ) -> dict[str, Any]:
        rng = generator(seed)
        drawn = draw(law, load, n_features, rng)
        path: list[float] = []

        def see(_: int, w: FloatArray) -> None:
            check()
            values = measure(drawn.white(w), drawn.rows.w_true, is_even=line.is_even)
            path.append(values["cosine"])

        done = pass_messages(drawn, law, start="auto", rng=rng, see=see, **options)
        return {"n_iter": done.n_iter, "residual": done.residual, "status": done.status,
                "history": path}  # fmt: skip

    return Problem(lines, 0.5 * (above.cosine + math.sqrt(q_alg / line.rho)), run)


def _margin_problem(model: PerceptronModel, options: dict[str, Any]) -> Problem:
    if not model.is_matched:
        raise ValueError("finite_size needs a matched student: leave out kappa_true")
    if model.channel != "margin" or model.prior != "sphere":
        raise ValueError(
            "finite_size of a PerceptronModel is for channel='margin' with prior='sphere', whose "
            f"thresholds are known, got channel={model.channel!r} with prior={model.prior!r}"
        )
    lines = transitions(
        model.kappa, alpha_l=model.alpha_l, sigma=model.sigma, eta_u=model.eta_u, eta_l=model.eta_l
    )
    alg, q_alg = _check_jump(lines, f"a margin of {model.kappa:g}, alpha_l={model.alpha_l:g},")
    above = solve(dataclasses.replace(model, alpha_u=alg * (1 + 1e-6)), n_jobs=1).reachable

    def run(
        load: float, n_features: int, seed: np.random.SeedSequence, check: Callable[[], object]
    ) -> dict[str, Any]:
        key = stream_key(seed)
        here = dataclasses.replace(model, alpha_u=load)
        rows = draw_rows(here, n_features, key, replica=0, dtype="float64", n_threads=1)
        done = core.perceptron.amp(
            rows.X, roles_of(rows.y)[None], [laws_of(model)[0]], prior_of(model),
            start=start_weights("auto", here, rows, key=key, n_threads=1)[None],
            truth=rows.w_true, n_threads=1, progress=lambda *_: check(), **options,
        )  # fmt: skip
        path = np.array(done.cosine[0])
        if (rows.y == UNLABELLED).all():  # up to the sign, which rows do not show
            path = np.abs(path)
        return {"n_iter": done.n_iter[0], "residual": done.residual[0], "status": done.status[0],
                "history": path}  # fmt: skip

    return Problem(lines, 0.5 * (above.cosine + math.sqrt(q_alg)), run)


def _report_sides(
    sizes: list[int], loads: FloatArray, share: FloatArray, half: FloatArray, on_failure: OnFailure
) -> None:
    """Say at which sizes the loads do not enclose the one at which half of the runs jump."""
    open_ = np.isnan(half)
    if on_failure == "ignore" or not open_.any():
        return
    above = share.max(axis=1) < 0.5
    sides = []
    for which, end, edge, more in (
        (open_ & above, "fewer than half of the runs jump up to", loads[-1], "larger"),
        (open_ & ~above, "half of the runs jump already at", loads[0], "smaller"),
    ):
        if which.any():
            named = ", ".join(str(n) for n, is_so in zip(sizes, which, strict=True) if is_so)
            sides.append(
                f"{end} {edge:.4g} rows per feature with {named} features: add {more} ones"
            )
    sentence = f"alphas do not enclose where half of the runs jump; {'; '.join(sides)}"
    if on_failure == "raise":
        raise NumericalError(sentence)
    warnings.warn(sentence, ValidityWarning, stacklevel=3)


def _half(loads: FloatArray, share: FloatArray, n_repeats: int) -> tuple[float, float]:
    """Load at which a share crosses 1/2, and the standard error of that."""
    rising = np.maximum.accumulate(share)
    after = int(np.searchsorted(rising, 0.5))
    if after in (0, loads.size):
        return math.nan, math.nan
    low, high = rising[after - 1], rising[after]
    slope = (high - low) / (loads[after] - loads[after - 1])
    place = loads[after - 1] + (0.5 - low) / slope
    return float(place), float(0.5 / math.sqrt(n_repeats) / slope)
