"""Message passing on rows drawn from the model."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._random import Seed, generator, stream_key
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_real
from retemper.perceptron.channel import hermite_moments
from retemper.perceptron.errors import model_errors
from retemper.perceptron.model import PerceptronModel, laws_of, prior_of
from retemper.perceptron.theory import QUANTITIES, BranchName, solve

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


def sample_rows(
    model: PerceptronModel,
    n_features: int,
    *,
    random_state: Seed = None,
    dtype: DtypeName = "float64",
    n_jobs: int | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Draw rows and a true direction from the model.

    Parameters
    ----------
    model : PerceptronModel
        The problem; its ``kappa_true`` is the margin of the rows.
    n_features : int
        Number of features, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState
        Source of randomness.
    dtype : {"float64", "float32"}, default="float64"
        Storage of the rows.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Labelled rows first.
    y : ndarray of int of shape (n_samples,)
        Classes 0 and 1, and -1 for unlabelled rows.
    side : ndarray of int of shape (n_samples,)
        The class of every row, that of an unlabelled row too.
    w : ndarray of shape (n_features,)
        True weights, ``|w|**2 = n_features``.

    Raises
    ------
    ValueError
        If the model has no rows at this size.

    Notes
    -----
    Derived here; exact, by inversion. Row ``i`` depends on the seed and ``i`` alone.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, sample_rows
    >>> X, y, side, w = sample_rows(PerceptronModel(1.0, 2.0, 0.5), 10, random_state=0)
    >>> X.shape, int((y == -1).sum())
    ((25, 10), 20)
    """
    n_features = check_integer(n_features, "n_features", low=2)
    check_choice(dtype, "dtype", ("float64", "float32"))
    rows, label, n_labelled, w = _draw(
        model,
        n_features,
        stream_key(random_state),
        replica=0,
        dtype=dtype,
        n_threads=effective_n_threads(n_jobs),
    )
    side = (label > 0).astype(np.int64)
    y = np.where(np.arange(side.size) < n_labelled, side, -1)
    return rows, y, side, w


def _draw(
    model: PerceptronModel,
    n_features: int,
    key: tuple[int, int],
    *,
    replica: int,
    dtype: str,
    n_threads: int,
) -> tuple[NDArray[Any], NDArray[np.int8], int, FloatArray]:
    n_labelled = round(model.alpha_l * n_features)
    n_rows = n_labelled + round(model.alpha_u * n_features)
    if n_rows < 1:
        raise ValueError(f"the model has no rows at n_features={n_features}")
    rng = generator(np.random.SeedSequence([*key, replica]))
    w = rng.normal(size=n_features)
    w = np.sign(w) if model.prior == "binary" else w * math.sqrt(n_features / (w @ w))
    sample = (
        core.perceptron.sample_rows if dtype == "float64" else core.perceptron.sample_rows_single
    )
    X, label = sample(laws_of(model)[1], w, n_labelled, n_rows, key, replica, n_threads)
    return X, label, n_labelled, w


def spectral_start(
    X: NDArray[Any],
    use: NDArray[np.bool_],
    second_moment: float,
    key: tuple[int, int],
    n_threads: int,
) -> tuple[FloatArray, float]:
    """Leading direction of the second moments of some rows, scaled to the overlap it should have.

    Returns the weights, and the leading eigenvalue of X'X / n.
    """
    n_features = X.shape[1]
    direction, eigenvalue, _ = core.perceptron.leading_direction(X, use, 100, 1e-3, key, n_threads)
    signal = int(use.sum()) / n_features * second_moment**2
    # squared cosine of the leading eigenvector of a spiked covariance, section 4.5
    overlap = (1 - 1 / signal) / (1 + second_moment / signal) if signal > 1 else 0.0
    return direction * math.sqrt(n_features * max(overlap, 1e-2)), eigenvalue


def _start(
    start: str,
    model: PerceptronModel,
    X: NDArray[Any],
    n_labelled: int,
    *,
    w: FloatArray,
    key: tuple[int, int],
    n_threads: int,
) -> FloatArray:
    if start == "informed":
        return 0.97 * w
    if start == "zero" or (start == "auto" and n_labelled):
        return np.zeros_like(w)
    use = np.arange(X.shape[0]) >= (n_labelled if X.shape[0] > n_labelled else 0)
    _, c2 = hermite_moments(laws_of(model)[0], core.perceptron.RowKind.unlabelled)
    return spectral_start(X, use, c2, key, n_threads)[0]


