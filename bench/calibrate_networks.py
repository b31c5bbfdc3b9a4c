"""What `retemper.networks` predicts, against real fine-tuning on real images.

    python bench/calibrate_networks.py --data DIR --record runs.jsonl [--seeds 3] [--minutes 60]
    python bench/calibrate_networks.py --record runs.jsonl --report [--new-from SEED]
    python bench/calibrate_networks.py --data DIR --record runs.jsonl --metrics metrics.jsonl
    python bench/calibrate_networks.py --cost
    python bench/calibrate_networks.py --modular
    python bench/calibrate_networks.py --data DIR --schedules

DIR holds folders `mnist`, `fashion-mnist` (idx files, compressed or not) and `cifar-10` (binary
version). All images become 3 x 16 x 16. Twenty pairs of a source and a target (related, unrelated,
rotated, inverted, trained on noise, random weights, over-trained with weight decay) times four
architectures times 20, 60 and 200 target labels; every cell is one line of the record, and a run
that was stopped goes on where it stopped. A cell holds

- what theory said of every recipe at the last checkpoint, and the test error of real fine-tunings;
- with --verify, at 60 labels, what `NetworkAdvice.verify` chose, and what five-fold
  cross-validation of every real recipe chose, with the time of both;
- for six checkpoints the scores of every rule that could choose one, and the test error of a
  ridge probe and, at 60 labels, of real full fine-tuning from it.

Every second pair of a target's data set sets the constants of `retemper.networks.record`, which
--write replaces; the others report. --new-from holds the constants that the library has against
the cells of later seeds, which did not exist when they were set. --metrics says again what theory
says of the recorded cells, with every metric of the tangent kernel. --cost prints what that kernel
costs, and needs no images. --modular pre-trains a two-layer transformer on addition modulo 13 and
fine-tunes it on other operations, with a stream of three scales at one function; no images.
--schedules sets cheaper budgets of `verify` beside the usual one on ten pairs with the MLP and 60
labels, in processor time, with a seed that the record lacks.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

from rivals.transferability import logme

STEPS = (0, 20, 60, 150, 400, 800)
LABELS = (20, 60, 200)
ARCHITECTURES = ("mlp", "cnn", "transformer", "resnet")
LOW, HIGH, ALL = tuple(range(5)), tuple(range(5, 10)), tuple(range(10))
M, F, C = "mnist", "fashion-mnist", "cifar-10"

#: Name, source (data, classes, change), target (data, classes, change).
PAIRS = (
    ("related digits", (M, LOW, ""), (M, HIGH, "")),
    ("related digits 2", (M, HIGH, ""), (M, LOW, "")),
    ("related clothes", (F, LOW, ""), (F, HIGH, "")),
    ("related clothes 2", (F, HIGH, ""), (F, (0, 2, 4), "")),
    ("related photos", (C, LOW, ""), (C, HIGH, "")),
    ("related photos 2", (C, (2, 3, 4, 5, 6, 7), ""), (C, (0, 1, 8, 9), "")),
    ("digits to clothes", (M, ALL, ""), (F, ALL, "")),
    ("clothes to digits", (F, ALL, ""), (M, ALL, "")),
    ("photos to digits", (C, ALL, ""), (M, (3, 5, 8), "")),
    ("clothes to photos", (F, ALL, ""), (C, (0, 1, 2), "")),
    ("rotated digits", (M, ALL, ""), (M, HIGH, "rotated")),
    ("rotated clothes", (F, ALL, ""), (F, (0, 2, 3, 4, 6), "rotated")),
    ("inverted digits", (M, ALL, ""), (M, LOW, "inverted")),
    ("inverted photos", (C, LOW, ""), (C, (3, 5), "inverted")),
    ("noise digits", (M, LOW, "noise"), (M, HIGH, "")),
    ("noise photos", (C, LOW, "noise"), (C, (0, 1, 8, 9), "")),
    ("random weights, clothes", (F, ALL, "random"), (F, LOW, "")),
    ("random weights, photos", (C, ALL, "random"), (C, (5, 6), "")),
    ("over-trained clothes", (F, LOW, "over-trained"), (F, HIGH, "")),
    ("over-trained digits", (M, LOW, "over-trained"), (M, HIGH, "")),
)

#: Real fine-tunings by name, with their options.
ARMS: dict[str, dict[str, object]] = {
    "probe": {"recipe": "probe"},
    "last 1 block": {"recipe": "last 1 block"},
    "full": {},
    "full, read-out 1": {"readout_scale": 1.0},
    "full, pull 3": {"pull": 3.0},
    "full, early stopping": {"held_out_share": 0.2},
    "scratch": {"recipe": "scratch"},
}
#: Those of the slower architectures.
FEWER = ("probe", "last 1 block", "full", "scratch")


def images(folder: Path, name: str):
    """Images as (n, 3, 16, 16) in [0, 1] and labels, of training and test part."""
    from retemper.datasets import read_cifar, read_idx

    if name == C:
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
    for whole, y in (train, test):
        X = np.asarray(whole)
        if name != C:
            X = np.pad(X.reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2)))
        small = X.reshape(len(X), -1, 16, 2, 16, 2).mean(axis=(3, 5), dtype=np.float32) / 255.0
        out.append((np.repeat(small, 3 // small.shape[1], axis=1), np.asarray(y).astype(int)))
    return out


def changed(X, y, change: str, rng):
    """Images and labels after the change of a task."""
    if change == "rotated":
        return np.rot90(X, axes=(2, 3)).copy(), y
    if change == "inverted":
        return 1.0 - X, y
    return X, rng.permutation(y) if change == "noise" else y


def task_rows(part, task, count: int, rng, code=None):
    """Rows of the classes of a task and their labels from 0 on."""
    _, classes, change = task
    X, y = part
    at = rng.permutation(np.flatnonzero(np.isin(y, classes)))[:count]
    place = {c: i for i, c in enumerate(classes)}
    return changed(X[at], np.array([place[c] for c in y[at]]), change, rng)


def network(kind: str, n_classes: int):
    """Small network of one of four architectures, for 3 x 16 x 16."""
    import torch
    from torch import nn

    if kind == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(768, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(),
            nn.Linear(64, n_classes),
        )  # fmt: skip
    if kind == "cnn":
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, n_classes),
        )  # fmt: skip

    class Attention(nn.Module):
        def __init__(self, units: int, heads: int):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(units), nn.LayerNorm(units)
            self.qkv, self.out = nn.Linear(units, 3 * units), nn.Linear(units, units)
            self.up, self.down = nn.Linear(units, 2 * units), nn.Linear(2 * units, units)

        def forward(self, x):
            n, t, u = x.shape
            q, k, v = (
                z.reshape(n, t, self.heads, -1).transpose(1, 2)
                for z in self.qkv(self.norm1(x)).chunk(3, dim=2)
            )
            weight = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(u / self.heads), dim=3)
            x = x + self.out((weight @ v).transpose(1, 2).reshape(n, t, u))
            return x + self.down(torch.relu(self.up(self.norm2(x))))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(48, 48)
            self.blocks = nn.ModuleList([Attention(48, 3), Attention(48, 3)])
            self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, n_classes)
            place = torch.arange(16)[:, None] / 10000.0 ** (torch.arange(24) / 24)
            self.register_buffer("place", torch.cat([place.sin(), place.cos()], dim=1))

        def forward(self, x):
            patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5)
            x = self.embed(patches.reshape(len(x), 16, 48)) + self.place
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x).mean(dim=1))

    if kind == "resnet":
        from panels_networks import Residual

        return nn.Sequential(
            Residual(3, 8, 2), Residual(8, 16, 2), Residual(16, 32, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, n_classes),
        )  # fmt: skip
    return Transformer()


def pretrain(pair, data, kind: str, seed: int):
    """Checkpoints by step, the held-out loss of the source at each, and its held-out rows."""
    import torch
    from torch import nn

    _, source, _ = pair
    rng = np.random.default_rng([seed, 1])
    torch.manual_seed(seed)
    net = network(kind, len(source[1]))
    over = source[2] == "over-trained"
    train, test = data[source[0]]
    X, y = (torch.as_tensor(a) for a in task_rows(train, source, 300 if over else 5000, rng))
    Xv, yv = (torch.as_tensor(a) for a in task_rows(test, source, 500, rng))
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1.0 if over else 0.0)
    kept, losses = {}, []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            kept[step] = copy.deepcopy(net).eval()
            with torch.no_grad():
                losses.append(float(nn.functional.cross_entropy(kept[step](Xv), yv)))
        if source[2] == "random":
            continue
        net.train()
        at = rng.integers(len(X), size=64)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(X[at]), y[at]).backward()
        optimiser.step()
    return kept, losses, (Xv, yv)


def h_score(phi, Y) -> float:
    """Between-class over total covariance (Bao et al. 2019), total shrunk by a thousandth."""
    Z = phi - phi.mean(axis=0)
    total = Z.T @ Z / len(Z)
    total += 1e-3 * np.trace(total) / len(total) * np.eye(len(total)) + 1e-12 * np.eye(len(total))
    means = (Y.T @ Z) / np.maximum(Y.sum(axis=0), 1)[:, None]
    between = (means * Y.sum(axis=0)[:, None]).T @ means / len(Z)
    return float(np.trace(np.linalg.solve(total, between)))


def probe_error(phi, Y, phi_test, y_test) -> float:
    """Test error of a ridge probe at the ridge of its leave-one-out loss."""
    from retemper.networks.regression import feature_path

    scale = math.sqrt(float((phi**2).sum(axis=1).mean())) or 1.0
    phi, phi_test = phi / scale, phi_test / scale
    path = feature_path(phi, Y)
    mean = phi.mean(axis=0)
    A = (phi - mean) @ (phi - mean).T + len(phi) * path.ridges[path.best] * np.eye(len(phi))
    value = (phi_test - mean) @ (phi - mean).T @ np.linalg.solve(A, Y - Y.mean(axis=0))
    return float(np.mean((value + Y.mean(axis=0)).argmax(axis=1) != y_test))


def checkpoint_scores(made, X, Y) -> dict[str, list[float]]:
    """Scores by rule, a value for every checkpoint; the smallest is chosen."""
    from retemper.networks import debiased_cka, features
    from retemper.networks.alignment import effective_rank
    from retemper.networks.regression import feature_path
    from retemper.phases import PhaseMonitor

    kept, losses, source = made
    out: dict[str, list[float]] = {}
    Xv = source[0].numpy().reshape(len(source[0]), -1)
    with np.errstate(all="ignore"):
        monitor = PhaseMonitor(Xv, sketch=48, random_state=0)
    for step, net in kept.items():
        phi = features(net, X)
        scale = math.sqrt(float((phi**2).sum(axis=1).mean())) or 1.0
        path = feature_path(phi / scale, Y)
        try:
            fuv = monitor.observe(step, {"features": features(net, source[0])})["features"].fuv
        except ValueError:
            fuv = 1.0
        values = {
            "leave-one-out of a probe": float(path.loo_path[path.best]),
            "its share of errors": float(path.loo_error_rate[path.best]),
            "LogME": -logme(phi, Y, intercept=False),
            "LogME, published code": -logme(phi, Y, intercept=False, published=True),
            "H-score": -h_score(phi, Y),
            "alignment with the labels": -debiased_cka(phi, Y),
            "effective rank": -effective_rank(phi),
            "monitor: smallest fuv": float(fuv),
        }
        for name, value in values.items():
            out.setdefault(name, []).append(value)
    best = int(np.argmin(losses))
    places = np.arange(len(losses))
    out["source optimum"] = list(map(float, losses))
    for word, share in (("quarter", 0.25), ("half", 0.5)):
        at = int(np.searchsorted(STEPS, STEPS[best] * share))
        out[f"a {word} of the steps to it"] = [float(abs(i - at)) for i in places]
    out["last"] = [float(-i) for i in places]
    return out


def target_rows(pair, data, seed: int, n: int):
    """Rows with labels, and test rows, of a target."""
    import torch

    target = pair[2]
    rng = np.random.default_rng([seed, n, 2])
    train, test = data[target[0]]
    X, y = task_rows(train, target, n, rng)
    at = np.flatnonzero(np.bincount(y)[y] >= 2)  # no class of a single row
    X, y = X[at], y[at]
    X_test, y_test = task_rows(test, target, 1000, rng)
    at = np.isin(y_test, y)
    return torch.as_tensor(X), y, torch.as_tensor(X_test[at]), y_test[at]


def cell(pair, data, run: tuple[str, int, int], made, fewer: bool = False) -> dict[str, object]:
    """One line of the record; with fewer arms what the slower architectures run."""
    import torch

    from retemper.networks import FineTuningKernel, features, fine_tune
    from retemper.networks.regression import label_matrix

    kind, seed, n = run
    kept, losses, source = made
    Xt, yt, Xe, ye = target_rows(pair, data, seed, n)
    last = kept[STEPS[-1]]
    out: dict[str, object] = {
        "pair": pair[0], "kind": kind, "seed": seed, "n": n, "classes": len(np.unique(yt)),
        "chance": 1.0 - np.bincount(yt).max() / len(yt),
    }  # fmt: skip
    Y, _ = label_matrix(yt, "classification")

    start = time.perf_counter()
    fit = FineTuningKernel(last).fit(Xt, yt)
    out["said_seconds"] = time.perf_counter() - start
    said = {k: [r.loo, r.loo_error_rate] for k, r in fit.recipes_.items()}
    fresh = copy.deepcopy(last)
    torch.manual_seed(seed + 1000)
    for part in fresh.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    blank = FineTuningKernel(fresh).fit(Xt, yt).recipes_["full"]
    said["scratch"] = [blank.loo, blank.loo_error_rate]
    out["said"] = said
    out["curve"] = fit.learning_curve([max(6, n // 3)]).tolist() if n > 20 else []

    true, seconds, rows = {}, {}, {}
    is_slow = fewer or kind in ("transformer", "resnet")
    for arm, options in ARMS.items():
        if is_slow and arm not in FEWER:
            continue
        start = time.perf_counter()
        tuned = fine_tune(last, Xt, yt, random_state=seed, **options)
        seconds[arm] = time.perf_counter() - start
        rows[arm] = [tuned.n_forward, tuned.n_backward, tuned.epoch]
        true[arm] = float(np.mean(tuned.predict(Xe) != ye))
    out["true"], out["seconds"], out["rows"] = true, seconds, rows

    out["scores"] = checkpoint_scores((kept, losses, source), Xt, Y)
    out["probe"] = [
        probe_error(features(net, Xt), Y, features(net, Xe), ye) for net in kept.values()
    ]
    if n == 60 and not is_slow:
        out["full"] = [
            float(np.mean(fine_tune(net, Xt, yt, random_state=seed).predict(Xe) != ye))
            for step, net in kept.items()
            if step != STEPS[-1]
        ] + [true["full"]]
    return out


def read_images(folder: str) -> dict[str, list]:
    """Images of the data sets that are there."""
    data = {}
    for name in (M, F, C):
        if (Path(folder) / name).is_dir():
            data[name] = images(Path(folder) / name, name)
        else:
            print(f"{name}: no such folder, its pairs are skipped")
    return data


def record_runs(given) -> None:
    """Every cell that the record lacks, in an order that covers all pairs first."""
    import torch

    torch.set_num_threads(1)
    data = read_images(given.data)
    path = Path(given.record)
    runs = read(path)
    done = {(r["pair"], r["kind"], r["seed"], r["n"]) for r in runs if "true" in r}
    checked = {(r["pair"], r["kind"], r["seed"]) for r in runs if "verify" in r}
    start = time.monotonic()
    for seed in range(given.seeds):
        # pairs of all sorts early, the cheapest architecture first
        turn = [PAIRS[7 * i % len(PAIRS)] for i in range(len(PAIRS))][given.skip :]
        order = [(pair, "mlp") for pair in turn]
        order += [(pair, kind) for pair in turn for kind in ARCHITECTURES[1:]]
        order = [item for item in order if item[1] in given.kinds]
        for pair, kind in order:
            wanted = [n for n in given.labels if (pair[0], kind, seed, n) not in done]
            check = given.verify and (pair[0], kind, seed) not in checked
            if not (wanted or check) or not {pair[1][0], pair[2][0]} <= set(data):
                continue
            if time.monotonic() - start > 60 * given.minutes:
                return
            began = time.perf_counter()
            made = pretrain(pair, data, kind, seed)
            with path.open("a") as file:
                for n in wanted:
                    line = cell(pair, data, (kind, seed, n), made, given.fewer)
                    file.write(json.dumps(shortened(line)) + "\n")
                    file.flush()
                if check:
                    file.write(json.dumps(verified(pair, data, (kind, seed, 60), made)) + "\n")
            print(f"{pair[0]}, {kind}, {seed}: {time.perf_counter() - began:.0f} s", flush=True)


def verified(pair, data, run: tuple[str, int, int], made) -> dict[str, object]:
    """What `verify` chooses at a budget, and what cross-validation of every arm does."""
    from sklearn.model_selection import StratifiedKFold

    from retemper.networks import advise_network, fine_tune

    kind, seed, n = run
    X, y, _, _ = target_rows(pair, data, seed, n)
    last = made[0][STEPS[-1]]
    start = time.perf_counter()
    advice = advise_network({"it": last}, X, y, random_state=seed)
    ready = time.perf_counter()
    choice = advice.verify(budget=12).choice
    end = time.perf_counter()
    errors = {}
    count = int(min(5, np.bincount(y)[np.unique(y)].min()))
    folds = StratifiedKFold(count, shuffle=True, random_state=seed)
    for arm, options in ARMS.items():
        if options.get("held_out_share") and np.bincount(y)[np.unique(y)].min() < 4:
            continue  # too few rows of a class to hold one out of a fold
        wrong = [
            np.mean(fine_tune(last, X[a], y[a], random_state=seed, **options).predict(X[b]) != y[b])
            for a, b in folds.split(X, y)
        ]
        errors[arm] = float(np.mean(wrong))
    words = choice.name.removesuffix(" of it")
    return {
        "stage": "verify", "pair": pair[0], "kind": kind, "seed": seed, "n": n,
        "verify": {"full, usual read-out": "full, read-out 1"}.get(words, words),
        "cross-validation": min(errors, key=lambda arm: errors[arm]),
        "seconds": [ready - start, end - ready, time.perf_counter() - end],
    }  # fmt: skip


def report_verified(runs: list[dict], cells: list[dict]) -> None:
    """Regret and time of the choices that real runs made."""
    place = {(r["pair"], r["kind"], r["seed"], r["n"]): r for r in cells}
    pairs = [(r, place.get((r["pair"], r["kind"], r["seed"], r["n"]))) for r in runs]
    pairs = [(r, c) for r, c in pairs if c is not None and len(c["true"]) == len(ARMS)]
    print(f"\nverify, 12 runs, at 60 labels: {len(pairs)} cells; regret in points, mean and worst")
    for rule in ("always full", "verify", "cross-validation"):
        lost, right = [], []
        for r, c in pairs:
            arm = "full" if rule == "always full" else r[rule]
            true = c["true"]
            arm = arm if arm in true else "last 1 block"
            lost.append(100 * (true[arm] - min(true.values())))
            gap = true["scratch"] - min(v for k, v in true.items() if k != "scratch")
            if abs(gap) >= 0.02:
                right.append((gap < 0) == (arm == "scratch"))
        print(
            f"{rule:<24}{np.mean(lost):>8.1f}{np.max(lost):>8.1f}   source or scratch right in "
            f"{np.mean(right):.2f} of {len(right)}"
        )
    times = np.array([r["seconds"] for r, _ in pairs]).sum(axis=0)
    print(
        f"time: prediction {times[0]:.0f} s, verify {times[1]:.0f} s, cross-validation of all arms "
        f"{times[2]:.0f} s"
    )


def read(path: Path) -> list[dict]:
    """Lines of the record; one cut off by a crash is left out."""
    out = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            out.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return out


def shortened(value):
    """Numbers with four digits, so that a record is small."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def half_of(run: dict) -> int:
    """0 if the pair sets the constants, 1 if it reports: every second of a target's data set."""
    data = next(pair[2][0] for pair in PAIRS if pair[0] == run["pair"])
    return [pair[0] for pair in PAIRS if pair[2][0] == data].index(run["pair"]) % 2


