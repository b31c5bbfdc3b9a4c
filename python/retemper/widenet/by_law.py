"""Networks of several layers of an activation with a mean, solved by the law of a unit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from retemper._control import interruptible
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import MeanShift, Task, tolerance
from retemper.widenet.roots import Roots
from retemper.widenet.single_task import LOG_2PI
from retemper.widenet.target import Parts
from retemper.widenet.unit_law import Law, LawTask

__all__ = ["LawEquations", "LawFit", "LawNew", "LawTarget"]

_ITERATES, _DAMPING = 200, 0.5  # of Anderson's mixing


class LawEquations:
    """The action of one column of labels, in units in which the read-outs have variance one."""

    def __init__(self, kernels: LawTask, y: FloatArray, temperature: float, readout_var: float):
        self.kernels, self.y, self.blocks = kernels, y, kernels.blocks
        self.readout_var, self.width = readout_var, kernels.model.width
        self.labels, self.noise = y / math.sqrt(readout_var), temperature / readout_var
        self.n_types, self.n_below = len(kernels.types.at), len(kernels.blocks.parts)
        self.n_iter = 0

    def law(self, x: FloatArray) -> Law:
        """The law at the unknowns: log precisions, fields, log order parameters.

        Where the action is stationary, the read-outs of a type have the density
        exp(-alpha v^2 / 2 - beta v / 2), and the share of the type is its integral.
        """
        log_alpha, beta, log_r = np.split(x, [self.n_types, 2 * self.n_types])
        alpha = np.exp(np.clip(log_alpha, -30.0, 30.0))
        mean = -0.5 * beta / alpha
        tilt = 0.5 * (alpha * mean**2 - log_alpha)
        share = self.kernels.types.share * np.exp(tilt - tilt.max())
        square = mean**2 + 1.0 / alpha
        return Law(share / share.sum(), mean, square, np.exp(np.clip(log_r, -30.0, 30.0)))

    @property
    def start(self) -> FloatArray:
        """The prior."""
        return np.zeros(2 * self.n_types + self.n_below)

    def cost(self, law: Law) -> float:
        """Twice the relative entropy, with the weight of the layers below."""
        each = np.log(law.share / self.kernels.types.share)
        each += 0.5 * (law.square - 1.0 - np.log(law.spread))
        r = law.through
        return float(2.0 * law.share @ each + (r - 1.0 - np.log(r)).sum())

    def inverses(self, law: Law, labels: FloatArray) -> _Inverses:
        """Everything that labels and covariances give at a law."""
        own = self.blocks.own(law, self.kernels.types.at)
        own[np.diag_indices_from(own)] += self.noise
        n, rows = len(own), self.blocks.rows
        shift = math.sqrt(self.width) * (law.share * law.mean) @ rows.level
        away, cost = labels - shift, float(n) ** 3
        factor, first = interruptible(dpotrf, own, lower=1, cost=cost)
        whole, second = interruptible(dpotrf, own + self.blocks.spread(law), lower=1, cost=cost)
        if first or second:
            raise NumericalError(
                "the covariance of the outputs is not positive definite at temperature "
                f"{self.noise * self.readout_var:g}: raise it"
            )
        a = np.asarray(dpotrs(factor, away, lower=1)[0])
        log_det = 2.0 * float(np.log(np.diagonal(whole)).sum())
        inverse, _ = interruptible(dpotri, whole, lower=1, cost=2.0 * cost)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        return _Inverses(a, inverse, log_det, float(away @ a), own)

    def action(self, law: Law) -> float:
        """The action, which is zero without data."""
        found = self.inverses(law, self.labels)
        return self.cost(law) + (found.log_det + found.quadratic) / self.width

    def pulls(self, law: Law, found: _Inverses) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Slopes of the part of the action that the data give.

        Parameters
        ----------
        law : Law
            Where.
        found : _Inverses
            What labels and covariances give there.

        Returns
        -------
        ndarray of shape (n_types,), (n_types,) and (n_layers - 1,)
            In square and in mean of the read-outs of a type, over its share, and in the logarithms
            of the order parameters of the layers below.
        """
        N, b, rows, types = self.width, self.blocks, self.blocks.rows, self.kernels.types.at
        w, pull = law.weights, (found.inverse - np.outer(found.a, found.a)) / N
        C, G = rows.slope, rows.level
        near = pull * np.tensordot(w, b.parts, 1)
        GW = G @ found.inverse / N
        on_square = np.einsum("ki,ki->k", C @ near, C) + np.einsum("ki,ki->k", GW, G)
        on_square += b.rest_along(pull)
        both, coherent = rows.coherent(law, types)
        power, toward = pull, []
        for row in coherent:
            power = power * b.below_correlation
            toward.append(power @ row)
        on_both = 2.0 * np.einsum("ajn,jn->an", rows.below, np.array(toward))
        left = rows.moment - np.einsum("ajn,bjn->abn", rows.below, rows.below)
        on_both += 2.0 * np.einsum("bn,abn,n->an", both, left, np.diagonal(pull))
        passed = (pull * b.deeper) @ np.einsum("an,an->n", both, rows.response)
        on_both += 2.0 * rows.response * passed
        on_mean = types * (C @ on_both[0]) + rows.bend @ on_both[1]
        on_mean -= 2.0 / math.sqrt(N) * G @ found.a + 2.0 * GW @ ((law.share * law.mean) @ G)
        through = pull * b.through(law)
        on_r = np.cumsum(w * np.einsum("jnm,nm->j", b.parts, through))
        return on_square, on_mean, on_r

    def followed(self, law: Law) -> FloatArray:
        """Covariance with which the means of the read-outs follow the labels."""
        G = self.blocks.rows.level
        return np.asarray(G.T @ ((law.share * law.spread)[:, None] * G))

    def better(self, x: FloatArray, labels: FloatArray) -> FloatArray:
        """Unknowns that the equations give at these; read-outs follow the labels at once."""
        self.n_iter += 1
        law, N, G = self.law(x), self.width, self.blocks.rows.level
        found = self.inverses(law, labels)
        on_square, on_mean, on_r = self.pulls(law, found)
        alpha = np.maximum(1.0 + on_square, 1e-3)
        rest = on_mean + 2.0 / math.sqrt(N) * G @ found.a
        shift = 0.5 * math.sqrt(N) * (law.share * law.spread * rest) @ G
        own = found.own + self.followed(law)
        a = interruptible(np.linalg.solve, own, labels + shift, cost=float(len(own)) ** 3)
        r = law.through
        return np.concatenate([
            np.log(alpha), rest - 2.0 / math.sqrt(N) * G @ a,
            -np.log(np.maximum(1.0 + on_r / r, 1e-3)),
        ])  # fmt: skip

    def solve(self) -> tuple[FloatArray, float]:
        """Unknowns that solve the equations, and the residual.

        Raises
        ------
        NumericalError
            If they are not found.
        """
        x, share, step = self.start, 0.0, 1.0
        self.inverses(self.law(x), self.labels)
        while share < 1.0:  # from labels of mean zero, by the longest steps that succeed
            ahead = min(share + step, 1.0)
            labels = self.labels - (1.0 - ahead) * self.labels.mean()
            found, residual = self._mixed(x, labels)
            if residual < 1e-6:
                x, share, step = found, ahead, 2.0 * step
                continue
            step *= 0.5
            if step < 2.0**-8:
                raise NumericalError(
                    f"the law of a unit was not found at width {self.width:g}: residual "
                    f"{residual:.1g}; raise the temperature or centre the labels"
                )
        return x, residual

    def _mixed(self, x: FloatArray, labels: FloatArray) -> tuple[FloatArray, float]:
        """Anderson's mixing of the last iterates."""
        points: list[FloatArray] = []
        steps: list[FloatArray] = []
        for _ in range(_ITERATES):
            try:
                step = self.better(x, labels) - x
            except NumericalError:
                return x, math.inf
            residual = float(np.abs(step).max())
            if residual < 1e-12:
                break
            points, steps = [*points[-5:], x], [*steps[-5:], step]
            move = _DAMPING * step
            if len(steps) > 1:
                change, moved = (np.diff(np.array(v), axis=0).T for v in (steps, points))
                mix = np.linalg.lstsq(change, step, rcond=1e-10)[0]
                move -= (moved + _DAMPING * change) @ mix
            x = x + move * min(1.0, 2.0 / np.abs(move).max())
        return x, residual


