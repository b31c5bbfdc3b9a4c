"""How often a direction, or its sign, is wrong."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._validation import FloatArray, as_float_array, check_integer, check_real
from retemper.perceptron.model import PerceptronModel, laws_of

__all__ = ["Errors", "SignError", "generalization_error", "model_errors", "sign_error"]


@dataclasses.dataclass(frozen=True)
class SignError:
    """Risk of choosing the wrong global sign from a few labels; see `sign_error`.

    Parameters
    ----------
    probability : float
        That the labels favour the wrong sign.
    exponent : float
        Its decay rate per label: ``probability <= exp(-n_labels * exponent) / 2``.

    See Also
    --------
    sign_error

    Examples
    --------
    >>> from retemper.perceptron import sign_error
    >>> found = sign_error(0.7, 1.0, 3)
    >>> 0 < found.probability < 0.001, round(found.exponent, 3)
    (True, 2.095)
    """

    probability: float
    exponent: float


def generalization_error(cosine: ArrayLike, kappa: float = 0.0, *, sigma: float = 0.0) -> Any:
    r"""Probability that a direction classifies a row of the margin law wrongly.

    Parameters
    ----------
    cosine : array_like
        Cosine between the direction and the true weights, in [-1, 1].
    kappa : float, default=0.0
        Margin of the test rows; 0 for Gaussian rows.
    sigma : float, default=0.0
        Softness of the margin.

    Returns
    -------
    float or ndarray
        :math:`\int_{\bar\kappa}^\infty \mathrm{D}h\, H(Rh/\sqrt{1-R^2}) / H(\bar\kappa)`,
        of the shape of ``cosine``; down to 1e-300.

    Raises
    ------
    ValueError
        If a value is outside its domain.

    See Also
    --------
    sign_error, solve

    Notes
    -----
    Derived here (`derivations/perceptron#errors`).

    Examples
    --------
    >>> from retemper.perceptron import generalization_error
    >>> round(generalization_error(0.5), 6)
    0.333333
    """
    R = as_float_array(cosine, "cosine", ndim=tuple(range(33)))
    kappa = check_parameter(kappa, "kappa")
    soft = math.sqrt(1 + check_parameter(sigma, "sigma") ** 2)
    if R.size and np.abs(R).max() > 1:
        raise ValueError(f"cosine must lie in [-1, 1], got {R.flat[np.abs(R).argmax()]}")
    r = (R / soft).reshape(-1)
    out: FloatArray = core.perceptron.error_margin(r, np.sqrt((1 - r) * (1 + r)), kappa / soft)
    return float(out[0]) if R.ndim == 0 else out.reshape(R.shape)


class Errors(NamedTuple):
    """Probability of a wrong side, of a row of the law of the data and of a Gaussian one."""

    margin: float
    gauss: float


def model_errors(model: PerceptronModel, cosine: Any) -> Errors:
    """Errors on rows of the law of the data, and on Gaussian ones, at a cosine with the truth."""
    R = np.clip(cosine, -1.0, 1.0)
    gauss = np.arccos(R) / math.pi
    if model.channel == "cluster":
        margin = ndtr(-model.cluster_mean * R)
    else:
        margin = generalization_error(R, model.true_margin, sigma=model.sigma)
    if np.ndim(cosine) == 0:
        return Errors(float(margin), float(gauss))
    return Errors(margin, gauss)


def sign_error(
    q: float, kappa: float, n_labels: int = 1, *, sigma: float = 0.0, eta_l: float = 0.0
) -> SignError:
    r"""Risk that a few labels choose the wrong sign of a pre-trained direction.

    Parameters
    ----------
    q : float
        Overlap after pre-training, in (0, 1).
    kappa : float
        Margin, in [0, 30].
    n_labels : int, default=1
        Number of labels, at least 1.
    sigma, eta_l : float, default=0.0
        Softness and flips, as in `PerceptronModel`.

    Returns
    -------
    SignError
        Probability and its decay rate.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    See Also
    --------
    generalization_error

    Notes
    -----
    Derived here (`derivations/perceptron#errors`). With s the log-odds of one label and f the
    Fourier transform of the law of s tilted by exp(-s / 2), which is even, the probability is
    :math:`\frac1\pi \int_0^{\pi/2} f(\tfrac12 \tan\theta)^k \mathrm{d}\theta`. With flipped labels
    s is bounded and its law is convolved on a lattice, to about 1e-6.

    Examples
    --------
    >>> from retemper.perceptron import sign_error
    >>> round(sign_error(0.717009825829724, 1.0, 2).probability, 5)
    0.00141
    """
    q = check_real(q, "q", low=0, high=1, open_low=True, open_high=True)
    n_labels = check_integer(n_labels, "n_labels", low=1)
    model = PerceptronModel(kappa, 0.0, sigma=sigma, eta_l=eta_l)
    law = laws_of(model)[0]
    if eta_l:
        return _sign_error_with_flips(law, q, n_labels)
    node, weight = np.polynomial.legendre.leggauss(20)
    low = 1e-9
    edges = np.linspace(math.log(low), -math.log(low), 72)  # any width of s
    half = 0.5 * np.diff(edges)[:, None]
    t = np.exp(0.5 * (edges[1:] + edges[:-1])[:, None] + half * node)
    f = core.perceptron.odds_transform(law, q, 1 - q, 0.2, np.append(t.reshape(-1), 0.0))
    f, at_zero = f[:-1].reshape(t.shape), float(f[-1])
    # what follows the first panel without weight is noise
    f *= np.cumprod(np.abs(f).max(axis=1) > 1e-12 * at_zero)[:, None]
    total = float((half * weight * t / (0.25 + t * t) * f**n_labels).sum())
    total += 4 * low * at_zero**n_labels
    return SignError(total / (2 * math.pi), -math.log(at_zero))


def _sign_error_with_flips(law: Any, q: float, n_labels: int) -> SignError:
    # the odds are bounded and gather at their bounds: convolve them on a lattice that has both
    n_steps = 4096
    z = np.linspace(-13, 13, 200_001)
    log_w = core.perceptron.channel_score(
        law, core.perceptron.RowKind.positive, math.sqrt(q) * z, np.array([1 - q]), 1
    ).log_w
    gauss = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    odds = log_w - log_w[::-1]
    exponent = -math.log(float(gauss @ np.exp(0.5 * (log_w + log_w[::-1]))))
    place = odds / max(odds.max(), 1e-300) * n_steps + n_steps
    below = np.clip(np.floor(place).astype(np.int64), 0, 2 * n_steps - 1)
    share = place - below
    mass = gauss * np.exp(log_w)
    law_of_odds = np.bincount(below, mass * (1 - share), 2 * n_steps + 1)
    law_of_odds += np.bincount(below + 1, mass * share, 2 * n_steps + 1)
    size = 2 * n_steps * n_labels + 1
    total = np.fft.irfft(np.fft.rfft(law_of_odds, size) ** n_labels, size)
    middle = n_steps * n_labels
    wrong = float(total[:middle].sum() + 0.5 * total[middle])  # a tie is decided by a coin
    return SignError(max(wrong, 0.0), exponent)
