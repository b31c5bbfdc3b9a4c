"""
Transfer at finite width, regularisation at large width
=======================================================

Two linear teachers of overlap 0.9. At width 100 (left) the error has a deep minimum at a finite
coupling, and the control with a random anchor (dashed) only rises: the source is used. At width
5000 (right) the lines part little before their minimum: most of what is gained is regularisation.
Networks of infinite width transfer nothing.

No published figure: a synthetic version of figure 1 of Ingrosso et al. (2025), which needs no
download.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from retemper.exceptions import ValidityWarning
from retemper.widenet import GammaPathDisplay, WideNetModel, gamma_path

warnings.simplefilter("ignore", ValidityWarning)  # two samples per dimension and no more
rng = np.random.default_rng(0)
u, v = np.linalg.qr(rng.normal(size=(200, 2)))[0].T  # two orthogonal directions
w = 0.9 * u + np.sqrt(1 - 0.9**2) * v
X_source, X_target, X_test = (rng.normal(size=(n, 200)) for n in (400, 60, 300))
source, target, test = (X_source, X_source @ u), (X_target, X_target @ w), (X_test, X_test @ w)

couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
figure, axes = plt.subplots(1, 3, figsize=(12.5, 4), layout="constrained")
for ax, width in zip(axes, (100, 500, 5000)):
    model = WideNetModel(width, temperature_source=0.01, temperature_target=0.01)
    path = gamma_path(model, target, source, test, gammas=couplings)
    GammaPathDisplay(path).plot(ax=ax)
    ax.set(title=f"width {width}", ylabel="mean squared error")
    ax.get_legend().remove()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure.suptitle(
    "At width 100 the source is used; at 5000 a random anchor (dashed) does nearly as well"
)
plt.show()