class _Inverses(NamedTuple):
    a: FloatArray  # own^-1 (y - F)
    inverse: FloatArray  # (own + spread)^-1
    log_det: float  # of own + spread
    quadratic: float  # (y - F) own^-1 (y - F)
    own: FloatArray


class LawFit:
    """One task alone, by the law of a unit.

    Parameters
    ----------
    kernels : LawTask
        The rows.
    y : ndarray of shape (n,)
        Labels.
    temperature, readout_var : float
        Variance of the label noise, and prior variance of the read-out.

    Raises
    ------
    NumericalError
        As in `LawEquations.solve`.
    """

    n_minima = 1

    def __init__(
        self, kernels: LawTask, y: FloatArray, temperature: float, readout_var: float
    ) -> None:
        self.equations = e = LawEquations(kernels, y, temperature, readout_var)
        self.kernels, self.readout_var = kernels, readout_var
        self.x, self.residual = e.solve()
        self.n_iter = e.n_iter
        self.law = law = e.law(self.x)
        found = e.inverses(law, e.labels)
        self.a, self.inverse = found.a, found.inverse
        self.Q = float(law.share @ law.square)
        self.mean_readout = float(law.share @ law.mean)
        self.Q_free = self.Q - self.mean_readout**2
        size = y.size * (LOG_2PI + math.log(readout_var))
        data = found.log_det + found.quadratic + size
        self.log_evidence = -0.5 * (e.width * e.cost(law) + data)
        # means of the read-outs follow the labels: what is left out of them is left out there too
        delta = np.diagonal(
            interruptible(np.linalg.inv, found.own + e.followed(law), cost=2.0 * y.size**3)
        )
        own = np.maximum(1.0 / np.diagonal(found.inverse) - e.noise, 0.0)
        self.loo = Parts(
            math.sqrt(readout_var) * found.a / delta, readout_var * own, np.zeros_like(own)
        )


