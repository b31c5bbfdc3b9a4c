"""
Depth repairs a wrong scale of the source
=========================================

A linear network of some depth starts from a source and is fine-tuned on a tenth as many samples as
it has features. Lines are the theory, dots are simulated networks.

In each case the target is a times the source plus ε times something new. With the right direction
and the wrong scale (ε = 0) the risk falls towards zero as the network gets deeper: training forgets
how large the weights were and keeps where they pointed. With the right scale (a = 1) depth costs a
little.

The setting is that of figure 2(a) of Shachaf et al. (2021) as its caption is quoted; the figure
itself could not be read, and the closed form is derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import LinearModel, curve

source, other = np.eye(2, 500)
depths = [1, 2, 3, 5, 7, 20, np.inf]
steps = np.arange(len(depths))

figure, ax = plt.subplots(figsize=(8.6, 4.4), layout="constrained")
for a, eps in ((0.5, 0.0), (2.0, 0.0), (0.5, 0.5), (1.0, 0.5), (2.0, 0.5)):
    model = LinearModel(50, a * source + eps * other, source_coef=source)
    theory = curve(model, {"depth": depths}, quantities=["risk"])
    dots = theory.simulate(n_repeats=20, random_state=1)
    (line,) = ax.plot(steps, theory["risk"], label=f"a = {a:g}, ε = {eps:g}")
    ax.errorbar(steps, dots["risk"], dots["risk_stderr"], fmt="o", color=line.get_color())
ax.set_yscale("symlog", linthresh=0.01)  # a perfect repair has risk 0
ax.set_ylim(bottom=0.0)
ax.set_xticks(steps, ["∞" if np.isinf(depth) else f"{depth:g}" for depth in depths])
ax.set(xlabel="depth", ylabel="excess risk")
ax.legend(title="target = a source\n+ ε something new", loc="center left", bbox_to_anchor=(1, 0.5))
ax.set_title("A deep network repairs a wrong scale (ε = 0); lines: theory, dots: simulation")
plt.show()
