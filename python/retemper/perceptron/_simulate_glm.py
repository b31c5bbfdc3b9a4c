"""Approximate message passing for any channel and prior, on rows drawn from a `GLMModel`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, Progress, report_status
from retemper._random import Seed, generator, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Result, Status
from retemper._validation import FloatArray, check_choice
from retemper.perceptron.blocks import posterior_of
from retemper.perceptron.glm import (
    GLM_QUANTITIES,
    GLMLaw,
    GLMModel,
    bayes_curve,
    laws_of_glm,
)
from retemper.perceptron.likelihood import Channel
from retemper.perceptron.model import worst_status
from retemper.perceptron.saddle import ERMModel, erm_student, minimise, teacher_of

__all__ = ["GLMRows", "GLMSimulation", "sample_glm", "simulate_glm"]

#: New rows on which the error of a run is measured.
N_NEW = 20_000


class GLMRows(NamedTuple):
    """Rows drawn from a `GLMModel`; see `sample_rows`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Standard Gaussian rows.
    y : ndarray of shape (n_samples,)
        Their labels.
    w_true : ndarray of shape (n_features,)
        True weights.

    See Also
    --------
    sample_rows

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, sample_rows
    >>> rows = sample_rows(GLMModel(2.0), 50, random_state=0)
    >>> rows.X.shape, sorted(set(rows.y.tolist()))
    ((100, 50), [-1.0, 1.0])
    """

    X: FloatArray
    y: FloatArray
    w_true: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GLMSimulation(Result):
    """What `simulate` measures on a `GLMModel`; see `simulate`.

    Parameters
    ----------
    status : Status
        The worst status.
    n_iter : int
        Largest number of iterations.
    residual : float
        Largest residual.
    message : str
        The status in words.
    model : GLMModel or ERMModel
        The problem.
    n_features, n_repeats : int
        Size and number of independent data sets.
    q, m, cosine, mse, error : float
        Means over the repeats; as in `GLMBranch`, the error on 20000 new rows.
    stderr : dict of str to float
        Standard errors of these means.
    samples : dict of str to ndarray of shape (n_repeats,)
        The single values, and ``n_iter``, ``residual`` and ``converged`` of each run.

    See Also
    --------
    simulate, GLMTheory

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, simulate
    >>> sample = simulate(GLMModel(3.0), n_features=200, n_repeats=3)
    >>> sample.n_repeats, bool(sample.cosine > 0.8)
    (3, True)
    """

    model: GLMModel | ERMModel
    n_features: int
    n_repeats: int
    q: float
    m: float
    cosine: float
    mse: float
    error: float
    stderr: dict[str, float]
    samples: dict[str, NDArray[Any]]


def rows_of(alpha: float, n_features: int) -> int:
    """Number of rows."""
    n_samples = round(alpha * n_features)
    if n_samples < 1:
        raise ValueError(f"the model has no rows at n_features={n_features}")
    return n_samples


class Drawn(NamedTuple):
    """Rows drawn in coordinates in which they are white, labels, and the truth.

    With covariates a last column follows that the student does not see; its features are the others
    times ``stretch``. Weights have the root mean squares ``size``.
    """

    rows: GLMRows
    stretch: FloatArray | None = None
    size: FloatArray | None = None

    @property
    def seen(self) -> FloatArray:
        """White rows that the student sees."""
        return self.rows.X if self.stretch is None else self.rows.X[:, :-1]

    def white(self, w: FloatArray) -> FloatArray:
        """Weights on white rows that the student sees as those on all columns."""
        if self.stretch is None:
            return w
        return np.append(w, 0.0) * math.sqrt(1 + 1 / w.size)


def draw(law: GLMLaw, alpha: float, n_features: int, rng: np.random.Generator) -> Drawn:
    """Rows, labels and weights of a law."""
    channel, prior = law.channel, law.prior
    if channel.selects:
        raise ValueError(
            f"{channel} selects rows: draw and simulate them with PerceptronModel, which has the "
            "same theory"
        )
    n_samples = rows_of(alpha, n_features)
    if law.covariates is None:
        w = prior.sample(n_features, rng)
        X = rng.normal(size=(n_samples, n_features))
        return Drawn(GLMRows(X, channel.sample(X @ w / math.sqrt(n_features), rng), w))
    spread = law.covariates
    counts = np.array(spread.counts(n_features))
    power = np.asarray(spread.alignment) / np.asarray(spread.spectrum)
    sizes = np.sqrt(power * n_features / np.maximum(counts, 1) / prior.second_moment)
    parts = []
    for n, share, size in zip(counts, spread.multiplicity, sizes, strict=True):
        if prior.name in ("gaussian", "sphere"):  # of a block as of all: exact length
            direction = rng.normal(size=n)
            length = max(float(np.linalg.norm(direction)), 1e-300)
            parts.append(direction * (size * math.sqrt(n) / length))
        elif share:
            parts.append(size * prior.sample(n, rng))
        else:
            parts.append(size * math.sqrt(prior.second_moment) * rng.choice([-1.0, 1.0], size=n))
    unseen = math.sqrt(max(spread.variance - spread.seen, 0.0) * n_features)
    true = np.append(np.concatenate(parts), unseen) * math.sqrt(1 + 1 / n_features)
    Z = rng.normal(size=(n_samples, n_features + 1))
    y = channel.sample(Z @ true / math.sqrt(n_features + 1), rng)
    return Drawn(
        GLMRows(Z, y, true),
        np.sqrt(np.repeat(spread.spectrum, counts)),
        np.repeat(sizes * math.sqrt(prior.second_moment), counts),
    )


def sample_glm(model: GLMModel, n_features: int, rng: np.random.Generator) -> GLMRows:
    """Rows of the student's features, labels, and weights on them."""
    drawn = draw(laws_of_glm(model)[1], model.alpha, n_features, rng)
    if drawn.stretch is None:
        return drawn.rows
    w = drawn.rows.w_true[:-1] / math.sqrt(1 + 1 / n_features) / drawn.stretch
    return GLMRows(drawn.seen * drawn.stretch, drawn.rows.y, w)


