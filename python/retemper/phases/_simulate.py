"""Training on samples: the finite-size experiments behind the exact curves."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import Progress
from retemper._parallel import map_threads
from retemper._random import Seed, replica_generator, stream_key
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.phases.model import FeatureModel, LogisticModel
from retemper.phases.streams import Purpose
from retemper.phases.theory import solve
from retemper.phases.theory.layer import contrasts, mean_stderr

__all__ = ["FeatureSimulation", "LogisticSimulation", "compare", "simulate"]

_CHUNK = 8192  # rows drawn at a time


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FeatureSimulation(Result):
    """Gradient descent on samples of a `FeatureModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : FeatureModel
        What was simulated.
    t : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Mean over repeats of the fraction of unexplained variance of fresh inputs.
    task_r2 : ndarray of shape (T,)
        The same for the R² of the auxiliary task; empty without one.
    stderr : dict of str to ndarray
        Standard errors of the means.
    n_samples, n_repeats : int
        Size of the experiment.
    """

    model: FeatureModel
    t: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    stderr: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LogisticSimulation(Result):
    """Gradient descent on samples of a `LogisticModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : LogisticModel
        What was simulated.
    t : ndarray of shape (T,)
        Times.
    fuv_logit, fuv_prob : ndarray of shape (T,)
        Means over repeats of the fraction of unexplained variance.
    norm : ndarray of shape (T,)
        Mean norm of the weights.
    stderr : dict of str to ndarray
        Standard errors of the means.
    n_samples, n_repeats : int
        Size of the experiment.
    """

    model: LogisticModel
    t: FloatArray
    fuv_logit: FloatArray
    fuv_prob: FloatArray
    norm: FloatArray
    stderr: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


def _draw_features(
    model: FeatureModel, n: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    k, g = model.n_classes, model.n_groups
    Y = np.eye(k)[rng.integers(0, k, n)]
    X = rng.normal(size=(n, model.n_features))
    for i in range(g):
        block = X[:, i * k : (i + 1) * k]
        block *= model.class_noise[i]
        block += model.signal[i] * Y
        block += model.shared_noise[i] * rng.normal(size=(n, 1))
    X[:, g * k :] *= model.noise_sd
    return X, Y


def _sample_moments(
    model: FeatureModel, n: int, rng: np.random.Generator, watch: Progress
) -> tuple[FloatArray, FloatArray]:
    p, k = model.n_features, model.n_classes
    sxx, syx, sx, sy = np.zeros((p, p)), np.zeros((k, p)), np.zeros(p), np.zeros(k)
    for start in range(0, n, _CHUNK):
        watch(start, n)
        X, Y = _draw_features(model, min(_CHUNK, n - start), rng)
        sxx += X.T @ X
        syx += Y.T @ X
        sx += X.sum(axis=0)
        sy += Y.sum(axis=0)
    return sxx / n - np.outer(sx, sx) / n**2, syx / n - np.outer(sy, sx) / n**2


def feature_covariance(model: FeatureModel) -> FloatArray:
    """Input covariance coordinate by coordinate, (p, p)."""
    k, g = model.n_classes, model.n_groups
    cov = np.zeros((model.n_features,) * 2)
    classes = np.eye(k) / k - 1.0 / k**2
    for i, j in itertools.product(range(g), repeat=2):
        block = model.signal[i] * model.signal[j] * classes
        if i == j:
            block = block + model.class_noise[i] ** 2 * np.eye(k) + model.shared_noise[i] ** 2
        cov[i * k : (i + 1) * k, j * k : (j + 1) * k] = block
    rest = np.arange(g * k, model.n_features)
    cov[rest, rest] = model.noise_sd**2
    return cov


def _steps(t: FloatArray, step_size: float) -> list[int]:
    steps = [round(x / step_size) for x in t]
    if any(abs(s * step_size - x) > 1e-9 * max(x, 1.0) for s, x in zip(steps, t, strict=True)):
        raise ValueError(f"t must hold whole multiples of step_size = {step_size:g}")
    if any(b <= a for a, b in itertools.pairwise(steps)) or (steps and steps[0] < 0):
        raise ValueError("t must be non-negative and increase")
    return steps


def _feature_run(
    model: FeatureModel,
    steps: list[int],
    step_size: float,
    n: int,
    rng: np.random.Generator,
    *,
    theta: FloatArray | None,
    watch: Progress,
) -> FloatArray:
    """(2, T): FUV and R^2 of fresh data, read through the class contrasts."""
    sxx, syx = _sample_moments(model, n, rng, watch)
    top = float(np.linalg.eigvalsh(sxx)[-1])
    if step_size * top >= 2.0:
        raise ValueError(f"step_size must lie below {2 / top:g} on these samples, got {step_size}")
    cov = feature_covariance(model)
    basis = contrasts(model.n_classes)
    W = model.init_scale * rng.normal(size=syx.shape)
    along = np.zeros((model.n_classes - 1, model.n_features))
    if theta is not None:
        along[:, : theta.size * model.n_classes] = np.kron(theta, basis)
    out = np.zeros((2, len(steps)))
    done = 0
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, len(steps))
            W = W + step_size * (syx - W @ sxx)
        done = step
        h = basis @ W
        shh = h @ cov @ h.T
        decoder = np.linalg.pinv(shh, rcond=1e-14, hermitian=True) @ (h @ cov)
        out[0, i] = 1.0 - np.trace(h @ cov @ decoder.T) / np.trace(cov)
        if theta is not None:
            hit = along @ (h @ cov).T @ decoder @ along.T
            out[1, i] = np.trace(hit) / np.trace(along @ cov @ along.T)
    return out


def _logistic_run(
    model: LogisticModel,
    steps: list[int],
    step_size: float,
    n: int,
    rng: np.random.Generator,
    *,
    watch: Progress,
) -> FloatArray:
    """(3, T): FUV of the logit and of the probability, and the norm."""
    root = np.sqrt(model.variances)

    def draw() -> FloatArray:  # inputs times their label
        return np.asarray(rng.normal(size=(n, root.size)) * root + model.mean)

    X, fresh = draw(), draw()
    power = float((fresh**2).sum()) / n
    half = n // 2
    w, done = model.w0.copy(), 0
    out = np.empty((3, len(steps)))
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, len(steps))
            w = w + step_size * (0.5 - 0.5 * np.tanh(0.5 * (X @ w))) @ X / n
        done = step
        u = fresh @ w
        for j, h in enumerate((u, 0.5 * np.tanh(0.5 * u))):
            # two halves: the product of independent means is unbiased
            one, two = h[:half] @ fresh[:half] / half, h[half:] @ fresh[half:] / (n - half)
            below = float((h**2).mean()) * power
            out[j, i] = 1.0 - float(one @ two) / below if below > 0.0 else 1.0
        out[2, i] = np.linalg.norm(w)
    return out


def simulate(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float = 0.05,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = None,
    n_jobs: int | None = None,
) -> Any:
    """Train on samples by full-batch gradient descent, and measure on fresh inputs.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        The problem.
    t : float or array_like of shape (T,)
        Increasing times, whole multiples of ``step_size``.
    step_size : float, default=0.05
        Step of the descent.
    n_samples : int, default=50000
        Rows of every training sample, at least 10.
    n_repeats : int, default=8
        Independent samples and initialisations, at least 2.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=None
        The seed.
    n_jobs : int or None, default=None
        Threads, over repeats; never changes a bit.

    Returns
    -------
    FeatureSimulation or LogisticSimulation
        Means over repeats and their standard errors.

    Raises
    ------
    TypeError
        If ``model`` is neither model.
    ValueError
        If a value is outside its domain, or the step is unstable on the sample.

    Notes
    -----
    Derived here. The theory is that of infinite samples: the layer learned from n of them
    has a small extra part, which shows as a bias of order (number of features) / n.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, simulate
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> found = simulate(model, [1.0], n_samples=20_000, n_repeats=3, random_state=0)
    >>> round(float(found.fuv[0]), 2)
    0.46
    """
    times = np.atleast_1d(as_float_array(t, "t", ndim=(0, 1)))
    eta = check_real(step_size, "step_size", low=0.0, open_low=True)
    n = check_integer(n_samples, "n_samples", low=10)
    repeats = check_integer(n_repeats, "n_repeats", low=2)
    steps = _steps(times, eta)
    run: Callable[[np.random.Generator, Progress], FloatArray]
    theta = None
    if isinstance(model, FeatureModel):
        feature = model
        if task is not None:
            theta = as_float_array(task, "task")
            check_shape(theta, (model.n_groups,), "task")
        run = lambda rng, w: _feature_run(feature, steps, eta, n, rng, theta=theta, watch=w)  # noqa: E731
    elif isinstance(model, LogisticModel):
        if task is not None:
            raise ValueError("task belongs to the FeatureModel")
        logistic = model
        run = lambda rng, w: _logistic_run(logistic, steps, eta, n, rng, watch=w)  # noqa: E731
    else:
        raise TypeError(
            f"model must be a FeatureModel or a LogisticModel, got {type(model).__name__}"
        )
    key = stream_key(random_state)
    threads = min(effective_n_threads(n_jobs), repeats)
    streams = [replica_generator(key, i, Purpose.SAMPLE) for i in range(repeats)]
    runs = map_threads(lambda i, watch: run(streams[i], watch), repeats, threads)
    mean, spread = mean_stderr(np.array(runs))
    common: dict[str, Any] = {
        "status": Status.CONVERGED, "n_iter": steps[-1] if steps else 0, "residual": 0.0,
        "message": f"{repeats} runs of full-batch gradient descent on {n} samples", "model": model,
        "t": times, "n_samples": n, "n_repeats": repeats,
    }  # fmt: skip
    if isinstance(model, FeatureModel):
        keep = slice(None) if theta is not None else slice(0)
        stderr = {"fuv": spread[0], "task_r2": spread[1][keep]}
        return FeatureSimulation(fuv=mean[0], task_r2=mean[1][keep], stderr=stderr, **common)
    names = ("fuv_logit", "fuv_prob", "norm")
    values = dict(zip(names, mean, strict=True))
    return LogisticSimulation(stderr=dict(zip(names, spread, strict=True)), **values, **common)


def compare(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float = 0.05,
    n_init: int = 200,
    task: ArrayLike | None = None,
    random_state: Seed = None,
    **options: Any,
) -> Comparison:
    """Theory and simulation side by side, with deviations in standard errors.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        The problem.
    t : float or array_like of shape (T,)
        Increasing times, whole multiples of ``step_size``.
    step_size : float, default=0.05
        Step of the descent, in both.
    n_init : int, default=200
        Initialisations the theory of a feature model averages over; their standard error is added
        to that of the simulation.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=None
        The seed.
    **options : dict
        ``n_samples``, ``n_repeats`` and ``n_jobs`` of `simulate`.

    Returns
    -------
    Comparison
        One row per quantity and time.

    Examples
    --------
    >>> from retemper.phases import LogisticModel, compare
    >>> model = LogisticModel([1.0, 0.25], [0.5, 0.5], [0.1, 0.0])
    >>> found = compare(model, [0.0, 2.0], n_samples=5000, random_state=0)
    >>> bool((abs(found.z) < 4).all())
    True
    """
    feature = isinstance(model, FeatureModel)
    words = stream_key(random_state)
    sample = simulate(
        model, t, step_size=step_size, task=task,
        random_state=np.random.SeedSequence([*words, 0]), **options,
    )  # fmt: skip
    theory = solve(
        model, t, step_size=step_size, task=task, n_init=n_init if feature else None,
        random_state=np.random.SeedSequence([*words, 1]),
    )  # fmt: skip
    quantities = ("fuv", "task_r2") if feature else ("fuv_logit", "fuv_prob", "norm")
    names: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for quantity in quantities:
        values = getattr(theory, quantity)
        extra = getattr(theory, f"{quantity}_stderr", np.zeros_like(values))
        for i, time in enumerate(sample.t[: values.size]):
            names.append(f"{quantity}[t={time:g}]")
            noise = math.hypot(float(sample.stderr[quantity][i]), float(extra[i]))
            rows.append((float(values[i]), float(getattr(sample, quantity)[i]), noise))
    table = np.array(rows).reshape(-1, 3)
    return Comparison(tuple(names), table[:, 0], table[:, 1], table[:, 2])
