"""A small network of convolutions read by three decoders. Needs the extra ``retemper[torch]``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from retemper._validation import FloatArray, check_integer
from retemper.datasets import coloured_digits
from retemper.phases.torch import watch
from retemper.phases.trainer import checkpoint_steps

__all__ = ["ConvRun", "run_conv"]


class ConvRun(NamedTuple):
    """What was read off the last block at every checkpoint.

    Parameters
    ----------
    steps : ndarray of shape (n_checkpoints,)
        Steps of training; the other fields have the same shape.
    fuv : ndarray
        Fraction of unexplained input variance by the cross-validated ridge decoder.
    adam_raw, adam_standardised : ndarray
        The same by a decoder trained by Adam, on raw and on standardised activations.
    colour, source : ndarray
        Accuracy of linear probes for the colour and for the digit.
    scale : ndarray
        Root mean square activation.

    See Also
    --------
    run_conv

    Examples
    --------
    >>> from retemper.gallery import ConvRun
    >>> ConvRun._fields[:2]
    ('steps', 'fuv')
    """

    steps: FloatArray
    fuv: FloatArray
    adam_raw: FloatArray
    adam_standardised: FloatArray
    colour: FloatArray
    source: FloatArray
    scale: FloatArray


def _adam_decoder(H: Any, X: Any, train: Any, epochs: int = 20) -> float:
    """Unexplained share on the other rows of a linear decoder trained by Adam."""
    import torch
    from torch import nn

    decoder = nn.Linear(H.shape[1], X.shape[1])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-4, weight_decay=1e-5)
    rows = torch.nonzero(train)[:, 0]
    for _ in range(epochs):
        for part in rows[torch.randperm(len(rows))].split(128):
            optimizer.zero_grad()
            nn.functional.mse_loss(decoder(H[part]), X[part]).backward()
            optimizer.step()
    with torch.no_grad():
        left = ((decoder(H[~train]) - X[~train]) ** 2).sum()
    return float(left / ((X[~train] - X[train].mean(0)) ** 2).sum())


def run_conv(n_steps: int = 1024, random_state: int = 0) -> ConvRun:
    """Train convolutions with batch normalisation on coloured digits, and decode.

    Parameters
    ----------
    n_steps : int, default=1024
        Steps of 128 rows.
    random_state : int, default=0
        Seed of data and network.

    Returns
    -------
    ConvRun
        Cross-validated ridge, Adam on raw and on standardised activations (20 epochs, trained on
        four fifths of the images), probes and root mean square activation.

    Raises
    ------
    ImportError
        If torch is not installed.

    See Also
    --------
    run_seeds, ConvRun

    Notes
    -----
    Derived here (`systems/phases#what-to-expect-recorded-runs`); the decoder trained by Adam has
    the settings of the code published with Schneider and Prabhushankar (2024), on far fewer images.

    Examples
    --------
    >>> from retemper.gallery import run_conv
    >>> run_conv(64).fuv  # doctest: +SKIP
    array([0.49..., ...])
    """
    import torch
    from torch import nn

    torch.manual_seed(check_integer(random_state, "random_state"))
    task = coloured_digits(random_state=random_state)
    X, X_eval = (
        torch.tensor(a, dtype=torch.float32).reshape(-1, 3, 10, 10) for a in (task.X, task.X_eval)
    )
    y = torch.tensor(task.tasks["digit"])
    blocks, width = [], 3
    for units in (16, 32, 64):
        block = [nn.Conv2d(width, units, 3, stride=2, padding=1, bias=False)]
        blocks.append(nn.Sequential(*block, nn.BatchNorm2d(units), nn.ReLU()))
        width = units
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * width, 10))
    watcher = watch(
        network, ["2"], X_eval, y_eval=task.tasks_eval["digit"],
        aux={"colour": task.tasks_eval["colour"]}, groups=task.groups_eval,
        pool="flatten",
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    flat = X_eval.flatten(1)
    train = torch.tensor(task.groups_eval % 5 != 0)
    wanted, rows = checkpoint_steps(n_steps), []
    for step in range(n_steps + 1):
        if step in wanted:
            score = watcher.observe(step)["2"]
            H = torch.cat([torch.from_numpy(batch["2"]) for batch in watcher.batches()])
            even = (H - H.mean(0)) / (H.std(0) + 1e-6)
            rows.append(
                (step, score.fuv, _adam_decoder(H, flat, train), _adam_decoder(even, flat, train),
                 score.probes["colour"].accuracy, score.probes["source"].accuracy,
                 float((H**2).mean().sqrt()))
            )  # fmt: skip
        picked = torch.randint(len(X), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(X[picked]), y[picked]).backward()
        optimizer.step()
    return ConvRun(*np.array(rows, dtype=np.float64).T)
