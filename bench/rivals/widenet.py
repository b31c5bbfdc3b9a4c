"""Kernels, the path of couplings and the sampler's gradient as plain numpy and scipy."""

import math

import numpy as np
import scipy.special as sc
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import brentq, minimize, root


def erf_kernel(X):
    G = X @ X.T / X.shape[1]
    scale = 1 / np.sqrt(1 + 2 * np.diagonal(G))
    return 2 / np.pi * np.arcsin(2 * G * scale[:, None] * scale)


def erf_cross(cov, a, b):
    return 2 / np.pi * np.arcsin(2 * cov / np.sqrt((1 + 2 * a)[:, None] * (1 + 2 * b)))


def fit_source(K, y, width, T):
    """Secant in log Q with a Cholesky factor and an inverse at every step."""
    n = len(y)

    def slope(x):
        Q = math.exp(x)
        factor = cho_factor(T * np.eye(n) + Q * K, lower=True)
        inverse = cho_solve(factor, np.eye(n))
        alpha = inverse @ y
        return Q - 1 + Q / width * ((inverse * K).sum() - alpha @ K @ alpha)

    a, b = 0.0, 0.1
    fa, fb = slope(a), slope(b)
    for _ in range(40):
        if abs(fb) < 1e-11:
            break
        step = np.clip(-fb * (b - a) / (fb - fa), -1, 1)
        a, fa, b = b, fb, b + step
        fb = slope(b)
    Q = math.exp(b)
    factor = cho_factor(T * np.eye(n) + Q * K, lower=True)
    return Q, factor, cho_solve(factor, y)


def fit_target(K_d, K_o, mu, G, y, Q_s, width, T, start):  # noqa: PLR0917
    n = len(y)

    def point(x):
        delta, q_tt = math.exp(x[0]), x[1]
        D = T * np.eye(n) + delta * K_d + q_tt * (K_d - K_o)
        inverse = np.linalg.inv(D)
        stiff = (mu @ inverse @ mu - (inverse * G).sum()) / width
        R = mu @ inverse @ y / width / (1 / (Q_s * delta) + stiff)
        E = q_tt * K_o - R**2 * G
        a = inverse @ (y - R * mu)
        F = inverse @ E @ inverse
        return delta, q_tt, R, inverse, E, a, F

    def equations(x):
        delta, q_tt, R, inverse, _, a, F = point(x)
        q = q_tt - R**2 / Q_s
        e_q = q - delta**2 / width * ((F * K_o).sum() + a @ K_o @ a)
        gap = (inverse * K_d).sum() - (F * K_d).sum() - a @ K_d @ a
        return [delta - 1 + q / delta + delta / width * gap, e_q]

    found = root(equations, start, method="hybr", options={"xtol": 1e-13})
    delta, q_tt, _, inverse, _, a, F = point(found.x)
    d = np.diagonal(inverse)
    loo = (a / d) ** 2 + 1 / d - T + np.diagonal(F) / d**2
    return found.x, delta, q_tt, loo.mean()


def fit_alone(K, y, width, T):
    n = len(y)

    def slope(x):
        Q = math.exp(x)
        inverse = np.linalg.inv(T * np.eye(n) + Q * K)
        alpha = inverse @ y
        return Q - 1 + Q / width * ((inverse * K).sum() - alpha @ K @ alpha)

    Q = math.exp(brentq(slope, -9, 9, xtol=1e-12))
    inverse = np.linalg.inv(T * np.eye(n) + Q * K)
    d = np.diagonal(inverse)
    return Q, ((inverse @ y / d) ** 2 + 1 / d - T).mean()


def gamma_path(target, source, gammas, width, T):
    """Leave-one-out errors of source and random anchor; everything anew for every coupling."""
    (Xt, yt), (Xs, ys) = target, source
    d = Xt.shape[1]
    vs, vt = (Xs**2).sum(1) / d, (Xt**2).sum(1) / d
    zero = np.zeros_like(yt)
    out = []
    start = anchor = np.array([0.0, 0.1])
    for gamma in gammas:
        pull = gamma / (1 + gamma) if math.isfinite(gamma) else 1 - 1e-8
        rho_o = pull**2
        rho_d = rho_o + 1 - pull
        K_d = erf_cross(rho_d * (Xt @ Xt.T) / d, rho_d * vt, rho_d * vt)
        if gamma == 0:
            out.append((fit_alone(K_d, yt, width, T)[1],) * 2)
            continue
        Q_s, factor, alpha = fit_source(erf_kernel(Xs), ys, width, T)
        K_o = erf_cross(rho_o * (Xt @ Xt.T) / d, rho_d * vt, rho_d * vt)
        K_st = erf_cross(pull * (Xs @ Xt.T) / d, vs, rho_d * vt)
        mu, G = K_st.T @ alpha, K_st.T @ cho_solve(factor, K_st)
        start, *_, loo = fit_target(K_d, K_o, mu, G, yt, Q_s, width, T, start)
        anchor, *_, other = fit_target(K_d, K_o, zero, 0 * G, yt, 1.0, width, T, anchor)
        out.append((loo, other))
    return np.array(out)


