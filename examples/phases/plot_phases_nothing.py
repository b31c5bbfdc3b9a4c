"""
Where there is nothing to gain from stopping early
==================================================

Left, digits in a colour that has nothing to do with the digit; right, on a random background as
well. What the source task never needs is lost from the first steps on: the probe for the colour
only falls, and there is no early checkpoint to keep. The phases in the background do not change
that: a rise of the blue line alone is no evidence of lost transfer.

Runs are averaged over three seeds, with standard errors. The experiment is ours, on the question of
Schneider and Prabhushankar (2024).
"""

import matplotlib.pyplot as plt

from retemper.gallery import RUNS, run_seeds
from retemper.phases import MonitorDisplay

figure, axes = plt.subplots(1, 2, figsize=(11.2, 4.6), layout="constrained")
for ax, name in zip(axes, ("independent", "background")):
    run = RUNS[name]
    monitors = run_seeds(name, n_seeds=3)  # one PhaseMonitor for each training run
    MonitorDisplay.from_runs(monitors, run.alarm_layer, title=run.summary).plot(ax=ax)
    ax.get_legend().remove()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
figure.suptitle("What the source task never needs only falls: no early checkpoint to keep")
plt.show()
