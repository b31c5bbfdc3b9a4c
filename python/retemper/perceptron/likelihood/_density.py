"""Any density of the label, as Legendre series on panels of the field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.perceptron.likelihood._finite import FiniteChannel, choose
from retemper.perceptron.panels import (
    LAST,
    SERIES,
    SMALLEST,
    TERMS,
    ChannelAverages,
    Evidence,
    field_panels,
    integral_of_size,
    integrate_panels,
    normal_density,
    panel_evidence,
    panel_nodes,
    refined,
)

__all__ = ["LogisticDensity", "TableChannel"]


@dataclasses.dataclass(frozen=True)
class LogisticDensity:
    """Log probability of labels -1 and 1 whose log-odds are the field times a slope."""

    steepness: float

    def __call__(self, y: FloatArray, h: FloatArray) -> FloatArray:
        return -np.logaddexp(0.0, -self.steepness * y * h)


class _Table(NamedTuple):
    """A density on panels in the field, for every label or node of the label."""

    edges: FloatArray
    series: FloatArray  # (n_labels, n_panels * 16)
    labels: FloatArray
    weights: FloatArray  # of the labels
    error: float  # largest relative size of the last terms of a panel


class TableChannel(FiniteChannel):
    """Any density, as Legendre series on panels in the field."""

    #: Relative size of the last terms of a panel at which it is resolved.
    _goal: ClassVar[float] = 1e-11

    def __init__(
        self,
        log_density: Callable[[FloatArray, FloatArray], ArrayLike],
        labels: tuple[float, ...] | None = None,
        label_range: tuple[float, float] | None = None,
        breakpoints: tuple[float, ...] = (),
        text: str = "Channel",
    ) -> None:
        self.log_density, self._range, self._text = log_density, label_range, text
        self.labels = labels  # type: ignore[assignment]
        self.walls = tuple((t, 0.0) for t in breakpoints)
        self._tables: dict[float, _Table] = {}

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        table = max(self._tables.values(), key=lambda t: t.edges[-1])
        grid = mean if self.labels is not None else np.linspace(mean.min(), mean.max(), 400)
        at = panel_evidence(table.edges, table.series, grid, np.full_like(grid, variance)).value
        if self.labels is not None:
            best: FloatArray = self._values[at.argmax(axis=0)]
            return best
        guess = (table.weights * table.labels) @ at  # smooth in the field
        return np.asarray(CubicSpline(grid, guess)(mean), dtype=np.float64)

    @property
    def is_log_concave(self) -> bool:
        return isinstance(self.log_density, LogisticDensity)

    @property
    def is_exact(self) -> bool:
        return bool(self.walls)

    def _density(self, y: FloatArray, h: FloatArray) -> FloatArray:
        said = self.log_density(y, h)
        try:
            log = np.asarray(said, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{self._text} must return real numbers, got {said!r:.60}") from None
        shape = np.broadcast_shapes(y.shape, h.shape)
        if log.shape != shape:
            try:
                log = np.broadcast_to(log, shape)
            except ValueError:
                raise ValueError(
                    f"{self._text} must return an array of shape {shape}, got {log.shape}"
                ) from None
        if np.isnan(log).any() or (log == math.inf).any():
            where = tuple(np.argwhere(np.isnan(log) | (log == math.inf))[0])
            at = [float(np.broadcast_to(x, shape)[where]) for x in (y, h)]
            raise NumericalError(
                f"{self._text} is {log[where]} at label {at[0]:g} and field {at[1]:g}"
            )
        return np.exp(log)

    def check_scale(self, second_moment: float, name: str) -> None:
        try:
            self.table(second_moment)
        except (ValueError, NumericalError) as error:
            raise type(error)(f"{name} {error}") from error

    def table(self, rho: float) -> _Table:
        """The density for fields of variance ``rho``."""
        key = float(f"{rho:.9g}")
        if key not in self._tables:
            self._tables[key] = self._make_table(key)
        return self._tables[key]

    def _make_table(self, rho: float) -> _Table:
        reach = 10.0 * math.sqrt(rho)
        inner = [t for t, _ in self.walls if abs(t) < reach]
        edges = np.unique([*np.linspace(-reach, reach, 11), *inner])
        if self.labels is not None:
            labels, weights = np.asarray(self.labels), np.ones(len(self.labels))
        else:
            labels, weights = self._label_nodes(reach)
        worst = 0.0
        for _ in range(12):
            h, _, _ = panel_nodes(edges)
            density = self._density(labels[:, None, None], h[None])
            last = np.abs(density @ SERIES[-LAST:].T).max(axis=-1)
            size = density.max(axis=(1, 2))[:, None] + 1e-300
            bad = (last / size).max(axis=0)
            worst = float(bad.max())
            if worst <= self._goal or edges.size > 400:
                break
            middle = 0.5 * (edges[1:] + edges[:-1])[bad > self._goal]
            edges = np.sort(np.concatenate([edges, middle]))
        self._check_norm(labels, weights, h, density, rho)
        series = (density @ SERIES.T).reshape(labels.size, -1)
        return _Table(edges, np.ascontiguousarray(series), labels, weights, worst)

    def _check_norm(
        self, labels: FloatArray, weights: FloatArray, h: FloatArray, density: FloatArray,
        rho: float,
    ) -> None:  # fmt: skip
        total = np.einsum("l,lpk->pk", weights, density)
        inside = np.abs(h) < 0.6 * np.abs(h).max()  # six standard deviations
        gap = np.where(inside, np.abs(total - 1), 0.0)
        tol = 1e-8 if self.labels is not None else 1e-6
        if gap.max() > tol:
            at = np.unravel_index(gap.argmax(), gap.shape)
            is_list = self.labels is not None
            if is_list:
                what = f"over the labels {labels.tolist()} probabilities add up to"
            else:
                what = f"over label_range {self._range} the density integrates to"
            hint = "" if is_list or total[at] > 1 else "; some labels lie beyond label_range"
            raise ValueError(
                f"{self._text} does not normalise: {what} {total[at]:.6g}, not 1, at field "
                f"{h[at]:.4g} (fields of variance {rho:g}){hint}"
            )

    def _label_nodes(self, reach: float) -> tuple[FloatArray, FloatArray]:
        """Nodes in the label: panels halved until the density is resolved at every field."""
        assert self._range is not None
        edges = np.linspace(*self._range, 17)
        h = np.linspace(-0.8 * reach, 0.8 * reach, 97)
        for _ in range(8):
            y, weight, half = panel_nodes(edges)
            density = self._density(y[..., None], h)
            last = np.abs(np.einsum("tk,pkh->pth", SERIES[-LAST:], density)).max(axis=(1, 2))
            bad = last * half > 1e-8
            if not bad.any():
                break
            edges = np.sort(np.concatenate([edges, (0.5 * (edges[1:] + edges[:-1]))[bad]]))
        live = density.max(axis=(1, 2)) * half > 1e-16
        return y[live].reshape(-1), weight[live].reshape(-1)

    def field_law(self, second_moment: float) -> core.perceptron.FieldLaw | None:
        if self.labels is None:
            return None
        table = self.table(second_moment)
        walls = np.array([place for place, _ in self.walls])
        return core.perceptron.FieldLaw(table.edges, table.series, walls)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        raise NotImplementedError

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        self.table(float((q + V)[0]))
        return refined(self._measure, q, np.maximum(V, SMALLEST * (q + V)))

    def _measure(self, q: FloatArray, V: FloatArray, level: int) -> ChannelAverages:
        table = self.table(float((q + V)[0]))
        z, weight, half = field_panels(q, V, self.walls, level)
        mean = np.sqrt(q)[:, None, None] * z
        spread = np.broadcast_to(V[:, None, None], mean.shape).reshape(-1)
        live = (weight > 1e-26).reshape(-1)
        at = panel_evidence(table.edges, table.series, mean.reshape(-1)[live], spread[live])
        Z = np.maximum(at.value, 1e-300)
        g = np.where(Z > 1e-30, at.first / Z, 0.0)
        dg = np.where(Z > 1e-30, at.second / Z - g * g, 0.0)
        w = table.weights

        def spread_out(values: FloatArray) -> FloatArray:
            full = np.zeros(mean.size)
            full[live] = values
            return full.reshape(mean.shape)

        fisher = spread_out(w @ (Z * g * g)) * normal_density(z)
        overlap, error = integrate_panels(fisher, weight / normal_density(z), half)

        def total(values: FloatArray) -> FloatArray:
            return np.asarray(np.einsum("npk,npk->n", weight, spread_out(values)))

        if self.labels is not None and len(self.labels) == 2:
            gap = spread_out(Z[1] - Z[0]) * normal_density(z)
            loss = 0.5 * (1 - integral_of_size(gap, half))
        elif self.labels is not None:
            loss = 1 - total(Z.max(axis=0))
        else:
            y = table.labels
            guess = (w * y) @ Z
            loss = total((w * y * y) @ Z - guess * guess)
        return ChannelAverages(
            overlap, total(w @ (Z * dg * dg)), total(w @ (Z * np.log(Z))), loss,
            error + table.error * overlap,
        )  # fmt: skip

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        if self.labels is None:
            raise ValueError(f"{self} as a student needs finitely many labels, or matched data")
        y, mean, variance = np.broadcast_arrays(y, mean, variance)
        table = max(self._tables.values(), key=lambda t: t.edges[-1])
        at = panel_evidence(table.edges, table.series, mean.reshape(-1), variance.reshape(-1))
        where = self._index(y.reshape(-1)), np.arange(mean.size)
        return Evidence(*(part[where].reshape(mean.shape) for part in at))

    def rows(self, y: FloatArray, second_moment: float) -> Callable[[FloatArray, float], Evidence]:
        """Evidence of these labels as a function of the means and one variance."""
        table = self.table(second_moment)
        if self.labels is not None:
            series = np.ascontiguousarray(table.series[self._index(y)])
        else:
            h, _, _ = panel_nodes(table.edges)
            density = self._density(y[:, None, None], h[None])
            series = np.ascontiguousarray((density @ SERIES.T).reshape(y.size, -1))

        def evidence(mean: FloatArray, variance: float) -> Evidence:
            at = panel_evidence(
                table.edges, series, mean, np.full_like(mean, variance), is_paired=True
            )
            return Evidence(at.value[0], at.first[0], at.second[0])

        return evidence

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        if self.labels is not None:
            return choose(
                self.labels, self._density(np.asarray(self.labels)[:, None], h), random_state
            )
        table = self.table(float(np.mean(h**2)))
        y, weight = table.labels.reshape(-1, TERMS), table.weights.reshape(-1, TERMS)
        density = self._density(y[..., None], h)  # (panels, 16, n)
        mass = np.einsum("pk,pkn->pn", weight, density)
        panel = choose(tuple(range(y.shape[0])), np.maximum(mass, 0), random_state).astype(int)
        series = np.einsum("tk,pkn->ptn", SERIES, density)[panel, :, np.arange(h.size)]
        half = weight.sum(axis=1)[panel] / 2
        centre = 0.5 * (y[panel, 0] + y[panel, -1])
        top = 1.3 * density[panel, :, np.arange(h.size)].max(axis=1)
        out, waiting = np.empty(h.size), np.arange(h.size)
        while waiting.size:
            t = random_state.uniform(-1, 1, waiting.size)
            value = np.einsum(
                "nt,nt->n", np.polynomial.legendre.legvander(t, TERMS - 1), series[waiting]
            )
            took = random_state.random(waiting.size) * top[waiting] < value
            done = waiting[took]
            out[done] = centre[done] + half[done] * t[took]
            waiting = waiting[~took]
        return out
