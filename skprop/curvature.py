"""The second-order quantities of a `SquaredError` over rows: H v, H, r, J and JᵀJ.

With c = n/(n_B W), r is √(c w) (f_K − y), row by row, and J = ∂r/∂θ. H is the Hessian of half the
sum of squares; the caller multiplies it by c.
"""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .backprop import forward
from .blocks import LEAST_ROWS, MAX_PARTS, Block, RowBlocks, RowIndex, split
from .jacobian import add_tile, jacobian_rows, output_jacobian, tiles
from .rows import take
from .sigmoid import tanh
from .squared_error import SquaredError
from .tangents import TangentWorkspace, linearise, tangent
from .threads import run
from .workspace import unit_buffers, without_constant

__all__ = [
    "hessian", "hessian_product", "jacobian", "linear_model", "normal_equations", "residuals",
]  # fmt: skip


def hessian_product(
    error: SquaredError, theta: NDArray, v: NDArray, rows: RowIndex, n_rows: int
) -> NDArray:
    """H v, of shape (P,), in float64."""
    B, V = error.tanh_form(theta), error.tanh_form(v)

    def part_sums(blocks: list[Block]) -> tuple[NDArray]:
        workspace, product = error.tangent_workspaces.take(), np.zeros(len(v))
        for rows, _, m in blocks:
            tangent(B, V, *_linearised(error, B, rows, workspace.first(m)))
            product += workspace.RG
        error.tangent_workspaces.give_back(workspace)
        return (product,)

    blocks = RowBlocks(rows, n_rows, error.block_rows, 2 * n_rows * error.work, LEAST_ROWS)
    return error.pulled_back(*blocks.sum(part_sums))


