"""What the data contribute to an objective, over rows and block by block: sums without a penalty.

All that an objective asks of its rows goes through a `DataLoss`: whoever has the same methods, as a
sum over several machines has, can stand in its place.
"""

import numpy as np
from numpy.typing import NDArray

from . import curvature
from .blocks import RowIndex
from .factors import OutputModels
from .squared_error import SquaredError
from .threads import ignoring_overflow

__all__ = ["DataLoss"]


class DataLoss:
    """Half of Σ_s Σ_k w_sk (f_K(x_s; θ) − y_s)_k², as a function of θ.

    Its factor c = n/(n_B W) on n_B rows is the caller's.
    """

    def __init__(self, values: SquaredError):
        self.values = values

    @property
    def small_rows(self) -> int:
        """So few rows that an evaluation stays on the calling thread."""
        return self.values.small_rows

    def n_residuals(self, n_rows: int) -> int:
        """The number of residuals of some rows."""
        return n_rows * self.values.layout.sizes[-1]

    def sums(
        self, theta: NDArray, rows: RowIndex, n_rows: int, with_gradient: bool
    ) -> tuple[float, NDArray | None]:
        """Twice this over some rows and, if asked for, its gradient, in float64."""
        return self.values.sums(theta, rows, n_rows, with_gradient)

    def hessian_product(self, theta: NDArray, v: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
        """H v, of shape (P,), in float64."""
        return curvature.hessian_product(self.values, theta, v, rows, n_rows)

    def hessian(self, theta: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
        """H, of shape (P, P), in float64, computed row by row: symmetric but for rounding."""
        return curvature.hessian(self.values, theta, rows, n_rows)

    def residuals(
        self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray
    ) -> None:
        """Write √(c w) (f_K − y), row by row, into ``out``, of the length of `n_residuals`."""
        r = out.reshape(n_rows, -1)
        curvature.residuals(self.values, theta, rows, n_rows, c, out=r)

    def jacobian(self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray) -> None:
        """Write the transposed derivatives of `residuals` into ``out``, of shape (P, residuals)."""
        J = np.moveaxis(out.reshape(len(out), n_rows, -1), 2, 0)
        curvature.jacobian(self.values, theta, rows, n_rows, c, out=J)

    def models(self, theta: NDArray, rows: RowIndex, n_rows: int, c: float) -> OutputModels:
        """½ ‖r_k‖², J_kᵀ r_k and J_kᵀ J_k for each output k, in float64."""
        return curvature.normal_equations(self.values, theta, rows, n_rows, c)

    def thin_models(self, theta: NDArray, c: float) -> OutputModels:
        """`models` of all rows, with all J_kᵀ side by side."""
        return curvature.thin_model(self.values, theta, c)

    def output_losses(self, theta: NDArray, c: float) -> NDArray:
        """½ ‖r_k‖² for each output k, on all rows."""
        n = len(self.values.y)
        r = np.empty((n, self.values.layout.sizes[-1]), self.values.X.dtype)
        curvature.residuals(self.values, theta, slice(0, n), n, c, out=r)
        return 0.5 * np.einsum("sk,sk->k", r, r)

    @ignoring_overflow()
    def losses_of_mean(self) -> NDArray:
        """½ Σ_s w_sk (y_s − ȳ)_k² for each output k, with the weighted means ȳ of the targets."""
        y, w = self.values.y.astype(np.float64), self.values.weights
        w = np.ones((1, 1)) if w is None else w.astype(np.float64)
        w = np.broadcast_to(w, y.shape)
        totals = w.sum(axis=0)
        mean = (w * y).sum(axis=0) / np.where(totals > 0, totals, 1.0)
        squares = np.ascontiguousarray((w * (y - mean) ** 2).T)
        return 0.5 * squares.sum(axis=1)

    def largest(self) -> tuple[str, int, float]:
        """See `SquaredError.largest`."""
        return self.values.largest()
