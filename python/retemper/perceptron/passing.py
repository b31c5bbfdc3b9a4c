"""Message passing for many problems on the same rows at once."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._results import Result, Status
from retemper._text import number
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_entries,
)
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.perceptron.model import UNLABELLED, row_law, worst_status

_MOST_SHOWN = 20  # problems in the text of a result
_TOO_FAR = 6.0  # standard errors at which rows or labels are not those of the model


class SpectralStart(NamedTuple):
    """Weights along the leading direction of rows, and its eigenvalue."""

    weights: FloatArray
    eigenvalue: float


def spectral_start(
    X: NDArray[Any],
    use: NDArray[np.bool_],
    second_moment: float,
    *,
    key: tuple[int, int],
    n_threads: int,
) -> SpectralStart:
    """Leading direction of the second moments of some rows, scaled to the overlap it should have.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Rows.
    use : ndarray of bool of shape (n_rows,)
        Which of them.
    second_moment : float
        Excess of variance along the true direction, E h**2 - 1.
    key : tuple of int
        Random stream of the search.
    n_threads : int
        Threads.

    Returns
    -------
    SpectralStart
        The weights, and the leading eigenvalue of X'X / n.
    """
    n_features = X.shape[1]
    leading = core.perceptron.leading_direction(
        X, use, max_steps=100, tol=1e-3, key=key, n_threads=n_threads
    )
    signal = int(use.sum()) / n_features * second_moment**2
    # squared cosine of the leading eigenvector of a spiked covariance, section 4.5
    overlap = (1 - 1 / signal) / (1 + second_moment / signal) if signal > 1 else 0.0
    size = math.sqrt(n_features * max(overlap, 1e-2))
    return SpectralStart(leading.direction * size, leading.eigenvalue)


def roles_of(sides: NDArray[Any]) -> NDArray[np.int8]:
    """Roles for the core of rows with sides 0 and 1, and -1 where they are not known."""
    roles = core.perceptron.Role
    of_side = np.array([roles.negative, roles.positive, roles.unlabelled], dtype=np.int8)
    return np.asarray(of_side[np.asarray(sides).astype(np.intp)])


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class MessagePassing(Result):
    """Posterior means of several problems; see `message_passing`.

    Parameters
    ----------
    status : Status
        The worst status.
    n_iter : int
        Largest number of iterations.
    residual : float
        Largest residual.
    message : str
        The status in words.
    weights : ndarray of shape (n_problems, n_features)
        Posterior means, where the weights have squared norm ``n_features``: a row is of side 1
        where ``X @ weights[j]`` is positive. Without labels they are known up to a sign, and that
        of the answer is arbitrary.
    q : ndarray of shape (n_problems,)
        Overlaps, the squared norm of the mean per feature: if the settings are those of the rows,
        ``sqrt(q)`` estimates the cosine between mean and true direction.
    free_entropy : ndarray of shape (n_problems,)
        Bethe free entropy, nats per feature: of settings of the same rows and labels, those with
        the largest explain them best.
    converged : ndarray of shape (n_problems,)
        Whether each problem reached the tolerance; the others hold the last iterate.
    settings : dict of str to ndarray of shape (n_problems,)
        ``kappa``, ``sigma``, ``eta_u`` and ``eta_l`` of every problem.

    See Also
    --------
    message_passing

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, message_passing, sample_rows
    >>> rows = sample_rows(PerceptronModel(1.0, 2.0, 0.5), 100, random_state=0)
    >>> found = message_passing(rows.X, rows.y, kappa=1.0)
    >>> found.q.shape, bool(found.converged.all())
    ((1,), True)
    """

    weights: FloatArray
    q: FloatArray
    free_entropy: FloatArray
    converged: NDArray[np.bool_]
    settings: dict[str, FloatArray] = dataclasses.field(default_factory=dict)

    _later = {"settings": lambda _: {}}  # noqa: RUF012 - as in the base

    def _parts(self) -> list[list[str]]:
        head = ["problem", *self.settings, "q", "free entropy", "converged"]
        columns = (*self.settings.values(), self.q, self.free_entropy)
        rows = [
            [str(j), *(number(float(c[j])) for c in columns), "yes" if self.converged[j] else "no"]
            for j in range(min(self.q.size, _MOST_SHOWN))
        ]
        left = self.q.size - len(rows)
        more = [[f"{left} more", *("" for _ in head[1:])]] if left else []
        return [head, *rows, *more]


def message_passing(
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    kappa: ArrayLike = 1.0,
    sigma: ArrayLike = 0.0,
    eta_u: ArrayLike = 0.0,
    eta_l: ArrayLike = 0.0,
    prior: Literal["sphere", "binary"] = "sphere",
    start: ArrayLike | None = None,
    max_iter: int = 1000,
    tol: float = 1e-6,
    damping: float = 0.3,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
    unlabelled_as: int | None = UNLABELLED,
) -> MessagePassing:
    """Infer the direction behind given rows, for a grid of settings or subsets of labels.

    The rows are those of a `PerceptronModel`: two sides, apart by a margin along one direction.
    All problems read the rows together, so that many cost little more than a few.

    Parameters
    ----------
    X : array_like of shape (n_rows, n_features)
        Standardised rows, of mean zero; float32 is kept as storage, sums are in double.
    y : array_like of shape (n_rows,) or (n_problems, n_rows), or None, default=None
        Classes 0 and 1, or -1 and 1 where ``unlabelled_as`` is not -1; None has no labels.
    kappa, sigma, eta_u, eta_l : float or array_like of shape (n_problems,)
        Margin, its softness, and shares of contaminated unlabelled and of flipped labelled rows,
        as in `PerceptronModel`.
    prior : {"sphere", "binary"}, default="sphere"
        Law of the weights.
    start : array_like of shape (n_features,) or (n_problems, n_features), or None, default=None
        Weights at the start. None is zero for problems with labels and the leading direction of
        the rows for those without.
    max_iter : int, default=1000
        Limit of the iterations.
    tol : float, default=1e-6
        Relative change of the weights at which a problem has converged.
    damping : float, default=0.3
        Share of the old iterate kept, in [0, 1).
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the search for the leading direction.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about problems that do not converge.
    progress : None, bool, callable or object, default=None
        Called with (done, total) iterations; an exception stops the run.
    unlabelled_as : int or None, default=-1
        What stands in ``y`` for a row without label; None where every row has one. Labels -1 and 1
        need None, or another number.

    Returns
    -------
    MessagePassing
        Posterior means and evidence of every problem.

    Raises
    ------
    ValueError
        If an argument is outside its domain, numbers of problems do not fit, or ``y`` is coded
        so that labels would be lost: -1 and 1 without 0, or 0 for most rows and about as many -1
        as 1, while -1 stands for no label.
    NumericalError
        If ``on_failure="raise"`` and a problem does not converge, or rows or labels are not those
        of the model.

    Warns
    -----
    ConvergenceWarning
        If a problem does not converge.
    ValidityWarning
        If the mean of the rows, or the balance of the labels, is more than 6 standard errors off
        what the model has; or if an answer is certain (``q`` beyond 0.999) although more than 1 %
        of the rows lie inside its margin and ``sigma`` and ``eta_u`` are 0.

    See Also
    --------
    simulate, MarginPerceptronClassifier

    Notes
    -----
    Derived here (`derivations/perceptron#message-passing`), as `simulate`. Unlike
    `MarginPerceptronClassifier` it neither standardises rows nor fits an offset.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, message_passing, sample_rows
    >>> X, y, truth, w = sample_rows(PerceptronModel(1.0, 3.0, 0.5), 200, random_state=0)
    >>> found = message_passing(X, y, kappa=[0.5, 1.0, 1.5], sigma=0.3)
    >>> int(found.free_entropy.argmax())  # the margin that made the rows
    1
    """
    progress = as_callback(progress, "message_passing")
    single = getattr(X, "dtype", None) == np.float32
    rows: NDArray[Any] = np.ascontiguousarray(as_float_array(X, "X", ndim=2))
    check_entries(rows, "X")
    if single:
        rows = rows.astype(np.float32)
    n_rows, n = rows.shape
    sides = np.full((1, n_rows), UNLABELLED) if y is None else _sides_of(y, n_rows, unlabelled_as)
    given = {"kappa": kappa, "sigma": sigma, "eta_u": eta_u, "eta_l": eta_l}
    values = {name: as_float_array(v, name, ndim=(0, 1)).reshape(-1) for name, v in given.items()}
    first = None
    if start is not None:
        first = np.atleast_2d(as_float_array(start, "start", ndim=(1, 2)))
        check_entries(first, "start")
        if first.shape[1] != n:
            raise ValueError(f"start must have {n} entries for every problem, got {first.shape}")
    counts = {"y": len(sides), **{k: v.size for k, v in values.items()}}
    counts["start"] = 1 if first is None else len(first)
    problems = max(counts.values())
    unequal = {k: c for k, c in counts.items() if c not in (1, problems)}
    if unequal:
        raise ValueError(f"numbers of problems must be 1 or {problems}, got {unequal}")
    for name, value in values.items():
        for item in value:
            check_parameter(item, name)
    check_parameter(prior, "prior")
    max_iter = check_parameter(max_iter, "max_iter")
    tol = check_parameter(tol, "tol")
    damping = check_parameter(damping, "damping")
    said = [text for text in (_offset_of_rows(rows), _imbalance(sides)) if text]
    if said and on_failure == "raise":
        raise NumericalError("; ".join(said))
    if on_failure == "warn":
        for sentence in said:
            warnings.warn(sentence, ValidityWarning, stacklevel=2)
    threads = effective_n_threads(n_jobs)
    role = np.ascontiguousarray(np.broadcast_to(roles_of(sides), (problems, n_rows)))
    settings: dict[str, FloatArray] = {
        name: np.broadcast_to(value, (problems,)) for name, value in values.items()
    }
    laws = [
        row_law(
            kappa=float(settings["kappa"][j]),
            sigma=float(settings["sigma"][j]),
            eta_u=float(settings["eta_u"][j]),
            eta_l=float(settings["eta_l"][j]),
        )
        for j in range(problems)
    ]
    if first is None:
        begin = np.zeros((problems, n))
        silent = ~role.any(axis=1)
        if silent.any():
            every = np.ones(n_rows, bool)
            key, kind = stream_key(random_state), core.perceptron.RowKind.unlabelled
            for j in np.flatnonzero(silent):
                moment = core.perceptron.hermite_moments(laws[j], kind).second
                found = spectral_start(rows, every, moment, key=key, n_threads=threads)
                begin[j] = found.weights
    else:
        begin = np.ascontiguousarray(np.broadcast_to(first, (problems, n)))
    runs = core.perceptron.amp(
        rows,
        role,
        laws,
        core.perceptron.Prior[prior],
        start=begin,
        max_iter=max_iter,
        tol=tol,
        damping=damping,
        n_threads=threads,
        progress=progress,
    )
    status = worst_status(runs.status)
    residual = float(runs.residual.max())
    converged = np.array([name == Status.CONVERGED for name in runs.status])
    slow = np.flatnonzero(~converged)
    what = "message passing"
    if problems > 1 and slow.size:
        named = ", ".join(map(str, slow[:6].tolist())) + (", ..." if slow.size > 6 else "")
        what = f"message passing in {slow.size} of {problems} problems ({named})"
    report_status(status, residual, what, on_failure=on_failure)
    weights = runs.weights.copy()
    q = np.einsum("pi,pi->p", weights, weights) / n
    certain = None if on_failure == "ignore" else _too_certain(rows, weights, q, settings)
    if certain is not None:
        if on_failure == "raise":
            raise NumericalError(certain)
        warnings.warn(certain, ValidityWarning, stacklevel=2)
    return MessagePassing(
        status=status,
        n_iter=max(runs.n_iter),
        residual=residual,
        message=status.sentence,
        weights=weights,
        q=q,
        free_entropy=runs.free_entropy.copy(),
        converged=converged,
        settings={name: value.copy() for name, value in settings.items()},
    )


def _sides_of(y: ArrayLike, n_rows: int, marker: int | None) -> NDArray[Any]:
    """Sides 0 and 1 of rows, and -1 where there is none; refuses codes that would lose labels."""
    if marker is not None and (
        isinstance(marker, bool | np.bool_) or not isinstance(marker, int | np.integer)
    ):
        raise TypeError(f"unlabelled_as must be a whole number or None, got {marker!r}")
    if marker == 1:
        raise ValueError("unlabelled_as must not be 1, which is a class")
    given = np.atleast_2d(np.asarray(y))
    if given.ndim != 2 or given.shape[1] != n_rows:
        raise ValueError(f"y must have {n_rows} entries for every problem, got {given.shape}")
    known = np.ones(given.shape, bool) if marker is None else np.asarray(given != marker, bool)
    seen = set(np.unique(given[known]).tolist())
    if not (seen <= {0, 1} or (marker != UNLABELLED and seen <= {-1, 1})):
        wrong = sorted(seen - {0, 1}, key=repr)[0] if seen - {0, 1} else 0
        rest = "" if marker is None else f"{marker} (no label), "
        classes = "0 and 1" if marker == UNLABELLED else "0 and 1, or -1 and 1"
        hint = ""
        if len(seen) > 3:
            hint = (
                f" and {len(seen) - 1} other values: labels that are numbers belong to a GLMModel, "
                "whose rows simulate draws and infers"
            )
        raise ValueError(f"y must hold {rest}{classes}, got {wrong!r}{hint}")
    if marker == UNLABELLED and seen:
        _refuse_lost_labels(given, seen)
    return np.where(known, given == 1, UNLABELLED)


def _refuse_lost_labels(y: NDArray[Any], seen: set[Any]) -> None:
    below, zero, above = (int((y == value).sum()) for value in (-1, 0, 1))
    if seen == {1} and below:
        raise ValueError(
            f"y holds -1 ({below} times) and 1 ({above} times) and no 0: as unlabelled_as is -1, "
            "the rows at -1 would lose their label. If -1 and 1 are the classes, pass "
            "unlabelled_as=None; if only one class has labels, mark the other rows by another "
            "number, such as unlabelled_as=-2"
        )
    looks_swapped = zero - above > 6 * math.sqrt(zero + above)
    if below and above and looks_swapped and abs(below - above) <= 4 * math.sqrt(below + above):
        raise ValueError(
            f"y holds 0 ({zero} times) far more often than -1 ({below}) and 1 ({above}): as "
            "unlabelled_as is -1, those rows would count as labelled 0. If 0 stands for no label, "
            "pass unlabelled_as=0; if -1 does, mark such rows by another number, such as "
            "unlabelled_as=-2"
        )


def _offset_of_rows(rows: NDArray[Any]) -> str | None:
    """A sentence if the rows have a mean, in standard errors of all columns and of the worst."""
    n_rows, n = rows.shape
    if n_rows < 2:
        return None
    mean, spread = rows.mean(axis=0, dtype=float), rows.std(axis=0, ddof=1, dtype=float)
    tiny = 1e-12 * np.abs(rows).max(axis=0)
    z = np.abs(mean) * math.sqrt(n_rows) / np.maximum(spread, np.maximum(tiny, 1e-300))
    z = np.minimum(z, 1e6)
    together = (float(z @ z) - n) / math.sqrt(2.0 * n)
    worst = int(z.argmax())
    if max(together, float(z[worst])) <= _TOO_FAR:
        return None
    return (
        f"the rows do not have mean zero, which the model assumes (column {worst} has the mean "
        f"{mean[worst]:.3g}, {z[worst]:.3g} standard errors; all columns together are "
        f"{together:.3g} standard deviations off): q overstates what is known. Centre the rows, "
        "X - X.mean(axis=0)"
    )


def _too_certain(
    rows: NDArray[Any], weights: FloatArray, q: FloatArray, settings: dict[str, FloatArray]
) -> str | None:
    """A sentence if an answer claims certainty and rows lie inside a margin that is sharp."""
    hard = (settings["sigma"] == 0) & (settings["eta_u"] == 0) & (q > 1 - 1e-3)
    for j in np.flatnonzero(hard):
        kappa = float(settings["kappa"][j])
        inside = float((np.abs(rows @ weights[j]) < 0.99 * kappa * math.sqrt(rows.shape[1])).mean())
        if inside > 0.01:
            return (
                f"problem {j}: message passing found no direction with its margin (kappa="
                f"{kappa:g}; {100 * inside:.2g} % of the rows lie inside), so that q = "
                f"{q[j]:.6g} claims a certainty that is none. A smaller kappa or sigma > 0 leaves "
                "room"
            )
    return None


def _imbalance(sides: NDArray[Any]) -> str | None:
    """A sentence if one class has more labels than chance allows."""
    for row in sides:
        zero, one = int((row == 0).sum()), int((row == 1).sum())
        if abs(zero - one) > _TOO_FAR * math.sqrt(max(zero + one, 1)):
            return (
                f"y has {zero} rows of class 0 and {one} of class 1, and the model assumes "
                "classes of equal size: their slab is not around zero. Use "
                "MarginPerceptronClassifier(fit_intercept='margin'), which finds the offset"
            )
    return None
