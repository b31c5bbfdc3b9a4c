"""Models that several tests share, and the slow obvious version of their theory: dense matrices."""

import math

import numpy as np
from scipy.optimize import brentq

from retemper.linear import (
    LinearModel,
    compare,
)

from .portable import D5, SRC, combine, covariance, spectrum


def obvious_kappa(s, n, ridge):
    s = s[s > 1e-14 * s.max()]
    if n == 0:
        return math.inf
    if ridge == 0 and n >= s.size:
        return 0.0
    g = lambda k: k * (1 - (s / (s + k)).sum() / n) - ridge  # noqa: E731
    high = ridge + s.sum() / n + 1e-300
    low = high
    while g(low) > 0:
        low /= 2
    return brentq(g, low, high, xtol=1e-300, rtol=1e-15) if low < high else low


def obvious_deep_scale(a2, p2, q2, depth):
    if depth == 1:
        return 1.0
    power = 2.0 if math.isinf(depth) else 2 * depth / (depth - 1)
    f = lambda x: power * x + np.log(p2 + q2) - np.log(a2 + np.exp(2 * x) * q2)  # noqa: E731
    return np.exp(brentq(f, -300, 300, xtol=1e-14, rtol=1e-15))


def dense(cov, d):
    if cov is None:
        return np.eye(d)
    return np.diag(cov) if cov.ndim == 1 else cov


def obvious(model, scale=None):
    """Risks by section 4 with dense matrices; one output."""
    d, n = model.n_features, model.n_samples
    sigma = dense(model.spectrum if model.cov is None else model.cov, d)
    theta = model.theta_target
    eigenvalues = np.linalg.eigvalsh(sigma).clip(0)
    kappa = obvious_kappa(eigenvalues, n, model.ridge)
    if math.isinf(kappa):
        metric, df2_n = sigma, 0.0
    else:
        inverse = np.linalg.pinv(sigma + kappa * np.eye(d), hermitian=True)
        metric = kappa**2 * inverse @ sigma @ inverse
        df2_n = np.trace(sigma @ inverse @ sigma @ inverse) / n
    if model.source_kind == "finite":
        other = sigma if model.cov_source is None else dense(model.cov_source, d)
        own = np.linalg.eigvalsh(other).clip(0)
        k = obvious_kappa(own, model.n_samples_source, model.ridge_source)
        r = np.linalg.pinv(other + k * np.eye(d), hermitian=True)
        mean = r @ other @ model.theta_source
        missed = k**2 * model.theta_source @ r @ other @ r @ model.theta_source
        left = model.n_samples_source - np.trace(other @ r @ other @ r)
        spread = (missed + model.noise_source**2) / left * (r @ other @ r)
    else:
        mean = np.zeros(d) if model.source_coef is None else model.source_coef
        spread = np.zeros((d, d))
    if scale is None:
        scale = 1.0
        if model.depth > 1:
            inside = sigma @ inverse
            second = np.outer(mean, mean) + spread
            scale = obvious_deep_scale(
                theta @ inside @ theta + model.noise**2 / kappa,
                np.trace(second @ inside),
                np.trace(second @ (np.eye(d) - inside)),
                model.depth,
            )
    delta = theta - scale * mean
    bias = (delta @ metric @ delta + scale**2 * np.trace(metric @ spread)) / (1 - df2_n)
    variance = model.noise**2 * df2_n / (1 - df2_n)
    return bias, variance, scale


def power_model(n=40, d=60, **kwargs):
    defaults = {"spectrum": spectrum("power", d, 0.8), "source_coef": combine(SRC, d), "noise": 0.3}
    return LinearModel(n, combine(D5, d), **(defaults | kwargs))


def check_experiments(model, *, slack, n_repeats=80, random_state=0):
    """Theory within three standard errors of experiments, and a share of itself for finite size."""
    found = compare(model, n_repeats=n_repeats, random_state=random_state)
    gap = abs(found.theory - found.simulation)
    assert (gap <= 3.0 * found.stderr + slack * abs(found.theory)).all(), found


def wide_model(**changes):
    """80 rows of 200 features with a falling spectrum, a related source and noise."""
    fields = {"spectrum": spectrum("power", 200, 0.7), "n_samples": 80}
    given = {**fields, **changes}
    return power_model(given.pop("n_samples"), 200, **given)


def finite_model(n=40, d=60, **kwargs):
    defaults = {
        "source_coef": None,
        "theta_source": combine(SRC, d),
        "n_samples_source": 35,
        "noise_source": 0.2,
    }
    return power_model(n, d, **(defaults | kwargs))


def rotation(d, seed=3):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


MODELS = {
    "fixed": power_model(),
    "ridge": power_model(ridge=0.05),
    "negative ridge": power_model(n=30, d=40, spectrum=np.ones(40), ridge=-0.02),
    "no data": power_model(n=0),
    "one sample": power_model(n=1),
    "many samples": power_model(n=200),
    "many samples and ridge": power_model(n=200, ridge=0.1),
    "no source": power_model(source_coef=None),
    "low rank": power_model(spectrum=spectrum("lowrank", 60, 0.9), n=30),
    "increasing spectrum": power_model(spectrum=spectrum("power", 60, 0.8)[::-1]),
    "dense": power_model(spectrum=None, cov=covariance("power", 60, 1, 0.9)),
    "deep": power_model(depth=3),
    "infinitely deep": power_model(depth=math.inf),
    "finite": finite_model(),
    "finite, ridge": finite_model(ridge=0.1, ridge_source=0.2),
    "finite, more samples": finite_model(n_samples_source=200),
    "finite, own spectrum": finite_model(cov_source=spectrum("two", 60, 0.1)),
    "finite, own covariance": finite_model(cov_source=covariance("two", 60, 0.1, 0.9)),
    "finite, low rank": finite_model(cov_source=spectrum("lowrank", 60, 0.5), n_samples_source=50),
    "finite, both dense": finite_model(
        spectrum=None,
        cov=covariance("power", 60, 1, 0.9),
        cov_source=covariance("two", 60, 0.1, 0.2),
    ),
    "finite, dense target, diagonal source": finite_model(
        spectrum=None, cov=covariance("power", 60, 1, 0.9), cov_source=spectrum("two", 60, 0.1)
    ),
    "finite, dense target": finite_model(spectrum=None, cov=covariance("power", 60, 1, 0.9)),
    "finite, deep": finite_model(depth=4, cov_source=covariance("two", 60, 0.1, 0.9)),
    "finite, no data": finite_model(n=0),
}


DEPTHS = [1, 2, 3, 5, 7, 20, math.inf]


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))
