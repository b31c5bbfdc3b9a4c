"""
Bayesian networks of finite width
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['collapsed_energy', 'cross_kernel', 'kernel', 'kernel_of_gram', 'kernel_of_pairs', 'simulate']
def collapsed_energy(activation: typing.SupportsInt | typing.SupportsIndex, lam1: typing.SupportsFloat | typing.SupportsIndex, T: typing.SupportsFloat | typing.SupportsIndex, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], W: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"]) -> tuple[float, typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"]]:
    ...
def cross_kernel(activation: typing.SupportsInt | typing.SupportsIndex, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], Y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel(activation: typing.SupportsInt | typing.SupportsIndex, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel_of_gram(activation: typing.SupportsInt | typing.SupportsIndex, gram: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], cov: typing.SupportsFloat | typing.SupportsIndex, is_centred: bool, n_threads: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    ...
def kernel_of_pairs(activation: typing.SupportsInt | typing.SupportsIndex, gram: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], row_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], col_var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], is_centred: bool) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def simulate(activation: typing.SupportsInt | typing.SupportsIndex, width: typing.SupportsInt | typing.SupportsIndex, law: typing.Annotated[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], "FixedSize(6)"], counts: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(7)"], method: typing.SupportsInt | typing.SupportsIndex, step: typing.SupportsFloat | typing.SupportsIndex, source_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], source_y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], target_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], target_y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], test_X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any = None) -> dict:
    ...
