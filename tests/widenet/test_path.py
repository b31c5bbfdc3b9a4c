"""Paths of couplings equal single solves; the picture of the theory page."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.widenet import gamma_path, solve

from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
ACTIVATIONS = ("erf", "relu", "gelu", "linear")


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_variances_and_overlaps_are_not_negative(act):  # invariants (vii) and (viii)
    target, source, test = draw(**SMALL, scale=2.0)
    for N1 in (8, 50, 1000):
        path = gamma_path(model(act, N1), target, source, test=test)
        assert (path["thermal"] > 0).all()
        assert (path["quenched"] >= 0).all()
        assert (path["Q_tt"] - path["Q_st"] ** 2 / path["Q_s"] >= -1e-9).all()
        assert (path["delta"] > 0).all()


def test_path_shares_what_it_can_and_equals_single_solves():
    target, source, test = draw(**SMALL)
    m = model("relu", 60, lam0=0.5)
    path = gamma_path(m, target, source, test, gammas=[5.0, 0.0, np.inf, 0.2])
    assert_array_equal(path.gamma, [0.0, 0.2, 5.0, np.inf])
    for gamma, theory, anchor in zip(path.gamma, path.theory, path.control.theory, strict=True):
        at = dataclasses.replace(m, gamma=gamma)
        for mine, other in ((theory, source), (anchor, None)):
            alone = solve(at, target, other, test)
            for name in ("Q_t", "Q_tt", "Q_st", "test_error", "loo"):
                want = getattr(alone, name)
                assert getattr(mine, name) == pytest.approx(want, rel=1e-8, abs=1e-12), name
    assert_allclose(path.loo_loss_rows.mean(1), path["loo"], rtol=1e-12)
    frame = path.to_frame()
    assert list(frame["control_test_error"]) == list(path.control["test_error"])
    assert gamma_path(m, target, source, gammas=[0.0], control=False).control is None


def test_width_picture():
    """F2 of the theory page: transfer at finite width, regularisation alone at large width."""
    problem = draw(N0=200, Ps=400, Pt=60, Pe=300)
    gammas = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
    narrow = gamma_path(model(N1=100, T=0.01), *problem, gammas=gammas)
    want = [1.1633, 1.1433, 1.0798, 0.8960, 0.7465, 0.6990, 0.7271, 0.7455]
    assert_allclose(narrow["test_error"], want, atol=6e-5)
    want = [1.1633, 1.1522, 1.1384, 1.1362, 1.1886, 1.2932, 1.4968, 1.5885]
    assert_allclose(narrow.control["test_error"], want, atol=6e-5)
    want = [1.1811, 1.1654, 1.1118, 0.9482, 0.8095, 0.7673, 0.8008, 0.8206]
    assert_allclose(narrow["loo"], want, atol=6e-5)
    wide = gamma_path(model(N1=5000, T=0.01), *problem, gammas=gammas)
    want = [1.0810, 1.0667, 1.0479, 1.0277, 1.0335, 1.0492, 1.0600, 1.0615]
    assert_allclose(wide["test_error"], want, atol=6e-5)
    assert_allclose(
        wide.control["test_error"][:5], [1.0810, 1.0669, 1.0492, 1.0345, 1.0473], atol=6e-5
    )
