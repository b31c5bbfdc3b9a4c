"""The transfer report against the slow reference, plain refits and definitions."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge

from retemper._text import number
from retemper.exceptions import ValidityWarning
from retemper.linear import FineTunedLinearRegression, LinearTransferReport
from retemper.linear.ridge import contest
from retemper.linear.ridge.contest import Contest
from retemper.linear.ridge.path import RidgePath

from . import reference_gain as reference


def sample(n=24, d=40, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) + 0.5) * np.arange(1, d + 1) ** -0.3
    w, other = rng.normal(size=(2, d)) / np.sqrt(d)
    sources = np.array([w + 0.3 * other, 0.4 * w, -w, 0.3 * w + other])
    return X, X @ w + 1.0 + noise * rng.standard_t(5, size=n), sources


GAINS = (
    "gain_",
    "gain_stderr_",
    "gain_low_",
    "gain_high_",
    "relative_gain_",
    "relative_gain_low_",
    "relative_gain_high_",
)


@pytest.mark.parametrize(("n", "d"), [(24, 40), (40, 12), (13, 13), (5, 30)])
def test_gains_are_those_of_the_reference(n, d):
    X, y, sources = sample(n, d, seed=n)
    report, slow = (r(sources).fit(X, y) for r in (LinearTransferReport, reference.ReferenceReport))
    assert (report.verdict_, report.use_) == (slow.verdict_, slow.use_)
    for name in GAINS:
        np.testing.assert_allclose(getattr(report, name), getattr(slow, name), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(report.gain_ridge_, slow.gain_ridge_, rtol=1e-9)


def test_errors_are_those_of_the_reference():
    X, y, sources = sample()
    report = LinearTransferReport(sources).fit(X, y)
    spectrum = reference.Spectrum(X)

    def error(*args, **kwargs):
        return reference.loo_error(spectrum, reference.Candidate(*args, **kwargs))[0]

    assert report.scratch_ == pytest.approx(error(y))
    for j, w in enumerate(sources):
        f = X @ w
        assert report.fine_tuned_[j] == pytest.approx(error(y - f))
        assert report.rescaled_[j] == pytest.approx(error(y, free=f))
        assert report.zero_shot_[j] == pytest.approx(np.mean((y - f) ** 2))
        probe = [
            LinearRegression()
            .fit(f[np.arange(24) != i, None], y[np.arange(24) != i])
            .predict(f[[i], None])[0]
            - y[i]
            for i in range(24)
        ]
        assert report.probe_error_[j] == pytest.approx(np.mean(np.square(probe)))


@pytest.mark.parametrize(("n", "d"), [(300, 100), (300, 420)])
def test_expansion_of_the_deletions(n, d, monkeypatch):
    """Above EXACT_ROWS rows, to first order in the squared off-diagonal elements."""
    X, y, sources = sample(n, d)
    found = Contest(RidgePath(X, np.column_stack([y, *(X @ w for w in sources[:2])])), 1)
    at = [(i, j) for i in (0, 8, 20) for j in range(5)]
    fast = found.deleted(at)
    monkeypatch.setattr(contest, "EXACT_ROWS", 10**6)
    exact = found.deleted(at)
    spread = exact.std(axis=1)
    assert fast.std(axis=1) / spread == pytest.approx(1.0, abs=0.03)
    assert (np.abs(fast - exact).max(axis=1) < 0.5 * spread).all()


def test_mixture_is_the_refit_with_free_columns():
    X, y, sources = sample()
    report = LinearTransferReport(sources[:2]).fit(X, y)
    F, n = X @ sources[:2].T, len(X)
    errors, weights = [], []
    for ridge in Contest(RidgePath(X, np.column_stack([y, F])), 1).ridges:
        Z = np.column_stack([np.ones(n), F] + ([X] if np.isfinite(ridge) else []))
        penalty = np.zeros(Z.shape[1])
        penalty[3:] = n * ridge if np.isfinite(ridge) else 0.0
        left = []
        for i in range(n):
            A, b = np.delete(Z, i, axis=0), np.delete(y, i)
            left.append(y[i] - Z[i] @ np.linalg.solve(A.T @ A + np.diag(penalty), A.T @ b))
        errors.append(np.mean(np.square(left)))
        weights.append(np.linalg.solve(Z.T @ Z + np.diag(penalty), Z.T @ y)[1:3])
    at = int(np.argmin(errors))
    assert report.mixing_error_ == pytest.approx(errors[at], rel=1e-6)
    np.testing.assert_allclose(report.mixing_weights_, weights[at], rtol=1e-5)


@pytest.mark.parametrize("form", ["coefficients", "functions", "two outputs"])
def test_the_mixture_is_used_where_it_is_clearly_better(form):
    """Eight sources in three dimensions and 25 labels: the report starts from all of them."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(50, 3)))[0]
    V, w = (basis @ rng.normal(size=(3, 8))).T, basis @ rng.normal(size=3)
    X = rng.normal(size=(25, 50))
    y = X @ w + 0.1 * rng.normal(size=25)
    rows = rng.normal(size=(500, 50))
    sources = list(V)
    if form == "functions":
        sources = [lambda rows, v=v: np.asarray(rows) @ v for v in V]
    if form == "two outputs":
        y, sources = np.column_stack([y, -2 * y]), [np.stack([v, np.roll(v, 0)]) for v in V]
    report = LinearTransferReport(sources).fit(X, y)
    assert report.recommendation_ == "fine-tune: mixture"
    assert report.mixing_error_ < 0.1 * report.rescaled_.min()
    said = report.estimator_.predict(rows)
    first = said if said.ndim == 1 else said[:, 0]
    assert np.mean((first - rows @ w) ** 2) < 0.01
    if said.ndim == 2:
        np.testing.assert_allclose(said[:, 1], -2 * said[:, 0], rtol=1e-6, atol=1e-6)
    again = clone(report.estimator_).fit(X, y)  # factors are kept
    np.testing.assert_allclose(again.predict(rows), said, rtol=1e-8, atol=1e-8)


