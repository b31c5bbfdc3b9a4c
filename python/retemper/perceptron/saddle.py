"""The saddle of any student: mismatched inference and empirical risk minimisation.

A student is a score of its labels and an estimate of its weights. Both see the data through three
overlaps V, q, m and three conjugate numbers A, q_hat, m_hat; the same map holds for posterior means
and for minimisers of a convex loss.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._results import Status
from retemper._validation import FloatArray, check_choice, check_real
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.perceptron.blocks import scaled
from retemper.perceptron.covariates import Covariates, check_covariates
from retemper.perceptron.glm import (
    GLMBranch,
    GLMLaw,
    GLMModel,
    GLMTheory,
    laws_of_glm,
)
from retemper.perceptron.likelihood import Channel, as_channel, outcomes
from retemper.perceptron.panels import RADII, SMALLEST, field_panels, normal_density, panel_nodes
from retemper.perceptron.weight_prior import Prior, as_prior, observation_rule, posterior

__all__ = ["LOSSES", "ERMModel", "minimise", "solve_erm", "solve_mismatched"]

#: Losses of `ERMModel`, and the kind of labels that each is for.
LOSSES = ("logistic", "hinge", "square", "huber")


@dataclasses.dataclass(frozen=True)
class ERMModel:
    """Minimising a convex loss on rows drawn from a channel and a prior.

    The student minimises ``mean loss(y, h) + ridge / 2 |w|**2 / n_features
    + l1 |w|_1 / n_features`` with ``h = x @ w / sqrt(n_features)``: "logistic" is
    ``log(1 + exp(-y h))``, "hinge" ``max(0, 1 - y h)``, "square" ``(y - h)**2 / 2``, "huber" the
    same up to a residual of 1 and linear beyond.

    Parameters
    ----------
    alpha : float
        Rows per feature.
    loss : {"logistic", "hinge", "square", "huber"}, default="logistic"
        The loss; labels are -1 and 1 for the first two.
    ridge : float, default=0.1
        Strength of the squared penalty.
    l1 : float, default=0.0
        Strength of the absolute penalty; one of the two is positive.
    channel : Channel or str, default="sign"
        Channel of the data.
    prior : Prior or str, default="gaussian"
        Prior of the true weights.
    covariates : Covariates or None, default=None
        Second moments of the features of student and teacher; None has independent features of
        variance one, the same for both. They set the second moment of the true weights along each
        eigenvector, ``prior`` the shape of their law. ``l1``, and a prior that is not Gaussian,
        need features that are themselves uncorrelated (``is_diagonal``).

    Raises
    ------
    ValueError
        If a parameter is outside its domain, or labels do not suit the loss.
    TypeError
        If a parameter is of another kind.

    See Also
    --------
    GLMModel, solve, Channel, Prior

    Notes
    -----
    After Loureiro et al. (2021) [1]_; equations derived here
    (`derivations/perceptron#minimising-a-loss`). With ``covariates`` a result's ``q`` is the
    variance of the student's field, ``m`` its covariance with the teacher's, ``cosine`` their
    correlation and ``mse`` the mean square of their difference.

    References
    ----------
    .. [1] B. Loureiro, C. Gerbelot, H. Cui, S. Goldt, F. Krzakala, M. Mezard and L. Zdeborova,
       "Learning curves of generic features maps for realistic datasets with a teacher-student
       model", NeurIPS 34 (2021) 18137.

    Examples
    --------
    >>> from retemper.perceptron import ERMModel, solve
    >>> round(solve(ERMModel(2.0, loss="logistic", ridge=0.1)).error, 3)
    0.185
    """

    alpha: float
    _: dataclasses.KW_ONLY
    loss: Literal["logistic", "hinge", "square", "huber"] = "logistic"
    ridge: float = 0.1
    l1: float = 0.0
    channel: Channel | str = "sign"
    prior: Prior | str = "gaussian"
    covariates: Covariates | None = None

    def __post_init__(self) -> None:
        check_choice(self.loss, "loss", LOSSES)
        channel, prior = as_channel(self.channel), as_prior(self.prior)
        values: dict[str, object] = {
            "alpha": check_parameter(self.alpha, "alpha"),
            "ridge": check_real(self.ridge, "ridge", low=0),
            "l1": check_real(self.l1, "l1", low=0),
            "channel": channel,
            "prior": prior,
        }
        if not (values["ridge"] or values["l1"]):
            raise ValueError("ridge or l1 must be positive, got 0.0 and 0.0: minima may not exist")
        if self.loss in ("logistic", "hinge") and channel.labels != (-1.0, 1.0):
            raise ValueError(f"loss={self.loss!r} takes labels -1 and 1, got {channel}")
        if channel.selects:
            raise ValueError(f"channel must give labels to rows, {channel} selects rows")
        if self.covariates is not None:
            check_covariates(self.covariates, prior, l1=self.l1)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        channel.check_scale(teacher_of(self).second_moment, "channel")


def teacher_of(model: ERMModel) -> GLMLaw:
    """Channel of the data, and the law of the weights."""
    return GLMLaw(as_channel(model.channel), as_prior(model.prior), model.covariates)


class Minimum(NamedTuple):
    """Weights that minimise a loss, and how far from it the solver stopped."""

    weights: FloatArray
    n_iter: int
    residual: float


class Score(NamedTuple):
    """What labels tell a student about fields, and its derivative."""

    g: FloatArray
    dg: FloatArray


def proximal(loss: str, y: FloatArray, mean: FloatArray, V: float) -> FloatArray:
    """The h that minimises loss(y, h) + (h - mean)² / 2 V."""
    if loss == "square":
        return (mean + V * y) / (1 + V)
    if loss == "huber":
        return mean + V * np.clip((y - mean) / (1 + V), -1, 1)
    u = y * mean
    if loss == "hinge":
        return y * np.where(u > 1, u, np.minimum(u + V, 1.0))
    return y * (u + V * logistic_pull(u, V))


#: Pulls below it are none.
_SMALLEST_PULL = 1e-290


def logistic_pull(u: FloatArray, V: float) -> FloatArray:
    """The p in (0, 1) of ``logit(p) + u + V p = 0``: minus the slope at the proximal point.

    The function of p is concave below 1/2, so that Newton's method from below rises to the root;
    above 1/2 it is the mirror image.
    """
    is_low = u > -0.5 * V
    c = np.where(is_low, u, -u - V)  # p is at most 1/2
    log_x = math.log(0.5 * V) - c  # V p exp(V p) is at least x
    x = np.exp(np.minimum(log_x, 1.0))
    lambert = np.where(log_x > 1, log_x - np.log(np.maximum(log_x, 1.0)), x / (1 + x))
    p = np.maximum(np.maximum(lambert, -c) / V, _SMALLEST_PULL)
    p = np.minimum(p, 0.5)
    for _ in range(60):
        step = -(np.log(p / (1 - p)) + c + V * p) / (1 / (p * (1 - p)) + V)
        p = np.clip(p + step, np.maximum(0.5 * p, _SMALLEST_PULL), 0.5)
        if (np.abs(step) <= 1e-14 * p).all():
            break
    return np.where(is_low, p, 1 - p)


def loss_score(loss: str, y: FloatArray, mean: FloatArray, V: float) -> Score:
    """Minus the slope of the loss at the proximal point, and its derivative in the mean."""
    if loss == "logistic":
        p = logistic_pull(y * mean, V)
        bend = p * (1 - p)
        return Score(y * p, -bend / (1 + V * bend))
    g = (proximal(loss, y, mean, V) - mean) / V
    if loss == "square":
        return Score(g, np.full_like(g, -1 / (1 + V)))
    if loss == "huber":
        return Score(g, np.where(np.abs(y - mean) < 1 + V, -1 / (1 + V), 0.0))
    u = y * mean
    return Score(g, np.where((u < 1) & (u > 1 - V), -1 / V, 0.0))


def penalised(ridge: float, l1: float, B: FloatArray, A: float) -> tuple[FloatArray, FloatArray]:
    """Weight that minimises A w² / 2 - B w + the penalty, and its derivative in B."""
    live = np.abs(B) > l1
    return np.sign(B) * np.maximum(np.abs(B) - l1, 0) / (A + ridge), live / (A + ridge)


class Student(NamedTuple):
    """Score of labels, estimate of weights, prediction; walls that its functions have.

    Estimates that are (shift + B) / (precision + A) say so by ``affine``, (precision, shift).
    """

    score: Callable[[FloatArray, FloatArray, float], Score]
    estimate: Callable[[FloatArray, float], tuple[FloatArray, FloatArray]]
    predict: Callable[[FloatArray, float], FloatArray]
    label_walls: Callable[[float], list[tuple[float, float]]]
    weight_walls: Callable[[float], FloatArray]
    affine: tuple[float, float] | None = None
    is_odd: bool = False  # the estimate, in what it sees
    analytic: float = 0.0  # how far from real fields the estimate has no pole


class Overlaps(NamedTuple):
    """State of the map."""

    V: float
    q: float
    m: float


class LabelAverages(NamedTuple):
    """Averages over new rows: of minus the slope of the score, its square, its product with the
    score of the truth, the square of its slope; and the error of the predicted label.
    """

    bend: float
    square: float
    cross: float
    squared_bend: float
    error: float


LabelPart = Callable[[Overlaps], LabelAverages]


def any_labels(student: Student, teacher: GLMLaw, at: Overlaps) -> LabelAverages:
    """Averages of any score over labels of any channel, on panels of the student's field."""
    rho = teacher.second_moment
    root = math.sqrt(max(at.q, 1e-300))
    along = at.m / root
    V0 = max(rho - along * along, 1e-12 * rho)
    places = [(t * root / max(abs(along), 1e-150), 0.0) for t, _ in teacher.channel.walls]
    spread = V0 * (root / max(abs(along), 1e-150)) ** 2
    walls = [(t, spread - at.V) for t, _ in places]
    walls += [(t, s2 - at.V) for t, s2 in student.label_walls(at.V)]
    z, weight, _ = field_panels(np.array([at.q]), np.array([at.V]), walls, 1)
    z, weight = z.reshape(-1), weight.reshape(-1)
    keep = weight > 1e-22
    z, weight = z[keep], weight[keep]
    y, share, g0 = outcomes(teacher.channel, along * z, V0, rho=rho)
    mean = np.broadcast_to(root * z, y.shape)
    got = student.score(y, mean, at.V)
    w = share * weight
    guess = student.predict(root * z, at.V)
    miss = guess != y if teacher.channel.labels else (guess - y) ** 2
    return LabelAverages(
        -float((w * got.dg).sum()),
        float((w * got.g**2).sum()),
        float((w * got.g * g0).sum()),
        float((w * got.dg**2).sum()),
        float((w * miss).sum()),
    )


