"""LAPACK without the interpreter's lock, held against SciPy's wrappers."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError
from scipy.linalg import lapack as scipy_lapack

from skprop import lapack


def positive_definite(n):
    J = np.random.default_rng(n).normal(size=(n, n + 3))
    return J @ J.T + np.eye(n)


@pytest.fixture(params=[True, False], ids=["unlocked", "wrappers"])
def _either_way(request, monkeypatch):
    monkeypatch.setattr(lapack, "LETS_GO", request.param)


def test_this_version_of_scipy_has_the_addresses():
    assert lapack.LETS_GO


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("n", [1, 2, 7, 130])
def test_the_bits_are_those_of_scipys_wrappers(n):
    H = positive_definite(n)
    b = np.random.default_rng(0).normal(size=(3, n)).T
    expected = scipy_lapack.dpotrf(H, lower=1, clean=1)[0]
    L = lapack.cholesky(H.copy())
    np.testing.assert_array_equal(L, expected)
    np.testing.assert_array_equal(lapack.inverse(L), scipy_lapack.dtrtri(expected, lower=1)[0])
    np.testing.assert_array_equal(lapack.solve(L, b), scipy_lapack.dtrtrs(expected, b, lower=1)[0])
    np.testing.assert_array_equal(L, expected)  # neither has written into it


def test_what_lapack_cannot_take_as_it_is_is_copied():
    H = positive_definite(7)
    L = lapack.cholesky(H.copy())
    np.testing.assert_array_equal(lapack.cholesky(H.astype(np.float32)), lapack.cholesky(
        H.astype(np.float32).astype(np.float64)
    ))  # fmt: skip
    rows = np.ascontiguousarray(L)
    np.testing.assert_array_equal(lapack.inverse(rows), lapack.inverse(L))
    np.testing.assert_array_equal(lapack.solve(rows, H), lapack.solve(L, H))


@pytest.mark.usefixtures("_either_way")
def test_a_matrix_that_is_not_positive_definite_is_refused():
    with pytest.raises(LinAlgError, match="minor 2"):
        lapack.cholesky(np.diag([1.0, -1.0, 1.0]))