def said_and_true(run: dict, kind: str) -> list[tuple[float, float]]:
    """Error over chance that leave-one-out said of a kind of recipe, and the true one."""
    from retemper.networks.record import kind_of

    out = []
    for name, (_, rate) in run["said"].items():
        if kind_of(name) == kind and name in run["true"]:
            out.append((rate / run["chance"], run["true"][name] / run["chance"]))
    return out


def constants(runs: list[dict]) -> tuple[dict, list]:
    """Levels and label curve that the setting half gives."""
    levels: dict[str, list] = {}
    for kind in ("probe", "partial", "full", "scratch"):
        for n in LABELS:
            found = [(p, r["pair"]) for r in runs if r["n"] == n for p in said_and_true(r, kind)]
            x, y = np.array([p for p, _ in found]).T
            pairs = np.array([name for _, name in found])
            level, slope = line(x, y)
            rest = np.empty(len(x))
            for pair in set(pairs):  # a pair is new: its cells are left out together
                out = pairs == pair
                a, b = line(x[~out], y[~out])
                rest[out] = np.abs(y[out] - a - b * x[out])
            levels.setdefault(kind, []).append((level, slope, held(rest, 0.95)))
    curve = []
    for n, more in itertools.pairwise(LABELS):
        said, true, _ = np.array(triples(runs, n, levels)).T
        tried = np.linspace(0.0, 2.0, 201)
        gaps = [np.abs(fallen(said, more / n, c) - true) for c in tried]
        best = int(np.argmin([g.mean() for g in gaps]))
        curve.append((float(tried[best]), held(gaps[best], 0.8)))
    return levels, curve


