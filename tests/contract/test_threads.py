"""``n_jobs`` never changes a bit, in every public function that has it; long calls stop."""

import dataclasses
import inspect

import numpy as np
import pytest

import retemper
from retemper.sweep_config import SystemTask

from .discover import public_objects
from .test_interrupt_and_fork import interrupt

HAS_N_JOBS = sorted(
    name
    for name, item in public_objects().items()
    if inspect.isfunction(item) and "n_jobs" in inspect.signature(item).parameters
)
x = np.random.default_rng(0).normal(size=1003)
p = np.linspace(0.001, 0.999, 1003)
X = x[:1000].reshape(50, 20)
signs = np.tile([1.0, -1.0], 32)
hidden = np.random.default_rng(2).normal(size=(240, 150))
weights = np.repeat(np.random.default_rng(1).normal(size=(32, 20)), 2, axis=0)
linear, widenet = retemper.linear, retemper.widenet
diagonal = retemper.diagonal
task = diagonal.DiagonalModel(0.3, noise=0.2, alpha_pt=0.6)
wide = np.ascontiguousarray(X[:20].T)  # 20 rows of 20 features: of full rank
problem = linear.LinearModel(15, np.ones(30), source_coef=np.full(30, 0.5), noise=0.1)

margin = retemper.perceptron.PerceptronModel(1.0, 6.0, 0.5)
sparse = retemper.perceptron.GLMModel(
    0.3, channel="linear", prior=retemper.perceptron.Prior.sparse(0.2)
)

