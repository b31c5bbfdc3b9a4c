"""The same tasks as `retemper.diagonal`, written as well as NumPy and SciPy allow."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import brentq, linprog, minimize
from scipy.optimize import root as minpack_root
from scipy.special import ndtr


def newton(X, y, c, tol=1e-12):
    """Capped Newton iteration on the dual with a symmetric product and a Cholesky factor."""
    u, s = np.zeros(X.shape[1]), np.zeros(len(y))
    size = np.linalg.norm(y)
    for _ in range(500):
        beta = c * np.sinh(u)
        r = y - X @ beta
        if np.linalg.norm(r) <= tol * size:
            return beta
        Y = X * np.sqrt(2 * np.hypot(c, beta))
        ds = cho_solve(cho_factor(Y @ Y.T, overwrite_a=True, check_finite=False), r)
        du = 2 * (X.T @ ds)
        step = min(1.0, 2 / np.abs(du).max())
        start, slope = 0.5 * np.sum(c * np.cosh(u)) - y @ s, r @ ds
        while 0.5 * np.sum(c * np.cosh(u + step * du)) - y @ (
            s + step * ds
        ) > start - 1e-4 * step * slope + 1e-12 * abs(start):
            step /= 2
        s += step * ds
        u += step * du
    raise RuntimeError("Newton's iteration did not converge")


def dual_flow(X, y, c, t, *, method, rtol):
    """SciPy's stiff integrators on the n-dimensional dual, with its Jacobian."""

    def rhs(_, s):
        return y - X @ (c * np.sinh(2 * (X.T @ s)))

    def jac(_, s):
        Y = X * np.sqrt(2 * c * np.cosh(2 * (X.T @ s)))
        return -(Y @ Y.T)

    end = solve_ivp(
        rhs, (0, t[-1]), np.zeros(len(y)), method, t_eval=t, jac=jac, rtol=rtol, atol=rtol * 1e-2
    )
    return c * np.sinh(2 * (X.T @ end.y).T)


def lasso(X, y, alpha):
    """Coordinate descent of scikit-learn: the limit of vanishing scale, not the same problem."""
    from sklearn.linear_model import Lasso

    model = Lasso(alpha=alpha, fit_intercept=False, tol=1e-6, max_iter=200_000)
    return model.fit(X, y).coef_


def skglm_lasso(X, y, alpha):
    from skglm import Lasso

    return Lasso(alpha=alpha, fit_intercept=False, tol=1e-6).fit(X, y).coef_


def celer_lasso(X, y, alpha):
    from celer import Lasso

    return Lasso(alpha=alpha, fit_intercept=False, tol=1e-6).fit(X, y).coef_


