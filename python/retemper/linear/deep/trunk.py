"""Several outputs on one trunk in high dimension: the path of training, with isotropic rows."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from retemper._validation import FloatArray, check_kind
from retemper.exceptions import ValidityWarning
from retemper.linear.deep.flow import shared_trunk_flow
from retemper.linear.model import LinearModel

__all__ = ["SharedTrunkRisk", "shared_trunk_risk"]

#: Wanted relative error of the rule over the spectrum, and its most nodes.
_WANTED, _MOST_NODES = 1e-5, 40


class SharedTrunkRisk(NamedTuple):
    """Risk of several outputs on one trunk (see `shared_trunk_risk`).

    Parameters
    ----------
    risk : float
        Excess risk, summed over outputs; ``bias + variance``.
    bias : float
        What is outside the span of the rows and not learned.
    variance : float
        The label noise that was fitted.
    source_mixing : ndarray of shape (n_outputs, n_outputs)
        Matrix that the outputs of the source are multiplied with outside the span of the rows.

    See Also
    --------
    shared_trunk_risk

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, shared_trunk_risk
    >>> teacher = np.eye(2, 60)
    >>> found = shared_trunk_risk(LinearModel(20, teacher, source_coef=0.5 * teacher, depth=2))
    >>> bool(np.allclose(found.source_mixing, found.source_mixing[0, 0] * np.eye(2)))
    True
    """

    risk: float
    bias: float
    variance: float
    source_mixing: FloatArray


def shared_trunk_risk(model: LinearModel) -> SharedTrunkRisk:
    r"""Asymptotic risk of a deep linear network whose outputs share all layers but the last.

    Outside the span of the rows the first layer never moves, so that training ends at :math:`X^+ y
    + C\, W_0 P_\perp` with a matrix C of the size of the outputs. C depends on the path. With
    isotropic rows the path concentrates: every eigenvalue of the sample covariance moves a matrix
    of its own, and the last layers couple them. With :math:`\alpha = n/d`, :math:`\Sigma = s I` and
    K outputs

    .. math:: R = s (1-\alpha) \|\Theta - C W_0\|_F^2 + K \sigma^2 \frac{\alpha}{1-\alpha} .

    Parameters
    ----------
    model : LinearModel
        Isotropic covariance, finite depth from 2 up, no ridge, a fixed source of full rank, and
        fewer rows than features. ``heads`` is "shared".

    Returns
    -------
    SharedTrunkRisk
        The risk, its parts, and C.

    Raises
    ------
    TypeError
        If ``model`` is no `LinearModel`.
    ValueError
        If it is not of the kind above.
    NumericalError
        If the path could not be integrated.

    Warns
    -----
    ValidityWarning
        If n is so near d that the rule over the spectrum is not accurate to a thousandth.

    See Also
    --------
    shared_trunk_flow : The same network on data.
    solve : Networks of their own, ``heads="independent"``.

    Notes
    -----
    Derived here (`derivations/linear#several-outputs-on-one-trunk`). With as many rows as features
    or more every network ends at least squares, whatever its depth.

    Examples
    --------
    >>> import dataclasses
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, shared_trunk_risk, solve
    >>> rng = np.random.default_rng(0)
    >>> teacher = rng.normal(size=(2, 80)) / 80**0.5
    >>> source = teacher + 0.8 * teacher[::-1]
    >>> model = LinearModel(30, teacher, source_coef=source, depth=3)
    >>> round(shared_trunk_risk(model).risk, 3)
    0.285
    >>> round(solve(dataclasses.replace(model, heads="independent")).risk, 3)
    0.648
    """
    check_kind(model, "model", LinearModel)
    n, d, depth = model.n_samples, model.n_features, model.depth
    size = _isotropic(model)
    if math.isinf(depth) or depth < 2 or model.ridge != 0.0 or model.heads != "shared":
        raise ValueError(
            f"model must have a finite depth from 2 up, no ridge and shared heads, got depth "
            f"{depth:g}, ridge {model.ridge} and heads {model.heads!r}"
        )
    if not 1 <= n < d:
        raise ValueError(
            f"n_samples must lie in [1, {d - 1}], below n_features, got {n}: with more rows every "
            "network ends at least squares"
        )
    target = model.theta_target.reshape(-1, d)
    outputs = len(target)
    source = np.zeros_like(target)
    if model.source_coef is not None:
        source = float(model.source_scale) * model.source_coef.reshape(-1, d)
    if np.linalg.matrix_rank(source) < outputs:
        raise ValueError(
            f"source_coef must have rank {outputs}, one for each output, got "
            f"{np.linalg.matrix_rank(source)}: training cannot raise the rank of a network"
        )
    alpha, noise = n / d, model.noise / math.sqrt(size)
    nodes = math.ceil(math.log(_WANTED) / math.log(alpha))
    if nodes > _MOST_NODES:
        nodes = _MOST_NODES
        if alpha**nodes > 1e-3:
            warnings.warn(
                f"n_samples = {n} is close to n_features = {d}: the rule over the spectrum has a "
                f"relative error of about {alpha**nodes:.1g}",
                ValidityWarning,
                stacklevel=2,
            )
    final, known = _path(source, target, (alpha, noise), (int(depth), max(nodes, 6)))
    left, right = math.sqrt(1.0 - alpha) * known[:outputs], math.sqrt(1.0 - alpha) * known[outputs:]
    bias = size * float(np.square(right - final).sum())
    variance = outputs * model.noise**2 * alpha / (1.0 - alpha)
    mixing = final @ np.linalg.pinv(left)
    return SharedTrunkRisk(bias + variance, bias, variance, mixing)


def _isotropic(model: LinearModel) -> float:
    """The one eigenvalue of the covariance."""
    if model.source_kind == "finite":
        raise ValueError("model must have a fixed source, got one that is learned from rows")
    if model.cov is not None:
        size = float(model.cov[0, 0])
        flat = bool((model.cov == size * np.eye(model.n_features)).all())
    else:
        size = 1.0 if model.spectrum is None else float(model.spectrum[0])
        flat = model.spectrum is None or bool((model.spectrum == size).all())
    if not flat or size <= 0.0:
        raise ValueError("model must have an isotropic covariance that is not zero")
    return size


def _path(
    source: FloatArray,
    target: FloatArray,
    law: tuple[float, float],
    resolution: tuple[int, int],
) -> tuple[FloatArray, FloatArray]:
    """End of training outside the span of the rows, and source and target, in few coordinates.

    The law of Marchenko and Pastur stands for the sample: a Gauss rule of Chebyshev's second kind.
    A node has coordinates for the span of source and target, and for the noise of every output.
    """
    (alpha, noise), (depth, nodes) = law, resolution
    outputs = len(source)
    angle = np.arange(1, nodes + 1) * np.pi / (nodes + 1)
    at = 1.0 + alpha + 2.0 * math.sqrt(alpha) * np.cos(angle)
    weight = 2.0 * np.sin(angle) ** 2 / ((nodes + 1) * at)
    eigenvalue = at / alpha
    known = np.linalg.qr(np.vstack([source, target]).T)[1].T  # (2K, r)
    r = known.shape[1]
    share = np.sqrt(weight * alpha)
    start = (known[:outputs, None, :] * share[:, None]).reshape(outputs, -1)
    labels = (known[outputs:, None, :] * share[:, None]).reshape(outputs, -1)
    root = np.repeat(np.sqrt(eigenvalue), r)
    if noise > 0.0:
        heard = noise * np.sqrt(weight / eigenvalue)
        start = np.hstack([start, np.zeros((outputs, outputs * nodes))])
        labels = np.hstack([labels, np.kron(heard, np.eye(outputs))])
        root = np.concatenate([root, np.repeat(np.sqrt(eigenvalue), outputs)])
    rows = np.hstack([np.diag(root), np.zeros((root.size, r))])
    whole = np.hstack([start, math.sqrt(1.0 - alpha) * known[:outputs]])
    flow = shared_trunk_flow(rows, (labels * root).T, whole, depth=depth, on_failure="raise")
    return flow.coef[:, root.size :], known
