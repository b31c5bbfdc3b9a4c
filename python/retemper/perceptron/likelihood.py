"""Channels: what a label says about the field of its row, ``P(label | h)``.

Every channel gives its evidence ``Z(y; mean, variance) = E P(y | h)``, ``h ~ N(mean, variance)``,
and its averages over new rows. Those of the catalogue are sums of slabs of the field, a noise on
the field, or a fold; any other density is a table of Legendre series on panels.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, make_interp_spline
from scipy.special import erf, gammaln, ndtr

from retemper._validation import FloatArray, as_float_array, check_choice, check_real
from retemper.exceptions import NumericalError
from retemper.perceptron.panels import (
    LAST,
    LOG_ROOT_2PI,
    RADII,
    SERIES,
    SMALLEST,
    TERMS,
    ChannelAverages,
    Evidence,
    ResidualLaw,
    field_panels,
    integral_of_size,
    integrate_panels,
    interpolated,
    normal_density,
    panel_evidence,
    panel_nodes,
    refined,
)

__all__ = [
    "CHANNELS",
    "Channel",
    "as_channel",
    "outcomes",
    "tabled_averages",
]

#: Channels of the catalogue.
CHANNELS = (
    "sign", "probit", "logistic", "door", "absolute", "linear", "laplace", "student",
    "margin", "cluster",
)  # fmt: skip


class Channel(ABC):
    """Law of a label given the field of its row.

    Use a name ("sign", "probit", "logistic", "door", "absolute", "linear", "laplace", "student",
    "margin", "cluster"), or make one by a method below; `Channel.from_log_density` takes any
    density.

    See Also
    --------
    Prior, GLMModel

    Notes
    -----
    Derived here (`derivations/perceptron#any-channel-and-prior`). The overlap of the evidence's
    derivatives is all that theory and message passing need of a channel.

    Examples
    --------
    >>> from retemper.perceptron import Channel
    >>> Channel.sign(eta=0.1)
    Channel.sign(eta=0.1)
    """

    #: The labels, where there are finitely many.
    labels: tuple[float, ...] | None = None
    #: Fields at which it has a wall, and the variance of that.
    walls: tuple[tuple[float, float], ...] = ()
    #: Whether rows are drawn, not labels: the density of the field itself is tilted.
    selects: ClassVar[bool] = False
    _text: str

    def __repr__(self) -> str:
        return self._text

    # -- catalogue ---------------------------------------------------------------------------

    @staticmethod
    def sign(*, sigma: float = 0.0, eta: float = 0.0) -> Channel:
        """Labels -1 and 1: the sign of the field.

        Parameters
        ----------
        sigma : float, default=0.0
            Standard deviation of normal noise on the field; 1 is probit.
        eta : float, default=0.0
            Probability that a label is flipped, in [0, 0.5).

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        sigma = check_real(sigma, "sigma", low=0)
        eta = check_real(eta, "eta", low=0, high=0.5, open_high=True)
        slabs = [
            [(eta, 0.0, math.inf), (1 - eta, -math.inf, 0.0)],
            [(1 - eta, 0.0, math.inf), (eta, -math.inf, 0.0)],
        ]
        return _SlabChannel((-1.0, 1.0), slabs, sigma, _call("sign", sigma=sigma, eta=eta))

    @staticmethod
    def probit(*, sigma: float = 1.0) -> Channel:
        """Labels -1 and 1 of probit regression, P(1 | h) = Φ(h / sigma).

        Parameters
        ----------
        sigma : float, default=1.0
            Standard deviation of the noise on the field.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If ``sigma`` is negative.
        """
        return Channel.sign(sigma=sigma)

    @staticmethod
    def logistic(*, steepness: float = 1.0) -> Channel:
        """Labels -1 and 1 of logistic regression, P(1 | h) = 1 / (1 + exp(-steepness h)).

        Parameters
        ----------
        steepness : float, default=1.0
            Slope of the log-odds.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If ``steepness`` is not positive.
        """
        k = check_real(steepness, "steepness", low=0, open_low=True)
        return _TableChannel(
            lambda y, h: -np.logaddexp(0.0, -k * y * h), (-1.0, 1.0),
            text=_call("logistic", steepness=k) if k != 1 else "Channel.logistic()",
        )  # fmt: skip

    @staticmethod
    def door(kappa: float = 0.6744897501960817, *, sigma: float = 0.0) -> Channel:
        """Labels 1 where ``|h| < kappa``, else -1 (symmetric door).

        Parameters
        ----------
        kappa : float, default=0.6744897501960817
            Half width of the door; the default makes both labels as likely.
        sigma : float, default=0.0
            Standard deviation of normal noise on the field.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        kappa = check_real(kappa, "kappa", low=0, open_low=True)
        sigma = check_real(sigma, "sigma", low=0)
        slabs = [
            [(1.0, kappa, math.inf), (1.0, -math.inf, -kappa)],
            [(1.0, -kappa, kappa)],
        ]
        return _SlabChannel((-1.0, 1.0), slabs, sigma, _call("door", kappa=kappa, sigma=sigma))

    @staticmethod
    def absolute(*, noise: float = 0.0) -> Channel:
        """Labels ``|h + noise|``: real phase retrieval.

        Parameters
        ----------
        noise : float, default=0.0
            Standard deviation of normal noise on the field.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If ``noise`` is negative.
        """
        return _FoldChannel(check_real(noise, "noise", low=0))

    @staticmethod
    def linear(
        *,
        noise: float = 0.0,
        law: Literal["gaussian", "laplace", "student"] = "gaussian",
        df: float = 3.0,
    ) -> Channel:
        """Labels ``h`` plus noise.

        Parameters
        ----------
        noise : float, default=0.0
            Standard deviation of the noise; positive unless it is Gaussian.
        law : {"gaussian", "laplace", "student"}, default="gaussian"
            Law of the noise.
        df : float, default=3.0
            Degrees of freedom of Student's law, above 2.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        check_choice(law, "law", ("gaussian", "laplace", "student"))
        noise = check_real(noise, "noise", low=0, open_low=law != "gaussian")
        if law == "gaussian":
            return _GaussianChannel(noise)
        return _NoiseChannel(law, noise, check_real(df, "df", low=2, open_low=True))

    @staticmethod
    def margin(kappa: float = 1.0, *, sigma: float = 0.0, is_labelled: bool = True) -> Channel:
        """Rows of `PerceptronModel`: their field is cut inside ``|h| < kappa``.

        Parameters
        ----------
        kappa : float, default=1.0
            Margin.
        sigma : float, default=0.0
            Softness.
        is_labelled : bool, default=True
            Whether the side is known.

        Returns
        -------
        Channel
            The channel; it takes priors of second moment one.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        kappa = check_real(kappa, "kappa", low=0, high=30)
        sigma = check_real(sigma, "sigma", low=0)
        weight = 1 / float(ndtr(-kappa / math.sqrt(1 + sigma**2)))
        slabs = [(weight, kappa, math.inf)]
        if not is_labelled:
            slabs = [(weight / 2, kappa, math.inf), (weight / 2, -math.inf, -kappa)]
        text = _call("margin", kappa=kappa, sigma=sigma)
        return _SelectChannel(
            (1.0,), [slabs], sigma, text if is_labelled else f"{text[:-1]}, is_labelled=False)"
        )

    @staticmethod
    def cluster(cluster_mean: float = 1.0, *, is_labelled: bool = True) -> Channel:
        """Rows of two Gaussian clusters at ``+-cluster_mean`` along the direction.

        Parameters
        ----------
        cluster_mean : float, default=1.0
            Half their distance.
        is_labelled : bool, default=True
            Whether the cluster is known.

        Returns
        -------
        Channel
            The channel; it takes priors of second moment one.

        Raises
        ------
        ValueError
            If ``cluster_mean`` is outside its domain.
        """
        mean = check_real(cluster_mean, "cluster_mean", low=0, high=20)
        return _ClusterChannel(mean, is_labelled)

    @staticmethod
    def from_log_density(
        log_density: Callable[[FloatArray, FloatArray], ArrayLike],
        *,
        labels: ArrayLike | None = None,
        label_range: tuple[float, float] | None = None,
        breakpoints: ArrayLike = (),
        name: str = "log_density",
    ) -> Channel:
        """Any law of the label, as ``log P(y | h)``.

        Parameters
        ----------
        log_density : callable
            Maps arrays of labels and fields, which broadcast, to log probabilities; -inf where
            a label is impossible.
        labels : array_like or None, default=None
            All labels, where there are finitely many.
        label_range : tuple of float or None, default=None
            Where numbers lie instead; both ends finite.
        breakpoints : array_like, default=()
            Fields at which the density jumps or has a kink; panels end there.
        name : str, default="log_density"
            What messages call it.

        Returns
        -------
        Channel
            The channel.

        Raises
        ------
        ValueError
            If neither or both of ``labels`` and ``label_range`` are given, or they are not
            finite. Where the density is not a number, or does not normalise, solving says so.
        """
        if (labels is None) == (label_range is None):
            raise ValueError("give either labels, all of them, or label_range, where numbers lie")
        walls = as_float_array(breakpoints, "breakpoints") if np.size(breakpoints) else np.zeros(0)
        values = ends = None
        if labels is not None:
            values = tuple(np.unique(as_float_array(labels, "labels")).tolist())
        else:
            assert label_range is not None
            low, high = as_float_array(label_range, "label_range").tolist()
            if not low < high:
                raise ValueError(f"label_range must increase, got {label_range}")
            ends = (low, high)
        return _TableChannel(
            log_density, values, ends, tuple(walls.tolist()), f"Channel.from_log_density({name})"
        )

    # -- what theory and message passing ask -------------------------------------------------

    @abstractmethod
    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        """Mean likelihood of labels and its derivatives; the arguments broadcast."""

    def rows(self, y: FloatArray, second_moment: float) -> Callable[[FloatArray, float], Evidence]:
        """Evidence of these labels as a function of the means and one variance."""
        return lambda mean, variance: self.evidence(y, mean, np.array(variance))

    @abstractmethod
    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        """Averages over new rows whose fields have a known part of variance q, and V unknown."""

    @abstractmethod
    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        """Labels of rows with these fields."""

    @abstractmethod
    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        """Best label of rows whose fields have these means: likeliest, or mean if a number."""

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        """Law of label minus estimate, for functions that bend at plus and minus 1 + V.

        The estimate has the second moment q and the covariance m with the field. None where the
        law is no mixture over one variable.
        """
        return None

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        """Nodes and weights of an integral over labels that are numbers: (n_nodes, n)."""
        raise NotImplementedError

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """Whether labels can determine the weights: information is unbounded as V -> 0."""

    def label_entropy(self, second_moment: float) -> float:
        """Entropy of a label whose field, of this variance, is known; nats."""
        at = self.averages(np.array([second_moment]), np.array([SMALLEST * second_moment]))
        return -float(at.entropy[0])

    def check_scale(self, second_moment: float) -> None:  # noqa: B027 - most take any
        """Raise ValueError unless fields may have this variance."""


def _call(name: str, **options: float) -> str:
    shown = ", ".join(f"{k}={v:.6g}" for k, v in options.items() if v)
    return f"Channel.{name}({shown})"


class _Finite(Channel):
    """Channels with finitely many labels."""

    labels: tuple[float, ...]

    @abstractmethod
    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        """Evidence of every label: (n_labels, n)."""

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        return refined(self._measure, q, np.maximum(V, SMALLEST * (q + V)))

    def _measure(self, q: FloatArray, V: FloatArray, level: int) -> ChannelAverages:
        z, weight, half = field_panels(q, V, self.walls, level)
        mean = np.sqrt(q)[:, None, None] * z
        spread = np.broadcast_to(V[:, None, None], mean.shape)
        parts = self.all_evidence(mean.reshape(-1), np.ascontiguousarray(spread).reshape(-1))
        Z, first, second = (part.reshape(-1, *mean.shape) for part in parts)
        Z = np.maximum(Z, 1e-300)
        g = first / Z
        is_live = Z > 1e-30
        dg = np.where(is_live, second / Z - g * g, 0.0)
        fisher = np.where(is_live, Z * g * g, 0.0).sum(axis=0)
        overlap, error = integrate_panels(
            fisher * normal_density(z), weight / normal_density(z), half
        )
        total = functools.partial(np.einsum, "npk,npk->n", weight)
        wrong = 1 - total(Z.max(axis=0))
        if len(self.labels) == 2:
            wrong = 0.5 * (1 - integral_of_size((Z[1] - Z[0]) * normal_density(z), half))
        return ChannelAverages(
            overlap,
            total((Z * dg * dg).sum(axis=0)),
            total((Z * np.log(Z)).sum(axis=0)),
            wrong,
            error,
        )

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        at = self.all_evidence(mean, np.full_like(mean, variance)).value
        best: FloatArray = self._values[at.argmax(axis=0)]
        return best

    @property
    def _values(self) -> FloatArray:
        return np.asarray(self.labels, dtype=np.float64)

    def _index(self, y: FloatArray) -> Any:
        index = np.searchsorted(self.labels, y)
        return np.minimum(index, len(self.labels) - 1)


class _SlabChannel(_Finite):
    """Labels by slabs of the field: P(y | h) = sum of weights times 1[low < h + sigma n < high]."""

    def __init__(
        self,
        labels: tuple[float, ...],
        slabs: list[list[tuple[float, float, float]]],
        sigma: float,
        text: str,
    ) -> None:
        self.labels, self._slabs, self._sigma, self._text = labels, slabs, sigma, text
        ends = {end for label in slabs for _, low, high in label for end in (low, high)}
        self.walls = tuple((t, sigma**2) for t in sorted(ends) if math.isfinite(t))
        self._is_flipped = any(0 < w < 1 for label in slabs for w, *_ in label)

    @property
    def is_exact(self) -> bool:
        return self._sigma == 0 and (self.selects or not self._is_flipped)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        s = np.sqrt(variance + self._sigma**2)
        edges: dict[float, tuple[FloatArray, FloatArray, FloatArray]] = {}
        for place, _ in self.walls:
            u = (place - mean) / s
            density = normal_density(u)
            edges[place] = (u, density / s, u * density / (s * s))
        zero = np.zeros_like(mean)
        edges[-math.inf] = (np.full_like(mean, -math.inf), zero, zero)
        edges[math.inf] = (np.full_like(mean, math.inf), zero, zero)
        out = np.zeros((3, len(self.labels), mean.size))
        tails = {place: (ndtr(u), ndtr(-u)) for place, (u, _, _) in edges.items()}
        for row, slabs in enumerate(self._slabs):
            for weight, low, high in slabs:
                if not weight:
                    continue
                (a, pa, ca), (_, pb, cb) = edges[low], edges[high]
                mass = np.where(
                    a > 0, tails[low][1] - tails[high][1], tails[high][0] - tails[low][0]
                )
                out[0, row] += weight * mass
                out[1, row] += weight * (pa - pb)
                out[2, row] += weight * (ca - cb)
        return Evidence(*out)

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        y, mean, variance = np.broadcast_arrays(y, mean, variance)
        parts = self.all_evidence(mean.reshape(-1), variance.reshape(-1))
        at = self._index(y.reshape(-1)), np.arange(mean.size)
        return Evidence(*(part[at].reshape(mean.shape) for part in parts))

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        noisy = h + self._sigma * random_state.normal(size=h.shape)
        share = np.array(
            [
                sum(w * ((noisy > low) & (noisy <= high)) for w, low, high in slabs)
                for slabs in self._slabs
            ]
        )
        return _choose(self.labels, share, random_state)


def _choose(labels: tuple[float, ...], share: FloatArray, rng: np.random.Generator) -> FloatArray:
    mark = rng.random(share.shape[1]) * share.sum(axis=0)
    index = (np.cumsum(share, axis=0) <= mark).sum(axis=0)
    values: FloatArray = np.asarray(labels, dtype=np.float64)
    chosen: FloatArray = values[np.minimum(index, len(labels) - 1)]
    return chosen


class _SelectChannel(_SlabChannel):
    """Slabs that rows are selected by."""

    selects = True

    def check_scale(self, second_moment: float) -> None:
        _check_unit(self, second_moment)


def _check_unit(channel: Channel, rho: float) -> None:
    if abs(rho - 1) > 1e-9:
        raise ValueError(f"{channel} takes priors of second moment one, got {rho:g}")


class _ClusterChannel(_Finite):
    """Two clusters: the density of the field is tilted by cosh or exp."""

    selects = True

    def __init__(self, mean: float, is_labelled: bool) -> None:
        self.labels = (1.0,)
        self._mean, self._is_labelled, self.walls = mean, is_labelled, ()
        tail = "" if is_labelled else ", is_labelled=False"
        self._text = f"Channel.cluster({mean:g}{tail})"

    @property
    def is_exact(self) -> bool:
        return False

    def check_scale(self, second_moment: float) -> None:
        _check_unit(self, second_moment)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        mu = self._mean
        base = -0.5 * mu * mu * (1 - variance)
        up = np.exp(base + mu * mean)
        down = up if self._is_labelled else np.exp(base - mu * mean)
        parts = (0.5 * (up + down), 0.5 * mu * (up - down), 0.5 * mu * mu * (up + down))
        if self._is_labelled:
            parts = (up, mu * up, mu * mu * up)
        return Evidence(*(part[None] for part in parts))

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        mean, variance, _ = np.broadcast_arrays(mean, variance, y)
        return Evidence(*(part[0] for part in self.all_evidence(mean, variance)))

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        # the tilt moves the mass: panels reach as far
        mu = self._mean
        z, weight, half = panel_nodes(np.linspace(-8.5 - mu, 8.5 + mu, 20)[None])
        mean = np.sqrt(q)[:, None, None] * z
        Z, first, second = self.all_evidence(mean, V[:, None, None])
        Z, first, second = Z[0], first[0], second[0]
        g = first / Z
        density = normal_density(z)
        overlap, error = integrate_panels(
            Z * g * g * density,
            np.broadcast_to(weight, Z.shape),
            np.broadcast_to(half, Z.shape[:2]),
        )

        def total(values: FloatArray) -> FloatArray:
            out: FloatArray = np.einsum("npk,npk->n", Z * values, weight * density + 0 * Z)
            return out

        return ChannelAverages(
            overlap,
            total((second / Z - g * g) ** 2),
            total(np.log(Z)),
            np.full(q.size, np.nan),
            error,
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        raise ValueError(f"{self} selects rows and draws no labels")


class _GaussianChannel(Channel):
    """Labels h plus Gaussian noise."""

    def __init__(self, noise: float) -> None:
        self._noise, self._text = noise, _call("linear", noise=noise)

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        return mean

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        one, t_variance = np.ones(1), second_moment + self._noise**2
        left = max(second_moment - 2 * m + q, 0.0) + self._noise**2
        return ResidualLaw(one, 0 * one, left, 0 * one, t_variance - m, t_variance)

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        s = math.sqrt(variance + self._noise**2)
        n, weight, _ = panel_nodes(np.linspace(-8.5, 8.5, 25))  # losses have kinks
        return mean + s * n.reshape(-1, 1), np.broadcast_to(
            s * weight.reshape(-1, 1), (n.size, mean.size)
        )

    @property
    def is_exact(self) -> bool:
        return self._noise == 0

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        s2 = variance + self._noise**2
        g = (y - mean) / s2
        value = np.exp(-0.5 * (y - mean) * g) / np.sqrt(2 * np.pi * s2)
        return Evidence(value, value * g, value * (g * g - 1 / s2))

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        s2 = np.maximum(V, SMALLEST * (q + V)) + self._noise**2
        return ChannelAverages(
            1 / s2, 1 / s2**2, -0.5 * np.log(2 * np.pi * math.e * s2), s2, np.zeros_like(s2)
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        return h + self._noise * random_state.normal(size=h.shape)


class _NoiseChannel(Channel):
    """Labels h plus heavy-tailed noise: averages are those of the noise, smoothed."""

    def __init__(self, law: str, noise: float, df: float) -> None:
        self._law, self._noise, self._df = law, noise, df
        self._text = f"Channel.linear(noise={noise:g}, law={law!r}" + (
            f", df={df:g})" if law == "student" else ")"
        )
        if law == "laplace":
            self._scale = noise / math.sqrt(2)
            far = [0.0, *np.linspace(2.0, 40.0, 20)]
        else:
            self._scale = noise * math.sqrt((df - 2) / df)
            reach = min(14.0 + 48.0 / (df - 1), 62.0)
            far = [0.0, 0.5, *(2.0 ** np.arange(0, reach))]
        right = self._scale * np.asarray(far)
        self._edges = np.concatenate([-right[:0:-1], right])
        x, _, _ = panel_nodes(self._edges)
        self._table = np.ascontiguousarray((self._density(x) @ SERIES.T).reshape(1, -1))

    def _density(self, e: FloatArray) -> FloatArray:
        u = e / self._scale
        if self._law == "laplace":
            return np.exp(-np.abs(u)) / (2 * self._scale)
        nu = self._df
        log_norm = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * math.log(nu * math.pi)
        return np.exp(log_norm - (nu + 1) / 2 * np.log1p(u * u / nu)) / self._scale

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        return mean

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        left = max(second_moment - 2 * m + q, 0.0)
        bends = np.array([-1 - V, 1 + V, 0.0])[:, None] + math.sqrt(left) * RADII
        edges = np.concatenate([self._edges, bends.reshape(-1)])
        edges = np.unique(np.clip(edges, self._edges[0], self._edges[-1]))
        n, weight, _ = panel_nodes(edges)
        n, weight = n.reshape(-1), weight.reshape(-1)
        return ResidualLaw(
            weight * self._density(n), n, left, 0 * n, second_moment - m, second_moment
        )

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        steps = math.sqrt(variance) * np.array([0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 9.0])
        right = self._edges[(self._edges >= 0) & (self._edges < 1e4 * self._scale)]
        right = np.unique(np.concatenate([steps, right]))
        n, weight, _ = panel_nodes(np.concatenate([-right[:0:-1], right]))
        return mean + n.reshape(-1, 1), np.broadcast_to(weight.reshape(-1, 1), (n.size, mean.size))

    @property
    def is_exact(self) -> bool:
        return False

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        # in the gap y - h, whose mean falls as that of h rises
        gap, spread = np.broadcast_arrays(y - mean, variance)
        if gap.size > 50_000 and np.ptp(spread) == 0:  # one function of the gap
            nodes, _ = self.label_rule(np.zeros(1), float(spread.flat[0]))
            inner = np.linspace(0, 1, 4, endpoint=False)
            u = np.append(nodes[:-1] + np.diff(nodes, axis=0) * inner, nodes[-1])
            at = self.evidence(u, np.zeros_like(u), np.full_like(u, spread.flat[0]))
            inside = np.clip(gap, u[0], u[-1])
            return Evidence(*(np.asarray(CubicSpline(u, part)(inside)) for part in at))
        at = panel_evidence(self._edges, self._table, gap.reshape(-1), spread.reshape(-1))
        value, first, second = (part[0].reshape(gap.shape) for part in at)
        return Evidence(value, -first, second)

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        V = np.maximum(V, SMALLEST * (q + V))
        s = np.sqrt(V)[:, None]
        steps = np.array([0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 9.0, 14.0])
        right = self._edges[self._edges >= 0]
        edges = np.concatenate([s * steps, np.broadcast_to(right, (V.size, right.size))], axis=1)
        edges = np.sort(np.minimum(edges, right[-1]), axis=1)
        u, weight, half = panel_nodes(edges)
        spread = np.broadcast_to(V[:, None, None], u.shape)
        Z, first, second = self.evidence(u, np.zeros_like(u), spread)
        Z = np.maximum(Z, 1e-300)
        g = np.where(Z > 1e-30, first / Z, 0.0)
        dg = np.where(Z > 1e-30, second / Z - g * g, 0.0)
        overlap, error = integrate_panels(2 * Z * g * g, weight, half)
        total = functools.partial(np.einsum, "npk,npk->n", 2 * weight)
        return ChannelAverages(
            overlap, total(Z * dg * dg), total(Z * np.log(Z)), V + self._noise**2, error
        )

    def label_entropy(self, second_moment: float) -> float:
        if self._law == "laplace":
            return 1 + math.log(2 * self._scale)
        from scipy.stats import t

        return float(t(self._df, scale=self._scale).entropy())

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        if self._law == "laplace":
            return h + random_state.laplace(scale=self._scale, size=h.shape)
        return h + self._scale * random_state.standard_t(self._df, size=h.shape)


class _FoldChannel(Channel):
    """Labels |h + noise|. Averages are functions of one ratio a of the field to its spread s."""

    def __init__(self, noise: float) -> None:
        self._noise, self._text = noise, _call("absolute", noise=noise)

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        s = math.sqrt(max(variance + self._noise**2, 1e-300))
        a = mean / s
        return s * math.sqrt(2 / math.pi) * np.exp(-0.5 * a * a) + mean * erf(a / math.sqrt(2))

    def residual_law(
        self, q: float, m: float, V: float, second_moment: float
    ) -> ResidualLaw | None:
        t_variance = second_moment + self._noise**2
        along = m / t_variance
        left = max(q - m * along, 0.0)
        bends = [0.0]
        for slope in (1 - along, -1 - along):  # of the residual in t, on either side of zero
            if abs(slope) > 1e-8:
                bends += [(x + math.sqrt(left) * r) / slope for x in (-1 - V, 1 + V) for r in RADII]
        reach = 8.5 * math.sqrt(t_variance)
        edges = np.concatenate([np.linspace(-reach, reach, 9), np.clip(bends, -reach, reach)])
        t, weight, _ = panel_nodes(np.unique(edges))
        t, weight = t.reshape(-1), weight.reshape(-1)
        z = t / math.sqrt(t_variance)
        weight = weight * normal_density(z) / math.sqrt(t_variance)
        return ResidualLaw(weight, np.abs(t) - along * t, left, t, 0.0, t_variance)

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        s = math.sqrt(variance + self._noise**2)
        n, weight, _ = panel_nodes(np.linspace(0.0, 1.0, 9))
        top = np.abs(mean) + 8.5 * s
        return n.reshape(-1, 1) * top, weight.reshape(-1, 1) * top

    @property
    def is_exact(self) -> bool:
        return self._noise == 0

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        y = np.abs(y)
        s2 = variance + self._noise**2
        a, b = (y - mean) ** 2 / (2 * s2), (y + mean) ** 2 / (2 * s2)
        norm = 1 / np.sqrt(2 * np.pi * s2)
        up, down = norm * np.exp(-a), norm * np.exp(-b)
        g_up, g_down = (y - mean) / s2, (-y - mean) / s2
        return Evidence(
            up + down,
            up * g_up + down * g_down,
            up * (g_up**2 - 1 / s2) + down * (g_down**2 - 1 / s2),
        )

    @staticmethod
    @functools.cache
    def _table() -> tuple[FloatArray, FloatArray]:
        """Averages over the label at fixed a, as series on panels: overlap, slope, entropy, error.

        Their limits at large a, those of a linear channel, are taken off.
        """
        right = [0.0, 0.08, 0.18, 0.32, 0.5, 0.75, 1.1, 1.6, 2.2, 3.0, 4.0, 5.5, 7.0, 9.0]
        edges = np.array([*(-x for x in right[:0:-1]), *right])  # poles of tanh are near zero
        a, _, _ = panel_nodes(edges)
        n, weight, _ = panel_nodes(np.linspace(-8.5, 8.5, 36))
        n, weight = n.reshape(-1), (weight * normal_density(n)).reshape(-1)
        field = a[..., None]
        y = field + n
        g = y * np.tanh(field * y) - field
        dg = y**2 / np.cosh(np.minimum(np.abs(field * y), 300.0)) ** 2 - 1
        log_z = np.logaddexp(-0.5 * (y - field) ** 2, -0.5 * (y + field) ** 2) - LOG_ROOT_2PI
        mean = math.sqrt(2 / math.pi) * np.exp(-0.5 * a * a) + a * erf(a / math.sqrt(2))
        rows = [g**2 @ weight - 1, dg**2 @ weight - 1, log_z @ weight + 0.5 + LOG_ROOT_2PI,
                a * a - mean**2]  # fmt: skip
        series = np.stack([(row @ SERIES.T).reshape(-1) for row in rows])
        return edges, np.ascontiguousarray(series)

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        s2 = np.maximum(V, SMALLEST * (q + V)) + self._noise**2
        ratio = np.maximum(q / s2, 1e-280)
        edges, series = self._table()
        at = panel_evidence(edges, series, np.zeros_like(ratio), ratio).value
        return ChannelAverages(
            (1 + at[0]) / s2,
            (1 + at[1]) / s2**2,
            at[2] - 0.5 * np.log(2 * np.pi * math.e * s2),
            (1 + at[3]) * s2,
            1e-15 / s2,
        )

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        return np.abs(h + self._noise * random_state.normal(size=h.shape))


class _Table(NamedTuple):
    """A density on panels in the field, for every label or node of the label."""

    edges: FloatArray
    series: FloatArray  # (n_labels, n_panels * 16)
    labels: FloatArray
    weights: FloatArray  # of the labels
    error: float  # largest relative size of the last terms of a panel


class _TableChannel(_Finite):
    """Any density, as Legendre series on panels in the field."""

    #: Relative size of the last terms of a panel at which it is resolved.
    _goal: ClassVar[float] = 1e-11

    def __init__(
        self,
        log_density: Callable[[FloatArray, FloatArray], ArrayLike],
        labels: tuple[float, ...] | None = None,
        label_range: tuple[float, float] | None = None,
        breakpoints: tuple[float, ...] = (),
        text: str = "Channel",
    ) -> None:
        self.log_density, self._range, self._text = log_density, label_range, text
        self.labels = labels  # type: ignore[assignment]
        self.walls = tuple((t, 0.0) for t in breakpoints)
        self._tables: dict[float, _Table] = {}

    def predict(self, mean: FloatArray, variance: float) -> FloatArray:
        table = max(self._tables.values(), key=lambda t: t.edges[-1])
        grid = mean if self.labels is not None else np.linspace(mean.min(), mean.max(), 400)
        at = panel_evidence(table.edges, table.series, grid, np.full_like(grid, variance)).value
        if self.labels is not None:
            best: FloatArray = self._values[at.argmax(axis=0)]
            return best
        guess = (table.weights * table.labels) @ at  # smooth in the field
        return np.asarray(CubicSpline(grid, guess)(mean), dtype=np.float64)

    @property
    def is_exact(self) -> bool:
        return bool(self.walls)

    def _density(self, y: FloatArray, h: FloatArray) -> FloatArray:
        log = np.asarray(self.log_density(y, h), dtype=np.float64)
        shape = np.broadcast_shapes(y.shape, h.shape)
        if log.shape != shape:
            try:
                log = np.broadcast_to(log, shape)
            except ValueError:
                raise ValueError(
                    f"{self._text} must return an array of shape {shape}, got {log.shape}"
                ) from None
        if np.isnan(log).any() or (log == math.inf).any():
            where = tuple(np.argwhere(np.isnan(log) | (log == math.inf))[0])
            at = [float(np.broadcast_to(x, shape)[where]) for x in (y, h)]
            raise NumericalError(
                f"{self._text} is {log[where]} at label {at[0]:g} and field {at[1]:g}"
            )
        return np.exp(log)

    def table(self, rho: float) -> _Table:
        """The density for fields of variance ``rho``."""
        key = float(f"{rho:.9g}")
        if key not in self._tables:
            self._tables[key] = self._make_table(key)
        return self._tables[key]

    def _make_table(self, rho: float) -> _Table:
        reach = 10.0 * math.sqrt(rho)
        inner = [t for t, _ in self.walls if abs(t) < reach]
        edges = np.unique([*np.linspace(-reach, reach, 11), *inner])
        if self.labels is not None:
            labels, weights = np.asarray(self.labels), np.ones(len(self.labels))
        else:
            labels, weights = self._label_nodes(reach)
        worst = 0.0
        for _ in range(12):
            h, _, _ = panel_nodes(edges)
            density = self._density(labels[:, None, None], h[None])
            last = np.abs(density @ SERIES[-LAST:].T).max(axis=-1)
            size = density.max(axis=(1, 2))[:, None] + 1e-300
            bad = (last / size).max(axis=0)
            worst = float(bad.max())
            if worst <= self._goal or edges.size > 400:
                break
            middle = 0.5 * (edges[1:] + edges[:-1])[bad > self._goal]
            edges = np.sort(np.concatenate([edges, middle]))
        self._check_norm(labels, weights, h, density)
        series = (density @ SERIES.T).reshape(labels.size, -1)
        return _Table(edges, np.ascontiguousarray(series), labels, weights, worst)

    def _check_norm(
        self, labels: FloatArray, weights: FloatArray, h: FloatArray, density: FloatArray
    ) -> None:
        total = np.einsum("l,lpk->pk", weights, density)
        inside = np.abs(h) < 0.6 * np.abs(h).max()  # six standard deviations
        gap = np.where(inside, np.abs(total - 1), 0.0)
        tol = 1e-8 if self.labels is not None else 1e-6
        if gap.max() > tol:
            at = np.unravel_index(gap.argmax(), gap.shape)
            what = (
                f"labels {labels.tolist()}" if self.labels is not None else f"range {self._range}"
            )
            raise ValueError(
                f"{self._text} does not normalise: over the {what} probabilities add up to "
                f"{total[at]:.6g}, not 1, at field {h[at]:.4g}"
            )

    def _label_nodes(self, reach: float) -> tuple[FloatArray, FloatArray]:
        """Nodes in the label: panels halved until the density is resolved at every field."""
        assert self._range is not None
        edges = np.linspace(*self._range, 17)
        h = np.linspace(-0.8 * reach, 0.8 * reach, 97)
        for _ in range(8):
            y, weight, half = panel_nodes(edges)
            density = self._density(y[..., None], h)
            last = np.abs(np.einsum("tk,pkh->pth", SERIES[-LAST:], density)).max(axis=(1, 2))
            bad = last * half > 1e-8
            if not bad.any():
                break
            edges = np.sort(np.concatenate([edges, (0.5 * (edges[1:] + edges[:-1]))[bad]]))
        live = density.max(axis=(1, 2)) * half > 1e-16
        return y[live].reshape(-1), weight[live].reshape(-1)

    def all_evidence(self, mean: FloatArray, variance: FloatArray) -> Evidence:
        raise NotImplementedError

    def averages(self, q: FloatArray, V: FloatArray) -> ChannelAverages:
        self.table(float((q + V)[0]))
        return refined(self._measure, q, np.maximum(V, SMALLEST * (q + V)))

    def _measure(self, q: FloatArray, V: FloatArray, level: int) -> ChannelAverages:
        table = self.table(float((q + V)[0]))
        z, weight, half = field_panels(q, V, self.walls, level)
        mean = np.sqrt(q)[:, None, None] * z
        spread = np.broadcast_to(V[:, None, None], mean.shape).reshape(-1)
        live = (weight > 1e-26).reshape(-1)
        at = panel_evidence(table.edges, table.series, mean.reshape(-1)[live], spread[live])
        Z = np.maximum(at.value, 1e-300)
        g = np.where(Z > 1e-30, at.first / Z, 0.0)
        dg = np.where(Z > 1e-30, at.second / Z - g * g, 0.0)
        w = table.weights

        def spread_out(values: FloatArray) -> FloatArray:
            full = np.zeros(mean.size)
            full[live] = values
            return full.reshape(mean.shape)

        fisher = spread_out(w @ (Z * g * g)) * normal_density(z)
        overlap, error = integrate_panels(fisher, weight / normal_density(z), half)

        def total(values: FloatArray) -> FloatArray:
            return np.asarray(np.einsum("npk,npk->n", weight, spread_out(values)))

        if self.labels is not None and len(self.labels) == 2:
            gap = spread_out(Z[1] - Z[0]) * normal_density(z)
            loss = 0.5 * (1 - integral_of_size(gap, half))
        elif self.labels is not None:
            loss = 1 - total(Z.max(axis=0))
        else:
            y = table.labels
            guess = (w * y) @ Z
            loss = total((w * y * y) @ Z - guess * guess)
        return ChannelAverages(
            overlap, total(w @ (Z * dg * dg)), total(w @ (Z * np.log(Z))), loss,
            error + table.error * overlap,
        )  # fmt: skip

    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        if self.labels is None:
            raise ValueError(f"{self} as a student needs finitely many labels, or matched data")
        y, mean, variance = np.broadcast_arrays(y, mean, variance)
        table = max(self._tables.values(), key=lambda t: t.edges[-1])
        at = panel_evidence(table.edges, table.series, mean.reshape(-1), variance.reshape(-1))
        where = self._index(y.reshape(-1)), np.arange(mean.size)
        return Evidence(*(part[where].reshape(mean.shape) for part in at))

    def rows(self, y: FloatArray, second_moment: float) -> Callable[[FloatArray, float], Evidence]:
        """Evidence of these labels as a function of the means and one variance."""
        table = self.table(second_moment)
        if self.labels is not None:
            series = np.ascontiguousarray(table.series[self._index(y)])
        else:
            h, _, _ = panel_nodes(table.edges)
            density = self._density(y[:, None, None], h[None])
            series = np.ascontiguousarray((density @ SERIES.T).reshape(y.size, -1))

        def evidence(mean: FloatArray, variance: float) -> Evidence:
            at = panel_evidence(
                table.edges, series, mean, np.full_like(mean, variance), is_paired=True
            )
            return Evidence(at.value[0], at.first[0], at.second[0])

        return evidence

    def sample(self, h: FloatArray, random_state: np.random.Generator) -> FloatArray:
        if self.labels is not None:
            return _choose(
                self.labels, self._density(np.asarray(self.labels)[:, None], h), random_state
            )
        table = self.table(float(np.mean(h**2)))
        y, weight = table.labels.reshape(-1, TERMS), table.weights.reshape(-1, TERMS)
        density = self._density(y[..., None], h)  # (panels, 16, n)
        mass = np.einsum("pk,pkn->pn", weight, density)
        panel = _choose(tuple(range(y.shape[0])), np.maximum(mass, 0), random_state).astype(int)
        series = np.einsum("tk,pkn->ptn", SERIES, density)[panel, :, np.arange(h.size)]
        half = weight.sum(axis=1)[panel] / 2
        centre = 0.5 * (y[panel, 0] + y[panel, -1])
        top = 1.3 * density[panel, :, np.arange(h.size)].max(axis=1)
        out, waiting = np.empty(h.size), np.arange(h.size)
        while waiting.size:
            t = random_state.uniform(-1, 1, waiting.size)
            value = np.einsum(
                "nt,nt->n", np.polynomial.legendre.legvander(t, TERMS - 1), series[waiting]
            )
            took = random_state.random(waiting.size) * top[waiting] < value
            done = waiting[took]
            out[done] = centre[done] + half[done] * t[took]
            waiting = waiting[~took]
        return out


def outcomes(
    channel: Channel, mean: FloatArray, variance: float, *, rho: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels of fields, (n_labels, n), with their probabilities and the scores behind them.

    Fields of all rows have the variance ``rho``. Numbers get the nodes of a quadrature, whose
    weights are in the probabilities.
    """
    V = np.full_like(mean, variance)
    if isinstance(channel, _Finite):
        if isinstance(channel, _TableChannel):
            table = channel.table(rho)
            y, weight = table.labels, table.weights

            def smooth(mean: FloatArray) -> FloatArray:
                each = panel_evidence(table.edges, table.series, mean, np.full_like(mean, variance))
                return np.concatenate(each)

            at = Evidence(*interpolated(smooth, mean).reshape(3, len(y), -1))
        else:
            at = channel.all_evidence(mean, V)
            y, weight = np.asarray(channel.labels), np.ones(len(channel.labels))
        labels = np.broadcast_to(y[:, None], at.value.shape)
        weight = np.broadcast_to(weight[:, None], at.value.shape)
    else:
        labels, weight = channel.label_rule(mean, variance)
        if not isinstance(channel, _NoiseChannel):
            at = channel.evidence(labels, mean, V)
        else:  # the same for every field
            gap = (labels - mean)[:, :1]
            at = channel.evidence(gap, 0 * gap, V[0] + 0 * gap)
    score = np.where(at.value > 1e-280, at.first / np.maximum(at.value, 1e-300), 0.0)
    return labels, weight * np.maximum(at.value, 0.0), score


