"""Quadrature, special functions and averages the systems stand on."""

from retemper.numerics.quadrature import (
    gauss_hermite_rule,
    gauss_legendre_rule,
    gaussian_average,
    integrate,
)
from retemper.numerics.special import (
    acos,
    asin,
    erfc,
    erfcx,
    exp,
    hazard,
    log,
    log_ndtr,
    ndtr,
    ndtri,
)

__all__ = [
    "acos",
    "asin",
    "erfc",
    "erfcx",
    "exp",
    "gauss_hermite_rule",
    "gauss_legendre_rule",
    "gaussian_average",
    "hazard",
    "integrate",
    "log",
    "log_ndtr",
    "ndtr",
    "ndtri",
]

CITATION_KEYS = ("golub1969",)
