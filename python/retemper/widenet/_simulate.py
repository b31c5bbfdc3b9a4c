"""Finite networks sampled from their posterior: the experiment that the theory predicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._control import Progress, report_status
from retemper._dispatch import core
from retemper._random import Seed, stream_key
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_real
from retemper.widenet.model import ACTIVATIONS, WideNetModel
from retemper.widenet.theory import Data, Problem, expect_model, solve

__all__ = ["WideNetSimulation", "compare", "simulate"]

Method: TypeAlias = Literal["auto", "hmc", "gibbs", "langevin"]
_METHODS = ("hmc", "gibbs", "langevin")
_LARGEST_R_HAT = 1.1
_ORDER_PARAMETERS = ("Q_s", "Q_t", "Q_tt", "Q_st")
_ERRORS = ("bias", "thermal", "quenched", "test_error")


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
    Q_s, Q_t : float
        ``lam1 |v|^2 / width`` of source and target read-out.
    Q_tt : float
        Overlap of two independent target runs from the same source network.
    Q_st : float
        Overlap of source and target read-out.
    delta : float
        Q_t - Q_tt.
    bias, thermal, quenched, test_error : float or None
        Errors on the test data, without bias from the finite number of networks. None without test
        data.
    mean : ndarray of shape (n_test,) or None
        Mean prediction.
    stderr : mapping of str to float
        Standard errors over independent chains, by the jackknife.
    r_hat : float
        Largest split R-hat.
    ess : float
        Smaller effective sample size of the source's read-out norm and energy, all chains together.
    acceptance : tuple of float
        Acceptance rates of source and target chains after burn-in; 1 where nothing is rejected.
    """

    model: WideNetModel
    Q_s: float
    Q_t: float
    Q_tt: float
    Q_st: float
    delta: float
    bias: float | None
    thermal: float | None
    quenched: float | None
    test_error: float | None
    mean: Any
    stderr: Mapping[str, float]
    r_hat: float
    ess: float
    acceptance: tuple[float, float]