def simulate(
    model: PerceptronModel,
    n_features: int,
    *,
    n_repeats: int = 10,
    start: Start = "auto",
    max_iter: int = 1000,
    tol: float = 1e-6,
    damping: float = 0.3,
    dtype: DtypeName = "float64",
    random_state: Seed = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: Progress | None = None,
) -> PerceptronSimulation:
    """Run message passing on data drawn from the model.

    Parameters
    ----------
    model : PerceptronModel
        The problem.
    n_features : int
        Number of features, at least 2.
    n_repeats : int, default=10
        Independent data sets, at least 2.
    start : {"auto", "zero", "spectral", "informed"}, default="auto"
        Weights at the start: zero, the leading direction of the unlabelled rows, or 0.97 times
        the truth. "auto" is "zero" with labels and "spectral" without.
    max_iter : int, default=1000
        Limit of each run.
    tol : float, default=1e-6
        Relative change of the weights at which a run has converged.
    damping : float, default=0.3
        Share of the old iterate kept, in [0, 1). A run that oscillates is damped more.
    dtype : {"float64", "float32"}, default="float64"
        Storage of the rows; sums are in double either way.
    random_state : None, int, SeedSequence, Generator or RandomState
        Source of randomness.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about runs that do not converge.
    progress : callable or None, default=None
        Called with (done, total) iterations; an exception stops the run.

    Returns
    -------
    PerceptronSimulation
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

    Notes
    -----
    Derived here: approximate message passing with the precision fixed by the sphere, section 5
    of the theory page.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, simulate
    >>> sample = simulate(PerceptronModel(2.0, 0.5, 0.5), 200, n_repeats=3, random_state=0)
    >>> 0.8 < sample.q < 1
    True
    """
    n_features = check_integer(n_features, "n_features", low=2)
    n_repeats = check_integer(n_repeats, "n_repeats", low=2)
    max_iter = check_integer(max_iter, "max_iter", low=1)
    tol = check_real(tol, "tol", low=0, open_low=True)
    damping = check_real(damping, "damping", low=0, high=1, open_high=True)
    check_choice(start, "start", ("auto", "zero", "spectral", "informed"))
    check_choice(dtype, "dtype", ("float64", "float32"))
    key = stream_key(random_state)
    n_threads = effective_n_threads(n_jobs)
    law = laws_of(model)[0]
    samples: dict[str, list[float]] = {
        name: [] for name in (*QUANTITIES, "n_iter", "residual", "status")
    }
    for replica in range(n_repeats):
        X, label, n_labelled, w = _draw(
            model, n_features, key, replica=replica, dtype=dtype, n_threads=n_threads
        )
        role = np.where(np.arange(label.size) < n_labelled, label, 0).astype(np.int8)
        begin = _start(start, model, X, n_labelled, w=w, key=key, n_threads=n_threads)
        run = core.perceptron.amp(
            X, role[None], [law], prior_of(model), begin[None], max_iter, tol, damping,
            n_threads, progress,
        )  # fmt: skip
        found = run["weights"][0]
        q, m = float(found @ found) / n_features, float(found @ w) / n_features
        m = abs(m) if n_labelled == 0 else m
        cosine = max(-1.0, min(1.0, m / math.sqrt(q))) if q > 0 else 0.0
        values = (q, m, cosine, run["free_entropy"][0], *model_errors(model, cosine))
        rest = (run["n_iter"][0], run["residual"][0], run["status"][0])
        for name, value in zip(samples, (*values, *rest), strict=True):
            samples[name].append(value)
    arrays = {name: np.array(value) for name, value in samples.items()}
    status = Status.from_core(int(arrays.pop("status").max()))
    arrays["converged"] = arrays["residual"] <= tol
    residual = float(arrays["residual"].max())
    report_status(status, residual, "message passing", on_failure=on_failure)
    return PerceptronSimulation(
        model=model,
        n_features=n_features,
        n_repeats=n_repeats,
        status=status,
        n_iter=int(arrays["n_iter"].max()),
        residual=residual,
        message=status.sentence,
        stderr={
            name: float(arrays[name].std(ddof=1) / math.sqrt(n_repeats)) for name in QUANTITIES
        },
        samples=arrays,
        **{name: float(arrays[name].mean()) for name in QUANTITIES},
    )


def compare(
    model: PerceptronModel,
    n_features: int,
    *,
    branch: BranchName = "reachable",
    n_repeats: int = 10,
    random_state: Seed = None,
    **options: Any,
) -> Comparison:
    """Theory against message passing.

    Parameters
    ----------
    model : PerceptronModel
        The problem.
    n_features : int
        Number of features of the simulation.
    branch : {"reachable", "equilibrium", "informed"}, default="reachable"
        Branch to compare with; "informed" also starts the runs at the truth.
    n_repeats : int, default=10
        Independent data sets.
    random_state : None, int, SeedSequence, Generator or RandomState
        Source of randomness.
    **options : dict
        Further arguments of `simulate`.

    Returns
    -------
    Comparison
        Predicted and measured values and their deviations in standard errors. The theory holds
        for many features: deviations of order 1 / n_features are expected beside the noise.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    Notes
    -----
    See `solve` and `simulate`.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, compare
    >>> table = compare(PerceptronModel(2.0, 0.5, 0.5), 400, n_repeats=5, random_state=1)
    >>> bool(abs(table.z[0]) < 5)
    True
    """
    check_choice(branch, "branch", ("reachable", "equilibrium", "informed"))
    if branch == "informed":
        options.setdefault("start", "informed")
    sample = simulate(model, n_features, n_repeats=n_repeats, random_state=random_state, **options)
    return Comparison.of(getattr(solve(model), branch), sample, QUANTITIES)
