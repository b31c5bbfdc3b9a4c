"""
Figures of perceptron
=====================

Settings of the theory page, after Ohzeki (2015); the model class is the paper's, every equation is
derived here.
Each is also drawn by ``retemper figure NAME``.
"""

from retemper.gallery import draw

# %%
# Transition
# ----------
# Error without labels against unlabelled rows, with every branch.
figure = draw("perceptron-transition")

# %%
# Fine tuning
# -----------
# A few labels remove the jump of pre-training.
figure = draw("perceptron-fine-tuning")

# %%
# Label budget
# ------------
# Error against labels for several piles of unlabelled rows.
figure = draw("perceptron-label-budget")

# %%
# Phase
# -----
# Thresholds in margin and load, hard phase.
figure = draw("perceptron-phase")

# %%
# Critical
# --------
# Labels beyond which nothing jumps.
figure = draw("perceptron-critical")

# %%
# Evolution
# ---------
# Message passing against state evolution.
figure = draw("perceptron-evolution")

# %%
# Mismatch
# --------
# The student's margin hardly matters near the true one.
figure = draw("perceptron-mismatch")

# %%
# Sign
# ----
# Labels that fix the sign of a pre-trained direction.
figure = draw("perceptron-sign")

# %%
# Quadrature
# ----------
# Gauss-Hermite rules fail near full overlap.
figure = draw("perceptron-quadrature")

# %%
# Real data
# ---------
# Accuracy against labels on bundled tables, and where rivals win.
figure = draw("perceptron-real-data")
