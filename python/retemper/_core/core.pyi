from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "ordered_sum",
    "philox4x64",
    "status_list",
    "stream_uniform",
    "stream_words",
    "wait_under_control",
]

def ordered_sum(
    x: typing.Annotated[numpy.typing.NDArray[numpy.float64], "[m, 1]"],
    block: typing.SupportsInt | typing.SupportsIndex,
    n_threads: typing.SupportsInt | typing.SupportsIndex,
) -> float: ...
def philox4x64(
    counter: typing.Annotated[
        collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"
    ],
    key: typing.Annotated[
        collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"
    ],
) -> typing.Annotated[list[int], "FixedSize(4)"]: ...
def status_list() -> list[tuple[str, str]]: ...
def stream_uniform(
    key: typing.Annotated[
        collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"
    ],
    purpose: typing.SupportsInt | typing.SupportsIndex,
    replica: typing.SupportsInt | typing.SupportsIndex,
    sweep: typing.SupportsInt | typing.SupportsIndex,
    first: typing.SupportsInt | typing.SupportsIndex,
    n: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float64]: ...
def stream_words(
    key: typing.Annotated[
        collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"
    ],
    purpose: typing.SupportsInt | typing.SupportsIndex,
    replica: typing.SupportsInt | typing.SupportsIndex,
    sweep: typing.SupportsInt | typing.SupportsIndex,
    first: typing.SupportsInt | typing.SupportsIndex,
    n: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.uint64]: ...
def wait_under_control(
    n_items: typing.SupportsInt | typing.SupportsIndex,
    seconds: typing.SupportsFloat | typing.SupportsIndex,
    n_threads: typing.SupportsInt | typing.SupportsIndex,
    progress: typing.Any = None,
) -> None: ...