#: What the last terms of a panel may add to an average, relative to it, and to the share of wrong
#: labels. Where the integrand is smooth the error is about the square of that.
_TOLERANCE = {"tol": 1e-8, "error_tol": 1e-9}


def _averages(at: core.perceptron.LabelAverages) -> LabelAverages:
    return LabelAverages(at.bend, at.square, at.cross, at.squared_bend, at.error)


def labels_of_loss(model: ERMModel, teacher: GLMLaw) -> LabelPart | None:
    """The same for a loss, by the core; None where labels are numbers."""
    channel, rho = teacher.channel, teacher.second_moment
    law = channel.field_law(rho)
    if law is None:
        return None
    values, loss = np.asarray(channel.labels), core.perceptron.Loss[model.loss]

    def labels(at: Overlaps) -> LabelAverages:
        return _averages(
            core.perceptron.loss_averages(
                law, values, loss, V=at.V, q=at.q, m=at.m, rho=rho, **_TOLERANCE
            )
        )

    return labels


def labels_of_posterior(student: GLMLaw, teacher: GLMLaw) -> LabelPart | None:
    """The same for posterior means under a law, by the core; None where labels are numbers."""
    rho, unseen = teacher.second_moment, student.unseen
    scale = rho + student.second_moment  # tables reach as far as both fields
    least = SMALLEST * rho  # where the weights are known
    truth, own = (law.channel.field_law(scale) for law in (teacher, student))
    if truth is None or own is None:
        return None

    def labels(at: Overlaps) -> LabelAverages:
        return _averages(
            core.perceptron.posterior_averages(
                truth, own, V=max(at.V + unseen, least), q=at.q, m=at.m, rho=rho, **_TOLERANCE
            )
        )

    return labels


