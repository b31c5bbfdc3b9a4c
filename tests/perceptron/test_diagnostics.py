"""What a fit says about itself, on rows of its own law and of others."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

import retemper.perceptron as pc
from retemper._dispatch import core
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.perceptron import MarginPerceptronClassifier, PerceptronModel
from retemper.perceptron.diagnostics import goodness_of_fit, spectral_margin
from retemper.perceptron.model import row_law

HARD = {"sigma": 0.0, "eta_u": 0.0, "eta_l": 0.0}


@pytest.fixture(scope="module")
def easy():
    return pc.sample_rows(PerceptronModel(1.0, 3.0, 0.1), 300, random_state=0)


def test_margin_from_the_spectrum():
    for kappa in (0.7, 1.0, 1.5):
        X, _, _, _ = pc.sample_rows(PerceptronModel(kappa, 6.0), 400, random_state=0)
        fit = MarginPerceptronClassifier("spectral", **HARD, max_iter=3).set_params(tol=1e9).fit(X)
        assert abs(fit.kappa_ - kappa) < 0.12
    assert spectral_margin(1.9, 0.2) is None
    X = np.random.default_rng(0).normal(size=(200, 100))
    with pytest.warns(ValidityWarning, match="without structure"):
        fit = MarginPerceptronClassifier("spectral").fit(X, np.r_[0, 1, np.full(198, -1)])
    assert fit.kappa_ == 0


@pytest.mark.parametrize("alpha_l", [0.0, 0.2])
def test_report_on_its_own_law(alpha_l):
    model = PerceptronModel(1.0, 2.0, alpha_l, sigma=0.3)
    X, y, side, _ = pc.sample_rows(model, 600, random_state=1)
    fit = MarginPerceptronClassifier(1.0, 0.3, 0.0, 0.0).fit(X, y)
    report, theory = fit.report_, pc.solve(model)
    assert report.phase == "easy"
    assert report.is_trustworthy
    assert report.is_detectable
    assert report.ks_pvalue > 0.01
    assert_allclose(report.error_now, theory.error_margin)
    assert_allclose(report.worth_of_unlabelled, (theory.label_equivalent - alpha_l) * 600)
    errors = list(report.error_with_labels.values())
    assert (np.diff(errors) < 0).all()
    assert errors[0] <= report.error_now
    assert report.error_with_twice_the_labels <= report.error_now + 1e-12
    # cavity fields are those of new rows: their error is the predicted one
    hidden = y == -1
    wrong = ((fit.cavity_fields_[hidden] > 0) != (side[hidden] == 1)).mean()
    wrong = min(wrong, 1 - wrong) if alpha_l == 0 else wrong
    assert abs(wrong - report.error_fit) < 4 * np.sqrt(wrong / hidden.sum()) + 0.005
    assert (report.sign_risk is None) == (alpha_l > 0)
    assert "predictions may be used" in str(report)


def test_report_names_the_phases():
    def phase(kappa, alpha_u, alpha_l, n=200):
        X, y, _, _ = pc.sample_rows(PerceptronModel(kappa, alpha_u, alpha_l), n, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit = MarginPerceptronClassifier(kappa, **HARD, max_iter=20, classes=(0, 1))
            fit.fit(X, y)
        return fit.report_

    assert phase(1.0, 0.3, 0.0).phase == "undetectable"
    assert phase(0.5, 5.0, 0.0).phase == "beyond"
    hard = phase(0.5, 4.3, 0.01)
    assert hard.phase == "hard"
    assert 0 < hard.labels_to_leave_hard_phase < 200 * 0.1
    assert "leave the hard phase" in str(hard)


def test_report_rejects_rows_of_another_law(easy):
    X = easy[0]
    heavy = X * np.random.default_rng(0).standard_t(1.5, size=(len(X), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        report = MarginPerceptronClassifier().fit(heavy, easy[1]).report_
    assert not report.is_trustworthy
    assert "do not trust" in str(report)


def test_goodness_of_fit_knows_its_null():
    rng = np.random.default_rng(0)
    null = {"variance": 0.5, "q": 0.5, "law": row_law(kappa=0.0)}
    null["kind"] = core.perceptron.RowKind.unlabelled
    p = [goodness_of_fit(np.sqrt(0.5) * rng.normal(size=500), **null).pvalue for _ in range(200)]
    assert abs(np.mean(p) - 0.5) < 0.08
    assert goodness_of_fit(rng.normal(size=500), **null).pvalue < 1e-3
