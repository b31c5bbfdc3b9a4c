r"""Franz-Parisi theory of transfer between two networks of finite width.

Kernel matrices alone give the order parameters, the predictor with its error bars and the
leave-one-out loss; no network is trained. Exact for the linear network as width and samples grow
together; for other activations it rests on the Gaussian equivalence of the hidden layer, which
holds while samples do not far exceed the dimension of the inputs (see `solve`). The equations are
derived here (`derivations/widenet#source-and-target`) from the model of Ingrosso et al. (2025),
whose order parameters they share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status, Sweep, sweep_model
from retemper._validation import FloatArray, check_choice, check_kind
from retemper.widenet.chains import are_signs
from retemper.widenet.kernel_problem import Input, Source, problem_of
from retemper.widenet.model import WideNetModel
from retemper.widenet.problem import (
    Data,
    Problem,
    Solution,
    labels_off_centre,
    report_validity,
)
from retemper.widenet.rates import loo_error_rate, positive, wrong_share

__all__ = ["WideNetTheory", "curve", "solve", "theory_of"]

FloatOrArray: TypeAlias = float | FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WideNetTheory(Result):
    r"""What theory says about one coupling (see `solve`).

    Errors are means over the test points, summed over outputs; order parameters are arrays of
    shape (n_outputs,) where labels have several columns, and symmetric matrices of shape
    (n_outputs, n_outputs) where these share their hidden layer.

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
        Overlap of the read-outs of source and target. Q_s and Q_st have shape (n_sources,) for
        several sources. Q_tt and Q_st are zero at coupling 0 for an odd
        activation; ReLU and GELU read-outs share what the mean of the labels asks for. A run of an
        elastic coupling is both networks, so that Q_tt is no more than that.
    delta : float or ndarray
        Q_t - Q_tt.
    Q_layers : ndarray of shape (n_hidden_layers,) or (n_outputs, n_hidden_layers)
        Order parameters of the target's layers, from the first up; the last is Q_t. Where outputs
        share their hidden layer, the eigenvalues of Q_t.
    log_evidence : float
        Expected log evidence of the target labels, given a source network; nats. Where the coupling
        is elastic, given the labels of the source.
    log_evidence_source : float
        Log evidence of the source labels; nats. Zero without a source.
    loo : float
        Leave-one-out estimate of ``test_error``, from the target samples alone.
    bias : float or None
        Mean squared error of the mean prediction.
    thermal : float or None
        Mean variance of the output of a target network, the source network fixed.
    quenched : float or None
        Mean variance of the mean target over source networks; zero where the coupling is elastic.
    test_error : float or None
        ``bias + thermal + quenched``: the error of a random target network. None without test data.
    error_rate : float or None
        Share of wrong signs, over test points, of a random target network. None unless there is one
        output and every test label is -1 or +1.
    probability : ndarray of shape (n_test,) or None
        Probability that the output of a random target network is positive; None for several
        outputs.
    loo_error_rate : float or None
        Leave-one-out estimate of ``error_rate``, where target labels are -1 or +1.
    mean : ndarray or None
        Mean prediction at the test points, of shape (n_test,) or (n_test, n_outputs).
    samples_per_dimension : float
        Samples of the larger task per effective dimension of the inputs; a nonlinear network is
        outside the theory beyond 2.

    See Also
    --------
    solve, WideNetSimulation

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, solve
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> source = (X[20:], X[20:] @ teacher)
    >>> theory = solve(WideNetModel(100, gamma=1.0), (X[:20], X[:20] @ teacher), source)
    >>> bool(0 < theory.Q_tt < theory.Q_t)
    True
    """

    _later: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "Q_layers": lambda self: np.asarray(self.Q_t)[..., None],
        **dict.fromkeys(("error_rate", "probability", "loo_error_rate"), lambda _: None),
    }

    model: WideNetModel
    Q_s: Any
    Q_t: Any
    Q_tt: Any
    Q_st: Any
    delta: Any
    Q_layers: FloatArray
    log_evidence: float
    log_evidence_source: float
    loo: float
    bias: float | None
    thermal: float | None
    quenched: float | None
    test_error: float | None
    error_rate: float | None
    probability: FloatArray | None
    loo_error_rate: float | None
    mean: Any
    samples_per_dimension: float


def theory_of(solution: Solution, message: str = "") -> WideNetTheory:
    """What a solution says, with its errors on the test data of the problem."""
    p, columns, fits = solution.problem, solution.columns, solution.fits
    status = max((t.status for t in columns), key=list(Status).index)
    errors: dict[str, Any] = dict.fromkeys(("bias", "thermal", "quenched", "test_error"))
    mean = probability = rate = None
    if p.test is not None:
        parts = solution.predict(p.test.X)
        bias = float(np.square(parts.mean - p.test.y).mean(0).sum())
        thermal, quenched = (float(v.mean(0).sum()) for v in (parts.thermal, parts.quenched))
        errors = {
            "bias": bias,
            "thermal": thermal,
            "quenched": quenched,
            "test_error": bias + thermal + quenched,
        }
        mean = parts.mean[:, 0] if p.is_flat else parts.mean
        if p.target.y.shape[1] == 1:
            probability = positive(parts)[:, 0]
            rate = wrong_share(parts, p.test.y)

    def shaped(values: list[float]) -> FloatOrArray:
        if np.ndim(values[0]) == 2:  # matrices over the outputs
            return np.asarray(values[0])
        if solution.turn is not None:
            return solution.turn.matrix(np.array(values))
        return values[0] if p.is_flat else np.array(values)

    layers = np.array([t.Q_layers for t in columns])
    return WideNetTheory(
        model=solution.kernels.model,
        Q_s=shaped([t.Q_s for t in columns]),
        Q_t=shaped([t.Q_t for t in columns]),
        Q_tt=shaped([t.Q_tt for t in columns]),
        Q_st=shaped([t.Q_st for t in columns]),
        delta=shaped([t.delta for t in columns]),
        Q_layers=layers[0] if p.is_flat or len(layers) < p.target.y.shape[1] else layers,
        log_evidence=sum(t.log_evidence for t in columns),
        log_evidence_source=float(sum(f.log_evidence for f in fits)),
        loo=float(solution.loo_loss_rows().mean()),
        error_rate=rate,
        probability=probability,
        loo_error_rate=loo_error_rate(columns[0]) if p.target.y.shape[1] == 1 else None,
        mean=mean,
        samples_per_dimension=p.samples_per_dimension,
        status=status,
        n_iter=solution.n_iter + sum(f.n_iter for f in fits),
        residual=max(
            [t.residual for t in columns]
            + [f.residual for f in fits]
            + ([] if solution.turn is None else [solution.turn.residual])
        ),
        message=message or status.sentence,
        **errors,
    )


def solve(
    model: WideNetModel,
    target: Input,
    source: Source | None = None,
    test: Data | None = None,
    *,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
) -> WideNetTheory:
    r"""Order parameters, predictor and errors of the target network at one coupling.

    The network of infinite width is a Gaussian process with kernel K. At finite width its kernel
    is multiplied by an order parameter, :math:`Q_s` for the source, which minimises

    .. math:: S_s = Q_s - \log Q_s + \frac1{N_1} [\log\det A_s + y_s^T A_s^{-1} y_s],
        \quad A_s = T_s + Q_s K_{ss} / \lambda_1.

    The target has the prior mean :math:`Q_{st} \mu`, with :math:`\mu = K_{ts} A_s^{-1} y_s /
    \lambda_1`, and the covariance :math:`D = T_t + (Q_t K_d - Q_{tt} K_o) / \lambda_1`, where
    :math:`K_d` and :math:`K_o` are the kernels of one run and of two runs that share a source.
    :math:`Q_{st}, Q_{tt}` and :math:`\delta = Q_t - Q_{tt}` solve the saddle-point equations of the
    Franz-Parisi potential, after [1]_ and, for a single task, [2]_; derived here
    (`derivations/widenet#source-and-target`). An activation of mean m (ReLU, GELU) adds :math:`Q'_s
    m m^T / \lambda_1` to :math:`A_s`, and the like to D, where :math:`Q'` is the part of an order
    parameter that does not come from the sum of the read-outs, which the mean of the labels sets; K
    is then the centred kernel (derived here: `derivations/widenet#activations-with-a-mean`). Above
    one hidden layer the order parameter of such an activation is the joint density of read-out and
    type of the last layer's units (derived here: `derivations/widenet#several-hidden-layers`).

    With ``coupling="elastic"`` the target pulls the source too: both are one posterior, whose order
    parameters :math:`Q_s, Q_t, Q_{st}` minimise one action, with several sources and outputs too
    (derived here:
    `derivations/widenet#elastic-coupling`; the word is that of [3]_, of whose theory the abstract
    alone could be read).

    Parameters
    ----------
    model : WideNetModel
        Width, activation, prior, temperatures and coupling.
    target : tuple of array_like, KernelTasks or callable
        ``(X, y)`` of shapes (n, n_features) and (n,) or (n, n_outputs). Several outputs are
        separate networks, or one hidden layer with ``heads="shared"``. `KernelTasks`, or a function
        of the coupling that gives them, are kernels of your own; ``source`` and ``test`` are then
        None.
    source : tuple of array_like, SeveralSources or None, default=None
        The same for the source; one output serves all outputs of the target. `SeveralSources` pull
        each with its own coupling. None is the random-anchor control: the target is pulled towards
        a draw from the prior.
    test : tuple of array_like or None, default=None
        Points at which to predict, and their labels.
    n_jobs : int or None, default=None
        Threads of the kernels; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the equations are not solved, or outside the range of the theory.

    Returns
    -------
    WideNetTheory
        Order parameters, evidence, leave-one-out loss, and errors on ``test``.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, or a kernel is singular at temperature zero.
    TypeError
        If ``model`` is not a `WideNetModel`, data are not pairs of real arrays, or kernels are
        given beside data.
    NumericalError
        If a covariance is not positive definite, or ``on_failure="raise"`` and the solution is not
        valid.

    Warns
    -----
    ValidityWarning
        If a nonlinear network has more than 2 samples per effective input dimension
        :math:`(\operatorname{tr} \Gamma)^2 / \operatorname{tr} \Gamma^2`, frozen features are fewer
        than the rank of the target kernel, or the mean of the labels takes more than 30 % of the
        squared read-outs of a ReLU or GELU network (20 % of two hidden layers, 2 % of more).
    ConvergenceWarning
        If the saddle-point equations are not solved to 1e-10.

    See Also
    --------
    gamma_path, simulate, compare

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134
       (2025) 177301.
    .. [2] R. Pacelli et al., "A statistical mechanics framework for Bayesian deep neural networks
       beyond the infinite-width limit", Nat. Mach. Intell. 5 (2023) 1497-1507.
    .. [3] C. Lauditi, B. Bordelon and C. Pehlevan, "Transfer Learning in Infinite Width Feature
       Learning Networks", arXiv:2507.04448v1 (2025).

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
    check_kind(model, "model", WideNetModel)
    return _solve(problem_of(target, source, test, model, n_jobs=n_jobs), model, on_failure)


