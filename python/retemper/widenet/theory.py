r"""Franz-Parisi theory of transfer between two networks of finite width.

Kernel matrices alone give the order parameters, the predictor with its error bars and the
leave-one-out loss; no network is trained. Exact for the linear network as width and samples grow
together; for other activations it rests on the Gaussian equivalence of the hidden layer, which
holds while samples do not far exceed the dimension of the inputs (see `solve`). The equations are
derived here from the model of Ingrosso et al. (2025), whose order parameters they share.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import report_status
from retemper._extras import load
from retemper._results import Result, Status, Sweep, sweep_model
from retemper._validation import FloatArray, as_float_array, check_real, check_shape
from retemper.exceptions import ValidityWarning
from retemper.widenet.model import WideNetModel
from retemper.widenet.saddle import (
    Kernels,
    Parts,
    SingleTask,
    Spectrum,
    Target,
    Task,
    TestKernels,
    blocks,
    effective_dimension,
    source_spectrum,
)

__all__ = ["GAMMAS", "GammaPath", "WideNetTheory", "curve", "gamma_path", "solve"]

#: The default grid of couplings, in units of lam0.
GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)

#: Samples per effective dimension beyond which a nonlinear network is outside the theory.
SAMPLES_PER_DIMENSION = 2.0

#: Inputs (n, n_features) and labels (n,) or (n, n_outputs).
Data: TypeAlias = tuple[ArrayLike, ArrayLike]
FloatOrArray: TypeAlias = float | FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WideNetTheory(Result):
    r"""What theory says about one coupling (see `solve`).

    Errors are means over the test points, summed over outputs; order parameters are arrays of
    shape (n_outputs,) where labels have several columns.

    Parameters
    ----------
    status : Status
        The worst over the outputs.
    n_iter : int
        Evaluations of the saddle-point equations.
    residual : float
        Largest residual of the saddle-point equations.
    message : str
        What happened, in words.
    model : WideNetModel
        What was solved.
    Q_s, Q_t : float or ndarray
        ``lam1 |v|^2 / width`` of the source and of the target read-out; 1 at infinite width.
    Q_tt : float or ndarray
        Overlap of the read-outs of two target runs that share a source.
    Q_st : float or ndarray
        Overlap of the read-outs of source and target.
    delta : float or ndarray
        Q_t - Q_tt.
    log_evidence : float
        Expected log evidence of the target labels, given a source network; nats.
    log_evidence_source : float
        Log evidence of the source labels; nats. Zero without a source.
    loo : float
        Leave-one-out estimate of ``test_error``, from the target samples alone.
    bias : float or None
        Mean squared error of the mean prediction.
    thermal : float or None
        Mean variance of the output of a target network, the source network fixed.
    quenched : float or None
        Mean variance of the mean target over source networks.
    test_error : float or None
        ``bias + thermal + quenched``: the error of a random target network. None without test data.
    mean : ndarray or None
        Mean prediction at the test points, of shape (n_test,) or (n_test, n_outputs).
    samples_per_dimension : float
        Samples of the larger task per effective dimension of the inputs; a nonlinear network is
        outside the theory beyond 2.
    """

    model: WideNetModel
    Q_s: Any
    Q_t: Any
    Q_tt: Any
    Q_st: Any
    delta: Any
    log_evidence: float
    log_evidence_source: float
    loo: float
    bias: float | None
    thermal: float | None
    quenched: float | None
    test_error: float | None
    mean: Any
    samples_per_dimension: float


class Problem:
    """Validated data, with every matrix that several couplings, widths or outputs share."""

    def __init__(self, target: Data, source: Data | None, test: Data | None = None) -> None:
        self.target, self.is_flat = _task(target, "target")
        n_outputs = self.target.y.shape[1]
        self.source = self._other(source, "source")
        self.test = self._other(test, "test")
        if self.source is not None and self.source.y.shape[1] not in (1, n_outputs):
            raise ValueError(
                f"the source has {self.source.y.shape[1]} outputs and the target has {n_outputs}"
            )
        if self.test is not None and self.test.y.shape[1] != n_outputs:
            raise ValueError(
                f"the test labels have {self.test.y.shape[1]} outputs, the target has {n_outputs}"
            )
        self.gram = self.target.gram(self.target)
        self.gram_st = None if self.source is None else self.source.gram(self.target)
        tasks = [self.target] if self.source is None else [self.target, self.source]
        self.samples_per_dimension = max(len(t.X) for t in tasks) / effective_dimension(tasks)
        self._spectrum: tuple[tuple[str, float], Spectrum] | None = None
        self._fits: dict[Any, list[SingleTask]] = {}

    def _other(self, data: Data | None, name: str) -> Task | None:
        if data is None:
            return None
        task, _ = _task(data, name)
        if task.X.shape[1] != self.target.X.shape[1]:
            raise ValueError(
                f"{name} has {task.X.shape[1]} features and target has {self.target.X.shape[1]}"
            )
        return task

    def without_source(self) -> Problem:
        """The random-anchor control: the same target, pulled towards a draw from the prior."""
        other = Problem.__new__(Problem)
        other.__dict__.update(self.__dict__, source=None, gram_st=None, _spectrum=None, _fits={})
        return other

    def spectrum(self, model: WideNetModel) -> Spectrum | None:
        if self.source is None:
            return None
        key = (model.activation, model.lam0)
        if self._spectrum is None or self._spectrum[0] != key:
            self._spectrum = None  # one at a time: it is the largest matrix there is
            self._fits = {}
            self._spectrum = (key, source_spectrum(model, self.source))
        return self._spectrum[1]

    def source_fits(self, model: WideNetModel) -> list[SingleTask]:
        spectrum = self.spectrum(model)
        if spectrum is None or self.source is None:
            return []
        key = (model.width, model.temperature_source, model.inv_lam1_source)
        if key not in self._fits:
            spectrum.check_temperature(
                model.temperature_source, model.inv_lam1_source, "temperature_source"
            )
            fits = [
                SingleTask(
                    spectrum, y, model.width, model.temperature_source, model.inv_lam1_source
                )
                for y in self.source.y.T
            ]
            self._fits = {key: fits}
        return self._fits[key]

    def solve(self, model: WideNetModel, start: Solution | None = None) -> Solution:
        fits = self.source_fits(model)
        kernels = Kernels(
            model,
            self.gram,
            self.gram_st,
            target=self.target,
            source=self.source,
            spectrum=self.spectrum(model),
        )
        columns = []
        for i, y in enumerate(self.target.y.T):
            fit = fits[min(i, len(fits) - 1)] if fits else None
            columns.append(Target(kernels, y, fit, None if start is None else start.columns[i]))
        return Solution(self, kernels, columns, fits)

    def warn(self, model: WideNetModel, stacklevel: int = 3) -> str:
        """What is outside the range of the theory, warned about and returned."""
        said = []
        if model.activation != "linear" and self.samples_per_dimension > SAMPLES_PER_DIMENSION:
            said.append(
                f"{self.samples_per_dimension:.3g} samples per effective input dimension "
                f"(more than {SAMPLES_PER_DIMENSION:g}): the features of a trained "
                f"{model.activation} network align with the labels, which the theory leaves out"
            )
        n, d = self.target.X.shape
        rank = min(n, d) if model.activation == "linear" else n
        if math.isinf(model.gamma) and model.width <= rank:
            said.append(
                f"width {model.width:g} is not above the rank {rank} of the target kernel: errors "
                "of frozen features are heavy-tailed there, and their mean lies above the theory"
            )
        for sentence in said:
            warnings.warn(sentence, ValidityWarning, stacklevel=stacklevel + 1)
        return "; ".join(said)


class Solution(NamedTuple):
    """Solved target columns of a problem at one coupling."""

    problem: Problem
    kernels: Kernels
    columns: list[Target]
    fits: list[SingleTask]

    def test_kernels(self, X: FloatArray) -> TestKernels:
        p = self.problem
        return TestKernels(self.kernels, X, p.target, p.source, p.spectrum(self.kernels.model))

    def predict(self, X: FloatArray) -> Parts:
        """Mean and variances at new inputs, each of shape (n, n_outputs)."""
        rows = []
        for block in blocks(X):
            kernels = self.test_kernels(block)
            parts = [kernels.predict(t) for t in self.columns]
            rows.append([np.column_stack(item) for item in zip(*parts, strict=True)])
        return Parts(*(np.vstack(item) for item in zip(*rows, strict=True)))

    def predict_mean(self, X: FloatArray) -> FloatArray:
        rows = []
        for block in blocks(X):
            kernels = self.test_kernels(block)
            rows.append(np.column_stack([kernels.predict_mean(t) for t in self.columns]))
        return np.vstack(rows)

    def loo_losses(self) -> FloatArray:
        """Leave-one-out loss of every target sample, summed over outputs."""
        return np.asarray(sum(t.loo_losses for t in self.columns))

    def result(self, message: str = "") -> WideNetTheory:
        p, columns = self.problem, self.columns
        status = max((t.status for t in columns), key=list(Status).index)
        errors: dict[str, Any] = dict.fromkeys(("bias", "thermal", "quenched", "test_error"))
        mean = None
        if p.test is not None:
            parts = self.predict(p.test.X)
            bias = float(np.square(parts.mean - p.test.y).mean(0).sum())
            thermal, quenched = (float(v.mean(0).sum()) for v in parts[1:])
            errors = {
                "bias": bias,
                "thermal": thermal,
                "quenched": quenched,
                "test_error": bias + thermal + quenched,
            }
            mean = parts.mean[:, 0] if p.is_flat else parts.mean

        def shaped(values: list[float]) -> FloatOrArray:
            return values[0] if p.is_flat else np.array(values)

        return WideNetTheory(
            model=self.kernels.model,
            Q_s=shaped([t.Q_s for t in columns]),
            Q_t=shaped([t.Q_t for t in columns]),
            Q_tt=shaped([t.Q_tt for t in columns]),
            Q_st=shaped([t.R for t in columns]),
            delta=shaped([t.delta for t in columns]),
            log_evidence=sum(t.log_evidence for t in columns),
            log_evidence_source=float(sum(f.log_evidence for f in self.fits)),
            loo=float(self.loo_losses().mean()),
            mean=mean,
            samples_per_dimension=p.samples_per_dimension,
            status=status,
            n_iter=sum(t.n_iter for t in columns) + sum(f.n_iter for f in self.fits),
            residual=max([t.residual for t in columns] + [f.residual for f in self.fits]),
            message=message or status.sentence,
            **errors,
        )


def _task(data: Data, name: str) -> tuple[Task, bool]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (X, y), got {type(data).__name__}")
    X = as_float_array(data[0], f"{name} X", ndim=2)
    y = as_float_array(data[1], f"{name} y", ndim=(1, 2))
    if not X.size:
        raise ValueError(f"{name} X must have samples and features, got shape {X.shape}")
    is_flat = y.ndim == 1
    if is_flat:
        y = y[:, None]
    check_shape(y, (len(X), None), f"{name} y")
    if not y.shape[1]:
        raise ValueError(f"{name} y must have at least one output, got shape {y.shape}")
    return Task(X, y), is_flat


def expect_model(model: object) -> None:
    """Refuse anything but a model."""
    if not isinstance(model, WideNetModel):
        raise TypeError(f"model must be a WideNetModel, got {type(model).__name__}")


def _checked(solution: Solution, message: str, stacklevel: int = 4) -> WideNetTheory:
    result = solution.result(message)
    report_status(result.status, result.residual, "solve", stacklevel=stacklevel)
    several = max([t.n_minima for t in solution.columns] + [f.n_minima for f in solution.fits])
    if several > 1:
        warnings.warn(
            f"the single-task action has {several} minima; the lowest is taken",
            ValidityWarning,
            stacklevel=stacklevel - 1,
        )
    return result


def solve(
    model: WideNetModel,
    target: Data,
    source: Data | None = None,
    test: Data | None = None,
) -> WideNetTheory:
    r"""Order parameters, predictor and errors of the target network at one coupling.

    The network of infinite width is a Gaussian process with kernel K. At finite width its kernel
    is multiplied by an order parameter, :math:`Q_s` for the source, which minimises

    .. math:: S_s = Q_s - \log Q_s + \frac1{N_1} [\log\det A_s + y_s^T A_s^{-1} y_s],
        \quad A_s = T_s + Q_s K_{ss} / \lambda_1.

    The target has the prior mean :math:`Q_{st} \mu`, with :math:`\mu = K_{ts} A_s^{-1} y_s /
    \lambda_1`, and the covariance :math:`D = T_t + (Q_t K_d - Q_{tt} K_o) / \lambda_1`, where
    :math:`K_d` and :math:`K_o` are the kernels of one run and of two runs that share a source.
    :math:`Q_{st}, Q_{tt}` and :math:`\delta = Q_t - Q_{tt}` solve the saddle-point equations of
    the Franz-Parisi potential, after [1]_ and, for a single task, [2]_; derived here, as is the
    treatment of activations of nonzero mean.

    Parameters
    ----------
    model : WideNetModel
        Width, activation, prior, temperatures and coupling.
    target : tuple of array_like
        ``(X, y)`` of shapes (n, n_features) and (n,) or (n, n_outputs). Several outputs are
        separate networks.
    source : tuple of array_like or None, default=None
        The same for the source; one output serves all outputs of the target. None is the
        random-anchor control: the target is pulled towards a draw from the prior.
    test : tuple of array_like or None, default=None
        Points at which to predict, and their labels.

    Returns
    -------
    WideNetTheory
        Order parameters, evidence, leave-one-out loss, and errors on ``test``.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, or a kernel is singular at temperature zero.
    TypeError
        If ``model`` is not a `WideNetModel` or data are not pairs of real arrays.
    NumericalError
        If a covariance is not positive definite.

    Warns
    -----
    ValidityWarning
        If a nonlinear network has more than 2 samples per effective input dimension
        :math:`(\operatorname{tr} \Gamma)^2 / \operatorname{tr} \Gamma^2`, or frozen features are
        fewer than the rank of the target kernel.
    ConvergenceWarning
        If the saddle-point equations are not solved to 1e-10.

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134
       (2025) 177301.
    .. [2] R. Pacelli et al., "A statistical mechanics framework for Bayesian deep neural networks
       beyond the infinite-width limit", Nat. Mach. Intell. 5 (2023) 1497-1507.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, solve
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> source = (X[20:], X[20:] @ teacher)
    >>> theory = solve(WideNetModel(100, gamma=1.0), (X[:20], X[:20] @ teacher), source)
    >>> bool(theory.Q_st > 0), str(theory.status)
    (True, 'converged')
    """
    expect_model(model)
    problem = Problem(target, source, test)
    message = problem.warn(model)
    return _checked(problem.solve(model), message)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GammaPath(Result):
    """Theory along a grid of couplings, as `gamma_path` returns it (see `solve`).

    Parameters
    ----------
    status : Status
        The worst over the grid.
    n_iter : int
        Evaluations of the saddle-point equations, in all.
    residual : float
        Largest residual.
    message : str
        What happened, in words.
    model : WideNetModel
        What all couplings share.
    gamma : ndarray of shape (n_gammas,)
        The couplings, increasing.
    theory : tuple of WideNetTheory
        The result at each coupling.
    loo_losses : ndarray of shape (n_gammas, n_target)
        Leave-one-out loss of every target sample.
    control : GammaPath or None
        The same with a random anchor in place of the source.
    """

    model: WideNetModel
    gamma: FloatArray
    theory: tuple[WideNetTheory, ...]
    loo_losses: FloatArray
    control: GammaPath | None

    def __getitem__(self, name: str) -> FloatArray:
        return np.array([getattr(t, name) for t in self.theory])

    def to_frame(self) -> Any:
        """One row per coupling, the control's errors beside (needs pandas)."""
        pd = load("pandas", "to_frame")

        names = [f.name for f in dataclasses.fields(WideNetTheory)]
        skipped = {"model", "mean", "message", "samples_per_dimension", "log_evidence_source"}
        columns = {n: [getattr(t, n) for t in self.theory] for n in names if n not in skipped}
        if self.control is not None:
            for name in ("loo", "test_error"):
                columns[f"control_{name}"] = list(self.control[name])
        return pd.DataFrame(columns, index=pd.Index(self.gamma, name="gamma"))


