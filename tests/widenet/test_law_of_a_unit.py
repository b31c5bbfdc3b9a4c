"""Two and more layers of an activation with a mean: limits, the action by hand, its slopes."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr

from retemper import derivatives
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.widenet import WideNetModel, curve, solve
from retemper.widenet.by_law import LawEquations
from retemper.widenet.layers import Pairs, layer_parts
from retemper.widenet.problem import Problem
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Spectrum
from retemper.widenet.unit_law import Law, LawTask

UNIT = {
    "relu": lambda u: np.maximum(u, 0.0),
    "gelu": lambda u: u * ndtr(u),
    "silu": lambda u: u / (1.0 + np.exp(-u)),
}
MODEL = WideNetModel(40, "relu", lam0=1.4, lam1=0.7, n_hidden_layers=2)
NUMBERS = ("Q_t", "Q_tt", "thermal", "bias", "test_error", "log_evidence", "loo")


def data(level=0.0, n=16, d=32, n_test=30, seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n + n_test, d)), rng.normal(size=d) / math.sqrt(d)
    y = X @ w + level
    return (X[:n], y[:n]), (X[n:], y[n:])


def equations(model, target):
    task = Problem(target, None).target
    own = (model.temperature_target, 1.0 / model.lam1)
    return LawEquations(LawTask(model, task), task.y[:, 0], *own)


def some_law(e, seed=0):
    rng, K = np.random.default_rng(seed), e.n_types
    share, mean = rng.dirichlet(np.ones(K)), 0.3 * rng.normal(size=K)
    return Law(share, mean, mean**2 + rng.uniform(0.5, 1.5, K), rng.uniform(0.7, 1.3, e.n_below))


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("activation", ["relu", "gelu", "softplus"])
def test_large_width_is_the_gaussian_process(activation, layers):
    target, test = data(2.0)
    model = dataclasses.replace(MODEL, activation=activation, n_hidden_layers=layers, width=1e7)
    wide = solve(model, target, None, test, on_failure="ignore")
    process = solve(dataclasses.replace(model, width=math.inf), target, None, test)
    for name in NUMBERS:
        assert getattr(wide, name) == pytest.approx(getattr(process, name), rel=1e-4, abs=2e-5)
    assert_allclose(wide.Q_layers, 1.0, atol=1e-4)


@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_without_a_mean_it_is_one_order_parameter_a_layer(activation):
    target, test = data(1.5)
    model = dataclasses.replace(MODEL, activation=activation)
    want, p = solve(model, target, None, test), Problem(target, None, test)
    solution = p._solve_by_law(model)
    assert_allclose(solution.columns[0].Q_layers, want.Q_layers, rtol=1e-6)
    assert solution.columns[0].log_evidence == pytest.approx(want.log_evidence, rel=1e-8)
    assert solution.loo_loss_rows().mean() == pytest.approx(want.loo, rel=1e-6)
    assert_allclose(solution.predict(p.test.X).mean[:, 0], want.mean, atol=1e-6)
    assert solution.predict(p.test.X).thermal.mean() == pytest.approx(want.thermal, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_equal_types_are_one_order_parameter_a_layer(activation):
    """Prior shares, one variance, no mean: sum of Q - log Q, and the covariance of the layers."""
    target, _ = data(n=12)
    model = dataclasses.replace(MODEL, activation=activation)
    e, Q = equations(model, target), np.array([0.8, 1.6])
    share = e.kernels.types.share
    law = Law(share, np.zeros_like(share), np.full_like(share, Q[-1]), Q[:-1])
    assert e.cost(law) == pytest.approx(np.sum(Q - 1 - np.log(Q)), rel=1e-12)
    var = e.kernels.task.norms / model.lam0
    pairs = Pairs(e.kernels.task.gram(e.kernels.task), var, var, 1.0 / model.lam0)
    parts, layer = layer_parts(model, pairs)
    weights = np.cumprod(Q[::-1])[::-1]
    want = sum(w * p.kernel for w, p in zip(weights, parts, strict=True))
    want = want + Q[-1] * np.outer(layer.row_mean, layer.row_mean)
    got = e.blocks.own(law, e.kernels.types.at) + e.blocks.spread(law)
    assert_allclose(got, want, rtol=2e-4)  # the kernel of the types by a finite rule
    assert_allclose(e.blocks.prior(law, e.kernels.types.at), np.diagonal(got), rtol=1e-10)


def test_one_type_is_the_mean_of_one_layer():
    """Many labels' worth of mean: Q and Q' of one hidden layer, whose units have one type."""
    target, _ = data(30.0, n=10)
    model = dataclasses.replace(MODEL, width=900.0)
    e = equations(model, target)
    side, var = e.blocks.rows, 1.0 / model.lam1
    zero = e.kernels.types.at == 0.0
    one = dataclasses.replace(
        side, bend=side.bend * 0.0, **{n: getattr(side, n)[zero] for n in ("level", "slope")},
        series=side.series[zero], rest=side.rest[zero],
    )  # fmt: skip
    one = dataclasses.replace(one, bend=one.bend[zero])
    e.blocks = dataclasses.replace(e.blocks, rows=one, cols=one)
    e.kernels.types = type(e.kernels.types)(np.zeros(1), np.ones(1))
    e.n_types = 1
    x, residual = e.solve()
    assert residual < 1e-9
    law = e.law(x)
    kernel = e.blocks.own(law._replace(mean=np.zeros(1)), np.zeros(1)) / law.square
    fit = SingleTask(Spectrum(kernel, one.level[0]), target[1], 900.0, 0.05, var)
    assert law.square[0] == pytest.approx(fit.Q, rel=2e-3)
    assert law.mean[0] ** 2 == pytest.approx(fit.Q - fit.Q_free, rel=5e-3)
    assert fit.Q_free < 0.8 * fit.Q


@pytest.mark.parametrize("layers", [2, 3])
def test_covariance_by_types_written_out(layers):
    """Every type by itself, and moments of the layer below by a grid of normal pairs."""
    target, _ = data(n=3)
    model = dataclasses.replace(MODEL, activation="gelu", n_hidden_layers=layers)
    e = equations(model, target)
    law, types, blocks = some_law(e), e.kernels.types.at, e.blocks
    lam0, X = model.lam0, target[0]
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    pairs = np.stack(np.meshgrid(x, x, indexing="ij")).reshape(2, -1)
    both_w = np.outer(w, w).ravel()
    f = UNIT["gelu"]

    def average(K, *functions):
        """E f_a(u_i) f_b(u_j) of normal u of covariance K, for all pairs of functions."""
        out = np.empty((len(functions), len(functions), 3, 3))
        for i, j in np.ndindex(3, 3):
            z = np.clip(K[i, j] / math.sqrt(K[i, i] * K[j, j]), -1, 1)
            u = math.sqrt(K[i, i]) * pairs[0]
            v = math.sqrt(K[j, j]) * (z * pairs[0] + math.sqrt(1 - z * z) * pairs[1])
            for a, b in np.ndindex(*out.shape[:2]):
                out[a, b, i, j] = both_w @ (functions[a](u, i) * functions[b](v, j))
        return out

    K = X @ X.T / X.shape[1] / lam0
    deeper = np.zeros((3, 3))
    for level in range(1, layers):
        root = np.sqrt(np.diagonal(K))
        mean = f(root[:, None] * x) @ w
        square = f(root[:, None] * x) ** 2 @ w
        if level == layers - 1:
            break
        own = average(K, lambda u, i, s=square: (f(u) ** 2 - s[i]) / lam0)[0, 0]
        deeper, K = own, average(K, lambda u, i: f(u))[0, 0] / lam0
    second = square - mean**2
    moments = average(
        K,
        lambda u, i: (f(u) - mean[i]) / math.sqrt(lam0),
        lambda u, i: ((f(u) - mean[i]) ** 2 - second[i]) / lam0,
    )
    a = second / lam0
    grid = types[:, None, None] * mean[:, None] / math.sqrt(lam0) + np.sqrt(a)[:, None] * x
    g, c = f(grid) @ w, (f(grid) * x) @ w / np.sqrt(a)
    bend = (f(grid) * (x**2 - 1)) @ w / (2 * a)
    e_, b = (law.share * law.mean * types) @ c, (law.share * law.mean) @ bend
    psi = np.array([e_, b])
    want = np.einsum("ai,bj,abij->ij", psi, psi, moments)
    h = 1e-4  # what moments of the layer below average to, by the variance of its input
    root = np.sqrt(np.diagonal(K))
    moved = [f(np.sqrt(root**2 + s)[:, None] * x) for s in (h, -h)]
    first, two = ((np.stack([(v - mean[:, None]) ** k @ w for v in moved])) for k in (1, 2))
    response = [(v[0] - v[1]) / (2 * h) / lam0 ** (k / 2) for k, v in ((1, first), (2, two))]
    passed = psi[0] * response[0] + psi[1] * response[1]
    want += np.outer(passed, passed) * deeper
    kappa = e.blocks.parts
    want += np.einsum("k,ki,kj->ij", law.share * law.square, c, c) * np.tensordot(
        law.weights, kappa, 1
    )
    z = kappa.sum(0) / np.sqrt(np.outer(a, a))
    for k in range(len(types)):
        full = np.empty((3, 3))
        for i, j in np.ndindex(3, 3):
            rho = np.clip(z[i, j], -1, 1)
            u = f(types[k] * mean[i] / math.sqrt(lam0) + math.sqrt(a[i]) * pairs[0])
            other = rho * pairs[0] + math.sqrt(1 - rho**2) * pairs[1]
            v = f(types[k] * mean[j] / math.sqrt(lam0) + math.sqrt(a[j]) * other)
            full[i, j] = both_w @ (u * v)
        full -= np.outer(g[k], g[k]) + np.outer(c[k], c[k]) * kappa.sum(0)
        want += law.share[k] * law.square[k] * full
    assert_allclose(blocks.own(law, types), want, rtol=1e-5)
    shared = (law.share * law.mean) @ g
    spread = np.einsum("k,ki,kj->ij", law.share * law.square, g, g) - np.outer(shared, shared)
    assert_allclose(blocks.spread(law), spread, rtol=1e-8)


@pytest.mark.parametrize("layers", [2, 3])
def test_pulls_are_slopes_of_the_action(layers):
    target, _ = data(2.0)
    e = equations(dataclasses.replace(MODEL, activation="gelu", n_hidden_layers=layers), target)
    law, h = some_law(e), 1e-5

    def by_data(**moved):
        at = law._replace(**moved)
        return e.action(at) - e.cost(at)

    on_square, on_mean, on_r = e.pulls(law, e.inverses(law, e.labels))
    for name, want in (("square", on_square), ("mean", on_mean)):
        for k in (0, 4, 7, 9):
            step = h * np.eye(e.n_types)[k]
            up, down = (by_data(**{name: getattr(law, name) + s}) for s in (step, -step))
            assert (up - down) / (2 * h) == pytest.approx(law.share[k] * want[k], abs=1e-7)
    for k in range(e.n_below):
        step = np.exp(h * np.eye(e.n_below)[k])
        up, down = by_data(through=law.through * step), by_data(through=law.through / step)
        assert (up - down) / (2 * h) == pytest.approx(on_r[k], abs=1e-7)


def test_solution_is_a_minimum_and_gives_the_evidence():
    target, _ = data(3.0)
    e = equations(MODEL, target)
    x, residual = e.solve()
    assert residual < 1e-11
    law, rng = e.law(x), np.random.default_rng(0)
    least = e.action(law)
    for _ in range(30):
        move = 0.02 * rng.normal(size=(4, e.n_types))
        share = law.share * np.exp(move[0])
        mean = law.mean + move[1]
        away = Law(
            share / share.sum(), mean, mean**2 + law.spread * np.exp(move[2]),
            law.through * math.exp(move[3, 0]),
        )  # fmt: skip
        assert e.action(away) > least
    n = len(target[1])
    want = -0.5 * (MODEL.width * least + n * math.log(2 * math.pi / MODEL.lam1))
    assert solve(MODEL, target, on_failure="ignore").log_evidence == pytest.approx(want, rel=1e-12)


def test_symmetries():
    (X, y), (Xe, ye) = data(2.0)
    options = {"on_failure": "ignore"}
    want = solve(MODEL, (X, y), None, (Xe, ye), **options)
    turned = solve(MODEL, (X, -y), None, (Xe, -ye), **options)
    order = np.random.default_rng(1).permutation(len(y))
    mixed = solve(MODEL, (X[order], y[order]), None, (Xe, ye), **options)
    # labels times c are read-outs of precision lam1 / c^2 and noise times c^2
    scaled = dataclasses.replace(MODEL, lam1=MODEL.lam1 / 9, temperature_target=0.45)
    scaled = solve(scaled, (X, 3 * y), None, (Xe, 3 * ye), **options)
    for other, by in ((turned, 1.0), (mixed, 1.0), (scaled, 9.0)):
        for name in ("bias", "thermal", "loo"):
            assert getattr(other, name) / by == pytest.approx(getattr(want, name), rel=1e-8)
        assert_allclose(other.Q_layers, want.Q_layers, rtol=1e-8)
    assert_allclose(turned.mean, -want.mean, rtol=1e-7)
    assert want.Q_tt > 0.05


def test_leave_one_out_is_that_of_networks_on_one_row_less():
    (X, y), _ = data(2.0, n=14)
    found = Problem((X, y), None)._solve_by_law(MODEL).columns[0].loo
    for i in range(0, 14, 3):
        keep = np.arange(14) != i
        one = solve(MODEL, (X[keep], y[keep]), None, (X[i : i + 1], y[i : i + 1]),
                    on_failure="ignore")  # fmt: skip
        assert y[i] - one.mean[0] == pytest.approx(found.mean[i], abs=0.15)
        assert one.thermal == pytest.approx(found.thermal[i], rel=0.15)


def test_read_outs_of_separate_tasks_share_their_means():
    target, source = data(2.0, seed=0), data(1.5, seed=1)
    model = dataclasses.replace(MODEL, lam1_source=1.3, temperature_source=0.1)
    theory = solve(model, target[0], source[0], on_failure="ignore")
    own = dataclasses.replace(model, lam1=1.3, temperature_target=0.1)
    alone = solve(own, source[0], on_failure="ignore")
    assert theory.Q_s == pytest.approx(alone.Q_t, rel=1e-10)
    assert theory.Q_st == pytest.approx(math.sqrt(alone.Q_tt * theory.Q_tt), rel=1e-8)
    assert theory.log_evidence_source == pytest.approx(alone.log_evidence, rel=1e-10)
    away = solve(model, target[0], (source[0][0], -source[0][1]), on_failure="ignore")
    assert away.Q_st == pytest.approx(-theory.Q_st, rel=1e-8)


def test_curve_columns_and_derivatives():
    (X, y), (Xe, ye) = data(0.7)
    model = dataclasses.replace(MODEL, width=60.0)
    axes = {"width": [40, 60], "n_hidden_layers": [1, 2]}
    sweep = curve(model, axes, (X, y), None, (Xe, ye), on_failure="ignore")
    one = solve(model, (X, y), None, (Xe, ye), on_failure="ignore")
    assert sweep["test_error"][1, 1] == one.test_error
    Y, Ye = np.column_stack([y, y - 0.7]), np.column_stack([ye, ye - 0.7])
    two = solve(model, (X, Y), None, (Xe, Ye), on_failure="ignore")
    assert_allclose(two.Q_layers[0], one.Q_layers, rtol=1e-9)
    assert_allclose(two.mean[:, 0], one.mean, rtol=1e-9)
    found = derivatives(model, ["width", "lam1"], "test_error", target=(X, y), test=(Xe, ye))
    for name in ("width", "lam1"):
        h = 1e-4 * getattr(model, name)
        up, down = (
            solve(dataclasses.replace(model, **{name: getattr(model, name) + s}), (X, y), None,
                  (Xe, ye), on_failure="ignore").test_error for s in (h, -h)
        )  # fmt: skip
        assert found["test_error", name] == pytest.approx((up - down) / (2 * h), rel=1e-4)


def test_rows_of_zeros_and_equal_rows():
    (X, y), test = data(1.0)
    X = X.copy()
    X[0], X[2] = 0.0, X[1]
    theory = solve(MODEL, (X, y), None, test, on_failure="ignore")
    assert theory.residual < 1e-10
    assert np.isfinite(theory.test_error)
    cold = dataclasses.replace(MODEL, temperature_target=0.0)
    with pytest.raises(NumericalError, match=r"not positive definite at temperature 0: raise it"):
        solve(cold, (X, y))


def test_what_stays_approximate_is_said():
    target, _ = data(1.0)
    with pytest.warns(ValidityWarning, match=r"\(more than 2 %\)"):
        solve(dataclasses.replace(MODEL, n_hidden_layers=3), target)
    solve(MODEL, target, on_failure="raise")
    with pytest.warns(ValidityWarning, match=r"\(more than 20 %\)"):
        solve(MODEL, data(6.0)[0])
