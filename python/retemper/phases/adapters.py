"""scikit-learn's multilayer perceptrons, watched while they train."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._random import Seed, generator
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_kind,
    check_shape,
    naming,
)
from retemper.phases.monitor import PhaseMonitor
from retemper.phases.trainer import checkpoint_steps

__all__ = ["mlp_activations", "train_mlp_classifier"]


def mlp_activations(network: Any, X: ArrayLike) -> dict[str, FloatArray]:
    """Activations of every layer of a fitted ``MLPClassifier`` or ``MLPRegressor``.

    Parameters
    ----------
    network : MLPClassifier or MLPRegressor
        A fitted network of scikit-learn.
    X : array_like of shape (n, p)
        Inputs.

    Returns
    -------
    dict of str to ndarray
        "hidden1", ..., "output" (before the output activation), each of shape (n, units).

    Raises
    ------
    NotFittedError
        If the network is not fitted.
    ValueError
        If X has another number of features.

    See Also
    --------
    train_mlp_classifier

    Notes
    -----
    Derived here (`derivations/phases#the-instrument`).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPClassifier
    >>> from retemper.phases import mlp_activations
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    >>> network = MLPClassifier((5,), random_state=0).partial_fit(X, y, classes=[0, 1])
    >>> {name: rows.shape for name, rows in mlp_activations(network, X).items()}
    {'hidden1': (20, 5), 'output': (20, 1)}
    """
    if not hasattr(network, "coefs_"):
        from retemper.exceptions import NotFittedError

        raise NotFittedError("network is not fitted: call fit or partial_fit first")
    from scipy.special import expit

    functions: dict[str, Any] = {
        "identity": np.asarray,
        "relu": lambda z: np.maximum(z, 0.0),
        "tanh": np.tanh,
        "logistic": expit,
    }
    through = functions[network.activation]
    a = as_float_array(X, "X", ndim=2)
    check_shape(a, (None, network.coefs_[0].shape[0]), "X")
    out: dict[str, FloatArray] = {}
    last = len(network.coefs_)
    for i, (w, b) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), start=1):
        a = a @ w + b
        if i < last:
            a = through(a)
        out["output" if i == last else f"hidden{i}"] = a
    return out


def train_mlp_classifier(
    network: Any,
    X: ArrayLike,
    y: ArrayLike,
    monitor: PhaseMonitor,
    X_eval: ArrayLike,
    *,
    n_steps: int = 4096,
    stop_on_alarm: bool = False,
    random_state: Seed = 0,
) -> dict[int, dict[str, list[FloatArray]]]:
    """Train an ``MLPClassifier`` minibatch by minibatch, observing it at 0, 1, 2, 4, ... steps.

    Parameters
    ----------
    network : MLPClassifier
        With ``solver="sgd"`` or "adam" and an integer ``batch_size``. scikit-learn divides
        ``alpha`` by the batch size: for a weight decay c use ``alpha = c * batch_size``.
    X : array_like of shape (n, p)
        Training inputs.
    y : array_like of shape (n,)
        Labels.
    monitor : PhaseMonitor
        What watches.
    X_eval : array_like of shape (m, p)
        The inputs of the monitor.
    n_steps : int, default=4096
        Minibatch steps.
    stop_on_alarm : bool, default=False
        Whether to stop at the alarm.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the order of the rows.

    Returns
    -------
    dict of int to dict of str to list of ndarray
        Copies of ``coefs_`` and ``intercepts_`` at every checkpoint, by step; put the
        recommended ones back into the network to use it.

    Raises
    ------
    ValueError
        If ``batch_size`` is not a number, labels are no classes, or shapes disagree.

    See Also
    --------
    PhaseMonitor, mlp_activations

    Notes
    -----
    Derived here (`derivations/phases#the-instrument`). The first observation is made after a step
    of size zero, which initialises the network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPClassifier
    >>> from retemper.phases import PhaseMonitor, train_mlp_classifier
    >>> X = np.random.default_rng(0).normal(size=(120, 6))
    >>> y, network = (X[:, 0] > 0).astype(int), MLPClassifier((4,), batch_size=20, random_state=0)
    >>> monitor = PhaseMonitor(X[60:], y[60:])
    >>> _ = train_mlp_classifier(network, X[:60], y[:60], monitor, X[60:], n_steps=4)
    >>> sorted(monitor.history_)
    [0, 1, 2, 4]
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.utils.multiclass import check_classification_targets, unique_labels

    check_kind(network, "network", MLPClassifier)
    check_kind(monitor, "monitor", PhaseMonitor)
    inputs = as_float_array(X, "X", ndim=2)
    labels = np.asarray(y)
    check_shape(labels, (inputs.shape[0],), "y")
    if network.batch_size == "auto" or network.solver not in ("sgd", "adam"):
        raise ValueError(
            'network needs solver "sgd" or "adam" and a number as batch_size, got '
            f"{network.solver!r} and {network.batch_size!r}"
        )
    batch = min(check_integer(network.batch_size, "batch_size", low=1), inputs.shape[0])
    rng = generator(random_state)
    with naming("y"):
        check_classification_targets(labels)
        classes = unique_labels(labels)
    wanted = checkpoint_steps(n_steps)
    kept: dict[int, dict[str, list[FloatArray]]] = {}
    order, at = rng.permutation(inputs.shape[0]), 0

    def next_rows() -> Any:
        nonlocal order, at
        if at + batch > order.size:
            order, at = rng.permutation(inputs.shape[0]), 0
        at += batch
        return order[at - batch : at]

    if not hasattr(network, "coefs_"):
        rate = network.learning_rate_init
        network.learning_rate_init = 1e-300  # initialise without moving
        try:
            rows = next_rows()
            network.partial_fit(inputs[rows], labels[rows], classes=classes)
        finally:
            network.learning_rate_init = rate
        del network._optimizer
    for step in range(n_steps + 1):
        if step in wanted:
            kept[step] = {
                "coefs_": [w.copy() for w in network.coefs_],
                "intercepts_": [b.copy() for b in network.intercepts_],
            }
            with naming("X_eval"):
                monitor.observe(step, mlp_activations(network, X_eval))
            if stop_on_alarm and monitor.alarm_ is not None:
                break
        if step < n_steps:
            rows = next_rows()
            network.partial_fit(inputs[rows], labels[rows])
    return kept
