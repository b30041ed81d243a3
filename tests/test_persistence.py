"""Saved models: what has to be trusted, and what is said about another version."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skprop
from skprop import MLPSigmoidRegressor

X, Y = load_diabetes(return_X_y=True)
NAME = "skprop.regressor.MLPSigmoidRegressor"
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quick
@pytest.mark.parametrize("solver", ["lbfgs", "lm", "sgd", "adam"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_skops_needs_to_trust_one_class_alone(solver, early_stopping):
    model = MLPSigmoidRegressor(
        5, solver=solver, early_stopping=early_stopping, max_iter=5, random_state=0
    )
    model = make_pipeline(StandardScaler(), model).fit(X, Y)
    saved = skops.io.dumps(model)
    assert skops.io.get_untrusted_types(data=saved) == [NAME]
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match=NAME):
        skops.io.loads(saved)
    loaded = skops.io.loads(saved, trusted=[NAME])
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded[-1].loss_curve_ == model[-1].loss_curve_
    going_on = [m[-1].set_params(warm_start=True).fit(X, Y).theta_ for m in (loaded, model)]
    np.testing.assert_array_equal(*going_on)


FORMATS = {
    "pickle": (pickle.dumps, pickle.loads),
    "skops": (skops.io.dumps, lambda saved: skops.io.loads(saved, trusted=[NAME])),
    "deepcopy": (lambda model: model, copy.deepcopy),
}


@pytest.mark.parametrize("form", ["pickle", "skops"])
def test_a_model_saved_by_another_version_is_loaded_with_a_warning(form, monkeypatch):
    save, load = FORMATS[form]
    model = MLPSigmoidRegressor(3, random_state=0, alpha=1e-4).fit(X, Y)
    with monkeypatch.context() as patch:
        patch.setattr(skprop, "__version__", "0.0.1")
        saved = save(model)
    with pytest.warns(UserWarning, match=r"saved by skprop 0\.0\.1 and is loaded by"):
        loaded = load(saved)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_version_is_loaded_in_silence_and_leaves_no_trace(form):
    save, load = FORMATS[form]
    model = MLPSigmoidRegressor(3, random_state=0, alpha=1e-4).fit(X, Y)
    assert vars(load(save(model))).keys() == vars(model).keys()


def test_a_joblib_file_may_be_mapped_into_memory(tmp_path):
    model = MLPSigmoidRegressor(5, random_state=0, alpha=1e-4).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(X), model.predict(X))


def test_a_model_saved_before_a_parameter_was_added_has_its_default():
    model = MLPSigmoidRegressor(3, random_state=0, alpha=1e-4).fit(X, Y)
    state = model.__getstate__()
    del state["missing_targets"]
    older = object.__new__(MLPSigmoidRegressor)
    older.__setstate__(state)
    assert older.get_params() == model.get_params()
    assert older.score(X, Y) == model.score(X, Y)
