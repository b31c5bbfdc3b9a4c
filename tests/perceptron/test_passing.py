"""Message passing against slow versions of itself, the theory and an exact posterior."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

import retemper.perceptron as pc
from retemper._dispatch import core
from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning
from retemper.perceptron import PerceptronModel, channel_score
from retemper.perceptron.model import laws_of, prior_of


def run_amp(model, X, role, start, *, max_iter=500, tol=1e-9, damping=0.0, n_threads=1):
    role, start = np.atleast_2d(role).astype(np.int8), np.atleast_2d(start).astype(float)
    laws = [laws_of(model)[0]] * len(role)
    return core.perceptron.amp(
        X, role, laws, prior_of(model), start=start, max_iter=max_iter, tol=tol, damping=damping,
        n_threads=n_threads,
    )  # fmt: skip


def rows(model, n, seed=0, dtype="float64"):
    X, y, _, w = pc.sample_rows(model, n, random_state=seed, dtype=dtype)
    return X, np.where(y == -1, 0, 2 * y - 1), w


def scores(model, field, V, role):
    """The channel of every row, with y = 1 where it has no label."""
    y = np.where(role == 0, 1, role)
    kinds = {0: ("unlabelled", model.eta_u), 1: ("labelled", model.eta_l)}
    log_w, g, dg = np.empty((3, *field.shape))
    for kind, (name, eta) in kinds.items():
        at = np.abs(role) == kind
        log_w[at], score, dg[at] = channel_score(
            (y[:, None] if field.ndim == 2 else y)[at] * field[at], V, kind=name,
            kappa=model.kappa, sigma=model.sigma, eta=eta,
        )  # fmt: skip
        g[at] = (y[:, None] if field.ndim == 2 else y)[at] * score
    return log_w, g, dg


def slow_amp(model, X, role, w, *, n_iter, damping):
    """Section 5 of the theory page, line by line; but damping acts on the Onsager term too."""
    N = X.shape[1]
    V, onsager = 1 - w @ w / N, np.zeros(len(X))
    for _ in range(n_iter):
        field = X @ w / math.sqrt(N) - onsager
        log_w, g, dg = scores(model, field, V, role)
        B = X.T @ g / math.sqrt(N) - dg.sum() / N * w
        if model.prior == "sphere":
            u = (1 + math.sqrt(1 + 4 * B @ B / N)) / 2
            new, V_new, phi = B / u, 1 / u, 0.5 * math.log(V)
        else:
            new = np.tanh(B)
            V_new = 1 - new @ new / N
            phi = np.mean(np.log(np.cosh(B)) - B * new)
        phi += (log_w + 0.5 * V * g * g).sum() / N
        onsager = damping * onsager + (1 - damping) * V_new * g  # damped as the weights are
        w, V = damping * w + (1 - damping) * new, damping * V + (1 - damping) * V_new
    return w, V, phi, field


MODELS = {
    "hard": PerceptronModel(0.8, 2.0, 0.5),
    "soft": PerceptronModel(0.8, 1.0, 0.5, sigma=0.4, eta_u=0.1, eta_l=0.05),
    "binary": PerceptronModel(1.0, 0.5, 0.3, prior="binary"),
    "mismatched": PerceptronModel(0.5, 1.0, 0.5, kappa_true=1.0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("n", "damping"), [(37, 0.0), (150, 0.3)])
def test_amp_is_the_slow_amp(name, n, damping):
    model = MODELS[name]
    X, role, _ = rows(model, n)
    start = 0.1 * np.random.default_rng(1).normal(size=n)
    got = run_amp(model, X, role, start, max_iter=8, tol=1e-30, damping=damping)
    want = slow_amp(model, X, role, start, n_iter=8, damping=damping)
    assert_allclose(got.weights[0], want[0], rtol=1e-9, atol=1e-12)
    assert_allclose(got.variance[0], want[1], rtol=1e-10)
    assert_allclose(got.free_entropy[0], want[2], rtol=1e-9, atol=1e-12)
    assert_allclose(got.field_mean[0], want[3], rtol=1e-9, atol=1e-12)
    assert got.status == ["max_iter"]
    assert got.n_iter == [8]


def slow_belief_propagation(model, X, role, n_iter):
    """One message for every entry of X: nothing is expanded in 1 / sqrt(n_features) but fields."""
    M, N = X.shape
    A = X / math.sqrt(N)
    message, w, V = np.zeros((M, N)), np.zeros(N), 1.0  # message of feature i to a row
    for _ in range(n_iter):
        full = (A * message).sum(axis=1, keepdims=True)
        _, g, _ = scores(model, full - A * message, V, role)  # without the target's own term
        B = (A * g).sum(axis=0)
        u = (1 + math.sqrt(1 + 4 * B @ B / N)) / 2
        w, V = 0.5 * w + 0.5 * B / u, 0.5 * V + 0.5 / u
        message = 0.5 * message + 0.5 * (B - A * g) / u
    return w, V


def test_amp_agrees_with_belief_propagation_up_to_one_over_n():
    model = PerceptronModel(1.0, 1.0, 0.5)
    gaps = []
    for n, seeds in ((30, 12), (300, 3)):
        gap = []
        for seed in range(seeds):
            X, role, _ = rows(model, n, seed)
            fast = run_amp(model, X, role, np.zeros(n), damping=0.3).weights[0]
            slow, _ = slow_belief_propagation(model, X, role, 40)
            gap.append(((fast - slow) ** 2).mean())
        gaps.append(np.mean(gap))
    assert gaps[1] < 0.01
    assert gaps[1] < 0.3 * gaps[0]


def posterior_by_sequential_monte_carlo(model, X, role, n_particles, rng):
    """Posterior mean and log evidence: rows one by one, the wall of each raised in steps that half
    of the particles survive, moves by elliptical slices on the sphere."""
    M, N = X.shape
    A = np.where(role == 0, 1, role)[:, None] * X / math.sqrt(N)
    w = rng.normal(size=(n_particles, N))
    w *= math.sqrt(N) / np.linalg.norm(w, axis=1, keepdims=True)
    wall = np.full(M, model.kappa)

    def height(particles, k):  # smallest distance to the walls of rows 0..k
        h = particles @ A[: k + 1].T
        return (np.where(role[: k + 1] == 0, np.abs(h), h) - wall[: k + 1]).min(axis=1)

    def move(w, k):
        v = rng.normal(size=w.shape)
        v -= (v * w).sum(axis=1, keepdims=True) / N * w
        v *= math.sqrt(N) / np.linalg.norm(v, axis=1, keepdims=True)
        angle = rng.uniform(0, 2 * math.pi, n_particles)
        low, high = angle - 2 * math.pi, angle.copy()
        new, todo = w.copy(), np.arange(n_particles)
        for _ in range(40):
            at = angle[todo, None]
            trial = np.cos(at) * w[todo] + np.sin(at) * v[todo]
            good = height(trial, k) > 0
            new[todo[good]] = trial[good]
            todo = todo[~good]
            if not todo.size:
                break
            at = angle[todo]
            high[todo] = np.where(at > 0, at, high[todo])
            low[todo] = np.where(at > 0, low[todo], at)
            angle[todo] = rng.uniform(low[todo], high[todo])
        return new

    total = -(np.where(role == 0, math.log(2), 0) + special.log_ndtr(-model.kappa)).sum()
    for k in range(M):
        while True:
            wall[k] = -10.0
            h = w @ A[k]
            h = np.abs(h) if role[k] == 0 else h
            wall[k] = min(model.kappa, np.median(h))
            alive = np.flatnonzero(h >= wall[k])
            total += math.log(alive.size / n_particles)
            w = w[rng.choice(alive, n_particles)]
            for _ in range(3):
                w = move(w, k)
            if wall[k] == model.kappa:
                break
    return w.mean(axis=0), total / N


@pytest.mark.parametrize(
    ("n_sets", "tol"), [(6, 0.15), pytest.param(30, 0.06, marks=pytest.mark.slow)]
)
def test_exact_posterior_of_few_features(n_sets, tol):
    """Page, section 5.1: kappa = 1, loads (1/2, 1/2): m = .785(10) at 16 features, theory .7778."""
    model, rng = PerceptronModel(1.0, 0.5, 0.5), np.random.default_rng(5)
    exact, cosine, evidence = [], [], []
    for seed in range(n_sets):
        X, role, w = rows(model, 16, seed)
        mean, phi = posterior_by_sequential_monte_carlo(model, X, role, 200, rng)
        passed = run_amp(model, X, role, np.zeros(16), damping=0.5)
        found = passed.weights[0]
        exact.append(mean @ w / 16)
        cosine.append(mean @ found / math.sqrt(mean @ mean * (found @ found)))
        evidence.append(phi - passed.free_entropy[0])
    assert abs(np.mean(exact) - pc.solve(model).q) < tol
    assert np.median(cosine) > 0.95  # data set by data set
    assert abs(np.mean(evidence)) < 0.1


def test_state_evolution_iteration_by_iteration():
    model = PerceptronModel(1.0, 1.0, 0.1)
    X, role, w = rows(model, 3000, 2)
    path = pc.state_evolution(model, 6)
    for t in range(1, 7):
        found = run_amp(model, X, role, np.zeros(3000), max_iter=t, tol=1e-30).weights[0]
        assert abs(found @ w / 3000 - path.m[t]) < 0.03
        assert abs(found @ found / 3000 - path.q[t]) < 0.03


def test_threads_do_not_change_a_bit():
    """Large enough for several threads to be used: 2**23 products per pass and thread."""
    model = MODELS["soft"]
    X, role, _ = rows(model, 1000)
    for n_problems, n in ((25, 1000), (4, 2600)):
        if n > X.shape[1]:
            X, role, _ = rows(model, n)
        many, start = np.tile(role, (n_problems, 1)), np.zeros((n_problems, n))
        assert n_problems * X.size > 3 * 2**23
        one = run_amp(model, X, many, start, max_iter=3, n_threads=1)
        for n_threads in (2, 3):
            other = run_amp(model, X, many, start, max_iter=3, n_threads=n_threads)
            for name in ("weights", "field_mean", "variance", "free_entropy", "residual", "n_iter"):
                assert_array_equal(getattr(other, name), getattr(one, name))
            assert other.status == one.status


@pytest.mark.parametrize("n_problems", [2, 4, 5, 9])
def test_a_batch_is_its_problems(n_problems):
    """Different labels, laws and starts on the same rows; converged problems leave the batch."""
    model = MODELS["soft"]
    X, role, _ = rows(model, 120)
    rng = np.random.default_rng(0)
    roles = np.array(
        [np.where(rng.uniform(size=role.size) < 0.2 * p, 0, role) for p in range(n_problems)],
        dtype=np.int8,
    ) if n_problems < 6 else np.tile(role, (n_problems, 1)).astype(np.int8)  # fmt: skip
    starts = 0.3 * rng.normal(size=(n_problems, 120))
    laws = [laws_of(PerceptronModel(0.3 + 0.1 * p, 1, sigma=0.4))[0] for p in range(n_problems)]
    sphere = core.perceptron.Prior.sphere
    options = {"max_iter": 300, "tol": 1e-8, "damping": 0.2, "n_threads": 1}
    batch = core.perceptron.amp(X, roles, laws, sphere, start=starts, **options)
    assert len(set(batch.n_iter)) > 1
    for p in range(n_problems):
        one = core.perceptron.amp(
            X, roles[p : p + 1], [laws[p]], sphere, start=starts[p : p + 1], **options
        )
        assert_allclose(batch.weights[p], one.weights[0], rtol=1e-6, atol=1e-8)
        assert batch.n_iter[p] == one.n_iter[0]


def test_single_storage_changes_little():
    model = MODELS["soft"]
    X, role, _ = rows(model, 300)
    for n_problems in (1, 6):
        many = np.tile(role, (n_problems, 1))
        start = np.zeros((n_problems, 300))
        wide = run_amp(model, X, many, start).weights
        narrow = run_amp(model, X.astype(np.float32), many, start).weights
        assert_allclose(narrow, wide, atol=2e-6)


def test_leading_direction_is_the_eigenvector():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 80))
    X[:, 3] *= 2
    use = rng.uniform(size=300) < 0.7
    options = {"max_steps": 80, "tol": 1e-10, "key": (1, 2)}
    found = core.perceptron.leading_direction(X, use, n_threads=2, **options)
    values, vectors = np.linalg.eigh(X[use].T @ X[use] / use.sum())
    assert_allclose(found.eigenvalue, values[-1], rtol=1e-12)
    assert_allclose(abs(found.direction @ vectors[:, -1]), 1, rtol=1e-12)
    assert found.residual < 1e-9
    single = core.perceptron.leading_direction(X.astype(np.float32), use, n_threads=1, **options)
    assert_allclose(single.eigenvalue, found.eigenvalue, rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_contradicting_hard_rows_stay_finite_and_do_not_converge(seed):
    """Random labels, four rows a feature: no direction has a margin, and the run says so."""
    rng = np.random.default_rng(seed)
    X, role = rng.normal(size=(80, 20)), rng.choice([-1, 1], 80)
    got = run_amp(PerceptronModel(0.5, 0.0, 4.0), X, role, np.zeros(20), max_iter=200)
    assert got.status[0] in ("max_iter", "stalled")
    assert np.isfinite(got.weights).all()
    assert np.isfinite(got.field_mean).all()
    assert got.weights[0] @ got.weights[0] <= 20 * (1 + 1e-12)
    assert got.free_entropy[0] < -10  # the rows are all but impossible


def test_rows_that_cancel_leave_nothing_known():
    """Every row twice with each label: the direction stays at zero."""
    X = np.tile(np.random.default_rng(0).normal(size=(10, 20)), (4, 1))
    got = run_amp(PerceptronModel(0.5, 0.0, 2.0), X, np.repeat([1, -1], 20), np.zeros(20))
    assert got.status == ["converged"]
    assert_allclose(got.weights, 0, atol=1e-12)
    assert got.variance == [1.0]


@pytest.mark.parametrize("prior", ["sphere", "binary"])
def test_problems_together_are_problems_alone(prior):
    model = PerceptronModel(1.0, 2.0, 0.3, sigma=0.3, prior=prior)
    X, y, _, _ = pc.sample_rows(model, 150, random_state=0)
    few = y.copy()
    few[np.flatnonzero(y >= 0)[10:]] = -1
    subsets = np.stack([y, few, y])
    options = {"sigma": 0.3, "prior": prior, "on_failure": "ignore"}
    both = pc.message_passing(X, subsets, kappa=[1.0, 1.0, 0.5], **options)
    for j, kappa in enumerate((1.0, 1.0, 0.5)):
        one = pc.message_passing(X, subsets[j], kappa=kappa, **options)
        assert_allclose(both.weights[j], one.weights[0], rtol=1e-6, atol=1e-8)
        assert_allclose(both.free_entropy[j], one.free_entropy[0], rtol=1e-8)
    again = pc.message_passing(X, subsets, kappa=[1.0, 1.0, 0.5], n_jobs=2, **options)
    assert_array_equal(both.weights, again.weights)
    assert both.q[1] < both.q[0]  # fewer labels, less known
    assert both.converged.all()


def test_rows_in_single_precision_and_starts():
    model = PerceptronModel(1.0, 3.0)
    X, _, _, w = pc.sample_rows(model, 200, random_state=1)
    double = pc.message_passing(X, kappa=1.0)
    single = pc.message_passing(X.astype(np.float32), kappa=1.0)
    assert_allclose(single.q, double.q, rtol=1e-4)
    cosine = abs(double.weights[0] @ w) / np.linalg.norm(double.weights) / np.linalg.norm(w)
    assert cosine > 0.95
    informed = pc.message_passing(X, start=0.97 * w)
    assert_allclose(informed.q, double.q, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        (([[1.0, 2.0]], [0, 1]), {}, "y must have 1 entries"),
        (([[1.0, 2.0]], [3]), {}, "y must hold -1"),
        (([[1.0, np.nan]],), {}, "X"),
        (([[1.0, 2.0]],), {"kappa": -1.0}, "kappa"),
        (([[1.0, 2.0]],), {"eta_u": 1.5}, "eta_u"),
        (([[1.0, 2.0]],), {"kappa": [1, 2], "sigma": [1, 2, 3]}, "1 or 3"),
        (([[1.0, 2.0]],), {"start": [1.0]}, "start must have 2"),
        (([[1.0, 2.0]],), {"prior": "cube"}, "prior must be one of"),
        (([[1.0, 2.0]],), {"damping": 1.0}, "damping"),
    ],
)
def test_bad_problems(arguments, options, match):
    with pytest.raises(ValueError, match=match):
        pc.message_passing(*arguments, **options)


@pytest.fixture(scope="module")
def half_labelled():
    """600 rows of 200 features, half of them labelled: X, y (0, 1, -1 without), true weights."""
    X, y, _, w = pc.sample_rows(PerceptronModel(1.0, 1.5, 1.5), 200, random_state=3)
    return X, y, w


def cosine_of(found, w):
    return float(found.weights[0] @ w / np.linalg.norm(found.weights[0]) / np.linalg.norm(w))


def test_every_code_of_the_labels_is_the_same_problem(half_labelled):
    X, y, w = half_labelled
    right = pc.message_passing(X, y)
    theory = pc.solve(PerceptronModel(1.0, 1.5, 1.5)).cosine
    assert cosine_of(right, w) == pytest.approx(theory, abs=0.02)
    signs = np.where(y == -1, 0, 2 * y - 1)
    for code, marker in ((signs, 0), (np.where(y == -1, -7, signs), -7), (y.astype(float), -1)):
        found = pc.message_passing(X, code, unlabelled_as=marker)
        assert_array_equal(found.weights, right.weights)


def test_signs_as_labels_are_refused_and_read_with_the_remedy():
    model = PerceptronModel(0.3, 0.0, 2.0)  # labels alone
    X, y, _, w = pc.sample_rows(model, 400, random_state=0)
    signs = 2 * y - 1
    with pytest.raises(ValueError, match=r"would lose their label.*unlabelled_as=None"):
        pc.message_passing(X, signs, kappa=0.3)
    found = pc.message_passing(X, signs, kappa=0.3, unlabelled_as=None)
    assert_array_equal(found.weights, pc.message_passing(X, y, kappa=0.3).weights)
    theory = pc.solve(model).cosine
    assert theory == pytest.approx(0.905, abs=5e-4)
    assert cosine_of(found, w) == pytest.approx(theory, abs=0.02)
    one = np.where(y == 1, 1, -2)  # one class labelled: another marker says so
    with pytest.warns(ValidityWarning, match="equal size"):
        half = pc.message_passing(X, one, kappa=0.3, unlabelled_as=-2)
    assert cosine_of(half, w) < 0.8  # what the signs lost


def test_zero_for_unlabelled_is_refused_beside_signs(half_labelled):
    X, y, w = half_labelled
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    signs = np.where(few == -1, 0, 2 * few - 1)
    with pytest.raises(ValueError, match="pass unlabelled_as=0"):
        pc.message_passing(X, signs)
    assert cosine_of(pc.message_passing(X, signs, unlabelled_as=0), w) > 0.95


def test_a_mean_of_the_rows_breaks_the_overlap_and_centring_mends_it():
    X, y, _, w = pc.sample_rows(PerceptronModel(1.0, 1.0, 0.2), 300, random_state=1)
    shifted = X + 0.2
    with pytest.warns(ValidityWarning, match="q overstates what is known"):
        off = pc.message_passing(shifted, y, damping=0.5)
    assert off.converged.all()
    assert off.q[0] > 0.7
    assert cosine_of(off, w) ** 2 < 0.2
    mended = pc.message_passing(shifted - shifted.mean(axis=0), y, damping=0.5)
    assert mended.q[0] == pytest.approx(cosine_of(mended, w) ** 2, abs=0.06)


def test_rows_with_a_mean_are_reported(half_labelled, recwarn):
    X, y, _ = half_labelled
    pc.message_passing(X, y)
    assert not [w for w in recwarn if w.category is ValidityWarning]
    for shift in (0.5, np.eye(200)[7]):  # all columns, and one
        with pytest.warns(ValidityWarning, match=r"rows do not have mean zero.*Centre the rows"):
            pc.message_passing(X + shift, y)
        with pytest.raises(NumericalError, match="mean zero"):
            pc.message_passing(X + shift, y, on_failure="raise")


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_the_model_never_have_a_mean(seed, recwarn):
    model = PerceptronModel(1.5, 2.0, 0.5, eta_u=0.1)
    X, y, _, _ = pc.sample_rows(model, 60, random_state=seed)
    pc.message_passing(X, y, kappa=1.5, eta_u=0.1, max_iter=1, on_failure="ignore")
    pc.message_passing(X, y, kappa=1.5, eta_u=0.1)
    assert not [w for w in recwarn if w.category is ValidityWarning]


@pytest.mark.parametrize(
    ("marker", "error", "match"),
    [
        (1, ValueError, "must not be 1"),
        (0.5, TypeError, "whole number"),
        (True, TypeError, "whole"),
    ],
)
def test_bad_markers(marker, error, match):
    with pytest.raises(error, match=match):
        pc.message_passing([[1.0, 2.0], [-1.0, 0.5]], [0, 0], unlabelled_as=marker)


def test_the_answer_says_which_problem_is_which():
    model = PerceptronModel(1.0, 2.0, 0.5)
    X, y, _, _ = pc.sample_rows(model, 100, random_state=0)
    found = pc.message_passing(X, y, kappa=[0.5, 1.0], sigma=0.3)
    assert_array_equal(found.settings["kappa"], [0.5, 1.0])
    assert_array_equal(found.settings["sigma"], [0.3, 0.3])
    heading, *lines = str(found).splitlines()[-3:]
    assert heading.split()[:3] == ["problem", "kappa", "sigma"]
    assert [line.split()[0] for line in lines] == ["0", "1"]
    many = pc.message_passing(X, y, kappa=np.linspace(0.1, 1, 25))
    assert str(many).splitlines()[-1].startswith("5 more")


def test_problems_that_did_not_settle_are_named():
    X, y, _, _ = pc.sample_rows(PerceptronModel(1.0, 2.0, 0.5), 100, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"in 2 of 2 problems \(0, 1\) stopped at"):
        pc.message_passing(X, y, kappa=[0.5, 1.0], max_iter=4)


def test_a_margin_that_no_direction_keeps():
    X, y, _, _ = pc.sample_rows(PerceptronModel(1.0, 2.0, 0.5), 100, random_state=0)
    with pytest.warns(ValidityWarning, match=r"problem 1: .*kappa=1\.5; \d+ % of the rows"):
        found = pc.message_passing(X, y, kappa=[1.0, 1.5])
    assert found.q[1] > 0.999
    with pytest.raises(NumericalError, match="certainty that is none"):
        pc.message_passing(X, y, kappa=1.5, on_failure="raise")
    pc.message_passing(X, y, kappa=1.5, sigma=0.5, on_failure="raise")


def test_labels_that_are_numbers_belong_to_another_model():
    X, _, _, _ = pc.sample_rows(PerceptronModel(1.0, 2.0), 50, random_state=0)
    with pytest.raises(ValueError, match="other values: labels that are numbers belong to a GLM"):
        pc.message_passing(X, X[:, 0])
