"""Deep panels of two papers on real images: learning phases, and the scale of early layers.

    python bench/panels_networks.py phases --data DIR [--seeds 5] [--record phases.jsonl]
    python bench/panels_networks.py scales --data DIR [--seeds 5] [--record scales.jsonl]

DIR holds folders `fashion-mnist` and `cifar-10` (binary version), as for `calibrate_networks.py`.
Images become 3 x 16 x 16. A record keeps one run a line, and a command that was stopped goes on.

`phases` (after Schneider and Prabhushankar 2024): a small VGG and a small ResNet, three blocks
each, learn five random classes from 1000 images, with and without weight decay. At every checkpoint
and block it measures `fuv`, and the error of a ridge probe on frozen features of 300 images of the
five other classes. Phases are those of `PhaseDetector`; the recommended step is that of
`PhaseMonitor` with the source's labels.

`scales` (after Anguita et al. 2026): a ResNet without normalisation and biases learns five classes
of CIFAR-10 from 4000 images. Before that its first layer is multiplied by a number and its read-out
divided by it, so that the function stays. It is fine-tuned on the five other classes, on a coarse
label of its own classes, and on two of them.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from calibrate_networks import images, probe_error

STEPS = (0, 5, 10, 20, 40, 80, 160, 320, 560, 800)
#: Images: to train on, held out of the source, labelled and new of the target.
COUNTS = (1000, 500, 300, 1000)
BLOCKS = ("0", "1", "2")
NETWORKS = ("vgg", "resnet")
DATA = ("cifar-10", "fashion-mnist")
DECAYS = (0.0, 1.0)
SCALES = (0.25, 1.0, 4.0)
TASKS = ("other classes", "coarse", "two own classes")
RULES = ("PhaseMonitor", "leave-one-out", "smallest fuv", "source optimum", "last")


class Residual(nn.Module):
    """Two convolutions beside a short one; with batch normalisation, or homogeneous."""

    def __init__(self, inside: int, outside: int, stride: int, norm: bool = True):
        super().__init__()
        self.one = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside) if norm else nn.Identity()
        self.two = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside) if norm else nn.Identity()
        self.short = nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x):
        h = torch.relu(self.norm1(self.one(x)))
        return torch.relu(self.norm2(self.two(h)) + self.short(x))


def phase_network(kind: str) -> nn.Sequential:
    """Three blocks, 0 to 2, of 16, 32 and 64 channels, and a read-out of five classes."""
    blocks: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 64)):
        if kind == "resnet":
            blocks.append(Residual(inside, outside, 2))
        else:
            conv = nn.Conv2d(inside, outside, 3, 2, 1, bias=False)
            blocks.append(nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU()))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(256, 5))


def rows(part, wanted, count: int, rng):
    """At most so many rows of the wanted classes, and their places among them."""
    X, y = part
    at = rng.permutation(np.flatnonzero(np.isin(y, wanted)))[:count]
    return torch.as_tensor(X[at]), np.argmax(y[at][:, None] == np.asarray(wanted), axis=1)


def train(net, task, steps, decay: float, rng) -> dict[int, nn.Module]:
    """Copies of a network, by step, that AdamW trains in place on a task's images and classes."""
    X, labels, kept = task[0], torch.as_tensor(task[1]), {}
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=decay)
    for step in range(max(steps) + 1):
        if step in steps:
            kept[step] = copy.deepcopy(net).eval()
        at = rng.integers(len(X), size=64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(X[at]), labels[at]).backward()
        optimiser.step()
    return kept


def phases_run(
    data, kind: str, decay: float, seed: int, *, steps=STEPS, counts=COUNTS
) -> dict[str, object]:
    """What one pre-training shows at its checkpoints; lists are by block, then by checkpoint."""
    from retemper.networks import features
    from retemper.networks.regression import feature_path, label_matrix
    from retemper.phases import PhaseDetector, PhaseMonitor

    rng = np.random.default_rng([seed, 5])
    torch.manual_seed(seed)
    classes, (training, test) = rng.permutation(10), data
    source = rows(training, classes[:5], counts[0], rng)
    X_held, y_held = rows(test, classes[:5], counts[1], rng)
    X_few, y_few = rows(training, classes[5:], counts[2], rng)
    X_new, y_new = rows(test, classes[5:], counts[3], rng)
    Y, _ = label_matrix(y_few, "classification")
    monitor = PhaseMonitor(X_held.numpy().reshape(len(X_held), -1), y_held, sketch=64)
    losses, score, transfer, curves = [], [], [], []
    for step, net in train(phase_network(kind), source, steps, decay, rng).items():
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(net(X_held), torch.tensor(y_held))))
        held, few, new = (
            features(net, Z, layers=BLOCKS, pool="flatten") for Z in (X_held, X_few, X_new)
        )
        scores = monitor.observe(step, held)
        curves.append([scores[b].fuv_folds for b in BLOCKS])
        transfer.append([probe_error(few[b], Y, new[b], y_new) for b in BLOCKS])
        scale = math.sqrt(float((few[BLOCKS[-1]] ** 2).sum(axis=1).mean())) or 1.0
        path = feature_path(few[BLOCKS[-1]] / scale, Y)
        score.append(float(path.loo_path[path.best]))
    folds = np.array(curves)  # checkpoint, block, fold
    labels = [PhaseDetector().fit(steps, folds[:, b]).labels_ for b in range(len(BLOCKS))]
    fuv = folds.mean(axis=2)
    places = {
        "PhaseMonitor": steps.index(monitor.recommended_step_),
        "leave-one-out": int(np.argmin(score)),
        "smallest fuv": int(fuv[:, -1].argmin()),
        "source optimum": int(np.argmin(losses)),
        "last": len(steps) - 1,
    }
    return {
        "fuv": fuv.T.tolist(), "transfer": np.array(transfer).T.tolist(), "phases": labels,
        "source": losses, "places": places,
    }  # fmt: skip


