"""Quadrature, special functions and averages the systems stand on."""

from __future__ import annotations

CITATION_KEYS = ("golub1969",)
