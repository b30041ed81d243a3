"""The derivatives of the outputs on one block of rows: ∂f_K/∂θ, ∂f_K/∂x, and those of ∂f_K/∂x.

Backpropagation started from one output alone, δ_K = e_k ∘ f_K′, gives the derivatives of that
output, row by row:

    δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ f_{i−1} ∘ (1 − f_{i−1})
    ∂f/∂[A_{i−1}; b_{i−1}] = [f_{i−1}, 1] ⊗ δ_i,    ∂f/∂x = δ_1 A_0ᵀ

With R = ∂/∂x_j the tangents along every input j go up, R f_0 = e_j, and then down beside δ:

    R z_i = R f_{i−1} A_{i−1},    R f_i = σ′(z_i) ∘ R z_i,    R δ_K = e_k ∘ f_K″ ∘ R z_K
    R δ_{i−1} = (R δ_i A_{i−1}ᵀ) ∘ σ′(z_{i−1}) + (δ_i A_{i−1}ᵀ) ∘ (1 − 2 f_{i−1}) ∘ R f_{i−1}
    ∂²f/∂x_j∂[A_{i−1}; b_{i−1}] = [f_{i−1}, 1] ⊗ R δ_i + [R f_{i−1}, 0] ⊗ δ_i
    ∂²f/∂x_j∂x = R δ_1 A_0ᵀ

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

__all__ = [
    "TILE_WORK", "add_tile", "input_gradient", "input_hessian", "jacobian_rows", "output_jacobian",
    "slope_jacobian", "slope_rows", "tiles",
]  # fmt: skip

# Of a block of J: a smaller one would have the P × P entries of JᵀJ added to more often.
_JACOBIAN_BYTES, _MIN_ROWS = 8 * 2**20, 256
# Of a block of the derivatives of slopes, which has d_0 times as many entries a row.
_MIN_SLOPE_ROWS = 16
# In multiplications; BLAS does this many in about half a millisecond.
TILE_WORK = 10_000_000
_MIN_TILE, _MAX_TILES = 256, 5


def jacobian_rows(width: int, dtype: DTypeLike) -> int:
    """The number of rows of a block of J, of ``width`` entries a row."""
    return max(_JACOBIAN_BYTES // (width * np.dtype(dtype).itemsize), _MIN_ROWS)


def slope_rows(width: int, dtype: DTypeLike) -> int:
    """The number of rows of a block of derivatives of slopes, of ``width`` entries a row."""
    return max(_JACOBIAN_BYTES // (width * np.dtype(dtype).itemsize), _MIN_SLOPE_ROWS)


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


def _input_tangents(params: Params, f: list) -> tuple[list, NDArray]:
    """R f_i for i < K, of shapes (d_i, d_0, m), and R z_K, of shape (d_K, d_0, m), along inputs.

    R f_0, the unit matrix, and R z_1 are the same for every row: there m is 1.
    """
    n_inputs = len(params[0][0])
    r_f = [np.eye(n_inputs, dtype=f[0].dtype)[..., None]]
    for i, (A, _) in enumerate(params, start=1):
        r_z = (A.T @ r_f[-1].reshape(len(A), -1)).reshape(A.shape[1], n_inputs, -1)
        if i == len(params):
            break
        inner = f[i][:-1]
        r_f.append((inner * (1.0 - inner))[:, None] * r_z)  # R f_i = σ′(z_i) ∘ R z_i
    return r_f, r_z


def _slope_deltas(
    params: Params, f: list, r_f: list, slope: NDArray, r_delta: NDArray, k: int
) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Yield i, δ_i, of shape (d_i, m), and R δ_i, of shape (d_i, d_0, m), of output k, for
    i = K, …, 1.

    ``slope``, of shape (m,), and ``r_delta``, of shape (d_0, m), are row k of δ_K and of R δ_K.
    """
    K, delta, r_delta = len(params), slope[None], r_delta[None]
    yield K, delta, r_delta
    for i in range(K - 1, 0, -1):
        A = params[i][0] if i < K - 1 else params[i][0][:, [k]]
        inner = f[i][:-1]
        sigma_slope = inner * (1.0 - inner)
        back = A @ delta  # A_i δ_{i+1}
        delta = back * sigma_slope
        r_delta = (A @ r_delta.reshape(len(r_delta), -1)).reshape(len(A), *r_delta.shape[1:])
        r_delta *= sigma_slope[:, None]
        back *= 1.0 - 2.0 * inner
        # R δ_i = (A_i R δ_{i+1}) ∘ σ′(z_i) + (A_i δ_{i+1}) ∘ (1 − 2 f_i) ∘ R f_i
        r_delta += back[:, None] * r_f[i]
        yield i, delta, r_delta