def test_the_mixture_is_not_used_for_a_small_gain():
    X, y, sources = sample()
    near = [sources[0], sources[0] + 1e-3 * sources[1]]
    report = LinearTransferReport(near).fit(X, y)
    assert "mixture" not in report.recommendation_
    single = LinearTransferReport(sources[:1]).fit(X, y)
    assert "mixture" not in single.recommendation_


def test_mixture_survives_repeated_and_silent_sources():
    X, y, sources = sample()
    one = LinearTransferReport(sources[:1]).fit(X, y)
    several = [sources[0], sources[0], np.zeros(40), 1e-6 * sources[0]]
    many = LinearTransferReport(several).fit(X, y)
    assert many.mixing_error_ == pytest.approx(one.mixing_error_, rel=1e-6)
    assert one.mixing_error_ == pytest.approx(one.rescaled_[0], rel=1e-9)


def test_best_scale_is_that_of_the_estimator():
    X, y, sources = sample(80, noise=0.1)
    report = LinearTransferReport(sources[1]).fit(X, y)
    assert (report.verdict_, report.use_) == (["helps"], ["rescaled"])
    model = report.estimator_
    assert model.source_scale == "auto"
    assert model.source_scale_ == pytest.approx(report.best_scale_[0])
    again = clone(model)
    assert again.source is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        np.testing.assert_allclose(again.fit(X, y).predict(X), model.predict(X), rtol=1e-9)
    assert model.loo_ < report.scratch_


@pytest.mark.parametrize("kind", ["as is", "fine-tune", "scratch", "none"])
def test_recommended_estimator(kind):
    X, y, sources = sample(60, seed=1, noise=0.5 if kind == "scratch" else 0.1)
    w = sources[1] / 0.4
    near = w + 0.5 * (sources[0] - w)
    source = {"as is": w, "fine-tune": near, "scratch": -0.5 * w, "none": None}
    if kind == "as is":
        y = y - np.mean(y - X @ w)
    report = LinearTransferReport(source[kind]).fit(X, y)
    want = kind if kind != "none" else "scratch"
    model = report.estimator_
    assert report.recommendation_.startswith(want)
    assert (model.source is None) == (want == "scratch")
    if kind == "as is":
        np.testing.assert_allclose(model.predict(X), X @ w)
    error = {"as is": report.zero_shot_, "fine-tune": report.fine_tuned_}.get(kind)
    assert model.loo_ == pytest.approx(report.scratch_ if error is None else error[0])
    assert model.n_features_in_ == 40
    assert report.use_ == ([] if kind == "none" else [want])
    verdict = "hurts" if kind == "scratch" else "helps"
    assert report.verdict_ == ([] if kind == "none" else [verdict])


