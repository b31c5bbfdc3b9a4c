"""The ``retemper`` command; ``python -m retemper`` is the same."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retemper._extras import load, require

if TYPE_CHECKING:
    from retemper._results import Sweep

__all__ = ["main"]


def _number(kind: Callable[[str], Any], low: float, high: float = float("inf")) -> Any:
    """A type of arguments: a number between two ends."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not low <= value <= high:
            domain = f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
            raise argparse.ArgumentTypeError(f"must be {domain}, got {text}")
        return value

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="retemper", description="Theory of pre-training and fine-tuning that people can run."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    def seed(sub: Any, text: str) -> None:
        sub.add_argument("--random-state", type=_number(int, 0), default=0, help=text)

    def as_json(sub: Any) -> None:
        sub.add_argument("--json", dest="as_json", action="store_true",
                         help="print JSON for programs")  # fmt: skip

    demo = command(
        "demo", _demo, "Judge source models on digits, check the verdicts, write a report."
    )
    demo.add_argument("--out", type=Path, default=Path("retemper-demo"),
                      help="folder for the figures and the report")  # fmt: skip
    demo.add_argument("--features", choices=("pixels", "random"), default="random",
                      help="64 pixels, or 300 random ReLU features")  # fmt: skip
    demo.add_argument("--labels", type=_number(int, 10, 500), default=60,
                      help="labelled target samples")  # fmt: skip
    demo.add_argument("--seeds", type=_number(int, 2, 500), default=40,
                      help="repeats with fresh samples")  # fmt: skip
    seed(demo, "seed of everything")

    advise = command("advise", _advise, "Should I start from this source? On your own tables.")
    advise.add_argument("tables", nargs="+", type=Path, metavar="TABLE.csv",
                        help="one or more source tables, the target table last; with a line of "
                        "column names")  # fmt: skip
    advise.add_argument("--label", required=True, help="column of the labels, in every table")
    advise.add_argument("--task", choices=("auto", "regression", "classification"),
                        default="auto", help="kind of labels")  # fmt: skip
    advise.add_argument("--budget", type=_number(int, 1),
                        help="predict the error with this many labels")  # fmt: skip
    advise.add_argument("--target-error", type=_number(float, 0.0),
                        help="predict the number of labels for this error")  # fmt: skip
    advise.add_argument("--systems", help="systems that also speak: all, or names with commas")
    advise.add_argument("--confidence", type=_number(float, 0.0, 1.0), default=0.95,
                        help="level of intervals and verdicts")  # fmt: skip
    advise.add_argument("--out", type=Path, help="also write the advice as an HTML page")
    seed(advise, "seed of the splits")
    as_json(advise)

    figure = command("figure", _figure, "Run the script of a figure; write PNG and SVG.")
    figure.add_argument("name", nargs="?", help="a name that --list shows")
    figure.add_argument("--list", dest="show_list", action="store_true", help="list the figures")
    figure.add_argument("--out", type=Path, default=Path(), help="folder for the picture files")
    as_json(figure)

    compare = command(
        "compare", _compare, "Hold theory against simulation: deviations in standard errors."
    )
    compare.add_argument("system", nargs="?", help="one system; if left out, all five")
    compare.add_argument("--picture", type=Path,
                         help="also draw the deviations to this picture file")  # fmt: skip
    seed(compare, "seed of every case")
    as_json(compare)

    sweep = command("sweep", _sweep, "Run a sweep, or go on with one that was stopped.")
    sweep.add_argument("config", type=Path, help="TOML file of the sweep")
    sweep.add_argument("--out", type=Path, help="folder of the sweep; else what the file says")
    sweep.add_argument("--jobs", type=_number(int, 1),
                       help="worker processes; else one per processor")  # fmt: skip
    sweep.add_argument("--scheduler",
                       help="Dask scheduler to send the points to, tcp://host:8786")  # fmt: skip
    as_json(sweep)

    info = command("info", _info, "Print versions, instruction set, OpenMP runtime and threads.")
    as_json(info)
    return parser


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str or None, default=None
        Command-line words; those of the process if None.

    Raises
    ------
    SystemExit
        Always; 0 after success, 1 when an extra is missing or points of a sweep failed, 2 for a
        wrong argument, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        sys.exit(0)
    try:
        sys.exit(options.run(options))
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("retemper"):
            raise
        print(f"retemper: {error}", file=sys.stderr)
        sys.exit(1)
    except (ValueError, TypeError, OSError) as error:
        print(f"retemper: {error}", file=sys.stderr)
        sys.exit(2)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _demo(options: argparse.Namespace) -> int:
    require("matplotlib", "jinja2", "rich", purpose="retemper demo")
    from retemper.gallery import run_demo

    run_demo(
        options.out,
        features=options.features,
        n_labels=options.labels,
        n_seeds=options.seeds,
        random_state=options.random_state,
    )
    return 0