class Passing(NamedTuple):
    """Where message passing ended."""

    weights: FloatArray
    variance: float
    n_iter: int
    residual: float
    status: Status


def _spectral(F: FloatArray, dg: FloatArray, rho: float, rng: np.random.Generator) -> FloatArray:
    """Leading direction of linearised message passing, of norm sqrt(n_features)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    # Var(h | y) = rho (1 + rho dg) > 0
    weight = rho * dg / np.maximum(1 + rho * dg, 1e-3)
    n = F.shape[1]
    matrix = LinearOperator((n, n), matvec=lambda v: F.T @ (weight * (F @ v)), dtype=np.float64)
    _, vectors = eigsh(  # type: ignore[call-overload]
        matrix, k=1, which="LA", v0=rng.normal(size=n), tol=1e-4, maxiter=300
    )
    return np.asarray(vectors[:, 0] * math.sqrt(n))


def pass_messages(
    drawn: Drawn,
    law: GLMLaw,
    *,
    start: str,
    max_iter: int,
    tol: float,
    damping: float,
    rng: np.random.Generator,
    see: Callable[[int, FloatArray], object] | None = None,
) -> Passing:
    """Iterate until the weights stop moving; ``see`` is shown them after every iteration.

    Weights are those on white rows, which inference under a law of its own may take.
    """
    channel, prior = law.channel, law.prior
    X, n = drawn.seen, drawn.seen.shape[1]
    F = X / math.sqrt(n)
    rho, unseen = law.second_moment, law.unseen
    evidence = channel.rows(drawn.rows.y, rho)
    size = np.ones(n)
    if drawn.size is not None:
        size = drawn.size / math.sqrt(prior.second_moment)
    floor = 1e-15 * rho
    own = prior.second_moment - prior.mean**2
    variance = own * float(np.mean(size**2))
    w = prior.mean * size
    if start == "auto":
        start = "spectral" if bayes_curve(law).is_even else "zero"
    if start == "informed":
        true = drawn.rows.w_true[:n] / (math.sqrt(1 + 1 / n) if drawn.size is not None else 1.0)
        w = 0.97 * true
        variance = max(float(np.mean((w - true) ** 2)), 1e-4 * rho)
    elif start == "spectral":
        at = evidence(np.zeros(X.shape[0]), rho)
        g = at.first / np.maximum(at.value, 1e-300)
        direction = _spectral(F, at.second / np.maximum(at.value, 1e-300) - g * g, rho, rng)
        w = direction * math.sqrt(0.1 * rho)
        variance = 0.9 * rho
    onsager = np.zeros(X.shape[0])
    g = np.zeros(X.shape[0])
    residual, status, n_iter = math.inf, Status.MAX_ITER, 0
    keep = 0.0
    for n_iter in range(1, max_iter + 1):
        onsager = (1 - keep) * variance * g + keep * onsager
        mean = F @ w - onsager
        at = evidence(mean, max(variance, floor) + unseen)
        Z = np.maximum(at.value, 1e-300)
        g = at.first / Z
        dg = at.second / Z - g * g
        a, b = -float(dg.sum()) / n, float(g @ g) / n
        if not math.isfinite(b) or b <= 0:
            status = Status.INVALID
            break
        field = F.T @ g + a * w
        b = a if a > 0 else b
        found = posterior_of(prior, size, field / math.sqrt(b), b)
        new, spread = found.mean, float(np.mean(found.variance))
        residual = float(np.linalg.norm(new - w)) / max(float(np.linalg.norm(new)), 1e-300)
        keep = damping if n_iter > 1 else 0.0
        w = (1 - keep) * new + keep * w
        variance = max((1 - keep) * spread + keep * variance, floor)
        if see is not None:
            see(n_iter, w)
        if residual <= tol or variance <= 2 * floor:
            status = Status.CONVERGED
            break
    return Passing(w, variance, n_iter, residual, status)


def simulate_glm(
    model: GLMModel | ERMModel,
    *,
    n_features: int,
    n_repeats: int,
    start: str,
    max_iter: int,
    tol: float,
    damping: float,
    random_state: Seed,
    n_jobs: int | None,
    progress: Progress | None,
    on_failure: OnFailure,
) -> GLMSimulation:
    """Run message passing on data drawn from the model; see `simulate`."""
    check_choice(start, "start", ("auto", "zero", "spectral", "informed"))
    key = stream_key(random_state)
    erm = model if isinstance(model, ERMModel) else None
    if isinstance(model, ERMModel):
        laws = (teacher_of(model), teacher_of(model))
        predict, unseen, is_even = erm_student(model).predict, 0.0, False
    else:
        laws = laws_of_glm(model)
        predict, unseen = laws[0].channel.predict, laws[0].unseen
        is_even = start == "auto" and bayes_curve(laws[0]).is_even
    teacher = laws[1]
    if teacher.covariates is not None:
        teacher.covariates.counts(n_features)  # refuse a size before anything is drawn

    def run(replica: int, watch: Progress) -> dict[str, Any]:
        rng = generator(np.random.SeedSequence([*key, replica]))
        drawn = draw(teacher, model.alpha, n_features, rng)
        if erm is not None:
            done = fit_loss(erm, drawn, tol=tol, max_iter=max_iter)
        else:
            done = pass_messages(
                drawn, laws[0], start=start, max_iter=max_iter, tol=tol, damping=damping, rng=rng
            )
        watch(0, 1)
        w, true = drawn.white(done.weights), drawn.rows.w_true
        variance = max(done.variance, 1e-15) + unseen
        error = new_error(lambda mean: predict(mean, variance), w, true, teacher.channel, rng)
        return {
            **measure(w, true, is_even=is_even),
            "error": error,
            "n_iter": done.n_iter,
            "residual": done.residual,
            "status": done.status,
        }

    runs = run_repeats(run, n_repeats, n_jobs=n_jobs, progress=progress)
    return summarise(runs, model, n_features=n_features, on_failure=on_failure)


def fit_loss(model: ERMModel, drawn: Drawn, *, tol: float, max_iter: int) -> Passing:
    """Minimise a loss on the student's features; weights are those on white rows."""
    scale = 1.0 if drawn.stretch is None else drawn.stretch
    found = minimise(model, drawn.seen * scale, drawn.rows.y, tol=tol, max_iter=max_iter)
    is_done = found.residual <= 100 * tol
    return Passing(
        found.weights * scale,
        1.0,
        found.n_iter,
        found.residual,
        Status.CONVERGED if is_done else Status.MAX_ITER,
    )