def test_curves():
    X, y, sources = sample(40, 60)
    sources[3] = -0.15 * sources[1]
    report = LinearTransferReport(sources).fit(X, y)
    n = report.n_samples_
    assert n[0] == 0
    assert n[-1] == 40
    assert report.learning_curve_.shape == (4, len(n))
    assert (np.diff(report.learning_curve_, axis=1) <= 1e-12).all()
    assert (np.diff(report.scratch_curve_) <= 1e-12).all()
    for j, w in enumerate(sources):
        path = RidgePath(X, (y - X @ w)[:, None])
        assert report.learning_curve_[j, -1] == pytest.approx(path.gcv(path.grid()).min())
        np.testing.assert_allclose(report.profile_[j], path.profile(path.grid())[:, 0])
    assert report.effective_ridge_[0] == np.inf
    assert (np.diff(report.effective_ridge_) < 0).all()
    # the source that helps saves labels, by the very curves; the opposite one wastes them
    saved = report.samples_saved_[0]
    assert saved > 0
    at_saved = np.interp(40 - saved, n, report.learning_curve_[0])
    assert saved == 40 or at_saved == pytest.approx(report.scratch_curve_[-1], rel=1e-6)
    assert report.samples_saved_[2] == -40  # worse with all labels than nothing with none
    assert report.learning_curve_[2, -1] >= report.scratch_curve_[0]
    wasted = report.samples_saved_[3]
    assert -40 < wasted < 0
    worth = np.interp(40 + wasted, n, report.scratch_curve_)
    assert worth == pytest.approx(report.learning_curve_[3, -1], rel=1e-6)


