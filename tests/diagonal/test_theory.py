"""Reference values of the fixed point and the scalars, identities, limits and bad input."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import brentq

from retemper.diagonal import (
    Component,
    DiagonalModel,
    curve,
    finetune_scale,
    pretraining_channel,
    solve,
)
from retemper.exceptions import NumericalError, ValidityWarning

T5 = {"rho_ft": 0.1, "omega": 0.0}
WARM = {"omega": 0.5, "init_scale": 0.01, "mode": "warm"}
BOTH = {"omega": 0.5, "init_scale": 0.01, "balance": -0.5, "readout_scale": 0.2}

# parameters, mse, tau, theta
REFERENCE = {
    "T1": ((0.05, {"omega": 1.0}), 0.5201607592, 10.40321518, 3.948777714),
    "T2": ((0.3, {"omega": 1.0}), 5.704995291e-5, 1.901665097e-4, 0.02140818184),
    "T3": ((0.1, {"omega": 1.0, "balance": 0.99}), 0.1046871889, 1.046871889, 1.255276559),
    "T4": ((0.05, {"rho_ft": 0.01, "omega": 1.0, "balance": -0.99}),
           0.02353135539, 0.4706271079, 0.3622896232),
    "T5": ((0.3, T5), 0.4403136438, 1.467712146, 0.5191909646),
    "T6": ((0.3, T5 | {"readout_scale": 1.0}), 0.5964032474, 1.988010825, 3.302462644),
    "T7": ((0.2, {"balance": -0.99}), 0.2906795100, 1.453397550, 0.3483785369),
    "T8": ((0.2, {"balance": -0.99, "noise": math.sqrt(0.1)}),
           0.4606254717, 2.803127358, 0.4572282780),
    "T9": ((0.5, T5 | {"readout_scale": 10.0}), 0.5007695002, 1.001539000, 100.2120120),
    "T10": ((0.5, {"rho_ft": 0.9, "omega": 0.0, "readout_scale": 1.0}),
            0.5573764690, 1.114752938, 1.581517388),
    "T11": ((0.1, {"rho_ft": 0.04, "omega": 1.0, "init_scale": 1e-6}),
            0.009785339774, 0.09785339774, 0.1649144592),
    "T12": ((0.3, T5 | {"balance": -1.0, "readout_scale": 1e-3}),
            0.09855666134, 0.3285222045, 0.09787847028),
    "T13": ((0.5, {"init_scale": 1.0, "readout_scale": 1.0, "noise": math.sqrt(0.1)}),
            0.5190636565, 1.238127313, 5.257884626),
    "T14": ((0.8, {"balance": -0.9, "readout_scale": 0.1, "noise": math.sqrt(0.05)}),
            0.2329560100, 0.3536950125, 0.06508059813),
    "T15": ((2.0, BOTH | {"noise": math.sqrt(0.5), "mu": 0.3}),
            0.1375696948, 0.3187848474, 0.2146330738),
    "T16": ((0.3, BOTH | {"mu": 0.1}), 0.2597705618, 0.8659018726, 1.025441616),
    "T17": ((0.25, WARM | {"shared": "aligned"}), 0.1528558219, 0.6114232877, 0.5383722679),
    "T18": ((0.25, WARM | {"shared": "opposite"}), 0.2689736573, 1.075894629, 0.6078123245),
    "T19": ((0.2, {"omega": 1.0, "init_scale": 0.01, "alpha_pt": 0.3}),
            0.3042538215, 1.521269108, 1.487660101),
    "T20": ((0.3, {"init_scale": 1e-12, "mode": "scratch"}),
            0.06912656844, 0.2304218948, 0.04245019300),
}  # fmt: skip


def model(name):
    (alpha, rest), *_ = REFERENCE[name]
    return DiagonalModel(alpha, **rest)


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values(name):
    _, mse, tau, theta = REFERENCE[name]
    found = solve(model(name))
    assert_allclose([found.mse, found.tau, found.effective_mu], [mse, tau, theta], rtol=1e-8)
    assert found.status == "converged"
    assert found.residual < 1e-9
    assert found.quadrature_error < 1e-11


def test_reference_training_errors_and_forgetting():
    assert_allclose(solve(model("T15")).train_error, 0.3113987704, rtol=1e-8)
    assert_allclose(solve(model("T16")).train_error, 0.02744893805, rtol=1e-8)
    assert_allclose(solve(model("T17")).forgetting, 0.2784239075, rtol=1e-8)
    assert_allclose(solve(model("T18")).forgetting, 0.3237970961, rtol=1e-8)


# four significant digits: alpha = .05, .1, .2, .3, .5 for (balance, readout) =
# (-.99, 0), (0, 0), (.99, 0), (0, 1), (0, 10)
TABLE = {
    (1.0, 0.1): [
        [0.6852, 0.3715, 0.02495, 5.488e-5, 9.706e-8],
        [0.5202, 0.1353, 8.543e-4, 5.705e-5, 4.99e-6],
        [0.5081, 0.1047, 6.176e-4, 6.638e-5, 7.681e-6],
        [0.8268, 0.6755, 0.4327, 0.2656, 0.0943],
        [0.9483, 0.8968, 0.7943, 0.6925, 0.4909],
    ],
    (0.0, 0.9): [
        [1.232, 1.203, 1.103, 0.9836, 0.7176],
        [1.577, 1.523, 1.284, 1.098, 0.774],
        [1.705, 1.7, 1.363, 1.138, 0.7862],
        [0.9749, 0.9418, 0.8592, 0.7642, 0.5574],
        [0.9502, 0.9004, 0.8006, 0.7008, 0.501],
    ],
    (1.0, 0.01): [
        [0.02353, 1.125e-4, 5.039e-7, 2.139e-8, 1.247e-9],
        [0.1958, 0.01212, 6.22e-5, 8.078e-6, 1.041e-6],
        [0.2808, 0.02093, 1.162e-4, 1.693e-5, 2.325e-6],
        [0.7838, 0.531, 0.2256, 0.1055, 0.02967],
        [0.9483, 0.8967, 0.794, 0.6918, 0.4888],
    ],
}


@pytest.mark.parametrize("task", TABLE)
def test_published_table(task):
    omega, rho_ft = task
    start = [(-0.99, 0.0), (0.0, 0.0), (0.99, 0.0), (0.0, 1.0), (0.0, 10.0)]
    for (balance, readout), row in zip(start, TABLE[task], strict=True):
        base = DiagonalModel(
            0.1, omega=omega, rho_ft=rho_ft, balance=balance, readout_scale=readout
        )
        found = curve(base, {"alpha": [0.05, 0.1, 0.2, 0.3, 0.5]})
        assert_allclose(found["mse"], row, rtol=6e-3 if min(row) < 1e-3 else 1e-3)


def slow_averages(parts, tau, theta):
    """E (x - B)^2 and E x' by adaptive quadrature in z with a bisected proximal solve."""
    error = dof = 0.0
    for weight, mean, var, c in parts:
        total = var + tau

        def x_of(z, c=c):
            top = abs(z) + 1.0
            return brentq(lambda x: x + 0.5 * theta * math.asinh(x / c) - z, -top, top, xtol=1e-15)

        def density(z, mean=mean, total=total):
            return math.exp(-((z - mean) ** 2) / (2 * total)) / math.sqrt(2 * math.pi * total)

        def one(z, *, mean=mean, var=var, total=total, x_of=x_of, density=density):
            gap = x_of(z) - mean - var / total * (z - mean)
            return density(z) * (gap**2 + var * tau / total)

        def two(z, *, c=c, x_of=x_of, density=density):
            root = math.hypot(c, x_of(z))
            return density(z) * root / (root + 0.5 * theta)

        ends = [mean - 9 * math.sqrt(total), mean, mean + 9 * math.sqrt(total)]
        for a, b in itertools.pairwise(ends):
            error += weight * quad(one, a, b, epsrel=1e-10, epsabs=0, limit=200)[0]
            dof += weight * quad(two, a, b, epsrel=1e-10, epsabs=0, limit=200)[0]
    return error, dof