def line(x, y) -> tuple[float, float]:
    """Level and slope; the slope drawn to 1 with the weight of ten cells that spread by .2."""
    u, v = x - x.mean(), y - y.mean()
    slope = float((u @ v + 10 * 0.2**2) / (u @ u + 10 * 0.2**2))
    return float(y.mean() - slope * x.mean()), slope


def held(rest, share: float) -> float:
    """Half width that holds a share of residuals, and of one more."""
    return float(np.sort(rest)[min(len(rest) - 1, math.ceil(share * (len(rest) + 1)) - 1)])


def widened(half: float, share: float) -> float:
    """Half width that would hold 80 of 100 normal residuals, of one that held a share of others."""
    from scipy.stats import norm

    return half * max(1.0, float(norm.ppf(0.9) / norm.ppf(0.5 + 0.5 * min(share, 0.999))))


def fallen(said, ratio: float, rate: float):
    """Error over chance at more labels, as `retemper.networks.record` has it."""
    return said - rate * math.log(ratio) * np.clip(said * (1.0 - said), 0.0, 1.0)


def triples(runs: list[dict], n: int, levels: dict) -> list[tuple[float, float, float]]:
    """Predicted error at n, true error at three times as many, chance, of full fine-tuning."""
    more = {20: 60, 60: 200}[n]
    place = {(r["pair"], r["kind"], r["seed"], r["n"]): r for r in runs}
    out = []
    for r in runs:
        other = place.get((r["pair"], r["kind"], r["seed"], more))
        if r["n"] != n or other is None:
            continue
        level, slope, _ = levels["full"][LABELS.index(n)]
        said = level + slope * said_and_true(r, "full")[0][0]
        out.append((said, other["true"]["full"] / other["chance"], r["chance"]))
    return out


