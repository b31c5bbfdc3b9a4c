"""What a source is worth in closed form: its scale under depth, the boundary, linear probes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._validation import LARGEST, as_float_array, check_real, check_shape
from retemper.linear.broadcasting import (
    ANY_RANK,
    FloatOrArray,
    broadcast,
    check_depths,
    require,
    shaped,
)
from retemper.linear.sources import check_covariance
from retemper.linear.spectral import (
    decompose,
)

__all__ = ["ProbeRisk", "deep_scale", "probe_risk", "transfer_boundary"]


def deep_scale(a2: ArrayLike, p2: ArrayLike, q2: ArrayLike, depth: ArrayLike) -> FloatOrArray:
    r"""Rescaling of the source by a deep linear network.

    Gradient flow of a balanced linear network of depth L from the end-to-end vector :math:`\beta_0`
    ends at :math:`X^+ y + c\, P_\perp \beta_0`, as if a plain linear model had started at :math:`c
    \beta_0`, with c > 0 the root of :math:`c^{2L/(L-1)} (p^2 + q^2) = a^2 + c^2 q^2`. Derived here
    (`derivations/linear#deep-linear-networks`), after Shachaf et al. (2021).

    Parameters
    ----------
    a2 : array_like
        :math:`\|X^+ y\|^2`, squared norm of the minimum-norm solution.
    p2, q2 : array_like
        :math:`\|P\beta_0\|^2` and :math:`\|P_\perp\beta_0\|^2`: the source inside the row space
        of the data, and outside.
    depth : array_like
        Number L of weight matrices: integers from 1, or ``inf``. Broadcast with the others.

    Returns
    -------
    float or ndarray
        The scale c: 1 at depth 1, :math:`a/p` at infinite depth, monotone between; 0 for a zero
        source.

    Raises
    ------
    ValueError
        If a squared norm is negative or not finite, ``depth`` is not as above, or the source lies
        outside the row space at infinite depth, where c has no finite limit.

    See Also
    --------
    deep_fit, transfer_boundary

    Examples
    --------
    >>> from retemper.linear import deep_scale
    >>> round(deep_scale(0.25, 1.0, 3.0, 2), 9)
    0.908677011
    """
    arrays = [as_float_array(v, k, ndim=ANY_RANK) for k, v in (("a2", a2), ("p2", p2), ("q2", q2))]
    a, p, q, layers = broadcast(a2=arrays[0], p2=arrays[1], q2=arrays[2], depth=check_depths(depth))
    found = core.linear.deep_scale(a.ravel(), p.ravel(), q.ravel(), layers.ravel())
    return shaped(found.scale.copy(), a.shape)


def transfer_boundary(
    alpha: ArrayLike,
    *,
    source_norm: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    depth: ArrayLike = 1,
) -> FloatOrArray:
    r"""Cosine between teachers above which fine-tuning beats training from scratch.

    For isotropic inputs, a target teacher of unit norm and no ridge, fine-tuning from a source at
    an angle has the smaller risk exactly where the cosine exceeds :math:`c \rho / 2`, with c the
    `deep_scale` of :math:`a^2 = \alpha + \sigma^2 \alpha / (1 - \alpha)`, :math:`p^2 = \alpha
    \rho^2` and :math:`q^2 = (1 - \alpha) \rho^2`. Derived here
    (`derivations/linear#where-fine-tuning-and-scratch-are-equal`).

    Parameters
    ----------
    alpha : array_like
        Target samples per feature, n / d, in (0, 1).
    source_norm : array_like, default=1.0
        Norm :math:`\rho` of the source over that of the target teacher, positive.
    noise : array_like, default=0.0
        Standard deviation of the label noise over the norm of the target teacher.
    depth : array_like, default=1
        Number of weight matrices, integers from 1 or ``inf``.

    Returns
    -------
    float or ndarray
        The boundary, of the arguments' broadcast shape. A value of 1 or more says that transfer
        never helps.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    deep_scale, TransferPhaseDisplay

    Examples
    --------
    >>> from retemper.linear import transfer_boundary
    >>> round(transfer_boundary(0.9, noise=0.2, depth=2), 9)
    0.541666469
    """
    a = as_float_array(alpha, "alpha", ndim=ANY_RANK)
    require((a > 0.0) & (a < 1.0), a, "alpha", "in (0, 1)")
    rho = as_float_array(source_norm, "source_norm", ndim=ANY_RANK)
    require(rho > 0.0, rho, "source_norm", "positive")
    sigma = as_float_array(noise, "noise", ndim=ANY_RANK)
    require(sigma >= 0.0, sigma, "noise", "non-negative")
    a, rho, sigma, layers = broadcast(
        alpha=a, source_norm=rho, noise=sigma, depth=check_depths(depth)
    )
    scale = deep_scale(a + sigma**2 * a / (1.0 - a), a * rho**2, (1.0 - a) * rho**2, layers)
    return shaped(np.asarray(scale) * rho / 2.0, a.shape)


class ProbeRisk(NamedTuple):
    """Risk of a linear probe, as `probe_risk` returns it (see `probe_risk`).

    Parameters
    ----------
    risk : float or ndarray
        Excess risk of the probe, of the shape of ``n_samples``.
    residual : float
        Its limit for infinite data: what the features cannot express.

    See Also
    --------
    probe_risk

    Examples
    --------
    >>> from retemper.linear import probe_risk
    >>> found = probe_risk([3.0, 4.0, 0.0], [[1.0, 0.0, 0.0]], 20, noise=0.0)
    >>> round(found.residual, 9)  # what no head on this feature can learn
    0.64
    """

    risk: FloatOrArray
    residual: float


def probe_risk(
    features: ArrayLike,
    theta_target: ArrayLike,
    n_samples: ArrayLike,
    *,
    cov: ArrayLike | None = None,
    noise: float = 0.0,
) -> ProbeRisk:
    r"""Exact risk of a linear probe on frozen features.

    The probe is least squares of y on :math:`W x`, for frozen features W (the first layers of a
    pretrained network). For Gaussian inputs the expected excess risk is :math:`(\sigma^2 + R_\perp)
    (n - 1) / (n - k - 1) - \sigma^2` at every n > k + 1, with k the rank of the features and
    :math:`R_\perp` the part of the teacher's variance that the features miss. Derived here
    (`derivations/linear#frozen-features`); summed over outputs.

    Parameters
    ----------
    features : array_like of shape (d,) or (k, d)
        Feature vectors as rows, as the first factor of `balanced_factors`.
    theta_target : array_like of shape (d,) or (n_outputs, d)
        Target teacher.
    n_samples : array_like of int
        Numbers n of target samples, each above k + 1.
    cov : array_like of shape (d,) or (d, d), or None, default=None
        Covariance of the inputs; a vector is the diagonal of a diagonal one, None the identity.
    noise : float, default=0.0
        Standard deviation of the label noise.

    Returns
    -------
    ProbeRisk
        ``risk`` of the shape of ``n_samples``, and ``residual``, its limit for infinite data.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or n is not above k + 1.

    See Also
    --------
    solve

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import probe_risk
    >>> found = probe_risk(np.eye(4)[:2], [1.0, 1.0, 1.0, 0.0], 10)
    >>> found.residual, round(found.risk, 9)
    (1.0, 1.285714286)
    """
    theta = as_float_array(theta_target, "theta_target", ndim=(1, 2))
    d = theta.shape[-1]
    if not theta.size:
        raise ValueError(f"theta_target must not be empty, got shape {theta.shape}")
    w = as_float_array(features, "features", ndim=(1, 2))
    check_shape(w, (d,) if w.ndim == 1 else (None, d), "features")
    sigma = check_real(noise, "noise", low=0.0, high=LARGEST)
    w, theta = w.reshape(-1, d), theta.reshape(-1, d)
    if cov is not None:
        matrix = check_covariance(cov, "cov", d, ndim=(1, 2))
        if matrix.ndim == 1:
            root = np.sqrt(matrix)
            w, theta = w * root, theta * root
        else:
            spectrum, vectors = decompose(matrix, "cov")
            factor = vectors * np.sqrt(spectrum)
            w, theta = w @ factor, theta @ factor
    best, _, rank, _ = np.linalg.lstsq(w.T, theta.T, rcond=None)
    residual = float(np.square(theta.T - w.T @ best).sum())
    samples = as_float_array(n_samples, "n_samples", ndim=ANY_RANK)
    domain = f"above the rank of the features plus one, {rank + 1}"
    require(samples > rank + 1, samples, "n_samples", domain)
    level = len(theta) * sigma**2
    # written as a sum of positive terms: (s + r)(n - 1)/(n - k - 1) - s
    risk = residual + (level + residual) * rank / (samples - rank - 1.0)
    return ProbeRisk(shaped(risk, samples.shape), residual)
