"""Fine-tuning for real: one plain loop that can be read and copied."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._modules import (
    batches,
    evaluation,
    find_head,
    first_tensor,
    forward,
    n_rows,
    pick_rows,
)
from retemper._random import Seed, generator
from retemper._validation import FloatArray, check_choice, check_integer, check_real
from retemper.networks.regression import label_matrix
from retemper.networks.tangent import block_of

__all__ = ["FineTunedNetwork", "fine_tune"]


@dataclasses.dataclass(frozen=True)
class FineTunedNetwork:
    """A network that was fine-tuned (see `fine_tune`).

    Parameters
    ----------
    module : torch.nn.Module
        The network with its new read-out, in evaluation mode.
    recipe : str
        What was trained.
    classes : ndarray of shape (k,) or None
        Classes in the order of the outputs; None for regression.
    epoch : int
        Epoch of the weights that were kept; 0 is before training.
    train_loss : ndarray of shape (e,)
        Mean loss of the training rows over every epoch, in nats or squared units of y.
    held_out_loss : ndarray of shape (e + 1,)
        Loss on the held-out rows before training and after every epoch; NaN without such rows.
    held_out_error : float
        Share of held-out rows that the weights of that epoch get wrong, or their squared error, of
        the run that did not train on them. It chose the epoch, so it is a little too good.
    n_forward, n_backward : int
        Rows that went forward and backward in all, held-out ones and the refit among them.

    See Also
    --------
    fine_tune

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import fine_tune
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> tuned = fine_tune(net, X, (X[:, 0] > 0).numpy(), learning_rate=0.01)
    >>> tuned.classes.tolist(), tuned.predict(X).shape
    ([False, True], (40,))
    """

    module: Any
    recipe: str
    classes: NDArray[Any] | None
    epoch: int
    train_loss: FloatArray
    held_out_loss: FloatArray
    held_out_error: float
    n_forward: int
    n_backward: int

    def __repr__(self) -> str:
        """What was trained and how far it came; the curves are fields."""
        said = f"{self.recipe} of {type(self.module).__name__}, {self.epoch} epochs"
        if len(self.train_loss):
            said += f", training loss {self.train_loss[-1]:.3g}"
        if np.isfinite(self.held_out_error):
            said += f", held-out error {self.held_out_error:.3g}"
        return f"FineTunedNetwork({said}, {self.n_backward} rows backward)"

    def decision_function(self, inputs: Any, *, batch_size: int = 256) -> FloatArray:
        """Outputs for new inputs.

        Parameters
        ----------
        inputs : tensor, array, tuple, mapping or DataLoader
            What the forward pass takes, m samples.
        batch_size : int, default=256
            Rows that are sent through at a time.

        Returns
        -------
        ndarray of shape (m, k)
            Logits of the classes; for regression one column, the predictions.
        """
        torch = load("torch", "fine_tune")
        with evaluation(self.module), torch.no_grad():
            parts = [
                first_tensor(forward(self.module, given)).to("cpu", torch.float64).numpy()
                for given in batches(self.module, inputs, batch_size)
            ]
        return np.concatenate(parts)

    def predict(self, inputs: Any, *, batch_size: int = 256) -> NDArray[Any]:
        """Labels of new inputs.

        Parameters
        ----------
        inputs : tensor, array, tuple, mapping or DataLoader
            What the forward pass takes, m samples.
        batch_size : int, default=256
            Rows that are sent through at a time.

        Returns
        -------
        ndarray of shape (m,)
            Classes, or numbers for regression.
        """
        values = self.decision_function(inputs, batch_size=batch_size)
        return values[:, 0] if self.classes is None else self.classes[values.argmax(axis=1)]


def fine_tune(
    module: Any,
    inputs: Any,
    y: ArrayLike,
    *,
    recipe: str = "full",
    readout_scale: float = 0.1,
    pull: float = 0.0,
    head: str | None = None,
    task: Literal["classification", "regression"] = "classification",
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    max_epochs: int | None = None,
    patience: int | None = None,
    held_out_share: float = 0.0,
    refit: bool = True,
    batch_size: int = 32,
    random_state: Seed = 0,
) -> FineTunedNetwork:
    """Fine-tune a copy of a PyTorch module by Adam; early stopping on held-out rows if asked for.

    Parameters
    ----------
    module : torch.nn.Module
        The pre-trained network; it is left as it was.
    inputs : tensor, array, tuple or mapping
        What the forward pass takes, n samples.
    y : array_like of shape (n,)
        Labels.
    recipe : str, default="full"
        "full", "probe" (the read-out alone), "last 1 block", "last 2 blocks", ..., or "scratch":
        all of it from weights that every layer draws anew. Parameters that require no gradient
        stay as they are, but for "scratch".
    readout_scale : float, default=0.1
        The new read-out starts with this times PyTorch's own random weights.
    pull : float, default=0.0
        Decoupled pull of the body's weights to the pre-trained ones: every step moves them by
        ``learning_rate * pull`` of their distance (L2-SP as AdamW would do it). No weight gets
        further from its start than about 1 / pull.
    head : str or None, default=None
        Name of the read-out, which is replaced; None for the last linear layer.
    task : {"classification", "regression"}, default="classification"
        Cross-entropy or squared error.
    learning_rate : float, default=1e-3
        Adam's step.
    weight_decay : float, default=0.0
        Decoupled weight decay of AdamW.
    max_epochs : int or None, default=None
        Most passes over the rows; None for 30, or as many as make 300 steps if that is more.
    patience : int or None, default=None
        Epochs without a better held-out loss after which training ends; None for 10, or as many as
        make 100 steps if that is more.
    held_out_share : float, default=0.0
        Share of rows, of every class alike, that choose the epoch; 0 trains on all rows to the end.
    refit : bool, default=True
        Whether training is repeated on all rows, the held-out ones too, for the epochs that they
        chose: twice the time at most, and a fourth more labels.
    batch_size : int, default=32
        Rows of a step.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of split, read-out, order of rows and dropout.

    Returns
    -------
    FineTunedNetwork
        The trained copy, with ``predict``.

    Raises
    ------
    ValueError
        If the recipe does not exist (those that do are listed), the outputs do not have one row a
        sample, there are too few rows of a class, or the loss is not finite.

    See Also
    --------
    advise_network, diagnose

    Notes
    -----
    Layers below the first that is trained run in evaluation mode: their dropout is off and their
    batch statistics stay.

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import fine_tune
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 9))
    >>> X = torch.randn(60, 3)
    >>> tuned = fine_tune(net, X, (X[:, 0] > 0).numpy(), learning_rate=0.01)
    >>> tuned.predict(X).shape
    (60,)
    """
    torch = load("torch", "fine_tune")
    check_choice(task, "task", ("classification", "regression"))
    check_real(readout_scale, "readout_scale", low=0.0)
    check_real(pull, "pull", low=0.0)
    check_real(learning_rate, "learning_rate", low=0.0, open_low=True, high=1e30)
    check_real(weight_decay, "weight_decay", low=0.0)
    for name, value in (("max_epochs", max_epochs), ("patience", patience)):
        if value is not None:
            check_integer(value, name, low=1)
    check_integer(batch_size, "batch_size", low=1)
    check_real(held_out_share, "held_out_share", low=0.0, high=0.9)
    if pull and recipe == "scratch":
        raise ValueError(f"pull={pull:g} draws to the weights that recipe='scratch' forgets")
    Y, classes = label_matrix(y, task)
    if n_rows(inputs) != len(Y):
        raise ValueError(f"inputs and y must have one length, got {n_rows(inputs)}, {len(Y)}")
    rng = generator(random_state)
    train, held = split(Y, held_out_share, rng)
    n_steps = math.ceil(len(train) / batch_size)  # of an epoch
    max_epochs = max_epochs or most_epochs(len(train), batch_size)
    patience = patience or max(10, math.ceil(100 / n_steps))
    seeds = rng.integers(2**63, size=2)
    run: dict[str, Any] = dict(
        recipe=recipe, readout_scale=readout_scale, pull=pull, head=head, seeds=seeds,
        learning_rate=learning_rate, weight_decay=weight_decay, patience=patience,
        batch_size=batch_size, is_class=classes is not None,
    )  # fmt: skip
    with torch.random.fork_rng(), torch.enable_grad():
        net, epoch, losses, held_losses, wrong = _run(
            module, inputs, Y, train, held, max_epochs=max_epochs, **run
        )
        n_forward = len(losses) * len(train) + len(held_losses) * len(held)
        n_backward = len(losses) * len(train)
        if refit and len(held) and epoch:
            every = np.arange(len(Y))
            net = _run(module, inputs, Y, every, held[:0], max_epochs=epoch, **run)[0]
            n_forward, n_backward = n_forward + epoch * len(Y), n_backward + epoch * len(Y)
    return FineTunedNetwork(
        net, recipe, classes, epoch, losses, held_losses, wrong, n_forward, n_backward
    )


def _run(
    module: Any, inputs: Any, Y: FloatArray, train: NDArray[np.intp], held: NDArray[np.intp], *,
    recipe: str, readout_scale: float, pull: float, head: str | None, seeds: NDArray[np.int64],
    learning_rate: float, weight_decay: float, max_epochs: int, patience: int, batch_size: int,
    is_class: bool,
) -> tuple[Any, int, FloatArray, FloatArray, float]:  # fmt: skip
    """A copy of the module trained on some rows; epoch, losses, held-out losses and error."""
    torch = load("torch", "fine_tune")
    torch.manual_seed(int(seeds[0]))
    rng = np.random.default_rng(seeds[1])
    net = copy.deepcopy(module)
    read_out = _new_head(net, head, Y.shape[1], readout_scale)
    trained = _choose_parameters(net, recipe, read_out)
    weight = net.get_submodule(read_out).weight
    labels = torch.as_tensor(Y.argmax(axis=1) if is_class else Y).to(weight.device)
    labels = labels if is_class else labels.to(weight.dtype)
    criterion = torch.nn.CrossEntropyLoss() if is_class else torch.nn.MSELoss()

    def outputs(rows: NDArray[np.intp]) -> Any:
        out = first_tensor(forward(net, next(batches(net, pick_rows(inputs, rows), len(rows)))))
        if tuple(out.shape) != (len(rows), Y.shape[1]):
            raise ValueError(
                f"the module gives shape {tuple(out.shape)} for {len(rows)} rows and "
                f"{Y.shape[1]} outputs; it must have one row of outputs a sample"
            )
        return out

    def held_out() -> tuple[float, float]:
        if not len(held):
            return math.nan, math.nan
        net.eval()
        with torch.no_grad():
            parts = np.array_split(held, math.ceil(len(held) / 256))
            out = torch.cat([outputs(p) for p in parts])
            value = float(criterion(out, labels[held]))
        return value, error_of(out.to("cpu", torch.float64).numpy(), Y[held])

    # the loop itself
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    own = set(map(id, net.get_submodule(read_out).parameters()))
    drawn = [(p, p.detach().clone()) for p in trained if pull and id(p) not in own]
    (best, wrong), kept, kept_at = held_out(), copy.deepcopy(net.state_dict()), 0
    courses: tuple[list[float], list[float]] = ([], [best])
    for epoch in range(1, max_epochs + 1):
        _training_mode(net, trained)
        total = 0.0
        order = rng.permutation(train)
        for rows in np.array_split(order, math.ceil(len(order) / batch_size)):
            optimiser.zero_grad()
            loss = criterion(outputs(rows), labels[rows])
            loss.backward()
            with torch.no_grad():
                for p, start in drawn:
                    p.lerp_(start, min(1.0, learning_rate * pull))
            optimiser.step()
            total += float(loss.detach()) * len(rows) / len(order)
        if not math.isfinite(total):
            raise ValueError(
                f"the loss is not finite in epoch {epoch}; learning_rate={learning_rate:g} may "
                "be too large"
            )
        now, share = held_out()
        courses[0].append(total)
        courses[1].append(now)
        if not len(held):
            kept_at = epoch
        elif now < best:
            best, wrong, kept, kept_at = now, share, copy.deepcopy(net.state_dict()), epoch
        elif epoch - kept_at >= patience:
            break
    if len(held):
        net.load_state_dict(kept)
    net.eval()
    flags = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, p in net.named_parameters():
        p.requires_grad_(name.startswith(read_out + ".") or flags[name])
    return net, kept_at, np.array(courses[0]), np.array(courses[1]), wrong


def error_of(values: FloatArray, Y: FloatArray) -> float:
    """Share of rows classified wrong, or squared error of one column."""
    if Y.shape[1] == 1:
        return float(np.mean((values - Y) ** 2))
    return float(np.mean(values.argmax(axis=1) != Y.argmax(axis=1)))


def split(
    Y: FloatArray, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on and rows held out, of every class its share, at least one of each."""
    groups = [np.flatnonzero(c) for c in Y.T] if Y.shape[1] > 1 else [np.arange(len(Y))]
    held = []
    for rows in groups if share > 0.0 else []:
        if len(rows) < 2:
            raise ValueError(
                "y must have at least two rows of every class to hold one out; held_out_share=0 "
                "trains on all rows"
            )
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held.append(rng.permutation(rows)[:count])
    out = np.sort(np.concatenate(held)) if held else np.zeros(0, dtype=np.intp)
    return np.setdiff1d(np.arange(len(Y)), out), out


