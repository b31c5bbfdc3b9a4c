"""What `retemper.networks` predicts, against real fine-tuning on real images.

    python bench/calibrate_networks.py --data DIR [--seeds 3] [--labels 100] [--source-rows 10000]
        [--out table.csv]

DIR holds folders `mnist`, `fashion-mnist` (idx files, compressed or not) and `cifar-10` (binary
version); what is missing is skipped. For every data set and seed a small convolutional network is
trained on five classes, with checkpoints at twelve steps; the target is the other five classes,
with few labels and 2000 test images. At every checkpoint a ridge probe and real full fine-tuning
(`fine_tune`) are tested. Two tables:

- regret: test error at the checkpoint that a rule chooses, minus the smallest over checkpoints, in
  points, for the probe and for full fine-tuning;
- level: test error of probe, full fine-tuning and scratch at the last checkpoint, and what
  leave-one-out with the fine-tuning kernel said of it.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from pathlib import Path

import numpy as np

STEPS = (0, 10, 20, 40, 80, 150, 300, 500, 800, 1200, 1800, 2400)


def images(folder: Path, name: str):
    """Images as (n, channels, 14 or 16, ...) in [0, 1] and labels, of training and test part."""
    from retemper.datasets import read_cifar, read_idx

    if name == "cifar-10":
        train = read_cifar([folder / f"data_batch_{i}.bin" for i in range(1, 6)])
        test = read_cifar(folder / "test_batch.bin")
    else:

        def part(word: str):
            pair = []
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
                path = folder / f"{word}-{kind}"
                pair.append(read_idx(path if path.exists() else path.with_name(path.name + ".gz")))
            return pair

        train, test = part("train"), part("t10k")
    out = []
    for X, y in (train, test):
        shape = (-1, 3, 16, 2, 16, 2) if name == "cifar-10" else (-1, 1, 14, 2, 14, 2)
        small = np.asarray(X).reshape(shape).mean(axis=(3, 5))
        out.append((small.astype(np.float32) / 255.0, np.asarray(y).astype(int)))
    return out


def network(channels: int):
    from torch import nn

    side = 4
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * side * side, 64), nn.ReLU(), nn.Linear(64, 5),
    )  # fmt: skip


def one_run(data, seed: int, n_labels: int, n_source: int) -> dict[str, object]:
    import torch
    from torch import nn

    from retemper.networks import FineTuningKernel, choose_checkpoint, features, fine_tune

    (X, y), (X_test, y_test) = data
    rng = np.random.default_rng(seed)
    classes = rng.permutation(10)
    source, target = classes[:5], classes[5:]
    torch.manual_seed(seed)
    net = network(X.shape[1])

    def rows(X, y, wanted, count):
        at = rng.permutation(np.flatnonzero(np.isin(y, wanted)))[:count]
        code = {c: i for i, c in enumerate(wanted)}
        return torch.as_tensor(X[at]), np.array([code[c] for c in y[at]])

    Xs, ys = rows(X, y, source, n_source)
    Xv, yv = rows(X_test, y_test, source, 2000)
    Xt, yt = rows(X, y, target, n_labels)
    Xe, ye = rows(X_test, y_test, target, 2000)
    labels, held = torch.as_tensor(ys), torch.as_tensor(yv)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    kept, source_loss = {}, []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            kept[step] = copy.deepcopy(net)
            with torch.no_grad():
                source_loss.append(float(nn.functional.cross_entropy(net(Xv), held)))
        at = rng.integers(len(Xs), size=64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(Xs[at]), labels[at]).backward()
        optimiser.step()

    choice = choose_checkpoint(kept, Xt, yt)
    Y = np.eye(5)[yt]
    probe, full = [], []
    for each in kept.values():
        phi, test = features(each, Xt), features(each, Xe)
        scale = float((phi**2).sum(axis=1).mean())
        ridge = choice.ridges[len(probe)] * scale
        mean = phi.mean(axis=0)
        gram = (phi - mean) @ (phi - mean).T
        alpha = np.linalg.solve(gram + len(phi) * ridge * np.eye(len(phi)), Y - Y.mean(axis=0))
        value = (test - mean) @ (phi - mean).T @ alpha + Y.mean(axis=0)
        probe.append(100 * np.mean(value.argmax(axis=1) != ye))
        tuned = fine_tune(each, Xt, yt, random_state=seed)
        full.append(100 * np.mean(tuned.predict(Xe) != ye))
    optimum = int(np.argmin(source_loss))
    quarter = int(np.searchsorted(STEPS, STEPS[optimum] / 4))
    rules = {
        "leave-one-out of a probe": int(np.flatnonzero(choice.steps == choice.step)[0]),
        "source optimum": optimum,
        "quarter of the steps to it": quarter,
        "last": len(STEPS) - 1,
    }
    out: dict[str, object] = {}
    for rule, at in rules.items():
        out[f"probe: {rule}"] = probe[at] - min(probe)
        out[f"full: {rule}"] = full[at] - min(full)
    kernel = FineTuningKernel(kept[STEPS[-1]]).fit(Xt, yt)
    scratch = fine_tune(kept[STEPS[-1]], Xt, yt, recipe="scratch", random_state=seed)
    out["true probe"], out["true full"] = probe[-1], full[-1]
    out["true scratch"] = 100 * np.mean(scratch.predict(Xe) != ye)
    for name in ("probe", "full"):
        out[f"said {name}"] = 100 * kernel.recipes_[name].loo_error_rate
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.environ.get("RETEMPER_DATA"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--source-rows", type=int, default=10000, help="few over-train")
    parser.add_argument("--out")
    given = parser.parse_args()
    if not given.data:
        sys.exit("no images: pass --data DIR or set RETEMPER_DATA; nothing was run")
    runs = []
    for name in ("mnist", "fashion-mnist", "cifar-10"):
        if not (Path(given.data) / name).is_dir():
            print(f"{name}: no such folder, skipped")
            continue
        data = images(Path(given.data) / name, name)
        for seed in range(given.seeds):
            start = time.perf_counter()
            runs.append(
                {"data": name, "seed": seed, **one_run(data, seed, given.labels, given.source_rows)}
            )
            print(f"{name} seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    if not runs:
        sys.exit("no images were found; nothing was run")
    keys = [k for k in runs[0] if k.startswith(("probe: ", "full: "))]
    print(
        f"\nregret in points, mean and worst of {len(runs)} runs, {given.labels} labels, "
        f"{given.source_rows} source rows"
    )
    for key in keys:
        values = np.array([float(run[key]) for run in runs])
        print(f"{key:<40}{values.mean():>8.2f}{values.max():>8.2f}")
    print("\nlevel at the last checkpoint, error in percent")
    for name in ("probe", "full", "scratch"):
        true = np.array([float(run[f"true {name}"]) for run in runs])
        text = f"{name:<10} true {true.mean():6.2f}"
        if name != "scratch":
            gap = np.array([float(run[f"said {name}"]) for run in runs]) - true
            text += f"   said minus true {gap.mean():+6.2f}, sd {gap.std(ddof=1):5.2f}"
        print(text)
    better = sum(float(run["true full"]) < float(run["true scratch"]) for run in runs)
    print(f"full fine-tuning is better than scratch in {better} of {len(runs)}")
    if given.out:
        lines = [",".join(runs[0])]
        lines += [",".join(str(v) for v in run.values()) for run in runs]
        Path(given.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
