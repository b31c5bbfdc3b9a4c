"""Any scalar channel and prior: the curve of fixed points, and what follows from it."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from retemper._domains import check_parameter
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.perceptron.likelihood import Channel, as_channel
from retemper.perceptron.weight_prior import Prior, PriorCurve, as_prior, prior_curve

__all__ = [
    "GLM_QUANTITIES",
    "GLM_SWEPT",
    "BayesCurve",
    "GLMBranch",
    "GLMModel",
    "GLMTheory",
    "bayes_curve",
    "matched_curve",
    "solve_glm",
]

#: Quantities that a branch, a simulation and a comparison share.
GLM_QUANTITIES = ("q", "m", "cosine", "mse", "error")

#: Quantities that a sweep keeps, and those that it can keep.
GLM_SWEPT = (
    (*GLM_QUANTITIES, "free_entropy", "information", "replicon", "hard"),
    (*GLM_QUANTITIES, "free_entropy", "information", "replicon", "hard", "n_iter", "residual",
     "quadrature_error"),
)  # fmt: skip

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
    (`derivations/perceptron#any-channel-and-prior`).

    References
    ----------
    .. [1] J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, "Optimal errors and
       phase transitions in high-dimensional generalized linear models", PNAS 116 (2019) 5451.

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, solve
    >>> round(solve(GLMModel(2.0, channel="sign", prior="gaussian")).error, 4)
    0.1745
    """

    alpha: float
    _: dataclasses.KW_ONLY
    channel: Channel | str = "sign"
    prior: Prior | str = "gaussian"
    channel_true: Channel | str | None = None
    prior_true: Prior | str | None = None

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
        channel.check_scale(prior.second_moment)

    @property
    def is_matched(self) -> bool:
        """Whether the student knows the law of the data (the Bayes-optimal case)."""
        return self.channel_true in (None, self.channel) and self.prior_true in (None, self.prior)


class GLMLaw(NamedTuple):
    """What a student assumes, or the data follow."""

    channel: Channel
    prior: Prior


