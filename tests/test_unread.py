"""What has its rows elsewhere is refused with what to do, and not read whole without a word."""

import numpy as np
import pytest

from skprop import MLPSigmoidRegressor, checks

X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0)


def dask_array(tmp_path):
    return pytest.importorskip("dask.array").from_array(X, chunks=(10, 2))


def dask_frame(tmp_path):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    return dd.from_pandas(pd.DataFrame(X, columns=["a", "b"]), npartitions=2)


def zarr_array(tmp_path):
    return pytest.importorskip("zarr").array(X)


def h5py_data_set(tmp_path):
    file = pytest.importorskip("h5py").File(tmp_path / "x.h5", "w")
    return file.create_dataset("x", data=X)


def lazy_frame(tmp_path):
    return pytest.importorskip("polars").LazyFrame({"a": X[:, 0], "b": X[:, 1]})


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (dask_array, r"skprop\.dask\.DaskMLPSigmoidRegressor"),
        (dask_frame, r"skprop\.dask\.DaskMLPSigmoidRegressor"),
        (zarr_array, r"X\[:\].*partial_fit"),
        (h5py_data_set, r"X\[:\].*partial_fit"),
        (lazy_frame, r"X\.collect\(\)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rows_elsewhere_are_refused_with_the_remedy(make, remedy, tmp_path):
    rows = make(tmp_path)
    model = MLPSigmoidRegressor(2, alpha=1.0)
    with pytest.raises(TypeError, match=remedy):
        model.fit(rows, Y)
    assert not hasattr(model, "theta_")
    with pytest.raises(TypeError, match=remedy.replace("X", "X_val")):
        model.set_params(early_stopping=True).fit(X, Y, X_val=rows, y_val=Y)
    model.set_params(early_stopping=False).fit(X, Y)
    with pytest.raises(TypeError, match=remedy):
        model.predict(rows)


def test_a_dask_target_is_refused_too():
    y = pytest.importorskip("dask.array").from_array(Y, chunks=10)
    with pytest.raises(TypeError, match=r"y is a dask Array.*y\.compute"):
        MLPSigmoidRegressor(2, alpha=1.0).fit(X, y)


class Tensor:
    """An array of another library."""

    def __array_namespace__(self):
        return np

    def __array__(self, dtype=None, copy=None):
        return X.astype(dtype)


def test_tensors_under_dispatch_are_refused(monkeypatch):
    model = MLPSigmoidRegressor(2, alpha=1.0).fit(Tensor(), Y)  # a copy, as asked for
    monkeypatch.setattr(checks, "get_config", lambda: {"array_api_dispatch": True})
    with pytest.raises(TypeError, match="skprop computes with NumPy"):
        model.fit(Tensor(), Y)
    model.fit(X, Y)
