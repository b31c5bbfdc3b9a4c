r"""The kernel of fine-tuning: the body of a network linearised at its pre-trained weights.

A body :math:`\phi_w` gives h features, and a new read-out :math:`r` of scale s is put on them. Full
fine-tuning, linearised at the pre-trained weights, is regression with the kernel
:math:`K_\phi + s^2 K_\nabla` up to learning rates, where

.. math::
    K_\phi(x, x') = \phi(x) \cdot \phi(x'), \qquad
    K_\nabla(x, x') = \frac1h \sum_j \langle \partial_w \phi_j(x), \partial_w \phi_j(x') \rangle
    = \mathbb{E}_r \langle \partial_w (r \cdot \phi)(x), \partial_w (r \cdot \phi)(x') \rangle

for read-outs with :math:`\mathbb{E}\, r r^T = 1/h` (after Jacot et al. 2018 and Lee et al. 2019;
one random read-out instead of h outputs as in Mohamadi et al. 2023). A few orthogonal read-outs
estimate the mean.

The Gram matrix of a layer that multiplies inputs :math:`a_l` by a weight is
:math:`\sum_{l l'} \langle a_l, a'_{l'} \rangle \langle g_l, g'_{l'} \rangle` over positions, with
:math:`g` the gradient at its output: no gradient of a single sample is formed, and all read-outs
share the first factor. Where there are many positions, gradients are cheaper; the cost decides.

Adam divides every gradient by the root of its second moment, a matrix for a weight: every gradient
has to be formed. Adafactor (Shazeer and Stern 2018) keeps the means of the matrix over rows and
columns, :math:`V_{oi} = R_o C_i / \bar R`, which scale :math:`g` and :math:`a` each alone, so that
its Gram matrix costs what that of gradient descent costs.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from retemper._extras import load
from retemper._modules import (
    POOLS,
    batches,
    cut_layer,
    evaluation,
    find_head,
    first_tensor,
    forward,
    n_rows,
    origin_of_nan,
    pick_rows,
    pooled,
)
from retemper._random import Seed, generator
from retemper._validation import FloatArray, check_choice, check_integer

__all__ = ["TangentKernel", "tangent_kernel"]

#: How fine-tuning measures a step of the weights.
Metric = Literal["sgd", "adam", "adafactor"]
METRICS = get_args(Metric)

#: Keeps a gradient that is always zero from dividing by it, as in Adam.
_TINY = 1e-8
#: Largest matrix of position pairs that is formed at once, in entries.
_PAIRS = 2**24


@dataclasses.dataclass(frozen=True)
class TangentKernel:
    """Kernels of a network at its weights (see `tangent_kernel`).

    Parameters
    ----------
    features : ndarray of shape (n, h)
        Features of the body.
    probe : ndarray of shape (n, n)
        Their Gram matrix: the kernel of training a read-out alone.
    blocks : dict of str to ndarray of shape (n, n)
        Kernel of the parameters of every block of the body, from the inputs to the head.
    n_parameters : dict of str to int
        Trainable parameters of every block.
    metric : {"sgd", "adam", "adafactor"}
        Metric of the parameters.
    n_readouts : int
        Read-outs averaged over.

    See Also
    --------
    tangent_kernel

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import tangent_kernel
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> kernel = tangent_kernel(net, X)
    >>> kernel.probe.shape, sum(kernel.n_parameters.values())
    ((40, 40), 64)
    """

    features: FloatArray
    probe: FloatArray
    blocks: dict[str, FloatArray]
    n_parameters: dict[str, int]
    metric: str
    n_readouts: int

    @property
    def body(self) -> FloatArray:
        """Kernel of all parameters of the body, of shape (n, n)."""
        total = np.zeros_like(self.probe)
        for block in self.blocks.values():
            total += block
        return total

    def upper(self, n_blocks: int) -> FloatArray:
        """Kernel of the parameters of the last ``n_blocks`` blocks, of shape (n, n)."""
        names = list(self.blocks)[len(self.blocks) - n_blocks :] if n_blocks else []
        total = np.zeros_like(self.probe)
        for name in names:
            total += self.blocks[name]
        return total


def tangent_kernel(
    module: Any,
    inputs: Any,
    *,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    metric: Metric = "sgd",
    n_readouts: int = 4,
    batch_size: int = 64,
    random_state: Seed = 0,
) -> TangentKernel:
    r"""Fine-tuning kernel of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The network; it runs in evaluation mode and is left as it was.
    inputs : tensor, array, tuple, mapping or DataLoader
        What the forward pass takes, n samples.
    head : str or None, default=None
        Name of the read-out, a linear layer whose inputs are the features; None for the last one.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens of the features.
    metric : {"sgd", "adam", "adafactor"}, default="sgd"
        Every parameter alike, or divided by the root mean square of its gradient, as Adam does.
        "adafactor" takes that of a weight from its means over rows and columns, at a fraction of
        the cost in large layers.
    n_readouts : int, default=4
        Random orthogonal read-outs averaged over; with as many as features the kernel is exact.
    batch_size : int, default=64
        Rows that are sent through at a time.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the read-outs.

    Returns
    -------
    TangentKernel
        Gram matrices of the features and of every block.

    Raises
    ------
    ModuleNotFoundError
        If PyTorch is not installed.
    ValueError
        If there is no head, features need a ``pool``, activations are not finite, or no parameter
        of the body can be trained.

    See Also
    --------
    FineTuningKernel, features

    Notes
    -----
    See `retemper.networks` for the equations and their sources. Parameters that do not require
    gradients are left out. Cost and memory grow with the square of n.

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import tangent_kernel
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> tangent_kernel(net, torch.ones(5, 3)).body.shape
    (5, 5)
    """
    torch = load("torch", "tangent_kernel")
    check_choice(metric, "metric", METRICS)
    check_integer(n_readouts, "n_readouts", low=1)
    if pool is not None and not callable(pool):
        check_choice(pool, "pool", POOLS)
    work = _Work(
        module, inputs, head=find_head(module, head).name, pool=pool, metric=metric,
        batch_size=batch_size,
    )  # fmt: skip
    with evaluation(module), torch.enable_grad():
        phi = work.run(n_readouts, generator(random_state))
        blocks, sizes = work.grams()
    return TangentKernel(phi, phi @ phi.T, blocks, sizes, metric, n_readouts)


def readouts(n: int, n_features: int, rng: np.random.Generator) -> FloatArray:
    """Rows of norm one, orthogonal as far as there is room: E rrᵀ = 1 / n_features."""
    rows: list[FloatArray] = []
    while sum(map(len, rows)) < n:
        q, r = np.linalg.qr(rng.normal(size=(n_features, min(n, n_features))))
        rows.append((q * np.sign(np.diag(r))).T)
    return np.concatenate(rows)[:n]


class _Work:
    """Forward and backward passes with what every layer saw, and the Gram matrices from it."""

    def __init__(
        self, module: Any, inputs: Any, *, head: str, pool: Any, metric: str, batch_size: int
    ) -> None:
        self.torch = load("torch", "tangent_kernel")
        self.module, self.inputs, self.head = module, inputs, head
        self.pool, self.metric, self.batch_size = pool, metric, batch_size
        self.n = n_rows(inputs)
        self.seen: dict[str, list[Any]] = {}  # inputs of a layer, a tensor for every call
        self.slopes: dict[str, list[list[Any]]] = {}  # [read-out][call] gradients at its output
        self.loose: dict[str, Any] = {}  # per-sample gradients of other parameters

    def run(self, n_readouts: int, rng: np.random.Generator) -> FloatArray:
        torch, module = self.torch, self.module
        nn = torch.nn
        known = (
            nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LayerNorm, nn.GroupNorm,
            nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Embedding,
        )  # fmt: skip
        # gradients of both uses of a shared parameter add up: no layer knows them alone
        uses = collections.Counter(
            id(p) for part in module.modules() for p in part.parameters(recurse=False)
        )
        shared = {key for key, count in uses.items() if count > 1}
        self.layers = {
            name: part
            for name, part in module.named_modules()
            if isinstance(part, known)
            and name != self.head
            and not shared & set(map(id, part.parameters(recurse=False)))
            and any(p.requires_grad for p in part.parameters(recurse=False))
        }
        first = next(batches(module, self.inputs, self.batch_size), None)
        mixed = set() if first is None else self._mixing(pick_rows(first, slice(0, 4)))
        self.layers = {name: part for name, part in self.layers.items() if name not in mixed}
        parts: list[FloatArray] = []
        stored: dict[str, list[Any]] = {name: [] for name in self.layers}
        directions: Any = None
        ran: set[str] = set()
        # gradients of single samples go back through the whole batch: a small one is cheaper
        size = min(self.batch_size, 8) if self._others(set(self.layers)) else self.batch_size
        for arguments in batches(module, self.inputs, size):
            phi, calls = self._forward(arguments)
            if not bool(torch.isfinite(phi).all()):
                raise ValueError(
                    f"the inputs of the head {self.head!r} are NaN or infinite: "
                    f"{origin_of_nan(module, arguments)}"
                )
            if directions is None:
                cut = cut_layer(module, arguments)
                if cut is not None:
                    raise ValueError(
                        f"layer {cut!r} ({type(module.get_submodule(cut)).__name__}) is not "
                        "differentiable: gradients do not reach what lies before it; freeze those "
                        "parameters by requires_grad_(False)"
                    )
                rows = readouts(n_readouts, phi.shape[1], rng)
                directions = torch.as_tensor(rows, dtype=phi.dtype, device=phi.device)
            outputs = [(n, out) for n, pairs in calls.items() for _, out in pairs]
            outputs = [(n, out) for n, out in outputs if out.requires_grad]
            others = self._others({n for n, _ in outputs})
            slopes: list[list[Any]] = []
            for r in directions:
                total = (phi @ r).sum()
                if outputs and total.requires_grad:
                    found = torch.autograd.grad(
                        total, [out for _, out in outputs], retain_graph=True, allow_unused=True
                    )
                else:
                    found = ()
                slopes.append([None if g is None else g.detach().float() for g in found])
            for k, (name, _) in enumerate(outputs):
                if all(s[k] is None for s in slopes):
                    continue
                ran.add(name)
            position = 0
            for name, pairs in calls.items():
                here = []
                for a, out in pairs:
                    if not out.requires_grad:
                        continue
                    gs = [s[position] for s in slopes]
                    position += 1
                    if gs[0] is not None:
                        here.append((a, gs, len(phi)))
                stored[name].append(here)
            self._loose(phi, directions, others)
            parts.append(phi.detach().to("cpu", torch.float64).numpy())
        self.stored = {name: stored[name] for name in self.layers if name in ran}
        return np.concatenate(parts)

    def _forward(self, arguments: Any) -> tuple[Any, dict[str, list[tuple[Any, Any]]]]:
        """Features of a batch, and the inputs and outputs of every call of a layer."""
        module = self.module
        rows = n_rows(arguments[0] or arguments[1])
        calls: dict[str, list[tuple[Any, Any]]] = {name: [] for name in self.layers}
        caught: list[Any] = []

        def keep(name: str) -> Callable[..., Any]:
            def hook(_module: Any, args: Any, output: Any) -> Any:
                if not args:  # called by keyword: its gradients are formed
                    return output
                a = args[0].detach()
                if len(output) == len(a) == 1 < rows:  # one for all samples, as positions are
                    a, output = (v.expand(rows, *v.shape[1:]) for v in (a, output))
                calls[name].append((a, output))
                return output

            return hook

        handles = [part.register_forward_hook(keep(n)) for n, part in self.layers.items()]
        top = module.get_submodule(self.head)
        handles.append(top.register_forward_pre_hook(lambda _module, args: caught.append(args[0])))
        try:
            forward(module, arguments)
        finally:
            for handle in handles:
                handle.remove()
        if not caught:
            raise ValueError(f"the head {self.head!r} did not run in the forward pass")
        phi = pooled(first_tensor(caught[-1]), self.pool, self.head)
        if len(phi) != rows:
            raise ValueError(
                f"the inputs of the head {self.head!r} have {len(phi)} rows for {rows} samples"
            )
        return phi, calls

    def _mixing(self, arguments: Any) -> set[str]:
        """Layers whose outputs do not hold the samples one after the other.

        Their first axis may be time, or positions alone. It shows in gradients of the first and of
        the last sample, which must vanish outside of its own part.
        """
        torch = self.torch
        phi, calls = self._forward(arguments)
        rows, out = len(phi), set()
        direction = torch.cos(torch.arange(phi.shape[1], device=phi.device).to(phi.dtype))
        for name, pairs in calls.items():
            if any(len(value) % rows or len(a) != len(value) for a, value in pairs):
                out.add(name)
        outputs = [(n, v) for n, pairs in calls.items() for _, v in pairs if v.requires_grad]
        if not outputs or not phi.requires_grad:
            return out
        for i in {0, rows - 1}:
            grads = torch.autograd.grad(
                phi[i] @ direction, [v for _, v in outputs], retain_graph=True, allow_unused=True
            )
            for (name, _), g in zip(outputs, grads, strict=True):
                if g is not None and name not in out:
                    parts = g.reshape(rows, -1)
                    if bool(parts[:i].any()) or bool(parts[i + 1 :].any()):
                        out.add(name)
        return out

    def _others(self, hooked: set[str]) -> dict[str, Any]:
        """Trainable parameters of the body that no hooked layer owns."""
        body = set(map(id, dict(self.module.named_modules())[self.head].parameters()))
        owned = {id(p) for n in hooked for p in self.layers[n].parameters(recurse=False)}
        return {
            name: p
            for name, p in self.module.named_parameters()
            if p.requires_grad and id(p) not in body and id(p) not in owned
        }

    def _loose(self, phi: Any, directions: Any, others: dict[str, Any]) -> None:
        """Gradients of single samples for parameters outside of the known layers."""
        torch = self.torch
        if not others or not phi.requires_grad:
            return
        rows = []
        for r in directions:
            each = phi @ r
            for i in range(len(each)):
                grads = torch.autograd.grad(
                    each[i], list(others.values()), retain_graph=True, allow_unused=True
                )
                rows.append(grads)
        count = len(phi)
        for k, name in enumerate(others):
            if all(row[k] is None for row in rows):
                continue
            zero = torch.zeros_like(others[name])
            stack = torch.stack([(zero if g[k] is None else g[k]).flatten().float() for g in rows])
            self.loose.setdefault(name, []).append(stack.reshape(len(directions), count, -1))

    def grams(self) -> tuple[dict[str, FloatArray], dict[str, int]]:
        torch = self.torch
        blocks: dict[str, FloatArray] = {}
        sizes: dict[str, int] = {}

        def add(name: str, gram: Any, size: int) -> None:
            block = block_of(name)
            value = gram.to("cpu", torch.float64).numpy()
            blocks[block] = blocks[block] + value if block in blocks else value
            sizes[block] = sizes.get(block, 0) + size

        for name, part in self.layers.items():
            if name not in self.stored:
                continue
            parameters = dict(part.named_parameters(recurse=False))
            trained = {k for k, p in parameters.items() if p.requires_grad}
            gram = self._layer(part, self.stored[name], trained)
            add(name, gram, sum(parameters[k].numel() for k in trained))
        for name, stacks in self.loose.items():
            J = torch.cat(stacks, dim=1)
            add(name, self._direct(J), J.shape[2])
        if not blocks:
            raise ValueError(self._why_none())
        order = list(dict.fromkeys(block_of(n) for n, _ in self.module.named_parameters()))
        return {b: blocks[b] for b in order if b in blocks}, {
            b: sizes[b] for b in order if b in blocks
        }

    def _why_none(self) -> str:
        """Why no parameter before the read-out gets a gradient, and what to do."""
        said = f"no parameter before the read-out {self.head!r} gets a gradient"
        below = [p for n, p in self.module.named_parameters() if not n.startswith(f"{self.head}.")]
        if not below:
            return (
                f"{said}: its inputs are those of the network, which must end in a linear read-out"
            )
        if not any(p.requires_grad for p in below):
            return f"{said}: all are frozen, module.requires_grad_(True) trains them"
        return f"{said}: the forward pass cuts gradients, as torch.no_grad and detach do"

    def _direct(self, J: Any, *, is_scaled: bool = False) -> Any:
        """Mean Gram matrix of gradients (read-outs, samples, parameters), scaled already or not."""
        if self.metric != "sgd" and not is_scaled:
            J = J / (J.square().mean(dim=(0, 1)).sqrt() + _TINY)
        n = J.shape[1]
        out = self.torch.zeros(n, n, dtype=J.dtype, device=J.device)
        for j in J:
            out += j @ j.T
        return out / len(J)

    def _layer(self, part: Any, batches_: list[Any], trained: set[str]) -> Any:
        torch, nn = self.torch, self.torch.nn
        if isinstance(part, nn.Embedding):
            return self._embedding(part, batches_)
        norm = not isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        expand = self._normalised if norm else self._unfolded

        # positions of all calls side by side: a layer used twice has the sum of both gradients
        def of_samples(value: Any, rows: int) -> Any:  # windows of a sample are positions too
            return value.reshape(rows, -1, value.shape[-1])

        A = torch.cat(
            [torch.cat([of_samples(expand(part, a), m) for a, _, m in h], 1) for h in batches_]
        )
        R = len(batches_[0][0][1])
        G = [
            torch.cat([
                torch.cat([of_samples(positions(part, gs[r]), m) for _, gs, m in h], 1)
                for h in batches_
            ])
            for r in range(R)
        ]  # fmt: skip
        if norm:
            J = []
            if "weight" in trained:
                J.append(torch.stack([(A * g).sum(dim=1) for g in G]))
            if "bias" in trained:
                J.append(torch.stack([g.sum(dim=1) for g in G]))
            return self._direct(torch.cat(J, dim=2))
        out = torch.zeros(len(A), len(A), dtype=A.dtype, device=A.device)
        if "weight" in trained:
            groups = getattr(part, "groups", 1)
            for a, gs in self._groups(A, G, groups):
                out += self._weight(a, gs)
        if "bias" in trained:
            out += self._direct(torch.stack([g.sum(dim=1) for g in G]))
        return out

    def _groups(self, A: Any, G: list[Any], groups: int) -> Any:
        """Inputs and gradients of every group of a grouped convolution."""
        if groups == 1:
            yield A, G
            return
        for a, gs in zip(
            A.chunk(groups, dim=2), zip(*(g.chunk(groups, dim=2) for g in G), strict=True),
            strict=True,
        ):  # fmt: skip
            yield a, list(gs)

    def _weight(self, A: Any, G: list[Any]) -> Any:
        """Mean Gram matrix of the gradients of a weight over read-outs."""
        torch = self.torch
        n, positions_, k = A.shape
        o, R = G[0].shape[2], len(G)
        if self.metric == "adafactor":
            A, G = self._factored(A, G)
        ghost = (n * positions_) ** 2 * (k + R * o)
        direct = R * (n * positions_ * o * k + n * n * o * k)
        if self.metric == "adam" or direct < ghost:
            out = torch.zeros(n, n, dtype=A.dtype, device=A.device)
            rows = max(1, _PAIRS // max(1, R * n * k))
            for start in range(0, o, rows):
                part = slice(start, start + rows)
                J = torch.stack([torch.bmm(g[:, :, part].transpose(1, 2), A).flatten(1) for g in G])
                out += self._direct(J, is_scaled=self.metric == "adafactor")
            return out
        if positions_ == 1:
            a = A[:, 0] @ A[:, 0].T
            return a * sum(g[:, 0] @ g[:, 0].T for g in G) / R
        out = torch.zeros(n, n, dtype=A.dtype, device=A.device)
        flat, rows = A.reshape(n * positions_, k), max(1, _PAIRS // (positions_**2 * n))
        for start in range(0, n, rows):
            here = slice(start, min(start + rows, n))
            a = A[here].reshape(-1, k) @ flat.T
            g = sum(x[here].reshape(-1, o) @ x.reshape(n * positions_, o).T for x in G)
            m = here.stop - here.start
            out[here] = (a * g).reshape(m, positions_, n, positions_).sum(dim=(1, 3))
        return out / R

    def _factored(self, A: Any, G: list[Any]) -> tuple[Any, list[Any]]:
        """Inputs and gradients over the roots of the factors of their second moment."""
        n, positions_, _ = A.shape
        of_rows, of_columns = G[0].new_zeros(G[0].shape[2]), A.new_zeros(A.shape[2])
        some = max(1, _PAIRS // positions_**2)
        for start in range(0, n, some):  # gradients stay products: their squares need pairs of a, g
            part = slice(start, start + some)
            a, gs = A[part], [g[part] for g in G]
            pairs = a @ a.transpose(1, 2)
            of_rows += sum(((pairs @ g) * g).sum(dim=(0, 1)) for g in gs)
            pairs = sum(g @ g.transpose(1, 2) for g in gs)
            of_columns += ((pairs @ a) * a).sum(dim=(0, 1))
        of_rows /= n * len(G) * A.shape[2]
        of_columns /= n * len(G) * G[0].shape[2]
        mean = of_rows.mean()
        left = of_rows.clamp(min=0).sqrt() + _TINY  # a sum of products can round below zero
        right = (of_columns.clamp(min=0) / mean.clamp(min=_TINY**2)).sqrt() + _TINY
        return A / right, [g / left for g in G]

    def _embedding(self, part: Any, batches_: list[Any]) -> Any:
        """Of an embedding the words that occur, some at a time."""
        torch = self.torch
        words = torch.cat([torch.cat([a.reshape(m, -1) for a, _, m in h], 1) for h in batches_])
        G = [
            torch.cat(
                [torch.cat([gs[r].reshape(m, -1, gs[r].shape[-1]) for _, gs, m in h], 1)
                 for h in batches_]
            )
            for r in range(len(batches_[0][0][1]))
        ]  # fmt: skip
        n, units = len(words), G[0].shape[-1]
        place = torch.unique(words, return_inverse=True)[1]
        counts = torch.ones_like(words, dtype=torch.bool)
        if part.padding_idx is not None:
            counts = words != part.padding_idx
        sample = torch.arange(n, device=words.device)[:, None].expand_as(words)
        out = torch.zeros(n, n, device=words.device)
        total = int(place.max()) + 1
        some = max(1, _PAIRS // max(1, len(G) * n * units))
        for start in range(0, total, some):
            size = min(some, total - start)
            here = counts & (place >= start) & (place < start + size)
            J = torch.zeros(len(G), n * size, units, device=words.device)
            index = sample[here] * size + place[here] - start
            for j, g in zip(J, G, strict=True):
                j.index_add_(0, index, g[here])
            out += self._direct(J.reshape(len(G), n, -1))
        return out

    def _unfolded(self, part: Any, a: Any) -> Any:
        """Inputs of a linear or convolutional layer, (n, positions, inputs of a unit)."""
        nn = self.torch.nn
        a = a.float()
        if isinstance(part, nn.Linear):
            return a.reshape(len(a), -1, a.shape[-1])
        if isinstance(part.padding, str):
            total = [d * (k - 1) for d, k in zip(part.dilation, part.kernel_size, strict=True)]
            pad = [(t // 2, t - t // 2) if part.padding == "same" else (0, 0) for t in total]
        else:
            pad = [(p, p) for p in part.padding]
        mode = "constant" if part.padding_mode == "zeros" else part.padding_mode
        a = nn.functional.pad(a, [x for pair in reversed(pad) for x in pair], mode=mode)
        dims = len(part.kernel_size)
        for axis in range(dims):
            window = part.dilation[axis] * (part.kernel_size[axis] - 1) + 1
            a = a.unfold(2 + axis, window, part.stride[axis])
            a = a[..., :: part.dilation[axis]]
        # (n, channels, positions..., kernel...) -> (n, positions, channels * kernel)
        order = [0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims)]
        a = a.permute(order)
        n_positions = int(np.prod(a.shape[1 : 1 + dims]))
        return a.reshape(len(a), n_positions, -1)

    def _normalised(self, part: Any, a: Any) -> Any:
        """Normalised inputs of a normalisation layer, (n, positions, units)."""
        torch, nn = self.torch, self.torch.nn
        a = a.float()
        if isinstance(part, nn.LayerNorm):
            hat = nn.functional.layer_norm(a, part.normalized_shape, eps=part.eps)
            return hat.reshape(len(a), -1, int(np.prod(part.normalized_shape)))
        if isinstance(part, nn.GroupNorm):
            hat = nn.functional.group_norm(a, part.num_groups, eps=part.eps)
        else:
            shape = [1, -1] + [1] * (a.ndim - 2)
            if part.running_mean is None:
                raise ValueError("a batch normalisation without running statistics mixes the rows")
            mean, var = part.running_mean.reshape(shape), part.running_var.reshape(shape)
            hat = (a - mean) / torch.sqrt(var + part.eps)
        return positions(part, hat)


def positions(part: Any, value: Any) -> Any:
    """Outputs of a layer as (n, positions, units)."""
    name = type(part).__name__
    if name == "Linear":
        return value.reshape(len(value), -1, value.shape[-1])
    if name == "LayerNorm":
        return value.reshape(len(value), -1, int(np.prod(part.normalized_shape)))
    if value.ndim == 2:
        return value[:, None]
    return value.flatten(2).transpose(1, 2)


def block_of(name: str) -> str:
    """The block of a parameter or layer: its first name, and the number in a list of blocks."""
    steps = name.split(".")
    number = next((i for i, step in enumerate(steps) if step.isdigit()), None)
    if number is not None and number > 0:
        return ".".join(steps[: number + 1])
    return steps[0]