def laws_of_glm(model: GLMModel) -> tuple[GLMLaw, GLMLaw]:
    """Laws the student assumes and the data follow."""
    student = GLMLaw(as_channel(model.channel), as_prior(model.prior))
    channel, prior = model.channel_true, model.prior_true
    return student, GLMLaw(
        student.channel if channel is None else as_channel(channel),
        student.prior if prior is None else as_prior(prior),
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
        """One of them, still as arrays of length one."""
        part = slice(i, i + 1 or None)
        return Points(self.x[part], PriorCurve(*(p[part] for p in self.prior)),
                      *(f[part] for f in self[2:]))  # fmt: skip

    def free_entropy(self, alpha: float) -> FloatArray:
        """Nats per feature of rows ``alpha``."""
        p = self.prior
        return -p.information + 0.5 * np.exp(self.x) * p.V + alpha * self.entropy


class BayesCurve:
    """The curve of fixed points of one channel and prior, tabulated once."""

    def __init__(self, channel: Channel, prior: Prior) -> None:
        self.channel, self.prior = channel, prior
        self.rho = prior.second_moment
        mean, variance = prior.mean, prior.second_moment - prior.mean**2
        q0 = mean * mean
        start = channel.averages(np.array([q0]), np.array([variance]))
        self.start = start
        self.start_q = q0
        self.start_overlap = float(start.overlap[0])
        floor = 1e-9 * math.sqrt(max(float(start.slope[0]), 0.0))  # F below is rounding
        self.has_zero = self.start_overlap <= floor
        slope = float(start.slope[0]) * variance**2
        self.alpha_c = None
        if self.has_zero:
            self.alpha_c = 1 / slope if slope > 1e-14 else math.inf
        scale = math.log(variance)
        low = -13.0 - scale if self.has_zero else -18.0 - scale
        if prior.is_continuous:
            high = (38.0 if channel.is_exact else 30.0) - scale
        else:
            places = np.sort(prior.means)
            high = math.log(320.0 / np.diff(places).min() ** 2)
        self.is_blind = self.has_zero and self.alpha_c == math.inf
        self.table = self.points(np.linspace(low, high, _N_POINTS))

    def points(self, x: FloatArray) -> Points:
        """Exact points at ``x = ln b``."""
        x = np.atleast_1d(x)
        at = prior_curve(self.prior, np.exp(x))
        V = np.maximum(at.V, 1e-20 * self.rho)
        got = self.channel.averages(at.q, V)
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
        goal = math.log(alpha)
        x, y = self.pieces
        gap = y - goal
        brackets = [(x[i], x[i + 1]) for i in range(x.size - 1) if (gap[i] > 0) != (gap[i + 1] > 0)]
        if not self.has_zero and gap[0] > 0:
            brackets.insert(0, (goal + math.log(self.start_overlap) - 1.0, x[0]))
        if not self.channel.is_exact and gap[-1] < 0:
            brackets.append((x[-1], goal + math.log(self.table.overlap[-1]) + 1.0))
        if not brackets:
            return [], 0.0
        low, high = np.array(brackets).T
        rising = self._interpolate(np.minimum(high, x[-1])) > self._interpolate(
            np.maximum(low, x[0])
        )
        now = 0.5 * (low + high)
        inside = (low >= x[0]) & (high <= x[-1])
        lo, hi = low.copy(), high.copy()
        for _ in range(40):  # on the interpolation: costs nothing
            value = self._interpolate(now) - goal
            up = (value < 0) == rising
            lo, hi = np.where(up, now, lo), np.where(up, hi, now)
            now = np.where(inside, 0.5 * (lo + hi), now)
        lo, hi = low.copy(), high.copy()
        rising = rising | ~inside
        for _ in range(60):
            at = self.points(now)
            value = at.y - goal
            if (np.abs(value) < 3e-13).all() or (hi - lo < 1e-14 * np.abs(now)).all():
                break
            up = (value < 0) == rising
            lo, hi = np.where(up, now, lo), np.where(up, hi, now)
            step = now - value / np.where(at.dy == 0, 1e-300, at.dy)
            now = np.where((step > lo) & (step < hi), step, 0.5 * (lo + hi))
        return [at.at(i) for i in range(now.size)], float(np.abs(value).max())

    @functools.cached_property
    def label_entropy(self) -> float:
        """Entropy of a label given its field; -inf where it is an exact number."""
        if self.channel.selects:
            return 0.0
        if self.channel.labels is None and self.channel.is_exact:
            return -math.inf
        return self.channel.label_entropy(self.rho)

    def branch(self, p: Points, alpha: float) -> GLMBranch:
        """One fixed point as numbers."""
        q = float(p.prior.q[0])
        phi = float(p.free_entropy(alpha)[0])
        return self._branch(q, float(p.prior.V[0]), float(p.error[0]), phi,
                            alpha=alpha, replicon=1 - float(p.dy[0]))  # fmt: skip

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

    def exact_branch(self, alpha: float) -> GLMBranch:
        """The fixed point at which the weights are known."""
        last = self.table.at(-1)
        end = self.channel.averages(np.array([self.rho]), np.array([1e-20 * self.rho]))
        if self._is_divergent:
            phi = math.inf
        else:
            phi = -float(last.prior.information[0]) + alpha * float(end.entropy[0])
        return self._branch(self.rho, 0.0, 0.0, phi, alpha=alpha, replicon=0.0)

    def has_exact(self, alpha: float) -> bool:
        """Whether the weights can be known exactly."""
        return self.channel.is_exact and math.log(alpha) > self.table.y[-1] - 1e-12

    def branches(self, alpha: float) -> tuple[list[GLMBranch], float, float]:
        """Every fixed point by rising overlap; largest residual; quadrature error of q."""
        found: list[GLMBranch] = []
        if self.has_zero:
            found.append(self.zero_branch(alpha))
        residual = error = 0.0
        if not self.is_blind:
            points, residual = self.roots(alpha)
            for p in points:
                found.append(self.branch(p, alpha))
                slope = p.prior.dq * alpha * p.quadrature_error
                error = max(error, float((slope / np.maximum(np.abs(p.dy), 1e-3))[0]))
            if self.has_exact(alpha):
                found.append(self.exact_branch(alpha))
        if not found:
            raise NumericalError(
                f"no fixed point of b = alpha F(q(b)) at alpha={alpha:g}: {self.channel} with "
                f"{self.prior} was tabulated for ln b from {self.table.x[0]:.1f} to "
                f"{self.table.x[-1]:.1f}"
            )
        return found, residual, error

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
        exact = is_end and self.channel.is_exact
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
def bayes_curve(channel: Channel, prior: Prior) -> BayesCurve:
    """The curve of a channel and a prior; the last 64 are kept."""
    return BayesCurve(channel, prior)


def matched_curve(model: GLMModel, what: str) -> BayesCurve:
    """The curve of a matched model; an error says what needs it."""
    if not model.is_matched:
        raise ValueError(f"{what} needs a matched student: leave out channel_true and prior_true")
    return bayes_curve(*laws_of_glm(model)[0])


def solve_glm(model: GLMModel) -> GLMTheory:
    """Every fixed point of a matched model; see `retemper.perceptron.solve`."""
    curve = bayes_curve(*laws_of_glm(model)[0])
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
