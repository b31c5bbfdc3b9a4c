"""
Order parameters with sampled linear networks
=============================================

The theory knows a network by a few numbers: the norm of the target's read-out ($Q_t$), its overlap
with the read-out of the source ($Q_{st}$), and with that of another target network that shares the
source ($Q_{tt}$). Lines are the theory, dots are linear networks sampled by Gibbs, two standard
errors. Both overlaps rise from zero with the coupling: that is how the theory sees transfer.

No published figure: derived here, for the theory of Ingrosso et al. (2025).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import GammaPathDisplay, WideNetModel

rng = np.random.default_rng(0)
u, v = np.linalg.qr(rng.normal(size=(30, 2)))[0].T
w = 0.9 * u + np.sqrt(1 - 0.9**2) * v
X_source, X_target, X_test = (rng.normal(size=(n, 30)) for n in (60, 20, 100))
source, target, test = (X_source, X_source @ u), (X_target, X_target @ w), (X_test, X_test @ w)

display = GammaPathDisplay.from_model(
    WideNetModel(100, "linear"),
    target,
    source,
    test,
    gammas=[0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf],
    quantities=["Q_t", "Q_tt", "Q_st"],
    sample_gammas=[0.0, 0.3, 1.0, 3.0, 10.0, np.inf],
    random_state=0,
    n_draws=4,
)
figure, ax = plt.subplots(layout="constrained")
display.plot(ax=ax)
ax.set(
    ylabel="order parameter, linear networks of width 100",
    title="Both overlaps rise from zero with the coupling: transfer, as the theory sees it",
)
plt.show()
