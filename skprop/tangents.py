"""Pearlmutter's R{·} on one block of rows: how t_i and δ_i change as θ moves along v.

R{·} is d/dε at θ + ε v and obeys the rules of differentiation. In the tanh form of `backprop`
B is linear in θ, so B moves along V = `TanhForm.of` (v). With g_i = tanh′ = 1 − t_i²

    R t_i     = g_i ∘ ([t_{i−1}, 1] V_{i−1} + R t_{i−1} B_{i−1})
    R δ_{i−1} = (R δ_i B_{i−1}ᵀ + δ_i V_{i−1}ᵀ) ∘ g_{i−1} − 2 (δ_i B_{i−1}ᵀ) ∘ t_{i−1} ∘ R t_{i−1}
    R ∂L/∂B_{i−1} = [t_{i−1}, 1]ᵀ R δ_i + R t_{i−1}ᵀ δ_i

`linearise` computes all quantities that do not depend on v, once for any number of directions.

B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994), 147-160;
section 4.1 does this for a network of units like ours.
"""

import copy
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .layout import Layout
from .products import times, transposed_times
from .workspace import unit_buffers, without_constant

__all__ = ["TangentWorkspace", "linearise", "tangent"]


class TangentWorkspace:
    """The buffers of one block of ``n_rows`` rows.

    Attributes
    ----------
    t, r_t, g, bend, delta, r_delta, scratch : list of K + 1 arrays
        t_i, R t_i, g_i, −2 (δ_{i+1} B_iᵀ) ∘ t_i, δ_i, R δ_i and a buffer, of shape (rows, d_i + 1)
        for i < K. The last column belongs to the constant unit: there R t and g are 0.
    inner : dict of str to list
        For each name of such a list, views of its arrays without the column of the constant unit.
    last : ndarray of shape (rows, 2 d_K)
        [R δ_K, δ_K], side by side for one product with [B_{K−1}ᵀ; V_{K−1}ᵀ], which with one output
        is several times as fast as an outer product.
    y, w : ndarray of shape (rows, d_K) and (rows, n_weights)
        Buffers for targets and weights.
    RG, G : ndarray of shape (P,) and list of ndarray
        R ∂L/∂B of the block, and views of it layer by layer (`Layout.stacked`).
    place, linear : tuple or None
        The θ and the rows at which the buffers are linearised, if that is to be remembered, and
        the arguments of `tangent` there.
    """

    _LISTS = ("t", "r_t", "g", "bend", "delta", "r_delta", "scratch")

    def __init__(self, layout: Layout, n_rows: int, dtype: DTypeLike, n_weights: int = 1):
        self._cuts: dict[int, Self] = {}
        self.place, self.linear = None, None
        t = unit_buffers(layout, n_rows, dtype)
        self.RG = np.empty(layout.n_params, dtype)
        self.G = layout.stacked(self.RG)
        others = ([None, *map(np.zeros_like, t[1:])] for _ in self._LISTS[1:])
        lists = dict(zip(self._LISTS, (t, *others), strict=True))
        last = np.zeros((n_rows, 2 * layout.sizes[-1]), dtype)
        self._set(lists, last, np.empty_like(t[-1]), np.empty((n_rows, n_weights), dtype))

    def _set(self, lists: dict, last: NDArray, y: NDArray, w: NDArray) -> None:
        self.last, self.y, self.w = last, y, w
        lists["r_delta"][-1], lists["delta"][-1] = np.hsplit(last, 2)
        vars(self).update(lists)
        self.inner = {name: [None, *without_constant(arrays[1:])] for name, arrays in lists.items()}

    def first(self, m: int) -> Self:
        """The first m rows of these buffers."""
        if m not in self._cuts:
            if len(self._cuts) > 3:  # there are two sizes in a run: full blocks and the last
                self._cuts.clear()
            cut = self._cuts[m] = copy.copy(self)
            lists = {
                name: [a if a is None else a[:m] for a in getattr(self, name)]
                for name in self._LISTS
            }
            cut._set(lists, self.last[:m], self.y[:m], self.w[:m])
        return self._cuts[m]


def linearise(B: list, block: TangentWorkspace) -> None:
    """Fill ``g``, ``bend`` and, for i = 2, …, K − 1, ``delta``, given t and δ_K."""
    K = len(B)
    for i in range(K - 1, 0, -1):
        t, g, bend, minus_B = block.t[i], block.g[i], block.bend[i], -B[i].T
        np.multiply(t, t, out=g)
        np.subtract(1.0, g, out=g)  # g_i = 1 − t_i²
        if i == K - 1:
            block.r_delta[K][...] = block.delta[K]
            np.matmul(block.last, np.vstack([minus_B, minus_B]), out=bend)
        else:
            np.matmul(block.inner["delta"][i + 1], 2.0 * minus_B, out=bend)
        if i > 1:
            np.multiply(bend, g, out=block.delta[i])
            block.delta[i] *= -0.5  # δ_i = (δ_{i+1} B_iᵀ) ∘ g_i
        bend *= t  # bend_i = −2 (δ_{i+1} B_iᵀ) ∘ t_i


def tangent(B: list, V: list, x, curvature, block: TangentWorkspace) -> None:
    """Fill ``RG`` with R ∂L/∂B along V, after `linearise`, once or for several V in turn.

    B and V are θ and v in the tanh form, x is t_0 as `Rows.read` gives it, and ``curvature``, of
    shape (m, d_K) or one that broadcasts to it, the second derivative of the loss of each row by
    [t_{K−1}, 1] B_{K−1}.
    """
    K, t, r_t, r_delta = len(B), [x, *block.t[1:]], block.r_t, block.r_delta
    r_t_inner, r_delta_inner = block.inner["r_t"], block.inner["r_delta"]
    delta_inner, scratch_inner = block.inner["delta"], block.inner["scratch"]
    for i in range(1, K + 1):
        times(t[i - 1], V[i - 1], out=r_t_inner[i])
        if i > 1:
            np.matmul(r_t[i - 1], B[i - 1], out=scratch_inner[i])
            r_t_inner[i] += scratch_inner[i]
        if i < K:
            r_t[i] *= block.g[i]  # R t_i = g_i ∘ ([t_{i−1}, 1] V_{i−1} + R t_{i−1} B_{i−1})
    np.multiply(r_t[K], curvature, out=r_delta[K])  # R δ_K
    for i in range(K, 0, -1):
        transposed_times(t[i - 1], r_delta_inner[i], out=block.G[i - 1])
        if i == 1:
            break
        # R ∂L/∂B_{i−1} = [t_{i−1}, 1]ᵀ R δ_i + R t_{i−1}ᵀ δ_i
        block.G[i - 1] += r_t[i - 1].T @ delta_inner[i]
        scratch = block.scratch[i - 1]
        if i == K:
            np.matmul(block.last, np.vstack([B[i - 1].T, V[i - 1].T]), out=r_delta[i - 1])
        else:
            np.matmul(r_delta_inner[i], B[i - 1].T, out=r_delta[i - 1])
            np.matmul(delta_inner[i], V[i - 1].T, out=scratch)
            r_delta[i - 1] += scratch
        r_delta[i - 1] *= block.g[i - 1]
        np.multiply(block.bend[i - 1], r_t[i - 1], out=scratch)
        # R δ_{i−1} = (R δ_i B_{i−1}ᵀ + δ_i V_{i−1}ᵀ) ∘ g_{i−1} + bend_{i−1} ∘ R t_{i−1}
        r_delta[i - 1] += scratch
