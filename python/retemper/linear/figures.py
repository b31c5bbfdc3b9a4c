"""The figures of the linear system by name, as ``retemper figure`` draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retemper.linear.display import DepthDisplay, RiskCurveDisplay, TransferPhaseDisplay
from retemper.linear.model import LinearModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["depth", "double_descent", "phase"]


def depth() -> Figure:
    """Risk against depth for sources of the wrong scale or direction."""
    return cast("Figure", DepthDisplay.from_settings(random_state=0).plot().figure)


def phase() -> Figure:
    """Where transfer helps: the angle between teachers against samples per dimension."""
    return cast("Figure", TransferPhaseDisplay.from_grid(random_state=0).plot().figure)


def double_descent() -> Figure:
    """Risk against target samples, from a source with half as many samples as dimensions."""
    d = 200
    target, other = np.eye(2, d)
    model = LinearModel(
        1,
        target,
        theta_source=0.9 * target + 0.3 * other,
        n_source=d // 2,
        noise=0.3,
        noise_source=0.3,
    )
    display = RiskCurveDisplay.from_model(model, range(4, 2 * d + 1, 4), random_state=0)
    return cast("Figure", display.plot().figure)
