"""
Figures of diagonal
===================

Settings of the theory page, after Anguita et al. (2026).
Each is also drawn by ``retemper figure NAME``.
"""

from retemper.gallery import draw

# %%
# Regimes
# -------
# Order, pre-training dependence and their sum over source strength and balance.
figure = draw("diagonal-regimes")

# %%
# Error curves
# ------------
# Error against samples per feature for three tasks.
figure = draw("diagonal-error-curves")

# %%
# New features
# ------------
# Scale, balance and reset when nothing is reused.
figure = draw("diagonal-new-features")

# %%
# Best start
# ----------
# Which regime is best for which task.
figure = draw("diagonal-best-start")

# %%
# Teachers
# --------
# Aligned and opposite teachers, warm starts and resets.
figure = draw("diagonal-teachers")

# %%
# Source samples
# --------------
# Error against the samples of pre-training.
figure = draw("diagonal-source-samples")

# %%
# Learning order
# --------------
# Features with a source are learned first.
figure = draw("diagonal-learning-order")

# %%
# Leave one out
# -------------
# Leave-one-out against held-out error over starts, digits.
figure = draw("diagonal-leave-one-out")