@pytest.mark.parametrize("mu", [0.0, 0.2])
def test_solution_satisfies_the_equations_by_another_quadrature(mu):
    given = DiagonalModel(0.4, init_scale=0.1, balance=-0.3, noise=0.3, mu=mu, rho_ft=0.2)
    found = solve(given)
    scale = finetune_scale([1.0, 0.0], 0.1, -0.3)
    parts = [
        (p.weight, p.target_mean, p.target_var, scale[0 if p.source_mean else 1])
        for p in given.law()
    ]
    error, dof = slow_averages(parts, found.tau, found.effective_mu)
    assert_allclose(error, found.mse, rtol=1e-8)
    assert_allclose(found.effective_mu * (given.alpha - dof), mu, atol=1e-8)
    assert_allclose((0.09 + error) / 0.4, found.tau, rtol=1e-8)


def test_two_level_laws_collapse():
    one = solve(DiagonalModel(0.25, balance=-0.9, readout_scale=0.3))
    two = solve(DiagonalModel(0.25, init_scale=0.1127091, balance=-0.8882078, readout_scale=0.2))
    assert_allclose(one.mse, two.mse, rtol=1e-6)


@pytest.mark.parametrize("s", [1e-30, 1e-3, 7.0, 1e30])
def test_homogeneity(s):
    base = DiagonalModel(0.3, noise=0.2, readout_scale=0.5, mu=0.1)
    scaled = DiagonalModel(
        0.3, noise=0.2 * s, readout_scale=0.5 * math.sqrt(s), mu=0.1 * s, a_pt=s,
        var_ft=10.0 * s**2, init_scale=1e-3 * s,
    )  # fmt: skip
    assert_allclose(solve(scaled).mse, s**2 * solve(base).mse, rtol=1e-10)


