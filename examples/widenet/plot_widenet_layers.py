"""
More hidden layers for one task
===============================

Test error of networks with one to four hidden layers against their width, for a linear task of 40
samples and 80 features without a source. Lines are the theory of finite width, dotted its limit of
infinite width. Wide networks gain from every layer; below a width of about 60, three and four
layers are worse than one.

The theory's error is too small by about a per cent for each layer; the table on the page of the
system holds it against sampled networks.

No published figure: derived here; one layer is the theory of Ingrosso et al. (2025).
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import WideNetModel, curve

rng = np.random.default_rng(0)
d = 80
teacher = rng.normal(size=d) / np.sqrt(d)
target, test = ((X, X @ teacher) for X in (rng.normal(size=(n, d)) for n in (40, 300)))
model = WideNetModel(100, "erf", temperature_target=0.05)
layers, widths = [1, 2, 3, 4], np.geomspace(30, 3000, 16).round()

figure, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
for k, n_layers in enumerate(layers):
    deep = replace(model, n_hidden_layers=n_layers)
    error = curve(deep, {"width": widths}, target, test=test)["test_error"]
    limit = curve(deep, {"width": [np.inf]}, target, test=test)["test_error"][0]
    ax.plot(widths, error, ls=["-", "--", "-.", (0, (5, 1))][k], color=f"C{k}", label=str(n_layers))
    ax.axhline(limit, color=f"C{k}", lw=0.8, ls=":")
ax.set(
    xscale="log",
    xlabel="width of every layer (dotted: infinite)",
    ylabel="test error",
    title="More layers pay in wide networks; in narrow ones they cost",
)
ax.legend(title="hidden layers")
plt.show()
