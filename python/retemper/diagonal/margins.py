"""Classification: least penalty among the coefficients of a given margin."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.diagonal.mirror import as_start, check_some_move, free_features, mirror_coordinate
from retemper.exceptions import NumericalError

_MOST_MIRROR = 700.0  # sinh beyond it overflows
_LONGEST = 4.0  # change of a mirror coordinate in a step


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MaximumMargin(Result):
    """Coefficients of least penalty with a margin (see `maximum_margin`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Newton steps.
    residual : float
        Largest violation of the conditions of optimality, over the margin.
    message : str
        What happened, in words.
    coef : ndarray of shape (n_features,)
        Coefficients.
    dual : ndarray of shape (n_samples,)
        Multipliers, positive on the rows that lie on the margin and zero elsewhere; ``coef`` equals
        ``scale * sinh(arcsinh(centre / scale) + 2 X.T (y * dual))``.
    margin : float
        The margin asked for.

    See Also
    --------
    maximum_margin

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import maximum_margin
    >>> fit = maximum_margin(np.eye(2), [1.0, -1.0], 0.1, margin=3.0)
    >>> fit.coef.round(6).tolist(), str(fit.status)
    ([3.0, -3.0], 'converged')
    """

    coef: FloatArray
    dual: FloatArray
    margin: float


def maximum_margin(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    margin: float = 1.0,
    centre: ArrayLike | None = None,
    tol: float = 1e-10,
    max_iter: int = 500,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> MaximumMargin:
    r"""Coefficients of least penalty for which every row has a margin.

    Minimises :math:`\sum_d D_q(\beta_d, \beta_{0,d}; c_d)` over :math:`y_i\,x_i\cdot\beta\ge
    \vartheta`, by a projected Newton iteration on the dual. That is where gradient flow of a
    two-layer network on the exponential or logistic loss stands when that loss is of order
    :math:`e^{-\vartheta}`, in the limit of large :math:`\vartheta` at fixed
    :math:`c/\vartheta` [1]_: from :math:`c\gg\vartheta` the least norm, from
    :math:`c\ll\vartheta` the largest l1 margin, which every flow reaches in the end, on a scale
    of :math:`\ln\vartheta/c`. Derived here (`derivations/diagonal#margins`).

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, as it is.
    y : array_like of shape (n_samples,)
        Labels, -1 or 1.
    scale : array_like of shape (n_features,) or float
        Non-negative scales c; features with scale zero stay at zero.
    margin : float, default=1.0
        Margin, in [1e-100, 1e100].
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at the start of the flow; zero if None.
    tol : float, default=1e-10
        Violation of the conditions of optimality that is left, over the margin.
    max_iter : int, default=500
        Most Newton steps.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the tolerance was not reached.
    progress : None, bool, callable or object, default=None
        Called with (0, 0) from time to time; an exception raised in it stops the work.

    Returns
    -------
    MaximumMargin
        Coefficients and multipliers.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or every scale is zero.
    NumericalError
        If the classes are not separable by the features that can move.

    See Also
    --------
    minimum_penalty, solve_margin

    References
    ----------
    .. [1] E. Moroshko, S. Gunasekar, B. Woodworth, J. D. Lee, N. Srebro, D. Soudry, "Implicit Bias
       in Deep Linear Classification: Initialization Scale vs Training Accuracy", NeurIPS (2020).

    Examples
    --------
    >>> from retemper.diagonal import maximum_margin
    >>> X = [[2.0, 1.0]]
    >>> [maximum_margin(X, [1.0], c).coef.round(3).tolist() for c in (1e6, 1e-12)]
    [[0.4, 0.2], [0.5, 0.0]]
    """
    watch = as_callback(progress, "maximum_margin")
    design, labels = as_float_array(X, "X", ndim=2), as_float_array(y, "y")
    n, d = design.shape
    if not n or not d:
        raise ValueError(f"X must not be empty, got shape {design.shape}")
    check_shape(labels, (n,), "y")
    if not np.all(np.abs(labels) == 1.0):
        raise ValueError(f"y must be -1 or 1, got {labels[np.abs(labels) != 1.0][0]:g}")
    c, start = as_start(scale, centre, d)
    check_real(margin, "margin", low=1e-100, high=1e100)
    check_real(tol, "tol", low=0.0, open_low=True)
    check_integer(max_iter, "max_iter", low=1)
    check_some_move(c)
    free = free_features(c, start)
    rows = labels[:, None] * design[:, free]
    u0 = mirror_coordinate(start[free], c[free])
    dual = _Dual(rows, c[free], u0, margin)
    n_iter = _largest_margin(dual, n, tol, max_iter, watch)
    residual = dual.violation()
    if not residual <= tol and not _is_separable(rows):
        raise NumericalError(
            f"no coefficients have the margin {margin:g}: the classes are not separable by the "
            f"features that can move (violation {residual:.2g} of the margin)"
        )
    status = Status.CONVERGED if residual <= tol else Status.MAX_ITER
    report_status(status, residual, "the conditions of the largest margin", on_failure=on_failure)
    coef = np.zeros(d)
    coef[free] = dual.coef
    return MaximumMargin(
        status=status,
        n_iter=n_iter,
        residual=residual,
        message=status.sentence,
        coef=coef,
        dual=dual.s,
        margin=margin,
    )


class _Dual:
    """The concave dual of the largest margin, in multipliers s >= 0."""

    def __init__(self, rows: FloatArray, c: FloatArray, u0: FloatArray, margin: float) -> None:
        self._rows, self._c, self._u0, self._margin = rows, c, u0, margin

    def move_to(self, s: FloatArray) -> bool:
        """Evaluate at multipliers; False, and nothing changed, where coefficients overflow."""
        u = self._u0 + 2.0 * (s @ self._rows)
        if not np.abs(u).max() < _MOST_MIRROR:
            return False
        half = np.sinh(0.5 * (u + self._u0)) * np.sinh(0.5 * (u - self._u0))
        gain = self._margin * float(s.sum())
        self.s, self.value = s, gain - float(self._c @ half)
        # terms of both signs cancel where a source is strong and the margin small
        self.rounding = 1e-14 * (gain + float(self._c @ np.abs(half)))
        self.coef, self.weight = self._c * np.sinh(u), 2.0 * self._c * np.cosh(u)
        self.slope = self._margin - self._rows @ self.coef
        return True

    def violation(self) -> float:
        """Largest violation of the conditions of optimality, over the margin."""
        left = np.where(self.s > 0.0, np.abs(self.slope), np.maximum(self.slope, 0.0))
        return float(left.max()) / self._margin

    def step(self, damping: float) -> bool:
        """A projected Newton step with a damped Hessian; False if it does not raise the dual."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        s, value, slope, rounding = self.s, self.value, self.slope, self.rounding
        moves = (s > 0.0) | (slope > 0.0)
        part = self._rows[moves]
        hessian = (part * self.weight) @ part.T
        hessian[np.diag_indices_from(hessian)] += damping * hessian.diagonal().max()
        try:
            change = cho_solve(cho_factor(hessian, overwrite_a=True), slope[moves])
        except LinAlgError:
            return False
        share = min(1.0, _LONGEST / max(float(np.abs(2.0 * (change @ part)).max()), 1e-300))
        whole = share
        while share > 1e-3 * whole:
            trial = np.where(moves, s, 0.0)
            trial[moves] = np.maximum(s[moves] + share * change, 0.0)
            if self.move_to(trial):
                wanted = 1e-4 * float(slope @ (trial - s))
                if self.value >= value + wanted - rounding:
                    return True
            share *= 0.5
        self.move_to(s)
        return False


def _largest_margin(dual: _Dual, n: int, tol: float, max_iter: int, watch: Progress | None) -> int:
    """Newton steps on the dual, less damped while they succeed; returns their number."""
    dual.move_to(np.zeros(n))
    damping = 1e-2
    for step in range(max_iter):
        if watch is not None:
            watch(0, 0)
        if dual.violation() <= tol or damping > 1e6:
            return step
        damping = max(0.1 * damping, 1e-14) if dual.step(damping) else 100.0 * damping
    return max_iter


def _is_separable(rows: FloatArray) -> bool:
    from scipy.optimize import linprog

    found = linprog(
        np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None)
    )
    return bool(found.status == 0)
