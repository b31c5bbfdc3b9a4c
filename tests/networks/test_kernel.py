"""Kernel regression against refits, against ridge on features, and against real fine-tuning."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import FineTuningKernel  # noqa: E402
from retemper.networks.estimator import regress  # noqa: E402
from retemper.networks.regression import kernel_path, label_matrix, mix  # noqa: E402


def problem(n=40, d=6, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = (X @ rng.normal(size=(d, k))).argmax(axis=1)
    return X, y


def test_leave_one_out_equals_refits():
    X, y = problem()
    Y, _ = label_matrix(y, "classification")
    kernel = np.exp(-((X[:, None] - X[None]) ** 2).sum(axis=2) / 8)
    path = kernel_path(kernel, Y, [1e-3, 0.1])
    rows = np.arange(len(Y))
    for r, ridge in enumerate(path.ridges):
        for i in (0, 7, 31):
            train = np.delete(rows, i)
            # n - 1 rows with the strength of n: the shrinkage of a leave-one-out of this fit
            got = regress(kernel, Y, train, np.array([i]), ridge * len(Y) / len(train))
            assert_allclose(path.predictions[r, i], got[0], rtol=1e-9)


def test_kernel_of_features_is_ridge():
    from retemper.linear import FineTunedLinearRegression

    X, y = problem()
    Y = y[:, None].astype(float)
    path = kernel_path(X @ X.T, Y, [0.05])
    fit = FineTunedLinearRegression(ridge=0.05).fit(X, Y[:, 0])
    assert path.loo_path[0] == pytest.approx(fit.loo_, rel=1e-9)


def test_scale_of_kernels_does_not_matter():
    X, _ = problem()
    a, b = X @ X.T, (X @ X.T) ** 2
    assert_allclose(mix(a, b, 0.3), mix(1e6 * a, 1e-6 * b, 0.3))
    assert np.mean(np.diag(mix(a, b, 0.3))) == pytest.approx(1.0)


def network():
    return nn.Sequential(
        nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)
    )


def pretrained(seed=0):
    """A network trained on a task that shares its features with the target."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = network()
    direction = np.linalg.qr(rng.normal(size=(10, 2)))[0] * np.sqrt(10)
    X = rng.normal(size=(600, 10))
    hidden = np.tanh(2 * X @ direction / np.sqrt(10))
    y = 2 * (hidden[:, 0] > 0) + (hidden[:, 1] > 0)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    inputs, labels = torch.as_tensor(X).float(), torch.as_tensor(y).long()
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimiser.step()
    Z = rng.normal(size=(460, 10))
    h = np.tanh(2 * Z @ direction / np.sqrt(10))
    return net, torch.as_tensor(Z).float(), (h[:, 0] > 0).astype(int)


def test_predictions_beat_chance_and_leave_one_out_is_honest():
    net, Z, y = pretrained()
    found = FineTuningKernel(net, metric="sgd").fit(Z[:60], y[:60])
    assert list(found.recipes_) == ["probe", "last 1 block", "full"]
    for name, recipe in found.recipes_.items():
        wrong = np.mean(found.predict(Z[60:], name) != y[60:])
        assert wrong < 0.35
        assert abs(wrong - recipe.loo_error_rate) < 0.2
    curve = found.learning_curve([10, 50])
    assert curve[1] < curve[0]
    course = found.time_course([0.0, 1e3, 1e9])
    assert course[0] > course[1]


def test_source_beats_random_weights():
    net, Z, y = pretrained()
    fresh = network()
    a = FineTuningKernel(net).fit(Z[:60], y[:60])
    b = FineTuningKernel(fresh).fit(Z[:60], y[:60])
    assert a.recipes_["full"].loo < b.recipes_["full"].loo


def test_regression_and_bad_input():
    net, Z, y = pretrained()
    found = FineTuningKernel(net, task="regression").fit(Z[:40], Z[:40, 0].numpy())
    assert found.classes_ is None
    assert np.corrcoef(found.predict(Z[40:80]), Z[40:80, 0])[0, 1] > 0.3
    with pytest.raises(ValueError, match="y has one class only: 0"):
        FineTuningKernel(net).fit(Z[:5], np.zeros(5, int))
    with pytest.raises(ValueError, match="inputs and y must have one length, got 20, 19"):
        FineTuningKernel(net).fit(Z[:20], y[:19])
    with pytest.raises(ValueError, match="task must be one of"):
        FineTuningKernel(net, task="ranking").fit(Z[:20], y[:20])
    with pytest.raises(ValueError, match="recipe must be one of 'full'"):
        found.predict(Z[:3], "half")
    with pytest.raises(ValueError, match=r"n_labels must lie in \[2, 39\], got \[50\]"):
        found.learning_curve([50])
