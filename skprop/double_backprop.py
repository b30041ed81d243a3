"""Errors of slopes on one block of rows: backpropagation through backpropagation.

In the tanh form of `backprop`, with g_i = tanh′ = 1 − t_i², a pass down for output k gives
s = ∂f_k/∂x:

    p_{i−1} = ε_i B_{i−1}ᵀ,    ε_i = p_i ∘ g_i,    s = p_0                 i = K, …, 1

from p_K, the unit vector of k. Let Q be a sum of squared errors of s, and e = ½ ∂Q/∂s. As e · s is
how f_k changes as x moves along e, the adjoint of that pass is a tangent, which goes up, and a
second pass down gives the gradient:

    r_0 = e,    r_i = (r_{i−1} B_{i−1}) ∘ g_i                              i = 1, …, K
    η_i = (η_{i+1} B_iᵀ) ∘ g_i − 2 t_i ∘ Σ_k r_i ∘ p_i                     i = K, …, 1
    ½ ∂Q/∂B_{i−1} = [t_{i−1}, 1]ᵀ η_i + Σ_k [r_{i−1}, 0]ᵀ ε_i

Where the last layer is the identity g_K is 1 and η_K is 0. The number of features appears in no
number of passes: they are two for all outputs, and two for each.

For the second derivatives R{·}, the derivative along a direction V of B (see `tangents`), is taken
of every line above.

H. Drucker and Y. LeCun, "Improving generalization performance using double backpropagation", IEEE
Transactions on Neural Networks 3 (1992), 991-997.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sigmoid import tanh

__all__ = ["SlopePass", "gradient_along", "slope_gradient", "slope_pass", "slope_pass_along"]


class SlopePass(NamedTuple):
    """The quantities of the first pass for m rows, or R{·} of them; lists by layer, from 0 to K.

    Those with an axis of d_K outputs first have 1 row where all rows have the same.
    """

    t: list[NDArray]  # t_i, of shape (m, d_i)
    g: list[NDArray | None]  # g_i; None for 1
    p: list[NDArray]  # p_i, of shape (d_K, m, d_i)
    eps: list[NDArray]  # ε_i, of shape (d_K, m, d_i)

    @property
    def slopes(self) -> NDArray:
        """∂f_K/∂x, of shape (d_K, m, d_0)."""
        return self.p[0]


def slope_pass(B: list, x: NDArray, is_identity: bool) -> SlopePass:
    """Compute the slopes at the rows x, of shape (m, d_0); a sigmoid output is (1 + t_K)/2."""
    K, d_K = len(B), B[-1].shape[1]
    t, g = [x], [None]
    for i in range(1, K + 1):
        z = t[i - 1] @ B[i - 1][:-1]
        z += B[i - 1][-1]
        is_linear = i == K and is_identity
        if not is_linear:
            tanh(z)
        t.append(z)
        g.append(None if is_linear else 1.0 - z * z)
    unit = np.eye(d_K, dtype=x.dtype)[:, None]
    p, eps = [unit if is_identity else 0.5 * unit], []
    for i in range(K, 0, -1):
        eps.insert(0, _gated(p[0], g[i]))  # ε_i = p_i ∘ g_i
        p.insert(0, eps[0] @ B[i - 1][:-1].T)  # p_{i−1} = ε_i B_{i−1}ᵀ
    return SlopePass(t, g, p, [None, *eps])


def slope_gradient(B: list, at: SlopePass, e: NDArray, G: list) -> tuple[list, list]:
    """Write ½ ∂Q/∂B into G, given e = ½ ∂Q/∂s, of shape (d_K, m, d_0); the r_i and the η_i."""
    K, (t, g, p, eps) = len(B), at
    r, eta = [e], [np.zeros_like(t[K])]
    for i in range(1, K + 1):
        r.append(_gated(r[i - 1] @ B[i - 1][:-1], g[i]))  # r_i = (r_{i−1} B_{i−1}) ∘ g_i
    for i in range(K, 0, -1):
        if i < K:
            eta.insert(0, (eta[0] @ B[i][:-1].T) * g[i])
        if g[i] is not None:
            eta[0] -= 2 * t[i] * (r[i] * p[i]).sum(axis=0)  # η_i = … − 2 t_i ∘ Σ_k r_i ∘ p_i
        np.matmul(t[i - 1].T, eta[0], out=G[i - 1][:-1])
        np.sum(eta[0], axis=0, out=G[i - 1][-1])  # [t_{i−1}, 1]ᵀ η_i …
        G[i - 1][:-1] += _paired(r[i - 1], eps[i])  # … + Σ_k r_{i−1}ᵀ ε_i
    return r, [None, *eta]


def slope_pass_along(B: list, V: list, at: SlopePass) -> SlopePass:
    """R{·} of `slope_pass` along V."""
    K, (t, g, p, eps) = len(B), at
    r_t, r_g = [None], [None]
    for i in range(1, K + 1):
        r_z = t[i - 1] @ V[i - 1][:-1] + V[i - 1][-1]
        if i > 1:
            r_z += r_t[i - 1] @ B[i - 1][:-1]
        r_t.append(_gated(r_z, g[i]))
        r_g.append(None if g[i] is None else -2 * t[i] * r_t[i])  # R g_i = −2 t_i ∘ R t_i
    r_p, r_eps = [np.zeros_like(p[K])], []
    for i in range(K, 0, -1):
        down = _gated(r_p[0], g[i])
        r_eps.insert(0, down if r_g[i] is None else down + p[i] * r_g[i])
        r_p.insert(0, r_eps[0] @ B[i - 1][:-1].T + eps[i] @ V[i - 1][:-1].T)
    return SlopePass(r_t, r_g, r_p, [None, *r_eps])


def gradient_along(
    B: list, V: list, at: SlopePass, along: SlopePass, e: NDArray, r_e: NDArray, G: list
) -> None:
    """Write R{·} of `slope_gradient` along V into G, given R{·} of the pass and of e."""
    K, (t, g, p, eps), (r_t, r_g, r_p, r_eps) = len(B), at, along
    r, eta = slope_gradient(B, at, e, G)
    r_r, r_eta = [r_e], np.zeros_like(t[K])
    for i in range(1, K + 1):
        weights, change = B[i - 1][:-1], V[i - 1][:-1]
        r_r.append(_gated(r_r[i - 1] @ weights + r[i - 1] @ change, g[i]))
        if g[i] is not None:
            r_r[i] += (r[i - 1] @ weights) * r_g[i]
    for i in range(K, 0, -1):
        if i < K:
            r_eta = (r_eta @ B[i][:-1].T + eta[i + 1] @ V[i][:-1].T) * g[i]
            r_eta += (eta[i + 1] @ B[i][:-1].T) * r_g[i]
        if g[i] is not None:
            r_eta -= 2 * r_t[i] * (r[i] * p[i]).sum(axis=0)
            r_eta -= 2 * t[i] * (r_r[i] * p[i] + r[i] * r_p[i]).sum(axis=0)
        np.matmul(t[i - 1].T, r_eta, out=G[i - 1][:-1])
        np.sum(r_eta, axis=0, out=G[i - 1][-1])
        if i > 1:
            G[i - 1][:-1] += r_t[i - 1].T @ eta[i]
        G[i - 1][:-1] += _paired(r_r[i - 1], eps[i]) + _paired(r[i - 1], r_eps[i])


def _gated(a: NDArray, g: NDArray | None) -> NDArray:
    """A ∘ g."""
    return a if g is None else a * g


def _paired(r: NDArray, eps: NDArray) -> NDArray:
    """Σ_k r_kᵀ ε_k, as one product of rows and outputs."""
    shape = np.broadcast_shapes(r.shape[:2], eps.shape[:2])
    r, eps = (np.broadcast_to(a, (*shape, a.shape[2])).reshape(-1, a.shape[2]) for a in (r, eps))
    return r.T @ eps