def slope_jacobian(
    B: list, theta: NDArray, x: NDArray, form: TanhForm, J: NDArray,
    factor: NDArray | float = 1.0,
) -> NDArray:  # fmt: skip
    """Write ∂²f_K/∂x∂θ into ``J``, of shape (d_K, P, d_0, m), and give ∂f_K/∂x, (d_K, d_0, m).

    As in `output_jacobian` J may be of shape (d_K, Q, d_0, m), and a wide J must be 0 where an
    output meets the last-layer weights of another one. J is multiplied by ``factor``, a number or
    of shape (d_K, d_0, m); what is returned is not.
    """
    f, f_K = _units(B, x, form)
    params = form.layout.views(theta)
    r_f, r_z = _input_tangents(params, f)
    slope, bend = form.output.slope(f_K).T, form.output.bend(f_K).T
    narrow = J.shape[1] < form.layout.n_params
    layout = form.layout.of_one_output() if narrow else form.layout
    factor = np.broadcast_to(np.asarray(factor, J.dtype), (len(J), *J.shape[2:]))
    for k, (J_k, c) in enumerate(zip(J, factor, strict=True)):
        layers = layout.stacked(J_k)
        for i, delta, r_delta in _slope_deltas(params, f, r_f, slope[k], bend[k] * r_z[k], k):
            out = layers[i - 1] if narrow or i < len(f) else layers[i - 1][:, k : k + 1]
            np.multiply(f[i - 1][:, None, None], r_delta * c, out=out)  # [f_{i−1}, 1] ⊗ R δ_i
            delta = delta[:, None] * c
            if i == 1:  # R f_0 is the unit matrix
                for j in range(J.shape[2]):
                    out[j, :, j] += delta[:, j]
            else:
                for row, r_row in zip(out, r_f[i - 1], strict=False):
                    row += r_row * delta  # [R f_{i−1}, 0] ⊗ δ_i
    return slope[:, None] * r_z


def input_hessian(B: list, theta: NDArray, x: NDArray, form: TanhForm, out: NDArray) -> None:
    """Write ∂²f_K/∂x∂x into ``out``, of shape (m, d_K, d_0, d_0), symmetric but for rounding."""
    f, f_K = _units(B, x, form)
    params = form.layout.views(theta)
    r_f, r_z = _input_tangents(params, f)
    slope, bend = form.output.slope(f_K).T, form.output.bend(f_K).T
    for k in range(out.shape[1]):
        *_, (_, _, r_delta) = _slope_deltas(params, f, r_f, slope[k], bend[k] * r_z[k], k)
        A = params[0][0] if len(params) > 1 else params[0][0][:, [k]]
        H = (A @ r_delta.reshape(len(r_delta), -1)).reshape(len(A), *r_delta.shape[1:])
        out[:, k] = np.moveaxis(H, -1, 0)  # ∂²f/∂x_j∂x = A_0 R δ_1


def add_tile(totals: NDArray, J: NDArray, pairs: list, i: int) -> None:
    """Add one of the `tiles` of J_k J_kᵀ to total k; BLAS sees that a diagonal one is symmetric."""
    k, a, b = pairs[i]
    totals[k, a, b] += J[k, a] @ J[k, b].T
