"""
The published table, its phases and the alarm
=============================================

One training run of Schneider and Prabhushankar (2024), as the README of their published code gives
it: test loss of a decoder and transfer accuracy at eleven checkpoints. `PhaseDetector` reads the
loss alone. Background: its phases. It raises the alarm (red) two checkpoints after the transfer
accuracy was best, and names the checkpoint to keep (green).

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

curves = {
    "unexplained variance (published)": fuv,
    "transfer accuracy (published)": np.array(transfer),
    "falling-then-rising fit": detector.fit_,
}
figure, ax = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
display = MonitorDisplay(np.array(steps, dtype=float), curves, {}, detector.labels_)
display.plot(ax=ax, names={name: name for name in curves})
for step, words, colour in (
    (online.alarm_step_, "alarm at", "C1"),
    (online.recommended_step_, "keep", "C2"),
):
    ax.axvline(np.log2(1 + step), color=colour, ls="--", label=f"{words} {step}")
ax.legend()
plt.show()
