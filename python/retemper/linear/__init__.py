"""Linear teachers."""

from __future__ import annotations

CITATION_KEYS = ("shachaf2021", "hastie2022")
