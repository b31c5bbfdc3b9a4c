"""Classification error of the network of least penalty with a margin, in high dimension."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray, check_real
from retemper.diagonal.channel import Law
from retemper.diagonal.law import coefficient_law
from retemper.diagonal.model import DiagonalModel, check_plain

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
#: Quantities that theory and simulation share.
QUANTITIES = ("error", "cosine", "support", "rms")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MarginTheory(Result):
    """What high dimension predicts for a classifier of a given margin (see `solve_margin`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Evaluations of the averages.
    residual : float
        Largest residual of the three equations.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    margin : float
        Margin of the training rows.
    error : float
        Probability that the sign of a new row is wrong, its noise included.
    cosine : float
        Cosine of the coefficients with those of the target.
    support : float
        Share of the rows that lie on the margin.
    rms : float
        Root of the mean square of the coefficients.
    tau, effective_mu, dof : float
        Scalar channel, as in `DiagonalTheory`; its signal is the target's coefficient times a
        number.

    See Also
    --------
    solve_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve_margin
    >>> theory = solve_margin(DiagonalModel(0.5, mode="scratch"), 1.0)
    >>> bool(abs(theory.dof - 0.5 * theory.support) < 1e-9)
    True
    """

    model: DiagonalModel
    margin: float
    error: float
    cosine: float
    support: float
    rms: float
    tau: float
    effective_mu: float
    dof: float


def solve_margin(
    model: DiagonalModel, margin: float, *, on_failure: OnFailure = "warn"
) -> MarginTheory:
    r"""Classification error of the network of least penalty with a margin, in high dimension.

    Labels are the signs of ``X @ target + noise * N(0, 1)``; training ends as in `maximum_margin`.
    With Q the mean square of the coefficients, m their overlap with the target and :math:`\theta`
    the effective penalty, the equations are those of one scalar channel,
    :math:`Q=\mathrm E\hat x^2`, :math:`m=\mathrm E\hat xB`, :math:`\mathrm E\hat x'=\alpha P`,
    where P is the share of rows on the margin (by the replica method; derived here:
    `derivations/diagonal#margins`).

    Parameters
    ----------
    model : DiagonalModel
        Two layers, independent columns, Gaussian components, ``mu = 0``, no ``label_noise``.
    margin : float
        Margin of the training rows, in the units of a prediction; only its ratio to the scales
        matters.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the equations were not solved, as where the classes are not separable.

    Returns
    -------
    MarginTheory
        Error, order parameters and residual.

    Raises
    ------
    ValueError
        If a value is outside its domain, or the model is one for which the equations are not
        derived.
    NumericalError
        If ``on_failure="raise"`` and the equations were not solved.

    See Also
    --------
    simulate_margin, compare_margin, maximum_margin

    References
    ----------
    .. [1] B. Loureiro et al., "Learning curves of generic features maps for realistic datasets with
       a teacher-student model", NeurIPS (2021), for the method.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve_margin
    >>> rich, lazy = (
    ...     solve_margin(DiagonalModel(0.5, mode="scratch", init_scale=c), 1.0).error
    ...     for c in (1e-3, 1e3)
    ... )
    >>> rich < lazy
    True
    """
    check_margin_model(model, margin)
    from scipy.optimize import root

    law = coefficient_law(model)
    equations = _Equations(law, model, margin)
    start = law.scale * np.sinh(law.centre)
    size = math.log(4.0 * margin**2 + float(law.weight @ start**2))
    at = np.array([size, 0.5, math.log(float(law.scale.max()) + margin)])
    status = Status.CONVERGED
    with np.errstate(all="ignore"):
        for _ in range(300):  # message passing, which converges where there is a solution
            left = equations(at)
            if not np.all(np.isfinite(left)) or np.abs(left).max() < 1e-2:
                break
            at = at + np.clip(0.5 * left, -1.0, 1.0)
        if np.all(np.isfinite(left)):
            at = root(equations, at, tol=1e-13).x
        residual = float(np.abs(equations(at)).max())
    if not residual < 1e-9:  # no bounded coefficients where the classes are not separable
        status = Status.STALLED
    report_status(status, residual, "the equations of the margin", on_failure=on_failure)
    return MarginTheory(
        status=status,
        n_iter=equations.n_calls,
        residual=residual,
        message=status.sentence,
        model=model,
        margin=margin,
        error=sign_error(equations.cosine, law.null_mse, model.noise),
        cosine=equations.cosine,
        support=equations.support,
        rms=math.sqrt(equations.square),
        tau=equations.tau,
        effective_mu=equations.theta,
        dof=equations.dof,
    )


def check_margin_model(model: DiagonalModel, margin: float) -> None:
    """Raise ValueError for a margin out of range and for models without equations for margins."""
    check_plain(model, "margins", "depth", "mu", "label_noise", "spectrum")
    check_real(margin, "margin", low=1e-100, high=1e100)
    if any(part.target_law is not None for part in model.law()):
        raise ValueError("model must have Gaussian components for margins, got a target_law")
    if not any(part.target_second_moment() for part in model.law()):
        raise ValueError("model must have a target that is not zero: labels are its signs")


def sign_error(cosine: float, square: float, noise: float) -> float:
    """Probability of a wrong sign."""
    seen = cosine * math.sqrt(square / (square + noise**2))
    return math.acos(min(max(seen, -1.0), 1.0)) / math.pi


class _Equations:
    """What one round of message passing changes, in (log Q, atanh cosine, log theta)."""

    def __init__(self, law: Law, model: DiagonalModel, margin: float) -> None:
        self._law = law.to_core()
        self._square, self._model, self._margin = law.null_mse, model, margin
        self.n_calls = 0
        self.cosine = self.support = self.square = self.tau = self.theta = self.dof = math.nan

    def __call__(self, at: FloatArray) -> FloatArray:
        self.n_calls += 1
        log_q, angle, log_theta = (float(v) for v in at)
        try:
            self.square, self.cosine = math.exp(log_q), math.tanh(angle)
            self.theta = math.exp(log_theta)
            signal = self._rows()
            found = core.diagonal.margin_averages(
                law=self._law, signal=signal, tau=self.tau, effective_mu=self.theta
            )
            self.dof = found.dof
            cosine = found.overlap / math.sqrt(found.square * self._square)
            return np.array([
                math.log(found.square) - log_q,
                math.atanh(min(max(cosine, -1.0 + 1e-12), 1.0 - 1e-12)) - angle,
                math.log(self.dof / (self._model.alpha * self.support)),
            ])  # fmt: skip
        except (ValueError, OverflowError, ZeroDivisionError):
            return np.full(3, math.nan)

    def _rows(self) -> float:
        """Support and tau; returns the number that multiplies the target in the channel."""
        from scipy.special import ndtr

        q, margin = self.square, self._margin
        root = math.sqrt(q)
        left = math.sqrt((1.0 - self.cosine**2) * self._square + self._model.noise**2)
        low = -12.0 * root
        length = min(margin, 12.0 * root) - low
        t = low + 0.5 * length * (_NODES + 1.0)
        density = 0.5 * length * _WEIGHTS * np.exp(-0.5 * t**2 / q) / math.sqrt(2 * math.pi * q)
        seen = self.cosine * math.sqrt(self._square) * t / (root * left)
        weight = 2.0 * density * ndtr(seen)
        self.support = float(weight.sum())
        self.tau = float(weight @ (margin - t) ** 2) / (self._model.alpha * self.support**2)
        bell = np.exp(-0.5 * seen**2) / math.sqrt(2 * math.pi)
        return float(2.0 * (density * bell) @ (margin - t)) / (left * self.support)
