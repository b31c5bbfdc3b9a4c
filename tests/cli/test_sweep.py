"""Sweeps: the same numbers whatever the engine, the order and the accidents on the way."""

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

import retemper
from retemper.cli import main
from retemper.linear import LinearModel, simulate, solve
from retemper.sweep_config import SystemTask, read_config
from retemper.sweeps import point_sequence

from . import sweep_tasks as tasks

ROOT = Path(__file__).resolve().parents[2]
GRID = {"x": [0.5, 1.5, -2.0], "k": [1, 2]}
SLOW = """
function = "sweep_tasks:slow"
seeds = [0, 1]
n_jobs = 2
[axes]
x = { arange = [0, 50, 1] }
"""
LINEAR = """
system = "linear"
quantities = ["risk", "source_scale", "risk_bound"]
[model]
theta_target = { size = 20, power = -0.5, norm = 1.0 }
source_coef = { size = 20, normal = 3, cosine = 0.8, to = "theta_target", norm = 2.0 }
noise = 0.3
n_samples = 10
[axes]
n_samples = { geomspace = [5, 50, 4], round = true }
"source_coef.cosine" = [0.0, 0.9]
[simulate]
n_repeats = 4
"""


def loop(grid, seeds):
    """The slow obvious sweep: one point after the other."""
    for values in itertools.product(*grid.values(), seeds):
        point = dict(zip(grid, values[:-1], strict=True))
        yield tasks.noisy(**point, random_state=point_sequence(point, values[-1]))


def same(left, right):
    assert left.axes.keys() == right.axes.keys()
    assert left.values.keys() == right.values.keys()
    for name, value in left.values.items():
        assert_array_equal(value, right[name])
        assert value.dtype == right[name].dtype


def write(folder, text):
    (folder / "job.toml").write_text(text)
    return folder / "job.toml"


