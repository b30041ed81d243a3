"""Rows of a matrix, read block by block in standard units, dense or sparse."""

import copy
from mmap import mmap

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import issparse

from .blocks import MAX_ROWS, RowIndex, split


class Rows:
    """Rows of X, read block by block in the precision of the arithmetic.

    Dense rows are standardised as they are read. Sparse (CSR) rows cannot be, as centring
    would fill them: `fold` and `unfold` move the standardisation into the first layer.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
    index : ndarray of int, optional
        The rows that belong; all of them by default. Nothing is copied.
    scaler : StandardScaler, optional
        What is read is (X - mean_) / scale_.
    dtype : dtype, optional
        The precision of what is read; that of X by default.
    """

    def __init__(self, X, *, index=None, scaler=None, dtype: DTypeLike = None):
        if issparse(X) and not X.has_canonical_format:  # two entries at one place: their sum
            X = X.copy()
            X.sum_duplicates()
        self.X, self.index, self.scaler = X, index, scaler
        self.dtype = np.dtype(X.dtype if dtype is None else dtype)
        self.sparse = issparse(X)
        self.shape = (X.shape[0] if index is None else len(index), X.shape[1])
        self._ready: NDArray | None = None  # all rows as `read` returns them, see `in_memory`

    def take(self, index: NDArray) -> "Rows":
        """Some of these rows; nothing is copied."""
        index = index if self.index is None else self.index[index]
        return Rows(self.X, index=index, scaler=self.scaler, dtype=self.dtype)

    def like(self, X) -> "Rows":
        """The rows of another matrix, read as these are."""
        return Rows(X, scaler=self.scaler, dtype=self.dtype)

    def in_memory(self) -> "Rows":
        """The same rows, dense ones copied once into the form in which they are read.

        Not where they lie in a file: memory may not hold those.
        """
        if self.sparse or is_memory_mapped(self.X):
            return self
        ready = np.ones((self.shape[0], self.shape[1] + 1), self.dtype)
        with np.errstate(over="ignore"):
            for rows, _ in split(slice(0, self.shape[0]), MAX_ROWS):
                self.read(rows, ready[rows])
        done = copy.copy(self)
        done.X, done.index, done._ready = None, None, ready
        return done

    def read(self, rows: RowIndex, out: NDArray):
        """These rows in standard units, followed by the constant unit 1.

        Parameters
        ----------
        rows : slice of step 1 or array of int
        out : ndarray of shape (rows, d + 1)
            Its last column is 1 already.

        Returns
        -------
        ``out``, or a view of the same content; a CSR matrix without that column if sparse
        """
        if self._ready is not None:
            if isinstance(rows, slice):
                return self._ready[rows]
            # mode="clip" is what lets `take` write straight into `out`.
            return np.take(self._ready, rows, axis=0, out=out, mode="clip")
        x = self.raw(rows)
        if self.sparse:
            return x.astype(self.dtype, copy=False)
        return self._standardised(x, out)

    def read_dense(self, rows: RowIndex, n_rows: int) -> NDArray:
        """These rows in standard units, followed by the constant unit 1; sparse ones filled."""
        out = np.ones((n_rows, self.shape[1] + 1), self.dtype)
        if self.sparse:
            return self._standardised(self.raw(rows).toarray(), out)
        return self.read(rows, out)

    def _standardised(self, x: NDArray, out: NDArray) -> NDArray:
        inner = out[:, :-1]
        if self.scaler is None:
            inner[...] = x
        else:  # in float64, the scaler's, and only then rounded: a large mean costs no digits
            np.subtract(x, self.scaler.mean_, out=inner, casting="same_kind")
            np.divide(inner, self.scaler.scale_, out=inner, casting="same_kind")  # (x − μ) / s
        return out

    def raw(self, rows: RowIndex):
        """These rows of X as they are."""
        return self.X[rows if self.index is None else self.index[rows]]

    def fold(self, B: NDArray) -> None:
        """Make B = [A; b] the first layer of rows as `read` returns them: if sparse,
        [D A; b − μ D A] with D = diag(1/s), in place."""
        if self.sparse and self.scaler is not None:
            B[:-1] /= self.scaler.scale_[:, None]
            B[-1] -= self.scaler.mean_ @ B[:-1]

    def unfold(self, G: NDArray) -> None:
        """Turn the gradient of the folded first layer into that of [A; b], in place."""
        if self.sparse and self.scaler is not None:
            G[:-1] -= np.outer(self.scaler.mean_, G[-1])
            G[:-1] /= self.scaler.scale_[:, None]  # ∂L/∂A = D (Xᵀ δ − μ 1ᵀ δ)
            G[:-1][self.scaler.var_ == 0] = 0  # of a constant column, which rounding would hide


def is_memory_mapped(X) -> bool:
    """Whether an array is a view of a file."""
    while X is not None:
        if isinstance(X, np.memmap | mmap):
            return True
        X = getattr(X, "base", None)
    return False
