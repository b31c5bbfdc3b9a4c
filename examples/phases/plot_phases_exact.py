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
left.semilogx(model.times, average.fuv, label="theory, average over initialisations")
left.semilogx(model.times, strong.fuv, "--", color="C0", lw=1, label="theory, annealed")
left.errorbar(
    sample.times,
    sample.fuv,
    2 * sample.stderr["fuv"],
    fmt="o",
    color="black",
    label="descent on 20 000 samples",
)
left.axhline(levels.fuv_init, color="C3", ls=":", lw=1, label="random layer")
left.axhline(levels.fuv_early, color="C2", ls=":", lw=1, label="class means")
left.axhline(levels.fuv_late, color="C1", ls=":", lw=1, label="least squares")
left.axvline(levels.t_star, color="black", lw=0.5)
left.set(xlabel="time", ylabel="unexplained input variance", title="one linear layer")
left.legend()
right.semilogx(model.times, strong.task_r2, label="strong feature")
right.semilogx(model.times, weak.task_r2, "--", label="weak feature")
right.set(xlabel="time", ylabel="R² of a linear readout", title="auxiliary tasks")
right.legend()
plt.show()
