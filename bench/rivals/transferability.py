"""Scores that rank source models without fine-tuning, from their published formulas."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf


def logme(F, y, n_iter=50):
    """Log of maximum evidence per row of a linear model on features F.

    K. You, Y. Liu, J. Wang, M. Long, "LogME: practical assessment of pre-trained models for
    transfer learning", ICML 2021; y real, or classes as one column of zeros and ones for each.
    """
    F = np.hstack([np.ones((len(F), 1)), F])
    n, d = F.shape
    u, s, _ = np.linalg.svd(F, full_matrices=False)
    sigma = s**2
    out = []
    for target in np.atleast_2d(y.T):
        z = u.T @ target
        rest = max(target @ target - z @ z, 0.0)
        alpha = beta = 1.0
        for _ in range(n_iter):
            gamma = np.sum(beta * sigma / (alpha + beta * sigma))
            m2 = np.sum(beta**2 * sigma * z**2 / (alpha + beta * sigma) ** 2)
            res = rest + np.sum((alpha / (alpha + beta * sigma)) ** 2 * z**2)
            alpha = gamma / max(m2, 1e-12)
            beta = max(n - gamma, 1e-6) / max(res, 1e-12)
        m2 = np.sum(beta**2 * sigma * z**2 / (alpha + beta * sigma) ** 2)
        res = rest + np.sum((alpha / (alpha + beta * sigma)) ** 2 * z**2)
        log_det = np.sum(np.log(alpha + beta * sigma)) + (d - len(sigma)) * np.log(alpha)
        evidence = (
            n * np.log(beta) + d * np.log(alpha) - n * np.log(2 * np.pi)
            - beta * res - alpha * m2 - log_det
        ) / 2  # fmt: skip
        out.append(evidence / n)
    return float(np.mean(out))


def h_score(F, y):
    """Between-class over total covariance of the features, the latter shrunk.

    Y. Bao et al., "An information-theoretic approach to transferability in task transfer learning",
    ICIP 2019; shrinkage after S. Ibrahim, N. Ponomareva, R. Mazumder, ECML 2022.
    """
    F = F - F.mean(axis=0)
    means = np.stack([F[y == c].mean(axis=0) for c in np.unique(y)])
    share = np.array([np.mean(y == c) for c in np.unique(y)])
    total = LedoitWolf(assume_centered=True).fit(F).covariance_
    between = (means.T * share) @ means
    return float(np.trace(np.linalg.pinv(total) @ between))
