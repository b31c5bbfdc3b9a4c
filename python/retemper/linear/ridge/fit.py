"""Fine-tuning of a linear predictor as functions: settings, and the fit that they give."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from retemper._sources import Source
from retemper._validation import FloatArray, check_choice, check_integer, check_real
from retemper.linear.deep.flow import deep_flow, shared_trunk_flow
from retemper.linear.metric import Metric
from retemper.linear.ridge.candidates import (
    Candidates,
    NoLimitError,
    PlainEquivalent,
    best_scale,
    deep_equivalent,
    mixture_error,
)
from retemper.linear.ridge.path import DegreesOfFreedom, RidgePath

#: Depths that are tried where the depth is chosen from the data.
DEPTHS = (1, 2, 3, 5, 10, math.inf)


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How to fit, as `FineTunedLinearRegression` takes it; checked when made.

    Parameters
    ----------
    depth : float, "loo" or "gcv", default=1
        Number of layers, or what chooses it.
    ridge : float, "loo" or "gcv", default="loo"
        Strength, or what chooses it.
    source_scale : float or "auto", default=1.0
        Factor on the source, or that it is chosen.
    heads : {"independent", "shared"}, default="independent"
        One network for every output, or one for all.
    solver : {"closed", "flow"}, default="closed"
        Closed form or integration.

    Attributes
    ----------
    factor : float
        Factor on the source before it is fitted.

    Raises
    ------
    ValueError
        If a value lies outside its domain or two do not go together.
    """

    depth: Any = 1
    ridge: Any = "loo"
    source_scale: Any = 1.0
    heads: str = "independent"
    solver: str = "closed"

    def __post_init__(self) -> None:
        if isinstance(self.depth, str):
            check_choice(self.depth, "depth", ("loo", "gcv"), besides="an integer from 1 up, inf,")
        else:
            depth = check_real(self.depth, "depth", low=1.0, allow_inf=True)
            if not math.isinf(depth):
                check_integer(int(depth) if depth.is_integer() else self.depth, "depth", low=1)
        if isinstance(self.ridge, str):
            check_choice(self.ridge, "ridge", ("loo", "gcv"), besides="a number")
        else:
            check_real(self.ridge, "ridge", low=0.0 if self.is_deep else -math.inf, allow_inf=True)
            if self.ridge == -math.inf:
                raise ValueError("ridge must be above minus infinity, got -inf")
            if self.depth == math.inf and self.ridge:
                raise ValueError(f"ridge must be 0 at depth=inf, got {self.ridge}")
        if isinstance(self.source_scale, str):
            check_choice(self.source_scale, "source_scale", ("auto",), besides="a number")
            if self.is_deep:
                raise ValueError(
                    f"source_scale='auto' needs depth=1, got depth={self.depth!r}: depth itself "
                    f"rescales the source"
                )
        else:
            check_real(self.source_scale, "source_scale")
        check_choice(self.heads, "heads", ("independent", "shared"))
        check_choice(self.solver, "solver", ("closed", "flow"))
        for name, value in self.integrated:
            finite = not isinstance(self.depth, str) and math.isfinite(self.depth)
            if not finite or isinstance(self.ridge, str) or self.ridge:
                raise ValueError(
                    f"{name}={value!r} needs a finite depth and ridge=0, got "
                    f"depth={self.depth!r}, ridge={self.ridge!r}"
                )

    @property
    def is_deep(self) -> bool:
        """Whether the depth is, or may be, above 1."""
        return bool(self.depth != 1)

    @property
    def integrated(self) -> list[tuple[str, str]]:
        """Settings that ask for integration, with their values."""
        shared = [("heads", "shared")] if self.heads == "shared" and self.is_deep else []
        return shared + ([("solver", "flow")] if self.solver == "flow" else [])

    @property
    def factor(self) -> float:
        """Factor on the source before it is fitted."""
        return 1.0 if self.source_scale == "auto" else float(self.source_scale)

    def check_source(self, source: Source | None) -> None:
        """Refuse a source that does not go with these settings.

        Parameters
        ----------
        source : Source or None
            The source, None for scratch.

        Raises
        ------
        ValueError
            If the depth needs coefficients, or integration a source, that is not there.
        """
        if source is None:
            for name, value in self.integrated if self.is_deep else []:
                raise ValueError(
                    f"{name}={value!r} needs a source above depth 1, where zero is stationary"
                )
        elif source.coef is None and self.is_deep:
            raise ValueError(
                f"a source without coef_ needs depth=1, got depth={self.depth!r}: depth acts on "
                f"the weights of the source"
            )


