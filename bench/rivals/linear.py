"""The same tasks as `retemper.linear`, written as well as NumPy and SciPy allow."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import brentq


def effective_ridge(spectrum, n, ridge):
    """Per point: start at the best top-k bound, cubic steps on arrays of eigenvalues.

    The algorithm of the compiled core, with reused buffers and dot products for the sums.
    """
    s = np.sort(spectrum)[::-1].copy()
    tail = np.append(np.cumsum(s[::-1])[::-1], 0.0)
    ones, r, t, u = np.ones_like(s), np.empty_like(s), np.empty_like(s), np.empty_like(s)
    out = np.empty((3, n.size))
    for j, (samples, lam) in enumerate(zip(n.tolist(), ridge.tolist(), strict=True)):
        if lam == 0.0 and samples >= s.size:
            out[:, j] = 0.0, s.size, s.size
            continue
        low, high = 0, min(s.size, math.ceil(samples) - 1)
        while low < high:
            k = (low + high) // 2
            if samples * lam + tail[k] >= s[k] * (samples - k):
                high = k
            else:
                low = k + 1
        kappa = (samples * lam + tail[low]) / (samples - low)
        for _ in range(100):
            np.add(s, kappa, out=r)
            np.divide(s, r, out=t)
            np.divide(t, r, out=u)
            df1, df2, bend = t @ ones, t @ t, t @ u
            g = max(kappa * (1 - df1 / samples) - lam, 0.0)
            slope = 1 - df2 / samples
            step = 2 * g / (slope + math.sqrt(max(slope**2 - 4 * g * bend / samples, 0.0)))
            kappa -= step
            if step <= 1e-8 * kappa:
                break
        out[:, j] = kappa, df1, df2
    return out


def effective_ridge_bracketing(spectrum, n, ridge):
    """Per point: SciPy's bracketed root finder."""
    out = np.empty((3, n.size))
    for j, (samples, lam) in enumerate(zip(n, ridge, strict=True)):
        if lam == 0 and samples >= spectrum.size:
            out[:, j] = 0.0, spectrum.size, spectrum.size
            continue

        def excess(k, samples=samples, lam=lam):
            return k * (1 - (spectrum / (spectrum + k)).sum() / samples) - lam

        high = lam + spectrum.sum() / samples
        low = high
        while excess(low) > 0:
            low /= 4
        kappa = brentq(excess, low, high, rtol=1e-13, xtol=1e-300) if low < high else low
        t = spectrum / (spectrum + kappa)
        out[:, j] = kappa, t.sum(), t @ t
    return out


def deep_flow(X, y, source, depth):
    """The end-to-end gradient flow in all d coordinates, SciPy's LSODA, to a residual of 1e-8."""
    from scipy.integrate import solve_ivp

    n = len(y)

    def flow(_, b):
        g = X.T @ (X @ b - y) / n
        norm = np.linalg.norm(b)
        unit = b / norm
        return -(norm ** (2 - 2 / depth)) * (g + (depth - 1) * unit * (unit @ g))

    b, time, span = source, 0.0, 20.0
    while np.linalg.norm(X @ b - y) > 1e-8 * np.linalg.norm(y):
        run = solve_ivp(flow, (time, time + span), b, method="LSODA", rtol=1e-9, atol=1e-12)
        b, time = run.y[:, -1], run.t[-1]
    return b


def deep_closed_form(X, y, source, depth):
    """The closed form by NumPy's singular value decomposition and SciPy's bracketing root."""
    u, s, v = np.linalg.svd(X, full_matrices=False)
    fit = (u.T @ y / s) @ v
    inside = (v @ source) @ v
    null = source - inside
    a2, p2, q2 = fit @ fit, inside @ inside, null @ null
    power = 2 * depth / (depth - 1)
    c = brentq(lambda c: c**power * (p2 + q2) - a2 - c**2 * q2, 1e-12, 1e12)
    return fit + c * null


def rank_one_descent(X, y, source, depth, *, step, n_steps):
    """Gradient descent on the balanced rank-one factors: a vector and one scalar."""
    n, norm = len(y), np.linalg.norm(source)
    a, v = norm ** (1 / depth), source * norm ** (1 / depth - 1)
    for _ in range(n_steps):
        g = X.T @ (a ** (depth - 1) * (X @ v) - y) / n
        a, v = a - step * a ** (depth - 2) * (v @ g), v - step * a ** (depth - 1) * g
    return a ** (depth - 1) * v


def factor_descent(X, Y, factors, step, n_steps):
    """Gradient descent on general factors, batch first."""
    W = [w.copy() for w in factors]
    for _ in range(n_steps):
        layers = [X]
        for w in W:
            layers.append(layers[-1] @ w.T)
        back = (layers[-1] - Y) / len(X)
        for j in range(len(W) - 1, -1, -1):
            gradient = back.T @ layers[j]
            back = back @ W[j]
            W[j] -= step * gradient
    return W


