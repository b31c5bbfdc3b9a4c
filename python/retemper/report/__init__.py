"""Self-contained HTML reports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.report.html import ReportFigure, ReportSection, ReportTable, write_report

__all__ = [
    "ReportFigure",
    "ReportSection",
    "ReportTable",
    "write_report",
]

#: Loaded on first use, by file.
_HOME = {
    "ReportFigure": "html",
    "ReportSection": "html",
    "ReportTable": "html",
    "write_report": "html",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.report.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
