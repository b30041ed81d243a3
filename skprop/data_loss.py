"""What the data contribute to an objective, over rows and block by block: sums without a penalty.

All that an objective asks of its rows goes through a `DataLoss`: whoever has the same methods, as a
sum over several machines has, can stand in its place.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from . import curvature
from .blocks import RowIndex
from .factors import OutputModels
from .slope_error import SlopeError
from .squared_error import SquaredError
from .threads import ignoring_overflow

__all__ = ["DataLoss"]


class DataLoss:
    """Half the sum of the squared errors of values and, where given, of slopes, as function of θ.

    Its factor c = n/(n_B W) on n_B rows is the caller's. What it tells by output is told of the
    values of all outputs and then of the slopes of all.
    """

    def __init__(self, values: SquaredError, slopes: SlopeError | None = None):
        self.values, self.slopes = values, slopes
        self._errors = [values] if slopes is None else [values, slopes]

    @property
    def small_rows(self) -> int:
        """So few rows that an evaluation stays on the calling thread."""
        return self.values.small_rows

    def n_residuals(self, n_rows: int) -> int:
        """The number of residuals of some rows."""
        return n_rows * self.values.layout.sizes[-1] * sum(error.n_each for error in self._errors)

    def sums(
        self, theta: NDArray, rows: RowIndex, n_rows: int, with_gradient: bool
    ) -> tuple[float, NDArray | None]:
        """Twice this over some rows and, if asked for, its gradient, in float64."""
        loss, gradient = self.values.sums(theta, rows, n_rows, with_gradient)
        if self.slopes is not None:
            more, change = self.slopes.sums(theta, rows, n_rows, with_gradient)
            loss, gradient = loss + more, gradient + change if with_gradient else None
        return loss, gradient

    def hessian_product(self, theta: NDArray, v: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
        """H v, of shape (P,), in float64."""
        product = curvature.hessian_product(self.values, theta, v, rows, n_rows)
        if self.slopes is not None:
            product += self.slopes.hessian_product(theta, v, rows, n_rows)
        return product

    def hessian(self, theta: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
        """H, of shape (P, P), in float64, computed row by row: symmetric but for rounding."""
        H = curvature.hessian(self.values, theta, rows, n_rows)
        if self.slopes is not None:
            for row, unit in zip(H, np.eye(len(theta), dtype=theta.dtype), strict=True):
                row += self.slopes.hessian_product(theta, unit, rows, n_rows)
        return H

    def residuals(
        self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray
    ) -> None:
        """Write √(c w) (f_K − y), row by row, and then √(c v) (∂f_K/∂x − y′) into ``out``, of the
        length of `n_residuals`."""
        n = n_rows * self.values.layout.sizes[-1]
        curvature.residuals(self.values, theta, rows, n_rows, c, out=out[:n].reshape(n_rows, -1))
        if self.slopes is not None:
            shape = n_rows, -1, self.slopes.n_each
            self.slopes.fill_residuals(theta, rows, n_rows, c, out[n:].reshape(shape))

    def jacobian(self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray) -> None:
        """Write the transposed derivatives of `residuals` into ``out``, of shape (P, residuals),
        where 0 must be."""
        start, d_K = 0, self.values.layout.sizes[-1]
        for error in self._errors:
            stop = start + n_rows * d_K * error.n_each
            J = out[:, start:stop].reshape(len(out), n_rows, d_K, error.n_each)
            curvature.jacobian(error, theta, rows, n_rows, c, out=J.transpose(2, 0, 3, 1))
            start = stop

    def models(self, theta: NDArray, rows: RowIndex, n_rows: int, c: float) -> OutputModels:
        """½ ‖r_k‖², J_kᵀ r_k and J_kᵀ J_k for each output k, in float64."""
        each = [curvature.normal_equations(e, theta, rows, n_rows, c) for e in self._errors]
        return reduce(OutputModels.beside, each)

    def thin_models(self, theta: NDArray, c: float) -> OutputModels:
        """`models` of all rows, with all J_kᵀ side by side."""
        each = [curvature.thin_model(error, theta, c) for error in self._errors]
        return reduce(OutputModels.beside, each)

    def output_losses(self, theta: NDArray, c: float) -> NDArray:
        """½ ‖r_k‖² for each output k, on all rows."""
        n, d_K = self.values.y.shape
        r = np.empty(self.n_residuals(n), self.values.X.dtype)
        self.residuals(theta, slice(0, n), n, c, out=r)
        values, slopes = r[: n * d_K].reshape(n, d_K), r[n * d_K :].reshape(n, d_K, -1)
        losses = 0.5 * np.einsum("sk,sk->k", values, values)
        if self.slopes is None:
            return losses
        return np.concatenate([losses, 0.5 * np.einsum("skj,skj->k", slopes, slopes)])

    def losses_of_mean(self) -> NDArray:
        """½ Σ_s w_sk (y_s − ȳ)_k² for each output k, with the weighted means ȳ of the targets, and
        then those of slopes that are 0."""
        totals, sums = self.target_sums()
        losses = self.losses_around(sums / np.where(totals > 0, totals, 1.0))
        if self.slopes is None:
            return losses
        return np.concatenate([losses, self.slopes.losses_of_flat()])

    @ignoring_overflow()
    def target_sums(self) -> tuple[NDArray, NDArray]:
        """Σ_s w_sk and Σ_s w_sk y_sk for each output k."""
        y, w = self._targets()
        return w.sum(axis=0), (w * y).sum(axis=0)

    @ignoring_overflow()
    def losses_around(self, mean: NDArray) -> NDArray:
        """½ Σ_s w_sk (y_s − mean)_k² for each output k."""
        y, w = self._targets()
        squares = np.ascontiguousarray((w * (y - mean) ** 2).T)
        return 0.5 * squares.sum(axis=1)

    def _targets(self) -> tuple[NDArray, NDArray]:
        """The targets, and a weight for each, in float64."""
        y, w = self.values.y.astype(np.float64), self.values.weights
        w = np.ones((1, 1)) if w is None else w.astype(np.float64)
        return y, np.broadcast_to(w, y.shape)

    def largest(self) -> tuple[str, int, float]:
        """See `SquaredError.largest`."""
        return self.values.largest()
