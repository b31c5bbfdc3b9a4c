"""
Sums over activations, and a small network
"""
from __future__ import annotations
import collections.abc
import enum
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Activation', 'FoldSums', 'Loss', 'MlpProblem', 'MlpState', 'Precision', 'TargetProducts', 'count_hits', 'mlp_train', 'target_products']
class Precision(enum.Enum):
    double: typing.ClassVar[Precision]
    single: typing.ClassVar[Precision]
    @classmethod
    def __new__(cls, value):
        ...
class FoldSums:
    def __getstate__(self) -> tuple[int, typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]]:
        ...
    def __init__(self, n_folds: typing.SupportsInt | typing.SupportsIndex, shift_h: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], shift_t: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> None:
        ...
    def __setstate__(self, arg0: tuple[typing.SupportsInt | typing.SupportsIndex, typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"], typing.Annotated[numpy.typing.ArrayLike, numpy.float64, "[m, 1]"]]) -> None:
        ...
    @typing.overload
    def add(self, H: numpy.typing.NDArray[numpy.float64], T: numpy.typing.NDArray[numpy.float64], fold: numpy.typing.NDArray[numpy.int64], precision: Precision, n_threads: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @typing.overload
    def add(self, H: numpy.typing.NDArray[numpy.float32], T: numpy.typing.NDArray[numpy.float64], fold: numpy.typing.NDArray[numpy.int64], precision: Precision, n_threads: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def count(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def h(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def hh(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def ht(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def shift_h(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def shift_t(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def t(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
    @property
    def tt(self) -> numpy.typing.NDArray[numpy.float64]:
        ...
class TargetProducts:
    @property
    def cross(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def train(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class Activation(enum.Enum):
    relu: typing.ClassVar[Activation]
    tanh: typing.ClassVar[Activation]
    @classmethod
    def __new__(cls, value):
        ...
class Loss(enum.Enum):
    softmax: typing.ClassVar[Loss]
    squared: typing.ClassVar[Loss]
    @classmethod
    def __new__(cls, value):
        ...
class MlpProblem:
    def __init__(self, *, sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], activation: Activation, loss: Loss, learning_rate: typing.SupportsFloat | typing.SupportsIndex, momentum: typing.SupportsFloat | typing.SupportsIndex, weight_decay: typing.SupportsFloat | typing.SupportsIndex, batch_size: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class MlpState:
    def __init__(self, parameters: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]) -> None:
        ...
    @property
    def loss(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def parameters(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def step(self) -> int:
        ...
    @property
    def velocity(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
def count_hits(P: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], c: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], Z: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], mean: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], label: numpy.typing.NDArray[numpy.int64], n_threads: typing.SupportsInt | typing.SupportsIndex) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def mlp_train(problem: MlpProblem, start: MlpState, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], Y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_steps: typing.SupportsInt | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> MlpState:
    ...
def target_products(sums: FoldSums, held_out: typing.SupportsInt | typing.SupportsIndex, first: typing.SupportsInt | typing.SupportsIndex, last: typing.SupportsInt | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex) -> TargetProducts:
    ...
