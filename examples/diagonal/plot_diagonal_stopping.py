"""
Stop fine-tuning, or the pre-training before it, before noise is fitted
=======================================================================

Left: the error of fine-tuning from scratch over training time, with noisy labels and half a row for
a feature. Every curve falls while signal is learned and rises while noise is. Small scales wait
longer and reach lower, and whoever stops at the dip gains most with them. Lines are the theory of
mean-field dynamics, dots are networks of 400 features with two standard errors, rings are the
times at which to stop.

Right: the error after fine-tuning, over the time at which pre-training on half a row for a feature
has stopped. On clean source rows it should go on. With noise it should stop early: at 0.3 the end
of pre-training gives no better start than no source at all, which the dotted line shows, and a stop
at 4 does. At 1 no stop makes the source worth having.

No published figure: the equations are derived here, in the setting of Anguita et al. (2026).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, simulate, simulate_flow, solve, solve_flow

scales = {"c = 3": 3.0, "c = 0.1": 0.1, "c = 0.001": 1e-3}
times = np.geomspace(0.03, 60.0, 80)

# %%
# Fine-tuning: the whole course comes from one solution, experiments at seven times.
courses = {}
for label, init_scale in scales.items():
    model = DiagonalModel(0.5, mode="scratch", init_scale=init_scale, noise=0.7)
    found = simulate_flow(model, times[8::11], n_features=400, n_repeats=8)
    courses[label] = (solve_flow(model, times), found)

# %%
# Pre-training: a reset follows, and fine-tuning on clean labels to its end.
stops = np.geomspace(0.2, 60.0, 10)
task = {"alpha_pt": 0.5, "init_scale": 0.05, "readout_scale": 0.1, "omega": 1.0}
ends = {}
for noise in (0.0, 0.3, 1.0):
    models = [DiagonalModel(0.2, noise_pt=noise, time_pt=stop, **task) for stop in stops]
    runs = [simulate(model, n_features=400, n_repeats=8) for model in models[1::3]]
    ends[f"source noise {noise:g}"] = ([solve(model).mse for model in models], runs)
scratch = solve(DiagonalModel(0.2, mode="scratch", omega=1.0, init_scale=0.05)).mse

# %%
# Lines are the theory, dots the experiments, rings the best times.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for label, (theory, found) in courses.items():
    (line,) = left.semilogx(times, theory.mse, label=label)
    color = line.get_color()
    left.errorbar(found.times, found.mse, 2 * found.stderr["mse"], fmt="o", ms=4, color=color)
    left.plot(theory.best_time, theory.best_mse, "o", ms=11, mfc="none", color=color)
for label, (errors, runs) in ends.items():
    (line,) = right.semilogx(stops, errors, label=label)
    means, spreads = [run.mse for run in runs], [2 * run.stderr["mse"] for run in runs]
    right.errorbar(stops[1::3], means, spreads, fmt="o", ms=4, color=line.get_color())
right.axhline(scratch, ls=":", color="0.4", label="no source")
for ax, what in ((left, "fine-tuning"), (right, "pre-training")):
    ax.set(xlabel=f"time of {what}", ylabel="error per coefficient", ylim=(0.0, 1.25),
           title=f"when to stop {what}")  # fmt: skip
    ax.legend(loc="upper right" if ax is left else "upper left", ncols=3 if ax is left else 2)
figure.suptitle("Stop at the dip, before training fits the noise of its labels")
plt.show()
