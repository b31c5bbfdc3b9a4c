"""
Parity of digits: transfer collapses; and the control
=====================================================

A network learns to tell even from odd digits. Its accuracy on that (source) only rises. Left, with
weight decay, the digit itself can be read off the second hidden layer better and better up to step
2048, and hardly at all at step 8192; the unexplained input variance turns upwards before.
Background: the phases that the detector sees. Right, without weight decay, nothing of the kind
happens.

The collapse is one of amplitude (see ``phases-resolution``): the information is still there, in
directions so small that a decoder with any ridge misses them.

Runs are averaged over three seeds, with standard errors; ``watch_training`` shows one run in full.
The question is that of Schneider and Prabhushankar (2024), the experiment is ours.
"""

import matplotlib.pyplot as plt

from retemper.gallery import RUNS, run_seeds
from retemper.phases import MonitorDisplay

figure, axes = plt.subplots(1, 2, figsize=(11.2, 4.6), layout="constrained")
for ax, name in zip(axes, ("parity", "control")):
    run = RUNS[name]
    monitors = run_seeds(name, n_seeds=3)  # one PhaseMonitor for each training run
    MonitorDisplay.from_runs(monitors, run.alarm_layer, title=run.summary).plot(ax=ax)
    ax.get_legend().remove()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
figure.suptitle(
    "With weight decay the digit collapses after the reconstruction turns upwards (left)"
)
plt.show()