def labels_of_gap(student: GLMLaw, teacher: GLMLaw) -> LabelPart | None:
    """The same where labels are fields plus noise for both: averages over the gap of a label.

    The score depends on the gap alone, whose law is the teacher's noise on what the estimate
    misses; the product with the score of the truth is the bend (Stein's lemma).
    """
    if any(law.channel.gap_edges(1.0) is None for law in (student, teacher)):
        return None
    rho, unseen = teacher.second_moment, student.unseen

    def labels(at: Overlaps) -> LabelAverages:
        left = max(rho - 2 * at.m + at.q, 1e-12 * rho)
        V = max(at.V + unseen, SMALLEST * rho)
        sides = [teacher.channel.gap_edges(left), student.channel.gap_edges(V)]
        edges = np.unique(np.concatenate([side for side in sides if side is not None]))
        assert sides[0] is not None
        edges = edges[edges <= sides[0][-1]]
        gap, weight, _ = panel_nodes(edges)
        gap, weight = gap.reshape(-1), 2 * weight.reshape(-1)
        zero = np.zeros_like(gap)
        weight = weight * teacher.channel.evidence(gap, zero, zero + left).value
        keep = weight > 1e-24
        gap, weight, zero = gap[keep], weight[keep], zero[keep]
        g, dg = student.channel.score(gap, zero, zero + V)
        bend = -float(weight @ dg)
        return LabelAverages(
            bend, float(weight @ g**2), bend, float(weight @ dg**2), float(weight @ gap**2)
        )

    return labels


