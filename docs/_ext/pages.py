"""Pages that are made at build: the API reference and the table of measured speed.

``python docs/_ext/pages.py`` makes the tables anew that stand in written pages: the vocabulary in
``conventions.md`` and the speed in ``README.md``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

MODULES = (
    "retemper",
    "retemper.advisor",
    "retemper.linear",
    "retemper.diagonal",
    "retemper.perceptron",
    "retemper.widenet",
    "retemper.phases",
    "retemper.phases.torch",
    "retemper.networks",
    "retemper.estimators",
    "retemper.agreement",
    "retemper.sweeps",
    "retemper.sweep_config",
    "retemper.numerics",
    "retemper.datasets",
    "retemper.report",
    "retemper.gallery",
    "retemper.exceptions",
)


PYTHON = Path(importlib.import_module("retemper").__file__).parents[1]
#: Where each published version of these pages is; the first is the newest.
VERSIONS = Path(__file__).parents[1] / "versions.json"
#: Folders of pages that people wrote, below ``docs``.
FOLDERS = ("", "systems/", "derivations/")

MEMBERS = """   :members:
   :exclude-members: set_fit_request, set_predict_request, set_score_request, get_metadata_routing
"""
DIRECTIVES = {
    "Classes": ("autoclass", MEMBERS),
    "Functions": ("autofunction", ""),
    "Constants": ("autodata", "   :no-value:\n"),
}


def write(path: Path, text: str) -> None:
    """Replace a file only if its text changed, so that a second build reads nothing anew."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Item(NamedTuple):
    """A public object and the page that documents it."""

    name: str
    home: str
    value: object

    @property
    def target(self) -> str:
        return f"{self.home}.{self.name}"

    @property
    def page(self) -> str:
        """Name of the page's file; files must differ by more than capitals."""
        twin = self.kind == "Classes" and len(_spellings()[self.target.lower()]) > 1
        return f"{self.target}-class" if twin else self.target

    @property
    def kind(self) -> str:
        if isinstance(self.value, type):
            return "Classes"
        return "Functions" if callable(self.value) else "Constants"

    @property
    def sentence(self) -> str:
        """The first sentence of the docstring."""
        text = "" if self.kind == "Constants" else inspect.getdoc(self.value) or ""
        return " ".join(text.split("\n\n")[0].split())


@functools.cache
def public() -> dict[str, Item]:
    """Every public name, with its subpackage, and the object behind it at its first home."""
    found: dict[str, Item] = {}
    first: dict[int, Item] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            item = first.setdefault(id(value), Item(name, module_name, value))
            found[f"{module_name}.{name}"] = item
    return found


@functools.cache
def _spellings() -> dict[str, set[str]]:
    """Full names of objects that differ by capitals alone."""
    found: dict[str, set[str]] = {}
    for item in public().values():
        found.setdefault(item.target.lower(), set()).add(item.target)
    return found


@functools.cache
def _by_page() -> dict[str, Item]:
    return {item.page: item for item in public().values()}


@functools.cache
def _by_short_name() -> dict[str, set[str]]:
    targets: dict[str, set[str]] = {}
    for item in public().values():
        targets.setdefault(item.name, set()).add(item.target)
    return targets


def resolve(text: str, room: str | None = None) -> str | None:
    """Full name of the public object or subpackage that a piece of code in prose means, or None.

    A bare name is looked up in the page's own subpackage, ``room``, and then everywhere, where it
    must be the only one and must not look like a plain word.
    """
    match = re.match(r"([A-Za-z_][\w.]*)(\(|$)", text.strip())
    if match is None:
        return None
    parts, called = match[1].rstrip(".").split("."), bool(match[2])
    while parts:
        name = ".".join(parts)
        for full in (name, f"retemper.{name}", f"retemper.{room}.{name}"):
            if full in public() and not (full == f"retemper.{name}" and "." not in name and room):
                return public()[full].target
            if full in MODULES and name.startswith("retemper."):
                return full
        short = _by_short_name().get(name, set())
        plain = name.islower() and "_" not in name and not called
        if len(short) == 1 and (not plain or name == "advise"):
            return next(iter(short))
        parts.pop()  # an attribute or a method leads to its class
        called = True
        if parts and not parts[-1][:1].isupper() and parts[0] != "retemper":
            return None
    return None


