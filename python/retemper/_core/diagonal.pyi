"""
Diagonal linear networks.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Channel', 'FixedPoint', 'Law', 'MarginMoments', 'deep_coordinates', 'deep_fit', 'deep_map', 'descend', 'fit', 'flow', 'margin_averages', 'mean_field_flow', 'mirror_prox', 'solve_fixed_points']
class Law:
    """
    Mixture law of one coordinate: (K,) each.
    """
    def __init__(self, *, weight: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], mean: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], var: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], centre: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], source: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], depth: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class Channel:
    """
    Samples per feature, noise and penalty.
    """
    def __init__(self, *, alpha: typing.SupportsFloat | typing.SupportsIndex, noise_var: typing.SupportsFloat | typing.SupportsIndex, mu: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class FixedPoint:
    """
    Solution of one problem; mse_of, drift_of: (K,).
    """
    @property
    def dof(self) -> float:
        ...
    @property
    def drift_of(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def effective_mu(self) -> float:
        ...
    @property
    def mse(self) -> float:
        ...
    @property
    def mse_of(self) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
        ...
    @property
    def n_iter(self) -> int:
        ...
    @property
    def quadrature_error(self) -> float:
        ...
    @property
    def residual(self) -> float:
        ...
    @property
    def status(self) -> str:
        ...
    @property
    def tau(self) -> float:
        ...
class MarginMoments:
    """
    Averages of the channel of margins.
    """
    @property
    def dof(self) -> float:
        ...
    @property
    def overlap(self) -> float:
        ...
    @property
    def square(self) -> float:
        ...
def deep_coordinates(*, coef: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], depth: typing.SupportsFloat | typing.SupportsIndex) -> typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"]:
    ...
def deep_fit(*, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], centre: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], mu: typing.SupportsFloat | typing.SupportsIndex, depth: typing.SupportsFloat | typing.SupportsIndex, coef_start: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], leave_one_out: bool, lift: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> dict:
    ...
def deep_map(*, mirror: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], depth: typing.SupportsFloat | typing.SupportsIndex) -> dict:
    ...
def descend(*, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], w_plus: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], v_plus: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], w_minus: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], v_minus: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], rate_w: typing.SupportsFloat | typing.SupportsIndex, rate_v: typing.SupportsFloat | typing.SupportsIndex, n_steps: typing.SupportsInt | typing.SupportsIndex, batch_size: typing.SupportsInt | typing.SupportsIndex, label_noise: typing.SupportsFloat | typing.SupportsIndex, stride: typing.SupportsInt | typing.SupportsIndex, key: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], progress: typing.Any) -> dict:
    ...
def fit(*, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], centre: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], mu: typing.SupportsFloat | typing.SupportsIndex, coef_start: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], use_factor: bool, leave_one_out: bool, lift: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], mean_leverage: typing.SupportsFloat | typing.SupportsIndex, max_iter: typing.SupportsInt | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> dict:
    ...
def flow(*, X: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]", "flags.c_contiguous"], y: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], centre: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], depth: typing.SupportsFloat | typing.SupportsIndex, times: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], rtol: typing.SupportsFloat | typing.SupportsIndex, atol: typing.SupportsFloat | typing.SupportsIndex, max_steps: typing.SupportsInt | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> dict:
    ...
def margin_averages(*, law: Law, signal: typing.SupportsFloat | typing.SupportsIndex, tau: typing.SupportsFloat | typing.SupportsIndex, effective_mu: typing.SupportsFloat | typing.SupportsIndex) -> MarginMoments:
    ...
def mean_field_flow(*, weight: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], target: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], scale: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], centre: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], source: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"], group: typing.Annotated[numpy.typing.NDArray[numpy.int32], "[m, 1]"], n_groups: typing.SupportsInt | typing.SupportsIndex, normals: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, n]"], depth: typing.SupportsFloat | typing.SupportsIndex, alpha: typing.SupportsFloat | typing.SupportsIndex, noise_var: typing.SupportsFloat | typing.SupportsIndex, end_time: typing.SupportsFloat | typing.SupportsIndex, tol: typing.SupportsFloat | typing.SupportsIndex, most_steps: typing.SupportsInt | typing.SupportsIndex, n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> dict:
    ...
def mirror_prox(*, z: typing.SupportsFloat | typing.SupportsIndex, c: typing.SupportsFloat | typing.SupportsIndex, effective_mu: typing.SupportsFloat | typing.SupportsIndex, u0: typing.SupportsFloat | typing.SupportsIndex, depth: typing.SupportsFloat | typing.SupportsIndex) -> float:
    ...
def solve_fixed_points(*, laws: collections.abc.Sequence[Law], channels: collections.abc.Sequence[Channel], n_threads: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> list[FixedPoint]:
    ...