class LawTarget:
    """One column of labels of the target, which is not coupled; named as in `Target`."""

    def __init__(self, fit: LawFit, source: LawFit | None) -> None:
        self.fit, self.equations, self.kernels = fit, fit.equations, fit.kernels
        self.Q_t, self.Q_tt = fit.Q, fit.mean_readout**2
        self.delta = self.Q_t - self.Q_tt
        self.Q_s = 1.0 if source is None else source.Q
        self.Q_st = 0.0 if source is None else source.mean_readout * fit.mean_readout
        self.Q_layers = (*(float(r) for r in fit.law.through), self.Q_t)
        shift = MeanShift(1.0, self.Q_tt, self.Q_st)
        self.roots = Roots(self.delta, 0.0, fit.n_iter, shift=shift)
        self.residual, self.log_evidence, self.loo = fit.residual, fit.log_evidence, fit.loo
        is_good = self.residual <= 10.0 * tolerance(self.delta, self.Q_tt)
        self.status = Status.CONVERGED if is_good else Status.STALLED

    @property
    def loo_loss_rows(self) -> FloatArray:
        """Squared leave-one-out error of one random network, sample by sample."""
        return np.asarray(self.loo.mean**2 + self.loo.thermal)


class LawNew:
    """Covariances between new inputs and the rows of a target."""

    def __init__(self, kernels: LawTask, X: FloatArray) -> None:
        self.kernels = kernels
        self.blocks = kernels.between(Task(X, np.empty((len(X), 0))))

    def predict_mean(self, t: LawTarget) -> FloatArray:
        """Mean prediction."""
        fit, law = t.fit, t.fit.law
        pull = math.sqrt(t.equations.width) * law.share * law.mean
        mean = pull @ self.blocks.rows.level + self.blocks.own(law, self.kernels.types.at) @ fit.a
        return np.asarray(math.sqrt(fit.readout_var) * mean)

    def predict(self, t: LawTarget) -> Parts:
        """Mean, thermal and quenched variance at every new input."""
        fit, law, b = t.fit, t.fit.law, self.blocks
        d = b.own(law, self.kernels.types.at) + b.spread(law)
        prior = b.prior(law, self.kernels.types.at)
        thermal = prior - np.einsum("ij,ij->i", d @ fit.inverse, d)
        thermal = fit.readout_var * np.maximum(thermal, 0.0)
        return Parts(self.predict_mean(t), thermal, np.zeros_like(thermal))
