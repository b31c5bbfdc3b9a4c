"""What can serve as a source, read in one place for every ``source=`` and ``sources=``.

A source shows one or more *faces*: coefficients, a prediction for any row, predictions already
made for the target rows, or rows and labels of its own. An estimator names the faces it can use.
Columns are matched by name wherever both sides have names.
"""

from retemper._sources.columns import (
    ENCODED,
    LARGEST_LABEL,
    column_names,
    match_columns,
    pick_columns,
    read_rows,
)
from retemper._sources.functions import (
    SMALLEST_PROBABILITY,
    BoosterFunction,
    ClassOutputs,
    ClassScores,
    NamedColumns,
    NamedInOrder,
    TorchFunction,
    as_trained,
    call,
    is_booster,
    is_module,
)
from retemper._sources.reading import Face, name_sources, read_source
from retemper._sources.source import Predictions, Source, SourceMixture, mix_sources

__all__ = [
    "ENCODED",
    "LARGEST_LABEL",
    "SMALLEST_PROBABILITY",
    "BoosterFunction",
    "ClassOutputs",
    "ClassScores",
    "Face",
    "NamedColumns",
    "NamedInOrder",
    "Predictions",
    "Source",
    "SourceMixture",
    "TorchFunction",
    "as_trained",
    "call",
    "column_names",
    "is_booster",
    "is_module",
    "match_columns",
    "mix_sources",
    "name_sources",
    "pick_columns",
    "read_rows",
    "read_source",
]