def residual_labels(loss: str, teacher: GLMLaw, at: Overlaps) -> LabelAverages | None:
    """The same for losses of the residual r, where its law is a mixture over one variable.

    The score is r / (1 + V), for "huber" cut at plus and minus 1: its averages over a normal law
    are closed. The cross moment is by Stein's lemma (derivations/perceptron#residuals).
    """
    kink = 1 + at.V
    law = teacher.channel.residual_law(at.q, at.m, at.V, teacher.second_moment)
    if law is None:
        return None
    w, mean, variance = law.weight, law.mean, max(law.variance, 1e-300)
    total = mean * mean + variance
    if loss == "square":
        first, second, inside = mean, total, np.ones_like(mean)
    else:
        s = math.sqrt(variance)
        low, high = (-kink - mean) / s, (kink - mean) / s
        at_low, at_high = normal_density(low), normal_density(high)
        below, above = ndtr(low), ndtr(-high)
        inside = 1 - below - above
        first = mean * inside + s * (at_low - at_high) + kink * (above - below)
        second = total * inside + kink**2 * (above + below)
        second += s * ((mean - kink) * at_low - (mean + kink) * at_high)
    bend = float(w @ inside) / kink
    return LabelAverages(
        bend,
        float(w @ second) / kink**2,
        (float(w @ (law.along * first)) / kink + (law.with_t + at.m) * bend) / law.t_variance,
        bend / kink,
        float(w @ total),
    )


def _weight_part(student: Student, prior: Prior, A: float, q_hat: float, m_hat: float) -> Overlaps:
    """V, q, m: averages over a true weight seen with precision m_hat² / q_hat."""
    root = math.sqrt(q_hat)
    sign = 1.0 if m_hat >= 0 else -1.0
    b = m_hat * m_hat / q_hat
    walls = sign * student.weight_walls(A) / root
    r, weight = observation_rule(prior, b, walls, of_even=student.is_odd)
    true = posterior(prior, r, b).mean
    f, df = student.estimate(sign * root * r, A)
    return Overlaps(
        float((weight * df).sum()), float((weight * f * f).sum()), float((weight * true * f).sum())
    )


def _weights_in_steps(
    student: Student, prior: Prior, A: float, q_hat: float, m_hat: float
) -> tuple[Overlaps, float] | None:
    """The same by equal steps, and E (df)²: exponentially good where estimates are analytic.

    None where they are not known to be, or steps would be many.
    """
    if not student.analytic or prior.name == "laplace":
        return None
    nodes, weights, truths = [], [], []
    for share, mean, variance in zip(prior.weights, prior.means, prior.variances, strict=True):
        scale = math.sqrt(m_hat * m_hat * variance + q_hat)
        d = min(student.analytic / scale, 8.0)
        step = 2 * math.pi * d / (38.0 + 0.5 * d * d)
        n = math.ceil(8.7 / step)
        if n > 8000:
            return None
        z = step * np.arange(-n, n + 1, dtype=np.float64)
        nodes.append(m_hat * mean + scale * z)
        weights.append(share * step * normal_density(z))
        truths.append(mean + (m_hat * variance / scale) * z)
    B, weight, true = (np.concatenate(each) for each in (nodes, weights, truths))
    f, df = student.estimate(B, A)
    mass = weight * f
    at = Overlaps(float(weight @ df), float(mass @ f), float(mass @ true))
    return at, float(weight @ (df * df))


class WeightPart(NamedTuple):
    """What A, q_hat and m_hat make of the weights: overlaps, and the mean square of the slope."""

    overlaps: Callable[[float, float, float], Overlaps]
    squared_slope: Callable[[float, float, float], float]


def independent_weights(student: Student, prior: Prior) -> WeightPart:
    """Weights of one law, each seen alone."""
    if student.affine is not None:
        return affine_weights(*student.affine, prior)

    def slope(B: FloatArray, a: float) -> tuple[FloatArray, FloatArray]:
        _, df = student.estimate(B, a)
        return df, df

    bent = student._replace(estimate=slope)

    def overlaps(*conjugate: float) -> Overlaps:
        found = _weights_in_steps(student, prior, *conjugate)
        return _weight_part(student, prior, *conjugate) if found is None else found[0]

    def squared_slope(*conjugate: float) -> float:
        found = _weights_in_steps(student, prior, *conjugate)
        return _weight_part(bent, prior, *conjugate).q if found is None else found[1]

    return WeightPart(overlaps, squared_slope)


