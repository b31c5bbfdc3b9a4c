"""Designs whose columns are correlated: rows of any spectrum, with eigenvectors at random."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retemper._validation import FloatArray
from retemper.diagonal.channel import ScalarChannel
from retemper.diagonal.mirror import curvature_weight


@dataclasses.dataclass(frozen=True)
class Design:
    """Averages over the eigenvalues s of the covariance at an effective ridge kappa.

    Derived here (`derivations/diagonal#correlated-designs`).

    Attributes
    ----------
    alpha : float
        Rows per feature.
    df1, df2 : float
        Means of s / (s + kappa) and of its square.
    h, t : float
        Means of 1 / (s + kappa) and of s / (s + kappa)**2.
    lost : float
        1 - df1, with its own precision.
    excess : float
        Q - 1, where Q is the mean square of the resolvent over its squared mean.
    """

    alpha: float
    df1: float
    df2: float
    h: float
    t: float
    lost: float
    excess: float

    @classmethod
    def at(cls, spectrum: FloatArray, kappa: float, alpha: float) -> Design:
        """The design at an effective ridge."""
        r = 1.0 / (spectrum + kappa)
        share = spectrum * r
        h, df1, df2 = float(r.mean()), float(share.mean()), float((share**2).mean())
        spread = float(((r - h) ** 2).mean())
        return cls(
            alpha=alpha,
            df1=df1,
            df2=df2,
            h=h,
            t=float((share * r).mean()),
            lost=kappa * h,
            excess=((alpha - 1.0) * spread / h**2 + df2) / (alpha - df2),
        )

    @property
    def precision(self) -> float:
        """Strength of the penalty over that in the channel."""
        return self.df1 * (self.alpha - self.df1) / self.h

    @property
    def _signal(self) -> float:
        """Share of the error of a coefficient in the noise of the channel."""
        return self.excess / ((1.0 + self.excess) * self.df1**2)

    @property
    def _noise(self) -> float:
        """Share of the variance of the label noise in it."""
        return self.t / ((self.alpha - self.df2) * self.df1**2 * (1.0 + self.excess))

    def channel(self, noise: float, mu: float) -> tuple[float, float, float]:
        """alpha, noise and mu of independent columns with the same channel.

        Parameters
        ----------
        noise, mu : float
            Those of this design.

        Returns
        -------
        tuple of float
            In that order.
        """
        alpha = 1.0 / self._signal
        noise_seen = noise * math.sqrt(alpha * self._noise)
        return alpha, noise_seen, mu * (alpha - self.df1) / self.precision if mu else 0.0

    def test_error(self, mse: float, tau: float, noise: float) -> float:
        """Squared error of a label of a new row.

        Parameters
        ----------
        mse, tau : float
            Error of a coefficient and noise of the channel.
        noise : float
            Standard deviation of the label noise.

        Returns
        -------
        float
            With the variance of the label noise.
        """
        left = self.t * (mse - self.df1**2 * tau) / self.h**2
        return (self.alpha * left + noise**2 * self.df2) / (self.alpha - self.df2) + noise**2

    def train_error(self, mse: float, tau: float, noise: float) -> float:
        """Mean squared residual on the rows of the fit.

        Parameters
        ----------
        mse, tau, noise : float
            As in `test_error`.

        Returns
        -------
        float
            Zero where the fit interpolates.
        """
        part = (self.alpha - self.df1) / self.h
        signal = part**2 * (mse - self.df1**2 * tau) * self.t / (self.alpha - self.df2)
        own = self.lost**2 * (1.0 + self.excess) + self.alpha - 1.0
        return (noise**2 * own + signal) / self.alpha


def design_with_dof(spectrum: FloatArray, dof: float, alpha: float) -> Design:
    """The design whose degrees of freedom per feature have a value.

    Parameters
    ----------
    spectrum : ndarray
        Positive eigenvalues of the covariance of a row, each of the same weight.
    dof : float
        In (0, 1].
    alpha : float
        Rows per feature.

    Returns
    -------
    Design
        Its averages.
    """
    if dof >= 1.0:
        return Design.at(spectrum, 0.0, alpha)

    def off(log_kappa: float) -> float:
        share = spectrum / (spectrum + math.exp(log_kappa))
        return float(share.mean()) - dof

    from scipy.optimize import brentq

    low = math.log(spectrum.min()) + math.log1p(-dof) - math.log(dof) - 1.0
    high = math.log(spectrum.max()) + math.log1p(-dof) - math.log(dof) + 1.0
    return Design.at(spectrum, math.exp(brentq(off, low, high, xtol=1e-15, rtol=1e-15)), alpha)


def resampled(spectrum: FloatArray, count: int) -> FloatArray:
    """As many eigenvalues as there are features, at evenly spaced ranks.

    Parameters
    ----------
    spectrum : ndarray
        Eigenvalues.
    count : int
        Number of features.

    Returns
    -------
    ndarray of shape (count,)
        Sorted.
    """
    at = ((np.arange(count) + 0.5) / count * spectrum.size).astype(int)
    return np.asarray(np.sort(spectrum)[at])


def rotated_rows(
    spectrum: FloatArray, n_samples: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Gaussian rows with these eigenvalues, over D, and eigenvectors at random.

    Parameters
    ----------
    spectrum : ndarray of shape (n_features,)
        Eigenvalues of D times the covariance.
    n_samples : int
        Rows.
    rng : Generator
        Source of randomness.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    root : ndarray of shape (n_features, n_features)
        ``root.T @ root`` is their covariance.
    """
    d = spectrum.size
    basis, triangle = np.linalg.qr(rng.standard_normal((d, d)))
    basis *= np.sign(np.diag(triangle))
    root = np.sqrt(spectrum / d)[:, None] * basis.T
    return rng.standard_normal((n_samples, d)) @ root, root


def rotated_channel(
    spectrum: FloatArray,
    *,
    scale: FloatArray,
    coef: FloatArray,
    target: FloatArray,
    force: FloatArray,
    alpha: float,
    mu: float,
    depth: int = 2,
) -> ScalarChannel:
    """Scalar channel behind a fit whose target is known.

    Parameters
    ----------
    spectrum : ndarray of shape (n_features,)
        Eigenvalues of the rows.
    scale, coef, target, force : ndarray of shape (n_features,)
        Fine-tuning scales, fitted and true coefficients, and the derivative of the penalty.
    alpha, mu : float
        Rows per feature and strength of the penalty.
    depth : int, default=2
        Layers of the network.

    Returns
    -------
    ScalarChannel
        Effective noise, penalty and degrees of freedom.
    """
    free = scale > 0.0
    weight = curvature_weight(coef[free], scale[free], depth)
    share = weight.size / scale.size
    unit = float(weight.max())

    def dof(theta: float) -> float:
        return float(np.sum(weight / (weight + theta)) / scale.size)

    most = min(alpha, share)
    if mu == 0.0 and alpha >= share:
        effective_mu = 0.0
    else:
        from scipy.optimize import brentq

        def off(log_theta: float) -> float:
            theta = unit * math.exp(log_theta)
            found = dof(theta)
            if mu == 0.0:
                return found - alpha
            if found >= most:
                return 1.0
            design = design_with_dof(spectrum, found, alpha)
            return mu / (theta * design.precision) - 1.0

        effective_mu = unit * math.exp(brentq(off, -80.0, 80.0, xtol=1e-13))
    seen = (coef + effective_mu * force - target)[free]
    return ScalarChannel(float(np.mean(seen**2)), effective_mu, dof(effective_mu))
