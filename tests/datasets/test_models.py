"""Models on disk: numbers are safe to read, pickles are refused, what was written is read again."""

import json
import struct

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from retemper.datasets import read_model, write_model

RNG = np.random.default_rng(0)
X, COEF = RNG.normal(size=(40, 3)), np.array([1.0, -2.0, 0.5])
Y = X @ COEF + 0.3


def write_tensors(path, tensors, metadata=None):
    """A file of safetensors, from its published layout."""
    contents, body = ({"__metadata__": metadata} if metadata else {}), b""
    for key, (kind, array) in tensors.items():
        raw = array.tobytes()
        offsets = [len(body), len(body) + len(raw)]
        contents[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        body += raw
    head = json.dumps(contents).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)


def test_tensors(tmp_path):
    path = tmp_path / "m.safetensors"
    half = (COEF[None].astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)  # bfloat16
    write_tensors(path, {"fc.weight": ("BF16", half), "fc.bias": ("F32", np.float32([0.25]))})
    np.testing.assert_array_equal(read_model(path).predict(X), (X @ COEF + 0.25)[:, None])
    single = COEF[None].astype(np.float32)
    write_tensors(path, {"weight": ("F32", single)}, {"classes": json.dumps(["no", "yes"])})
    assert set(read_model(path).predict(X)) == {"no", "yes"}
    more = {f"{name}.weight": ("F32", single) for name in "ab"}
    write_tensors(path, more)
    assert set(read_model(path)) == {"a.weight", "b.weight"}
    path.write_bytes(b"nonsense and more")
    with pytest.raises(ValueError, match=r"m\.safetensors cannot be read: it is no file of"):
        read_model(path)


def test_tensors_as_the_library_writes_them(tmp_path):
    tensors = pytest.importorskip("safetensors.numpy")
    tensors.save_file({"weight": COEF[None], "bias": np.ones(1)}, tmp_path / "m.safetensors")
    np.testing.assert_allclose(read_model(tmp_path / "m.safetensors").coef_, COEF[None])


@pytest.mark.parametrize("classes", [2, 3])
def test_numbers_of_a_classifier(tmp_path, classes):
    labels = np.array(["a", "b", "c"])[np.digitize(Y, [0.0, 1.0][: classes - 1])].astype(object)
    model = LogisticRegression().fit(X, labels)
    again = read_model(write_model(tmp_path / "m.npz", model))
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_any_model_by_skops(tmp_path):
    pytest.importorskip("skops")
    tree = write_model(tmp_path / "t.skops", DecisionTreeRegressor().fit(X, Y))
    with pytest.raises(ValueError, match=r"not known to be safe: sklearn\.tree\._tree\.Tree"):
        read_model(tree)
    np.testing.assert_allclose(read_model(tree, allow_pickle=True).predict(X), Y)
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    again = read_model(write_model(tmp_path / "m.skops", model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters(tmp_path, library):
    trees = pytest.importorskip(library)
    if library == "lightgbm":
        settings = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3}
        booster = trees.train(settings, trees.Dataset(X, Y), 3)
        path = tmp_path / "m.txt"
    else:
        booster = trees.train({}, trees.DMatrix(X, Y), 3)
        path = tmp_path / "m.ubj"
    booster.save_model(path)
    assert type(read_model(path)) is trees.Booster


def test_pickles_need_leave(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.dump(LinearRegression().fit(X, Y), path)
    with pytest.raises(ValueError, match="runs whatever code is in it"):
        read_model(path)
    np.testing.assert_allclose(read_model(path, allow_pickle=True).predict(X), Y)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"one of the formats .npz, .safetensors, .skops"):
        read_model(tmp_path / "m.onnx")
    with pytest.raises(OSError, match=r"m\.npz"):
        read_model(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"no linear layer, got .*'a'"):
        read_model(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"DecisionTreeRegressor is none: write .joblib"):
        write_model(tmp_path / "t.npz", DecisionTreeRegressor().fit(X, Y))
    with pytest.raises(ValueError, match=r"must end in .npz, .skops or .joblib"):
        write_model(tmp_path / "t.onnx", LinearRegression().fit(X, Y))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.npz"]
