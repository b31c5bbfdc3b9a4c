"""
The student's margin hardly matters near the true one
=====================================================

On real data nobody knows the margin. Here the true one is 1 and the student assumes another. The
cosine between the found and the true direction is flat from half the true margin (grey) on, and
falls off only for smaller ones. Too large a margin costs stability instead: where the replicon
passes 1, message passing would not converge.

No published figure was read; the equations are derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import PerceptronModel, curve

margin = np.linspace(0, 1.2, 25)
found = curve(PerceptronModel(1.0, 1.5, 0.2, kappa_true=1.0), {"kappa": margin})

figure, ax = plt.subplots(layout="constrained")
ax.plot(margin, found["cosine"], label="cosine")
ax.plot(margin, found["replicon"], label="replicon (unstable above 1)")
ax.axvline(1.0, color="0.5", lw=1)
ax.set(xlabel="margin of the student", title="true margin 1, loads 1.5 and 0.2")
ax.legend()
plt.show()
