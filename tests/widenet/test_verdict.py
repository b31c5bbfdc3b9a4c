"""The verdict follows its definition, and is right on clear cases."""

import pytest

from retemper.widenet import FranzParisiRegressor, WideNetModel, gamma_path, transfer_verdict

from .recipe import draw

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
SMALL = {"N0": 60, "Ps": 80, "Pt": 25, "Pe": 40}


def test_verdict_on_clear_cases():
    problem = {"N0": 100, "Ps": 200, "Pt": 40}
    target, source, _ = draw(**problem, rho=1.0)
    related = FranzParisiRegressor(60, source=source).fit(*target).will_transfer_help()
    assert related.verdict == "helps"
    assert not related.regularisation_only
    assert "the source helps" in str(related)
    target, source, _ = draw(**problem, rho=0.0)
    stranger = FranzParisiRegressor(60, source=source).fit(*target).verdict_
    assert stranger.relative_frozen_gain < related.relative_frozen_gain
    assert stranger.verdict == "hurts"
    assert stranger.regularisation_only  # a random anchor gains its 3 %
    assert "regularisation" in str(stranger)


def test_verdict_follows_its_definition():
    target, source, _ = draw(**SMALL)
    path = gamma_path(WideNetModel(60), target, source)
    got = transfer_verdict(path)
    losses = path.loo_loss_rows
    best = losses.mean(1).argmin()
    difference = losses[0] - losses[best]
    scale = losses[0].mean()
    assert got.scratch_loo == pytest.approx(scale)
    assert got.gain == pytest.approx(difference.mean())
    assert got.relative_gain == pytest.approx(difference.mean() / scale)
    error = difference.std(ddof=1) / len(difference) ** 0.5
    assert got.gain_stderr == pytest.approx(error)
    assert got.relative_gain_stderr == pytest.approx(error / scale)
    assert got.gamma == path.gamma[best]
    anchor = path.control.loo_loss_rows
    knowledge = anchor[anchor.mean(1).argmin()] - losses[best]
    assert got.knowledge == pytest.approx(knowledge.mean())
    with pytest.raises(ValueError, match="must hold the control"):
        transfer_verdict(gamma_path(WideNetModel(60), target, source, control=False))
    with pytest.raises(ValueError, match="must hold coupling 0"):
        transfer_verdict(gamma_path(WideNetModel(60), target, source, gammas=[1.0, 2.0]))