#: Steps of a table of averages in ln(q / V); splines of degree 7 leave 1e-8 of them.
_TABLE_STEPS = np.arange(-18.0, 42.0, 0.25)


@functools.lru_cache(maxsize=16)
def tabled_averages(
    channel: Channel, rho: float
) -> Callable[[FloatArray, FloatArray], ChannelAverages]:
    """Averages of fields of variance ``rho``, read from a table; beyond its ends computed."""
    if channel.selects:  # its error is none
        return channel.averages
    odds = np.exp(_TABLE_STEPS)
    at = channel.averages(rho * odds / (1 + odds), rho / (1 + odds))
    logs = (at.overlap, at.slope, at.error)
    if not all((part > 1e-290).all() for part in logs):  # labels that say nothing
        return channel.averages
    columns = np.stack([*(np.log(part) for part in logs), at.entropy], axis=1)
    spline = make_interp_spline(_TABLE_STEPS, columns, k=7)
    relative = float((at.quadrature_error / at.overlap).max())

    def averages(q: FloatArray, V: FloatArray) -> ChannelAverages:
        x = np.log(np.maximum(q, 1e-300)) - np.log(V)
        outside = (x < _TABLE_STEPS[0]) | (x > _TABLE_STEPS[-1])
        read = spline(np.clip(x, _TABLE_STEPS[0], _TABLE_STEPS[-1])).T
        overlap, slope, error = np.exp(read[:3])
        out = ChannelAverages(overlap, slope, read[3].copy(), error, relative * overlap)
        if outside.any():
            for mine, exact in zip(out, channel.averages(q[outside], V[outside]), strict=True):
                mine[outside] = exact
        return out

    return averages


def as_channel(channel: Channel | str, name: str = "channel") -> Channel:
    """A channel, or the one of that name."""
    if isinstance(channel, Channel):
        return channel
    if not isinstance(channel, str):
        raise TypeError(f"{name} must be a name or a Channel, got {channel!r}")
    check_choice(channel, name, CHANNELS)
    return _named(channel)


@functools.cache
def _named(name: str) -> Channel:
    if name in ("laplace", "student"):
        return Channel.linear(noise=1.0, law=name)  # type: ignore[arg-type]
    made: Channel = getattr(Channel, name)()
    return made
