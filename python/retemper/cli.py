"""The ``retemper`` command; ``python -m retemper`` is the same."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

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


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help with the defaults that are values, and examples as they are written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


_EXAMPLES = """examples:
  retemper advise elsewhere.csv mine.csv --label price --out advice.html
  retemper advise theirs.skops visits.parquet --label ill --groups patient --drop name
"""


def _fitted(text: str) -> str:
    """Sentences in the width of a terminal; files, and rows of tables, get them as they are."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns

    def fit(line: str) -> str:
        if len(line) <= width or re.search(r"\S {2,}\S", line):
            return line
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        return textwrap.fill(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    return "\n".join(map(fit, text.split("\n")))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name what was probably meant."""

    def error(self, message: str) -> NoReturn:
        given = sys.argv[1:] if self.given is None else self.given
        known, commands = set(self._option_string_actions), set()
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                commands |= set(action.choices)
                for name in commands & set(given):
                    known |= set(action.choices[name]._option_string_actions)
        options = [word.split("=")[0] for word in given if word.startswith("--")]
        wrong = [w for w in options if not any(option.startswith(w) for option in known)]
        choice = re.search(r"invalid choice: '([^']+)'", message)
        near = [m for w in wrong for m in get_close_matches(w, known, 1)]
        if choice and not near:
            near = get_close_matches(choice[1], commands, 1)
        meant = f"; did you mean {near[0]}?" if near else f"; see {self.prog} --help"
        self.exit(2, f"{self.prog}: {message}{meant}\n")

    #: Words to parse; None for those of the process.
    given: list[str] | None = None


#: Options that may be given for every table.
_EACH = "; once for all tables, or once for each in order"
_ADVISE = "Should I start from this source? On your own tables and models."


def _advise_options(sub: Any, seed: Any, as_json: Any) -> None:
    def add(*names: str, **settings: Any) -> None:
        sub.add_argument(*names, **settings)

    add("tables", nargs="+", type=Path, metavar="FILE",
        help="one or more sources, the target table last. Tables: .csv, .tsv, .csv.gz, .parquet, "
        ".xlsx, with a line of column names. Models: .npz, .safetensors, .skops, boosters as "
        ".json, .ubj or .txt, pickles with --allow-pickle")  # fmt: skip
    add("--label", required=True, metavar="COL", help="column of the labels, in every table")
    add("--task", choices=("auto", "regression", "classification"), default="auto",
        help="kind of labels")  # fmt: skip
    add("--scoring", metavar="NAME",
        help="what decides: squared, absolute, log-loss, accuracy, balanced-accuracy, or a scorer "
        "of scikit-learn such as roc_auc or average_precision")  # fmt: skip
    add("--groups", metavar="COL",
        help="column of what rows belong to, as patients: the model is for new ones")  # fmt: skip
    add("--time", metavar="COL",
        help="column of dates or numbers: later rows judge models of earlier ones")  # fmt: skip
    add("--weights", metavar="COL", help="column of the weights of the rows")
    add("--class-weight", choices=("balanced",),
        help="balanced: all classes count the same in sum, however rare")  # fmt: skip
    add("--id", metavar="COL", help="column that names rows, which is no feature")
    add("--drop", metavar="COL", nargs="+", action="extend", default=[],
        help="columns to leave out")  # fmt: skip
    add("--encoding", action="append",
        help=f"of tables of text, for instance latin-1{_EACH} (default: utf-8)")  # fmt: skip
    add("--decimal", action="append", choices=(".", ","), metavar="SIGN",
        help=f"sign before decimals{_EACH} (default: .)")  # fmt: skip
    add("--sep", action="append",
        help=f"between fields: a sign, or tab{_EACH}; else seen from the first line")  # fmt: skip
    add("--budget", type=_number(int, 1), help="predict the error with this many labels")
    add("--target-error", type=_number(float, 0.0),
        help="predict the number of labels for this mean squared error, or share of wrong "
        "classes")  # fmt: skip
    add("--systems", help="systems that also speak: all, or names with commas")
    add("--confidence", type=_number(float, 0.0, 1.0), default=0.95,
        help="level of intervals and verdicts")  # fmt: skip
    add("--allow-pickle", action="store_true",
        help="read sources that are pickles (.joblib, .pkl): this runs whatever code is in them, "
        "so only for files of your own")  # fmt: skip
    add("--save-model", type=Path, metavar="PATH",
        help="write the advised model: .npz (numbers of a linear model), .skops or "
        ".joblib")  # fmt: skip
    add("--out", type=Path, metavar="PATH", help="also write the advice as an HTML page")
    seed(sub, "seed of the splits")
    as_json(sub)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="retemper",
        description="Theory of pre-training and fine-tuning that people can run.",
        epilog=f"{_EXAMPLES}\nretemper COMMAND --help says what a command takes.",
        formatter_class=_Help,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=_EXAMPLES if name == "advise" else None,
            formatter_class=_Help,
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

    _advise_options(command("advise", _advise, _ADVISE), seed, as_json)

    figure = command("figure", _figure, "Run the script of a figure; write PNG and SVG.")
    figure.add_argument("name", nargs="?", help="a name that --list shows")
    figure.add_argument("--list", dest="show_list", action="store_true", help="list the figures")
    figure.add_argument("--out", type=Path, default=Path(), help="folder for the picture files")
    figure.add_argument(
        "--data", type=Path, help="folder of images, for the figures that need them"
    )
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

    See Also
    --------
    retemper.sweep_config.read_config, retemper.gallery.run_demo

    Examples
    --------
    >>> from retemper.cli import main
    >>> try:
    ...     main(["figure", "--list"])  # doctest: +ELLIPSIS
    ... except SystemExit as end:
    ...     print(end.code)
    advisor-advice...
    0
    """
    parser = _parser()
    _Parser.given = arguments
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
        said = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            said = f"{error.filename}: {error.strerror}"
        print(f"retemper: {said}", file=sys.stderr)
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
    paths = [str(path) for path in save_figure(options.name, options.out, data=options.data)]
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
    files, out, saved = options.tables, options.out, options.save_model
    require("pandas", purpose="retemper advise")
    if out is not None:
        require("jinja2", "matplotlib", purpose="retemper advise --out")
    from retemper.advisor import advise
    from retemper.datasets import write_model

    if len(files) < 2:
        raise ValueError(f"name at least one source and the target, got {files[0]} alone")
    for option, path in (("--out", out), ("--save-model", saved)):
        if path is not None and not path.resolve().parent.is_dir():
            raise ValueError(f"{option}: there is no folder {path.parent}")
    if saved is not None and saved.suffix.lower() not in (".npz", ".skops", ".joblib"):
        raise ValueError(f"--save-model must end in .npz, .skops or .joblib, got {saved.name}")
    target, sources = _read_files(options)
    if saved is not None and saved.suffix.lower() == ".npz" and not target.is_numbers:
        raise ValueError(
            f"--save-model: {saved.name} can hold a linear model of numbers alone, and "
            f"{target.path} has text or gaps: write .joblib or .skops"
        )
    systems = options.systems
    if systems not in (None, "all"):
        systems = systems.split(",")
    advice = advise(
        target.X,
        target.y,
        sources=sources,
        task=options.task,
        groups=target.groups,
        sample_weight=target.weights,
        class_weight=options.class_weight,
        cv=target.splits,
        scoring=options.scoring,
        budget=options.budget,
        target_error=options.target_error,
        systems=systems,
        confidence=options.confidence,
        random_state=options.random_state,
    )
    words = sys.argv[1:] if _Parser.given is None else _Parser.given
    advice.settings["provenance"] = {
        "target": str(files[-1]),
        "sources": [str(path) for path in files[:-1]],
        "label": options.label,
        "command": shlex.join(["retemper", *words]),
    }
    if saved is not None:
        advice.settings["provenance"]["model"] = str(saved)
    if options.as_json:
        _print_json(advice.as_dict())
    else:
        print(_fitted(str(advice)), flush=True)
    said = []
    if saved is not None:  # what was found is printed even if this fails
        write_model(saved, advice.estimator_)
        said.append(f"model: {saved}")
    if out is not None:
        advice.to_html(out)
        said.append(f"report: {out}")
    if said and not options.as_json:
        print("\n".join(said))
    return 0


def _for_each(given: Any, default: Any, tables: list[Path], option: str) -> list[Any]:
    """The value of an option for every table."""
    values = [default] if given is None else given
    if len(values) not in (1, len(tables)):
        raise ValueError(
            f"{option} must be given once for all tables, or once for each of {len(tables)}, got "
            f"{len(values)}"
        )
    return values * len(tables) if len(values) == 1 else values


def _read_files(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The target and the sources by name."""
    from retemper.datasets.models import read_model
    from retemper.datasets.tables import (
        TableFormat,
        check_dropped,
        is_table,
        read_cells,
        read_source_table,
        read_target,
    )

    *files, last = options.tables
    if not is_table(last):
        raise ValueError(f"the last file must be the target table, got the model {last}")
    tables = [path for path in options.tables if is_table(path)]
    spelled = {"tab": "\t", "\\t": "\t", "space": " "}
    encodings = _for_each(options.encoding, "utf-8", tables, "--encoding")
    decimals = _for_each(options.decimal, ".", tables, "--decimal")
    separators = [spelled.get(s, s) for s in _for_each(options.sep, None, tables, "--sep")]
    forms = {
        path: TableFormat(*form)
        for path, *form in zip(tables, encodings, decimals, separators, strict=True)
    }
    cells = {path: read_cells(path, form) for path, form in forms.items()}
    check_dropped(options.drop, cells)
    target = read_target(
        last,
        cells[last],
        forms[last],
        label=options.label,
        groups=options.groups,
        time=options.time,
        weights=options.weights,
        name=options.id,
        drop=options.drop,
    )
    alone = len({path.stem for path in files}) == len(files)
    sources: dict[str, Any] = {}
    for path in files:
        name = path.name.split(".")[0] if alone else str(path)
        if name in sources:
            raise ValueError(f"{path} is named twice")
        if is_table(path):
            sources[name] = read_source_table(path, cells[path], forms[path], target, options.label)
        else:
            sources[name] = read_model(path, allow_pickle=options.allow_pickle)
    return target, sources


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