def _new_head(net: Any, head: str | None, n_outputs: int, scale: float) -> str:
    torch = load("torch", "fine_tune")
    old = find_head(net, head)
    weight = old.module.weight
    new = torch.nn.Linear(
        old.module.in_features, n_outputs, dtype=weight.dtype, device=weight.device
    )
    with torch.no_grad():
        new.weight *= scale
        new.bias *= scale
    parent, _, own = old.name.rpartition(".")
    setattr(net.get_submodule(parent), own, new)
    return old.name


def _choose_parameters(net: Any, recipe: str, head: str) -> list[Any]:
    """Parameters that a recipe trains; the others stop requiring gradients."""
    top = head + "."
    body = {k: p for k, p in net.named_parameters() if not k.startswith(top)}
    if recipe == "scratch":
        reset_weights(net, head)
        for p in body.values():
            p.requires_grad_(True)
    blocks = list(dict.fromkeys(block_of(k) for k, p in body.items() if p.requires_grad))
    names = ["full", "probe", "scratch"]
    names += [f"last {k} block{'s' if k > 1 else ''}" for k in range(1, len(blocks))]
    check_choice(recipe, "recipe", tuple(names))
    found = re.match(r"last (\d+)", recipe)
    count = int(found[1]) if found else (0 if recipe == "probe" else len(blocks))
    chosen = set(blocks[len(blocks) - count :])
    for key, p in body.items():
        p.requires_grad_(p.requires_grad and block_of(key) in chosen)
    return [p for p in net.parameters() if p.requires_grad]


def reset_weights(net: Any, head: str) -> None:
    """Draw the weights of every layer below the head anew, as the layer itself does."""
    for name, part in net.named_modules():
        if name == head or not [*part.parameters(recurse=False)]:
            continue
        draw = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
        if draw is None:
            raise ValueError(
                f"layer {name!r} ({type(part).__name__}) has parameters and no reset_parameters, "
                "so that it cannot be trained from scratch"
            )
        draw()


def most_epochs(n_train: int, batch_size: int = 32) -> int:
    """Passes over the rows where none are asked for: 30, or as many as make 300 steps."""
    return max(30, math.ceil(300 / math.ceil(n_train / batch_size)))


def _training_mode(net: Any, trained: list[Any]) -> None:
    """Training mode from the first layer that is trained on, evaluation mode below it."""
    net.train()
    ids = {id(p) for p in trained}
    for part in net.modules():
        if any(id(p) in ids for p in part.parameters(recurse=False)):
            return
        part.training = False