CALLS = {
    **{
        f"retemper.numerics.{name}": lambda n_jobs, name=name: getattr(retemper.numerics, name)(
            p if name in {"ndtri", "asin", "acos", "log"} else x, n_jobs=n_jobs
        )
        for name in (
            "acos", "asin", "erfc", "erfcx", "exp", "hazard", "log", "log_ndtr", "ndtr", "ndtri",
        )
    },
    "retemper.diagonal.compare": lambda n_jobs: diagonal.compare(
        task, n_features=60, n_repeats=5, n_jobs=n_jobs
    ),
    "retemper.diagonal.curve": lambda n_jobs: diagonal.curve(
        task, {"alpha": np.linspace(0.1, 1.5, 9), "mode": ["reset", "warm"]}, n_jobs=n_jobs
    ).values,
    "retemper.diagonal.gradient_flow": lambda n_jobs: diagonal.gradient_flow(
        wide, x[:20], 0.1, [1.0, 10.0], n_jobs=n_jobs
    ),
    "retemper.diagonal.leave_one_out": lambda n_jobs: (
        diagonal.leave_one_out(wide, x[:20], 0.1, n_jobs=n_jobs),
    ),
    "retemper.diagonal.minimum_penalty": lambda n_jobs: diagonal.minimum_penalty(
        wide, x[:20], 0.1, mu=0.1, leave_one_out=True, n_jobs=n_jobs
    ),
    "retemper.diagonal.recommend": lambda n_jobs: diagonal.recommend(
        wide[:12], x[:12], wide[13], shares=[0.1, 1.0], readout_scales=[0.0], init_scales=[1e-3],
        n_jobs=n_jobs,
    ),
    "retemper.diagonal.simulate": lambda n_jobs: diagonal.simulate(
        task, n_features=60, n_repeats=5, n_jobs=n_jobs
    ),
    **{
        f"retemper.diagonal.{name}": lambda n_jobs, name=name: getattr(diagonal, name)(
            task, 1.0, n_features=60, n_repeats=5, on_failure="ignore", n_jobs=n_jobs
        )
        for name in ("compare_margin", "simulate_margin")
    },
    **{
        f"retemper.diagonal.{name}_flow": lambda n_jobs, name=name, options=options: getattr(
            diagonal, f"{name}_flow"
        )(task, [1.0], on_failure="ignore", n_jobs=n_jobs, **options)
        for name, options in {
            "solve": {"n_points": 128},
            "simulate": {"n_features": 60, "n_repeats": 5},
            "compare": {"n_points": 128, "n_features": 60, "n_repeats": 5},
        }.items()
    },
    "retemper.diagonal.stochastic_scale": lambda n_jobs: diagonal.stochastic_scale(
        wide, x[:20], 0.1, step_size=0.01, n_steps=1000, label_noise=1.0, n_jobs=n_jobs
    ),
    "retemper.linear.effective_ridge": lambda n_jobs: linear.effective_ridge(
        p, np.arange(1, 4000), 0.01, n_jobs=n_jobs
    ),
    "retemper.linear.curve": lambda n_jobs: linear.curve(
        problem, {"n_samples": range(1, 20), "noise": [0.1, 0.3]}, n_jobs=n_jobs
    ),
    "retemper.linear.simulate": lambda n_jobs: linear.simulate(
        problem, n_repeats=9, random_state=3, n_jobs=n_jobs
    ),
    "retemper.linear.compare": lambda n_jobs: linear.compare(
        problem, n_repeats=9, random_state=3, n_jobs=n_jobs
    ),
    "retemper.linear.relu_ntk": lambda n_jobs: linear.relu_ntk(
        np.tile(X, (10, 1)), n_jobs=n_jobs
    ),
    "retemper.linear.relu_bound": lambda n_jobs: linear.relu_bound(X, x[:50], n_jobs=n_jobs),
    "retemper.linear.relu_network_predict": lambda n_jobs: linear.relu_network_predict(
        weights, signs, X, n_jobs=n_jobs
    ),
    "retemper.linear.relu_network_fit": lambda n_jobs: linear.relu_network_fit(
        weights, signs, X, x[:50], max_iter=40, on_failure="ignore", n_jobs=n_jobs
    ),
    "retemper.advise": lambda n_jobs: retemper.advise(
        X[:, :5], x[:50], sources={"a": x[:5], "b": x[5:10]}, n_jobs=n_jobs
    ).candidates,
    "retemper.compare": lambda n_jobs: retemper.compare(
        {"a": (problem, {"n_repeats": 9}), "b": (task, {"n_features": 60, "n_repeats": 5})},
        n_jobs=n_jobs,
    ),
    "retemper.sweep": lambda n_jobs: retemper.sweep(
        SystemTask("linear", {"theta_target": X[0]}, ("risk",), {"n_repeats": 3}),
        {"n_samples": [5, 9, 15], "noise": [0.1, 0.2]}, 3, n_jobs=n_jobs,
    ),
    "retemper.phases.reconstruction_score": lambda n_jobs: retemper.phases.reconstruction_score(
        np.tile(X, (30, 12)) + np.arange(1500)[:, None] % 7,
        np.tile(X, (30, 6)), targets={"label": np.arange(1500) % 7}, n_jobs=n_jobs,
    ),
    "retemper.phases.simulate": lambda n_jobs: retemper.phases.simulate(
        retemper.phases.FeatureModel(3, [1.0], [0.5], times=[0.0, 1.0]), n_samples=200,
        n_repeats=5, random_state=3, n_jobs=n_jobs,
    ),
    "retemper.phases.curve": lambda n_jobs: retemper.phases.curve(
        retemper.phases.FeatureModel(3, [1.0], [0.5]), {"init_scale": [0.0, 0.1, 0.2]},
        n_jobs=n_jobs,
    )["fuv"],
    "retemper.phases.compare": lambda n_jobs: retemper.phases.compare(
        retemper.phases.FeatureModel(3, [1.0], [0.5], times=[0.0, 1.0]), n_samples=200,
        n_repeats=5, n_init=2, n_jobs=n_jobs,
    ),
    "retemper.widenet.nngp_kernel": lambda n_jobs: widenet.nngp_kernel(
        np.tile(X, (10, 1)), n_jobs=n_jobs
    ),
    **{
        f"retemper.widenet.{name}": lambda n_jobs, name=name: getattr(widenet, name)(
            widenet.WideNetModel(10, "linear", gamma=1.0), (X, x[:50]), n_chains=5, n_draws=2,
            n_jobs=n_jobs,
        )
        for name in ("simulate", "compare")
    },
    **{
        f"retemper.widenet.{name}": lambda n_jobs, name=name, a=arguments: getattr(widenet, name)(
            widenet.WideNetModel(70, gamma=1.0), *a, (hidden[:50], x[:50]), (hidden, x[:240]),
            on_failure="ignore", n_jobs=n_jobs,
        )
        for name, arguments in (("solve", ()), ("curve", ({"gamma": [0.5, 1.0]},)),
                                ("gamma_path", ()))
    },
    **{
        f"retemper.perceptron.{name}": lambda n_jobs, name=name, a=arguments, k=options: getattr(
            retemper.perceptron, name
        )(*a, **k, n_jobs=n_jobs)
        for name, arguments, options in (
            ("compare", (margin,), {"n_features": 300, "n_repeats": 3}),
            ("curve", (margin, {"alpha_l": [0.0, 0.3]}), {}),
            ("channel_score", (np.tile(x, 70), 0.3), {"kappa": 0.5}),
            ("critical_line", (0.4,), {}),
            ("finite_size", (sparse, [50]),
             {"alphas": [0.2, 0.4], "n_repeats": 4, "on_failure": "ignore"}),
            ("labels_to_leave", (0.5, 4.0), {}),
            ("message_passing", (np.tile(X - X.mean(0), (4, 1)), np.arange(200) % 3 - 1),
             {"sigma": 1.0}),
            ("phase_diagram", ([0.5, 1.0], np.linspace(0.5, 5, 9)), {"refine": 2}),
            ("sample_rows", (margin, 300), {"random_state": 1}),
            ("simulate", (margin,), {"n_features": 500, "n_repeats": 3}),
            ("solve", (margin,), {}),
            ("transitions", (0.4,), {}),
        )
    },
}  # fmt: skip


