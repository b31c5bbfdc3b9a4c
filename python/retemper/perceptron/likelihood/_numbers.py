"""Labels that are numbers: the field plus noise, or its size."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import erf, erfc, erfcx, gammaln

from retemper._validation import FloatArray
from retemper.perceptron.likelihood.catalogue import Channel, call_text
from retemper.perceptron.panels import (
    LOG_ROOT_2PI,
    RADII,
    SERIES,
    SMALLEST,
    ChannelAverages,
    Evidence,
    ResidualLaw,
    integrate_panels,
    normal_density,
    panel_evidence,
    panel_nodes,
)

__all__ = ["FoldChannel", "GaussianChannel", "NoiseChannel"]


class GaussianChannel(Channel):
    """Labels h plus Gaussian noise."""

    def __init__(self, noise: float) -> None:
        self._noise, self._text = noise, call_text("linear", noise=noise)

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        return mean

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        one, t_variance = np.ones(1), second_moment + self._noise**2
        left = max(second_moment - 2 * m + q, 0.0) + self._noise**2
        return ResidualLaw(one, 0 * one, left, 0 * one, t_variance - m, t_variance)

    def gap_edges(self, variance: float) -> FloatArray:
        return math.sqrt(variance + self._noise**2) * np.linspace(0.0, 8.5, 8)

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        s = math.sqrt(variance + self._noise**2)
        n, weight, _ = panel_nodes(np.linspace(-8.5, 8.5, 25))  # losses have kinks
        return mean + s * n.reshape(-1, 1), np.broadcast_to(
            s * weight.reshape(-1, 1), (n.size, mean.size)
        )

    @property
    def is_log_concave(self) -> bool:
        return True

    @property
    def is_exact(self) -> bool:
        return self._noise == 0

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        s2 = variance + self._noise**2
        g = (y - mean) / s2
        value = np.exp(-0.5 * (y - mean) * g) / np.sqrt(2 * np.pi * s2)
        return Evidence(value, value * g, value * (g * g - 1 / s2))

    def score(
        self, y: FloatArray, mean: FloatArray, variance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        s2 = variance + self._noise**2  # the evidence itself underflows
        return (y - mean) / s2, np.broadcast_to(-1 / s2, np.broadcast_shapes(y.shape, mean.shape))

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        s2 = np.maximum(V, SMALLEST * (q + V)) + self._noise**2
        return ChannelAverages(
            1 / s2, 1 / s2**2, -0.5 * np.log(2 * np.pi * math.e * s2), s2, np.zeros_like(s2)
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        return h + self._noise * random_state.normal(size=h.shape)


def _smooth_laplace(gap: FloatArray, V: FloatArray, scale: float) -> Evidence:
    """Laplace density of a gap plus normal noise, and its derivatives in minus the gap.

    The noise on either side is an exponential tilt of a normal law: with the halves R and L of the
    density, its slope is (L - R) / scale.
    """
    root, normal = np.sqrt(2 * V), np.exp(-0.5 * gap * gap / V)
    halves = []
    for u in (gap, -gap):
        t = (V / scale - u) / root
        is_tail = t > 0
        inside = np.exp(np.where(is_tail, 0.0, 0.5 * V / scale**2 - u / scale)) * erfc(t)
        tail = normal * erfcx(np.where(is_tail, t, 0.0))
        halves.append(np.where(is_tail, tail, inside) / (4 * scale))
    right, left = halves
    value = right + left
    second = (value - normal / np.sqrt(2 * np.pi * V)) / scale**2
    return Evidence(value, (right - left) / scale, second)


class NoiseChannel(Channel):
    """Labels h plus heavy-tailed noise: averages are those of the noise, smoothed."""

    def __init__(self, law: str, noise: float, df: float) -> None:
        self._law, self._noise, self._df = law, noise, df
        self._text = f"Channel.linear(noise={noise:g}, law={law!r}" + (
            f", df={df:g})" if law == "student" else ")"
        )
        if law == "laplace":
            self._scale = noise / math.sqrt(2)
            far = [0.0, *np.linspace(2.0, 40.0, 20)]
        else:
            self._scale = noise * math.sqrt((df - 2) / df)
            reach = min(14.0 + 48.0 / (df - 1), 62.0)
            far = [0.0, 0.5, *(2.0 ** np.arange(0, reach))]
        right = self._scale * np.asarray(far)
        self._edges = np.concatenate([-right[:0:-1], right])
        if law == "student":  # Laplace noise is smooth in closed form
            x, _, _ = panel_nodes(self._edges)
            self._table = np.ascontiguousarray((self._density(x) @ SERIES.T).reshape(1, -1))

    def _density(self, e: FloatArray) -> FloatArray:
        u = e / self._scale
        if self._law == "laplace":
            return np.exp(-np.abs(u)) / (2 * self._scale)
        nu = self._df
        log_norm = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * math.log(nu * math.pi)
        return np.exp(log_norm - (nu + 1) / 2 * np.log1p(u * u / nu)) / self._scale

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        return mean

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        left = max(second_moment - 2 * m + q, 0.0)
        bends = np.array([-1 - V, 1 + V, 0.0])[:, None] + math.sqrt(left) * RADII
        edges = np.concatenate([self._edges, bends.reshape(-1)])
        edges = np.unique(np.clip(edges, self._edges[0], self._edges[-1]))
        n, weight, _ = panel_nodes(edges)
        n, weight = n.reshape(-1), weight.reshape(-1)
        return ResidualLaw(
            weight * self._density(n), n, left, 0 * n, second_moment - m, second_moment
        )

    def gap_edges(self, variance: float) -> FloatArray:
        steps = math.sqrt(variance) * np.array([0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 9.0])
        right = self._edges[(self._edges >= 0) & (self._edges < 1e4 * self._scale)]
        return np.unique(np.concatenate([steps, right]))

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        right = self.gap_edges(variance)
        n, weight, _ = panel_nodes(np.concatenate([-right[:0:-1], right]))
        return mean + n.reshape(-1, 1), np.broadcast_to(weight.reshape(-1, 1), (n.size, mean.size))

    @property
    def is_log_concave(self) -> bool:
        return self._law == "laplace"

    @property
    def is_exact(self) -> bool:
        return False

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        # in the gap y - h, whose mean falls as that of h rises
        gap, spread = np.broadcast_arrays(y - mean, variance)
        if self._law == "laplace":
            return _smooth_laplace(gap, spread, self._scale)
        if gap.size > 50_000 and np.ptp(spread) == 0:  # one function of the gap
            nodes, _ = self.label_rule(np.zeros(1), float(spread.flat[0]))
            inner = np.linspace(0, 1, 4, endpoint=False)
            u = np.append(nodes[:-1] + np.diff(nodes, axis=0) * inner, nodes[-1])
            at = self.evidence(u, np.zeros_like(u), np.full_like(u, spread.flat[0]))
            inside = np.clip(gap, u[0], u[-1])
            return Evidence(*(np.asarray(CubicSpline(u, part)(inside)) for part in at))
        at = panel_evidence(self._edges, self._table, gap.reshape(-1), spread.reshape(-1))
        value, first, second = (part[0].reshape(gap.shape) for part in at)
        return Evidence(value, -first, second)

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        V = np.maximum(V, SMALLEST * (q + V))
        s = np.sqrt(V)[:, None]
        steps = np.array([0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 9.0, 14.0])
        right = self._edges[self._edges >= 0]
        if self._law == "student":  # beyond it there is a mass of less than 1e-17
            reach = 4 * math.sqrt(self._df * (10.0 ** (34 / self._df) - 1))
            right = right[right <= reach * self._scale]
        edges = np.concatenate([s * steps, np.broadcast_to(right, (V.size, right.size))], axis=1)
        edges = np.sort(np.minimum(edges, right[-1]), axis=1)
        u, weight, half = panel_nodes(edges)
        spread = np.broadcast_to(V[:, None, None], u.shape)
        Z, first, second = self.evidence(u, np.zeros_like(u), spread)
        Z = np.maximum(Z, 1e-300)
        g = np.where(Z > 1e-30, first / Z, 0.0)
        dg = np.where(Z > 1e-30, second / Z - g * g, 0.0)
        overlap, error = integrate_panels(2 * Z * g * g, weight, half)
        total = functools.partial(np.einsum, "npk,npk->n", 2 * weight)
        return ChannelAverages(
            overlap, total(Z * dg * dg), total(Z * np.log(Z)), V + self._noise**2, error
        )

    def label_entropy(self, second_moment: float) -> float:
        if self._law == "laplace":
            return 1 + math.log(2 * self._scale)
        from scipy.stats import t

        return float(t(self._df, scale=self._scale).entropy())

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        if self._law == "laplace":
            return h + random_state.laplace(scale=self._scale, size=h.shape)
        return h + self._scale * random_state.standard_t(self._df, size=h.shape)


class FoldChannel(Channel):
    """Labels |h + noise|. Averages are functions of one ratio a of the field to its spread s."""

    def __init__(self, noise: float) -> None:
        self._noise, self._text = noise, call_text("absolute", noise=noise)

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        s = math.sqrt(max(variance + self._noise**2, 1e-300))
        a = mean / s
        return s * math.sqrt(2 / math.pi) * np.exp(-0.5 * a * a) + mean * erf(a / math.sqrt(2))

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        t_variance = second_moment + self._noise**2
        along = m / t_variance
        left = max(q - m * along, 0.0)
        bends = [0.0]
        for slope in (1 - along, -1 - along):  # of the residual in t, on either side of zero
            if abs(slope) > 1e-8:
                bends += [(x + math.sqrt(left) * r) / slope for x in (-1 - V, 1 + V) for r in RADII]
        reach = 8.5 * math.sqrt(t_variance)
        edges = np.concatenate([np.linspace(-reach, reach, 9), np.clip(bends, -reach, reach)])
        t, weight, _ = panel_nodes(np.unique(edges))
        t, weight = t.reshape(-1), weight.reshape(-1)
        z = t / math.sqrt(t_variance)
        weight = weight * normal_density(z) / math.sqrt(t_variance)
        return ResidualLaw(weight, np.abs(t) - along * t, left, t, 0.0, t_variance)

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        s = math.sqrt(variance + self._noise**2)
        n, weight, _ = panel_nodes(np.linspace(0.0, 1.0, 9))
        top = np.abs(mean) + 8.5 * s
        return n.reshape(-1, 1) * top, weight.reshape(-1, 1) * top

    @property
    def is_exact(self) -> bool:
        return self._noise == 0

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        y = np.abs(y)
        s2 = variance + self._noise**2
        a, b = (y - mean) ** 2 / (2 * s2), (y + mean) ** 2 / (2 * s2)
        norm = 1 / np.sqrt(2 * np.pi * s2)
        up, down = norm * np.exp(-a), norm * np.exp(-b)
        g_up, g_down = (y - mean) / s2, (-y - mean) / s2
        return Evidence(
            up + down,
            up * g_up + down * g_down,
            up * (g_up**2 - 1 / s2) + down * (g_down**2 - 1 / s2),
        )

    @staticmethod
    @functools.cache
    def _table() -> tuple[FloatArray, FloatArray]:
        """Averages over the label at fixed a, as series on panels: overlap, slope, entropy, error.

        Their limits at large a, those of a linear channel, are taken off.
        """
        right = [0.0, 0.08, 0.18, 0.32, 0.5, 0.75, 1.1, 1.6, 2.2, 3.0, 4.0, 5.5, 7.0, 9.0]
        edges = np.array([*(-x for x in right[:0:-1]), *right])  # poles of tanh are near zero
        a, _, _ = panel_nodes(edges)
        n, weight, _ = panel_nodes(np.linspace(-8.5, 8.5, 36))
        n, weight = n.reshape(-1), (weight * normal_density(n)).reshape(-1)
        field = a[..., None]
        y = field + n
        g = y * np.tanh(field * y) - field
        dg = y**2 / np.cosh(np.minimum(np.abs(field * y), 300.0)) ** 2 - 1
        log_z = np.logaddexp(-0.5 * (y - field) ** 2, -0.5 * (y + field) ** 2) - LOG_ROOT_2PI
        mean = math.sqrt(2 / math.pi) * np.exp(-0.5 * a * a) + a * erf(a / math.sqrt(2))
        rows = [g**2 @ weight - 1, dg**2 @ weight - 1, log_z @ weight + 0.5 + LOG_ROOT_2PI,
                a * a - mean**2]  # fmt: skip
        series = np.stack([(row @ SERIES.T).reshape(-1) for row in rows])
        return edges, np.ascontiguousarray(series)

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        s2 = np.maximum(V, SMALLEST * (q + V)) + self._noise**2
        ratio = np.maximum(q / s2, 1e-280)
        edges, series = self._table()
        at = panel_evidence(edges, series, np.zeros_like(ratio), ratio).value
        return ChannelAverages(
            (1 + at[0]) / s2,
            (1 + at[1]) / s2**2,
            at[2] - 0.5 * np.log(2 * np.pi * math.e * s2),
            (1 + at[3]) * s2,
            1e-15 / s2,
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        return np.abs(h + self._noise * random_state.normal(size=h.shape))
