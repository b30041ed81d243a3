"""The derivatives of the outputs on one block of rows: ∂f_K/∂θ and ∂f_K/∂x.

Backpropagation started from one output alone, δ_K = e_k ∘ f_K′, gives the derivatives of that
output, row by row:

    δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ f_{i−1} ∘ (1 − f_{i−1})
    ∂f/∂[A_{i−1}; b_{i−1}] = [f_{i−1}, 1] ⊗ δ_i,    ∂f/∂x = δ_1 A_0ᵀ

Here the rows of the data are the last axis of every array: the loops that write the outer products,
P numbers a row, are long and contiguous, and Jᵀ in C order is J in the order of BLAS and LAPACK.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .backprop import forward
from .layout import Params
from .sigmoid import tanh
from .tanh_form import TanhForm
from .workspace import unit_buffers, without_constant

__all__ = ["TILE_WORK", "add_tile", "input_gradient", "jacobian_rows", "output_jacobian", "tiles"]

# Of a block of J: a smaller one would have the P × P entries of JᵀJ added to more often.
_JACOBIAN_BYTES, _MIN_ROWS = 8 * 2**20, 256
# In multiplications; BLAS does this many in about half a millisecond.
TILE_WORK = 10_000_000
_MIN_TILE, _MAX_TILES = 256, 5


def jacobian_rows(width: int, dtype: DTypeLike) -> int:
    """The number of rows of a block of J, of ``width`` entries a row."""
    return max(_JACOBIAN_BYTES // (width * np.dtype(dtype).itemsize), _MIN_ROWS)


def tiles(P: int, work: int) -> list[tuple[slice, slice]]:
    """Cut the lower triangle of a P × P product into tiles for parallel work.

    The tiles do not depend on the number of threads.
    """
    n = 1 if work < 2 * TILE_WORK else min(max(P // _MIN_TILE, 2), _MAX_TILES, P)
    cuts = [slice(P * k // n, P * (k + 1) // n) for k in range(n)]
    return [(cuts[i], cuts[j]) for i in range(n) for j in range(i + 1)]


def _units(B: list, x: NDArray, form: TanhForm) -> tuple[list, NDArray]:
    """[f_i, 1] for i < K, of shapes (d_i + 1, m), and f_K, of shape (m, d_K), of m rows.

    The parameters B are in the tanh form, and x, of shape (m, d_0 + 1), ends in the constant unit.
    """
    t = [x, *unit_buffers(form.layout, len(x), x.dtype)[1:]]
    forward(B, t, without_constant(t), tanh, form.output.apply)
    f = [np.ascontiguousarray(a.T) for a in t[:-1]]
    for a in f[1:]:
        a *= 0.5
        a += 0.5  # f_i = (1 + t_i)/2, which leaves the constant unit 1
    return f, t[-1]


def _deltas(params: Params, f: list, slope: NDArray, k: int) -> Iterator[tuple[int, NDArray]]:
    """Yield i and δ_i, of shape (d_i, m), of output k, for i = K, …, 1.

    ``slope``, of shape (m,), is row k of δ_K, whose other rows are 0: δ_K is yielded as one row.
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
    B: list, theta: NDArray, x: NDArray, form: TanhForm, J: NDArray, factor: NDArray | float = 1.0
) -> NDArray:
    """Write ∂f_K/∂θ into ``J``, of shape (d_K, P, m), and give f_K, of shape (m, d_K).

    Of shape (d_K, Q, m), J has for each output the parameters on which it depends alone. B are the
    parameters θ in the tanh form; x, of shape (m, d_0 + 1), are dense rows followed by the constant
    unit 1. Each row is multiplied by ``factor``, a number or of shape (m, 1) or (m, d_K). Where in
    a wide ``J`` an output meets the last-layer weights of another one nothing is written: 0 must
    be there.
    """
    f, f_K = _units(B, x, form)
    slope, params = form.output.slope(f_K) * factor, form.layout.views(theta)
    narrow = J.shape[1] < form.layout.n_params
    layout = form.layout.of_one_output() if narrow else form.layout
    for k, J_k in enumerate(J):
        layers = layout.stacked(J_k)
        for i, delta in _deltas(params, f, np.ascontiguousarray(slope[:, k]), k):
            out = layers[i - 1] if narrow or i < len(f) else layers[i - 1][:, k : k + 1]
            np.multiply(f[i - 1][:, None], delta, out=out)  # [f_{i−1}, 1] ⊗ δ_i
    return f_K


def input_gradient(B: list, theta: NDArray, x: NDArray, form: TanhForm, out: NDArray) -> None:
    """Write ∂f_K/∂x into ``out``, of shape (m, d_K, d_0), given θ, and B, θ in the tanh form."""
    f, f_K = _units(B, x, form)
    slope, params = form.output.slope(f_K), form.layout.views(theta)
    for k in range(out.shape[1]):
        *_, (i, delta) = _deltas(params, f, np.ascontiguousarray(slope[:, k]), k)
        A = params[0][0] if i < len(params) else params[0][0][:, [k]]
        np.matmul(delta.T, A.T, out=out[:, k])  # ∂f/∂x = δ_1 A_0ᵀ


def add_tile(totals: NDArray, J: NDArray, pairs: list, i: int) -> None:
    """Add one of the `tiles` of J_k J_kᵀ to total k; BLAS sees that a diagonal one is symmetric."""
    k, a, b = pairs[i]
    totals[k, a, b] += J[k, a] @ J[k, b].T
