"""What predictions of fine-tuning were worth: constants from recorded runs, and intervals by them.

`bench/calibrate_networks.py` records real fine-tunings of small networks on images beside what
leave-one-out with the fine-tuning kernel said of them. On half of the pairs of a source and a
target the true error is regressed on the one that was said, both over the error of guessing the
commonest class, with a slope that is drawn to one: level, slope, and the half width that held
95 of 100 residuals. The other half of the pairs reports. Between the recorded numbers of labels
the constants are interpolated in log n; outside they are those of the nearest.

With e the error over that of guessing, the label curve is e - c e (1 - e) ln(m / n) for m labels
in place of n: what is nearly guessed and what is nearly known gain little (c is fitted to the same
runs). The half width of its band held 80 of 100 of the runs that set it; where it held fewer of the
others, it is widened to what would hold 80 of 100 normal residuals of their spread.
"""

from __future__ import annotations

import dataclasses
import html
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from retemper._extras import load
from retemper._plot import BLUE, new_axes
from retemper._text import number, one_line, table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["LEVELS", "LabelCurve", "kind_of", "label_curve", "level_interval"]

#: Numbers of labels of the recorded runs.
LABELS = (20, 60, 200)
# constants: printed by bench/calibrate_networks.py --report
#: Level, slope and half width by kind of recipe, one of each for every number of labels.
LEVELS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "probe": ((0.590, 0.299, 0.393), (0.381, 0.665, 0.431), (0.313, 0.728, 0.442)),
    "partial": ((0.244, 0.615, 0.511), (0.153, 0.844, 0.293), (0.077, 0.945, 0.181)),
    "full": ((0.187, 0.652, 0.565), (0.102, 0.917, 0.222), (-0.002, 1.008, 0.192)),
    "scratch": ((-0.071, 0.958, 0.412), (0.117, 0.896, 0.180), (0.006, 0.997, 0.165)),
}
#: Rate at which the error falls with labels; half width of the band of 80 of 100.
CURVE: tuple[tuple[float, float], ...] = ((0.430, 0.268), (0.630, 0.162))
#: What the other half of the pairs said, in words.
WORTH = (
    "Record: of 408 fine-tunings of small networks on images, from pairs"
    " that did not set the constants, 94 % lay in the interval."
)
# end of constants
NO_RECORD = "No fine-tunings on numbers were recorded, so that errors have no interval: verify."


def kind_of(recipe: str) -> str:
    """Kind of a recipe in the record: probe, partial, full or scratch."""
    return recipe if recipe in ("probe", "full", "scratch") else "partial"


def _at(values: tuple[float, ...], n: float) -> float:
    """Constant at n labels, interpolated in log n."""
    return float(np.interp(math.log(n), np.log(LABELS[: len(values)]), values))


def level_interval(
    recipe: str, n_samples: int, said: float, chance: float
) -> tuple[float, float, float]:
    """Error of a real fine-tuning, and an interval that holds 95 of 100, from leave-one-out.

    Parameters
    ----------
    recipe : str
        Name of the recipe.
    n_samples : int
        Labels.
    said : float
        Leave-one-out share of errors.
    chance : float
        Error of guessing the commonest class.

    Returns
    -------
    tuple of float
        Error, and the ends of its interval, in [0, 1].
    """
    table = np.array(LEVELS[kind_of(recipe)])
    level, slope, half = (_at(tuple(column), n_samples) for column in table.T)
    middle = level + slope * said / chance
    low, high = middle - half, middle + half
    return tuple(float(np.clip(v * chance, 0.0, 1.0)) for v in (middle, low, high))  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class LabelCurve:
    """Error at other numbers of labels (see `NetworkAdvice.label_curve`).

    Parameters
    ----------
    n_labels : tuple of int
        Numbers of labels.
    error, error_low, error_high : tuple of float
        Share of rows classified wrong, and a band for 80 of 100 runs, from recorded ones.

    See Also
    --------
    advise_network, NetworkAdvice

    Examples
    --------
    >>> from retemper.networks import LabelCurve
    >>> curve = LabelCurve((10, 40), (0.4, 0.2), (0.3, 0.1), (0.5, 0.3))
    >>> dict(zip(curve.n_labels, curve.error, strict=True))
    {10: 0.4, 40: 0.2}
    """

    n_labels: tuple[int, ...]
    error: tuple[float, ...]
    error_low: tuple[float, ...]
    error_high: tuple[float, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row for every number of labels (needs pandas)."""
        frame: pd.DataFrame = load("pandas", "to_frame").DataFrame(dataclasses.asdict(self))
        return frame

    __repr__ = one_line

    def __str__(self) -> str:
        rows = [["labels", "error", "low", "high"]]
        for n, *values in zip(
            self.n_labels, self.error, self.error_low, self.error_high, strict=True
        ):
            rows.append([str(n), *map(number, values)])
        return table(rows)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the error with its band over the labels (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        ax = new_axes(ax)
        order = np.argsort(self.n_labels)
        n, middle, low, high = (
            np.array(v)[order] for v in (self.n_labels, self.error, self.error_low, self.error_high)
        )
        ax.fill_between(n, low, high, color=BLUE, alpha=0.2, linewidth=0)
        ax.plot(n, middle, color=BLUE, marker="o")
        ax.set(xscale="log", xlabel="labels", ylabel="share of rows classified wrong")
        return ax


def label_curve(n_samples: int, error: float, chance: float, n_labels: ArrayLike) -> LabelCurve:
    """The curve of an error that was predicted at one number of labels."""
    numbers = np.asarray(n_labels, dtype=int).reshape(-1)
    low, high = math.ceil(n_samples / 3), 3 * n_samples
    if not len(numbers) or numbers.min() < low or numbers.max() > high:
        raise ValueError(
            f"n_labels must lie in [{low}, {high}]: the record reaches from a third of the labels "
            f"at hand to three times their number; got {numbers.tolist()}"
        )
    rates, halves = zip(*CURVE, strict=True)
    rate, half = _at(rates, n_samples), _at(halves, n_samples) * chance
    share = error / chance
    fall = rate * np.log(numbers / n_samples) * np.clip(share * (1.0 - share), 0.0, 1.0)
    middle = np.clip(share - fall, 0.0, max(1.0, share)) * chance
    ends = (np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0))
    return LabelCurve(tuple(map(int, numbers)), *(tuple(map(float, v)) for v in (middle, *ends)))
