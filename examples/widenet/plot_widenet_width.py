"""
Test error against the width
============================

Transfer fades with the width. Frozen features (coupling ∞) have their least error near 200 units,
well below scratch (coupling 0), and end where scratch ends: infinite width transfers nothing. Very
narrow networks should not be frozen. Coupling 1 keeps an advantage at any width, as a mere
regulariser. Dotted: the limit of infinite width.

No published figure: derived here, for the theory of Ingrosso et al. (2025).
"""

import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.exceptions import ValidityWarning
from retemper.widenet import WideNetModel, curve

warnings.simplefilter("ignore", ValidityWarning)  # small widths have more samples than units
rng = np.random.default_rng(0)
u, v = np.linalg.qr(rng.normal(size=(200, 2)))[0].T
w = 0.9 * u + np.sqrt(1 - 0.9**2) * v
X_source, X_target, X_test = (rng.normal(size=(n, 200)) for n in (180, 60, 300))
source, target, test = (X_source, X_source @ u), (X_target, X_target @ w), (X_test, X_test @ w)

model = WideNetModel(100, temperature_source=0.01, temperature_target=0.01)
couplings = [0.0, 1.0, np.inf]
widths = np.geomspace(62, 1e5, 16).round()
finite = curve(model, {"gamma": couplings, "width": widths}, target, source, test)
infinite = curve(replace(model, width=np.inf), {"gamma": couplings}, target, source, test)

figure, ax = plt.subplots(layout="constrained")
for k, coupling in enumerate(couplings):
    error = finite["test_error"][k]
    ax.semilogx(widths, error, color=f"C{k}", label=f"coupling {coupling:g}".replace("inf", "∞"))
    ax.axhline(infinite["test_error"][k], color=f"C{k}", lw=0.8, ls=":")
ax.set(
    xlabel="width",
    ylabel="test error (dotted: infinite width)",
    title="Frozen features help most near 200 units and end where scratch ends",
)
ax.legend()
plt.show()