def hessian(error: SquaredError, theta: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
    """H, of shape (P, P), in float64, computed row by row: symmetric but for rounding."""
    P, B = len(theta), error.tanh_form(theta)
    (blocks,) = RowBlocks(rows, n_rows, error.block_rows, work=0).parts
    directions = split(slice(0, P), -(-P // MAX_PARTS))
    H = np.zeros((P, P))

    def fill_rows(k: int) -> None:
        workspace, unit = error.tangent_workspaces.take(), np.zeros(P, error.X.dtype)
        mine = directions[k].rows
        for rows, _, m in blocks:
            linear = _linearised(error, B, rows, workspace.first(m))
            for j in range(mine.start, mine.stop):
                unit[j] = 1.0
                tangent(B, error.tanh_form(unit), *linear)
                H[j] += workspace.RG
                unit[j] = 0.0
        error.tangent_workspaces.give_back(workspace)
        for row in H[mine]:
            error.pulled_back(row)

    run(fill_rows, len(directions))
    return H


def _linearised(error: SquaredError, B: list, rows: RowIndex, block: TangentWorkspace) -> tuple:
    """The arguments of `tangent` after B and V, for Σ ½ w ‖f_K − y‖² over some rows."""
    x, output = error.X.read(rows, block.t[0]), error.form.output
    forward(B, [x, *block.t[1:]], block.inner["t"], tanh, output.apply)
    f, delta = block.t[-1], block.delta[-1]
    np.subtract(f, take(error.y, rows, block.y), out=delta)
    curvature = output.curvature(delta, f)
    output.times_slope(delta, f)
    if error.weights is not None:
        w = take(error.weights, rows, block.w)
        delta *= w
        curvature = curvature * w
    linearise(B, block)
    return x, curvature, block


def residuals(
    error: SquaredError, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray
) -> None:
    """Write r into ``out``, of shape (n_rows, d_K)."""
    B = error.tanh_form(theta)

    def fill_part(blocks: list[Block]) -> None:
        for rows, at, m in blocks:
            x, *t = unit_buffers(error.layout, m, out.dtype)
            t = [error.X.read(rows, x), *t[:-1], out[at]]
            forward(B, t, without_constant(t), tanh, error.form.output.apply)
            out[at] -= error.y[rows]
            out[at] *= _root_weight(error, rows, c)  # √(c w) (f_K − y)

    RowBlocks(rows, n_rows, error.block_rows, n_rows * error.work).fill(fill_part)


def jacobian(
    error: SquaredError, theta: NDArray, rows: RowIndex, n_rows: int, c: float, out: NDArray
) -> None:
    """Write J into ``out``, of shape (d_K, P, n_rows)."""
    width = out.shape[0] * out.shape[1]
    size = min(error.block_rows, jacobian_rows(width, out.dtype))
    blocks = RowBlocks(rows, n_rows, size, n_rows * (error.work + width))
    blocks.fill(partial(_fill_jacobian, error, theta, error.form.of(theta), c, out, None))


def normal_equations(
    error: SquaredError, theta: NDArray, rows: RowIndex, n_rows: int, c: float
) -> tuple[float, NDArray, NDArray]:
    """½ ‖r‖², Jᵀ r and JᵀJ, in float64."""
    P, d_K = len(theta), error.layout.sizes[-1]
    B, dtype = error.form.of(theta), error.X.dtype
    size = min(jacobian_rows(P * d_K, dtype), n_rows)
    all_J, all_r = np.zeros(P * d_K * size, dtype), np.empty(d_K * size, dtype)
    pairs = tiles(P, n_rows * d_K * P * P // 2)
    loss, gradient, JtJ = 0.0, np.zeros(P), np.zeros((P, P))
    for rows_, _, m in split(rows, size):
        J, r = all_J[: P * d_K * m].reshape(P, d_K, m), all_r[: d_K * m].reshape(d_K, m)
        if m < size and d_K > 1:
            J[...] = 0  # where the entries for other outputs lie depends on m
        J, r = _model(error, theta, B, rows_, c, J, r)
        loss += 0.5 * float(np.vdot(r, r))
        gradient += J @ r
        run(partial(add_tile, JtJ, J, pairs), len(pairs))
    for a, b in pairs:
        JtJ[b, a] = JtJ[a, b].T
    return loss, gradient, JtJ


def linear_model(error: SquaredError, theta: NDArray, c: float) -> tuple[float, NDArray, NDArray]:
    """½ ‖r‖², Jᵀ r and Jᵀ, of shape (P, n d_K), on all rows and in float64."""
    P, d_K, n, dtype = len(theta), error.layout.sizes[-1], len(error.y), error.X.dtype
    J, r = np.zeros((P, d_K, n), dtype), np.empty((d_K, n), dtype)
    J, r = _model(error, theta, error.form.of(theta), slice(0, n), c, J, r)
    J, r = J.astype(np.float64, copy=False), r.astype(np.float64, copy=False)
    return 0.5 * float(np.vdot(r, r)), J @ r, J


def _model(
    error: SquaredError,
    theta: NDArray,
    B: list,
    rows: RowIndex,
    c: float,
    J: NDArray,
    r: NDArray,
) -> tuple[NDArray, NDArray]:
    """Write Jᵀ, of shape (P, d_K, rows), and r, of shape (d_K, rows), and give both as matrices."""
    P, d_K, m = J.shape
    blocks = RowBlocks(rows, m, m, m * (error.work + P * d_K))
    blocks.fill(partial(_fill_jacobian, error, theta, B, c, J.transpose(1, 0, 2), r))
    return J.reshape(P, d_K * m), r.ravel()


def _fill_jacobian(
    error: SquaredError, theta: NDArray, B: list, c: float,
    J: NDArray, r: NDArray | None, blocks: list[Block],
) -> None:  # fmt: skip
    """Write J of some blocks, of shape (d_K, P, rows), and r, of shape (d_K, rows), unless None."""
    for rows, at, m in blocks:
        root, x = _root_weight(error, rows, c), error.X.read_dense(rows, m)
        f = output_jacobian(B, theta, x, error.form, J[:, :, at], root)
        if r is not None:
            f -= error.y[rows]
            f *= root  # √(c w) (f_K − y)
            r[:, at] = f.T


def _root_weight(error: SquaredError, rows: RowIndex, c: float) -> NDArray | float:
    """√(c w) of some rows, of shape (rows, 1) or (rows, d_K), or a number."""
    scale = math.sqrt(c)
    return scale if error.weights is None else scale * np.sqrt(error.weights[rows])