def simulate(
    model: WideNetModel,
    target: Data,
    source: Data | None = None,
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
    progress: Progress | None = None,
) -> WideNetSimulation:
    r"""Sample source networks and, from each, target networks of finite width.

    Every chain draws ``n_draws`` source networks; from each of them two independent target chains
    are started, whose product of means gives the overlap ``Q_tt`` and the quenched variance without
    bias. Given the first layer, the read-out is integrated out exactly.

    Parameters
    ----------
    model : WideNetModel
        The networks; the width must be a finite integer.
    target, source, test : tuple of array_like
        As in `solve`, with one output. A source of None is a draw from the prior.
    n_chains : int, default=16
        Independent source chains, at least 3: the sample of which standard errors are taken.
    n_draws : int, default=10
        Source networks from each chain.
    n_burn_source, n_thin_source : int, default=250 and 10
        Sweeps of a source chain before the first network, and between two.
    n_burn_target, n_sweeps_target : int, default=60 and 40
        Sweeps of a target chain that are discarded, and averaged.
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
    progress : callable or None, default=None
        Called with (done, total) source networks.

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

    References
    ----------
    .. [1] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011). The collapsed energy and the Gibbs sampler are derived here.
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
    expect_model(model)
    width = _integer_width(model)
    check_choice(method, "method", ("auto", *_METHODS))
    if method == "auto":
        method = "gibbs" if model.activation == "linear" else "hmc"
    if method == "gibbs" and model.activation != "linear":
        raise ValueError(f"method 'gibbs' needs the linear activation, got {model.activation!r}")
    if method == "langevin" and not min(model.temperature_source, model.temperature_target) > 0.0:
        raise ValueError(
            "method 'langevin' needs temperature_source and temperature_target above 0"
        )
    counts = tuple(
        check_integer(value, name, low=low)
        for name, value, low in (
            ("n_chains", n_chains, 3),
            ("n_draws", n_draws, 1),
            ("n_burn_source", n_burn_source, 0),
            ("n_thin_source", n_thin_source, 1),
            ("n_burn_target", n_burn_target, 0),
            ("n_sweeps_target", n_sweeps_target, 1),
            ("n_steps", n_steps, 1),
        )
    )
    step_size = check_real(step_size, "step_size", low=0.0, open_low=True)
    problem = Problem(target, source, test)
    if problem.target.y.shape[1] != 1:
        raise ValueError("simulate takes one output; call it once per column of y")
    n_threads, key = effective_n_threads(n_jobs), stream_key(random_state)

    def run(counts: tuple[int, ...], step_size: float, salt: int) -> _Sample:
        law = (
            model.lam0,
            1.0 / model.inv_lam1_source,
            model.lam1,
            model.temperature_source,
            model.temperature_target,
            model.gamma,
        )
        d = problem.target.X.shape[1]
        empty = (np.empty((0, d)), np.empty(0))
        own = empty if problem.source is None else (problem.source.X, _column(problem.source.y))
        draws = core.widenet.simulate(
            ACTIVATIONS.index(model.activation), width, law, counts, _METHODS.index(method),
            step_size,
            own[0], own[1], problem.target.X, _column(problem.target.y),
            empty[0] if problem.test is None else problem.test.X, (key[0] ^ salt, key[1]),
            n_threads, progress,
        )  # fmt: skip
        return _Sample(draws, None if problem.test is None else problem.test.y[:, 0])

    sample = run(counts, step_size, 0)
    values, stderr = dict(sample.values), sample.stderr
    if method == "langevin":
        half = run((*counts[:-1], 2 * counts[-1]), step_size / 2, 1)
        values = {name: 2.0 * half.values[name] - v for name, v in values.items()}
        stderr = {name: math.hypot(2.0 * half.stderr[name], e) for name, e in stderr.items()}
        sample = half
    status = Status.CONVERGED if sample.r_hat <= _LARGEST_R_HAT else Status.STALLED
    per_target = 0 if math.isinf(model.gamma) else 2 * (n_burn_target + n_sweeps_target)
    result = WideNetSimulation(
        model=model,
        mean=values.pop("mean"),
        stderr=stderr,
        r_hat=sample.r_hat,
        ess=sample.ess,
        acceptance=sample.acceptance,
        status=status,
        n_iter=counts[0] * (n_burn_source + n_draws * (n_thin_source + per_target)),
        residual=sample.r_hat - 1.0,
        message=status.sentence
        if status is Status.CONVERGED
        else f"the source chains disagree: split R-hat {sample.r_hat:.3f}",
        **{**dict.fromkeys(_ERRORS), **values},
    )
    report_status(status, result.residual, "simulate: source chains, R-hat - 1:")
    return result


def compare(
    model: WideNetModel,
    target: Data,
    source: Data | None = None,
    test: Data | None = None,
    **options: Any,
) -> Comparison:
    """Theory and simulation side by side.

    Parameters
    ----------
    model : WideNetModel
        The networks.
    target, source, test : tuple of array_like
        As in `solve`.
    **options : dict
        Passed to `simulate`.

    Returns
    -------
    Comparison
        Order parameters and errors with z-scores. At finite width the theory is off by a relative
        error of order 1 / width, so that z grows with the length of the simulation.

    Raises
    ------
    ValueError
        As in `solve` and `simulate`.

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
    sample = simulate(model, target, source, test, **options)
    names = [*_ORDER_PARAMETERS] + ([] if test is None else [*_ERRORS])
    if model.gamma == 0.0:
        names = [n for n in names if n not in ("Q_tt", "Q_st", "quenched")]  # zero by symmetry
    return Comparison.of(solve(model, target, source, test), sample, names)


def _column(y: FloatArray) -> FloatArray:
    return np.ascontiguousarray(y[:, 0])


def _integer_width(model: WideNetModel) -> int:
    if math.isinf(model.width) or model.width != int(model.width):
        raise ValueError(f"width must be a finite integer to be sampled, got {model.width:g}")
    return int(model.width)


