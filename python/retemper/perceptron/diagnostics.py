"""What a fit says about itself: detectability, phase, predicted errors, goodness of fit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._dispatch import core
from retemper._text import number
from retemper._validation import FloatArray
from retemper.perceptron.errors import generalization_error, sign_error
from retemper.perceptron.model import PerceptronModel, row_law
from retemper.perceptron.theory import solve
from retemper.perceptron.thresholds import labels_to_leave, transitions

Phase = Literal["undetectable", "easy", "hard", "beyond"]

#: Numbers of further labels for which the report predicts the error.
MORE_LABELS = (1, 2, 5, 10, 20, 50, 100)


@dataclasses.dataclass(frozen=True)
class PerceptronReport:
    """What the theory says about a fit, if the margin model holds; see `solve`, `transitions`.

    Parameters
    ----------
    n_features, n_unlabelled, n_labelled : int
        Size of the problem; features that do not vary are not counted.
    alpha_u, alpha_l : float
        Rows per feature.
    eigenvalue, eigenvalue_edge : float
        Largest eigenvalue of the second moments of the rows, and the largest that rows without
        structure would have. A direction is visible to principal components above the edge.
    is_detectable : bool
        Whether it is above the edge.
    alpha_c : float or None
        Unlabelled rows per feature needed to find a direction without labels.
    phase : {"undetectable", "easy", "hard", "beyond"}
        Nothing to be found; one branch; a better solution exists that no known fast algorithm
        finds; or more rows than the jump to the good branch needs.
    error_now : float
        Predicted error on new rows of the same law, with the labels used so far. Without labels,
        up to the global sign.
    error_fit : float
        The same from the overlap of the fit itself.
    error_with_labels : dict of int to float
        Predicted error with that many labels more.
    error_with_twice_the_labels : float
        Predicted error with ``2 * alpha_l``.
    sign_risk : float or None
        Probability that one label chooses the wrong sign of a direction found without labels.
    labels_to_leave_hard_phase : int
        Labels needed, beyond those used, to leave the metastable branch; 0 if there is none.
    label_equivalent : float
        Labels that alone would give the same direction.
    worth_of_unlabelled : float
        Labels the unlabelled rows are worth.
    ks_statistic, ks_pvalue : float
        Kolmogorov-Smirnov test of the cavity fields of the unlabelled training rows (of the
        labelled ones if there are no others) against the law the model predicts for them.
    is_trustworthy : bool
        Whether that test does not reject the margin model at the level of one percent. If it does,
        predicted errors are not to be trusted.

    See Also
    --------
    MarginPerceptronClassifier

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from retemper.perceptron import MarginPerceptronClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> y[30:] = -1  # the other labels are hidden
    >>> report = MarginPerceptronClassifier().fit(X, y).report_
    >>> report.is_detectable, report.is_trustworthy
    (True, False)
    """

    n_features: int
    n_unlabelled: int
    n_labelled: int
    alpha_u: float
    alpha_l: float
    eigenvalue: float
    eigenvalue_edge: float
    is_detectable: bool
    alpha_c: float | None
    phase: Phase
    error_now: float
    error_fit: float
    error_with_labels: dict[int, float]
    error_with_twice_the_labels: float
    sign_risk: float | None
    labels_to_leave_hard_phase: int
    label_equivalent: float
    worth_of_unlabelled: float
    ks_statistic: float
    ks_pvalue: float
    is_trustworthy: bool

    def __str__(self) -> str:
        lines = [
            f"{self.n_unlabelled} unlabelled and {self.n_labelled} labelled rows, "
            f"{self.n_features} features",
            f"phase: {self.phase} (leading eigenvalue {number(self.eigenvalue)}, "
            f"edge {number(self.eigenvalue_edge)})",
            f"predicted error now {number(self.error_now)}; with 1, 5, 20 labels more "
            + ", ".join(number(self.error_with_labels[k]) for k in (1, 5, 20)),
            f"the unlabelled rows are worth {number(self.worth_of_unlabelled)} labels",
            f"fit of the margin model: KS {number(self.ks_statistic)}, "
            f"p = {number(self.ks_pvalue)}; "
            + (
                "predictions may be used"
                if self.is_trustworthy
                else "the margin model is rejected, do not trust the predicted errors"
            ),
        ]
        if self.labels_to_leave_hard_phase:
            lines.insert(2, f"{self.labels_to_leave_hard_phase} labels more leave the hard phase")
        return "\n".join(lines)


class GoodnessOfFit(NamedTuple):
    """Kolmogorov-Smirnov statistic and its p-value."""

    statistic: float
    pvalue: float


def goodness_of_fit(
    fields: FloatArray, *, variance: float, q: float, law: Any, kind: Any
) -> GoodnessOfFit:
    """Cavity fields h against their predicted density W(h, variance) N(h; 0, q)."""
    from scipy.special import kolmogorov

    if fields.size == 0 or q <= 0:
        return GoodnessOfFit(0.0, 1.0)
    spread = math.sqrt(q)
    grid = np.linspace(-10 * spread, 10 * spread, 20_001)
    at_most_one = np.array([min(max(variance, 1e-12), 1.0)])
    log_w = core.perceptron.channel_score(law, kind, grid, at_most_one, 1).log_w
    density = np.exp(log_w - grid**2 / (2 * q))
    cdf = np.cumsum(density)
    at = np.interp(np.sort(fields), grid, (cdf - 0.5 * density) / cdf[-1])
    n = fields.size
    steps = np.arange(n + 1) / n
    statistic = float(max((steps[1:] - at).max(), (at - steps[:-1]).max()))
    return GoodnessOfFit(statistic, float(kolmogorov(math.sqrt(n) * statistic)))


def report(
    *,
    kappa: float,
    sigma: float,
    eta_u: float,
    eta_l: float,
    n_features: int,
    n_unlabelled: int,
    n_labelled: int,
    eigenvalue: float,
    cavity_fields: FloatArray,
    role: NDArray[np.int8],
    q: float,
    variance: float,
) -> PerceptronReport:
    """Build the report of a fit; see `PerceptronReport`."""
    shared: dict[str, Any] = {"sigma": sigma, "eta_u": eta_u, "eta_l": eta_l}
    alpha_u, alpha_l = n_unlabelled / n_features, n_labelled / n_features

    def at(labels: float) -> Any:
        return solve(
            PerceptronModel(kappa, alpha_u, labels / n_features, **shared), on_failure="ignore"
        )

    now = at(n_labelled)
    found = transitions(kappa, alpha_l=alpha_l, **shared) if kappa > 0 else None
    phase: Phase
    if now.hard:
        phase = "hard"
    elif now.q < 1e-6:
        phase = "undetectable"
    elif found is not None and found.alpha_alg is not None and alpha_u > found.alpha_alg:
        phase = "beyond"
    else:
        phase = "easy"
    leave = labels_to_leave(kappa, alpha_u, **shared) if now.hard else 0.0
    edge = spectral_edge(n_features / max(n_unlabelled + n_labelled, 1))
    kinds = core.perceptron.RowKind
    used, kind = (role == 0, kinds.unlabelled) if n_unlabelled else (abs(role) == 1, kinds.positive)
    fields = cavity_fields[used] * np.where(role[used] == -1, -1, 1)
    law = row_law(kappa=kappa, **shared)
    test = goodness_of_fit(fields, variance=variance, q=q, law=law, kind=kind)
    risk = (
        sign_error(now.q, kappa, sigma=sigma, eta_l=eta_l).probability
        if n_labelled == 0 and 0 < now.q < 1
        else None
    )
    return PerceptronReport(
        n_features=n_features,
        n_unlabelled=n_unlabelled,
        n_labelled=n_labelled,
        alpha_u=alpha_u,
        alpha_l=alpha_l,
        eigenvalue=eigenvalue,
        eigenvalue_edge=edge,
        is_detectable=eigenvalue > edge,
        alpha_c=None if kappa == 0 else transitions(kappa, **shared).alpha_c,
        phase=phase,
        error_now=now.error_margin,
        error_fit=generalization_error(min(1.0, math.sqrt(max(q, 0.0))), kappa, sigma=sigma),
        error_with_labels={k: at(n_labelled + k).error_margin for k in MORE_LABELS},
        error_with_twice_the_labels=at(2 * n_labelled).error_margin,
        sign_risk=risk,
        labels_to_leave_hard_phase=max(0, math.ceil(leave * n_features) - n_labelled),
        label_equivalent=now.label_equivalent * n_features,
        worth_of_unlabelled=now.label_equivalent * n_features - n_labelled,
        ks_statistic=test.statistic,
        ks_pvalue=test.pvalue,
        is_trustworthy=test.pvalue > 0.01,
    )


def spectral_edge(ratio: float) -> float:
    """Largest eigenvalue of the second moments of rows without structure, features over rows."""
    return (1 + math.sqrt(ratio)) ** 2


def spectral_margin(eigenvalue: float, ratio: float) -> float | None:
    """Margin whose variance excess explains a leading eigenvalue; None below the edge.

    The eigenvalue of a spike 1 + c_2 in a covariance of ``ratio`` features per row is inverted,
    then c_2 = kappa phi(kappa) / H(kappa) is solved for kappa.
    """
    from scipy.optimize import brentq

    if eigenvalue <= spectral_edge(ratio):
        return None
    sum_ = 1 + eigenvalue - ratio
    excess = (sum_ + math.sqrt(max(sum_ * sum_ - 4 * eigenvalue, 0.0))) / 2 - 1
    kinds = core.perceptron.RowKind

    def gap(kappa: float) -> float:
        return (
            core.perceptron.hermite_moments(row_law(kappa=kappa), kinds.unlabelled).second - excess
        )

    if gap(30.0) < 0:
        return 30.0
    return float(brentq(gap, 1e-8, 30.0))
