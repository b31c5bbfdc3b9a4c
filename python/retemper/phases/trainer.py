"""A small fully connected network, trained in the compiled core, that keeps its checkpoints."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, replica_generator, stream_key
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_shape,
)
from retemper.phases.streams import Purpose
from retemper.phases.tasks import one_hot

if TYPE_CHECKING:
    from retemper._control import Progress

__all__ = ["MLPTrainer", "checkpoint_steps"]


def checkpoint_steps(n_steps: int) -> list[int]:
    """The checkpoints 0, 1, 2, 4, 8, ... up to a last step, which is always one.

    Derived here (`derivations/phases#the-detector`).

    Parameters
    ----------
    n_steps : int
        The last step.

    Returns
    -------
    list of int
        Increasing steps; see `PhaseDetector` for the axis on which they are nearly even.

    Raises
    ------
    ValueError
        If ``n_steps`` is negative.

    See Also
    --------
    PhaseMonitor

    Examples
    --------
    >>> from retemper.phases import checkpoint_steps
    >>> checkpoint_steps(20)
    [0, 1, 2, 4, 8, 16, 20]
    """
    last = check_integer(n_steps, "n_steps")
    powers = (1 << k for k in range(last.bit_length()))
    return sorted({0, *powers, last})


class MLPTrainer:
    """Multilayer perceptron with momentum descent and checkpoints at powers of two.

    Parameters
    ----------
    hidden : sequence of int, default=(64, 64)
        Units of the hidden layers.
    activation : {"relu", "tanh"}, default="relu"
        Of the hidden layers.
    loss : {"softmax", "squared"}, default="softmax"
        Cross-entropy on labels, or half the squared distance to real targets; batch means.
    learning_rate : float, default=0.05
        Step of the descent, constant.
    momentum : float, default=0.9
        In [0, 1): velocity = momentum x velocity + gradient.
    weight_decay : float, default=0.0
        Its multiple of the weights, not of the biases, is added to the gradient.
    batch_size : int, default=128
        Rows per step; every epoch visits each row once in a new order.
    n_steps : int, default=4096
        Steps taken by `fit`.
    checkpoints : sequence of int or None, default=None
        Steps at which the weights are kept; None takes 0, 1, 2, 4, ... and the last.
    init_scale : float, default=1.0
        Initial weights are normal with standard deviation ``init_scale * sqrt(g / fan_in)``, g = 2
        for "relu" (He et al. 2015) and 1 for "tanh"; biases start at zero.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the weights and of the order of the rows.
    n_jobs : int or None, default=None
        Threads, used by batches of more than 128 rows; never changes a bit.

    Attributes
    ----------
    steps_ : list of int
        Steps of the checkpoints.
    parameters_ : dict of int to ndarray
        All weights and biases at every checkpoint, as one vector.
    loss_curve_ : ndarray
        Mean loss of every batch before its step, without weight decay.
    classes_ : ndarray
        Labels, for the softmax loss.
    layer_names_ : list of str
        Names of the layers of `activations`: "hidden1", ..., "output".

    See Also
    --------
    PhaseMonitor, train_mlp_classifier

    Notes
    -----
    Training runs in the compiled core; Ctrl-C stops it. It is a plain network for experiments of
    the kind Schneider and Prabhushankar (2024) [1]_ report, not a replacement for a framework.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import MLPTrainer
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> net = MLPTrainer(hidden=(16,), n_steps=64, random_state=0).fit(X, X[:, 0] > 0)
    >>> net.steps_, net.score(X, X[:, 0] > 0) > 0.9
    ([0, 1, 2, 4, 8, 16, 32, 64], True)
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: Literal["relu", "tanh"] = "relu",
        loss: Literal["softmax", "squared"] = "softmax",
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 128,
        n_steps: int = 4096,
        checkpoints: Sequence[int] | None = None,
        init_scale: float = 1.0,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> None:
        if isinstance(hidden, str) or not isinstance(hidden, Iterable):
            raise TypeError(f"hidden must be a sequence of widths, got {hidden!r:.60}")
        for units in hidden:
            check_integer(units, "hidden", low=1)
        check_choice(activation, "activation", tuple(core.phases.Activation.__members__))
        check_choice(loss, "loss", tuple(core.phases.Loss.__members__))
        for name, value in (
            ("learning_rate", learning_rate),
            ("momentum", momentum),
            ("weight_decay", weight_decay),
            ("batch_size", batch_size),
            ("init_scale", init_scale),
        ):
            check_parameter(value, name)
        check_integer(n_steps, "n_steps")
        self.hidden = hidden
        self.activation = activation
        self.loss = loss
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_steps = n_steps
        self.checkpoints = checkpoints
        self.init_scale = init_scale
        self.random_state = random_state
        self.n_jobs = n_jobs
        self._wanted_steps()

    def _wanted_steps(self) -> list[int]:
        if self.checkpoints is None:
            return checkpoint_steps(self.n_steps)
        if not isinstance(self.checkpoints, Sequence | np.ndarray):
            raise TypeError(f"checkpoints must be a sequence of steps, got {self.checkpoints!r}")
        steps = [
            check_integer(step, "checkpoints", low=0, high=self.n_steps)
            for step in self.checkpoints
        ]
        if any(b <= a for a, b in itertools.pairwise(steps)):
            raise ValueError(f"checkpoints must increase, got {steps}")
        return steps

    def _problem(self) -> core.phases.MlpProblem:
        return core.phases.MlpProblem(
            sizes=self.sizes_, activation=core.phases.Activation[self.activation],
            loss=core.phases.Loss[self.loss], learning_rate=self.learning_rate,
            momentum=self.momentum, weight_decay=self.weight_decay, batch_size=self.batch_size,
        )  # fmt: skip

    def _report(self, progress: Progress | None, done: int) -> Progress | None:
        if progress is None:
            return None
        return lambda here, _: progress(done + here, self.n_steps)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        callback: Callable[[int, MLPTrainer], object] | None = None,
        progress: ProgressLike = None,
    ) -> Self:
        """Train from fresh weights.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Inputs.
        y : array_like of shape (n,) or (n, k)
            Labels for the softmax loss, real targets for the squared one.
        callback : callable or None, default=None
            Called as ``callback(step, trainer)`` at every checkpoint, e.g. to feed a
            `PhaseMonitor`; returning True stops the training there.
        progress : None, bool, callable or object, default=None
            Called from time to time with (steps done, steps in all).

        Returns
        -------
        MLPTrainer
            Itself.

        Raises
        ------
        ValueError
            If shapes disagree or there is one class only.
        NumericalError
            If the loss overflows.
        KeyboardInterrupt
            On Ctrl-C; the checkpoints reached so far are kept.
        """
        progress = as_callback(progress, "fit")
        inputs = as_float_array(X, "X", ndim=2)
        if self.loss == "softmax":
            targets, self.classes_ = one_hot(y)
            if self.classes_.size < 2:
                raise ValueError(f"y must have at least two classes, got {self.classes_.size}")
        else:
            targets = as_float_array(y, "y", ndim=(1, 2))
            targets = targets.reshape(targets.shape[0], -1)
        if not inputs.size:
            raise ValueError(f"X must not be empty, got shape {inputs.shape}")
        check_shape(targets, (inputs.shape[0], None), "y")
        self.sizes_ = [inputs.shape[1], *self.hidden, targets.shape[1]]
        names = [f"hidden{i + 1}" for i in range(len(self.hidden))]
        self.layer_names_ = [*names, "output"]
        key = stream_key(self.random_state)
        rng = replica_generator(key, 0, Purpose.WEIGHTS)
        start, gain = [], 2.0 if self.activation == "relu" else 1.0
        for fan_in, out in itertools.pairwise(self.sizes_):
            scale = self.init_scale * math.sqrt(gain / fan_in)
            start += [scale * rng.normal(size=fan_in * out), np.zeros(out)]
        problem = self._problem()
        state = core.phases.MlpState(parameters=np.concatenate(start))
        self.parameters_: dict[int, FloatArray] = {}
        self.steps_: list[int] = []
        curve: list[FloatArray] = []
        for step in [*self._wanted_steps(), self.n_steps]:
            if step > state.step:
                state = core.phases.mlp_train(
                    problem=problem, start=state, X=inputs, Y=targets, key=key,
                    n_steps=step - state.step, n_threads=effective_n_threads(self.n_jobs),
                    progress=self._report(progress, state.step),
                )  # fmt: skip
                curve.append(state.loss)
            self.loss_curve_ = np.concatenate(curve) if curve else np.empty(0)
            if not self.steps_ or step > self.steps_[-1]:
                self.steps_.append(step)
                self.parameters_[step] = state.parameters.copy()  # without the rest of the state
                if callback is not None and callback(step, self) is True:
                    break
        return self

    def weights(self, step: int | None = None) -> list[tuple[FloatArray, FloatArray]]:
        """Weights (in, out) and biases (out,) of every layer at a checkpoint.

        Parameters
        ----------
        step : int or None, default=None
            A checkpoint; None is the last.

        Returns
        -------
        list of tuple of ndarray
            Views, layer by layer.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there is no such checkpoint.
        """
        if not hasattr(self, "parameters_"):
            from retemper.exceptions import NotFittedError

            raise NotFittedError("this MLPTrainer is not fitted: call fit first")
        at = self.steps_[-1] if step is None else step
        if at not in self.parameters_:
            raise ValueError(f"step must be one of {self.steps_}, got {at}")
        flat, out, first = self.parameters_[at], [], 0
        for fan_in, units in itertools.pairwise(self.sizes_):
            middle, last = first + fan_in * units, first + (fan_in + 1) * units
            out.append((flat[first:middle].reshape(fan_in, units), flat[middle:last]))
            first = last
        return out

    def activations(self, X: ArrayLike, step: int | None = None) -> dict[str, FloatArray]:
        """Activations of every layer at a checkpoint; the output layer before softmax.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Inputs.
        step : int or None, default=None
            A checkpoint; None is the last.

        Returns
        -------
        dict of str to ndarray
            By layer name, each of shape (n, units).
        """
        layers = self.weights(step)
        a = as_float_array(X, "X", ndim=2)
        check_shape(a, (None, self.sizes_[0]), "X")
        out = {}
        for name, (w, b) in zip(self.layer_names_, layers, strict=True):
            a = a @ w + b
            if name != "output":
                a = np.maximum(a, 0.0) if self.activation == "relu" else np.tanh(a)
            out[name] = a
        return out

    def predict(self, X: ArrayLike, step: int | None = None) -> NDArray[Any]:
        """Labels, or real outputs (n, k) for the squared loss.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Inputs.
        step : int or None, default=None
            A checkpoint; None is the last.

        Returns
        -------
        ndarray
            Predictions.
        """
        out = self.activations(X, step)["output"]
        return self.classes_[out.argmax(axis=1)] if self.loss == "softmax" else out

    def score(self, X: ArrayLike, y: ArrayLike, step: int | None = None) -> float:
        """Accuracy, or R² for the squared loss.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Inputs.
        y : array_like
            Labels or targets.
        step : int or None, default=None
            A checkpoint; None is the last.

        Returns
        -------
        float
            Share of labels hit, or 1 - residual variance / variance.
        """
        guess = self.predict(X, step)
        if len(guess) != len(np.atleast_1d(np.asarray(y))):
            raise ValueError(f"X has {len(guess)} rows and y {len(np.atleast_1d(np.asarray(y)))}")
        if self.loss == "softmax":
            return float((guess == np.asarray(y)).mean())
        truth = as_float_array(y, "y", ndim=(1, 2)).reshape(guess.shape)
        spread = ((truth - truth.mean(axis=0)) ** 2).sum()
        return float(1.0 - ((truth - guess) ** 2).sum() / spread)
