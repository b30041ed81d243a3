"""The second-order quantities of a `SquaredError` over rows: H v, H, r, J and JᵀJ.

The last two are those of a `SlopeError` too.

With c = n/(n_B W), r is √(c w) (f_K − y), row by row, and J = ∂r/∂θ. H is the Hessian of half the
sum of squares; the caller multiplies it by c.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from .backprop import forward
from .blocks import LEAST_ROWS, MAX_PARTS, Block, RowBlocks, RowIndex, split
from .factors import OutputModels, Root
from .jacobian import TILE_WORK, add_tile, jacobian_rows, tiles
from .rows import take
from .sigmoid import tanh
from .slope_error import SlopeError
from .squared_error import SquaredError
from .tangents import TangentWorkspace, linearise, tangent
from .threads import run
from .workspace import unit_buffers, without_constant

__all__ = [
    "hessian", "hessian_product", "jacobian", "normal_equations", "residuals", "thin_model",
]  # fmt: skip


def hessian_product(
    error: SquaredError, theta: NDArray, v: NDArray, rows: RowIndex, n_rows: int
) -> NDArray:
    """H v, of shape (P,), in float64."""
    spare = error.parameters.take(), error.parameters.take()
    B, V = error.tanh_form(theta, spare[0]), error.tanh_form(v, spare[1])
    point = theta.tobytes()

    def part_sums(blocks: list[Block]) -> tuple[NDArray]:
        product = np.zeros(len(v))
        workspace = error.tangent_workspaces.take(_place(error, point, blocks[0].rows))
        for rows, _, m in blocks:
            tangent(B, V, *_linearised(error, B, point, rows, m, workspace))
            product += workspace.RG
        error.tangent_workspaces.give_back(workspace)
        return (product,)

    blocks = RowBlocks(rows, n_rows, error.block_rows, 2 * n_rows * error.work, LEAST_ROWS)
    product = error.pulled_back(*blocks.sum(part_sums))
    for parameters in spare:
        error.parameters.give_back(parameters)
    return product


def hessian(error: SquaredError, theta: NDArray, rows: RowIndex, n_rows: int) -> NDArray:
    """H, of shape (P, P), in float64, computed row by row: symmetric but for rounding."""
    P, B, point = len(theta), error.tanh_form(theta), theta.tobytes()
    (blocks,) = RowBlocks(rows, n_rows, error.block_rows, work=0).parts
    directions = split(slice(0, P), -(-P // MAX_PARTS))
    H = np.zeros((P, P))

    def fill_rows(k: int) -> None:
        workspace, unit = error.tangent_workspaces.take(), np.zeros(P, error.X.dtype)
        mine = directions[k].rows
        for rows, _, m in blocks:
            linear = _linearised(error, B, point, rows, m, workspace)
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


def _place(error: SquaredError, point: bytes, rows: RowIndex) -> tuple | None:
    """The θ and the rows of a block, to compare; None unless rows are a slice of a copy of X."""
    is_fixed = error.X.are_copied and isinstance(rows, slice)
    return (point, rows.start, rows.stop) if is_fixed else None


def _linearised(
    error: SquaredError, B: list, point: bytes, rows: RowIndex, m: int, workspace: TangentWorkspace
) -> tuple:
    """The arguments of `tangent` after B and V, for Σ ½ w ‖f_K − y‖² over some rows.

    They do not depend on v: a workspace that holds them for these rows and this θ, of which
    ``point`` are the bytes, is not filled again.
    """
    place = _place(error, point, rows)
    if place is None or workspace.place != place:
        workspace.linear = _linear(error, B, rows, workspace.first(m))
        workspace.place = place
    return workspace.linear


def _linear(error: SquaredError, B: list, rows: RowIndex, block: TangentWorkspace) -> tuple:
    """Linearise a block of rows: the result of `_linearised`."""
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
            out[at] *= error.root_weight(rows, c)  # √(c w) (f_K − y)

    RowBlocks(rows, n_rows, error.block_rows, n_rows * error.work).fill(fill_part)


def jacobian(
    error: SquaredError | SlopeError, theta: NDArray, rows: RowIndex, n_rows: int, c: float,
    out: NDArray,
) -> None:  # fmt: skip
    """Write J into ``out``, of shape (d_K, P, 1 or d_0, n_rows)."""
    width = out.shape[0] * out.shape[1] * out.shape[2]
    size = min(error.block_rows, jacobian_rows(width, out.dtype))
    error.fill_jacobian(theta, rows, n_rows, c, size, out)


def normal_equations(
    error: SquaredError | SlopeError, theta: NDArray, rows: RowIndex, n_rows: int, c: float
) -> OutputModels:
    """½ ‖r_k‖², J_kᵀ r_k and J_kᵀ J_k for each output k, in float64."""
    dtype, layout, each = error.X.dtype, error.layout, error.n_each
    index, d_K = layout.output_indices(), layout.sizes[-1]
    Q = len(index[0])
    size = min(-(-jacobian_rows(Q * d_K * each, dtype) // each), n_rows)
    all_J, all_r = np.empty(d_K * Q * each * size, dtype), np.empty(d_K * each * size, dtype)
    work = n_rows * each * d_K * Q * Q // 2
    pairs = [(k, *pair) for k in range(d_K) for pair in tiles(Q, work)]
    losses, own, products = np.zeros(d_K), np.zeros((d_K, Q)), np.zeros((d_K, Q, Q))
    for rows_, _, m in split(rows, size):
        J, r = all_J[: d_K * Q * each * m], all_r[: d_K * each * m]
        J, r = J.reshape(d_K, Q, each, m), r.reshape(d_K, each, m)
        error.fill_jacobian(theta, rows_, m, c, m, J, r)
        J, r = J.reshape(d_K, Q, each * m), r.reshape(d_K, each * m)
        for k in range(d_K):
            losses[k] += 0.5 * float(np.vdot(r[k], r[k]))
            own[k] += J[k] @ r[k]
        add = partial(add_tile, products, J, pairs)
        if work < 2 * TILE_WORK:
            for i in range(len(pairs)):
                add(i)
        else:
            run(add, len(pairs))
    for k, a, b in pairs:
        products[k, b, a] = products[k, a, b].T
    gradients = np.zeros((d_K, len(theta)))
    for gradient, at, values in zip(gradients, index, own, strict=True):
        gradient[at] = values
    return OutputModels(losses, gradients, products, index)


def thin_model(error: SquaredError | SlopeError, theta: NDArray, c: float) -> OutputModels:
    """½ ‖r_k‖², J_kᵀ r_k for each output k, and all J_kᵀ side by side, on all rows, in float64."""
    P, d_K, n, each = len(theta), error.layout.sizes[-1], len(error.y), error.n_each
    dtype = error.X.dtype
    J, r = np.zeros((P, d_K, each, n), dtype), np.empty((d_K, each, n), dtype)
    error.fill_jacobian(theta, slice(0, n), n, c, n, J.transpose(1, 0, 2, 3), r)
    J, r = J.astype(np.float64, copy=False), r.astype(np.float64, copy=False).reshape(d_K, -1)
    J = J.reshape(P, d_K, -1)
    losses = np.array([0.5 * float(np.vdot(r_k, r_k)) for r_k in r])
    gradients = np.array([J[:, k] @ r[k] for k in range(d_K)])
    return OutputModels(losses, gradients, Root(J.reshape(P, -1)), [np.arange(P)] * d_K)
