"""What can be done with sources: mixtures of them, and the weights of an average."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge

import retemper
from retemper.advisor.candidates import (
    MIXTURE,
    SCRATCH,
    Candidate,
    estimator,
    fit_rows,
    predict,
)
from retemper.advisor.evidence import weigh
from retemper.advisor.inputs import read_task
from retemper.advisor.mixing import convex_weights, mix_scores
from retemper.linear import FineTunedLinearRegression

RNG = np.random.default_rng(5)
N = 30


def problem(task, k=4, seed=0):
    """Predictions (k, n, q) of sources, labels, weights and groups of two rows."""
    rng = np.random.default_rng(seed)
    q = 3 if task == "three classes" else 1
    scores = rng.normal(size=(k, N, q))
    z = 0.8 * scores[0] - 0.4 * scores[1] + 0.7 * rng.normal(size=(N, q))
    y = z[:, 0] if task == "numbers" else z.argmax(axis=1) * 1.0 if q > 1 else (z[:, 0] > 0) * 1.0
    return scores, y, rng.random(N) + 0.5, np.repeat(np.arange(N // 2), 2)


def cost(data, ridge, kept, task):
    """The penalised loss that `mix_scores` states, for parameters (a, b), on some rows."""
    scores, y, weight = data
    share = weight / weight.sum()
    mean = np.einsum("n,knq->kq", share, scores)
    spread2 = np.einsum("n,knq->k", share, (scores - mean[:, None]) ** 2) / scores.shape[2]

    def value(v):
        a, b = v[: len(scores)], v[len(scores) :]
        z = np.tensordot(a, scores, axes=1) + b
        if task == "numbers":
            rows = (z[:, 0] - y) ** 2 / 2
        else:
            z = np.hstack([0 * z, z]) if z.shape[1] == 1 else z
            rows = np.log(np.exp(z).sum(axis=1)) - z[np.arange(N), y.astype(int)]
        return (share * rows)[kept].sum() + ridge / 2 * (a**2 * spread2).sum()

    return value


@pytest.mark.parametrize("task", ["numbers", "two classes", "three classes"])
def test_factors_minimise_the_stated_loss(task):
    scores, y, weight, group = problem(task)
    found = mix_scores(scores, y, weight, group, is_regression=task == "numbers")
    assert 0 < found.ridge < np.inf
    value = cost((scores, y, weight), found.ridge, slice(None), task)
    here = np.r_[found.weights, found.intercept]
    best = minimize(value, here, tol=1e-12).x
    assert value(here) <= value(best) + 1e-10
    np.testing.assert_allclose(found.weights, best[:4], atol=1e-4)
    np.testing.assert_allclose(
        found.of(scores), np.tensordot(found.weights, scores, axes=1) + found.intercept
    )


@pytest.mark.parametrize("task", ["numbers", "two classes"])
def test_left_out_predictions_are_those_of_refits(task):
    scores, y, weight, group = problem(task)
    found = mix_scores(scores, y, weight, group, is_regression=task == "numbers")
    exact = np.empty(N)
    for g in range(N // 2):
        kept = group != g
        value = cost((scores, y, weight), found.ridge, kept, task)
        v = minimize(value, np.r_[found.weights, found.intercept], tol=1e-12).x
        exact[~kept] = (np.tensordot(v[:4], scores, axes=1) + v[4:])[~kept, 0]
    got, whole = found.left_out[:, 0], found.of(scores)[:, 0]
    if task == "numbers":
        np.testing.assert_allclose(got, exact, atol=1e-5)
    else:  # to first order: most of the change is caught
        assert np.abs(got - exact).mean() < 0.3 * np.abs(whole - exact).mean()


def test_factors_follow_the_units():
    scores, y, weight, group = problem("numbers")
    unit = np.array([1e-6, 1.0, 1e6, -3.0])
    one = mix_scores(scores, y, weight, group, is_regression=True)
    two = mix_scores(
        scores * unit[:, None, None] + 7.0, 1e3 * y - 5.0, weight, group, is_regression=True
    )
    np.testing.assert_allclose(two.weights * unit, 1e3 * one.weights, rtol=1e-6)
    np.testing.assert_allclose(two.left_out, 1e3 * one.left_out - 5.0, rtol=1e-6)


@pytest.mark.parametrize("task", ["numbers", "two classes", "three classes"])
def test_convex_weights_are_the_best(task):
    scores, y, weight, _ = problem(task, k=6, seed=1)
    scores[2] = scores[3]  # as good as one
    found = convex_weights(scores, y, weight, is_regression=task == "numbers")
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(), 1.0)
    plain = cost((scores, y, weight), 0.0, slice(None), task)

    def value(w):
        return plain(np.r_[w, np.zeros(scores.shape[2])])

    rng = np.random.default_rng(0)
    for other in [*np.eye(6), *rng.dirichlet(np.full(6, 0.4), size=200)]:
        for t in (1e-3, 0.1, 1.0):
            assert value(found) <= value((1 - t) * found + t * other) + 1e-7


def test_sources_of_a_common_subspace_are_mixed():
    """Eight sources in three dimensions, 25 labels: none is near the target, a mixture is."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(50, 3)))[0]
    sources, w = (basis @ rng.normal(size=(3, 8))).T, basis @ rng.normal(size=3)
    X = rng.normal(size=(25, 50))
    y = X @ w + 0.1 * rng.normal(size=25)
    rows = rng.normal(size=(1000, 50))
    linear = retemper.advise(X, y, sources=list(sources), cv=3)
    single = min(np.mean((rows @ (v - w)) ** 2) for v in sources)
    risk = np.mean((linear.estimator_.predict(rows) - rows @ w) ** 2)
    assert risk < 0.01
    assert single > 0.4
    assert linear.choice == "mixture"
    assert linear["mixture"].verdict == "helps"
    assert "Use the average (" in linear.headline
    assert "mixture" in linear.headline
    assert "factors of the sources" in linear["mixture"].flags[0]
    # the same sources as functions of the rows
    functions = [lambda rows, v=v: np.asarray(rows) @ v for v in sources]
    other = retemper.advise(X, y, sources=functions, cv=3)
    np.testing.assert_allclose(
        other.estimator_.predict(rows), linear.estimator_.predict(rows), rtol=1e-9, atol=1e-9
    )


