"""
Theory against sampled networks, inside and outside its range
=============================================================

Each dot is one quantity, an order parameter or an error, from the theory (up) and from networks
sampled by Hamiltonian Monte Carlo (right, two standard errors). On the line they agree.

Left: 3.3 source samples per feature, more than the theory is made for, and dots of frozen features
(coupling ∞) leave the line. Right: one sample per feature. Open dots: the chains had not come
together, so the sampled value itself is uncertain.

No published figure: the check is ours, on the theory of Ingrosso et al. (2025).
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from retemper.exceptions import ConvergenceWarning
from retemper.widenet import WideNetModel, compare

figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, d in zip(axes, (30, 100)):
    rng = np.random.default_rng(0)
    u = rng.normal(size=d)
    tasks = [(X, np.sign(X @ u)) for X in (rng.normal(size=(n, d)) for n in (30, 100, 60))]
    target, source, test = tasks
    for k, coupling in enumerate((0.0, np.inf)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = compare(
                WideNetModel(100, gamma=coupling),
                target,
                source,
                test,
                random_state=0,
                n_chains=4,
                n_draws=3,
            )
        apart = any(issubclass(w.category, ConvergenceWarning) for w in caught)
        ax.errorbar(
            found.simulation,
            found.theory,
            xerr=2 * found.stderr,
            fmt="os"[k],
            color=f"C{k}",
            mfc="white" if apart else f"C{k}",
            label=f"coupling {coupling:g}".replace("inf", "∞") + (", not mixed" if apart else ""),
        )
    ax.axline((0, 0), slope=1, color="0.6", lw=1)
    ax.set(xlabel="sampled", ylabel="theory", title=f"{100 / d:.2g} source samples per feature")
    ax.legend()
figure.suptitle(
    "The theory holds within its range (right); beyond it frozen features leave the line"
)
plt.show()