def walk(problem: Problem, model: WideNetModel, gammas: Sequence[float]) -> list[Solution]:
    """Solutions along increasing couplings, each started from the one before."""
    solutions: list[Solution] = []
    for gamma in gammas:
        at = dataclasses.replace(model, gamma=gamma)
        solutions.append(problem.solve(at, solutions[-1] if solutions else None))
    return solutions


def check_gammas(gammas: Iterable[float]) -> list[float]:
    """Couplings in increasing order, without repetitions."""
    values = sorted({check_real(g, "gammas", low=0.0, allow_inf=True) for g in gammas})
    if not values:
        raise ValueError("gammas must hold at least one coupling")
    return values


def path_of(model: WideNetModel, solutions: list[Solution], control: GammaPath | None,
            message: str = "") -> GammaPath:  # fmt: skip
    theory = tuple(s.result(message) for s in solutions)
    status = max((t.status for t in theory), key=list(Status).index)
    return GammaPath(
        model=model,
        gamma=np.array([t.model.gamma for t in theory]),
        theory=theory,
        loo_losses=np.array([s.loo_losses() for s in solutions]),
        control=control,
        status=status,
        n_iter=sum(t.n_iter for t in theory),
        residual=max(t.residual for t in theory),
        message=message or status.sentence,
    )