def _figure(options: argparse.Namespace) -> int:
    from retemper.gallery import figure_scripts, save_figure

    if options.show_list or options.name is None:
        scripts = figure_scripts()
        if options.as_json:
            _print_json({key: script.title for key, script in scripts.items()})
            return 0
        width = max(map(len, scripts))
        for key, script in scripts.items():
            print(f"{key:<{width}}  {script.title}")
        return 0
    require("matplotlib", purpose="retemper figure")
    paths = [str(path) for path in save_figure(options.name, options.out)]
    if options.as_json:
        _print_json(paths)
    else:
        print("\n".join(paths))
    return 0


def _info(options: argparse.Namespace) -> int:
    from retemper._versions import show_versions, versions

    if options.as_json:
        _print_json(versions())
    else:
        show_versions()
    return 0


@contextlib.contextmanager
def _progress(title: str, unit: str) -> Iterator[Any]:
    """A callback (done, total) that draws a bar on the error stream of a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ModuleNotFoundError:  # the work itself does not need it
        yield lambda done, total: print(f"{title}: {done} of {total} {unit}", file=sys.stderr)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _advise(options: argparse.Namespace) -> int:
    tables, out = options.tables, options.out
    require("pandas", purpose="retemper advise")
    if out is not None:
        require("jinja2", "matplotlib", purpose="retemper advise --out")
    from retemper.advisor import advise
    from retemper.datasets import read_table

    if len(tables) < 2:
        raise ValueError(f"name at least one source and the target, got {tables[0]} alone")
    if out is not None and not out.resolve().parent.is_dir():
        raise ValueError(f"--out: there is no folder {out.parent}")
    sources, files = {}, tables[:-1]
    names = [
        path.stem if len({p.stem for p in files}) == len(files) else str(path) for path in files
    ]
    for name, path in zip(names, files, strict=True):
        if name in sources:
            raise ValueError(f"{path} is named twice")
        sources[name] = read_table(path, options.label)
    systems = options.systems
    if systems not in (None, "all"):
        systems = systems.split(",")
    X, y = read_table(tables[-1], options.label)
    with _progress("cross-validation", "splits") as progress:
        advice = advise(
            X,
            y,
            sources=sources,
            progress=progress,
            task=options.task,
            budget=options.budget,
            target_error=options.target_error,
            systems=systems,
            confidence=options.confidence,
            random_state=options.random_state,
        )
    if out is not None:
        advice.to_html(out)
    if options.as_json:
        _print_json(advice.as_dict())
        return 0
    print(advice)
    if out is not None:
        print(f"report: {out}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    if options.picture is not None:
        require("matplotlib", purpose="retemper compare --picture")
    from retemper.agreement import compare, standard_cases

    with _progress("theory against simulation", "cases") as progress:
        found = compare(
            standard_cases(options.system), random_state=options.random_state, progress=progress
        )
    if options.picture is not None:
        load("matplotlib", "--picture").use("Agg")
        found.plot().figure_.savefig(options.picture, dpi=150)
    if options.as_json:
        _print_json(found.as_dict())
    else:
        print(found)
    return 0


def _sweep(options: argparse.Namespace) -> int:
    require("rich", "xarray", purpose="retemper sweep")
    path, as_json = options.config, options.as_json
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from retemper._threads import n_processors
    from retemper.sweep_config import read_config
    from retemper.sweeps import RESULT
    from retemper.sweeps import sweep as run

    config = read_config(path)
    folder = config.out if options.out is None else options.out
    n_jobs = options.jobs or config.n_jobs or n_processors()
    console = Console(stderr=as_json)  # the output is for programs then
    start = time.monotonic()
    counts: list[int] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("points"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    try:
        with (
            _engine(options.scheduler or config.scheduler),
            Progress(*columns, console=console) as bar,
        ):
            task = bar.add_task(path.name, total=None)

            def show(done: int, total: int) -> None:
                counts.append(done)
                bar.update(task, completed=done, total=total)

            found = run(
                config.fn, config.grid, config.seeds,
                out=folder, n_jobs=n_jobs, progress=show, on_failure="ignore",
            )  # fmt: skip
    except KeyboardInterrupt:
        console.print(f"Stopped. What is finished is in {folder}; run the same command to go on.")
        return 130
    except RuntimeError as error:
        console.print(f"[red]retemper: {error}", highlight=False)
        return 1
    total, failed = counts[-1], len(found.failures)
    if as_json:
        _print_json(
            {
                "result": str(folder / RESULT),
                "points": total,
                "already_there": counts[0],
                "failures": [
                    {"params": f["params"], "seed": f["seed"], "error": str(f["error"])}
                    for f in found.failures
                ],
            }
        )
        return 1 if failed else 0
    console.print(_sweep_table(found))
    console.print(
        f"{total} points: {total - counts[0]} computed in {time.monotonic() - start:.1f} s, "
        f"{counts[0]} already there, {failed} failed.",
        highlight=False,
    )
    for failure in found.failures[:10]:
        seed = "" if failure["seed"] is None else f", seed {failure['seed']}"
        console.print(f"  {failure['params']}{seed}: {failure['error']}", style="red", markup=False)
    if failed > 10:
        console.print(f"  and {failed - 10} more, in {folder / 'points'}", style="red")
    console.print(f"Result: {folder / RESULT}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


@contextlib.contextmanager
def _engine(scheduler: str | None) -> Iterator[None]:
    import joblib

    if scheduler is None:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            yield
    else:
        import pydoc

        Client = load("distributed", "--scheduler").Client

        from retemper import __version__

        with Client(scheduler, timeout=10) as client, joblib.parallel_config("dask", client=client):
            # points sent to a worker without retemper would never come back
            for worker, version in client.run(pydoc.locate, "retemper.__version__").items():
                if version != __version__:
                    raise ValueError(f"{worker} has retemper {version}, here it is {__version__}")
            yield


def _sweep_table(found: Sweep) -> Any:
    import numpy as np
    from rich.table import Table

    axes = ", ".join(f"{name} ({len(values)})" for name, values in found.axes.items())
    table = Table(title=f"{found.title} over {axes}")
    for heading in ("quantity", "least", "median", "largest", "missing"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    for name, values in found.values.items():
        if values.dtype.kind == "U":
            shown = [f"{text} x {n}" for text, n in Counter(values.flat).most_common(3) if text]
            table.add_row(name, *(shown + [""] * 3)[:3], str(int((values == "").sum())))
            continue
        known = values[np.isfinite(values)].astype(float)
        numbers = (known.min(), np.median(known), known.max()) if known.size else ()
        table.add_row(name, *(f"{x:.5g}" for x in numbers), str(values.size - known.size))
    return table


if __name__ == "__main__":
    main()
