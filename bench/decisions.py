"""Our way against libraries that could take its place; those that are installed are measured.

``python bench/decisions.py`` prints what the section on decisions in CONTRIBUTING.md says. Best of
five, processor time; h5netcdf, zarr, arviz, celer and nanobind are no dependencies of ours.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from retemper.widenet.chains import effective_sample_size, split_r_hat


def files(path):
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def digest(path):
    return hashlib.sha256(b"".join(p.read_bytes() for p in files(path))).hexdigest()


def sweeps():
    """Ten quantities on a grid of 50 x 50 x 4, written five times."""
    rng, shape = np.random.default_rng(0), (50, 50, 4)
    data = xr.Dataset({f"q{k}": (("a", "b", "seed"), rng.normal(size=shape)) for k in range(10)})
    writers = {
        "scipy": lambda p: data.to_netcdf(p, engine="scipy", format="NETCDF3_64BIT"),
        "h5netcdf": lambda p: data.to_netcdf(p, engine="h5netcdf"),
        "zarr": lambda p: data.to_zarr(p, consolidated=False),
    }
    for name, write in writers.items():
        if not find_spec(name):
            print(f"{name}: not installed")
            continue
        seconds, seen = [], set()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sweep")
            for _ in range(5):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
                start = time.process_time()
                write(path)
                seconds.append(time.process_time() - start)
                seen.add(digest(path))
            size = sum(p.stat().st_size for p in files(path)) / 1e6
            print(
                f"{name}: {1e3 * min(seconds):.1f} ms, {size:.2f} MB in {len(files(path))} files, "
                f"{'equal bytes' if len(seen) == 1 else 'other bytes'} every time"
            )


def chains():
    """Eight chains of 4000 draws of an autoregression of 0.9."""
    rng = np.random.default_rng(0)
    x = np.empty((8, 4000))
    x[:, 0] = rng.normal(size=8)
    for t in range(1, 4000):
        x[:, t] = 0.9 * x[:, t - 1] + (1 - 0.81) ** 0.5 * rng.normal(size=8)
    print(f"exact: effective size {32000 * 0.1 / 1.9:.0f}")
    print(f"ours: effective size {effective_sample_size(x):.0f}, R-hat {split_r_hat(x)!r}")
    if not find_spec("arviz"):
        print("arviz: not installed")
        return
    took = "import time; a = time.process_time(); import arviz; print(time.process_time() - a)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", took], capture_output=True, text=True, check=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz

        size, r_hat = arviz.ess(x, method="mean"), arviz.rhat(x, method="split")
    seconds = float(done.stdout.split()[-1])
    print(f"arviz: effective size {size:.0f}, R-hat {float(r_hat)!r}, import {seconds:.1f} s")


#: What pybind11 and nanobind write differently in the module below.
DIALECTS = {
    "pybind11": {
        "headers": ["pybind11/eigen.h", "pybind11/numpy.h", "pybind11/stl.h"],
        "module": "PYBIND11_MODULE",
        "make": "py::init([](double a, double b, double c, Vector w) {"
        " return NAME{a, b, c, std::move(w)}; })",
        "property": "def_property_readonly",
        "field": "def_readonly",
        "error": "py::error_already_set()",
        "borrow": "py::reinterpret_borrow<py::object>",
        "none": "",
    },
    "nanobind": {
        "headers": ["nanobind/nanobind.h", "nanobind/eigen/dense.h", "nanobind/stl/vector.h"],
        "module": "NB_MODULE",
        "make": '"__init__", [](NAME* self, double a, double b, double c, Vector w) {'
        " new (self) NAME{a, b, c, std::move(w)}; }",
        "property": "def_prop_ro",
        "field": "def_ro",
        "error": "py::python_error()",
        "borrow": "py::borrow<py::object>",
        "none": ".none()",
    },
}
N_STRUCTS, N_FUNCTIONS = 6, 12  # as many as a system has


def lasso():
    """Paths of fifty penalties down to a hundredth of the largest, equal duality gaps."""
    if not find_spec("celer"):
        print("celer: not installed")
        return
    from celer import celer_path
    from sklearn.linear_model import lasso_path

    rng = np.random.default_rng(0)
    for n, d in ((200, 50), (100, 1000), (60, 5000)):
        X = np.asfortranarray(rng.normal(size=(n, d)))
        y = X[:, :10].sum(axis=1) + rng.normal(size=n)
        alphas = np.abs(X.T @ y).max() / n * np.geomspace(1.0, 1e-2, 50)
        paths = {
            "scikit-learn": lambda: lasso_path(X, y, alphas=alphas, tol=1e-5, max_iter=100_000),  # noqa: B023
            "celer": lambda: celer_path(X, y, "lasso", alphas=alphas, tol=1e-5, max_iter=1000),  # noqa: B023
        }
        for name, path in paths.items():
            coef = path()[1]
            loss = ((y[:, None] - X @ coef) ** 2).mean(axis=0) / 2 + alphas * np.abs(coef).sum(
                axis=0
            )
            print(
                f"lasso, {n} rows of {d}, {name}: {1e3 * best_time(path, 3):.1f} ms, "
                f"last objective {loss[-1]:.6f}"
            )


def source_of_module(name):
    """C++ in the shape of our bindings: structs, states as text, arrays in and out, no lock."""
    words = DIALECTS[name]
    out = [f"#include <{header}>" for header in words["headers"]]
    out += [
        "#include <Eigen/Core>",
        f"namespace py = {name};",
        f"using namespace {name}::literals;",
        "using Vector = Eigen::VectorXd;",
        "using Matrix = Eigen::Matrix<double, -1, -1, Eigen::RowMajor>;",
        "using VectorView = Eigen::Ref<const Vector>;",
        "using MatrixView = Eigen::Ref<const Matrix>;",
        "enum class Status { converged, stopped };",
        "struct Stop {",
        "  PyObject* callback;",
        "  void operator()(long done, long total) const {",
        "    py::gil_scoped_acquire gil;",
        f"    if (PyErr_CheckSignals() != 0) throw {words['error']};",
        f"    if (callback != Py_None) {words['borrow']}(callback)(done, total);",
        "  }",
        "};",
    ]
    for k in range(N_STRUCTS):
        out.append(
            f"struct S{k} {{ double a, b, c; Vector w; Status status = Status::converged; }};"
        )
    for k in range(N_FUNCTIONS):
        out += [
            f"py::dict f{k}(const MatrixView& X, const VectorView& y, const VectorView& scale,",
            "    double mu, double tol, long max_iter, bool exact, const py::object& progress) {",
            "  Vector coef; double residual = 0.0; Stop stop{progress.ptr()};",
            "  { py::gil_scoped_release nogil; stop(0, max_iter);",
            f"    coef = X.transpose() * y + mu * scale * {k + 1}.0;",
            "    residual = coef.norm() * tol; }",
            '  py::dict out; out["coef"] = std::move(coef); out["residual"] = residual;',
            '  out["n_iter"] = max_iter; out["status"] = exact ? "converged" : "stopped";',
            "  return out;",
            "}",
        ]
    out.append(f"{words['module']}(shape_{name}, m) {{")
    for k in range(N_STRUCTS):
        make = words["make"].replace("NAME", f"S{k}")
        out += [
            f'  py::class_<S{k}>(m, "S{k}").def({make}, py::kw_only(),',
            '    "a"_a, "b"_a, "c"_a, "w"_a.noconvert())',
            *(f'    .{words["field"]}("{field}", &S{k}::{field})' for field in "abcw"),
            f'    .{words["property"]}("status", [](const S{k}& s) {{',
            '      return s.status == Status::converged ? "converged" : "stopped"; });',
            f'  m.def("total{k}", [](const std::vector<S{k}>& all) {{',
            f"    double sum = 0.0; for (const S{k}& s : all) sum += s.a; return sum;",
            '  }, "all"_a);',
        ]
    for k in range(N_FUNCTIONS):
        out.append(
            f'  m.def("f{k}", &f{k}, py::kw_only(), "X"_a.noconvert(), "y"_a.noconvert(),'
            ' "scale"_a.noconvert(), "mu"_a, "tol"_a, "max_iter"_a, "exact"_a,'
            f' "progress"_a{words["none"]});'
        )
    return "\n".join([*out, "}", ""])


def processor_seconds(*command):
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    after = os.times()
    return after[2] - before[2] + after[3] - before[3]


def best_time(call, number):
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(number):
            call()
        seconds.append((time.process_time() - start) / number)
    return min(seconds)


def bindings():
    """The bindings of one system, compiled as ours are (-O1), and called."""
    eigen = Path(sysconfig.get_path("purelib"), "cmeel.prefix", "include", "eigen3")
    if not eigen.exists() or not shutil.which("g++"):
        print("bindings: need g++ and the package cmeel-eigen")
        return
    flags = ["-O1", "-std=c++17", "-fPIC", "-fvisibility=hidden", f"-I{eigen}"]
    flags.append(f"-I{sysconfig.get_path('include')}")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 10))
    given = {"X": X, "y": X[:, 0].copy(), "scale": X[0].copy(), "mu": 0.5, "tol": 1e-3}
    given |= {"max_iter": 7, "exact": True, "progress": None}
    coefs = []
    with tempfile.TemporaryDirectory() as folder:
        for name in DIALECTS:
            if not find_spec(name):
                print(f"{name}: not installed")
                continue
            library, extra, once = importlib.import_module(name), [], 0.0
            if name == "pybind11":
                own = [f"-I{library.get_include()}"]
            else:  # its runtime is a file of its own, compiled once for a module
                place = Path(library.include_dir())
                own = [f"-I{place}", f"-I{place.parent / 'ext' / 'robin_map' / 'include'}"]
                own += ["-DNB_COMPACT_ASSERTIONS", "-fno-strict-aliasing"]
                extra = [f"{folder}/runtime.o"]
                runtime = f"{library.source_dir()}/nb_combined.cpp"
                once = processor_seconds("g++", *flags, *own, "-c", runtime, "-o", *extra)
            path = Path(folder, f"shape_{name}.cpp")
            path.write_text(source_of_module(name))
            compiled, module = str(path.with_suffix(".o")), path.with_suffix(".so")
            compile_it = ("g++", *flags, *own, "-c", str(path), "-o", compiled)
            seconds = min(processor_seconds(*compile_it) for _ in range(3))
            processor_seconds("g++", "-shared", "-s", compiled, *extra, "-o", str(module))
            spec = importlib.util.spec_from_file_location(path.stem, module)
            made = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(made)
            struct = made.S0(a=1.0, b=2.0, c=3.0, w=given["y"])
            coefs.append(made.f0(**given)["coef"])
            print(
                f"{name} {library.__version__}: {seconds:.1f} s to compile"
                f"{f', and {once:.1f} s once for its runtime' if once else ''}; "
                f"{module.stat().st_size / 1e3:.0f} kB; a call with three arrays "
                f"{1e9 * best_time(lambda: made.f0(**given), 20_000):.0f} ns, "  # noqa: B023
                f"a field {1e9 * best_time(lambda: struct.a, 100_000):.0f} ns"  # noqa: B023
            )
    if len(coefs) == 2 and not np.array_equal(*coefs):
        sys.exit("the two modules disagree")


if __name__ == "__main__":
    sweeps()
    chains()
    lasso()
    bindings()
