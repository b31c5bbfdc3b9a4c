"""Channels with finitely many labels."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Any

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.perceptron.likelihood.catalogue import Channel
from retemper.perceptron.panels import (
    SMALLEST,
    ChannelAverages,
    Evidence,
    field_panels,
    integral_of_size,
    integrate_panels,
    normal_density,
    refined,
)

__all__ = ["FiniteChannel", "choose"]


class FiniteChannel(Channel):
    """Channels with finitely many labels."""

    labels: tuple[float, ...]

    @abstractmethod
    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        """Evidence of every label: (n_labels, n)."""

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        return refined(self._measure, q, np.maximum(V, SMALLEST * (q + V)))

    def _scores(
        self, mean: FloatArray, variance: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Evidence of every label and the derivatives of its logarithm, on panels of 16 fields."""
        law = self.field_law(1.0)
        assert law is not None
        at = core.perceptron.field_scores(
            law, np.ascontiguousarray(mean.reshape(-1)), np.ascontiguousarray(variance.reshape(-1))
        )
        return at.value, at.g, at.dg

    def _measure(self, q: FloatArray, V: FloatArray, level: int) -> ChannelAverages:
        z, weight, half = field_panels(q, V, self.walls, level)
        mean = np.sqrt(q)[:, None, None] * z
        spread = np.broadcast_to(V[:, None], mean.shape[:2])
        Z, g, dg = (part.reshape(-1, *mean.shape) for part in self._scores(mean, spread))
        Z = np.maximum(Z, 1e-300)
        fisher = (Z * g * g).sum(axis=0)
        overlap, error = integrate_panels(
            fisher * normal_density(z), weight / normal_density(z), half
        )
        total = functools.partial(np.einsum, "npk,npk->n", weight)
        wrong = 1 - total(Z.max(axis=0))
        if len(self.labels) == 2:
            wrong = 0.5 * (1 - integral_of_size((Z[1] - Z[0]) * normal_density(z), half))
        return ChannelAverages(
            overlap,
            total((Z * dg * dg).sum(axis=0)),
            total((Z * np.log(Z)).sum(axis=0)),
            wrong,
            error,
        )

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        at = self.all_evidence(mean, np.full_like(mean, variance)).value
        best: FloatArray = self._values[at.argmax(axis=0)]
        return best

    @property
    def _values(self) -> FloatArray:
        return np.asarray(self.labels, dtype=np.float64)

    def _index(self, y: FloatArray) -> Any:
        index = np.searchsorted(self.labels, y)
        return np.minimum(index, len(self.labels) - 1)


def choose(labels: tuple[float, ...], share: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A label for every column of shares (n_labels, n)."""
    mark = rng.random(share.shape[1]) * share.sum(axis=0)
    index = (np.cumsum(share, axis=0) <= mark).sum(axis=0)
    values: FloatArray = np.asarray(labels, dtype=np.float64)
    chosen: FloatArray = values[np.minimum(index, len(labels) - 1)]
    return chosen
