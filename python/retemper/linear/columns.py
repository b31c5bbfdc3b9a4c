"""Fewer columns than the source knew: what is not seen is noise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, as_items, check_kind
from retemper.linear.model import LinearModel
from retemper.linear.spectral import decompose

__all__ = ["hidden_columns_model"]


def hidden_columns_model(model: LinearModel, unseen: ArrayLike) -> LinearModel:
    r"""Model of training on some of the columns, beside a source that sees all of them.

    Labels and source depend on every column of ``model``. Training adds to the predictions of the
    source a linear function of the other columns alone. With :math:`\Delta = \theta_T - w_0`, seen
    columns s and hidden ones h, what it can learn and what is noise to it are

    .. math:: \theta = \Delta_s + \Sigma_{ss}^{-1} \Sigma_{sh} \Delta_h, \qquad
        \sigma^2 + \Delta_h^T (\Sigma_{hh} - \Sigma_{hs} \Sigma_{ss}^{-1} \Sigma_{sh}) \Delta_h .

    The result is an ordinary `LinearModel` that starts from zero, for `solve`, `curve`,
    `simulate` and `compare`. Its risk leaves out its ``noise``: errors on new rows are compared as
    ``risk + noise**2``, as the noise differs between sources.

    Parameters
    ----------
    model : LinearModel
        All columns; one output, a fixed source or none, depth 1.
    unseen : array_like of int of shape (n_unseen,)
        Columns that training does not see.

    Returns
    -------
    LinearModel
        The seen columns, what is to be learned of them, and the noise.

    Raises
    ------
    TypeError
        If ``model`` is no `LinearModel`, or ``unseen`` does not hold integers.
    ValueError
        If ``unseen`` names a column twice, or none that there is, or all of them; if the model has
        a finite source, several outputs, more than one layer, classes of rows, or asks for the
        best scale.

    See Also
    --------
    mixture_model

    Notes
    -----
    Derived here (`derivations/linear#columns-that-are-not-seen`). Exact for Gaussian rows; else
    the noise depends on the seen columns, which the theory leaves out.

    Examples
    --------
    >>> import dataclasses
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, hidden_columns_model, solve
    >>> theta = np.ones(100) / 10
    >>> model = LinearModel(40, theta, source_coef=0.8 * theta, noise=0.1)
    >>> scratch = dataclasses.replace(model, source_coef=None)
    >>> for each in (model, scratch):
    ...     part = hidden_columns_model(each, range(20))
    ...     print(round(solve(part).risk + part.noise**2, 4))
    0.052
    0.82
    """
    check_kind(model, "model", LinearModel)
    if model.n_outputs > 1 or model.depth != 1 or model.source_kind in ("finite", "several"):
        raise ValueError(
            f"model must have one output, depth 1 and no finite source, got {model.n_outputs} "
            f"outputs, depth {model.depth:g} and a {model.source_kind} source"
        )
    if isinstance(model.source_scale, str):
        raise ValueError('source_scale must be a number, got "optimal": solve at several scales')
    if model.row_shares is not None:
        raise ValueError("model must have equal rows, got row_shares: hidden columns are noise too")
    d = model.n_features
    columns = np.asarray(as_items(unseen, "unseen"))
    if columns.ndim != 1 or (columns.size and columns.dtype.kind not in "iu"):
        raise TypeError(f"unseen must hold numbers of columns, got {unseen!r}")
    columns = columns.astype(int)
    wrong = columns[(columns < 0) | (columns >= d)]
    if wrong.size or len(np.unique(columns)) < columns.size or columns.size == d:
        raise ValueError(
            f"unseen must name some of the {d} columns, each once and not all, got {unseen!r}"
        )
    gap: FloatArray = model.theta_target.ravel()
    if model.source_coef is not None:
        gap = gap - model.source_scale * model.source_coef.ravel()
    seen = np.setdiff1d(np.arange(d), columns)
    noise = model.noise**2
    spectrum, cov, theta = model.spectrum, model.cov, gap[seen]
    if cov is None:
        own = np.ones(d) if spectrum is None else spectrum
        spectrum = own[seen]
        noise += float(own[columns] @ gap[columns] ** 2)
    else:
        values, vectors = decompose(cov[np.ix_(seen, seen)], "cov")
        pull = vectors.T @ (cov[np.ix_(seen, columns)] @ gap[columns])
        known = values > 0.0
        along = np.divide(pull, values, out=np.zeros_like(pull), where=known)
        theta = theta + vectors @ along
        rest = gap[columns] @ cov[np.ix_(columns, columns)] @ gap[columns] - pull @ along
        noise += max(float(rest), 0.0)
        cov = cov[np.ix_(seen, seen)]
    return dataclasses.replace(
        model, theta_target=theta, source_coef=None, source_scale=1.0, noise=math.sqrt(noise),
        spectrum=spectrum, cov=cov,
    )  # fmt: skip
