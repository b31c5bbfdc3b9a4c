"""The same tasks as `retemper.diagonal`, written as well as NumPy and SciPy allow."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import brentq


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
