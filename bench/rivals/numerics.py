"""The vector mathematics as numpy and scipy offer it."""

import numpy as np
import scipy.special as sc


def hazard(x):
    return np.sqrt(2 / np.pi) / sc.erfcx(-x / np.sqrt(2))


FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "erfc": sc.erfc,
    "erfcx": sc.erfcx,
    "ndtr": sc.ndtr,
    "log_ndtr": sc.log_ndtr,
    "hazard": hazard,
    "ndtri": sc.ndtri,
    "asin": np.arcsin,
    "acos": np.arccos,
}
