"""Several outputs on one trunk in high dimension: the path of training."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from retemper._validation import FloatArray, check_kind
from retemper.exceptions import ValidityWarning
from retemper.linear.deep.flow import shared_trunk_flow
from retemper.linear.eigenbasis import Problem, prepare
from retemper.linear.model import LinearModel
from retemper.linear.spectral import roots
from retemper.linear.stopping import ComplexArray, complex_ridge

__all__ = ["SharedTrunkRisk", "check_trunk", "is_trunk", "shared_trunk_risk", "source_mixing"]

#: Wanted relative error of the rule over the spectrum, and its most nodes.
_WANTED, _MOST_NODES = 1e-5, 40
#: Points of the ellipse around the spectrum, and sum of its half axes over that of a segment.
_ELLIPSE, _WIDE = 600, 1.06


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

    Outside the span of the rows the first layer never moves, so that training ends where it does
    at depth 1 from the source :math:`C W_0`, with a matrix C of the size of the outputs. C depends
    on the path. The path concentrates: every eigenvalue of the sample covariance moves a matrix of
    its own, and the last layers couple them. With :math:`\kappa` the `effective_ridge`,
    :math:`\Delta = \Theta - C W_0` and K outputs

    .. math:: R = \frac{\kappa^2 \operatorname{tr}[\Delta (\Sigma+\kappa)^{-1} \Sigma
        (\Sigma+\kappa)^{-1} \Delta^\top] + K \sigma^2\, \mathrm{df}_2/n}{1 - \mathrm{df}_2/n} .

    Parameters
    ----------
    model : LinearModel
        Finite depth from 2 up, no ridge, a fixed source of full rank, and fewer rows than the rank
        of the covariance. ``heads`` is "shared"; one output is the closed form of `solve`.

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
        If n is so near the rank, or the spectrum so wide, that the rule over the spectrum of the
        rows is not accurate to a thousandth.

    See Also
    --------
    shared_trunk_flow : The same network on data.
    solve : The same risk with its alternatives, and along curves.

    Notes
    -----
    Derived here (`derivations/linear#several-outputs-on-one-trunk`). With as many rows as the rank
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
    depth = model.depth
    if depth == 1 or model.heads != "shared":
        raise ValueError(
            f"model must have a depth from 2 up and shared heads, got depth {depth:g} and heads "
            f"{model.heads!r}"
        )
    problem = prepare(model)
    rank = int(np.count_nonzero(problem.spectrum))
    if not 1 <= model.n_samples < rank:
        raise ValueError(
            f"n_samples must lie in [1, {rank - 1}], below the rank of the covariance, got "
            f"{model.n_samples}: with more rows every network ends at least squares"
        )
    check_trunk(model, np.asarray(model.ridge))
    mixing = source_mixing(problem, model, float(model.n_samples), model.noise)
    s, n = problem.spectrum, float(model.n_samples)
    root = roots(s, np.array([n]), np.zeros(1), 1)
    kappa, share = float(root.effective_ridge[0]), float(root.df2[0]) / n
    gap = problem.target - float(model.source_scale) * mixing @ problem.fixed
    bias = float((np.square(gap * (kappa / (s + kappa))) @ s).sum()) / (1.0 - share)
    variance = model.n_outputs * model.noise**2 * share / (1.0 - share)
    return SharedTrunkRisk(bias + variance, bias, variance, mixing)


def is_trunk(model: LinearModel) -> bool:
    """Whether several outputs share all layers but the last.

    Parameters
    ----------
    model : LinearModel
        The model.

    Returns
    -------
    bool
        Several outputs, a depth from 2 up, and shared heads.
    """
    return model.depth != 1 and model.n_outputs > 1 and model.heads == "shared"


def check_trunk(model: LinearModel, ridge: FloatArray) -> None:
    """Refuse what is not known of several outputs on one trunk.

    Parameters
    ----------
    model : LinearModel
        Several outputs that share a trunk of depth 2 or more.
    ridge : ndarray
        Its ridges.

    Raises
    ------
    ValueError
        If there is a ridge, the depth is infinite, the source is learned or of too low a rank, or
        rows are of several classes.
    """
    outputs, own = model.n_outputs, 'heads="independent" gives each output a network of its own'
    if math.isinf(model.depth):
        raise ValueError(
            f'heads="shared": {outputs} outputs on one trunk need a finite depth, got inf; {own}'
        )
    if (ridge != 0.0).any():
        raise ValueError(
            f'heads="shared": ridge must be 0 with {outputs} outputs on one trunk, got '
            f"{model.ridge}: where training with a ridge ends on a trunk is not known"
        )
    if model.row_shares is not None:
        raise ValueError(
            f'heads="shared": {outputs} outputs on one trunk need equal rows, got row_shares: '
            f"the path is known for the spectrum of equal rows; {own}"
        )
    if model.source_kind == "finite":
        raise ValueError(
            f'heads="shared": {outputs} outputs on one trunk need a fixed source, got one that is '
            f"learned from rows: the law of the path holds for given vectors; {own}"
        )
    source = np.zeros_like(model.theta_target) if model.source_coef is None else model.source_coef
    rank = np.linalg.matrix_rank(np.atleast_2d(float(model.source_scale) * source))
    if rank < outputs:
        raise ValueError(
            f"source_coef must have rank {outputs}, one for each output on the trunk, got {rank}: "
            "training cannot raise the rank of a network"
        )


def source_mixing(problem: Problem, model: LinearModel, n: float, noise: float) -> FloatArray:
    """Matrix that training multiplies the outputs of the source with outside the rows, (K, K).

    Parameters
    ----------
    problem : Problem
        The model after its factorisations.
    model : LinearModel
        Its depth and the scale of its source.
    n, noise : float
        Number of rows, below the rank, and noise of their labels.

    Returns
    -------
    ndarray of shape (n_outputs, n_outputs)
        The matrix C.

    Raises
    ------
    NumericalError
        If the path could not be integrated.
    """
    source = float(model.source_scale) * problem.fixed
    outputs = len(source)
    law = _law(problem.spectrum, np.vstack([source, problem.target]), n)
    size, turn = np.linalg.eigh(law.null[:outputs, :outputs])
    left = turn * np.sqrt(np.maximum(size, 0.0))  # of the source outside the span of the rows
    k = law.noise_eigenvalue.size
    start = np.hstack([law.known[:outputs], np.zeros((outputs, outputs * k if noise else 0)), left])
    labels, root = law.known[outputs:], np.sqrt(law.eigenvalue)
    if noise > 0.0:
        labels = np.hstack([labels, np.kron(np.eye(outputs), noise * law.heard)])
        root = np.concatenate([root, np.tile(np.sqrt(law.noise_eigenvalue), outputs)])
    rows = np.hstack([np.diag(root), np.zeros((root.size, outputs))])
    flow = shared_trunk_flow(
        rows, (labels * root).T, start, depth=int(model.depth), on_failure="raise"
    )
    found: FloatArray = flow.coef[:, root.size :] @ np.linalg.pinv(left)
    return found


class _Law(NamedTuple):
    """What the eigendirections of the sample covariance say of source, target and noise."""

    eigenvalue: FloatArray  # (m,) of the sample, in few directions
    known: FloatArray  # (2K, m) components of source and target along them
    noise_eigenvalue: FloatArray  # (k,) the same for the noise
    heard: FloatArray  # (k,) and what one output hears of it, per noise
    null: FloatArray  # (2K, 2K) products of source and target outside the span of the rows


def _law(spectrum: FloatArray, vectors: FloatArray, n: float) -> _Law:
    """Gauss rules of the matrix of spectral measures and of the noise, by Lanczos' recursion.

    The measures are known by their resolvents on an ellipse around the spectrum of the sample.
    """
    kappa, bottom, top = _edges(spectrum, n)
    ratio = math.sqrt(bottom / top)
    rate = (1.0 - ratio) / (1.0 + ratio)
    nodes = math.ceil(0.5 * math.log(_WANTED) / math.log(rate))
    if nodes > _MOST_NODES:
        nodes = _MOST_NODES
        if rate ** (2 * nodes) > 1e-3:
            warnings.warn(
                f"n_samples = {n:g} is close to the rank of the covariance, or that has a wide "
                "spectrum: the rule over the spectrum of the rows has a relative error of about "
                f"{rate ** (2 * nodes):.1g}",
                ValidityWarning,
                stacklevel=4,
            )
    nodes = max(nodes, 6)
    turn = _WIDE * np.exp(2j * np.pi * (np.arange(_ELLIPSE) + 0.5) / _ELLIPSE)
    half = 0.25 * (top - bottom)
    at, weight = 0.5 * (top + bottom) + half * (turn + 1.0 / turn), half * (turn - 1.0 / turn)
    weight = weight / (_ELLIPSE * at)
    far = complex_ridge(spectrum, n, -at)
    outside = (vectors * (kappa / (spectrum + kappa))) @ vectors.T
    share = far[:, None] / (spectrum + far[:, None])
    inside = np.einsum("ai,ji,bi->jab", vectors, share, vectors, optimize=True) - outside
    eigenvalue, known = _block_rule(at, weight[:, None, None] * inside, nodes)
    noise = weight * (1.0 / kappa - 1.0 / far)
    noise_eigenvalue, heard = _block_rule(at, noise[:, None, None], nodes)
    return _Law(eigenvalue, known, noise_eigenvalue, heard[0], outside)


def _edges(spectrum: FloatArray, n: float) -> tuple[float, float, float]:
    """Effective ridge without ridge, and the ends of the spectrum of the sample above zero."""
    kappa = float(roots(spectrum, np.array([n]), np.zeros(1), 1).effective_ridge[0])
    some, first = spectrum[spectrum > 0.0], float(spectrum.max())

    def excess(x: float) -> float:
        """df2 - n, zero where an eigenvalue of the sample turns back as a function of kappa."""
        return float(np.square(some / (some + x)).sum()) - n

    def eigenvalue(x: float) -> float:
        return x * (float((some / (some + x)).sum()) / n - 1.0)

    inner = float(brentq(excess, 0.0, kappa, xtol=1e-15 * kappa))
    above = first * (1.0 + 2.0 * math.sqrt(some.size / n))
    outer = float(brentq(excess, -first * (1.0 + 0.5 / math.sqrt(n)), -above))
    return kappa, eigenvalue(inner), eigenvalue(outer)


def _block_rule(at: ComplexArray, mass: ComplexArray, nodes: int) -> tuple[FloatArray, FloatArray]:
    """Nodes (m,) and vectors (r, m) of a Gauss rule: sum of mass f(at) is sum of v v' f(node)."""

    def product(left: ComplexArray, right: ComplexArray) -> FloatArray:
        found: FloatArray = np.einsum("jap,jaq->pq", left, mass @ right).real
        return found

    def normalised(block: ComplexArray) -> tuple[ComplexArray, FloatArray]:
        square = product(block, block)
        size, turn = np.linalg.eigh(0.5 * (square + square.T))
        kept = size > 1e-14 * scale
        size, turn = np.sqrt(size[kept]), turn[:, kept]
        return block @ (turn / size), size[:, None] * turn.T

    r = mass.shape[1]
    block = np.broadcast_to(np.eye(r), (at.size, r, r)).astype(complex)
    scale = max(float(np.trace(product(block, block))), np.finfo(float).tiny)
    block, first = normalised(block)
    scale = 1.0
    found, unit = [block], float(abs(at).max())
    for _ in range(nodes - 1):
        block = (at / unit)[:, None, None] * found[-1]
        for _ in range(2):  # against rounding
            for each in found:
                block = block - each @ product(each, block)
        block, _ = normalised(block)
        if not block.shape[2]:
            break
        found.append(block)
    basis = np.concatenate(found, axis=2)
    square = product(basis, (at / unit)[:, None, None] * basis)
    eigenvalue, turn = np.linalg.eigh(0.5 * (square + square.T))
    return unit * eigenvalue, first.T @ turn[: len(first)]
