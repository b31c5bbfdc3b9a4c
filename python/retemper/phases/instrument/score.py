"""Scores of a layer: cross-validated decoders at every ridge, from the sums of all folds."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._random import Seed
from retemper._text import one_line
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.exceptions import ValidityWarning
from retemper.phases.instrument.adam import adam_fuv
from retemper.phases.instrument.moments import (
    FoldMoments,
    FoldSpectrum,
    spectrum_of_gram,
    spectrum_of_rows,
)
from retemper.phases.instrument.targets import (
    TargetSet,
    as_activations,
    assign_folds,
    pick_layers,
    pool_units,
)
from retemper.phases.model import FLOOR_RELATIVE_RIDGE

__all__ = [
    "DEFAULT_RELATIVE_RIDGES",
    "FLOOR_RELATIVE_RIDGE",
    "ProbeScore",
    "ReconstructionScore",
    "reconstruction_score",
]

#: Relative ridges: 1e-8 to 10 in half decades. The lower end is part of what FUV means.
DEFAULT_RELATIVE_RIDGES: tuple[float, ...] = tuple(
    float(f"{10 ** (k / 2):.6g}") for k in range(-16, 3)
)
GRAM_LIMIT = 1e-8  # below it the squared condition number of a Gram matrix shows

RelativeRidge = float | Literal["cv"]


@dataclasses.dataclass(frozen=True)
class ProbeScore:
    """Least-squares probe of one task, cross-validated; see `reconstruction_score`.

    Parameters
    ----------
    r2 : float
        Cross-validated R² at the best ridge, summed over the columns of the target.
    accuracy : float or None
        Share of held-out labels hit at the same ridge; None for real targets.
    relative_ridge : float
        That ridge, relative to the mean eigenvalue of the covariance of the activations.
    r2_path : ndarray of shape (n_ridges,)
        R² at every ridge.
    accuracy_path : ndarray of shape (n_ridges,) or None
        Accuracy at every ridge.
    r2_floor, accuracy_floor : float, float or None
        Both at the fixed relative ridge 1e-2: what a probe finds at a usable amplitude. A ridge of
        1e-8 reads faint directions that no other read-out would find.

    See Also
    --------
    reconstruction_score

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import reconstruction_score
    >>> X, digit = load_digits(return_X_y=True)
    >>> probe = reconstruction_score(X[:, ::2], X, targets={"digit": digit}).probes["digit"]
    >>> round(probe.r2, 2), round(probe.accuracy, 2)
    (0.5, 0.85)
    """

    r2: float
    accuracy: float | None
    relative_ridge: float
    r2_path: FloatArray
    accuracy_path: FloatArray | None
    r2_floor: float
    accuracy_floor: float | None

    __repr__ = one_line


@dataclasses.dataclass(frozen=True)
class ReconstructionScore:
    """What a layer still knows, as `reconstruction_score` returns it (see `reconstruction_score`).

    Parameters
    ----------
    fuv : float
        Fraction of unexplained input variance, cross-validated, at the best ridge; may exceed 1.
    stderr : float
        Its standard error over folds.
    relative_ridge : float
        The best ridge, relative to the mean eigenvalue of the covariance of the activations.
    fuv_floor : float
        FUV at the fixed relative ridge 1e-2: what is there at a usable amplitude.
    relative_ridges : ndarray of shape (n_ridges,)
        The relative ridges.
    fuv_path : ndarray of shape (n_ridges,)
        FUV at every ridge: the resolution profile.
    fuv_folds, fuv_floor_folds : ndarray of shape (F,)
        The two values fold by fold.
    n_units, n_samples : int
        Size of the activations.
    route : {"primal", "dual", "svd"}
        What was factorised.
    is_upper_bound : bool
        Whether the layer was pooled to fewer units, which can only raise FUV.
    probes : dict of str to ProbeScore
        The other targets.
    adam_raw, adam_standardised : float or None, default=None
        Fraction that a decoder trained by Adam leaves unexplained, from raw and from standardised
        activations, where ``n_epochs`` asked for it.

    See Also
    --------
    reconstruction_score

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import reconstruction_score
    >>> X, _ = load_digits(return_X_y=True)
    >>> score = reconstruction_score(X[:, ::2], X)  # every second pixel
    >>> round(score.fuv, 2), score.n_units
    (0.26, 32)
    """

    fuv: float
    stderr: float
    relative_ridge: float
    fuv_floor: float
    relative_ridges: FloatArray
    fuv_path: FloatArray
    fuv_folds: FloatArray
    fuv_floor_folds: FloatArray
    n_units: int
    n_samples: int
    route: str
    is_upper_bound: bool
    probes: dict[str, ProbeScore]
    adam_raw: float | None = None
    adam_standardised: float | None = None

    __repr__ = one_line

    def __str__(self) -> str:
        lines = [
            f"unexplained input variance {self.fuv:.4f} +- {self.stderr:.4f} at ridge "
            f"{self.relative_ridge:.1e}, {self.fuv_floor:.4f} at ridge {FLOOR_RELATIVE_RIDGE:.0e}"
        ]
        for name, probe in self.probes.items():
            hit = "" if probe.accuracy is None else f", accuracy {probe.accuracy:.4f}"
            lines.append(f"{name}: R2 {probe.r2:.4f}{hit} at ridge {probe.relative_ridge:.1e}")
        return "\n".join(lines)


def check_relative_ridges(
    relative_ridge: RelativeRidge, relative_ridges: ArrayLike | None
) -> FloatArray:
    """Grid of relative ridges, increasing; one entry for a fixed ridge."""
    if isinstance(relative_ridge, str):
        check_choice(relative_ridge, "relative_ridge", ("cv",), besides="a number")
        given = DEFAULT_RELATIVE_RIDGES if relative_ridges is None else relative_ridges
        grid = as_float_array(given, "relative_ridges")
        if not grid.size or grid.min() <= 0.0 or (np.diff(grid) <= 0.0).any():
            raise ValueError(
                f"relative_ridges must be positive and increasing, got {grid.tolist()}"
            )
        return grid
    if relative_ridges is not None:
        raise ValueError(
            f'relative_ridges is the grid of relative_ridge="cv"; give one of them, got '
            f"{relative_ridge!r} and a grid"
        )
    return np.array([check_real(relative_ridge, "relative_ridge", low=0.0, open_low=True)])


class ScoreBuilder:
    """Sums fold by fold into scores; the second pass over the activations counts hits."""

    def __init__(
        self,
        targets: TargetSet,
        relative_ridges: FloatArray,
        n_units: int,
        *,
        with_accuracy: bool,
        n_jobs: int | None = None,
    ) -> None:
        self.n_jobs = n_jobs
        self.targets, self.relative_ridges, self.n_units = targets, relative_ridges, n_units
        self.with_accuracy = with_accuracy and any(
            g.label_index is not None for g in targets.groups
        )
        # the floor is measured along with the path, whether or not the grid holds it
        self.all_ridges = np.append(relative_ridges, FLOOR_RELATIVE_RIDGE)
        self.errors: list[FloatArray] = []  # per fold: (n_groups, n_ridges + 1)
        self.held: list[float] = []
        self.hits = np.zeros((len(targets.groups), relative_ridges.size + 1))
        self.largest = 0.0

    def add(self, spectrum: FoldSpectrum) -> None:
        c = spectrum.coefficients(self.all_ridges, self.n_units)
        self.errors.append(
            np.array([g.tt - 2.0 * (c @ g.cross) + ((c @ g.Q) * c).sum(axis=1)
                      for g in spectrum.groups])
        )  # fmt: skip
        self.held.append(spectrum.n_held)
        self.largest = max(self.largest, float(spectrum.e.max(initial=0.0)))

    def count(self, spectrum: FoldSpectrum, P: FloatArray, rows: NDArray[np.int64]) -> None:
        """Hits among the held-out rows, whose coordinates are P (len(rows), r)."""
        c = spectrum.coefficients(self.all_ridges, self.n_units)
        for k, (group, sums) in enumerate(zip(self.targets.groups, spectrum.groups, strict=True)):
            if group.label_index is None or sums.Z is None or sums.mean is None:
                continue
            self.hits[k] += core.phases.count_hits(
                P=np.ascontiguousarray(P), c=c, Z=np.ascontiguousarray(sums.Z), mean=sums.mean,
                label=np.ascontiguousarray(group.label_index[rows]),
                n_threads=effective_n_threads(self.n_jobs),
            )  # fmt: skip

    def finish(self, route: str, is_upper_bound: bool) -> ReconstructionScore:
        errors, held = np.array(self.errors), np.array(self.held)
        n = held.sum()
        variance = np.array([g.variance for g in self.targets.groups])
        path = errors.sum(axis=0) / n / variance[:, None]
        per_fold = errors / held[:, None, None] / variance[:, None]
        if self.largest == 0.0:  # a dead layer predicts the mean
            path, per_fold = np.ones_like(path), np.ones_like(per_fold)
        probes = {}
        for k, group in enumerate(self.targets.groups[1:], start=1):
            best = int(path[k, :-1].argmin())
            is_label = group.label_index is not None and self.with_accuracy
            hits = self.hits[k] / n if is_label else None
            probes[group.name] = ProbeScore(
                float(1.0 - path[k, best]), None if hits is None else float(hits[best]),
                float(self.relative_ridges[best]), 1.0 - path[k, :-1],
                None if hits is None else hits[:-1], float(1.0 - path[k, -1]),
                None if hits is None else float(hits[-1]),
            )  # fmt: skip
        best = int(path[0, :-1].argmin())
        folds = per_fold[:, 0, best]
        return ReconstructionScore(
            fuv=float(path[0, best]), stderr=float(folds.std(ddof=1) / math.sqrt(folds.size)),
            relative_ridge=float(self.relative_ridges[best]), fuv_floor=float(path[0, -1]),
            relative_ridges=self.relative_ridges, fuv_path=path[0, :-1], fuv_folds=folds,
            fuv_floor_folds=per_fold[:, 0, -1],
            n_units=self.n_units, n_samples=int(n), route=route, is_upper_bound=is_upper_bound,
            probes=probes,
        )  # fmt: skip


def warn_about(score: ReconstructionScore, n_inputs: int, name: str, *, stacklevel: int) -> None:
    """Dead, invertible and pooled layers are worth a word."""
    if (score.fuv_path == 1.0).all() and (score.fuv_folds == 1.0).all():
        message = f"{name} is dead: no unit varies over the evaluation set, so FUV is 1"
    elif score.n_units >= n_inputs and score.fuv < 0.02:
        message = (
            f"{name} is an uninformative layer: its {score.n_units} units determine the {n_inputs} "
            "inputs; use a narrower layer, or fuv_floor"
        )
    elif score.is_upper_bound:
        message = f"{name} was pooled to {score.n_units} units: its FUV is an upper bound"
    else:
        return
    warnings.warn(message, ValidityWarning, stacklevel=stacklevel)


def score_activations(
    H: NDArray[Any],
    targets: TargetSet,
    fold: NDArray[np.int64],
    relative_ridges: FloatArray,
    *,
    precision: Literal["double", "single"] = "double",
    with_accuracy: bool = True,
    n_jobs: int | None = None,
) -> ReconstructionScore:
    """Score of activations that are in memory."""
    H, pooled = pool_units(H)
    n, h = H.shape
    n_folds = int(fold.max()) + 1
    builder = ScoreBuilder(targets, relative_ridges, h, with_accuracy=with_accuracy, n_jobs=n_jobs)
    rows = [np.flatnonzero(fold == f) for f in range(n_folds)]
    route = "svd" if relative_ridges.min() < GRAM_LIMIT else "dual" if n < h else "primal"
    moments = gram = None
    if route == "primal":
        moments = FoldMoments(h, targets.T.shape[1], n_folds, precision=precision, n_jobs=n_jobs)
        moments.add_checked(H, targets.T, fold)
    elif route == "dual":
        centred = H - H.mean(axis=0, dtype=np.float64)
        gram = centred @ centred.T
        del centred
    for f in range(n_folds):
        if moments is not None:
            spectrum = moments.spectrum(f, targets.groups, with_basis=builder.with_accuracy)
        elif gram is not None:
            spectrum = spectrum_of_gram(gram, targets, targets.groups, fold, f)
        else:
            spectrum = spectrum_of_rows(H, targets, targets.groups, fold, f)
        builder.add(spectrum)
        if builder.with_accuracy:
            P = spectrum.P
            if P is None:
                P = spectrum.project(H[rows[f]])
            builder.count(spectrum, P, rows[f])
        del spectrum  # before the next one is made
    return builder.finish(route, pooled)


def score_stream(
    make_batches: Callable[[], Iterable[Mapping[str, ArrayLike]]],
    targets: TargetSet,
    fold: NDArray[np.int64],
    relative_ridges: FloatArray,
    *,
    layers: Sequence[str] | None = None,
    precision: Literal["double", "single"] = "double",
    n_jobs: int | None = None,
) -> dict[str, ReconstructionScore]:
    """Scores of layers whose activations come batch by batch, twice if labels are probed."""
    n, q = targets.T.shape
    n_folds = int(fold.max()) + 1
    if relative_ridges.min() < GRAM_LIMIT:
        raise ValueError(
            f"relative_ridges below {GRAM_LIMIT:g} need the activations in memory: pass arrays"
        )
    moments: dict[str, FoldMoments] = {}
    kept: dict[str, list[NDArray[Any]]] = {}  # layers wider than the sample: dual form
    pooled: set[str] = set()
    for name, rows, H in _batches(make_batches, n, layers):
        acts, was_pooled = pool_units(H)
        if was_pooled:
            pooled.add(name)
        h = acts.shape[1]
        if h > n:
            kept.setdefault(name, []).append(acts.copy())
            continue
        if name not in moments:
            moments[name] = FoldMoments(h, q, n_folds, precision=precision, n_jobs=n_jobs)
        check_shape(acts, (None, moments[name].n_units), name)
        moments[name].add_checked(acts, targets.T[rows], fold[rows])
    scores, builders = {}, {}
    spectra: dict[str, list[FoldSpectrum]] = {}
    for name, blocks in kept.items():
        scores[name] = score_activations(
            np.concatenate(blocks), targets, fold, relative_ridges, n_jobs=n_jobs
        )
    for name, sums in moments.items():
        builder = ScoreBuilder(
            targets, relative_ridges, sums.n_units, with_accuracy=True, n_jobs=n_jobs
        )
        for f in range(n_folds):
            spectrum = sums.spectrum(f, targets.groups, with_basis=builder.with_accuracy)
            builder.add(spectrum)
            for group in spectrum.groups:  # the second pass needs the coordinates alone
                group.Q = group.cross = np.empty(0)
            spectra.setdefault(name, []).append(spectrum)
        builders[name] = builder
    moments.clear()
    if any(b.with_accuracy for b in builders.values()):
        for name, rows, H in _batches(make_batches, n, layers):
            if name not in builders:
                continue
            acts = pool_units(H)[0]
            for f, spectrum in enumerate(spectra[name]):
                mine = np.flatnonzero(fold[rows] == f)
                P = spectrum.project(acts[mine])
                builders[name].count(spectrum, P, np.arange(rows.start, rows.stop)[mine])
    for name, builder in builders.items():
        scores[name] = builder.finish("primal", name in pooled)
    return scores


def _batches(
    make_batches: Callable[[], Iterable[Mapping[str, ArrayLike]]],
    n: int,
    layers: Sequence[str] | None,
) -> Iterator[tuple[str, slice, NDArray[Any]]]:
    """Every layer of every batch, with the rows it covers; they must add up to n."""
    seen: dict[str, int] = {}
    for batch in make_batches():
        for name in pick_layers(batch, layers):
            acts = as_activations(batch[name], name)
            first = seen.get(name, 0)
            seen[name] = last = first + acts.shape[0]
            if last > n:
                raise ValueError(f"{name} has more than the {n} rows of the evaluation set")
            yield name, slice(first, last), acts
    for name, last in seen.items():
        if last != n:
            raise ValueError(
                f"{name} has {last} rows, the evaluation set {n}: use the same samples each time"
            )
    if not seen:
        raise ValueError("there are no activations")


def reconstruction_score(
    H: ArrayLike,
    X: ArrayLike,
    *,
    targets: Mapping[str, ArrayLike] | None = None,
    relative_ridge: RelativeRidge = "cv",
    relative_ridges: ArrayLike | None = None,
    folds: int | ArrayLike = 5,
    groups: ArrayLike | None = None,
    sketch: int | None = None,
    task_weights: ArrayLike | None = None,
    precision: Literal["double", "single"] = "double",
    n_epochs: int = 0,
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> ReconstructionScore:
    r"""Fraction of the input variance that a linear decoder cannot recover from activations.

    The same number is one minus the expected R² of a linear readout over random linear tasks
    :math:`\theta \cdot x`, :math:`\theta \sim N(0, I)` (or :math:`N(0, \Theta)`, see
    ``task_weights``): reconstruction *is* average transfer. A given task can move against it.

    Parameters
    ----------
    H : array_like of shape (n, h) or (n, ...)
        Activations of one layer on an evaluation set; trailing axes are flattened.
    X : array_like of shape (n, p) or (n, ...)
        The inputs they belong to.
    targets : mapping of str to array_like, or None, default=None
        Further tasks to probe: labels (one dimension, not float) or real targets.
    relative_ridge : "cv" or float, default="cv"
        Ridge relative to the mean eigenvalue of the activations' covariance over the training
        folds. "cv" takes the best of ``relative_ridges``.
    relative_ridges : array_like or None, default=None
        Grid, increasing; None takes 1e-8 to 10 in half decades. Its lower end is part of the
        definition: it says which amplitude still counts. Below 1e-8 the activations themselves
        are factorised.
    folds : int or array_like of shape (n,), default=5
        Number of folds (row i is in fold i modulo their number), or the fold of every row.
    groups : array_like of shape (n,) or None, default=None
        Rows of one group stay in one fold: give it where samples are copies of each other.
    sketch : int or None, default=None
        Project the inputs on this many random directions (128 to 512) first: unbiased in error
        and variance, with the same directions for the same ``random_state``.
    task_weights : array_like of shape (p,) or (p, r), or None, default=None
        Weights of the inputs, or a factor of the prior covariance of the tasks.
    precision : {"double", "single"}, default="double"
        "single" multiplies blocks of 256 rows in float32, adding up in float64.
    n_epochs : int, default=0
        Epochs of a decoder trained by Adam on all folds but the first, and judged on that, beside
        the ridge decoder; the published scripts train 20. None of it if 0.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the sketch and of that decoder.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ReconstructionScore
        FUV at the best ridge and at 1e-2, its path over ridges, and the probes.

    Raises
    ------
    ValueError
        If X is constant, activations are not finite, there are fewer than two samples per fold,
        or shapes disagree.

    Warns
    -----
    ValidityWarning
        If the layer is dead, determines the input, or is wider than 4096 units and was pooled.

    See Also
    --------
    PhaseMonitor, FoldMoments

    Notes
    -----
    Derived here (`derivations/phases#the-instrument`); the quantity is that of Schneider and
    Prabhushankar (2024) [1]_ with another decoder: theirs is trained by gradient descent, and its
    convergence depends on the scale of the activations, which looks like a phase of its own. Equal
    to refitting a ridge decoder on every fold, to rounding.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import reconstruction_score
    >>> X, y = load_digits(return_X_y=True)
    >>> score = reconstruction_score(X[:, ::2] / 16.0, X / 16.0, targets={"digit": y})
    >>> round(score.fuv, 3), round(score.probes["digit"].accuracy, 3)
    (0.259, 0.847)
    """
    grid = check_relative_ridges(relative_ridge, relative_ridges)
    acts = as_activations(H, "H")
    wanted = TargetSet(X, targets, sketch, task_weights, random_state)
    if acts.shape[0] != wanted.T.shape[0]:
        raise ValueError(f"H has {acts.shape[0]} rows and X {wanted.T.shape[0]}")
    fold = assign_folds(acts.shape[0], folds, groups)
    check_choice(precision, "precision", ("double", "single"))
    check_integer(n_epochs, "n_epochs")
    score = score_activations(acts, wanted, fold, grid, precision=precision, n_jobs=n_jobs)
    warn_about(score, wanted.n_inputs, "H", stacklevel=3)
    if n_epochs:
        inputs = np.asarray(X, dtype=np.float64).reshape(acts.shape[0], -1)
        raw = np.asarray(acts, dtype=np.float64)
        even = (raw - raw.mean(0)) / (raw.std(0) + 1e-6)
        left = [adam_fuv(H, inputs, fold == fold[0], n_epochs, random_state) for H in (raw, even)]
        score = dataclasses.replace(score, adam_raw=left[0], adam_standardised=left[1])
    return score
