"""Readers on small files that the tests write."""

import gzip
import pickle
import struct
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from retemper.datasets import binary_task, read_cifar, read_cifar_python, read_idx

CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx_bytes(array, code):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(CODES[code]).tobytes()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("compress", [False, True])
def test_idx_round_trip(tmp_path, code, compress):
    want = np.random.default_rng(0).integers(0, 100, (5, 4, 3))
    data = idx_bytes(want, code)
    file = tmp_path / "images-idx3"
    file.write_bytes(gzip.compress(data) if compress else data)
    got = read_idx(file)
    assert_array_equal(got, want)
    assert got.dtype.isnative
    assert got.dtype.newbyteorder(">") == np.dtype(CODES[code])
    got[0] = 1  # writeable


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda d: b"P5" + d[2:], "is not an idx file: it starts with 50 35"),
        (lambda d: d[:2] + b"\x07" + d[3:], "is not an idx file"),
        (lambda d: d[:2], "is not an idx file"),
        (lambda d: d[:9], "ends inside its header"),
        (lambda d: d[:-1], "holds fewer than the 60 bytes"),
        (lambda d: d + b"x", "holds more than the 60 bytes"),
        (lambda d: d[:4] + b"\xff" * 12 + d[16:], "header is damaged"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, damage, match):
    file = tmp_path / "bad"
    file.write_bytes(damage(idx_bytes(np.ones((5, 4, 3)), 0x08)))
    with pytest.raises(ValueError, match=match):
        read_idx(file)


@pytest.mark.parametrize("n_classes", [10, 100])
def test_cifar_records(tmp_path, n_classes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, n_classes, 7).astype(np.uint8)
    files = []
    for k, part in enumerate((slice(0, 4), slice(4, 7))):
        coarse = np.zeros((len(labels[part]), n_classes // 100), np.uint8)
        rows = np.hstack([coarse, labels[part, None], images[part].reshape(-1, 3072)])
        files.append(tmp_path / f"data_batch_{k}.bin")
        rows.tofile(files[-1])
    got, classes = read_cifar(files, n_classes=n_classes)
    assert_array_equal(got, images)
    assert_array_equal(classes, labels)
    one, _ = read_cifar(str(files[0]), n_classes=n_classes)
    assert_array_equal(one, images[:4])


def test_damaged_cifar_files_are_refused(tmp_path):
    file = tmp_path / "bad.bin"
    file.write_bytes(b"\0" * 3072)
    with pytest.raises(ValueError, match="not a whole number of records of 3073"):
        read_cifar(file)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="holds 0 bytes"):
        read_cifar(file)
    file.write_bytes(b"\x0b" + b"\0" * 3072)
    with pytest.raises(ValueError, match="label 11 is not below n_classes = 10"):
        read_cifar(file)
    with pytest.raises(ValueError, match="at least one file"):
        read_cifar([])
    with pytest.raises(ValueError, match="n_classes must be one of"):
        read_cifar(file, n_classes=20)


def test_binary_tasks():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 3, 8, 8)).astype(np.uint8)
    labels = np.arange(30) % 6
    X, y = binary_task(images, labels, {1, 4}, {2}, n_pixels=4)
    kept = np.isin(labels, [1, 2, 4])
    assert X.shape == (kept.sum(), 16)
    assert_array_equal(y, np.where(labels[kept] == 2, -1.0, 1.0))
    first = images[kept][0].mean(0)[:2, :2].mean() / 255
    assert X[0, 0] == pytest.approx(first, rel=1e-14)
    whole, _ = binary_task(images[:, 0], labels, {1}, {2})
    assert whole.shape == (10, 64)


def test_bad_tasks_are_refused():
    images, labels = np.zeros((4, 6, 6)), [0, 1, 2, 3]
    for args, match in [
        (((images, labels, {1}, {1, 2}), {}), r"share the classes \[1\]"),
        (((images, labels, {7}, {1}), {}), "no image of the classes in positive"),
        (((images, labels[:3], {0}, {1}), {}), r"labels must have shape \(4,\)"),
        (((images, labels, {0}, {1}), {"n_pixels": 4}), "n_pixels = 4 must divide the size 6 x 6"),
        (((images[0], labels, {0}, {1}), {}), "images must be 3-D or 4-D"),
    ]:
        with pytest.raises(ValueError, match=match):
            binary_task(*args[0], **args[1])


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
