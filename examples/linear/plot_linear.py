"""
Figures of linear
=================

Settings of the theory page, after Shachaf et al. (2021), whose own figures could not be read, and
Tahir, Ganguli and Rotskoff (2025).
Each is also drawn by ``retemper figure NAME``.
"""

from retemper.gallery import draw

# %%
# Similarity
# ----------
# Which measure of task similarity follows the risk.
figure = draw("linear-similarity")

# %%
# Eigendirection
# --------------
# Which eigendirection of a difference hurts.
figure = draw("linear-eigendirection")

# %%
# Depth
# -----
# Depth repairs a wrong scale of the source.
figure = draw("linear-depth")

# %%
# Phase
# -----
# When transfer helps: angle against samples.
figure = draw("linear-phase")

# %%
# Double descent
# --------------
# Double descent of transfer.
figure = draw("linear-double-descent")

# %%
# ReLU
# ----
# Shallow ReLU fine-tuning: kernel, network and theory.
figure = draw("linear-relu")
