"""H = M + diag(p), p > 0: the matrix of a damped step and of a posterior, by its smaller side.

M = JᵀJ is an array of shape (P, P); or, with far fewer residuals N than parameters P, a `Root`,
which holds Jᵀ, of shape (P, N). H is factorised accordingly, with D = diag(p)^-½::

    H = L Lᵀ                                                               P × P
    H = D⁻¹ (I + B Bᵀ) D⁻¹,    B = D Jᵀ,    S = I + BᵀB = L Lᵀ             N × N

The second needs S alone (Woodbury): H⁻¹ = D (I − B S⁻¹ Bᵀ) D and |H| = |S|/|D|².
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, solve_triangular
from scipy.linalg.lapack import dpotri, dpotrs

from .lapack import cholesky, inverse, solve

__all__ = [
    "Cholesky", "OutputModels", "Root", "Woodbury", "factorised", "is_thin", "least_damping",
    "plus_diagonal", "restored",
]  # fmt: skip

# Where p is this share of the largest M_ii, a `Woodbury` solves to four digits.
_THIN_ROUNDING = 1e-12


def is_thin(N: int, P: int) -> bool:
    """Whether N residuals are so few beside P parameters that the N × N form takes less time.

    On one thread it does below 0.7 P; but JᵀJ is the product that more threads share. Of fewer than
    100 parameters Python takes more time than either form.
    """
    return P >= 100 and 2 * N < P


@dataclass(frozen=True)
class Root:
    """JᵀJ + diag(ridge) by Jᵀ, of shape (P, N), with what is asked of an array in its place."""

    Jt: NDArray
    ridge: NDArray | float = 0.0

    def __len__(self) -> int:
        return len(self.Jt)

    def __mul__(self, scale: float) -> Self:
        return replace(self, Jt=np.sqrt(scale) * self.Jt, ridge=scale * self.ridge)

    def diagonal(self) -> NDArray:
        """The diagonal of the matrix."""
        return self._diagonal

    def trace(self) -> float:
        """The trace of the matrix."""
        return float(self._diagonal.sum())

    @cached_property
    def _diagonal(self) -> NDArray:
        return np.einsum("ij,ij->i", self.Jt, self.Jt) + self.ridge


def least_damping(M: NDArray | Root) -> float:
    """The least p whose effect on H⁻¹ b is above rounding."""
    share = _THIN_ROUNDING if isinstance(M, Root) else np.finfo(np.float64).eps
    return share * M.diagonal().max(initial=0.0)


def plus_diagonal(M: NDArray | Root, p: NDArray | float) -> NDArray | Root:
    """M + diag(p), in the place of M."""
    if isinstance(M, Root):
        return replace(M, ridge=M.ridge + p)
    M[np.diag_indices_from(M)] += p
    return M


class Cholesky(NamedTuple):
    """H = L Lᵀ."""

    L: NDArray

    @classmethod
    def of(cls, M: NDArray, p: NDArray | float) -> Self:
        """The factor of H = M + diag(p)."""
        return cls(cholesky(plus_diagonal(M.copy(), p)))

    def solve(self, b: NDArray) -> NDArray:
        """H⁻¹ b, of a vector or of each column of a matrix."""
        return dpotrs(self.L, b, lower=1)[0]

    def log_det(self) -> float:
        """ln |H|."""
        return 2 * float(np.log(self.L.diagonal()).sum())

    def inverse_diagonal(self) -> NDArray:
        """diag H⁻¹."""
        inverse_of_L = inverse(self.L)
        return np.einsum("ij,ij->j", inverse_of_L, inverse_of_L)  # H⁻¹ = L⁻ᵀ L⁻¹

    def inverse(self) -> NDArray:
        """H⁻¹."""
        lower, _ = dpotri(self.L, lower=1)
        return lower + np.tril(lower, -1).T

    def inverse_form(self, g: NDArray) -> NDArray:
        """gᵀ H⁻¹ g for each column of g."""
        v = solve_triangular(self.L, g, lower=True, check_finite=False)
        return np.einsum("ps,ps->s", v, v)  # ‖L⁻¹ g‖²

    def array(self) -> NDArray:
        """L, from which `restored` makes this."""
        return self.L


class Woodbury(NamedTuple):
    """H = D⁻¹ (I + B Bᵀ) D⁻¹ with D = diag(d) and L of I + BᵀB = L Lᵀ."""

    d: NDArray
    B: NDArray
    L: NDArray

    @classmethod
    def of(cls, M: Root, p: NDArray | float) -> Self:
        """The factors of H = M + diag(p)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            d = 1 / np.sqrt(np.full(len(M), M.ridge + p))
            B = d[:, None] * M.Jt
        S = plus_diagonal(B.T @ B, 1.0)
        if not np.isfinite(S.trace()):
            raise LinAlgError("The diagonal that is added to JᵀJ is not positive.")
        return cls(d, B, cholesky(S))

    def solve(self, b: NDArray) -> NDArray:
        """H⁻¹ b, of a vector or of each column of a matrix."""
        c = (self.d * b.T).T
        x, _ = self._ridge(c)
        for _ in range(2):  # as x is a small difference where p is small
            x += self._ridge(c - x - self.B @ (self.B.T @ x))[0]
        return (self.d * x.T).T

    def _ridge(self, c: NDArray) -> tuple[NDArray, NDArray]:
        """x = (I + B Bᵀ)⁻¹ c, and the y = Bᵀ x of least ‖c − B y‖² + ‖y‖²."""
        y = dpotrs(self.L, self.B.T @ c, lower=1)[0]  # S⁻¹ Bᵀ c
        return c - self.B @ y, y

    def log_det(self) -> float:
        """ln |H|."""
        return 2 * float(np.log(self.L.diagonal()).sum() - np.log(self.d).sum())

    def inverse_diagonal(self) -> NDArray:
        """diag H⁻¹."""
        V = solve(self.L, self.B.T)
        return self.d**2 * (1 - np.einsum("np,np->p", V, V))  # B S⁻¹ Bᵀ = VᵀV

    def leverages(self) -> NDArray:
        """jᵀ H⁻¹ j for each column j of Jᵀ, where M has no ridge."""
        inverse_of_L = inverse(self.L)
        return 1 - np.einsum("ij,ij->j", inverse_of_L, inverse_of_L)  # diag (I − S⁻¹)

    def inverse_form(self, g: NDArray) -> NDArray:
        """gᵀ H⁻¹ g for each column of g."""
        x, y = self._ridge(self.d[:, None] * g)
        return np.einsum("ps,ps->s", x, x) + np.einsum("ns,ns->s", y, y)  # ‖c − B y‖² + ‖y‖²

    def array(self) -> NDArray:
        """[d, 0; Bᵀ, L], of shape (1 + N, P + N), from which `restored` makes this."""
        return np.block([[self.d, np.zeros(len(self.L))], [self.B.T, self.L]])


