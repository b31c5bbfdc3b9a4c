"""Hidden layers of a given network, forecast by linearised training before it is trained."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_kind, check_shape
from retemper.phases.tasks import one_hot

if TYPE_CHECKING:
    from retemper.phases.trainer import MLPTrainer

__all__ = ["NetworkForecast", "network_forecast"]

ph = core.phases

_KERNEL_ROWS = 48
_RTOL, _ATOL, _MAX_STEPS = 1e-5, 1e-7, 100_000
#: Movement of the tangent kernel up to which the forecast is believed.
_STILL = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NetworkForecast(Result):
    """Hidden layers of a network, as `network_forecast` returns them (see `network_forecast`).

    Parameters
    ----------
    status : Status
        ``invalid`` if the tangent kernel moves by more than 0.02 at some step, or the integration
        stopped before the last one: the entries after that are NaN.
    n_iter : int
        Steps of the integration.
    residual : float
        Largest movement of the tangent kernel.
    message : str
        Up to which step the forecast holds, in words.
    steps : list of int
        Checkpoints of the trainer.
    times : ndarray of shape (T,)
        Times of gradient flow at these steps: steps times learning rate over 1 - momentum.
    fuv, fuv_floor : dict of str to ndarray of shape (T,)
        Fraction of unexplained input variance of every hidden layer, as `reconstruction_score`
        measures it.
    kernel_movement : ndarray of shape (T,)
        One minus the cosine of the tangent kernels at the start and at the forecast parameters.
    valid : ndarray of bool of shape (T,)
        Where it is at most 0.02, from the start on.

    See Also
    --------
    network_forecast, PhaseForecast

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import MLPTrainer, network_forecast
    >>> X = np.random.default_rng(0).normal(size=(80, 6))
    >>> net = MLPTrainer((4,), activation="tanh", loss="squared", momentum=0.0, n_steps=16)
    >>> found = network_forecast(net, X[:40], X[:40, 0], X[40:])
    >>> found.steps, found.fuv["hidden1"].shape, bool(found.valid[0])
    ([0, 1, 2, 4, 8, 16], (6,), True)
    """

    steps: list[int]
    times: FloatArray
    fuv: dict[str, FloatArray]
    fuv_floor: dict[str, FloatArray]
    kernel_movement: FloatArray
    valid: np.ndarray


def network_forecast(
    network: MLPTrainer, X: ArrayLike, y: ArrayLike, X_eval: ArrayLike
) -> NetworkForecast:
    r"""What hidden layers of a network will hold, before it is trained.

    Training is linearised around the initial weights: the outputs are of first order in the
    parameters, which follow the gradient flow of the loss. The activations are those of the network
    at these parameters.

    Parameters
    ----------
    network : MLPTrainer
        The network and how it is to be trained, fitted or not, by either loss. Its batches are not
        looked at: training is taken for the flow of all rows.
    X : array_like of shape (n, p)
        Rows it is to be trained on.
    y : array_like of shape (n,) or (n, k)
        Their labels for the softmax loss, real targets for the squared one.
    X_eval : array_like of shape (m, p)
        Rows on which the layers are measured.

    Returns
    -------
    NetworkForecast
        A curve for every hidden layer, and where to believe it.

    Raises
    ------
    TypeError
        If ``network`` is not an `MLPTrainer`, or an argument is not an array of real numbers.
    ValueError
        If shapes disagree, there is no hidden layer, or one class only.

    See Also
    --------
    phase_forecast, MLPTrainer, reconstruction_score

    Notes
    -----
    After Jacot et al. (2018) [1]_ for the flow; weight decay, cross-entropy and what a layer then
    holds are derived here (`derivations/phases#forecast-by-the-tangent-kernel`). The flow is
    integrated to a relative error of 1e-5 a step. Its cost grows as rows times parameters: products
    with the Jacobian go through the layers, and it is never made.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel and C. Hongler, "Neural Tangent Kernel: Convergence and
       Generalization in Neural Networks", NeurIPS 31 (2018).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import MLPTrainer, network_forecast
    >>> X, digit = load_digits(return_X_y=True)
    >>> X, parity = X / 16.0 - 0.3, digit % 2 - 0.5
    >>> net = MLPTrainer(
    ...     (16,),
    ...     activation="tanh",
    ...     loss="squared",
    ...     learning_rate=0.02,
    ...     momentum=0.0,
    ...     batch_size=100,
    ...     n_steps=64,
    ...     checkpoints=[0, 64],
    ... )
    >>> guess = network_forecast(net, X[:100], parity[:100], X[100:600])
    >>> seen = net.fit(X[:100], parity[:100]).activations(X[100:600])["hidden1"]
    >>> from retemper.phases import reconstruction_score
    >>> bool(abs(guess.fuv["hidden1"][1] - reconstruction_score(seen, X[100:600]).fuv) < 0.01)
    True
    """
    from retemper.phases.instrument import reconstruction_score
    from retemper.phases.trainer import MLPTrainer

    check_kind(network, "network", MLPTrainer)
    if not len(network.hidden):
        raise ValueError("network must have a hidden layer")
    inputs, rows = as_float_array(X, "X", ndim=2), as_float_array(X_eval, "X_eval", ndim=2)
    if network.loss == "softmax":
        targets = one_hot(y)[0]
    else:
        targets = as_float_array(y, "y", ndim=(1, 2))
        targets = targets[:, None] if targets.ndim == 1 else targets
    check_shape(targets, (inputs.shape[0], None), "y")
    check_shape(rows, (None, inputs.shape[1]), "X_eval")
    for name, given in (("X", inputs), ("X_eval", rows)):
        if not len(given):
            raise ValueError(f"{name} must have at least one row, got none")
    start = copy.copy(network)
    start.n_steps, start.checkpoints = 0, None
    start.fit(inputs, y)  # checks, and draws the weights
    steps = network._wanted_steps()
    times = np.array(steps) * network.learning_rate / (1.0 - network.momentum)
    path, n_iter, stopped = _linear_path(start, inputs, targets, times)
    some = rows[:_KERNEL_ROWS]
    still = _kernel(start, some)
    scores = {
        name: {layer: np.full(times.size, np.nan) for layer in start.layer_names_[:-1]}
        for name in ("fuv", "fuv_floor")
    }
    moved = np.full(times.size, np.nan)
    for i, parameters in enumerate(path):
        start.parameters_[0] = parameters
        for layer, hidden in start.activations(rows).items():
            if layer != "output":
                score = reconstruction_score(hidden, rows)
                scores["fuv"][layer][i] = score.fuv
                scores["fuv_floor"][layer][i] = score.fuv_floor
        kernel = _kernel(start, some)
        cosine = (kernel * still).sum() / np.linalg.norm(kernel) / np.linalg.norm(still)
        moved[i] = max(0.0, 1.0 - float(cosine))
    valid = np.logical_and.accumulate(moved <= _STILL)
    held = steps[: int(valid.sum())]
    until = f"the forecast holds up to step {held[-1]}" if held else "no step is forecast"
    message = "the tangent kernel stays" if valid.all() else f"the tangent kernel moves: {until}"
    if stopped:
        message = f"{stopped}, later entries are NaN: {until}"
    return NetworkForecast(
        status=Status.CONVERGED if valid.all() else Status.INVALID, n_iter=n_iter,
        residual=float(np.max(moved[: len(path)], initial=0.0)), message=message, steps=steps,
        times=times, fuv=scores["fuv"], fuv_floor=scores["fuv_floor"], kernel_movement=moved,
        valid=valid,
    )  # fmt: skip


def _kernel(net: MLPTrainer, X: FloatArray) -> FloatArray:
    """Products of these derivatives, (n, k, n, k), without the derivatives themselves."""
    layers = net.weights()
    a = [X, *net.activations(X).values()]
    n, k = a[-1].shape
    delta = np.broadcast_to(np.eye(k), (n, k, k))
    out = np.zeros((n, k, n, k))
    for i in range(len(layers) - 1, -1, -1):
        out += np.tensordot(delta, delta, axes=(2, 2)) * (a[i] @ a[i].T + 1.0)[:, None, :, None]
        if i:
            delta = (delta @ layers[i][0].T) * _slope(net, a[i])[:, None, :]
    return out


def _slope(net: MLPTrainer, a: FloatArray) -> FloatArray:
    """Slope of hidden units whose values are a."""
    return np.asarray((a > 0.0) * 1.0 if net.activation == "relu" else 1.0 - a**2)


def _linear_path(
    net: MLPTrainer, X: FloatArray, Y: FloatArray, times: FloatArray
) -> tuple[FloatArray, int, str]:
    """Parameters of linearised training at the times it reached (T, P), steps, what stopped it."""
    start = net.parameters_[0]
    found = ph.linearised_flow(
        problem=net._problem(), start=start, X=X, Y=Y, times=times, rtol=_RTOL, atol=_ATOL,
        max_steps=_MAX_STEPS,
    )  # fmt: skip
    stopped = ""
    if len(found["y"]) < times.size:
        stopped = f"the flow stopped at time {found['time']:.4g} ({found['status']})"
    return start + found["y"], int(found["n_steps"]), stopped