def affine_weights(precision: float, shift: float, prior: Prior) -> WeightPart:
    """The same for estimates (shift + B) / (precision + A): two moments of the truth are enough."""
    mean, square = prior.mean, prior.second_moment

    def overlaps(A: float, q_hat: float, m_hat: float) -> Overlaps:
        V = 1 / (precision + A)
        total = shift * shift + 2 * shift * m_hat * mean + m_hat * m_hat * square + q_hat
        return Overlaps(V, V * V * total, V * (shift * mean + m_hat * square))

    return WeightPart(overlaps, lambda A, *_: 1 / (precision + A) ** 2)


def diagonal_weights(
    covariates: Covariates, prior: Prior, student_of: Callable[[float], Student], ridge: float = 0.0
) -> WeightPart:
    """Weights of uncorrelated features of several variances, each seen alone.

    ``student_of`` makes the student of weights of a scale. A single direction is of the order of
    the root of the number of features: a squared penalty acts on it, nothing else does.
    """
    law, share, alignment = (
        np.asarray(v) for v in (covariates.spectrum, covariates.multiplicity, covariates.alignment)
    )
    many = share > 0
    size = np.sqrt(alignment[many] / share[many] / prior.second_moment) / law[many]
    parts = [
        (float(w), float(s), independent_weights(student_of(c), scaled(prior, c)))
        for w, s, c in zip(law[many], share[many], size.tolist(), strict=True)
    ]
    single = [(float(w), float(t)) for w, t in zip(law[~many], alignment[~many], strict=True)]

    def overlaps(A: float, q_hat: float, m_hat: float) -> Overlaps:
        V = q = m = 0.0
        for w, s, part in parts:
            at = part.overlaps(A * w, q_hat * w, m_hat * w)
            V, q, m = V + s * w * at.V, q + s * w * at.q, m + s * w * at.m
        for w, t in single:
            along = m_hat / (ridge + A * w)
            q, m = q + w * t * along**2, m + t * along
        return Overlaps(V, q, m)

    def squared_slope(A: float, q_hat: float, m_hat: float) -> float:
        return sum(
            s * w * w * part.squared_slope(A * w, q_hat * w, m_hat * w) for w, s, part in parts
        )

    return WeightPart(overlaps, squared_slope)


def spectral_weights(covariates: Covariates, ridge: float) -> WeightPart:
    """Weights along eigenvectors of the student's covariance, under a squared penalty."""
    law, share, alignment = (
        np.asarray(v) for v in (covariates.spectrum, covariates.multiplicity, covariates.alignment)
    )

    def overlaps(A: float, q_hat: float, m_hat: float) -> Overlaps:
        inverse = 1 / (ridge + A * law)
        noise = q_hat * share * law**2
        return Overlaps(
            V=float(share @ (law * inverse)),
            q=float((m_hat**2 * law * alignment + noise) @ inverse**2),
            m=m_hat * float(alignment @ inverse),
        )

    def squared_slope(A: float, q_hat: float, m_hat: float) -> float:
        return float(share @ (law / (ridge + A * law)) ** 2)

    return WeightPart(overlaps, squared_slope)


#: Steps that an extrapolation remembers.
_MEMORY = 5


class _Extrapolation:
    """Anderson's: the combination of the last maps whose residuals cancel best.

    In ln V, ln q and the cosine, so that the overlaps stay what they are. Only where one fixed
    point attracts all starts; beside others it could reach one that the map does not.
    """

    def __init__(self, rho: float) -> None:
        self._rho = rho
        self._states: list[FloatArray] = []
        self._moves: list[FloatArray] = []

    def _coordinates(self, at: Overlaps) -> FloatArray:
        return np.array([math.log(at.V), math.log(at.q), at.m / math.sqrt(at.q * self._rho)])

    def step(self, at: Overlaps, new: Overlaps) -> Overlaps:
        """Where to go from ``at``, whose map is ``new``."""
        if not (min(new.V, new.q, at.q) > 0 and math.isfinite(new.V + new.q + new.m)):
            return new
        x, y = self._coordinates(at), self._coordinates(new)
        self._states, self._moves = [*self._states, y][-_MEMORY:], [*self._moves, y - x][-_MEMORY:]
        if len(self._moves) > 1 and np.abs(y - x).max() > 10 * np.abs(self._moves[-2]).max():
            self._states, self._moves = [y], [y - x]  # it led astray: begin again
        if len(self._moves) == 1:
            return new
        moved = np.diff(self._moves, axis=0).T
        share = np.linalg.lstsq(moved, y - x, rcond=1e-12)[0]
        v, q, cosine = y - np.diff(self._states, axis=0).T @ share
        if not (abs(v - x[0]) + abs(q - x[1]) < 3.0 and abs(cosine) < 1.0):
            return new
        q = math.exp(q)
        return Overlaps(math.exp(v), q, cosine * math.sqrt(q * self._rho))