def report_new(runs: list[dict], seed: int) -> None:
    """The library as it is, on cells of seeds that it has not seen: level, recipe, source, cost."""
    from retemper.networks.record import LEVELS, kind_of, level_interval

    new = [r for r in runs if r["seed"] >= seed]
    print(f"\nconstants of the library on {len(new)} cells of seeds from {seed} on")
    print("said minus true error in points, mean and sd; share of intervals that hold the truth")
    inside: dict[str, list[bool]] = {}
    for kind in LEVELS:
        for n in LABELS:
            gaps, holds = [], []
            for r in (r for r in new if r["n"] == n):
                for name, (_, rate) in r["said"].items():
                    if kind_of(name) == kind and name in r["true"]:
                        middle, low, high = level_interval(name, n, rate, r["chance"])
                        gaps.append(100 * (middle - r["true"][name]))
                        holds.append(low <= r["true"][name] <= high)
                        inside.setdefault(r["kind"], []).append(holds[-1])
            if len(gaps) < 2:
                continue
            print(
                f"{kind:<10}{n:>8}{len(gaps):>8}{np.mean(gaps):>8.1f}{np.std(gaps, ddof=1):>8.1f}"
                f"{np.mean(holds):>8.2f}"
            )
    inside["in all"] = [*itertools.chain(*inside.values())]
    for kind, holds in inside.items():
        print(f"{kind:<12} {np.mean(holds):.3f} of {len(holds)}")
    print(
        "\nnetwork, labels, cells; Spearman of said and true error over all recipes and within a "
        "cell;\nregret of full, of the smallest predicted loss, of scratch, in points; share of "
        "right signs of source\nor scratch where they differ by two points; time of the prediction "
        "over that of one full fine-tuning"
    )
    for kind, n in itertools.product((*ARCHITECTURES, "all"), LABELS):
        cells = [r for r in new if r["n"] == n and kind in ("all", r["kind"])]
        if len(cells) > 1:
            print(f"{kind:<12}{n:>5}{len(cells):>5}" + summary_of(cells))


def summary_of(cells: list[dict]) -> str:
    """A line of the table of `report_new`."""
    said, true, each, lost, right = [], [], [], [], []
    for r in cells:
        both = [k for k in r["said"] if k in r["true"]]
        a, b = [r["said"][k][0] for k in both], [r["true"][k] for k in both]
        said, true = said + [r["said"][k][1] for k in both], true + b
        if np.std(a) > 0 and np.std(b) > 0:
            each.append(spearman(a, b))
        least = min(both, key=lambda k: r["said"][k][0])
        best = min(r["true"].values())
        lost.append([100 * (r["true"][k] - best) for k in ("full", least, "scratch")])
        gap = r["true"]["scratch"] - r["true"]["full"]
        if abs(gap) >= 0.02:
            right.append((gap > 0) == (r["said"]["scratch"][0] > r["said"]["full"][0]))
    time_of = np.median([r["said_seconds"] / r["seconds"]["full"] for r in cells])
    share = f"{np.mean(right):.2f} of {len(right)}" if right else "none"
    return (
        f"{spearman(said, true):>8.2f}{np.mean(each):>6.2f}"
        + "".join(f"{v:>6.1f}" for v in np.mean(lost, axis=0))
        + f"{share:>12}{time_of:>8.2f}"
    )


