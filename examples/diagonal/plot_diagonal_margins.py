"""
A classifier forgets its start slowly as its margin grows
=========================================================

Labels are signs. On separable classes training makes the margin grow without end, as the logarithm
of one over the loss; from scratch only its ratio to the initial scale matters. Lines are the
theory, dots are classifiers of 400 features, with two standard errors.

Left: from scratch, with 0.8 rows a feature. At small margins every target costs the same, as for
the largest Euclidean margin. At large ones the network comes to the largest l1 margin, which is
good for targets of few coefficients and worse for dense ones.

Right: from the weights of a source with 0.2 rows a feature. While the margin is small the error is
that of the source, near nothing where its signs return and far above one half where they are
reversed. Both come towards that of no source, but slowly, with the logarithm of the margin: at a
margin of 1000 the start still matters.

No published figure: the equations are derived here, for the setting of Moroshko et al. (2020).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, simulate_margin, solve_margin

sparse = {
    f"{100 * share:.0f} %": DiagonalModel(
        0.8, mode="scratch", omega=0.0, rho_ft=share, init_scale=1.0
    )
    for share in (0.03, 0.2, 0.9)
}
same = {"alpha": 0.2, "omega": 1.0, "init_scale": 0.01}
sources = {
    "source with its signs": DiagonalModel(mode="warm", shared="aligned", **same),
    "source with reversed signs": DiagonalModel(mode="warm", shared="opposite", **same),
    "no source": DiagonalModel(mode="scratch", **same),
}
panels = [(sparse, np.geomspace(1e-2, 1e5, 36)), (sources, np.geomspace(1e-2, 1e3, 36))]

# %%
# The theory at every margin, and experiments at five of them.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for ax, (models, margins) in zip(axes, panels):
    for label, model in models.items():
        (line,) = ax.semilogx(margins, [solve_margin(model, m).error for m in margins], label=label)
        for margin in margins[2:30:6]:
            found = simulate_margin(model, margin, n_features=400, n_repeats=8)
            spread = 2 * found.stderr["error"]
            ax.errorbar(margin, found.error, spread, fmt="o", ms=4, color=line.get_color())
    ax.set_ylabel("probability of a wrong sign")
left, right = axes
left.set(xlabel="margin over initial scale", title="from scratch: what growing margins prefer")
left.legend(loc="upper right", bbox_to_anchor=(1.0, 0.85), title="active coefficients")
right.set(xlabel="margin", title="from a source: what growing margins forget")
right.legend()
figure.suptitle("A classifier forgets its start slowly as its margin grows")
plt.show()
