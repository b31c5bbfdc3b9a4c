"""How often the transfer verdict is right on trained networks.

``python bench/calibrate_widenet.py [--pairs N] [--seed S] [--json FILE]``. The rule was set with
seed 0; other seeds test it. Every task pair is judged from its training data alone, then networks
are trained: sampled from their posterior by Hamiltonian Monte Carlo, and minimised by gradient
descent with weight decay. Truth is the error of those networks on fresh samples:

* knowledge: the source at the selected coupling against the better of scratch and the random anchor
  at the coupling selected for it;
* frozen: the source's frozen features against scratch.

A verdict "helps" is right if knowledge is positive, "hurts" if frozen is negative; "undecided" is
counted by what was missed. Differences within two standard errors of the sampling count as zero.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.special as sc

from retemper.widenet import (
    FranzParisiClassifier,
    WideNetModel,
    gamma_path,
    simulate,
    transfer_verdict,
)

TEMPERATURE = 0.05
GRID = (0.0, math.inf)
SHORT = {
    "n_chains": 8, "n_draws": 3, "n_burn_source": 250, "n_thin_source": 10, "n_burn_target": 40,
    "n_sweeps_target": 20,
}  # fmt: skip


def synthetic(rng):
    """Gaussian inputs, related teachers."""
    d, n_source, n_target = 50, 60, int(rng.choice([20, 40]))
    rho, sign = rng.uniform(-0.2, 1.0), rng.random() < 0.5
    X = rng.normal(size=(n_source + n_target + 300, d))
    u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    w = rho * u + math.sqrt(1 - rho**2) * v
    label = np.sign if sign else (lambda z: z)
    noise = math.sqrt(TEMPERATURE) * rng.normal(size=len(X))
    s, t = slice(0, n_source), slice(n_source, n_source + n_target)
    e = slice(n_source + n_target, None)
    y = label(X @ w)
    kind = f"synthetic {'sign' if sign else 'linear'}, rho {rho:+.2f}"
    return kind, (X[t], y[t] + noise[t]), (X[s], label(X[s] @ u) + noise[s]), (X[e], y[e])


def digits(rng):
    """Two digits against two; the target has zero to four of them changed."""
    from sklearn.datasets import load_digits

    X, number = load_digits(return_X_y=True)
    order = rng.permutation(10)
    changed = int(rng.integers(5))
    source = order[:4]
    target = source.copy()
    target[rng.permutation(4)[:changed]] = order[4 : 4 + changed]
    n_source, n_target = 60, int(rng.choice([20, 40]))

    def rows(classes, pool, n):
        chosen = rng.choice(np.flatnonzero(np.isin(number, classes) & pool), n, replace=False)
        return X[chosen], np.where(np.isin(number[chosen], classes[:2]), 1.0, -1.0)

    half = rng.random(len(X)) < 0.5
    tasks = [rows(source, half, n_source), rows(target, ~half, n_target + 150)]
    pooled = np.vstack([tasks[0][0], tasks[1][0][:n_target]])
    mean, std = pooled.mean(0), pooled.std(0)
    size = math.sqrt(np.square((pooled - mean)[:, std > 0] / std[std > 0]).mean())
    scaled = [((Z - mean)[:, std > 0] / std[std > 0] / size, y) for Z, y in tasks]
    (Xt, yt), (Xs, ys) = scaled[1], scaled[0]
    kind = f"digits, {changed} of 4 changed"
    return kind, (Xt[:n_target], yt[:n_target]), (Xs, ys), (Xt[n_target:], yt[n_target:])


def descend(task, width, gamma, anchor, rng, *, steps=1500):
    """First layer and read-out after gradient descent with weight decay and pull."""
    X, y = task
    d = X.shape[1]
    frozen = math.isinf(gamma)
    W = anchor.copy() if anchor is not None else rng.normal(size=(width, d))
    v = 0.1 * rng.normal(size=width)
    pull = 0.0 if anchor is None or frozen else gamma
    centre = 0.0 if anchor is None else anchor
    moments = [np.zeros_like(W), np.zeros_like(W), np.zeros_like(v), np.zeros_like(v)]
    for step in range(1, steps + 1):
        H = W @ X.T / math.sqrt(d)
        phi = sc.erf(H)
        error = v @ phi / math.sqrt(width) - y
        gradients = [
            (np.outer(v, error) / math.sqrt(width) * (2 / math.sqrt(math.pi) * np.exp(-(H**2))))
            @ X / math.sqrt(d) + TEMPERATURE * (W + pull * (W - centre)),
            phi @ error / math.sqrt(width) + TEMPERATURE * v,
        ]  # fmt: skip
        rate = 0.03 * min(1.0, 3 * (1 - step / (steps + 1)))
        for k, (parameter, g) in enumerate(zip((W, v), gradients, strict=True)):
            if k == 0 and frozen:
                continue
            first, second = moments[2 * k], moments[2 * k + 1]
            first += 0.1 * (g - first)
            second += 0.01 * (g * g - second)
            size = np.sqrt(second / (1 - 0.99**step)) + 1e-8
            np.subtract(parameter, rate * first / (1 - 0.9**step) / size, out=parameter)
    return W, v


def descent_errors(data, width, gammas, seed, n_runs=4):
    """Test errors (n_runs, n_gammas) of networks trained by gradient descent."""
    target, source, test = data
    out = np.empty((n_runs, len(gammas)))
    for run in range(n_runs):
        rng = np.random.default_rng((seed, run))
        W_s, _ = descend(source, width, 0.0, None, rng)
        for i, gamma in enumerate(gammas):
            anchor = None if gamma == 0 else W_s
            W, v = descend(target, width, gamma, anchor, np.random.default_rng((seed, run, 1)))
            f = v @ sc.erf(W @ test[0].T / math.sqrt(W.shape[1])) / math.sqrt(width)
            out[run, i] = np.mean((f - test[1]) ** 2)
    return out


def judge(kind, data, width, seed):
    target, source, test = data
    model = WideNetModel(width, temperature_source=TEMPERATURE, temperature_target=TEMPERATURE)
    path = gamma_path(model, target, source, test=test)
    verdict = transfer_verdict(path)
    control = path.control
    anchor_gamma = float(control.gamma[control["loo"].argmin()])
    gammas = sorted({*GRID, verdict.gamma})

    def sampled(other, gamma):
        at = WideNetModel(
            width, temperature_source=TEMPERATURE, temperature_target=TEMPERATURE, gamma=gamma
        )
        r = simulate(at, target, other, test, random_state=seed, n_jobs=1, **SHORT)
        return r.test_error, r.stderr["test_error"]

    error = {g: sampled(source, g) for g in gammas}
    scratch = error[0.0]
    anchor = scratch if anchor_gamma == 0 else sampled(None, anchor_gamma)
    base = min(scratch, anchor)

    def gap(a, b):
        return (a[0] - b[0]) / scratch[0], math.hypot(a[1], b[1]) / scratch[0]

    best = error[verdict.gamma]
    descent = descent_errors(data, width, gammas, seed)
    falls = descent[:, [0]] - descent
    own = descent.mean(0)
    return {
        "kind": kind,
        "width": width,
        "n_target": len(target[1]),
        "samples_per_dimension": path.theory[0].samples_per_dimension,
        "verdict": verdict.verdict,
        "gamma": verdict.gamma,
        "loo_gain": verdict.relative_gain,
        "loo_frozen": verdict.relative_frozen_gain,
        "knowledge": gap(base, best),
        "gain": gap(scratch, best),
        "frozen": gap(scratch, error[math.inf]),
        "regret": best[0] / min(e[0] for e in error.values()) - 1.0,
        "theory_gain": 1.0 - path["test_error"][path.gamma == verdict.gamma][0]
        / path["test_error"][0],
        "descent_gain": [
            float(falls.mean(0)[gammas.index(verdict.gamma)] / own[0]),
            float(falls.std(0, ddof=1)[gammas.index(verdict.gamma)] / 2 / own[0]),
        ],
        "descent_frozen": [
            float(falls.mean(0)[-1] / own[0]), float(falls.std(0, ddof=1)[-1] / 2 / own[0])
        ],
        "descent_regret": float(own[gammas.index(verdict.gamma)] / own.min() - 1.0),
    }  # fmt: skip


def sign(value):
    mean, error = value
    return "+" if mean > 2 * error else "-" if mean < -2 * error else "0"


def report(rows):
    print("\nverdict against sampled networks: sign of knowledge (+ 0 -), sign of frozen (+ 0 -)")
    for verdict in ("helps", "hurts", "undecided"):
        own = [r for r in rows if r["verdict"] == verdict]
        knowledge = "  ".join(f"{s}{sum(sign(r['knowledge']) == s for r in own):3d}" for s in "+0-")
        frozen = "  ".join(f"{s}{sum(sign(r['frozen']) == s for r in own):3d}" for s in "+0-")
        print(f"  {verdict:<10} {len(own):3d}   knowledge {knowledge}   frozen {frozen}")
    print("verdict against gradient descent: sign of the gain at its coupling, sign of frozen")
    for verdict in ("helps", "hurts", "undecided"):
        own = [r for r in rows if r["verdict"] == verdict]
        gain = "  ".join(f"{s}{sum(sign(r['descent_gain']) == s for r in own):3d}" for s in "+0-")
        frozen = "  ".join(
            f"{s}{sum(sign(r['descent_frozen']) == s for r in own):3d}" for s in "+0-"
        )
        print(f"  {verdict:<10} {len(own):3d}   gain      {gain}   frozen {frozen}")
    for name in ("regret", "descent_regret"):
        values = np.array([r[name] for r in rows])
        print(f"{name}: mean {100 * values.mean():.1f} %, largest {100 * values.max():.1f} %")
    for x, y in (("loo_gain", "gain"), ("loo_frozen", "frozen"), ("loo_gain", "descent_gain")):
        a, b = np.array([r[x] for r in rows]), np.array([r[y][0] for r in rows])
        print(f"correlation of {x} with {y}: {np.corrcoef(a, b)[0, 1]:.2f}")


def probabilities(seed, repeats=16):
    """Log loss of the classifier on new rows, with and without the factor of leave-one-out."""
    from sklearn.datasets import load_digits

    print("log loss on new rows: probabilities without and with the factor a, and the best factor")
    X, digit = load_digits(return_X_y=True)
    for kind in ("synthetic", "flipped", "digits"):
        for n in (20, 50, 100):
            losses, scales = [], []
            for i in range(repeats):
                rng = np.random.default_rng((20252 + seed, i))
                if kind == "digits":
                    a, b, c, d, e, f = rng.permutation(10)[:6]
                    pick = rng.permutation(np.flatnonzero(np.isin(digit, (a, b, c, d))))[:150]
                    source = (X[pick], np.isin(digit[pick], (a, b)))
                    pick = rng.permutation(np.flatnonzero(np.isin(digit, (a, e, c, f))))
                    Z, y = X[pick], np.where(np.isin(digit[pick], (a, e)), 1, -1)
                else:
                    Z, w = rng.normal(size=(120 + n + 2000, 60)), rng.normal(size=60)
                    y = np.sign(Z @ w)
                    if kind == "flipped":
                        y[rng.uniform(size=y.size) < 0.15] *= -1
                    source, Z, y = (Z[:120], y[:120]), Z[120:], y[120:]
                net = FranzParisiClassifier(200, source=source).fit(Z[:n], y[:n])
                score = y[n:] * net.decision_function(Z[n:])
                factors = np.array([1.0, net.score_scale_, *np.geomspace(0.05, 20, 120)])
                loss = -sc.log_ndtr(np.outer(factors, score)).mean(1)
                losses.append([loss[0], loss[1], loss[2:].min()])
                scales.append(net.score_scale_)
            mean, gap = np.mean(losses, 0), np.diff(losses, axis=1)[:, 0]
            error = gap.std(ddof=1) / math.sqrt(repeats)
            print(
                f"{kind:<10} n {n:4d}   {mean[0]:.3f}  {mean[1]:.3f}  {mean[2]:.3f}   change "
                f"{gap.mean():+.3f} ({error:.3f})   mean factor {np.mean(scales):.2f}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--probabilities", action="store_true", help="of the classifier, instead")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.probabilities:
        probabilities(arguments.seed)
        return
    rows = []
    for i in range(arguments.pairs):
        rng = np.random.default_rng((20251 + arguments.seed, i))
        kind, *data = (synthetic, digits)[i % 2](rng)
        start = time.perf_counter()
        row = judge(kind, data, int(rng.choice([30, 60])), i)
        rows.append(row)
        print(
            f"{i:3d} {row['kind']:<28} width {row['width']:3d} P_t {row['n_target']:2d}  "
            f"{row['verdict']:<9} gamma {row['gamma']:<5g} LOO gain {100 * row['loo_gain']:5.1f} % "
            f"sampled {100 * row['gain'][0]:5.1f}({100 * row['gain'][1]:.1f}) % knowledge "
            f"{100 * row['knowledge'][0]:5.1f}({100 * row['knowledge'][1]:.1f}) % descent "
            f"{100 * row['descent_gain'][0]:5.1f}({100 * row['descent_gain'][1]:.1f}) %  "
            f"[{time.perf_counter() - start:.0f} s]",
            flush=True,
        )
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    for kind in ("synthetic", "digits", ""):
        own = [r for r in rows if r["kind"].startswith(kind)]
        if own:
            print(f"\n== {kind or 'all'}: {len(own)} pairs", end="")
            report(own)


if __name__ == "__main__":
    main()