@pytest.mark.slow
def test_sources_of_one_class_each_are_mixed():
    """A mixture of logits, of classifiers that know a class each, with named columns."""
    rng = np.random.default_rng(1)
    centres = 1.5 * rng.normal(size=(4, 8))
    kind = rng.integers(0, 4, size=1000)
    X = pd.DataFrame(centres[kind] + rng.normal(size=(1000, 8)), columns=list("abcdefgh"))
    y = np.array(["no", "yes"])[kind % 2]
    sources = {
        str(j): LogisticRegression().fit(X[400:], np.where(kind[400:] == j, "yes", "no"))
        for j in range(4)
    }
    advice = retemper.advise(X[:30], y[:30], sources=sources, cv=3)
    row = advice["mixture"]
    assert row.loss < min(advice[str(j)].loss for j in range(4))
    assert advice.estimator_.score(X[40:400], y[40:400]) > 0.75
    assert row.p_helps > 0.5


def test_sources_that_do_not_know_new_rows_are_not_mixed():
    X = RNG.normal(size=(30, 5))
    y = X[:, 0] + 0.3 * RNG.normal(size=30)
    known = retemper.advisor.Predictions(y + 0.1)
    w = np.eye(5)
    names = {c.name for c in retemper.advise(X, y, sources={"a": w[0], "p": known}).candidates}
    assert names == {"scratch", "a", "p"}
    forest = RandomForestRegressor(5, random_state=0).fit(RNG.normal(size=(50, 5)), np.arange(50))
    more = retemper.advise(X, y, sources={"mixture": w[0], "b": w[1], "p": known, "f": forest})
    assert " p" not in more["mixture of all"].flags[0]
    rows = RNG.normal(size=(7, 5))
    assert np.isfinite(more.estimator_.predict(rows)).all()


def test_average_of_many_minds_what_candidates_add():
    """Two halves of the truth: each is as poor as the other, their average is right."""
    y = RNG.normal(size=40)
    part = RNG.normal(size=40)
    scores = np.stack([y + part, y - part, y + 0.9 * RNG.normal(size=40)])[..., None]
    found = convex_weights(scores, y, np.ones(40), is_regression=True)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0], atol=1e-6)
    alone = weigh((scores[..., 0] - y) ** 2)
    assert alone[2] > 0.2


def two_tables(flip=False, seed=0, n=25):
    rng = np.random.default_rng(seed)
    w, d = rng.normal(size=6), 6
    X, rows = rng.normal(size=(n, d)) * 3.0 + 1.0, rng.normal(size=(200, d)) * [1, 2, 3, 4, 5, 6]
    y = X @ w + 2.0 * rng.normal(size=n)
    labels = (-1) ** flip * (rows @ w) + 2.0 * rng.normal(size=200)
    return X, y, rows, labels, w