def start(*words):
    """The command in a process group of its own, so that its workers can be killed with it."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-m", "retemper.cli", "sweep", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(*words):
    process = start(*words)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def points(folder):
    files = (folder / "points").glob("*.json") if (folder / "points").exists() else []
    return [record for file in files for record in json.loads(file.read_text()).values()]


def n_points(folder):
    return len(points(folder))


# ---------------------------------------------------------------------------------------------
# the numbers


def test_equals_a_loop_over_points():
    found = retemper.sweep(tasks.noisy, GRID, [7, 3])
    want = list(loop(GRID, [7, 3]))
    assert list(found.axes) == ["x", "k", "seed"]
    for name in want[0]:
        stacked = np.array([point[name] for point in want])
        assert_array_equal(found[name], stacked.reshape(3, 2, 2, *stacked.shape[1:]))
    assert len(np.unique(found["mean"])) == 12
    assert found["curve"].shape == (3, 2, 2, 3)


@pytest.mark.parametrize("engine", ["loky", "threading"])
def test_engine_and_workers_do_not_matter(engine, tmp_path):
    want = retemper.sweep(tasks.noisy, GRID, [7, 3])
    with joblib.parallel_config(engine, n_jobs=2):
        found = retemper.sweep("tests.cli.sweep_tasks:noisy", GRID, [7, 3], out=tmp_path)
    same(found, want)


def test_order_of_axes_values_and_seeds_does_not_matter():
    want = retemper.sweep(tasks.noisy, GRID, [7, 3])
    turned = {"k": GRID["k"], "x": GRID["x"][::-1]}
    found = retemper.sweep(tasks.noisy, turned, [3, 7])
    assert_array_equal(found["mean"], want["mean"].transpose(1, 0, 2)[:, ::-1, ::-1])
    assert_array_equal(retemper.sweep(tasks.noisy, GRID, 3)["mean"], want["mean"][:, :, 1])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_point_runs_on_one_thread(n_jobs):
    found = retemper.sweep(tasks.threads, {"x": [0, 1, 2]}, n_jobs=n_jobs)
    assert_array_equal(found["core"], 1)
    assert_array_equal(found["pools"], 1)
    assert (found["n_pools"] > 0).all()


def test_task_of_a_system_is_solve_and_simulate(tmp_path):
    config = read_config(write(tmp_path, LINEAR))
    found = retemper.sweep(config.fn, config.grid, config.seeds)
    assert_array_equal(found.axes["n_samples"], [5, 11, 23, 50])
    target = np.arange(1, 21) ** -0.5
    target /= np.linalg.norm(target)
    across = np.random.Generator(np.random.Philox(key=key_of(3))).standard_normal(20)
    across -= across @ target / (target @ target) * target
    for (i, n), (j, cosine) in itertools.product(enumerate([5, 11, 23, 50]), enumerate([0.0, 0.9])):
        source = cosine * target + (1 - cosine**2) ** 0.5 * across / np.linalg.norm(across)
        model = LinearModel(n, target, source_coef=2 * source, noise=0.3)
        seed = point_sequence({"n_samples": n, "source_coef.cosine": cosine}, 0)
        theory, sample = solve(model), simulate(model, n_repeats=4, random_state=seed)
        np.testing.assert_allclose(found["risk"][i, j], theory.risk, rtol=1e-12)
        np.testing.assert_allclose(found["risk_sim"][i, j], sample.risk, rtol=1e-10)
        np.testing.assert_allclose(found["risk_stderr"][i, j], sample.stderr["risk"], rtol=1e-8)
    assert (found["status"] == "converged").all()
    assert "risk_bound" in found.values
    assert "risk_bound_sim" not in found.values  # the bound is not measured
    assert "theta_target" in found.attrs["task"]


def key_of(seed):
    return np.random.SeedSequence(seed).generate_state(2, np.uint64)


# ---------------------------------------------------------------------------------------------
# the folder and the file


def test_file_holds_the_sweep_and_where_it_comes_from(tmp_path):
    found = retemper.sweep(tasks.noisy, GRID, [7, 2**31 - 1], out=tmp_path)
    data = xr.load_dataset(tmp_path / "sweep.nc", engine="scipy")
    for name, value in found.values.items():
        assert_array_equal(data[name].values, value)
    for name, axis in found.axes.items():
        assert_array_equal(data[name].values, axis)
    assert data.attrs["retemper"] == retemper.__version__
    assert data.attrs["level"] in ("v2", "v3", "v4", "base")
    assert data.attrs["numpy"] == np.__version__
    for record in points(tmp_path):
        sequence = np.random.SeedSequence(record["seed"], spawn_key=record["spawn_key"])
        again = tasks.noisy(**record["params"], random_state=sequence)
        assert again["mean"] == record["values"]["mean"]
    assert found.to_frame().shape == (12, 8)
    assert found.to_frame()["curve"][0].shape == (3,)
    with pytest.raises(ValueError, match="curve is an array at every point"):
        retemper.sweep(tasks.noisy, GRID, 7).plot("curve")


def test_large_integers_survive_the_file(tmp_path):
    retemper.sweep(abs_of, {"x": [2**40 + 1, 3]}, out=tmp_path)
    data = xr.load_dataset(tmp_path / "sweep.nc", engine="scipy")
    assert_array_equal(data["value"].values, [2.0**40 + 1, 3])
    assert_array_equal(data["x"].values, [2.0**40 + 1, 3])


def abs_of(x):
    return abs(x)


def test_finished_points_are_kept_and_torn_ones_done_again(tmp_path):
    log = tmp_path / "log"
    fn = functools.partial(tasks.logged, log=str(log))
    out = tmp_path / "out"
    retemper.sweep(fn, {"x": [1, 2, 3]}, out=out)
    assert log.read_text().split() == ["1", "2", "3"]
    (file,) = (f for f in (out / "points").iterdir() if '"x": 2' in f.read_text())
    kept = set(range(1, 4)) - {r["params"]["x"] for r in json.loads(file.read_text()).values()}
    file.write_text(file.read_text()[:-9])
    (out / "points" / "leftover.part").write_text("torn")
    seen = []
    grid = {"x": [4, 3, 2, 1]}
    found = retemper.sweep(fn, grid, out=out, progress=lambda *a: seen.append(a))
    again = [str(x) for x in grid["x"] if x not in kept]
    assert {"4", "2"} <= set(again) < {"4", "3", "2", "1"}  # the first point has a file of its own
    assert log.read_text().split()[3:] == again
    assert_array_equal(found["square"], [16, 9, 4, 1])
    assert seen[0] == (len(kept), 4)
    assert seen[-1] == (4, 4)
    assert not list(out.rglob("*.part"))
    retemper.sweep(functools.partial(fn, log=str(tmp_path / "other")), {"x": [4]}, out=out)
    assert (tmp_path / "other").read_text().split() == ["4"]  # another function, another point


def test_failed_points_are_reported_and_tried_again(tmp_path):
    fn = functools.partial(tasks.broken, flag=str(tmp_path / "flag"))
    with pytest.warns(UserWarning, match=r"2 of 4 points failed, the first at .*ArithmeticError"):
        found = retemper.sweep(fn, {"x": [0, 1, 2, 3]}, out=tmp_path)
    assert_array_equal(found["half"], [0, np.nan, 1, np.nan])
    assert_array_equal(found["text"], ["fine", "", "fine", ""])
    assert found["error"][1] == "ArithmeticError: no value at 1"
    assert [f["params"] for f in found.failures] == [{"x": 1}, {"x": 3}]
    assert "in broken" in found.failures[0]["traceback"]
    with pytest.raises(RuntimeError, match="2 of 4 points failed"):
        retemper.sweep(fn, {"x": [0, 1, 2, 3]}, on_failure="raise")
    (tmp_path / "flag").touch()
    found = retemper.sweep(fn, {"x": [0, 1, 2, 3]}, out=tmp_path)
    assert_array_equal(found["half"], [0, 0.5, 1, 1.5])
    assert not found.failures


# ---------------------------------------------------------------------------------------------
# accidents


@pytest.fixture
def slow_file(tmp_path, monkeypatch):
    """What an uninterrupted sweep in one process makes of `SLOW`."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    retemper.sweep("sweep_tasks:slow", {"x": list(range(50))}, [0, 1], out=tmp_path / "alone")
    return (tmp_path / "alone" / "sweep.nc").read_bytes()


