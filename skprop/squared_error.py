"""The sum of squared errors of a network over rows, and its gradient, block by block."""

import math
from collections.abc import MutableMapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .backprop import backward, backward_outer, forward
from .blocks import LEAST_ROWS, Block, RowBlocks, RowIndex, block_rows, split
from .jacobian import output_jacobian
from .layout import Layout
from .rows import Rows, take
from .sigmoid import tanh, tanh_slope
from .tangents import TangentWorkspace
from .tanh_form import Parameters, TanhForm
from .threads import ignoring_overflow, small_rows
from .workspace import Spare, Workspace

__all__ = ["SquaredError", "sum_of_squares"]


class SquaredError:
    """Σ_s w_s ‖f_K(x_s; θ) − y_s‖² over rows of X, as a function of θ.

    The targets y have shape (n, d_K), the weights w shape (n, 1), or (n, d_K) for one of each
    target, or are None for 1. ``form`` turns θ into the parameters of the tanh network, by which
    the blocks are computed.
    """

    def __init__(
        self, X: Rows, y: NDArray, weights: NDArray | None, layout: Layout, output_activation: str
    ):
        self.X, self.y, self.weights, self.layout = X, y, weights, layout
        self.form = TanhForm(layout, output_activation, X.dtype)
        self.block_rows = min(block_rows(layout.sizes, X.dtype), X.shape[0])  # of the largest block
        # Of a row, in multiplications in float64; an activation costs about ten.
        self.work = (layout.n_params + 10 * sum(layout.sizes[1:])) * X.dtype.itemsize // 8
        self.small_rows = small_rows(layout)
        self._backward = backward_outer if layout.sizes[2:] == (1,) else backward
        self._all_blocks = self._blocks(slice(0, X.shape[0]), X.shape[0])
        self.parameters = Spare(self.form.parameters)
        n_weights = 1 if weights is None else weights.shape[1]
        buffers = layout, self.block_rows, X.dtype, n_weights
        self._shapes = (layout.sizes, *buffers[1:])
        self.workspaces = Spare(partial(Workspace, *buffers))
        self.tangent_workspaces = Spare(partial(TangentWorkspace, *buffers))

    def share_buffers(self, kept: MutableMapping[tuple, Spare]) -> None:
        """Compute in the buffers kept for the same shapes; keep these if there are none."""
        self.workspaces = kept.setdefault(self._shapes, self.workspaces)

    @property
    def n_each(self) -> int:
        """The number of residuals of an output at a row."""
        return 1

    def sums(
        self, theta: NDArray, rows: RowIndex, n_rows: int, with_gradient: bool
    ) -> tuple[float, NDArray | None]:
        """The sum over some rows and, if asked for, half its gradient, in float64."""
        parameters = self.parameters.take()
        B = self.tanh_form(theta, parameters)
        is_all = n_rows == len(self.y) and isinstance(rows, slice)
        blocks = self._all_blocks if is_all else self._blocks(rows, n_rows)
        loss, *gradient = blocks.sum(partial(self._part_sums, B, with_gradient))
        self.parameters.give_back(parameters)
        return loss, self.pulled_back(*gradient) if with_gradient else None

    def fill_jacobian(
        self, theta: NDArray, rows: RowIndex, n_rows: int, c: float, size: int, J: NDArray,
        r: NDArray | None = None,
    ) -> None:  # fmt: skip
        """Write √(c w) ∂f_K/∂θ into J, of shape (d_K, P or Q, 1, n_rows), and √(c w) (f_K − y) into
        r, of shape (d_K, 1, n_rows), if it is given, in blocks of ``size`` rows."""
        B, J = self.form.of(theta), J[:, :, 0]

        def fill_part(blocks: list[Block]) -> None:
            for rows_, at, m in blocks:
                root, x = self.root_weight(rows_, c), self.X.read_dense(rows_, m)
                f = output_jacobian(B, theta, x, self.form, J[:, :, at], root)
                if r is not None:
                    f -= self.y[rows_]
                    f *= root  # √(c w) (f_K − y)
                    r[:, 0, at] = f.T

        work = n_rows * (self.work + J.shape[0] * J.shape[1])
        RowBlocks(rows, n_rows, size, work).fill(fill_part)

    def root_weight(self, rows: RowIndex, c: float) -> NDArray | float:
        """√(c w) of some rows, of shape (rows, 1) or (rows, d_K), or a number."""
        scale = math.sqrt(c)
        return scale if self.weights is None else scale * np.sqrt(self.weights[rows])

    def is_one_block(self, n_rows: int) -> bool:
        """Whether so many rows are computed together."""
        parts = self._blocks(slice(0, n_rows), n_rows).parts
        return len(parts) == len(parts[0]) == 1

    def _blocks(self, rows: RowIndex, n_rows: int) -> RowBlocks:
        return RowBlocks(rows, n_rows, self.block_rows, n_rows * self.work, LEAST_ROWS)

    def tanh_form(self, theta: NDArray, out: Parameters | None = None) -> list[NDArray]:
        """θ as [B_0, …, B_{K-1}], the tanh form for rows as `Rows.read` gives them; see
        `TanhForm.of`."""
        B = self.form.of(theta, out)
        self.X.fold(B[0])
        return B

    def pulled_back(self, gradient: NDArray) -> NDArray:
        """Turn a gradient by the parameters B of `tanh_form` into that by θ, in place."""
        if self.X.sparse:
            self.X.unfold(self.layout.stacked(gradient)[0])
        self.form.pull_back(gradient)
        return gradient

    @ignoring_overflow()
    def largest(self) -> tuple[str, int, float]:
        """The name "y" or "X", the number and the largest entry of a column that may cause an
        overflow: of y if the sum of squares of y overflows, else the column of X with the largest
        entry."""
        name, largest = "y", np.abs(self.y).max(axis=0).astype(np.float64)
        if np.isfinite(len(self.y) * np.square(largest).sum()):
            name, largest = "X", np.zeros(self.X.shape[1])
            for rows, _, m in split(slice(0, len(self.y)), self.block_rows):
                x = np.abs(self.X.read_dense(rows, m)[:, :-1]).max(axis=0)
                largest = np.fmax(largest, np.where(np.isnan(x), np.inf, x))
        j = int(np.argmax(largest))
        return name, j, float(largest[j])

    def _part_sums(self, B: list, with_gradient: bool, blocks: list[Block]) -> tuple:
        """The sum over some blocks and, if asked for, half its gradient by B."""
        workspace = self.workspaces.take()
        loss, gradient = 0.0, None
        for rows, _, m in blocks:
            loss += self._block_sums(B, with_gradient, rows, m, workspace)
            if with_gradient and gradient is None:
                gradient = workspace.gradient.astype(np.float64)
            elif with_gradient:
                gradient += workspace.gradient
        self.workspaces.give_back(workspace)
        return (loss, gradient) if with_gradient else (loss,)

    def _block_sums(
        self, B: list, with_gradient: bool, rows: RowIndex, m: int, workspace: Workspace
    ) -> float:
        """The sum over a block of m rows; half its gradient goes to ``workspace.gradient``."""
        t, z, df, delta, y, w = workspace.first(m)
        t[0] = self.X.read(rows, df[0])
        output = self.form.output
        forward(B, t, z, tanh, output.apply)
        residual = np.subtract(t[-1], take(self.y, rows, y), out=delta[-1])
        w = None if self.weights is None else take(self.weights, rows, w)
        loss = sum_of_squares(residual, w)
        if w is not None:
            residual *= w
        if with_gradient:
            output.times_slope(delta[-1], t[-1])  # δ_K = w (f_K − y) ∘ φ_K′
            self._backward(B, t, df, delta, workspace.G, tanh_slope)
        return loss


def sum_of_squares(a: NDArray, w: NDArray | None) -> float:
    """Σ w a² over a C-contiguous array, with a weight for each row or entry, in float64."""
    if w is not None:
        weight = "sk" if w.shape[1] == 1 else "sj"  # of a row, or of a target
        return float(np.einsum(f"sj,sj,{weight}->", a, a, w, dtype=np.float64))
    if a.dtype == np.float64:
        a = a.ravel()
        return float(a.dot(a))
    return float(np.einsum("ij,ij->", a, a, dtype=np.float64))
