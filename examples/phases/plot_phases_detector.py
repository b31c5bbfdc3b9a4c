"""
The published table, its phases and the alarm
=============================================

One training run of Schneider and Prabhushankar (2024), as the README of their published code gives
it: test loss of a decoder and transfer accuracy at eleven checkpoints. `PhaseDetector` reads the
loss alone (above). Background: its phases.

Below, what that is worth for transfer, which the detector does not see. It keeps checkpoint 128,
where the reconstruction is best: accuracy .832, against .772 at the end of training and .853 at the
best checkpoint, 1024. So reading the loss alone recovers three quarters of what stopping early can
give, and a transfer task of one's own, if there is one, finds the rest. The alarm comes at 4096,
two checkpoints after the best.

The losses are divided by what makes them fractions of unexplained variance, 79 batches of pixel
variance 1.559.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.phases import MonitorDisplay, PhaseDetector

steps = [0, 8, 32, 64, 128, 256, 1024, 2048, 4096, 8192, 65536]
loss = [46.71, 45.62, 43.48, 41.92, 40.32, 40.54, 41.12, 44.30, 48.69, 54.74, 62.18]
transfer = [0.789, 0.789, 0.816, 0.833, 0.832, 0.847, 0.853, 0.834, 0.819, 0.801, 0.772]
scale = 79 * 1.559
fuv, sigma = np.array(loss) / scale, 0.3 / scale

# %%
# All checkpoints at once give the phases; one after the other, as in training, they give the alarm.
detector = PhaseDetector(min_stderr=sigma).fit(steps, fuv, sigma)
online = PhaseDetector(min_stderr=sigma)
for step, value in zip(steps, fuv):
    online.update(step, value, sigma)

figure, (above, below) = plt.subplots(2, 1, figsize=(7.6, 6.4), sharex=True, layout="constrained")
curves = {"published loss": fuv}
MonitorDisplay(np.array(steps, dtype=float), curves, {}, detector.labels_).plot(
    ax=above, names={name: name for name in curves}
)
accuracy = {"published accuracy": np.array(transfer)}
MonitorDisplay(np.array(steps, dtype=float), accuracy, {}, []).plot(
    ax=below, names={name: name for name in accuracy}
)
kept, alarm, best = online.recommended_step_, online.alarm_step_, steps[np.argmax(transfer)]
for ax in (above, below):
    ax.axvline(np.log2(1 + kept), color="C2", ls=":", lw=1.8, label=f"keep {kept}")
    ax.axvline(np.log2(1 + alarm), color="C1", ls="--", label=f"alarm at {alarm}")
for step, where in ((kept, (-6, 8)), (best, (0, 8)), (steps[-1], (-10, -4))):
    value = transfer[steps.index(step)]
    below.annotate(
        f"{value:.3f}",
        (np.log2(1 + step), value),
        textcoords="offset points",
        xytext=where,
        ha="center" if step == best else "right",
    )
above.set(ylabel="unexplained input variance", xlabel="")
above.legend(loc=(0.03, 0.55))
below.set(ylabel="transfer accuracy", ylim=(0.76, 0.87))
figure.suptitle("Kept by its loss alone: .832 of transfer; the best is .853, the end .772")
plt.show()