def test_learning_curve_predicts_smaller_samples():
    """Mean over samples of the prediction at n/2 against the error of fits to n/2 rows."""
    rng = np.random.default_rng(0)
    d, n = 60, 80
    var = np.arange(1, d + 1) ** -0.5
    w = rng.normal(size=d) / np.sqrt(d)
    predicted, found = [], []
    for _ in range(40):
        X = rng.normal(size=(n, d)) * np.sqrt(var)
        y = X @ w + 0.3 * rng.normal(size=n)
        path = RidgePath(X, y[:, None])
        grid = path.grid(per_decade=40)[1:]
        kappa, df1, _ = path.effective(grid)
        ridge = kappa * (1 - df1 / (n // 2 - 1)) * (n // 2 - 1) / (n // 2)  # of half the rows
        surface = path.learning_surface(n // 2, grid)[0, :, 0]
        predicted.append(np.interp(0.1, ridge[::-1], surface[::-1]))
        fit = Ridge(alpha=0.1 * (n // 2)).fit(X[: n // 2], y[: n // 2])
        found.append(var @ (fit.coef_ - w) ** 2 + fit.intercept_**2 + 0.09)
    se = np.hypot(np.std(predicted), np.std(found)) / np.sqrt(40)
    assert abs(np.mean(predicted) - np.mean(found)) < 3 * se + 0.03 * np.mean(found)


def test_depths():
    X, y, sources = sample(30, 60, noise=0.05)
    report = LinearTransferReport([sources[1], lambda X: X[:, 0]]).fit(X, y)
    assert np.isnan(report.gcv_path_[1]).all()
    for depth, error in zip(report.depths_, report.gcv_path_[0], strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ValidityWarning)
            model = FineTunedLinearRegression(depth, 0.0, sources[1]).fit(X, y)
        assert error == pytest.approx(model.gcv_, rel=1e-8)


def test_ways_to_pass_sources():
    X, y, sources = sample()
    a, b = sources[:2]
    fitted = Ridge().fit(X, X @ b)
    by_name = LinearTransferReport({"a": a, "b": fitted}).fit(X, y)
    assert by_name.names_ == ["a", "b"]
    in_list = LinearTransferReport([a, fitted]).fit(X, y)
    assert in_list.names_ == ["source 0", "source 1"]
    np.testing.assert_array_equal(by_name.gain_, in_list.gain_)
    for one in (a, list(a), [a], a[None], lambda X: X @ a):
        report = LinearTransferReport(one).fit(X, y)
        np.testing.assert_allclose(report.gain_, by_name.gain_[:1], rtol=1e-9)
    assert LinearTransferReport(fitted).fit(X, y).gain_[0] == pytest.approx(by_name.gain_[1])
    empty = LinearTransferReport().fit(X, y)
    assert empty.gain_.shape == (0,)
    assert empty.gain_low_.shape == (0,)
    assert empty.mixing_error_ == empty.scratch_


def test_several_outputs():
    X, y, sources = sample()
    rng = np.random.default_rng(3)
    Y = np.column_stack([y, y + rng.normal(size=24)])
    W = [np.stack([sources[0], sources[1]]), np.stack([sources[2], sources[0]])]
    report = LinearTransferReport(W).fit(X, Y)
    assert report.best_scale_.shape == report.mixing_weights_.shape == (2, 2)
    assert report.zero_shot_[0] == pytest.approx(
        sum(np.mean((Y[:, k] - X @ W[0][k]) ** 2) for k in range(2))
    )
    assert report.estimator_.predict(X).shape == Y.shape
    twice = LinearTransferReport([np.stack([w, w]) for w in sources])
    twice.fit(X, np.column_stack([y, y]))
    once = LinearTransferReport(sources).fit(X, y)
    np.testing.assert_allclose(twice.gain_, 2 * once.gain_)
    np.testing.assert_allclose(twice.gain_low_, 2 * once.gain_low_)
    np.testing.assert_allclose(twice.relative_gain_low_, once.relative_gain_low_)
    assert (twice.verdict_, twice.use_) == (once.verdict_, once.use_)
    np.testing.assert_allclose(twice.gcv_path_, 2 * once.gcv_path_)


def test_identical_perfect_and_constant():
    X, y, sources = sample()
    report = LinearTransferReport([np.zeros(40), sources[0]]).fit(X, y)
    assert report.gain_[0] == report.gain_stderr_[0] == 0.0
    assert report.relative_gain_low_[0] == report.relative_gain_high_[0] == 0.0
    assert report.verdict_[0] == "undecided"
    assert report.lean_[0] == "scratch"
    perfect = LinearTransferReport([sources[0]]).fit(X, X @ sources[0])
    assert (perfect.relative_gain_low_[0], perfect.relative_gain_high_[0]) == (-np.inf, 1.0)
    assert perfect.verdict_ == ["undecided"]
    assert perfect.lean_ == perfect.use_ == ["as is"]
    assert perfect.samples_saved_[0] == 24
    flat = LinearTransferReport([sources[0]]).fit(X, np.ones(24))
    assert flat.scratch_ == 0.0
    assert flat.verdict_ in (["undecided"], ["hurts"])
    still = LinearTransferReport([sources[0]]).fit(np.ones((9, 40)), np.arange(9.0))
    assert still.verdict_ == ["undecided"]
    assert np.isfinite(still.scratch_)


def test_a_leverage_of_one_does_not_decide():
    X, y, _ = sample()
    spike = np.zeros(24)
    spike[5] = 1.0
    report = LinearTransferReport(lambda X: spike).fit(X, y)
    assert report.rescaled_[0] == np.inf
    assert np.isfinite(report.gain_).all()
    assert report.lean_[0] != "rescaled"


def test_three_rows_and_up():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3, 8)), rng.normal(size=3)
    report = LinearTransferReport(rng.normal(size=(2, 8))).fit(X, y)
    assert set(report.verdict_) <= {"helps", "hurts", "undecided"}
    assert set(report.use_) <= {"scratch", "as is", "fine-tune", "rescaled"}
    with pytest.raises(ValueError, match="minimum of 3"):
        LinearTransferReport().fit(X[:2], y[:2])


def test_clone_and_pickle():
    X, y, sources = sample()
    fitted = Ridge().fit(X, y)
    report = LinearTransferReport({"ridge": fitted, "coef": sources[0]})
    again = clone(report)
    assert again.sources["ridge"] is fitted
    assert again.sources is report.sources
    assert report.get_params() == {
        "sources": report.sources, "fit_intercept": True, "confidence": 0.95
    }  # fmt: skip
    report.fit(X, y)
    copy = pickle.loads(pickle.dumps(report))
    np.testing.assert_array_equal(copy.gain_low_, report.gain_low_)
    assert copy.summary() == report.summary()


def test_text_and_frame():
    pd = pytest.importorskip("pandas")
    X, y, sources = sample()
    report = LinearTransferReport(dict(zip("abcd", sources, strict=True))).fit(X, y)
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == list("abcd")
    np.testing.assert_array_equal(frame["gain"], report.gain_)
    text = report.summary()
    assert str(report) == text
    assert f"scratch: {number(report.scratch_)}" in text
    for name, verdict in zip("abcd", report.verdict_, strict=True):
        assert any(line.startswith(name) and verdict in line for line in text.splitlines())
    assert "<pre>" in report._repr_html_()
    assert repr(report).startswith("LinearTransferReport(")
    assert str(LinearTransferReport()) == "LinearTransferReport()"
    with pytest.raises(NotFittedError):
        LinearTransferReport().summary()
    several = LinearTransferReport([np.stack([sources[0]] * 2)]).fit(X, np.column_stack([y, y]))
    assert len(several.to_frame()) == 1
    assert "recommended" in several.summary()


def test_pictures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from retemper.linear import LearningCurveDisplay, TransferReportDisplay

    X, y, sources = sample()
    report = LinearTransferReport(dict(zip("abcd", sources, strict=True))).fit(X, y)
    display = report.plot()
    assert isinstance(display, TransferReportDisplay)
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == list("abcd")
    shown = {t.get_text() for t in display.ax_.get_legend().get_texts()}
    assert shown == set(report.verdict_)
    curves = LearningCurveDisplay.from_estimator(report).plot()
    assert len(curves.ax_.lines) == 5
    ax = plt.subplots()[1]
    assert report.plot(ax=ax).ax_ is ax
    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"sources": {"a": np.ones(7)}}, r"sources\['a'\] must have shape"),
        ({"sources": [np.ones(40), "file"]}, r"sources\['source 1'\]"),
        ({"sources": {1: np.ones(40), "1": np.ones(40)}}, "equal as text"),
        ({"sources": [Ridge()]}, "not fitted"),
        ({"sources": np.full((2, 40), np.inf)}, r"sources\['source 0'\]\[0\]"),
        ({"sources": lambda X: X}, "must have shape"),
    ],
)
def test_bad_arguments(arguments, message):
    X, y, _ = sample()
    with pytest.raises((ValueError, TypeError, NotFittedError), match=message):
        LinearTransferReport(**arguments).fit(X, y)


