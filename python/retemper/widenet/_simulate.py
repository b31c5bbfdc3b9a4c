"""Finite networks sampled from their posterior: the experiment that the theory predicts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeAlias

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_kind
from retemper.widenet.activations import name_of
from retemper.widenet.chains import (
    ERRORS,
    ORDER_PARAMETERS,
    ChainEstimates,
    estimate_from_draws,
    extrapolate_step,
)
from retemper.widenet.coupled import Task
from retemper.widenet.kernel_problem import Source, problem_of_data
from retemper.widenet.kernels import activation_mean, activation_of, table_of
from retemper.widenet.model import WideNetModel
from retemper.widenet.problem import Data, Problem
from retemper.widenet.several import SeveralProblem
from retemper.widenet.theory import solve

__all__ = ["WideNetSimulation", "compare", "simulate"]

Method: TypeAlias = Literal["auto", "hmc", "gibbs", "langevin"]
_METHODS = ("hmc", "gibbs", "langevin")
_LARGEST_R_HAT = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WideNetSimulation(Result):
    """Averages over sampled source and target networks (see `simulate`).

    Fields are named as in `WideNetTheory`.

    Parameters
    ----------
    status : Status
        ``stalled`` if the source chains disagree (split R-hat above 1.1).
    n_iter : int
        Sweeps, of all chains.
    residual : float
        Split R-hat minus one, the larger of read-out norm and energy of the source chains.
    message : str
        What happened, in words.
    model : WideNetModel
        What was sampled.
    Q_s, Q_t : float or ndarray of shape (n_outputs, n_outputs)
        ``lam1 |v|^2 / width`` of source and target read-out; matrices where outputs share a layer.
    Q_tt : float or ndarray
        Overlap of two independent target runs from the same source network.
    Q_st : float or ndarray
        Overlap of source and target read-out. Q_s and Q_st have shape (n_sources,) for several
        sources.
    delta : float or ndarray
        Q_t - Q_tt.
    bias, thermal, quenched, test_error : float or None
        Errors on the test data, without bias from the finite number of networks. None without test
        data.
    error_rate : float or None
        Share of wrong signs over test points and networks; None unless every test label is -1 or
        +1.
    mean : ndarray of shape (n_test,) or None
        Mean prediction.
    stderr : dict of str to float
        Standard errors over independent chains, by the jackknife.
    samples : dict of str to ndarray of shape (n_chains,)
        Values of single chains: order parameters, ``thermal`` and ``test_error``. Bias and
        quenched variance need several chains.
    r_hat : float
        Largest split R-hat.
    ess : float
        Smaller effective sample size of the source's read-out norm and energy, all chains together.
    acceptance_source, acceptance_target : float
        Acceptance rates of source and target chains after burn-in; 1 where nothing is rejected.
    samples_per_dimension : float
        As in `WideNetTheory`.

    See Also
    --------
    simulate, WideNetTheory

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, simulate
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(40, 30)), rng.normal(size=30) / 30**0.5
    >>> tasks = (X[:10], X[:10] @ teacher), (X[10:], X[10:] @ teacher)
    >>> model = WideNetModel(20, activation="linear", gamma=1.0)
    >>> sample = simulate(model, *tasks, n_chains=3, n_draws=4, on_failure="ignore")
    >>> bool(sample.Q_s > 0)
    True
    """

    model: WideNetModel
    Q_s: Any
    Q_t: Any
    Q_tt: Any
    Q_st: Any
    delta: Any
    bias: float | None
    thermal: float | None
    quenched: float | None
    test_error: float | None
    error_rate: float | None
    mean: Any
    stderr: dict[str, Any]
    samples: dict[str, FloatArray]
    r_hat: float
    ess: float
    acceptance_source: float
    acceptance_target: float
    samples_per_dimension: float


def simulate(
    model: WideNetModel,
    target: Data,
    source: Source | None = None,
    test: Data | None = None,
    *,
    n_chains: int = 16,
    n_draws: int = 10,
    n_burn_source: int = 250,
    n_thin_source: int = 10,
    n_burn_target: int = 60,
    n_sweeps_target: int = 40,
    method: Method = "auto",
    n_steps: int = 10,
    step_size: float = 0.1,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> WideNetSimulation:
    r"""Sample source networks and, from each, target networks of finite width.

    Every chain draws ``n_draws`` source networks; from each of them two independent target chains
    are started, whose product of means gives the overlap ``Q_tt`` and the quenched variance without
    bias. Given the first layer, the read-out is integrated out exactly. With an elastic coupling
    sources and target move together: every chain is two independent groups of networks, and a draw
    averages each over ``n_thin_source`` sweeps.

    Parameters
    ----------
    model : WideNetModel
        The networks; the width must be a finite integer.
    target, source, test : tuple of array_like
        As in `solve`, with one output, or several where heads are shared. A source of None is a
        draw from the prior.
    n_chains : int, default=16
        Independent repeats, at least 3: source chains, of which standard errors are taken.
    n_draws : int, default=10
        Source networks from each chain.
    n_burn_source, n_thin_source : int, default=250 and 10
        Sweeps of a source chain before the first network, and between two.
    n_burn_target, n_sweeps_target : int, default=60 and 40
        Sweeps of a target chain that are discarded, and averaged; not used where the coupling is
        elastic.
    method : {"auto", "hmc", "gibbs", "langevin"}, default="auto"
        ``"hmc"``: Hamiltonian Monte Carlo on the first layer, its step adapted in the burn-in
        alone. ``"gibbs"``: exact alternation of read-out and first layer, linear networks only.
        ``"auto"``: the second where it applies. ``"langevin"``: gradient steps with noise, for
        teaching; run at ``step_size`` and half of it, and extrapolated to zero.
    n_steps : int, default=10
        Leapfrog or Langevin steps of a sweep.
    step_size : float, default=0.1
        First leapfrog step, in units of the prior's standard deviation, or the learning rate of
        Langevin steps on :math:`\frac12 \sum (y - f)^2`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Fixes every random number; None asks for fresh entropy.
    n_jobs : int or None, default=None
        Threads, one chain each; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (done, total) source networks.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the source chains disagree.

    Returns
    -------
    WideNetSimulation
        Means, standard errors and diagnostics of mixing.

    Raises
    ------
    ValueError
        If the width is not a finite integer, labels have several columns, a number is outside its
        domain, or Gibbs sampling is asked of a nonlinear network.
    TypeError
        If an argument is of the wrong type.
    NumericalError
        If weights of infinite energy are met.

    Warns
    -----
    ConvergenceWarning
        If the source chains disagree: split R-hat above 1.1.

    See Also
    --------
    solve, compare

    References
    ----------
    .. [1] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011). The collapsed energy and the Gibbs sampler are derived here
       (`derivations/widenet#sampling`).
    .. [2] A. Gelman and D. B. Rubin, "Inference from Iterative Simulation Using Multiple
       Sequences", Statist. Sci. 7 (1992) 457-472.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, simulate
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(30, 10)), rng.normal(size=10) / 10**0.5
    >>> data = (X[:10], X[:10] @ teacher), (X[10:], X[10:] @ teacher)
    >>> out = simulate(WideNetModel(20, "linear", gamma=1.0), *data, random_state=0)
    >>> 0.5 < out.Q_s < 1.5
    True
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", WideNetModel)
    width = _integer_width(model)
    problem = problem_of_data(target, source, test)
    n_outputs = problem.target.y.shape[1]
    sampler = _choose_sampler(model, method, n_outputs)
    schedule = {
        "method": core.widenet.Method[sampler],
        "n_chains": check_integer(n_chains, "n_chains", low=3),
        "n_draws": check_integer(n_draws, "n_draws", low=1),
        "n_burn_source": check_integer(n_burn_source, "n_burn_source", low=0),
        "n_thin_source": check_integer(n_thin_source, "n_thin_source", low=1),
        "n_burn_target": check_integer(n_burn_target, "n_burn_target", low=0),
        "n_sweeps_target": check_integer(n_sweeps_target, "n_sweeps_target", low=1),
        "n_steps": check_integer(n_steps, "n_steps", low=1),
        "step_size": check_parameter(step_size, "step_size"),
    }
    if n_outputs > 1 and model.heads == "independent":
        raise ValueError(
            "simulate takes one output where heads are independent; call it once per column of y"
        )
    if n_outputs > 1 and sampler != "hmc":
        raise ValueError(f"method {sampler!r} takes one output, got {n_outputs}; use 'hmc'")
    sources, weights = _sources_of(problem)
    data = [s for s in sources if s is not None]
    tasks = [problem.target, *data, *([] if problem.test is None else [problem.test])]
    largest_var = max(float(t.norms.max()) for t in tasks) / model.lam0
    law = core.widenet.NetworkLaw(
        activation=activation_of(model.activation),
        table=table_of(model.activation, largest_var),
        width=width,
        n_hidden_layers=model.n_hidden_layers,
        lam0=model.lam0,
        lam1=model.lam1,
        lam1_source=1.0 / model.inv_lam1_source,
        temperature_source=model.temperature_source,
        temperature_target=model.temperature_target,
        gamma=model.gamma,
        source_weights=weights,
        is_elastic=model.coupling == "elastic",
    )
    n_threads, key = effective_n_threads(n_jobs), stream_key(random_state)
    nothing = np.empty((0, problem.target.X.shape[1]))

    def run(salt: int, **changes: Any) -> ChainEstimates:
        draws = core.widenet.simulate(
            law=law,
            schedule=core.widenet.Schedule(**schedule | changes),
            source_X=np.vstack([s.X for s in data]) if data else nothing,
            source_y=np.vstack([s.y for s in data]) if data else np.empty((0, n_outputs)),
            source_rows=[0 if s is None else len(s.X) for s in sources],
            target_X=problem.target.X,
            target_y=problem.target.y,
            test_X=nothing if problem.test is None else problem.test.X,
            key=(key[0] ^ salt, key[1]),
            n_threads=n_threads,
            progress=progress,
        )
        labels = None if problem.test is None else problem.test.y
        return estimate_from_draws(draws, labels, schedule["n_chains"], len(sources))

    found = run(0)
    if sampler == "langevin":
        found = extrapolate_step(found, run(1, step_size=step_size / 2, n_steps=2 * n_steps))
    status = Status.CONVERGED if found.r_hat <= _LARGEST_R_HAT else Status.STALLED
    is_elastic = model.coupling == "elastic"
    per_target = 2 * (n_burn_target + n_sweeps_target)
    if is_elastic or math.isinf(model.gamma):
        per_target = 0
    values: dict[str, Any] = {**dict.fromkeys(ERRORS), **found.values}
    result = WideNetSimulation(
        model=model,
        mean=found.mean,
        stderr=found.stderr,
        samples=found.samples,
        r_hat=found.r_hat,
        ess=found.ess,
        acceptance_source=found.acceptance_source,
        acceptance_target=found.acceptance_target,
        samples_per_dimension=problem.samples_per_dimension,
        status=status,
        n_iter=n_chains
        * (
            (1 + is_elastic) * len(sources) * (n_burn_source + n_draws * n_thin_source)
            + n_draws * per_target
        ),
        residual=found.r_hat - 1.0,
        message=status.sentence
        if status is Status.CONVERGED
        else f"the source chains disagree: split R-hat {found.r_hat:.3f}",
        **values,
    )
    report_status(
        status,
        result.residual,
        "simulate: source chains, R-hat - 1:",
        on_failure=on_failure,
    )
    return result