@dataclasses.dataclass(frozen=True)
class RidgeFit:
    """A fit of q outputs from a source.

    Attributes
    ----------
    coef : ndarray of shape (q, d)
        Slopes; those of the correction alone if the source is known by predictions.
    intercept : ndarray of shape (q,)
        Offsets.
    ridge, depth : float
        The ones used.
    source_scale : ndarray of shape (q,)
        Factor on the source in the plain fit with the same end point.
    degrees : DegreesOfFreedom
        Of every output, (q,) each.
    gcv, loo : float or None
        Predicted squared errors, summed over outputs; None where no plain fit has this end point.
    rank : int
        Rank of the (centred) rows.
    n_iter : int
        Evaluations of the flow; 0 in closed form.
    notes : tuple of str
        What to warn of.
    """

    coef: FloatArray
    intercept: FloatArray
    ridge: float
    depth: float
    source_scale: FloatArray
    degrees: DegreesOfFreedom
    gcv: float | None
    loo: float | None
    rank: int
    n_iter: int
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Ridge and depth that were chosen, and the plain fit of every output with this end point."""

    ridge: float
    depth: float
    plain: FloatArray  # (q,) ridges
    scale: FloatArray  # (q,) factors on the source


def fit_candidates(
    candidates: Candidates,
    source: Source | None,
    settings: FitSettings,
    metric: Metric | None = None,
) -> RidgeFit:
    """Fine-tune on the rows of some candidates.

    Parameters
    ----------
    candidates : Candidates
        Labels and predictions of the source, times ``settings.factor``, on the rows; without a
        source labels alone.
    source : Source or None
        The source.
    settings : FitSettings
        How.
    metric : Metric or None, default=None
        The metric by which the rows were transformed.

    Returns
    -------
    RidgeFit
        The fit.

    Raises
    ------
    ValueError
        If a negative ridge is beyond its limit.
    NoLimitError
        If the depth is infinite and the source vanishes on the rows.
    """
    path, q = candidates.path, candidates.n_outputs
    notes = [] if path.rank else ["X does not vary: the slopes are those of the source"]
    if not settings.is_deep or not path.rank:
        choice = _choose_plain(candidates, settings, has_source=source is not None)
    else:
        choice = _choose_deep(candidates, source, settings)
        notes += _stall(candidates, source, settings)
    mix = np.zeros((path.columns.shape[1], q))
    for k in range(q):
        mix[candidates.column(0, k), k] = 1.0
        if source is not None:
            mix[candidates.column(1, k), k] = -choice.scale[k]

    coef = np.empty((q, path.design.shape[1]))
    gcv = loo = 0.0
    for ridge in np.unique(choice.plain):
        some = mix[:, choice.plain == ridge]
        coef[choice.plain == ridge] = path.coef(ridge, some)
        gcv += float(path.products(ridge, some, some).sum())
        loo += float(np.square(path.loo(ridge)[0] @ some).mean(axis=0).sum())
    notes += _doubts(path, choice.plain, settings, gcv, loo)

    factor, n_iter = settings.factor, 0
    shared = settings.heads == "shared" and q > 1 and settings.is_deep
    if settings.solver == "flow" or shared:
        coef, n_iter = _flow(path, mix, source, settings, shared=shared)
    offset = path.column_mean @ mix - coef @ path.mean
    if metric is not None:
        coef = metric.coef(coef)
    if source is not None:
        offset += factor * choice.scale * source.intercept
        if source.coef is not None:
            coef += (factor * choice.scale)[:, None] * source.coef
    return RidgeFit(
        coef=coef,
        intercept=offset,
        ridge=choice.ridge,
        depth=choice.depth,
        source_scale=factor * choice.scale,
        degrees=path.effective(choice.plain),
        gcv=None if shared else gcv,  # no plain fit has the end point of shared heads
        loo=None if shared else loo,
        rank=path.rank,
        n_iter=n_iter,
        notes=tuple(notes),
    )


def _flow(
    path: RidgePath,
    mix: FloatArray,
    source: Source | None,
    settings: FitSettings,
    *,
    shared: bool,
) -> tuple[FloatArray, int]:
    """Slopes of the correction (q, d) by integration, and the evaluations it took."""
    depth, q = int(settings.depth), mix.shape[1]
    if depth == 1 or source is None or source.coef is None:
        zero = np.zeros((q, path.design.shape[1]))
        result = deep_flow(path.design, path.columns @ mix, zero, depth=1)
        return result.coef, result.n_iter
    start = settings.factor * source.coef
    flow = shared_trunk_flow if shared else deep_flow
    result = flow(path.design, path.columns[:, :q], start, depth=depth)
    return result.coef + mix[q:].diagonal()[:, None] * start, result.n_iter


def _choose_plain(candidates: Candidates, settings: FitSettings, *, has_source: bool) -> _Choice:
    path, q = candidates.path, candidates.n_outputs
    criterion = settings.ridge if isinstance(settings.ridge, str) else "gcv"
    if isinstance(settings.ridge, str):
        ridges = path.grid()
    else:
        ridges = np.array([float(settings.ridge)])
        low = 0.0 if path.n_null or not path.rank else -path.eigenvalues[0]
        if ridges[0] < 0.0 and ridges[0] <= low:
            raise ValueError(
                f"ridge must be above {low:.6g}, minus the smallest eigenvalue of the sample "
                f"covariance, got {settings.ridge}"
            )
    errors, form = candidates.quadratic(criterion, ridges)
    if not has_source:
        scale, error = np.zeros((len(ridges), q)), errors[..., 0]
    elif settings.source_scale == "auto":
        scale = best_scale(form)
        error = mixture_error(form, scale[..., None])
    else:
        scale, error = np.ones((len(ridges), q)), errors[..., 1]
    best = int(np.argmin(error.sum(axis=1)))
    ridge = float(ridges[best])
    depth = float(1 if isinstance(settings.depth, str) else settings.depth)
    return _Choice(ridge, depth, np.full(q, ridge), scale[best])


@dataclasses.dataclass(frozen=True)
class _Start:
    """Norms of the source (q,): in all, and outside the row space."""

    norm: FloatArray
    null: FloatArray


def _start(candidates: Candidates, source: Source | None, settings: FitSettings) -> _Start:
    if source is None:
        return _Start(np.zeros(candidates.n_outputs), np.zeros(candidates.n_outputs))
    assert source.coef is not None
    start, path = settings.factor * source.coef, candidates.path
    columns = np.eye(path.columns.shape[1])[:, candidates.column(1, 0) :]
    inside = path.coef(0.0, columns)
    return _Start(np.linalg.norm(start, axis=1), np.linalg.norm(start - inside, axis=1))


def _stall(candidates: Candidates, source: Source | None, settings: FitSettings) -> list[str]:
    """Whether a deep network would run into zero, where it stays."""
    path, q = candidates.path, candidates.n_outputs
    if source is None or path.rank != 1:
        return []
    assert source.coef is not None
    found = _start(candidates, source, settings)
    least = path.coef(0.0, np.eye(path.columns.shape[1])[:, :q])
    turned = (least * settings.factor * source.coef).sum(axis=1) <= 0.0
    if (turned & (found.null <= 1e-12 * found.norm)).any():
        return [
            "X has rank one and opposes the source: a deep network would stall at zero; the "
            "interpolating solution is returned"
        ]
    return []


def _choose_deep(candidates: Candidates, source: Source | None, settings: FitSettings) -> _Choice:
    path, q = candidates.path, candidates.n_outputs
    by_ridge = settings.ridge if isinstance(settings.ridge, str) else "gcv"
    by_depth = settings.depth if isinstance(settings.depth, str) else by_ridge
    first = _start(candidates, source, settings)
    best: float = math.inf
    chosen: _Choice | None = None
    for depth in DEPTHS if isinstance(settings.depth, str) else (float(settings.depth),):
        if math.isinf(depth) and settings.ridge not in (0, "loo", "gcv"):
            continue

        def plain_fit(k: int, ridge: float, depth: float = depth) -> PlainEquivalent:
            return deep_equivalent(
                path,
                label=candidates.column(0, k),
                source=None if source is None else candidates.column(1, k),
                norm=first.norm[k],
                null=first.null[k],
                depth=depth,
                ridge=ridge,
            )

        if math.isinf(depth) and isinstance(settings.depth, str):
            try:
                for k in range(q):
                    plain_fit(k, 0.0)
            except NoLimitError:
                continue
        if isinstance(settings.ridge, str):
            tried = path.grid()
            if depth > 1.0:  # in the units of this depth
                unit = max(plain_fit(k, 0.0).unit for k in range(q)) or 1.0
                tried = np.append(tried[tried > 0.0] * unit, 0.0)
                tried = tried[-1 if math.isinf(depth) else 0 :]
        else:
            tried = np.array([float(settings.ridge)])
        plain = tried.repeat(q).reshape(-1, q)
        scale = np.full(plain.shape, 0.0 if source is None else 1.0)
        if depth > 1.0:
            for j, k in np.ndindex(plain.shape):
                plain[j, k], scale[j, k], _ = plain_fit(k, float(tried[j]))
        at = int(np.argmin(_mixture_errors(candidates, by_ridge, plain, scale)))
        error = _mixture_errors(candidates, by_depth, plain[[at]], scale[[at]])[0]
        if error < best or chosen is None:
            best = error
            chosen = _Choice(float(tried[at]), float(depth), plain[at], scale[at])
    assert chosen is not None
    return chosen


def _mixture_errors(
    candidates: Candidates, criterion: str, ridge: FloatArray, scale: FloatArray
) -> FloatArray:
    """Error summed over outputs; every output has its own ridge and scale, (m, q) each."""
    total = np.zeros(len(ridge))
    for k in range(candidates.n_outputs):
        form = candidates.quadratic(criterion, ridge[:, k])[1][:, k]
        items = form.shape[-1] - 1
        total += mixture_error(form, scale[:, [k] * items])
    return total


def _doubts(
    path: RidgePath, plain: FloatArray, settings: FitSettings, gcv: float, loo: float
) -> list[str]:
    """Why the predicted errors may not be believed."""
    size = path.n_effective
    noisy = max(gcv, loo) > 1e-12 * float(np.square(path.columns).sum()) / size
    if path.interpolates and (plain == 0.0).any():
        return [
            f"rows of X are repeated and ridge is 0: gcv_ and loo_ say nothing on new rows "
            f"(rank {path.rank} of {size})"
        ]
    if noisy and (plain == 0.0).any() and path.effective(0.0).df2[0] > max(size - 2, size / 2):
        return [
            f"near the interpolation threshold: {size} effective rows, rank {path.rank}, ridge 0"
        ]
    open_end = isinstance(settings.ridge, str) and not settings.is_deep and path.interpolates
    if open_end and (plain == path.grid()[-1]).any():
        return [
            f"the chosen ridge {plain[0]:.4g} is the smallest that was tried, and ridge 0 says "
            f"nothing on new rows, since rows of X are repeated (rank {path.rank} of {size}): "
            f"give ridge, or leave the repetitions out"
        ]
    chosen_by_gcv = "gcv" in (settings.ridge, settings.depth)  # loo does not rest on alike rows
    if noisy and chosen_by_gcv and abs(loo - gcv) > 0.25 * min(loo, gcv):
        return [
            f"chosen by gcv_ = {gcv:.4g}, but loo_ = {loo:.4g} differs by more than 25%: rows "
            f"may be far from independent and alike; prefer 'loo'"
        ]
    return []
