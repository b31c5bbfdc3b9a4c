"""scikit-learn's own battery and the transfer protocol, on every public estimator."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from .discover import estimators

ESTIMATORS = estimators()

# more samples than features: some estimators say that their setting then does not matter
pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")

#: Settings for scikit-learn's battery, which excuses its own semi-supervised classifiers by name
#: from having a class called -1: ours has one where nothing is marked by it.
SETTINGS: dict[str, dict[str, object]] = {"MarginPerceptronClassifier": {"unlabelled_as": None}}


def instance(cls):
    return cls(**SETTINGS.get(cls.__name__, {}))


@parametrize_with_checks([instance(cls) for cls in ESTIMATORS.values()])
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_battery(estimator, check):
    check(estimator)


def test_there_are_estimators():
    assert len(ESTIMATORS) >= 3


def data(name, n=30, d=6):
    """Rows, labels that suit the estimator, and coefficients close to the true ones."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, d))
    y = X @ np.arange(1.0, d + 1) + rng.normal(size=n)
    return (
        X,
        (y > 0).astype(float) if is_classifier(ESTIMATORS[name]()) else y,
        np.arange(1.0, d + 1) + 0.3,
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_constructor_stores_arguments_untouched(name):
    cls = ESTIMATORS[name]
    item = cls()
    for parameter, spec in inspect.signature(cls).parameters.items():
        value = getattr(item, parameter)
        assert value is spec.default or value == spec.default


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fitted_attributes_pickle_and_stay_equal(name):
    X, y, _ = data(name)
    fitted = ESTIMATORS[name]().fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    for key, value in vars(fitted).items():
        if key.endswith("_") and isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, key), value)
            assert value.base is None or value.base.nbytes <= 4 * max(value.nbytes, 1024), key


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if "source" in vars(ESTIMATORS[n]())])
def test_clone_keeps_a_fitted_source(name):
    X, y, coef = data(name)
    source = ESTIMATORS[name]().fit(X, y)
    tuned = ESTIMATORS[name](source=source)
    copied = clone(clone(tuned))
    assert copied.source is source
    assert not any(key.startswith("source__") for key in tuned.get_params(deep=True))
    copied.fit(X[:12], y[:12])
    assert not hasattr(tuned, "n_features_in_")
    assert clone(ESTIMATORS[name](source=coef)).source is coef


VARIANTS = {
    "list": lambda a: a.tolist(),
    "float32": lambda a: a.astype(np.float32),
    "fortran": np.asfortranarray,
    "strided": lambda a: np.kron(a, np.ones((2,) * a.ndim))[(slice(None, None, 2),) * a.ndim],
    "reversed": lambda a: a[::-1][::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", [n for n in ESTIMATORS if hasattr(ESTIMATORS[n], "predict")])
def test_layout_and_dtype_do_not_matter(name, variant):
    X, y, _ = data(name)
    X, y = X.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    want = ESTIMATORS[name]().fit(X, y).predict(X)
    change = VARIANTS[variant]
    got = ESTIMATORS[name]().fit(change(X), change(y)).predict(change(X))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("name", [n for n in ESTIMATORS if "n_jobs" in vars(ESTIMATORS[n]())])
def test_n_jobs_does_not_change_a_bit(name, n_jobs):
    X, y, _ = data(name, 90, 17)
    one = ESTIMATORS[name](n_jobs=1).fit(X, y)
    many = ESTIMATORS[name](n_jobs=n_jobs).fit(X, y)
    for key, value in vars(one).items():
        if key.endswith("_") and isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(many, key), value)


BAD_X = {
    "NaN": lambda X: np.where(X[3, 2] == X, np.nan, X),
    "infinity": lambda X: np.where(X[3, 2] == X, np.inf, X),
    "huge": lambda X: np.where(X[3, 2] == X, 1e300, X),
    "complex": lambda X: X + 1j,
    "text": lambda X: X.astype(str).astype(object) + "a",
    "empty": lambda X: X[:0],
    "no features": lambda X: X[:, :0],
    "one-dimensional": lambda X: X[:, 0],
    "three-dimensional": lambda X: X[None],
    "one row too many": lambda X: np.vstack([X, X[:1]]),
}


@pytest.mark.parametrize("kind", BAD_X)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_bad_X_is_refused_with_a_sentence(name, kind):
    X, y, _ = data(name)
    with pytest.raises((ValueError, TypeError)) as caught:
        ESTIMATORS[name]().fit(BAD_X[kind](X), y)
    assert len(str(caught.value)) > 15


@pytest.mark.parametrize("name", ESTIMATORS)
def test_sparse_input_is_refused(name):
    from scipy.sparse import csr_array

    X, y, _ = data(name)
    with pytest.raises(TypeError, match=r"(?i)sparse"):
        ESTIMATORS[name]().fit(csr_array(X), y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_bad_y_is_refused(name, bad):
    X, y, _ = data(name)
    y[4] = bad
    with pytest.raises(ValueError, match="y"):
        ESTIMATORS[name]().fit(X, y)
