"""Backpropagation on one block of rows, for any activation φ: f_i going up, δ_i going down.

With b_{i−1} as the last row of A_{i−1}, the weights of a constant unit 1, the equations are

    z_i = [f_{i−1}, 1] A_{i−1},    f_i = φ(z_i)           i = 1, …, K
    ∂L/∂A_{i−1} = [f_{i−1}, 1]ᵀ δ_i                       i = K, …, 1
    δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ φ′(z_{i−1})

They hold for φ = σ on θ itself, and for φ = tanh on the parameters of `TanhForm`, which is how
`MLPObjective` calls them.

The caller provides every array; none of size (rows × d) is allocated here. A list of K + 1 arrays
has one for each layer, of shape (rows, d_i + 1) for i < K, with the constant unit as last column,
and (rows, d_K) for i = K; ``z[i]`` views ``f[i]`` and ``delta[i]`` views ``df[i]`` without that
column. ``f[0]`` holds the rows of X, which may be a CSR matrix without the constant unit. Where the
rows are dense every array, those of A and G too, may have a first axis of networks side by side.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .products import times, times_transposed, transposed_times

__all__ = ["backward", "backward_outer", "forward"]

_InPlace = Callable[[NDArray], None]


def forward(A: list, f: list, z: list, phi: _InPlace, phi_K: _InPlace) -> None:
    """Fill f[1], …, f[K] from f[0].

    Parameters
    ----------
    A : list of K arrays
        ``A[i - 1]``, of shape (d_{i-1} + 1, d_i), leads from layer i - 1 to layer i.
    f, z : list of K + 1 arrays
        The outputs f_i of the layers with the constant unit, and views of them without it.
    phi, phi_K : callable
        Replace z_i by f_i in place, in the hidden layers and in the last one.
    """
    K = len(A)
    for i in range(1, K + 1):
        times(f[i - 1], A[i - 1], out=z[i])  # z_i = f_{i−1} A_{i−1} + b_{i−1}
        if i < K:
            phi(f[i])  # f_i = φ(z_i), all in one contiguous pass, …
            f[i][..., -1] = 1.0  # … after which the constant unit is put back
    phi_K(f[K])


def backward(A: list, f: list, df: list, delta: list, G: list, phi_slope: _InPlace) -> None:
    """Fill the gradient G from δ_K; f[1], …, f[K-1] are overwritten.

    Parameters
    ----------
    A, f : list
        The weights, and the outputs that `forward` has computed.
    df, delta : list of K + 1 arrays
        ``df[i]`` receives ∂L/∂f_i and then δ_i, which ``delta[i]`` views without the constant
        unit; ``delta[K]`` holds δ_K.
    G : list of K arrays
        Receives the gradient: ``G[i - 1]`` is ∂L/∂A_{i−1}.
    phi_slope : callable
        Replaces f_i by φ′(z_i) in place.
    """
    for i in range(len(A), 0, -1):
        transposed_times(f[i - 1], delta[i], out=G[i - 1])  # ∂L/∂A_{i−1} = f_{i−1}ᵀ δ_i, 1ᵀ δ_i
        if i > 1:
            times_transposed(delta[i], A[i - 1], out=df[i - 1])  # ∂L/∂f_{i−1} = δ_i A_{i−1}ᵀ
            phi_slope(f[i - 1])  # φ′(z_{i−1}), which is 0 for the constant unit
            df[i - 1] *= f[i - 1]  # δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ φ′(z_{i−1})


def backward_outer(A: list, f: list, df: list, delta: list, G: list, phi_slope: _InPlace) -> None:
    """Compute the result of `backward`, faster, for one hidden layer and one output.

    There δ_1 = (δ_2 aᵀ) ∘ φ′(z_1), with a the weights of the output: ∂L/∂A_0, which has fewer
    entries, is multiplied by a instead, and x by δ_2 where x is narrower than φ′(z_1). Then df[0]
    receives x ∘ δ_2; it may be the buffer of f[0], which is read anew for every block.
    """
    x, a = f[0], A[1][..., :-1, :].mT
    transposed_times(f[1], delta[2], out=G[1])  # ∂L/∂A_1 = f_1ᵀ δ_2
    phi_slope(f[1])
    if isinstance(x, np.ndarray) and x.shape[-1] < f[1].shape[-1]:
        np.multiply(x, delta[2], out=df[0])
        transposed_times(df[0], f[1][..., :-1], out=G[0])  # (x ∘ δ_2)ᵀ φ′(z_1)
    else:
        np.multiply(f[1], delta[2], out=df[1])
        transposed_times(x, delta[1], out=G[0])  # xᵀ (δ_2 ∘ φ′(z_1))
    G[0] *= a  # ∂L/∂A_0 = xᵀ δ_1
