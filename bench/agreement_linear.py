"""Theory against simulation in standard errors, regime by regime.

``python bench/agreement_linear.py [CASE ...] [--repeats R] [--n-features D]``: without cases all.
At finite size theory is off by a relative amount of order 1/n, which many repeats resolve.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import retemper
from retemper.linear import LinearModel, LinearSource, largest_step_size


def problem(d: int) -> dict[str, np.ndarray]:
    angle = np.arange(d)
    theta = np.sin(1.0 + angle) * (2 / d) ** 0.5
    return {
        "theta_target": theta,
        "source_coef": 1.6 * theta + 0.6 * np.cos(angle) * (2 / d) ** 0.5,
    }


def deep_ridge(d: int) -> dict[str, LinearModel]:
    """Depth above 1 with ridge: flat and falling spectra, fewer and more rows than features."""
    cases = {}
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    for (name, spectrum), depth, n, ridge in itertools.product(
        spectra.items(), (2, 3, 10), (d // 3, 5 * d // 3), (0.01, 0.2, 2.0)
    ):
        cases[f"{name}, L={depth}, n={n}, ridge {ridge}"] = LinearModel(
            n, spectrum=spectrum, noise=0.3, depth=depth, ridge=ridge, **problem(d)
        )
    past = problem(d)
    past["theta_source"] = past.pop("source_coef")
    cases["learned source, L=3"] = LinearModel(
        d // 3, n_samples_source=d // 2, noise=0.3, noise_source=0.3, ridge=0.1,
        ridge_source=0.05, depth=3, **past,
    )  # fmt: skip
    return cases


def stopping(d: int) -> dict[str, LinearModel]:
    """Training that stops early: fixed and learned sources, fewer and more rows than features."""
    cases = {}
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    for (name, spectrum), n, time in itertools.product(
        spectra.items(), (d // 3, d, 5 * d // 3), (0.3, 3.0, 30.0)
    ):
        given = {"spectrum": spectrum, "noise": 0.3, "stop_time": time, **problem(d)}
        cases[f"{name}, n={n}, t={time}"] = LinearModel(n, **given)
        cases[f"{name}, n={n}, t={time}, learned"] = LinearModel(n, **learned(given))
    return cases


def learned(given: dict) -> dict:
    """The same model with its source learned from rows."""
    source = given["source_coef"]
    return {k: v for k, v in given.items() if k != "source_coef"} | {
        "theta_source": source,
        "n_samples_source": 4 * len(source) // 3,
        "noise_source": 0.3,
    }


def rows(d: int) -> dict[str, LinearModel]:
    """Three classes of rows: noise 1, 3, 1/2, scale 1, 1/2, 2; equal weights and others."""
    cases = {}
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    for (name, spectrum), n, ridge, weight in itertools.product(
        spectra.items(), (d // 3, 5 * d // 3), (0.0, 0.01, 0.3), ((1, 1, 1), (1, 0.1, 4))
    ):
        given = {
            "spectrum": spectrum, "noise": 0.3, "ridge": ridge, "row_shares": [0.25, 0.5, 0.25],
            "row_noise": [1.0, 3.0, 0.5], "row_scale": [1.0, 0.5, 2.0], "row_weight": weight,
            **problem(d),
        }  # fmt: skip
        cases[f"{name}, n={n}, ridge {ridge}, weights {weight}"] = LinearModel(n, **given)
        if ridge == 0.01:
            cases[f"{name}, n={n}, weights {weight}, learned"] = LinearModel(n, **learned(given))
        if ridge < 0.1:
            case = f"{name}, n={n}, ridge {ridge}, weights {weight}, L=3"
            cases[case] = LinearModel(n, **given, depth=3)
        if ridge == 0.0:
            case = f"{name}, n={n}, weights {weight}, t=3"
            cases[case] = LinearModel(n, **given, stop_time=3.0)
    return cases


def stochastic(d: int) -> dict[str, LinearModel]:
    """One pass of stochastic descent at a tenth and a half of the largest step."""
    cases = {}
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    for (name, spectrum), n, batch, part in itertools.product(
        spectra.items(), (d // 3, 5 * d), (1, 10), (0.1, 0.5)
    ):
        step = part * largest_step_size(spectrum, batch_size=batch)
        given = {
            "spectrum": spectrum, "noise": 0.3, "step_size": step, "batch_size": batch, **problem(d)
        }  # fmt: skip
        cases[f"{name}, n={n}, b={batch}, {part} of the limit"] = LinearModel(n, **given)
        if part == 0.5:
            cases[f"{name}, n={n}, b={batch}, learned"] = LinearModel(n, **learned(given))
    return cases


def passes(d: int) -> dict[str, LinearModel]:
    """Several passes of stochastic descent, drawn with replacement; sources for and against."""
    cases = {}
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    for (name, spectrum), n, batch, times in itertools.product(
        spectra.items(), (d // 3, 5 * d // 3), (1, 10), (0.5, 4.0)
    ):
        step = 0.4 * largest_step_size(spectrum, batch_size=batch, n_samples=n)
        given = {
            "spectrum": spectrum, "noise": 0.3, "step_size": step, "batch_size": batch,
            "n_passes": times, **problem(d),
        }  # fmt: skip
        case = f"{name}, n={n}, b={batch}, {times} passes"
        cases[case] = LinearModel(n, **given)
        if times == 4.0:
            cases[f"{case}, against"] = LinearModel(n, **given, source_scale=-1.0)
            cases[f"{case}, learned"] = LinearModel(n, **learned(given))
    return cases


def sources(d: int) -> dict[str, LinearModel]:
    """Three sources, two learned and one known: given weights, the best, those training chooses."""
    rng = np.random.default_rng(1)
    past = rng.normal(size=(3, d)) / d**0.5
    rows_of = rng.normal(size=(2 * d, d))
    several = [
        LinearSource(
            past[0], n_samples_source=3 * d // 2, noise_source=0.3,
            cov_source=rows_of.T @ rows_of / (2 * d),
        ),
        LinearSource(past[1], n_samples_source=d // 2, noise_source=0.2, ridge_source=0.02),
        LinearSource(past[2]),
    ]  # fmt: skip
    theta = past.T @ [0.8, -0.6, 0.5] + 0.4 * rng.normal(size=d) / d**0.5
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    cases = {}
    for (name, spectrum), n in itertools.product(spectra.items(), (d // 3, 5 * d // 3)):
        given = {"spectrum": spectrum, "noise": 0.3, "sources": several}
        for ridge, weights in itertools.product((0.0, 0.1), ("optimal", "fitted")):
            case = f"{name}, n={n}, ridge {ridge}, {weights}"
            cases[case] = LinearModel(n, theta, ridge=ridge, mixing_weights=weights, **given)
        given["mixing_weights"] = [0.5, 0.2, -1.0]
        more = {"L=3": {"depth": 3}, "t=3": {"stop_time": 3.0}, "ridge": {"ridge": 0.1}}
        for case, change in more.items():
            cases[f"{name}, n={n}, {case}, given"] = LinearModel(n, theta, **given, **change)
    return cases


def shared_trunk(d: int) -> dict[str, LinearModel]:
    """Two outputs on one trunk, against networks that are trained: the slow one."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(2, d)) / d**0.5
    source = 0.7 * theta + 0.5 * rng.normal(size=(2, d)) / d**0.5
    source[1] += 0.8 * theta[0]
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    return {
        f"{name}, n={n}, L={depth}, noise {noise}": LinearModel(
            n, theta, spectrum=spectrum, source_coef=source, depth=depth, noise=noise
        )
        for (name, spectrum), n, depth, noise in itertools.product(
            spectra.items(), (d // 5, d // 2), (2, 4), (0.0, 0.3)
        )
    }


def student(df: float):
    """Student's law of variance one."""
    return lambda rng, size: rng.standard_t(df, size=size) * math.sqrt((df - 2.0) / df)


def sparse(n_nonzero: float):
    """Normal entries, of which about that many in a row are not zero."""

    def draw(rng, size):
        share = n_nonzero / size[1]
        return rng.normal(size=size) * (rng.random(size) < share) / math.sqrt(share)

    return draw


def two_sizes(rng, size):
    """Normal rows, half of which have a quarter of the variance, the others seven times that."""
    return rng.normal(size=size) * np.sqrt(np.where(rng.random((size[0], 1)) < 0.5, 0.25, 1.75))


def of_laws(d: int, laws: dict) -> dict[str, tuple[LinearModel, dict]]:
    spectra = {"flat": np.ones(d), "power 0.7": (1.0 + np.arange(d)) ** -0.7}
    settings = {"ridge": {"ridge": 0.1}, "L=3": {"depth": 3}, "t=3": {"stop_time": 3.0}}
    return {
        f"{law}, {name}, {setting}": (
            LinearModel(d // 3, spectrum=spectrum, noise=0.3, **change, **problem(d)),
            {"entries": entries},
        )
        for (law, entries), (name, spectrum), (setting, change) in itertools.product(
            laws.items(), spectra.items(), settings.items()
        )
    }


def laws(d: int) -> dict[str, tuple[LinearModel, dict]]:
    """Independent entries of other laws, for which the theory is the same."""
    known = {
        "signs": "rademacher",
        "Student, 5": "student",
        "Student, 8": student(8.0),
        "uniform": lambda rng, size: rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), size=size),
        "skew": lambda rng, size: rng.exponential(size=size) - 1.0,
    }
    return of_laws(d, known)


def norms(d: int) -> dict[str, tuple[LinearModel, dict]]:
    """Rows of different norms, for which the theory does not hold."""
    return of_laws(
        d, {"Student, 2.5": student(2.5), "three non-zero": sparse(3.0), "two sizes": two_sizes}
    )


CASES = {
    "deep_ridge": deep_ridge,
    "stopping": stopping,
    "rows": rows,
    "stochastic": stochastic,
    "passes": passes,
    "sources": sources,
    "shared_trunk": shared_trunk,
    "laws": laws,
    "norms": norms,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(CASES)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(names)}")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--n-features", type=int, default=300)
    given = parser.parse_args()
    for name in given.cases or names:
        print(f"{name}: {CASES[name].__doc__}")
        models = {}
        for case, found in CASES[name](given.n_features).items():
            model, options = found if isinstance(found, tuple) else (found, {})
            models[case] = (model, {"n_repeats": given.repeats, **options})
        print(retemper.compare(models), "\n")


if __name__ == "__main__":
    main()
