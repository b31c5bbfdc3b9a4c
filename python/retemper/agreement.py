"""Theory against experiment for any models of any systems, in one table of z-scores."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from retemper._extras import require
from retemper._plot import CYCLE, MARKERS
from retemper._progress import ProgressLike, shown_progress
from retemper._random import Seed, generator
from retemper._results import Comparison
from retemper._text import html_table, one_line
from retemper._validation import check_choice

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Agreement", "AgreementDisplay", "compare", "standard_cases"]

SYSTEMS = ("linear", "diagonal", "perceptron", "widenet", "phases")
#: Colour-blind safe, one colour and one marker per system.
_STYLE = {
    system: (colour, marker)
    for system, colour, marker in zip(SYSTEMS, CYCLE, MARKERS, strict=False)
}
#: Deviations beyond this many standard errors are drawn at the edge, with their value.
_EDGE = 5.0

Progress = Callable[[int, int], None]


def standard_cases(system: str | None = None) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Models that `compare` takes when it is given none: every system, several regimes.

    Parameters
    ----------
    system : {"linear", "diagonal", "perceptron", "widenet", "phases"} or None, default=None
        One system alone; all if None.

    Returns
    -------
    dict of str to tuple
        Model and options of its system's ``compare``, by name.

    Raises
    ------
    ValueError
        If there is no such system.

    See Also
    --------
    retemper.compare

    Examples
    --------
    >>> from retemper.agreement import standard_cases
    >>> list(standard_cases("phases"))[:2]
    ['features, descent', 'logistic, descent']
    """
    if system is not None:
        check_choice(system, "system", SYSTEMS)
    cases: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name in SYSTEMS if system is None else (system,):
        cases |= _CASES[name]()
    return cases


def _linear_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    from retemper.linear import LinearModel

    d = 200
    angle = np.arange(d)
    target = np.sin(1.0 + angle) * (2 / d) ** 0.5
    source = 0.8 * target + 0.3 * np.cos(angle) * (2 / d) ** 0.5
    spectrum = np.arange(1.0, d + 1) ** -0.5
    options: dict[str, Any] = {"n_repeats": 100}
    return {
        "from scratch, n < d": (LinearModel(60, target, noise=0.1), options),
        "fine-tuned, ridge": (
            LinearModel(100, target, spectrum=spectrum, source_coef=source, noise=0.3, ridge=0.05),
            options,
        ),
        "depth 3, n < d": (LinearModel(60, target, source_coef=source, depth=3), options),
        "finite source": (
            LinearModel(
                80,
                target,
                theta_source=source,
                n_samples_source=400,
                noise=0.2,
                noise_source=0.2,
                ridge=0.1,
                ridge_source=0.1,
            ),
            options,
        ),
    }


def _diagonal_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    from retemper.diagonal import DiagonalModel

    options: dict[str, Any] = {"n_features": 1000, "n_repeats": 16}
    return {
        "reset readout": (DiagonalModel(0.3, noise=0.3), options),
        "warm start": (DiagonalModel(0.4, noise=0.1, mode="warm"), options),
        "penalty": (DiagonalModel(0.5, noise=0.2, mu=0.1), options),
    }


def _perceptron_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    from retemper.perceptron import PerceptronModel

    options: dict[str, Any] = {"n_features": 2000, "n_repeats": 10}
    return {
        "labels alone": (PerceptronModel(0.5, 0.0, 1.0), options),
        "no labels, wide margin": (PerceptronModel(2.0, 0.3), options),
        "few labels": (PerceptronModel(1.0, 1.0, 0.1), options),
        "beyond the jump": (PerceptronModel(0.5, 5.6), options | {"n_features": 1000}),
    }


def _widenet_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    from retemper.widenet import WideNetModel

    rng = np.random.default_rng(0)
    n0, n_source, n_target, n_test = 40, 60, 20, 100
    X = rng.normal(size=(n_source + n_target + n_test, n0))
    teacher, other = rng.normal(size=(2, n0)) / n0**0.5
    y = np.concatenate(
        [X[:n_source] @ (0.8 * teacher + 0.6 * other), X[n_source:] @ teacher]
    ) + 0.1 * rng.normal(size=len(X))
    parts = np.split(np.arange(len(X)), [n_source, n_source + n_target])
    source, target, test = ((X[rows], y[rows]) for rows in parts)
    data: dict[str, Any] = {"target": target, "source": source, "test": test}
    data |= {"n_chains": 6, "n_draws": 4}
    return {
        "linear network, uncoupled": (WideNetModel(1000, "linear"), data),
        "linear network, coupled": (WideNetModel(1000, "linear", gamma=1.0), data),
    }


