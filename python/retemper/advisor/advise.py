"""One question, all systems: should I start from this source, and how?"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import Progress
from retemper._random import Seed, generator
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_entries,
    check_integer,
    check_real,
)
from retemper.advisor.advice import (
    CandidateAdvice,
    LearningCurve,
    Opinion,
    TransferAdvice,
    Verdict,
)
from retemper.advisor.candidates import (
    KINDS,
    SCRATCH,
    Candidate,
    Losses,
    cross_validate,
    estimator,
    fit_rows,
    folds,
)
from retemper.advisor.estimators import AdvisedClassifier, AdvisedRegressor
from retemper.advisor.evidence import (
    continue_curve,
    curve_at,
    error_interval,
    gain_interval,
    holm,
    labels_for,
    weigh,
)
from retemper.advisor.inputs import Task, read_task
from retemper.advisor.opinions import ask_systems
from retemper.exceptions import ValidityWarning
from retemper.linear.sources import LARGEST

N_FOLDS = 5
#: A source whose best use gains or loses less than this part of the loss from scratch, at the
#: confidence asked for, makes no difference.
SAME = 0.05
#: A source hurts only if the p-value of its best use, not corrected, is above this.
LEAN = 0.6
#: Classification above this many products of a Newton step leaves the rescaled sources out.
_LARGE_CLASSIFICATION = 2e8


@dataclasses.dataclass(frozen=True)
class Fits:
    """Candidates judged by cross-validation and fitted to all rows."""

    candidates: list[Candidate]
    held_out: Losses
    models: list[Any]
    weights: FloatArray

    @property
    def choice(self) -> int:
        """Position of the candidate of largest weight."""
        return int(np.argmax(self.weights))

    def of(self, source: int) -> list[int]:
        """Positions of the candidates of a source."""
        return [i for i, c in enumerate(self.candidates) if c.source == source]

    def best(self, source: int) -> int:
        """Position of its candidate of smallest loss."""
        return min(self.of(source), key=lambda i: float(self.held_out.loss[i].mean()))


def advise(
    X: ArrayLike,
    y: ArrayLike,
    *,
    sources: Any,
    task: str = "auto",
    budget: int | None = None,
    target_error: float | None = None,
    unlabelled: ArrayLike | None = None,
    confidence: float = 0.95,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> TransferAdvice:
    """Say whether to start from a source, from which, and how strongly to hold on to it.

    Training from scratch and every use of every source (as it is, fine-tuned, fine-tuned with a
    fitted factor) are judged by nested cross-validation and by leave-one-out, and every system of
    the library that applies says what its theory predicts.

    Parameters
    ----------
    X : array_like or data frame of shape (n, d)
        Labelled target rows, at least 6.
    y : array_like of shape (n,)
        Their labels: numbers, or classes with at least 3 rows each.
    sources : dict, list or object
        Pretrained models, by name or in a list. Each is an array of coefficients (d,) (or (k, d)
        for k classes), a fitted scikit-learn model, a function of the rows (predictions; logits
        for classes), an array of predictions on the n rows (probabilities for classes; wrap it in
        `Predictions` where the shape leaves it open), or a pair (X_s, y_s) of source rows and
        labels. Named columns are matched by name. Sources must not have seen the target rows: this
        is flagged where it can be detected.
    task : {"auto", "regression", "classification"}, default="auto"
        Kind of labels. "auto" takes text, booleans and few whole numbers as classes.
    budget : int or None, default=None
        A number of labels for which the error should be predicted.
    target_error : float or None, default=None
        An error for which the number of labels should be predicted.
    unlabelled : array_like of shape (m, d) or None, default=None
        Target rows without labels: `retemper.perceptron` says what they are worth.
    confidence : float, default=0.95
        Coverage of intervals, and level of the verdicts.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the splits.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : callable or None, default=None
        Called with (splits done, splits) of the cross-validation.

    Returns
    -------
    TransferAdvice
        Prints as a table; ``plot``, ``to_html``, ``to_frame``, and ``estimator_`` ready to predict.

    Raises
    ------
    ValueError
        If data or a source have missing or infinite entries or text, shapes or names do not fit, y
        is constant, a class has fewer than 3 rows, or an argument is outside its domain.
    TypeError
        If data are sparse, or a source is none of the kinds above.

    Notes
    -----
    The verdicts compare losses row by row (squared error, log loss) with Student's t, standard
    errors enlarged for shared training rows [1]_ and p-values corrected for the number of sources
    [2]_. ``estimator_`` averages the candidates that the sample cannot tell apart, with weights
    that fall with their distance from the best in standard errors; this rule was set on one half
    of the suite of ``bench/calibrate_advise.py`` and judged on the other. Derived here.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52
       (2003).
    .. [2] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6
       (1979).

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(40, 80)), rng.normal(size=80)
    >>> y = X @ w + rng.normal(size=40)
    >>> advice = retemper.advise(X, y, sources={"near": w + 0.3 * rng.normal(size=80)})
    >>> advice.verdict, advice.choice
    ('fine-tune', 'near')
    """
    level = check_real(confidence, "confidence", low=0.5, high=1.0, open_low=True, open_high=True)
    if budget is not None:
        check_integer(budget, "budget", low=1)
    if target_error is not None:
        check_real(target_error, "target_error", low=0.0, open_low=True)
    n_threads = effective_n_threads(n_jobs)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[name] = now - clock
        clock = now

    target = read_task(X, y, sources, task)
    if not target.sources:
        raise ValueError("sources must name at least one source, got none")
    piles = None
    if unlabelled is not None:
        piles = as_float_array(unlabelled, "unlabelled", ndim=2)
        check_entries(piles, "unlabelled", largest=LARGEST)
        if piles.shape[1] != target.X.shape[1]:
            raise ValueError(
                f"unlabelled must have {target.X.shape[1]} features, got {piles.shape[1]}"
            )
    lap("reading")
    rng = generator(random_state)
    fits = judge(target, rng, n_threads, progress)
    lap("cross-validation and fits")
    opinions, saved = ask_systems(target, level, piles, n_jobs)
    lap("systems")
    rows = describe(target, fits, level, opinions, saved)
    if rows[0].verdict == "from scratch":
        only = np.zeros(len(fits.weights))
        only[0] = 1.0
        fits = dataclasses.replace(fits, weights=only)
    choice = fits.candidates[fits.choice]
    name = target.name_of(choice.source)
    verdict = _verdict(rows, name)
    curve = _learning_curve(target, fits, rng, n_threads, budget)
    continued = {} if curve is None else curve.fit
    lap("learning curve")
    advice = TransferAdvice(
        task=target.name,
        error_name="mean squared error" if target.is_regression else "misclassification rate",
        loss_name="squared error" if target.is_regression else "log loss",
        n_samples=target.X.shape[0],
        n_features=target.X.shape[1],
        candidates=tuple(rows),
        choice=name,
        use=choice.kind,
        verdict=verdict,
        headline=_headline(rows, name, choice.kind, verdict),
        initialisation=_initialisation(target, fits),
        regime=_regime(opinions, name),
        learning_curve=curve,
        labels_needed={}
        if target_error is None
        else {key: labels_for(fit, target_error) for key, fit in continued.items()},
        budget_error={}
        if budget is None
        else {
            key: float(curve_at(fit, np.array([float(budget)]))[0])
            for key, fit in continued.items()
        },
        disagreements=tuple(_disagreements(rows)),
        settings={
            "confidence": level,
            "random_state": random_state if isinstance(random_state, int | None) else "given",
            "folds": _n_folds(target),
            "repeats": _repeats(target),
            "budget": budget,
            "target_error": target_error,
            "weights": {
                _name(target, c): float(w)
                for c, w in zip(fits.candidates, fits.weights, strict=True)
                if w > 0.0
            },
        },
        seconds=seconds,
        estimator_=_estimator(target, fits),
    )
    lap("advice")
    return advice


def _repeats(task: Task) -> int:
    n = len(task.y)
    if task.is_regression:
        return 4 if n <= 100 else 2 if n <= 1000 else 1
    return 4 if n <= 50 else 2 if n <= 150 else 1


def _is_large(task: Task) -> bool:
    """Whether fits of a classifier are so dear that fewer are made."""
    n, d = task.X.shape
    k = 1 if task.classes is None else max(1, len(task.classes) - 1)
    return not task.is_regression and n * min(n, d) ** 2 * k > _LARGE_CLASSIFICATION


def _n_folds(task: Task) -> int:
    return 2 if _is_large(task) else N_FOLDS


def judge(task: Task, rng: np.random.Generator, n_threads: int, progress: Progress | None) -> Fits:
    """Cross-validate every use of every source, and fit all to all rows."""
    n, large = len(task.y), _is_large(task)
    kinds = [kind for kind in KINDS if not (large and kind == "rescaled")]
    candidates = [SCRATCH] + [
        Candidate(j, kind)
        for j, source in enumerate(task.sources)
        if source.duplicate_of is None
        for kind in kinds
        if not (source.is_constant and kind == "rescaled")
    ]
    every = np.arange(n)
    splits = [
        (np.setdiff1d(every, fold, assume_unique=True), fold)
        for _ in range(_repeats(task))
        for fold in folds(task, _n_folds(task), rng)
    ]
    held_out = cross_validate(task, candidates, splits, n_threads, progress)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        models = [fit_rows(task, c, every)[0] for c in candidates]
    usable = np.array(
        [c.source < 0 or task.sources[c.source].model is not None for c in candidates]
    )
    weights = np.zeros(len(candidates))
    weights[usable] = weigh(held_out.loss[usable])
    return Fits(candidates, held_out, models, weights)


def _learning_curve(
    task: Task, fits: Fits, rng: np.random.Generator, n_threads: int, budget: int | None
) -> LearningCurve | None:
    """Errors of scratch and of the choice at parts of the sample, and the fitted curves."""
    n = len(task.y)
    least = 4 if task.classes is None else 2 * len(task.classes)
    parts = 3 if _is_large(task) else 4
    sizes = np.unique(np.geomspace(max(least, n / 8), 0.8 * n, parts).round().astype(np.int64))
    if sizes[0] < least or len(sizes) < 2:
        return None
    items = {task.name_of(fits.candidates[i].source): i for i in (0, fits.choice)}
    chosen = [fits.candidates[i] for i in items.values()]
    some = 3 if task.is_regression or n <= 150 else 2
    repeats = 1 if _is_large(task) else 8 if task.is_regression and n <= 300 else some
    error, stderr = np.empty((2, len(items), len(sizes)))
    for i, size in enumerate(sizes):
        splits = [_part(task, int(size), rng) for _ in range(repeats)]
        wrong = cross_validate(task, chosen, splits, n_threads).wrong
        error[:, i] = np.nanmean(wrong, axis=1)
        stderr[:, i] = np.nanstd(wrong, axis=1, ddof=1) / math.sqrt(np.isfinite(wrong[0]).sum())
    last = max(4 * n, 2 * budget if budget else 0)
    more = np.unique(np.geomspace(n, last, 6).round().astype(np.int64))
    at = np.concatenate([sizes, more])
    seen = np.arange(len(at)) < len(sizes)
    found = {
        key: continue_curve(sizes.astype(np.float64), error[i], stderr[i])
        for i, key in enumerate(items)
    }
    return LearningCurve(
        n_labels=at,
        measured=seen,
        error={
            key: np.concatenate([error[i], curve_at(found[key], more.astype(np.float64))])
            for i, key in enumerate(items)
        },
        stderr={
            key: np.concatenate([stderr[i], np.full(len(more), np.nan)])
            for i, key in enumerate(items)
        },
        fit=found,
    )


def _part(
    task: Task, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from, every class in proportion and at least two of it, and the others."""
    order = rng.permutation(len(task.y))
    if not task.is_regression:
        rank = np.empty(len(order))
        for c in np.unique(task.y):
            rows = np.flatnonzero(task.y[order] == c)
            rank[rows] = np.where(np.arange(len(rows)) < 2, -1.0, np.arange(len(rows)) / len(rows))
        order = order[np.argsort(rank, kind="stable")]
    return np.sort(order[:size]), np.sort(order[size:])


