"""
The coupling under eight activations
====================================

A network of width 100 learns a target from 40 samples while its first layer is pulled towards that
of a network trained on 100 samples of a related task. Each line is one activation: test error
against the coupling, over that of training from scratch.

All lines have their minimum at about the same coupling: the choice of the activation is not that of
the coupling. With odd activations (erf, tanh, sine) the pull is worth least, with a linear network
most. Frozen features are worse than none here, for the tasks agree in nine tenths of the teacher
alone and the networks are narrow.

No published figure: derived here, for the theory of Ingrosso et al. (2025).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import WideNetModel, gamma_path

rng = np.random.default_rng(0)
d = 100
u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
w = 0.9 * u + np.sqrt(1 - 0.9**2) * v
X_source, X_target, X_test = (rng.normal(size=(n, d)) for n in (100, 40, 400))
source, target, test = (
    (X, np.sign(X @ teacher)) for X, teacher in ((X_source, u), (X_target, w), (X_test, w))
)
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
activations = ["linear", "erf", "tanh", "sine", "relu", "gelu", "silu", "softplus"]

figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
for k, activation in enumerate(activations):
    model = WideNetModel(100, activation, temperature_source=0.01, temperature_target=0.01)
    path = gamma_path(model, target, source, test, gammas=couplings, control=False)
    error = path["test_error"]
    ls, marker = ["-", "--", "-.", ":"][k % 4], "osD^v<>P"[k]
    ax.plot(error / error[0], ls=ls, marker=marker, ms=4, label=activation)
ax.axhline(1, color="0.6", lw=0.8)
ax.set_xticks(range(len(couplings)), [f"{g:g}".replace("inf", "∞") for g in couplings])
ax.set(
    xlabel="coupling",
    ylabel="test error, over that from scratch",
    title="Under every activation a coupling near 1 is best here; freezing costs",
)
ax.legend(ncols=2)
plt.show()
