"""Rows of a matrix, read block by block in standard units, dense or sparse."""

import copy
from mmap import mmap

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import issparse

from .blocks import MAX_ROWS, RowIndex, split
from .threads import ignoring_overflow

__all__ = ["Rows", "checked_row_numbers", "is_memory_mapped", "take"]


class Rows:
    """Rows of X, read block by block in the precision of the arithmetic.

    Dense rows are standardised as they are read. Sparse (CSR) rows cannot be, as centring
    would fill them: `fold` and `unfold` move the standardisation into the first layer.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
    index : ndarray of int, optional
        The row numbers to use; all rows by default. Nothing is copied.
    scaler : StandardScaler, optional
        Rows are read as (X - mean_) / scale_.
    dtype : dtype, optional
        The precision in which rows are read; that of X by default.
    """

    def __init__(self, X, *, index=None, scaler=None, dtype: DTypeLike | None = None):
        self.sparse = issparse(X)
        if self.sparse and not X.has_canonical_format:  # two entries at one place: their sum
            X = X.copy()
            X.sum_duplicates()
        self.X, self.index, self.scaler = X, index, scaler
        self.dtype = np.dtype(X.dtype if dtype is None else dtype)
        self.shape = (X.shape[0] if index is None else len(index), X.shape[1])
        self._ready: NDArray | None = None  # all rows in the form that `read` returns

    @property
    def are_copied(self) -> bool:
        """Whether `read` has all rows in memory of its own, which nobody else can change."""
        return self._ready is not None

    @property
    def n_bytes(self) -> int:
        """The memory of what is held."""
        held = self.X if self._ready is None else self._ready
        if self.sparse:
            return held.data.nbytes + held.indices.nbytes + held.indptr.nbytes
        return held.nbytes

    def take(self, index: NDArray) -> "Rows":
        """The rows of these numbers, in that order; nothing is copied."""
        index = index if self.index is None else self.index[index]
        return Rows(self.X, index=index, scaler=self.scaler, dtype=self.dtype)

    def like(self, X) -> "Rows":
        """The rows of another matrix, with the scaler and the precision of this one."""
        return Rows(X, scaler=self.scaler, dtype=self.dtype)

    def in_memory(self) -> "Rows":
        """Dense rows copied once into the form in which they are read.

        Sparse rows, and those of a file, which may not fit the memory, are returned as they are.
        """
        if self.sparse or is_memory_mapped(self.X):
            return self
        ready = np.empty((self.shape[0], self.shape[1] + 1), self.dtype)
        with ignoring_overflow():
            for rows, _, _ in split(slice(0, self.shape[0]), MAX_ROWS):
                self.read(rows, ready[rows])
        done = copy.copy(self)
        done.X, done.index, done._ready = None, None, ready
        return done

    def read(self, rows: RowIndex, out: NDArray):
        """Some rows in standard units, followed by the constant unit 1.

        They are written into ``out``, of shape (rows, d + 1), or returned as a view of a copy in
        memory; sparse rows as a CSR matrix without that column.
        """
        if self._ready is not None:
            return take(self._ready, rows, out)
        x = self.raw(rows)
        if self.sparse:
            return x.astype(self.dtype, copy=False)
        return self._standardised(x, out)

    def read_dense(self, rows: RowIndex, n_rows: int) -> NDArray:
        """Some rows as a new dense array, in standard units, followed by the constant unit 1."""
        out = np.empty((n_rows, self.shape[1] + 1), self.dtype)
        if self.sparse:
            return self._standardised(self.raw(rows).toarray(), out)
        return self.read(rows, out)

    def _standardised(self, x: NDArray, out: NDArray) -> NDArray:
        inner, out[:, -1] = out[:, :-1], 1.0
        if self.scaler is None:
            inner[...] = x
        else:  # in float64, the scaler's, and only then rounded: a large mean costs no digits
            np.subtract(x, self.scaler.mean_, out=inner, casting="same_kind")
            np.divide(inner, self.scaler.scale_, out=inner, casting="same_kind")  # (x − μ) / s
        return out

    def raw(self, rows: RowIndex):
        """Some rows of X, neither standardised nor converted."""
        return self.X[rows if self.index is None else self.index[rows]]

    def in_raw_units(self, gradient: NDArray) -> NDArray:
        """Turn derivatives by the features in standard units (last axis) into those by X."""
        if self.scaler is not None:
            np.divide(gradient, self.scaler.scale_, out=gradient, casting="same_kind")
        return gradient

    def fold(self, B: NDArray) -> None:
        """Fold the standardisation of sparse rows into their first layer [A; b], in place: it
        becomes [D A; b − μ D A], with D = diag(1/s)."""
        if self.sparse and self.scaler is not None:
            B[:-1] /= self.scaler.scale_[:, None]
            B[-1] -= self.scaler.mean_ @ B[:-1]

    def unfold(self, G: NDArray) -> None:
        """Turn the gradient by the first layer that `fold` made into that by [A; b], in place."""
        if self.sparse and self.scaler is not None:
            G[:-1] -= np.outer(self.scaler.mean_, G[-1])
            G[:-1] /= self.scaler.scale_[:, None]  # ∂L/∂A = D (Xᵀ δ − μ 1ᵀ δ)
            G[:-1][self.scaler.var_ == 0] = 0  # of a constant column, which rounding would hide


def take(a: NDArray, rows: RowIndex, out: NDArray) -> NDArray:
    """Some rows of a C-contiguous array: a view for a slice, else copied into ``out``."""
    if isinstance(rows, slice):
        return a[rows]
    return a.take(rows, axis=0, out=out, mode="clip")  # "clip" lets it write straight to out


def is_memory_mapped(X) -> bool:
    """Whether the memory of an array is a mapped file."""
    while X is not None:
        if isinstance(X, np.memmap | mmap):
            return True
        X = getattr(X, "base", None)
    return False


def checked_row_numbers(rows, n: int) -> tuple[RowIndex, int]:
    """A slice of step 1 or an array of non-negative row numbers, and their number.

    ``rows`` is a slice, an array of row numbers or a mask of length ``n``; None for all rows.
    """
    if rows is None:
        return slice(0, n), n
    if isinstance(rows, slice):
        start, stop, step = rows.indices(n)
        n_rows = len(range(start, stop, step))
        rows = slice(start, stop) if step == 1 else np.arange(start, stop, step)
    else:
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.intp)  # an empty list has no dtype of its own
        if rows.dtype == bool and rows.shape == (n,):
            rows = np.flatnonzero(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ValueError(
                "rows is a slice, an array of row numbers, or a mask of "
                f"length n_samples={n}; got an array of {rows.dtype}, shape {rows.shape}."
            )
        n_rows = len(rows)
        rows = rows.astype(np.intp, copy=False)
        # As unsigned numbers negative ones are huge: one comparison finds all to look at.
        if n_rows and np.maximum.reduce(rows.view(np.uintp)) >= n:
            if rows.min() < -n or rows.max() >= n:
                raise IndexError(f"rows go from {rows.min()} to {rows.max()}; there are {n} rows.")
            rows = np.where(rows < 0, rows + n, rows)
    if n_rows == 0:
        raise ValueError("rows is empty.")
    return rows, n_rows