def gamma_path(
    model: WideNetModel,
    target: Data,
    source: Data,
    gammas: Iterable[float] | None = None,
    test: Data | None = None,
    *,
    control: bool = True,
) -> GammaPath:
    """Solve a grid of couplings with one factorisation of the source.

    Parameters
    ----------
    model : WideNetModel
        What the couplings share; its ``gamma`` is not used.
    target, source : tuple of array_like
        As in `solve`.
    gammas : iterable of float or None, default=None
        Couplings, sorted before use; None takes (0, 0.1, 0.3, 1, 3, 10, 30, 100, inf) * ``lam0``.
    test : tuple of array_like or None, default=None
        As in `solve`.
    control : bool, default=True
        Also solve the random-anchor control. What it gains over coupling 0 is regularisation;
        what the source gains beyond it is knowledge.

    Returns
    -------
    GammaPath
        One `WideNetTheory` per coupling; ``path["loo"]`` stacks a field.

    Raises
    ------
    ValueError
        As in `solve`, or if a coupling is negative.
    TypeError
        As in `solve`.

    Warns
    -----
    ValidityWarning
        As in `solve`.

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, Phys. Rev. Lett. 134 (2025) 177301;
       the control is derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, gamma_path
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> path = gamma_path(WideNetModel(50), *data, gammas=[0, 1, 10])
    >>> float(path.gamma[path["loo"].argmin()])
    10.0
    """
    expect_model(model)
    grid = check_gammas([g * model.lam0 for g in GAMMAS] if gammas is None else gammas)
    problem = Problem(target, source, test)
    message = problem.warn(dataclasses.replace(model, gamma=grid[-1]))
    anchor = None
    if control:
        alone = problem.without_source()
        anchor = path_of(model, walk(alone, model, grid), None)
    path = path_of(model, walk(problem, model, grid), anchor, message)
    report_status(path.status, path.residual, "gamma_path")
    return path


