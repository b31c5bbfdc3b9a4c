"""Hidden layers of a given network, forecast from its tangent kernel before it is trained."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_kind, check_shape
from retemper.phases.theory.layer import decay

if TYPE_CHECKING:
    from retemper.phases.trainer import MLPTrainer

__all__ = ["NetworkForecast", "network_forecast"]

_LARGEST_JACOBIAN = 50_000_000
_KERNEL_ROWS = 48
#: Movement of the tangent kernel up to which the forecast is believed.
_STILL = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NetworkForecast(Result):
    """Hidden layers of a network, as `network_forecast` returns them (see `network_forecast`).

    Parameters
    ----------
    status : Status
        ``invalid`` if the tangent kernel moves by more than 0.02 at some step.
    n_iter : int
        Directions of the parameters that training can move.
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

    Training is linearised around the initial weights: gradient flow of half the mean squared error
    moves the parameters along the rows of the Jacobian, in closed form. The activations are those
    of the network at these parameters.

    Parameters
    ----------
    network : MLPTrainer
        The network and how it is to be trained, fitted or not, with ``loss="squared"``. Its batches
        are not looked at: training is taken for the flow of all rows.
    X : array_like of shape (n, p)
        Rows it is to be trained on.
    y : array_like of shape (n,) or (n, k)
        Their targets.
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
        If shapes disagree, the loss is not "squared", there is no hidden layer, or the Jacobian
        has more than 5e7 entries.

    See Also
    --------
    phase_forecast, MLPTrainer, reconstruction_score

    Notes
    -----
    After Jacot et al. (2018) [1]_ for the flow; the movement that weight decay adds, and what a
    layer then holds, is derived here (`derivations/phases#forecast-by-the-tangent-kernel`).

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
    if network.loss != "squared":
        raise ValueError(f"network must have loss='squared', got {network.loss!r}")
    if not len(network.hidden):
        raise ValueError("network must have a hidden layer")
    inputs, rows = as_float_array(X, "X", ndim=2), as_float_array(X_eval, "X_eval", ndim=2)
    targets = as_float_array(y, "y", ndim=(1, 2))
    targets = targets[:, None] if targets.ndim == 1 else targets
    check_shape(targets, (inputs.shape[0], None), "y")
    check_shape(rows, (None, inputs.shape[1]), "X_eval")
    for name, given in (("X", inputs), ("X_eval", rows)):
        if not len(given):
            raise ValueError(f"{name} must have at least one row, got none")
    start = copy.copy(network)
    start.n_steps, start.checkpoints = 0, None
    start.fit(inputs, targets)  # checks, and draws the weights
    theta = start.parameters_[0]
    if targets.size * theta.size > _LARGEST_JACOBIAN:
        raise ValueError(
            f"X has {inputs.shape[0]} rows, for which the Jacobian of {targets.shape[1]} outputs "
            f"and {theta.size} parameters is too large: take fewer rows"
        )
    steps = network._wanted_steps()
    times = np.array(steps) * network.learning_rate / (1.0 - network.momentum)
    path, rank = _linear_path(start, inputs, targets, times)
    some = rows[:_KERNEL_ROWS]
    still = _kernel(start, some)
    scores: dict[str, dict[str, list[float]]] = {
        name: {layer: [] for layer in start.layer_names_[:-1]} for name in ("fuv", "fuv_floor")
    }
    moved = np.empty(times.size)
    for i, parameters in enumerate(path):
        start.parameters_[0] = parameters
        for layer, hidden in start.activations(rows).items():
            if layer != "output":
                score = reconstruction_score(hidden, rows)
                scores["fuv"][layer].append(score.fuv)
                scores["fuv_floor"][layer].append(score.fuv_floor)
        kernel = _kernel(start, some)
        cosine = (kernel * still).sum() / np.linalg.norm(kernel) / np.linalg.norm(still)
        moved[i] = max(0.0, 1.0 - float(cosine))
    valid = np.logical_and.accumulate(moved <= _STILL)
    last = steps[int(valid.sum()) - 1]
    message = (
        "the tangent kernel stays"
        if valid.all()
        else f"the tangent kernel moves: the forecast holds up to step {last}"
    )
    return NetworkForecast(
        status=Status.CONVERGED if valid.all() else Status.INVALID, n_iter=rank,
        residual=float(moved.max()), message=message, steps=steps, times=times,
        fuv={layer: np.array(values) for layer, values in scores["fuv"].items()},
        fuv_floor={layer: np.array(values) for layer, values in scores["fuv_floor"].items()},
        kernel_movement=moved, valid=valid,
    )  # fmt: skip


def _jacobian(net: MLPTrainer, X: FloatArray) -> FloatArray:
    """Derivatives of every output of every row by the parameters, (n k, P)."""
    layers = net.weights()
    a = [X, *net.activations(X).values()]
    n, k = a[-1].shape
    delta = np.broadcast_to(np.eye(k), (n, k, k))
    parts = []
    for i in range(len(layers) - 1, -1, -1):
        weights = np.einsum("ni,nko->nkio", a[i], delta).reshape(n * k, -1)
        parts += [delta.reshape(n * k, -1), weights]
        if i:
            slope = (a[i] > 0.0) * 1.0 if net.activation == "relu" else 1.0 - a[i] ** 2
            delta = (delta @ layers[i][0].T) * slope[:, None, :]
    return np.concatenate(parts[::-1], axis=1)


def _kernel(net: MLPTrainer, X: FloatArray) -> FloatArray:
    jacobian = _jacobian(net, X)
    return np.asarray(jacobian @ jacobian.T)


def _linear_path(
    net: MLPTrainer, X: FloatArray, Y: FloatArray, times: FloatArray
) -> tuple[FloatArray, int]:
    """Parameters at every time under linearised training, (T, P), and the directions that move."""
    theta, kappa, n = net.parameters_[0], net.weight_decay, X.shape[0]
    jacobian = _jacobian(net, X)
    decays = np.concatenate(
        [
            np.repeat([1.0, 0.0], [fan_in * units, units])
            for fan_in, units in itertools.pairwise(net.sizes_)
        ]
    )
    gap = (net.activations(X)["output"] - Y).ravel()
    gradient = jacobian.T @ gap / n + kappa * decays * theta
    basis = jacobian
    if kappa > 0.0:  # weights decay and biases do not: each kind moves in its own directions
        basis = np.concatenate([jacobian * decays, jacobian * (1.0 - decays), [decays * theta]])
    turn = np.eye(theta.size)
    if basis.shape[0] < theta.size:
        turn = np.linalg.qr(basis.T)[0]
    seen = jacobian @ turn
    e, u = np.linalg.eigh(seen.T @ seen / n + kappa * (turn.T * decays) @ turn)
    e = np.where(e > 1e-14 * e.max(), e, 0.0)
    along = decay(e, times, None)[1] * (u.T @ (turn.T @ gradient))
    return theta - along @ (turn @ u).T, e.size
