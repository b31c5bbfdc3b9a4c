import importlib.util
import math
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper import numerics

ROOT = Path(__file__).resolve().parents[2]
INF, NAN = math.inf, math.nan
TINY, LARGEST = 5e-324, np.finfo(np.float64).max
DIGITS = 50


def erfcx(x):
    if x < 1e8:
        return mp.exp(x * x) * mp.erfc(x)
    return (1 - 1 / (2 * x * x)) / (x * mp.sqrt(mp.pi))


def ndtr(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_ndtr(x):
    if x < 0:
        return mp.log(erfcx(-x / mp.sqrt(2)) / 2) - x * x / 2
    return mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2)


def hazard(x):
    if x < 0:
        return mp.sqrt(2 / mp.pi) / erfcx(-x / mp.sqrt(2))
    return mp.npdf(x) / ndtr(x)


def ndtri(p):
    if p > 0.5:
        return -ndtri(1 - p)
    x = -mp.sqrt(-2 * mp.log(p))
    for _ in range(100):
        step = (log_ndtr(x) - mp.log(p)) / hazard(x)
        x -= step
        if abs(step) <= abs(x) * mp.mpf(10) ** -30:
            return x
    raise AssertionError(f"no quantile of {p}")


ORACLE = {
    "exp": mp.exp,
    "log": mp.log,
    "erfc": mp.erfc,
    "erfcx": erfcx,
    "ndtr": ndtr,
    "log_ndtr": log_ndtr,
    "hazard": hazard,
    "ndtri": ndtri,
    "asin": mp.asin,
    "acos": mp.acos,
}
BOUND = {"exp": 1.5, "log": 1.5}  # units in the last place; 8 for the others


def around(*values):
    """Each value with its two neighbours, where the code may switch."""
    v = np.array(values, dtype=np.float64)
    return np.concatenate([v, np.nextafter(v, -INF), np.nextafter(v, INF)])


def points(name):
    rng = np.random.default_rng(7)

    def flat(low, high, n=120):
        return rng.uniform(low, high, n)

    def powers(low, high, n=60):
        return 10.0 ** rng.uniform(low, high, n)

    small = powers(-320, 0)
    wings = np.concatenate([small, -small, powers(-18, 0), -powers(-18, 0)])
    half_octave = math.log(2) / 2
    return {
        "exp": lambda: [flat(-745.1, 709.7), wings, around(0, half_octave, -half_octave, 709.7)],
        "log": lambda: [
            powers(-323, 308),
            flat(0.4, 2.1),
            1 + powers(-16, -1),
            1 - powers(-16, -1),
            TINY * rng.integers(1, 99, 30),
            around(1, math.sqrt(0.5), math.sqrt(2), 2.0**-1022, 2.0**1000),
            [TINY, LARGEST],
        ],
        "erfc": lambda: [flat(-6, 27.22), flat(-1, 1), wings, around(0, 26.5, 27.2)],
        "erfcx": lambda: [
            flat(-26.6, 40),
            flat(-1, 1),
            wings,
            powers(0, 307),
            around(0, 3.5, 2.0**400, 1e8),
            [LARGEST],
        ],
        "ndtr": lambda: [flat(-38.4, 8.3), flat(-1, 1), wings, around(0)],
        "log_ndtr": lambda: [
            flat(-40, 38.3),
            flat(-2, 2),
            wings,
            -powers(0, 154),
            around(0, -52, -64, 0.5448),
        ],
        "hazard": lambda: [
            flat(-40, 38.4),
            flat(-2, 2),
            wings,
            -powers(0, 308),
            around(0, -52, -(2.0**60)),
            [-LARGEST],
        ],
        "ndtri": lambda: [
            flat(0, 1),
            small,
            1 - powers(-15.9, -1),
            0.5 + powers(-16, -1),
            0.5 - powers(-16, -1),
            around(0.125, 0.875),
            [TINY],
        ],
        "asin": lambda: [flat(-1, 1), wings, 1 - powers(-16, 0), around(0.5, -0.5, 0), [1, -1]],
        "acos": lambda: [flat(-1, 1), wings, 1 - powers(-16, 0), around(0.5, -0.5, 0), [1, -1]],
    }[name]()


@pytest.mark.parametrize("name", ORACLE)
def test_within_units_in_the_last_place(name):
    x = np.unique(np.concatenate(points(name)))
    assert x.size > 300
    got = getattr(numerics, name)(x)
    worst, where = 0.0, NAN
    with mp.workdps(DIGITS):
        for a, y in zip(x, got, strict=True):
            want = ORACLE[name](mp.mpf(float(a)))
            unit = mp.mpf(float(np.spacing(min(abs(float(want)), LARGEST / 2))))
            error = float(abs(mp.mpf(float(y)) - want) / unit)
            if not error <= worst:
                worst, where = error, float(a)
    assert worst < BOUND.get(name, 8.0), f"{name}: {worst:.3g} units at {where!r}"


