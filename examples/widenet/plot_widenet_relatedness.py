"""
Frozen, best and scratch against the overlap of the tasks
=========================================================

How related must two tasks be? The overlap of the teachers runs from opposite to equal. Frozen
features are the best of all near the ends and harmful in the middle: between unrelated tasks they
cost more than training from scratch. The best coupling is never worse than either.

Opposite teachers are as good as equal ones, since the read-out is learned anew. Right: the order
parameter that says how much of the target's read-out lies along the source's.

No published figure: derived here, for the theory of Ingrosso et al. (2025).
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from retemper.exceptions import ValidityWarning
from retemper.widenet import WideNetModel, gamma_path

warnings.simplefilter("ignore", ValidityWarning)  # two samples per dimension and no more
model = WideNetModel(200, temperature_source=0.01, temperature_target=0.01)
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
overlaps = np.linspace(-1, 1, 11)
rng = np.random.default_rng(0)
u, v = np.linalg.qr(rng.normal(size=(200, 2)))[0].T
X_source, X_target, X_test = (rng.normal(size=(n, 200)) for n in (400, 60, 300))

errors, shared = [], []
for overlap in overlaps:
    w = overlap * u + np.sqrt(1 - overlap**2) * v
    target, source, test = (X_target, X_target @ w), (X_source, X_source @ u), (X_test, X_test @ w)
    path = gamma_path(model, target, source, test, gammas=couplings, control=False)
    errors.append(path["test_error"])
    shared.append(path["Q_st"][-1])
errors = np.array(errors)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.plot(overlaps, errors[:, 0], "o-", label="scratch")
left.plot(overlaps, errors.min(axis=1), "D-.", label="best coupling")
left.plot(overlaps, errors[:, -1], "s--", label="frozen")
left.set(xlabel="overlap of the teachers", ylabel="test error", title="width 200")
left.legend()
right.plot(overlaps, shared, "s--", color="C2")
right.set(
    xlabel="overlap of the teachers",
    ylabel="overlap $Q_{st}$ of the read-outs",
    title="frozen features",
)
figure.suptitle(
    "Frozen features pay between related or opposite tasks; the best coupling never loses"
)
plt.show()