def compare(
    model: WideNetModel,
    target: Data,
    source: Source | None = None,
    test: Data | None = None,
    *,
    n_chains: int = 16,
    n_draws: int = 10,
    n_burn_source: int = 250,
    n_thin_source: int = 10,
    n_burn_target: int = 60,
    n_sweeps_target: int = 40,
    method: Method = "auto",
    n_steps: int = 10,
    step_size: float = 0.1,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory and simulation side by side.

    Parameters
    ----------
    model : WideNetModel
        The networks.
    target, source, test : tuple of array_like
        As in `solve`.
    n_chains, n_draws, n_burn_source, n_thin_source, n_burn_target, n_sweeps_target : int
        As in `simulate`.
    method : {"auto", "hmc", "gibbs", "langevin"}, default="auto"
        As in `simulate`.
    n_steps : int, default=10
        As in `simulate`.
    step_size : float, default=0.1
        As in `simulate`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        As in `simulate`.
    n_jobs : int or None, default=None
        As in `simulate`.
    progress : None, bool, callable or object, default=None
        As in `simulate`.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the chains disagree, or the theory is not valid.

    Returns
    -------
    Comparison
        Order parameters and errors with z-scores. At finite width the theory is off by a relative
        error of order 1 / width, so that z grows with the length of the simulation.

    Raises
    ------
    ValueError
        As in `solve` and `simulate`.

    See Also
    --------
    solve, simulate, retemper.compare

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, compare
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(30, 10)), rng.normal(size=10) / 10**0.5
    >>> data = (X[:10], X[:10] @ teacher), (X[10:], X[10:] @ teacher)
    >>> result = compare(WideNetModel(40, "linear", gamma=1.0), *data, random_state=0)
    >>> result.names
    ('Q_s', 'Q_t', 'Q_tt', 'Q_st')
    """
    progress = as_callback(progress, "compare")
    # first what costs little: it may refuse
    theory = solve(model, target, source, test, n_jobs=n_jobs, on_failure=on_failure)
    sample = simulate(
        model,
        target,
        source,
        test,
        n_chains=n_chains,
        n_draws=n_draws,
        n_burn_source=n_burn_source,
        n_thin_source=n_thin_source,
        n_burn_target=n_burn_target,
        n_sweeps_target=n_sweeps_target,
        method=method,
        n_steps=n_steps,
        step_size=step_size,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
        on_failure=on_failure,
    )
    names = [*ORDER_PARAMETERS] + ([] if test is None else [*ERRORS])
    is_elastic = model.coupling == "elastic"
    if model.gamma == 0.0 or is_elastic:  # zero by symmetry; read-outs share the labels' mean
        zero = {"quenched"}
        if not activation_mean(model.activation, np.ones(1) / model.lam0).any():
            zero |= {"Q_tt"} if is_elastic and model.gamma > 0.0 else {"Q_tt", "Q_st"}
        names = [n for n in names if n not in zero]
    if sample.error_rate is None:
        names = [n for n in names if n != "error_rate"]
    if np.ndim(sample.Q_s):
        return _entry_by_entry(theory, sample, names)
    return Comparison.of(theory, sample, names)


def _entry_by_entry(theory: Any, sample: Any, names: list[str]) -> Comparison:
    """Vectors by their entries, matrices by those on and above the diagonal, Q_st by all."""
    labels: list[str] = []
    numbers: list[list[float]] = []
    for name in names:
        sources = (getattr(theory, name), getattr(sample, name), sample.stderr[name])
        values = [np.asarray(v) for v in sources]
        for at in np.ndindex(*values[1].shape):
            if name == "Q_st" or len(at) < 2 or at[0] <= at[1]:
                labels.append(name + (f"[{', '.join(map(str, at))}]" if at else ""))
                numbers.append([float(v[at]) for v in values])
    return Comparison(tuple(labels), *np.array(numbers).T)


def _sources_of(problem: Problem) -> tuple[list[Task | None], list[float]]:
    """Data of every source, None for an anchor, and their weights."""
    if isinstance(problem, SeveralProblem):
        return problem.tasks, problem.weights.tolist()
    return [problem.source], [1.0]


def _integer_width(model: WideNetModel) -> int:
    if math.isinf(model.width) or model.width != int(model.width):
        raise ValueError(f"width must be a finite integer to be sampled, got {model.width:g}")
    return int(model.width)


def _choose_sampler(model: WideNetModel, method: str, n_outputs: int) -> str:
    check_choice(method, "method", ("auto", *_METHODS))
    is_plain = model.activation == "linear" and model.n_hidden_layers == 1
    is_elastic = model.coupling == "elastic"
    if method == "auto":
        return "gibbs" if is_plain and n_outputs == 1 and not is_elastic else "hmc"
    if is_elastic and method != "hmc":
        raise ValueError(f"method {method!r} needs coupling='one_way'; use 'hmc'")
    if method == "gibbs" and not is_plain:
        raise ValueError(
            "method 'gibbs' needs the linear activation and one hidden layer, got "
            f"{name_of(model.activation)!r} and n_hidden_layers = {model.n_hidden_layers}"
        )
    if method == "langevin" and model.n_hidden_layers > 1:
        raise ValueError(f"method 'langevin' needs one hidden layer, got {model.n_hidden_layers}")
    if method == "langevin" and not min(model.temperature_source, model.temperature_target) > 0.0:
        raise ValueError(
            "method 'langevin' needs temperature_source and temperature_target above 0"
        )
    return method
