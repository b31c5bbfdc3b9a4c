"""The margin perceptron as one would write it with NumPy and SciPy."""

import numpy as np
from scipy import optimize
from scipy.special import erfcx, expit, log_ndtr, logsumexp, ndtr


def hazard(x):
    return np.sqrt(2 / np.pi) / erfcx(-x / np.sqrt(2))


def channel(mean, V, kappa, *, sigma=0.0, eta=0.0, two_sided=True):
    """Stable mixture form: ln W, g, g'."""
    s = np.sqrt(V + sigma**2)
    norm = log_ndtr(-kappa / np.sqrt(1 + sigma**2))
    above = (mean - kappa) / s
    r = hazard(above)
    if not two_sided:
        return log_ndtr(above) - norm, r / s, -r * (r + above) / s**2
    below = (-mean - kappa) / s
    t = hazard(below)
    zero = np.zeros_like(mean)
    L = [log_ndtr(above) - norm - np.log(2), log_ndtr(below) - norm - np.log(2)]
    g = [r / s, -t / s]
    dg = [-r * (r + above) / s**2, -t * (t + below) / s**2]
    if eta:
        L = [x + np.log1p(-eta) for x in L] + [zero + np.log(eta)]
        g, dg = [*g, zero], [*dg, zero]
    L, g, dg = np.array(L), np.array(g), np.array(dg)
    log_w = logsumexp(L, axis=0)
    p = np.exp(L - log_w)
    score = (p * g).sum(axis=0)
    slope = (p * dg).sum(axis=0)
    for i in range(len(L)):
        for j in range(i):
            slope += p[i] * p[j] * (g[i] - g[j]) ** 2
    return log_w, score, slope


def amp(X, n_labelled, kappa, n_iter):
    """Scalar-variance message passing: two products with X an iteration, rows gauge-fixed."""
    M, N = X.shape
    w, V, g, dg, log_w = np.zeros(N), 1.0, np.zeros(M), np.zeros(M), np.zeros(M)
    for _ in range(n_iter):
        mean = X @ w / np.sqrt(N) - V * g
        for part, two_sided in ((slice(0, n_labelled), False), (slice(n_labelled, M), True)):
            log_w[part], g[part], dg[part] = channel(mean[part], V, kappa, two_sided=two_sided)
        B = X.T @ g / np.sqrt(N) - dg.sum() / N * w
        u = (1 + np.sqrt(1 + 4 * B @ B / N)) / 2
        w, V = B / u, 1 / u
    return w


NODE, WEIGHT = np.polynomial.legendre.leggauss(24)


def average(q, V, kappa, two_sided):
    """(E W g^2, E W ln W) on panels refined at the walls."""
    s, root = np.sqrt(V), np.sqrt(q)
    steps = np.array([0, 1, 3, 6, 10, 20, 40]) * s / root
    edges = [kappa / root + steps, kappa / root - steps, np.arange(-13, 14)]
    if two_sided:
        edges += [-kappa / root + steps, -kappa / root - steps]
        edges += [steps * s / kappa, -steps * s / kappa] if kappa else []
    edges = np.unique(np.clip(np.concatenate(edges), -13, 13))
    half = 0.5 * np.diff(edges)
    z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * NODE).ravel()
    weight = (half[:, None] * WEIGHT).ravel() * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    log_w, g, _ = channel(root * z, V, kappa, two_sided=two_sided)
    W = np.exp(log_w)
    return weight @ (W * g * g), weight @ (W * log_w - W + 1)


def solve(kappa, alpha_u, alpha_l, n_scan=240):
    """All fixed points and their free entropies by a scan and Brent's method."""

    def parts(x):
        q, V = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
        u = average(q, V, kappa, True)
        labelled = average(q, V, kappa, False)
        return q, V, u, labelled

    def gap(x):
        q, V, u, labelled = parts(x)
        return (alpha_u * u[0] + alpha_l * labelled[0]) * V / q - 1

    grid = np.linspace(-23, 30, n_scan)
    value = np.array([gap(x) for x in grid])
    roots = [
        optimize.brentq(gap, a, b, xtol=1e-13)
        for a, b, fa, fb in zip(grid, grid[1:], value, value[1:], strict=False)
        if (fa > 0) != (fb > 0)
    ]
    out = []
    for x in roots:
        q, V, u, labelled = parts(x)
        phi = 0.5 * (np.log(V) + q) + alpha_u * u[1] + alpha_l * labelled[1]
        out.append((q, phi))
    return out


