"""Features of student and teacher that are correlated, by the spectrum of their covariances."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, as_float_array, check_entries, check_kind, check_real
from retemper.perceptron.weight_prior import Prior

__all__ = ["Covariates", "check_covariates"]


@dataclasses.dataclass(frozen=True, repr=False)
class Covariates:
    """Second moments of a student's features and of what they share with a teacher's.

    Labels follow the teacher's field ``h0 = u @ w_true / sqrt(n_teacher)``, the student's field is
    ``h = v @ w / sqrt(n_features)``; ``u`` and ``v`` are Gaussian together. In the basis of the
    eigenvectors of the student's covariance all that counts is a list of eigenvalues, how many
    there are of each, and how much of the teacher's field each of them sees.

    Parameters
    ----------
    spectrum : tuple of float, default=(1.0,)
        Eigenvalues of the student's covariance, positive.
    multiplicity : tuple of float, default=(1.0,)
        Shares of the features at each eigenvalue; they add up to 1. 0 is a single direction.
    alignment : tuple of float, default=(1.0,)
        Sum over these features of their squared covariances with the teacher's field.
    second_moment : float or None, default=None
        Variance of the teacher's field, at least the sum of ``alignment / spectrum``, for which
        None stands: the student's features determine the field.
    is_diagonal : bool, default=False
        Whether the features themselves are uncorrelated, each of a variance of ``spectrum``.
        Weights are then independent one by one: a prior of any shape and ``l1`` need that.

    Raises
    ------
    ValueError
        If the lists differ in length, a value is outside its domain, or the teacher's field has
        less variance than the student's features explain.

    See Also
    --------
    ERMModel, GLMModel

    Notes
    -----
    The Gaussian covariate model of Loureiro et al. (2021) [1]_; equations derived here
    (`derivations/perceptron#correlated-features`).

    References
    ----------
    .. [1] B. Loureiro, C. Gerbelot, H. Cui, S. Goldt, F. Krzakala, M. Mezard and L. Zdeborova,
       "Learning curves of generic features maps for realistic datasets with a teacher-student
       model", NeurIPS 34 (2021) 18137.

    Examples
    --------
    >>> from retemper.perceptron import Covariates, ERMModel, solve
    >>> few_strong = Covariates((4.0, 0.25), (0.2, 0.8), (3.0, 0.1))
    >>> plain, skewed = ERMModel(1.0), ERMModel(1.0, covariates=few_strong)
    >>> solve(skewed).error < solve(plain).error
    True
    """

    spectrum: tuple[float, ...] = (1.0,)
    multiplicity: tuple[float, ...] = (1.0,)
    alignment: tuple[float, ...] = (1.0,)
    second_moment: float | None = None
    is_diagonal: bool = False

    def __post_init__(self) -> None:
        lists = {}
        for name in ("spectrum", "multiplicity", "alignment"):
            values = as_float_array(getattr(self, name), name)
            if not values.size:
                raise ValueError(f"{name} must not be empty")
            check_entries(values, name)
            if not values.min() >= 0 or (name == "spectrum" and not values.min() > 0):
                kind = "positive" if name == "spectrum" else "at least 0"
                raise ValueError(f"{name} must be {kind}, got {float(values.min()):g}")
            lists[name] = values
        sizes = {name: values.size for name, values in lists.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"spectrum, multiplicity and alignment must have equal lengths, got {sizes}"
            )
        total = float(lists["multiplicity"].sum())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"multiplicity must add up to 1, got {total:g}")
        for name, values in lists.items():
            object.__setattr__(self, name, tuple(values.tolist()))
        if not self.seen > 0 and not self.second_moment:
            raise ValueError("alignment must not be 0 everywhere unless second_moment is given")
        if self.second_moment is not None:
            rho = check_real(self.second_moment, "second_moment", low=0, open_low=True)
            if rho < self.seen * (1 - 1e-9):
                raise ValueError(
                    "second_moment must be at least the variance that the features explain, "
                    f"{self.seen:g}, got {rho:g}"
                )
            object.__setattr__(self, "second_moment", rho)
        if not isinstance(self.is_diagonal, bool):
            raise TypeError(f"is_diagonal must be True or False, got {self.is_diagonal!r}")

    def __repr__(self) -> str:
        n = len(self.spectrum)
        if n > 4:
            low, high = min(self.spectrum), max(self.spectrum)
            parts = f"{n} eigenvalues from {low:.4g} to {high:.4g}"
        else:
            parts = ", ".join(
                f"{share:.4g} at {value:.4g} with {alignment:.4g}"
                for share, value, alignment in zip(
                    self.multiplicity, self.spectrum, self.alignment, strict=True
                )
            )
        what = "uncorrelated features: " if self.is_diagonal else ""
        return f"Covariates({what}{parts}; field {self.variance:.4g})"

    @property
    def seen(self) -> float:
        """Variance of the teacher's field that the student's features explain."""
        return float(np.sum(np.asarray(self.alignment) / np.asarray(self.spectrum)))

    @property
    def variance(self) -> float:
        """Variance of the teacher's field."""
        return self.seen if self.second_moment is None else self.second_moment

    def counts(self, n_features: int) -> list[int]:
        """Numbers of features at each eigenvalue: one or more where there is alignment."""
        counts = np.floor(np.asarray(self.multiplicity) * n_features + 1e-9).astype(int)
        counts = np.maximum(counts, np.asarray(self.alignment) > 0)
        rest = np.asarray(self.multiplicity) * n_features - counts
        missing = n_features - int(counts.sum())
        for i in np.argsort(-rest, kind="stable")[: max(missing, 0)]:
            counts[i] += 1
        counts[int(np.argmax(counts))] += n_features - int(counts.sum())
        if counts.min() < 0 or (counts < (np.asarray(self.alignment) > 0)).any():
            raise ValueError(
                f"n_features must be at least {int((np.asarray(self.alignment) > 0).sum())}, one "
                f"for every eigenvalue that the teacher uses, got {n_features}"
            )
        return [int(n) for n in counts]

    @classmethod
    def from_covariances(
        cls,
        student_cov: ArrayLike,
        w_true: ArrayLike,
        *,
        cross_cov: ArrayLike | None = None,
        teacher_cov: ArrayLike | None = None,
    ) -> Covariates:
        """Of given covariance matrices and teacher.

        Parameters
        ----------
        student_cov : array_like of shape (n_features, n_features)
            Covariance of the student's features, positive definite.
        w_true : array_like of shape (n_teacher,) or (n_tasks, n_teacher)
            Weights of the teacher on its features, of squared norm about ``n_teacher``; the sum of
            several.
        cross_cov : array_like of shape (n_teacher, n_features) or None, default=None
            Covariance of teacher's and student's features; None where they are the same.
        teacher_cov : array_like of shape (n_teacher, n_teacher) or None, default=None
            Covariance of the teacher's features; given with ``cross_cov``.

        Returns
        -------
        Covariates
            One eigenvalue for every feature. Where ``student_cov`` is diagonal it says so, and
            ``prior="binary"`` of a model stands for the sizes of these very weights.

        Raises
        ------
        ValueError
            If shapes do not fit, ``student_cov`` is not positive definite, or the three are no
            covariance.
        """
        student = as_float_array(student_cov, "student_cov", ndim=2)
        task = as_float_array(w_true, "w_true", ndim=(1, 2))
        if not (task.size and student.size):
            raise ValueError("student_cov and w_true must not be empty")
        check_entries(task, "w_true")
        weights = task if task.ndim == 1 else task.sum(axis=0)
        d, p = student.shape[0], weights.size
        across, own = student, student
        if (cross_cov is None) != (teacher_cov is None):
            raise ValueError("cross_cov and teacher_cov belong together: give both or neither")
        if cross_cov is not None and teacher_cov is not None:
            across = as_float_array(cross_cov, "cross_cov", ndim=2)
            own = as_float_array(teacher_cov, "teacher_cov", ndim=2)
        shapes = {
            "student_cov": (student, (d, d)),
            "cross_cov": (across, (p, d)),
            "teacher_cov": (own, (p, p)),
        }
        for name, (matrix, shape) in shapes.items():
            check_entries(matrix, name)
            if matrix.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {matrix.shape}")
        student = _symmetric(student, "student_cov")
        values, vectors = np.linalg.eigh(student)
        if not values[0] > 1e-12 * values[-1]:
            raise ValueError(
                f"student_cov must be positive definite, got eigenvalues from {values[0]:.3g} to "
                f"{values[-1]:.3g}"
            )
        shared = vectors.T @ (across.T @ weights) / np.sqrt(p)
        field = float(weights @ _symmetric(own, "teacher_cov") @ weights) / p
        seen = float(np.sum(shared**2 / values))
        if seen > field * (1 + 1e-8):
            raise ValueError(
                "student_cov, cross_cov and teacher_cov must be a covariance together: the first "
                f"two explain {seen:g} of the teacher's field, whose variance is {field:g}"
            )
        return cls(
            tuple(values.tolist()),
            (1 / d,) * d,
            tuple((shared**2).tolist()),
            max(field, seen),
            is_diagonal=not np.any(student - np.diag(np.diag(student))),
        )

    @classmethod
    def from_sources(
        cls, overlaps: ArrayLike, stretch: ArrayLike, *, gram: ArrayLike | None = None
    ) -> Covariates:
        """Of white features that are stretched along directions learned from sources.

        A ridge on the stretched features lets weights along the source k grow by ``stretch[k]`` for
        the price of others.

        Parameters
        ----------
        overlaps : array_like of shape (n_sources,)
            Cosine of every source with the teacher.
        stretch : array_like of shape (n_sources,)
            Variance of the features along each source, positive; 1 leaves it unused.
        gram : array_like of shape (n_sources, n_sources) or None, default=None
            Cosines between the sources; None where they are orthogonal. The covariance of the
            features is one plus the sum of ``(stretch[k] - 1)`` times the projector on source k.

        Returns
        -------
        Covariates
            One eigenvalue for every source, each a single direction, and 1 for all the others.

        Raises
        ------
        ValueError
            If cosines are no cosines of one teacher, or a direction is left without variance.
        """
        r, g = as_float_array(overlaps, "overlaps"), as_float_array(stretch, "stretch")
        if not r.size:
            raise ValueError("overlaps must not be empty: there is no source")
        check_entries(r, "overlaps")
        check_entries(g, "stretch")
        if r.size != g.size:
            raise ValueError(f"stretch must have {r.size} entries, one for every source: {g.size}")
        if not g.min() > 0:
            raise ValueError(f"stretch must be positive, got {float(g.min()):g}")
        cosines = np.eye(r.size) if gram is None else as_float_array(gram, "gram", ndim=2)
        check_entries(cosines, "gram")
        if cosines.shape != (r.size, r.size) or not np.allclose(np.diag(cosines), 1, atol=1e-9):
            raise ValueError(f"gram must have ones on a diagonal of {r.size}")
        try:
            root = np.linalg.cholesky(_symmetric(cosines, "gram"))
        except np.linalg.LinAlgError:
            raise ValueError("gram must be positive definite: sources must differ") from None
        along = np.linalg.solve(root, r)  # of the teacher, in an orthonormal basis of the sources
        if along @ along > 1 + 1e-9:
            raise ValueError(
                f"overlaps must be cosines with one teacher, got {float(along @ along):g} for the "
                "share of it that lies in the span of the sources, above 1"
            )
        values, vectors = np.linalg.eigh(np.eye(r.size) + root.T @ np.diag(g - 1) @ root)
        if not values[0] > 0:
            raise ValueError(f"stretch leave a direction without variance ({values[0]:.3g})")
        rest = max(1 - float(along @ along), 0.0)
        return cls(
            (*values.tolist(), 1.0),
            (*(0.0,) * r.size, 1.0),
            (*(values * (vectors.T @ along) ** 2).tolist(), rest),
            1.0,
        )


def check_covariates(covariates: Covariates, *priors: object, l1: float = 0.0) -> None:
    """Raise unless weights of these priors and this penalty are seen one by one."""
    check_kind(covariates, "covariates", Covariates)
    if covariates.is_diagonal:
        return
    shaped = [p for p in priors if isinstance(p, Prior) and p.name not in ("gaussian", "sphere")]
    if l1 or shaped:
        what = "l1" if l1 else f"prior={shaped[0]}"
        raise ValueError(
            f"{what} acts on the weight of every feature, and correlated features mix them: the "
            "theory closes for uncorrelated features (is_diagonal=True of covariates) alone; use "
            "Gaussian weights and a squared penalty, or say that the features are uncorrelated"
        )


def _symmetric(matrix: FloatArray, name: str) -> FloatArray:
    if not np.allclose(matrix, matrix.T, atol=1e-9 * max(float(np.abs(matrix).max()), 1e-300)):
        raise ValueError(f"{name} must be symmetric")
    return 0.5 * (matrix + matrix.T)
