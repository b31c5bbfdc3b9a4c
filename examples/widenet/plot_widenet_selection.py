"""
Regret of the coupling chosen by leave-one-out
==============================================

Nobody knows the test error beforehand. Over 24 pairs of tasks, how much is lost by choosing the
coupling from the training data: by the exact leave-one-out error, or by the evidence? The regret is
the extra test error over the best coupling of the grid, in per cent. Leave-one-out loses less; the
evidence leans to small couplings.

No published figure: the study is ours, in the test error of the theory of Ingrosso et al. (2025).
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from retemper.exceptions import ValidityWarning
from retemper.widenet import WideNetModel, gamma_path

warnings.simplefilter("ignore", ValidityWarning)  # two samples per dimension and no more
regret = {"leave-one-out": [], "evidence": []}
rng = np.random.default_rng(1)
for _ in range(24):
    overlap, n_target, width = (
        rng.uniform(-0.2, 1),
        rng.choice([20, 50]),
        rng.choice([50, 150, 500]),
    )
    u, v = np.linalg.qr(rng.normal(size=(80, 2)))[0].T
    w = overlap * u + np.sqrt(1 - overlap**2) * v
    X_source, X_target, X_test = (rng.normal(size=(n, 80)) for n in (160, n_target, 300))
    path = gamma_path(
        WideNetModel(int(width), temperature_source=0.02, temperature_target=0.02),
        (X_target, X_target @ w),
        (X_source, X_source @ u),
        test=(X_test, X_test @ w),
        control=False,
    )
    error = path["test_error"]
    regret["leave-one-out"].append(error[path["loo"].argmin()] / error.min() - 1)
    regret["evidence"].append(error[path["log_evidence"].argmax()] / error.min() - 1)

figure, ax = plt.subplots(layout="constrained")
bins = np.linspace(0, 100 * np.max(list(regret.values())), 25)
percent = [100 * np.array(values) for values in regret.values()]
labels = [f"{name}: mean {p.mean():.1f} %" for name, p in zip(regret, percent)]
ax.hist(percent, bins, label=labels)
ax.set(
    xlabel="regret in test error, %",
    ylabel="pairs of tasks",
    title="Choose the coupling by leave-one-out: the evidence loses more",
)
ax.yaxis.get_major_locator().set_params(integer=True)  # pairs are counted
ax.legend()
plt.show()