@pytest.mark.slow
def test_killed_command_goes_on_to_the_same_file(tmp_path, slow_file):
    config = write(tmp_path, SLOW)
    out = tmp_path / "killed"
    for target in (1, 20, 60):
        process = start(config, "--out", out)
        while n_points(out) < target and process.poll() is None:
            time.sleep(0.003)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert target <= n_points(out) < 100
        assert not (out / "sweep.nc").exists()
    code, shown, err = finish(config, "--out", out)
    assert code == 0, err
    assert "100 points" in shown
    assert " 0 already there" not in shown
    assert "sweep.nc" in shown
    assert (out / "sweep.nc").read_bytes() == slow_file


def left_in_shared_memory(pid):
    """Names of a process in /dev/shm, after the time that its helpers take to clean up."""
    end = time.monotonic() + 10.0
    while True:
        found = [p.name for p in Path("/dev/shm").glob(f"*[-_]{pid}[-_]*")]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)


def test_ctrl_c_leaves_a_folder_to_go_on_from(tmp_path):
    config = write(tmp_path, SLOW)
    out = tmp_path / "job"
    process = start(config)
    while n_points(out) < 10 and process.poll() is None:
        time.sleep(0.003)
    os.killpg(process.pid, signal.SIGINT)
    shown, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "run the same command to go on" in shown
    assert not left_in_shared_memory(process.pid)
    assert not (out / "sweep.nc").exists()
    assert 10 <= n_points(out) < 100


def test_killed_worker_is_replaced(tmp_path):
    fn = functools.partial(tasks.deadly, flag=str(tmp_path / "flag"))
    found = retemper.sweep(fn, {"x": list(range(20))}, n_jobs=2)
    assert (tmp_path / "flag").exists()
    assert_array_equal(found["value"], np.arange(20) ** 2)


def test_workers_that_keep_dying_end_the_sweep(tmp_path):
    fn = functools.partial(tasks.deadly, flag=str(tmp_path / "none" / "flag"))
    with pytest.raises(RuntimeError, match="worker processes died 4 times"):
        retemper.sweep(fn, {"x": list(range(20))}, n_jobs=2, out=tmp_path)
    assert n_points(tmp_path) > 0
    assert not (tmp_path / "sweep.nc").exists()


@pytest.mark.filterwarnings("default")  # of dask's own threads and sockets at the murder
@pytest.mark.slow
def test_dask_cluster_that_loses_a_worker(tmp_path, slow_file):
    distributed = pytest.importorskip("distributed")
    grid = {"x": list(range(150))}
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client, joblib.parallel_config("dask"):
        victims = list(client.run(os.getpid).values())
        assert len(victims) == 2

        def kill(done, total):
            if 40 <= done < 100 and not killed:
                os.kill(victims[0], signal.SIGKILL)
                killed.append(done)

        killed = []
        found = retemper.sweep(tasks.pid_and_draw, grid, 5, out=tmp_path, progress=kill)
        assert killed
        assert victims[0] not in client.run(os.getpid).values()
        code, _, err = finish(write(tmp_path, SLOW), "--scheduler", cluster.scheduler_address)
    assert code == 0, err
    assert not found.failures
    used = {int(pid) for pid in found["pid"]}
    assert set(victims[1:]) < used
    assert os.getpid() not in used
    want = [np.random.default_rng(point_sequence({"x": x}, 5)).standard_normal() for x in grid["x"]]
    assert_array_equal(found["draw"], want)
    assert (tmp_path / "job" / "sweep.nc").read_bytes() == slow_file


