"""Kernels that the user gives: convolutional ones, or those of any other features."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh, solve_triangular
from scipy.linalg.lapack import dpotrf

from retemper._control import interruptible
from retemper._validation import FloatArray, as_float_array, check_shape
from retemper.widenet.coupled import Kernels
from retemper.widenet.layers import NONE_INSIDE
from retemper.widenet.model import WideNetModel
from retemper.widenet.tridiagonal import Spectrum

__all__ = ["GivenKernels", "GivenTest", "KernelTasks", "TasksOfGamma"]

_SLACK = 1e-9  # of the mean diagonal: eigenvalues above minus this count as rounding


@dataclasses.dataclass(frozen=True, eq=False)
class KernelTasks:
    r"""Two tasks at one coupling, given by their kernels in place of their inputs.

    Kernels are covariances of the hidden units over the prior of the first layer, before they are
    multiplied by 1 / ``lam1``, for units of zero mean: subtract the product of the means from the
    kernel of an activation that has one. Any features whose units are independent and equal in law
    will do, such as convolutional filters with averaged positions; ``activation``, ``lam0`` and
    ``n_hidden_layers`` of the model are then not used.

    Parameters
    ----------
    target : tuple of array_like
        ``(kernel, y)`` of shapes (n, n) and (n,) or (n, n_outputs): the kernel of one target run,
        :math:`K_d`, and the labels.
    source : tuple of array_like or None, default=None
        The same of the source, :math:`K_{ss}`; None is the random-anchor control.
    two_runs : array_like of shape (n, n) or None, default=None
        Kernel :math:`K_o` of two target runs that share a source. None is 0, for coupling 0; at
        infinite coupling it must be that of the target.
    cross : array_like of shape (n_source, n) or None, default=None
        Kernel :math:`K_{st}` between source and target; needed where both are coupled.
    test : tuple of array_like or None, default=None
        ``(kernel, diagonal, y)`` of shapes (n_test, n), (n_test,) and that of the labels: kernel of
        one run between test points and target rows, and of the test points with themselves.
    test_two_runs : tuple of array_like or None, default=None
        ``(kernel, diagonal)``: the same of two runs, where ``two_runs`` is given.
    test_cross : array_like of shape (n_source, n_test) or None, default=None
        Kernel between source rows and test points, where ``cross`` is given.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, a kernel is not symmetric or not positive
        semidefinite, or the blocks cannot be those of one network: the joint kernel of source and
        target runs, :math:`K_d - K_o`, or the variance that is left at a test point is negative.
    TypeError
        If an array does not hold real numbers, or a task is not a tuple.

    See Also
    --------
    solve, curve, gamma_path, nngp_kernel

    References
    ----------
    .. [1] The role of each block is derived here (`derivations/widenet#kernels-of-your-own`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import KernelTasks, WideNetModel, nngp_kernel, solve
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 9, 40))  # rows, patches, pixels of a patch
    >>> K = nngp_kernel(X.reshape(-1, 40)).reshape(20, 9, 20, 9).mean((1, 3))
    >>> y = X[..., 0].mean(1)
    >>> theory = solve(WideNetModel(100), KernelTasks((K, y)))
    >>> bool(0.5 < theory.Q_t < 1.5)
    True
    """

    target: Any
    source: Any = None
    two_runs: Any = None
    cross: Any = None
    test: Any = None
    test_two_runs: Any = None
    test_cross: Any = None

    def __post_init__(self) -> None:
        """Convert and check every block."""
        put = object.__setattr__
        put(self, "target", _kernel_and_labels(self.target, "target"))
        K_d = self.target[0]
        if self.source is not None:
            put(self, "source", _kernel_and_labels(self.source, "source"))
        if self.two_runs is not None:
            put(self, "two_runs", _square(self.two_runs, "two_runs", len(K_d)))
        _check_together(self.cross, "cross", self.source, "source")
        _check_together(self.cross, "cross", self.two_runs, "two_runs")
        if self.cross is not None:
            put(self, "cross", _block(self.cross, "cross", (len(self.source[0]), len(K_d))))
        self._check_positive()
        self._check_test()

    def _check_positive(self) -> None:
        K_d, K_o = self.target[0], self.two_runs
        _check_kernel(K_d, "target")
        if self.source is not None and self.cross is None:
            _check_kernel(self.source[0], "source")
        if K_o is None:
            return
        _check_kernel(K_d - K_o, "target minus two_runs", K_d)
        if self.cross is None:
            _check_kernel(K_o, "two_runs")
            return
        joint = np.block([[self.source[0], self.cross], [self.cross.T, K_o]])
        _check_kernel(joint, "joint matrix of source, cross and two_runs")

    def _check_test(self) -> None:
        if self.test is None:
            return
        if not isinstance(self.test, tuple | list) or len(self.test) != 3:
            raise TypeError("test must be a tuple (kernel, diagonal, y)")
        n = len(self.target[0])
        kernel = _block(self.test[0], "test kernel", (None, n))
        diagonal = _block(self.test[1], "test diagonal", (len(kernel),))
        y = as_float_array(self.test[2], "test y", ndim=(1, 2))
        check_shape(y[:, None] if y.ndim == 1 else y, (len(kernel), None), "test y")
        object.__setattr__(self, "test", (kernel, diagonal, y))
        _check_left(self.target[0], kernel.T, diagonal, "target")
        for name in ("two_runs", "cross"):
            if getattr(self, name) is None:
                continue
            given = getattr(self, f"test_{name}")
            if given is None:
                raise ValueError(f"test_{name} is needed beside test and {name}")
            if name == "cross":
                shape = (len(self.source[0]), len(kernel))
                object.__setattr__(self, "test_cross", _block(given, "test_cross", shape))
                continue
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise TypeError("test_two_runs must be a tuple (kernel, diagonal)")
            pair = (
                _block(given[0], "test_two_runs kernel", kernel.shape),
                _block(given[1], "test_two_runs diagonal", diagonal.shape),
            )
            object.__setattr__(self, "test_two_runs", pair)
            _check_left(self.two_runs, pair[0].T, pair[1], "two_runs")

    def check_coupling(self, gamma: float) -> None:
        """Refuse a coupling that these blocks cannot be of."""
        if (gamma > 0.0) != (self.two_runs is not None):
            needed = "needs the kernel two_runs" if gamma > 0.0 else "has no kernel two_runs"
            raise ValueError(f"gamma = {gamma:g} {needed}: of two target runs on one source")
        if gamma > 0.0 and self.source is not None and self.cross is None:
            raise ValueError(f"gamma = {gamma:g} with a source needs the kernel cross")
        if math.isinf(gamma):
            away = float(np.abs(self.two_runs - self.target[0]).max())
            if away > _SLACK * float(self.target[0].diagonal().mean()):
                raise ValueError(
                    "gamma = inf needs two_runs equal to the kernel of target, which is "
                    f"{away:.3g} away"
                )

    @property
    def samples_per_dimension(self) -> float:
        """Rows per effective dimension of the kernel, the larger of the tasks."""
        return max(
            len(K) * float(np.vdot(K, K)) / float(K.trace()) ** 2
            for K, _ in (t for t in (self.target, self.source) if t is not None)
        )


#: Kernels at every coupling.
TasksOfGamma: TypeAlias = Callable[[float], KernelTasks]


class GivenKernels(Kernels):
    """The kernels of a target that its user gave."""

    def __init__(self, model: WideNetModel, tasks: KernelTasks, spectrum: Spectrum | None) -> None:
        tasks.check_coupling(model.gamma)
        self.model, self.inner, self.tasks = model, NONE_INSIDE, tasks
        self.is_coupled = model.gamma > 0.0
        self.is_frozen = math.isinf(model.gamma)
        self.K_d = tasks.target[0]
        self.K_o = np.zeros_like(self.K_d) if tasks.two_runs is None else tasks.two_runs
        if self.is_frozen:
            self.K_o = self.K_d
        self.mean = np.zeros(len(self.K_d))
        self.Z = None
        if tasks.cross is not None and spectrum is not None:
            self.Z = spectrum.rotate(tasks.cross)


@dataclasses.dataclass
class GivenTest:
    """Blocks of the test points, as `NewKernels` takes them."""

    k_d: FloatArray
    d_diag: FloatArray
    k_o: FloatArray
    o_diag: FloatArray
    k_s: FloatArray | None

    @classmethod
    def of(cls, tasks: KernelTasks, rows: slice, *, is_frozen: bool) -> GivenTest:
        """Those of some of the test points."""
        k_d, d_diag = tasks.test[0][rows], tasks.test[1][rows]
        k_o, o_diag = np.zeros_like(k_d), np.zeros_like(d_diag)
        if is_frozen:
            k_o, o_diag = k_d, d_diag
        elif tasks.test_two_runs is not None and tasks.two_runs is not None:
            k_o, o_diag = (b[rows] for b in tasks.test_two_runs)
        k_s = None if tasks.cross is None else np.ascontiguousarray(tasks.test_cross[:, rows])
        return cls(k_d, d_diag, k_o, o_diag, k_s)


def _block(value: ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    array = as_float_array(value, name, ndim=len(shape))
    check_shape(array, shape, name)
    return array


def _square(value: ArrayLike, name: str, n: int | None = None) -> FloatArray:
    K = as_float_array(value, name, ndim=2)
    check_shape(K, (n or len(K), n or len(K)), name)
    away = float(np.abs(K - K.T).max()) if K.size else 0.0
    if away > 1e-12 * float(np.abs(K).max(initial=0.0)):
        i, j = np.unravel_index(int(np.abs(K - K.T).argmax()), K.shape)
        raise ValueError(
            f"{name} must be symmetric: entries [{i}, {j}] and [{j}, {i}] are {K[i, j]:.6g} and "
            f"{K[j, i]:.6g}"
        )
    return np.asarray(0.5 * (K + K.T))


def _kernel_and_labels(value: Any, name: str) -> tuple[FloatArray, FloatArray]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (kernel, y), got {type(value).__name__}")
    K = _square(value[0], f"{name} kernel")
    y = as_float_array(value[1], f"{name} y", ndim=(1, 2))
    if not K.size:
        raise ValueError(f"{name} kernel must have rows, got shape {K.shape}")
    check_shape(y[:, None] if y.ndim == 1 else y, (len(K), None), f"{name} y")
    if not y.size:
        raise ValueError(f"{name} y must have at least one output, got shape {y.shape}")
    return K, y


def _check_together(block: Any, name: str, other: Any, other_name: str) -> None:
    if block is not None and other is None:
        raise ValueError(f"{name} is given without {other_name}")


def _raised(K: FloatArray, scale: float) -> tuple[FloatArray, bool]:
    """Cholesky factor of K raised by the slack, and whether it exists."""
    A = K + (_SLACK * scale) * np.eye(len(K))
    factor, info = interruptible(dpotrf, A, lower=1, clean=1, cost=float(len(K)) ** 3)
    return factor, info == 0


def _check_kernel(K: FloatArray, name: str, size: FloatArray | None = None) -> None:
    scale = float((K if size is None else size).diagonal().mean())
    if scale <= 0.0 or not _raised(K, scale)[1]:
        smallest = float(eigvalsh(K, subset_by_index=[0, 0])[0])
        raise ValueError(
            f"{name} must be positive semidefinite: its smallest eigenvalue is {smallest:.6g}, its "
            f"mean diagonal {float(K.diagonal().mean()):.6g}"
        )


def _check_left(K: FloatArray, k: FloatArray, diagonal: FloatArray, name: str) -> None:
    """Refuse test points of negative variance given the rows."""
    factor, _ = _raised(K, float(K.diagonal().mean()))
    left = diagonal - np.square(solve_triangular(factor, k, lower=True)).sum(0)
    worst = int(left.argmin()) if left.size else 0
    if left.size and left[worst] < -1e-6 * float(K.diagonal().mean()):
        raise ValueError(
            f"the test blocks are not of the kernel of {name}: test point {worst} has variance "
            f"{left[worst]:.6g} given the rows"
        )