def room_of(docname: str) -> str | None:
    """The subpackage that a page is about."""
    parts = docname.split("/")
    if parts[0] in ("systems", "derivations", "gallery") and len(parts) > 1:
        return parts[1]
    if f"retemper.{docname}" in MODULES:
        return docname
    if docname.startswith("generated/api/retemper."):
        return parts[2].split(".")[1]
    return None


def uses(docs: Path) -> dict[str, list[str]]:
    """Pages and examples that use each object, as links, by the object's full name."""
    found: dict[str, list[str]] = {}
    pages = sorted(p for folder in FOLDERS for p in docs.glob(f"{folder}*.md"))
    for path in pages:
        docname = path.relative_to(docs).with_suffix("").as_posix()
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
        names = {resolve(code, room_of(docname)) for code in re.findall(r"`([^`\n]+)`", text)}
        for name in names - {None}:
            found.setdefault(name, []).append(f":doc:`/{docname}`")
    for path in sorted((docs.parent / "examples").glob("*/plot_*.py")):
        docname = f"gallery/{path.parent.name}/{path.stem}"
        text = path.read_text()
        for module, names in re.findall(r"^from (\S+) import (\([^)]*\)|.*)", text, re.M):
            for name in re.findall(r"\w+", names):
                item = public().get(f"{module}.{name}")
                if item:
                    found.setdefault(item.target, []).append(f":doc:`/{docname}`")
    return found


@functools.cache
def _words() -> set[str]:
    from retemper._domains import SECTIONS

    words = {word.name for section in SECTIONS.values() for word in section}
    return words - {"fit"}  # in prose the method


def known_word(text: str) -> str | None:
    """The word of the vocabulary that a piece of code is, if it is one."""
    name = re.split(r"[=\[]", text.strip(), maxsplit=1)[0].rpartition(".")[2]
    return next((n for n in (name, name.removesuffix("_")) if n in _words()), None)


def place_in_repository(docname: str) -> str | None:
    """The file that a page is written in; made pages lead to what they are made from."""
    parts = docname.split("/")
    if docname == "generated/performance":
        return "docs/performance.json"
    if parts[:2] == ["generated", "api"]:
        item = _by_page().get(parts[-1])
        found = sys.modules.get(parts[-1]) if item is None else inspect.unwrap(item.value)
        try:
            file = Path(inspect.getsourcefile(found)).relative_to(PYTHON)
        except (TypeError, ValueError):  # data and lists
            return None
        return f"python/{file.as_posix()}"
    if parts[0] == "generated":
        return f"{parts[1].upper()}.md"
    if parts[0] == "tutorials" or (parts[0] == "gallery" and len(parts) == 3):
        folder = "tutorials" if parts[0] == "tutorials" else f"examples/{parts[1]}"
        return f"{folder}/{'GALLERY_HEADER.rst' if parts[-1] == 'index' else parts[-1] + '.py'}"
    if docname in ("search", "genindex", "py-modindex"):
        return None
    return f"docs/{docname}.md"


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [".. list-table::", "   :widths: 32 68", ""]
    for name, sentence in rows:
        lines += [f"   * - {name}", f"     - {sentence}"]
    return "\n".join(lines) + "\n"


