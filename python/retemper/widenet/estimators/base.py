"""What the estimators share: checked data, sources, predictions, and the choice of a coupling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._control import report_status
from retemper._domains import check_parameter
from retemper._pickles import Versioned
from retemper._results import Sweep
from retemper._sources import pick_columns, read_source
from retemper._validation import FloatArray, check_choice, check_entries
from retemper.widenet.fits import NetworkFit, Rule, advise_width, fit_transfer
from retemper.widenet.model import Activation, WideNetModel
from retemper.widenet.path import GAMMAS, check_gammas
from retemper.widenet.problem import report_validity
from retemper.widenet.scaling import TaskData
from retemper.widenet.target import Parts
from retemper.widenet.verdict import TransferVerdict

__all__ = ["PARAMETERS", "FranzParisiEstimator", "NetworkEstimator"]

_FACES: tuple[Literal["data"]] = ("data",)
WIDTHS = (50, 100, 200, 500, 1000, 2000, 5000)

#: The docstring of the parameters of `FranzParisiEstimator`.
PARAMETERS = """
    Parameters
    ----------
    width : float, default=500
        Number of hidden units, at least 2; may be ``inf``.
    activation : str or callable, default="erf"
        The activation, as in `WideNetModel`.
    lam0, lam1 : float, default=1.0
        Prior precisions of the first layer and of the read-out.
    temperature_source, temperature_target : float, default=0.05
        Variance of the label noise of either task, in units of the variance of its labels if
        ``standardize``.
    gamma : float, "loo" or "evidence", default="loo"
        Coupling of the first layer to the source's; 0 is training from scratch, ``inf`` frozen
        features. ``"loo"`` takes the smallest leave-one-out loss of the grid; ``"evidence"`` the
        largest log evidence, which leans to small couplings.
    gammas : iterable of float or None, default=None
        The grid; None is (0, 0.1, 0.3, 1, 3, 10, 30, 100, inf) * ``lam0``. A number ``gamma`` is
        compared with 0 and inf alone.
    source : None, tuple (X, y) or fitted estimator of this family, default=None
        The source task. Of an estimator, the data that it was fitted on are used. None is training
        from scratch. Columns are matched by name where source and target have names.
    standardize : bool, default=True
        Whether inputs are standardised with the pooled mean and standard deviation of both tasks,
        to a mean square of one, and labels of either task on their own. Otherwise both are used
        as they are.
