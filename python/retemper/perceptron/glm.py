"""Any scalar channel and prior: the curve of fixed points, and what follows from it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from retemper._domains import check_parameter
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.perceptron.blocks import Weights, weights_of
from retemper.perceptron.covariates import Covariates, check_covariates
from retemper.perceptron.likelihood import Channel, as_channel, tabled_averages
from retemper.perceptron.panels import ChannelAverages
from retemper.perceptron.weight_prior import Prior, PriorCurve, as_prior

__all__ = [
    "GLM_QUANTITIES",
    "GLM_SWEPT",
    "BayesCurve",
    "GLMBranch",
    "GLMModel",
    "GLMTheory",
    "bayes_curve",
    "matched_law",
    "solve_glm",
    "tabled_curve",
]

#: Quantities that a branch, a simulation and a comparison share.
GLM_QUANTITIES = ("q", "m", "cosine", "mse", "error")

#: Quantities that a sweep keeps, and those that it can keep.
GLM_SWEPT = (
    (*GLM_QUANTITIES, "free_entropy", "information", "replicon", "hard"),
    (*GLM_QUANTITIES, "free_entropy", "information", "replicon", "hard", "n_iter", "residual",
     "quadrature_error"),
)  # fmt: skip

Averages = Callable[[FloatArray, FloatArray], ChannelAverages]

_N_POINTS = 56


@dataclasses.dataclass(frozen=True)
class GLMModel:
    """A generalised linear model: labels drawn from ``P(y | h)``, ``h = x @ w / sqrt(n_features)``.

    Rows are standard Gaussian, weights independent. The student knows channel and prior unless
    ``channel_true`` or ``prior_true`` say that the data follow others.

    Parameters
    ----------
    alpha : float
        Rows per feature.
    channel : Channel or str, default="sign"
        Law of the label given its field; a name, or a `Channel`.
    prior : Prior or str, default="gaussian"
        Law of a weight: "gaussian", "sphere", "binary", "sparse", "laplace", or a `Prior`.
    channel_true : Channel or str or None, default=None
        Channel of the data; None for ``channel``, the Bayes-optimal case.
    prior_true : Prior or str or None, default=None
        Prior of the data; None for ``prior``.
    covariates : Covariates or None, default=None
        Second moments of the features of student and teacher; None has independent features of
        variance one, the same for both. They set the second moment of the weights along each
        eigenvector, ``prior`` the shape of their law: Gaussian, unless the features themselves are
        uncorrelated (``is_diagonal``).

    Raises
    ------
    ValueError
        If a parameter is outside its domain.
    TypeError
        If a parameter is of another kind.

    See Also
    --------
    solve, simulate, transitions, Channel, Prior

    Notes
    -----
    After Barbier et al. (2019) [1]_; equations derived here
    (`derivations/perceptron#any-channel-and-prior`,
    `derivations/perceptron#the-best-student-of-correlated-features`). With ``covariates`` a
    result's ``q`` is the variance of the student's field, ``m`` its covariance with the teacher's,
    ``cosine`` their correlation and ``mse`` the mean square of their difference.

    References
    ----------
    .. [1] J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, "Optimal errors and
       phase transitions in high-dimensional generalized linear models", PNAS 116 (2019) 5451.

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, solve
    >>> round(solve(GLMModel(2.0, channel="sign", prior="gaussian")).error, 4)
    0.1745
    >>> from retemper.perceptron import Covariates
    >>> few_strong = Covariates((4.0, 0.25), (0.2, 0.8), (3.0, 0.1))
    >>> round(solve(GLMModel(2.0, covariates=few_strong)).error, 4)
    0.1504
    """

    alpha: float
    _: dataclasses.KW_ONLY
    channel: Channel | str = "sign"
    prior: Prior | str = "gaussian"
    channel_true: Channel | str | None = None
    prior_true: Prior | str | None = None
    covariates: Covariates | None = None

    def __post_init__(self) -> None:
        channel, prior = as_channel(self.channel), as_prior(self.prior)
        values: dict[str, object] = {"alpha": check_parameter(self.alpha, "alpha")}
        values |= {"channel": channel, "prior": prior}
        if self.channel_true is not None:
            values["channel_true"] = as_channel(self.channel_true, "channel_true")
        if self.prior_true is not None:
            values["prior_true"] = as_prior(self.prior_true, "prior_true")
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.covariates is not None:
            check_covariates(self.covariates, prior, values.get("prior_true"))
            channels = {"channel": channel, "channel_true": self.channel_true}
            for name, each in channels.items():
                if isinstance(each, Channel) and each.selects:
                    raise ValueError(f"covariates go with labels, {name} {each} selects rows")
        student, teacher = laws_of_glm(self)
        scale = student.second_moment
        if not self.is_matched:
            check_same_labels(student.channel, teacher.channel)
            scale += teacher.second_moment  # a wrong student's field may be wider than the truth's
            teacher.channel.check_scale(scale, "channel_true")
        student.channel.check_scale(scale, "channel")

    @property
    def is_matched(self) -> bool:
        """Whether the student knows the law of the data (the Bayes-optimal case)."""
        return self.channel_true in (None, self.channel) and self.prior_true in (None, self.prior)


def check_same_labels(channel: Channel, truth: Channel) -> None:
    """Raise ValueError unless a student of the one may read labels of the other."""
    for each in (channel, truth):
        if each.selects:
            raise ValueError(f"{each} selects rows: kappa_true of PerceptronModel has its mismatch")
    if channel.labels != truth.labels:
        raise ValueError(
            "channel and channel_true must have the same labels, got "
            f"{channel.labels or 'numbers'} of {channel} and {truth.labels or 'numbers'} of {truth}"
        )


class GLMLaw(NamedTuple):
    """What a student assumes, or the data follow."""

    channel: Channel
    prior: Prior
    covariates: Covariates | None = None

    @property
    def weights(self) -> Weights:
        """Weights on white rows."""
        return weights_of(self.prior, self.covariates)

    @property
    def second_moment(self) -> float:
        """Variance of the field."""
        return self.prior.second_moment if self.covariates is None else self.covariates.variance

    @property
    def unseen(self) -> float:
        """Variance of the field that no feature sees."""
        return 0.0 if self.covariates is None else self.weights.unseen


def laws_of_glm(model: GLMModel) -> tuple[GLMLaw, GLMLaw]:
    """Laws the student assumes and the data follow."""
    student = GLMLaw(as_channel(model.channel), as_prior(model.prior), model.covariates)
    channel, prior = model.channel_true, model.prior_true
    return student, GLMLaw(
        student.channel if channel is None else as_channel(channel),
        student.prior if prior is None else as_prior(prior),
        model.covariates,
    )


@dataclasses.dataclass(frozen=True)
class GLMBranch:
    """One fixed point of the theory of a `GLMModel`; see `solve`.

    Parameters
    ----------
    q : float
        Mean square of the posterior mean of a weight.
    m : float
        Mean product of the posterior mean and the true weight; ``q`` where the student is matched.
    cosine : float
        Between the posterior mean and the true weights.
    mse : float
        Mean squared error of the weights.
    error : float
        Probability of a wrong label on a new row, or mean squared error of the label.
    free_entropy : float
        Log evidence per feature, nats; NaN for a mismatched student and for a loss.
    information : float
        Mutual information of weights and labels, nats per feature; inf where the labels are exact
        numbers, NaN as above.
    replicon : float
        Slope of the iteration: below one where it ends here.

    See Also
    --------
    GLMTheory, solve

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, solve
    >>> branch = solve(GLMModel(2.0)).reachable
    >>> branch.is_stable, round(branch.error, 4)
    (True, 0.1745)
    """

    q: float
    m: float
    cosine: float
    mse: float
    error: float
    free_entropy: float
    information: float
    replicon: float

    @property
    def is_stable(self) -> bool:
        """Whether iterations end here."""
        return self.replicon < 1


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GLMTheory(Result):
    """What `solve` predicts of a `GLMModel`; see `solve`.

    Parameters
    ----------
    status : Status
        How the solution ended.
    n_iter : int
        Iterations; 0 where roots were bracketed.
    residual : float
        Largest relative residual of the equation ``b = alpha F(q(b))``.
    message : str
        The status in words.
    model : GLMModel or ERMModel
        The problem.
    q, m, cosine, mse, error, free_entropy, information, replicon : float
        Those of the reachable branch, as in `GLMBranch`.
    reachable : GLMBranch
        Where message passing ends from an uninformed start.
    equilibrium : GLMBranch
        The fixed point of largest free entropy: optimal inference, whatever its cost.
    informed : GLMBranch
        Where message passing ends from the true weights.
    branches : tuple of GLMBranch
        Every fixed point found, by rising ``q``, unstable ones included.
    hard : bool
        Whether optimal inference is better than what message passing reaches.
    quadrature_error : float
        Estimated absolute error of ``q`` from the integrals over the channel.

    See Also
    --------
    solve, GLMBranch, GLMSimulation

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, solve
    >>> theory = solve(GLMModel(2.0, channel="linear"))
    >>> theory.hard, bool(0 < theory.mse < 1)
    (False, False)
    """

    model: Any
    q: float
    m: float
    cosine: float
    mse: float
    error: float
    free_entropy: float
    information: float
    replicon: float
    reachable: GLMBranch
    equilibrium: GLMBranch
    informed: GLMBranch
    branches: tuple[GLMBranch, ...]
    hard: bool
    quadrature_error: float


class Points(NamedTuple):
    """Points of the curve b -> alpha = b / F(q(b)): what prior and channel make of them."""

    x: FloatArray  # ln b
    prior: PriorCurve
    overlap: FloatArray
    entropy: FloatArray
    error: FloatArray
    quadrature_error: FloatArray
    y: FloatArray  # ln alpha
    dy: FloatArray  # d ln alpha / d ln b: positive where the fixed point is stable

    def at(self, i: int) -> Points:
        """One of them, as arrays of length one."""
        return self.take(np.array([i]))

    def take(self, index: NDArray[np.intp]) -> Points:
        """Some of them, copied."""
        return Points(self.x[index], PriorCurve(*(p[index] for p in self.prior)),
                      *(f[index] for f in self[2:]))  # fmt: skip

    def put(self, index: NDArray[np.intp], other: Points) -> None:
        """Write others in their places."""
        mine, theirs = ((p.x, *p.prior, *p[2:]) for p in (self, other))
        for old, new in zip(mine, theirs, strict=True):
            old[index] = new

    def free_entropy(self, alpha: float | FloatArray) -> FloatArray:
        """Nats per feature of rows ``alpha``."""
        p = self.prior
        return -p.information + 0.5 * np.exp(self.x) * p.V + alpha * self.entropy


class BayesCurve:
    """The curve of fixed points of one channel and law of weights, tabulated once."""

    def __init__(self, law: GLMLaw, *, is_tabled: bool = False) -> None:
        self.channel, self.prior = law.channel, law.prior
        self.weights = law.weights
        self.rho = law.second_moment
        self._averages: Averages = self.channel.averages
        if is_tabled:
            self._averages = tabled_averages(self.channel, float(f"{self.rho:.12g}"))
        weights = self.weights
        self.start_q = weights.start_q
        start = self.channel.averages(np.array([self.start_q]), np.array([self.rho - self.start_q]))
        self.start = start
        self.start_overlap = float(start.overlap[0])
        floor = 1e-9 * math.sqrt(max(float(start.slope[0]), 0.0))  # F below is rounding
        self.has_zero = self.start_overlap <= floor
        self.is_exact = self.channel.is_exact and not weights.unseen
        slope = float(start.slope[0]) * weights.first_slope
        self.alpha_c = None
        if self.has_zero:
            self.alpha_c = 1 / slope if slope > 1e-14 else math.inf
        low, high = self._ends()
        self.is_blind = self.has_zero and self.alpha_c == math.inf
        n_points = max(_N_POINTS, math.ceil((high - low) / 1.05))
        self.table = self.points(np.linspace(low, high, n_points))

    def _ends(self) -> tuple[float, float]:
        """First and last ln b: weights are unknown at the one and known at the other."""
        each = self.weights.power
        own = self.prior.second_moment - self.prior.mean**2
        most, least = (math.log(own * f(each)) if each.size else 0.0 for f in (np.max, np.min))
        low = (-13.0 if self.has_zero else -18.0) - most
        if self.prior.is_continuous:
            high = (38.0 if self.is_exact else 30.0) - least
            return low, min(high, 44.0 - math.log(self.rho))  # beyond it digits of V are lost
        places = np.sort(self.prior.means)
        return low, math.log(320.0 / (np.diff(places).min() ** 2 * each.min()))

    @property
    def is_even(self) -> bool:
        """Whether labels show weights up to a sign only: iterations must break the tie."""
        if not self.weights.known:
            return self.has_zero
        q = self.weights.mean_square
        at = self.channel.averages(np.array([q]), np.array([self.rho - q]))
        return bool(at.overlap[0] <= 1e-9 * math.sqrt(max(float(at.slope[0]), 0.0)))

    def points(self, x: FloatArray) -> Points:
        """Exact points at ``x = ln b``."""
        x = np.atleast_1d(x)
        at = self.weights.curve(np.exp(x))
        V = np.maximum(at.V + self.weights.unseen, 1e-20 * self.rho)
        got = self._averages(at.q, V)
        overlap = np.maximum(got.overlap, 1e-300)
        dy = 1 - np.exp(x) * at.dq * got.slope / overlap
        return Points(
            x, at, got.overlap, got.entropy, got.error, got.quadrature_error,
            x - np.log(overlap), dy,
        )  # fmt: skip

    def _cubics(self) -> tuple[FloatArray, FloatArray]:
        """Ends of pieces on which the interpolated y(x) is monotone, and y there."""
        t = self.table
        h, rise = np.diff(t.x), np.diff(t.y)
        a, b = t.dy[:-1] * h, t.dy[1:] * h
        # y = y0 + a s + (3 rise - 2 a - b) s^2 + (a + b - 2 rise) s^3, s in [0, 1]
        c3, c2 = 3 * (a + b - 2 * rise), 2 * (3 * rise - 2 * a - b)
        with np.errstate(invalid="ignore", divide="ignore"):
            root = np.sqrt(c2 * c2 - 4 * c3 * a)
            k = -0.5 * (c2 + np.where(c2 < 0, -root, root))
            turns = np.concatenate(
                [
                    t.x[:-1] + s * h
                    for s in (k / c3, a / k)
                    for s in [np.where((s > 1e-9) & (s < 1 - 1e-9), s, np.nan)]
                ]
            )
        x = np.unique(np.concatenate([t.x, turns[np.isfinite(turns)]]))
        return x, self._interpolate(x)

    def _interpolate(self, x: FloatArray) -> FloatArray:
        t = self.table
        i = np.clip(np.searchsorted(t.x, x) - 1, 0, t.x.size - 2)
        h = t.x[i + 1] - t.x[i]
        s = (x - t.x[i]) / h
        rise, a, b = t.y[i + 1] - t.y[i], t.dy[i] * h, t.dy[i + 1] * h
        return t.y[i] + s * (a + s * ((3 * rise - 2 * a - b) + s * (a + b - 2 * rise)))

    def _slope(self, x: float) -> float:
        return float(self.points(np.array([x])).dy[0])

    @functools.cached_property
    def pieces(self) -> tuple[FloatArray, FloatArray]:
        """Monotone pieces of the curve; extrema are polished."""
        x, y = self._cubics()
        turns = [i for i in range(1, x.size - 1) if (y[i] - y[i - 1]) * (y[i + 1] - y[i]) < 0]
        for i in turns:
            sign = 1.0 if y[i] > y[i - 1] else -1.0
            if abs(y[i] - y[i - 1]) < 1e-7 and abs(y[i + 1] - y[i]) < 1e-7:
                continue
            low, high = x[i - 1], x[i + 1]
            if self._slope(low) * self._slope(high) < 0:
                x[i] = brentq(self._slope, low, high, xtol=1e-10, rtol=1e-12)
            else:
                found = minimize_scalar(
                    lambda v, k=sign: -k * float(self.points(np.array([v])).y[0]),
                    bounds=(low, high), method="bounded", options={"xatol": 1e-8},
                )  # fmt: skip
                x[i] = found.x
            y[i] = float(self.points(x[i : i + 1]).y[0])
        return x, y

    def roots(self, alpha: float) -> tuple[list[Points], float]:
        """Every fixed point with 0 < b < inf, and the largest residual."""
        owner, found, residual = self.roots_of(np.array([alpha]), tol=3e-13)
        return [found.at(i) for i in range(owner.size)], residual

    def _brackets(self, goal: FloatArray) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
        """Ends of pieces that hold a root, by load and rising ln b, and the load of each."""
        x, y = self.pieces
        above = y > goal[:, None]
        owner, piece = np.nonzero(above[:, :-1] != above[:, 1:])
        low, high = x[piece], x[piece + 1]
        more: list[tuple[NDArray[np.intp], FloatArray, FloatArray]] = []
        if not self.has_zero:
            first = np.flatnonzero(above[:, 0])
            start = goal[first] + math.log(self.start_overlap) - 1.0
            more.append((first, start, np.full_like(start, x[0])))
        if not self.is_exact:
            last = np.flatnonzero(~above[:, -1])
            end = goal[last] + math.log(self.table.overlap[-1]) + 1.0
            more.append((last, np.full_like(end, x[-1]), end))
        owner, low, high = (np.concatenate(c) for c in zip((owner, low, high), *more, strict=True))
        order = np.lexsort((low, owner))
        return owner[order], low[order], high[order]

    def roots_of(self, alphas: FloatArray, *, tol: float) -> tuple[NDArray[np.intp], Points, float]:
        """Every fixed point with 0 < b < inf of many loads, the index of its load, the residual.

        Newton's method in brackets, from the interpolated curve; points leave as they settle.
        """
        owner, low, high = self._brackets(np.log(alphas))
        if not owner.size:
            return owner, self.table.at(0).take(np.zeros(0, dtype=np.intp)), 0.0
        goal = np.log(alphas)[owner]
        x, _ = self.pieces
        rising = self._interpolate(np.minimum(high, x[-1])) > self._interpolate(
            np.maximum(low, x[0])
        )
        now = 0.5 * (low + high)
        inside = (low >= x[0]) & (high <= x[-1])
        lo, hi = low.copy(), high.copy()
        for _ in range(40):  # on the interpolation: costs nothing
            up = (self._interpolate(now) < goal) == rising
            lo, hi = np.where(up, now, lo), np.where(up, hi, now)
            now = np.where(inside, 0.5 * (lo + hi), now)
        lo, hi = low, high
        rising = rising | ~inside
        found = self.points(now).take(np.arange(now.size))
        value = found.y - goal
        for _ in range(60):
            live = np.flatnonzero((np.abs(value) >= tol) & (hi - lo >= 1e-14 * np.abs(now)))
            if not live.size:
                break
            place, gap = now[live], value[live]
            up = (gap < 0) == rising[live]
            lo[live], hi[live] = np.where(up, place, lo[live]), np.where(up, hi[live], place)
            dy = found.dy[live]
            step = place - gap / np.where(dy == 0, 1e-300, dy)
            is_in = (step > lo[live]) & (step < hi[live])
            now[live] = np.where(is_in, step, 0.5 * (lo[live] + hi[live]))
            found.put(live, self.points(now[live]))
            value[live] = found.y[live] - goal[live]
        return owner, found, float(np.abs(value).max())

    @functools.cached_property
    def label_entropy(self) -> float:
        """Entropy of a label given its field; -inf where it is an exact number."""
        if self.channel.selects:
            return 0.0
        unseen = self.weights.unseen
        if unseen:
            at = self.channel.averages(np.array([self.rho - unseen]), np.array([unseen]))
            return -float(at.entropy[0])
        if self.channel.labels is None and self.channel.is_exact:
            return -math.inf
        return self.channel.label_entropy(self.rho)

    def _branch(
        self, q: float, mse: float, error: float, phi: float, *, alpha: float, replicon: float
    ) -> GLMBranch:
        return GLMBranch(
            q=q,
            m=q,
            cosine=min(1.0, math.sqrt(q / self.rho)),
            mse=mse,
            error=max(error, 0.0),
            free_entropy=phi,
            information=math.inf if math.isinf(self.label_entropy)
            else max(-phi - alpha * self.label_entropy, 0.0),
            replicon=replicon,
        )  # fmt: skip

    def zero_branch(self, alpha: float) -> GLMBranch:
        """The fixed point at which labels say nothing."""
        assert self.alpha_c is not None
        return self._branch(
            self.start_q, self.rho - self.start_q, float(self.start.error[0]),
            alpha * float(self.start.entropy[0]), alpha=alpha, replicon=alpha / self.alpha_c,
        )  # fmt: skip

    @functools.cached_property
    def _is_divergent(self) -> bool:
        """Whether the free entropy grows without bound as b does, where the weights are found."""
        return self.prior.is_continuous or self.channel.labels is None

    @functools.cached_property
    def _exact_averages(self) -> ChannelAverages:
        """Averages where the weights are known."""
        return self.channel.averages(np.array([self.rho]), np.array([1e-20 * self.rho]))

    def exact_branch(self, alpha: float) -> GLMBranch:
        """The fixed point at which the weights are known."""
        phi = math.inf
        if not self._is_divergent:
            information = float(self.table.prior.information[-1])
            phi = -information + alpha * float(self._exact_averages.entropy[0])
        return self._branch(self.rho, 0.0, 0.0, phi, alpha=alpha, replicon=0.0)

    def has_exact(self, alpha: float) -> bool:
        """Whether the weights can be known exactly."""
        return self.is_exact and math.log(alpha) > self.table.y[-1] - 1e-12

    def branches(self, alpha: float) -> tuple[list[GLMBranch], float, float]:
        """Every fixed point by rising overlap; largest residual; quadrature error of q."""
        found, residual, error = self.branches_of(np.array([alpha]), tol=3e-13)
        return found[0], residual, error

    def branches_of(
        self, alphas: FloatArray, *, tol: float
    ) -> tuple[list[list[GLMBranch]], float, float]:
        """`branches` of many loads."""
        out: list[list[GLMBranch]] = [
            [self.zero_branch(float(alpha))] if self.has_zero else [] for alpha in alphas
        ]
        residual = error = 0.0
        if not self.is_blind:
            owner, p, residual = self.roots_of(alphas, tol=tol)
            load = alphas[owner]
            steps = p.prior.dq * load * p.quadrature_error / np.maximum(np.abs(p.dy), 1e-3)
            error = float(steps.max(initial=0.0))
            columns = (owner, p.prior.q, p.prior.V, p.error, p.free_entropy(load), load, 1 - p.dy)
            for i, q, V, miss, phi, alpha, replicon in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                mse = V + self.weights.unseen
                out[i].append(self._branch(q, mse, miss, phi, alpha=alpha, replicon=replicon))
            for branches, alpha in zip(out, alphas.tolist(), strict=True):
                if self.has_exact(alpha):
                    branches.append(self.exact_branch(alpha))
        for branches, alpha in zip(out, alphas.tolist(), strict=True):
            if not branches:
                raise NumericalError(
                    f"no fixed point of b = alpha F(q(b)) at alpha={alpha:g}: {self.channel} with "
                    f"{self.prior} was tabulated for ln b from {self.table.x[0]:.1f} to "
                    f"{self.table.x[-1]:.1f}"
                )
        return out, residual, error

    def transitions(self) -> dict[str, float | bool | None]:
        """Thresholds in rows per feature; see `retemper.perceptron.transitions`."""
        alpha_c = self.alpha_c if self.has_zero else None
        out: dict[str, float | bool | None] = {"alpha_c": alpha_c, "first_order": False}
        if self.is_blind:
            return out
        x, y = self.pieces
        top = x.size - 1
        peaks = [i for i in range(1, top) if y[i] > y[i - 1] + 1e-9 and y[i] > y[i + 1] + 1e-9]
        if self.has_zero and y[1] < y[0] - 1e-6:  # the uninformed state itself ends by a jump
            peaks.insert(0, 0)
        if not peaks:
            return out
        peak = max(peaks, key=lambda i: y[i])
        valley = peak + int(y[peak:].argmin())
        alg = float(np.exp(y[peak]))
        is_end = valley == top
        low = float(np.exp(y[valley]))
        exact = is_end and self.is_exact
        if exact and not self.prior.is_continuous:
            low = 0.0  # there are finitely many weights: the truth always stays a solution
        q = [
            self.start_q
            if i == 0 and self.has_zero
            else float(self.points(x[i : i + 1]).prior.q[0])
            for i in (peak, valley)
        ]
        out |= {"first_order": True, "alpha_alg": alg, "q_alg": q[0], "alpha_sp_minus": low,
                "q_sp_minus": self.rho if exact else q[1]}  # fmt: skip

        def ends(alpha: float) -> tuple[GLMBranch, GLMBranch]:
            found, _, _ = self.branches(alpha)
            return next((b for b in found if b.is_stable), found[0]), found[-1]

        def advantage(alpha: float) -> float:
            poor, good = ends(alpha)
            return good.free_entropy - poor.free_entropy

        gap = 1e-7 * (alg - low)
        first, last = max(low + gap, 1e-3 * alg), alg - gap
        if advantage(first) >= 0:
            it = low
            first = max(low + gap, 1e-9)
        else:
            it = brentq(advantage, first, last, xtol=1e-11 * alg)
            first = it
        poor, good = ends(first)
        return out | {"alpha_it": it, "q_it_low": poor.q, "q_it_high": good.q}


@functools.lru_cache(maxsize=64)
def bayes_curve(law: GLMLaw) -> BayesCurve:
    """The curve of a channel and a law of weights; the last 64 are kept."""
    return BayesCurve(law)


def tabled_curve(law: GLMLaw) -> BayesCurve:
    """The same from a table of the channel, which all fields of one variance share."""
    return BayesCurve(law, is_tabled=True)


def matched_law(model: GLMModel, what: str) -> GLMLaw:
    """Channel and prior of a matched model; an error says what needs it."""
    if not model.is_matched:
        raise ValueError(f"{what} needs a matched student: leave out channel_true and prior_true")
    return laws_of_glm(model)[0]


def solve_glm(model: GLMModel) -> GLMTheory:
    """Every fixed point of a matched model; see `retemper.perceptron.solve`."""
    curve = bayes_curve(laws_of_glm(model)[0])
    found, residual, error = curve.branches(model.alpha)
    reachable = next((b for b in found if b.is_stable), found[-1])
    equilibrium = max(found, key=lambda b: b.free_entropy)
    return GLMTheory(
        model=model,
        status=Status.CONVERGED,
        message=Status.CONVERGED.sentence,
        n_iter=0,
        residual=residual,
        reachable=reachable,
        equilibrium=equilibrium,
        informed=found[-1],
        branches=tuple(found),
        hard=equilibrium.q > reachable.q + 1e-6 * curve.rho,
        quadrature_error=error,
        **dataclasses.asdict(reachable),
    )