# ---------------------------------------------------------------------------------------------
# bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": {}}, "at least one parameter"),
        ({"grid": {"x": []}}, "axis 'x' must be a non-empty list"),
        ({"grid": {"x": "abc"}}, "axis 'x' must be a non-empty list, got 'abc'"),
        ({"grid": {"x": [1, np.nan]}}, "axis 'x' must hold numbers"),
        ({"grid": {"x": [1, "a"]}}, "axis 'x' mixes text and numbers"),
        ({"grid": {"x": [1, 2, 1]}}, "axis 'x' must hold distinct values"),
        ({"grid": {"x": [[1]]}}, r"axis 'x' must hold numbers, booleans or text, got \[1\]"),
        ({"grid": {"seed": [1]}}, "axes cannot be named 'seed'"),
        ({"grid": {"y": [1]}}, "cannot be called with the parameters"),
        ({"seeds": 1}, "cannot be called with the parameters"),
        ({"seeds": [-1]}, "seeds must be in"),
        ({"seeds": [2**31]}, "seeds must be in"),
        ({"seeds": [1, 1]}, "seeds must be distinct"),
        ({"seeds": []}, "seeds must be an integer or a non-empty list"),
        ({"seeds": [0.5]}, "seeds must be an integer, got 0.5"),
        ({"n_jobs": 0}, "n_jobs must be None or a non-zero integer"),
        ({"on_failure": "cry"}, "on_failure must be one of"),
        ({"fn": lambda x: x}, "must be a function that pickles, .* got .*lambda"),
        ({"fn": "tests.cli.sweep_tasks:nothing"}, "'module:function', got .*:nothing"),
        ({"fn": "no_module:f"}, "'module:function', got 'no_module:f'"),
        ({"fn": "tests.cli.sweep_tasks:os.sep"}, "something callable"),
    ],
)
def test_refuses_before_any_work(arguments, message, tmp_path):
    with pytest.raises((ValueError, TypeError), match=message):
        retemper.sweep(**{"fn": abs_of, "grid": {"x": [1]}, "out": tmp_path / "o", **arguments})
    assert not (tmp_path / "o").exists()


def test_refuses_points_that_differ_in_shape_and_bad_values():
    with pytest.raises(ValueError, match=r"same names and shapes.*'x': 1.*'x': 2"):
        retemper.sweep(tasks.ragged, {"x": [1, 2]})
    found = retemper.sweep(bad_values, {"kind": ["name", "complex"]}, on_failure="ignore")
    assert "must be identifiers" in found["error"][0]
    assert "must be a number" in found["error"][1]


def bad_values(kind):
    return {"a b": 1} if kind == "name" else {"z": 1j}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_samples = 10", "n_samples = -1", None),  # swept over: never used
        ('"linear"', '"circular"', "system must be one of"),
        ('"risk",', '"riks",', "quantities must be one of"),
        ("noise = 0.3", "noise = -0.3", "noise must lie in [0, 1e+100], got -0.3"),
        ("noise = 0.3", "nois = 0.3", "nois"),
        ("[0.0, 0.9]", "[0.0, 1.9]", "source_coef.cosine must lie in [-1, 1], got 1.9"),
        ("[0.0, 0.9]", "[]", "axis 'source_coef.cosine' must be a non-empty list"),
        ("source_coef.cosine", "sauce.cosine", "the model has no table 'sauce'"),
        ("geomspace = [5, 50, 4]", "geomspace = [0, 50, 4]", "axis 'n_samples': geomspace"),
        ("geomspace =", "spacing =", "axis 'n_samples' must be a list or a table with one of"),
        ("n_repeats = 4", "n_repeats = 1", "simulate.n_repeats must be at least 2, got 1"),
        ("n_repeats = 4", "repeats = 4", "simulate must be one of"),
        ("power = -0.5", "powr = -0.5", "theta_target must have size, power or normal"),
        ('to = "theta_target"', 'to = "nothing"', "source_coef.to = 'nothing'"),
        ("[axes]", "[axis]", "key of"),
        ('system = "linear"', 'system = "linear"\nseeds = "many"', "seeds must be an integer or"),
        ('system = "linear"', "system = 3", "system must be text, got 3"),
        ('system = "linear"', "", "one of the keys 'system' and 'function'"),
        ("[simulate]\nn_repeats = 4", "", None),
        ("[model]", "[model", "not a TOML file"),
    ],
)
def test_bad_configuration_exits_with_2_and_a_sentence(old, new, message, tmp_path, capsys):
    assert old in LINEAR
    config = write(tmp_path, LINEAR.replace(old, new))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(config), "--jobs", "1"])
    if message is None:
        assert stop.value.code in (0, None)
        return
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [config]


