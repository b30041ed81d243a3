import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from skprop.blocks import MAX_ROWS, MIN_ROWS, Rows, block_rows, is_memory_mapped, split


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_blocks_cover_the_rows_in_order(size):
    for rows in (slice(2, 12), np.arange(12, 2, -1)):
        numbers = np.arange(20)
        blocks = list(split(rows, size))
        joined = np.concatenate([numbers[block] for block, _ in blocks])
        np.testing.assert_array_equal(joined, numbers[rows])
        assert [m for _, m in blocks] == [len(numbers[block]) for block, _ in blocks]
        assert max(m for _, m in blocks) <= size


def test_wide_layers_get_short_blocks_and_narrow_ones_long():
    assert block_rows((10, 5000, 1), np.float64) == MIN_ROWS
    assert block_rows((2, 3, 1), np.float64) == MAX_ROWS
    assert block_rows((10, 128, 1), np.float32) == 2 * block_rows((10, 128, 1), np.float64)


LAYOUTS = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "float32": lambda X: X.astype(np.float32),
    "CSR": sparse.csr_array,
}
X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32).astype(float)
INDEX = np.array([3, 3, 19, 0, 7])


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
    block = source.read(rows, np.empty((3, 3), dtype))
    block = block.toarray() if layout == "CSR" else block
    assert block.dtype == dtype
    np.testing.assert_allclose(block, expected, rtol=1e-6 if dtype == np.float32 else 1e-15)
    again = source.in_memory().read(rows, np.empty((3, 3), dtype))
    np.testing.assert_array_equal(again.toarray() if layout == "CSR" else again, block)
    some = Rows(LAYOUTS[layout](X), scaler=scaler, dtype=dtype).take(INDEX).take(np.array([1, 2]))
    block = some.read(slice(0, 2), np.empty((2, 3), dtype))
    expected = X[[3, 19]] if scaler is None else scaler.transform(X[[3, 19]])
    block = block.toarray() if layout == "CSR" else block
    np.testing.assert_allclose(block, expected, rtol=1e-6 if dtype == np.float32 else 1e-15)


def test_folding_moves_the_standard_units_into_the_first_layer():
    rng = np.random.default_rng(1)
    scaler = StandardScaler().fit(X)
    rows = Rows(sparse.csr_array(X), scaler=scaler)
    A, b, delta = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(20, 4))
    DA, c = rows.fold(A, b)
    np.testing.assert_allclose(X @ DA + c, scaler.transform(X) @ A + b, rtol=1e-12, atol=1e-14)
    dA, db = X.T @ delta, delta.sum(axis=0)
    rows.unfold(dA, db)
    np.testing.assert_allclose(dA, scaler.transform(X).T @ delta, rtol=1e-11, atol=1e-13)


def test_rows_in_a_file_are_never_copied_into_memory(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert is_memory_mapped(np.asarray(mapped)[2:])
    assert not is_memory_mapped(X[2:])
    rows = Rows(np.asarray(mapped), scaler=StandardScaler().fit(X))
    assert rows.in_memory() is rows
    assert Rows(X, scaler=rows.scaler).in_memory() is not rows
