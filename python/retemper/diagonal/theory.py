"""Test error of fine-tuning in the high-dimensional limit."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._results import Result, Status, Sweep
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray
from retemper.diagonal.channel import Law, solve_laws
from retemper.diagonal.law import coefficient_law
from retemper.diagonal.model import DiagonalModel

_QUANTITIES = ("mse", "test_error", "train_error", "tau", "theta", "dof", "forgetting")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DiagonalTheory(Result):
    """What the high-dimensional limit predicts; errors are per feature (see `solve`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Quadrature passes.
    residual : float
        Larger relative residual of the two equations.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    mse : float
        Excess test error, mean of (fine-tuned - target)**2 over coefficients.
    test_error : float
        ``mse`` plus the label noise variance.
    train_error : float
        Mean squared residual on the training set, 0 for interpolation.
    tau, theta : float
        Effective noise variance and regularisation of the scalar channel.
    dof : float
        Effective degrees of freedom per feature.
    forgetting : float
        Mean of (fine-tuned - pre-trained)**2 over coefficients.
    null_mse : float
        Error of predicting zero; ``mse`` beyond it is negative transfer.
    group_names : tuple of str
        Groups of the law.
    group_weight, group_mse, group_forgetting : ndarray of shape (n_groups,)
        Probability of a group and its averages.
    quadrature_error : float
        Relative change of error and degrees of freedom on doubling the nodes.
    """

    model: DiagonalModel
    mse: float
    test_error: float
    train_error: float
    tau: float
    theta: float
    dof: float
    forgetting: float
    null_mse: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    quadrature_error: float


def solve(model: DiagonalModel, *, on_failure: OnFailure = "warn") -> DiagonalTheory:
    r"""Test error of fine-tuning in the high-dimensional limit.

    Solves :math:`\tau = (\sigma^2 + E)/\alpha`, :math:`\theta(\alpha - E\hat x') = \mu` for the
    scalar estimator of the implicit penalty by quadrature in the mirror coordinate, without a
    proximal solve inside (equations after Anguita et al. 2026; the penalised form, warm starts,
    finite pre-training and the quadrature are derived here).

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if no solution was certified.

    Returns
    -------
    DiagonalTheory
        Errors, order parameters, group-resolved errors and the certificate.

    Raises
    ------
    ValueError
        If every coordinate is frozen.
    NumericalError
        If ``on_failure="raise"`` and no solution was certified.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve
    >>> round(solve(DiagonalModel(0.05, omega=1.0)).mse, 8)
    0.52016076
    """
    result = _theories([model], 1)[0]
    report_status(result.status, result.residual, "the fixed point of fine-tuning",
                  on_failure=on_failure)  # fmt: skip
    return result


def curve(
    model: DiagonalModel,
    *,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    **axes: Iterable[Any],
) -> Sweep:
    """Theory on a grid of model parameters, each point started from its neighbour.

    Parameters
    ----------
    model : DiagonalModel
        The base model.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points without a certified solution.
    **axes : iterable
        Values of each swept parameter, e.g. ``alpha=[...]`` or ``rho_shared=[...]``.

    Returns
    -------
    Sweep
        ``mse``, ``test_error``, ``train_error``, ``tau``, ``theta``, ``dof``, ``forgetting``
        and ``status`` on the grid.

    Raises
    ------
    ValueError
        If a name is not a parameter, an axis is empty, or a point is outside the domain.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, curve
    >>> curve(DiagonalModel(0.1, omega=1.0), alpha=[0.1, 0.3])["mse"].round(6).tolist()
    [0.135294, 5.7e-05]
    """
    known = {f.name for f in dataclasses.fields(model)} | {"rho_shared", "rho_new"}
    grid = {name: np.asarray(list(values)) for name, values in axes.items()}
    if not grid:
        raise ValueError(
            "name at least one parameter to sweep, e.g. curve(model, alpha=[0.1, 0.2])"
        )
    for name, values in grid.items():
        if name not in known:
            raise ValueError(f"{name!r} is not a parameter of DiagonalModel: {sorted(known)}")
        if values.ndim != 1 or not values.size:
            raise ValueError(f"axis {name!r} must be a non-empty list")
    shape = tuple(v.size for v in grid.values())
    points = itertools.product(*(v.tolist() for v in grid.values()))
    models = [dataclasses.replace(model, **dict(zip(grid, p, strict=True))) for p in points]
    results = _theories(models, effective_n_threads(n_jobs))
    failed = [r for r in results if r.status is not Status.CONVERGED]
    if failed:
        what = f"the fixed point at {len(failed)} of {len(results)} grid points, first:"
        report_status(failed[0].status, failed[0].residual, what, on_failure=on_failure)
    table = {
        name: np.array([getattr(r, name) for r in results]).reshape(shape) for name in _QUANTITIES
    }
    table["status"] = np.array([str(r.status) for r in results]).reshape(shape)
    return Sweep(grid, table, "DiagonalModel")


def _theories(models: Sequence[DiagonalModel], n_threads: int) -> list[DiagonalTheory]:
    laws = [coefficient_law(model) for model in models]
    channel = np.array([[m.alpha, m.noise**2, m.mu] for m in models])
    found = solve_laws(channel, laws, n_threads)
    out = []
    for i, (model, law) in enumerate(zip(models, laws, strict=True)):
        status = Status.from_core(found["status"][i])
        mse, tau, theta = (float(found[name][i]) for name in ("mse", "tau", "theta"))
        size = law.weight.size
        groups = len(law.group_names)
        share = np.bincount(law.group, law.weight, groups).astype(np.float64)
        mse_of, drift_of = found["mse_of"][i, :size], found["drift_of"][i, :size]
        forgetting = float(law.weight @ drift_of)
        if model.mu > 0.0:
            train = model.mu**2 * tau / (model.alpha * theta**2)
        elif theta == 0.0:  # least squares: residual variance of n samples with D coefficients
            train = _least_squares_residual(model, law)
        else:
            train = 0.0
        out.append(
            DiagonalTheory(
                model=model,
                status=status,
                n_iter=int(found["n_iter"][i]),
                residual=float(found["residual"][i]),
                message=status.sentence,
                mse=mse,
                test_error=mse + model.noise**2,
                train_error=train,
                tau=tau,
                theta=theta,
                dof=float(found["dof"][i]),
                forgetting=forgetting,
                null_mse=float(law.weight @ (law.mean**2 + law.var)),
                group_names=law.group_names,
                group_weight=share,
                group_mse=np.bincount(law.group, law.weight * mse_of, groups) / share,
                group_forgetting=np.bincount(law.group, law.weight * drift_of, groups) / share,
                quadrature_error=float(found["quadrature_error"][i]),
            )
        )
    return out


def _least_squares_residual(model: DiagonalModel, law: Law) -> float:
    frozen = law.scale == 0.0
    lost = float(law.weight[frozen] @ (law.mean[frozen] ** 2 + law.var[frozen]))
    free = float(law.weight[~frozen].sum())
    return (model.noise**2 + lost) * (1.0 - free / model.alpha)
