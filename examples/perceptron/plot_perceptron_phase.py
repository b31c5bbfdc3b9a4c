"""
Thresholds in margin and load, hard phase
=========================================

How many unlabelled rows does a direction need? Start at a margin and go up. White: nothing can be
found without labels. Red: the answer is in the data, and message passing from scratch does not find
it. Blue: it does. The hard region closes at margin 0.645, so a wide enough margin never meets it.

`phase_diagram` solves a coarse grid and then only the cells in which two phases meet; the title
says how many points that took. The lines are the exact thresholds of `transitions`.

No published figure was read; everything is derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from retemper.perceptron import phase_diagram, transitions

diagram = phase_diagram(np.geomspace(0.02, 2, 9), np.geomspace(0.05, 2000, 9), refine=4)
margin, load = diagram.axes.values()
solved = diagram["solved"]

# %%
# The exact lines, with more points where the two lines of the hard phase meet.
kappa = np.sort(np.append(np.geomspace(0.02, 2, 60), np.linspace(0.6, 0.6451, 12)))
found = [transitions(k) for k in kappa]
lines = {
    "alpha_c": ("weak recovery", "C0", "-"),
    "alpha_sp_minus": ("good branch appears", "0.5", "--"),
    "alpha_it": ("equal evidence", "C2", "-"),
    "alpha_alg": ("poor branch ends", "C1", "-"),
}

figure, ax = plt.subplots(layout="constrained")
shades = ListedColormap(["#ffffff", "#e3eef6", "#eeeeee", "#f8d9cc"])
ax.pcolormesh(margin, load, diagram["phase"].T, cmap=shades, vmin=0, vmax=3, rasterized=True)
for name, (label, colour, line) in lines.items():
    values = [getattr(t, name) for t in found]
    values = [np.nan if v is None else v for v in values]
    ax.plot(kappa, values, color=colour, ls=line, label=label)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="margin",
    ylabel="unlabelled rows per feature",
    ylim=(0.05, 2000),
    title=f"no labels; {solved.sum()} of {solved.size} points solved",
)
names = ("nothing to be found", "found", "a better branch exists", "hard")
patches = [Patch(fc=shades(k), ec="0.7", label=name) for k, name in enumerate(names)]
ax.legend(handles=[*ax.get_lines(), *patches], loc="upper right")
plt.show()
