"""Theory against sampled networks: ``python bench/agreement_widenet.py [--quick] [PART ...]``.

``linear``: exact Gibbs sampling along the couplings (configuration A of the theory page).
``sizes``: the same network at fixed ratios of samples, dimension and width, and growing width: the
gap between theory and sampling, on equal data, is extrapolated to infinite size.
``erf``: Hamiltonian Monte Carlo where samples do not exceed the dimension (configuration B2).
``relu``: the same for ReLU in its centred form.
``activations``: tanh, SiLU, sine and two callables, one with kinks, beside erf on the same data.
``layers``: two and three hidden layers at fixed ratios and growing width; for erf also with one
order parameter that multiplies the whole kernel of a layer, the recursion of the literature.
``deep_means``: two and three layers of ReLU, GELU or SiLU with labels of mean 0, 1, 3 and 10
standard deviations, and with prior precisions 2 and 0.5.
``coupled_layers``: two and three hidden layers with a source, at fixed ratios.
``heads``: two outputs that share their hidden layer.
``mean_field``: read-outs of variance 1 / width, at temperatures of the same order.
``elastic``: source and target pull each other: linear networks extrapolated as in ``sizes``, erf
beside the one-way coupling on the same tasks, and the best error of both over the couplings.
``sources``: linear networks pulled by two sources, extrapolated as in ``sizes``.
``elastic_sources``: the same where all of them pull each other.
``signs``: share of wrong signs, with its leave-one-out estimate, on labels -1 and +1.
``means``: ReLU and GELU with labels of mean 0, 1, 3 and 10 standard deviations, with a source and
without.
``validity``: the erf network at fixed samples and width over a sweep of samples per dimension,
three data sets each.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

from retemper.widenet import SeveralSources, WideNetModel, compare, curve, solve

TEMPERATURE = 0.05


def draw(d, n_source, n_target, n_test, *, rho=0.9, label="linear", seed=0):
    """(target, source, test) of two related teachers, without label noise."""
    rng = np.random.RandomState(seed)
    inputs = [rng.standard_normal((n, d)) for n in (n_source, n_target, n_test)]
    u, v = rng.standard_normal(d), rng.standard_normal(d)
    u /= np.linalg.norm(u)
    v -= u * (u @ v)
    v /= np.linalg.norm(v)
    w = rho * u + math.sqrt(1 - rho**2) * v
    f = np.sign if label == "sign" else (lambda z: z)
    source, target, test = zip(inputs, (f(X @ k) for X, k in zip(inputs, (u, w, w), strict=True)),
                               strict=True)  # fmt: skip
    return target, source, test


def agreement(activation, data, width, gammas, **options):
    every, gaps = [], []
    for gamma in gammas:
        model = WideNetModel(
            width,
            activation,
            temperature_source=TEMPERATURE,
            temperature_target=TEMPERATURE,
            gamma=gamma,
        )
        start = time.perf_counter()
        result = compare(model, *data, **options)
        every.append(result.z)
        gaps.append(result.theory / result.simulation - 1)
        print(
            f"\n{activation}, width {width}, gamma {gamma:g} [{time.perf_counter() - start:.0f} s]"
        )
        print(result)
    z, gap = np.concatenate(every), np.concatenate(gaps)
    print(f"\n{z.size} comparisons: root mean square z {np.sqrt((z**2).mean()):.2f}")
    mean, size = 100 * gap.mean(), 100 * np.sqrt((gap**2).mean())
    print(f"theory / sampled - 1: mean {mean:+.2f} %, root mean square {size:.2f} %")


#: Regimes of ``sizes``: samples of source and target over dimension, dimension over width,
#: temperature, coupling.
REGIMES = {
    "uncoupled": (2.0, 2 / 3, 0.3, 0.05, 0.0),
    "coupled": (2.0, 2 / 3, 0.3, 0.05, 1.0),
    "strongly coupled": (2.0, 2 / 3, 0.3, 0.05, 10.0),
    "frozen": (2.0, 2 / 3, 0.3, 0.05, math.inf),
    "fewer samples than dimensions": (0.7, 0.4, 0.6, 0.05, 1.0),
    "hot": (2.0, 2 / 3, 0.3, 0.5, 1.0),
    "many target samples": (2.0, 2.0, 0.25, 0.1, 1.0),
}


def extrapolate(width, gap, stderr):
    """Weighted fit of gap = a + b / width: a, b, their standard errors, chi squared."""
    inverse = 1 / np.asarray(width, float)
    fit, covariance = np.polyfit(inverse, gap, 1, w=1 / stderr, cov="unscaled")
    chi2 = float(np.sum(((gap - np.polyval(fit, inverse)) / stderr) ** 2))
    return *fit[::-1], *np.sqrt(np.diag(covariance))[::-1], chi2


def linear_model(width, temperature, gamma, coupling="one_way"):
    return WideNetModel(
        width,
        "linear",
        temperature_source=temperature,
        temperature_target=temperature,
        gamma=gamma,
        coupling=coupling,
    )


def sizes(quick):
    widths, repeats = ((20, 40, 80), (12, 8, 6)) if quick else ((20, 40, 80, 160), (24, 16, 10, 5))

    def found(regime, width, seed):
        source, target, ratio, temperature, gamma = REGIMES[regime]
        d = round(ratio * width)
        data = draw(d, round(source * d), round(target * d), 200, seed=seed)
        return compare(linear_model(width, temperature, gamma), *data, random_state=seed)

    extrapolated(REGIMES, widths, repeats, found)


def sources(quick):
    two_sources("one_way", (12, 8, 6) if quick else (32, 24, 16))


def elastic_sources(quick):
    few = {"n_chains": 8, "n_draws": 2, "n_burn_source": 80, "n_thin_source": 15}
    two_sources("elastic", (12, 8, 6) if quick else (48, 32, 24), **few)


def two_sources(coupling, repeats, **few):
    widths = (20, 40, 80)
    gammas = {f"gamma {gamma:g}": gamma for gamma in (0.5, 3.0, math.inf)}
    print(
        f"\n{coupling}, two sources of weights 1 and 0.5, whose teachers have cosines 0.9 and 0.5"
    )

    def found(regime, width, seed):
        d = round(0.4 * width)
        rng = np.random.RandomState(seed)
        own, *others = np.linalg.qr(rng.standard_normal((d, 3)))[0].T
        teachers = [own, own] + [
            rho * own + math.sqrt(1 - rho**2) * other
            for rho, other in zip((0.9, 0.5), others, strict=True)
        ]
        rows = (round(0.7 * d), 200, round(1.5 * d), d)
        inputs = [rng.standard_normal((n, d)) for n in rows]
        target, test, *both = ((X, X @ w) for X, w in zip(inputs, teachers, strict=True))
        model = linear_model(width, TEMPERATURE, gammas[regime], coupling)
        several = SeveralSources(both, weights=[1.0, 0.5])
        return compare(model, target, several, test, random_state=seed, **few)

    extrapolated(gammas, widths, repeats, found)


def elastic(quick):
    widths, repeats = (20, 40, 80), ((8, 6, 4) if quick else (24, 16, 12))
    gammas = {f"gamma {gamma:g}": gamma for gamma in (0.5, 3.0, math.inf)}
    print("\nelastic, cosine 0.9 of the teachers:")

    def found(regime, width, seed):
        d = round(0.4 * width)
        data = draw(d, round(1.2 * d), round(0.7 * d), 200, seed=seed)
        model = linear_model(width, TEMPERATURE, gammas[regime], "elastic")
        few = {"n_chains": 8, "n_draws": 4, "n_burn_source": 80, "n_thin_source": 15}
        return compare(model, *data, random_state=seed, **few)

    extrapolated(gammas, widths, repeats, found)

    print("\nerf, width 60, 60 inputs, 40 source and 20 target samples, cosine 0.9;")
    print("theory / sampled (its standard error), root mean square z over all quantities")
    names = ("Q_s", "Q_t", "Q_st", "test_error")
    print(f"{'':16}" + "".join(f"{n:>24}" for n in names) + f"{'z':>8}")
    data = draw(60, 40, 20, 100)
    for coupling, gamma in itertools.product(("one_way", "elastic"), (0.3, 1.0, 3.0, math.inf)):
        model = WideNetModel(60, gamma=gamma, coupling=coupling)
        few = {"n_draws": 2} if coupling == "one_way" else {"n_draws": 5, "n_burn_source": 120}
        r = compare(model, *data, n_chains=8, **few, random_state=1)
        line = "".join(f"{both(r, n, 3):>24}" for n in names)
        z = math.sqrt(float(np.square(r.z).mean()))
        print(f"{coupling} {gamma:g}".ljust(16) + f"{line}{z:8.2f}", flush=True)

    print("\nerf, width 60, 60 inputs, 20 target samples, in theory, mean of four data sets: least")
    print(
        "error over lam0 and gamma, with the median gamma / lam0, beside that of the random anchor"
    )
    head = ("samples", "cosine", "scratch", "one_way", "gamma", "anchor", "elastic", "gamma")
    print("".join(f"{h:>10}" for h in (*head, "anchor")) + f"{'difference':>12}")
    grid, decays = (0.0, 0.3, 1.0, 3.0, 10.0, math.inf), (4.0, 8.0, 16.0, 32.0, 64.0)

    def errors(coupling, target, source, test):
        own = []
        for lam0 in decays:
            axes = {"gamma": [lam0 * g for g in grid]}
            model = WideNetModel(60, coupling=coupling, lam0=lam0)
            sweep = curve(model, axes, target, source, test, quantities=["test_error"])
            own.append(sweep["test_error"])
        return np.array(own)

    for n_source, rho in itertools.product((20, 60), (0.3, 0.6, 0.9)):
        data = [draw(60, n_source, 20, 300, rho=rho, seed=seed) for seed in range(4)]
        line, best = f"{n_source:>10}{rho:10g}", {}
        for coupling in ("one_way", "elastic"):
            own = np.array([errors(coupling, *tasks) for tasks in data])
            anchor = np.array([errors(coupling, t, None, e) for t, _, e in data])
            flat = own.reshape(4, -1)
            best[coupling] = flat.min(1)
            if coupling == "one_way":
                line += f"{own[:, :, 0].min(1).mean():10.4f}"
            gamma = grid[int(np.median(flat.argmin(1) % len(grid)))]
            line += f"{best[coupling].mean():10.4f}{gamma:10g}"
            line += f"{anchor.reshape(4, -1).min(1).mean():10.4f}"
        away = 100 * (best["elastic"] / best["one_way"] - 1)
        print(f"{line}{away.mean():+12.2f} ({away.std(ddof=1) / 2:.2f}) %", flush=True)


def extrapolated(regimes, widths, repeats, found):
    """Gaps between theory and sampling at growing width, for ``found(regime, width, seed)``."""
    print(
        f"\nlinear, widths {widths}, {repeats} data sets each, theory and sampling on equal data;\n"
        "gap = theory / sampled - 1 = a + b / width; a in %, b in % times width, z = a / its error"
    )
    head = f"{'regime':<31}{'quantity':<12}"
    print(head + f"{'a':>8}{'error':>7}{'z':>7}{'b':>8}{'error':>7}{'chi2':>7}")
    every, chi = [], []
    for regime in regimes:
        mean, error = [], []
        for width, n in zip(widths, repeats, strict=True):
            gaps, noise = [], []
            for seed in range(n):
                result = found(regime, width, seed)
                gaps.append(100 * (result.theory / result.simulation - 1))
                noise.append(100 * result.stderr / abs(result.simulation))
            mean.append(np.mean(gaps, axis=0))
            spread = np.std(gaps, axis=0, ddof=1)
            sampled = np.sqrt(np.mean(np.square(noise), axis=0))
            error.append(np.maximum(spread, sampled) / math.sqrt(n))
        for name, gap, stderr in zip(
            result.names, np.transpose(mean), np.transpose(error), strict=True
        ):
            a, b, a_error, b_error, chi2 = extrapolate(widths, gap, stderr)
            every.append(a / a_error)
            chi.append(chi2)
            print(
                f"{regime:<31}{name:<12}{a:8.2f}{a_error:7.2f}{a / a_error:7.2f}{b:8.1f}"
                f"{b_error:7.1f}{chi2:7.2f}",
                flush=True,
            )
    z = np.array(every)
    print(
        f"{z.size} intercepts: root mean square z {np.sqrt(np.mean(z**2)):.2f}, largest "
        f"{abs(z).max():.2f}; mean chi2 {np.mean(chi):.2f} for {len(widths) - 2} degrees of freedom"
    )


def means(quick):
    print("\nwidth 60, 40 inputs, 40 source and 20 target samples, labels of standard deviation 1")
    print("theory / sampled (its standard error), then the share of Q_t that serves the mean")
    names = ("Q_s", "Q_t", "Q_tt", "Q_st", "test_error")
    print(f"{'':26}" + "".join(f"{n:>24}" for n in names))
    target, source, test = draw(40, 40, 20, 100)
    for activation in ("relu", "gelu"):
        for level in (0.0, 1.0, 3.0, 10.0):
            data = [(X, y + level) for X, y in (target, source, test)]
            for gamma, has_source in itertools.product((0.0, 1.0, math.inf), (True, False)):
                if gamma == 0.0 and not has_source:
                    continue
                model = WideNetModel(
                    60,
                    activation,
                    temperature_source=TEMPERATURE,
                    temperature_target=TEMPERATURE,
                    gamma=gamma,
                )
                given = (data[0], data[1] if has_source else None, data[2])
                options = {"n_chains": 8, "n_draws": 2 if quick else 8, "random_state": 1}
                r = compare(model, *given, **options)
                cells = []
                for name in names:
                    i = r.names.index(name)
                    cells.append(f"{r.theory[i]:.3f} / {r.simulation[i]:.3f} ({r.stderr[i]:.3f})")
                alone = solve(dataclasses.replace(model, gamma=0.0), given[0])
                head = f"{activation} {level:g} {gamma:g} {'source' if has_source else 'none'}"
                share = 100 * alone.Q_tt / alone.Q_t
                print(
                    f"{head:26}" + "".join(f"{c:>24}" for c in cells) + f"{share:6.0f} %",
                    flush=True,
                )


def signs(quick):
    print("\nsign labels, width 80, 80 inputs, 80 source and 30 target samples, 200 test points")
    names = ("test_error", "error_rate")
    print(f"{'':16}" + "".join(f"{n:>26}{'z':>7}" for n in names) + f"{'loo_error_rate':>16}")
    data = draw(80, 80, 30, 200, label="sign")
    for name, model, r in compared(
        ("linear", "erf", "relu", "tanh"), (0.0, 1.0, math.inf), data, quick
    ):
        line = f"{name:16}"
        for n in names:
            line += f"{both(r, n, 4):>26}{r.z[r.names.index(n)]:7.2f}"
        print(line + f"{solve(model, *data).loo_error_rate:16.4f}", flush=True)


def compared(activations, gammas, data, quick):
    """Name, model and comparison of networks of width 80."""
    for activation in activations:
        name = getattr(activation, "__name__", activation)
        for gamma in gammas:
            model = WideNetModel(
                80,
                activation,
                temperature_source=TEMPERATURE,
                temperature_target=TEMPERATURE,
                gamma=gamma,
            )
            r = compare(model, *data, n_chains=8, n_draws=2 if quick else 8, random_state=1)
            yield f"{name} {gamma:g}", model, r


def both(r, name, digits):
    """Theory, sampled value and its standard error."""
    i = r.names.index(name)
    return f"{r.theory[i]:.{digits}f} / {r.simulation[i]:.{digits}f} ({r.stderr[i]:.{digits}f})"


def clip(u):
    return np.clip(u, -1.0, 1.0)


def sine_plus(u):
    return u + 0.5 * np.sin(2.0 * u)


def activations(quick):
    print("\nwidth 80, 60 inputs, 60 source and 20 target samples")
    print("theory / sampled (its standard error), root mean square z over all quantities")
    names = ("Q_s", "Q_t", "Q_tt", "Q_st", "test_error")
    print(f"{'':16}" + "".join(f"{n:>24}" for n in names) + f"{'z':>8}")
    data = draw(60, 60, 20, 100)
    networks = ("erf", "tanh", "silu", "sine", clip, sine_plus)
    for name, _, r in compared(networks, (1.0, math.inf), data, quick):
        z = math.sqrt(float(np.square(r.z).mean()))
        line = "".join(f"{both(r, n, 3):>24}" for n in names)
        print(f"{name:16}{line}{z:8.2f}", flush=True)


def whole_kernel(layers, target, test, width):
    """Test error if Q_l multiplies the whole kernel of layer l; erf."""
    (X, y), (Xe, ye) = target, test
    Z, n = np.vstack([X, Xe]), len(y)

    def kernel(Q):
        K = Z @ Z.T / Z.shape[1]
        for q in Q:
            root = np.sqrt(1 + 2 * np.diagonal(K))
            K = q * 2 / np.pi * np.arcsin(2 * K / np.outer(root, root))
        return K

    def action(x):
        A = kernel(np.exp(x))[:n, :n] + TEMPERATURE * np.eye(n)
        data = np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)
        return np.sum(np.exp(x) - x) + data / width

    K = kernel(np.exp(minimize(action, np.zeros(layers), tol=1e-10).x))
    return predicted(K, y, ye)[1]


#: Activations and numbers of hidden layers that `layers` compares.
NETWORKS = (
    ("linear", 2), ("erf", 1), ("erf", 2), ("erf", 3), ("tanh", 2), ("relu", 2), ("gelu", 2),
    ("relu", 3),
)  # fmt: skip


def predicted(K, y, ye):
    """Thermal variance and test error of a Gaussian process of rows and test points."""
    n = len(y)
    A = K[:n, :n] + TEMPERATURE * np.eye(n)
    away = np.square(K[n:, :n] @ np.linalg.solve(A, y) - ye).mean()
    spread = np.diagonal(K)[n:] - np.einsum("ij,ji->i", K[n:, :n], np.linalg.solve(A, K[:n, n:]))
    return spread.mean(), away + spread.mean()


def layers(quick):
    print("\nas many inputs as units, half as many samples; theory / sampled (its standard error);")
    print("last: theory / sampled - 1 of the test error in %, and of the whole-kernel recursion")
    names = ("Q_t", "bias", "thermal", "test_error")
    print(f"{'':20}" + "".join(f"{n:>24}" for n in names))
    for activation, depth in NETWORKS:
        for width in (32, 64) if quick else (32, 64, 128):
            target, _, test = draw(width, 0, width // 2, 200)
            model = WideNetModel(
                width, activation, temperature_target=TEMPERATURE, n_hidden_layers=depth
            )
            r = compare(model, target, None, test, n_chains=4, n_draws=2 if quick else 4,
                        n_burn_source=0, n_thin_source=1, n_burn_target=150, n_sweeps_target=300,
                        random_state=1, method="auto")  # fmt: skip
            cells = []
            for n in names:
                i = r.names.index(n)
                cells.append(f"{r.theory[i]:.4f} / {r.simulation[i]:.4f} ({r.stderr[i]:.4f})")
            sampled = r.simulation[r.names.index("test_error")]
            gap = 100 * (r.theory[r.names.index("test_error")] / sampled - 1)
            line = "".join(f"{c:>24}" for c in cells) + f"{gap:+8.2f}"
            if activation == "erf":
                line += f"{100 * (whole_kernel(depth, target, test, width) / sampled - 1):+8.2f}"
            print(f"{activation} {depth} width {width}".ljust(20) + line, flush=True)


#: Activation, hidden layers, width, prior precisions and label mean that `deep_means` compares.
OFF_CENTRE = (
    *itertools.product(("relu", "gelu"), (2,), (32, 64), (1.0,), (1.0,), (0.0, 1.0, 3.0)),
    *itertools.product(("relu", "gelu"), (2,), (32,), (1.0,), (1.0,), (10.0,)),
    *itertools.product(("relu", "gelu", "silu"), (2,), (32,), (2.0,), (0.5,), (3.0,)),
    *itertools.product(("relu",), (3,), (32, 64), (1.0,), (1.0,), (0.0, 1.0, 3.0)),
)


def deep_means(quick):
    print("\nas many inputs as units, half as many samples, labels of standard deviation 1;")
    print("theory / sampled (its standard error); below, theory / sampled - 1 in %")
    names = ("Q_t", "Q_tt", "bias", "thermal", "test_error")
    print(f"{'':28}" + "".join(f"{n:>26}" for n in names))
    for activation, depth, width, lam0, lam1, level in OFF_CENTRE:
        target, _, test = draw(width, 0, width // 2, 200)
        target, test = ((X, y + level) for X, y in (target, test))
        model = WideNetModel(
            width,
            activation,
            lam0=lam0,
            lam1=lam1,
            temperature_target=TEMPERATURE,
            n_hidden_layers=depth,
        )
        r = compare(model, target, None, test, n_chains=4, n_draws=2 if quick else 8,
                    n_burn_source=0, n_thin_source=1, n_burn_target=100, n_sweeps_target=120,
                    random_state=1)  # fmt: skip
        at = [r.names.index(n) for n in names]
        line = "".join(f"{both(r, n, 4):>26}" for n in names)
        prior = "" if lam0 == lam1 == 1.0 else f" {lam0:g} {lam1:g}"
        print(f"{activation} {depth} {width}{prior} mean {level:g}".ljust(28) + line)
        gap = 100 * (r.theory[at] / r.simulation[at] - 1)
        print(f"{'':28}" + "".join(f"{g:>+26.1f}" for g in gap), flush=True)


def coupled_layers(quick):
    print("\nas many inputs as units, half as many source and a third as many target samples;")
    print(
        "theory / sampled (its standard error); last: root mean square z, and theory / sampled - 1"
    )
    print("of the test error, theory / sampled - 1 in %")
    names = ("Q_s", "Q_t", "Q_tt", "Q_st", "test_error")
    print(f"{'':24}" + "".join(f"{n:>24}" for n in names))
    for activation, depth in (("linear", 2), ("erf", 2), ("erf", 3), ("tanh", 2)):
        for width in (30, 60) if quick else (30, 60, 120):
            data = draw(width, width // 2, width // 3, 100)
            for gamma in (1.0, 10.0, math.inf):
                model = WideNetModel(
                    width,
                    activation,
                    temperature_source=TEMPERATURE,
                    temperature_target=TEMPERATURE,
                    gamma=gamma,
                    n_hidden_layers=depth,
                )
                r = compare(model, *data, n_chains=8, n_draws=4 if quick else 8, random_state=1)
                z = math.sqrt(float(np.square(r.z).mean()))
                i = r.names.index("test_error")
                gap = 100 * (r.theory[i] / r.simulation[i] - 1)
                line = "".join(f"{both(r, n, 3):>24}" for n in names) + f"{z:8.2f}{gap:+8.2f}"
                print(f"{activation} {depth} {width} {gamma:g}".ljust(24) + line, flush=True)


def heads(quick):
    print("\ntwo outputs on one hidden layer, as many inputs as units, half as many samples;")
    print("theory / sampled - 1 in % (its standard error)")
    names = ("Q_t[0, 0]", "Q_t[0, 1]", "Q_t[1, 1]", "bias", "thermal", "test_error")
    print(f"{'':12}" + "".join(f"{n:>18}" for n in names))
    for activation in ("linear", "erf"):
        for width in (20, 40, 80) if quick else (20, 40, 80, 160):
            rng = np.random.default_rng(0)
            X = rng.normal(size=(width // 2 + 100, width))
            Y = X @ rng.normal(size=(width, 2)) / math.sqrt(width)
            Y[:, 1] += 0.8 * Y[:, 0]
            n = width // 2
            model = WideNetModel(width, activation, heads="shared")
            r = compare(model, (X[:n], Y[:n]), None, (X[n:], Y[n:]), n_chains=6, n_draws=1,
                        n_burn_source=0, n_thin_source=1, n_burn_target=80,
                        n_sweeps_target=120 if quick else 400)  # fmt: skip
            at = [r.names.index(name) for name in names]
            gap, error = (
                100 * (r.theory / r.simulation - 1)[at],
                100 * (r.stderr / r.simulation)[at],
            )
            cells = (f"{g:+9.2f} ({e:.2f})" for g, e in zip(gap, np.abs(error), strict=True))
            print(
                f"{activation} {width}".ljust(12) + "".join(f"{c:>18}" for c in cells), flush=True
            )

    print("\nby one matrix over all outputs: a mean, two layers, and a source that is pulled too;")
    print("20 target and 20 source samples, 40 inputs, width 40; theory / sampled, last: z")
    for activation, depth, gamma in (("relu", 1, 0.0), ("erf", 2, 0.0), ("erf", 1, 3.0)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(140, 40))
        Y = X @ rng.normal(size=(40, 2)) / 40**0.5 @ [[1.0, 0.8], [0.0, 1.0]]
        Y = Y + (0.5 if activation == "relu" else 0.0)
        target, source, test = ((X[at], Y[at]) for at in (slice(20), slice(20, 40), slice(40, 140)))
        model = WideNetModel(40, activation, gamma=gamma, n_hidden_layers=depth, heads="shared",
                             coupling="elastic")  # fmt: skip
        options = {"n_chains": 6, "n_draws": 2 if quick else 8, "n_thin_source": 20}
        r = compare(model, target, source if gamma else None, test, **options)
        names = [n for n in ("Q_t[0, 0]", "Q_t[0, 1]", "Q_t[1, 1]", "Q_st[0, 0]", "Q_st[0, 1]",
                             "bias", "thermal", "test_error") if n in r.names]  # fmt: skip
        line = "".join(f"  {n} {both(r, n, 3)}" for n in names)
        z = math.sqrt(float(np.square(r.z).mean()))
        print(f"{activation} {depth} {gamma:g}".ljust(12) + f"{line}{z:8.2f}", flush=True)

    print("\nthe same towards a source of as many samples, gamma 3, width 40")
    for activation in ("linear", "erf"):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(140, 40))
        W = rng.normal(size=(40, 2)) / 40**0.5
        near = W + 0.3 * rng.normal(size=W.shape) / 40**0.5
        mix = np.array([[1.0, 0.8], [0.0, 1.0]])
        source, target, test = (
            (X[at], X[at] @ weights @ mix)
            for at, weights in ((slice(20), W), (slice(20, 40), near), (slice(40, 140), near))
        )
        model = WideNetModel(40, activation, gamma=3.0, heads="shared")
        r = compare(model, target, source, test, n_chains=8, n_draws=3 if quick else 12)
        for name in r.names:
            i = r.names.index(name)
            print(f"{activation} {name}".ljust(20) + f"{both(r, name, 3):>26}{r.z[i]:8.2f}")
        print(f"root mean square z {math.sqrt(float(np.square(r.z).mean())):.2f}", flush=True)


def mean_field(quick):
    print(
        "\nmean-field scaling: lam1 = width, temperature over width; as many inputs as units, half"
    )
    print("as many samples; theory / sampled (its standard error)")
    names = ("Q_t", "bias", "thermal", "test_error")
    print(f"{'':12}" + "".join(f"{n:>26}" for n in names))
    for activation in ("linear", "erf"):
        for width in (20, 40) if quick else (20, 40, 80):
            target, _, test = draw(width, 0, width // 2, 100)
            model = WideNetModel(
                width, activation, lam1=float(width), temperature_target=TEMPERATURE / width
            )
            r = compare(model, target, None, test, n_chains=6, n_draws=1, n_burn_source=0,
                        n_thin_source=1, n_burn_target=200, n_sweeps_target=300)  # fmt: skip
            line = "".join(f"{both(r, n, 4):>26}" for n in names)
            print(f"{activation} {width}".ljust(12) + line, flush=True)


def validity(quick):
    print(
        "\nerf, sign labels, width 100, 100 source and 30 target samples, gamma 1, three data sets"
    )
    print("theory / sampled - 1 in %, mean over data sets (its standard error)")
    names = ("Q_s", "Q_t", "Q_st", "test_error")
    print(f"{'P_s / d':>8}" + "".join(f"{n:>18}" for n in names))
    for d in (25, 50, 100, 200):
        gaps = []
        for seed in range(3):
            data = draw(d, 100, 30, 100, label="sign", seed=seed)
            model = WideNetModel(
                100,
                "erf",
                temperature_source=TEMPERATURE,
                temperature_target=TEMPERATURE,
                gamma=1.0,
            )
            r = compare(model, *data, random_state=seed, n_draws=2 if quick else 6)
            at = [r.names.index(n) for n in names]
            gaps.append((r.theory / r.simulation - 1)[at])
        gaps = 100 * np.array(gaps)
        error = gaps.std(0, ddof=1) / math.sqrt(len(gaps))
        cells = (f"{m:+9.1f} ({e:.1f})" for m, e in zip(gaps.mean(0), error, strict=True))
        print(f"{100 / d:8.2f}" + "".join(f"{c:>18}" for c in cells), flush=True)


def few(quick):
    return {"n_draws": 2, "random_state": 1} if quick else {"random_state": 1}


def linear(quick):
    more = {} if quick else {"n_chains": 32, "n_draws": 20}
    gammas = (0.0, 0.3, 1.0, 3.0, 10.0, math.inf)
    agreement("linear", draw(30, 60, 20, 200), 100, gammas, **few(quick), **more)


def erf(quick):
    data = draw(100, 100, 30, 100, label="sign")
    agreement("erf", data, 100, (0.0, 1.0, math.inf), **few(quick))


def relu(quick):
    agreement("relu", draw(80, 80, 30, 100), 100, (0.0, 1.0, math.inf), **few(quick))


PARTS = {
    part.__name__: part
    for part in (
        linear, sizes, erf, relu, activations, layers, deep_means, coupled_layers, heads,
        mean_field, sources, elastic,
        elastic_sources, signs, means, validity,
    )
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", default=tuple(PARTS), metavar="PART")
    parser.add_argument("--quick", action="store_true", help="fewer networks")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, part in PARTS.items():
        if name in arguments.part:
            part(arguments.quick)


if __name__ == "__main__":
    main()