def record_metrics(given, runs: list[dict]) -> None:
    """What theory says of recorded cells with every metric, a line for each."""
    import torch

    from retemper.networks import FineTuningKernel
    from retemper.networks.tangent import METRICS

    torch.set_num_threads(1)
    path = Path(given.metrics)
    done = {(r["pair"], r["kind"], r["seed"], r["n"]) for r in read(path)}
    data = read_images(given.data)
    start = time.monotonic()
    for pair, kind, seed in itertools.product(PAIRS, given.kinds, range(given.seeds)):
        cells = [r for r in runs if (r["pair"], r["kind"], r["seed"]) == (pair[0], kind, seed)]
        cells = [r for r in cells if (pair[0], kind, seed, r["n"]) not in done]
        if not cells or not {pair[1][0], pair[2][0]} <= set(data):
            continue
        if time.monotonic() - start > 60 * given.minutes:
            return
        last = pretrain(pair, data, kind, seed)[0][STEPS[-1]]
        for r in cells:
            X, y, _, _ = target_rows(pair, data, seed, r["n"])
            said = {}
            for metric in METRICS:
                found = FineTuningKernel(last, metric=metric).fit(X, y).recipes_
                said[metric] = {k: [v.loo, v.loo_error_rate] for k, v in found.items()}
            line = {"pair": pair[0], "kind": kind, "seed": seed, "n": r["n"], "metrics": said}
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def report_metrics(lines: list[dict], runs: list[dict]) -> None:
    """Rank correlation and level of what every metric says."""
    place = {(r["pair"], r["kind"], r["seed"], r["n"]): r for r in runs}
    pairs = [(m, place.get((m["pair"], m["kind"], m["seed"], m["n"]))) for m in lines]
    pairs = [(m["metrics"], r) for m, r in pairs if r is not None]
    print(f"metrics: {len(pairs)} cells; by labels: cells, Spearman over all recipes,")
    print(
        "said minus true error of full fine-tuning in points, mean and sd, and its regret by loss"
    )
    for metric in pairs[0][0]:
        for n in LABELS:
            said, true, gap, lost = [], [], [], []
            for m, r in ((m, r) for m, r in pairs if r["n"] == n):
                both = [k for k in m[metric] if k in r["true"]]
                said += [m[metric][k][1] for k in both]
                true += [r["true"][k] for k in both]
                gap.append(100 * (m[metric]["full"][1] - r["true"]["full"]))
                at = min(both, key=lambda k: m[metric][k][0])
                lost.append(100 * (r["true"][at] - min(r["true"][k] for k in both)))
            print(
                f"{metric:<10}{n:>6}{len(gap):>6}{spearman(said, true):>8.2f}{np.mean(gap):>8.1f}"
                f"{np.std(gap, ddof=1):>8.1f}{np.mean(lost):>8.1f}"
            )


def spearman(a, b) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def report(runs: list[dict]) -> tuple[dict, list, str] | None:
    """Print every table; the constants, and what they are worth in words, if cells suffice."""
    report_recipes(runs)
    report_checkpoints(runs)
    report_monitor([r for r in runs if r["n"] == LABELS[-1] and "random" not in r["pair"]])
    sets, tests = ([r for r in runs if half_of(r) == h] for h in (0, 1))
    if any(n not in {r["n"] for r in half} for n in LABELS for half in (sets, tests)):
        print("\nno level and no label curve: cells of both halves with all numbers of labels lack")
        return None
    levels, curve = constants(sets)
    print(f"\n{len(sets)} cells set the constants, {len(tests)} report\n")
    print("level: predicted minus true error, in points, and share of intervals that hold it")
    head = ("n", "cells", "mean", "sd", "half", "holds", "raw", "sd")
    print(f"{'':<10}" + "".join(f"{h:>8}" for h in head))
    inside, total, worth = 0, 0, ""
    for kind, rows in levels.items():
        for n, (level, slope, half) in zip(LABELS, rows, strict=True):
            found = [
                (level + slope * x - y, x - y, r["chance"])
                for r in tests
                if r["n"] == n
                for x, y in said_and_true(r, kind)
            ]
            if len(found) < 2:
                continue
            gap, raw, chance = np.array(found).T
            held = np.abs(gap) <= half
            inside, total = inside + int(held.sum()), total + len(held)
            gap, raw = 100 * gap * chance, 100 * raw * chance
            print(
                f"{kind:<10}{n:>8}{len(found):>8}{gap.mean():>8.1f}{gap.std(ddof=1):>8.1f}"
                f"{100 * half * chance.mean():>8.1f}{held.mean():>8.2f}"
                f"{raw.mean():>8.1f}{raw.std(ddof=1):>8.1f}"
            )
    for n in LABELS:
        each, said, true = [], [], []
        for r in (r for r in tests if r["n"] == n):
            both = [k for k in r["said"] if k in r["true"]]
            a, b = [r["said"][k][0] for k in both], [r["true"][k] for k in both]
            if np.std(a) > 0 and np.std(b) > 0:
                each.append(spearman(a, b))
            said += [r["said"][k][1] for k in both]
            true += b
        print(
            f"n = {n}: Spearman over recipes within a cell {np.mean(each):.2f}, over all "
            f"{spearman(said, true):.2f}"
        )

    wide = []
    print("\nlabel curve: error of full fine-tuning at three times the labels, in points")
    for n, (rate, half) in zip(LABELS[:-1], curve, strict=True):
        said, true, chance = np.array(triples(tests, n, levels)).T
        more = {20: 60, 60: 200}[n]
        gap = np.abs(fallen(said, more / n, rate) - true)
        print(
            f"from {n} to {more}: rate {rate:.2f}, mean absolute error "
            f"{100 * (gap * chance).mean():.1f}, of no change "
            f"{100 * (np.abs(said - true) * chance).mean():.1f}, band holds "
            f"{np.mean(gap <= half):.2f}"
        )
        wide.append((rate, widened(half, float(np.mean(gap <= half)))))
    worth = (
        f"Record: of {total} fine-tunings of small networks on images, from pairs that did not set "
        f"the constants, {100 * inside / total:.0f} % lay in the interval."
    )
    return levels, wide, worth


def report_recipes(runs: list[dict]) -> None:
    """True errors by recipe, what rules lose, and source against scratch."""
    labels = [n for n in LABELS if any(r["n"] == n for r in runs)]
    print(f"by number of labels: {', '.join(map(str, labels))}")
    print("\nrecipe: mean test error in percent, by number of labels; cells that ran all arms")
    arms = ARMS if any(len(r["true"]) == len(ARMS) for r in runs) else FEWER
    for arm in arms:
        cells = [
            100 * np.mean([r["true"][arm] for r in runs if r["n"] == n and {*arms} <= {*r["true"]}])
            for n in labels
        ]
        print(f"{arm:<24}" + "".join(f"{c:>8.1f}" for c in cells))
    print("regret over the arms that were run, in points")
    for rule in ("always full", "always probe", "always scratch", "kernel: smallest loss"):
        cells = []
        for n in labels:
            lost = []
            for r in (r for r in runs if r["n"] == n):
                both = [k for k in r["said"] if k in r["true"]]
                at = rule.split()[1] if rule.startswith("always") else ""
                at = at if at in r["true"] else min(both, key=lambda k: r["said"][k][0])
                lost.append(100 * (r["true"][at] - min(r["true"].values())))
            cells.append(np.mean(lost))
        print(f"{rule:<24}" + "".join(f"{c:>8.1f}" for c in cells))
    print("source or scratch, where they differ by two points: share of right signs")
    for rule in ("always source", "kernel"):
        cells = []
        for n in labels:
            right = []
            for r in (r for r in runs if r["n"] == n):
                gap = r["true"]["scratch"] - r["true"]["full"]
                if abs(gap) >= 0.02:
                    says = r["said"]["scratch"][0] - r["said"]["full"][0]
                    right.append((gap > 0) == (rule != "kernel" or says > 0))
            cells.append(np.mean(right))
        print(f"{rule:<24}" + "".join(f"{c:>8.2f}" for c in cells))