def test_lazy_limit_is_minimum_norm():
    found = solve(DiagonalModel(0.4, init_scale=1e6, noise=math.sqrt(0.2), mode="scratch"))
    assert_allclose(found.mse, 0.6 + 0.2 * 0.4 / 0.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("c", "mse"), [(1e-3, 0.1617), (1e-6, 0.1016), (1e-12, 0.0691), (1e-30, 0.0485),
                   (1e-100, 0.0385)],
)  # fmt: skip
def test_rich_limit_comes_slowly(c, mse):
    assert_allclose(solve(DiagonalModel(0.3, init_scale=c, mode="scratch")).mse, mse, rtol=2e-3)


@pytest.mark.parametrize("c", [1e-300, 1e-200, 1e200, 1e300])
def test_extreme_scales_are_certified(c):
    for mode in ("scratch", "reset", "warm"):
        found = solve(DiagonalModel(0.3, init_scale=c, mode=mode, noise=0.1))
        assert found.status == "converged"
        assert 0 < found.mse < 10


@pytest.mark.parametrize("mode", ["reset", "warm", "scratch"])
def test_least_squares_beyond_one_sample_per_feature(mode):
    found = solve(DiagonalModel(1.6, noise=0.5, mode=mode))
    assert_allclose([found.mse, found.train_error], [0.25 / 0.6, 0.25 * (1 - 1 / 1.6)])
    assert found.dof == 1.0
    assert solve(DiagonalModel(1.0, mode=mode)).mse == 0.0


def test_small_penalty_approaches_interpolation_and_least_squares():
    for alpha in (0.4, 1.7):
        pinned = solve(DiagonalModel(alpha, noise=0.3, mu=1e-9))
        assert_allclose(pinned.mse, solve(DiagonalModel(alpha, noise=0.3)).mse, rtol=1e-6)


def test_interpolation_threshold_with_noise_is_said():
    with pytest.warns(ValidityWarning, match="no solution"):
        found = solve(DiagonalModel(1.0, noise=0.1))
    assert found.status == "no_solution"
    assert found.mse == math.inf
    with pytest.raises(NumericalError):
        solve(DiagonalModel(1.0, noise=0.1), on_failure="raise")
    near = [solve(DiagonalModel(a, noise=0.1)) for a in (1 - 1e-9, 1 + 1e-9)]
    assert all(r.status == "converged" and r.mse > 1e5 for r in near)


def test_frozen_features_are_lost_and_act_as_noise():
    given = {"init_scale": 0.0, "noise": 0.3}  # features outside the source are frozen
    few = solve(DiagonalModel(0.05, **given))
    lost = few.group_weight[2] * few.group_mse[2]
    assert_allclose(few.group_mse[2], 10.0)
    tiny = solve(DiagonalModel(0.05, init_scale=1e-290, noise=0.3))
    assert abs(tiny.mse / few.mse - 1) < 0.05
    many = solve(DiagonalModel(0.4, **given))  # 0.1 features are free: least squares
    noise = 0.09 + lost
    assert_allclose(many.tau, noise / (0.4 - 0.1))
    assert_allclose(many.mse, lost + 0.1 * many.tau)
    assert_allclose(many.train_error, noise * (1 - 0.1 / 0.4))
    with pytest.raises(ValueError, match="every coordinate is frozen"):
        solve(DiagonalModel(0.05, balance=-1.0))


