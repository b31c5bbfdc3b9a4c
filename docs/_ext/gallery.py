"""What the gallery needs to know: where scripts are, how they look, which figures to take."""

from __future__ import annotations

import os
import sys
import weakref
from importlib.util import find_spec
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

from retemper.gallery import figure_scripts, style

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.gallery.layout import faults

SYSTEMS = ("advisor", "linear", "diagonal", "perceptron", "widenet", "phases", "networks")
#: Figures that pyplot showed: it forgets them, and scripts may still have a name for them.
SHOWN: weakref.WeakSet = weakref.WeakSet()


def judge(figure, script: str) -> None:
    """Refuse a figure that its reader would trip over, as the tests do with a few of them.

    The pages of tutorials show figures of the displays, which name their own axes.
    """
    if Path(script).parent.name not in SYSTEMS:
        return
    canvas = figure.canvas  # the judge takes one of its own
    found = faults(figure)
    figure.set_canvas(canvas)
    if found:
        raise ValueError(f"{Path(script).name}: " + "; ".join(found))


class FigureScraper:
    """Saves figures that pyplot does not know, bound to a name by a block of a script."""

    def __repr__(self) -> str:
        return "FigureScraper()"  # part of the configuration: must not change between builds

    def __call__(self, block, block_vars, gallery_conf):
        import matplotlib.pyplot as plt
        from matplotlib.figure import Figure

        scope, names = block_vars["example_globals"], []
        for key in [k for k, v in scope.items() if isinstance(v, Figure)]:
            if scope[key].canvas.manager is not None:
                SHOWN.add(scope[key])
            elif scope[key] not in SHOWN:
                judge(scope[key], block_vars["src_file"])
                names.append(str(Path(next(block_vars["image_path_iterator"]))))
                scope.pop(key).savefig(names[-1], dpi=110)
        for number in plt.get_fignums():
            judge(plt.figure(number), block_vars["src_file"])
        known = matplotlib_scraper(block, block_vars, gallery_conf)
        return figure_rst(names, gallery_conf["src_dir"]) + known


def set_style(gallery_conf, fname):
    """Before each script: the look of the gallery."""
    import matplotlib as mpl

    mpl.rcParams.update(style())


def not_run() -> str:
    """Names of scripts that are shown and not run: they need torch, and it is not installed."""
    if find_spec("torch"):
        return "$^"
    tutorials = (Path(__file__).parents[2] / "tutorials").glob("plot_*.py")
    scripts = [*tutorials, *(s.path for s in figure_scripts().values())]
    titles = {path.stem: path.read_text("utf-8").split("\n", 2)[1] for path in scripts}
    return "|".join(stem for stem, title in titles.items() if "needs torch" in title)


settings = {
    "examples_dirs": ["../tutorials", *(f"../examples/{s}" for s in SYSTEMS)],
    "gallery_dirs": ["tutorials", *(f"gallery/{s}" for s in SYSTEMS)],
    "image_scrapers": (FigureScraper(),),
    "reset_modules": ("matplotlib", "gallery.set_style"),
    "filename_pattern": rf"/(?!{not_run()})plot_",
    "ignore_pattern": r"torch_",
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("retemper",),
    "parallel": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
    "remove_config_comments": True,
}
