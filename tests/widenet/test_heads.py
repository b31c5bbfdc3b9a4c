"""Several outputs on one hidden layer: identities, the action written out, sampled networks."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from retemper.widenet import WideNetModel, compare, curve, gamma_path, nngp_kernel, simulate, solve
from retemper.widenet.coupled_heads import MatrixPoint
from retemper.widenet.problem import Problem

MODEL = WideNetModel(40, "erf", lam1=1.3, heads="shared")


def task(n=20, n_outputs=2, d=40, n_test=30):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + n_test, d))
    Y = X @ rng.normal(size=(d, n_outputs)) / math.sqrt(d) * [2.0, 1.0, 0.5][:n_outputs]
    Y[:, 1:] += 0.8 * Y[:, :1]
    return (X[:n], Y[:n]), (X[n:], Y[n:])


def test_one_output_is_the_scalar():
    (X, Y), (Xe, Ye) = task()
    alone = dataclasses.replace(MODEL, heads="independent")
    for y, ye in ((Y[:, 0], Ye[:, 0]), (Y[:, :1], Ye[:, :1])):
        one, other = (solve(m, (X, y), None, (Xe, ye)) for m in (MODEL, alone))
        assert_allclose(one.Q_t, other.Q_t)
        assert one.test_error == other.test_error


def test_outputs_that_share_nothing_are_separate_networks():
    """Labels on different eigenvectors of the kernel: the matrix is diagonal."""
    (X, _), _ = task()
    U = np.linalg.eigh(nngp_kernel(X))[1]
    Y = np.column_stack([U[:, 3] - U[:, 9], 2 * U[:, 15]]) * 3
    got = solve(MODEL, (X, Y))
    want = solve(dataclasses.replace(MODEL, heads="independent"), (X, Y))
    assert_allclose(got.Q_t, np.diag(want.Q_t), atol=1e-8)
    assert got.log_evidence == pytest.approx(want.log_evidence, rel=1e-10)


def test_rotated_outputs_rotate_the_matrix():
    (X, Y), (Xe, Ye) = task(n_outputs=3)
    R = ortho_group.rvs(3, random_state=0)
    one, other = (solve(MODEL, (X, Y @ r), None, (Xe, Ye @ r)) for r in (np.eye(3), R))
    assert_allclose(other.Q_t, R.T @ one.Q_t @ R, atol=1e-8)
    for name in ("log_evidence", "loo", "test_error", "thermal"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-8)
    assert_allclose(other.mean, one.mean @ R, atol=1e-8)


def test_action_by_kronecker_products():
    """The matrix is stationary; evidence, mean and variance are those of the whole process."""
    (X, Y), (Xe, Ye) = task()
    theory = solve(MODEL, (X, Y), None, (Xe, Ye))
    Z = np.vstack([X, Xe])
    K, n, y = nngp_kernel(Z) / 1.3, len(X), Y.T.ravel()

    def covariance(Q):
        return 0.05 * np.eye(y.size) + np.kron(Q, K[:n, :n])

    def action(Q):
        A = covariance(Q)
        data = np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)
        return np.trace(Q) - np.linalg.slogdet(Q)[1] + data / 40

    Q = theory.Q_t
    assert Q[0, 1] > 0.1
    for i, j in ((0, 0), (0, 1), (1, 1)):
        step = np.zeros((2, 2))
        step[i, j] = step[j, i] = 1e-5
        assert (action(Q + step) - action(Q - step)) / 2e-5 == pytest.approx(0.0, abs=1e-7)
        assert action(Q + 1e3 * step) > action(Q)
    want = -20 * (action(Q) - 2) - y.size / 2 * math.log(2 * math.pi)
    assert theory.log_evidence == pytest.approx(want, rel=1e-9)
    cross = np.kron(Q, K[n:, :n])
    mean = (cross @ np.linalg.solve(covariance(Q), y)).reshape(2, -1).T
    assert_allclose(theory.mean, mean, atol=1e-8)
    prior = np.kron(np.diagonal(Q), np.diagonal(K)[n:])
    left = prior - np.einsum("ij,ji->i", cross, np.linalg.solve(covariance(Q), cross.T))
    assert theory.thermal == pytest.approx(left.sum() / len(Xe), rel=1e-8)
    assert theory.residual < 1e-9


def test_gradient_of_two_outputs():
    """Energies of outputs add up, each with its own half of the determinant."""
    (X, Y), _ = task(n=8, d=6)
    law = WideNetModel(10, "erf", heads="shared")
    run = {"n_chains": 3, "n_draws": 1, "n_burn_source": 0, "n_thin_source": 1}
    out = simulate(law, (X, Y), n_burn_target=60, n_sweeps_target=40, on_failure="ignore", **run)
    assert out.acceptance_target > 0.5  # a wrong gradient is rejected
    assert out.Q_t.shape == out.stderr["Q_t"].shape == (2, 2)
    assert_allclose(out.Q_t, out.Q_t.T)


@pytest.mark.parametrize("act", ["linear", "erf"])
def test_agrees_with_sampling(act):
    target, test = (
        (X, Y if act == "linear" else 0.5 * Y) for X, Y in task(n=20, d=40)
    )  # erf has a bias that grows with the labels
    model = dataclasses.replace(MODEL, activation=act)
    run = {"n_chains": 4, "n_draws": 1, "n_burn_source": 0, "n_thin_source": 1}
    run |= {"n_burn_target": 60, "n_sweeps_target": 100}
    result = compare(model, target, None, test, on_failure="ignore", **run)
    gap = np.abs(result.theory - result.simulation)
    assert (gap <= 3.5 * result.stderr + 0.04 * np.abs(result.theory)).all(), str(result)
    i = result.names.index("Q_t[0, 1]")
    assert result.simulation[i] > 20 * result.stderr[i]


def tasks(n_source_outputs=2):
    """Target, source and test points of two related outputs."""
    (X, Y), (Xe, Ye) = task(n=32, d=40)
    turned = np.column_stack([Y[:, 0] - 0.4 * Y[:, 1], Y[:, 1]])
    return (X[:12], Y[:12]), (X[12:], turned[12:, :n_source_outputs]), (Xe, Ye)


COUPLED = dataclasses.replace(MODEL, lam1_source=0.9, gamma=2.0)
NAMES = ("log_evidence", "loo", "bias", "thermal", "quenched")


@pytest.mark.parametrize("gamma", [0.0, 1.0, math.inf])
def test_an_output_of_zeros_leaves_the_scalar(gamma):
    target, source, test = tasks()
    one = [(X, Y[:, 0]) for X, Y in (target, source, test)]
    two = [(X, Y * [1.0, 0.0]) for X, Y in (target, source, test)]
    model = dataclasses.replace(COUPLED, gamma=gamma)
    want, got = solve(dataclasses.replace(model, heads="independent"), *one), solve(model, *two)
    for name in ("Q_s", "Q_t", "Q_tt", "Q_st", "delta"):
        matrix = getattr(got, name)
        assert matrix[0, 0] == pytest.approx(getattr(want, name), rel=1e-7, abs=1e-9)
        assert_allclose(matrix[[0, 1], [1, 0]], 0.0, atol=1e-8)
    assert got.bias == pytest.approx(want.bias, rel=1e-7)
    assert_allclose(got.mean[:, 1], 0.0, atol=1e-8)


def test_coupled_outputs_rotate():
    target, source, test = tasks()
    R = ortho_group.rvs(2, random_state=1)
    S = ortho_group.rvs(2, random_state=2)
    one = solve(COUPLED, target, source, test)
    turned = [(X, Y @ r) for (X, Y), r in zip((target, source, test), (R, S, R), strict=True)]
    other = solve(COUPLED, *turned)
    assert_allclose(other.Q_tt, R.T @ one.Q_tt @ R, atol=1e-7)
    assert_allclose(other.Q_st, S.T @ one.Q_st @ R, atol=1e-7)
    for name in NAMES:
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)
    assert np.abs(one.Q_st).max() > 0.1


def test_weak_and_strong_coupling():
    data = tasks(n_source_outputs=1)
    at = {g: solve(dataclasses.replace(COUPLED, gamma=g), *data) for g in (1e-9, 1e9, math.inf)}
    alone = solve(dataclasses.replace(COUPLED, gamma=0.0), data[0], None, data[2])
    for name in NAMES:
        assert getattr(at[1e-9], name) == pytest.approx(getattr(alone, name), rel=1e-6, abs=1e-6)
        assert getattr(at[1e9], name) == pytest.approx(getattr(at[math.inf], name), rel=1e-5)
    assert at[math.inf].Q_st.shape == (1, 2)
    path = gamma_path(COUPLED, *data, gammas=[0.0, math.inf])
    assert path["test_error"][1] == pytest.approx(at[math.inf].test_error, rel=1e-8)
    assert path.control["loo"].shape == (2,)


def test_matrix_slopes_are_those_of_the_action():
    target, source, _ = tasks()
    t = Problem(target, source).solve(COUPLED).columns[0]
    e, x = t.equations, t.x.pack() + 0.02
    rng = np.random.default_rng(0)
    for _ in range(3):
        step = 1e-5 * rng.normal(size=x.size)
        up, down, along = (MatrixPoint.unpack(v, 2) for v in (x + step, x - step, step))
        change = e.at(up).value - e.at(down).value
        slope = e.at(MatrixPoint.unpack(x, 2)).slope
        want = 2 * sum((g * s).sum() for g, s in zip(slope, along, strict=True))
        assert change == pytest.approx(want, rel=1e-6)


def test_deleting_a_row_deletes_its_outputs():
    """Leave-one-out of rows, against a solve of the rest at the same order parameters."""
    target, source, _ = tasks()
    t = Problem(target, source).solve(COUPLED).columns[0]
    n = len(target[0])
    D = np.linalg.inv(t.inverse)
    rest = [i for i in range(2 * n) if i % n != 3]
    right = D @ t.a.ravel()
    left = right[[3, n + 3]] - D[np.ix_([3, n + 3], rest)] @ np.linalg.solve(
        D[np.ix_(rest, rest)], right[rest]
    )
    own = np.linalg.inv(t.inverse[np.ix_([3, n + 3], [3, n + 3])])
    spread = own @ t.F[np.ix_([3, n + 3], [3, n + 3])] @ own
    want = left @ left + np.trace(own) - 2 * COUPLED.temperature_target + np.trace(spread)
    assert t.loo_loss_rows[3] == pytest.approx(want, rel=1e-8)


def test_coupled_outputs_agree_with_sampling():
    data = tasks()
    model = dataclasses.replace(COUPLED, activation="linear")
    run = {"n_chains": 6, "n_draws": 2, "n_burn_source": 60, "n_burn_target": 30}
    result = compare(model, *data, n_sweeps_target=20, on_failure="ignore", **run)
    gap = np.abs(result.theory - result.simulation)
    scale = 0.05 * np.maximum(np.abs(result.theory), 0.1)
    assert (gap <= 4.0 * result.stderr + scale).all(), str(result)
    assert len([n for n in result.names if n.startswith("Q_st[")]) == 4


def test_curve_and_infinite_width():
    target, test = task()
    sweep = curve(MODEL, {"width": [20, 100, math.inf]}, target, None, test)
    assert sweep["Q_t"].shape == (3, 2, 2)
    assert_allclose(sweep["Q_t"][2], np.eye(2))
    assert (
        sweep["test_error"][1]
        == solve(dataclasses.replace(MODEL, width=100), target, None, test).test_error
    )


SINGLE = ("Q_t", "loo", "log_evidence", "bias", "thermal", "test_error")


def test_the_general_search_finds_what_the_rotated_one_finds():
    """One matrix over all outputs of one network, and the elastic coupling at 0 of two."""
    target, test = task(n_outputs=3)
    found = Problem(target, None, test)._solve_elastic(MODEL, None)
    want = solve(MODEL, target, None, test)
    t = found.columns[0]
    assert_allclose(t.Q_t, want.Q_t, rtol=1e-7, atol=1e-8)
    assert t.log_evidence == pytest.approx(want.log_evidence, rel=1e-9)
    assert t.loo_loss_rows.mean() == pytest.approx(want.loo, rel=1e-8)
    parts = found.predict(test[0])
    assert_allclose(parts.mean, want.mean, rtol=1e-6, atol=1e-8)
    assert parts.thermal.mean(0).sum() == pytest.approx(want.thermal, rel=1e-7)


@pytest.mark.parametrize(("act", "depth"), [("relu", 1), ("gelu", 1), ("erf", 2), ("tanh", 3)])
def test_with_a_mean_or_more_layers(act, depth):
    """An output of zeros leaves the scalar; rotated outputs rotate the matrix."""
    (X, Y), (Xe, Ye) = task()
    Y, Ye = Y + 0.7, Ye + 0.7
    model = dataclasses.replace(MODEL, activation=act, n_hidden_layers=depth, lam0=1.2)
    options = {"on_failure": "ignore"}
    alone = solve(model, (X, Y[:, 0]), None, (Xe, Ye[:, 0]), **options)
    empty = (np.column_stack([y[:, 0], 0.0 * y[:, 0]]) for y in (Y, Ye))
    y, ye = empty
    both = solve(model, (X, y), None, (Xe, ye), **options)
    assert both.Q_t[0, 1] == pytest.approx(0.0, abs=1e-8)
    assert_allclose(both.mean[:, 0], alone.mean, rtol=1e-3 if depth > 1 else 1e-7, atol=1e-4)
    if depth == 1:  # below the last layer there are order parameters that all outputs share
        assert both.Q_t[0, 0] == pytest.approx(alone.Q_t, rel=1e-7)
        assert both.Q_tt[0, 0] == pytest.approx(alone.Q_tt, rel=2e-2, abs=1e-9)
        assert both.bias == pytest.approx(alone.bias, rel=1e-7)
    R = ortho_group.rvs(2, random_state=0)
    one, other = (solve(model, (X, Y @ r), None, (Xe, Ye @ r), **options) for r in (np.eye(2), R))
    assert_allclose(other.Q_t, R.T @ one.Q_t @ R, atol=1e-7)
    for name in ("log_evidence", "loo", "test_error", "thermal"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-7)
    wide = dataclasses.replace(model, width=math.inf)
    process = solve(wide, (X, Y), None, (Xe, Ye))
    columns = [solve(wide, (X, y), None, (Xe, ye)) for y, ye in zip(Y.T, Ye.T, strict=True)]
    assert process.log_evidence == pytest.approx(sum(c.log_evidence for c in columns), rel=1e-9)
    assert_allclose(process.mean, np.column_stack([c.mean for c in columns]), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("act", "depth"), [("erf", 1), ("relu", 1), ("erf", 2)])
def test_elastic_outputs(act, depth):
    target, source, test = tasks()
    shift = 0.5 if act == "relu" else 0.0
    target, source, test = ((X, Y + shift) for X, Y in (target, source, test))
    model = dataclasses.replace(
        COUPLED, activation=act, n_hidden_layers=depth, coupling="elastic", gamma=1.5
    )
    options = {"on_failure": "ignore"}
    got = solve(model, target, source, test, **options)
    assert (got.Q_s.shape, got.Q_st.shape, got.Q_t.shape) == ((2, 2),) * 3
    # outputs of the target rotated, those of the source another way
    R, S = (ortho_group.rvs(2, random_state=i) for i in (0, 1))
    turned = solve(
        model,
        (target[0], target[1] @ R),
        (source[0], source[1] @ S),
        (test[0], test[1] @ R),
        **options,
    )
    assert_allclose(turned.Q_st, S.T @ got.Q_st @ R, atol=1e-7)
    assert_allclose(turned.Q_s, S.T @ got.Q_s @ S, atol=1e-7)
    for name in ("loo", "test_error", "log_evidence", "log_evidence_source"):
        assert getattr(turned, name) == pytest.approx(getattr(got, name), rel=1e-6)
    # outputs of zeros leave the pair of scalars
    one = [(X, Y[:, 0]) for X, Y in (target, source, test)]
    zeros = [(X, Y * [1.0, 0.0]) for X, Y in (target, source, test)]
    pair, same = solve(model, *one, **options), solve(model, *zeros, **options)
    if depth == 1:
        assert same.Q_st[0, 0] == pytest.approx(pair.Q_st, rel=1e-6)
        assert same.bias == pytest.approx(pair.bias, rel=1e-6)
    assert_allclose([same.Q_st[0, 1], same.Q_st[1, 0]], 0.0, atol=1e-7)
    weak = solve(dataclasses.replace(model, gamma=1e-9), target, source, test, **options)
    apart = solve(dataclasses.replace(model, gamma=0.0), target, source, test, **options)
    for name in ("loo", "test_error", "log_evidence", "log_evidence_source"):
        assert getattr(weak, name) == pytest.approx(getattr(apart, name), rel=1e-6)


@pytest.mark.parametrize(
    ("act", "depth", "gamma"),
    [("relu", 1, 0.0), ("erf", 2, 0.0), ("linear", 1, 2.0), ("erf", 1, 2.0)],
)
def test_general_outputs_agree_with_sampling(act, depth, gamma):
    """Within the 1 / width of the theory, larger for labels with a mean, and four errors."""
    shift = 0.7 if act == "relu" else 0.0
    data = [(X, 0.5 * Y + shift) for X, Y in tasks()]
    model = dataclasses.replace(
        COUPLED, activation=act, n_hidden_layers=depth, coupling="elastic", gamma=gamma
    )
    run = {"n_chains": 6, "n_draws": 4, "n_burn_source": 80, "n_thin_source": 15}
    run |= {"n_burn_target": 40, "n_sweeps_target": 40} if gamma == 0.0 else {}
    result = compare(model, *data, **run, on_failure="ignore")
    gap = np.abs(result.theory - result.simulation)
    allowed = 4.0 * result.stderr + 0.1 * np.maximum(np.abs(result.theory), 0.4)
    assert (gap <= allowed).all(), str(result)


def test_refusals():
    target, _ = task()
    deep = dataclasses.replace(MODEL, n_hidden_layers=2)
    with pytest.raises(ValueError, match=r"and 2 layers need an activation of zero .* got 'relu'"):
        solve(dataclasses.replace(deep, activation="relu"), target)
    with pytest.raises(ValueError, match=r"need an .* got 'relu'; coupling='elastic' takes it"):
        solve(dataclasses.replace(MODEL, activation="relu", gamma=1.0), target)
    with pytest.raises(ValueError, match=r"need one hidden layer, got 2; coupling='elastic' takes"):
        solve(dataclasses.replace(deep, gamma=1.0), target)
    with pytest.raises(ValueError, match="method 'gibbs' takes one output, got 2"):
        simulate(dataclasses.replace(MODEL, activation="linear"), target, method="gibbs")
    with pytest.raises(ValueError, match="heads are independent; call it once per column"):
        simulate(dataclasses.replace(MODEL, heads="independent"), target)
