"""The ``retemper`` command."""

# no `from __future__ import annotations` here: typer evaluates the annotations of local functions
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    import typer

    from retemper._results import Sweep

__all__ = ["main"]


def _application() -> "typer.Typer":
    import typer

    app = typer.Typer(
        name="retemper",
        help="Theory of pre-training and fine-tuning that people can run.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )

    json_option = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for the figures and the report.")] = Path(
            "retemper-demo"
        ),
        features: Annotated[
            str, typer.Option(help="'pixels' (64 of them) or 'random' (300 ReLU features).")
        ] = "random",
        labels: Annotated[int, typer.Option(help="Labelled target samples.", min=10, max=500)] = 60,
        seeds: Annotated[
            int, typer.Option(help="Repeats with fresh samples.", min=2, max=500)
        ] = 40,
        random_state: Annotated[int, typer.Option(help="Seed of everything.", min=0)] = 0,
    ) -> None:
        """Judge source models on digits, check the verdicts, write figures and a report."""
        from retemper.gallery import run_demo

        run_demo(out, features=features, n_labels=labels, n_seeds=seeds, random_state=random_state)

    @app.command()
    def advise(
        tables: Annotated[
            list[Path],
            typer.Argument(
                metavar="SOURCE.csv... TARGET.csv",
                help="Tables with a line of column names: one or more sources, the target last.",
            ),
        ],
        *,
        label: Annotated[str, typer.Option(help="Column of the labels, in every table.")],
        task: Annotated[str, typer.Option(help="auto, regression or classification.")] = "auto",
        budget: Annotated[
            int | None, typer.Option(help="Predict the error with this many labels.", min=1)
        ] = None,
        target_error: Annotated[
            float | None, typer.Option(help="Predict the number of labels for this error.")
        ] = None,
        systems: Annotated[
            str | None, typer.Option(help="Systems that also speak: all, or names with commas.")
        ] = None,
        confidence: Annotated[float, typer.Option(help="Level of intervals and verdicts.")] = 0.95,
        out: Annotated[
            Path | None, typer.Option(help="Also write the advice as an HTML page.")
        ] = None,
        random_state: Annotated[int, typer.Option(help="Seed of the splits.", min=0)] = 0,
        as_json: json_option = False,
    ) -> None:
        """Should I start from this source? On your own tables."""
        options = {
            "task": task,
            "budget": budget,
            "target_error": target_error,
            "systems": systems if systems in (None, "all") else systems.split(","),
            "confidence": confidence,
            "random_state": random_state,
        }
        _run_advise(tables, label, options, out, as_json)

    @app.command()
    def figure(
        name: Annotated[str | None, typer.Argument(help="A name that --list shows.")] = None,
        show_list: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
        out: Annotated[Path, typer.Option(help="Folder for the picture files.")] = Path(),
        as_json: json_option = False,
    ) -> None:
        """Run the script of one of the figures of the theory pages; write PNG and SVG."""
        from retemper.gallery import figure_scripts, save_figure

        if show_list or name is None:
            scripts = figure_scripts()
            if as_json:
                _print_json({key: script.title for key, script in scripts.items()})
                return
            width = max(map(len, scripts))
            for key, script in scripts.items():
                typer.echo(f"{key:<{width}}  {script.title}")
            return
        paths = [str(path) for path in save_figure(name, out)]
        if as_json:
            _print_json(paths)
        else:
            typer.echo("\n".join(paths))

    @app.command()
    def compare(
        system: Annotated[
            str | None, typer.Argument(help="One system; if left out, all five.")
        ] = None,
        picture: Annotated[
            Path | None, typer.Option(help="Also draw the deviations to this picture file.")
        ] = None,
        random_state: Annotated[int, typer.Option(help="Seed of every case.", min=0)] = 0,
        as_json: json_option = False,
    ) -> None:
        """Hold theory against simulation: one table of deviations in standard errors."""
        _run_compare(system, picture, random_state, as_json)

    @app.command()
    def sweep(
        config: Annotated[Path, typer.Argument(help="TOML file of the sweep.")],
        out: Annotated[
            Path | None, typer.Option(help="Folder of the sweep; if left out, what the file says.")
        ] = None,
        jobs: Annotated[
            int | None,
            typer.Option(help="Worker processes; if left out, one per processor.", min=1),
        ] = None,
        scheduler: Annotated[
            str | None, typer.Option(help="Dask scheduler to send the points to, tcp://host:8786.")
        ] = None,
        as_json: json_option = False,
    ) -> None:
        """Run a sweep, or go on with one that was stopped."""
        raise typer.Exit(_run_sweep(config, out, jobs, scheduler, as_json=as_json))

    @app.command()
    def info(as_json: json_option = False) -> None:
        """Print versions, instruction set, OpenMP runtime and threads."""
        from retemper._versions import show_versions, versions

        if as_json:
            _print_json(versions())
        else:
            show_versions()

    return app


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
    try:
        app = _application()
    except ModuleNotFoundError as error:
        sys.exit(_missing(error))
    try:
        app(args=arguments, prog_name="retemper")
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        sys.exit(_missing(error))
    except (ValueError, TypeError, OSError) as error:
        print(f"retemper: {error}", file=sys.stderr)
        sys.exit(2)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextlib.contextmanager
def _progress(title: str, unit: str) -> Iterator[Any]:
    """A callback (done, total) that draws a bar on the error stream of a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _run_advise(
    tables: list[Path], label: str, options: dict[str, Any], out: Path | None, as_json: bool
) -> None:
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
        sources[name] = read_table(path, label)
    X, y = read_table(tables[-1], label)
    with _progress("cross-validation", "splits") as progress:
        advice = advise(X, y, sources=sources, progress=progress, **options)
    if out is not None:
        advice.to_html(out)
    if as_json:
        _print_json(advice.as_dict())
    else:
        print(advice)
        if out is not None:
            print(f"report: {out}")


def _run_compare(system: str | None, picture: Path | None, seed: int, as_json: bool) -> None:
    from retemper.agreement import compare, standard_cases

    with _progress("theory against simulation", "cases") as progress:
        found = compare(standard_cases(system), random_state=seed, progress=progress)
    if picture is not None:
        import matplotlib as mpl

        mpl.use("Agg")
        found.plot().figure_.savefig(picture, dpi=150)
    if as_json:
        _print_json(found.as_dict())
    else:
        print(found)


def _run_sweep(
    path: Path, out: Path | None, jobs: int | None, scheduler: str | None, *, as_json: bool
) -> int:
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
    folder = config.out if out is None else out
    n_jobs = jobs or config.n_jobs or n_processors()
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
        with _engine(scheduler or config.scheduler), Progress(*columns, console=console) as bar:
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

        from distributed import Client

        from retemper import __version__

        with Client(scheduler, timeout=10) as client, joblib.parallel_config("dask", client=client):
            # points sent to a worker without retemper would never come back
            for worker, version in client.run(pydoc.locate, "retemper.__version__").items():
                if version != __version__:
                    raise ValueError(f"{worker} has retemper {version}, here it is {__version__}")
            yield


def _sweep_table(found: "Sweep") -> Any:
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


def _missing(error: ModuleNotFoundError) -> str:
    if (error.name or "").startswith("retemper"):
        raise error
    extra = {"dask": "dask", "distributed": "dask", "torch": "torch"}.get(error.name or "", "cli")
    return f'retemper: {error.name} is not installed; try: pip install "retemper[{extra}]"'


if __name__ == "__main__":
    main()