def diffrax_flow(X, y, c, t, rtol):
    """A compiled stiff solver on the dual."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X, y, c = (jnp.asarray(a) for a in (X, y, c))
    term = diffrax.ODETerm(lambda _, s, __: y - X @ (c * jnp.sinh(2 * (X.T @ s))))
    end = diffrax.diffeqsolve(
        term, diffrax.Kvaerno5(), 0.0, float(t[-1]), 1e-3, jnp.zeros(len(y)),
        saveat=diffrax.SaveAt(ts=jnp.asarray(t)), max_steps=100_000,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * 1e-2),
    )  # fmt: skip
    return np.asarray(c * jnp.sinh(2 * (end.ys @ X)))


def fixed_point(law, alpha, sigma2, nodes=400):
    """One theory point: nested bracketing over the same quadrature, vectorised over components."""
    weight, mean, var, scale = law
    fraction = np.linspace(0.0, 1.0, nodes)

    def averages(tau, theta):
        sd = np.sqrt(var + tau)
        half = 0.5 * theta
        ends = []
        for sign in (-9.0, 9.0):
            z = mean + sign * sd
            a = np.abs(z)
            u = np.minimum(np.arcsinh(a / scale), a / (scale + half))
            for _ in range(12):
                u -= (scale * np.sinh(u) + half * u - a) / (scale * np.cosh(u) + half)
            ends.append(np.copysign(u, z))
        low, width = ends[0], ends[1] - ends[0]
        u = low[:, None] + width[:, None] * fraction
        e = np.exp(u)
        x, dx = scale[:, None] * (e - 1 / e) / 2, scale[:, None] * (e + 1 / e) / 2
        z = x + half * u - mean[:, None]
        p = np.exp(-0.5 * (z / sd[:, None]) ** 2)
        p *= (weight * width / (nodes - 1) / sd / math.sqrt(2 * math.pi))[:, None]
        slope = (var / sd**2)[:, None]
        off = x - mean[:, None] - slope * z
        error = np.sum(p * (dx + half) * off**2) + np.sum(weight * var * tau / sd**2)
        return error, np.sum(p * dx)

    last = [0.0]

    def theta_of(tau):
        def gap(s):
            return averages(tau, math.exp(s))[1] - alpha

        low, high = last[0] - 0.3, last[0] + 0.3
        while gap(low) < 0:
            low -= 1.0
        while gap(high) > 0:
            high += 1.0
        last[0] = brentq(gap, low, high, xtol=1e-13)
        return math.exp(last[0])

    def excess(s):
        tau = math.exp(s)
        return (sigma2 + averages(tau, theta_of(tau))[0]) / (alpha * tau) - 1

    top = math.log((sigma2 + 4 * np.sum(weight * (mean**2 + var))) / alpha)
    low = top - 3.0
    while excess(low) < 0:
        low -= 3.0
    tau = math.exp(brentq(excess, low, top, xtol=1e-12))
    return averages(tau, theta_of(tau))[0]


def deep_newton(X, y, c, depth, tol=1e-12):
    """`newton` for more than two layers, whose force is bounded: steps stay inside its bounds."""
    r = 1 - 2 / depth
    stiffness = (c / 2) ** -r / depth
    s = np.zeros(len(y))
    size = np.linalg.norm(y)

    def point(s):
        tanh = r / stiffness * (s @ X)
        if np.abs(tanh).max() >= 1.0:
            return None
        u = np.arctanh(tanh) / r
        lift = c * np.cosh(r * u) ** (1 / r)
        return tanh, lift * np.sinh(u), lift * (np.cosh(u) + np.sinh(u) * tanh)

    at = point(s)
    for _ in range(1000):
        tanh, beta, slope = at
        left = y - X @ beta
        if np.linalg.norm(left) <= tol * size:
            return beta
        Y = X * np.sqrt(slope / (stiffness * (1 - tanh**2)))
        ds = cho_solve(cho_factor(Y @ Y.T, overwrite_a=True, check_finite=False), left)
        step, before = 1.0, left @ ds
        # the residual along the step falls through zero at the least dual
        while (at := point(s + step * ds)) is None or ds @ (y - X @ at[1]) < -0.5 * before:
            step /= 2
        s = s + step * ds
    raise RuntimeError("Newton's iteration did not converge")


def noisy_scale(X, y, c, *, step_size, n_steps, label_noise, batch_size, n_times):
    """The integrals of `stochastic_scale` along the path of SciPy's integrator."""
    n = len(y)
    times = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, n_times) * step_size * n_steps])
    left = y - dual_flow(X, y, c, times, method="LSODA", rtol=1e-6) @ X.T
    share = n / batch_size
    whole = (1 - 1 / batch_size) * np.trapezoid((left @ X) ** 2, times, axis=0)
    rows = share * (np.trapezoid(left**2, times, axis=0) + label_noise**2 * times[-1])
    return c * np.exp(-step_size * (whole + rows @ X**2))


def descend(X, y, weights, *, step_size, n_steps, batch_size, label_noise, seed):
    """Stochastic gradient descent on two layers, a step after the other."""
    rng = np.random.default_rng(seed)
    wp, vp, wm, vm = (np.array(w) for w in weights)
    for _ in range(n_steps):
        rows = rng.integers(len(y), size=batch_size)
        part = X[rows]
        wrong = part @ (wp * vp - wm * vm) - y[rows]
        wrong -= label_noise * rng.standard_normal(batch_size)
        g = step_size * len(y) / batch_size * (wrong @ part)
        wp, vp, wm, vm = wp - g * vp, vp - g * wp, wm + g * vm, vm + g * wm
    return wp * vp - wm * vm


