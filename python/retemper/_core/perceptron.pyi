from __future__ import annotations
import collections.abc
import enum
import numpy
import numpy.typing
import typing
__all__: list[str] = ['AmpRuns', 'ChannelScore', 'CriticalPoint', 'CurveTable', 'Evidence', 'FieldLaw', 'FieldScores', 'FixedPoint', 'HermiteMoments', 'LabelAverages', 'Law', 'LeadingDirection', 'Loss', 'MismatchSolution', 'MomentTable', 'OverlapPath', 'Prior', 'Role', 'RowKind', 'RowLaw', 'SampledRows', 'Transitions', 'amp', 'channel_evidence', 'channel_score', 'critical_line', 'curve_table', 'error_margin', 'field_scores', 'fixed_points', 'hermite_moments', 'labels_to_leave', 'leading_direction', 'logistic_pull', 'loss_averages', 'odds_transform', 'posterior_averages', 'sample_rows', 'series_terms', 'solve_mismatched', 'state_evolution', 'transitions']
class Law(enum.Enum):
    """
    What separates the two sides of the rows.
    """
    cluster = ...
    margin = ...
class RowKind(enum.Enum):
    """
    What is known about a row.
    """
    negative = ...
    positive = ...
    unlabelled = ...
class RowLaw:
    """
    Law of the rows.
    """
    def __init__(self, *, law: Law, kappa: typing.SupportsFloat | typing.SupportsIndex, sigma: typing.SupportsFloat | typing.SupportsIndex, eta_u: typing.SupportsFloat | typing.SupportsIndex, eta_l: typing.SupportsFloat | typing.SupportsIndex, cluster_mean: typing.SupportsFloat | typing.SupportsIndex, offset: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool) -> None:
        ...
    @property
    def cluster_mean(self) -> float:
        ...
    @property
    def eta_l(self) -> float:
        ...
    @property
    def eta_u(self) -> float:
        ...
    @property
    def is_centred(self) -> bool:
        ...
    @property
    def kappa(self) -> float:
        ...
    @property
    def law(self) -> Law:
        ...
    @property
    def offset(self) -> float:
        ...
    @property
    def sigma(self) -> float:
        ...
class HermiteMoments:
    """
    E h and E h^2 - 1 of a kind of row.
    """
    @property
    def first(self) -> float:
        ...
    @property
    def second(self) -> float:
        ...
