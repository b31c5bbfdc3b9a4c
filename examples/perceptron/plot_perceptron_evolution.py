"""
Message passing against state evolution
=======================================

Lines are state evolution, the exact law of the overlap with the truth from one iteration to the
next; dots are message passing on 2000 features. They agree step by step, not only in the end, so
the theory also says how many passes over the rows an answer needs.

No published figure was read. Ohzeki (2015) checks the theory by an iterative algorithm; this one is
derived here.
"""

import matplotlib.pyplot as plt

from retemper.perceptron import PerceptronModel, simulate, state_evolution

iterations = range(1, 16, 2)

figure, ax = plt.subplots(layout="constrained")
for k, (margin, unlabelled, labelled) in enumerate(
    [(1.0, 1.0, 0.1), (0.5, 4.0, 0.3), (2.0, 0.3, 0.1)]
):
    model = PerceptronModel(margin, unlabelled, labelled)
    path = state_evolution(model, 15)
    ax.plot(path.m, color=f"C{k}", label=f"{margin:g}; {unlabelled:g}; {labelled:g}")
    stopped = [
        simulate(
            model,
            n_features=2000,
            n_repeats=2,
            random_state=0,
            max_iter=t,
            damping=0.0,
            tol=1e-300,  # never satisfied: stop after t iterations
            on_failure="ignore",
        )
        for t in iterations
    ]
    ax.plot(iterations, [s.m for s in stopped], "osD"[k], color=f"C{k}")
ax.set(
    xlabel="iteration",
    ylabel="overlap with the truth",
    title="Lines of the theory meet message passing on 2000 features at every step",
)
ax.legend(title="margin; unlabelled; labelled rows per feature", title_fontsize="small")
plt.show()