def measure(w: FloatArray, true: FloatArray, *, is_even: bool = False) -> dict[str, float]:
    """Overlaps of an estimate with the truth; up to the sign where the labels do not show it."""
    n = true.size
    if is_even and w @ true < 0:
        w = -w
    q, m, rho = (float(a @ b) / n for a, b in ((w, w), (w, true), (true, true)))
    cosine = m / math.sqrt(q * rho) if q > 0 else 0.0
    return {"q": q, "m": m, "cosine": cosine, "mse": float(np.mean((w - true) ** 2))}


def new_error(
    predict: Any, w: FloatArray, true: FloatArray, channel: Channel, rng: np.random.Generator
) -> float:
    """Error on new rows: their two fields are Gaussian with the overlaps of w and the truth."""
    n = true.size
    z = rng.normal(size=(2, N_NEW))
    length = math.sqrt(float(true @ true) / n)
    along = float(w @ true) / n / length
    across = math.sqrt(max(float(w @ w) / n - along**2, 0.0))
    y = channel.sample(length * z[0], rng)
    guess = predict(along * z[0] + across * z[1])
    return float(np.mean(guess != y)) if channel.labels else float(np.mean((guess - y) ** 2))


def summarise(
    runs: list[dict[str, Any]],
    model: Any,
    *,
    n_features: int,
    on_failure: OnFailure,
) -> GLMSimulation:
    """Means, errors and the worst status of all runs."""
    samples = {name: np.array([r[name] for r in runs]) for name in runs[0] if name != "status"}
    samples["converged"] = np.array([r["status"] == Status.CONVERGED for r in runs])
    status = worst_status(r["status"] for r in runs)
    residual = float(samples["residual"].max())
    report_status(status, residual, "message passing", on_failure=on_failure, stacklevel=4)
    means = mean_and_stderr({name: samples[name] for name in GLM_QUANTITIES})
    return GLMSimulation(
        model=model,
        n_features=n_features,
        n_repeats=len(runs),
        status=status,
        n_iter=int(samples["n_iter"].max()),
        residual=residual,
        message=status.sentence,
        stderr={name: float(value) for name, value in means.stderr.items()},
        samples=samples,
        **{name: float(value) for name, value in means.mean.items()},
    )
