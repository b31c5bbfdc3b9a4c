r"""The regime of fine-tuning a network: both probes of `retemper.diagonal.probe_regime`, run on it.

Two inputs :math:`x_1, x_2` of the network stand for two features. Their outputs :math:`o_1, o_2` by
a new read-out, from where they start, are mixed to :math:`g = M o` with :math:`M = \sqrt{\bar
\Theta}\, \Theta^{-1/2}`, where :math:`\Theta` is the tangent kernel of the two inputs at the start
and :math:`\bar\Theta` the mean of its diagonal: in lazy training one moves without the other.
Fine-tuning on one label is gradient flow of all weights on :math:`(a \cdot g - y)^2`, whose path is
that of :math:`dw/dh = \nabla h / \|\nabla h\|^2` with :math:`h = a \cdot g`, followed to
:math:`h = y`. The coefficients are :math:`\beta = g` at its end.

*Loadings.* The slope of :math:`\ln(\beta_1/\beta_2)` on :math:`\ln(a_1/a_2)` is
:math:`1/(\ell_m - 1)`.
*Sources.* The pre-training goes on by gradient flow until the two outputs of the old read-out,
mixed by the same M, have changed by factors :math:`e^{\pm r/2}`; the slope on r is the elasticity
of the effective scale.

On a diagonal linear network whose inputs are unit vectors M is a multiple of 1 for
features of equal scale, gradient flow keeps the invariants of pre-training, and the answer is that
of `probe_regime` (Anguita et al. 2026 [1]_ for the regimes; the probes are derived here:
`derivations/diagonal#behavioural-probes`, their form for networks: `networks#in-which-regime`).

References
----------
.. [1] N. Anguita et al., arXiv:2602.20062.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._extras import load
from retemper._modules import (
    batches,
    check_module,
    evaluation,
    find_head,
    first_tensor,
    forward,
    n_rows,
    pick_rows,
)
from retemper._random import Seed, generator
from retemper._validation import FloatArray, check_integer, check_real
from retemper.diagonal.probe import RegimeProbe, regime_of_slopes
from retemper.exceptions import ValidityWarning

__all__ = ["network_regime"]

#: Tangent kernels of two inputs with a cosine above are too alike to tell the inputs apart.
_ALIKE = 0.99
#: Steps of the flow of fine-tuning, and the share of the label that it may miss at its end.
_STEPS = 24
_MISSED = 0.02


def network_regime(
    module: Any,
    inputs: Any,
    *,
    head: str | None = None,
    n_pairs: int = 4,
    amplitude: float = 2.0,
    spread: float = 0.05,
    readout_scale: float = 0.1,
    confidence: float = 0.95,
    random_state: Seed = 0,
) -> RegimeProbe:
    """Order and pre-training dependence of fine-tuning a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The pre-trained network with its read-out; it is left as it was. A copy in double precision
        and evaluation mode is trained.
    inputs : tensor, array, tuple or mapping
        What the forward pass takes, n ≥ 4 samples.
    head : str or None, default=None
        Name of the read-out; None for the last linear layer.
    n_pairs : int, default=4
        Pairs of inputs, at least 2 and at most n / 2, each probed on its own. They are drawn from
        the inputs of the largest outputs.
    amplitude : float, default=2.0
        Label of the one sample, in units of the outputs: a half of it for each input.
    spread : float, default=0.05
        Half of the range of the log ratios; beyond 0.1 the order is biased.
    readout_scale : float, default=0.1
        Scale of the new read-out over PyTorch's random one; 0 starts it at zero.
    confidence : float, default=0.95
        Level of the intervals, by Student's t over pairs.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of pairs and read-out.

    Returns
    -------
    retemper.diagonal.RegimeProbe
        Order, elasticity, pre-training dependence, intervals and flags. ``is_valid`` is False and
        ``message`` says why where a pair's coefficients differ in sign, its inputs are alike to
        the tangent kernel, the flow cannot be followed, the slopes do not fit a separable penalty,
        or the pairs leave the order open by more than a half.

    Raises
    ------
    ValueError
        If an argument is outside its domain, there are fewer than two inputs a pair, no weight can
        be trained, or outputs are not finite or not one row a sample.

    Warns
    -----
    ValidityWarning
        If fewer than two pairs can be read: order and dependence are then NaN.

    See Also
    --------
    diagnose, retemper.diagonal.probe_regime

    Notes
    -----
    The flow is that of gradient descent with small steps, not of Adam. A pair takes some
    450 forward and backward passes of two rows. See `retemper.networks.regime` for
    the equations.

    Examples
    --------
    A wide network far from its labels is lazy: the order is 2.

    >>> import torch
    >>> from retemper.networks import network_regime
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 4096), torch.nn.Tanh(), torch.nn.Linear(4096, 3)
    ... )
    >>> probe = network_regime(net, torch.randn(12, 8), n_pairs=2, amplitude=0.1, readout_scale=1.0)
    >>> bool(probe.l_order > 1.9)
    True
    """
    check_module(module)
    check_integer(n_pairs, "n_pairs", low=2)
    label = check_real(amplitude, "amplitude", low=0.0, open_low=True)
    width = check_real(spread, "spread", low=0.0, open_low=True, high=1.0)
    check_real(readout_scale, "readout_scale", low=0.0)
    level = check_real(confidence, "confidence", low=0.0, high=1.0, open_low=True, open_high=True)
    n = n_rows(inputs)
    if 2 * n_pairs > n:
        raise ValueError(f"inputs must have two rows a pair, {2 * n_pairs}, got {n}")
    rng = generator(random_state)
    probed = _Probed(module, inputs, head, readout_scale, rng)
    slopes: list[tuple[float, float]] = []
    problems: list[str] = []
    with evaluation(probed.net):
        for rows in probed.pairs(n_pairs, rng):
            found, problem = _slopes(probed, rows, label, width)
            problems += [problem] if problem else []
            if found is not None:
                slopes.append(found)
    if len(slopes) < 2:
        problems.append(f"{len(slopes)} of {n_pairs} pairs can be read")
        unread = _unread(problems)
        warnings.warn(f"the regime is not read: {unread.message}", ValidityWarning, stacklevel=2)
        return unread
    from scipy.stats import t as student

    load, lift = map(float, np.mean(slopes, axis=0))
    quantile = float(student.ppf(0.5 + 0.5 * level, len(slopes) - 1))
    spreads = quantile * np.std(slopes, axis=0, ddof=1) / math.sqrt(len(slopes))
    wide = (float(spreads[0]), float(spreads[1]))
    low, high = regime_of_slopes(load, lift, wide, []).l_order_ci
    if high - low > 0.5:
        problems.append(f"the pairs leave the order open: {low:.2f} to {high:.2f}")
    return regime_of_slopes(load, lift, wide, problems)


def _unread(problems: list[str]) -> RegimeProbe:
    nothing = (math.nan, math.nan)
    return RegimeProbe(
        l_order=math.nan, marginal_order=math.nan, elasticity=math.nan, pd=math.nan,
        l_order_ci=nothing, elasticity_ci=nothing, pd_ci=nothing, weights=np.full(3, math.nan),
        regime="unknown", is_valid=False, message="; ".join(dict.fromkeys(problems)),
    )  # fmt: skip


def _slopes(
    probed: _Probed, rows: NDArray[np.intp], label: float, width: float
) -> tuple[tuple[float, float] | None, str]:
    """Both slopes of a pair, and what is wrong with it."""
    probed.use(rows, new=True)
    J = np.stack([probed.gradient(probed.start, e) for e in np.eye(2)])
    kernel = J @ J.T
    norm = math.sqrt(kernel[0, 0] * kernel[1, 1])
    if not norm > 0.0:
        return None, "nothing that is trained moves the output of an input"
    if abs(kernel[0, 1]) > _ALIKE * norm:
        return None, f"two inputs are alike to the tangent kernel: cosine {kernel[0, 1] / norm:.3f}"
    values, vectors = np.linalg.eigh(kernel)
    mix = math.sqrt(np.trace(kernel) / 2) * (vectors / np.sqrt(values)) @ vectors.T
    found = []
    for loads in (True, False):
        ends = []
        for r in (-width, width):
            pair = np.exp(np.array([0.5, -0.5]) * r)
            start = probed.start if loads else probed.shifted(rows, mix, pair)
            probed.use(rows, new=True)
            beta = None if start is None else probed.fit(start, mix, pair if loads else np.ones(2),
                                                         label)  # fmt: skip
            if beta is None:
                return None, "the gradient flow of a pair cannot be followed"
            if beta[0] * beta[1] <= 0.0:
                return None, "the two coefficients differ in sign"
            ends.append(math.log(beta[0] / beta[1]))
        found.append((ends[1] - ends[0]) / (2.0 * width))
    return (found[0], found[1]), ""


class _Probed:
    """A copy of the network in double precision, its weights as one vector, with both read-outs."""

    def __init__(
        self, module: Any, inputs: Any, head: str | None, scale: float, rng: np.random.Generator
    ) -> None:
        torch = self.torch = load("torch", "network_regime")
        self.net = copy.deepcopy(module).double()
        self.inputs = inputs
        top = find_head(self.net, head)
        self.parent, _, self.own = top.name.rpartition(".")
        self.old = top.module
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            self.new = torch.nn.Linear(
                self.old.in_features, 1, bias=self.old.bias is not None, dtype=torch.float64,
                device=self.old.weight.device,
            )  # fmt: skip
        below = top.name + "."
        self.body = [
            p for k, p in self.net.named_parameters() if p.requires_grad and not k.startswith(below)
        ]
        if not self.body:
            raise ValueError("no parameter below the head can be trained")
        with torch.no_grad():
            for p in self.new.parameters():
                p.mul_(scale)
        self.heads = ([*self.old.parameters()], [*self.new.parameters()])
        for p in self.heads[0]:
            p.requires_grad_(True)
        self.is_new = False
        self.arguments: Any = None
        self.column = torch.ones(1, dtype=torch.float64)
        self.start_old, self.start_new = (self._vector(heads) for heads in self.heads)
        self._look()

    def _vector(self, heads: list[Any]) -> FloatArray:
        parts = [p.detach().cpu().numpy().ravel() for p in [*self.body, *heads]]
        return np.concatenate(parts)

    def _look(self) -> None:
        """Outputs of the old read-out on all inputs, along the direction of the largest ones."""
        torch = self.torch
        with evaluation(self.net), torch.no_grad():
            parts = [
                first_tensor(forward(self.net, given)).to("cpu", torch.float64)
                for given in batches(self.net, self.inputs, 256)
            ]
        out = torch.cat(parts).numpy()
        if out.ndim != 2 or len(out) != n_rows(self.inputs):
            raise ValueError(f"the module gives shape {out.shape}, not one row of outputs a sample")
        if not np.isfinite(out).all():
            raise ValueError("outputs of the module are NaN or infinite")
        if out.shape[1] > 1:  # what all classes share decides nothing
            out = out - out.mean(axis=1, keepdims=True)
        column = np.linalg.svd(out, full_matrices=False)[2][0]
        self.column = torch.as_tensor(column).to(self.old.weight.device)
        self.size = np.abs(out @ column)

    @property
    def start(self) -> FloatArray:
        """Weights at the start of fine-tuning."""
        return self.start_new

    def pairs(self, count: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """Pairs of rows, of those with the largest outputs."""
        keep = max(2 * count, len(self.size) // 2)
        rows = np.argsort(-self.size, kind="stable")[:keep]
        return list(rng.permutation(rows)[: 2 * count].reshape(count, 2))

    def use(self, rows: NDArray[np.intp], *, new: bool) -> None:
        """Which two rows, and which read-out."""
        self.arguments = next(iter(batches(self.net, pick_rows(self.inputs, rows), 2)))
        self.is_new = new
        parent = self.net.get_submodule(self.parent) if self.parent else self.net
        setattr(parent, self.own, self.new if new else self.old)

    def _outputs(self, weights: FloatArray) -> Any:
        torch, at = self.torch, 0
        with torch.no_grad():
            for p in [*self.body, *self.heads[self.is_new]]:
                part = torch.as_tensor(weights[at : at + p.numel()])
                p.copy_(part.reshape(p.shape))
                at += p.numel()
        out = first_tensor(forward(self.net, self.arguments))
        return out[:, 0] if self.is_new else out @ self.column

    def values(self, weights: FloatArray) -> FloatArray:
        """Outputs of the two rows."""
        with self.torch.no_grad():
            return np.asarray(self._outputs(weights).cpu().numpy())

    def gradient(self, weights: FloatArray, mix: FloatArray) -> FloatArray:
        """Gradient of a mixture of the two outputs."""
        torch = self.torch
        with torch.enable_grad():
            out = self._outputs(weights)
            parameters = [*self.body, *self.heads[self.is_new]]
            found = torch.autograd.grad(
                out @ torch.as_tensor(mix).to(out.device), parameters, allow_unused=True
            )
        parts = [
            np.zeros(p.numel()) if g is None else g.cpu().numpy().ravel()
            for p, g in zip(parameters, found, strict=True)
        ]
        return np.concatenate(parts)

    def fit(
        self, start: FloatArray, mix: FloatArray, load: FloatArray, label: float
    ) -> FloatArray | None:
        """Coefficients at the end of gradient flow on one label."""
        both = load @ mix

        def ahead(s: float, weights: FloatArray) -> FloatArray:
            g = self.gradient(weights, both)  # to the height label * s², since w starts as a root
            return np.asarray(2.0 * label * s * g / (g @ g))

        end = _flow(ahead, start, _STEPS)
        beta = np.asarray(mix @ (self.values(end) - self.values(start)))
        missed = abs(float(load @ beta) - label)
        return beta if missed <= _MISSED * label else None

    def shifted(
        self, rows: NDArray[np.intp], mix: FloatArray, factors: FloatArray
    ) -> FloatArray | None:
        """Start of fine-tuning had pre-training ended at outputs times these factors."""
        self.use(rows, new=False)
        change = (factors - 1.0) * (mix @ self.values(self.start_old))

        def ahead(_time: float, weights: FloatArray) -> FloatArray:
            J = np.stack([self.gradient(weights, row) for row in mix])
            return np.asarray(np.linalg.solve(J @ J.T, change) @ J)

        try:
            end = _flow(ahead, self.start_old, 4)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(end).all():
            return None
        head = sum(p.numel() for p in self.heads[0])
        tail = sum(p.numel() for p in self.heads[1])
        return np.concatenate([end[:-head], self.start_new[-tail:]])


def _flow(
    ahead: Callable[[float, FloatArray], FloatArray], w: FloatArray, steps: int
) -> FloatArray:
    """Weights at time 1 of a flow, by Runge and Kutta's method of fourth order.

    Steps are fixed: an adaptive one crawls along the kinks of rectified units.
    """
    h = 1.0 / steps
    with np.errstate(all="ignore"):
        for t in np.arange(steps) * h:
            a = ahead(t, w)
            b = ahead(t + h / 2, w + h / 2 * a)
            c = ahead(t + h / 2, w + h / 2 * b)
            w = w + h / 6 * (a + 2 * b + 2 * c + ahead(t + h, w + h * c))
    return w
