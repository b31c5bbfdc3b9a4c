"""Bayesian networks with one hidden layer of finite width, source and target coupled by gamma.

Conventions: ``f(x) = sum_i v_i s(w_i . x / sqrt(n_features)) / sqrt(width)``; ``lam0`` and ``lam1``
are prior precisions of first layer and read-out, ``T_source`` and ``T_target`` the variance of the
label noise, and ``gamma`` the precision of the pull of the target's first layer towards the
source's, so that 0 is training from scratch and infinity is frozen features. Errors are mean
squared errors of the noiseless labels, summed over outputs. Inputs are used as they are: scale them
so that |x|^2 / n_features is about one.
"""

from __future__ import annotations

from retemper.widenet.kernels import nngp_kernel
from retemper.widenet.model import WideNetModel
from retemper.widenet.simulate import WideNetSimulation, compare, simulate
from retemper.widenet.theory import GammaPath, WideNetTheory, curve, gamma_path, solve

__all__ = [
    "GammaPath",
    "WideNetModel",
    "WideNetSimulation",
    "WideNetTheory",
    "compare",
    "curve",
    "gamma_path",
    "nngp_kernel",
    "simulate",
    "solve",
]

CITATION_KEYS = ("ingrosso2025", "pacelli2023")