def test_pooling_is_a_fit_to_both_tables():
    """Fine-tuning in the metric of the source rows is the weighted fit to all rows."""
    X, y, rows, labels, _ = two_tables()
    task = read_task(X, y, {"s": (rows, labels)}, "regression")
    pooled = Candidate(0, "pooled")
    model = fit_rows(task, pooled, np.arange(25))[0]
    weight, own = model.ridge_, task.sources[0]
    assert 0 < weight < np.inf
    fitted = FineTunedLinearRegression(metric=np.var(rows, axis=0)).fit(rows, labels)

    def loss(v):
        target = np.mean((y - v[6] - X @ v[:6]) ** 2)
        theirs = np.mean((labels - v[7] - rows @ v[:6]) ** 2)
        return target + weight * (theirs + fitted.ridge_ * (v[:6] ** 2 * rows.var(axis=0)).sum())

    best = minimize(loss, np.zeros(8), method="BFGS", options={"gtol": 1e-10}).x
    said = predict(task, pooled, model)[:, 0]
    np.testing.assert_allclose(said, best[6] + X @ best[:6], rtol=1e-3, atol=1e-3)
    member = estimator(task, pooled, own.model, task.units.metric).set_params(ridge=weight)
    np.testing.assert_allclose(member.fit(X, y).predict(X), said, rtol=1e-8)


def test_pooling_is_a_candidate_and_flipped_labels_give_it_no_weight():
    X, y, rows, labels, w = two_tables(n=30)
    good = retemper.advise(X, y, sources={"s": (rows, labels)})
    assert good.settings["weights"]["pooled: s"] > 0.02
    few = retemper.advise(X[:29], y[:29], sources={"s": (rows, labels)}, cv=3)
    assert "pooled: s" not in few.settings["weights"]  # too few labels to choose a weight
    X, y, rows, labels, w = two_tables(flip=True, n=30)
    bad = retemper.advise(X, y, sources={"s": (rows, labels)})
    assert "pooled: s" not in bad.settings["weights"]
    risk = np.mean((bad.estimator_.predict(rows) - rows @ w) ** 2)
    assert risk < 0.2 * np.var(rows @ w)


@pytest.mark.slow
def test_classes_are_pooled_to_second_order():
    X, y, rows, labels, w = two_tables()
    task = read_task(X, (y > 0) * 1, {"s": (rows, (labels > 0) * 1)}, "classification")
    pooled = Candidate(0, "pooled")
    model = fit_rows(task, pooled, np.arange(25))[0]
    said = predict(task, pooled, model)[:, 0]
    scratch = fit_rows(task, Candidate(-1, "scratch"), np.arange(25))[0]
    alone = predict(task, Candidate(-1, "scratch"), scratch)[:, 0]
    assert np.corrcoef(said, X @ w)[0, 1] > 0.9 > np.corrcoef(alone, X @ w)[0, 1]


@pytest.mark.parametrize("seed", [0, 2])
def test_ten_digits_are_mixed(seed):
    """One source for every digit, thirty labels that say whether it is odd."""
    data = load_digits()
    rng = np.random.default_rng(7)
    W, b = rng.normal(size=(64, 300)) / 8, 0.3 * rng.normal(size=300)
    rows = np.maximum((data.data / 16 - data.data.mean(axis=0) / 16) @ W * 3 + b, 0.0)
    order = np.random.default_rng(seed).permutation(len(rows))
    old, few, other = order[:900], order[900:930], order[930:]
    y = np.where(data.target % 2, 1.0, -1.0)
    sources = {
        str(j): Ridge(1.0).fit(rows[old], np.where(data.target[old] == j, 1.0, -1.0))
        for j in range(10)
    }
    task = read_task(rows[few], y[few], sources, "regression")
    test = read_task(rows[other], y[other], sources, "regression")
    mixed = Candidate(MIXTURE, "as is")
    model, scratch = (fit_rows(task, c, np.arange(30))[0] for c in (mixed, SCRATCH))
    loss = np.mean((predict(test, mixed, model)[:, 0] - y[other]) ** 2)
    alone = (test.rows - task.units.mean) / task.units.scale @ scratch.coef_[0]
    assert loss < 0.6 * np.mean((alone + scratch.intercept_ - y[other]) ** 2)
    assert loss < 0.35
