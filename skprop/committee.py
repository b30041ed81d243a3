"""Several networks that predict together; one network is a committee of one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .laplace import common_noise
from .network import Network
from .posterior import model_variance
from .rows import Rows

__all__ = ["Committee"]


class Committee(NamedTuple):
    """Networks of one layout whose predictions are averaged, in standard units.

    Attributes
    ----------
    networks : sequence of Network
    factors : sequence of ndarray
        H of each as `skprop.factors.restored` takes it, where the precision of its posterior is
        H/σ²; none if unknown.
    noises : sequence of ndarray of shape (d_K,)
        σ_k² of the outputs of each.
    """

    networks: Sequence[Network]
    factors: Sequence[NDArray] = ()
    noises: Sequence[NDArray] = ()

    def mean(self, rows: Rows) -> NDArray:
        """The mean of the networks' outputs, of shape (rows, d_K)."""
        return _mean_of([network.outputs(rows) for network in self.networks])

    def mean_and_deviation(self, rows: Rows) -> tuple[NDArray, NDArray]:
        """The mean, and the standard deviation of a target of weight 1 around it.

        Its square is the mean of the members' variances and the variance of their outputs.
        """
        outputs = [network.outputs(rows) for network in self.networks]
        with np.errstate(over="ignore", invalid="ignore"):
            variances = [
                noise * (1 + common_noise(noise)[1] * model_variance(network, rows, factor))
                for network, factor, noise in zip(*self, strict=True)
            ]  # σ_k² (1 + u_k gᵀ H⁻¹ g)
            spread = np.var(outputs, axis=0, dtype=np.float64)
            return _mean_of(outputs), np.sqrt(np.mean(variances, axis=0) + spread)

    def input_gradient(self, rows: Rows) -> NDArray:
        """The derivatives of the mean output by the raw features, of shape (rows, d_K, d_0)."""
        return _mean_of([network.input_gradient(rows) for network in self.networks])


def _mean_of(values: list[NDArray]) -> NDArray:
    """The mean of arrays; a single one is returned as it is."""
    return values[0] if len(values) == 1 else np.mean(values, axis=0)
