"""Theory of the linear system: identities, the slow obvious version, sweeps, reference values."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.linear import (
    LinearModel,
    curve,
    deep_scale,
    simulate,
    solve,
)

from .models import (
    DEPTHS,
    MODELS,
    dense,
    finite_model,
    obvious,
    power_model,
    rotation,
)
from .portable import D5, SRC, combine, covariance, data, matrix, spectrum, teacher


@pytest.mark.parametrize("name", [k for k in MODELS if k != "negative ridge"])
def test_agrees_with_the_obvious_version(name):
    model, theory = MODELS[name], solve(MODELS[name])
    bias, variance, scale = obvious(model)
    assert_allclose(theory.bias, bias, rtol=1e-9, atol=1e-15)
    assert_allclose(theory.variance, variance, rtol=1e-9, atol=1e-15)
    assert_allclose(theory.source_scale, scale, rtol=1e-9)
    assert_allclose(theory.risk, bias + variance, rtol=1e-9)
    assert_allclose(theory.risk_scratch, sum(obvious(model, 0.0)[:2]), rtol=1e-9)
    assert_allclose(theory.risk_optimal, sum(obvious(model, theory.optimal_scale)[:2]), rtol=1e-9)
    zero = dataclasses.replace(model, n_samples=0, ridge=0.0, depth=1)
    assert_allclose(theory.risk_zero_shot, obvious(zero)[0], rtol=1e-9)
    assert theory.status == "converged"


@pytest.mark.parametrize("name", MODELS)
def test_order_of_the_risks(name):
    theory = solve(MODELS[name])
    assert theory.risk_bound >= theory.risk * (1 - 1e-12)
    assert theory.risk_optimal <= theory.risk_scratch
    assert theory.risk_optimal <= theory.risk * (1 + 1e-12)
    assert_allclose(theory.bias + theory.variance, theory.risk)
    assert theory.bound_k < max(MODELS[name].n_samples, 1)


def test_isotropic_risk():
    d, n, sigma = 400, 100, 0.5
    delta = combine([[0.7, "cos", 0.3]], d)
    model = LinearModel(n, delta, noise=sigma)
    theory = solve(model)
    assert_allclose(theory.bias, (1 - n / d) * 0.49, rtol=1e-12)
    assert_allclose(theory.variance, sigma**2 * n / (d - n), rtol=1e-12)
    # exact for Gaussian inputs at finite size, up to 1/d
    assert_allclose(theory.variance, sigma**2 * n / (d - n - 1), rtol=5e-3)
    above = solve(dataclasses.replace(model, n_samples=2 * d))
    assert above.bias == 0
    assert_allclose(above.variance, sigma**2, rtol=1e-12)
    best = sigma**2 * d / (n * 0.49)
    ridges = best * np.array([0.97, 1.0, 1.03])
    low, middle, high = curve(model, {"ridge": ridges})["risk"]
    assert middle < min(low, high)


@pytest.mark.parametrize("name", ["fixed", "finite, own covariance", "finite, both dense"])
def test_rotation_of_everything_changes_nothing(name):
    model = MODELS[name]
    d = model.n_features
    q = rotation(d)
    target = dense(model.spectrum if model.cov is None else model.cov, d)
    changes = {"spectrum": None, "cov": q @ target @ q.T, "theta_target": q @ model.theta_target}
    changes["cov"] = (changes["cov"] + changes["cov"].T) / 2
    if model.source_coef is not None:
        changes["source_coef"] = q @ model.source_coef
    if model.theta_source is not None:
        source = q @ dense(model.cov_source, d) @ q.T
        changes["theta_source"] = q @ model.theta_source
        changes["cov_source"] = (source + source.T) / 2
    one, other = solve(model), solve(dataclasses.replace(model, **changes))
    for field in ("risk", "effective_ridge", "optimal_scale", "risk_optimal", "risk_bound"):
        assert_allclose(getattr(other, field), getattr(one, field), rtol=1e-9)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.sampled_from(["ridge", "deep", "finite, deep"]))
def test_units_of_inputs_and_labels(x_unit, y_unit, name):
    model = MODELS[name]
    changes = {"theta_target": model.theta_target * y_unit / x_unit, "noise": model.noise * y_unit}
    for vector in ("source_coef", "theta_source"):
        if getattr(model, vector) is not None:
            changes[vector] = getattr(model, vector) * y_unit / x_unit
    for cov in ("spectrum", "cov_source"):
        if getattr(model, cov) is not None:
            changes[cov] = getattr(model, cov) * x_unit**2
    changes["noise_source"] = model.noise_source * y_unit
    changes["ridge"] = model.ridge * x_unit**2
    one, other = solve(model), solve(dataclasses.replace(model, **changes))
    assert_allclose(other.risk, y_unit**2 * one.risk, rtol=1e-9)
    assert_allclose(other.source_scale, one.source_scale, rtol=1e-9)


def test_outputs_add_up():
    d = 50
    rng = np.random.default_rng(0)
    target, source = rng.normal(size=(2, 3, d)) / math.sqrt(d)
    shared = {"spectrum": spectrum("power", d, 0.5), "noise": 0.2, "heads": "independent"}
    for depth in (1, 3):
        both = solve(LinearModel(20, target, source_coef=source, depth=depth, **shared))
        single = [
            solve(LinearModel(20, target[i], source_coef=source[i], depth=depth, **shared))
            for i in range(3)
        ]
        for name in ("risk", "bias", "variance", "risk_scratch", "risk_zero_shot"):
            assert_allclose(getattr(both, name), sum(getattr(s, name) for s in single))
        if depth == 3:
            assert_allclose(both.source_scale, [s.source_scale for s in single])
        else:
            assert both.source_scale == 1.0
            assert both.risk_optimal >= sum(s.risk_optimal for s in single)
        assert both.risk_bound >= both.risk
        column = LinearModel(20, target[:1], source_coef=source[:1], depth=depth, **shared)
        assert_allclose(solve(column).risk, single[0].risk)
        assert solve(column).source_scale == single[0].source_scale


@given(st.floats(-3, 3))
def test_optimal_scale_minimises(scale):
    for name in ("fixed", "finite, own covariance"):
        best = solve(MODELS[name])
        assert best.risk_optimal <= sum(obvious(MODELS[name], scale)[:2]) * (1 + 1e-12)


def test_infinite_source_sample_is_a_fixed_source():
    fixed = solve(power_model())
    sizes = np.array([10**4, 10**6, 10**8])
    swept = curve(finite_model(noise_source=1.0), {"n_samples_source": sizes})
    gap = np.abs(swept["risk"] - fixed.risk)
    assert_allclose(gap * sizes, gap[-1] * sizes[-1], rtol=0.05)
    assert gap[-1] < 1e-6
    noiseless = solve(finite_model(noise_source=0.0, n_samples_source=61))
    assert_allclose(noiseless.risk, fixed.risk, rtol=1e-12)
    empty = solve(finite_model(n_samples_source=0))
    assert_allclose(empty.risk, solve(power_model(source_coef=None)).risk, rtol=1e-12)


def test_noiseless_risk_falls_with_data():
    risk = curve(power_model(noise=0.0), {"n_samples": range(60)})["risk"]
    assert (np.diff(risk) < 0).all()
    assert_allclose(risk[0], solve(power_model()).risk_zero_shot)


@pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
def test_at_the_threshold():
    clean = solve(power_model(n=60, noise=0.0))
    assert (clean.risk, clean.status) == (0.0, "converged")
    noisy = solve(power_model(n=60))
    assert noisy.risk == noisy.variance == math.inf
    assert noisy.bias == 0
    assert noisy.status == "invalid"
    assert "n_samples equals the rank" in noisy.message
    assert solve(power_model(n=60, ridge=1e-3)).risk < math.inf
    for depth in (1, 3):
        source = solve(finite_model(n_samples_source=60, depth=depth))
        assert source.risk == math.inf
        assert source.optimal_scale == 0
        assert_allclose(source.risk_optimal, source.risk_scratch)
        assert "n_samples_source equals the rank" in source.message
        full = solve(finite_model(n_samples_source=60, n=100, depth=depth))
        assert_allclose(full.risk, 0.09 * 60 / 40)
    for depth in (1, 3, math.inf):
        swept = curve(power_model(depth=depth), {"n_samples": [0, 59, 60, 61], "noise": [0.0, 0.3]})
        assert [*swept["status"][:, 1]] == ["converged", "converged", "invalid", "converged"]
        assert (swept["status"][:, 0] == "converged").all()
        assert not any(
            np.isnan(v).any() for k, v in swept.values.items() if k not in ("status", "valid")
        )
        assert_allclose(swept["risk"][2:, 0], 0)


def test_the_threshold_warns():
    with pytest.warns(ValidityWarning, match="n_samples equals the rank of its covariance"):
        solve(power_model(n=60))


@pytest.mark.parametrize(
    ("i", "risk"),
    [
        (1, 0.00572915),
        (2, 0.0101721),
        (5, 0.0184698),
        (10, 0.0237826),
        (20, 0.0244342),
        (40, 0.0199133),
        (80, 0.0134106),
        (200, 0.00656896),
    ],
)
def test_critical_eigenvalue(i, risk):
    theory = solve(LinearModel(40, np.eye(200)[i - 1], spectrum=spectrum("power", 200, 1)))
    assert_allclose(theory.effective_ridge, 0.0653518, rtol=1e-6)
    assert_allclose(theory.risk, risk, rtol=1e-5)


def test_depth_without_data_or_source():
    assert solve(power_model(n=0, depth=5)).source_scale == 1
    nothing = solve(power_model(source_coef=None, depth=5))
    assert nothing.source_scale == 0
    assert nothing.risk == nothing.risk_scratch
    above = solve(power_model(n=100, depth=5))
    assert_allclose(above.risk, solve(power_model(n=100)).risk)
    assert 0 < above.source_scale < math.inf


def simulated_risk(model, n_repeats, seed):
    """Closed-form training on Gaussian data: mean risk and its standard error."""
    rng = np.random.default_rng(seed)
    d = model.n_features
    root = np.linalg.cholesky(dense(model.spectrum if model.cov is None else model.cov, d))
    other = root if model.cov_source is None else np.linalg.cholesky(dense(model.cov_source, d))
    risks = []
    for _ in range(n_repeats):
        start = model.source_coef
        if model.source_kind == "finite":
            xs = rng.normal(size=(model.n_samples_source, d)) @ other.T
            ys = xs @ model.theta_source + model.noise_source * rng.normal(
                size=model.n_samples_source
            )
            start = np.linalg.pinv(xs) @ ys
        x = rng.normal(size=(model.n_samples, d)) @ root.T
        y = x @ model.theta_target + model.noise * rng.normal(size=model.n_samples)
        inverse = np.linalg.pinv(x)
        fitted, inside = inverse @ y, inverse @ (x @ start)
        a2, p2, q2 = (v @ v for v in (fitted, inside, start - inside))
        w = fitted + deep_scale(a2, p2, q2, model.depth) * (start - inside)
        risks.append(np.square(root.T @ (w - model.theta_target)).sum())
    return np.mean(risks), np.std(risks) / math.sqrt(n_repeats)


@pytest.mark.parametrize(
    "model",
    [
        power_model(n=60, d=150, spectrum=spectrum("power", 150, 0.5), depth=3),
        finite_model(n=60, d=150, spectrum=spectrum("power", 150, 0.5), n_samples_source=80),
        finite_model(
            n=60,
            d=150,
            spectrum=spectrum("power", 150, 0.5),
            cov_source=covariance("two", 150, 0.3, 0.9),
            n_samples_source=80,
            noise_source=0.5,
            depth=4,
        ),
        finite_model(n=60, d=150, spectrum=None, n_samples_source=80, noise=0.4, depth=math.inf),
    ],
    ids=["deep", "finite", "finite, non-commuting, deep", "finite, infinitely deep"],
)
def test_agrees_with_training_on_data(model):
    mean, error = simulated_risk(model, 60, 1)
    theory = solve(model).risk
    assert abs(mean - theory) < 3 * error + 0.03 * theory


DEPTH_TABLE = {  # (epsilon, alpha): risk by depth
    (0, 0.5): [0.225000, 0.192759, 0.165613, 0.123528, 0.093623, 0.023206, 0],
    (0, 2): [0.900000, 0.717153, 0.597947, 0.446479, 0.352381, 0.129100, 0],
    (0, 4): [8.100000, 6.373453, 5.364286, 4.127599, 3.358837, 1.415298, 0],
    (0.5, 0.5): [0.450000, 0.428882, 0.411193, 0.383652, 0.363609, 0.308263, 0.263604],
    (0.5, 1): [0.225000, 0.225110, 0.225364, 0.226045, 0.226776, 0.230302, 0.237539],
    (0.5, 2): [1.125000, 0.930672, 0.805695, 0.648764, 0.552474, 0.330414, 0.228410],
    (0.5, 4): [8.325000, 6.581888, 5.564919, 4.320564, 3.548255, 1.602764, 0.225872],
}


@pytest.mark.parametrize("key", DEPTH_TABLE)
def test_depth_repairs_the_scale(key):
    epsilon, alpha = key
    e = np.eye(500)
    model = LinearModel(50, alpha * e[0] + epsilon * e[1], source_coef=e[0])
    assert_allclose(curve(model, {"depth": DEPTHS})["risk"], DEPTH_TABLE[key], atol=6e-7)


def test_scale_of_source_or_target_in_seven_layers():
    e = np.eye(100)
    target = e[0] + 0.5 * e[1]
    scales = [0.1, 0.3, 1, 3, 10]
    deep, plain = (
        [solve(LinearModel(10, target, source_coef=s * e[0], depth=k)).risk for s in scales]
        for k in (7, 1)
    )
    assert_allclose(deep, [0.528837, 0.373905, 0.226776, 1.878393, 36.474414], atol=6e-7)
    assert_allclose(plain, [0.954, 0.666, 0.225, 3.825, 73.125], rtol=1e-12)
    deep, plain = (
        [solve(LinearModel(10, s * target, source_coef=e[0], depth=k)).risk for s in scales]
        for k in (7, 1)
    )
    assert_allclose(deep, [0.364744, 0.223670, 0.226776, 3.211278, 52.883705], atol=6e-7)
    assert_allclose(plain, [0.731250, 0.461250, 0.225, 5.625, 95.4], rtol=1e-12)
    assert_allclose(solve(LinearModel(10, target)).risk, 1.125)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("fixed", {"n_samples": [0, 10, 60, 90], "noise": [0.0, 0.3]}),
        ("ridge", {"ridge": [0.0, 0.1, 1.0], "n_samples": [20, 70]}),
        ("deep", {"depth": [1, 2, math.inf], "n_samples": [20, 40]}),
        (
            "finite, both dense",
            {
                "n_samples": [20, 100],
                "n_samples_source": [0, 30, 100],
                "ridge_source": [0, 0.1],
                "noise": [0, 1],
            },
        ),
        ("finite, deep", {"noise_source": [0, 1.0], "depth": [1.0, 3.0], "n_samples": [5, 10, 20]}),
    ],
)
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
def test_sweep_equals_single_points(name, axes):
    sweep = curve(MODELS[name], axes)
    assert list(sweep.axes) == list(axes)
    for index in np.ndindex(sweep["risk"].shape):
        at = {k: list(axes[k])[i] for k, i in zip(axes, index, strict=True)}
        if at.get("depth", 1) != math.inf and "depth" in at:
            at["depth"] = int(at["depth"])
        single = solve(dataclasses.replace(MODELS[name], **at))
        for field, values in sweep.values.items():
            if field == "status":
                assert values[index] == single.status
            elif field == "valid":
                assert values[index] == (single.status == "converged")
            else:
                assert_allclose(values[index], getattr(single, field), rtol=1e-12, err_msg=field)


def test_sweep_of_several_outputs_has_a_scale_for_each():
    target = np.ones((2, 20)) * [[1.0], [2.0]]
    model = LinearModel(5, target, source_coef=target[::-1].copy(), depth=2, heads="independent")
    sweep = curve(model, {"n_samples": [3, 5], "depth": [1, 2]})
    assert sweep["source_scale"].shape == (2, 2, 2)
    assert_array_equal(sweep["source_scale"][:, 0], 1.0)
    assert_array_equal(sweep["source_scale"][1, 1], solve(model).source_scale)


def test_curve_runs_over_vectors_and_covariances():
    covariances = [covariance("power", 60, 1, 0.9), covariance("two", 60, 0.1, 0.2)]
    sources = [combine(SRC, 60), 2 * combine(SRC, 60), np.zeros(60)]
    model = power_model(spectrum=None)
    sweep = curve(model, {"n_samples": [20, 40], "cov": covariances, "source_coef": sources})
    assert sweep["risk"].shape == (2, 2, 3)
    assert_array_equal(sweep.axes["cov"], [0, 1])
    assert sweep.axis_values["source_coef"][2] is sources[2]
    for i, j, k in np.ndindex(2, 2, 3):
        one = power_model((20, 40)[i], spectrum=None, cov=covariances[j], source_coef=sources[k])
        assert_allclose(sweep["risk"][i, j, k], solve(one).risk, rtol=1e-12)


def test_curve_sums_its_warnings_up():
    axes = {"n_samples": [50, 60, 70], "noise": [0.0, 0.3]}
    with pytest.warns(ValidityWarning) as caught:
        sweep = curve(power_model(), axes)
    assert len(caught) == 1
    assert "1 of 6 points are not valid, the first at n_samples=60, noise=0.3" in str(
        caught[0].message
    )
    assert "the risk is infinite: n_samples equals the rank" in str(caught[0].message)
    assert_array_equal(sweep["valid"], [[True, True], [True, False], [True, True]])
    with pytest.raises(NumericalError, match="1 of 6 points"):
        curve(power_model(), axes, on_failure="raise")
    calls = []
    quiet = curve(
        power_model(),
        axes | {"depth": [1, 2]},
        quantities=["risk"],
        on_failure="ignore",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert list(quiet.values) == ["risk", "status", "valid"]
    assert calls == [(6, 12), (12, 12)]
    with pytest.raises(ValueError, match="quantities must be one of"):
        curve(power_model(), axes, quantities=["kappa"])


def test_what_to_do_about_an_infinite_risk():
    model = power_model(n=60)
    with pytest.raises(NumericalError, match="the risk is infinite"):
        solve(model, on_failure="raise")
    assert solve(model, on_failure="ignore").risk == math.inf


def test_bad_problems():
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="cov must be positive semi-definite"):
        solve(LinearModel(1, np.ones(2), cov=indefinite))
    source = {"theta_source": np.ones(2), "n_samples_source": 4}
    with pytest.raises(ValueError, match="cov_source must be positive semi-definite"):
        solve(LinearModel(1, np.ones(2), cov_source=indefinite, **source))
    with pytest.raises(ValueError, match="ridge must lie above"):
        solve(power_model(ridge=-5.0))
    with pytest.raises(ValueError, match="source: ridge must lie above"):
        solve(finite_model(ridge_source=-5.0))
    with pytest.raises(ValueError, match=r"ridge must not be negative at depth 3, got -0.1"):
        solve(power_model(ridge=-0.1, depth=3))
    with pytest.raises(ValueError, match=r"ridge must be 0 at depth inf, got 0.1"):
        solve(power_model(ridge=0.1, depth=math.inf))
    with pytest.raises(TypeError, match="model must be a LinearModel"):
        solve("model")
    with pytest.raises(ValueError, match="no finite limit"):
        solve(
            LinearModel(
                1, np.eye(3)[0], spectrum=[1, 1, 0], source_coef=np.eye(3)[2], depth=math.inf
            )
        )


def reference_model(kind, d, n, target=D5, source=SRC, **kwargs):
    source = None if source is None else combine(source, d)
    eigenvalues = spectrum(kind[0], d, *kind[1:])
    return LinearModel(n, combine(target, d), spectrum=eigenvalues, source_coef=source, **kwargs)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (reference_model(("iso",), 300, 150, noise=0.5), (0.0658705901257, 0.25, 0.315870590126)),
        (reference_model(("power", 1), 300, 150), (0.000464244201231, 0, 0.000464244201231)),
        (
            reference_model(("power", 1), 300, 150, noise=0.3, ridge=0.01),
            (0.000662992709626, 0.0285996520017, 0.0292626447114),
        ),
        (
            LinearModel(
                80,
                combine(D5, 200),
                cov=covariance("power", 200, 1, 0.9),
                source_coef=combine(SRC, 200),
                noise=0.3,
            ),
            (0.000988476646593, 0.0876254864188, 0.0886139630654),
        ),
        (reference_model(("two", 0.01), 300, 600, noise=0.5), (0, 0.25, 0.25)),
    ],
)
def test_reference_risk(model, values):
    theory = solve(model)
    assert_allclose((theory.bias, theory.variance, theory.risk), values, rtol=1e-8)


@pytest.mark.parametrize(
    ("model", "scale", "values"),
    [
        (
            LinearModel(
                60,
                combine(D5, 200),
                spectrum=spectrum("power", 200, 0.7),
                noise=0.3,
                theta_source=combine(SRC, 200),
                cov_source=spectrum("two", 200, 0.1),
                n_samples_source=100,
                noise_source=0.3,
            ),
            1.0,
            (0.0923226831464, 0.0874468602107, 0.444743841274, 0.0787200179661),
        ),
        (
            LinearModel(
                100,
                combine(D5, 200),
                spectrum=spectrum("power", 200, 0.7),
                noise=0.2,
                ridge=0.02,
                theta_source=combine(SRC, 200),
                cov_source=covariance("two", 200, 0.1, 0.9),
                n_samples_source=100,
                noise_source=0.2,
                ridge_source=0.1,
            ),
            1.0,
            (0.0318680053316, 0.0409350226344, 1.01896121755, 0.0318648645916),
        ),
        (
            LinearModel(
                50,
                combine(D5, 200),
                theta_source=combine(SRC, 200),
                n_samples_source=400,
                noise_source=0.5,
            ),
            0.5,
            (0.336116078778, 0.75, 0.817983177874, 0.262435781005),
        ),
    ],
)
def test_reference_finite_source(model, scale, values):
    theory = solve(model)
    c = theory.optimal_scale
    # the risk is a parabola in the scale, through scratch at 0 and with its minimum at c
    curvature = (theory.risk_scratch - theory.risk_optimal) / c**2
    risk = theory.risk_optimal + (scale - c) ** 2 * curvature
    found = (risk, theory.risk_scratch, c, theory.risk_optimal)
    assert_allclose(found, values, rtol=1e-8)
    assert_allclose(theory.risk_optimal + (1 - c) ** 2 * curvature, theory.risk, rtol=1e-8)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (
            reference_model(
                ("iso",),
                300,
                60,
                source=[[2.4, "decay", 0.5], [1.8, "cos", 0.7]],
                depth=3,
                noise=0.3,
            ),
            (0.836307015668, 2.58003519873),
        ),
        (
            reference_model(
                ("power", 1),
                300,
                150,
                source=[[0.24, "decay", 0.5], [0.18, "cos", 0.7]],
                depth=10,
                noise=0.3,
            ),
            (9.90631916425, 0.135954280096),
        ),
        (
            reference_model(
                ("power", 1),
                300,
                150,
                source=[[0.24, "decay", 0.5], [0.18, "cos", 0.7]],
                depth=math.inf,
            ),
            (3.65330283002, 0.00183813067731),
        ),
    ],
)
def test_reference_deep_risk(model, values):
    theory = solve(model)
    assert_allclose((theory.source_scale, theory.risk), values, rtol=1e-8)


def test_reference_simulation_points():
    source = 2 * combine(SRC, 300)
    model = LinearModel(150, combine(D5, 300), source_coef=source, noise=0.3)
    found = curve(model, {"depth": [1, 3, math.inf]})["risk"]
    assert_allclose(found, [0.44478, 0.25021, 0.16356], atol=6e-6)
    model = dataclasses.replace(model, spectrum=spectrum("power", 300, 1))
    found = curve(model, {"depth": [1, 3, math.inf]})["risk"]
    assert_allclose(found, [0.12087, 0.12889, 0.14198], atol=6e-6)


def test_reference_bound():
    model = reference_model(("power", 1), 300, 150, target=[[0.5, "cos", 0.3]], source=None)
    theory = solve(model)
    assert_allclose(theory.risk_bound, 0.00421505651501, rtol=1e-8)
    assert theory.bound_k == 56


def test_bound_is_the_smallest_over_k():
    s, delta, n, ridge = spectrum("power", 80, 1), teacher("cos", 80, 0.3), 30, 0.01
    theory = solve(LinearModel(n, delta, spectrum=s, ridge=ridge, noise=0.2))
    values = []
    for k in range(n):
        kappa = (n * ridge + s[k:].sum()) / (n - k)
        values.append(kappa**2 * (delta[:k] ** 2 / s[:k]).sum() + (s * delta**2)[k:].sum())
    bound = min(values) / (1 - theory.df2 / n) + theory.variance
    assert_allclose(theory.risk_bound, bound, rtol=1e-12)
    assert theory.bound_k == int(np.argmin(values))


def test_portable_inputs():
    first = matrix(1, 2, 3)
    assert_array_equal(first.ravel(), matrix(1, 6, 1).ravel())
    assert_allclose(np.mean(matrix(2, 300, 300) ** 2), 1, atol=0.01)
    theta = combine(D5, 10)
    x, y = data(1, 6, spectrum("iso", 10), theta, 0.1)
    # section 8, one layer: the data case whose end point is known
    source = combine([[2, "decay", 0.5], [1, "cos", 0.2]], 10)
    end = source + np.linalg.pinv(x) @ (y - x @ source)
    assert_allclose(np.linalg.norm(end), 1.4052522401, rtol=1e-7)
    assert_allclose(end[[0, -1]], [0.929029695408, 0.145749397683], rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: curve(power_model(), {}), "axes must name a field"),
        (lambda: curve(power_model(), {"nn": [1]}), "axes names 'nn', LinearModel has"),
        (lambda: curve(power_model(), {"n_samples": []}), "must have at least one value"),
        (lambda: curve(power_model(), {"n_samples": [3, -1]}), "n_samples must be at least 0"),
        (lambda: curve(power_model(), {"n_samples_source": [3]}), "needs both theta_source"),
        (
            lambda: curve(power_model(), {"depth": [1, math.inf], "ridge": [0.1]}),
            "ridge must be 0 at depth inf",
        ),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("distance", [0.2, 1.0, 3.0])
def test_best_ridge_of_an_isotropic_problem_is_that_of_bayes(distance):
    # noise^2 over the variance of a coefficient about the source, per sample
    rng = np.random.default_rng(0)
    d, n, noise = 80, 50, 0.7
    delta = rng.normal(size=d)
    delta *= distance / np.linalg.norm(delta)
    source = rng.normal(size=d)
    model = LinearModel(n, source + delta, source_coef=source, noise=noise, ridge="optimal")
    assert solve(model).used_ridge == pytest.approx(d * noise**2 / (n * distance**2), rel=1e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"source_coef": np.linspace(1, 0, 60)},
        {"theta_source": np.linspace(1, 0, 60), "n_samples_source": 40, "noise_source": 0.5},
        {},
    ],
)
@pytest.mark.parametrize("n_samples", [20, 60, 200])
def test_best_ridge_beats_every_other(more, n_samples):
    spectrum = np.linspace(1.0, 60.0, 60) ** -1.0
    model = LinearModel(n_samples, np.ones(60), spectrum=spectrum, noise=1.0, **more)
    best = solve(dataclasses.replace(model, ridge="optimal"))
    ridges = [0.0, *np.geomspace(1e-8, 1e4, 60), 0.99 * best.used_ridge, 1.01 * best.used_ridge]
    risks = curve(model, {"ridge": ridges}, on_failure="ignore")["risk"]
    assert best.risk <= risks.min() * (1 + 1e-12)
    assert best.risk == pytest.approx(
        solve(dataclasses.replace(model, ridge=best.used_ridge), on_failure="ignore").risk
    )


def test_best_ridge_is_zero_where_nothing_is_gained():
    model = LinearModel(100, np.ones(50), ridge="optimal")
    assert solve(model).used_ridge == 0.0


def test_best_ridge_along_a_curve_and_in_the_simulation():
    rng = np.random.default_rng(1)
    teacher = rng.normal(size=60) / 8
    model = LinearModel(40, teacher, source_coef=0.8 * teacher, noise=0.5, ridge="optimal")
    found = curve(model, {"n_samples": [20, 40]}, quantities=["risk", "used_ridge"])
    one = solve(model)
    assert found["used_ridge"][1] == pytest.approx(one.used_ridge)
    assert found["risk"][1] == pytest.approx(one.risk)
    sample = simulate(model, n_repeats=100)
    assert abs(sample.risk - one.risk) < 4 * sample.stderr["risk"] + 0.03 * one.risk


def test_a_shared_trunk_is_not_taken_for_networks_of_their_own():
    target = np.eye(2, 20)
    several = LinearModel(5, target, source_coef=target[::-1] + 0.5 * target, depth=2)
    apart = dataclasses.replace(several, heads="independent")
    assert abs(solve(several).risk / solve(apart).risk - 1.0) > 0.05
    endless = dataclasses.replace(several, depth=math.inf)
    for call in (solve, simulate, lambda m: curve(m, {"noise": [0.1]})):
        with pytest.raises(ValueError, match=r'heads="shared": .* need a finite depth, got inf'):
            call(endless)
    one = LinearModel(5, target[0], source_coef=target[1] + target[0], depth=2)
    own = dataclasses.replace(one, heads="independent")
    assert solve(one).risk == solve(own).risk  # one output has no heads to share
    with pytest.raises(ValueError, match="heads must be one of"):
        dataclasses.replace(one, heads="both")


def test_best_ridge_bad_input():
    with pytest.raises(TypeError, match="ridge must be a real number or"):
        LinearModel(40, np.ones(3), ridge="best")
    with pytest.raises(ValueError, match=r"ridge must be 0 at depth inf, got optimal"):
        solve(LinearModel(40, np.ones(3), source_coef=np.ones(3), ridge="optimal", depth=math.inf))
