"""The products of a layer, for dense rows, which end in the constant unit 1, and for CSR rows,
which do not, and for which SciPy has no in-place product.

Arrays may have a leading axis, of networks side by side.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["times", "times_transposed", "transposed_times"]


def times(x, A: NDArray, out: NDArray) -> None:
    """out = [x, 1] A."""
    if isinstance(x, np.ndarray):
        if out.ndim == 2 and out.flags.c_contiguous:
            x.dot(A, out)  # of small arrays in half the time of matmul
        else:
            np.matmul(x, A, out=out)
    else:
        out[...] = x @ A[:-1]
        out += A[-1]


def transposed_times(x, delta: NDArray, out: NDArray) -> None:
    """out = [x, 1]ᵀ δ."""
    if isinstance(x, np.ndarray):
        np.matmul(x.mT, delta, out=out)
    else:
        out[:-1] = x.T @ delta
        out[-1] = delta.sum(axis=0)


def times_transposed(delta: NDArray, A: NDArray, out: NDArray) -> None:
    """out = δ Aᵀ."""
    if delta.shape[-1] == 1:  # BLAS takes four times as long
        np.multiply(delta, A.mT, out=out)
    else:
        np.matmul(delta, A.mT, out=out)
