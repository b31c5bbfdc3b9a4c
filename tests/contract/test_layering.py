"""No upward or sideways include or import, and no heavy module where it does not belong."""

import ast
import re

import pytest

from .discover import PACKAGE, ROOT, sources, systems

CPP = ROOT / "cpp"
SYSTEMS = systems()
FLOOR = {"core": 0, "numerics": 1, **dict.fromkeys(SYSTEMS, 2)}
SHARED = {
    p.stem
    for p in PACKAGE.glob("_*")
    if (p.suffix == ".py" or (p / "__init__.py").is_file()) and p.stem != "__main__"
} | {"exceptions", "numerics"}
ABOVE = {
    "advisor",
    "agreement",
    "cli",
    "gallery",
    "networks",
    "report",
    "sweeps",
    "sweep_config",
    "datasets",
    "estimators",
}
#: Files of estimators, which may load scikit-learn.
ESTIMATORS = {"_base", "estimator", "estimators", "lasso", "report"}
HEAVY = {
    "matplotlib",
    "pandas",
    "xarray",
    "torch",
    "rich",
    "typer",
    "jinja2",
    "dask",
    "distributed",
}

includes = [
    (file, target)
    for folder in ("include/retemper", "src")
    for file in sorted((CPP / folder).rglob("*.?pp"))
    for target in re.findall(r'#include\s+[<"]([^>"]+)[>"]', file.read_text())
]


def home(file):
    parts = file.relative_to(CPP).parts
    return parts[2] if parts[0] == "include" else parts[1]


def test_there_is_something_to_check():
    assert SYSTEMS
    assert len(includes) > 20


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_cpp_rooms_exist_on_both_sides(room):
    assert (CPP / "include" / "retemper" / room).is_dir()
    assert (ROOT / "tests" / room).is_dir()


def test_cpp_never_includes_upward_or_sideways():
    wrong = []
    for file, target in includes:
        if target.startswith("retemper/"):
            mine, theirs = home(file), target.split("/")[1]
            if theirs != mine and FLOOR[theirs] >= FLOOR[mine]:
                wrong.append(f"{file.relative_to(CPP)} -> {target}")
    assert not wrong


def test_cpp_core_knows_neither_python_nor_output():
    banned = re.compile(
        r"pybind11|Python\.h|iostream|std::cerr|std::cout|printf|getenv|omp_set_num"
    )
    files = [*CPP.glob("include/**/*.hpp"), *CPP.glob("src/**/*.cpp")]
    wrong = [str(f) for f in files if banned.search(f.read_text())]
    assert not wrong


def imports(file, *, top_level):
    """Modules a file imports; with ``top_level`` only those loaded with the file itself."""
    tree = ast.parse(file.read_text())
    out = []

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if not (top_level and deeper):
                if isinstance(child, ast.Import):
                    out.extend(alias.name for alias in child.names)
                elif isinstance(child, ast.ImportFrom):
                    assert child.level == 0, f"{file}: relative import"
                    out.append(child.module)
                    out.extend(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child, deeper)

    visit(tree, False)
    return out


python_files = sources()


@pytest.mark.parametrize("file", python_files, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_python_layers(file):
    parts = file.relative_to(PACKAGE).parts
    room = parts[0] if len(parts) > 1 else None
    for name in imports(file, top_level=False):
        steps = name.split(".")
        if steps[0] != "retemper" or len(steps) < 2:
            continue
        target = steps[1]
        if room in SYSTEMS:
            assert target == room or target in SHARED, f"{file} imports {name}"
        elif room in SHARED or (room is None and file.stem in SHARED):
            assert target not in {*SYSTEMS, *ABOVE}, f"{file} imports {name}"
        elif room in ABOVE or file.stem in ABOVE:
            private = [s for s in steps[2:] if target in SYSTEMS and s.startswith("_")]
            assert not private, f"{file} reaches into {name}"


@pytest.mark.parametrize("file", python_files, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_heavy_modules_are_imported_on_use(file):
    loaded = {name.split(".")[0] for name in imports(file, top_level=True)}
    assert not loaded & HEAVY
    parts = file.relative_to(PACKAGE).parts
    if not {file.stem, *parts[:-1]} & ESTIMATORS and parts[0] != "advisor":
        assert "sklearn" not in loaded
    if file.name != "display.py" and file.stem not in ABOVE and parts[0] not in ABOVE:
        anywhere = {name.split(".")[0] for name in imports(file, top_level=False)}
        assert "matplotlib" not in anywhere or file.name == "_plot.py" or "_results" in parts


SAMPLES = {"X", "y", "rows", "labels", "n", "n_samples"}


def loops_over_samples(source):
    """Loops and comprehensions that visit the samples one by one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.For | ast.comprehension):
            continue
        visited = [node.iter]
        if (
            isinstance(node.iter, ast.Call)
            and isinstance(node.iter.func, ast.Name)
            and node.iter.func.id in {"range", "enumerate", "zip", "reversed"}
        ):
            visited = node.iter.args
        for item in visited:
            text = ast.unparse(item)
            length = re.fullmatch(r"len\((\w+)\)|(\w+)\.shape\[0\]|(\w+)", text)
            if length and next(g for g in length.groups() if g) in SAMPLES:
                found.append(ast.unparse(node.iter))
    return found


@pytest.mark.parametrize(
    ("source", "is_loop"),
    [
        ("for i in range(len(X)): pass", True),
        ("for i in range(n_samples): pass", True),
        ("for i in range(rows.shape[0]): pass", True),
        ("for i, row in enumerate(X): pass", True),
        ("for a, b in zip(X, y): pass", True),
        ("[f(row) for row in rows]", True),
        ("for j in range(X.shape[1]): pass", False),
        ("for name in names: pass", False),
        ("for fold in range(n_folds): pass", False),
    ],
)
def test_a_loop_over_samples_is_found(source, is_loop):
    assert bool(loops_over_samples(source)) == is_loop


def test_estimators_hold_no_loop_over_samples():
    files = [
        file
        for system in SYSTEMS
        for file in (PACKAGE / system).rglob("*.py")
        if any(part.startswith("estimator") for part in file.parts)
    ]
    assert files
    found = {str(file): loops_over_samples(file.read_text()) for file in files}
    assert {file: loops for file, loops in found.items() if loops} == {}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_its_role_files(system):
    roles = {"model", "theory", "simulate", "display"}  # a file, or a folder of rooms
    assert roles <= {f.stem.removeprefix("_") for f in (PACKAGE / system).iterdir()}