def simulate(model, n_repeats, seed):
    """Mean excess risk of a ridge fit from a fixed source, one repeat after another."""
    rng = np.random.default_rng(seed)
    theta, source, spectrum = model.theta_target, model.source_coef, model.spectrum
    n, d = model.n_samples, theta.size
    risks = []
    for _ in range(n_repeats):
        X = rng.standard_normal((n, d)) * np.sqrt(spectrum)
        r = X @ (theta - source) + model.noise * rng.standard_normal(n)
        gram = X @ X.T + n * model.ridge * np.eye(n)
        error = source + X.T @ np.linalg.solve(gram, r) - theta
        risks.append(error**2 @ spectrum)
    return np.mean(risks)


def gram_and_eigh(X):
    """The least any method of this kind must do: one Gram matrix and its eigendecomposition."""
    return eigh(X @ X.T)


def refit_folds(X, columns, ridges, folds):
    """Leave-one-out by refitting, a few of its folds; every fold serves all ridges and columns."""
    out = np.empty((len(ridges), len(folds), columns.shape[1]))
    for j, i in enumerate(folds):
        keep = np.arange(len(X)) != i
        mean, offset = X[keep].mean(axis=0), columns[keep].mean(axis=0)
        design = X[keep] - mean
        values, vectors = eigh(design @ design.T)
        row = vectors.T @ (design @ (X[i] - mean))
        weight = row / (values + len(X) * ridges[:, None])
        out[:, j] = columns[i] - offset - weight @ (vectors.T @ (columns[keep] - offset))
    return out


def relu_ntk(X):
    """One Gram matrix, then passes over two arrays of its size."""
    norms = np.linalg.norm(X, axis=1)
    gram = X @ X.T
    work = gram / norms[:, None]
    work /= norms
    np.clip(work, -1.0, 1.0, out=work)
    np.negative(work, out=work)
    np.arccos(work, out=work)
    work *= gram
    work /= 2 * np.pi
    return work


def relu_ntk_as_written(X):
    """The formula as one writes it."""
    norms = np.linalg.norm(X, axis=1)
    gram = X @ X.T
    cosine = np.clip(gram / np.outer(norms, norms), -1, 1)
    return gram * (np.pi - np.arccos(cosine)) / (2 * np.pi)


RELU_STEP = 0.1


def relu_descent(W, a, X, y, *, n_steps):
    """Two products per step, everything else in place."""
    W = W.copy()
    scaled = a / math.sqrt(len(W))
    Z, gradient = np.empty((len(W), len(X))), np.empty_like(W)
    for _ in range(n_steps):
        np.matmul(W, X.T, out=Z)
        active = Z > 0
        np.maximum(Z, 0.0, out=Z)
        error = scaled @ Z - y
        np.multiply(active, error, out=Z)
        Z *= scaled[:, None]
        np.matmul(Z, X, out=gradient)
        gradient *= RELU_STEP
        W -= gradient
    return W


def relu_descent_jax(W, a, X, y):
    """The loss as one writes it, differentiated and compiled by jax in float64."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    signs, rows, labels = jnp.asarray(a), jnp.asarray(X), jnp.asarray(y)

    def loss(weights):
        error = jax.nn.relu(rows @ weights.T) @ signs / math.sqrt(len(W)) - labels
        return 0.5 * error @ error

    one = jax.jit(lambda weights: weights - RELU_STEP * jax.grad(loss)(weights), donate_argnums=0)

    def descend(n_steps):
        weights = jnp.array(W)
        for _ in range(n_steps):
            weights = one(weights)
        return np.asarray(weights)

    return descend


def repeated_descent(X, gap, noise, step, n_steps):
    """Training error of descent on drawn rows, moments step by step along their eigenvectors."""
    n, d = X.shape
    z, vectors = eigh(X.T @ X / n)
    kept = (1.0 - step * z) ** 2 + (step * z) ** 2
    moment = (vectors.T @ gap) ** 2 + noise**2 / (n * z)
    floor = noise**2 * (1.0 - d / n)
    for _ in range(n_steps):
        moment = kept * moment + step**2 * (z @ moment + floor) * z
    return z @ moment + floor


def logistic_loss(X, y, ridges):
    """Log loss of the rows left out by five stratified folds, the penalty on the sum kept."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    loss = np.zeros(len(ridges))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        for j, ridge in enumerate(ridges):
            model = LogisticRegression(C=1 / (len(y) * ridge), tol=1e-4, max_iter=1000)
            log_right = model.fit(X[train], y[train]).predict_log_proba(X[test])
            loss[j] -= log_right[np.arange(len(test)), y[test]].sum() / len(y)
    return loss


def logistic_folds(X, y, ridges):
    """Five-fold cross-validation of the ridge by scikit-learn."""
    from sklearn.linear_model import LogisticRegressionCV

    return LogisticRegressionCV(
        Cs=1 / (len(y) * ridges),
        cv=5,
        scoring="neg_log_loss",
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
        max_iter=1000,
    ).fit(X, y)
