"""Where runs of finite size jump, beside the transition of many features."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._domains import check_parameter
from retemper._parallel import map_threads
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, generator, stream_key
from retemper._results import Result
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_kind, check_memory
from retemper.perceptron._simulate_glm import draw, measure, pass_messages
from retemper.perceptron.glm import GLMModel, bayes_curve, matched_law
from retemper.perceptron.model import worst_status
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
    model : GLMModel
        The problem; its ``alpha`` is not used.
    sizes : ndarray of int of shape (n_sizes,)
        Numbers of features.
    alphas : ndarray of shape (n_loads,)
        Rows per feature.
    theory : Transitions
        Thresholds of many features.
    cosine_cut : float
        A run with a larger cosine has jumped: half way between the branches at ``alpha_alg``.
    jump_share : ndarray of shape (n_sizes, n_loads)
        Share of runs that jumped.
    alpha_half, alpha_half_stderr : ndarray of shape (n_sizes,)
        Rows per feature at which half of the runs jump, and its standard error; NaN where the loads
        do not enclose it.
    shift : ndarray of shape (n_sizes,)
        ``alpha_half - theory.alpha_alg``.
    samples : dict of str to ndarray
        ``cosine``, ``n_iter``, ``residual``, ``converged`` of shape (n_sizes, n_loads, n_repeats),
        and ``history``, the cosine after every iteration (one axis more, NaN after the last).

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

    model: GLMModel
    sizes: NDArray[np.int64]
    alphas: FloatArray
    theory: Transitions
    cosine_cut: float
    jump_share: FloatArray
    alpha_half: FloatArray
    alpha_half_stderr: FloatArray
    shift: FloatArray
    samples: dict[str, NDArray[Any]]


def finite_size(
    model: GLMModel,
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
    model : GLMModel
        A matched problem whose overlap jumps; its ``alpha`` is not used.
    sizes : array_like of int of shape (n_sizes,)
        Numbers of features, at least 2.
    alphas : array_like of shape (n_loads,) or None, default=None
        Rows per feature, increasing; None for nine from 0.7 to 1.5 times ``alpha_alg``.
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
        If ``model`` is not a `GLMModel`.
    NumericalError
        If ``on_failure="raise"`` and a run does not converge.

    Warns
    -----
    ConvergenceWarning
        If ``on_failure="warn"`` and a run does not converge.

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
    """
    progress = as_callback(progress, "finite_size")
    check_kind(model, "model", GLMModel)
    law = matched_law(model, "finite_size")
    features = [check_integer(n, "sizes", low=2) for n in np.atleast_1d(np.asarray(sizes)).tolist()]
    if not features:
        raise ValueError("sizes must not be empty")
    n_repeats = check_parameter(n_repeats, "n_repeats")
    max_iter = check_parameter(max_iter, "max_iter")
    tol = check_parameter(tol, "tol")
    damping = check_parameter(damping, "damping")
    lines = transitions(model)
    if lines.alpha_alg is None or lines.q_alg is None:
        raise ValueError(
            f"the overlap of {law.channel} with {law.prior} does not jump at any number of rows: "
            "there is no transition to shift"
        )
    alg = lines.alpha_alg
    loads = alg * np.linspace(0.7, 1.5, 9) if alphas is None else as_float_array(alphas, "alphas")
    if not (loads.size and loads.min() > 0 and (np.diff(loads) > 0).all()):
        raise ValueError("alphas must be positive and increase")
    check_memory(max(features) ** 2 * float(loads[-1]), sizes=max(features))
    curve = bayes_curve(law)
    above = next(b for b in curve.branches(alg * (1 + 1e-6))[0] if b.is_stable)
    cut = 0.5 * (above.cosine + math.sqrt(lines.q_alg / curve.rho))
    key = stream_key(random_state)
    cells = [(i, j, k) for i in range(len(features)) for j in range(loads.size)
             for k in range(n_repeats)]  # fmt: skip

    def run(number: int, watch: Progress) -> dict[str, Any]:
        i, j, k = cells[number]
        watch(number, len(cells))
        rng = generator(np.random.SeedSequence([*key, features[i], j, k]))
        drawn = draw(law, float(loads[j]), features[i], rng)
        history = np.full(max_iter, np.nan)

        def see(n_iter: int, w: FloatArray) -> None:
            watch(number, len(cells))
            value = measure(drawn.white(w), drawn.rows.w_true, is_even=curve.is_even)["cosine"]
            history[n_iter - 1] = value

        done = pass_messages(
            drawn, law, start="auto", max_iter=max_iter, tol=tol, damping=damping, rng=rng,
            see=see,
        )  # fmt: skip
        return {
            "cosine": history[done.n_iter - 1],
            "n_iter": done.n_iter,
            "residual": done.residual,
            "status": done.status,
            "history": history,
        }

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
    report_status(status, residual, "message passing", on_failure=on_failure)
    share = (samples["cosine"] > cut).mean(axis=-1)
    halves = np.array([_half(loads, row, n_repeats) for row in share])
    return FiniteSize(
        model=model,
        status=status,
        message=status.sentence,
        n_iter=longest,
        residual=residual,
        sizes=np.array(features, dtype=np.int64),
        alphas=loads.copy(),
        theory=lines,
        cosine_cut=cut,
        jump_share=share,
        alpha_half=halves[:, 0],
        alpha_half_stderr=halves[:, 1],
        shift=halves[:, 0] - alg,
        samples=samples,
    )


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