def test_bits_hold_still():
    X, y, sources = sample(60, 90)
    one, two = (LinearTransferReport(sources).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.gain_low_, two.gain_low_)
    np.testing.assert_array_equal(one.learning_curve_, two.learning_curve_)
    three = LinearTransferReport(np.asfortranarray(sources)).fit(np.asfortranarray(X), y.tolist())
    np.testing.assert_array_equal(one.gain_low_, three.gain_low_)


def test_blocks_do_not_change_the_report(monkeypatch):
    X, y, sources = sample(40, 12)
    one = LinearTransferReport(sources).fit(X, y)
    monkeypatch.setattr(contest, "BLOCK", 200)
    two = LinearTransferReport(sources).fit(X, y)
    assert two.verdict_ == one.verdict_
    for name in ("gain_low_", "rescaled_", "mixing_weights_", "mixing_error_"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-9)


@pytest.mark.parametrize(("unit_x", "unit_y"), [(1e59, 1e58), (1e-100, 1e-100), (1e-50, 1e50)])
def test_units_do_not_matter(unit_x, unit_y):
    X, y, sources = sample()
    one = LinearTransferReport(sources).fit(X, y)
    two = LinearTransferReport(sources * unit_y / unit_x).fit(X * unit_x, y * unit_y)
    assert two.verdict_ == one.verdict_
    np.testing.assert_allclose(two.relative_gain_low_, one.relative_gain_low_)
    np.testing.assert_allclose(two.gain_low_ / unit_y / unit_y, one.gain_low_)
    np.testing.assert_allclose(two.gcv_path_ / unit_y / unit_y, one.gcv_path_)
    np.testing.assert_allclose(two.samples_saved_, one.samples_saved_)
