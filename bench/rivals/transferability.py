"""Scores that rank source models without fine-tuning, from their published formulas.

``python bench/rivals/transferability.py`` sets LogME as the evidence of its paper beside LogME as
the published code has it: on noise, and as rules that choose features for scikit-learn's digits.
"""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf


def logme(F, y, *, intercept=True, published=False):
    """Log of maximum evidence per row of a linear model on features F.

    K. You, Y. Liu, J. Wang, M. Long, "LogME: practical assessment of pre-trained models for
    transfer learning", ICML 2021; y real, or classes as one column of zeros and ones for each.
    The published code (github.com/thuml/LogME) has no intercept, adds 1e-5 to both squares, stops
    once alpha over beta moves by less than a hundredth, and leaves the d - n directions without
    rows out of the determinant. With fewer rows than features that adds (d - n) log(alpha) / 2n.
    """
    if intercept:
        F = np.hstack([np.ones((len(F), 1)), F])
    n, d = F.shape
    u, s, _ = np.linalg.svd(F, full_matrices=False)
    sigma = s**2
    added, n_iter, tol = (1e-5, 11, 1e-2) if published else (1e-12, 50, 1e-12)
    out = []
    for target in np.atleast_2d(y.T):
        z = u.T @ target
        rest = max(target @ target - z @ z, 0.0)
        alpha = beta = 1.0
        for _ in range(n_iter):
            ratio = alpha / beta
            gamma = np.sum(sigma / (ratio + sigma))
            m2 = np.sum(sigma * z**2 / (ratio + sigma) ** 2) + added
            res = rest + np.sum((ratio / (ratio + sigma)) ** 2 * z**2) + added
            alpha, beta = gamma / m2, max(n - gamma, 1e-6) / res
            if abs(alpha / beta - ratio) < tol * ratio:
                break
        log_det = np.sum(np.log(alpha + beta * sigma))
        if not published:
            log_det += (d - len(sigma)) * np.log(alpha)
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


def feature_sets(X, rng):
    """Features of rows of any number: pixels, random ReLU features, noise of their size."""
    sets = {"pixels": X / 16.0}
    for width in (16, 128, 1024):
        W = rng.normal(size=(X.shape[1], width)) / X.shape[1] ** 0.5
        sets[f"{width} ReLU"] = np.maximum(X / 16.0 @ W, 0.0) / width**0.5
    sets["128 noise"] = rng.normal(size=(len(X), 128)) / 128**0.5
    return sets


def main():
    """Print both scores side by side."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import RidgeClassifierCV

    print("labels and features both noise: evidence per row as in the paper, as published")
    for n, d in ((200, 20), (200, 100), (100, 200), (20, 512)):
        rng = np.random.default_rng(n)
        F, y = rng.normal(size=(n, d)), rng.normal(size=n)
        both = [logme(F, y, intercept=False, published=p) for p in (False, True)]
        print(f"  n = {n:4d}, d = {d:4d}: {both[0]:8.3f} {both[1]:8.3f}")
    X, y = load_digits(return_X_y=True)
    print(
        "digits, 20 draws: share of wrong classes on other rows with the features that are chosen"
    )
    for n in (20, 60, 200):
        found = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            sets = feature_sets(X, rng)
            order = rng.permutation(len(y))
            at, rest = order[:n], order[n:]
            wrong = np.array(
                [
                    1.0
                    - RidgeClassifierCV(np.logspace(-6, 3, 19))
                    .fit(F[at], y[at])
                    .score(F[rest], y[rest])
                    for F in sets.values()
                ]
            )
            Y = np.eye(10)[y[at]]
            scores = [
                [logme(F[at], Y, intercept=False, published=p) for F in sets.values()]
                for p in (False, True)
            ]
            picks = [int(np.argmax(score)) for score in scores]
            found.append([wrong[picks[0]], wrong[picks[1]], wrong.min(), picks[0] == picks[1]])
        paper, code, best, same = np.mean(found, axis=0)
        print(
            f"  n = {n:3d}: paper {paper:.3f}, published code {code:.3f}, best {best:.3f}, "
            f"same choice in {same:.0%}"
        )


if __name__ == "__main__":
    main()