def _phases_cases() -> dict[str, tuple[Any, dict[str, Any]]]:
    from retemper.phases import DeepLinearModel, FeatureModel, LogisticModel, TwoLayerModel

    rank = np.arange(1.0, 9.0)
    times = [0.0, 1.0, 4.0]
    options: dict[str, Any] = {"n_samples": 20000}
    return {
        "features, descent": (
            FeatureModel(
                10,
                np.array([3.0, 1.0]),
                np.array([1.0, 0.2]),
                n_noise=50,
                noise_sd=0.5,
                times=times,
            ),
            options,
        ),
        "logistic, descent": (
            LogisticModel(1 / rank, 0.6 * rank**-0.5, 0.1 * np.cos(2 * rank), times),
            options,
        ),
        "hidden layer of three linear ones": (
            DeepLinearModel(1 / rank, 0.6 * (rank == 2), 0.4, 3, 2, 0.01, 0.01, times),
            options,
        ),
        "hidden layer of erf units": (
            TwoLayerModel(
                1 / rank,
                2.0 * np.eye(1, 8),
                0.3 * np.cos(np.outer([1.0, 2.0, 3.0], rank)),
                np.array([0.3, 0.2, 0.1]),
                weight_decay=0.01,
                times=times,
                step_size=0.25,
            ),
            options,
        ),
    }