"""


class NetworkEstimator(Versioned, BaseEstimator):  # type: ignore[misc]
    """An estimator that keeps a `NetworkFit`, in ``_fit``."""

    _fit: NetworkFit

    @property
    def fitted_task(self) -> TaskData:
        """The data of the fit, which another network can start from."""
        check_is_fitted(self)
        return self._fit.tasks.data

    def _keep(self, fit: NetworkFit) -> None:
        self._fit = fit
        self.Q_t_ = fit.shaped(t.Q_t for t in fit.solution.columns)
        self.loo_ = fit.loo
        self.log_evidence_ = fit.log_evidence
        self.n_iter_ = fit.solution.n_iter

    def _parts(self, X: ArrayLike) -> Parts:
        """Mean, thermal and quenched variances, each of shape (n, n_outputs)."""
        rows = self._rows(X)
        return self._fit.predict(rows)

    def _mean(self, X: ArrayLike) -> FloatArray:
        rows = self._rows(X)
        return self._fit.predict_mean(rows)

    def _rows(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        rows: FloatArray = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_entries(rows, "X")
        return rows


class FranzParisiEstimator(TransferMixin, NetworkEstimator):
    """A network that starts from a source: everything but the meaning of the labels."""

    def __init__(
        self,
        width: float = 500,
        activation: Activation = "erf",
        *,
        lam0: float = 1.0,
        lam1: float = 1.0,
        temperature_source: float = 0.05,
        temperature_target: float = 0.05,
        gamma: float | Rule = "loo",
        gammas: Iterable[float] | None = None,
        source: Any = None,
        standardize: bool = True,
    ) -> None:
        self.width = width
        self.activation = activation
        self.lam0 = lam0
        self.lam1 = lam1
        self.temperature_source = temperature_source
        self.temperature_target = temperature_target
        self.gamma = gamma
        self.gammas = gammas
        self.source = source
        self.standardize = standardize

    def _source_labels(self, y: ArrayLike) -> FloatArray:
        raise NotImplementedError

    def _source_task(self, X: ArrayLike, data: TaskData) -> TaskData | None:
        """The source's own data, columns in the order of the target's."""
        if self.source is None:
            return None
        if isinstance(self.source, NetworkEstimator):
            kept = self.source.fitted_task
            rows = pick_columns(kept.X, kept.names, X, "source")
            source = TaskData(rows, kept.y, kept.is_flat)
        else:
            words = ("None", "a fitted estimator of this family")
            read = read_source(self.source, X, faces=_FACES, also=words).data
            assert read is not None
            rows, y = read[0], self._source_labels(read[1])
            source = TaskData(rows, y.reshape(len(y), -1), y.ndim == 1)
        if source.y.shape[1] not in (1, data.y.shape[1]):
            raise ValueError(
                f"the source has {source.y.shape[1]} outputs and y has {data.y.shape[1]}"
            )
        return source

    def _grid(self) -> list[float]:
        if not isinstance(self.gamma, str):
            value = check_parameter(self.gamma, "gamma")
            return check_gammas([0.0, value, np.inf])
        check_choice(self.gamma, "gamma", ("loo", "evidence"), besides="a number in [0, inf]")
        return check_gammas([g * self.lam0 for g in GAMMAS] if self.gammas is None else self.gammas)

    def _fit_task(self, X: ArrayLike, data: TaskData) -> None:
        model = WideNetModel(
            self.width,
            self.activation,
            self.lam0,
            self.lam1,
            self.temperature_source,
            self.temperature_target,
        )
        grid = self._grid()
        check_choice(self.standardize, "standardize", (True, False))
        self._transfer = fit_transfer(
            model,
            data,
            self._source_task(X, data),
            gamma=self.gamma,
            gammas=grid,
            standardize=bool(self.standardize),
        )
        fit, path = self._transfer.network, self._transfer.path
        report_validity(list(fit.said), stacklevel=4)
        report_status(path.status, path.residual, "fit", stacklevel=4)
        self._keep(fit)
        columns = fit.solution.columns
        self.Q_s_ = fit.shaped(t.Q_s for t in columns)
        self.Q_tt_ = fit.shaped(t.Q_tt for t in columns)
        self.Q_st_ = fit.shaped(t.Q_st for t in columns)
        self.delta_ = fit.shaped(t.delta for t in columns)
        self.path_ = path
        self.gamma_ = self._transfer.gamma
        self.verdict_ = self._transfer.verdict

    def will_transfer_help(self) -> TransferVerdict:
        """Whether the source helps on this target, from leave-one-out losses alone.

        Returns
        -------
        TransferVerdict
            The decision and the numbers behind it; also kept as ``verdict_``.

        Raises
        ------
        ValueError
            If the estimator was fitted without a source, or its couplings leave out 0.
        """
        check_is_fitted(self)
        if self.verdict_ is None:
            raise ValueError(
                "a verdict needs a source, and a grid of couplings that starts at 0; fit with both"
            )
        return self.verdict_

    def width_advice(self, widths: Iterable[float] = WIDTHS) -> Sweep:
        """At which widths the source is worth having.

        Parameters
        ----------
        widths : iterable of float
            Widths to compare, on the data and couplings of the fit.

        Returns
        -------
        Sweep
            Over ``width``: the best leave-one-out loss with the source, ``scratch`` without,
            ``control`` with a random anchor (in units of the standardised labels), and the best
            ``gamma``.

        Raises
        ------
        ValueError
            If there is no source, or a width is below 2.
        """
        check_is_fitted(self)
        return advise_width(self._transfer, widths)