def scale_network(scale: float) -> nn.Sequential:
    """ResNet of one function for every scale of its first layer over its read-out."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.ReLU(), Residual(16, 16, 2, norm=False),
        Residual(16, 32, 2, norm=False), nn.Flatten(), nn.Linear(512, 5, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        net[0].weight *= scale
        net[-1].weight /= scale
    return net


def scales_run(
    data, scale: float, seed: int, *, n_steps: int = 600, max_epochs: int | None = None
) -> dict[str, object]:
    """Errors of three fine-tunings in percent, and the regime of the first."""
    from retemper.networks import diagnose, fine_tune

    rng = np.random.default_rng([seed, 6])
    torch.manual_seed(seed)
    classes, (training, test) = rng.permutation(10), data
    X, y = rows(training, classes[:5], 4000, rng)
    kept = train(scale_network(scale), (2 * X - 1, y), (0, n_steps), 0.0, rng)
    start, net = kept.values()
    out: dict[str, object] = {}
    for name, own, count in zip(
        TASKS, (classes[5:], classes[:5], classes[:2]), (100, 100, 40), strict=True
    ):
        few, y_few = rows(training, own, count, rng)
        new, y_new = rows(test, own, 2000, rng)
        few, new = 2 * few - 1, 2 * new - 1
        if name == "coarse":
            y_few, y_new = y_few < 2, y_new < 2
        tuned = fine_tune(net, few, y_few, max_epochs=max_epochs, random_state=seed)
        out[name] = 100 * float(np.mean(tuned.predict(new) != y_new))
        if name == TASKS[0]:
            before = diagnose(start, net, new[:64], kernel_rows=0, n_reseeded=0)
            found = diagnose(net, tuned.module, new[:64], n_reseeded=0, n_pairs=3,
                             random_state=seed)  # fmt: skip
            out["first layer moved"] = float(before.drift["0"])
            out["kernel moved"] = float(found.kernel_movement)
            out["order"] = float(found.regime.l_order)
            out["valid"] = float(found.regime.is_valid)
    return out


def spread(values) -> str:
    """Mean and standard error of the finite values in words, and their number if some are not."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        values = values[np.isfinite(values)]
        return f"{spread(values)} ({len(values)})" if len(values) > 1 else f"({len(values)})"
    return f"{values.mean():.3g} ± {values.std(ddof=1) / math.sqrt(len(values)):.2g}"


def cell_name(run: dict) -> str:
    """Data, network and weight decay of a run of `phases`."""
    return f"{run['data']}, {run['kind']}, {run['decay']:g}"


