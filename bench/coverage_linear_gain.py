"""Coverage of the transfer-gain interval, and ridge selectors, on synthetic and real data.

    python bench/coverage_linear_gain.py [--repeats 200] [--report reference|retemper]
    python bench/coverage_linear_gain.py --selectors

What is covered: the prediction error of the two ridge fits made from *this* sample (fine-tuned
from the source, and from scratch, at the ridges the report chose), on new rows.  Its mean over
samples is the other column.  Set OPENBLAS_NUM_THREADS=1.

Noise of the held-out truth.  Synthetic: the error is known exactly.  "pool": rows are drawn with
replacement from the finite data set, which is then the population, so the error is again exact.
"held-out": n rows are drawn without replacement and the others are the test set; the interval is
widened in quadrature by 1.96 standard errors of the held-out error, and the mean over samples is
not shown because the samples share rows.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "linear"))
from reference_gain import Candidate, ReferenceReport, Spectrum, loo_grid


@dataclass
class Synthetic:
    """Gaussian rows with a known teacher; three sources of decreasing kinship."""

    kind: str
    n: int
    d: int = 60
    noise: str = "gauss"
    sigma: float = 0.5

    design = "synthetic"

    def __post_init__(self):
        i = np.arange(1, self.d + 1)
        self.var = {
            "iso": np.ones(self.d),
            "power 1": 1 / i,
            "two-level": np.where(i <= self.d // 10, 1, 0.1),
        }[self.kind]
        self.teacher = i**-0.5 / np.sqrt(np.sum(self.var / i))  # unit signal variance
        other = np.random.default_rng(0).normal(size=self.d)
        other *= np.linalg.norm(self.teacher) / np.linalg.norm(other)
        self.sources = {
            "related": 0.8 * self.teacher + 0.4 * other,
            "far": 0.5 * self.teacher + 0.6 * other,
            "flipped": -0.7 * self.teacher,
        }
        self.name = f"{self.kind}, n/d={self.n / self.d:g}, {self.noise}"

    def draw(self, rng):
        X = rng.normal(size=(self.n, self.d)) * np.sqrt(self.var)
        clean = X @ self.teacher
        noise = self.sigma * rng.normal(size=self.n)
        if self.noise == "het":
            noise *= np.abs(X[:, 0])
        if self.noise == "t3":
            noise = self.sigma * rng.standard_t(3, size=self.n) / np.sqrt(3)
        y = clean + noise
        return X, np.sign(y) if self.noise == "sign" else y

    def errors(self, coef, offset):
        """Exact prediction errors of the columns of coef; no standard error."""
        if self.noise == "sign":
            slope = self.var * self.teacher * np.sqrt(2 / np.pi / (1 + self.sigma**2))
            total = 1 - 2 * slope @ coef + self.var @ coef**2 + offset**2
        else:
            total = self.var @ (coef - self.teacher[:, None]) ** 2 + offset**2 + self.sigma**2
        return total, None


@dataclass
class Real:
    """A finite labelled data set with fixed sources fitted on other rows or another task."""

    name: str
    X: np.ndarray
    y: np.ndarray
    sources: dict
    n: int
    design: str

    def draw(self, rng):
        while True:
            if self.design == "pool":
                rows = rng.integers(len(self.y), size=self.n)
                self.test = np.arange(len(self.y))
            else:
                order = rng.permutation(len(self.y))
                rows, self.test = order[: self.n], order[self.n :]
            if np.ptp(self.y[rows]) > 0:
                return self.X[rows], self.y[rows]

    def errors(self, coef, offset):
        losses = (self.y[self.test, None] - self.X[self.test] @ coef - offset) ** 2
        return losses.mean(axis=0), None if self.design == "pool" else losses


def ridge_fit(X, y, ridge):
    """Coefficients (d,) of ridge regression with intercept, ``ridge`` in the loss of the mean."""
    centred = X - X.mean(axis=0)
    n = len(y)
    if np.isinf(ridge):
        return np.zeros(X.shape[1])
    gram = centred @ centred.T / n + ridge * np.eye(n)
    return centred.T @ np.linalg.solve(gram, y - y.mean()) / n


def real_settings(design):
    from sklearn import datasets

    rng = np.random.default_rng(7)
    digits = datasets.load_digits()
    pixels = digits.data / 16
    features = np.maximum(pixels @ (rng.normal(size=(64, 300)) / 8), 0)

    def pair(Z, a, b):
        rows = np.isin(digits.target, (a, b))
        return Z[rows], np.where(digits.target[rows] == a, 1.0, -1.0)

    settings = []
    for space, Z in (("pixels", pixels), ("300 features", features)):
        for (a, b), other, sizes in (((3, 8), (9, 8), (15, 60)), ((4, 9), (7, 9), (30, 120))):
            X, y = pair(Z, a, b)
            order = rng.permutation(len(y))
            X, y = X[order], y[order]
            same = ridge_fit(X[:60], y[:60], 0.05)
            sources = {
                "same task": same,
                "other pair": ridge_fit(*pair(Z, *other), 0.05),
                "flipped": -same,
            }
            for n in sizes:
                name = f"digits {a}v{b}, {space}, n={n}"
                settings.append(Real(name, X[60:], y[60:], sources, n, design))
    cancer, diabetes, wine = (
        getattr(datasets, f"load_{k}")() for k in ("breast_cancer", "diabetes", "wine")
    )
    target = (diabetes.target - diabetes.target.mean()) / diabetes.target.std()
    for name, rows, labels, sizes in (
        ("breast_cancer", cancer.data, 2.0 * cancer.target - 1, (20, 60)),
        ("diabetes", diabetes.data, target, (20, 60)),
        ("wine", wine.data, np.where(wine.target == 1, 1.0, -1.0), (15, 30)),
    ):
        order = rng.permutation(len(labels))
        X, y = rows[order], labels[order]
        X = (X - X[:50].mean(axis=0)) / X[:50].std(axis=0)
        same = ridge_fit(X[:50], y[:50], 0.3)
        sources = {"same task": same, "shuffled": rng.permutation(same), "flipped": -same}
        for n in sizes:
            settings.append(Real(f"{name}, n={n}", X[50:], y[50:], sources, n, design))
    return settings


def synthetic_settings():
    grid = [Synthetic(k, n) for k in ("iso", "power 1", "two-level") for n in (12, 30, 120)]
    odd = [Synthetic("power 1", 30, noise=noise) for noise in ("het", "t3", "sign")]
    return [*grid, Synthetic("iso", 60), *odd]


def gcv_interval(X, y, prediction, ridges):
    """The interval of the theory page (4.7.6) with an intercept: n - 1 in place of n."""
    s = Spectrum(X)
    terms = 0.0
    for sign, label, ridge in ((1, y - prediction, ridges[0]), (-1, y, ridges[1])):
        w = s.weights(ridge)
        terms = terms + sign * (s.n - 1) * (w * (s.vectors.T @ label)) ** 2 / w.sum() ** 2
    half = 1.96 * np.sqrt(np.sum(terms**2))
    return -terms.sum() - half, -terms.sum() + half


def fits(X, y, source, ridges):
    """Coefficients (d, 2) and offsets (2,) of fine-tune and scratch."""
    tuned = source + ridge_fit(X, y - X @ source, ridges[0])
    coef = np.column_stack([tuned, ridge_fit(X, y, ridges[1])])
    return coef, y.mean() - X.mean(axis=0) @ coef


def measure(setting, report_class, repeats, seed):
    """One record per repeat and source: (difference, ratio, mean difference, gcv, ...)."""
    rng = np.random.default_rng(seed)
    names = list(setting.sources)
    record = {name: [] for name in names}
    for _ in range(repeats):
        X, y = setting.draw(rng)
        report = report_class(np.array([setting.sources[k] for k in names])).fit(X, y)
        for k, name in enumerate(names):
            source = setting.sources[name]
            (tuned, scratch), losses = setting.errors(*fits(X, y, source, report.gain_ridge_[k]))
            noise = log_noise = 0.0
            if losses is not None:
                root = np.sqrt(len(losses))
                noise = 1.96 * np.std(losses[:, 0] - losses[:, 1], ddof=1) / root
                relative = losses[:, 0] / tuned - losses[:, 1] / scratch
                log_noise = 1.96 * np.std(relative, ddof=1) / root
            old = gcv_interval(X, y, X @ source, report.gain_ridge_[k])
            record[name].append(
                (
                    report.gain_[k],
                    report.gain_low_[k],
                    report.gain_high_[k],
                    *(
                        np.log(max(1 - relative[k], 1e-300))
                        for relative in (
                            report.relative_gain_,
                            report.relative_gain_high_,
                            report.relative_gain_low_,
                        )
                    ),
                    *old,
                    scratch - tuned,
                    np.log(tuned / scratch),
                    noise,
                    log_noise,
                )
            )
    return {name: np.array(rows) for name, rows in record.items()}


def inside(truth, centre, low, high, noise):
    """Is the truth in the interval, both sides widened in quadrature by its own noise?"""
    below, above = np.hypot(centre - low, noise), np.hypot(high - centre, noise)
    return (centre - below <= truth) & (truth <= centre + above)


def summarise(rows, design):
    gain, low, high, log, log_low, log_high, old_low, old_high, truth, log_truth, noise, ln = rows.T
    old = (old_low + old_high) / 2
    decided = (log_low > 0) | (log_high < 0)
    right = np.sign(log) == -np.sign(truth)
    mean = np.nan if design == "held-out" else log_truth.mean()
    return np.array(
        [
            inside(truth, gain, low, high, noise).mean(),
            inside(log_truth, log, log_low, log_high, ln).mean(),
            np.nan if np.isnan(mean) else np.mean((log_low <= mean) & (mean <= log_high)),
            inside(truth, old, old_low, old_high, noise).mean(),
            np.median(truth),
            np.median(np.exp(log_truth)),
            np.median(high - low) / 2,
            np.median(np.exp((log_high - log_low) / 2)),
            np.mean(decided & right),
            np.mean(decided & ~right),
            np.mean(~decided),
        ]
    )


def coverage(report_class, repeats, settings):
    head = (
        f"{'setting':38s} {'source':10s} gain    ratio   difference  ratio       mean  4.7.6"
        "  half-width  factor  right wrong undecided"
    )
    collected = {}
    for design, group in settings.items():
        print(f"\n{design}: nominal 95 %, {repeats} repeats; +- is one standard error\n{head}")
        for i, setting in enumerate(group):
            for source, rows in measure(setting, report_class, repeats, 1000 + i).items():
                s = summarise(rows, design)
                collected.setdefault(design, []).append(s)
                se = 100 * np.sqrt(np.maximum(s[:2] * (1 - s[:2]), 0.25 / repeats) / repeats)
                c = 100 * s
                mean = "    -" if np.isnan(s[2]) else f"{c[2]:5.1f}"
                print(
                    f"{setting.name:38s} {source:10s} {s[4]:+.4f} {s[5]:6.3f}"
                    f"  {c[0]:5.1f}+-{se[0]:3.1f}  {c[1]:5.1f}+-{se[1]:3.1f} {mean}  {c[3]:5.1f}"
                    f"  {s[6]:10.4f}  {s[7]:6.2f}  {c[8]:5.1f} {c[9]:5.1f} {c[10]:5.1f}",
                    flush=True,
                )
    print("\nsummary (percent)          difference: mean  min    ratio: mean  min    4.7.6: mean"
          "  min   right wrong undecided")  # fmt: skip
    for design, rows in collected.items():
        a = 100 * np.array(rows)
        print(
            f"{design:10s} {len(a):3d} settings              {a[:, 0].mean():5.1f} "
            f"{a[:, 0].min():5.1f}         {a[:, 1].mean():5.1f} {a[:, 1].min():5.1f}"
            f"          {a[:, 3].mean():5.1f} {a[:, 3].min():5.1f}  "
            f"{a[:, 8].mean():5.1f} {a[:, 9].mean():5.1f} {a[:, 10].mean():5.1f}"
        )


def selectors(repeats, settings):
    """Excess test error, relative to the best ridge of a wide grid, of six selectors."""
    rules = ("LOO", "LOO wide", "LOO wide, 0", "GCV", "GCV wide", "GCV wide, 0")
    print(f"{'setting':38s} {'fit':9s}  " + "  ".join(f"{r:>11s}" for r in rules) + "   (%)")
    everything = {}
    for design, group in settings.items():
        for i, setting in enumerate(group):
            rng = np.random.default_rng(2000 + i)
            source = next(iter(setting.sources.values()))
            excess = {"scratch": [], "fine-tune": []}
            for _ in range(repeats):
                X, y = setting.draw(rng)
                s = Spectrum(X)
                narrow = s.grid()
                wide = np.append(s.scale * np.logspace(-6, 3, 37), np.inf)
                for name, start in (("scratch", 0 * source), ("fine-tune", source)):
                    label = y - X @ start
                    ridges = np.concatenate([narrow, wide, [0.0]])
                    # the limit ridge -> 0, far below every other candidate
                    ridges[-1] = 1e-10 * s.scale
                    with np.errstate(all="ignore"):
                        loo = np.mean(loo_grid(s, Candidate(label), ridges) ** 2, axis=0)
                    w = np.column_stack([s.weights(r) for r in ridges])
                    gcv = (s.vectors.T @ label)[:, None] ** 2 * w**2
                    gcv = (s.n - 1) * gcv.sum(axis=0) / w.sum(axis=0) ** 2
                    z = (s.vectors.T @ label)[:, None] / (s.values[:, None] + ridges)
                    z[:, np.isinf(ridges)] = 0.0
                    centred = X - X.mean(axis=0)
                    coef = start[:, None] + centred.T @ (s.vectors @ z) / s.n
                    errors = setting.errors(coef, y.mean() - X.mean(axis=0) @ coef)[0]
                    best = errors.min()
                    k = len(narrow)
                    row = []
                    for curve in (loo, gcv):
                        for part in (np.s_[:k], np.s_[k:-1], np.s_[k:]):
                            row.append(errors[part][np.nanargmin(curve[part])] - best)
                    excess[name].append((*row, best))
            for name, rows in excess.items():
                a = np.mean(rows, axis=0)
                ratio = 100 * a[:-1] / a[-1]
                everything.setdefault((design, name), []).append(ratio)
                print(f"{setting.name:38s} {name:9s}  " + "  ".join(f"{v:11.1f}" for v in ratio))
    print("\nmean and worst over settings")
    for (design, name), rows in everything.items():
        for label, values in (("mean", np.mean(rows, axis=0)), ("worst", np.max(rows, axis=0))):
            print(f"{design:38s} {name:9s}  " + "  ".join(f"{v:11.1f}" for v in values), label)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--report", choices=("reference", "retemper"), default="reference")
    parser.add_argument("--selectors", action="store_true", help="compare ridge selectors instead")
    parser.add_argument("--only", choices=("synthetic", "pool", "held-out"))
    options = parser.parse_args()
    warnings.simplefilter("error")
    report_class = ReferenceReport
    if options.report == "retemper":
        from retemper.linear import LinearTransferReport

        report_class = LinearTransferReport
    settings = {
        "synthetic": synthetic_settings(),
        "held-out": real_settings("held-out"),
        "pool": real_settings("pool"),
    }
    if options.only:
        settings = {options.only: settings[options.only]}
    if options.selectors:
        settings.pop("pool", None)  # repeated rows make a ridge near 0 a question of its own
        selectors(options.repeats, settings)
    else:
        coverage(report_class, options.repeats, settings)


if __name__ == "__main__":
    main()
