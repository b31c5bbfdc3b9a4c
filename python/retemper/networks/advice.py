"""Which network to fine-tune and how: theory prunes, real fine-tuning decides.

Leave-one-out with the fine-tuning kernel ranks a probe, every depth and full fine-tuning of every
source. Its error is not that of the network: recorded runs (`retemper.networks.record`) give the
level, and the width of an interval. Of training from scratch it knows least, since the kernel at
random weights misses the features that training would learn, and variants of full fine-tuning
(read-out scale, pull, early stopping) have one kernel. `NetworkAdvice.verify` therefore fine-tunes
for real, by successive halving (Jamieson and Talwalkar 2016 [1]_) over what theory cannot tell
apart, full fine-tuning and scratch always among them, on the same random splits of the rows; the
standard error of a difference over overlapping splits is that of Nadeau and Bengio (2003 [2]_).

References
----------
.. [1] K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
   Optimization", AISTATS (2016).
.. [2] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import html
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._modules import check_module, find_head, pick_rows
from retemper._random import Seed, generator
from retemper._text import number, one_line
from retemper._validation import FloatArray, check_integer, check_real
from retemper.networks.batch_norms import batch_statistics
from retemper.networks.candidates import (
    VARIANTS,
    NetworkCandidate,
    NetworkVerification,
    Runs,
    frame_of,
    table_of,
)
from retemper.networks.estimator import FineTuningKernel
from retemper.networks.record import NO_RECORD, WORTH, LabelCurve, label_curve, level_interval
from retemper.networks.regression import Recipe, label_matrix
from retemper.networks.tangent import Metric
from retemper.networks.training import (
    FineTunedNetwork,
    error_of,
    fine_tune,
    most_epochs,
    reset_weights,
    split,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NetworkAdvice", "advise_network"]


@dataclasses.dataclass(frozen=True)
class NetworkAdvice:
    """What theory says of every source and recipe (see `advise_network`).

    Parameters
    ----------
    candidates : tuple of NetworkCandidate
        The smallest predicted loss first; scratch, which is predicted worst, last.
    choice : NetworkCandidate
        Full fine-tuning of the source for which it is predicted best: the default until `verify`
        has run.
    modules : dict of str to torch.nn.Module
        The sources.
    inputs : tensor, array, tuple or mapping
        Target inputs.
    y : ndarray of shape (n,)
        Their labels.
    settings : dict
        Arguments.
    flags : tuple of str
        What makes the numbers doubtful: batch statistics of other data, by layer.

    See Also
    --------
    advise_network, NetworkCandidate

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import advise_network
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> advice = advise_network(net, X, (X[:, 0] > 0).numpy())
    >>> advice.choice in advice.candidates
    True
    """

    candidates: tuple[NetworkCandidate, ...]
    choice: NetworkCandidate
    modules: dict[str, Any] = dataclasses.field(repr=False)
    inputs: Any = dataclasses.field(repr=False)
    y: NDArray[Any] = dataclasses.field(repr=False)
    settings: dict[str, Any] = dataclasses.field(repr=False)
    flags: tuple[str, ...] = ()

    def train(
        self, candidate: NetworkCandidate, rows: Any = None, **options: Any
    ) -> FineTunedNetwork:
        """Fine-tune as a candidate says.

        Parameters
        ----------
        candidate : NetworkCandidate
            Source and recipe.
        rows : ndarray or None, default=None
            Numbers of the rows to train on; all if None.
        **options : dict
            As `retemper.networks.fine_tune` takes them.

        Returns
        -------
        FineTunedNetwork
            The trained network.
        """
        rows = np.arange(len(self.y)) if rows is None else rows
        own = {k: self.settings[k] for k in ("head", "task", "readout_scale", "random_state")}
        recipe, module = candidate.recipe, self.modules.get(candidate.source)
        if module is None and self.settings["scratch"] is not None:
            recipe, module = "full", self.settings["scratch"]
        elif module is None:
            module = next(iter(self.modules.values()))
        return fine_tune(
            module, pick_rows(self.inputs, rows), self.y[rows], recipe=recipe,
            **{**own, **options, **candidate.options},
        )  # fmt: skip

    def fine_tune(self, **options: Any) -> FineTunedNetwork:
        """Train the choice on all rows; `verify` first is safer.

        Parameters
        ----------
        **options : dict
            As `retemper.networks.fine_tune` takes them.

        Returns
        -------
        FineTunedNetwork
            The trained network.
        """
        return self.train(self.choice, **options)

    def label_curve(
        self, n_labels: ArrayLike, candidate: NetworkCandidate | None = None
    ) -> LabelCurve:
        """Error that other numbers of labels would give, with a band.

        Parameters
        ----------
        n_labels : array_like of shape (t,)
            Numbers of labels, from a third of those at hand to three times as many.
        candidate : NetworkCandidate or None, default=None
            Whose error; the choice if None.

        Returns
        -------
        LabelCurve
            Errors and a band for 80 of 100 runs, from recorded ones.

        Raises
        ------
        ValueError
            If a number is outside of that range, or labels are not classes.

        Notes
        -----
        The fall of the recorded runs, through the predicted error (see `retemper.networks.record`):
        the labels at hand are too few to fit an own one.
        """
        whose = self.choice if candidate is None else candidate
        if math.isnan(whose.error):
            raise ValueError(f"the error of {whose.name!r} is not predicted: task='regression'")
        return label_curve(len(self.y), whose.error, chance_of(self.y), n_labels)

    def verify(
        self, budget: int = 16, *, test_share: float = 0.25, others: int | None = None,
        path: str | os.PathLike[str] | None = None, **options: Any,
    ) -> NetworkVerification:  # fmt: skip
        """Fine-tune for real what theory cannot tell apart, and scratch.

        Parameters
        ----------
        budget : int, default=16
            Most fine-tunings, at least 2: full fine-tuning and scratch on one split. As many
            candidates are run as it gives two splits in the first round.
        test_share : float, default=0.25
            Share of rows, of every class alike, that a split tests on.
        others : int or None, default=None
            Most candidates beside full fine-tuning and scratch; 0 spends all runs on the question
            of source or scratch. None for as many as the budget allows.
        path : str, PathLike or None, default=None
            File of the runs, a line each. If it exists the runs it holds are not repeated, so that
            a verification that was stopped goes on, and a larger budget adds to a smaller one.
        **options : dict
            As `retemper.networks.fine_tune` takes them, for instance ``learning_rate``.

        Returns
        -------
        NetworkVerification
            The table and the choice; ``fine_tune`` trains it on all rows.

        Raises
        ------
        ValueError
            If a number is outside its domain, or ``path`` belongs to other modules, rows or
            options.

        Notes
        -----
        Every round gives what is left an equal part of the budget in new splits, the same for all,
        and drops the worse half. Full fine-tuning is never dropped, scratch only if it is worse by
        more than a standard error of the paired difference. A recipe is chosen in place of full
        fine-tuning if it is better by more than a standard error, scratch if it is better at all:
        in recorded runs a hurdle for scratch lost more than it saved. The losses chose the winner,
        so its own is a little too good.
        """
        check_integer(budget, "budget", low=2)
        check_real(test_share, "test_share", low=0.0, high=0.5, open_low=True)
        if others is not None:
            check_integer(others, "others", low=0)
        Y, classes = label_matrix(self.y, self.settings["task"])
        arms = {c.name: c for c in self._arms(budget, others)}
        default = self.choice.name
        seed = int(generator(self.settings["random_state"]).integers(2**63))
        record = Runs(path, self._fingerprint({"test_share": test_share, **options}))
        rounds = math.ceil(math.log2(len(arms)))
        left = list(arms)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
        used = 0

        def gap(a: str, b: str) -> tuple[float, float]:
            both = min(len(runs[a]), len(runs[b]))
            d = np.array([x["loss"] - y["loss"] for x, y in zip(runs[a], runs[b], strict=False)])
            if both < 2:
                return float(d.mean()), math.nan
            return float(d.mean()), float(
                d.std(ddof=1) * math.sqrt(1 / both + len(test) / len(train))
            )

        for r in range(rounds):
            for _ in range(max(1, (budget - used) // (rounds - r) // len(left))):
                at = len(runs[default])
                train, test = split(Y, test_share, np.random.default_rng([seed, at]))
                for name in left:
                    run = record.known(name, at)
                    if run is None:
                        tuned = self.train(arms[name], train, **{"random_state": at, **options})
                        value = tuned.decision_function(pick_rows(self.inputs, test))
                        wrong = error_of(value, Y[test]) if classes is not None else math.nan
                        run = record.add(
                            name, at, _loss(value, Y[test], classes is not None), wrong,
                            tuned.n_forward, tuned.n_backward,
                        )  # fmt: skip
                    runs[name].append(run)
                    used += 1
            mean = {name: float(np.mean([run["loss"] for run in runs[name]])) for name in left}
            keep = sorted(left, key=lambda name: mean[name])[: math.ceil(len(left) / 2)]
            behind, noise = gap("scratch", default)
            stay = {default} if behind > noise else {default, "scratch"}
            left = [*keep, *(name for name in left if name in stay and name not in keep)]

        def measured(name: str, best: str) -> NetworkCandidate:
            losses, errors = ([run[k] for run in runs[name]] for k in ("loss", "error"))
            error, low, high = float(np.mean(errors)), math.nan, math.nan
            if len(errors) > 1:
                share = 1 / len(errors) + len(test) / len(train)
                half = 2.0 * float(np.std(errors, ddof=1)) * math.sqrt(share)
                low, high = max(0.0, error - half), min(1.0, error + half)
            excess, stderr = gap(name, best)
            return dataclasses.replace(
                arms[name], loss=float(np.mean(losses)), error=error,
                error_low=low, error_high=high,
                excess=excess, excess_stderr=stderr, n_runs=len(losses),
                n_forward=round(np.mean([run["n_forward"] for run in runs[name]])),
                n_backward=round(np.mean([run["n_backward"] for run in runs[name]])),
            )  # fmt: skip

        order = sorted(
            arms, key=lambda a: (-len(runs[a]), float(np.mean([run["loss"] for run in runs[a]])))
        )

        def wins(name: str) -> bool:
            lead, noise = gap(default, name)
            return name == default or lead > (0.0 if name == "scratch" else noise)

        first = next(name for name in order if wins(name))
        order = [first, *(name for name in order if name != first)]
        best = next(name for name in order if arms[name].source != "scratch")
        done = tuple(measured(name, order[0]) for name in order)
        return NetworkVerification(done, *gap("scratch", best), self)

    def _arms(self, budget: int, others: int | None) -> list[NetworkCandidate]:
        """Full fine-tuning, scratch, and as many others as the budget can halve."""
        fixed = [self.choice, next(c for c in self.candidates if c.source == "scratch")]
        rivals = [
            c
            for c in self.candidates
            if c not in fixed and c.excess <= 2.0 * c.excess_stderr + 1e-12
        ][:others]
        count = max(
            m
            for m in range(2, 3 + len(rivals))
            if m == 2 or 2 * m * math.ceil(math.log2(m)) <= budget
        )
        return [*fixed, *rivals[: count - 2]]

    def _fingerprint(self, options: dict[str, Any]) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.y).tobytes())
        kept = {k: v for k, v in self.settings.items() if k != "scratch"}
        said = [(c.name, c.loss) for c in self.candidates]
        digest.update(repr([sorted(kept.items()), sorted(options.items()), said]).encode())
        return digest.hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """One row for every candidate (needs pandas)."""
        frame: pd.DataFrame = frame_of(self.candidates)
        return frame

    __repr__ = one_line

    def __str__(self) -> str:
        scale = number(self.settings["readout_scale"])
        n = len(self.y)
        rows = n * (len(self.modules) + 1)
        is_number = self.settings["task"] == "regression"
        kinds = "" if is_number else f" of {len(np.unique(self.y))} classes"
        return (
            f"use {self.choice.name}, read-out reset at {scale} of its usual scale, and verify: "
            "only real runs tell apart what the intervals do not\n\n"
            f"{table_of(self.candidates)}\n\n"
            f"{n} labels{kinds}; the prediction sent {rows} rows forward and "
            f"{self.settings['n_readouts'] * rows} backward. {NO_RECORD if is_number else WORTH}"
            + "".join(f"\nflag: {flag}" for flag in self.flags)
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _loss(value: FloatArray, Y: FloatArray, is_class: bool) -> float:
    """Squared error of class probabilities, summed over classes, or of predictions."""
    if is_class:
        value = np.exp(value - value.max(axis=1, keepdims=True))
        value = value / value.sum(axis=1, keepdims=True)
    return float(((value - Y) ** 2).sum(axis=1).mean())


def chance_of(y: NDArray[Any]) -> float:
    """Error of guessing the commonest class."""
    return 1.0 - float(np.unique(y, return_counts=True)[1].max()) / len(y)


def advise_network(
    modules: Any,
    inputs: Any,
    y: ArrayLike,
    *,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    task: Literal["classification", "regression"] = "classification",
    metric: Metric = "adafactor",
    n_readouts: int = 4,
    readout_scale: float = 0.1,
    scratch: Any = None,
    random_state: Seed = 0,
) -> NetworkAdvice:
    """Which network to fine-tune and how, from a few labels of the target.

    Parameters
    ----------
    modules : torch.nn.Module, sequence or mapping of str to module
        The sources that could be fine-tuned; of the checkpoints of one run `choose_checkpoint`
        chooses faster.
    inputs : tensor, array, tuple or mapping
        Target inputs that all of them take, n samples.
    y : array_like of shape (n,)
        Their labels.
    head : str or None, default=None
        Name of the read-out, which is replaced; None for the last linear layer.
    pool : {"flatten", "channels", "tokens", "cls", "last"}, callable or None, default=None
        What becomes of positions or tokens of the features.
    task : {"classification", "regression"}, default="classification"
        Kind of labels.
    metric : {"sgd", "adam", "adafactor"}, default="adafactor"
        Optimiser that theory imitates.
    n_readouts : int, default=4
        Random read-outs that the kernel averages over.
    readout_scale : float, default=0.1
        Scale of the new read-out in real fine-tunings.
    scratch : torch.nn.Module or None, default=None
        A network that was never trained; None draws the weights of the first source anew, layer by
        layer.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed.

    Returns
    -------
    NetworkAdvice
        Table of sources and recipes; ``verify`` runs the real ones, ``fine_tune`` of its answer
        trains the choice.

    Raises
    ------
    ValueError
        If there is no module, one is called "scratch", a layer cannot draw its weights anew and
        no ``scratch`` is given, or as `FineTuningKernel` says.

    See Also
    --------
    choose_checkpoint, fine_tune, retemper.advise

    Notes
    -----
    Sources of theory and experiment stand in `retemper.networks` and `retemper.networks.advice`.

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import advise_network
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> advise_network(net, X, (X[:, 0] > 0).numpy()).choice.name
    'full of source 0'
    """
    torch = load("torch", "advise_network")
    check_real(readout_scale, "readout_scale", low=0.0)
    if isinstance(modules, torch.nn.Module):
        modules = [modules]
    if not isinstance(modules, Mapping | list | tuple):
        raise TypeError(
            f"modules must be a torch.nn.Module, a list or a mapping of them, got {modules!r:.60}"
        )
    if not isinstance(modules, Mapping):
        modules = {f"source {i}": module for i, module in enumerate(modules)}
    if not modules or "scratch" in modules:
        raise ValueError(
            f"modules must hold at least one module, none of them called 'scratch', got "
            f"{list(modules)}"
        )
    for name, module in modules.items():
        check_module(module, f"modules[{name!r}]")
    Y, classes = label_matrix(y, task)
    labels = np.asarray(y)
    own: dict[str, Any] = {
        "head": head, "pool": pool, "task": task, "metric": metric, "n_readouts": n_readouts,
        "random_state": int(generator(random_state).integers(2**63)),
    }  # fmt: skip
    found: list[tuple[str, str, Recipe, int]] = []
    for name, module in modules.items():
        recipes = FineTuningKernel(module, **own).fit(inputs, y).recipes_
        found += [(str(name), r.name, r, len(recipes) - 1) for r in recipes.values()]
    blank = _blank(next(iter(modules.values())), head, own["random_state"], scratch)
    recipe = FineTuningKernel(blank, **own).fit(inputs, y).recipes_["full"]
    found.append(("scratch", "scratch", recipe, 1))

    def rows_of(recipe: Recipe) -> FloatArray:
        return np.asarray(((Y - recipe.path.predictions[recipe.path.best]) ** 2).sum(axis=1))

    known = [item for item in found if item[0] != "scratch"]
    least = min(known, key=lambda item: item[2].loo)[2]
    base = rows_of(least)
    n, epochs = len(Y), most_epochs(len(Y))

    def candidate(
        source: str, name: str, recipe: Recipe, n_blocks: int, options: dict[str, float]
    ) -> NetworkCandidate:
        level = (math.nan, math.nan, math.nan)
        if classes is not None:
            level = level_interval(name, n, recipe.loo_error_rate, chance_of(labels))
        passes = epochs * n * (2 if options.get("held_out_share") else 1)
        trained = {"probe": 0, "full": n_blocks, "scratch": 1}.get(name)
        trained = int(name.split()[1]) if trained is None else trained
        excess, stderr = recipe.loo - least.loo, rows_of(recipe) - base
        return NetworkCandidate(
            source, name, options, recipe.loo, *level, excess,
            float(stderr.std(ddof=1) / math.sqrt(n)), passes, round(passes * trained / n_blocks),
        )  # fmt: skip

    out = [candidate(*item, {}) for item in known]
    choice = min((c for c in out if c.recipe == "full"), key=lambda c: c.loss)
    item = next(item for item in known if item[:2] == (choice.source, "full"))
    rare = classes is not None and np.unique(labels, return_counts=True)[1].min() < 4
    out += [  # early stopping holds out a row of every class, of those that a split leaves
        candidate(*item, options)
        for options in VARIANTS.values()
        if not (rare and "held_out_share" in options)
    ]
    out.sort(key=lambda c: (c.loss, bool(c.options)))
    nothing = candidate("scratch", "scratch", recipe, 1, {})
    settings = {
        "head": head, "task": task, "readout_scale": readout_scale, "random_state": random_state,
        "n_readouts": n_readouts, "scratch": scratch,
    }  # fmt: skip
    flags = [f for k, m in modules.items() for f in batch_statistics(m, inputs, f"of {k}")]
    return NetworkAdvice(
        (*out, nothing), choice, dict(modules), inputs, labels, settings, tuple(flags)
    )


def _blank(module: Any, head: str | None, seed: int, scratch: Any) -> Any:
    """A network that was never trained."""
    torch = load("torch", "advise_network")
    if scratch is not None:
        return scratch
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blank = copy.deepcopy(module)
        try:
            reset_weights(blank, find_head(blank, head).name)
        except ValueError as error:
            raise ValueError(f"{error}; give scratch=, a network that was never trained") from None
    return blank