def report_phases(runs: list[dict]) -> None:
    """The tables of `phases`, and what is said of all runs."""
    names = sorted({cell_name(r) for r in runs})
    print("\n| data, network, decay | fuv at the start and at the end, by block | seeds with a "
          "fall; with a rise | transfer error, best (step) and last, by block |")  # fmt: skip
    print("| --- | --- | --- | --- |")
    for name in names:
        mine = [r for r in runs if cell_name(r) == name]
        ends, falls, rises, errors = [], [], [], []
        for b in range(len(BLOCKS)):
            fuv, lost = (np.mean([r[k][b] for r in mine], axis=0) for k in ("fuv", "transfer"))
            best = lost.argmin()
            ends.append(f"{fuv[0]:.2f} {fuv[-1]:.2f}")
            falls.append(str(sum("II" in r["phases"][b] for r in mine)))
            rises.append(str(sum("III" in r["phases"][b] for r in mine)))
            errors.append(f"{100 * lost[best]:.1f} ({STEPS[best]}) {100 * lost[-1]:.1f}")
        print(
            f"| {name} | {', '.join(ends)} | {', '.join(falls)}; {', '.join(rises)} of "
            f"{len(mine)} | {', '.join(errors)} |"
        )
    print("\naccuracy of transfer of the last block at its best, points lost by every rule, (step)")
    print("| data, network, decay | best | " + " | ".join(RULES) + " |")
    print("| --- |" + " --- |" * (len(RULES) + 1))
    for name in [*names, "all"]:
        mine = [r for r in runs if name in ("all", cell_name(r))]
        lost = 100 * np.array([r["transfer"][-1] for r in mine])
        best = np.array(STEPS)[lost.argmin(axis=1)]
        words = [f"{spread(100 - lost.min(axis=1))} ({best.mean():.0f})"]
        for rule in RULES:
            at = np.array([r["places"][rule] for r in mine])
            gap = lost[np.arange(len(mine)), at] - lost.min(axis=1)
            words.append(f"{spread(gap)} ({np.mean(np.array(STEPS)[at]):.0f})")
        print(f"| {name} | " + " | ".join(words) + " |")
    early = sum(np.argmin(r["transfer"][-1]) < r["places"]["source optimum"] for r in runs)
    start = sum(np.argmin(r["transfer"][-1]) == 0 for r in runs)
    print(f"\ntransfer of the last block is best before the source optimum in {early} of "
          f"{len(runs)} runs, with random weights in {start}")  # fmt: skip
    ranks = [float(spearmanr(r["fuv"][-1], r["transfer"][-1])[0]) for r in runs]
    print(f"rank correlation of its fuv and its transfer error: {spread(ranks)}")
    for k, factor in (("transfer", 100.0), ("fuv", 1.0)):
        gaps = [
            factor * (b[k][-1][-1] - a[k][-1][-1])
            for a, b in itertools.permutations(runs, 2)
            if a["decay"] < b["decay"] and all(a[x] == b[x] for x in ("data", "kind", "seed"))
        ]
        if len(gaps) > 1:
            print(f"at the end, decay minus none, last block: {k} {spread(gaps)}")


def report_scales(runs: list[dict]) -> None:
    """The table of `scales`, and the differences of paired seeds."""
    for r in runs:
        r["order"] = r["order"] if r["valid"] else math.nan
    names = [k for k in runs[0] if k not in ("scale", "seed")]
    print("\n| scale | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    by = {s: sorted((r for r in runs if r["scale"] == s), key=lambda r: r["seed"]) for s in SCALES}
    for scale, mine in by.items():
        print(f"| {scale:g} | " + " | ".join(spread([r[k] for r in mine]) for k in names) + " |")
    print()
    for scale in (s for s in SCALES if s != 1.0):
        pairs = list(zip(by[scale], by[1.0], strict=True))
        gaps = ", ".join(f"{k} {spread([a[k] - b[k] for a, b in pairs])}" for k in TASKS)
        print(f"scale {scale:g} minus scale 1, points: {gaps}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("panel", choices=("phases", "scales"))
    parser.add_argument("--data", default=os.environ.get("RETEMPER_DATA"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--record", type=Path, help="file of the runs, one a line")
    given = parser.parse_args()
    if not given.data:
        sys.exit("no images: pass --data DIR or set RETEMPER_DATA; nothing was run")
    if given.seeds < 2:
        parser.error(f"--seeds: {given.seeds} is too few for a standard error, at least 2")
    torch.set_num_threads(1)
    runs: list[dict] = []
    if given.record and given.record.exists():
        runs = [json.loads(line) for line in given.record.read_text().splitlines()]
    names = DATA if given.panel == "phases" else DATA[:1]
    data = {name: images(Path(given.data) / name, name) for name in names}
    keys: list[dict] = []
    for seed in range(given.seeds):
        if given.panel == "scales":
            keys += [{"scale": s, "seed": seed} for s in SCALES]
        else:
            keys += [
                {"data": d, "kind": k, "decay": w, "seed": seed}
                for d in DATA for k in NETWORKS for w in DECAYS
            ]  # fmt: skip
    for key in keys:
        if any(key.items() <= r.items() for r in runs):
            continue
        if given.panel == "scales":
            found = scales_run(data[DATA[0]], key["scale"], key["seed"])
        else:
            found = phases_run(data[key["data"]], key["kind"], key["decay"], key["seed"])
        runs.append(key | found)
        print(", ".join(str(v) for v in key.values()), flush=True)
        if given.record:
            with given.record.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    runs = [r for r in runs if r["seed"] < given.seeds]
    (report_scales if given.panel == "scales" else report_phases)(runs)


if __name__ == "__main__":
    main()
