"""Distances between colours, as eyes with and without all three kinds of cones see them."""

from __future__ import annotations

import numpy as np

#: Matrices on linear RGB for eyes without one kind of cone: G. M. Machado, M. M. Oliveira and
#: L. A. F. Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009) 1291, severity 1.
EYES = {
    "common": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ.sum(axis=1)


def linear(rgb) -> np.ndarray:
    """Light of each channel: the standard's curve undone."""
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb) -> float:
    """Relative luminance, 0 to 1."""
    return float(_XYZ[1] @ linear(rgb))


def lab(rgb, eye="common") -> np.ndarray:
    """CIELAB coordinates of a colour as an eye sees it."""
    xyz = _XYZ @ np.clip(EYES[eye] @ linear(rgb), 0, 1) / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def lightness(rgb) -> float:
    """L* of a colour, 0 for black and 100 for white."""
    return float(lab(rgb)[0])


def distance(one, two, eye="common") -> float:
    """Euclidean distance in CIELAB; about 2.3 is just noticeable side by side."""
    return float(np.linalg.norm(lab(one, eye) - lab(two, eye)))
