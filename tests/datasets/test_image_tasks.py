"""Digits, plain and coloured, and CIFAR batches from disk."""

import pickle
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.datasets import coloured_digits, noisy_digits, read_cifar_python


def test_digits_tasks():
    task = noisy_digits(500, 300, random_state=4)
    assert_allclose(task.X.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(task.X.std(), 1.0)
    assert_array_equal(task.tasks["parity"], task.tasks["digit"] % 2)
    assert task.groups_eval.max() < 600
    again = noisy_digits(500, 300, random_state=4)
    assert_array_equal(task.X_eval, again.X_eval)


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_colour_goes_with_the_digit(q):
    task = coloured_digits(4000, 100, correlation=q)
    follows = (task.tasks["colour"] == task.tasks["digit"] % 3).mean()
    assert abs(follows - (q + (1 - q) / 3)) < 0.03
    power = task.X.reshape(-1, 3, 100).mean(axis=2)
    assert (power.argmax(axis=1) == task.tasks["colour"]).mean() > 0.8


@pytest.mark.parametrize("key", [b"labels", b"fine_labels"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar_batches(tmp_path, key, packed):
    rng = np.random.default_rng(0)
    folder = tmp_path / "batches"
    folder.mkdir()
    data = {}
    for name in ("data_batch_1", "data_batch_2", "test_batch", "batches.meta"):
        data[name] = {b"data": rng.integers(0, 256, (3, 3072), np.uint8), key: [1, 0, 2]}
        (folder / name).write_bytes(pickle.dumps(data[name], protocol=2))
    path = folder
    if packed:
        path = tmp_path / "cifar.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "cifar")
    X, y = read_cifar_python(path)
    assert X.shape == (6, 3, 32, 32)
    assert y.tolist() == [1, 0, 2, 1, 0, 2]
    assert_array_equal(X[3].ravel(), data["data_batch_2"][b"data"][0])
    assert read_cifar_python(path, "test")[0].shape[0] == 3


def test_a_data_file_must_not_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="not a CIFAR batch"):
        read_cifar_python(tmp_path)
    (tmp_path / "data_batch_1").unlink()
    with pytest.raises(ValueError, match="no CIFAR batch"):
        read_cifar_python(tmp_path)
