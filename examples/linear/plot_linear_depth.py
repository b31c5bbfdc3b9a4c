"""
Depth repairs a wrong scale of the source
=========================================

A linear network of some depth starts from a source and is fine-tuned on a tenth as many samples as
it has features. Lines are the theory, dots are simulated networks.

In each case the target is a times the source plus ε times something new. With the right direction
and the wrong scale (ε = 0) the risk falls towards zero as the network gets deeper: training forgets
how large the weights were and keeps where they pointed. With the right scale (a = 1) depth costs a
little.

The setting is that of figure 2(a) of Shachaf et al. (2021) as its caption is quoted; the figure
itself could not be read, and the closed form is derived here.
"""

import math

import matplotlib.pyplot as plt

from retemper.linear import DepthDisplay, DepthSetting

display = DepthDisplay.from_settings(
    [
        DepthSetting(epsilon=0.0, target_scale=0.5),
        DepthSetting(epsilon=0.0, target_scale=2.0),
        DepthSetting(epsilon=0.5, target_scale=0.5),
        DepthSetting(epsilon=0.5, target_scale=1.0),
        DepthSetting(epsilon=0.5, target_scale=2.0),
    ],
    depth=[1, 2, 3, 5, 7, 20, math.inf],
    random_state=1,
)
figure, ax = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
display.plot(ax=ax)
ax.set_title("A deep network repairs a wrong scale (ε = 0); lines: theory, dots: simulation")
plt.show()
