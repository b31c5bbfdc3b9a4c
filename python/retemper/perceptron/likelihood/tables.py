"""What is made of a channel once: its labels at many fields, and tables of its averages."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy.interpolate import make_interp_spline

from retemper._validation import FloatArray
from retemper.perceptron.likelihood._density import TableChannel
from retemper.perceptron.likelihood._finite import FiniteChannel
from retemper.perceptron.likelihood._numbers import NoiseChannel
from retemper.perceptron.likelihood.catalogue import Channel
from retemper.perceptron.panels import ChannelAverages, Evidence, interpolated, panel_evidence

__all__ = ["outcomes", "tabled_averages"]


def outcomes(
    channel: Channel, mean: FloatArray, variance: float, *, rho: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels of fields, (n_labels, n), with their probabilities and the scores behind them.

    Fields of all rows have the variance ``rho``. Numbers get the nodes of a quadrature, whose
    weights are in the probabilities.
    """
    V = np.full_like(mean, variance)
    if isinstance(channel, FiniteChannel):
        if isinstance(channel, TableChannel):
            table = channel.table(rho)
            y, weight = table.labels, table.weights

            def smooth(mean: FloatArray) -> FloatArray:
                each = panel_evidence(table.edges, table.series, mean, np.full_like(mean, variance))
                return np.concatenate(each)

            at = Evidence(*interpolated(smooth, mean).reshape(3, len(y), -1))
        else:
            at = channel.all_evidence(mean, V)
            y, weight = np.asarray(channel.labels), np.ones(len(channel.labels))
        labels = np.broadcast_to(y[:, None], at.value.shape)
        weight = np.broadcast_to(weight[:, None], at.value.shape)
    else:
        labels, weight = channel.label_rule(mean, variance)
        if not isinstance(channel, NoiseChannel):
            at = channel.evidence(labels, mean, V)
        else:  # the same for every field
            gap = (labels - mean)[:, :1]
            at = channel.evidence(gap, 0 * gap, V[0] + 0 * gap)
    score = np.where(at.value > 1e-280, at.first / np.maximum(at.value, 1e-300), 0.0)
    return labels, weight * np.maximum(at.value, 0.0), score


#: Steps of a table of averages in ln(q / V); splines of degree 7 leave 1e-8 of them.
_TABLE_STEPS = np.arange(-18.0, 42.0, 0.25)


@functools.lru_cache(maxsize=16)
def tabled_averages(
    channel: Channel, rho: float
) -> Callable[[FloatArray, FloatArray], ChannelAverages]:
    """Averages of fields of variance ``rho``, read from a table; beyond its ends computed."""
    if channel.selects:  # its error is none
        return channel.averages
    odds = np.exp(_TABLE_STEPS)
    at = channel.averages(rho * odds / (1 + odds), rho / (1 + odds))
    logs = (at.overlap, at.slope, at.error)
    if not all((part > 1e-290).all() for part in logs):  # labels that say nothing
        return channel.averages
    columns = np.stack([*(np.log(part) for part in logs), at.entropy], axis=1)
    spline = make_interp_spline(_TABLE_STEPS, columns, k=7)
    relative = float((at.quadrature_error / at.overlap).max())

    def averages(q: FloatArray, V: FloatArray) -> ChannelAverages:
        x = np.log(np.maximum(q, 1e-300)) - np.log(V)
        outside = (x < _TABLE_STEPS[0]) | (x > _TABLE_STEPS[-1])
        read = spline(np.clip(x, _TABLE_STEPS[0], _TABLE_STEPS[-1])).T
        overlap, slope, error = np.exp(read[:3])
        out = ChannelAverages(overlap, slope, read[3].copy(), error, relative * overlap)
        if outside.any():
            for mine, exact in zip(out, channel.averages(q[outside], V[outside]), strict=True):
                mine[outside] = exact
        return out

    return averages
