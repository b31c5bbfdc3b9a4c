"""Training on samples: the finite-size experiments behind the exact curves."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result, Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_shape,
)
from retemper.phases.model import (
    FLOOR_RELATIVE_RIDGE,
    DeepLinearModel,
    FeatureModel,
    LogisticModel,
    Model,
    TwoLayerModel,
    curves_of,
)
from retemper.phases.streams import Purpose
from retemper.phases.theory import solve
from retemper.phases.theory.layer import contrasts
from retemper.phases.times import whole_steps

__all__ = [
    "DeepLinearSimulation",
    "FeatureSimulation",
    "LogisticSimulation",
    "TwoLayerSimulation",
    "compare",
    "simulate",
]

#: Step of the descent where the model has none.
STEP_SIZE = 0.05
_CHUNK = 8192  # rows drawn at a time


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FeatureSimulation(Result):
    """Gradient descent on samples of a `FeatureModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : FeatureModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Mean over repeats of the fraction of unexplained variance of fresh inputs.
    task_r2 : ndarray of shape (T,)
        The same for the R² of the auxiliary task; empty without one.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, FeatureTheory

    Examples
    --------
    >>> from retemper.phases import FeatureModel, simulate
    >>> model = FeatureModel(4, [3.0, 1.0], [1.0, 0.2], times=[0.0, 1.0])
    >>> sample = simulate(model, n_samples=400, n_repeats=2)
    >>> sample.fuv.shape
    (2,)
    """

    model: FeatureModel
    times: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LogisticSimulation(Result):
    """Gradient descent on samples of a `LogisticModel`, as `simulate` returns it (see `simulate`).

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : LogisticModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv_logit, fuv_prob : ndarray of shape (T,)
        Means over repeats of the fraction of unexplained variance.
    norm : ndarray of shape (T,)
        Mean norm of the weights.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, LogisticTheory

    Examples
    --------
    >>> from retemper.phases import LogisticModel, simulate
    >>> model = LogisticModel([1.0, 0.5], [1.0, 0.2], [0.01, 0.01], times=[0.0, 1.0])
    >>> sample = simulate(model, n_samples=400, n_repeats=2)
    >>> sample.fuv_logit.shape
    (2,)
    """

    model: LogisticModel
    times: FloatArray
    fuv_logit: FloatArray
    fuv_prob: FloatArray
    norm: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeepLinearSimulation(Result):
    """Gradient descent on samples of a `DeepLinearModel`, as `simulate` returns it.

    See `simulate` for what is done.

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : DeepLinearModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Mean over repeats of the fraction of unexplained variance of fresh inputs.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, DeepLinearTheory

    Examples
    --------
    >>> from retemper.phases import DeepLinearModel, simulate
    >>> model = DeepLinearModel([1.0, 0.5], [0.0, 0.4], relative_noise_var=0.01, times=[0.0, 1.0])
    >>> simulate(model, n_samples=400, n_repeats=2).fuv.shape
    (2,)
    """

    model: DeepLinearModel
    times: FloatArray
    fuv: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
    n_samples: int
    n_repeats: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TwoLayerSimulation(Result):
    """Gradient descent of a network on samples of a `TwoLayerModel`, as `simulate` returns it.

    See `simulate` for what is done.

    Parameters
    ----------
    status : Status
        ``invalid`` if a curve is not finite.
    n_iter : int
        Steps taken.
    residual : float
        Zero.
    message : str
        What was done, in words.
    model : TwoLayerModel
        What was simulated, with the step that was taken.
    times : ndarray of shape (T,)
        Times.
    fuv, fuv_floor : ndarray of shape (T,)
        Means over repeats of the fraction of unexplained variance, at both relative ridges.
    test_error : ndarray of shape (T,)
        Mean squared error on fresh rows.
    stderr : dict of str to ndarray
        Standard errors of the means.
    samples : dict of str to ndarray of shape (n_repeats, T)
        The curves of every repeat.
    n_samples, n_repeats : int
        Size of the experiment.

    See Also
    --------
    simulate, TwoLayerTheory

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import TwoLayerModel, simulate
    >>> W0 = 0.1 * np.random.default_rng(0).normal(size=(2, 3))
    >>> model = TwoLayerModel([2.0, 1.0, 0.5], np.eye(1, 3), W0, [1.0, 1.0], times=[0.0, 1.0])
    >>> simulate(model, n_samples=400, n_repeats=2).fuv_floor.shape
    (2,)
    """

    model: TwoLayerModel
    times: FloatArray
    fuv: FloatArray
    fuv_floor: FloatArray
    test_error: FloatArray
    stderr: dict[str, FloatArray]
    samples: dict[str, FloatArray]
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


def _feature_run(
    model: FeatureModel,
    steps: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
    *,
    step_size: float,
    theta: FloatArray | None,
    watch: Progress,
) -> dict[str, FloatArray]:
    """FUV and R^2 of fresh data at every time, read through the class contrasts."""
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
    fuv, r2 = np.empty(steps.size), np.empty(0 if theta is None else steps.size)
    done = 0
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, steps.size)
            W = W + step_size * (syx - W @ sxx)
        done = step
        h = basis @ W
        shh = h @ cov @ h.T
        decoder = np.linalg.pinv(shh, rcond=1e-14, hermitian=True) @ (h @ cov)
        fuv[i] = 1.0 - np.trace(h @ cov @ decoder.T) / np.trace(cov)
        if theta is not None:
            hit = along @ (h @ cov).T @ decoder @ along.T
            r2[i] = np.trace(hit) / np.trace(along @ cov @ along.T)
    return {"fuv": fuv, "task_r2": r2}


def _logistic_run(
    model: LogisticModel,
    steps: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
    *,
    step_size: float,
    watch: Progress,
) -> dict[str, FloatArray]:
    """FUV of the logit and of the probability, and the norm, at every time."""
    root = np.sqrt(model.variances)

    def draw() -> FloatArray:  # inputs times their label
        return np.asarray(rng.normal(size=(n, root.size)) * root + model.mean)

    X, fresh = draw(), draw()
    power = float((fresh**2).sum()) / n
    half = n // 2
    w, done = model.w0.copy(), 0
    out = {name: np.empty(steps.size) for name in curves_of(model)}
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, steps.size)
            w = w + step_size * (0.5 - 0.5 * np.tanh(0.5 * (X @ w))) @ X / n
        done = step
        u = fresh @ w
        for name, h in (("fuv_logit", u), ("fuv_prob", 0.5 * np.tanh(0.5 * u))):
            # two halves: the product of independent means is unbiased
            one, two = h[:half] @ fresh[:half] / half, h[half:] @ fresh[half:] / (n - half)
            below = float((h**2).mean()) * power
            out[name][i] = 1.0 - float(one @ two) / below if below > 0.0 else 1.0
        out["norm"][i] = np.linalg.norm(w)
    return out


def _product(layers: list[FloatArray], size: int) -> FloatArray:
    out = np.eye(size)
    for w in layers:
        out = w @ out
    return out


def _deep_linear_run(
    model: DeepLinearModel,
    steps: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
    *,
    step_size: float,
    watch: Progress,
) -> dict[str, FloatArray]:
    """FUV of fresh data at every time, from orthogonal layers that carry directions to targets."""
    p, lam = model.n_features, model.spectrum
    turns = [np.eye(p), *(np.linalg.qr(rng.normal(size=(p, p)))[0] for _ in range(model.depth - 1))]
    seen = np.flatnonzero(model.signal)
    layers = [model.init_scale * b @ a.T for a, b in itertools.pairwise(turns)]
    layers.append(model.init_scale * turns[-1].T[seen])
    sxx = np.zeros((p, p))
    for start in range(0, n, _CHUNK):
        watch(start, n)
        X = rng.normal(size=(min(_CHUNK, n - start), p)) * np.sqrt(lam)
        sxx += X.T @ X / n
    syx = (model.signal / lam)[seen, None] * sxx[seen]
    kept, done = 1.0 - step_size * model.weight_decay, 0
    fuv = np.empty(steps.size)
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, steps.size)
            gap = syx - _product(layers, p) @ sxx
            above = [_product(layers[k + 1 :], w.shape[0]) for k, w in enumerate(layers)]
            below = [_product(layers[:k], p) for k in range(model.depth)]
            layers = [
                kept * w + step_size * a.T @ gap @ b.T
                for w, a, b in zip(layers, above, below, strict=True)
            ]
        done = step
        h = _product(layers[: model.layer], p)
        shh = h * lam @ h.T
        shh += model.relative_noise_var * np.trace(shh) / p * np.eye(p)
        decoder = np.linalg.pinv(shh, rcond=1e-14, hermitian=True) @ (h * lam)
        fuv[i] = 1.0 - np.trace(decoder.T @ (h * lam)) / lam.sum()
    return {"fuv": fuv}


def _unit(u: FloatArray, activation: str) -> tuple[FloatArray, FloatArray]:
    """Units of these inputs, and their slopes."""
    if activation == "linear":
        return u, np.ones_like(u)
    if activation == "relu":
        return np.maximum(u, 0.0), (u > 0.0).astype(np.float64)
    from scipy.special import erf

    return erf(math.sqrt(0.5) * u), math.sqrt(2.0 / math.pi) * np.exp(-0.5 * u**2)


def _measured_fuv(H: FloatArray, X: FloatArray, relative_ridges: tuple[float, ...]) -> list[float]:
    """FUV of ridge decoders by halves: means over fitted and left-out rows.

    The error on fitted rows is too low, and that on others too high, by the same share of order
    units / rows.
    """
    if not np.isfinite(H).all():
        return [math.nan] * len(relative_ridges)
    half = X.shape[0] // 2
    parts = []
    for rows in (slice(half), slice(half, None)):
        h, x = H[rows] - H[rows].mean(axis=0), X[rows] - X[rows].mean(axis=0)
        count = h.shape[0]
        parts.append((h.T @ h / count, h.T @ x / count, float((x**2).sum()) / count))
    out = []
    for relative_ridge in relative_ridges:
        lost = 0.0
        for shh, shx, _ in parts:
            e, v = np.linalg.eigh(shh)
            keep = e > 1e-14 * e.size * max(float(e[-1]), 0.0)
            inverse = np.where(keep, 1.0 / np.where(keep, e + relative_ridge * e.mean(), 1.0), 0.0)
            decoder = v * inverse @ v.T @ shx
            for other, cross, power in parts:
                lost += power - 2.0 * float((decoder * cross).sum())
                lost += float((decoder * (other @ decoder)).sum())
        out.append(lost / (2.0 * sum(power for _, _, power in parts)))
    return out


def _two_layer_run(
    model: TwoLayerModel,
    steps: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
    *,
    step_size: float,
    watch: Progress,
) -> dict[str, FloatArray]:
    """Both FUV and the test error on fresh rows at every time."""
    root = np.sqrt(model.spectrum)

    def draw(rows: int) -> tuple[FloatArray, FloatArray]:
        X = rng.normal(size=(rows, root.size)) * root
        y = _unit(X @ model.teacher.T, model.activation)[0] @ model.teacher_readout
        return X, y + model.noise * rng.normal(size=rows)

    size = model.batch_size
    X, y = draw(n if size is None else size)
    w, v = model.W0, model.readout0
    kept, done = 1.0 - step_size * model.weight_decay, 0
    out = {name: np.empty(steps.size) for name in curves_of(model)}
    for i, step in enumerate(steps):
        for _ in range(step - done):
            watch(i, steps.size)
            if size is not None:
                X, y = draw(size)
            hidden, slope = _unit(X @ w.T, model.activation)
            error = (hidden @ v - y) / y.size
            w_move = (slope * (error[:, None] * v)).T @ X
            if model.train_readout:
                v = kept * v - step_size * (error @ hidden)
            w = kept * w - step_size * w_move
        done = step
        fresh, labels = draw(n)
        hidden = _unit(fresh @ w.T, model.activation)[0]
        scores = _measured_fuv(hidden, fresh, (model.relative_ridge, FLOOR_RELATIVE_RIDGE))
        out["fuv"][i], out["fuv_floor"][i] = scores
        out["test_error"][i] = ((hidden @ v - labels) ** 2).mean()
    return out


@overload
def simulate(
    model: FeatureModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation: ...


@overload
def simulate(
    model: LogisticModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> LogisticSimulation: ...


@overload
def simulate(
    model: DeepLinearModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> DeepLinearSimulation: ...


@overload
def simulate(
    model: TwoLayerModel,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> TwoLayerSimulation: ...


@overload
def simulate(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation | LogisticSimulation | DeepLinearSimulation | TwoLayerSimulation: ...


def simulate(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FeatureSimulation | LogisticSimulation | DeepLinearSimulation | TwoLayerSimulation:
    """Train on samples by gradient descent, and measure on fresh inputs.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        The problem. Its times must increase; where its ``step_size`` is None the descent takes
        steps of 0.05, and the times must be whole multiples of that.
    n_samples : int, default=50000
        Rows of every training sample, at least 10; where the model has batches, of fresh rows, the
        number of rows on which a layer is measured.
    n_repeats : int, default=8
        Independent samples and initialisations, at least 2.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.
    n_jobs : int or None, default=None
        Threads, over repeats; never changes a bit.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if a curve is not finite.

    Returns
    -------
    FeatureSimulation, LogisticSimulation, DeepLinearSimulation or TwoLayerSimulation
        Means over repeats and their standard errors.

    Raises
    ------
    TypeError
        If ``model`` is none of the models.
    ValueError
        If a value is outside its domain, or the step is unstable on the sample.
    NumericalError
        If ``on_failure="raise"`` and a curve is not finite.

    Warns
    -----
    ValidityWarning
        If a curve is not finite.

    See Also
    --------
    solve, compare

    Notes
    -----
    Derived here (`derivations/phases#strong-and-weak-features`). The theory is that of infinite
    samples: the layer learned from n of them has a small extra part, which shows as a bias of order
    (number of features) / n.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, simulate
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=[1.0])
    >>> found = simulate(model, n_samples=20_000, n_repeats=3)
    >>> round(float(found.fuv[0]), 2)
    0.46
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", *get_args(Model))
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    n = check_integer(n_samples, "n_samples", low=10)
    eta = STEP_SIZE if model.step_size is None else model.step_size
    model = dataclasses.replace(model, step_size=eta)
    steps = whole_steps(model.times, eta)
    if (np.diff(steps) <= 0).any():
        raise ValueError(f"times must increase, got {model.times.tolist()}")
    key = stream_key(random_state)

    def experiment(i: int, watch: Progress) -> dict[str, FloatArray]:
        rng = replica_generator(key, i, Purpose.SAMPLE)
        if isinstance(model, FeatureModel):
            return _feature_run(model, steps, n, rng, step_size=eta, theta=theta, watch=watch)
        if isinstance(model, DeepLinearModel):
            return _deep_linear_run(model, steps, n, rng, step_size=eta, watch=watch)
        with np.errstate(over="ignore", invalid="ignore"):  # told by the status
            if isinstance(model, TwoLayerModel):
                return _two_layer_run(model, steps, n, rng, step_size=eta, watch=watch)
            return _logistic_run(model, steps, n, rng, step_size=eta, watch=watch)

    theta = None
    if task is not None:
        if not isinstance(model, FeatureModel):
            raise ValueError("task belongs to the FeatureModel")
        theta = as_float_array(task, "task")
        check_shape(theta, (model.n_groups,), "task")
    runs = run_repeats(experiment, n_repeats, n_jobs=n_jobs, progress=progress)
    samples = {name: np.array([run[name] for run in runs]) for name in runs[0]}
    mean, stderr = mean_and_stderr(samples)
    finite = all(np.isfinite(values).all() for values in samples.values())
    status = Status.CONVERGED if finite else Status.INVALID
    batches = isinstance(model, TwoLayerModel) and model.batch_size is not None
    how = f"batches of {model.batch_size} fresh rows" if batches else f"{n} samples"  # type: ignore[union-attr]
    done = f"{len(runs)} runs of gradient descent on {how}"
    report_status(status, 0.0, f"simulate: {done}:", on_failure=on_failure)
    result: dict[str, Any] = {
        "status": status, "n_iter": int(steps[-1]) if steps.size else 0, "residual": 0.0,
        "message": done, "model": model, "times": model.times, "samples": samples,
        "stderr": stderr, "n_samples": n, "n_repeats": len(runs), **mean,
    }  # fmt: skip
    if isinstance(model, FeatureModel):
        return FeatureSimulation(**result)
    if isinstance(model, DeepLinearModel):
        return DeepLinearSimulation(**result)
    if isinstance(model, TwoLayerModel):
        return TwoLayerSimulation(**result)
    return LogisticSimulation(**result)


