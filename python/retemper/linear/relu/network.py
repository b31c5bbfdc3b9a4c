"""Shallow ReLU networks of finite width: start, output, tangent kernel, gradient descent."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, generator
from retemper._results import Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_memory,
    check_real,
    check_shape,
)

__all__ = [
    "ReLUNetworkFit",
    "relu_network_fit",
    "relu_network_init",
    "relu_network_kernel",
    "relu_network_predict",
]


def relu_network_init(
    width: int, n_features: int, *, init_sd: float = 1.0, random_state: Seed = 0
) -> tuple[FloatArray, FloatArray]:
    r"""Random weights of a network whose output is exactly zero.

    Units come in pairs of equal Gaussian weights and opposite signs, so that the start adds no
    random function to the prediction and the tangent kernel stays what it was.

    Parameters
    ----------
    width : int
        Number of units m, even.
    n_features : int
        Input dimension d.
    init_sd : float, default=1.0
        Standard deviation of the entries; larger stays closer to the kernel regime.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed.

    Returns
    -------
    weights : ndarray of shape (m, d)
        First-layer weights.
    signs : ndarray of shape (m,)
        Output weights, +1 for the first half and -1 for the second.

    Raises
    ------
    ValueError
        If the width is odd or a number is outside its domain.
    TypeError
        If a number is of another type.

    See Also
    --------
    relu_network_fit, relu_network_predict

    Notes
    -----
    The setting is that of Shachaf et al. (2021); the pairing is a choice made here, derived here
    (`derivations/linear#shallow-relu-networks`).

    Examples
    --------
    >>> from retemper.linear import relu_network_init
    >>> weights, signs = relu_network_init(6, 2, random_state=0)
    >>> weights.shape, float(signs.sum())
    ((6, 2), 0.0)
    """
    m = check_integer(width, "width", low=2)
    if m % 2:
        raise ValueError(f"width must be even, units start in pairs of opposite sign; got {m}")
    d = check_integer(n_features, "n_features", low=1)
    check_memory(1.0 * m * d, width=m, n_features=d)
    sd = check_real(init_sd, "init_sd", low=0.0, open_low=True)
    half = sd * generator(random_state).standard_normal((m // 2, d))
    return np.vstack([half, half]), np.repeat([1.0, -1.0], m // 2)


def _network(
    weights: ArrayLike, signs: ArrayLike, X: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    W, a = as_float_array(weights, "weights", ndim=2), as_float_array(signs, "signs")
    x = as_float_array(X, "X", ndim=2)
    if not W.size:
        raise ValueError(f"weights must not be empty, got shape {W.shape}")
    check_shape(a, (len(W),), "signs")
    if not (np.abs(a) == 1.0).all():
        where = int(np.argmax(np.abs(a) != 1.0))
        raise ValueError(f"signs must be +1 or -1, signs[{where}] is {a[where]}")
    check_shape(x, (None, W.shape[1]), "X")
    return W, a, x


def relu_network_predict(
    weights: ArrayLike, signs: ArrayLike, X: ArrayLike, *, n_jobs: int | None = None
) -> FloatArray:
    r"""Output :math:`m^{-1/2} \sum_r a_r \max(w_r \cdot x, 0)` of a network.

    Parameters
    ----------
    weights : array_like of shape (m, d)
        First-layer weights.
    signs : array_like of shape (m,)
        Output weights, +1 or -1.
    X : array_like of shape (n, d)
        Rows.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ndarray of shape (n,)
        Outputs.

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, or a sign is not +1 or -1.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    relu_network_fit, relu_network_init

    Notes
    -----
    The network of Shachaf et al. (2021); scaling as in the kernel limit, see `relu_ntk`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import relu_network_init, relu_network_predict
    >>> weights, signs = relu_network_init(100, 3, random_state=0)
    >>> relu_network_predict(weights, signs, np.eye(3)).round(9).tolist()  # starts from zero output
    [0.0, -0.0, 0.0]
    """
    W, a, x = _network(weights, signs, X)
    return core.linear.relu_network_predict(W, a, x, effective_n_threads(n_jobs))


def relu_network_kernel(weights: ArrayLike, X: ArrayLike) -> FloatArray:
    r"""Tangent kernel of a network of finite width, :math:`x \cdot x'` times shared active units.

    Parameters
    ----------
    weights : array_like of shape (m, d)
        First-layer weights.
    X : array_like of shape (n, d)
        Rows.

    Returns
    -------
    ndarray of shape (n, n)
        :math:`x \cdot x' \, m^{-1} \sum_r 1[w_r \cdot x > 0] 1[w_r \cdot x' > 0]`, exactly
        symmetric; tends to `relu_ntk` for many Gaussian units.

    Raises
    ------
    ValueError
        If shapes disagree or entries are not finite.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    relu_ntk

    Notes
    -----
    Derived here (`derivations/linear#shallow-relu-networks`): the Gram matrix of the gradient with
    respect to the weights.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import relu_network_init, relu_network_kernel, relu_ntk
    >>> X = np.eye(3)
    >>> weights, _ = relu_network_init(20_000, 3, random_state=0)
    >>> bool(np.abs(relu_network_kernel(weights, X) - relu_ntk(X)).max() < 0.02)
    True
    """
    W, x = as_float_array(weights, "weights", ndim=2), as_float_array(X, "X", ndim=2)
    if not W.size:
        raise ValueError(f"weights must not be empty, got shape {W.shape}")
    check_shape(x, (None, W.shape[1]), "X")
    shared = np.zeros((len(x), len(x)))
    for first in range(0, len(W), 4096):
        active = (x @ W[first : first + 4096].T > 0.0).astype(np.float32)
        shared += active @ active.T  # counts below 2^24 are exact
    shared *= x @ x.T / len(W)
    return shared


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ReLUNetworkFit(Result):
    """A trained network (see `relu_network_fit`).

    Parameters
    ----------
    status : Status
        How training ended.
    n_iter : int
        Steps taken.
    residual : float
        What ``tol`` is compared with.
    message : str
        How training ended, in words.
    weights : ndarray of shape (m, d)
        First-layer weights after training.
    signs : ndarray of shape (m,)
        Output weights, unchanged.
    intercept : float
        Constant to add to the output; 0 if none was fitted.
    loss : ndarray of shape (n_iter + 1,)
        Mean squared residual before the first and after every step, in squared units of y.
    step_size : float
        Step that was used.

    See Also
    --------
    relu_network_fit

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import relu_network_fit, relu_network_init
    >>> X = np.random.default_rng(0).normal(size=(10, 5))
    >>> fit = relu_network_fit(*relu_network_init(200, 5, random_state=0), X, X[:, 0])
    >>> str(fit.status), bool(fit.loss[-1] < 1e-3 * fit.loss[0])
    ('converged', True)
    """

    weights: FloatArray
    signs: FloatArray
    intercept: float
    loss: FloatArray
    step_size: float


def relu_network_fit(
    weights: ArrayLike,
    signs: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    ridge: float = 0.0,
    fit_intercept: bool = False,
    step_size: float | Literal["auto"] = "auto",
    max_iter: int = 10_000,
    tol: float = 1e-6,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
    n_jobs: int | None = None,
) -> ReLUNetworkFit:
    r"""Train a shallow ReLU network by full-batch gradient descent from given weights.

    The loss is :math:`\frac1n \|f(X) + b - y\|^2 + \lambda \|W - W_0\|_F^2`, of which n / 2 times
    the gradient is descended; the output signs stay fixed, and the intercept, if any, is optimised
    exactly before every step. For many units the end point is
    :math:`f_0 + H (H + n \lambda I)^{-1} (y - f_0)`, the kernel fit of the residual.

    Parameters
    ----------
    weights : array_like of shape (m, d)
        Weights :math:`W_0` to start from: random, or those of a trained network. Not changed.
    signs : array_like of shape (m,)
        Output weights, +1 or -1.
    X : array_like of shape (n, d)
        Training rows.
    y : array_like of shape (n,)
        Labels.
    ridge : float, default=0.0
        Strength :math:`\lambda` of the pull towards :math:`W_0`, per sample: n times it is added
        to the kernel.
    fit_intercept : bool, default=False
        Whether a constant b is fitted. False, as the equation is that of the rows as they are
        given.
    step_size : float or "auto", default="auto"
        Step of gradient descent. "auto" is 1 / (largest eigenvalue of the tangent kernel at
        :math:`W_0` + n ridge); beyond twice that it diverges.
    max_iter : int, default=10000
        Largest number of steps.
    tol : float, default=1e-6
        Training stops where ten steps lower the loss by less than this fraction of its first
        value, and it is at most 1 % above its lowest. (At finite width the gradient need not
        vanish: the loss has kinks.)
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do when ``max_iter`` is reached first.
    progress : None, bool, callable or object, default=None
        Called now and then with (steps done, max_iter).
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ReLUNetworkFit
        Weights, intercept, loss history, status.

    Raises
    ------
    ValueError
        If shapes disagree or a value is outside its domain.
    TypeError
        If an argument is of another type.
    NumericalError
        If descent diverges, or it has not converged and ``on_failure="raise"``.

    See Also
    --------
    relu_network_init, relu_network_predict, FineTunedReLURegressor

    Notes
    -----
    Few samples (n <= 2 d) are trained in the space of samples: one product of :math:`2 m n^2`
    operations per step in place of two with :math:`4 m n d` together. The setting is that of
    Shachaf et al. (2021); the algorithm is derived here
    (`derivations/linear#shallow-relu-networks`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import relu_network_fit, relu_network_init, relu_network_predict
    >>> X = np.random.default_rng(0).normal(size=(10, 5))
    >>> weights, signs = relu_network_init(200, 5, random_state=0)
    >>> fit = relu_network_fit(weights, signs, X, X[:, 0])
    >>> bool(np.abs(relu_network_predict(fit.weights, signs, X) - X[:, 0]).max() < 0.01)
    True
    """
    progress = as_callback(progress, "relu_network_fit")
    W, a, x = _network(weights, signs, X)
    labels = as_float_array(y, "y")
    if not len(x):
        raise ValueError(f"X must have at least one row, got shape {x.shape}")
    check_shape(labels, (len(x),), "y")
    nu = len(x) * check_real(ridge, "ridge", low=0.0)  # on the kernel's diagonal
    if isinstance(step_size, str):
        if step_size != "auto":
            raise ValueError(f"step_size must be 'auto' or a positive number, got {step_size!r}")
        H = relu_network_kernel(W, x)
        if fit_intercept:
            H -= H.mean(axis=0)
            H -= H.mean(axis=1)[:, None]
        top = [len(H) - 1, len(H) - 1]
        largest = float(linalg.eigvalsh(H, subset_by_index=top, check_finite=False)[0]) + nu
        step = 1.0 / largest if largest > 0.0 else 1.0
    else:
        step = check_real(step_size, "step_size", low=0.0, open_low=True)
    training = core.linear.ReluTraining(
        step_size=step,
        ridge=nu,
        fit_intercept=bool(fit_intercept),
        max_iter=check_integer(max_iter, "max_iter", low=1),
        tol=check_real(tol, "tol", low=0.0),
    )
    fit = core.linear.relu_network_fit(
        W, a, x, labels, training, effective_n_threads(n_jobs), progress
    )
    status = Status(fit.status)
    report_status(status, fit.residual, "gradient descent on the network", on_failure=on_failure)
    return ReLUNetworkFit(
        status=status,
        n_iter=fit.n_iter,
        residual=fit.residual,
        message=f"gradient descent {status.sentence} after {fit.n_iter} steps",
        weights=fit.W.copy(),
        signs=a,
        intercept=fit.intercept,
        loss=fit.loss.copy(),
        step_size=step,
    )