def describe(
    task: Task,
    fits: Fits,
    confidence: float,
    opinions: list[Opinion],
    saved: dict[str, float],
) -> list[CandidateAdvice]:
    """Verdict, errors and intervals of scratch and of every source at its best use."""
    share = not task.is_regression
    loss, wrong = fits.held_out.loss, fits.held_out.wrong
    said: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        said.setdefault(opinion.source, []).append(opinion)

    def row(i: int, name: str, **fields: Any) -> CandidateAdvice:
        model = fits.models[i]
        held = float(wrong[i].mean())
        left = (
            held if model is None else float(model.loo_ if task.is_regression else model.loo_error_)
        )
        low, high = error_interval(wrong[i], left, confidence, share=share)
        held_low, held_high = error_interval(wrong[i], held, confidence, share=share)
        return CandidateAdvice(
            name=name,
            use=fits.candidates[i].kind,
            predicted_error=left,
            predicted_low=low,
            predicted_high=high,
            held_out_error=held,
            held_out_low=held_low,
            held_out_high=held_high,
            loss=float(loss[i].mean()),
            strength=math.inf if model is None else float(model.ridge_),
            scale=_scale(model),
            opinions=tuple(said.get(name, ())),
            **fields,
        )

    judged = [j for j, source in enumerate(task.sources) if source.duplicate_of is None]
    best = {j: fits.best(j) for j in judged}
    gains = {j: gain_interval(loss[i] - loss[0], confidence) for j, i in best.items()}
    p = dict(zip(judged, holm([gains[j][3] for j in judged]), strict=True))
    tuned = {
        j: next(i for i in fits.of(j) if fits.candidates[i].kind == "fine-tune") for j in judged
    }
    worse = {j: gain_interval(loss[i] - loss[0], confidence) for j, i in tuned.items()}
    p_worse = dict(zip(judged, holm([worse[j][3] for j in judged]), strict=True))
    rows = []
    for j, source in enumerate(task.sources):
        first = (
            j
            if source.duplicate_of is None
            else [s.name for s in task.sources].index(source.duplicate_of)
        )
        i, gain = best[first], gains[first]
        verdict: Verdict = "undecided"
        if source.duplicate_of is not None:
            verdict = "duplicate"
        elif gain[0] < 0.0 and p[j] < 1.0 - confidence:
            verdict = "as is" if fits.candidates[i].kind == "as is" else "fine-tune"
        elif worse[j][0] > 0.0 and p_worse[j] < 1.0 - confidence and gains[j][3] > LEAN:
            verdict = "from scratch"
        elif max(abs(gain[1]), abs(gain[2])) < SAME * float(loss[0].mean()):
            verdict = "from scratch"  # no use of it makes a difference
        rows.append(
            row(
                i,
                source.name,
                verdict=verdict,
                gain=gain[0],
                gain_low=gain[1],
                gain_high=gain[2],
                p_value=p[first],
                labels_saved=saved.get(source.name, math.nan),
                duplicate_of=source.duplicate_of,
                flags=source.flags,
            )
        )
    decided = any(r.verdict in ("as is", "fine-tune") for r in rows)
    open_ = any(r.verdict == "undecided" for r in rows)
    own: Verdict = "undecided" if decided or open_ else "from scratch"
    scratch = row(
        0, "scratch", verdict=own, gain=0.0, gain_low=0.0, gain_high=0.0, p_value=1.0
    )  # fmt: skip
    return [scratch, *rows]


