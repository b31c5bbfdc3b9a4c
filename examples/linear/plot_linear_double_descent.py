"""
Double descent of transfer
==========================

More samples can hurt: near one sample per feature, fine-tuning without a ridge fits the noise and
the risk explodes, with a source as without. Left, the source was fitted on half a sample per
feature; right, on two. Lines are the theory, dots are 20 simulated experiments each.

The source is half as large again as it should be. Look at the line of the best scale: shrinking the
source by the right factor never does worse than training from scratch, wherever the source comes
from.

No published figure of this setting was read; finite sources are derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import LinearModel, curve

d = 200
teacher = np.ones(d) / np.sqrt(d)
other = np.where(np.arange(d) % 2, -1.0, 1.0) / np.sqrt(d)
sizes = [n for n in range(10, 401, 5) if n != d]
lines = {
    "risk": "fine-tuned",
    "risk_scratch": "from scratch",
    "risk_optimal": "fine-tuned, best scale",
    "risk_zero_shot": "source as it is",
}

figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
for ax, ratio in zip(axes, (0.5, 2.0)):
    model = LinearModel(
        d // 2,
        teacher,
        noise=0.3,
        theta_source=1.5 * teacher + 0.5 * other,
        n_samples_source=int(ratio * d),
        noise_source=0.3,
    )
    found = curve(model, {"n_samples": sizes}, quantities=list(lines))
    found.plot(list(lines), simulate={"n_repeats": 20, "n_points": 12, "random_state": 3}, ax=ax)
    ax.set(yscale="log", xlabel="target samples n", ylabel="excess risk")
    ax.set_ylim(0.6 * found["risk_optimal"].min(), 2.0 * np.quantile(found["risk"], 0.97))
    ax.set_title(f"source fitted on {ratio:g} samples per feature")
    handles, _ = ax.get_legend_handles_labels()
    ax.legend(handles, lines.values(), title="lines: theory, dots: simulation")
axes[1].get_legend().remove()  # the same as on the left
figure.suptitle("Near one sample per feature every fit explodes, with a source as without")
plt.show()
