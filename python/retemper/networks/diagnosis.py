r"""What fine-tuning did to a network: weights by block, features by layer, the kernel as a whole.

Every number compares the network before and after on the same inputs; no label of the target is
needed. What was forgotten is read off rows of the source by its old read-out.

*Weights.* Drift is :math:`\|w_1 - w_0\| / \|w_0\|`. The cosine of :math:`w_0` and :math:`w_1`
stands beside its mean and standard deviation for permuted weights, in closed form: of a tensor with
p entries, means :math:`m_0, m_1` and variances :math:`v_0, v_1`, the product :math:`w_0 \cdot \pi
w_1` has the mean :math:`p m_0 m_1` and the variance :math:`p^2 v_0 v_1 / (p - 1)`; tensors of a
block are permuted independently (derived here: `networks#what-it-did-diagnose`).

*Features.* `debiased_cka` and the effective rank, see `retemper.networks.alignment`.

*Bands.* Alignment stands beside that of permuted rows and that of networks whose weights are drawn
anew, drift beside that of the latter: a re-seeded network has forgotten everything.

*Kernel.* Movement is :math:`1 - \langle K_0, K_1 \rangle / \|K_0\| \|K_1\|` of the U-centred
tangent kernels of the body at the same read-outs (after Fort et al. 2020 [1]_, who do not centre;
kernels of positive activations then differ little whatever happened): 0 if training was lazy, so
that what `FineTuningKernel` assumes held; the larger, the more features were learnt anew.

*Regime.* If asked for, both probes of `retemper.diagonal.probe_regime` run on the network before
(`retemper.networks.regime`), with labels of the size that the outputs after have.

References
----------
.. [1] S. Fort et al., "Deep Learning versus Kernel Learning", NeurIPS 33 (2020).
"""

from __future__ import annotations

import copy
import dataclasses
import html
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._extras import load
from retemper._modules import (
    batches,
    capture,
    check_module,
    evaluation,
    find_head,
    first_tensor,
    forward,
    n_rows,
    take_rows,
)
from retemper._pickles import Versioned
from retemper._random import Seed, generator
from retemper._text import number, one_line, table
from retemper._validation import FloatArray, check_integer
from retemper.networks.alignment import (
    debiased_cka,
    effective_rank,
    permuted_spread,
    u_centred_gram,
)
from retemper.networks.batch_norms import batch_statistics
from retemper.networks.regime import network_regime
from retemper.networks.tangent import block_of, tangent_kernel
from retemper.networks.training import reset_weights

if TYPE_CHECKING:
    import pandas as pd

    from retemper.diagonal import RegimeProbe

__all__ = ["NetworkDiagnosis", "diagnose"]