class OutputModels(NamedTuple):
    """Half the sum of squares of each output k, to second order around θ.

    Attributes
    ----------
    losses : ndarray of shape (d_K,)
    gradients : ndarray of shape (d_K, P)
    products : Root, or sequence of d_K ndarrays of shape (Q, Q)
        J_kᵀ J_k at the Q parameters on which output k depends; or all J_kᵀ side by side.
    index : sequence of d_K integer arrays of shape (Q,)
        Which parameters these are.
    """

    losses: NDArray
    gradients: NDArray
    products: Root | Sequence[NDArray]
    index: Sequence[NDArray]
    n_columns: NDArray | None = None  # of each J_kᵀ side by side; None if all have the same number

    def beside(self, other: Self) -> Self:
        """The models of these outputs and of those of another one, on the same parameters."""
        n_columns = None
        if isinstance(self.products, Root):
            n_columns = np.concatenate([self._columns(), other._columns()])
            products = Root(np.hstack([self.products.Jt, other.products.Jt]))
        else:
            products = [*self.products, *other.products]
        return type(self)(
            np.concatenate([self.losses, other.losses]),
            np.concatenate([self.gradients, other.gradients]),
            products,
            [*self.index, *other.index],
            n_columns,
        )

    def _columns(self) -> NDArray:
        """The number of columns of each J_kᵀ side by side."""
        if self.n_columns is not None:
            return self.n_columns
        n = len(self.losses)
        return np.full(n, self.products.Jt.shape[1] // n)

    def _added(self, values: NDArray) -> NDArray:
        """The sums for each output of values for the columns of all J_kᵀ side by side."""
        return np.array([part.sum() for part in np.split(values, np.cumsum(self._columns())[:-1])])

    def scaled(self, c: float) -> Self:
        """The models of c times these sums."""
        products = self.products
        products = products * c if isinstance(products, Root) else [c * M for M in products]
        return self._replace(
            losses=c * self.losses, gradients=c * self.gradients, products=products
        )

    def sum(self, u: NDArray) -> tuple[float, NDArray, NDArray | Root]:
        """The sum over the outputs k of u_k times its loss, its gradient and J_kᵀ J_k.

        One output is summed with u = 1.
        """
        if len(u) == 1:
            products = self.products
            M = products if isinstance(products, Root) else products[0]
            return float(self.losses[0]), self.gradients[0], M
        loss, gradient = float(u @ self.losses), u @ self.gradients
        if isinstance(self.products, Root):
            return loss, gradient, Root(self.products.Jt * np.repeat(np.sqrt(u), self._columns()))
        M = np.zeros((len(gradient),) * 2)
        for u_k, M_k, at in zip(u, self.products, self.index, strict=True):
            M[np.ix_(at, at)] += u_k * M_k
        return loss, gradient, M

    def losses_at(self, d: NDArray) -> NDArray:
        """The losses at θ + d."""
        if isinstance(self.products, Root):
            second = self._added((d @ self.products.Jt) ** 2)
        else:
            each = zip(self.products, self.index, strict=True)
            second = np.array([d[at] @ M @ d[at] for M, at in each])
        return np.maximum(self.losses + self.gradients @ d + 0.5 * second, 0.0)

    def traces(self, H: "Cholesky | Woodbury", u: NDArray) -> NDArray:
        """u_k tr(H⁻¹ J_kᵀ J_k) for each output k, with H of the ``sum`` for u and a diagonal."""
        if isinstance(H, Woodbury):
            return self._added(H.leverages())
        inverse, each = H.inverse(), zip(self.products, self.index, strict=True)
        return u * [np.vdot(inverse[np.ix_(at, at)], M) for M, at in each]


def factorised(M: NDArray | Root, p: NDArray | float) -> Cholesky | Woodbury:
    """M + diag(p), factorised; a LinAlgError where it is not positive definite."""
    return Woodbury.of(M, p) if isinstance(M, Root) else Cholesky.of(M, p)


def restored(array: NDArray) -> Cholesky | Woodbury:
    """The factorisation whose ``array()`` this is."""
    if len(array) == array.shape[1]:
        return Cholesky(array)
    P = array.shape[1] - len(array) + 1
    return Woodbury(array[0, :P], array[1:, :P].T, array[1:, P:])
