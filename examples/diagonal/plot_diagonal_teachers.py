"""
Aligned and opposite teachers, warm starts and resets
=====================================================

Half of the source's features are used again, with the same sign (solid) or the opposite one
(dashed). Left, the error on the new task; right, how much of the old task is forgotten.

Look at the pairs on the left. After a reset the sign of the source is gone, so solid and dashed
lines are one: only the strength of a source feature counts. A warm start keeps the sign and pays
for it when the teachers disagree. From 0.2 samples per feature on, regime IV, which chooses among
the source's features, has the least error with either teacher.

Teachers after the code that follows up Anguita et al. (2026); no published figure was read.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, curve

alpha = np.linspace(0.02, 0.8, 40)
starts = {
    "warm": {"mode": "warm"},
    "II": {"balance": 0.9},
    "III": {"readout_scale": 3.0},
    "IV": {"balance": -0.95},
}

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for shared, line in (("aligned", "-"), ("opposite", "--")):
    for k, (label, start) in enumerate(starts.items()):
        model = replace(DiagonalModel(0.1, init_scale=0.01), shared=shared, **start)
        found = curve(model, {"alpha": alpha})
        look = {"ls": line, "color": f"C{k}", "marker": "osD^"[k], "markevery": (2 * k, 8)}
        left.plot(alpha, found["mse"], **look, label=f"{label}, {shared}")
        right.plot(alpha, found["forgetting"], **look)
left.set(
    xlabel="samples per feature α",
    ylabel="excess test error",
    yscale="log",
    title="new task",
)
right.set(xlabel="samples per feature α", ylabel="forgetting", title="old task")
left.legend(ncols=2)
figure.suptitle("After a reset the sign of the source does not matter; a warm start pays for it")
plt.show()