class ChannelScore:
    """
    ln W of fields and its derivatives: (n,) each.
    """
    @property
    def dg(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def g(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def log_w(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
class Prior(enum.Enum):
    """
    Law of the weights.
    """
    binary = ...
    sphere = ...
class FixedPoint:
    """
    One fixed point of the Bayes-optimal theory.
    """
    @property
    def V(self) -> float:
        ...
    @property
    def error(self) -> float:
        ...
    @property
    def free_entropy(self) -> float:
        ...
    @property
    def label_equivalent(self) -> float:
        ...
    @property
    def q(self) -> float:
        ...
    @property
    def residual(self) -> float:
        ...
    @property
    def stability(self) -> float:
        ...
class Transitions:
    """
    Thresholds along alpha_u.
    """
    @property
    def alpha_alg(self) -> float:
        ...
    @property
    def alpha_c(self) -> float:
        ...
    @property
    def alpha_it(self) -> float:
        ...
    @property
    def alpha_sp_minus(self) -> float:
        ...
    @property
    def first_order(self) -> bool:
        ...
    @property
    def q_alg(self) -> float:
        ...
    @property
    def q_it_high(self) -> float:
        ...
    @property
    def q_it_low(self) -> float:
        ...
    @property
    def q_sp_minus(self) -> float:
        ...
class CriticalPoint:
    """
    End of the first-order line.
    """
    @property
    def alpha_l(self) -> float:
        ...
    @property
    def alpha_u(self) -> float:
        ...
    @property
    def q(self) -> float:
        ...
    @property
    def status(self) -> str:
        ...
class MomentTable:
    """
    Averages of one kind of row: (n,) each.
    """
    @property
    def entropy(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def overlap(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def slope(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
class CurveTable:
    """
    Points of the curve of fixed points: (n,) each.
    """
    @property
    def V(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def b(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def dq(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def labelled(self) -> MomentTable:
        ...
    @property
    def prior_entropy(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def q(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def unlabelled(self) -> MomentTable:
        ...
class MismatchSolution:
    """
    Fixed point of a mismatched student.
    """
    @property
    def error(self) -> float:
        ...
    @property
    def free_entropy(self) -> float:
        ...
    @property
    def m(self) -> float:
        ...
    @property
    def n_iter(self) -> int:
        ...
    @property
    def q(self) -> float:
        ...
    @property
    def replicon(self) -> float:
        ...
    @property
    def residual(self) -> float:
        ...
    @property
    def status(self) -> str:
        ...
class OverlapPath:
    """
    Overlaps iteration by iteration: (n + 1,) each.
    """
    @property
    def m(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def q(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
class Role(enum.IntEnum):
    """
    What a row is to a problem.
    """
    negative = ...
    positive = ...
    unlabelled = ...
class AmpRuns:
    """
    What message passing ends with, problem by problem.
    """
    @property
    def cosine(self) -> list[list[float]]:
        ...
    @property
    def damping(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def field_mean(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def free_entropy(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def n_iter(self) -> list[int]:
        ...
    @property
    def residual(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def status(self) -> list[str]:
        ...
    @property
    def variance(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def weights(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class LeadingDirection:
    """
    Leading eigenvector of X'X / n_used.
    """
    @property
    def direction(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def eigenvalue(self) -> float:
        ...
    @property
    def residual(self) -> float:
        ...
class SampledRows:
    """
    Rows, and +-1 for the side that each shows.
    """
    @property
    def X(self) -> numpy.ndarray:
        ...
    @property
    def side(self) -> numpy.typing.NDArray[numpy.int8]:
        ...
class Evidence:
    """
    Mean likelihood of fields and its derivatives.
    """
    @property
    def first(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def second(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def value(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
class FieldLaw:
    """
    P(label | field) of finitely many labels.
    """
    @typing.overload
    def __init__(self, n_labels: typing.SupportsInt | typing.SupportsIndex, slabs: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], sigma: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @typing.overload
    def __init__(self, edges: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], density: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], walls: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> None:
        ...
class FieldScores:
    """
    P(label) and derivatives of its logarithm.
    """
    @property
    def dg(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def g(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def value(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class Loss(enum.Enum):
    """
    What a student minimises.
    """
    hinge = ...
    huber = ...
    logistic = ...
    square = ...
class LabelAverages:
    """
    Averages over new rows.
    """
    @property
    def bend(self) -> float:
        ...
    @property
    def cross(self) -> float:
        ...
    @property
    def error(self) -> float:
        ...
    @property
    def relative_error(self) -> float:
        ...
    @property
    def square(self) -> float:
        ...
    @property
    def squared_bend(self) -> float:
        ...
@typing.overload
def amp(X: numpy.typing.NDArray[numpy.float64], role: numpy.typing.NDArray[numpy.int8], laws: collections.abc.Sequence[RowLaw], prior: Prior, *, start: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, damping: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, truth: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None = None, progress: typing.Any = None) -> AmpRuns:
    ...
@typing.overload
def amp(X: numpy.typing.NDArray[numpy.float32], role: numpy.typing.NDArray[numpy.int8], laws: collections.abc.Sequence[RowLaw], prior: Prior, *, start: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, damping: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, truth: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None = None, progress: typing.Any = None) -> AmpRuns:
    ...
def channel_evidence(edges: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], density: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], mean: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], variance: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], *, is_paired: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> Evidence:
    ...
def channel_score(law: RowLaw, kind: RowKind, mean: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], variance: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_threads: typing.SupportsInt | typing.SupportsIndex) -> ChannelScore:
    ...
def critical_line(law: RowLaw, n_threads: typing.SupportsInt | typing.SupportsIndex) -> CriticalPoint:
    ...
def curve_table(law: RowLaw, prior: Prior, log_b: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_threads: typing.SupportsInt | typing.SupportsIndex) -> CurveTable:
    ...
def error_margin(cosine: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], sine: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], kappa: typing.SupportsFloat | typing.SupportsIndex) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def field_scores(law: FieldLaw, mean: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], variance: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> FieldScores:
    ...
def fixed_points(law: RowLaw, prior: Prior, alpha_u: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], alpha_l: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> list[list[FixedPoint]]:
    ...
def hermite_moments(law: RowLaw, kind: RowKind) -> HermiteMoments:
    ...
def labels_to_leave(law: RowLaw, alpha_u: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex) -> float:
    ...
@typing.overload
def leading_direction(X: numpy.typing.NDArray[numpy.float64], use: numpy.typing.NDArray[numpy.bool], *, max_steps: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_threads: typing.SupportsInt | typing.SupportsIndex) -> LeadingDirection:
    ...
@typing.overload
def leading_direction(X: numpy.typing.NDArray[numpy.float32], use: numpy.typing.NDArray[numpy.bool], *, max_steps: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_threads: typing.SupportsInt | typing.SupportsIndex) -> LeadingDirection:
    ...
def logistic_pull(u: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], V: typing.SupportsFloat | typing.SupportsIndex) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def loss_averages(teacher: FieldLaw, labels: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], loss: Loss, *, V: typing.SupportsFloat | typing.SupportsIndex, q: typing.SupportsFloat | typing.SupportsIndex, m: typing.SupportsFloat | typing.SupportsIndex, rho: typing.SupportsFloat | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, error_tol: typing.SupportsFloat | typing.SupportsIndex) -> LabelAverages:
    ...
def odds_transform(law: RowLaw, q: typing.SupportsFloat | typing.SupportsIndex, V: typing.SupportsFloat | typing.SupportsIndex, width: typing.SupportsFloat | typing.SupportsIndex, t: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def posterior_averages(teacher: FieldLaw, student: FieldLaw, *, V: typing.SupportsFloat | typing.SupportsIndex, q: typing.SupportsFloat | typing.SupportsIndex, m: typing.SupportsFloat | typing.SupportsIndex, rho: typing.SupportsFloat | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, error_tol: typing.SupportsFloat | typing.SupportsIndex) -> LabelAverages:
    ...
def sample_rows(law: RowLaw, w_true: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], *, n_labelled: typing.SupportsInt | typing.SupportsIndex, n_rows: typing.SupportsInt | typing.SupportsIndex, key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], replica: typing.SupportsInt | typing.SupportsIndex, single: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> SampledRows:
    ...
def solve_mismatched(student: RowLaw, teacher: RowLaw, alpha_u: typing.SupportsFloat | typing.SupportsIndex, alpha_l: typing.SupportsFloat | typing.SupportsIndex, q: typing.SupportsFloat | typing.SupportsIndex, m: typing.SupportsFloat | typing.SupportsIndex, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, progress: typing.Any = None) -> MismatchSolution:
    ...
def state_evolution(student: RowLaw, teacher: RowLaw, prior: Prior, alpha_u: typing.SupportsFloat | typing.SupportsIndex, alpha_l: typing.SupportsFloat | typing.SupportsIndex, q: typing.SupportsFloat | typing.SupportsIndex, m: typing.SupportsFloat | typing.SupportsIndex, n_iter: typing.SupportsInt | typing.SupportsIndex) -> OverlapPath:
    ...
def transitions(law: RowLaw, alpha_l: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex) -> Transitions:
    ...
series_terms: int = 16
