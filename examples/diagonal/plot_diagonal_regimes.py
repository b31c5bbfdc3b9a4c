"""
Order and dependence over source strength and balance
=====================================================

Pre-training leaves one scale per feature, and the scale decides what fine-tuning prefers. The order
ℓ says how: 1 is sparse (lasso-like), 2 is spread out (ridge-like). The dependence PD says how much
a larger source coefficient makes a feature cheaper: 0 is not at all, -1 is in proportion.

Read the third column first: ℓ + PD stays between 1 and 2, so a start that follows the source fully
(PD = -1) is always spread out (ℓ = 2). White lines separate the regimes I (rich, blind to the
source), II (lazy, follows it), III (lazy, blind) and IV
(rich, follows it). Upper row: balance of the
layers before pre-training. Lower row: size of the read-out after a reset.

The axes of the upper row are those in the published code of Anguita et al. (2026); the figures of
the paper itself could not be read.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import RegimeMapDisplay

over_balance = RegimeMapDisplay.from_grid(
    source_coef=np.geomspace(5e-4, 2e3, 60), balance=np.linspace(-1 + 1e-9, 1, 60), init_scale=0.1
)
over_readout = RegimeMapDisplay.from_grid(
    source_coef=np.geomspace(5e-4, 20, 60), readout_scale=np.geomspace(1e-2, 1e2, 60)
)

titles = {
    "l_order": "order: 1 sparse, 2 spread out",
    "pd": "dependence: -1 follows the source",
    "sum": "their sum stays from 1 to 2",
}
figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
for row, display in zip(axes, (over_balance, over_readout)):
    for ax, (quantity, title) in zip(row, titles.items()):
        display.plot(ax=ax, quantity=quantity)
        ax.set_title(title)
figure.suptitle("A start that follows the source fully (PD = -1) is always spread out (ℓ = 2)")
plt.show()
