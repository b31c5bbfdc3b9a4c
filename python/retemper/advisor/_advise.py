"""One question, all systems: should I start from this source, and how?"""

from __future__ import annotations

import dataclasses
import time
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._progress import shown_progress
from retemper._random import Seed, generator
from retemper._threads import effective_n_threads
from retemper._validation import check_integer, check_real
from retemper.advisor.advice import TransferAdvice
from retemper.advisor.encoding import Encoder, advise_table
from retemper.advisor.forecast import forecast_fields
from retemper.advisor.inputs import read_task, read_unlabelled
from retemper.advisor.judging import (
    Fits,
    judge,
    learning_curve,
    make_splits,
    only_scratch,
    predictor,
)
from retemper.advisor.opinions import ask_systems, read_systems
from retemper.advisor.sampling import check_folds
from retemper.advisor.task import Task
from retemper.advisor.verdicts import (
    gain_fields,
    gain_of_average,
    is_worth_a_source,
    judge_sources,
    overall,
)
from retemper.advisor.wording import (
    candidate_name,
    disagreements,
    headline,
    initialisation,
    question,
    regime,
)

__all__ = ["advise"]


def advise(
    X: ArrayLike,
    y: ArrayLike,
    *,
    sources: Any,
    task: str = "auto",
    budget: int | None = None,
    target_error: float | None = None,
    unlabelled: ArrayLike | None = None,
    systems: Any = None,
    groups: ArrayLike | None = None,
    cv: Any = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Any = None,
    scoring: Any = None,
    confidence: float = 0.95,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: Any = None,
) -> TransferAdvice:
    """Say whether to start from a source, from which, and how strongly to hold on to it.

    Training from scratch, every use of every source (as it is, fine-tuned, fine-tuned with a
    fitted factor) and, of two sources or more, their mixture (as it is, and fine-tuned) are judged
    by nested cross-validation and by leave-one-out. On request the
    systems of the library say what their theories predict.

    Parameters
    ----------
    X : array_like or data frame of shape (n, d)
        Labelled target rows, at least 6. A data frame and ``y`` must have the same index. Columns
        of text or categories are encoded by their levels and missing numbers are filled for the
        fits; functions and models without coefficients, such as pipelines, see the table as it is.
        Large memory-mapped and dask arrays are read in blocks where y holds numbers.
    y : array_like of shape (n,)
        Their labels: numbers, or classes as text, booleans or whole numbers, in any array or column
        of pandas. Classes of fewer than 3 rows are left out, with a warning. Several columns go to
        `retemper.advisor.advise_targets`.
    sources : dict, list or object
        Pretrained models, by name or in a list. Each is an array of coefficients (d,) (or (k, d)
        for k classes), a pair (coef, intercept), a state dictionary with one linear layer that
        fits, a fitted scikit-learn model, a booster of LightGBM or XGBoost, a module of PyTorch, a
        function of the rows (predictions; logits or probabilities for classes), an array of
        predictions on the n rows (probabilities for classes; wrap it in `Predictions` where the
        shape leaves it open), a pair (X_s, y_s) of source rows and labels, or a file that
        `retemper.datasets.read_model` reads without leave. Named columns are matched by name;
        classes that a source does not know start from zero. Sources must not have seen the target
        labels: source rows that are target rows with the same labels are left out, and the headline
        asks about a model that seems to know the labels by heart.
    task : {"auto", "regression", "classification"}, default="auto"
        Kind of labels. "auto" takes text and booleans as classes; for whole numbers it asks what
        the sources are made for (classifiers and regressors, rows of coefficients, labels of the
        source), and if they do not tell takes few different numbers as classes.
    budget : int or None, default=None
        A number of labels for which the error should be predicted.
    target_error : float or None, default=None
        An error for which the number of labels should be predicted: the mean squared error, or the
        share of wrong classes.
    unlabelled : array_like of shape (m, d) or None, default=None
        Target rows without labels: `retemper.perceptron` says what they are worth.
    systems : None, "all" or names, default=None
        Systems whose theories also speak: "linear", "diagonal", "widenet", "phases" and
        "perceptron". They inform and do not decide; one that fails leaves a flag. Text and page
        have a line only where an opinion would change the action, with its record on the suite;
        ``opinions`` has all.
    groups : array_like of shape (n,) or None, default=None
        What rows belong to, as patients or places: the model is meant for new ones. Rows of one
        group are never on both sides of a split, and count as one in standard errors. Without it
        equal and nearly equal rows are one group.
    cv : None, int, splitter or iterable of pairs, default=None
        Number of folds, anything with ``split(X, y, groups)``, or pairs of rows to learn from and
        rows to judge; for time series, pairs in their order. None is five folds of whole groups,
        repeated up to four times.
    sample_weight : array_like of shape (n,) or None, default=None
        Weights of the rows, in fits, errors and intervals.
    class_weight : None, "balanced" or dict, default=None
        Factors on the weights of the rows by class, in fits, losses and intervals: the model is
        then made for classes of these weights. "balanced" gives all classes the same in sum.
    scoring : None, str or callable, default=None
        What decides: "squared" or "absolute" error for numbers; "log loss", "accuracy" or "balanced
        accuracy" for classes; the name of any scorer of scikit-learn ("roc_auc",
        "average_precision", "r2", ...), or a function ``(estimator, X, y)``, larger is better and
        at most 1. With a name the last class in order is the positive one. Strengths are chosen by
        squared error and log loss.
    confidence : float, default=0.95
        Coverage of intervals, and level of the verdicts.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the splits.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : None, bool, callable or object, default=None
        How to show how far cross-validation is. None shows a bar on terminals and in notebooks
        after five seconds, False none, True one from the start; a callable is called with (splits
        done, splits); a bar such as ``tqdm.tqdm()`` is moved on. Where the bar is not yours,
        another one counts the sources that systems were asked about.

    Returns
    -------
    TransferAdvice
        Prints as a table; ``plot``, ``to_html``, ``to_frame``, and ``estimator_`` ready to predict.

    Raises
    ------
    ValueError
        If data or a source have infinite entries, arrays have missing ones, shapes, names or
        indices do not fit, y is constant or has fewer than two classes of 3 rows, or an argument is
        outside its domain.
    TypeError
        If a source is none of the kinds above.

    Warns
    -----
    ValidityWarning
        If classes of fewer than 3 rows are left out.

    See Also
    --------
    retemper.advisor.TransferAdvice
    retemper.advisor.advise_targets
    retemper.linear.LinearTransferReport
    retemper.networks.advise_network

    Notes
    -----
    The advised model is the average unless no use of a source is worth having; the headline says
    what it does, how likely it is to beat training from scratch and by how much, with the interval
    of the gain. A verdict is about significance, which few labels rarely give; it does not decide.

    The verdicts compare losses row by row (squared error, log loss) with Student's t, standard
    errors enlarged for shared training rows [1]_ and p-values corrected for the number of sources
    [2]_. A score of the whole sample, such as the area under the curve, is taken over all held-out
    predictions together, and gives every row a loss by what changes when it is left out.
    ``estimator_`` averages the candidates that the sample cannot tell apart, with weights
    that fall with their distance from the best in standard errors; this rule was set on one half
    of the suite of ``bench/calibrate_advise.py`` and judged on the other. With four sources or more
    half of the weights are those that make the held-out loss of the average itself smallest. The
    mixture is a sum of the predictions, or of the logits, of the sources that can predict new rows,
    with one factor for each, of any sign, shrunk towards zero by leave-one-out:
    ``bench/mixture_advise.py`` says what it is worth. Derived here
    (`advise#how-it-decides`).

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
    >>> advice.verdict, advice.choice, advice["near"].use
    ('helps', 'near', 'fine-tune')
    """
    level = check_real(confidence, "confidence", low=0.5, high=1.0, open_low=True, open_high=True)
    if budget is not None:
        check_integer(budget, "budget", low=1)
    if target_error is not None:
        check_real(target_error, "target_error", low=0.0, open_low=True)
    encoder = Encoder.find(X)
    if encoder is not None:
        return advise_table(
            encoder, X, y, advise, sources=sources, task=task, budget=budget,
            target_error=target_error, unlabelled=unlabelled, systems=systems, groups=groups, cv=cv,
            sample_weight=sample_weight, class_weight=class_weight, scoring=scoring,
            confidence=confidence,
            random_state=random_state, n_jobs=n_jobs, progress=progress,
        )  # fmt: skip
    n_threads = effective_n_threads(n_jobs)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[name] = now - clock
        clock = now

    given = cv is not None and check_folds(cv) is None
    in_blocks = not given and unlabelled is None and systems is None and class_weight is None
    target = read_task(
        X, y, sources, task, groups=groups, sample_weight=sample_weight,
        class_weight=class_weight, scoring=scoring, in_blocks=in_blocks,
    )  # fmt: skip
    if not target.sources:
        raise ValueError("sources must name at least one source, got none")
    piles = None if unlabelled is None else read_unlabelled(unlabelled, target)
    asked = read_systems(systems, unlabelled=piles is not None)
    lap("reading")
    rng = generator(random_state)
    splits = make_splits(target, cv, rng)
    if given:  # strengths are chosen by them too
        target = dataclasses.replace(
            target, sample=dataclasses.replace(target.sample, splits=tuple(splits))
        )
    with shown_progress(progress, "advise", "splits") as watch:
        fits = judge(target, splits, n_threads, watch)
    lap("cross-validation and fits")
    # bars of users count splits alone
    own = None if progress is None or progress is True else False
    with shown_progress(own, "ask systems", "sources") as watch:
        opinions, saved = ask_systems(target, asked, level, piles, n_jobs, watch=watch)
    lap("systems")
    rows = judge_sources(target, fits, level, opinions, saved)
    verdict = overall(rows)
    gain = gain_of_average(fits, level)
    odds = gain.p_helps
    if not is_worth_a_source(rows, gain):
        fits = only_scratch(fits)
        gain = gain_of_average(fits, level)
    choice = fits.candidates[fits.choice]
    name = target.name_of(choice.source)
    with nullcontext() if own is None else shown_progress(False, "learning curve", "splits"):
        curve = learning_curve(target, fits, rng, n_threads, budget, within=given)
    lap("learning curve")
    words = headline(target, fits, rows, gain_fields(gain, rows[0].loss), odds)
    advice = TransferAdvice(
        task=target.name,
        error_name="mean squared error" if target.is_regression else "misclassification rate",
        loss_name=target.loss_name,
        n_samples=target.X.shape[0],
        n_features=target.n_features,
        candidates=tuple(rows),
        choice=name,
        use=choice.kind if np.count_nonzero(fits.weights) == 1 else "average",
        verdict=verdict,
        **gain_fields(gain, rows[0].loss),
        headline=words + question(target),
        initialisation=initialisation(target, fits),
        regime=regime(opinions, name, choice.kind),
        learning_curve=curve,
        **forecast_fields({} if curve is None else curve.fit, budget, target_error),
        disagreements=tuple(disagreements(rows)),
        settings={
            **_told(target, fits),
            "confidence": level,
            "random_state": random_state if isinstance(random_state, int | None) else "given",
            "splits": len(splits),
            "budget": budget,
            "target_error": target_error,
            "systems": list(asked),
        },
        seconds=seconds,
        estimator_=predictor(target, fits),
    )
    lap("advice")
    return advice


def _told(target: Task, fits: Fits) -> dict[str, Any]:
    """What the settings say of the target, and of what is averaged."""
    return {
        "task_reason": target.reason,
        "groups": target.sample.n_groups,
        "scoring": target.scoring,
        "weights": {
            candidate_name(target, c): float(w)
            for c, w in zip(fits.candidates, fits.weights, strict=True)
            if w > 0.0
        },
    }