def write_api(folder: Path) -> None:
    """One page for every subpackage, with a table, and one for every public object."""
    listed = "\n".join(f"   {name}" for name in MODULES)
    rows = []
    for name in MODULES:
        sentence = (inspect.getdoc(importlib.import_module(name)) or "").split("\n\n")[0]
        rows.append((f":py:mod:`{name}`", " ".join(sentence.split())))
    write(
        folder / "index.rst",
        "API reference\n=============\n\nEvery public name has a page, below its subpackage.\n\n"
        f"{_table(rows)}\n.. toctree::\n   :hidden:\n\n{listed}\n",
    )
    used, kept = uses(folder.parents[1]), {"index.rst"}
    for name in MODULES:
        items = {full: i for full, i in public().items() if full.rpartition(".")[0] == name}
        own = [i for full, i in items.items() if i.target == full]
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n"
        for kind in ("Functions", "Classes", "Constants"):
            rows = [(f":py:obj:`{i.name} <{i.target}>`", i.sentence) for i in own if i.kind == kind]
            if rows:
                text += f"\n{kind}\n{'-' * len(kind)}\n\n{_table(rows)}"
        elsewhere = [i for full, i in items.items() if i.target != full]
        if elsewhere:
            rows = [(f":py:obj:`{i.name} <{i.target}>`", i.sentence) for i in elsewhere]
            text += f"\nAlso here\n---------\n\n{_table(rows)}"
        if own:
            text += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   {i.page}\n" for i in own)
        write(folder / f"{name}.rst", text)
        kept.add(f"{name}.rst")
        for item in own:
            directive, options = DIRECTIVES[item.kind]
            text = (
                f"{item.name}\n{'=' * len(item.name)}\n\n.. {directive}:: {item.target}\n{options}"
            )
            if item.target in used:
                text += "\n.. rubric:: Used in\n\n" + ", ".join(used[item.target]) + "\n"
            write(folder / f"{item.page}.rst", text)
            kept.add(f"{item.page}.rst")
    for stale in folder.glob("*.rst"):
        if stale.name not in kept:
            stale.unlink()


def vocabulary() -> str:
    """The table of words, as the conventions page shows it."""
    from retemper._domains import SECTIONS

    lines = []
    for title, words in SECTIONS.items():
        lines += [
            f"### {title}",
            "",
            "| word | meaning | unit | values |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{w.name}` | {w.meaning} | {w.unit} | {w.domain or ''} |".replace("  |", " |")
            for w in words
        ]
        lines.append("")
    return "\n".join(lines)


def symbols() -> str:
    """The table of symbols: what formulas call a name, one system after the other."""
    from retemper._domains import SYMBOLS, find_word

    lines = []
    for system, found in SYMBOLS.items():
        lines += [
            f"### Symbols of {system}",
            "",
            "| code | symbol | meaning |",
            "| --- | --- | --- |",
        ]
        lines += [f"| `{n}` | ${s}$ | {find_word(n).meaning} |" for n, s in found.items()]
        lines.append("")
    return "\n".join(lines)


def words() -> str:
    """All words of the vocabulary in one alphabetical table."""
    from retemper._domains import SECTIONS

    found = {w.name: w.meaning for section in SECTIONS.values() for w in section}
    rows = [f"| `{name}` | {found[name]} |" for name in sorted(found, key=str.lower)]
    return "\n".join(["| name | meaning |", "| --- | --- |", *rows, ""])


def fill(page: Path, tables: dict[str, str]) -> None:
    """Write tables between the marks of their names in a page."""
    text = page.read_text()
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, tail = text[: text.index(begin)], text[text.index(end) :]
        text = f"{head}{begin}\n\n{table}\n{tail}"
    write(page, text)


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


_LEVELS = {"v2": "SSE4.2", "v3": "AVX2", "v4": "AVX-512", "base": "base"}


