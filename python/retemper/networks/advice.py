"""Which network to fine-tune and how: theory prunes, real fine-tuning decides.

Leave-one-out with the fine-tuning kernel ranks a probe, every depth and full fine-tuning of every
source. It does not rank training from scratch: the kernel at random weights misses the features
that training would learn. `NetworkAdvice.verify` therefore fine-tunes for real, by successive
halving (Jamieson and Talwalkar 2016 [1]_) over what theory cannot tell apart, full fine-tuning and
scratch always among them, on the same random splits of the rows; the standard error of a difference
over overlapping splits is that of Nadeau and Bengio (2003 [2]_).

References
----------
.. [1] K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
   Optimization", AISTATS (2016).
.. [2] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003).
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._random import Seed, generator
from retemper._text import number, table
from retemper._validation import FloatArray, check_integer, check_real
from retemper.networks.estimator import FineTuningKernel
from retemper.networks.modules import pick_rows
from retemper.networks.regression import label_matrix
from retemper.networks.training import FineTunedNetwork, error_of, fine_tune, split

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NetworkAdvice", "NetworkCandidate", "NetworkVerification", "advise_network"]


@dataclasses.dataclass(frozen=True)
class NetworkCandidate:
    """A way to use a source, and what is known of it.

    Parameters
    ----------
    source : str
        Name of the module; "scratch" for none.
    recipe : str
        As `fine_tune` takes it.
    loss : float
        Predicted or measured squared error of class probabilities, or of the labels.
    error : float
        Predicted or measured share of rows classified wrong; NaN for regression.
    excess, excess_stderr : float
        Loss over that of the best candidate, rows or splits paired, with its standard error.
    n_runs : int, default=0
        Real fine-tunings behind the numbers; 0 if they are predicted.
    """

    source: str
    recipe: str
    loss: float
    error: float
    excess: float
    excess_stderr: float
    n_runs: int = 0

    @property
    def name(self) -> str:
        """Recipe and source in words."""
        return "scratch" if self.source == "scratch" else f"{self.recipe} of {self.source}"


def frame_of(candidates: tuple[NetworkCandidate, ...]) -> Any:
    """Data frame with a row for every candidate."""
    pd = load("pandas", "to_frame")
    return pd.DataFrame([dataclasses.asdict(c) for c in candidates])


def table_of(candidates: tuple[NetworkCandidate, ...]) -> str:
    """The same as text."""
    rows = [["", "loss", "error", "excess", "stderr", "runs"]]
    rows += [
        [c.name, *map(number, (c.loss, c.error, c.excess, c.excess_stderr)), str(c.n_runs)]
        for c in candidates
    ]
    return table(rows)


@dataclasses.dataclass(frozen=True)
class NetworkVerification:
    """Real fine-tunings, compared on the same splits (see `NetworkAdvice.verify`).

    Parameters
    ----------
    candidates : tuple of NetworkCandidate
        What was run, the longest kept first.
    gain, gain_stderr : float
        Loss from scratch minus loss of the best source, on the splits that both ran: positive
        helps. The standard error is NaN for one split.
    advice : NetworkAdvice
        What was verified.
    """

    candidates: tuple[NetworkCandidate, ...]
    gain: float
    gain_stderr: float
    advice: NetworkAdvice = dataclasses.field(repr=False)

    @property
    def choice(self) -> NetworkCandidate:
        """The candidate that was best to the end."""
        return self.candidates[0]

    def fine_tune(self, **options: Any) -> FineTunedNetwork:
        """Train the choice on all rows.

        Parameters
        ----------
        **options : dict
            As `retemper.networks.fine_tune` takes them, over those of the advice.

        Returns
        -------
        FineTunedNetwork
            The trained network.
        """
        return self.advice.train(self.choice, **options)

    def to_frame(self) -> pd.DataFrame:
        """One row for every candidate that was run (needs pandas)."""
        frame: pd.DataFrame = frame_of(self.candidates)
        return frame

    def __str__(self) -> str:
        sure = "" if math.isnan(self.gain_stderr) else f" ± {number(self.gain_stderr)}"
        runs = sum(c.n_runs for c in self.candidates)
        what = "train from scratch" if self.choice.name == "scratch" else f"use {self.choice.name}"
        return (
            f"{what}: best of {runs} real fine-tunings; gain of the best source over scratch "
            f"{number(self.gain, sign=True)}{sure}\n\n{table_of(self.candidates)}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@dataclasses.dataclass(frozen=True)
class NetworkAdvice:
    """What theory says of every source and recipe (see `advise_network`).

    Parameters
    ----------
    candidates : tuple of NetworkCandidate
        The smallest predicted loss first; scratch, which is not predicted, last.
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
    """

    candidates: tuple[NetworkCandidate, ...]
    choice: NetworkCandidate
    modules: dict[str, Any] = dataclasses.field(repr=False)
    inputs: Any = dataclasses.field(repr=False)
    y: NDArray[Any] = dataclasses.field(repr=False)
    settings: dict[str, Any] = dataclasses.field(repr=False)

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
        first = next(iter(self.modules.values()))
        rows = np.arange(len(self.y)) if rows is None else rows
        own = {k: self.settings[k] for k in ("head", "task", "readout_scale", "random_state")}
        return fine_tune(
            self.modules.get(candidate.source, first), pick_rows(self.inputs, rows), self.y[rows],
            recipe=candidate.recipe, **{**own, **options},
        )  # fmt: skip

    def verify(
        self, budget: int = 16, *, test_share: float = 0.25, **options: Any
    ) -> NetworkVerification:
        """Fine-tune for real what theory cannot tell apart, and scratch.

        Parameters
        ----------
        budget : int, default=16
            Most fine-tunings, at least 2: full fine-tuning and scratch on one split. As many
            candidates are run as it gives two splits in the first round.
        test_share : float, default=0.25
            Share of rows, of every class alike, that a split tests on.
        **options : dict
            As `retemper.networks.fine_tune` takes them, for instance ``learning_rate``.

        Returns
        -------
        NetworkVerification
            The table and the choice; ``fine_tune`` trains it on all rows.

        Notes
        -----
        Every round gives what is left an equal part of the budget in new splits, the same for all,
        and drops the worse half. The losses chose the winner, so its own is a little too good.
        """
        check_integer(budget, "budget", low=2)
        check_real(test_share, "test_share", low=0.0, high=0.5, open_low=True)
        Y, classes = label_matrix(self.y, self.settings["task"])
        rng = generator(self.settings["random_state"])
        fixed = [self.choice, self.candidates[-1]]
        others = [
            c
            for c in self.candidates
            if c not in fixed and c.excess <= 2.0 * c.excess_stderr + 1e-12
        ]
        count = max(
            m
            for m in range(2, 3 + len(others))
            if m == 2 or 2 * m * math.ceil(math.log2(m)) <= budget
        )
        arms = [*fixed, *others[: count - 2]]
        rounds = math.ceil(math.log2(len(arms)))
        losses: dict[NetworkCandidate, list[float]] = {arm: [] for arm in arms}
        errors: dict[NetworkCandidate, list[float]] = {arm: [] for arm in arms}
        left = arms
        shares: list[tuple[int, int]] = []
        for _ in range(rounds):
            for _ in range(max(1, budget // rounds // len(left))):
                train, test = split(Y, test_share, rng)
                shares.append((len(train), len(test)))
                seed = int(rng.integers(2**31))
                for arm in left:
                    tuned = self.train(arm, train, **{"random_state": seed, **options})
                    value = tuned.decision_function(pick_rows(self.inputs, test))
                    wrong = error_of(value, Y[test]) if classes is not None else math.nan
                    losses[arm].append(_loss(value, Y[test], classes is not None))
                    errors[arm].append(wrong)
            left = sorted(left, key=lambda arm: float(np.mean(losses[arm])))
            left = left[: math.ceil(len(left) / 2)]
        n_train, n_test = shares[0]
        order = sorted(arms, key=lambda a: (-len(losses[a]), float(np.mean(losses[a]))))

        def gap(a: NetworkCandidate, b: NetworkCandidate) -> tuple[float, float]:
            both = min(len(losses[a]), len(losses[b]))
            d = np.array(losses[a][:both]) - np.array(losses[b][:both])
            if both < 2:
                return float(d.mean()), math.nan
            return float(d.mean()), float(d.std(ddof=1) * math.sqrt(1 / both + n_test / n_train))

        done = tuple(
            dataclasses.replace(
                arm, loss=float(np.mean(losses[arm])), error=float(np.mean(errors[arm])),
                excess=gap(arm, order[0])[0], excess_stderr=gap(arm, order[0])[1],
                n_runs=len(losses[arm]),
            )
            for arm in order
        )  # fmt: skip
        best = next(arm for arm in order if arm.source != "scratch")
        return NetworkVerification(done, *gap(fixed[1], best), self)

    def to_frame(self) -> pd.DataFrame:
        """One row for every candidate (needs pandas)."""
        frame: pd.DataFrame = frame_of(self.candidates)
        return frame

    def __str__(self) -> str:
        scale = number(self.settings["readout_scale"])
        return (
            f"use {self.choice.name}, read-out reset at {scale} of its usual scale, and verify: "
            "scratch is not predicted, and errors of the linearised network, below, tend to be too "
            "small\n\n"
            f"{table_of(self.candidates)}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _loss(value: FloatArray, Y: FloatArray, is_class: bool) -> float:
    """Squared error of class probabilities, summed over classes, or of predictions."""
    if is_class:
        value = np.exp(value - value.max(axis=1, keepdims=True))
        value = value / value.sum(axis=1, keepdims=True)
    return float(((value - Y) ** 2).sum(axis=1).mean())


def advise_network(
    modules: Any,
    inputs: Any,
    y: ArrayLike,
    *,
    head: str | None = None,
    pool: str | Callable[[Any], Any] | None = None,
    task: Literal["classification", "regression"] = "classification",
    metric: Literal["sgd", "adam"] = "adam",
    n_readouts: int = 4,
    readout_scale: float = 0.1,
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
    metric : {"sgd", "adam"}, default="adam"
        Optimiser that theory imitates.
    n_readouts : int, default=4
        Random read-outs that the kernel averages over.
    readout_scale : float, default=0.1
        Scale of the new read-out in real fine-tunings.
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
        If there is no module, one is called "scratch", or as `FineTuningKernel` says.

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
    if not isinstance(modules, Mapping):
        modules = {f"source {i}": module for i, module in enumerate(modules)}
    if not modules or "scratch" in modules:
        raise ValueError(
            f"modules must hold at least one module, none of them called 'scratch', got "
            f"{list(modules)}"
        )
    found: list[tuple[str, str, float, float, FloatArray]] = []
    for name, module in modules.items():
        fit = FineTuningKernel(
            module, head=head, pool=pool, task=task, metric=metric, n_readouts=n_readouts,
            random_state=random_state,
        ).fit(inputs, y)  # fmt: skip
        Y, _ = label_matrix(y, task)
        for recipe in fit.recipes_.values():
            rows = ((Y - recipe.path.predictions[recipe.path.best]) ** 2).sum(axis=1)
            found.append((str(name), recipe.name, recipe.loo, recipe.loo_error_rate, rows))
    found.sort(key=lambda item: item[2])
    best = found[0]
    candidates = tuple(
        NetworkCandidate(
            source, recipe, loss, wrong, loss - best[2],
            float((rows - best[4]).std(ddof=1) / math.sqrt(len(rows))),
        )
        for source, recipe, loss, wrong, rows in found
    )  # fmt: skip
    scratch = NetworkCandidate("scratch", "scratch", math.nan, math.nan, math.nan, math.nan)
    choice = next(c for c in candidates if c.recipe == "full")
    settings = {
        "head": head, "task": task, "readout_scale": readout_scale, "random_state": random_state,
    }  # fmt: skip
    return NetworkAdvice(
        (*candidates, scratch), choice, dict(modules), inputs, np.asarray(y), settings
    )