def spinodals(kappa, n_scan=240):
    """Extrema of alpha_u(q) without labels, to the accuracy of a golden section."""

    def load(x):
        q, V = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
        return q / V / average(q, V, kappa, True)[0]

    grid = np.linspace(-14, 30, n_scan)
    value = np.array([load(x) for x in grid])
    turns = np.flatnonzero(np.diff(np.sign(np.diff(value)))) + 1
    found = []
    for i in turns:
        sign = np.sign(value[i + 1] - value[i])
        bounds = (grid[i - 1], grid[i + 1])
        best = optimize.minimize_scalar(
            lambda x, sign=sign: sign * load(x), bounds=bounds, method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        found.append(load(best.x))
    return found


def sign_point(alpha):
    """Overlap of the Bayes-optimal sign perceptron on the sphere, scipy's quadrature throughout."""
    from scipy.integrate import quad
    from scipy.special import ndtr

    q = 0.5
    for _ in range(200):
        ratio = np.sqrt(q / (1 - q))
        overlap = 2 * quad(
            lambda z, r=ratio: np.exp(-z * z / 2 - (r * z) ** 2) / ndtr(r * z), -8, 8
        )[0] / (2 * np.pi) ** 1.5 / (1 - q)  # fmt: skip
        new = alpha * overlap / (1 + alpha * overlap)
        if abs(new - q) < 1e-8:
            break
        q = new
    return new


def proximal_step(loss, y, mean, V):
    """Minus the slope of a loss at its proximal point, and its derivative."""
    if loss == "square":
        return (y - mean) / (1 + V), np.full_like(mean, -1 / (1 + V))
    if loss == "huber":
        inside = np.abs(y - mean) < 1 + V
        return np.clip((y - mean) / (1 + V), -1, 1), -1.0 * inside / (1 + V)
    u = y * mean
    if loss == "hinge":
        h = np.where(u > 1, u, np.minimum(u + V, 1.0))
        return y * (h - u) / V, -1.0 * ((u < 1) & (u > 1 - V)) / V
    h = np.zeros_like(u)  # where it bends the other way: no step goes too far
    for _ in range(30):
        p = expit(-h)
        h -= (h - u - V * p) / (1 + V * p * (1 - p))
    p = expit(-h)
    return y * p, -p * (1 - p) / (1 + V * p * (1 - p))


def erm_point(loss, alpha, ridge, features, *, noise=None, tol=1e-8):
    """Overlaps of a loss on correlated features, as replica notebooks do it: averages on a grid
    and the plain map. Labels are signs, or numbers with normal noise. ``features`` are variances,
    their shares, and the variance of the teacher's field along them."""
    spectrum, share, power = features
    z = np.linspace(-8, 8, 2001)  # Gauss-Hermite nodes blur the bends: 17 % of q with 120 of them
    w = np.exp(-z * z / 2)
    w /= w.sum()
    x = np.linspace(-8, 8, 201)
    wx = np.exp(-x * x / 2)
    wx = wx / wx.sum()
    rho = float(power.sum())
    V, q, m = 1.0, 0.1 * rho, 0.1 * rho
    for _ in range(20000):
        root, along = np.sqrt(q), m / np.sqrt(q)
        V0 = rho - along**2
        if noise is None:
            t = along * z / np.sqrt(V0)
            y = np.array([[1.0], [-1.0]])
            weight = np.array([ndtr(t), ndtr(-t)]) * w
            slope = np.exp(-t * t / 2) / np.sqrt(2 * np.pi * V0)
            first = np.array([slope, -slope]) * w
        else:
            s = np.sqrt(V0 + noise**2)
            y = along * z + s * x[:, None]
            weight = wx[:, None] * w
            first = weight * x[:, None] / s
        g, dg = proximal_step(loss, y, np.broadcast_to(root * z, weight.shape), V)
        A, q_hat, m_hat = (
            alpha * v for v in (-(weight * dg).sum(), (weight * g * g).sum(), (first * g).sum())
        )
        inverse = 1 / (ridge + A * spectrum)
        new = (
            share @ (spectrum * inverse),
            (m_hat**2 * power + q_hat * share) @ (spectrum * inverse) ** 2,
            m_hat * power @ (spectrum * inverse),
        )
        change = max(abs(a - b) for a, b in zip(new, (V, q, m), strict=True))
        V, q, m = new
        if change < tol * max(q, V):
            break
    return V, q, m