def solve_saddle(
    labels: LabelPart,
    weights: WeightPart,
    alpha: float,
    rho: float,
    start: Overlaps,
    *,
    tol: float,
    max_iter: int,
    is_convex: bool = False,
) -> tuple[GLMBranch, Status, int, float]:
    """Iterate the map from a start; a convex loss has one fixed point: steps may be longer."""
    at, residual, keep = start, math.inf, 0.0
    n_iter, status = 0, Status.MAX_ITER
    A = q_hat = m_hat = math.nan
    last = best = math.inf
    since = 0
    extrapolation = _Extrapolation(rho) if is_convex else None
    while n_iter < max_iter:
        n_iter += 1
        seen = labels(at)
        A, q_hat, m_hat = alpha * seen.bend, alpha * seen.square, alpha * seen.cross
        if not (math.isfinite(A + q_hat + m_hat) and q_hat > 0):
            status = Status.INVALID
            break
        if A <= 0:
            A = 1e-3 * q_hat
        new = weights.overlaps(A, q_hat, m_hat)
        size = max(abs(new.q), abs(new.V), 1e-300)
        residual = max(abs(a - b) for a, b in zip(new, at, strict=True)) / size
        if residual <= tol:
            at, status = new, Status.CONVERGED
            break
        if residual < 0.9 * best:
            best, since = residual, n_iter
        elif n_iter - since > 200:
            status = Status.STALLED
            break
        if extrapolation is not None:
            following = extrapolation.step(at, new)
        else:
            if residual > last:  # it turns: damp
                keep = min(0.8, keep + 0.1)
            following = Overlaps(*((1 - keep) * a + keep * b for a, b in zip(new, at, strict=True)))
        last = residual
        if not (following.V > 1e-13 and following.q >= 0 and math.isfinite(sum(following))):
            status = Status.INVALID
            break
        at = following
    cosine = at.m / math.sqrt(at.q * rho) if at.q > 0 else 0.0
    seen = labels(at)
    stability = math.nan  # alpha E (dg)² E (df)²: below one where the symmetric saddle is stable
    if math.isfinite(q_hat) and q_hat > 0:
        stability = alpha * seen.squared_bend * weights.squared_slope(A, q_hat, m_hat)
    branch = GLMBranch(
        q=at.q,
        m=at.m,
        cosine=max(-1.0, min(1.0, cosine)),
        mse=rho - 2 * at.m + at.q,
        error=seen.error,
        free_entropy=math.nan,
        information=math.nan,
        replicon=stability,
    )
    return branch, status, n_iter, residual


def bayes_student(law: GLMLaw) -> Student:
    """A student that takes posterior means under a law of its own."""
    channel, prior, unseen = law.channel, law.prior, law.unseen
    is_gaussian = len(prior.weights) == 1 and prior.is_continuous and prior.name != "laplace"

    def score(y: FloatArray, mean: FloatArray, V: float) -> Score:
        return Score(*channel.score(y, mean, np.full_like(mean, V + unseen)))

    def estimate(B: FloatArray, A: float) -> tuple[FloatArray, FloatArray]:
        at = posterior(prior, B / math.sqrt(A), A)
        return at.mean, at.variance

    def walls(A: float) -> FloatArray:  # where two parts of the prior are as likely
        places = A * np.asarray(prior.means)
        middles = 0.5 * (places[:, None] + places).reshape(-1)
        sets = [middles[:, None] + math.sqrt(A) * RADII]
        parts = list(zip(prior.weights, prior.means, prior.variances, strict=True))
        for i, (p, m, v) in enumerate(parts):
            for r, n, w in parts[:i]:
                if not (v or w) and m != n:  # between points it takes a B of 1 / |m - n|
                    turn = 0.5 * A * (m + n) - math.log(p / r) / (m - n)
                    sets.append(turn + 2 / abs(m - n) * RADII[None])
        return np.unique(np.concatenate([each.reshape(-1) for each in sets]))

    return Student(
        score,
        estimate,
        lambda mean, V: channel.predict(mean, V + unseen),
        lambda V: [(0.0, 1e-12), *((t, s2 + V + unseen) for t, s2 in channel.walls)],
        walls,
        (1 / prior.variances[0], prior.means[0] / prior.variances[0]) if is_gaussian else None,
        prior.is_even,
        0.0 if prior.is_continuous else math.pi / float(np.ptp(prior.means)),
    )


