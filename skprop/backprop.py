"""The mathematics on one block of rows: f_i going up, δ_i going down.

Every array is handed in; nothing of the size (rows × d) is allocated here. A block's f[0]
may also be a CSR matrix, for which SciPy has no in-place product.
"""

import numpy as np
from scipy.sparse import issparse

from .layout import Params
from .sigmoid import sigmoid, times_derivative


def forward(params: Params, f: list, output_sigmoid: bool) -> None:
    """Fill f[1], …, f[K] from f[0].

    Parameters
    ----------
    params : list of (A, b)
        ``A, b = params[i - 1]`` lead from layer i - 1 to layer i.
    f : list of K + 1 arrays
        ``f[i]`` of shape (rows, d_i); ``f[0]`` is read, the others are overwritten.
    output_sigmoid : bool
        Whether the last layer is a sigmoid too; otherwise it is the identity.
    """
    K = len(params)
    for i in range(1, K + 1):
        A, b = params[i - 1]
        if issparse(f[i - 1]):
            f[i][...] = f[i - 1] @ A
        else:
            np.matmul(f[i - 1], A, out=f[i])
        f[i] += b  # z_i = f_{i−1} A_{i−1} + b_{i−1}
        if i < K or output_sigmoid:
            sigmoid(f[i])  # f_i = σ(z_i)


def backward(params: Params, f: list, delta: list, gradient: Params) -> None:
    """Fill the gradient, given δ_K. Consumes f[1], …, f[K-1] and delta[1], …, delta[K].

    Parameters
    ----------
    params : list of (A, b)
    f : list of K + 1 arrays
        As `forward` left them.
    delta : list of K + 1 arrays
        ``delta[i]`` of shape (rows, d_i), i = 1, …, K; ``delta[K]`` holds ∂L/∂z_K.
    gradient : list of (dA, db)
        Overwritten, of the shapes of ``params``.
    """
    for i in range(len(params), 0, -1):
        dA, db = gradient[i - 1]
        if issparse(f[i - 1]):
            dA[...] = f[i - 1].T @ delta[i]
        else:
            np.matmul(f[i - 1].T, delta[i], out=dA)  # ∂L/∂A_{i−1} = f_{i−1}ᵀ δ_i
        np.sum(delta[i], axis=0, out=db)  # ∂L/∂b_{i−1} = 1ᵀ δ_i
        if i > 1:
            A, _ = params[i - 1]
            np.matmul(delta[i], A.T, out=delta[i - 1])
            times_derivative(delta[i - 1], f[i - 1])  # δ_{i−1} = (δ_i A_{i−1}ᵀ) ∘ σ'
