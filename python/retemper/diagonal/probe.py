"""Reading the regime of any training procedure from its behaviour."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from retemper._text import columns, one_line
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.diagonal.penalties import l_order, marginal_order
from retemper.diagonal.regimes import regime_label

_MEANS = {
    "I": "rich and blind to the source: few features, whichever the rows ask for",
    "II": "lazy and tied to the source: features of the source change at little cost",
    "III": "lazy and blind to the source: all features share what the rows ask for",
    "IV": "rich and tied to the source: few features, those of the source first",
}


@dataclasses.dataclass(frozen=True, repr=False)
class RegimeProbe:
    """Order and pre-training dependence of a training procedure (see `probe_regime`).

    Parameters
    ----------
    l_order, marginal_order, elasticity, pd : float
        Order of the penalty, order of its force plus one, elasticity of the effective scale in the
        source, and pre-training dependence ``(1 - l_order) * elasticity``.
    l_order_ci, elasticity_ci, pd_ci : tuple of float
        Confidence intervals; of width zero for a procedure without noise on exact power laws.
    weights : ndarray of shape (3,)
        Weights of the regimes I, II, III.
    regime : str
        Label by `regime_label`.
    is_valid : bool
        Whether the answers fit a separable penalty of this family.
    message : str
        What does not fit, empty if all does.

    See Also
    --------
    probe_regime

    Examples
    --------
    >>> from retemper.diagonal import minimum_penalty, probe_regime
    >>> probe = probe_regime(lambda x, y, p: minimum_penalty(x, y, 1e-3 + abs(p)).coef)
    >>> bool(1 < probe.l_order < 2), probe.is_valid
    (True, True)
    """

    l_order: float
    marginal_order: float
    elasticity: float
    pd: float
    l_order_ci: tuple[float, float]
    elasticity_ci: tuple[float, float]
    pd_ci: tuple[float, float]
    weights: FloatArray
    regime: str
    is_valid: bool
    message: str

    __repr__ = one_line

    def __str__(self) -> str:
        rows = [
            ("order of the penalty", self.l_order, self.l_order_ci),
            ("elasticity of the scale", self.elasticity, self.elasticity_ci),
            ("dependence on the source", self.pd, self.pd_ci),
        ]

        def shown(value: float) -> str:
            return f"{round(value, 3) + 0.0:.3f}"  # no minus before zero

        said = [f"Regime {self.regime}: {_MEANS[self.regime]}."]
        if not self.is_valid:
            said = [f"Do not rely on this: {self.message}", *said]
        table = columns([[name, shown(at), f"{shown(low)} to {shown(high)}"]
                         for name, at, (low, high) in rows])  # fmt: skip
        shares = ", ".join(
            f"{name} {w:.2f}" for name, w in zip(("I", "II", "III"), self.weights, strict=True)
        )
        return "\n".join([*said, table, f"shares of regimes: {shares}"])


def probe_regime(
    fit: Callable[[FloatArray, FloatArray, FloatArray], ArrayLike],
    *,
    source_level: float = 1.0,
    amplitude: float = 1.0,
    spread: float = 0.05,
    n_points: int = 5,
    n_repeats: int = 1,
    confidence: float = 0.95,
) -> RegimeProbe:
    r"""Read the regime of any fine-tuning procedure from its behaviour.

    Derived here (`derivations/diagonal#behavioural-probes`).

    Two features compete for one sample. With equal sources and different loadings the slope of
    :math:`\ln(\beta_1/\beta_2)` on :math:`\ln(a_1/a_2)` is :math:`1/(\ell_m - 1)`; with equal
    loadings and different sources the slope on the log ratio of the sources is the elasticity of
    the effective scale.

    Parameters
    ----------
    fit : callable
        ``fit(X, y, source)`` with ``X`` of shape (1, 2), ``y`` of shape (1,) and the source
        coefficients of shape (2,); returns the two coefficients after training to the end. It is
        called ``2 * n_points * n_repeats`` times and may be random.
    source_level : float, default=1.0
        Source coefficient around which to probe.
    amplitude : float, default=1.0
        Label of the sample: a half of it for each feature.
    spread : float, default=0.05
        Largest deviation of the log ratios to either side; beyond 0.1 the order is biased.
    n_points : int, default=5
        Ratios per probe, at least 3.
    n_repeats : int, default=1
        Calls per ratio.
    confidence : float, default=0.95
        Level of the intervals.

    Returns
    -------
    RegimeProbe
        Order, elasticity, pre-training dependence, intervals and flags.

    Raises
    ------
    ValueError
        If an argument is outside its domain, or ``fit`` returns something else than two finite
        numbers.

    See Also
    --------
    regime_label, effective_scale

    Examples
    --------
    >>> from retemper.diagonal import finetune_scale, minimum_penalty, probe_regime
    >>> def fit(X, y, source):
    ...     return minimum_penalty(X, y, finetune_scale(source, 0.1)).coef
    >>> round(probe_regime(fit).elasticity, 2)
    0.9
    """
    if not callable(fit):
        raise TypeError(f"fit must be callable as fit(X, y, source), got {fit!r:.60}")
    level = check_real(source_level, "source_level", low=0.0, open_low=True)
    label = check_real(amplitude, "amplitude", low=0.0, open_low=True)
    width = check_real(spread, "spread", low=0.0, open_low=True, high=1.0)
    points = check_integer(n_points, "n_points", low=3)
    repeats = check_integer(n_repeats, "n_repeats", low=1)
    level_of = check_real(confidence, "confidence", low=0.0, high=1.0, open_low=True,
                          open_high=True)  # fmt: skip
    ratio = np.repeat(np.linspace(-width, width, points), repeats)
    problems: list[str] = []

    def answers(loads: bool) -> FloatArray:
        out = np.empty(ratio.size)
        for i, r in enumerate(ratio):
            pair = np.exp(np.array([0.5, -0.5]) * r)
            X = pair if loads else np.ones(2)
            source = np.full(2, level) if loads else level * pair
            coef = as_float_array(fit(X[None, :], np.array([label]), source), "the answer of fit")
            check_shape(coef, (2,), "the answer of fit")
            if coef[0] * coef[1] <= 0.0:
                problems.append("the two coefficients differ in sign")
                return np.zeros(ratio.size)
            out[i] = math.log(coef[0] / coef[1])
        return out

    from scipy.stats import t as student

    quantile = float(student.ppf(0.5 + 0.5 * level_of, ratio.size - 2))
    (load, load_se), (lift, lift_se) = (_slope(ratio, answers(k)) for k in (True, False))
    wide = (quantile * load_se, quantile * lift_se)
    return regime_of_slopes(load, lift, wide, problems)


def regime_of_slopes(
    load: float, lift: float, wide: tuple[float, float], problems: list[str]
) -> RegimeProbe:
    """The regime from the slopes of both probes.

    Parameters
    ----------
    load, lift : float
        Slope on the loadings, and on the sources.
    wide : tuple of float
        Half widths of their intervals.
    problems : list of str
        What the answers themselves do not fit.

    Returns
    -------
    RegimeProbe
        Orders, elasticity, pre-training dependence and flags.
    """
    problems = list(problems)
    if load <= 0.0:
        problems.append(f"the slope on the loadings is {load:.3g}, not positive")
    marginal = 1.0 + 1.0 / load if load > 0.0 else math.inf
    order = _order_from_marginal(marginal)
    ends = [_order_from_marginal(1.0 + 1.0 / s if s > 0 else math.inf)
            for s in (load + wide[0], load - wide[0])]  # fmt: skip
    lifted = (lift - wide[1], lift + wide[1])
    if load > 0.0 and marginal > 2.0 + 2.0 * wide[0] / load**2 + 1e-3:
        problems.append(f"the marginal order {marginal:.3g} exceeds 2")
    if lifted[1] < -1e-3 or lifted[0] > 1.0 + 1e-3:
        problems.append(f"the elasticity {lift:.3g} lies outside [0, 1]")
    corners = [(1.0 - o) * e for o in ends for e in lifted]
    weights = np.array([2.0 - order, (order - 1.0) * lift, (order - 1.0) * (1.0 - lift)])
    return RegimeProbe(
        l_order=order,
        marginal_order=marginal,
        elasticity=lift,
        pd=(1.0 - order) * lift,
        l_order_ci=(ends[0], ends[1]),
        elasticity_ci=lifted,
        pd_ci=(min(corners), max(corners)),
        weights=weights,
        regime=str(regime_label(weights)),
        is_valid=not problems,
        message="; ".join(dict.fromkeys(problems)),
    )


def _order_from_marginal(marginal: float) -> float:
    from scipy.optimize import brentq

    if marginal >= 2.0 - 1e-12:
        return 2.0
    if marginal <= float(marginal_order(1e300, 1.0)):
        return 1.0
    log_t = brentq(lambda s: float(marginal_order(math.exp(s), 1.0)) - marginal, -18.0, 690.0,
                   xtol=1e-13)  # fmt: skip
    return float(l_order(math.exp(log_t), 1.0))


def _slope(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Least-squares slope and its standard error."""
    dx = x - x.mean()
    slope = float(dx @ y / (dx @ dx))
    left = y - y.mean() - slope * dx
    return slope, float(np.sqrt(left @ left / (x.size - 2) / (dx @ dx)))
