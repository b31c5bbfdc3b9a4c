"""One of several sources of a linear model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._validation import FloatArray, as_float_array, check_real, check_shape

__all__ = ["ByValue", "LinearSource", "are_fitted", "check_covariance"]


def check_covariance(value: ArrayLike, name: str, d: int, *, ndim: int | tuple[int, ...]) -> Any:
    """Covariance of d coordinates: (d,) the diagonal of a diagonal one, (d, d) a symmetric one."""
    array = as_float_array(value, name, ndim=ndim)
    check_shape(array, (d,) * array.ndim, name)
    low = float(array.min() if array.ndim == 1 else array.diagonal().min())
    if low < 0.0:
        what = "entries" if array.ndim == 1 else "diagonal entries"
        raise ValueError(f"{name} must have non-negative {what}, got {low}")
    if array.ndim == 2:
        gap = float(np.abs(array - array.T).max())
        if gap > 1e-12 * float(np.abs(array).max()):
            raise ValueError(f"{name} must be symmetric, it differs from its transpose by {gap:g}")
    return array


def are_fitted(mixing_weights: Any) -> bool:
    """Whether training chooses the weights of several sources."""
    return isinstance(mixing_weights, str) and mixing_weights == "fitted"


class ByValue:
    """Dataclasses of numbers and arrays that compare by value and can be keys of a dict."""

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value = value.copy()  # later changes of the caller's array must not reach the model
            value.flags.writeable = False
        object.__setattr__(self, name, value)

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        # adding 0.0 makes -0.0 and 0.0, which compare equal, the same bytes
        return tuple(
            (v.shape, (v + 0.0).tobytes()) if isinstance(v, np.ndarray) else v for v in values
        )

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shown = []
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                shown.append(f"{f.name}=<array {value.shape}>")
            elif f.default is dataclasses.MISSING or value != f.default:
                shown.append(f"{f.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearSource(ByValue):
    """A source that is known, or learned from rows of its own: one of `LinearModel`'s ``sources``.

    Its fields mean what the fields of the same names mean in `LinearModel`.

    Parameters
    ----------
    theta_source : array_like of shape (d,)
        The teacher of the source; its coefficients themselves where there are no rows.
    n_samples_source : int or None, default=None
        Number of its rows; None for infinitely many.
    cov_source : array_like of shape (d,) or (d, d), or None, default=None
        Covariance of its rows; a vector is the diagonal of a diagonal one, None the target's.
    noise_source : float, default=0.0
        Standard deviation of its label noise.
    ridge_source : float, default=0.0
        Ridge towards zero with which it was fitted, per sample.

    Attributes
    ----------
    n_features : int
        Dimension d.

    Raises
    ------
    ValueError
        If a value is outside its domain, shapes disagree, or a known source has noise, ridge or a
        covariance.
    TypeError
        If an argument is not a real number or array.

    See Also
    --------
    LinearModel, solve, mixture_model

    Notes
    -----
    Rows of different sources are independent of each other and of the target's. The theory is
    derived here (`derivations/linear#several-sources-that-were-learned`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, LinearSource, solve
    >>> theta = np.ones(100) / 10
    >>> learned = LinearSource(theta, n_samples_source=300, noise_source=0.5)
    >>> one, two = (LinearModel(50, theta, noise=0.1, sources=[learned] * k) for k in (1, 2))
    >>> round(solve(one).risk, 4), round(solve(two).risk, 4)
    (0.0656, 0.0394)
    >>> solve(two).mixing_weights.round(3).tolist()
    [0.471, 0.471]
    """

    theta_source: FloatArray
    _: dataclasses.KW_ONLY
    n_samples_source: int | None = None
    cov_source: FloatArray | None = None
    noise_source: float = 0.0
    ridge_source: float = 0.0

    def __post_init__(self) -> None:
        theta = as_float_array(self.theta_source, "theta_source")
        if not theta.size:
            raise ValueError(f"theta_source must not be empty, got shape {theta.shape}")
        self._set("theta_source", theta)
        noise = check_parameter(self.noise_source, "noise", label="noise_source")
        self._set("noise_source", noise)
        self._set("ridge_source", check_real(self.ridge_source, "ridge_source"))
        if self.cov_source is not None:
            cov = check_covariance(self.cov_source, "cov_source", theta.size, ndim=(1, 2))
            self._set("cov_source", cov)
        if self.n_samples_source is not None:
            n = check_parameter(self.n_samples_source, "n_samples", label="n_samples_source")
            self._set("n_samples_source", n)
        elif self.cov_source is not None or self.noise_source or self.ridge_source:
            raise ValueError(
                "cov_source, noise_source and ridge_source describe a learned source: they need "
                "n_samples_source"
            )

    @property
    def n_features(self) -> int:
        """Dimension d."""
        return int(self.theta_source.size)