def report_checkpoints(runs: list[dict]) -> None:
    """What rules lose that choose a checkpoint."""
    print("\ncheckpoint: regret in points, mean over cells (worst tenth), by rule")
    columns = [("probe", n) for n in LABELS if any(r["n"] == n for r in runs)]
    columns += [("full", 60)] if any("full" in r for r in runs) else []
    head = [f"{key}, {n}" for key, n in columns]
    print(f"{'':<30}" + "".join(f"{h:>16}" for h in head))
    for rule in runs[0]["scores"]:
        cells = []
        for key, n in columns:
            lost = [
                100 * (r[key][int(np.argmin(r["scores"][rule]))] - min(r[key]))
                for r in runs
                if r["n"] == n and key in r and rule in r["scores"] and "random" not in r["pair"]
            ]
            cells.append(f"{np.mean(lost):.1f} ({np.quantile(lost, 0.9):.1f})")
        print(f"{rule:<30}" + "".join(f"{c:>16}" for c in cells))


def report_monitor(cells: list[dict]) -> None:
    """Regret of what a monitor can recommend by, related targets apart, and its alarm."""
    from retemper.phases import PhaseDetector

    print(
        f"\nmonitor: regret in points of a probe on {LABELS[-1]} labels, related and other targets"
    )
    for rule in (
        "leave-one-out of a probe", "a half of the steps to it", "source optimum",
        "monitor: smallest fuv",
    ):  # fmt: skip
        lost = {True: [], False: []}
        for r in cells:
            at = int(np.argmin(r["scores"][rule]))
            lost["related" in r["pair"]].append(100 * (r["probe"][at] - min(r["probe"])))
        print(f"{rule:<30}{np.mean(lost[True]):>8.1f}{np.mean(lost[False]):>8.1f}")
    rang = {True: [], False: []}
    for r in cells:
        watch = PhaseDetector()
        for step, value in zip(STEPS, r["scores"]["monitor: smallest fuv"], strict=True):
            watch.update(step, value)
        rang[r["probe"][-1] - min(r["probe"]) >= 0.02].append(watch.alarm_step_ is not None)
    print(
        f"the alarm rang in {sum(rang[True])} of the {len(rang[True])} cells whose last checkpoint "
        f"lost two points, and in {sum(rang[False])} of the {len(rang[False])} others"
    )


def write_constants(levels: dict, curve: list, worth: str) -> None:
    """The constants into `retemper.networks.record`."""
    import retemper.networks.record as module

    path = Path(module.__file__)
    start, rest = path.read_text().split("# constants: ")
    head, end = rest.split("# end of constants")
    lines = [head.splitlines()[0]]
    lines.append(
        "#: Level, slope and half width by kind of recipe, one of each for every number of labels."
    )
    lines.append("LEVELS: dict[str, tuple[tuple[float, float, float], ...]] = {")
    for kind, rows in levels.items():
        cells = ", ".join("(" + ", ".join(f"{v:.3f}" for v in row) + ")" for row in rows)
        lines.append(f'    "{kind}": ({cells}),')
    lines.append("}")
    lines.append(
        "#: Rate at which the error falls with labels; half width of the band of 80 of 100."
    )
    cells = ", ".join(f"({a:.3f}, {b:.3f})" for a, b in curve)
    lines.append(f"CURVE: tuple[tuple[float, float], ...] = ({cells})")
    lines.append("#: What the other half of the pairs said, in words.")
    first, second = worth.split(", from pairs")
    lines.append(f'WORTH = (\n    "{first}, from pairs"\n    "{second}"\n)\n')
    path.write_text(start + "# constants: " + "\n".join(lines) + "# end of constants" + end)


def report_cost() -> None:
    """Processor time and memory of the tangent kernel of convolutional networks of three sizes."""
    import resource

    import torch
    from torch import nn

    from retemper.networks import tangent_kernel
    from retemper.networks.tangent import METRICS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    X = torch.rand(200, 3, 16, 16)
    print("200 images of 3 x 16 x 16, 4 read-outs, one thread: seconds, and the most memory so far")
    for c in (8, 24, 72):
        net = nn.Sequential(
            nn.Conv2d(3, c, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(4 * c, 4 * c, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * c, 256), nn.ReLU(), nn.Linear(256, 10),
        )  # fmt: skip
        size = sum(p.numel() for p in net.parameters())
        for metric in METRICS:
            start = time.process_time()
            tangent_kernel(net, X, metric=metric)
            seconds = time.process_time() - start
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{size:>10} parameters  {metric:<10}{seconds:>7.2f} s {most:>6.2f} GB", flush=True
            )
        if c == 24:
            report_growth(net)


def report_growth(net) -> None:
    """Processor time of the kernel by the number of rows, and the exponent between neighbours."""
    import torch

    from retemper.networks import tangent_kernel

    sizes = (100, 200, 400)
    X = torch.rand(sizes[-1], 3, 16, 16)
    for metric in ("adafactor", "sgd"):
        took = []
        for n in sizes:
            start = time.process_time()
            tangent_kernel(net, X[:n], metric=metric)
            took.append(time.process_time() - start)
        powers = np.diff(np.log(took)) / math.log(2.0)
        print(
            f"rows {sizes}, {metric}: {', '.join(f'{t:.2f}' for t in took)} s, exponents "
            f"{', '.join(f'{p:.2f}' for p in powers)}"
        )


#: Arguments of `verify` by name.
SCHEDULES: dict[str, dict[str, int]] = {
    "budget 12": {"budget": 12},
    "budget 12, 50 epochs": {"budget": 12, "max_epochs": 50},
    "budget 6": {"budget": 6},
    "budget 24, 50 epochs": {"budget": 24, "max_epochs": 50},
}


def report_schedules(given) -> None:
    """Regret and processor time of budgets of `verify`, beside always full and 35 real runs."""
    import torch

    from retemper.networks import advise_network, fine_tune

    torch.set_num_threads(1)
    data, seed = read_images(given.data), 3
    pairs = [PAIRS[7 * i % len(PAIRS)] for i in range(len(PAIRS))][:10]
    lost: dict[str, list[float]] = {name: [] for name in ("always full", *SCHEDULES)}
    took: dict[str, float] = dict.fromkeys(("prediction", "one run", *SCHEDULES), 0.0)
    for pair in pairs:
        last = pretrain(pair, data, "mlp", seed)[0][STEPS[-1]]
        X, y, Xe, ye = target_rows(pair, data, seed, 60)
        start, true = time.process_time(), {}
        for arm, options in ARMS.items():
            tuned = fine_tune(last, X, y, random_state=seed, **options)
            true[arm] = 100 * float(np.mean(tuned.predict(Xe) != ye))
        took["one run"] += (time.process_time() - start) / len(ARMS)
        lost["always full"].append(true["full"] - min(true.values()))
        start = time.process_time()
        advice = advise_network({"it": last}, X, y, random_state=seed)
        took["prediction"] += time.process_time() - start
        for name, options in SCHEDULES.items():
            start = time.process_time()
            words = advice.verify(**options).choice.name.removesuffix(" of it")
            took[name] += time.process_time() - start
            arm = {"full, usual read-out": "full, read-out 1"}.get(words, words)
            arm = arm if arm in true else "last 1 block"
            lost[name].append(true[arm] - min(true.values()))
        print(pair[0], {k: round(v[-1], 1) for k, v in lost.items()}, flush=True)
    whole = 35 * took["one run"]
    print(f"{'':<24}{'regret':>8}{'worst':>8}   share of the time of 35 runs, with the prediction")
    for name, values in lost.items():
        share = (took["prediction"] + took[name]) / whole if name in took else 0.0
        print(f"{name:<24}{np.mean(values):>8.1f}{np.max(values):>8.1f}{share:>8.2f}")


