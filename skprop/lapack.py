"""Routines of LAPACK on lower triangles, called without the interpreter's lock.

SciPy's own wrappers hold the lock until they return, so factorisations on several threads wait for
each other. `scipy.linalg.cython_lapack` has the addresses of the same compiled functions, for other
compiled code; `ctypes` calls them and lets the lock go meanwhile. Where an interpreter or a version
of SciPy has no such addresses the wrappers are called, with the same result to the last bit.
"""

import ctypes
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cython_lapack, lapack

__all__ = ["LETS_GO", "cholesky", "inverse", "solve"]

_FLOAT64_AND_INT = re.compile(rb"void \(((char|int|\w+_lapack_d) \*(, |\)))+")


def _unlocked(name: str) -> Callable | None:
    """A function of LAPACK that takes pointers and runs without the lock; None if it is unknown."""
    try:
        capsule, api = cython_lapack.__pyx_capi__[name], ctypes.pythonapi
        name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
        pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
        signature = name_of(("PyCapsule_GetName", api))(capsule)
        address = pointer_of(("PyCapsule_GetPointer", api))(capsule, signature)
    except (AttributeError, KeyError):
        return None
    if not _FLOAT64_AND_INT.fullmatch(signature):  # integers of another size, say
        return None
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * signature.count(b"*"))(address)


_NAMES = ("dpotrf", "dlaset", "dtrtri", "dtrtrs")
_FOUND = {name: _unlocked(name) for name in _NAMES}
# Whether the lock is let go.
LETS_GO = None not in _FOUND.values()


def _call(name: str, *arguments: bytes | float | NDArray) -> int:
    """Call a function with pointers to its arguments; its ``info``."""
    info = ctypes.c_int(0)
    pointers = [
        ctypes.byref(ctypes.c_int(a)) if isinstance(a, int)
        else ctypes.byref(ctypes.c_double(a)) if isinstance(a, float)
        else a.ctypes.data if isinstance(a, np.ndarray)
        else a
        for a in arguments
    ]  # fmt: skip
    if name != "dlaset":
        pointers.append(ctypes.byref(info))
    _FOUND[name](*pointers)
    return info.value


def cholesky(H: NDArray) -> NDArray:
    """L, lower and in Fortran order, of H = L Lᵀ, in the place of H if that is in C order.

    A LinAlgError is raised where H is not positive definite.
    """
    n = len(H)
    if LETS_GO:
        L = np.ascontiguousarray(H, np.float64).T
        info = _call("dpotrf", b"L", n, L, n)
        if n > 1:
            _call("dlaset", b"U", n - 1, n - 1, 0.0, 0.0, L[:, 1:], n)  # 0 above the diagonal
    else:
        L, info = lapack.dpotrf(H.T, lower=1, clean=1, overwrite_a=1)
    if info != 0:
        raise LinAlgError(f"The leading minor {info} is not positive.")
    return L


def inverse(L: NDArray) -> NDArray:
    """L⁻¹, for a lower triangle as `cholesky` returns it."""
    if not LETS_GO:
        return lapack.dtrtri(L, lower=1)[0]
    inverse, n = np.array(L, np.float64, order="F"), len(L)
    _call("dtrtri", b"L", b"N", n, inverse, n)
    return inverse


def solve(L: NDArray, b: NDArray) -> NDArray:
    """L⁻¹ b for a matrix b and a lower triangle as `cholesky` returns it."""
    if not LETS_GO:
        return lapack.dtrtrs(L, b, lower=1)[0]
    L, x, n = np.asfortranarray(L, np.float64), np.array(b, np.float64, order="F"), len(L)
    _call("dtrtrs", b"L", b"N", b"N", n, x.shape[1], L, n, x, n)
    return x