_CURVE_FIELDS = (
    "Q_s", "Q_t", "Q_tt", "Q_st", "delta", "log_evidence", "log_evidence_source", "loo",
)  # fmt: skip
_ERROR_FIELDS = ("bias", "thermal", "quenched", "test_error")


def curve(
    model: WideNetModel,
    target: Data,
    source: Data | None = None,
    test: Data | None = None,
    **axes: Iterable[float],
) -> Sweep:
    """Solve a model over a grid of its parameters on the same data.

    Parameters
    ----------
    model : WideNetModel
        What every point has in common.
    target, source, test : tuple of array_like
        As in `solve`.
    **axes : iterable of float
        Values of any parameters of the model. Widths, temperatures and couplings share one
        reduction of the source kernel.

    Returns
    -------
    Sweep
        Scalar fields of `WideNetTheory` and ``status`` on the grid; order parameters only where
        there is one output.

    Raises
    ------
    ValueError
        If a name is not a parameter, an axis is empty, or a value is outside its domain.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, curve
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> sweep = curve(WideNetModel(50), *data, width=[20, 200, 2000], gamma=[0.0, 1.0])
    >>> sweep["loo"].shape
    (3, 2)
    """
    expect_model(model)
    problem = Problem(target, source, test)
    names: tuple[str, ...] = _CURVE_FIELDS if problem.is_flat else _CURVE_FIELDS[5:]
    if test is not None:
        names += _ERROR_FIELDS
    # lam0 and the activation change the source kernel: outermost, whatever the order of the axes
    order: Mapping[str, Iterable[float]] = {
        name: axes[name] for name in sorted(axes, key=lambda n: n not in ("lam0", "activation"))
    }
    sweep = sweep_model(lambda m: problem.solve(m).result(), model, order, names)
    back = [list(order).index(name) for name in axes]
    return Sweep(
        {name: sweep.axes[name] for name in axes},
        {name: np.ascontiguousarray(v.transpose(back)) for name, v in sweep.values.items()},
        sweep.title,
    )
