"""
Linear teachers.
"""
from __future__ import annotations
import collections.abc
import enum
import numpy
import numpy.typing
import typing
__all__: list[str] = ['DeepFit', 'DeepScale', 'Descent', 'DescentRisk', 'EffectiveRidge', 'Entries', 'LogisticCoef', 'LogisticFolds', 'LogisticRun', 'LogisticStretch', 'Metric', 'ReluFit', 'ReluTraining', 'RowSpace', 'Simulation', 'Source', 'Task', 'TopKBound', 'deep_fit', 'deep_scale', 'descent_risk', 'effective_ridge', 'factor_descent', 'largest_gram_condition', 'metric_sums', 'rank_one_descent', 'relu_network_fit', 'relu_network_predict', 'relu_ntk', 'relu_ntk_cross', 'row_space', 'row_space_of_gram', 'simulate', 'top_k_bound']
class ReluTraining:
    """
    How a network is trained; see relu.hpp.
    """
    def __init__(self, *, step_size: typing.SupportsFloat | typing.SupportsIndex, ridge: typing.SupportsFloat | typing.SupportsIndex, fit_intercept: bool, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class ReluFit:
    """
    A trained network: W (m, d), loss (n_iter + 1,).
    """
    @property
    def W(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def intercept(self) -> float:
        ...
    @property
    def loss(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def n_iter(self) -> int:
        ...
    @property
    def residual(self) -> float:
        ...
    @property
    def status(self) -> str:
        ...
class EffectiveRidge:
    """
    Roots at k points, (k,) each.
    """
    @property
    def df1(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def df2(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def effective_ridge(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def n_iter(self) -> typing.Annotated[numpy.typing.NDArray[numpy.int64], "[m, 1]"]:
        ...
    @property
    def residual(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def status(self) -> typing.Annotated[numpy.typing.NDArray[numpy.int32], "[m, 1]"]:
        ...
class Metric(enum.Enum):
    """
    Diagonal metrics of metric_sums.
    """
    bias = ...
    fitted = ...
    rest = ...
class DescentRisk:
    """
    Mean risk of one-pass descent at k steps.
    """
    @property
    def variance(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def weights(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class TopKBound:
    """
    The smallest bounds at k points, (k,) each.
    """
    @property
    def bound(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def bound_k(self) -> typing.Annotated[numpy.typing.NDArray[numpy.int64], "[m, 1]"]:
        ...
class DeepScale:
    """
    Source scales at k points, (k,) each.
    """
    @property
    def n_iter(self) -> typing.Annotated[numpy.typing.NDArray[numpy.int64], "[m, 1]"]:
        ...
    @property
    def scale(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
class RowSpace:
    """
    x = u diag(s) v, singular values descending.
    """
    def __init__(self, *, u: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"], s: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], v: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"]) -> None:
        ...
    @property
    def s(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def u(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def v(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class DeepFit:
    """
    End points of k networks: coef (k, d), else (k,) each.
    """
    @property
    def coef(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def fit_norm(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def n_iter(self) -> list[int]:
        ...
    @property
    def null_norm(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def residual(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def row_norm(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def source_scale(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def status(self) -> list[str]:
        ...
class Descent:
    """
    Factors W_1 .. W_L at the end of gradient descent.
    """
    @property
    def factors(self) -> list[typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]]:
        ...
    @property
    def n_iter(self) -> int:
        ...
    @property
    def residual(self) -> float:
        ...
    @property
    def status(self) -> str:
        ...
class LogisticCoef:
    """
    Slopes (m, r), offset (m,), fitted factor.
    """
    def __init__(self, *, slopes: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"], offset: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], source_scale: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def offset(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def slopes(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def source_scale(self) -> float:
        ...
class LogisticStretch:
    """
    Held-out logits (R * held, m), residual (R, F), status (R * F).
    """
    @property
    def logits(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def n_iter(self) -> int:
        ...
    @property
    def residual(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def status(self) -> list[str]:
        ...
class LogisticFolds:
    """
    Splits of one sample (n, r), each in its own coordinates.
    """
    def __init__(self, *, rows: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"], label: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], n_classes: typing.SupportsInt | typing.SupportsIndex, weight: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], fit_intercept: bool, splits: collections.abc.Sequence[tuple[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]]], n_threads: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class LogisticRun:
    """
    Fits of all splits along a path of ridges.
    """
    def __init__(self, folds: LogisticFolds, offset: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], source: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], scale_ridge: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    def advance(self, ridges: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], *, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex) -> LogisticStretch:
        ...
    def coef(self, fold: typing.SupportsInt | typing.SupportsIndex) -> LogisticCoef:
        ...
    def start_at(self, fit: LogisticCoef) -> None:
        ...
class Entries(enum.Enum):
    """
    Law of the whitened inputs.
    """
    gaussian = ...
    given = ...
    rademacher = ...
    student = ...
class Task:
    """
    One regression task in the eigenbasis of its covariance.
    """
    def __init__(self, *, n_samples: typing.SupportsInt | typing.SupportsIndex, spectrum: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], teacher: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"], noise: typing.SupportsFloat | typing.SupportsIndex, ridge: typing.SupportsFloat | typing.SupportsIndex, stop_time: typing.SupportsFloat | typing.SupportsIndex = ..., row_scale: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"] = ..., row_noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"] = ..., step_size: typing.SupportsFloat | typing.SupportsIndex = 0.0, batch_size: typing.SupportsInt | typing.SupportsIndex = 1, n_steps: typing.SupportsInt | typing.SupportsIndex = -1, entries: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"] = ...) -> None:
        ...
class Source:
    """
    A fixed source, or the task it is fitted on anew.
    """
    @staticmethod
    def finite(task: Task, rotation: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"]) -> Source:
        ...
    @staticmethod
    def fixed(coef: typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"]) -> Source:
        ...
class Simulation:
    """
    What every repeat measures, (n_repeats,) each.
    """
    @property
    def bias(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def cross(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def df1(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def df2(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def effective_ridge(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def risk(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def risk_scratch(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def risk_zero_shot(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def source_scale(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def spread(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def training_error(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def variance(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
def deep_fit(space: RowSpace, y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], source: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], depth: typing.SupportsFloat | typing.SupportsIndex, ridge: typing.SupportsFloat | typing.SupportsIndex) -> DeepFit:
    ...
def deep_scale(a2: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], p2: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], q2: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], depth: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> DeepScale:
    ...
def descent_risk(spectrum: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], steps: typing.Annotated[numpy.typing.ArrayLike, numpy.int64, "[m, 1]"], step_size: typing.SupportsFloat | typing.SupportsIndex, batch_size: typing.SupportsFloat | typing.SupportsIndex) -> DescentRisk:
    ...
def effective_ridge(spectrum: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_samples: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], ridge: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> EffectiveRidge:
    ...
def factor_descent(s: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], n_samples: typing.SupportsInt | typing.SupportsIndex, factors: collections.abc.Sequence[typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, n]"]], *, step_size: typing.SupportsFloat | typing.SupportsIndex, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, progress: typing.Any = None) -> Descent:
    ...
def metric_sums(spectrum: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], weights: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], effective_ridge: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], metric: Metric, n_threads: typing.SupportsInt | typing.SupportsIndex) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
    ...
def rank_one_descent(s: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_samples: typing.SupportsInt | typing.SupportsIndex, source: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], *, null_square: typing.SupportsFloat | typing.SupportsIndex, depth: typing.SupportsInt | typing.SupportsIndex, step_size: typing.SupportsFloat | typing.SupportsIndex, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, progress: typing.Any = None) -> Descent:
    ...
def relu_network_fit(W: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], a: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], training: ReluTraining, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> ReluFit:
    ...
def relu_network_predict(W: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], a: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def relu_ntk(X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> numpy.typing.NDArray[numpy.float64]:
    ...
def relu_ntk_cross(X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], Y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> numpy.typing.NDArray[numpy.float64]:
    ...
def row_space(x: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"]) -> RowSpace:
    ...
def row_space_of_gram(x: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], eigenvalues: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], eigenvectors: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.f_contiguous"]) -> RowSpace:
    ...
def simulate(target: Task, source: Source, *, depth: typing.SupportsFloat | typing.SupportsIndex, source_scale: typing.SupportsFloat | typing.SupportsIndex, entries: Entries, key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_repeats: typing.SupportsInt | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> Simulation:
    ...
def top_k_bound(spectrum: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], weights: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], coef: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], n_samples: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], ridge: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], effective_ridge: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_threads: typing.SupportsInt | typing.SupportsIndex) -> TopKBound:
    ...
largest_gram_condition: float = 1000000.0
