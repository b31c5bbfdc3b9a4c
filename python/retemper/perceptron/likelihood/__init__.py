"""Channels: what a label says about the field of its row, ``P(label | h)``.

Every channel gives its evidence ``Z(y; mean, variance) = E P(y | h)``, ``h ~ N(mean, variance)``,
and its averages over new rows. Those of the catalogue are sums of slabs of the field, a noise on
the field, or a fold; any other density is a table of Legendre series on panels.
"""

from retemper.perceptron.likelihood.catalogue import CHANNELS, Channel, as_channel
from retemper.perceptron.likelihood.tables import outcomes, tabled_averages

__all__ = ["CHANNELS", "Channel", "as_channel", "outcomes", "tabled_averages"]

#: Where pickles written before these files were split find their classes.
_MOVED = {
    "_ClusterChannel": "_slabs",
    "_FoldChannel": "_numbers",
    "_GaussianChannel": "_numbers",
    "_NoiseChannel": "_numbers",
    "_SelectChannel": "_slabs",
    "_SlabChannel": "_slabs",
    "_TableChannel": "_density",
}


def __getattr__(name: str) -> object:
    if name in _MOVED:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MOVED[name]}"), name[1:])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
