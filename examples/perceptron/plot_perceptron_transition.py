"""
Error without labels against unlabelled rows, with every branch
===============================================================

Rows that keep a margin around an unknown plane betray its direction without any label. Solid lines
are fixed points where message passing can end, dashed ones are unstable; dots are message passing
on tables of 600 features.

Left, margin 0.5: nothing is found up to weak recovery (dotted). From equal evidence on, a much
better answer is in the data, but message passing from scratch keeps to the poor branch until that
ends and the error jumps. Between the two lies the hard phase. Right, margin 1: the error falls
smoothly from weak recovery on.

Ohzeki (2015) announces such a transition; the paper's own figures could not be read, and both
panels are derived here.
"""

import matplotlib.pyplot as plt

from retemper.perceptron import PerceptronModel, TransitionDisplay, simulate, transitions

figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True, layout="constrained")
for ax, margin, loads in zip(axes, (0.5, 1.0), ([2.4, 4.8, 5.4], [0.2, 1.0, 1.8])):
    display = TransitionDisplay.from_model(PerceptronModel(margin, 0.0))
    display.plot(ax=ax, max_load=loads[-1] / 0.9, color="C0", label="stable (dashed: unstable)")

    found = transitions(margin)
    lines = {
        "weak recovery": (found.alpha_c, "0.4", ":"),
        "equal evidence": (found.alpha_it, "C2", "--"),
        "end of the hard phase": (found.alpha_alg, "C1", "-."),
    }
    for name, (load, colour, line) in lines.items():
        if load is not None:
            ax.axvline(load, color=colour, ls=line, lw=1.4, label=name)
    ax.plot([0, found.alpha_c], [0.5, 0.5], "-", color="C0")

    samples = [
        simulate(
            PerceptronModel(margin, load),
            n_features=600,
            n_repeats=3,
            random_state=i,
            on_failure="ignore",
        )
        for i, load in enumerate(loads)
    ]
    ax.errorbar(
        loads,
        [s.error_margin for s in samples],
        [s.stderr["error_margin"] for s in samples],
        fmt="o",
        color="black",
        label="message passing, 600 features",
    )
    ax.set_title(f"margin {margin:g}, no labels")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure.suptitle("A narrow margin makes the error jump; with a wide one it falls smoothly")
plt.show()
