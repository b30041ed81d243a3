"""The mathematics on one block of rows: t_i going up, δ_i going down.

With t_i = 2 f_i − 1 the sigmoid network is a tanh network of other parameters, as σ(z) =
(1 + tanh(z/2))/2: for i = 1, …, K − 1

    t_i = tanh(z_i/2),    z_i/2 = [t_{i−1}, 1] B_{i−1}

where the bias is the weight of a constant unit 1, and B_{i−1} stacks weights over biases:

    B_0 = [A_0; b_0]/2,    B_i = [A_i/2; b_i + 1ᵀA_i/2]/2

(of the last layer, without the outer /2 if it is the identity). It saves three passes over every
hidden unit and two over every bias. [A_i; b_i] is how A_i and b_i lie in θ, so the step from one
form to the other is a few operations on all of θ.

Every array is handed in; nothing of the size (rows × d) is allocated here. A block's t[0] has
the constant unit as its last column; or it is a CSR matrix without one, for which SciPy has
no in-place product.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import issparse

from .layout import Layout
from .sigmoid import sigmoid_of_double, tanh_derivative


def halves(layout: Layout, output_sigmoid: bool, dtype: DTypeLike) -> NDArray:
    """D, of shape (P,): how often B_i halves what stands in A_i and b_i."""
    D = np.full(layout.n_params, 0.5, dtype)
    blocks = layout.stacked(D)
    for block in blocks[1:]:
        block[:-1] *= 0.5
    if not output_sigmoid:
        blocks[-1] *= 2.0
    return D


def to_tanh(theta: NDArray, layout: Layout, D: NDArray) -> list[NDArray]:
    """[B_0, …, B_{K-1}], of shapes (d_{i-1} + 1, d_i): new arrays."""
    B = layout.stacked(theta * D)
    for B_i in B[1:]:
        B_i[-1] += np.add.reduce(B_i[:-1], axis=0)  # b_i + 1ᵀA_i/2, halved already
    return B


def from_tanh(gradient: NDArray, layout: Layout, D: NDArray) -> None:
    """Turn ∂L/∂B, flat, into ∂L/∂θ in place: the transpose of the linear map `to_tanh`."""
    for G_i in layout.stacked(gradient)[1:]:
        G_i[:-1] += G_i[-1]
    gradient *= D


def forward(B: list, t: list, inner: list, output_sigmoid: bool) -> None:
    """Fill t[1], …, t[K] from t[0]; t[K] becomes f_K.

    Parameters
    ----------
    B : list of K arrays
        ``B[i - 1]`` leads from layer i - 1 to layer i.
    t : list of K + 1 arrays
        ``t[i]`` of shape (rows, d_i + 1), its last column the constant unit 1, for i < K;
        ``t[K]`` of shape (rows, d_K).
    inner : list of K + 1 arrays
        ``inner[i]`` views ``t[i]`` without that column.
    output_sigmoid : bool
        Whether the last layer is a sigmoid too; otherwise it is the identity.
    """
    K = len(B)
    for i in range(1, K + 1):
        if i == 1 and issparse(t[0]):
            inner[1][...] = t[0] @ B[0][:-1]
            inner[1] += B[0][-1]
        else:
            np.matmul(t[i - 1], B[i - 1], out=inner[i])  # z_i/2 = [t_{i−1}, 1] B_{i−1}
        if i < K:
            np.tanh(t[i], out=t[i])  # t_i = tanh(z_i/2), all in one contiguous pass, …
            t[i][:, -1] = 1.0  # … after which the constant unit is put back
    if output_sigmoid:
        sigmoid_of_double(t[K])  # f_K = σ(z_K)


def backward(B: list, t: list, delta: list, inner: list, G: list, x: NDArray) -> None:
    """Fill the gradient G, given δ_K. Consumes t[1], …, t[K-1] and delta[1], …, delta[K].

    Parameters
    ----------
    B, t : list
        As `forward` left them.
    delta : list of K + 1 arrays
        ``delta[i]`` as ``t[i]``, for i = 1, …, K; ``delta[K]`` holds δ_K, the derivative of L by
        what B_{K-1} gives, that is by z_K/2 for a sigmoid output and by z_K for the identity.
    inner : list of K + 1 arrays
        ``inner[i]`` views ``delta[i]`` without its last column.
    G : list of K arrays
        Overwritten by ∂L/∂B.
    x : ndarray of shape (rows, d_0 + 1)
        Overwritten, but for the constant unit; it may be t[0].
    """
    a = None  # where δ_i is kept without a factor a for each of its columns
    for i in range(len(B), 0, -1):
        if i == 1 and issparse(t[0]):
            G[0][:-1] = t[0].T @ inner[1]
            G[0][-1] = inner[1].sum(axis=0)
        else:
            np.dot(t[i - 1].T, inner[i], out=G[i - 1])  # ∂L/∂B_{i−1} = [t_{i−1}, 1]ᵀ δ_i
        if a is not None:
            G[i - 1] *= a
        if i == 1:
            break
        B_i = B[i - 1] if a is None else B[i - 1] * a
        # δ_{i−1} = (δ_i B_{i−1}ᵀ) ∘ (1 − t_{i−1}²), which is 0 for the constant unit
        tanh_derivative(t[i - 1])
        if inner[i].shape[1] > 1:
            np.dot(inner[i], B_i.T, out=delta[i - 1])
            delta[i - 1] *= t[i - 1]
            a = None
            continue
        # An outer product: its column factors wait for the next products, of P entries; and its
        # row factors may as well stand with x, where that is narrower and all that is left.
        a = B_i[:-1, 0]
        if i == 2 and not issparse(t[0]) and x.shape[1] < t[1].shape[1]:
            np.multiply(t[0], inner[2], out=x)
            np.dot(x.T, t[1][:, :-1], out=G[0])
            x[:, -1] = 1.0
            G[0] *= a
            break
        np.multiply(t[i - 1], inner[i], out=delta[i - 1])
