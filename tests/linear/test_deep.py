"""Deep linear networks on data: closed form against flow, descent, and frozen values."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import ConvergenceWarning, NumericalError
from retemper.linear import (
    balanced_factors,
    deep_fit,
    deep_flow,
    factor_descent,
    shared_trunk_flow,
)

from . import portable

DEPTHS = [1, 2, 3, 7, 20]


@pytest.fixture(scope="module")
def case():
    """Portable data case of the reference values: X, y, source."""
    X, y = portable.data(1, 6, np.ones(10), portable.combine(portable.D5, 10), 0.1)
    return X, y, portable.combine([[2, "decay", 0.5], [1, "cos", 0.2]], 10)


def random_case(n, d, *, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if rank is not None:
        X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    return X, rng.normal(size=n), rng.normal(size=d)


# --- frozen values -------------------------------------------------------------------------------

REFERENCE = [  # depth, c, norm, first and last coefficient
    (1, (1.0, 1.4052522401, 0.929029695408, 0.145749397683)),
    (2, (0.775441110042, 1.24096497596, 0.793608130368, 0.150454435638)),
    (5, (0.623705786492, 1.14389614984, 0.702103247213, 0.153633648256)),
    (math.inf, (0.528275489884, 1.09024058033, 0.644553443145, 0.155633137868)),
]


@pytest.mark.parametrize(("depth", "want"), REFERENCE)
def test_matches_frozen_values(case, depth, want):
    fit = deep_fit(*case, depth=depth)
    got = [fit.source_scale, np.linalg.norm(fit.coef), fit.coef[0], fit.coef[-1]]
    assert_allclose(got, want, rtol=1e-7)
    assert fit.status == "converged"
    assert fit.residual < 1e-12


def test_ridge_matches_frozen_values(case):
    fit = deep_fit(*case, depth=3, ridge=0.2)
    norm = np.linalg.norm(fit.coef)
    got = [norm ** (2 / 3), norm, fit.coef[0], fit.coef[-1]]
    assert_allclose(got, [1.11778942557, 1.18178914135, 0.751710543738, 0.15883936001], rtol=1e-7)


# --- identities ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 1000, math.inf])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (7, 7), (1, 4), (4, 1), (90, 40)])
def test_closed_form_is_what_it_says(depth, shape):
    X, y, source = random_case(*shape)
    fit = deep_fit(X, y, source, depth=depth, on_failure="ignore")  # one feature may stall
    pinv = np.linalg.pinv(X)
    null = source - pinv @ (X @ source)
    assert_allclose(fit.coef, pinv @ y + fit.source_scale * null, rtol=0, atol=1e-8)
    assert_allclose(fit.fit_norm, np.linalg.norm(pinv @ y), rtol=1e-9)
    assert_allclose(fit.row_norm, np.linalg.norm(pinv @ X @ source), rtol=1e-9)
    assert_allclose(fit.null_norm, np.linalg.norm(null), rtol=1e-9, atol=1e-9)
    power = 2.0 if math.isinf(depth) else 2 * depth / (depth - 1) if depth > 1 else None
    if power is not None:
        c = fit.source_scale
        left = c**power * (fit.row_norm**2 + fit.null_norm**2)
        assert_allclose(left, fit.fit_norm**2 + c**2 * fit.null_norm**2, rtol=1e-9)


@pytest.mark.parametrize("rank", [1, 3])
def test_rank_deficient_and_duplicated_rows(rank):
    X, _, source = random_case(8, 12, rank=rank)
    X = np.vstack([X, X[:3]])
    y = np.random.default_rng(1).normal(size=11)
    fit = deep_fit(X, y, source, depth=3)
    assert fit.rank == rank
    pinv = np.linalg.pinv(X, rcond=1e-12)
    want = pinv @ y + fit.source_scale * (source - pinv @ (X @ source))
    assert_allclose(fit.coef, want, atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(8, 15), (520, 540)])  # the second is decomposed by SciPy
def test_ill_conditioned_inputs_keep_their_digits(n, d):
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.normal(size=(n, n)))[0], np.linalg.qr(rng.normal(size=(d, n)))[0]
    s = np.logspace(0, -6, n)
    X, truth, source = u * s @ v.T, rng.normal(size=d), rng.normal(size=d)
    fit = deep_fit(X, X @ truth, source)
    assert_allclose(fit.coef, source + v @ (v.T @ (truth - source)), atol=1e-8)


def test_large_gram_takes_the_same_path():
    X, y, source = random_case(520, 530)
    fit = deep_fit(X, y, source, depth=3)
    assert_allclose(X @ fit.coef, y, atol=1e-7)
    flow_scale = (np.linalg.norm(fit.coef) / np.linalg.norm(source)) ** (2 / 3)
    assert_allclose(fit.source_scale, flow_scale, rtol=1e-10)


def test_scale_is_monotone_in_depth(case):
    scales = [deep_fit(*case, depth=L).source_scale for L in [1, 2, 3, 5, 20, 500, math.inf]]
    assert np.all(np.diff(scales) < 0)
    fit = deep_fit(*case, depth=math.inf)
    assert scales[-1] == pytest.approx(fit.fit_norm / fit.row_norm)


def test_infinite_depth_sees_only_the_direction_of_the_source(case):
    X, y, source = case
    one, other = (deep_fit(X, y, s * source, depth=math.inf).coef for s in (1.0, 17.0))
    assert_allclose(one, other, rtol=1e-12)


def test_several_outputs_are_independent_networks(case):
    X, y, source = case
    Y, W = np.stack([y, y[::-1], 0 * y], 1), np.stack([source, source[::-1], source])
    fit = deep_fit(X, Y, W, depth=3)
    for j in range(3):
        alone = deep_fit(X, Y[:, j], W[j], depth=3)
        assert_allclose(fit.coef[j], alone.coef, rtol=1e-13)
        assert_allclose(fit.source_scale[j], alone.source_scale, rtol=1e-13)


def test_depth_one_ridge_is_ridge_towards_the_source(case):
    X, y, source = case
    for ridge in (0.3, -0.9 * np.linalg.svd(X)[1][-1] ** 2 / 6):
        want = source + X.T @ np.linalg.solve(X @ X.T + 6 * ridge * np.eye(6), y - X @ source)
        assert_allclose(deep_fit(X, y, source, ridge=ridge).coef, want, atol=1e-9)


@pytest.mark.parametrize("depth", [2, 3, 8, 100])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_deep_ridge_is_stationary(depth, shape):
    X, y, source = random_case(*shape)
    for ridge in (1e-3, 0.2, 30.0):
        b = deep_fit(X, y, source, depth=depth, ridge=ridge).coef
        dual = [np.linalg.norm(w) ** (1 / depth - 1) * w for w in (b, source)]
        # half the gradient of the loss in the docstring
        gradient = X.T @ (X @ b - y) / len(y) + ridge * (dual[0] - dual[1])
        assert_allclose(gradient, 0.0, atol=1e-9 * (1 + ridge))


def test_deep_ridge_tends_to_the_closed_form_and_to_the_source(case):
    X, y, source = case
    want = deep_fit(*case, depth=3).coef
    assert_allclose(deep_fit(*case, depth=3, ridge=1e-9).coef, want, atol=1e-7)
    assert_allclose(deep_fit(*case, depth=3, ridge=1e9).coef, source, atol=1e-7)
    zero = deep_fit(X, y, 0 * source, depth=3, ridge=0.1)
    gradient = X.T @ (X @ zero.coef - y) / 6
    assert_allclose(
        gradient + 0.1 * np.linalg.norm(zero.coef) ** (-2 / 3) * zero.coef, 0, atol=1e-9
    )


# --- edges ---------------------------------------------------------------------------------------


def test_zero_labels_shrink_the_source(case):
    X, y, source = case
    fit = deep_fit(X, 0 * y, source, depth=4)
    assert fit.fit_norm == 0.0
    share = fit.null_norm / np.linalg.norm(source)
    assert_allclose(fit.source_scale, share**3, rtol=1e-10)
    assert_allclose(
        deep_flow(X, 0 * y, source, depth=2).coef,
        deep_fit(X, 0 * y, source, depth=2).coef,
        atol=1e-8,
    )


def test_source_inside_the_rows_is_forgotten(case):
    X, y, _ = case
    fit = deep_fit(X, y, X[0], depth=3)
    assert fit.null_norm < 1e-12
    assert_allclose(fit.coef, np.linalg.pinv(X) @ y, atol=1e-10)


def test_source_outside_the_rows():
    X, y, source = random_case(4, 9)
    source -= np.linalg.pinv(X) @ (X @ source)
    assert deep_fit(X, y, source, depth=3).source_scale > 1.0
    with pytest.raises(ValueError, match="orthogonal to every row"):
        deep_fit(X, y, source, depth=math.inf)
    still = deep_fit(X, 0 * y, source, depth=math.inf)  # nothing pulls
    assert_allclose(still.coef, source)


def test_zero_source_and_zero_inputs(case):
    X, y, source = case
    fit = deep_fit(X, y, 0 * source, depth=3)
    assert fit.source_scale == 0.0
    assert_allclose(fit.coef, np.linalg.pinv(X) @ y, atol=1e-12)
    still = deep_fit(0 * X, y, source, depth=3)
    assert still.rank == 0
    assert_array_equal(still.coef, source)


def test_stall_is_reported():
    X, y, source = np.array([[2.0], [1.0]]), np.array([1.0, 0.5]), np.array([-1.0])
    with pytest.warns(ConvergenceWarning, match="runs into zero"):
        fit = deep_fit(X, y, source, depth=2)
    assert fit.status == "stalled"
    assert_allclose(fit.coef, 0.5)  # the interpolator, which a network never reaches
    with pytest.warns(ConvergenceWarning):
        stuck = factor_descent(X, y, source, depth=2, max_iter=1000, step_size=0.01)
    assert_allclose(stuck.coef, 0.0, atol=1e-4)
    with pytest.raises(NumericalError, match="runs into zero"):
        deep_fit(X, y, source, depth=2, on_failure="raise")
    assert deep_fit(X, y, -source, depth=2).status == "converged"
    assert deep_fit(X, y, source, depth=1).status == "converged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"depth": 1.5}, "depth must be an integer"),
        ({"depth": -math.inf}, "depth must be"),
        ({"depth": 2, "ridge": -0.1}, r"ridge must lie in \[0"),
        ({"depth": math.inf, "ridge": 0.1}, "ridge must be 0 at depth=inf"),
        ({"ridge": -1e3}, "smallest non-zero eigenvalue"),
        ({"source_coef": np.ones(3)}, "source_coef must have shape"),
        ({"y": np.ones(3)}, "y must have shape"),
        ({"X": np.full((6, 10), np.nan)}, r"X\[0, 0\] is nan"),
        ({"X": np.ones((0, 10)), "y": []}, "at least one sample"),
    ],
)
def test_refuses(case, change, message):
    arguments = dict(zip(("X", "y", "source_coef"), case, strict=True)) | change
    with pytest.raises((ValueError, TypeError), match=message):
        deep_fit(**arguments)


def test_layout_and_dtype_do_not_matter(case):
    X, y, source = case
    want = deep_fit(X, y, source, depth=3).coef
    assert_array_equal(deep_fit(np.asfortranarray(X), y.tolist(), source, depth=3).coef, want)
    assert_array_equal(deep_fit(np.repeat(X, 2, 1)[:, ::2], y, source, depth=3).coef, want)
    single = deep_fit(X.astype(np.float32), y, source, depth=3).coef
    assert single.dtype == np.float64
    assert_allclose(single, want, rtol=1e-4)


# --- the flow and the descent --------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (1, 5)])
def test_flow_ends_at_the_closed_form(depth, shape):
    X, y, source = random_case(*shape, seed=3)
    flow = deep_flow(X, y, source, depth=depth)
    assert flow.residual <= 1e-10
    assert_allclose(flow.coef, deep_fit(X, y, source, depth=depth).coef, atol=1e-8)


def test_flow_of_low_rank_and_several_outputs():
    X, _, _ = random_case(8, 12, rank=3)
    rng = np.random.default_rng(5)
    Y, W = rng.normal(size=(8, 2)), rng.normal(size=(2, 12))
    flow = deep_flow(X, Y, W, depth=3)
    assert_allclose(flow.coef, deep_fit(X, Y, W, depth=3).coef, atol=1e-8)


def test_flow_refuses_a_start_at_rest(case):
    X, y, source = case
    with pytest.raises(ValueError, match="source_coef must not be zero"):
        deep_flow(X, y, 0 * source, depth=2)
    with pytest.raises(TypeError, match="depth must be an integer"):
        deep_flow(X, y, source, depth=math.inf)


def numpy_descent(X, y, factors, step, n_steps):
    """Gradient descent on the factors as one would write it."""
    W = [w.copy() for w in factors]
    for _ in range(n_steps):
        inputs = [X.T]
        for w in W:
            inputs.append(w @ inputs[-1])
        back = (inputs[-1] - y.T) / len(X)
        for j in range(len(W) - 1, -1, -1):
            gradient = back @ inputs[j].T
            back = W[j].T @ back
            W[j] = W[j] - step * gradient
    return W


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_descent_takes_the_plain_steps(depth):
    rng = np.random.default_rng(0)
    widths = [7, *([5] * (depth - 1)), 2]
    start = [0.7 * rng.normal(size=(b, a)) / a**0.5 for a, b in itertools.pairwise(widths)]
    X, Y = rng.normal(size=(4, 7)), rng.normal(size=(4, 2))
    want = numpy_descent(X, Y, start, 0.02, 50)
    run = factor_descent(X, Y, factors=start, step_size=0.02, max_iter=50, on_failure="ignore")
    assert run.n_iter == 50
    for got, expected in zip(run.factors, want, strict=True):
        assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_rank_one_path_is_the_wide_network(case, depth):
    X, y, source = case
    wide = factor_descent(
        X,
        y[:, None],
        factors=balanced_factors(source, depth, width=1 if depth == 1 else 4),
        step_size=1e-3,
        max_iter=300,
        on_failure="ignore",
    )
    thin = factor_descent(
        X, y, source, depth=depth, step_size=1e-3, max_iter=300, on_failure="ignore"
    )
    assert_allclose(thin.coef, wide.coef[0], atol=1e-12)
    product = thin.factors[0]
    for w in thin.factors[1:]:
        product = w @ product
    assert_allclose(product[0], thin.coef)
    assert thin.factors[0].shape == (1, 10)


def test_descent_tends_to_the_closed_form_with_the_step(case):
    want = deep_fit(*case, depth=3).coef
    error = [
        np.linalg.norm(factor_descent(*case, depth=3, step_size=step).coef - want)
        for step in (2e-3, 1e-3)
    ]
    assert error[1] < 2e-3
    assert error[0] / error[1] == pytest.approx(2.0, rel=0.05)
    half, whole = (factor_descent(*case, depth=3, step_size=step).coef for step in (1e-3, 2e-3))
    assert_allclose(2 * half - whole, want, atol=1e-5)  # Richardson


def test_pretraining_from_small_weights_ends_balanced():
    """Train from small weights on a source task, fine-tune, compare with the closed form."""
    rng = np.random.default_rng(2)
    d, width = 10, 8
    X_source, theta = rng.normal(size=(30, d)), rng.normal(size=d) / d**0.5
    X, y = rng.normal(size=(6, d)), rng.normal(size=6)
    error = []
    for scale in (0.03, 0.01):
        start = [
            scale * np.random.default_rng(7).normal(size=(b, a))
            for a, b in ((d, width), (width, width), (width, 1))
        ]
        settings = {"step_size": 0.01, "max_iter": 2_000_000, "tol": 1e-8}
        pre = factor_descent(X_source, (X_source @ theta)[:, None], factors=start, **settings)
        assert_allclose(pre.coef[0], theta, atol=1e-5)
        settings["step_size"] = 1e-3
        tuned = factor_descent(X, y[:, None], factors=pre.factors, **settings).coef[0]
        want = deep_fit(X, y, pre.coef[0], depth=3).coef
        error.append(np.linalg.norm(tuned - want) / np.linalg.norm(want))
    assert error[1] < error[0]
    assert error[1] < 2e-3


def test_descent_reports_divergence_and_the_limit(case):
    with pytest.raises(NumericalError, match="diverged at step"):
        factor_descent(*case, depth=3, step_size=5.0)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        run = factor_descent(*case, depth=3, max_iter=10)
    assert run.status == "max_iter"
    assert run.n_iter == 10
    assert run.residual > 0.1


def test_descent_can_be_stopped(case):
    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    for arguments in ((case, {"depth": 3}), (case[:2], {"factors": balanced_factors(case[2], 3)})):
        X, y = arguments[0][:2]
        y = y if "depth" in arguments[1] else y[:, None]
        with pytest.raises(Stop):
            factor_descent(
                X,
                y,
                *arguments[0][2:],
                **arguments[1],
                step_size=1e-9,
                tol=0.0,
                max_iter=10**9,
                progress=stop,
            )


def test_descent_refuses(case):
    X, y, source = case
    with pytest.raises(ValueError, match="exactly one"):
        factor_descent(X, y)
    with pytest.raises(ValueError, match="depth must be given"):
        factor_descent(X, y, source)
    with pytest.raises(ValueError, match=r"factors\[1\] must have shape \(1, 4\)"):
        factor_descent(X, y, factors=[np.ones((4, 10)), np.ones((1, 3))])
    with pytest.raises(ValueError, match="step_size must lie in"):
        factor_descent(X, y, source, depth=2, step_size=0.0)


# --- shared trunk --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [None, 3])
def test_balanced_factors_are_balanced(width):
    W = np.random.default_rng(0).normal(size=(2, 6))
    factors = balanced_factors(W, 4, width=width)
    product = factors[0]
    for below, above in itertools.pairwise(factors):
        assert_allclose(above.T @ above, below @ below.T, atol=1e-12)
        product = above @ product
    assert_allclose(product, W, atol=1e-12)
    with pytest.raises(ValueError, match="width must be at least 2"):
        balanced_factors(W, 4, width=1)


def test_shared_trunk_follows_the_factors_not_the_heads(case):
    X, y, source = case
    Y, W = np.stack([y, X[:, 0] - y[::-1]], 1), np.stack([source, source[::-1]])
    flow = shared_trunk_flow(X, Y, W, depth=3)
    coarse, fine = (
        factor_descent(X, Y, W, depth=3, step_size=step, tol=1e-7).coef for step in (2e-3, 1e-3)
    )
    assert_allclose(2 * fine - coarse, flow.coef, atol=2e-5)
    heads = deep_fit(X, Y, W, depth=3).coef
    assert np.linalg.norm(heads - flow.coef) > 0.05


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_shared_trunk_of_one_output_is_the_closed_form(case, depth):
    X, y, source = case
    flow = shared_trunk_flow(X, y[:, None], source[None], depth=depth)
    assert_allclose(flow.coef[0], deep_fit(X, y, source, depth=depth).coef, atol=1e-6)


def test_shared_trunk_cannot_raise_its_rank(case):
    X, y, source = case
    Y = np.stack([y, y[::-1]], 1)
    with pytest.warns(ConvergenceWarning, match="shared_trunk_flow"):
        flow = shared_trunk_flow(X, Y, np.stack([source, source]), depth=2)
    assert flow.status == "stalled"
    assert np.linalg.svd(flow.coef)[1][1] < 1e-6
