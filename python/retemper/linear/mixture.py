"""Several sources at once: the mixture is learned from the target's own samples."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, as_float_array, check_kind, check_memory
from retemper.linear.model import LinearModel

__all__ = ["mixture_model"]

#: Prior variance of a factor over that of a coefficient: the next order is its inverse.
_FREE = 1e8


def mixture_model(model: LinearModel, sources: ArrayLike) -> LinearModel:
    r"""Model of fine-tuning that starts from the best mixture of several sources.

    Training chooses the factors c of the sources and the coefficients together,

    .. math:: \min_{w, c} \tfrac1n \|y - X w\|^2 + \lambda \|w - w_0 - W^\top c\|^2 ,

    with the sources as the rows of W and :math:`w_0` the fixed source of the model, or zero. What
    it costs to choose the factors from n samples is part of the risk. The result is an ordinary
    `LinearModel`, for `solve`, `curve`, `simulate` and `compare`.

    Parameters
    ----------
    model : LinearModel
        Target, noise, ridge and number of samples; one output, a fixed source or none, depth 1.
    sources : array_like of shape (n_sources, d)
        Coefficients of the sources, in the coordinates of the model. What they span matters, not
        their lengths; sources that depend on each other count once.

    Returns
    -------
    LinearModel
        The same risks in coordinates in which the directions of the sources are free.

    Raises
    ------
    TypeError
        If ``model`` is no `LinearModel` or the sources are not real numbers.
    ValueError
        If shapes disagree, every source is zero, or the model has a finite source, several outputs,
        more than one layer, or training that stops early or is stochastic.

    See Also
    --------
    LinearTransferReport : The same question for a sample.

    Notes
    -----
    Derived here (`derivations/linear#several-sources`): free directions are a prior of infinite
    variance, and a linear change of coordinates makes the prior isotropic.

    Examples
    --------
    >>> import dataclasses
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, mixture_model, solve
    >>> rng = np.random.default_rng(0)
    >>> sources = rng.normal(size=(3, 100)) / 10
    >>> model = LinearModel(40, sources.sum(axis=0), noise=0.1, ridge="optimal")
    >>> alone = min(solve(dataclasses.replace(model, source_coef=w)).risk for w in sources)
    >>> round(alone, 2), round(solve(mixture_model(model, sources)).risk, 4)
    (1.17, 0.0008)
    """
    check_kind(model, "model", LinearModel)
    W = as_float_array(sources, "sources", ndim=2)
    d = model.n_features
    if W.shape[1] != d:
        raise ValueError(f"sources must have {d} columns, as the model, got shape {W.shape}")
    if model.n_outputs > 1 or model.depth != 1 or model.source_kind in ("finite", "several"):
        raise ValueError(
            f"model must have one output, depth 1 and no finite source, got {model.n_outputs} "
            f"outputs, depth {model.depth:g} and a {model.source_kind} source"
        )
    if np.isfinite(model.stop_time) or model.step_size is not None:
        raise ValueError(
            f"model must be trained to the end, got stop_time = {model.stop_time:g} and "
            f"step_size = {model.step_size}"
        )
    check_memory(4.0 * d * d, n_features=d)
    directions = _span(W)
    cov = model.cov
    if cov is None:
        cov = np.diag(np.ones(d) if model.spectrum is None else model.spectrum)
    stretch = np.sqrt(_FREE)

    def scaled(rows: FloatArray, factor: float) -> FloatArray:
        """Rows with their part along the sources multiplied."""
        return rows + (factor - 1.0) * (rows @ directions.T) @ directions

    wide = scaled(scaled(cov, stretch).T, stretch)
    theta, fixed = model.theta_target, model.source_coef
    return dataclasses.replace(
        model,
        theta_target=scaled(theta, 1.0 / stretch),
        source_coef=None if fixed is None else scaled(fixed, 1.0 / stretch),
        spectrum=None,
        cov=0.5 * (wide + wide.T),
    )


def _span(W: FloatArray) -> FloatArray:
    """Orthonormal rows that span the rows of W, whatever their lengths."""
    length = np.linalg.norm(W, axis=1)
    if not length.any():
        raise ValueError("sources must hold a source that is not zero")
    _, size, right = np.linalg.svd(W[length > 0.0] / length[length > 0.0, None])
    return np.asarray(right[: len(size)][size > 1e-10 * size[0]])
