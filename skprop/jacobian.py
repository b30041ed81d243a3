"""The derivatives of the outputs on one block of rows: ∂f_K/∂θ and ∂f_K/∂x.

Backpropagation started from one output alone, δ_K = e_k ∘ f_K′, gives the derivatives of that
output, row by row:

    δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ f_{i−1} ∘ (1 − f_{i−1})
    ∂f/∂[A_{i−1}; b_{i−1}] = [f_{i−1}, 1] ⊗ δ_i,    ∂f/∂x = δ_1 A_0ᵀ

Here the rows of the data are the last axis of every array. So the loops that write the outer
products, P numbers a row, run along them, long and contiguous; and Jᵀ in C order is J in the
order that BLAS and LAPACK want.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .backprop import forward
from .layout import Layout, Params
from .sigmoid import Output, tanh
from .workspace import unit_buffers, without_constant

__all__ = ["add_tile", "input_gradient", "jacobian_rows", "output_jacobian", "tiles"]

# A block of J this large keeps the P × P entries of JᵀJ from being added to too often.
JACOBIAN_BYTES, MIN_ROWS = 8 * 2**20, 256
# In multiplications; BLAS does this many in about half a millisecond.
TILE_WORK = 10_000_000
MIN_TILE, MAX_TILES = 256, 5


def jacobian_rows(width: int, dtype: DTypeLike) -> int:
    """The number of rows of a block of J, of ``width`` entries a row."""
    return max(JACOBIAN_BYTES // (width * np.dtype(dtype).itemsize), MIN_ROWS)


def tiles(P: int, work: int) -> list[tuple[slice, slice]]:
    """Cut the lower triangle of a P × P product into tiles, as many as pay for threads.

    What they are does not depend on the number of threads.
    """
    n = 1 if work < 2 * TILE_WORK else min(max(P // MIN_TILE, 2), MAX_TILES, P)
    cuts = [slice(P * k // n, P * (k + 1) // n) for k in range(n)]
    return [(cuts[i], cuts[j]) for i in range(n) for j in range(i + 1)]


def units(B: list, x: NDArray, layout: Layout, output: Output) -> tuple[list, NDArray]:
    """Evaluate the network on m rows.

    Parameters
    ----------
    B : list of K arrays
        The parameters in the tanh form.
    x : ndarray of shape (m, d_0 + 1)
        Dense rows, followed by the constant unit 1.

    Returns
    -------
    f : list of K arrays of shape (d_i + 1, m)
        [f_i, 1] for i < K, the rows last.
    f_K : ndarray of shape (m, d_K)
    """
    t = [x, *unit_buffers(layout, len(x), x.dtype)[1:]]
    forward(B, t, without_constant(t), tanh, output.apply)
    f = [np.ascontiguousarray(a.T) for a in t[:-1]]
    for a in f[1:]:
        a *= 0.5
        a += 0.5  # f_i = (1 + t_i)/2, which leaves the constant unit 1
    return f, t[-1]


def deltas(params: Params, f: list, slope: NDArray, k: int) -> Iterator[tuple[int, NDArray]]:
    """Yield i and δ_i, of shape (d_i, m), of output k, for i = K, …, 1.

    ``slope``, of shape (m,), is δ_K at k; as it is 0 elsewhere, that first δ has one row only.
    """
    K, delta = len(params), slope[None]
    yield K, delta
    for i in range(K - 1, 0, -1):
        A = params[i][0] if i < K - 1 else params[i][0][:, [k]]
        delta = A * delta if A.shape[1] == 1 else A @ delta
        delta *= f[i][:-1]
        delta *= 1.0 - f[i][:-1]  # δ_i = (A_i δ_{i+1}) ∘ f_i ∘ (1 − f_i)
        yield i, delta


def output_jacobian(
    B: list,
    theta: NDArray,
    x: NDArray,
    layout: Layout,
    output: Output,
    J: NDArray,
    factor: NDArray | float = 1.0,
) -> NDArray:
    """Write ∂f_K/∂θ, times a factor for each row, into ``J``.

    Parameters
    ----------
    B : list of K arrays
        The parameters in the tanh form.
    theta : ndarray of shape (P,)
        The same parameters as they are.
    x : ndarray of shape (m, d_0 + 1)
        Dense rows, followed by the constant unit 1.
    output : Output
    J : ndarray of shape (d_K, P, m)
        Its entries for the last layer of other outputs are 0, and must be so before.
    factor : ndarray of shape (m, 1) or float

    Returns
    -------
    f_K : ndarray of shape (m, d_K)
    """
    f, f_K = units(B, x, layout, output)
    slope, params = output.slope(f_K) * factor, layout.views(theta)
    for k, J_k in enumerate(J):
        layers = layout.stacked(J_k)
        for i, delta in deltas(params, f, np.ascontiguousarray(slope[:, k]), k):
            out = layers[i - 1] if i < len(f) else layers[i - 1][:, k : k + 1]
            np.multiply(f[i - 1][:, None], delta, out=out)  # [f_{i−1}, 1] ⊗ δ_i
    return f_K


def input_gradient(
    B: list, theta: NDArray, x: NDArray, layout: Layout, output: Output, out: NDArray
) -> None:
    """Write ∂f_K/∂x into ``out``, of shape (m, d_K, d_0); the arguments as of `output_jacobian`."""
    f, f_K = units(B, x, layout, output)
    slope, params = output.slope(f_K), layout.views(theta)
    for k in range(out.shape[1]):
        *_, (i, delta) = deltas(params, f, np.ascontiguousarray(slope[:, k]), k)
        A = params[0][0] if i < len(params) else params[0][0][:, [k]]
        np.matmul(delta.T, A.T, out=out[:, k])  # ∂f/∂x = δ_1 A_0ᵀ


def add_tile(total: NDArray, J: NDArray, pairs: list, k: int) -> None:
    """Add one of the `tiles` of J Jᵀ to ``total``; BLAS sees that a diagonal one is symmetric."""
    a, b = pairs[k]
    total[a, b] += J[a] @ J[b].T