def _solve(problem: Problem, model: WideNetModel, on_failure: OnFailure) -> WideNetTheory:
    said = problem.validity(model)
    solution = problem.solve(model)
    said += labels_off_centre([solution])
    if solution.n_minima > 1:
        said.append(
            f"the single-task action has {solution.n_minima} minima, where the theory assumes one: "
            "the lowest is taken, and sampled networks may sit in another"
        )
    result = theory_of(solution, "; ".join(said))
    report_status(result.status, result.residual, "solve", on_failure=on_failure, stacklevel=4)
    report_validity(said, on_failure=on_failure, stacklevel=4)
    return result


_FIELDS = (
    "Q_s", "Q_t", "Q_tt", "Q_st", "delta", "log_evidence", "log_evidence_source", "loo",
)  # fmt: skip
_ERROR_FIELDS = ("bias", "thermal", "quenched", "test_error")
_RATES = ("error_rate", "loo_error_rate")


def curve(
    model: WideNetModel,
    axes: Mapping[str, Iterable[Any]],
    target: Input,
    source: Source | None = None,
    test: Data | None = None,
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Solve a model over a grid of its parameters on the same data.

    Parameters
    ----------
    model : WideNetModel
        What every point has in common.
    axes : mapping of str to iterable
        Values of any fields of the model. Widths, temperatures and couplings share one reduction
        of the source kernel.
    target, source, test : tuple of array_like
        As in `solve`.
    quantities : sequence of str or None, default=None
        Numbers of `WideNetTheory` to keep; None keeps the order parameters, the evidence and
        ``loo``, and the errors where there are test data. Where labels are -1 and +1 there are also
        ``error_rate`` and ``loo_error_rate``.
    n_jobs : int or None, default=None
        Threads of the kernels; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points that are not solved, or lie outside the range of the theory: one
        warning for all of them, an error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points).

    Returns
    -------
    Sweep
        The quantities on the grid, with ``status`` and the truth value ``valid``; order parameters
        have a last axis of outputs where there are several.

    Raises
    ------
    ValueError
        If a name is not a field of the model, an axis is empty, a value is outside its domain, or
        there is no such quantity.
    NumericalError
        If ``on_failure="raise"`` and a point is not valid.

    Warns
    -----
    ValidityWarning
        If points lie outside the range of the theory: once, with their number.
    ConvergenceWarning
        If points are not solved, and none is outside the range.

    See Also
    --------
    solve, gamma_path

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, curve
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 40)), rng.normal(size=40) / 40**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> axes = {"width": [30, 200, 2000], "gamma": [0.0, 1.0]}
    >>> sweep = curve(WideNetModel(50), axes, *data)
    >>> sweep["loo"].shape, bool(sweep["valid"].all())
    ((3, 2), True)
    """
    progress = as_callback(progress, "curve")
    check_kind(model, "model", WideNetModel)
    gammas = [float(g) for g in axes["gamma"]] if callable(target) and "gamma" in axes else []
    first = dataclasses.replace(model, gamma=max([model.gamma, *gammas]))
    problem = problem_of(target, source, test, first, n_jobs=n_jobs)
    known = _FIELDS if problem.test is None else _FIELDS + _ERROR_FIELDS
    names = known if quantities is None else tuple(quantities)
    tasks = (problem.test, problem.target)
    rates = tuple(
        name
        for name, task in zip(_RATES, tasks, strict=True)
        if task is not None and task.y.shape[1] == 1 and are_signs(task.y)
    )
    for name in names:
        check_choice(name, "quantities", known + rates)
    # lam0 and the activation change the source kernel: outermost, whatever the order of the axes
    order = axes
    if isinstance(axes, Mapping):
        slow = ("lam0", "activation")
        order = {name: axes[name] for name in sorted(axes, key=lambda n: n not in slow)}
    sweep = sweep_model(
        lambda point: _solve(problem, point, "warn"),
        model,
        order,
        names,
        on_failure=on_failure,
        progress=progress,
    )
    back = [list(sweep.axes).index(name) for name in axes]
    rest = len(back)

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values.transpose(*back, *range(rest, values.ndim)))

    return dataclasses.replace(
        sweep,
        axes={name: sweep.axes[name] for name in axes},
        values={name: turned(v) for name, v in sweep.values.items()},
        options={"target": target, "source": source, "test": test},
    )
