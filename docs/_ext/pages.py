"""Pages that are made at build: the API reference and the table of measured speed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

MODULES = (
    "retemper",
    "retemper.advisor",
    "retemper.linear",
    "retemper.diagonal",
    "retemper.perceptron",
    "retemper.widenet",
    "retemper.phases",
    "retemper.phases.torch",
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


MEMBERS = """   :members:
   :exclude-members: set_fit_request, set_predict_request, set_score_request, get_metadata_routing
"""


def write(path: Path, text: str) -> None:
    """Replace a file only if its text changed, so that a second build reads nothing anew."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_api(folder: Path) -> None:
    listed = "\n".join(f"   {name}" for name in MODULES)
    write(
        folder / "index.rst",
        "API reference\n=============\n\nEvery public name, by subpackage.\n\n"
        f".. toctree::\n   :maxdepth: 2\n\n{listed}\n",
    )
    documented = {}
    for name in MODULES:
        module = importlib.import_module(name)
        own = [n for n in module.__all__ if not n.startswith("_")]
        if name == "retemper":  # its subpackages have their own pages
            own = [n for n in own if not hasattr(getattr(module, n), "__path__")]
            own = [n for n in own if type(getattr(module, n)).__name__ != "module"]
        kinds = {"Classes": [], "Functions": [], "Constants": []}
        elsewhere = []
        for item in sorted(own):
            value = getattr(module, item)
            if id(value) in documented:
                elsewhere.append(f"- :py:obj:`{documented[id(value)]}`")
            elif isinstance(value, type):
                kinds["Classes"].append((item, "autoclass"))
            elif callable(value):
                kinds["Functions"].append((item, "autofunction"))
            else:
                kinds["Constants"].append((item, "autodata"))
            documented.setdefault(id(value), f"{name}.{item}")
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n"
        for heading, items in kinds.items():
            if not items:
                continue
            text += f"\n{heading}\n{'-' * len(heading)}\n"
            for item, directive in items:
                options = {"autoclass": MEMBERS, "autodata": "   :no-value:\n"}.get(directive, "")
                text += f"\n{item}\n{'^' * len(item)}\n\n.. {directive}:: {name}.{item}\n{options}"
        if elsewhere:
            text += "\nAlso here\n---------\n\n" + "\n".join(elsewhere) + "\n"
        write(folder / f"{name}.rst", text)


BEGIN, END = "<!-- vocabulary: begin -->", "<!-- vocabulary: end -->"


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


def write_vocabulary(page: Path) -> None:
    """Replace the table on the conventions page."""
    text = page.read_text()
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    write(page, f"{head}{BEGIN}\n\n{vocabulary()}\n{tail}")


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def write_performance(record: Path, page: Path) -> None:
    found = json.loads(record.read_text())
    rates, versions = found["rates"], found["versions"]
    lines = [
        "# Performance",
        "",
        f"Measured with `{found['command']}` on {versions['threads'].split(' of ')[-1]}, level "
        f"{versions['level'].split()[0]}: one thread multiplies matrices at "
        f"{rates['flops_per_s'] / 1e9:.0f} Gflop/s and copies "
        f"{rates['bytes_per_s'] / 1e9:.0f} GB/s. NumPy {versions['numpy']}, SciPy "
        f"{versions['scipy']}, scikit-learn {versions['scikit-learn']}, one BLAS thread.",
        "",
        "Every rival does the same task in turn with ours in the same run; a ratio above one means "
        "that ours is faster. *Bound* names what limits the task on this machine, and how near we "
        "are to that limit. Memory is the growth of the peak over the data.",
    ]
    system = None
    for name, cases in found["benches"].items():
        file, bench = name.split(".")
        if file != system:
            system = file
            lines += ["", f"## {file}"]
        lines += ["", f"### {bench}", "", found.get("about", {}).get(name, ""), ""]
        lines += ["| case | retemper | rivals | bound | memory |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for case in cases:
            label = ", ".join(f"{k} = {v}" for k, v in case["params"].items()) or "—"
            ours = _time(case["seconds"]["retemper"][1])
            rivals = "; ".join(
                f"{who.replace('_', ' ')} {ratio:.3g}×"
                for who, ratio in sorted(case.get("ratio", {}).items(), key=lambda r: r[1])
            )
            bound = case.get("bound")
            near = f"{bound['by']}, {100 * bound['fraction']:.0f} %" if bound else ""
            peak = case.get("peak_bytes", {})
            memory = "; ".join(f"{w} {v / 1e6:.0f} MB" for w, v in peak.items())
            lines.append(f"| {label} | {ours} | {rivals} | {near} | {memory} |")
    write(page, "\n".join(lines) + "\n")


def make(app) -> None:
    docs = Path(app.srcdir)
    write_api(docs / "generated" / "api")
    write_performance(docs / "performance.json", docs / "generated" / "performance.md")
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = (docs.parent / f"{name}.md").read_text()
        text = text.replace("](docs/", "](../").replace("](CHANGELOG.md)", "](changelog.md)")
        write(docs / "generated" / f"{name.lower()}.md", text)


def setup(app):
    app.connect("builder-inited", make, priority=100)  # before autosummary and the gallery
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    write_vocabulary(Path(__file__).parents[1] / "conventions.md")
