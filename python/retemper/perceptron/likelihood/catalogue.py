"""The channel of a label, what it owes to theory, and the catalogue."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from retemper._dispatch import core
from retemper._validation import FloatArray, as_float_array, check_choice, check_real
from retemper.perceptron.panels import SMALLEST, ChannelAverages, Evidence, ResidualLaw

__all__ = ["CHANNELS", "Channel", "as_channel", "call_text"]

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
        from retemper.perceptron.likelihood._slabs import SlabChannel

        sigma = check_real(sigma, "sigma", low=0)
        eta = check_real(eta, "eta", low=0, high=0.5, open_high=True)
        slabs = [
            [(eta, 0.0, math.inf), (1 - eta, -math.inf, 0.0)],
            [(1 - eta, 0.0, math.inf), (eta, -math.inf, 0.0)],
        ]
        return SlabChannel((-1.0, 1.0), slabs, sigma, call_text("sign", sigma=sigma, eta=eta))

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
        from retemper.perceptron.likelihood._density import LogisticDensity, TableChannel

        k = check_real(steepness, "steepness", low=0, open_low=True)
        return TableChannel(
            LogisticDensity(k), (-1.0, 1.0),
            text=call_text("logistic", steepness=k) if k != 1 else "Channel.logistic()",
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
        from retemper.perceptron.likelihood._slabs import SlabChannel

        kappa = check_real(kappa, "kappa", low=0, open_low=True)
        sigma = check_real(sigma, "sigma", low=0)
        slabs = [
            [(1.0, kappa, math.inf), (1.0, -math.inf, -kappa)],
            [(1.0, -kappa, kappa)],
        ]
        return SlabChannel((-1.0, 1.0), slabs, sigma, call_text("door", kappa=kappa, sigma=sigma))

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
        from retemper.perceptron.likelihood._numbers import FoldChannel

        return FoldChannel(check_real(noise, "noise", low=0))

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
        from retemper.perceptron.likelihood._numbers import GaussianChannel, NoiseChannel

        check_choice(law, "law", ("gaussian", "laplace", "student"))
        noise = check_real(noise, "noise", low=0, open_low=law != "gaussian")
        if law == "gaussian":
            return GaussianChannel(noise)
        return NoiseChannel(law, noise, check_real(df, "df", low=2, open_low=True))

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
        from retemper.perceptron.likelihood._slabs import SelectChannel

        kappa = check_real(kappa, "kappa", low=0, high=30)
        sigma = check_real(sigma, "sigma", low=0)
        weight = 1 / float(ndtr(-kappa / math.sqrt(1 + sigma**2)))
        slabs = [(weight, kappa, math.inf)]
        if not is_labelled:
            slabs = [(weight / 2, kappa, math.inf), (weight / 2, -math.inf, -kappa)]
        text = call_text("margin", kappa=kappa, sigma=sigma)
        return SelectChannel(
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
        from retemper.perceptron.likelihood._slabs import ClusterChannel

        mean = check_real(cluster_mean, "cluster_mean", low=0, high=20)
        return ClusterChannel(mean, is_labelled)

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
            finite. A model says so where the density is not a number, or does not normalise for
            its fields.
        TypeError
            If ``log_density`` is not callable.
        """
        from retemper.perceptron.likelihood._density import TableChannel

        if not callable(log_density):
            raise TypeError(f"log_density must be callable, got {log_density!r:.60}")
        if (labels is None) == (label_range is None):
            raise ValueError("give either labels, all of them, or label_range, where numbers lie")
        walls = as_float_array(breakpoints, "breakpoints") if np.size(breakpoints) else np.zeros(0)
        values = ends = None
        if labels is not None:
            values = tuple(np.unique(as_float_array(labels, "labels")).tolist())
            if not values:
                raise ValueError("labels must not be empty")
        else:
            assert label_range is not None
            both = as_float_array(label_range, "label_range").tolist()
            if len(both) != 2 or not both[0] < both[1]:
                raise ValueError(f"label_range must be two ends that increase, got {label_range}")
            ends = (both[0], both[1])
        return TableChannel(
            log_density, values, ends, tuple(walls.tolist()), f"Channel.from_log_density({name})"
        )

    # -- what theory and message passing ask -------------------------------------------------

    @abstractmethod
    def evidence(self, y: FloatArray, mean: FloatArray, variance: FloatArray) -> Evidence:
        """Mean likelihood of labels and its derivatives; the arguments broadcast."""

    def score(
        self, y: FloatArray, mean: FloatArray, variance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log evidence in the mean; the arguments broadcast."""
        at = self.evidence(y, mean, variance)
        Z = np.maximum(at.value, 1e-300)
        g = at.first / Z
        return g, at.second / Z - g * g

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

    def field_law(self, second_moment: float) -> core.perceptron.FieldLaw | None:
        """The law as the core knows it, of fields of this variance; None if labels are numbers."""
        return None

    def gap_edges(self, variance: float) -> FloatArray | None:
        """Panels of a label minus the mean of its field, right of zero, if its law is even.

        ``variance`` is that of the field. None where the law of the gap depends on the field.
        """
        return None

    def label_rule(self, mean: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
        """Nodes and weights of an integral over labels that are numbers: (n_nodes, n)."""
        raise NotImplementedError

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """Whether labels can determine the weights: information is unbounded as V -> 0."""

    @property
    def is_log_concave(self) -> bool:
        """Whether every label's log probability is known to be concave in the field."""
        return False

    def label_entropy(self, second_moment: float) -> float:
        """Entropy of a label whose field, of this variance, is known; nats."""
        at = self.averages(np.array([second_moment]), np.array([SMALLEST * second_moment]))
        return -float(at.entropy[0])

    def check_scale(self, second_moment: float, name: str) -> None:  # noqa: B027 - most take any
        """Raise ValueError, naming the argument, unless fields may have this variance."""


def call_text(name: str, **options: float) -> str:
    """What a channel is called: the call that makes it, options of zero left out."""
    shown = ", ".join(f"{k}={v:.6g}" for k, v in options.items() if v)
    return f"Channel.{name}({shown})"


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