#: Splits and options of the contest of source and scratch, by labels and name.
CONTESTS: dict[int, dict[str, tuple[int, dict[str, int]]]] = {
    20: {"50 epochs": (10, {"max_epochs": 50})},
    60: {"50 epochs": (10, {"max_epochs": 50})},
    200: {"50 epochs": (6, {"max_epochs": 50})},
}
LOSSES = ("errors", "squared loss", "log-loss")


def row_losses(value, y):
    """Error, squared loss and log-loss of every row, of shape (3, n)."""
    value = value - value.max(axis=1, keepdims=True)
    logs = value - np.log(np.exp(value).sum(axis=1, keepdims=True))
    hit = np.eye(value.shape[1])[y]
    squared = ((np.exp(logs) - hit) ** 2).sum(axis=1)
    return np.stack([value.argmax(axis=1) != y, squared, -(logs * hit).sum(axis=1)])


def source_cell(pair, data, run: tuple[str, int, int], last) -> dict[str, object]:
    """Source against scratch: the truth, what its labels could say, and real runs on splits."""
    from retemper.networks import FineTuningKernel, fine_tune
    from retemper.networks.advice import _blank
    from retemper.networks.regression import label_matrix
    from retemper.networks.training import split

    kind, seed, n = run
    X, y, Xe, ye = target_rows(pair, data, seed, n)
    Y, classes = label_matrix(y, "classification")
    y, ye = (np.searchsorted(classes, v) for v in (y, ye))

    def losses(recipe, rows, inputs, labels, at, **options):
        tuned = fine_tune(last, X[rows], y[rows], recipe=recipe, random_state=at, **options)
        return row_losses(tuned.decision_function(inputs), labels)

    every = np.arange(len(y))
    true = [[losses(r, every, Xe, ye, at) for r in ("full", "scratch")] for at in range(2)]
    gaps = np.array([scratch - full for full, scratch in true])  # repeat, loss, row
    contests = {}
    for name, (count, options) in CONTESTS[n].items():
        found = []
        for at in range(count):
            train, test = split(Y, 0.25, np.random.default_rng([seed, at]))
            found.append([
                losses(r, train, X[test], y[test], at, **options).mean(axis=1).tolist()
                for r in ("full", "scratch")
            ])  # fmt: skip
        contests[name] = found
    said = [
        FineTuningKernel(net).fit(X, y).recipes_["full"].loo
        for net in (last, _blank(last, None, seed, None))
    ]
    return {
        "pair": pair[0], "kind": kind, "seed": seed, "n": n, "said": said,
        "true": np.mean(true, axis=(0, 3)).tolist(),  # recipe, loss
        "repeats": gaps.mean(axis=2)[:, 0].tolist(),  # the errors alone
        "gap": gaps.mean(axis=(0, 2)).tolist(), "sd": gaps.std(axis=2).mean(axis=0).tolist(),
        "contests": contests,
    }  # fmt: skip


def record_sources(given) -> None:
    """Cells of source against scratch that the file lacks, of seeds that the record lacks."""
    import torch

    torch.set_num_threads(1)
    data, path = read_images(given.data), Path(given.sources)
    done = {(r["pair"], r["seed"], r["n"]) for r in read(path)}
    start = time.monotonic()
    for seed, i in itertools.product(range(4, 4 + given.seeds), range(len(PAIRS))):
        pair = PAIRS[7 * i % len(PAIRS)]
        wanted = [n for n in given.labels if (pair[0], seed, n) not in done]
        if not wanted or not {pair[1][0], pair[2][0]} <= set(data):
            continue
        if time.monotonic() - start > 60 * given.minutes:
            return
        last = pretrain(pair, data, "mlp", seed)[0][STEPS[-1]]
        for n in wanted:
            with path.open("a") as file:
                line = source_cell(pair, data, ("mlp", seed, n), last)
                file.write(json.dumps(shortened(line)) + "\n")


def report_sources(runs: list[dict]) -> None:
    """Share of right signs of source against scratch, by rule and size of the true difference."""
    bands = ((0.02, 0.05), (0.05, 0.1), (0.1, 1.0), (0.02, 1.0))
    for n in LABELS:
        cells = [r for r in runs if r["n"] == n]
        if not cells:
            continue
        print(
            f"\n{n} labels, {len(cells)} cells; share right by true difference in points; points "
            "lost over all cells"
        )
        head = [*(f"{100 * a:g}-{100 * b:g}" for a, b in bands), "lost"]
        print(f"{'':<36}" + "".join(f"{h:>10}" for h in head))
        groups = [[r for r in cells if a <= abs(r["gap"][0]) < b] for a, b in bands]
        print(f"{'cells':<36}" + "".join(f"{len(g):>10}" for g in groups))
        for name, rule in source_rules(n).items():
            shares = [
                [v for r in g for v in np.atleast_1d(rule(r)) if not math.isnan(v)] for g in groups
            ]
            right = [np.mean(rule(r)) for r in cells]
            lost = [100 * abs(r["gap"][0]) * (1.0 - v) for r, v in zip(cells, right, strict=True)]
            print(
                f"{name:<36}"
                + "".join(f"{np.mean(v) if v else math.nan:>10.2f}" for v in shares)
                + f"{np.mean(lost):>10.2f}"
            )


def source_rules(n: int) -> dict:
    """Functions that say of a cell whether a rule is right, or with which probability."""
    from scipy.stats import norm

    def agree(value, r):
        return 0.5 if value == 0 else float((value > 0) == (r["gap"][0] > 0))

    def real(r, k, count, sure=False):
        """Of every `count` splits one after the other; sure: source unless beaten by an error."""
        losses = np.array(r["contests"]["50 epochs"])[..., k]
        gap = losses[:, 1] - losses[:, 0]
        parts = [gap[i : i + count] for i in range(0, len(gap) - count + 1, count)]
        noise = [p.std(ddof=1) * math.sqrt(1 / count + 1 / 3) if sure else 0.0 for p in parts]
        return [agree(p.mean() + e, r) for p, e in zip(parts, noise, strict=True)]

    def limit(r, k):
        """The final networks, judged on n fresh labels."""
        mean, sd = r["gap"][k] * math.copysign(1.0, r["gap"][0]), r["sd"][k]
        return float(norm.cdf(math.sqrt(n) * mean / sd))

    rules = {
        "always source": lambda r: float(r["gap"][0] > 0),
        "kernel": lambda r: agree(r["said"][1] - r["said"][0], r),
    }
    for k, loss in enumerate(LOSSES):
        for count in (1, 3, 5, 10) if n < LABELS[-1] else (1, 3, 6):
            words = f"{2 * count} real runs, {loss}"
            rules[words] = lambda r, k=k, count=count: real(r, k, count)
    for count in (3, 5, 10) if n < LABELS[-1] else (3, 6):
        rules[f"{2 * count}, squared, by a standard error"] = lambda r, count=count: real(
            r, 1, count, sure=True
        )
    for k, loss in enumerate(LOSSES):
        rules[f"limit: n fresh labels, {loss}"] = lambda r, k=k: limit(r, k)
    rules["one repeat of the truth by the other"] = lambda r: (
        float(np.prod(r["repeats"]) > 0) if "repeats" in r else math.nan
    )
    return rules


