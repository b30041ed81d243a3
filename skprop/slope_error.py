"""The sum of squared errors of slopes ∂f_K/∂x over rows, and its derivatives, block by block."""

import numpy as np
from numpy.typing import NDArray

from .blocks import LEAST_ROWS, Block, RowBlocks, RowIndex, block_rows
from .double_backprop import gradient_along, slope_gradient, slope_pass, slope_pass_along
from .jacobian import slope_jacobian, slope_rows
from .layout import Layout
from .rows import Rows
from .sigmoid import IDENTITY
from .tanh_form import TanhForm

__all__ = ["SlopeError"]


class SlopeError:
    """Σ_s Σ_k Σ_j v_skj (∂f_k/∂x_j − y′_skj)² over dense rows of X, as a function of θ.

    The slopes y′ and the weights v have shape (n, d_K, d_0), by the features and the targets as
    they are read; the weight of an unknown slope is 0.
    """

    def __init__(
        self, X: Rows, slopes: NDArray, weights: NDArray, layout: Layout, output_activation: str
    ):
        self.X, self.y, self.weights, self.layout = X, slopes, weights, layout
        self.form = TanhForm(layout, output_activation, X.dtype)
        widest = 4 * max(layout.sizes) * layout.sizes[-1]  # of the arrays of all outputs, some four
        self.block_rows = min(block_rows((widest,), X.dtype), X.shape[0])
        # Of a row, in multiplications: see `double_backprop`.
        self.work = (layout.n_params + 10 * sum(layout.sizes)) * (2 + 2 * layout.sizes[-1])

    @property
    def n_each(self) -> int:
        """The number of residuals of an output at a row."""
        return self.layout.sizes[0]

    def sums(
        self, theta: NDArray, rows: RowIndex, n_rows: int, with_gradient: bool
    ) -> tuple[float, NDArray | None]:
        """The sum over some rows and, if asked for, half its gradient, in float64."""
        B = self.form.of(theta)

        def part_sums(blocks: list[Block]) -> tuple:
            loss, G = 0.0, np.zeros(len(theta))
            own = np.empty(len(theta), self.X.dtype)
            for rows_, _, m in blocks:
                at, error, e = self._errors(B, rows_, m)
                loss += float(np.einsum("ksj,ksj->", e, error, dtype=np.float64))
                if with_gradient:
                    slope_gradient(B, at, e, self.layout.stacked(own))
                    G += own
            return (loss, G) if with_gradient else (loss,)

        loss, *gradient = self._blocks(rows, n_rows, 1).sum(part_sums)
        return loss, self._pulled_back(*gradient) if with_gradient else None

    def hessian_product(self, theta: NDArray, v: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
        """H v for half the sum over some rows, of shape (P,), in float64."""
        B, V = self.form.of(theta), self.form.of(v)

        def part_sums(blocks: list[Block]) -> tuple[NDArray]:
            total, own = np.zeros(len(theta)), np.empty(len(theta), self.X.dtype)
            for rows_, _, m in blocks:
                at, _, e = self._errors(B, rows_, m)
                along = slope_pass_along(B, V, at)
                r_e = along.slopes * self._first_outputs(self.weights, rows_)
                gradient_along(B, V, at, along, e, r_e, self.layout.stacked(own))
                total += own
            return (total,)

        return self._pulled_back(*self._blocks(rows, n_rows, 3).sum(part_sums))

    def fill_residuals(
        self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray
    ) -> None:
        """Write √(c v) (∂f_K/∂x − y′) into ``out``, of shape (n_rows, d_K, d_0)."""
        B = self.form.of(theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows_, at, m in blocks:
                _, error, _ = self._errors(B, rows_, m)
                r = error * np.sqrt(c * self._first_outputs(self.weights, rows_))
                out[at] = r.transpose(1, 0, 2)

        self._blocks(rows, n_rows, 1).fill(fill_part)

    def fill_jacobian(
        self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, size: int, J: NDArray,
        r: NDArray | None = None,
    ) -> None:  # fmt: skip
        """Write the derivatives of √(c v) ∂f_K/∂x into J, of shape (d_K, P or Q, d_0, n_rows), and
        the residuals into r, of shape (d_K, d_0, n_rows), if it is given, in blocks of ``size``
        rows."""
        B = self.form.of(theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows_, at, m in blocks:
                x, roots = self.X.read_dense(rows_, m), self._last_rows(self.weights, rows_)
                roots = np.sqrt(c * roots)
                slopes = slope_jacobian(B, theta, x, self.form, J[..., at], roots)
                if r is not None:
                    r[..., at] = roots * (slopes - self._last_rows(self.y, rows_))

        width = J.shape[0] * J.shape[1] * J.shape[2]
        size = min(size, slope_rows(width, J.dtype), n_rows)
        RowBlocks(rows, n_rows, size, n_rows * (self.work + width)).fill(fill_part)

    def losses_of_flat(self) -> NDArray:
        """½ Σ_s Σ_j v_skj y′_skj² for each output k, of a constant function."""
        y, v = self.y.astype(np.float64), self.weights.astype(np.float64)
        return 0.5 * np.einsum("skj,skj,skj->k", v, y, y)

    def _errors(self, B: list, rows: RowIndex, m: int) -> tuple:
        """The slopes of a block, their errors, and those times v, of shape (d_K, m, d_0)."""
        x = self.X.read(rows, np.empty((m, self.X.shape[1] + 1), self.X.dtype))[:, :-1]
        at = slope_pass(B, x, self.form.output is IDENTITY)
        error = at.slopes - self._first_outputs(self.y, rows)
        return at, error, error * self._first_outputs(self.weights, rows)

    @staticmethod
    def _first_outputs(a: NDArray, rows: RowIndex) -> NDArray:
        return a[rows].transpose(1, 0, 2)

    @staticmethod
    def _last_rows(a: NDArray, rows: RowIndex) -> NDArray:
        return a[rows].transpose(1, 2, 0)

    def _blocks(self, rows: RowIndex, n_rows: int, times: int) -> RowBlocks:
        return RowBlocks(rows, n_rows, self.block_rows, times * n_rows * self.work, LEAST_ROWS)

    def _pulled_back(self, gradient: NDArray) -> NDArray:
        self.form.pull_back(gradient)
        return gradient
