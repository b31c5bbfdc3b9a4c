"""The ``retemper`` command."""

# no `from __future__ import annotations` here: typer evaluates the annotations of local functions
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    import typer

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
        from retemper.demo import run_demo

        run_demo(out, features=features, n_labels=labels, n_seeds=seeds, random_state=random_state)

    @app.command()
    def figure(
        name: Annotated[str | None, typer.Argument(help="A name that --list shows.")] = None,
        show_list: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
        out: Annotated[Path, typer.Option(help="Folder for the picture files.")] = Path(),
    ) -> None:
        """Draw one of the figures of the theory pages as PNG and SVG."""
        from retemper.figures import FIGURES, save_figure

        if show_list or name is None:
            width = max(map(len, FIGURES))
            for key, entry in FIGURES.items():
                typer.echo(f"{key:<{width}}  {entry.summary}")
            return
        for path in save_figure(name, out):
            typer.echo(path)

    @app.command()
    def info() -> None:
        """Print versions, instruction set, OpenMP runtime and threads."""
        from retemper import show_versions

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
        Always; 0 after success, 1 when an extra is missing, 2 for a wrong argument, 130 after
        Ctrl-C.
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


def _missing(error: ModuleNotFoundError) -> str:
    if (error.name or "").startswith("retemper"):
        raise error
    return f'retemper: {error.name} is not installed; try: pip install "retemper[cli]"'


if __name__ == "__main__":
    main()