def modular_transformer(modulus: int):
    """Two layers on the tokens a, b, = without normalisation: its stream can be rescaled."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, units: int, heads: int):
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(units, 3 * units, bias=False)
            self.out = nn.Linear(units, units, bias=False)
            self.up = nn.Linear(units, 2 * units, bias=False)
            self.down = nn.Linear(2 * units, units, bias=False)

        def forward(self, x):
            n, t, u = x.shape
            q, k, v = (
                z.reshape(n, t, self.heads, -1).transpose(1, 2) for z in self.qkv(x).chunk(3, dim=2)
            )
            weight = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(u / self.heads), dim=3)
            x = x + self.out((weight @ v).transpose(1, 2).reshape(n, t, u))
            return x + self.down(torch.relu(self.up(x)))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(modulus + 1, 32), nn.Embedding(3, 32)
            self.one, self.two = Layer(32, 2), Layer(32, 2)
            self.head = nn.Linear(32, modulus, bias=False)

        def forward(self, x):
            z = self.embed(x) + self.place.weight
            return self.head(self.two(self.one(z))[:, -1])

        def rescale(self, scale: float):
            """What writes into the stream times the scale, what reads it over the scale."""
            layers = (self.one, self.two)
            write = [self.embed, self.place, *(m for x in layers for m in (x.out, x.down))]
            read = [self.head, *(m for x in layers for m in (x.qkv, x.up))]
            with torch.no_grad():
                for part in write:
                    part.weight *= scale
                for part in read:
                    part.weight /= scale

    return Transformer()


def report_modular(seeds: int) -> None:
    """Errors of fine-tuning by the scale of the stream of the source, and the regime."""
    import torch

    from retemper.networks import diagnose, fine_tune

    torch.set_num_threads(1)
    p, scales = 13, (0.25, 1.0, 4.0)
    a, b = np.divmod(np.arange(p * p), p)
    X = torch.as_tensor(np.stack([a, b, np.full(p * p, p)], axis=1))
    tasks = {"a - b": (a - b) % p, "a + 2 b": (a + 2 * b) % p, "a b": (a * b) % p}
    runs = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(p * p)
        few, new = order[:85], order[85:]
        for scale in (*scales, None):  # None: from scratch
            torch.manual_seed(seed)
            net = modular_transformer(p)
            held = math.nan
            if scale is not None:
                net.rescale(scale)
                optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1.0)
                labels, rows = torch.as_tensor((a + b) % p), order[:135]
                for _ in range(1000):
                    optimiser.zero_grad()
                    torch.nn.functional.cross_entropy(net(X[rows]), labels[rows]).backward()
                    optimiser.step()
                with torch.no_grad():
                    wrong = net(X[order[135:]]).argmax(dim=1) != labels[order[135:]]
                held = 100 * float(wrong.double().mean())
            row = [held]
            for y in tasks.values():
                tuned = fine_tune(
                    net, X[few], y[few], learning_rate=3e-3, weight_decay=1.0, max_epochs=500,
                    batch_size=85, random_state=seed,
                )  # fmt: skip
                row.append(100 * float(np.mean(tuned.predict(X[new]) != y[new])))
            if scale is not None:
                found = diagnose(net, tuned.module, X[few], n_reseeded=0, n_pairs=3,
                                 random_state=seed)  # fmt: skip
                order_of = found.regime
                row += [found.kernel_movement, order_of.l_order, order_of.elasticity]
                row.append(float(order_of.is_valid))
            else:
                row += [math.nan] * 4
            runs.append(row)
    table = np.array(runs).reshape(seeds, len(scales) + 1, -1)
    names = ("source", *tasks, "kernel moved", "order", "elasticity", "valid")
    print(
        f"error in percent and regime, mean and standard error of {seeds} seeds; a b is diagnosed"
    )
    print(f"{'scale':<10}" + "".join(f"{name:>16}" for name in names))
    for k, scale in enumerate((*scales, "scratch")):
        cells = [f"{v.mean():.3g} ± {v.std(ddof=1) / math.sqrt(seeds):.2g}" for v in table[:, k].T]
        print(f"{scale:<10}" + "".join(f"{c:>16}" for c in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.environ.get("RETEMPER_DATA"))
    parser.add_argument("--record", help="file of the runs, one a line")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--kinds", nargs="*", default=ARCHITECTURES, choices=ARCHITECTURES)
    parser.add_argument("--labels", type=int, nargs="*", default=LABELS, choices=LABELS)
    parser.add_argument("--skip", type=int, default=0, help="pairs to leave out from the first on")
    parser.add_argument("--fewer", action="store_true", help="four recipes of seven")
    parser.add_argument("--verify", action="store_true", help="and what verify chooses")
    parser.add_argument("--report", action="store_true", help="print the tables alone")
    parser.add_argument("--new-from", type=int, help="hold the library against seeds from here on")
    parser.add_argument("--metrics", help="file of what every metric says, one cell a line")
    parser.add_argument("--write", action="store_true", help="and write the constants")
    parser.add_argument("--cost", action="store_true", help="print what the kernel costs, alone")
    parser.add_argument("--sources", help="file of source against scratch, one cell a line")
    parser.add_argument("--modular", action="store_true", help="modular arithmetic, alone")
    parser.add_argument("--schedules", action="store_true", help="budgets of verify, alone")
    given = parser.parse_args()
    if given.modular:
        return report_modular(given.seeds)
    if given.cost:
        return report_cost()
    if given.schedules:
        if not given.data:
            sys.exit("no images: pass --data DIR or set RETEMPER_DATA; nothing was run")
        return report_schedules(given)
    if given.sources:
        if not given.report:
            if not given.data:
                sys.exit("no images: pass --data DIR or set RETEMPER_DATA; nothing was run")
            record_sources(given)
        return report_sources(read(Path(given.sources)))
    if not given.record:
        parser.error("--record FILE is where the runs are kept")
    if not given.report:
        if not given.data:
            sys.exit("no images: pass --data DIR or set RETEMPER_DATA; nothing was run")
        if given.metrics:
            record_metrics(given, [r for r in read(Path(given.record)) if "true" in r])
        else:
            record_runs(given)
    runs = read(Path(given.record))
    if not runs:
        sys.exit("the record is empty")
    cells = [r for r in runs if "true" in r]
    if given.metrics:
        report_metrics(read(Path(given.metrics)), cells)
        return
    if given.new_from is not None:
        report_new(cells, given.new_from)
    found = report(cells)
    checked = [r for r in runs if "verify" in r]
    if checked:
        report_verified(checked, cells)
    if given.write and found is not None:
        write_constants(*found)


if __name__ == "__main__":
    main()
