"""scikit-learn's networks, watched while they train."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neural_network import MLPClassifier

from retemper.datasets import noisy_digits
from retemper.phases import PhaseMonitor, mlp_activations, train_mlp_classifier


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_activations_are_the_networks_own(activation):
    task = noisy_digits(200, 100)
    net = MLPClassifier((9, 5), activation=activation, max_iter=3, random_state=0)
    net.fit(task.X, task.tasks["digit"])
    acts = mlp_activations(net, task.X_eval)
    assert [a.shape[1] for a in acts.values()] == [9, 5, 10]
    out = np.exp(acts["output"])
    assert_allclose(out / out.sum(axis=1, keepdims=True), net.predict_proba(task.X_eval))


def test_training_is_watched_at_powers_of_two():
    task = noisy_digits(400, 200)
    net = MLPClassifier(
        (8,), solver="sgd", batch_size=64, learning_rate_init=0.05, alpha=0.0, random_state=0
    )
    monitor = PhaseMonitor(task.X_eval, task.tasks_eval["parity"], groups=task.groups_eval)
    kept = train_mlp_classifier(net, task.X, task.tasks["parity"], monitor, task.X_eval, n_steps=40)
    assert list(kept) == list(monitor.history_) == [0, 1, 2, 4, 8, 16, 32, 40]
    assert_array_equal(kept[40]["coefs_"][0], net.coefs_[0])
    assert not np.array_equal(kept[0]["coefs_"][0], kept[1]["coefs_"][0])
    assert net.learning_rate_init == 0.05
    assert net.score(task.X, task.tasks["parity"]) > 0.8


def test_adapter_refuses_what_it_cannot_step():
    task = noisy_digits(100, 50)
    monitor = PhaseMonitor(task.X_eval)
    with pytest.raises(ValueError, match="not fitted"):
        mlp_activations(MLPClassifier(), task.X)
    with pytest.raises(ValueError, match="batch_size"):
        train_mlp_classifier(MLPClassifier(), task.X, task.tasks["digit"], monitor, task.X_eval)