def _verdict(rows: list[CandidateAdvice], choice: str) -> str:
    by_name = {r.name: r for r in rows}
    good = [r for r in rows[1:] if r.verdict in ("as is", "fine-tune")]
    if good:
        best = by_name[choice] if by_name[choice] in good else min(good, key=lambda r: r.loss)
        return best.verdict
    if rows[0].verdict == "from scratch":
        return "none of the sources" if len(rows) > 2 else "from scratch"
    return "undecided"


def _headline(rows: list[CandidateAdvice], choice: str, kind: str, verdict: str) -> str:
    row = next(r for r in rows if r.name == choice)
    change = 100.0 * (row.loss / rows[0].loss - 1.0) if rows[0].loss > 0 else 0.0
    size = f"{abs(change):.0f} % {'less' if change < 0 else 'more'} held-out loss than from scratch"
    how = {
        "as is": f"Use '{choice}' as it is",
        "fine-tune": f"Fine-tune from '{choice}'",
        "rescaled": f"Fine-tune from {row.scale:.2g} times '{choice}'",
        "scratch": "Train from scratch",
    }[kind]
    if verdict == "none of the sources":
        return "None of the sources: train from scratch."
    if verdict == "from scratch":
        return "Train from scratch: the source does not help."
    if verdict == "undecided":
        lean = how[0].lower() + how[1:]
        return f"Undecided: these labels do not tell; the best guess is to {lean}."
    if kind == "scratch":
        good = next(r.name for r in rows[1:] if r.verdict == verdict)
        return f"'{good}' helps, but cannot be used on new rows: train from scratch."
    return f"{how}: {size}."


