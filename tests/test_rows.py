import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from skprop.rows import Rows, is_memory_mapped

LAYOUTS = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "float32": lambda X: X.astype(np.float32),
    "CSR": sparse.csr_array,
}
X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32).astype(float)
INDEX = np.array([3, 3, 19, 0, 7])


def read(source, rows, n):
    """What ``source`` reads, dense and without the constant unit, which is checked."""
    block = source.read(rows, np.full((n, 4), 7, source.dtype))
    if source.sparse:
        return block.toarray()
    assert block.shape == (n, 4)
    assert block.flags.c_contiguous
    assert (block[:, -1] == 1).all()
    return block[:, :-1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("index", [None, INDEX], ids=["all", "index"])
@pytest.mark.parametrize("rows", [slice(1, 4), np.array([4, 0, 0])], ids=["slice", "array"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_reads_what_indexing_would(layout, scaled, index, rows, dtype):
    # CSR rows are read as they are: the scaler is folded into the first layer instead.
    scaler = StandardScaler().fit(X) if scaled and layout != "CSR" else None
    selected = X if index is None else X[index]
    expected = selected[rows] if scaler is None else scaler.transform(selected[rows])
    source = Rows(LAYOUTS[layout](X), index=index, scaler=scaler, dtype=dtype)
    block = read(source, rows, 3)
    assert block.dtype == dtype
    np.testing.assert_allclose(block, expected, rtol=1e-6 if dtype == np.float32 else 1e-15)
    np.testing.assert_array_equal(read(source.in_memory(), rows, 3), block)
    some = Rows(LAYOUTS[layout](X), scaler=scaler, dtype=dtype).take(INDEX).take(np.array([1, 2]))
    expected = X[[3, 19]] if scaler is None else scaler.transform(X[[3, 19]])
    np.testing.assert_allclose(
        read(some, slice(0, 2), 2), expected, rtol=1e-6 if dtype == np.float32 else 1e-15
    )


def test_folding_moves_the_standard_units_into_the_first_layer():
    rng = np.random.default_rng(1)
    scaler = StandardScaler().fit(X)
    rows = Rows(sparse.csr_array(X), scaler=scaler)
    B, delta = rng.normal(size=(4, 4)), rng.normal(size=(20, 4))
    expected = scaler.transform(X) @ B[:-1] + B[-1]
    rows.fold(B)
    np.testing.assert_allclose(X @ B[:-1] + B[-1], expected, rtol=1e-12, atol=1e-14)
    G = np.vstack([X.T @ delta, delta.sum(axis=0)])
    rows.unfold(G)
    np.testing.assert_allclose(G[:-1], scaler.transform(X).T @ delta, rtol=1e-11, atol=1e-13)


def test_rows_in_a_file_are_never_copied_into_memory(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert is_memory_mapped(np.asarray(mapped)[2:])
    assert not is_memory_mapped(X[2:])
    rows = Rows(np.asarray(mapped), scaler=StandardScaler().fit(X))
    assert rows.in_memory() is rows
    assert Rows(X, scaler=rows.scaler).in_memory() is not rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_of_rows_is_that_of_their_arrays(dtype):
    X = np.arange(12, dtype=dtype).reshape(4, 3)
    assert Rows(X).n_bytes == X.nbytes
    assert Rows(X).in_memory().n_bytes == 4 * (3 + 1) * X.itemsize
    held = sparse.csr_array(X)
    expected = held.data.nbytes + held.indices.nbytes + held.indptr.nbytes
    assert Rows(held).n_bytes == expected == 11 * (X.itemsize + 4) + 5 * 4
