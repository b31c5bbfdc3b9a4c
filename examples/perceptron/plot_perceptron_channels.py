"""
Six channels at a glance
========================

What does a label tell, and how many rows does it take? Every panel is one channel, with weights of
which a share is not zero; up is more rows per feature, and colour is the error of the weights that
message passing reaches, relative to knowing nothing. Dark is solved, light is not.

Read off: below the dotted line nothing is found at all (door, absolute value: the label has no
sign). Between the two solid lines the answer is in the data, and message passing does not find it.
Where a panel has no solid line, rows improve the answer without a jump.

The curves of the noiseless linear channel are those of compressed sensing, and at density one the
absolute value is real phase retrieval, with 1/2, 1 and 1.128 as in
Barbier et al. (2019); the curves are derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import Channel, GLMModel, Prior, phase_diagram, transitions

channels = {
    "linear": Channel.linear(),
    "linear, noise 0.1": Channel.linear(noise=0.1),
    "absolute value": Channel.absolute(),
    "sign": Channel.sign(),
    "door": Channel.door(),
    "logistic": Channel.logistic(steepness=4),
}
density = np.linspace(0.05, 1, 9)
priors = [Prior.sparse(float(p), variance=1 / float(p)) for p in density]  # fields of variance one
load = np.geomspace(0.05, 8, 32)

# %%
# One curve of fixed points serves all loads of a channel and a prior.
figure, axes = plt.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
for ax, (name, channel) in zip(axes.flat, channels.items()):
    model = GLMModel(1.0, channel=channel)
    found = phase_diagram(model, {"prior": priors, "alpha": load}, value="mse")
    mesh = ax.pcolormesh(density, load, found["mse_reachable"].T, cmap="Blues_r", vmin=0, vmax=1,
                         rasterized=True)  # fmt: skip
    lines = [transitions(GLMModel(1.0, channel=channel, prior=prior)) for prior in priors]
    styles = {
        "alpha_c": ("found at all", "k", ":"),
        "alpha_it": ("in the data", "C1", "-"),
        "alpha_alg": ("found by message passing", "C3", "-"),
    }
    for key, (label, colour, style) in styles.items():
        values = np.array([getattr(line, key) or np.nan for line in lines], dtype=float)
        if np.isfinite(values).any():
            ax.plot(density, values, style, color=colour, label=label)
    ax.set(title=name, yscale="log", ylim=(load[0], load[-1]))
for ax in axes[1]:
    ax.set_xlabel("share of non-zero weights")
for ax in axes[:, 0]:
    ax.set_ylabel("rows per feature")
figure.suptitle("How many rows each kind of label needs, by the share of weights that count")
figure.colorbar(mesh, ax=axes, label="squared error of the weights", shrink=0.8)
figure.legend(*axes[0, 2].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()