def slsqp_margin(X, y, c):
    """Least penalty with margin one by a solver for any smooth problem."""
    rows = y[:, None] * X
    return minimize(
        lambda b: 0.5 * np.sum(b * np.arcsinh(b / c) - np.hypot(b, c)),
        rows.T @ np.linalg.solve(rows @ rows.T, 2 * np.ones(len(y))),
        jac=lambda b: 0.5 * np.arcsinh(b / c), method="SLSQP",
        constraints={"type": "ineq", "fun": lambda b: rows @ b - 1.0, "jac": lambda b: rows},
        options={"ftol": 1e-12, "maxiter": 2000},
    ).x  # fmt: skip


def dual_margin(X, y, c):
    """The same by the dual with bounds: a quasi-Newton method of SciPy."""
    rows = y[:, None] * X

    def dual(s):
        u = 2 * (s @ rows)
        return 0.5 * np.sum(c * np.cosh(u)) - s.sum(), rows @ (c * np.sinh(u)) - 1.0

    end = minimize(
        dual, np.zeros(len(y)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(y),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 20_000, "maxfun": 40_000},
    )  # fmt: skip
    return c * np.sinh(2 * (end.x @ rows))


def linear_svc(X, y):
    """Largest Euclidean margin of scikit-learn: the limit of large scale, not the same problem."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=1e6, loss="hinge", fit_intercept=False, tol=1e-6, max_iter=200_000)
    return model.fit(X, y).coef_[0]


def l1_margin(X, y):
    """Largest l1 margin by HiGHS: the limit of vanishing scale, not the same problem."""
    rows, (n, d) = y[:, None] * X, X.shape
    found = linprog(np.ones(2 * d), A_ub=-np.hstack([rows, -rows]), b_ub=-np.ones(n))
    return found.x[:d] - found.x[d:]


def mean_field(points, alpha, sigma, times, tol=1e-7):
    """Mean-field flow of two layers on a grid of times by NumPy, a step at a time: errors."""
    w, b, c, u0 = (points[name] for name in ("weight", "target", "scale", "centre"))
    n, end, rank = len(w), len(times), points["normals"].shape[1]
    force, slope = 2 * c, np.empty((n, end))
    wrong, push = np.empty((n, end)), np.empty((n, end))
    response, step = np.zeros((n, end, end)), np.zeros((end, end))
    gain, kernel, rows = np.zeros((end, end)), np.zeros((end, end)), np.zeros((end, rank))
    basis, used, root = np.zeros((rank, n + 1)), 0, np.append(np.sqrt(w), 1.0)

    def estimate(z, penalty):
        half = 0.5 * penalty
        shifted = z + half * u0
        size = np.abs(shifted)
        u = np.minimum(np.arcsinh(size / c), size / (c + half))
        for _ in range(50):
            change = (c * np.sinh(u) + half * u - size) / (c * np.cosh(u) + half)
            u = u - change
            if np.all(np.abs(change) <= 1e-12 * u):
                break
        return np.copysign(u, shifted)

    error = np.empty(end)
    for k in range(end):
        h = times[k] - times[k - 1] if k else 0.0
        now, row = b - c * np.sinh(u0), np.zeros(end)
        if k:
            step[k] = step[k - 1]
            step[k, [k - 1, k]] += 0.5 * h
            now, row = wrong[:, k - 1], gain[k - 1].copy()
            row[k] = gain[k - 1, k - 1]
        for _ in range(40):
            inverse = np.append(-(row[:k] @ kernel[:k, :k]), 1.0) / (1 + row[k])
            left, parts = root * np.append(now, sigma), np.zeros(rank)
            size = np.linalg.norm(left)
            for _ in range(2):
                along = basis[:used] @ left
                left = left - along @ basis[:used]
                parts[:used] += along
            rest = np.linalg.norm(left)
            is_new = rest > 1e-5 * size
            parts[used] = rest if is_new else 0.0
            f = math.sqrt(alpha) * points["normals"] @ (inverse[:k] @ rows[:k] + inverse[k] * parts)
            if k == 0:
                u, after = u0, now
                break
            answer = alpha * (step[k, :k] @ kernel[:k, :k] @ np.eye(k, k + 1) + 0.5 * h * inverse)
            known = push[:, :k] @ step[k, :k] + 0.5 * h * f + wrong[:, :k] @ answer[:k]
            u = estimate(b + known / answer[k], 1 / answer[k])
            after, d = b - c * np.sinh(u), force * np.cosh(u)
            moved = np.matmul((answer[:k] * slope[:, :k])[:, None], response[:, :k, :k])[:, 0]
            new = np.append(step[k, :k] - moved, np.full((n, 1), 0.5 * h), axis=1)
            new /= (1 + answer[k] * d)[:, None]
            found = np.zeros(end)
            found[: k + 1] = (w * d) @ new
            change = max(np.sqrt(w @ (after - now) ** 2) / size,
                         np.abs(found - row).max() / np.abs(found).max())  # fmt: skip
            now, row = after, found
            if change < tol:
                response[:, k, : k + 1] = new
                break
        gain[k], kernel[k, : k + 1], rows[k] = row, inverse, parts
        if is_new:
            basis[used] = left / rest
            used += 1
        wrong[:, k], slope[:, k], push[:, k] = after, force * np.cosh(u), f
        error[k] = w @ after**2
    return error


def margin_point(law, alpha, sigma2, margin=1.0):
    """One point of the theory of margins: the error, averages by NumPy over one part at a time."""
    parts = [part for part in np.transpose(law) if part[3] > 0]
    rho = float(np.sum(law[0] * (law[1] ** 2 + law[2])))
    nodes, weights = np.polynomial.legendre.leggauss(120)
    root_two_pi = math.sqrt(2 * math.pi)

    def estimate(z, c, u0, half):
        u = np.arcsinh((abs(z + half * u0)) / c)
        u = min(u, abs(z + half * u0) / (c + half))
        for _ in range(12):
            u -= (c * math.sinh(u) + half * u - abs(z + half * u0)) / (c * math.cosh(u) + half)
        return math.copysign(u, z + half * u0)

    def equations(at):
        q, cosine, theta = math.exp(at[0]), math.tanh(at[1]), math.exp(at[2])
        root = math.sqrt(q)
        left = math.sqrt((1 - cosine**2) * rho + sigma2)
        low = -12 * root
        length = min(margin, 12 * root) - low
        t = low + 0.5 * length * (nodes + 1)
        density = length * weights * np.exp(-0.5 * t**2 / q) / (root * root_two_pi)
        seen = cosine * math.sqrt(rho) * t / (root * left)
        weight = density * ndtr(seen)
        support = weight.sum()
        tau = weight @ (margin - t) ** 2 / (alpha * support**2)
        signal = (density * np.exp(-0.5 * seen**2)) @ (margin - t) / (root_two_pi * left * support)
        square = overlap = dof = 0.0
        for share, mean, var, c, u0 in parts:
            sd, half = math.sqrt(signal**2 * var + tau), 0.5 * theta
            ends = [estimate(signal * mean + side * sd, c, u0, half) for side in (-9.0, 9.0)]
            u, step = np.linspace(*ends, 80 + int((ends[1] - ends[0]) / 0.15), retstep=True)
            e = np.exp(u)
            x, slope = 0.5 * c * (e - 1 / e), 0.5 * c * (e + 1 / e)
            t = (x + half * (u - u0) - signal * mean) / sd
            density = share * step / (sd * root_two_pi) * np.exp(-0.5 * t**2)
            mass = density * (slope + half) * x
            square += mass @ x
            overlap += mass @ (mean + signal * var / sd * t)
            dof += density @ slope
        seen_cosine = min(max(overlap / math.sqrt(square * rho), -1 + 1e-12), 1 - 1e-12)
        return np.array([
            math.log(square) - at[0], math.atanh(seen_cosine) - at[1],
            math.log(dof / (alpha * support)),
        ])  # fmt: skip

    at = np.array([math.log(4 * margin**2), 0.5, math.log(float(law[3].max()) + margin)])
    left = equations(at)
    while np.abs(left).max() > 1e-2:
        at = at + np.clip(0.5 * left, -1, 1)
        left = equations(at)
    at = minpack_root(equations, at, tol=1e-13).x
    return math.acos(math.tanh(at[1]) * math.sqrt(rho / (rho + sigma2))) / math.pi