def test_missing_file_and_unknown_scheduler(tmp_path, capsys):
    for words in (["none.toml"], [str(write(tmp_path, LINEAR)), "--jobs", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(["sweep", *words])
        assert stop.value.code == 2
    assert "none.toml" in capsys.readouterr().err


def test_command_shows_failures_and_exits_with_1(tmp_path, capsys):
    text = 'function = "tests.cli.sweep_tasks:broken"\n[axes]\nx = [0, 1, 2]\n'
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(write(tmp_path, text)), "--jobs", "1"])
    assert stop.value.code == 1
    shown = capsys.readouterr().out
    assert "1 failed" in shown
    assert "{'x': 1}: ArithmeticError: no value at 1" in shown
    assert (tmp_path / "job" / "sweep.nc").exists()


def test_command_prints_json(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(write(tmp_path, LINEAR)), "--jobs", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0
    assert found["failures"] == []
    assert found["points"] > found["already_there"] == 0
    assert Path(found["result"]).exists()


def test_system_task_pickles_and_sweeps_theory_alone():
    task = SystemTask("linear", {"theta_target": [1.0, 0.0, 0.0], "n_samples": 1}, ("risk",))
    found = retemper.sweep(task, {"noise": [0.0, 0.5]}, n_jobs=2)
    want = [solve(LinearModel(1, [1.0, 0.0, 0.0], noise=s)).risk for s in (0.0, 0.5)]
    assert_array_equal(found["risk"], want)


def test_page_shows_the_file_and_what_it_prints(tmp_path, capsys):
    page = (ROOT / "docs" / "sweeps.md").read_text()
    text = (ROOT / "docs" / "similarity.toml").read_text()
    assert f"```toml\n{text}```" in page
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(write(tmp_path, text)), "--jobs", "1"])
    assert stop.value.code in (0, None)
    shown = capsys.readouterr().out
    for line in page.splitlines():
        if line.startswith(" risk"):
            assert all(word in shown for word in line.split()), line


def test_missing_dask_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(write(tmp_path, LINEAR)), "--scheduler", "tcp://127.0.0.1:1"])
    assert stop.value.code == 1
    assert 'pip install "retemper[dask]"' in capsys.readouterr().err


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_another_system_with_an_axis_of_text(n_jobs):
    task = SystemTask("diagonal", {}, ("mse",), {"n_features": 100, "n_repeats": 2})
    found = retemper.sweep(
        task, {"alpha": [0.3, 0.6], "mode": ["reset", "scratch"]}, 0, n_jobs=n_jobs
    )
    for i, alpha in enumerate([0.3, 0.6]):
        for j, mode in enumerate(["reset", "scratch"]):
            model = retemper.diagonal.DiagonalModel(alpha, mode=mode)
            seed = point_sequence({"alpha": alpha, "mode": mode}, 0)
            sample = retemper.diagonal.simulate(
                model, n_features=100, n_repeats=2, random_state=seed
            )
            assert found["mse"][i, j] == retemper.diagonal.solve(model).mse
            assert found["mse_sim"][i, j] == sample.mse
            assert found["mse_stderr"][i, j] == sample.stderr["mse"]


def test_a_system_of_two_models_is_told_by_its_fields():
    features = {"n_classes": 3, "signal": [1.0], "class_noise": [0.5], "times": [1.0, 2.0]}
    found = retemper.sweep(SystemTask("phases", features, ("fuv",)), {"init_scale": [0.0, 0.1]})
    model = retemper.phases.FeatureModel(**features, init_scale=0.1)
    np.testing.assert_array_equal(found["fuv"][1], retemper.phases.solve(model).fuv)
    logistic = {"variances": [1.0], "mean": [1.0], "w0": [0.1]}
    assert SystemTask("phases", logistic, ("norm",)).build({}).n_features == 1
    with pytest.raises(ValueError, match=r"no model of phases .* has \['wings'\]"):
        SystemTask("phases", {"wings": 2}, ("fuv",))
    with pytest.raises(ValueError, match="'widenet' needs target beside its model"):
        SystemTask("widenet", {"width": 100}, ("Q_t",))
