"""
When transfer helps: angle against samples
==========================================

The horizontal axis is the number of samples per feature, the vertical one the angle between source
and target. Colour is the gain, the risk from scratch minus the risk after fine-tuning, for a
network of two layers and labels with noise. Markers say whether simulations agree on the sign.

The lines are exact boundaries for several depths and noises. Without noise, or with one layer, a
source helps below 60 degrees at any number of samples. With noise the line of deeper networks bends
down near one sample per feature: there even a good source does harm.

After the phase diagram of Tahir, Ganguli and Rotskoff (2025), whose published code was read; the
boundary with noise is derived here.
"""

import matplotlib.pyplot as plt

from retemper.linear import TransferPhaseDisplay

display = TransferPhaseDisplay.from_grid(noise=0.2, depth=2, random_state=2)
figure, ax = plt.subplots(figsize=(7.2, 5.0), layout="constrained")
display.plot(ax=ax)
figure.suptitle("Below 60° a source helps; noise bends that near n = d")
plt.show()
