"""A network as a value: its outputs, and their derivatives by the inputs and by θ."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backprop import forward
from .blocks import Block, RowBlocks, block_rows
from .jacobian import (
    input_gradient,
    input_hessian,
    jacobian_rows,
    output_jacobian,
    slope_jacobian,
    slope_rows,
)
from .layout import Layout
from .rows import Rows
from .sigmoid import tanh
from .tanh_form import TanhForm
from .threads import ALONE, guarded, ignoring_overflow, single_threaded_blas, small_rows
from .workspace import check_memory, unit_buffers, without_constant

__all__ = ["Network"]


class Network(NamedTuple):
    """The function f_K ∘ … ∘ f_1 with its parameters."""

    layout: Layout
    theta: NDArray  # of shape (P,)
    output_activation: str  # "identity" or "sigmoid"

    @ignoring_overflow()
    def outputs(self, X: Rows) -> NDArray:
        """f_K at each of the rows, of shape (rows, d_K); further memory is O(block)."""
        layout, n = self.layout, X.shape[0]
        f_K = np.empty((n, layout.sizes[-1]), X.dtype)
        size = min(block_rows(layout.sizes, X.dtype), n)

        def fill_part(blocks: list[Block]) -> None:
            buffers = unit_buffers(layout, size, X.dtype)
            for rows, at, m in blocks:
                x, *t = (f[:m] for f in buffers[:-1])
                t = [X.read(rows, x), *t, f_K[at]]
                forward(B, t, without_constant(t), tanh, form.output.apply)

        with ALONE if n <= small_rows(layout) else single_threaded_blas():
            form = TanhForm(layout, self.output_activation, X.dtype)
            B = form.of(self.theta)
            X.fold(B[0])
            RowBlocks(slice(0, n), n, size, n * layout.n_params).fill(fill_part)
        return f_K

    @ignoring_overflow()
    def input_gradient(self, X: Rows) -> NDArray:
        """∂f_K/∂x at each of the rows, of shape (rows, d_K, d_0), by the features in raw units."""
        return X.in_raw_units(self.slopes(X))

    @guarded
    def slopes(self, X: Rows) -> NDArray:
        """∂f_K/∂x at each of the rows, by the features in standard units."""
        layout, n = self.layout, X.shape[0]
        shape = n, layout.sizes[-1], layout.sizes[0]
        check_memory(
            math.prod(shape) * X.dtype.itemsize, f"A gradient of shape {shape}", "Use fewer rows."
        )
        gradient = np.empty(shape, X.dtype)
        form = TanhForm(layout, self.output_activation, X.dtype)
        B = form.of(self.theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows, at, m in blocks:
                x = X.read_dense(rows, m)
                input_gradient(B, self.theta, x, form, out=gradient[at])

        size, work = min(block_rows(layout.sizes, X.dtype), n), 2 * n * layout.n_params * shape[1]
        RowBlocks(slice(0, n), n, size, work).fill(fill_part)
        return gradient

    @guarded
    def input_hessian(self, X: Rows) -> NDArray:
        """∂²f_K/∂x∂x at each of the rows, of shape (rows, d_K, d_0, d_0), by the features in raw
        units."""
        layout, n, d = self.layout, X.shape[0], X.shape[1]
        shape = n, layout.sizes[-1], d, d
        check_memory(
            math.prod(shape) * X.dtype.itemsize, f"A Hessian of shape {shape}", "Use fewer rows."
        )
        hessian = np.empty(shape, X.dtype)
        form = TanhForm(layout, self.output_activation, X.dtype)
        B = form.of(self.theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows, at, m in blocks:
                x = X.read_dense(rows, m)
                input_hessian(B, self.theta, x, form, out=hessian[at])

        size = min(slope_rows(d * max(layout.sizes), X.dtype), n)
        RowBlocks(slice(0, n), n, size, 3 * n * layout.n_params * shape[1] * d).fill(fill_part)
        hessian = X.in_raw_units(X.in_raw_units(hessian).swapaxes(-1, -2))
        lower, upper = np.tril_indices(d, -1)
        hessian[..., upper, lower] = hessian[..., lower, upper]  # equal but for rounding
        return hessian

    @guarded
    def for_each_jacobian(self, X: Rows, work: int, use: Callable[[slice, NDArray], None]) -> None:
        """Call ``use(rows, J)`` for blocks of rows, J = ∂f_K/∂θ there, of shape (d_K, P, rows).

        ``work`` is the number of multiplications of ``use`` for all rows together. Its calls may
        run side by side.
        """
        layout, n = self.layout, X.shape[0]
        P, d_K = layout.n_params, layout.sizes[-1]
        form = TanhForm(layout, self.output_activation, X.dtype)
        B = form.of(self.theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows, at, m in blocks:
                J = np.zeros((d_K, P, m), X.dtype)
                output_jacobian(B, self.theta, X.read_dense(rows, m), form, J)
                use(at, J)

        size = min(jacobian_rows(P * d_K, np.float64), n)
        RowBlocks(slice(0, n), n, size, work).fill(fill_part)

    @guarded
    def for_each_slope_jacobian(
        self, X: Rows, work: int, use: Callable[[slice, NDArray, NDArray], None]
    ) -> None:
        """Call ``use(rows, J, S)`` for blocks of rows, J as in `for_each_jacobian` and
        S = ∂J/∂x by the features in standard units, of shape (d_K, P, d_0, rows).

        ``work`` is as in `for_each_jacobian`.
        """
        layout, n = self.layout, X.shape[0]
        P, d_0, d_K = layout.n_params, layout.sizes[0], layout.sizes[-1]
        form = TanhForm(layout, self.output_activation, X.dtype)
        B = form.of(self.theta)

        def fill_part(blocks: list[Block]) -> None:
            for rows, at, m in blocks:
                x = X.read_dense(rows, m)
                J, S = np.zeros((d_K, P, m), X.dtype), np.zeros((d_K, P, d_0, m), X.dtype)
                output_jacobian(B, self.theta, x, form, J)
                slope_jacobian(B, self.theta, x, form, S)
                use(at, J, S)

        size = min(slope_rows(P * d_0 * d_K, np.float64), n)
        RowBlocks(slice(0, n), n, size, work).fill(fill_part)