SPECIAL = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (1e300, INF), (-1e300, 0), (TINY, 1)],
    "log": [(0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-TINY, NAN), (1.0, 0)],
    "erfc": [(0.0, 1), (-0.0, 1), (INF, 0), (-INF, 2), (1e300, 0), (-1e300, 2), (TINY, 1)],
    "erfcx": [(0.0, 1), (-0.0, 1), (INF, 0), (-INF, INF), (-1e300, INF), (-TINY, 1)],
    "ndtr": [(0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (1e300, 1), (-1e300, 0), (TINY, 0.5)],
    "log_ndtr": [(INF, 0), (-INF, -INF), (1e300, 0), (-1e300, -INF), (-0.0, -math.log(2))],
    "hazard": [(INF, 0), (-INF, INF), (1e300, 0), (-1e300, 1e300)],
    "ndtri": [
        *((0.0, -INF), (-0.0, -INF), (1.0, INF), (0.5, 0), (-TINY, NAN), (1.1, NAN)),
        *((INF, NAN), (-INF, NAN), (1e300, NAN)),
    ],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1.0000000000000002, NAN)],
    "acos": [(1.0, 0), (INF, NAN), (-INF, NAN), (-1.0000000000000002, NAN), (1e300, NAN)],
}


@pytest.mark.parametrize("name", ORACLE)
def test_special_values(name):
    function = getattr(numerics, name)
    assert math.isnan(function(NAN))
    payload = np.array([0x7FF0000000000001, 0xFFF8000000000000], dtype=np.uint64)
    assert np.isnan(function(payload.view(np.float64))).all()
    argument, value = np.array(SPECIAL[name], dtype=np.float64).T
    assert_array_equal(function(argument), value)
    if name == "asin":
        assert_array_equal(np.signbit(function(np.array([0.0, -0.0]))), [False, True])


@pytest.mark.parametrize("name", ORACLE)
def test_an_element_does_not_know_its_place_nor_the_threads(name):
    function = getattr(numerics, name)
    n = 70_001  # above the grain of two threads, with a rest
    x = np.random.default_rng(3).normal(size=n) * 3
    if name in {"asin", "acos", "ndtri"}:
        x = np.random.default_rng(3).uniform(size=n)
    if name == "log":
        x = np.abs(x)
    whole = function(x, n_jobs=1)
    for n_jobs in (2, 3):
        assert_array_equal(function(x, n_jobs=n_jobs), whole)
    for first, last in [(1, n), (3, 4), (5, 24), (7, 2100), (n - 17, n)]:
        assert_array_equal(function(x[first:last]), whole[first:last])
    assert_array_equal([function(float(v)) for v in x[:40]], whole[:40])


def test_shapes_and_types():
    grid = np.linspace(0.01, 0.99, 24).reshape(4, 6)
    want = numerics.log_ndtr(grid)
    assert want.shape == (4, 6)
    assert want.dtype == np.float64
    assert_array_equal(numerics.log_ndtr(np.asfortranarray(grid)), want)
    assert_array_equal(numerics.log_ndtr(grid[:, ::-2]), want[:, ::-2])
    assert_array_equal(numerics.log_ndtr(grid.tolist()), want)
    assert_array_equal(numerics.exp(np.arange(3, dtype=np.float32)), numerics.exp([0, 1, 2]))
    assert_array_equal(numerics.exp([True, False]), numerics.exp([1.0, 0.0]))
    assert type(numerics.exp(1)) is float
    assert type(numerics.exp(np.float64(1))) is float
    assert numerics.exp(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("bad", [1j, "1", None, [object()]])
def test_refuses_what_is_not_real(bad):
    with pytest.raises(TypeError, match="p must hold real numbers, got dtype"):
        numerics.ndtri(bad)


@given(st.floats(1e-300, 0.5))
def test_quantile_inverts_distribution(p):
    x = numerics.ndtri(p)
    assert_allclose(numerics.log_ndtr(x), numerics.log(p), rtol=0, atol=3e-15 * (1 + x * x))


@given(st.floats(0.0, 0.5).map(lambda q: 1.0 - q))
def test_quantile_is_odd_bit_for_bit(p):
    assert numerics.ndtri(p) == -numerics.ndtri(1.0 - p)


@given(st.floats(-20, 20))
def test_hazard_is_the_slope_of_log_ndtr(x):
    h = 1e-5
    slope = (numerics.log_ndtr(x + h) - numerics.log_ndtr(x - h)) / (2 * h)
    assert_allclose(numerics.hazard(x), slope, rtol=1e-6, atol=1e-9)


@given(st.floats(-5, 26))
def test_erfc_and_erfcx_differ_by_the_gaussian(x):
    with mp.workdps(DIGITS):
        gauss = float(mp.exp(-(mp.mpf(x) ** 2)))
    assert_allclose(numerics.erfc(x), numerics.erfcx(x) * gauss, rtol=2e-15)


@pytest.fixture
def fit_script():
    path = ROOT / "cpp" / "tools" / "fit_vector_math.py"
    spec = importlib.util.spec_from_file_location("fit_vector_math", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_coefficients_are_a_fresh_fit(fit_script):
    assert fit_script.main(["--check"]) == 0


def test_check_notices_a_changed_coefficient(fit_script, tmp_path, capsys):
    stale = tmp_path / "coefficients.hpp"
    stale.write_text(fit_script.HEADER.read_text().replace("0.5000000000000001", "0.5"))
    assert fit_script.main(["--check", "--output", str(stale)]) == 1
    assert "differs from a fresh fit" in capsys.readouterr().err