def _measured(case: dict) -> list[str]:
    """Time, rivals and bound of a case at one level."""
    rivals = "; ".join(
        f"{who.replace('_', ' ')} {ratio:.3g}×"
        for who, ratio in sorted(case.get("ratio", {}).items(), key=lambda r: r[1])
    )
    bound = case.get("bound")
    near = f"{bound['by']}, {100 * bound['fraction']:.0f} %" if bound else ""
    return [_time(case["seconds"]["retemper"][1]), rivals, near]


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table without its empty columns."""
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line[i] for i in shown) + " |" for line in lines]


#: Aims on AVX2: bench, parameters, rivals or "bound" or "seconds", the aim, what limits it.
_AIMS = [
    ("phases.Reconstruction", {}, ("numpy_fold_gram",), 2.0,
     "The rival makes the same moments and products by its BLAS. The share of our time that they "
     "need at the rate of a product is the bound."),
    ("diagonal.Flow", {}, ("scipy_bdf", "scipy_lsoda"), 2.0,
     "All three evaluate the same products with the rows at every step and factor matrices of "
     "side n. Most of the time goes into products of X with vectors, which read X once an "
     "evaluation, and into weighted Gram matrices; the bound counts one evaluation and one solve "
     "a step and a single Gram matrix and factor."),
    ("diagonal.Interpolate", {"n": "300"}, ("numpy_newton",), 3.0,
     "Both make one weighted Gram matrix and one factor a Newton step: at n = 300 these are the "
     "time, and the rival's BLAS makes them near the rate of a product."),
    ("linear.ReLUKernel", {}, "bound", 0.8,
     "The bound takes an arccosine for 40 operations at the rate of a product; its polynomial, "
     "its root and its branches run slower than that."),
    ("widenet.ErfKernel", {}, "bound", 0.8,
     "As above, with an arcsine."),
    ("perceptron.MessagePassing", {"dtype": "float64", "n_problems": "1"}, "bound", 0.9,
     "Every row is read twice, the second time from the second-level cache, and lines from "
     "there and from memory share one way to the first. Rows are asked for ahead."),
    ("perceptron.MessagePassing", {"dtype": "float32", "n_problems": "1"}, "bound", 0.75,
     "The bound is the rate at which numbers in double precision are read. Entries in single "
     "precision are made double in both passes, one vector in a cycle: a loop that only reads and "
     "adds them up (`read`) takes most of our time too."),
    ("diagonal.TheoryPoint", {"case": "finite source"}, "seconds", 0.010,
     "80 passes (`n_iter` of the solution) over a law of up to 264 parts, one quadrature each."),
    ("phases.Training", {}, ("sklearn",), 6.0,
     "Both make the same products, which are most of the time. The bound is the share of our time "
     "that they need at the rate of a large product in double precision, and these are of "
     "128 x 64 x 64."),
    ("widenet.LargeSource", {}, "seconds", 3.0,
     "LAPACK's tridiagonal form: half of its work reads the rest of the matrix once a column."),
]  # fmt: skip


#: What limits the points that miss the goal their bench names.
_LIMITS = {
    "perceptron.ChannelPoint": "Student noise has no closed average over the field: panels.",
    "perceptron.MistakenPoint": "Averages of what the data are over what the student takes them "
    "for: two integrals where neither is closed, and damped rounds where the student is far off.",
}  # fmt: skip


def _goals(benches: dict) -> tuple[list[list[str]], int]:
    """Cases that miss the goal of their bench, and how many meet it."""
    rows, n_met = [], 0
    for bench, cases in benches.items():
        for case in cases:
            goal = case.get("goal")
            if goal is None or goal["is_met"]:
                n_met += goal is not None
                continue
            where = ", ".join([f"`{bench}`", *(f"{k} = {v}" for k, v in case["params"].items())])
            found = _time(case["seconds"]["retemper"][1])
            rows.append([where, found, f"at most {_time(goal['seconds'])}", "", _LIMITS[bench]])
    return rows, n_met


def _aims(levels: dict) -> list[str]:
    """What was aimed at on AVX2, what was reached, and what limits it."""
    if "v3" not in levels:
        return []
    rows = []
    for bench, wanted, by, aim, limit in _AIMS:
        for case in levels["v3"]["benches"].get(bench, []):
            params = case["params"]
            if any(params.get(name) != value for name, value in wanted.items()):
                continue
            bound = case.get("bound")
            if by == "seconds":
                found = case["seconds"]["retemper"][1]
                cells, met = [_time(found), f"at most {_time(aim)}"], found <= aim
            elif by == "bound":
                found = bound["fraction"] if bound else 0.0
                cells, met = (
                    [f"{100 * found:.0f} %", f"{100 * aim:.0f} % of the bound"],
                    found >= aim,
                )
            else:
                found = min(case["ratio"][who] for who in by)
                cells, met = [f"{found:.3g}×", f"{aim:g}× {' and '.join(by)}"], found >= aim
            where = ", ".join([f"`{bench}`", *(f"{k} = {v}" for k, v in params.items())])
            near = f"{bound['by']}, {100 * bound['fraction']:.0f} %" if bound else ""
            rows.append([where, *cells, near, "reached" if met else limit])
    missed, n_met = _goals(levels["v3"]["benches"])
    rows += missed
    if not rows:
        return []
    others = f" {n_met} points of theory that meet the goal of their bench are left out."
    return [
        "",
        "## What was aimed at",
        "",
        "With AVX2 and one thread, from the numbers below. Where an aim was missed, the last "
        "column says what limits the call." + (others if n_met else ""),
        "",
        *_grid(["case", "found", "aim", "bound", "why not"], rows),
    ]


def _growth(growth: dict) -> list[str]:
    """How cost grows, system by system."""
    lines = [
        "",
        "## How cost grows",
        "",
        "Exponents are fitted to the times at a few sizes of one axis, the others fixed "
        "(`python bench/growth.py`). The theory's exponent holds where its term is the largest: "
        "below that the fitted one is smaller. Memory is that of the largest size, over the data.",
    ]
    head = ["call", "axis", "time", "exponent", "theory", "memory", "exponent", "theory", "because"]
    for system, calls in growth.items():
        rows = []
        for call in calls:
            sizes, seconds = call["sizes"], call["seconds"]
            found = call["memory_exponent"]
            rows.append([
                call["call"],
                f"{call['axis']} = {sizes[0]} to {sizes[-1]}",
                f"{_time(seconds[0])} to {_time(seconds[-1])}",
                f"{call['time_exponent']:.2f}",
                f"{call['time_theory']:g}",
                f"{call['peak_bytes'] / 1e6:.1f} MB",
                "" if found is None else f"{found:.2f}",
                "" if found is None else f"{call['memory_theory']:g}",
                call["why"],
            ])  # fmt: skip
        lines += ["", f"### {system}", "", *_grid(head, rows)]
    return lines


def write_performance(record: Path, page: Path) -> None:
    found = json.loads(record.read_text())
    levels, versions = found["levels"], found["versions"]
    rates = "; ".join(
        f"{_LEVELS[level]} {one['rates']['flops_per_s'] / 1e9:.0f} Gflop/s and "
        f"{one['rates']['bytes_per_s'] / 1e9:.0f} GB/s"
        for level, one in levels.items()
    )
    lines = [
        "# Performance",
        "",
        f"Measured with `{found['command']}` on {versions['threads'].split(' of ')[-1]}. One "
        f"thread multiplies matrices and copies at these rates: {rates}. NumPy "
        f"{versions['numpy']}, SciPy {versions['scipy']}, scikit-learn "
        f"{versions['scikit-learn']}, one BLAS thread.",
        "",
        "Every rival does the same task in turn with ours in the same run, at the same instruction "
        "set; a ratio above one means that ours is faster. *Bound* names what limits the task on "
        "this machine, and how near we are to that limit. Memory is the growth of the peak over "
        "the data. *Flops* are those of a matrix product, *bytes* are read or written at the rate "
        "of a copy, *reads* at that of a dot product. "
        "Where a round of all takes more than half a second, it is made once after a warm-up.",
    ]
    lines += _aims(levels)
    head = ["case"]
    for level in levels:
        head += [_LEVELS[level], "rivals", "bound"]
    head.append("memory")
    system = None
    for name, cases in next(iter(levels.values()))["benches"].items():
        file, bench = name.split(".")
        if file != system:
            system = file
            lines += ["", f"## {file}"]
        lines += ["", f"### {bench}", "", found.get("about", {}).get(name, ""), ""]
        rows = []
        for i, case in enumerate(cases):
            label = ", ".join(f"{k} = {v}" for k, v in case["params"].items()) or "—"
            cells = [label]
            for one in levels.values():
                cells += _measured(one["benches"][name][i])
            peak = case.get("peak_bytes", {})
            cells.append("; ".join(f"{w} {v / 1e6:.0f} MB" for w, v in peak.items()))
            rows.append(cells)
        lines += _grid(head, rows)
    if "growth" in found:
        lines += _growth(found["growth"])
    write(page, "\n".join(lines) + "\n")


#: Lines of the README: what is done, bench, parameters, rival, what the rival is.
_CHOSEN = [
    ("advice on 2 classes, 50 rows of 768 features, one source", "advisor.AdviseClasses",
     {"n_d_classes_sources": "50 768 2 1"}, "sklearn_one_model",
     "one `LogisticRegressionCV`, without sources"),
    ("path of 2 classes with leave-one-out, 50 rows of 768", "linear.LogisticPath",
     {"n_d_classes": "50 768 2"}, "sklearn_5_folds", "`LogisticRegressionCV`, 5 folds"),
    ("report on 5 sources, 1000 rows of 4000", "linear.TransferReport",
     {"n": "1000"}, "refit_5_folds", "5 of the 1000 refits that it replaces"),
    ("effective ridge at 10⁴ points, 1000 features", "linear.EffectiveRidge",
     {"d": "1000"}, "scipy_brentq", "SciPy `brentq`"),
    ("end of the diagonal network's flow, 100 rows of 1000", "diagonal.Interpolate",
     {"n": "100", "balance": "0.0"}, "numpy_newton", "NumPy, the same steps"),
    ("coupling path, 800 source and 100 target rows", "widenet.GammaPath", {}, "numpy", "NumPy"),
    ("ten passes of message passing, 2000 features", "perceptron.MessagePassing",
     {"dtype": "float64", "n_problems": "1"}, "numpy", "NumPy"),
    ("reconstruction score, 10 000 rows, 512 units, 3072 inputs", "phases.Reconstruction",
     {"n, h, p": "(10000, 512, 3072)"}, "numpy_fold_gram", "NumPy, the same products"),
    ("ReLU tangent kernel, 2000 rows of 256", "linear.ReLUKernel", {"d": "256"}, "numpy", "NumPy"),
]  # fmt: skip


def readme_speed(record: Path) -> str:
    """The README's table of speed, from the record of the page."""
    found = json.loads(record.read_text())
    levels = found["levels"]
    lines = [
        f"`{found['command']}`, one thread; every rival in the same run, at the same instruction "
        "set:",
        "",
    ]
    rows = []
    for task, bench, wanted, rival, what in _CHOSEN:
        cells = [task]
        for one in levels.values():
            case = next(
                case
                for case in one["benches"][bench]
                if all(case["params"][name] == value for name, value in wanted.items())
            )
            cells += [_time(case["seconds"]["retemper"][1]), f"{case['ratio'][rival]:.3g}×"]
        rows.append([*cells, what])
    head = ["task"]
    for level in levels:
        head += [_LEVELS[level], "rival"]
    return "\n".join([*lines, *_grid([*head, "which"], rows)]) + "\n"


def make(app) -> None:
    docs = Path(app.srcdir)
    write_api(docs / "generated" / "api")
    write(docs / "generated" / "words.md", words())
    write_performance(docs / "performance.json", docs / "generated" / "performance.md")
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = (docs.parent / f"{name}.md").read_text()
        text = text.replace("](docs/", "](../").replace("](CHANGELOG.md)", "](changelog.md)")
        write(docs / "generated" / f"{name.lower()}.md", text)


def setup(app):
    app.connect("builder-inited", make, priority=100)  # before autosummary and the gallery
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    DOCS = Path(__file__).parents[1]
    fill(DOCS / "conventions.md", {"vocabulary": vocabulary(), "symbols": symbols()})
    fill(DOCS.parent / "README.md", {"speed": readme_speed(DOCS / "performance.json")})
