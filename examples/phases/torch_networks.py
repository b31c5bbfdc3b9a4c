"""A small VGG and a small ResNet, watched while they learn coloured digits.

``python examples/phases/torch_networks.py [vgg|resnet] [--steps N] [--seed S]`` needs the extra
``retemper[torch]``. The last block's reconstruction is printed beside the reading of a decoder
trained by Adam on raw activations, which mistakes a growing scale for a second phase (theory page,
section 5).
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from retemper.datasets import coloured_digits
from retemper.phases import checkpoint_steps
from retemper.phases.torch import watch


def conv(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class SmallVGG(nn.Module):
    """Three stride-2 convolutions with batch normalisation, and a linear layer."""

    def __init__(self, n_classes: int = 10, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        sizes = (3, *widths)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(a, b, 2), nn.ReLU()) for a, b in zip(sizes, widths, strict=False)
        )
        self.head = nn.LazyLinear(n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x.flatten(1))


class Residual(nn.Module):
    """Two convolutions added to a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels_in, channels_out, stride), nn.ReLU(), conv(channels_out, channels_out, 1)
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv_1x1(channels_in, channels_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def conv_1x1(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class SmallResNet(nn.Module):
    """A stem, three residual blocks, average pooling and a linear layer."""

    def __init__(self, n_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, width, 1), nn.ReLU())
        self.blocks = nn.ModuleList(
            [
                Residual(width, width, 1),
                Residual(width, 2 * width, 2),
                Residual(2 * width, 4 * width, 2),
            ]
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x).flatten(1))


def adam_decoder(H: torch.Tensor, X: torch.Tensor, epochs: int = 20) -> float:
    """Unexplained share of a linear decoder trained by Adam on raw activations; test half."""
    half = len(H) // 2
    decoder = nn.Linear(H.shape[1], X.shape[1])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-4, weight_decay=1e-5)
    for _ in range(epochs):
        for rows in torch.randperm(half).split(128):
            optimizer.zero_grad()
            nn.functional.mse_loss(decoder(H[rows]), X[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        left = ((decoder(H[half:]) - X[half:]) ** 2).sum()
    return float(left / ((X[half:] - X[:half].mean(0)) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="vgg", choices=["vgg", "resnet"])
    parser.add_argument("--steps", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    task = coloured_digits(random_state=arguments.seed)
    X = torch.tensor(task.X, dtype=torch.float32).reshape(-1, 3, 10, 10)
    X_eval = torch.tensor(task.X_eval, dtype=torch.float32).reshape(-1, 3, 10, 10)
    y = torch.tensor(task.tasks["digit"])
    network = SmallVGG() if arguments.network == "vgg" else SmallResNet()
    network(X[:2])  # sizes of the lazy layer

    watcher = watch(
        network, ["blocks.2"], X_eval, y_eval=task.tasks_eval["digit"],
        aux={"colour": task.tasks_eval["colour"]}, groups=task.groups_eval, pool="flatten",
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    wanted = checkpoint_steps(arguments.steps)
    flat = X_eval.flatten(1)
    for step in range(arguments.steps + 1):
        if step in wanted:
            score = watcher.observe(step)["blocks.2"]
            H = torch.cat([torch.from_numpy(b["blocks.2"]) for b in watcher.batches()])
            print(
                f"step {step:>5}  fuv {score.fuv:.3f}  colour "
                f"{score.probes['colour'].accuracy:.3f}  Adam decoder {adam_decoder(H, flat):.3f}"
            )
        rows = torch.randint(len(X), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
        optimizer.step()
    print(watcher.monitor.report())


if __name__ == "__main__":
    main()
