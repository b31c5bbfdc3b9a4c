"""
Figures of phases
=================

Settings of the theory page, after Schneider and Prabhushankar (2024).
Each is also drawn by ``retemper figure NAME``.
"""

from importlib.util import find_spec

from retemper.gallery import draw

# %%
# Exact
# -----
# One linear layer: plateau, fall and rise.
figure = draw("phases-exact")

# %%
# Parity
# ------
# Parity of digits: transfer collapses; and the control.
figure = draw("phases-parity")

# %%
# Colour
# ------
# True loss of a colour.
figure = draw("phases-colour")

# %%
# Nothing
# -------
# Where there is nothing to gain from stopping early.
figure = draw("phases-nothing")

# %%
# Resolution
# ----------
# Amplitude collapse against true loss.
figure = draw("phases-resolution")

# %%
# Decoder
# -------
# What an unconverged decoder shows. It trains a PyTorch network, so it is missing here if the pages
# were built without torch.
if find_spec("torch"):
    figure = draw("phases-decoder")

# %%
# Detector
# --------
# The published table, its phases and the alarm.
figure = draw("phases-detector")
