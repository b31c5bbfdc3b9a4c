"""
Error and read-out norm against the coupling, digits
====================================================

A Bayesian network learns {0, 1, 9} against {2, 3, 8} from 30 images, while its first layer is
pulled towards that of a network trained on {0, 1, 4} against {2, 3, 5}, from 50 images. The
strength of the pull is the coupling: 0 is training from scratch, infinity is frozen features.
Images are given by their first 40 principal components, each of the same variance, which keeps the
problem within the range of the theory: less than two samples per effective dimension.

Left: the error has its minimum at a finite coupling. Dashed is the control: the same pull towards a
random first layer. Only what lies below the dashed line is knowledge, and there is most of it at
width 50; in wide networks the gain is regularisation. Dots are sampled networks of width 50, with
two standard errors. Right: the norm of the read-out, which the coupling changes most at width 50.

The axes are those of figure 1 of Ingrosso et al. (2025) in words; its values could not be read.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from retemper.widenet import GammaPathDisplay, WideNetModel, gamma_path, simulate

pixels, digit = load_digits(return_X_y=True)
U = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)[0][:, :40]
X = np.sqrt(40) * U / np.linalg.norm(U, axis=1, keepdims=True)
order = np.random.default_rng(0).permutation(len(X))


def task(rows, positive, negative):
    rows = rows[np.isin(digit[rows], positive + negative)]
    return X[rows], np.where(np.isin(digit[rows], positive), 1.0, -1.0)


X_source, y_source = task(order[:898], (0, 1, 4), (2, 3, 5))
X_target, y_target = task(order[898:], (0, 1, 9), (2, 3, 8))
source = X_source[:50], y_source[:50]
target, test = (X_target[:30], y_target[:30]), (X_target[30:230], y_target[30:230])

# %%
# Networks of width 50, sampled at three couplings.
sampled = [
    simulate(WideNetModel(50, gamma=g), target, source, test, n_chains=8, n_draws=4, random_state=0)
    for g in (0.0, 1.0, np.inf)
]

# %%
# One path of couplings for each width.
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0, 0.8, 3))
for width, colour in zip((50, 200, 1000), shades):
    path = gamma_path(WideNetModel(width), target, source, test, gammas=couplings)
    dots = sampled if width == 50 else ()
    for ax, quantity in ((left, "test_error"), (right, "Q_t")):
        label = f"width {width},"
        GammaPathDisplay(path, dots, quantities=[quantity], label=label, color=colour).plot(ax=ax)
left.set(ylabel="mean squared error", title="dashed: random anchor; dots: sampled networks")
right.set(ylabel="norm of the read-out", title="what the pull does to the read-out")
figure.suptitle("A narrow network gains knowledge from the source, a wide one regularisation alone")
plt.show()
