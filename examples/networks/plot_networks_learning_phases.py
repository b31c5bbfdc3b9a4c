"""
Learning phases on photos: transfer falls long before the end (needs torch)
===========================================================================

A small VGG learns five classes of CIFAR-10 from few images, until it over-fits. At every checkpoint
a ridge probe on its frozen last block learns the other five classes from 400 labels.

Schneider and Prabhushankar (2024) claim that what a layer still knows of its input falls, and then
rises, while training goes on, and that the checkpoint for a frozen feature extractor lies before
the end. The dotted line of a panel is its best checkpoint: compare that of transfer, in the middle,
with that of the source's own held-out loss and with that of the fraction of unexplained input
variance, `fuv`.

What was run: 2000 images at 16 x 16, 1600 steps of Adam, five seeds; the script prints what a rule
loses against the best checkpoint. The claim holds for the end: the last checkpoint loses 3.8 ± 0.7
points. Transfer is best at about the source's own optimum, before it in 2 of 5 seeds, and stopping
there loses 0.6 ± 0.5. `fuv` of the last block shows no fall, it rises almost from the start: its
smallest value comes at step 4 against 120, and loses 4.3 ± 0.7. Leave-one-out on the target's
labels finds the best checkpoint in every seed.

`retemper figure networks-learning-phases --data DIR` trains and draws it anew; DIR holds `cifar-10`
in its binary version. Without images the numbers of that run are drawn.
"""

import copy
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from retemper.datasets import read_cifar
from retemper.gallery import recorded_numbers
from retemper.networks import choose_checkpoint, features
from retemper.phases import reconstruction_score

STEPS = (0, 10, 20, 40, 80, 160, 320, 560, 960, 1600)
SEEDS = range(5)
folder = Path(os.environ.get("RETEMPER_DATA", "no-folder")) / "cifar-10"


def halved(path):
    """Images as (n, 3, 16, 16) in [0, 1], and their classes."""
    X, y = read_cifar(path)
    small = np.asarray(X).reshape(-1, 3, 16, 2, 16, 2).mean(axis=(3, 5), dtype=np.float32)
    return torch.as_tensor(small / 255.0), np.asarray(y).astype(int)


def block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out), nn.ReLU(),
    )  # fmt: skip


def one_run(train, test, seed):
    """Source loss, transfer error and fuv by checkpoint, and the step that leave-one-out takes."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(10)
    torch.manual_seed(seed)
    net = nn.Sequential(block(3, 16), block(16, 32), block(32, 64), nn.Flatten(), nn.Linear(256, 5))

    def rows(part, wanted, count):
        X, y = part
        at = rng.permutation(np.flatnonzero(np.isin(y, wanted)))[:count]
        return X[at], np.argmax(y[at][:, None] == wanted, axis=1)

    X, y = rows(train, classes[:5], 2000)
    X_held, y_held = rows(test, classes[:5], 1000)
    X_few, y_few = rows(train, classes[5:], 400)
    X_new, y_new = rows(test, classes[5:], 1500)
    y, y_held = torch.as_tensor(y), torch.as_tensor(y_held)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    kept = {}
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            kept[step] = copy.deepcopy(net).eval()
        at = rng.integers(len(X), size=64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(X[at]), y[at]).backward()
        optimiser.step()
    choice = choose_checkpoint(kept, X_few, y_few)
    curves = []
    for each, ridge in zip(kept.values(), choice.ridges, strict=True):
        with torch.no_grad():
            source = float(nn.functional.cross_entropy(each(X_held), y_held))
        few, new = features(each, X_few), features(each, X_new)
        scale = np.sqrt((few**2).sum(axis=1).mean())
        few, new = few / scale, new / scale
        mean, labels = few.mean(axis=0), np.eye(5)[y_few]
        gram = (few - mean) @ (few - mean).T + len(few) * ridge * np.eye(len(few))
        weights = (few - mean).T @ np.linalg.solve(gram, labels - labels.mean(axis=0))
        answer = ((new - mean) @ weights + labels.mean(axis=0)).argmax(axis=1)
        fuv = reconstruction_score(features(each, X_held), X_held.numpy(), sketch=128).fuv
        curves.append((source, float(np.mean(answer != y_new)), fuv))
    return np.array(curves), STEPS.index(choice.step)


if (folder / "test_batch.bin").exists():
    train, test = halved(folder / "data_batch_1.bin"), halved(folder / "test_batch.bin")
    runs = [one_run(train, test, seed) for seed in SEEDS]
    numbers = {"curves": [run[0] for run in runs], "taken": [run[1] for run in runs]}
else:
    print("no images: --data or RETEMPER_DATA names no folder with cifar-10; the recorded run:")
    numbers = recorded_numbers("networks-learning-phases")
curves = np.array(numbers["curves"])  # seed, checkpoint, (source, transfer, fuv)
figure, axes = plt.subplots(1, 3, figsize=(12.0, 4.2), layout="constrained")
mean, stderr = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
steps = np.array(STEPS) + 1
panels = ("held-out loss of the source", "transfer error, %", "fuv of the last block")
mean[:, 1], stderr[:, 1] = 100 * mean[:, 1], 100 * stderr[:, 1]
for ax, k, name in zip(axes, range(3), panels):
    ax.errorbar(steps, mean[:, k], stderr[:, k], marker="o", capsize=2)
    ax.axvline(steps[mean[:, k].argmin()], color="0.5", linestyle=":")
    ax.set(xscale="log", xlabel="step + 1", ylabel=name, title=name.split(",")[0])
figure.suptitle("The last checkpoint transfers worse than an early one; fuv turns too early")
places = {
    "leave-one-out on 400 labels": numbers["taken"],
    "half of the steps to the source optimum": [
        int(np.searchsorted(STEPS, 0.5 * STEPS[c[:, 0].argmin()])) for c in curves
    ],
    "source optimum": [c[:, 0].argmin() for c in curves],
    "smallest fuv": [c[:, 2].argmin() for c in curves],
    "last": [len(STEPS) - 1] * len(curves),
}
best = [c[:, 1].argmin() for c in curves]
earlier = sum(b < s for b, s in zip(best, places["source optimum"], strict=True))
print(f"transfer is best before the source optimum in {earlier} of {len(curves)} seeds")
print(f"mean step of the best transfer {np.mean([STEPS[b] for b in best]):.0f}")
for rule, at in places.items():
    lost = [100 * (c[i, 1] - c[:, 1].min()) for c, i in zip(curves, at, strict=True)]
    print(f"{rule:<42} step {np.mean([STEPS[i] for i in at]):6.0f}, points lost "
          f"{np.mean(lost):.1f} ± {np.std(lost, ddof=1) / np.sqrt(len(lost)):.1f}")  # fmt: skip
plt.show()
