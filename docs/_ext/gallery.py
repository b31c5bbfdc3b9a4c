"""What the gallery needs to know: where scripts are, and how a figure of ours is taken."""

from __future__ import annotations

from pathlib import Path

from sphinx_gallery.scrapers import figure_rst


class FigureScraper:
    """Saves the matplotlib figures that a block of a script has bound to a name."""

    def __repr__(self) -> str:
        return "FigureScraper()"  # part of the configuration: must not change between builds

    def __call__(self, block, block_vars, gallery_conf):
        from matplotlib.figure import Figure

        names, scope = [], block_vars["example_globals"]
        for key in [k for k, v in scope.items() if isinstance(v, Figure)]:
            path = Path(next(block_vars["image_path_iterator"]))
            scope.pop(key).savefig(path, dpi=110)
            names.append(str(path))
        return figure_rst(names, gallery_conf["src_dir"])


SYSTEMS = ("advisor", "linear", "diagonal", "perceptron", "widenet", "phases")

settings = {
    "examples_dirs": [f"../examples/{s}" for s in SYSTEMS],
    "gallery_dirs": [f"gallery/{s}" for s in SYSTEMS],
    "image_scrapers": (FigureScraper(), "matplotlib"),
    "filename_pattern": r"plot_",
    "ignore_pattern": r"torch_",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
    "remove_config_comments": True,
}