def numbers(result):
    """Every array and number in a result, in order."""
    if dataclasses.is_dataclass(result):
        fields = dataclasses.fields(result)
        return [v for f in fields for v in numbers(getattr(result, f.name))]
    if isinstance(result, dict):
        return [v for value in result.values() for v in numbers(value)]
    if isinstance(result, tuple | list):
        return [v for value in result for v in numbers(value)]
    return [np.asarray(result)] if isinstance(result, np.ndarray | float | int) else []


def test_every_function_with_n_jobs_is_here():
    assert sorted(CALLS) == HAS_N_JOBS


@pytest.mark.parametrize("name", HAS_N_JOBS)
def test_n_jobs_does_not_change_a_bit(name):
    one = numbers(CALLS[name](1))
    assert one
    assert any(v.size for v in one)
    for n_jobs in (2, 3, 7):
        for a, b in zip(one, numbers(CALLS[name](n_jobs)), strict=True):
            np.testing.assert_array_equal(a, b)


LONG = {
    "widenet.simulate": "import numpy as np; from retemper.widenet import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(200, 150)); simulate(WideNetModel(200), (X,"
    " X[:, 0]), (X, X[:, 1]), n_draws=1000, n_jobs={n_jobs})",
    "diagonal.simulate": "from retemper.diagonal import *; simulate(DiagonalModel(0.5),"
    " n_features=400, n_repeats=100_000, n_jobs={n_jobs})",
    "diagonal.curve": "import numpy as np; from retemper.diagonal import *; curve(DiagonalModel("
    "0.3, alpha_pt=0.4), {{'alpha': np.linspace(0.1, 0.9, 2000)}}, n_jobs={n_jobs})",
    "minimum_penalty": "import numpy as np; from retemper.diagonal import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(2000, 4000)); minimum_penalty(X, X[:, 0], 1e-9,"
    " n_jobs={n_jobs})",
    "gradient_flow": "import numpy as np; from retemper.diagonal import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(1000, 2000)); gradient_flow(X, X[:, 0], 1e-6,"
    " [1e5], n_jobs={n_jobs})",
    "train_network": "import numpy as np; from retemper.diagonal import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(300, 600)); train_network(X, X[:, 0],"
    " pretrained_weights(np.zeros(600), 1.0), step_size=1e-9, n_steps=10**9, stride=10**6)",
    "simulate": "import numpy as np; from retemper.linear import *; simulate(LinearModel(400,"
    " np.ones(800)), n_repeats=100_000, n_jobs={n_jobs})",
    "effective_ridge": "import numpy as np; from retemper.linear import *; effective_ridge("
    "np.ones(3000) / np.arange(1, 3001), np.ones(3_000_000) * 40, n_jobs={n_jobs})",
    "relu_network_fit": "import numpy as np; from retemper.linear import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(300, 50)); w, a = relu_network_init(8000, 50);"
    " relu_network_fit(w, a, X, X[:, 0], tol=0.0, max_iter=10**6, n_jobs={n_jobs})",
    "phases.simulate": "from retemper.phases import *; simulate(FeatureModel(10, [1.0], [0.5],"
    " times=1e4), n_samples=500, n_repeats=50, n_jobs={n_jobs})",
    "MLPTrainer": "import numpy as np; from retemper.phases import MLPTrainer; X ="
    " np.random.default_rng(0).normal(size=(900, 20)); MLPTrainer(batch_size=900, n_steps=10**7,"
    " n_jobs={n_jobs}).fit(X, X[:, 0] > 0)",
    "factor_descent": "import numpy as np; from retemper.linear import *; r ="
    " np.random.default_rng(0); X = r.normal(size=(300, 600)); factor_descent(X, X[:, 0],"
    " np.ones(600), depth=3, step_size=1e-9, tol=0.0, max_iter=10**9)",
    "message_passing": "from retemper.perceptron import PerceptronModel, simulate;"
    " simulate(PerceptronModel(0.5, 3.0, 0.1), n_features=1500, n_repeats=1000, tol=1e-15,"
    " max_iter=10**6, n_jobs={n_jobs})",
}  # fmt: skip


QUICK = ("effective_ridge", "message_passing")  # one of each floor without the slow tests


def long_calls():
    """All with two threads, the slow ones by night with one: a fresh interpreter takes seconds."""
    for name in LONG:
        slow = [] if name in QUICK else [pytest.mark.slow]
        yield pytest.param(name, 1, marks=slow and [*slow, pytest.mark.nightly])
        yield pytest.param(name, 2, marks=slow)


@pytest.mark.parametrize(("name", "n_jobs"), list(long_calls()))
def test_long_calls_see_ctrl_c(name, n_jobs):
    assert interrupt(LONG[name].format(n_jobs=n_jobs)) < 0.2
