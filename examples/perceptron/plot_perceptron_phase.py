"""
Thresholds in margin and load, hard phase
=========================================

How many unlabelled rows does a direction need? Start at a margin and go up. White: nothing can be
found without labels. Red: the answer is in the data, and message passing from scratch does not find
it. Blue: it does. The hard region closes at margin 0.645, so a wide enough margin never meets it.

`phase_diagram` solves a coarse grid and then only the cells in which two phases meet; the script
prints how many points that took. The lines are the exact thresholds of `transitions`.

No published figure was read; everything is derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from retemper.perceptron import phase_diagram, transitions

diagram = phase_diagram(np.geomspace(0.02, 2, 9), np.geomspace(0.05, 2000, 9), refine=4)
margin, load = diagram.axes.values()
solved = diagram["solved"]

# %%
# The exact lines, with more points where the two lines of the hard phase meet.
kappa = np.sort(np.append(np.geomspace(0.02, 2, 60), np.linspace(0.6, 0.6451, 12)))
found = [transitions(k) for k in kappa]
lines = {
    "alpha_sp_minus": ("good branch appears", "0.3"),
    "alpha_it": ("equal evidence", "C2"),
    "alpha_c": ("weak recovery", "C0"),
    "alpha_alg": ("poor branch ends", "C1"),
}

figure, ax = plt.subplots(figsize=(7.4, 5.2), layout="constrained")
shades = ListedColormap(["#ffffff", "#d6e6f2", "#e6e6e6", "#f8d2c0"])
ax.pcolormesh(margin, load, diagram["phase"].T, cmap=shades, vmin=0, vmax=3, rasterized=True)
for name, (label, colour) in lines.items():
    values = [getattr(t, name) for t in found]
    values = [np.nan if v is None else v for v in values]
    ax.plot(kappa, values, color=colour, label=label)
for x, y, name in (
    (0.35, 120, "found by message passing"),
    (0.08, 0.6, "nothing can be found"),
    (0.035, 420, "hard"),
):
    ax.text(x, y, name, ha="center", va="center")
ax.annotate(
    "a better branch exists\nand has less evidence",
    (0.06, 70),
    (0.021, 6),
    arrowprops={"arrowstyle": "-", "lw": 0.6},
    fontsize="small",
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="margin",
    ylabel="unlabelled rows per feature",
    ylim=(0.05, 2000),
    title="Margins above 0.645 never meet the hard phase",
)
ax.legend(loc="lower left")
print(f"{solved.sum()} of {solved.size} points of the map were solved")
plt.show()
