"""
Amplitude collapse against true loss
====================================

The last checkpoints of two runs, each read by decoders of every ridge. A small ridge (left of an
axis) sees directions of tiny amplitude, a large one does not.

Left, parity with weight decay: up to step 4096 late checkpoints are nearly as readable as early
ones if the ridge is small enough. The information is there and has shrunk. Right, a colour: the
lines part at every ridge. The information is gone.

Averaged over three seeds. No published figure: ours, on the question of Schneider and Prabhushankar
(2024).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.gallery import RUNS, run_seeds

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for ax, name in zip(axes, ("parity", "colour")):
    run = RUNS[name]
    monitors = run_seeds(name, n_seeds=3)
    for step in list(monitors[0].history_)[-6:]:
        octave = int(np.log2(step)) - 7  # a shade for every doubling, in both panels
        scores = [m.history_[step][run.alarm_layer] for m in monitors]
        fuv = np.mean([s.fuv_path for s in scores], axis=0)
        colour = plt.colormaps["viridis"](octave / 7)
        look = {"ls": ("-", "--")[octave % 2], "color": colour, "label": f"step {step}"}
        ax.semilogx(scores[0].relative_ridges, fuv, **look)
    ax.set(xlabel="relative ridge", ylabel="unexplained input variance", title=run.summary)
    ax.legend()
figure.suptitle("A small ridge brings back what has shrunk (left), not what is lost (right)")
plt.show()
