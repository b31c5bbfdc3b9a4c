"""
Error and read-out norm against the coupling, digits
====================================================

A Bayesian network learns {0, 1, 9} against {2, 3, 8} from 60 images, while its first layer is
pulled towards that of a network trained on {0, 1, 4} against {2, 3, 5}. The strength of the pull is
the coupling: 0 is training from scratch, infinity is frozen features.

Left: the error has its minimum at a finite coupling. Dashed is the control: the same pull towards a
random first layer. Only what lies below the dashed line is knowledge, and there is much of it at
width 100 alone; in wide networks the gain is regularisation. Right: the norm of the read-out, which
the coupling changes at width 100 only.

The axes are those of figure 1 of Ingrosso et al. (2025) in words; its values could not be read. The
theory asks for at most two samples per dimension, and there are more here: read it as a guide.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from retemper.exceptions import ValidityWarning
from retemper.widenet import GammaPathDisplay, WideNetModel, gamma_path

X, digit = load_digits(return_X_y=True)
X = X[:, X.std(axis=0) > 0]
X = (X - X.mean(axis=0)) / X.std(axis=0)
order = np.random.default_rng(0).permutation(len(X))


def task(rows, positive, negative):
    rows = rows[np.isin(digit[rows], positive + negative)]
    return X[rows], np.where(np.isin(digit[rows], positive), 1.0, -1.0)


X_source, y_source = task(order[:898], (0, 1, 4), (2, 3, 5))
X_target, y_target = task(order[898:], (0, 1, 9), (2, 3, 8))
source = X_source[:400], y_source[:400]
target, test = (X_target[:60], y_target[:60]), (X_target[60:], y_target[60:])

# %%
# One path of couplings for each width; the warning about the samples per dimension is said above.
warnings.simplefilter("ignore", ValidityWarning)
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
for k, width in enumerate((100, 500, 1000, 5000)):
    path = gamma_path(WideNetModel(width), target, source, test, gammas=couplings)
    for ax, quantity in ((left, "test_error"), (right, "Q_t")):
        GammaPathDisplay(path, quantities=[quantity], label=f"width {width},", color=f"C{k}").plot(
            ax=ax
        )
left.set(ylabel="mean squared error", title="dashed: random anchor")
right.set(
    ylabel="read-out norm",
    title=f"{path.theory[0].samples_per_dimension:.0f} samples per dimension (theory: 2)",
)
plt.show()
