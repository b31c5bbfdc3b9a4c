"""
Hidden layers: linear units need weight decay to forget, nonlinear ones do not
==============================================================================

What can be read off a hidden layer while a network learns? Lines are exact, without weight decay
(full) and with it (dashed); marks are training on 20 000 rows, two standard errors.

Left: four units that learn one direction of twenty. The unexplained variance falls while the
direction comes in. Linear units then keep what they hold until weight decay takes it; units of erf
and relu lose it without: the part of a unit that is not linear is noise to a decoder, grows with
the weights and buries faint directions.

Right: layers of linear units as wide as the inputs, read at a resolution of 1 %. Nothing is lost
from the hidden layer of two without weight decay. A second hidden layer loses without any: what is
learned outgrows the rest more, the more layers multiply.

The three phases are those of Schneider and Prabhushankar (2024), whose theorems could not be read;
the flow of units is that of Saad and Solla (1995), decoder and deep layers are derived here.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.phases import DeepLinearModel, TwoLayerModel, simulate, solve

rng = np.random.default_rng(0)
spectrum = 1 / np.arange(1.0, 21.0)
start = {"W0": 0.01 * rng.normal(size=(4, 20)), "readout0": 0.01 * rng.normal(size=4)}
teacher = 2 / np.sqrt(spectrum[1]) * np.eye(20)[[1]]
times = np.concatenate([[0.0], np.geomspace(0.1, 1e4, 120)])
units = TwoLayerModel(spectrum, teacher, **start, times=times)

signal = np.zeros(10)
signal[[2, 6]] = 0.5, 0.2
deep = DeepLinearModel(
    spectrum[:10], signal, init_scale=0.2, relative_noise_var=0.01, times=times[times < 2e3]
)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
cases = [(left, units, {"activation": name}, name) for name in ("linear", "erf", "relu")]
cases += [
    (right, deep, {"depth": 2}, "hidden layer of two layers"),
    (right, deep, {"depth": 3, "layer": 1}, "first hidden layer of three"),
    (right, deep, {"depth": 3, "layer": 2}, "second hidden layer of three"),
]
for i, (ax, model, changes, label) in enumerate(cases):
    color = f"C{i}"
    for weight_decay, style in ((0.0, "-"), (0.003, "--")):
        theory = solve(replace(model, **changes, weight_decay=weight_decay))
        ax.semilogx(theory.times[1:], theory.fuv[1:], style, color=color)
    seen = replace(model, **changes, times=[0.25, 1.0, 2.0, 4.0, 8.0], step_size=0.125)
    sample = simulate(seen, n_samples=20_000, n_repeats=4, random_state=i)
    error = 2 * sample.stderr["fuv"]
    ax.errorbar(sample.times, sample.fuv, error, fmt="os^"[i % 3], color=color, label=label)
for ax, title in ((left, "units of one hidden layer"), (right, "layers of linear units")):
    for style, label in (("-", "theory"), ("--", "with weight decay 0.003")):
        ax.plot([], [], style, color="0.4", label=label)
    ax.set(xlabel="time, step size × steps", ylabel="unexplained input variance", title=title)
    ax.legend(loc="upper left")
figure.suptitle("Linear units lose their inputs to weight decay or depth, nonlinear ones to growth")
plt.show()
