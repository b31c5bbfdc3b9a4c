"""
Bayesian networks of finite width
"""
from __future__ import annotations
import collections.abc
import enum
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Activation', 'Draws', 'EnergyGradient', 'Method', 'NetworkLaw', 'Schedule', 'collapsed_energy', 'cross_kernel', 'kernel', 'kernel_of_gram', 'kernel_of_pairs', 'simulate']
class Activation(enum.Enum):
    erf: typing.ClassVar[Activation]
    gelu: typing.ClassVar[Activation]
    linear: typing.ClassVar[Activation]
    relu: typing.ClassVar[Activation]
    @classmethod
    def __new__(cls, value):
        ...
class Method(enum.Enum):
    gibbs: typing.ClassVar[Method]
    hmc: typing.ClassVar[Method]
    langevin: typing.ClassVar[Method]
    @classmethod
    def __new__(cls, value):
        ...
class NetworkLaw:
    def __init__(self, *, activation: Activation, width: typing.SupportsInt | typing.SupportsIndex, lam0: typing.SupportsFloat | typing.SupportsIndex, lam1: typing.SupportsFloat | typing.SupportsIndex, lam1_source: typing.SupportsFloat | typing.SupportsIndex, temperature_source: typing.SupportsFloat | typing.SupportsIndex, temperature_target: typing.SupportsFloat | typing.SupportsIndex, gamma: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class Schedule:
    def __init__(self, *, method: Method, n_chains: typing.SupportsInt | typing.SupportsIndex, n_draws: typing.SupportsInt | typing.SupportsIndex, n_burn_source: typing.SupportsInt | typing.SupportsIndex, n_thin_source: typing.SupportsInt | typing.SupportsIndex, n_burn_target: typing.SupportsInt | typing.SupportsIndex, n_sweeps_target: typing.SupportsInt | typing.SupportsIndex, n_steps: typing.SupportsInt | typing.SupportsIndex, step_size: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class Draws:
    @property
    def Q_s(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def Q_st(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def Q_t(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def Q_tt(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def acceptance_source(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def acceptance_target(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def mean_a(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def mean_b(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def mean_square(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def trace_Q_s(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
    @property
    def trace_energy(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
class EnergyGradient:
    @property
    def energy(self) -> float:
        ...
    @property
    def gradient(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]:
        ...
def collapsed_energy(activation: Activation, lam1: typing.SupportsFloat | typing.SupportsIndex, temperature: typing.SupportsFloat | typing.SupportsIndex, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], W: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"]) -> EnergyGradient:
    ...
def cross_kernel(activation: Activation, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], Y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel(activation: Activation, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel_of_gram(activation: Activation, gram: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel_of_pairs(activation: Activation, covs: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], is_centred: bool) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def simulate(law: NetworkLaw, schedule: Schedule, source_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], source_y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], target_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], target_y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], test_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> Draws:
    ...