def test_random_problems_are_certified():
    """The search starts from few nodes and a sketch of the law; what it ends at is checked."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        rho = float(rng.uniform(0.05, 0.6))
        noisy = {"alpha_pt": 1.5, "noise_pt": 0.3}
        found = solve(
            DiagonalModel(
                float(rng.uniform(0.02, 1.6)),
                rho_pt=rho,
                rho_ft=0.9 * rho,
                init_scale=float(10 ** rng.uniform(-14, 2)),
                balance=float(rng.choice([-0.999, -0.9, 0.0, 0.99])),
                readout_scale=float(rng.choice([0.0, 0.1, 10.0])),
                noise=float(rng.choice([0.0, 0.1, 1.0])),
                mu=float(rng.choice([0.0, 0.01, 1.0])),
                mode=str(rng.choice(["reset", "warm", "scratch"])),
                shared=str(rng.choice(["independent", "aligned", "opposite"])),
                rebalance=str(rng.choice(["sum", "none"])),
                **[{}, {"alpha_pt": 0.2}, {"alpha_pt": 0.6}, noisy][rng.integers(4)],
            )
        )
        assert found.status == "converged"
        assert found.residual < 1e-11
        assert found.quadrature_error < 1e-11


def test_groups_add_up():
    for name in ("T8", "T17", "T19"):
        found = solve(model(name))
        assert_allclose(found.group_weight.sum(), 1.0)
        assert_allclose(found.group_weight @ found.group_mse, found.mse, rtol=1e-12)
        assert_allclose(found.group_weight @ found.group_forgetting, found.forgetting, rtol=1e-12)
    assert solve(model("T8")).group_names == ("shared", "lost", "new", "silent")
    assert solve(model("T1")).group_names == ("shared", "silent")


def test_components_reproduce_the_built_in_law_and_split_freely():
    given = model("T8")
    parts = given.law()
    half = [
        Component(weight=p.weight / 2, source_mean=sign * p.source_mean, target_var=p.target_var)
        for p in parts
        for sign in (1.0, -1.0)
    ]
    for law in (parts, tuple(half)):
        again = DiagonalModel(given.alpha, balance=given.balance, noise=given.noise, components=law)
        assert_allclose(solve(again).mse, solve(given).mse, rtol=1e-12)


def test_gaussian_source_equals_its_atoms():
    """A correlated Gaussian source is the limit of many atoms."""
    c, corr = 1.0, 0.6
    whole = DiagonalModel(0.4, init_scale=c, components=(
        Component(weight=1.0, source_var=1.0, target_var=2.0, covariance=corr),))  # fmt: skip
    x, w = np.polynomial.hermite_e.hermegauss(180)
    w /= w.sum()
    keep = w > 1e-14
    w = w[keep] / w[keep].sum()
    atoms = tuple(
        Component(weight=float(a), source_mean=float(b), target_mean=corr * float(b),
                  target_var=2.0 - corr**2)
        for a, b in zip(w, x[keep], strict=True)
    )  # fmt: skip
    split = DiagonalModel(0.4, init_scale=c, components=atoms)
    assert_allclose(solve(whole).mse, solve(split).mse, rtol=1e-8)


def test_pretraining_on_more_data_than_features_is_exact_without_noise():
    sure = solve(DiagonalModel(0.2, init_scale=0.01)).mse
    assert_allclose(solve(DiagonalModel(0.2, init_scale=0.01, alpha_pt=1.5)).mse, sure, rtol=1e-10)
    noisy = [
        solve(DiagonalModel(0.2, init_scale=0.01, alpha_pt=1.5, noise_pt=s)).mse
        for s in (1e-4, 0.1, 0.5)
    ]
    assert abs(noisy[0] / sure - 1) < 1e-2
    assert noisy[0] < noisy[1] < noisy[2]


def test_curve_equals_solve_and_threads_do_not_matter():
    base = DiagonalModel(0.1, noise=0.2)
    grid = {"alpha": np.linspace(0.05, 1.5, 7), "balance": [-0.9, 0.0, 0.9]}
    one = curve(base, grid, n_jobs=1)
    for n_jobs in (2, 3):
        assert_array_equal(curve(base, grid, n_jobs=n_jobs)["mse"], one["mse"])
    alone = solve(DiagonalModel(float(grid["alpha"][3]), balance=0.9, noise=0.2))
    assert_allclose(one["mse"][3, 2], alone.mse, rtol=1e-11)
    assert curve(base, {"rho_shared": [0.0, 0.5], "rho_new": [0.1]})["mse"].shape == (2, 1)


def test_curve_over_text_tuples_and_probabilities():
    base = DiagonalModel(0.2, init_scale=0.01, shared="aligned")
    modes = curve(base, {"mode": ["reset", "warm", "scratch"], "alpha": [0.1, 0.2]})
    assert modes.axes["mode"].tolist() == ["reset", "warm", "scratch"]
    for i, mode in enumerate(modes.axes["mode"]):
        alone = solve(dataclasses.replace(base, mode=str(mode)))
        assert_allclose(modes["mse"][i, 1], alone.mse, rtol=1e-11)
        assert_allclose(modes["effective_mu"][i, 1], alone.effective_mu, rtol=1e-10)
    assert modes["valid"].all()
    laws = [model("T1").law(), model("T8").law()]
    found = curve(base, {"components": laws}, quantities=["mse", "dof", "quadrature_error"])
    assert found.axes["components"].tolist() == [0, 1]
    assert found.axis_values["components"] == tuple(laws)
    assert set(found.values) == {"mse", "dof", "quadrature_error", "status", "valid"}
    wanted = [solve(dataclasses.replace(base, components=law)).mse for law in laws]
    assert_allclose(found["mse"], wanted, rtol=1e-11)
    groups = curve(base, {"alpha": [0.1, 0.2]}, quantities=["group_mse"])["group_mse"]
    assert_allclose(groups[1], solve(base).group_mse, rtol=1e-10)


def test_curve_says_once_what_is_not_valid():
    base, axes = DiagonalModel(0.5, noise=0.1), {"alpha": [0.9, 1.0, 1.1]}
    with pytest.warns(ValidityWarning, match="1 of 3 points .*alpha=1: .*no solution") as said:
        found = curve(base, axes)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert found["valid"].tolist() == [True, False, True]
    assert found["status"].tolist() == ["converged", "no_solution", "converged"]
    assert found["mse"][1] == math.inf
    with pytest.raises(NumericalError, match="1 of 3 points"):
        curve(base, axes, on_failure="raise")
    assert_array_equal(curve(base, axes, on_failure="ignore")["mse"], found["mse"])


def test_curve_goes_on_where_pretraining_has_no_solution(monkeypatch):
    def fails_at_a_half(given):
        if given.alpha_pt == 0.5:
            raise NumericalError("the fixed point of pre-training was lost")
        return pretraining_channel(given)

    monkeypatch.setattr("retemper.diagonal.law.pretraining_channel", fails_at_a_half)
    base, axes = DiagonalModel(0.2, init_scale=0.01), {"alpha_pt": [0.4, 0.5, 0.6]}
    with pytest.warns(ValidityWarning, match=r"1 of 3 points .*alpha_pt=0\.5: .*was lost"):
        found = curve(base, axes)
    assert np.isnan(found["mse"]).tolist() == [False, True, False]
    assert found["status"][1] == "invalid"
    assert [point["alpha_pt"] for point in found.failures] == [0.5]


def test_curve_reports_progress_and_refuses_unknown_names():
    seen = []
    curve(DiagonalModel(0.1), {"alpha": np.linspace(0.1, 0.5, 20)},
          progress=lambda *a: seen.append(a))  # fmt: skip
    assert seen[-1] == (20, 20)
    with pytest.raises(ValueError, match="beta"):
        curve(DiagonalModel(0.1), {"beta": [1.0]})
    with pytest.raises(ValueError, match="quantities must be one of"):
        curve(DiagonalModel(0.1), {"alpha": [0.1]}, quantities=["loss"])
    with pytest.raises(ValueError, match="at least one value"):
        curve(DiagonalModel(0.1), {"alpha": []})
