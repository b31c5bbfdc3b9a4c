"""
One linear layer: plateau, fall and rise
========================================

How much of the input can be read off a layer while it learns? Left: the unexplained variance stays
on a plateau (the random layer), falls while the layer takes up what the classes share, and rises
again while it throws away what the source task does not need. Lines are exact; dots are gradient
descent on 20 000 samples, two standard errors.

Right: what that means for other tasks. A readout of the strong feature is best near the minimum and
loses much of it; one of the weak feature rises later.

The three phases are those of Schneider and Prabhushankar (2024). Their theorems could not be read;
model and curves are derived here.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.phases import FeatureModel, simulate, solve, summary

model = FeatureModel(
    10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=np.geomspace(1e-3, 1e3, 200)
)
average = solve(model, n_init=100, random_state=0)
strong, weak = solve(model, task=[1, 0]), solve(model, task=[0, 1])
steps = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 51.2, 204.8]
sample = simulate(replace(model, times=steps, step_size=0.1), n_samples=20_000, random_state=0)
levels = summary(model)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
left.semilogx(model.times, average.fuv, "-", label="theory, average over initialisations")
left.semilogx(model.times, strong.fuv, "--", color="C0", lw=1, label="theory, annealed")
left.errorbar(
    sample.times,
    sample.fuv,
    2 * sample.stderr["fuv"],
    fmt="o",
    color="black",
    label="descent on 20 000 samples",
)
for name, level, at in (
    ("a random layer", levels.fuv_init, 5),
    ("the class means", levels.fuv_early, 25),
    ("least squares", levels.fuv_late, 1e-3),
):
    left.axhline(level, color="0.5", ls=":", lw=1)
    left.text(at, level, name, va="bottom", fontsize="small", color="0.25")
left.axvline(levels.t_star, color="0.5", lw=0.8)
left.set(
    xlabel="time, step size × steps",
    ylabel="unexplained input variance",
    ylim=(0.43, 0.86),
    title="what can be read off one linear layer",
)
left.legend(loc="upper right")
right.semilogx(model.times, strong.task_r2, label="strong feature")
right.semilogx(model.times, weak.task_r2, label="weak feature")
right.axvline(levels.t_star, color="0.5", lw=0.8)
right.set(
    xlabel="time, step size × steps",
    ylabel="R² of a linear readout",
    title="what other tasks can use",
)
right.legend()
figure.suptitle("A layer reads its inputs best on the way (vertical line), not at the end")
plt.show()