def deep_parts(X, layers):
    """What every layer of an erf network adds to the kernel, seen through those above it."""
    own, parts = X @ X.T / X.shape[1], []
    for _ in range(layers):
        below, var = own, np.diagonal(own)
        own = erf_cross(below, var, var)
        slope = np.sqrt(4 / math.pi / (1 + 2 * var))
        slope = np.outer(slope, slope)
        parts = [slope * part for part in parts]
        parts.append(own - slope * below if parts else own)
    return parts


def deep_saddle(parts, y, width, T):
    """Newton's method in the logarithms of all order parameters, from one; halved steps."""
    L, n = len(parts), len(y)

    def point(x):
        sums, below = [], np.zeros((n, n))
        for j, part in enumerate(parts):
            below = below + math.exp(x[j:].sum()) * part
            sums.append(below)
        factor = cho_factor(below + T * np.eye(n), lower=True)
        inverse = cho_solve(factor, np.eye(n))
        a = inverse @ y
        value = 2 * np.log(np.diagonal(factor[0])).sum() + y @ a
        return np.sum(np.exp(x) - x) + value / width, sums, inverse, a

    x = np.zeros(L)
    value, sums, inverse, a = point(x)
    for _ in range(60):
        turned = [inverse @ B for B in sums]
        moved = [B @ a for B in sums]
        trace = np.array([np.trace(t) - a @ m for t, m in zip(turned, moved, strict=True)]) / width
        slope = np.exp(x) - 1 + trace
        if np.abs(slope).max() < 1e-10:
            break
        bend = np.diag(np.exp(x))
        for i in range(L):
            for j in range(L):
                cross = (turned[i] * turned[j].T).sum() - 2 * moved[i] @ inverse @ moved[j]
                bend[i, j] += trace[min(i, j)] - cross / width
        step = -np.linalg.solve(
            bend + max(0, 1e-3 - np.linalg.eigvalsh(bend)[0]) * np.eye(L), slope
        )
        step *= min(1, 2 / np.abs(step).max())
        while True:
            trial = point(x + step)
            if trial[0] <= value + 1e-12 * abs(value):
                break
            step = step / 2
        x = x + step
        value, sums, inverse, a = trial
    return np.exp(x)


def deep_whole_kernel(X, y, layers, width, T):
    """Order parameters that multiply the whole kernel of their layer (Pacelli et al. 2023); erf."""
    gram, n = X @ X.T / X.shape[1], len(y)

    def action(x):
        K = gram
        for q in np.exp(x):
            scale = 1 / np.sqrt(1 + 2 * np.diagonal(K))
            K = q * 2 / np.pi * np.arcsin(2 * K * scale[:, None] * scale)
        factor = cho_factor(K + T * np.eye(n), lower=True)
        data = 2 * np.log(np.diagonal(factor[0])).sum() + y @ cho_solve(factor, y)
        return np.sum(np.exp(x) - x) + data / width

    return np.exp(minimize(action, np.zeros(layers), tol=1e-8).x)


def deep_linear(X, y, layers, width, T):
    """The order parameter of every layer of a linear network, by the eigenvalues of the kernel."""
    values, vectors = np.linalg.eigh(X @ X.T / X.shape[1])
    square = (vectors.T @ y) ** 2

    def slope(x):
        weight = math.exp(layers * x)
        A = T + weight * values
        return math.exp(x) - 1 + (weight * values / A * (1 - square / A)).sum() / width

    return math.exp(brentq(slope, -9, 9, xtol=1e-13))


def collapsed_energy(X, y, W, T):
    """Energy and gradient of an erf network with the read-out integrated out."""
    scale = math.sqrt(X.shape[1])
    H = W @ X.T / scale
    phi = sc.erf(H)
    C = T * np.eye(len(y)) + phi.T @ phi / len(W)
    inverse = np.linalg.inv(C)
    a = inverse @ y
    energy = 0.5 * y @ a + 0.5 * np.linalg.slogdet(C)[1]
    back = phi @ (inverse - np.outer(a, a)) / len(W)
    return energy, (back * (2 / math.sqrt(math.pi) * np.exp(-(H**2)))) @ X / scale
