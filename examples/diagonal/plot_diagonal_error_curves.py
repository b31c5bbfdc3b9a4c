"""
Error against samples per feature for three tasks
=================================================

Lines are the theory, dots are fine-tuned networks with 600 features, six for each dot. A dotted
line at the top is the error of predicting zero: above it the source does harm.

Left: every feature of the source is used again. Starts with λ of 0 or more, which make its features
cheap, win while samples are scarce; λ near -1 overtakes them later. Middle: only a tenth of the
source's features are used again, and λ near -1, which chooses among them, wins from the start.
Right: the target uses new features only, and with few samples the starts that follow the source lie
above the dotted line.

Setting after Anguita et al. (2026): tasks and starts are those of the published code; the figure of
the paper itself could not be read.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, ErrorCurveDisplay

starts = {
    f"λ = {balance:g}, γ = {readout:g}": {"balance": balance, "readout_scale": readout}
    for balance, readout in [(-0.99, 0.0), (0.0, 0.0), (0.99, 0.0), (0.0, 1.0), (0.0, 10.0)]
}
tasks = {
    "all reused": DiagonalModel(0.1, omega=1.0, rho_ft=0.1),
    "a small part reused": DiagonalModel(0.1, omega=1.0, rho_ft=0.01),
    "all new": DiagonalModel(0.1, omega=0.0, rho_ft=0.1),
}

figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
for ax, (title, model) in zip(axes, tasks.items()):
    display = ErrorCurveDisplay.from_model(
        model,
        np.linspace(0.01, 0.5, 40),
        starts,
        alpha_simulated=[0.05, 0.2, 0.35],
        n_features=600,
        n_repeats=6,
    )
    display.plot(ax=ax)
    ax.set_title(title)
figure.suptitle(
    "Starts near λ = -1 choose among the source's features; γ of 1 and more gives them up"
)
plt.show()