def erm_student(model: ERMModel) -> Student:
    """A student that minimises a loss."""
    ridge, l1 = model.alpha * model.ridge, model.alpha * model.l1
    labels = as_channel(model.channel).labels
    is_sign = labels == (-1.0, 1.0)

    def walls(V: float) -> list[tuple[float, float]]:  # place and squared width
        sharp: tuple[float, ...] = {"hinge": (-1.0, 1.0, V - 1.0, 1.0 - V)}.get(model.loss, ())
        if model.loss == "huber":
            sharp = tuple(y + kink for y in labels or () for kink in (-1.0 - V, 1.0 + V))
        round_ = {"logistic": (-V, 0.0, V)}.get(model.loss, ())
        return [*((t, 1e-12) for t in sharp), *((t, 1.0) for t in round_), (0.0, 1e-12)]

    return Student(
        lambda y, mean, V: loss_score(model.loss, y, mean, V),
        lambda B, A: penalised(ridge, l1, B, A),
        lambda mean, _: np.where(mean >= 0, 1.0, -1.0) if is_sign else mean,
        walls,
        lambda _: np.array([-l1, l1]) if l1 else np.zeros(0),
        None if l1 else (ridge, 0.0),
        True,
    )


def _theory(
    model: GLMModel | ERMModel,
    found: dict[str, tuple[GLMBranch, Status, int, float]],
    on_failure: OnFailure,
    what: str,
) -> GLMTheory:
    branches = {name: each[0] for name, each in found.items()}
    reachable, informed = branches["reachable"], branches.get("informed", branches["reachable"])
    if abs(informed.q - reachable.q) < 1e-6 * max(reachable.q, 1e-300):
        informed = reachable
    status = max((each[1] for each in found.values()), key=tuple(Status).index)
    residual = max(each[3] for each in found.values())
    broken = [b for b in (reachable, informed) if not b.replicon < 1]
    message = status.sentence
    if status is Status.CONVERGED and broken:
        status = Status.INVALID
        message = (
            f"{status.sentence}: replica symmetry is broken (the replicon is "
            f"{broken[0].replicon:.4g}, not below 1), overlaps are approximate"
        )
        if on_failure == "raise":
            raise NumericalError(f"{what}: {message}")
        if on_failure == "warn":
            warnings.warn(f"{what}: {message}", ValidityWarning, stacklevel=4)
    else:
        name = f"{what}: the map of (V, q, m), of which q = E f(A, B)^2 is the overlap,"
        report_status(status, residual, name, on_failure=on_failure, stacklevel=5)
    return GLMTheory(
        model=model,
        status=status,
        message=message,
        n_iter=sum(each[2] for each in found.values()),
        residual=residual,
        reachable=reachable,
        equilibrium=reachable,
        informed=informed,
        branches=(reachable,) if informed is reachable else (reachable, informed),
        hard=False,
        quadrature_error=math.nan,
        **dataclasses.asdict(reachable),
    )


def solve_mismatched(
    model: GLMModel, *, tol: float, max_iter: int, on_failure: OnFailure
) -> GLMTheory:
    """Student and data follow different laws; see `retemper.perceptron.solve`."""
    law, teacher = laws_of_glm(model)
    student, rho, own = bayes_student(law), teacher.second_moment, law.second_moment - law.unseen
    weights = independent_weights(student, teacher.prior)
    if model.covariates is not None:
        shape = law.prior.second_moment / teacher.prior.second_moment

        def student_of(scale: float) -> Student:  # its weights have the second moment of the truth
            return bayes_student(law._replace(prior=scaled(law.prior, scale / math.sqrt(shape))))

        weights = diagonal_weights(model.covariates, teacher.prior, student_of)
    labels = (
        labels_of_posterior(law, teacher)
        or labels_of_gap(law, teacher)
        or functools.partial(any_labels, student, teacher)
    )
    starts = {
        "reachable": Overlaps(own * (1 - 1e-3), 1e-3 * own, 1e-3 * min(own, rho)),
        "informed": Overlaps(1e-2 * own, rho - law.unseen, 0.995 * (rho - law.unseen)),
    }
    prior = law.prior
    is_concave = law.channel.is_log_concave and len(prior.weights) == 1 and prior.is_continuous
    if is_concave:  # one fixed point, as of a convex loss
        del starts["informed"]
    found = {
        name: solve_saddle(
            labels,
            weights,
            model.alpha,
            rho,
            start,
            tol=tol,
            max_iter=max_iter,
            is_convex=is_concave,
        )
        for name, start in starts.items()
    }
    return _theory(model, found, on_failure, "the mismatched student")