#: Most bytes of activations that are held at once.
_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class NetworkDiagnosis(Versioned):
    """What changed between two states of a network (see `diagnose`).

    Parameters
    ----------
    drift : dict of str to float
        Norm of the change of a block's weights over their norm before.
    direction_cosine : dict of str to float
        Cosine of the weights before and after.
    null_cosine, null_cosine_stderr : dict of str to float
        Mean and standard deviation of that cosine if the weights after are permuted.
    cka : dict of str to float
        Debiased alignment of a layer's features before and after; 0 where a layer is constant.
    null_cka_stderr : dict of str to float
        Standard deviation of that alignment if the rows after are permuted; its mean is about 0.
    reseeded_drift : dict of str to float
        Drift of a block whose weights are drawn anew: where drift reaches it, nothing of the
        pre-training is left. NaN where a layer cannot draw its weights.
    reseeded_cka, reseeded_cka_stderr : dict of str to float
        Mean alignment of the features before with those of networks drawn anew, and its standard
        deviation over them: what the architecture and the inputs alone have in common.
    rank_before, rank_after : dict of str to float
        Effective rank of a layer's features.
    kernel_movement : float
        1 minus the cosine of the centred tangent kernels; NaN if it was not asked for.
    forgetting : float
        Mean squared change of the source's outputs, by its old read-out, over their variance; NaN
        without source rows.
    source_errors : tuple of float
        Share of source rows that the old read-out gets wrong on the features before and after; NaN
        without source labels.
    flags : tuple of str
        What makes the numbers doubtful: batch statistics of other data, by layer.
    n_samples : int
        Rows.
    regime : retemper.diagonal.RegimeProbe or None, default=None
        Order and pre-training dependence of fine-tuning from the network before, with intervals and
        flags; None if it was not asked for.

    See Also
    --------
    diagnose

    Examples
    --------
    >>> import copy, torch
    >>> from retemper.networks import diagnose
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> after = copy.deepcopy(net)
    >>> _ = after[0].weight.data.mul_(1.1)
    >>> bool(diagnose(net, after, torch.randn(20, 3)).drift["0"] > 0)
    True
    """

    drift: dict[str, float]
    direction_cosine: dict[str, float]
    null_cosine: dict[str, float]
    null_cosine_stderr: dict[str, float]
    cka: dict[str, float]
    null_cka_stderr: dict[str, float]
    reseeded_drift: dict[str, float]
    reseeded_cka: dict[str, float]
    reseeded_cka_stderr: dict[str, float]
    rank_before: dict[str, float]
    rank_after: dict[str, float]
    kernel_movement: float
    forgetting: float
    source_errors: tuple[float, float]
    flags: tuple[str, ...]
    n_samples: int
    regime: RegimeProbe | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for every block or layer (needs pandas)."""
        names = [f.name for f in dataclasses.fields(self)][:11]
        columns = {name: getattr(self, name) for name in names}
        frame: pd.DataFrame = load("pandas", "to_frame").DataFrame(columns)
        order = list(dict.fromkeys([*self.drift, *self.cka]))
        ordered: pd.DataFrame = frame.reindex(order).rename_axis("layer")
        return ordered

    __repr__ = one_line

    def __str__(self) -> str:
        most = max(self.drift, key=lambda name: self.drift[name])
        least = min(self.cka, key=lambda name: self.cka[name])
        moved = (
            ""
            if math.isnan(self.kernel_movement)
            else f"; the tangent kernel moved by {number(self.kernel_movement)} of 1"
        )
        rows = [
            ["block or layer", "drift", "re-seeded", "cosine", "permuted", "CKA", "permuted",
             "re-seeded", "rank before", "after"]
        ]  # fmt: skip

        def cell(column: dict[str, float], name: str) -> str:
            value = column.get(name, math.nan)
            return "—" if math.isnan(value) else number(value)

        def band(mean: dict[str, float], spread: dict[str, float], name: str) -> str:
            text = cell(mean, name)
            return text if text == "—" else f"{text} ± {cell(spread, name)}"

        zero = dict.fromkeys(self.cka, 0.0)
        for name in dict.fromkeys([*self.drift, *self.cka]):
            rows.append(
                [name, cell(self.drift, name), cell(self.reseeded_drift, name),
                 cell(self.direction_cosine, name),
                 band(self.null_cosine, self.null_cosine_stderr, name), cell(self.cka, name),
                 band(zero, self.null_cka_stderr, name),
                 band(self.reseeded_cka, self.reseeded_cka_stderr, name),
                 cell(self.rank_before, name), cell(self.rank_after, name)]
            )  # fmt: skip
        end = ""
        if not math.isnan(self.forgetting):
            end = f"\n\nsource: outputs changed by {number(self.forgetting)} of their variance"
        if not math.isnan(self.source_errors[0]):
            one, two = self.source_errors
            end += f", error {number(one)} before, {number(two)} after"
        if self.regime is not None:
            end += f"\n\n{_in_words(self.regime)}"
        end += "".join(f"\nflag: {flag}" for flag in self.flags)
        return (
            f"weights moved most in {most} (by {number(self.drift[most])} of their norm), features "
            f"changed most in {least} (CKA {number(self.cka[least])}){moved}\n\n{table(rows)}{end}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def diagnose(
    before: Any,
    after: Any,
    inputs: Any,
    *,
    layers: Sequence[str] | None = None,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    kernel_rows: int = 64,
    n_reseeded: int = 3,
    n_pairs: int = 0,
    inputs_source: Any = None,
    y_source: ArrayLike | None = None,
    batch_size: int = 256,
    random_state: Seed = 0,
) -> NetworkDiagnosis:
    """What fine-tuning did: weights by block, features by layer, the tangent kernel, the source.

    Parameters
    ----------
    before, after : torch.nn.Module
        The network before and after; of one architecture below the head, whose weights take no
        part. `load_weights` makes a module of a checkpoint.
    inputs : tensor, array, tuple or mapping
        What the forward pass takes, n ≥ 4 samples.
    layers : sequence of str or None, default=None
        Submodules whose outputs are compared, all positions side by side; None for all blocks that
        run as a module of their own.
    head : str or None, default=None
        Name of the read-out; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens of the inputs of the head, for the tangent kernel.
    kernel_rows : int, default=64
        Rows, from the first, of the tangent kernel, at least 4; 0 leaves it out.
    n_reseeded : int, default=3
        Networks whose weights are drawn anew, for the bands; 0 leaves them out.
    n_pairs : int, default=0
        Pairs of inputs that the regime is read from, at least 2, as `network_regime` takes them; 0
        leaves it out.
    inputs_source : tensor, array, tuple, mapping, DataLoader or None, default=None
        Rows of the source, for what was forgotten.
    y_source : array_like of shape (m,) or None, default=None
        Their labels, as numbers of the outputs of ``before``.
    batch_size : int, default=256
        Rows that are sent through at a time.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the read-outs of the kernel, of permutations and of weights drawn anew.

    Returns
    -------
    NetworkDiagnosis
        Prints as a table; ``to_frame``.

    Raises
    ------
    ValueError
        If the two differ in architecture (keys are listed), there are fewer than 4 rows, or
        activations are not finite; the layer is named.

    See Also
    --------
    debiased_cka, fine_tune, network_regime

    Notes
    -----
    Equations and sources are in `retemper.networks.diagnosis` and on the page *PyTorch modules*.

    Examples
    --------
    >>> import copy, torch
    >>> from retemper.networks import diagnose
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> same = diagnose(net, copy.deepcopy(net), torch.randn(20, 3))
    >>> same.drift["0"], round(same.cka["0"], 6), abs(round(same.kernel_movement, 6))
    (0.0, 1.0, 0.0)
    """
    load("torch", "diagnose")
    if check_integer(kernel_rows, "kernel_rows", low=0) in (1, 2, 3):
        raise ValueError(f"kernel_rows must be 0 or at least 4, got {kernel_rows}")
    check_module(before, "before")
    check_module(after, "after")
    n = n_rows(inputs)
    if n < 4:
        raise ValueError(f"inputs must have at least 4 rows, got {n}")
    top = find_head(before, head).name
    drift, cosine, null, spread = _weights(before, after, top)
    names = _block_layers(before, top) if layers is None else list(layers)
    if not names:
        raise ValueError("layers must name at least one layer")
    check_integer(n_reseeded, "n_reseeded", low=0)
    rng = generator(random_state)
    seed = int(rng.integers(2**63))
    fresh = _reseeded(before, top, n_reseeded, seed)
    cka: dict[str, float] = {}
    ranks: tuple[dict[str, float], dict[str, float]] = ({}, {})
    bands: tuple[dict[str, float], ...] = ({}, {}, {})
    modules = {"before": before, "after": after}
    modules |= {f"in re-seeded network {i}": net for i, net in enumerate(fresh)}
    for name, values in _activations(modules, inputs, _groups(before, inputs, names, layers is None,
                                     len(modules)), batch_size):  # fmt: skip
        X, Y = values[:2]
        cka[name] = debiased_cka(X, Y)
        bands[0][name] = permuted_spread(X, Y, rng)
        drawn = [debiased_cka(X, Z) for Z in values[2:]]
        bands[1][name] = float(np.mean(drawn)) if drawn else math.nan
        bands[2][name] = float(np.std(drawn, ddof=1)) if len(drawn) > 1 else math.nan
        for found, value in zip(ranks, (X, Y), strict=True):
            found[name] = effective_rank(value)
    drifts = [_weights(before, net, top)[0] for net in fresh]
    reseeded = {k: float(np.mean([d[k] for d in drifts])) if drifts else math.nan for k in drift}
    flags = [] if fresh or not n_reseeded else ["a layer cannot draw its weights anew: no bands"]
    for word, module in (("before", before), ("after", after)):
        flags += batch_statistics(module, inputs, word, batch_size)
    forgetting, errors = math.nan, (math.nan, math.nan)
    if inputs_source is not None:
        forgetting, errors = _forgotten(before, after, top, (inputs_source, y_source), batch_size)
    elif y_source is not None:
        raise ValueError("y_source is given without inputs_source")
    moved = math.nan
    if kernel_rows:
        part = take_rows(inputs, min(n, kernel_rows))
        K0, K1 = (
            u_centred_gram(
                tangent_kernel(
                    m, part, head=top, pool=pool, batch_size=batch_size, random_state=seed
                ).body
            )
            for m in (before, after)
        )
        norm = np.linalg.norm(K0) * np.linalg.norm(K1)
        moved = float(1.0 - (K0 * K1).sum() / norm) if norm else math.nan
    regime = None
    if check_integer(n_pairs, "n_pairs", low=0):
        regime = network_regime(
            before, inputs, head=head, n_pairs=n_pairs, random_state=seed,
            amplitude=2.0 * _output_size(after, inputs, batch_size),
        )  # fmt: skip
    return NetworkDiagnosis(
        drift=drift, direction_cosine=cosine, null_cosine=null, null_cosine_stderr=spread, cka=cka,
        null_cka_stderr=bands[0], reseeded_drift=reseeded, reseeded_cka=bands[1],
        reseeded_cka_stderr=bands[2], rank_before=ranks[0], rank_after=ranks[1],
        kernel_movement=moved, forgetting=forgetting, source_errors=errors, flags=tuple(flags),
        n_samples=n, regime=regime,
    )  # fmt: skip


def _in_words(probe: RegimeProbe) -> str:
    """The regime in a sentence."""
    if math.isnan(probe.l_order):
        return f"regime: not read: {probe.message}"
    (low, high), (least, most) = probe.l_order_ci, probe.pd_ci
    said = (
        f"regime {probe.regime}: order {number(probe.l_order)} [{number(low)}, {number(high)}], "
        f"dependence on pre-training {number(probe.pd)} [{number(least)}, {number(most)}]"
    )
    return said if probe.is_valid else f"{said}; not valid: {probe.message}"


def _output_size(module: Any, inputs: Any, batch_size: int) -> float:
    """Root mean square of the outputs, without what all outputs of a row share."""
    torch = load("torch", "diagnose")
    with evaluation(module), torch.no_grad():
        out = torch.cat(
            [first_tensor(forward(module, a)).double() for a in batches(module, inputs, batch_size)]
        )
        if out.ndim > 1 and out.shape[-1] > 1:
            out = out - out.mean(dim=-1, keepdim=True)
        return float((out**2).mean().sqrt())


def _reseeded(module: Any, head: str, count: int, seed: int) -> list[Any]:
    """Networks whose weights below the head are drawn anew; none if a layer cannot."""
    torch = load("torch", "diagnose")
    out = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(count):
            net = copy.deepcopy(module)
            try:
                reset_weights(net, head)
            except ValueError:
                return []
            out.append(net)
    return out


def _forgotten(
    before: Any, after: Any, head: str, rows: tuple[Any, ArrayLike | None], batch_size: int
) -> tuple[float, tuple[float, float]]:
    """Relative squared change of the source's outputs, and its errors before and after."""
    torch = load("torch", "diagnose")
    inputs, y = rows
    old, outputs = before.get_submodule(head), []
    for name, module in (("before", before), ("after", after)):
        parts = []
        with evaluation(module), torch.no_grad():
            for arguments in batches(module, inputs, batch_size):
                phi = capture(module, arguments, [head], inputs_of=True)[head]
                out = old(phi.to(old.weight.device))
                parts.append(out.to("cpu", torch.float64).numpy())
        outputs.append(np.concatenate(parts))
        if not np.isfinite(outputs[-1]).all():
            raise ValueError(f"the source's outputs are NaN or infinite {name}")
    a, b = outputs
    spread = float(((a - a.mean(axis=0)) ** 2).sum())
    change = float(((a - b) ** 2).sum() / spread) if spread else math.nan
    if y is None:
        return change, (math.nan, math.nan)
    labels = np.asarray(y)
    if labels.shape != a.shape[:-1] or labels.dtype.kind not in "iub" or a.ndim != 2:
        raise ValueError(
            f"y_source must be {a.shape[:-1]} whole numbers of outputs, got {labels.shape} of "
            f"{labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= a.shape[1]:
        raise ValueError(f"y_source must lie in [0, {a.shape[1] - 1}], got up to {labels.max()}")
    one, two = (float(np.mean(v.argmax(axis=1) != labels)) for v in outputs)
    return change, (one, two)


def _weights(before: Any, after: Any, head: str) -> tuple[dict[str, float], ...]:
    """Drift, cosine, and mean and deviation of the cosine for permuted weights, by block."""
    top = head + "."
    old, new = (
        {k: p.detach().double().cpu() for k, p in m.named_parameters() if not k.startswith(top)}
        for m in (before, after)
    )
    if set(old) != set(new):
        raise ValueError(
            "before and after must have the same parameters below the head; only before has "
            f"{sorted(set(old) - set(new))}, only after has {sorted(set(new) - set(old))}"
        )
    sums: dict[str, FloatArray] = {}
    for key, a in old.items():
        b = new[key]
        if a.shape != b.shape:
            raise ValueError(f"{key!r} is of shape {tuple(a.shape)} before, {tuple(b.shape)} after")
        x, y = a.numpy().ravel(), b.numpy().ravel()
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"{key!r} has NaN or infinite weights")
        p = x.size
        terms = [
            x @ x, y @ y, x @ y, (x - y) @ (x - y), p * x.mean() * y.mean(),
            p**2 * x.var() * y.var() / max(p - 1, 1),
        ]  # fmt: skip
        sums[block_of(key)] = sums.get(block_of(key), np.zeros(6)) + np.array(terms)
    if not sums:
        raise ValueError("before has no parameters below the head")
    out: tuple[dict[str, float], ...] = ({}, {}, {}, {})
    for name, (xx, yy, xy, dd, mean, var) in sums.items():
        norm = math.sqrt(xx * yy)
        values = (
            math.sqrt(dd / xx) if xx else (math.inf if dd else 0.0),
            xy / norm if norm else math.nan,
            mean / norm if norm else math.nan,
            math.sqrt(var) / norm if norm else math.nan,
        )
        for found, value in zip(out, values, strict=True):
            found[name] = float(value)
    return out


