"""
Which regime is best for which task
===================================

Every point is a task: how many of the source's features it uses again, and how many others it uses.
Colour and numeral are the regime of the best start, searched over the two scales that fine-tuning
sees.

Read it as a map of advice. Where the source's features are used again and no others, follow the
source (II). Where few features of either kind matter, be rich and blind to it (I). Where many other
features matter, be lazy and blind (III). Most tasks lie between and want IV, and with more samples
(right) it takes the ground of III.

No published figure: the map is ours, on the setting of Anguita et al. (2026).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import BestStartDisplay

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, alpha in zip(axes, (0.1, 0.3)):
    display = BestStartDisplay.from_grid(alpha, np.linspace(0.02, 1, 12), np.linspace(0.0, 0.6, 12))
    display.plot(ax=ax)
    ax.set_title(f"{alpha:g} samples per feature")
figure.suptitle("Follow the source (II) only where its features return and no others")
plt.show()
