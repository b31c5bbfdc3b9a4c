"""
Figures of widenet
==================

Settings of the theory page, after Ingrosso et al. (2025).
Each is also drawn by ``retemper figure NAME``.
"""

from retemper.gallery import draw

# %%
# Gamma digits
# ------------
# Error and read-out norm against the coupling, digits.
figure = draw("widenet-gamma-digits")

# %%
# Gamma synthetic
# ---------------
# Transfer at finite width, regularisation at large width.
figure = draw("widenet-gamma-synthetic")

# %%
# Relatedness
# -----------
# Frozen, best and scratch against the overlap of the tasks.
figure = draw("widenet-relatedness")

# %%
# Decomposition
# -------------
# Bias, thermal and quenched variance against the coupling.
figure = draw("widenet-decomposition")

# %%
# Validity
# --------
# Theory against sampled networks, inside and outside its range.
figure = draw("widenet-validity")

# %%
# Order parameters
# ----------------
# Order parameters with sampled linear networks.
figure = draw("widenet-order-parameters")

# %%
# Selection
# ---------
# Regret of the coupling chosen by leave-one-out.
figure = draw("widenet-selection")

# %%
# Width
# -----
# Test error against the width.
figure = draw("widenet-width")
