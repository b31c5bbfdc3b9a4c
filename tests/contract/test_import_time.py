"""``import retemper`` loads numpy and the core alone, quickly."""

import subprocess
import sys

import pytest

HEAVY = (
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "xarray",
    "joblib",
    "torch",
    "typer",
    "rich",
    "jinja2",
)


def loaded(statement):
    code = f"{statement}\nimport sys\nprint('\\n'.join(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_retemper_is_light():
    assert not loaded("import retemper") & set(HEAVY)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import retemper; retemper.numerics", set()),
        ("import retemper; retemper.linear.solve", {"scipy"}),
        ("import retemper; retemper.linear.effective_ridge([1.0, 0.5], 1)", {"scipy"}),
        ("import retemper; retemper.widenet.solve", {"scipy"}),
        ("import retemper; retemper.diagonal.solve", set()),
        ("import retemper.exceptions", set()),
    ],
)
def test_theory_loads_no_estimator_and_no_plotting(statement, allowed):
    assert not loaded(statement) & (set(HEAVY) - allowed)


def test_estimators_index_is_lazy():
    assert "sklearn" not in loaded("import retemper; dir(retemper.estimators)")
    assert "matplotlib" not in loaded("import retemper; retemper.linear.FineTunedLinearRegression")
