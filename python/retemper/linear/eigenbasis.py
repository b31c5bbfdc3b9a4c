"""A linear model in the eigenbasis of the target covariance, and the law of its source."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from retemper._validation import FloatArray
from retemper.linear.model import LinearModel
from retemper.linear.sources import LinearSource
from retemper.linear.spectral import (
    cut,
    decompose,
    roots,
)


class Problem(NamedTuple):
    """A model after its factorisations; vectors are rows, in the eigenbasis of the target."""

    spectrum: FloatArray  # (d,) descending, exact zeros
    target: FloatArray  # (K, d)
    fixed: FloatArray  # (K, d) fixed source, zero without one
    source_spectrum: FloatArray  # (d,) of a finite source
    source_teacher: FloatArray  # (K, d) of a finite source, in its own eigenbasis
    overlap: FloatArray | None  # (d, d) source eigenvectors as columns; None: the same basis
    several: tuple[Any, ...] = ()  # the problem of every one of several sources


class SourceLaw(NamedTuple):
    """Law of the source vector: mean, and covariance ``level[output] * (matrix with diagonal)``."""

    mean: FloatArray  # (K, d)
    level: FloatArray  # (K,)
    diagonal: FloatArray  # (d,)


def prepare(model: LinearModel) -> Problem:
    """Do every factorisation of a model: one per dense covariance."""
    d = model.n_features
    teachers = model.theta_target.reshape(-1, d)
    basis = None
    if model.cov is not None:
        spectrum, basis = decompose(model.cov, "cov")
        order = np.arange(d)
    else:
        spectrum = np.ones(d) if model.spectrum is None else cut(model.spectrum)
        order = np.argsort(-spectrum, kind="stable")
        spectrum = spectrum[order]

    def rotate(vectors: Any) -> FloatArray:
        x = vectors.reshape(-1, d)
        return np.ascontiguousarray(x[:, order] if basis is None else x @ basis)

    def with_source(source: LinearModel | LinearSource) -> Problem:
        """The problem of a source that is learned."""
        teacher, overlap, given = rotate(source.theta_source), None, source.cov_source
        if given is None:
            own = spectrum
        elif given.ndim == 1:
            own = cut(given)
            if basis is None:
                own = own[order]
            else:
                overlap = np.ascontiguousarray(basis.T)  # its eigenvectors are the axes
        else:
            own, vectors = decompose(given, "cov_source")
            overlap = vectors[order] if basis is None else basis.T @ vectors
        if overlap is not None:
            teacher = teacher @ overlap
        return Problem(spectrum, rotate(teachers), fixed, own, teacher, overlap)

    fixed = np.zeros((len(teachers), d))
    if model.sources is not None:
        plain = Problem(spectrum, rotate(teachers), fixed, spectrum, fixed, None)
        several = (
            plain._replace(fixed=rotate(source.theta_source))
            if source.n_samples_source is None
            else with_source(source)
            for source in model.sources
        )
        return plain._replace(several=tuple(several))
    if model.theta_source is None:
        if model.source_coef is not None:
            fixed = rotate(model.source_coef)
        return Problem(spectrum, rotate(teachers), fixed, spectrum, fixed, None)
    return with_source(model)


def source_law(
    problem: Problem,
    n_samples_source: float | None,
    noise_source: float,
    ridge_source: float,
) -> SourceLaw:
    """Mean and spread of the source; exact asymptotics of ridge or minimum-norm estimation."""
    d = problem.spectrum.size
    outputs = problem.target.shape[0]
    if n_samples_source is None:
        return SourceLaw(problem.fixed, np.zeros(outputs), np.zeros(d))
    s = problem.source_spectrum
    try:
        root = roots(s, np.array([float(n_samples_source)]), np.array([float(ridge_source)]), 1)
    except ValueError as error:
        raise ValueError(f"source: {error}") from None
    kappa, df2 = float(root.effective_ridge[0]), float(root.df2[0])
    if math.isinf(kappa):  # no data: the source is zero
        return SourceLaw(np.zeros((outputs, d)), np.zeros(outputs), np.zeros(d))
    total = np.where(s > 0.0, s + kappa, 1.0)
    shrunk = np.where(s > 0.0, s / total, 0.0)
    missed = np.square(problem.source_teacher * (kappa / total)) @ s
    mean = problem.source_teacher * shrunk
    diagonal = shrunk / total
    if problem.overlap is not None:
        mean = mean @ problem.overlap.T
        diagonal = np.square(problem.overlap) @ diagonal
    level = missed + noise_source**2
    left = n_samples_source - df2
    level = level / left if left > 0.0 else np.where(level > 0.0, np.inf, 0.0)
    return SourceLaw(mean, level, diagonal)