class _Sample:
    """Estimates from the draws of the core, chain by chain."""

    def __init__(self, draws: Mapping[str, FloatArray], y: FloatArray | None) -> None:
        n_chains = len(draws["Q_s"])
        self.per_chain = {name: draws[name].mean(1) for name in _ORDER_PARAMETERS}
        self.per_chain["delta"] = self.per_chain["Q_t"] - self.per_chain["Q_tt"]
        self.y = y
        shape = (*draws["Q_s"].shape, draws["mean_a"].shape[1])
        a, b = draws["mean_a"].reshape(shape), draws["mean_b"].reshape(shape)
        self._f = 0.5 * (a + b).mean(1)  # (n_chains, n_test)
        self._product = (a * b).mean(1)
        self._second = draws["second"].reshape(shape).mean(1)
        every = np.arange(n_chains)
        self.values = self._estimate(every)
        kept = [self._estimate(every[every != c]) for c in every]
        self.stderr = {
            name: float(
                math.sqrt((n_chains - 1) / n_chains)
                * np.linalg.norm([k[name] - np.mean([q[name] for q in kept]) for k in kept])
            )
            for name in self.values
            if name != "mean"
        }
        traces = (draws["trace_Q"], draws["trace_energy"])
        self.r_hat = max(split_r_hat(t) for t in traces)
        self.ess = min(effective_sample_size(t) for t in traces)
        self.acceptance = (
            float(draws["source_accept"].mean()),
            float(draws["target_accept"].mean()),
        )

    def _estimate(self, chains: NDArray[np.intp]) -> dict[str, Any]:
        out: dict[str, Any] = {n: float(v[chains].mean()) for n, v in self.per_chain.items()}
        if self.y is None:
            return out | {"mean": None}
        f, n = self._f[chains], len(chains)
        mean = f.mean(0)
        # (E f)^2 from pairs of different chains, which are independent
        square = (f.sum(0) ** 2 - (f**2).sum(0)) / (n * (n - 1))
        product, second = self._product[chains].mean(0), self._second[chains].mean(0)
        y = self.y
        out["bias"] = float((y**2 - 2 * y * mean + square).mean())
        out["thermal"] = float((second - product).mean())
        out["quenched"] = float((product - square).mean())
        out["test_error"] = float((y**2 - 2 * y * mean + second).mean())
        return out | {"mean": mean}


def split_r_hat(trace: FloatArray) -> float:
    """Split R-hat of chains (n_chains, n): between- over within-chain spread; 1 when they mix."""
    half = trace.shape[1] // 2
    if half < 2:
        return 1.0
    parts = np.vstack([trace[:, :half], trace[:, -half:]])
    within = float(parts.var(1, ddof=1).mean())
    if within <= 0.0:
        return 1.0
    between = half * float(parts.mean(1).var(ddof=1))
    return math.sqrt((half - 1) / half + between / (half * within))


def effective_sample_size(trace: FloatArray) -> float:
    """Independent draws that all chains (n_chains, n) are worth, by initial positive pairs."""
    m, n = trace.shape
    if n < 4:
        return float(m)
    centred = trace - trace.mean(1, keepdims=True)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = np.abs(np.fft.rfft(centred, size)) ** 2
    auto = np.fft.irfft(spectrum, size)[:, :n].mean(0) / n
    within = auto[0] * n / (n - 1)
    total = within * (n - 1) / n + (float(trace.mean(1).var(ddof=1)) if m > 1 else 0.0)
    if total <= 0.0:
        return float(m * n)
    rho = 1.0 - (within - auto) / total
    pairs = rho[0 : n - 1 : 2] + rho[1:n:2]
    negative = np.flatnonzero(pairs < 0.0)
    pairs = np.minimum.accumulate(pairs[: negative[0] if negative.size else pairs.size])
    return float(m * n / max(2.0 * pairs.sum() - 1.0, 1.0 / math.log10(m * n)))
