"""What independent chains of sampled networks say: means, standard errors, mixing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray

__all__ = [
    "ERRORS",
    "ORDER_PARAMETERS",
    "ChainEstimates",
    "are_signs",
    "effective_sample_size",
    "estimate_from_draws",
    "extrapolate_step",
    "split_r_hat",
]

ORDER_PARAMETERS = ("Q_s", "Q_t", "Q_tt", "Q_st")
ERRORS = ("bias", "thermal", "quenched", "test_error", "error_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainEstimates:
    """Estimates from all chains.

    Attributes
    ----------
    values : dict of str to float or ndarray
        Order parameters, matrices for several outputs, and errors where there are test data.
    stderr : dict of str to float or ndarray
        Their standard errors over chains, by the jackknife.
    samples : dict of str to ndarray of shape (n_chains,)
        Values of single chains, of those quantities that are means over chains.
    mean : ndarray of shape (n_test,) or None
        Mean prediction; None without test data.
    r_hat : float
        Largest split R-hat of the source chains.
    ess : float
        Smallest effective sample size of the source chains.
    acceptance_source, acceptance_target : float
        Mean acceptance rates.
    """

    values: dict[str, Any]
    stderr: dict[str, Any]
    samples: dict[str, FloatArray]
    mean: FloatArray | None
    r_hat: float
    ess: float
    acceptance_source: float
    acceptance_target: float


def are_signs(y: FloatArray) -> bool:
    """Whether every label is -1 or +1."""
    return bool(y.size and (np.abs(y) == 1.0).all())


def estimate_from_draws(
    draws: Any, y: FloatArray | None, n_chains: int, n_sources: int = 1
) -> ChainEstimates:
    """Estimates without bias from the finite number of networks.

    Parameters
    ----------
    draws : Draws
        What the compiled core sampled.
    y : ndarray of shape (n_test, n_outputs) or None
        Labels of the test data; None without.
    n_chains : int
        Number of chains.
    n_sources : int, default=1
        Number of sources; several have one output.

    Returns
    -------
    ChainEstimates
        Means with their errors, and diagnostics.
    """
    outputs = None if y is None else _Outputs.of(draws, y, n_chains)
    n_outputs = math.isqrt(draws.Q_t.shape[1])
    n_source = math.isqrt(draws.Q_s.shape[1] // n_sources)
    rows = {"Q_s": n_source, "Q_st": n_source}
    samples = {}
    for name in ORDER_PARAMETERS:
        draw = getattr(draws, name)
        over = draw.reshape(n_chains, -1, draw.shape[1]).mean(axis=1)
        shape = (n_chains, rows.get(name, n_outputs), -1)
        if over.shape[1] == 1:
            samples[name] = over[:, 0]
        else:
            samples[name] = over if n_sources > 1 else over.reshape(shape)
    samples["delta"] = samples["Q_t"] - samples["Q_tt"]

    def estimate(chains: NDArray[np.intp]) -> dict[str, Any]:
        means = {name: v[chains].mean(axis=0) for name, v in samples.items()}
        values = {name: v if v.ndim else float(v) for name, v in means.items()}
        return values if outputs is None else values | outputs.errors(chains)

    every = np.arange(n_chains)
    values = estimate(every)
    kept = [estimate(every[every != c]) for c in every]
    stderr = {}
    for name in values:
        without = np.array([k[name] for k in kept])
        spread = np.linalg.norm(without - without.mean(axis=0), axis=0)
        error = math.sqrt((n_chains - 1) / n_chains) * spread
        stderr[name] = error if np.ndim(error) else float(error)
    traces = [
        t for both in (draws.trace_Q_s, draws.trace_energy) for t in np.split(both, n_sources)
    ]
    return ChainEstimates(
        values=values,
        stderr=stderr,
        samples=samples if outputs is None else samples | outputs.samples(),
        mean=None if outputs is None else outputs.mean(),
        r_hat=max(split_r_hat(t) for t in traces),
        ess=min(effective_sample_size(t) for t in traces),
        acceptance_source=float(draws.acceptance_source.mean()),
        acceptance_target=float(draws.acceptance_target.mean()),
    )


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """Outputs at the test points, averaged over the draws of a chain, (n_chains, n_test).

    Several outputs stand side by side, as so many test points.
    """

    n_outputs: int
    y: FloatArray  # (n_test,)
    f: FloatArray
    product: FloatArray  # of two targets from the same source
    square: FloatArray
    positive: FloatArray  # share of positive outputs

    @classmethod
    def of(cls, draws: Any, y: FloatArray, n_chains: int) -> _Outputs:
        n_outputs, y = y.shape[1], y.ravel()
        shape = (n_chains, -1, len(y))
        a, b = draws.mean_a.reshape(shape), draws.mean_b.reshape(shape)
        square = draws.mean_square.reshape(shape).mean(axis=1)
        positive = draws.positive.reshape(shape).mean(axis=1)
        f = 0.5 * (a + b).mean(axis=1)
        return cls(n_outputs, y, f, (a * b).mean(axis=1), square, positive)

    def mean(self) -> FloatArray:
        """Mean prediction of shape (n_test,), or (n_test, n_outputs)."""
        mean = np.asarray(self.f.mean(axis=0))
        return mean if self.n_outputs == 1 else mean.reshape(-1, self.n_outputs)

    def samples(self) -> dict[str, FloatArray]:
        wrong = np.where(self.y > 0.0, 1.0 - self.positive, self.positive).mean(axis=1)
        own = {"error_rate": wrong} if self.n_outputs == 1 and are_signs(self.y) else {}
        K = self.n_outputs
        return own | {
            "thermal": K * (self.square - self.product).mean(axis=1),
            "test_error": K * (self.y**2 - 2 * self.y * self.f + self.square).mean(axis=1),
        }

    def errors(self, chains: NDArray[np.intp]) -> dict[str, float]:
        f, n, y = self.f[chains], len(chains), self.y
        mean = f.mean(axis=0)
        # (E f)^2 from pairs of different chains, which are independent
        level = (f.sum(axis=0) ** 2 - (f**2).sum(axis=0)) / (n * (n - 1))
        product, square = self.product[chains].mean(axis=0), self.square[chains].mean(axis=0)
        rates = {k: float(v[chains].mean()) for k, v in self.samples().items() if k == "error_rate"}
        K = self.n_outputs
        return rates | {
            "bias": K * float((y**2 - 2 * y * mean + level).mean()),
            "thermal": K * float((square - product).mean()),
            "quenched": K * float((product - level).mean()),
            "test_error": K * float((y**2 - 2 * y * mean + square).mean()),
        }


def extrapolate_step(whole: ChainEstimates, half: ChainEstimates) -> ChainEstimates:
    """Estimates at step zero from those at a step and at half of it.

    Parameters
    ----------
    whole, half : ChainEstimates
        At the step, and at half of it.

    Returns
    -------
    ChainEstimates
        Extrapolated; the diagnostics are those of the half step.
    """
    return dataclasses.replace(
        half,
        values={name: 2.0 * half.values[name] - v for name, v in whole.values.items()},
        stderr={
            name: np.hypot(2.0 * half.stderr[name], e)
            if np.ndim(e)
            else math.hypot(2.0 * half.stderr[name], e)
            for name, e in whole.stderr.items()
        },
        samples={name: 2.0 * half.samples[name] - v for name, v in whole.samples.items()},
        mean=None if whole.mean is None or half.mean is None else 2.0 * half.mean - whole.mean,
    )


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
