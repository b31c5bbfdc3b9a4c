"""One run of gradient descent on samples, for every model: data, training, what is measured."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from retemper._control import Progress
from retemper._validation import FloatArray
from retemper.phases.model import (
    FLOOR_RELATIVE_RIDGE,
    DeepLinearModel,
    FeatureModel,
    LogisticModel,
    TwoLayerModel,
    curves_of,
)
from retemper.phases.theory.layer import contrasts

_CHUNK = 8192  # rows drawn at a time


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


def feature_run(
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


def logistic_run(
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


def deep_linear_run(
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


def two_layer_run(
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
