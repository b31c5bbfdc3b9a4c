"""Message passing on rows drawn from the model."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, generator, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_kind, check_memory
from retemper.perceptron._simulate_glm import GLMRows, GLMSimulation, sample_glm, simulate_glm
from retemper.perceptron.errors import model_errors
from retemper.perceptron.glm import GLM_QUANTITIES, GLMModel
from retemper.perceptron.model import (
    UNLABELLED,
    PerceptronModel,
    laws_of,
    prior_of,
    worst_status,
)
from retemper.perceptron.passing import roles_of, spectral_start
from retemper.perceptron.saddle import ERMModel
from retemper.perceptron.theory import QUANTITIES, BranchName, solve

__all__ = ["PerceptronSimulation", "SampledRows", "compare", "sample_rows", "simulate"]

Start = Literal["auto", "zero", "spectral", "informed"]
DtypeName = Literal["float64", "float32"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PerceptronSimulation(Result):
    """What `simulate` measures; see `simulate`.

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
    model : PerceptronModel
        The problem.
    n_features, n_repeats : int
        Size and number of independent data sets.
    q, m, cosine, free_entropy, error_margin, error_gauss : float
        Means over the repeats; as in `PerceptronBranch`, with the Bethe free entropy.
    stderr : dict of str to float
        Standard errors of these means.
    samples : dict of str to ndarray of shape (n_repeats,)
        The single values, and ``n_iter``, ``residual`` and ``converged`` of each run.

    See Also
    --------
    simulate, PerceptronTheory

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, simulate
    >>> sample = simulate(PerceptronModel(2.0, 0.5, 0.5), n_features=100, n_repeats=3)
    >>> sample.n_repeats, bool(sample.cosine > 0.8)
    (3, True)
    """

    model: PerceptronModel
    n_features: int
    n_repeats: int
    q: float
    m: float
    cosine: float
    free_entropy: float
    error_margin: float
    error_gauss: float
    stderr: dict[str, float]
    samples: dict[str, NDArray[Any]]


class SampledRows(NamedTuple):
    """Rows drawn from a model; see `sample_rows`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, labelled ones first.
    y : ndarray of int of shape (n_samples,)
        Classes 0 and 1, and -1 for unlabelled rows.
    side : ndarray of int of shape (n_samples,)
        The class of every row, that of an unlabelled row too.
    w_true : ndarray of shape (n_features,)
        True weights, ``|w|**2 = n_features``.

    See Also
    --------
    sample_rows

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, sample_rows
    >>> rows = sample_rows(PerceptronModel(1.0, 0.5, 0.1), 100, random_state=0)
    >>> rows.X.shape, rows.w_true.shape
    ((60, 100), (100,))
    """

    X: NDArray[Any]
    y: NDArray[np.int64]
    side: NDArray[np.int64]
    w_true: FloatArray


@overload
def sample_rows(
    model: PerceptronModel,
    n_features: int,
    *,
    random_state: Seed = ...,
    dtype: DtypeName = ...,
    n_jobs: int | None = ...,
) -> SampledRows: ...
@overload
def sample_rows(
    model: GLMModel,
    n_features: int,
    *,
    random_state: Seed = ...,
    dtype: DtypeName = ...,
    n_jobs: int | None = ...,
) -> GLMRows: ...
def sample_rows(
    model: PerceptronModel | GLMModel,
    n_features: int,
    *,
    random_state: Seed = 0,
    dtype: DtypeName = "float64",
    n_jobs: int | None = None,
) -> SampledRows | GLMRows:
    """Draw rows and a true direction from the model.

    Parameters
    ----------
    model : PerceptronModel or GLMModel
        The problem; its ``kappa_true``, ``channel_true`` and ``prior_true`` are those of the rows.
    n_features : int
        Number of features, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness; None takes fresh entropy.
    dtype : {"float64", "float32"}, default="float64"
        Storage of the rows.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    SampledRows
        Rows ``X``, labels ``y``, hidden classes ``side`` and true weights ``w_true``.

    Raises
    ------
    ValueError
        If the model has no rows at this size.

    See Also
    --------
    simulate, message_passing

    Notes
    -----
    Derived here (`derivations/perceptron#message-passing`); exact, by inversion. Row ``i`` depends
    on the seed and ``i`` alone.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, sample_rows
    >>> rows = sample_rows(PerceptronModel(1.0, 2.0, 0.5), 10)
    >>> rows.X.shape, int((rows.y == -1).sum())
    ((25, 10), 20)
    """
    check_kind(model, "model", PerceptronModel, GLMModel)
    n_features = check_integer(n_features, "n_features", low=2)
    _check_rows(model, n_features)
    check_choice(dtype, "dtype", ("float64", "float32"))
    if isinstance(model, GLMModel):
        seed = np.random.SeedSequence([*stream_key(random_state), 0])
        rows = sample_glm(model, n_features, generator(seed))
        return rows._replace(X=rows.X.astype(dtype, copy=False))
    return draw_rows(
        model,
        n_features,
        stream_key(random_state),
        replica=0,
        dtype=dtype,
        n_threads=effective_n_threads(n_jobs),
    )


def _check_rows(model: PerceptronModel | GLMModel | ERMModel, n_features: int) -> None:
    rows = model.alpha if isinstance(model, GLMModel | ERMModel) else model.alpha_u + model.alpha_l
    check_memory(n_features**2 * rows / 2, n_features=n_features)


def draw_rows(
    model: PerceptronModel,
    n_features: int,
    key: tuple[int, int],
    *,
    replica: int,
    dtype: str,
    n_threads: int,
) -> SampledRows:
    """Rows and direction of one replica."""
    n_labelled = round(model.alpha_l * n_features)
    n_rows = n_labelled + round(model.alpha_u * n_features)
    if n_rows < 1:
        raise ValueError(f"the model has no rows at n_features={n_features}")
    rng = generator(np.random.SeedSequence([*key, replica]))
    w = rng.normal(size=n_features)
    w = np.sign(w) if model.prior == "binary" else w * math.sqrt(n_features / (w @ w))
    drawn = core.perceptron.sample_rows(
        laws_of(model)[1],
        w,
        n_labelled=n_labelled,
        n_rows=n_rows,
        key=key,
        replica=replica,
        single=dtype == "float32",
        n_threads=n_threads,
    )
    side = (drawn.side > 0).astype(np.int64)
    return SampledRows(drawn.X, np.where(np.arange(n_rows) < n_labelled, side, UNLABELLED), side, w)


def start_weights(
    start: str,
    model: PerceptronModel,
    rows: SampledRows,
    *,
    key: tuple[int, int],
    n_threads: int,
) -> FloatArray:
    """Weights at the start of a run."""
    unlabelled = rows.y == UNLABELLED
    has_labels = not unlabelled.all()
    if start == "informed":
        return 0.97 * rows.w_true
    if start == "zero" or (start == "auto" and has_labels):
        return np.zeros_like(rows.w_true)
    use = unlabelled if unlabelled.any() else ~unlabelled
    moment = core.perceptron.hermite_moments(
        laws_of(model)[0], core.perceptron.RowKind.unlabelled
    ).second
    return spectral_start(rows.X, use, moment, key=key, n_threads=n_threads).weights


@overload
def simulate(
    model: PerceptronModel,
    *,
    n_features: int = ...,
    n_repeats: int = ...,
    start: Start = ...,
    max_iter: int = ...,
    tol: float = ...,
    damping: float = ...,
    dtype: DtypeName = ...,
    random_state: Seed = ...,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    on_failure: OnFailure = ...,
) -> PerceptronSimulation: ...
@overload
def simulate(
    model: GLMModel | ERMModel,
    *,
    n_features: int = ...,
    n_repeats: int = ...,
    start: Start = ...,
    max_iter: int = ...,
    tol: float = ...,
    damping: float = ...,
    dtype: DtypeName = ...,
    random_state: Seed = ...,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    on_failure: OnFailure = ...,
) -> GLMSimulation: ...
def simulate(
    model: PerceptronModel | GLMModel | ERMModel,
    *,
    n_features: int = 1000,
    n_repeats: int = 10,
    start: Start = "auto",
    max_iter: int = 1000,
    tol: float = 1e-6,
    damping: float = 0.3,
    dtype: DtypeName = "float64",
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> PerceptronSimulation | GLMSimulation:
    """Run message passing on data drawn from the model.

    Parameters
    ----------
    model : PerceptronModel, GLMModel or ERMModel
        The problem.
    n_features : int, default=1000
        Number of features, at least 2.
    n_repeats : int, default=10
        Independent data sets, at least 2.
    start : {"auto", "zero", "spectral", "informed"}, default="auto"
        Weights at the start: zero, the leading direction of the unlabelled rows, or 0.97 times
        the truth. "auto" is "zero" with labels and "spectral" without; of a `GLMModel`, "spectral"
        where a first step from zero would say nothing.
    max_iter : int, default=1000
        Limit of each run; of an `ERMModel`, a twentieth of its solver's.
    tol : float, default=1e-6
        Relative change of the weights at which a run has converged.
    damping : float, default=0.3
        Share of the old iterate kept, in [0, 1). A run that oscillates is damped more.
    dtype : {"float64", "float32"}, default="float64"
        Storage of the rows, sums are in double either way; not used by a `GLMModel`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness; None takes fresh entropy.
    n_jobs : int or None, default=None
        Threads over the repeats; changes no bit of the result.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats); an exception stops the run.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about runs that do not converge.

    Returns
    -------
    PerceptronSimulation or GLMSimulation
        Means, standard errors and single values.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    NumericalError
        If ``on_failure="raise"`` and a run does not converge.

    Warns
    -----
    ConvergenceWarning
        If a run does not converge.

    See Also
    --------
    solve, state_evolution, compare

    Notes
    -----
    Derived here (`derivations/perceptron#message-passing`): approximate message passing with the
    precision fixed by the sphere, section 5 of the theory page. An `ERMModel` is minimised by
    SciPy's L-BFGS-B, a linear solve or scikit-learn's `LinearSVC`.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, simulate
    >>> sample = simulate(PerceptronModel(2.0, 0.5, 0.5), n_features=200, n_repeats=3)
    >>> 0.8 < sample.q < 1
    True
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", PerceptronModel, GLMModel, ERMModel)
    n_features = check_integer(n_features, "n_features", low=2)
    _check_rows(model, n_features)
    n_repeats = check_parameter(n_repeats, "n_repeats")
    max_iter = check_parameter(max_iter, "max_iter")
    tol = check_parameter(tol, "tol")
    damping = check_parameter(damping, "damping")
    check_choice(start, "start", ("auto", "zero", "spectral", "informed"))
    check_choice(dtype, "dtype", ("float64", "float32"))
    if isinstance(model, GLMModel | ERMModel):
        return simulate_glm(
            model,
            n_features=n_features,
            n_repeats=n_repeats,
            start=start,
            max_iter=max_iter,
            tol=tol,
            damping=damping,
            random_state=random_state,
            n_jobs=n_jobs,
            progress=progress,
            on_failure=on_failure,
        )
    key = stream_key(random_state)
    law, _ = laws_of(model)
    n_threads = max(1, effective_n_threads(n_jobs) // n_repeats)  # of each repeat

    def run(replica: int, watch: Progress) -> dict[str, Any]:
        rows = draw_rows(model, n_features, key, replica=replica, dtype=dtype, n_threads=n_threads)
        done = core.perceptron.amp(
            rows.X,
            roles_of(rows.y)[None],
            [law],
            prior_of(model),
            start=start_weights(start, model, rows, key=key, n_threads=n_threads)[None],
            max_iter=max_iter,
            tol=tol,
            damping=damping,
            n_threads=n_threads,
            progress=watch,
        )
        found = done.weights[0]
        q, m = float(found @ found) / n_features, float(found @ rows.w_true) / n_features
        m = abs(m) if (rows.y == UNLABELLED).all() else m
        cosine = max(-1.0, min(1.0, m / math.sqrt(q))) if q > 0 else 0.0
        errors = model_errors(model, cosine)
        return {
            "q": q,
            "m": m,
            "cosine": cosine,
            "free_entropy": done.free_entropy[0],
            "error_margin": errors.margin,
            "error_gauss": errors.gauss,
            "n_iter": done.n_iter[0],
            "residual": done.residual[0],
            "status": done.status[0],
        }

    runs = run_repeats(run, n_repeats, n_jobs=n_jobs, progress=progress)
    samples = {name: np.array([r[name] for r in runs]) for name in runs[0] if name != "status"}
    samples["converged"] = samples["residual"] <= tol
    status = worst_status(r["status"] for r in runs)
    residual = float(samples["residual"].max())
    report_status(status, residual, "message passing", on_failure=on_failure)
    means = mean_and_stderr({name: samples[name] for name in QUANTITIES})
    mean = {name: float(value) for name, value in means.mean.items()}
    return PerceptronSimulation(
        model=model,
        n_features=n_features,
        n_repeats=n_repeats,
        status=status,
        n_iter=int(samples["n_iter"].max()),
        residual=residual,
        message=status.sentence,
        stderr={name: float(value) for name, value in means.stderr.items()},
        samples=samples,
        **mean,
    )


def compare(
    model: PerceptronModel | GLMModel | ERMModel,
    *,
    branch: BranchName = "reachable",
    n_features: int = 1000,
    n_repeats: int = 10,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
    **options: Any,
) -> Comparison:
    """Theory against message passing.

    Parameters
    ----------
    model : PerceptronModel, GLMModel or ERMModel
        The problem.
    branch : {"reachable", "equilibrium", "informed"}, default="reachable"
        Branch to compare with; "informed" also starts the runs at the truth.
    n_features : int, default=1000
        Number of features of the simulation.
    n_repeats : int, default=10
        Independent data sets.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness; None takes fresh entropy.
    n_jobs : int or None, default=None
        Threads over the repeats; changes no bit of the result.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats); an exception stops the run.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about runs that do not converge, or where the theory fails.
    **options : dict
        Further options of `simulate`: ``start``, ``max_iter``, ``tol``, ``damping``, ``dtype``.

    Returns
    -------
    Comparison
        Predicted and measured values and their deviations in standard errors. The theory holds
        for many features: deviations of order 1 / n_features are expected beside the noise.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    NumericalError
        If ``on_failure="raise"`` and the theory or a run fails.

    See Also
    --------
    solve, simulate, retemper.compare

    Notes
    -----
    See `solve` and `simulate`.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, compare
    >>> table = compare(PerceptronModel(2.0, 0.5, 0.5), n_features=400, n_repeats=5)
    >>> bool(abs(table.z[0]) < 5)
    True
    >>> from retemper.perceptron import GLMModel
    >>> table = compare(GLMModel(2.0, channel="logistic"), n_features=200, n_repeats=5)
    >>> bool(abs(table.z[0]) < 5)
    True
    """
    progress = as_callback(progress, "compare")
    check_choice(branch, "branch", ("reachable", "equilibrium", "informed"))
    if branch == "informed":
        options.setdefault("start", "informed")
    sample = simulate(
        model,
        n_features=n_features,
        n_repeats=n_repeats,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
        on_failure=on_failure,
        **options,
    )
    theory = solve(model, n_jobs=n_jobs, on_failure=on_failure)
    names = GLM_QUANTITIES if isinstance(model, GLMModel | ERMModel) else QUANTITIES
    return Comparison.of(getattr(theory, branch), sample, names)
