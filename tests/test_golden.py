"""Models that released versions saved load, predict and go on in this one."""

import pickle
import warnings

import numpy as np
import pytest
from golden import FOLDER, KINDS, data, save

FILES = sorted(FOLDER.glob("*/*.npz"))


def load(path):
    """A model, without the warnings of skprop and scikit-learn that another version saved it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pickle":
            return pickle.loads(path.read_bytes())
        skops_io = pytest.importorskip("skops.io")
        return skops_io.load(path, trusted=["skprop.regressor.MLPSigmoidRegressor"])


def names(path):
    return f"{path.parent.name}-{path.stem}"


def test_there_are_models_of_every_kind():
    assert {path.stem for path in FILES} == set(KINDS)
    assert sum(path.stat().st_size for path in FOLDER.glob("0.1.0/*")) < 200_000


@pytest.mark.parametrize("format", ["pickle", "skops"])
@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_model_of_an_earlier_version_predicts_what_it_did(path, format):
    model, kept = load(path.with_suffix(f".{format}")), np.load(path)
    assert model.predict(kept["X"]).dtype == kept["mean"].dtype
    tolerance = 1e-4 if kept["X"].dtype == np.float32 else 1e-9
    mean, deviation = model.predict(kept["X"], return_std=True)
    np.testing.assert_allclose(mean, kept["mean"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(deviation, kept["deviation"], rtol=tolerance, atol=tolerance)


GOING_ON = [path for path in FILES if path.stem in {"outputs-float32", "sigmoid-sgd"}]


@pytest.mark.parametrize("format", ["pickle", "skops"])
@pytest.mark.parametrize("path", GOING_ON, ids=names)
def test_a_model_of_an_earlier_version_goes_on_as_it_would_have(path, format):
    model, kept = load(path.with_suffix(f".{format}")), np.load(path)
    model.partial_fit(*data(KINDS[path.stem][1], kept["X"].dtype))
    tolerance = 1e-4 if kept["X"].dtype == np.float32 else 1e-9
    later = model.predict(kept["X"])
    np.testing.assert_allclose(later, kept["later"], rtol=tolerance, atol=tolerance)
    assert not np.array_equal(kept["later"], kept["mean"])


def test_this_version_can_save_such_models(tmp_path):
    pytest.importorskip("skops.io")
    save(tmp_path / "now")
    assert len(list((tmp_path / "now").iterdir())) == 3 * len(KINDS)
    for path in (tmp_path / "now").glob("*.npz"):
        model = load(path.with_suffix(".pickle"))
        np.testing.assert_array_equal(model.predict(np.load(path)["X"]), np.load(path)["mean"])
