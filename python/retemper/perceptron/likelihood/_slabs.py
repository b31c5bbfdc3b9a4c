"""Labels by slabs of the field, and rows that are selected by theirs."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.perceptron.likelihood._finite import FiniteChannel, choose
from retemper.perceptron.likelihood.catalogue import Channel
from retemper.perceptron.panels import (
    ChannelAverages,
    Evidence,
    integrate_panels,
    normal_density,
    panel_nodes,
)

__all__ = ["ClusterChannel", "SelectChannel", "SlabChannel"]


class SlabChannel(FiniteChannel):
    """Labels by slabs of the field: P(y | h) = sum of weights times 1[low < h + sigma n < high]."""

    def __init__(
        self,
        labels: tuple[float, ...],
        slabs: list[list[tuple[float, float, float]]],
        sigma: float,
        text: str,
    ) -> None:
        self.labels, self._slabs, self._sigma, self._text = labels, slabs, sigma, text
        ends = {end for label in slabs for _, low, high in label for end in (low, high)}
        self.walls = tuple((t, sigma**2) for t in sorted(ends) if math.isfinite(t))
        self._is_flipped = any(0 < w < 1 for label in slabs for w, *_ in label)

    @property
    def is_log_concave(self) -> bool:
        weighty = [[slab for slab in label if slab[0] > 0] for label in self._slabs]
        return all(len(label) == 1 for label in weighty)

    @property
    def is_exact(self) -> bool:
        return self._sigma == 0 and (self.selects or not self._is_flipped)

    def field_law(self, second_moment: float) -> core.perceptron.FieldLaw | None:
        slabs = [[i, *slab] for i, label in enumerate(self._slabs) for slab in label]
        return core.perceptron.FieldLaw(len(self.labels), np.array(slabs), self._sigma)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        s = np.sqrt(variance + self._sigma**2)
        edges: dict[float, tuple[FloatArray, FloatArray, FloatArray]] = {}
        for place, _ in self.walls:
            u = (place - mean) / s
            density = normal_density(u)
            edges[place] = (u, density / s, u * density / (s * s))
        zero = np.zeros_like(mean)
        edges[-math.inf] = (np.full_like(mean, -math.inf), zero, zero)
        edges[math.inf] = (np.full_like(mean, math.inf), zero, zero)
        out = np.zeros((3, len(self.labels), mean.size))
        tails = {place: (ndtr(u), ndtr(-u)) for place, (u, _, _) in edges.items()}
        for row, slabs in enumerate(self._slabs):
            for weight, low, high in slabs:
                if not weight:
                    continue
                (a, pa, ca), (_, pb, cb) = edges[low], edges[high]
                mass = np.where(
                    a > 0, tails[low][1] - tails[high][1], tails[high][0] - tails[low][0]
                )
                out[0, row] += weight * mass
                out[1, row] += weight * (pa - pb)
                out[2, row] += weight * (ca - cb)
        return Evidence(*out)

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        y, mean, variance = np.broadcast_arrays(y, mean, variance)
        parts = self.all_evidence(mean.reshape(-1), variance.reshape(-1))
        at = self._index(y.reshape(-1)), np.arange(mean.size)
        return Evidence(*(part[at].reshape(mean.shape) for part in parts))

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        noisy = h + self._sigma * random_state.normal(size=h.shape)
        share = np.array(
            [
                sum(w * ((noisy > low) & (noisy <= high)) for w, low, high in slabs)
                for slabs in self._slabs
            ]
        )
        return choose(self.labels, share, random_state)


class SelectChannel(SlabChannel):
    """Slabs that rows are selected by."""

    selects = True

    def check_scale(self, second_moment: float, name: str) -> None:
        _check_unit(self, second_moment, name)


def _check_unit(channel: Channel, rho: float, name: str) -> None:
    if abs(rho - 1) > 1e-9:
        raise ValueError(f"{name} {channel} takes priors of second moment one, got {rho:g}")


class ClusterChannel(FiniteChannel):
    """Two clusters: the density of the field is tilted by cosh or exp."""

    selects = True

    def __init__(self, mean: float, is_labelled: bool) -> None:
        self.labels = (1.0,)
        self._mean, self._is_labelled, self.walls = mean, is_labelled, ()
        tail = "" if is_labelled else ", is_labelled=False"
        self._text = f"Channel.cluster({mean:g}{tail})"

    @property
    def is_exact(self) -> bool:
        return False

    def check_scale(self, second_moment: float, name: str) -> None:
        _check_unit(self, second_moment, name)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        mu = self._mean
        base = -0.5 * mu * mu * (1 - variance)
        up = np.exp(base + mu * mean)
        down = up if self._is_labelled else np.exp(base - mu * mean)
        parts = (0.5 * (up + down), 0.5 * mu * (up - down), 0.5 * mu * mu * (up + down))
        if self._is_labelled:
            parts = (up, mu * up, mu * mu * up)
        return Evidence(*(part[None] for part in parts))

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        mean, variance, _ = np.broadcast_arrays(mean, variance, y)
        return Evidence(*(part[0] for part in self.all_evidence(mean, variance)))

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        # the tilt moves the mass: panels reach as far
        mu = self._mean
        z, weight, half = panel_nodes(np.linspace(-8.5 - mu, 8.5 + mu, 20)[None])
        mean = np.sqrt(q)[:, None, None] * z
        Z, first, second = self.all_evidence(mean, V[:, None, None])
        Z, first, second = Z[0], first[0], second[0]
        g = first / Z
        density = normal_density(z)
        overlap, error = integrate_panels(
            Z * g * g * density,
            np.broadcast_to(weight, Z.shape),
            np.broadcast_to(half, Z.shape[:2]),
        )

        def total(values: FloatArray) -> FloatArray:
            out: FloatArray = np.einsum("npk,npk->n", Z * values, weight * density + 0 * Z)
            return out

        return ChannelAverages(
            overlap,
            total((second / Z - g * g) ** 2),
            total(np.log(Z)),
            np.full(q.size, np.nan),
            error,
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        raise ValueError(f"{self} selects rows and draws no labels")
