"""What theory, simulation, comparison and sweeps return, in every system."""

from retemper._results.grid import (
    Grid,
    read_axes,
    report_points,
    stack_points,
    sweep_model,
    sweep_of,
)
from retemper._results.result import Comparison, OnFailure, Result, Status
from retemper._results.sweep import Sweep

__all__ = [
    "Comparison",
    "Grid",
    "OnFailure",
    "Result",
    "Status",
    "Sweep",
    "read_axes",
    "report_points",
    "stack_points",
    "sweep_model",
    "sweep_of",
]