def _name(task: Task, candidate: Candidate) -> str:
    source = task.name_of(candidate.source)
    return source if candidate.source < 0 else f"{candidate.kind}: {source}"


def _scale(model: Any) -> float:
    return 1.0 if model is None else float(model.source_scale_)


def _initialisation(task: Task, fits: Fits) -> str:
    candidate, model = fits.candidates[fits.choice], fits.models[fits.choice]
    source = task.name_of(candidate.source)
    mixed = [
        f"{100 * w:.0f} % {_name(task, c)}"
        for w, c in sorted(zip(fits.weights, fits.candidates, strict=True), reverse=True)
        if w > 0.0
    ]
    text = {
        "scratch": "zero",
        "as is": f"{source}, kept as it is",
        "fine-tune": f"the weights of {source}",
        "rescaled": f"{_scale(model):.3g} times the weights of {source}",
    }[candidate.kind]
    if model is not None:
        text += f", held with ridge {model.ridge_:.3g}"
    if len(mixed) > 1:
        text += f"; the model to predict with averages {', '.join(mixed)}"
    return text + "."


def _regime(opinions: list[Opinion], choice: str) -> str:
    for opinion in opinions:
        if opinion.system == "diagonal" and opinion.source == choice and opinion.advice:
            return f"for diagonal networks, {opinion.advice}."
    return ""