def _block_layers(module: Any, head: str) -> list[str]:
    """Blocks with parameters that are modules of their own, below the head."""
    names = dict(module.named_modules())
    blocks = dict.fromkeys(block_of(k) for k, _ in module.named_parameters())
    return [b for b in blocks if b in names and b != head]


def _groups(
    module: Any, inputs: Any, names: list[str], optional: bool, n_modules: int
) -> list[list[str]]:
    """Layers whose activations are held together, by what two rows need."""
    torch = load("torch", "diagnose")
    with evaluation(module), torch.no_grad():
        arguments = next(iter(batches(module, take_rows(inputs, 2), 2)))
        caught = capture(module, arguments, names, partial=optional)
    groups: list[list[str]] = [[]]
    used = 0
    for name in (n for n in names if n in caught):
        # float64, of all modules, over the two rows that were seen
        size = 4 * n_modules * caught[name].numel() * n_rows(inputs)
        if groups[-1] and used + size > _BYTES:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += size
    if not groups[0]:
        raise ValueError("no block runs as a module of its own; name layers")
    return groups


def _activations(
    modules: dict[str, Any], inputs: Any, groups: list[list[str]], batch_size: int
) -> Iterator[tuple[str, list[FloatArray]]]:
    """Every layer with its activations in every module, of shape (n, units)."""
    torch = load("torch", "diagnose")
    for names in groups:
        sides: list[dict[str, FloatArray]] = []
        for module in modules.values():
            parts: dict[str, list[FloatArray]] = {name: [] for name in names}
            with evaluation(module), torch.no_grad():
                for arguments in batches(module, inputs, batch_size):
                    caught = capture(module, arguments, names)
                    for name in names:
                        value = caught[name].flatten(1).to("cpu", torch.float64).numpy()
                        parts[name].append(value)
            sides.append({name: np.concatenate(part) for name, part in parts.items()})
        for name in names:
            for word, value in zip(modules, sides, strict=True):
                if not np.isfinite(value[name]).all():
                    raise ValueError(f"layer {name!r} gives NaN or infinite features {word}")
            yield name, [side.pop(name) for side in sides]