def compare(
    model: Model,
    *,
    n_samples: int = 50_000,
    n_repeats: int = 8,
    n_init: int = 200,
    task: ArrayLike | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory and simulation side by side, with deviations in standard errors.

    Parameters
    ----------
    model : FeatureModel, LogisticModel, DeepLinearModel or TwoLayerModel
        The problem, as in `simulate`; both take the same step.
    n_samples : int, default=50000
        As in `simulate`.
    n_repeats : int, default=8
        As in `simulate`.
    n_init : int, default=200
        Initialisations the theory of a feature model averages over; their standard error is added
        to that of the simulation.
    task : array_like of shape (G,) or None, default=None
        Auxiliary task of a feature model, as in `solve`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.
    n_jobs : int or None, default=None
        Threads, over repeats; never changes a bit.
    progress : None, bool, callable or object, default=None
        Called with (repeats done, repeats).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        As in `solve` and `simulate`.

    Returns
    -------
    Comparison
        One row per quantity and time.

    Raises
    ------
    TypeError
        If ``model`` is none of the models.
    ValueError
        If a value is outside its domain.

    See Also
    --------
    solve, simulate, retemper.compare

    Examples
    --------
    >>> from retemper.phases import LogisticModel, compare
    >>> model = LogisticModel([1.0, 0.25], [0.5, 0.5], [0.1, 0.0], times=[0.0, 2.0])
    >>> found = compare(model, n_samples=5000)
    >>> bool((abs(found.z) < 4).all())
    True
    """
    progress = as_callback(progress, "compare")
    check_kind(model, "model", *get_args(Model))
    words = stream_key(random_state)
    seeds = [np.random.SeedSequence([*words, i]) for i in range(2)]
    sample = simulate(
        model, n_samples=n_samples, n_repeats=n_repeats, task=task, random_state=seeds[0],
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    theory = solve(
        sample.model, task=task, n_init=n_init if isinstance(model, FeatureModel) else None,
        random_state=seeds[1], on_failure=on_failure,
    )  # fmt: skip
    names: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for quantity, measured in sample.stderr.items():
        values = getattr(theory, quantity)
        extra = getattr(theory, f"{quantity}_stderr", np.zeros_like(values))
        for i, time in enumerate(sample.times[: measured.size]):
            names.append(f"{quantity}[t={time:g}]")
            noise = math.hypot(float(measured[i]), float(extra[i]))
            rows.append((float(values[i]), float(getattr(sample, quantity)[i]), noise))
    table = np.array(rows).reshape(-1, 3)
    return Comparison(tuple(names), table[:, 0], table[:, 1], table[:, 2])