def _disagreements(rows: list[CandidateAdvice]) -> list[str]:
    found = []
    for row in rows[1:]:
        held = {"as is": "helps", "fine-tune": "helps", "from scratch": "hurts"}.get(row.verdict)
        sides: dict[str, list[str]] = {"helps": [], "hurts": []}
        if held:
            sides[held].append("held-out error")
        for opinion in row.opinions:
            if opinion.verdict in sides:
                sides[opinion.verdict].append(opinion.system)
        if sides["helps"] and sides["hurts"]:
            say = "say" if len(sides["helps"]) > 1 else "says"
            found.append(
                f"{row.name}: {' and '.join(sides['helps'])} {say} that it helps, "
                f"{' and '.join(sides['hurts'])} that it hurts"
            )
        if not row.held_out_low <= row.predicted_error <= row.held_out_high:
            found.append(
                f"{row.name}: leave-one-out predicts {row.predicted_error:.3g}, outside the "
                f"interval of the held-out error [{row.held_out_low:.3g}, {row.held_out_high:.3g}]"
            )
    return found


def _estimator(task: Task, fits: Fits) -> Any:
    kept = [i for i in np.argsort(-fits.weights, kind="stable") if fits.weights[i] > 0.0]
    members = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        for i in kept:
            candidate, model = fits.candidates[i], fits.models[i]
            source = None if candidate.source < 0 else task.sources[candidate.source].model
            member = estimator(task, candidate, source)
            if model is not None:
                member.set_params(ridge=float(model.ridge_))
                if candidate.kind == "rescaled":
                    member.set_params(source_scale=_scale(model))
            members.append(member.fit(task.given, task.labels))
    if len(members) == 1:
        return members[0]
    kind = AdvisedRegressor if task.is_regression else AdvisedClassifier
    return kind(members, [float(fits.weights[i]) for i in kept])