_CASES: dict[str, Callable[[], dict[str, tuple[Any, dict[str, Any]]]]] = {
    "linear": _linear_cases,
    "diagonal": _diagonal_cases,
    "perceptron": _perceptron_cases,
    "widenet": _widenet_cases,
    "phases": _phases_cases,
}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Theory against experiment over several models.

    Parameters
    ----------
    comparisons : dict of str to Comparison
        One per case, in order.
    systems : dict of str to str
        The system each case belongs to.

    See Also
    --------
    retemper.compare, AgreementDisplay

    Examples
    --------
    >>> import retemper
    >>> from retemper.diagonal import DiagonalModel
    >>> found = retemper.compare({"noisy": (DiagonalModel(0.3, noise=0.3), {"n_features": 200})})
    >>> found.systems
    {'noisy': 'diagonal'}
    """

    comparisons: dict[str, Comparison]
    systems: dict[str, str]

    @property
    def z(self) -> NDArray[np.float64]:
        """All deviations in standard errors, case after case."""
        return np.concatenate([found.z for found in self.comparisons.values()])

    def to_frame(self) -> pd.DataFrame:
        """One row per system, case and quantity (needs pandas)."""
        require("pandas", purpose="to_frame")
        import pandas as pd

        keys = [(self.systems[case], case) for case in self.comparisons]
        frames = [found.to_frame() for found in self.comparisons.values()]
        return pd.concat(frames, keys=keys, names=["system", "case"])

    def as_dict(self) -> list[dict[str, Any]]:
        """One plain dictionary per row, as JSON takes it."""
        return [
            {
                "system": self.systems[case],
                "case": case,
                "quantity": name,
                "theory": float(theory),
                "simulation": float(simulation),
                "stderr": float(stderr),
                "z": float(z),
            }
            for case, found in self.comparisons.items()
            for name, theory, simulation, stderr, z in zip(
                found.names, found.theory, found.simulation, found.stderr, found.z, strict=True
            )
        ]

    def _repr_html_(self) -> str:
        rows = [["quantity", "case", "theory", "simulation", "standard error", "z"]]
        for case, found in self.comparisons.items():
            rows += [
                [name, case, f"{t:.6g}", f"{s:.6g}", f"{e:.2g}", f"{z:.2f}"]
                for name, t, s, e, z in zip(
                    found.names, found.theory, found.simulation, found.stderr, found.z, strict=True
                )
            ]
        near = f"{(abs(self.z) <= 2).sum()} of {self.z.size} within two standard errors"
        return html_table("Theory against simulation", rows, near)

    __repr__ = one_line

    def __str__(self) -> str:
        rows = self.as_dict()
        width = max(len(row["case"]) for row in rows)
        name = max(len(row["quantity"]) for row in rows)
        lines = [
            f"{'system':<12}{'case':<{width}}  {'quantity':<{name}}"
            f"{'theory':>13}{'simulation':>13}{'gap':>9}{'stderr':>10}{'z':>7}"
        ]
        lines += [
            f"{row['system']:<12}{row['case']:<{width}}  {row['quantity']:<{name}}"
            f"{row['theory']:>13.6g}{row['simulation']:>13.6g}"
            f"{row['theory'] - row['simulation']:>9.1g}{row['stderr']:>10.2g}{row['z']:>7.2f}"
            for row in rows
        ]
        z = self.z
        lines.append(
            f"{len(z)} comparisons, largest |z| {abs(z).max():.2f}, "
            f"root mean square {np.sqrt(np.mean(z**2)):.2f}"
        )
        return "\n".join(lines)

    def plot(self, *, ax: Axes | None = None) -> AgreementDisplay:
        """Draw every deviation against the bands of one, two and three standard errors.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        AgreementDisplay
            The display, drawn.
        """
        return AgreementDisplay.from_agreement(self).plot(ax=ax)


def compare(
    models: Any = None,
    *,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    **options: Any,
) -> Agreement:
    """Compare theory and matched experiment for models of any systems.

    Parameters
    ----------
    models : model, mapping or None, default=None
        A model of any system; or a mapping of names to models or to pairs of a model and the
        options of its system's ``compare``; or None for `standard_cases`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of every case: an equal case gives equal numbers, whatever stands beside it.
    n_jobs : int or None, default=None
        Threads of each experiment; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (cases done, cases).
    **options : dict
        Options of the system's ``compare``, for a single model.

    Returns
    -------
    Agreement
        Prints as one table; ``to_frame``, ``plot``.

    Raises
    ------
    TypeError
        If something is not a model of a system, or options come without a single model.
    ValueError
        If there are no models, or as in the system's ``compare``.

    See Also
    --------
    retemper.agreement.Agreement, retemper.agreement.standard_cases

    Notes
    -----
    The theories hold for large systems: at finite size they are off by a relative amount of order
    one over the size, which enough repeats resolve. A z-score of ten with a deviation of a tenth
    of a per cent says this, not that the theory is wrong.

    Examples
    --------
    >>> import retemper
    >>> from retemper.diagonal import DiagonalModel
    >>> found = retemper.compare(DiagonalModel(0.3, noise=0.3), n_features=400, n_repeats=8)
    >>> bool((abs(found.z) < 5).all())
    True
    """
    if models is None or isinstance(models, Mapping):
        if options:
            raise TypeError(
                f"options {sorted(options)} need a single model: models must be one, or a mapping "
                f"of names to (model, options)"
            )
        named = standard_cases() if models is None else dict(models)
    else:
        named = {type(models).__name__: (models, options)}
    if not named:
        raise ValueError("models must name at least one model, got an empty mapping")
    cases = {str(name): _case(name, value) for name, value in named.items()}
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        random_state = int(generator(random_state).integers(2**63))  # one seed for all cases
    comparisons = {}
    with shown_progress(progress, "compare", "cases") as watch:
        for done, (name, (system, model, extra)) in enumerate(cases.items()):
            if watch is not None:
                watch(done, len(cases))
            comparisons[name] = importlib.import_module(f"retemper.{system}").compare(
                model, **{"random_state": random_state, "n_jobs": n_jobs, **extra}
            )
        if watch is not None:
            watch(len(cases), len(cases))
    return Agreement(comparisons, {name: system for name, (system, _, _) in cases.items()})


def _case(name: str, value: Any) -> tuple[str, Any, dict[str, Any]]:
    model, options = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
    parts = type(model).__module__.split(".")
    known = len(parts) > 2 and parts[0] == "retemper" and parts[1] in SYSTEMS
    if not known or parts[2] != "model":
        raise TypeError(
            f"models[{name!r}] must be a model of one of {list(SYSTEMS)}, or such a model and a "
            f"mapping of options, got {value!r}"
        )
    if not isinstance(options, Mapping):
        raise TypeError(f"models[{name!r}] must give its options as a mapping, got {options!r}")
    return parts[1], model, dict(options)


class AgreementDisplay:
    """Deviations between theory and experiment, in standard errors, one row per quantity.

    Parameters
    ----------
    agreement : Agreement
        What to draw.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Where it was drawn; ``ax_`` is the first.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    Agreement

    Examples
    --------
    >>> import retemper
    >>> from retemper.diagonal import DiagonalModel
    >>> found = retemper.compare({"noisy": (DiagonalModel(0.3, noise=0.3), {"n_features": 200})})
    >>> found.plot().ax_.get_xlabel() != ""
    True
    """

    ax_: Axes
    axes_: list[Axes]
    figure_: Figure

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement

    @classmethod
    def from_agreement(cls, agreement: Agreement) -> Self:
        """The picture of what `compare` returned; ``plot`` draws it.

        Parameters
        ----------
        agreement : Agreement
            The comparisons.

        Returns
        -------
        AgreementDisplay
            Not yet drawn.
        """
        return cls(agreement)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure, of two columns if there is much to draw, if None.

        Returns
        -------
        AgreementDisplay
            Self.
        """
        heights = {
            case: len(found.names) + 1.7 for case, found in self.agreement.comparisons.items()
        }
        total = sum(heights.values())
        columns = 1 if ax is not None or total <= 40 else 2
        panels: list[list[str]] = [[] for _ in range(columns)]
        below = 0.0
        for case, height in heights.items():
            panels[min(int(columns * (below + height / 2) / total), columns - 1)].append(case)
            below += height
        tallest = max(sum(heights[case] for case in cases) for cases in panels)
        if ax is None:
            import matplotlib.pyplot as plt

            size = (6.4 * columns, 1.2 + 0.19 * tallest)
            axes = list(
                plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)[1][0]
            )
        else:
            axes = [ax]
        for panel, cases in zip(axes, panels, strict=True):
            self._panel(panel, cases, tallest)
        z = np.concatenate([found.z for found in self.agreement.comparisons.values()])
        near = f"{(abs(z) <= 2).sum()} of {z.size} quantities are within two standard errors"
        if ax is None:
            axes[0].figure.suptitle(f"Theory against simulation: {near}", fontweight="bold")
        else:
            ax.set_title(near)
        self.ax_, self.axes_, self.figure_ = axes[0], axes, axes[0].figure
        return self

    def _panel(self, ax: Axes, cases: list[str], height: float) -> None:
        for width, shade in ((3.0, "#f4f4f4"), (2.0, "#e8e8e8"), (1.0, "#dadada")):
            ax.axvspan(-width, width, color=shade, lw=0, zorder=0)
        ax.axvline(0.0, color="black", lw=0.8, zorder=1)
        top = 0.0
        ticks: dict[float, str] = {}
        named = set()
        for case in cases:
            found, system = self.agreement.comparisons[case], self.agreement.systems[case]
            colour, marker = _STYLE[system]
            ax.text(-1.14 * _EDGE, top + 0.6, case, fontsize=8, weight="bold", va="center")
            rows = top + 1.5 + np.arange(len(found.names))
            z, inside = found.z, np.clip(found.z, -_EDGE, _EDGE)
            label = None if system in named else system
            named.add(system)
            ax.plot(inside, rows, marker, color=colour, ms=6, ls="none", label=label, zorder=3)
            for value, edge, row in zip(z, inside, rows, strict=True):
                if value != edge:
                    ax.annotate(
                        f"{value:.1f}",
                        (edge, row),
                        xytext=(-8 if value > 0 else 8, 0),
                        textcoords="offset points",
                        ha="right" if value > 0 else "left",
                        va="center",
                        fontsize=7,
                    )
            ticks |= {
                row: name.replace("_", " ") for row, name in zip(rows, found.names, strict=True)
            }
            top += len(found.names) + 1.7
        ax.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
        ax.tick_params(axis="y", length=0)
        ax.set(
            xlim=(-1.16 * _EDGE, 1.16 * _EDGE),
            ylim=(height, -0.1),
            xlabel="(theory − simulation) / standard error",
        )
        ax.legend(loc="lower right", fontsize=8, framealpha=0.95)
