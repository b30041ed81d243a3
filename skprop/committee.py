"""Several networks that predict together; one network is a committee of one."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from .laplace import above_zero, common_noise
from .network import Network
from .posterior import model_variance, slope_variance, variance_gradient
from .rows import Rows
from .threads import ignoring_overflow

__all__ = ["Committee", "quantile"]

# Degrees of freedom with which intervals covered their share, of one network and of several.
_ALONE, _TOGETHER = 8, 5


class Committee(NamedTuple):
    """Networks of one layout whose predictions are averaged, in standard units.

    Attributes
    ----------
    networks : sequence of Network
    factors : sequence of ndarray
        H of each as `skprop.factors.restored` takes it, where the precision of its posterior is
        H/σ²; none if unknown, and then the model is uncertain by the spread of the networks alone.
    noises : sequence of ndarray of shape (d_K,) or (2 d_K,)
        σ_k² of the outputs of each, followed by those of slopes, where the fit had some.
    shifts : sequence of ndarray
        θ* − θ of each, from its parameters to the mode of its posterior; none where they are 0.
    """

    networks: Sequence[Network]
    factors: Sequence[NDArray] = ()
    noises: Sequence[NDArray] = ()
    shifts: Sequence[NDArray] = ()

    def mean(self, rows: Rows) -> NDArray:
        """The mean of the networks' outputs, of shape (rows, d_K)."""
        return _mean_of([network.outputs(rows) for network in self.networks])

    def mean_and_deviation(self, rows: Rows, of: str = "target") -> tuple[NDArray, NDArray]:
        """The mean, and the standard deviation around it of a target of weight 1, or of the
        "model": of what that target would be without its noise.

        Its square is the mean of the members' variances and the variance of their outputs.
        """
        outputs = [network.outputs(rows) for network in self.networks]
        with np.errstate(over="ignore", invalid="ignore"):
            d_K = outputs[0].shape[1]
            variances = [
                above_zero(noise[:d_K]) if of == "target" else 0.0 for noise in self.noises
            ]
            if self.factors:
                of_model = self._of_posteriors(model_variance, rows)
                variances = [a + b for a, b in zip(variances, of_model, strict=True)]
            spread = np.var(outputs, axis=0, dtype=np.float64)
            return _mean_of(outputs), np.sqrt(np.mean(variances, axis=0) + spread)

    def input_gradient(self, rows: Rows) -> NDArray:
        """The derivatives of the mean output by the raw features, of shape (rows, d_K, d_0)."""
        return _mean_of([network.input_gradient(rows) for network in self.networks])

    @ignoring_overflow()
    def gradient_and_deviation(self, rows: Rows) -> tuple[NDArray, NDArray]:
        """`input_gradient` and the standard deviation around it, of shape (rows, d_K, d_0).

        Its square is the mean of the members' variances and the variance of their gradients.
        """
        slopes = [network.slopes(rows) for network in self.networks]
        variance = np.var(slopes, axis=0, dtype=np.float64)
        if self.factors:
            variance += np.mean(self._of_posteriors(slope_variance, rows), axis=0)
        gradient = _mean_of([rows.in_raw_units(g) for g in slopes])
        return gradient, rows.in_raw_units(np.sqrt(variance))

    @ignoring_overflow()
    def input_hessian(self, rows: Rows) -> NDArray:
        """The second derivatives of the mean output by the raw features, (rows, d_K, d_0, d_0)."""
        first, *others = self.networks
        total = first.input_hessian(rows)
        for network in others:
            total += network.input_hessian(rows)
        if others:
            total /= len(self.networks)
        return total

    @ignoring_overflow()
    def deviation_gradient(self, rows: Rows, of: str = "target") -> NDArray:
        """The derivatives of the deviation of `mean_and_deviation` by the raw features, of shape
        (rows, d_K, d_0); 0 where it is 0."""
        shape = (rows.shape[0], len(self.noises[0]), rows.shape[1])
        variances = np.array([above_zero(e) if of == "target" else 0 * e for e in self.noises])
        variance, gradient = np.mean(variances, axis=0), np.zeros(shape)  # half that of its square
        if self.factors:
            each = zip(*self._of_posteriors(variance_gradient, rows), strict=True)
            of_model, of_variance = (np.mean(values, axis=0) for values in each)
            variance, gradient = variance + of_model, 0.5 * of_variance
        if len(self.networks) > 1:
            outputs = np.array([network.outputs(rows) for network in self.networks], np.float64)
            variance = variance + np.var(outputs, axis=0)
            for network, apart in zip(self.networks, outputs - outputs.mean(axis=0), strict=True):
                gradient += apart[..., None] * network.slopes(rows) / len(outputs)
        deviation = np.broadcast_to(np.sqrt(variance), shape[:2])[..., None]
        np.divide(gradient, deviation, out=gradient, where=deviation > 0)
        return rows.in_raw_units(gradient)

    def _of_posteriors(self, quantity: Callable, rows: Rows) -> list[NDArray]:
        """A function of `skprop.posterior` of each member, at the rows."""
        shifts = self.shifts or [None] * len(self.networks)
        each = zip(self.networks, self.factors, self.noises, shifts, strict=True)
        return [
            quantity(network, rows, factor, common_noise(noise)[0], shift)
            for network, factor, noise, shift in each
        ]


def quantile(coverage: float, n_members: int) -> float:
    """The number of standard deviations on both sides of a prediction that cover such a share."""
    freedom = _ALONE if n_members == 1 else _TOGETHER
    return float(t.ppf((1 + coverage) / 2, freedom)) * math.sqrt((freedom - 2) / freedom)


def _mean_of(values: list[NDArray]) -> NDArray:
    """The mean of arrays; a single one is returned as it is."""
    return values[0] if len(values) == 1 else np.mean(values, axis=0)
