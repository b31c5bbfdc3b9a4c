"""
True loss of a colour
=====================

Digits in colours that go with the digit half of the time; the network learns the digit. The colour
helps at first, so its probe rises, and is thrown away later: a true loss, which no decoder undoes.
Left: tanh units without weight decay. Right: a deeper ReLU network, where the colour is best long
before the reconstruction is, so that stopping at the minimum of the blue line gains little.

Runs are averaged over three seeds, with standard errors. After the dominant-colour task of
Schneider and Prabhushankar (2024); the experiment is ours.
"""

import matplotlib.pyplot as plt

from retemper.gallery import RUNS, run_seeds
from retemper.phases import MonitorDisplay

figure, axes = plt.subplots(1, 2, figsize=(11.2, 4.6), layout="constrained")
for ax, name in zip(axes, ("colour", "relu")):
    run = RUNS[name]
    monitors = run_seeds(name, n_seeds=3)  # one PhaseMonitor for each training run
    MonitorDisplay.from_runs(monitors, run.alarm_layer, title=run.summary).plot(ax=ax)
    ax.get_legend().remove()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
figure.suptitle("The probe for a colour rises with the digit, then falls for good")
plt.show()
