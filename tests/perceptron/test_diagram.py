"""Phase diagrams of any channel and prior, and of other numbers than the overlap."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.perceptron import (
    Channel,
    GLMModel,
    PerceptronModel,
    Prior,
    phase_diagram,
    solve,
    transitions,
)

SPARSE = Prior.sparse(0.2, variance=5.0)


@pytest.mark.parametrize(
    ("channel", "prior"),
    [
        ("sign", "binary"),
        ("logistic", SPARSE),
        ("absolute", SPARSE),
        ("linear", SPARSE),
        ("student", "laplace"),
        (Channel.margin(0.5, is_labelled=False), "sphere"),
        (Channel.from_log_density(lambda y, h: -np.logaddexp(0, -3 * y * h), labels=[-1, 1]),
         Prior.sparse(0.2)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("value", ["q", "error", "free_entropy"])
def test_every_point_is_that_of_solve(channel, prior, value):
    """There every load is solved by itself and no table of the channel is read."""
    loads = [0.4, 1.1, 1.4, 4.3]
    model = GLMModel(1.0, channel=channel, prior=prior)
    found = phase_diagram(model, {"alpha": loads}, value=value)
    for i, alpha in enumerate(loads):
        theory = solve(GLMModel(alpha, channel=channel, prior=prior))
        for branch in ("reachable", "equilibrium", "informed"):
            want = getattr(getattr(theory, branch), value)
            assert_allclose(found[f"{value}_{branch}"][i], want, rtol=1e-7, atol=1e-9)
        assert (found["phase"][i] == 3) == theory.hard


def test_the_hard_phase_lies_between_the_thresholds():
    model = GLMModel(1.0, channel="sign", prior="binary")
    lines = transitions(model)
    loads = np.linspace(1.0, 1.6, 61)
    phase = phase_diagram(model, {"alpha": loads})["phase"]
    assert_array_equal(phase == 3, (loads > lines.alpha_it) & (loads < lines.alpha_alg))
    door = GLMModel(1.0, channel="door")
    phase = phase_diagram(door, {"alpha": loads})["phase"]
    assert_array_equal(phase == 0, loads < transitions(door).alpha_c)
    assert 0 < (phase == 0).sum() < loads.size


def test_axes_keep_their_order_and_threads_change_no_bit():
    axes = {"prior": ["binary", SPARSE], "alpha": [0.5, 1.3, 2.0], "channel": ["sign", "probit"]}
    model = GLMModel(1.0)
    one, two = (phase_diagram(model, axes, value="mse", n_jobs=n) for n in (1, 2))
    assert one["mse_reachable"].shape == (2, 3, 2)
    for name, value in one.values.items():
        assert value.tobytes() == two[name].tobytes(), name
    want = solve(GLMModel(1.3, channel="probit", prior=SPARSE)).mse
    assert_allclose(one["mse_reachable"][1, 1, 1], want, rtol=1e-8)
    assert one.axis_values["prior"][1] is SPARSE


@pytest.mark.parametrize("value", ["cosine", "free_entropy", "error_margin", "error_gauss"])
@pytest.mark.parametrize("prior", ["sphere", "binary"])
def test_numbers_of_margins(value, prior):
    found = phase_diagram([0.5, 1.0], [0.6, 4.3], value=value, prior=prior, alpha_l=0.05)
    for i, kappa in enumerate((0.5, 1.0)):
        for j, alpha in enumerate((0.6, 4.3)):
            theory = solve(PerceptronModel(kappa, alpha, 0.05, prior=prior))
            for branch in ("reachable", "equilibrium", "informed"):
                want = getattr(getattr(theory, branch), value)
                assert_allclose(found[f"{value}_{branch}"][i, j], want, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((GLMModel(1.0), [1.0]), {}, TypeError, "needs axes as its second argument"),
        ((GLMModel(1.0), {"prior": ["binary"]}), {}, ValueError, "axes must have 'alpha'"),
        ((GLMModel(1.0), {"alpha": [1.0]}), {"sigma": 0.1}, ValueError, "takes no sigma"),
        ((GLMModel(1.0), {"alpha": [-1.0]}), {}, ValueError, "alpha must lie in"),
        ((GLMModel(1.0), {"alpha": [1.0]}), {"value": "m"}, ValueError, "value must be one of"),
        (([1.0], {"alpha": [1.0]}), {}, TypeError, "axes belong to a GLMModel"),
        (([1.0], [1.0]), {"value": "mse"}, ValueError, "value must be one of"),
        (([1.0], [1.0]), {"prior": "laplace"}, ValueError, "prior must be one of"),
        ((GLMModel(1.0, channel_true="probit"), {"alpha": [1.0]}), {}, ValueError, "matched"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, options, error, match):
    with pytest.raises(error, match=match):
        phase_diagram(*arguments, **options)
