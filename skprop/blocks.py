"""Blocks of rows: how they are cut, read into a workspace, and what a workspace holds.

A network is evaluated on a block of rows at a time, so memory is O(P + block) whatever the
number of rows, and a block's buffers stay in the cache between one layer and the next.
"""

import copy
from collections.abc import Iterator
from mmap import mmap

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import issparse

from .layout import Layout

# What should stay in the (per core) cache is the widest buffer of a block.
CACHE_BYTES = 512 * 1024
MIN_ROWS, MAX_ROWS = 256, 8192

RowIndex = slice | NDArray[np.intp]


def block_rows(sizes: tuple[int, ...], dtype: DTypeLike) -> int:
    """Number of rows of a block: its widest buffer takes about CACHE_BYTES."""
    rows = CACHE_BYTES // (max(sizes) * np.dtype(dtype).itemsize)
    return min(max(rows, MIN_ROWS), MAX_ROWS)


def split(rows: RowIndex, size: int) -> Iterator[tuple[RowIndex, int]]:
    """Cut a slice of step 1, or an array of row numbers, into blocks of at most ``size`` rows.

    Yields each block with its number of rows.
    """
    if isinstance(rows, slice):
        for start in range(rows.start, rows.stop, size):
            stop = min(start + size, rows.stop)
            yield slice(start, stop), stop - start
    else:
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            yield block, len(block)


class Rows:
    """Rows of a matrix, read block by block in the precision of the arithmetic.

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
        self.X, self.index, self.scaler = X, index, scaler
        self.dtype = np.dtype(X.dtype if dtype is None else dtype)
        self.sparse = issparse(X)
        self._standardized = scaler is None  # whether X itself is in standard units

    @property
    def shape(self) -> tuple[int, int]:
        return (self.X.shape[0] if self.index is None else len(self.index), self.X.shape[1])

    @property
    def _as_is(self) -> bool:
        """Whether what is read is X itself, in C order: so the order costs no bits either."""
        return (
            self.index is None
            and self._standardized
            and self.dtype == self.X.dtype
            and (self.sparse or self.X.flags.c_contiguous)
        )

    def take(self, index: NDArray) -> "Rows":
        """Some of these rows; nothing is copied."""
        some = copy.copy(self)
        some.index = index if self.index is None else self.index[index]
        return some

    def like(self, X) -> "Rows":
        """The rows of another matrix, read as these are."""
        return Rows(X, scaler=self.scaler, dtype=self.dtype)

    def in_memory(self) -> "Rows":
        """The same rows in the form that is fastest to read again and again.

        Dense rows that need work at every reading are copied once, into a C-contiguous
        array, unless they lie in a file: memory may not hold those.
        """
        if self.sparse or self._as_is or is_memory_mapped(self.X):
            return self
        out = np.empty(self.shape, self.dtype)
        with np.errstate(over="ignore"):
            for rows, _ in split(slice(0, self.shape[0]), MAX_ROWS):
                self.read(rows, out[rows])
        done = Rows(out, scaler=self.scaler)
        done._standardized = True
        return done

    def read(self, rows: RowIndex, out: NDArray):
        """Return these rows: in ``out``, or as a view of X where that is the same thing."""
        if self.index is not None:
            rows = self.index[rows]
        if self.sparse:
            return self.X[rows].astype(self.dtype, copy=False)
        if isinstance(rows, slice):
            block = self.X[rows]
            if self._as_is:
                return block
        elif self.X.flags.c_contiguous and self.X.dtype == self.dtype:
            # mode="clip" is what lets `take` write straight into `out`.
            block = np.take(self.X, rows, axis=0, out=out, mode="clip")
        else:  # `take` would first copy the whole of X
            block = self.X[rows]
        if not self._standardized:
            # In float64 (the scaler's) and only then rounded: a large mean costs no digits.
            np.subtract(block, self.scaler.mean_, out=out, casting="same_kind")
            np.divide(out, self.scaler.scale_, out=out, casting="same_kind")  # (x − μ) / s
        elif block is not out:
            out[...] = block
        return out

    def fold(self, A: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
        """The first layer for rows as `read` returns them: (D A_0, b_0 − μ D A_0) if sparse."""
        if not self.sparse or self.scaler is None:
            return A, b
        DA = A / self.scaler.scale_[:, None]  # D = diag(1/s)
        return DA.astype(self.dtype), (b - self.scaler.mean_ @ DA).astype(self.dtype)

    def unfold(self, dA: NDArray, db: NDArray) -> None:
        """Turn the gradient of the folded first layer into that of (A_0, b_0), in place."""
        if self.sparse and self.scaler is not None:
            dA -= np.outer(self.scaler.mean_, db)
            dA /= self.scaler.scale_[:, None]  # ∂L/∂A_0 = D (Xᵀ δ_1 − μ 1ᵀ δ_1)
            dA[self.scaler.var_ == 0] = 0  # of a constant column, which rounding would hide


def is_memory_mapped(X) -> bool:
    """Whether an array is a view of a file."""
    while X is not None:
        if isinstance(X, np.memmap | mmap):
            return True
        X = getattr(X, "base", None)
    return False


class Workspace:
    """The buffers of one block of at most ``n_rows`` rows.

    Attributes
    ----------
    gradient : ndarray of shape (P,)
        What a block contributes to the gradient.
    params : list of (dA, db)
        Its views, layer by layer.
    """

    def __init__(self, layout: Layout, n_rows: int, dtype: DTypeLike):
        d_0, *d = layout.sizes
        self._x = np.empty((n_rows, d_0), dtype)
        self._f = [np.empty((n_rows, d_i), dtype) for d_i in d]
        self._delta = [np.empty((n_rows, d_i), dtype) for d_i in d]
        self._y = np.empty((n_rows, d[-1]), dtype)
        self._w = np.empty((n_rows, 1), dtype)
        self._views = {}
        self.gradient = np.empty(layout.n_params, dtype)
        self.params = layout.views(self.gradient)

    def views(self, m: int):
        """[f_0, …, f_K], [None, δ_1, …, δ_K], y and w for a block of m rows."""
        if m not in self._views:
            if len(self._views) > 3:  # there are two sizes in a run: full blocks and the last
                self._views.clear()
            self._views[m] = (
                [self._x[:m], *(f[:m] for f in self._f)],
                [None, *(delta[:m] for delta in self._delta)],
                self._y[:m],
                self._w[:m],
            )
        return self._views[m]