def solve_erm(model: ERMModel, *, tol: float, max_iter: int, on_failure: OnFailure) -> GLMTheory:
    """Minimiser of a loss; see `retemper.perceptron.solve`."""
    teacher, student = teacher_of(model), erm_student(model)
    rho, law = teacher.second_moment, model.covariates
    weights = independent_weights(student, teacher.prior)
    if law is not None:
        ridge = model.alpha * model.ridge
        weights = spectral_weights(law, ridge)
        if model.l1:
            weights = diagonal_weights(law, teacher.prior, lambda _: student, ridge)

    def numbers(at: Overlaps) -> LabelAverages:
        closed = residual_labels(model.loss, teacher, at)
        return any_labels(student, teacher, at) if closed is None else closed

    found = solve_saddle(
        labels_of_loss(model, teacher) or numbers,
        weights,
        model.alpha,
        rho,
        Overlaps(1.0, 0.1 * rho, 0.1 * rho),
        tol=tol,
        max_iter=max_iter,
        is_convex=True,
    )
    return _theory(model, {"reachable": found}, on_failure, "empirical risk minimisation")


def minimise(
    model: ERMModel, X: FloatArray, y: FloatArray, *, tol: float, max_iter: int
) -> Minimum:
    """Weights that minimise the loss on given rows, by SciPy or scikit-learn."""
    n = X.shape[1]
    F = X / math.sqrt(n)
    ridge, l1 = model.alpha * model.ridge, model.alpha * model.l1
    if model.loss == "square" and not l1:
        w = np.linalg.solve(F.T @ F + ridge * np.eye(n), F.T @ y)
        return Minimum(np.asarray(w, dtype=np.float64), 1, 0.0)
    if model.loss == "square":
        from sklearn.linear_model import ElasticNet

        total, n_rows = ridge + l1, y.size
        net = ElasticNet(
            alpha=total / n_rows, l1_ratio=l1 / total, fit_intercept=False,
            tol=max(tol * tol, 1e-12), max_iter=100 * max_iter,
        ).fit(F, y)  # fmt: skip
        at: FloatArray = np.asarray(net.coef_, dtype=np.float64)
        slope = F.T @ (F @ at - y) + ridge * at
        return Minimum(at, int(net.n_iter_), _stationary(at, slope, l1))
    if model.loss == "hinge":
        if l1:
            raise ValueError("loss='hinge' with l1 has a theory, no solver here: take l1=0")
        from sklearn.svm import LinearSVC

        svm = LinearSVC(
            C=1 / ridge, loss="hinge", fit_intercept=False, tol=tol, max_iter=100 * max_iter,
            random_state=0,
        )  # fmt: skip
        svm.fit(F, y)
        return Minimum(svm.coef_[0], int(svm.n_iter_), 0.0)
    from scipy.optimize import minimize

    def value(w: FloatArray) -> tuple[float, FloatArray]:
        h = F @ w
        if model.loss == "logistic":
            loss, slope = np.logaddexp(0, -y * h), -y * expit(-y * h)
        else:
            r = h - y
            slope = np.clip(r, -1, 1) if model.loss == "huber" else r
            loss = slope * (r - 0.5 * slope)
        return float(loss.sum() + 0.5 * ridge * w @ w), F.T @ slope + ridge * w

    found: Any
    options: Any = {"maxiter": 20 * max_iter, "maxfun": 40 * max_iter, "ftol": 1e-15, "gtol": tol}
    if not l1:
        found = minimize(value, np.zeros(n), jac=True, method="L-BFGS-B", options=options)
        return Minimum(found.x, int(found.nit), float(np.abs(found.jac).max()))

    def split(pair: FloatArray) -> tuple[float, FloatArray]:  # w = up - down, both at least 0
        f, slope = value(pair[:n] - pair[n:])
        return f + l1 * float(pair.sum()), np.concatenate([slope + l1, l1 - slope])

    found = minimize(
        split, np.zeros(2 * n), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * n),
        options=options,
    )  # fmt: skip
    end: FloatArray = np.asarray(found.x[:n] - found.x[n:], dtype=np.float64)
    return Minimum(end, int(found.nit), _stationary(end, value(end)[1], l1))


def _stationary(w: FloatArray, slope: FloatArray, l1: float) -> float:
    """Largest subgradient that is left where weights have an absolute penalty."""
    left = np.where(w != 0, np.abs(slope + l1 * np.sign(w)), np.maximum(np.abs(slope) - l1, 0))
    return float(left.max())
