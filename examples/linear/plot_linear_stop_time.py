"""
When to stop fine-tuning
========================

Gradient descent starts at the source and is stopped at time t, the number of steps times their
size. Lines are the theory in high dimension, dots 20 simulated experiments each; a star is the best
time. Large variances are learned first, and the noise of the labels is fitted last.

The better the source, the earlier one should stop: from zero twenty times as late as from a source
that knows nearly all. A source that points the wrong way takes longest, and is never worth it. Late
in training every start has fitted the noise.

No published figure of this setting was read; the time course is derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import LinearModel, curve

d = 200
spectrum = 1 / np.arange(1.0, d + 1)
rng = np.random.default_rng(0)
target, other = rng.normal(size=(2, d)) / np.sqrt(spectrum.sum())
sources = {
    "nothing": np.zeros(d),
    "half of it": 0.5 * target,
    "nearly all": target + 0.2 * other,
    "the opposite": -0.5 * target,
}
times = np.geomspace(0.3, 3000, 40)

figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
for k, (name, source) in enumerate(sources.items()):
    model = LinearModel(100, target, spectrum=spectrum, source_coef=source, noise=0.5)
    found = curve(model, {"stop_time": times})
    dots = found.simulate("risk", n_repeats=20, n_points=6, random_state=0)
    risk = found["risk"]
    ax.plot(times, risk, ls=["-", "--", "-.", ":"][k], color=f"C{k}", label=name)
    when = dots.axes["stop_time"]
    ax.errorbar(when, dots["risk"], 2 * dots["risk_stderr"], fmt="o", ms=4, color=f"C{k}")
    best = risk.argmin()
    ax.plot(times[best], risk[best], "*", ms=13, mec="white", color=f"C{k}")
ax.set(
    xscale="log",
    yscale="log",
    xlabel="time at which training stops",
    ylabel="excess risk",
    title="The better the source, the earlier to stop (stars); late, all have fitted the noise",
)
ax.legend(title="the source knows")
plt.show()
