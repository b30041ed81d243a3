"""The estimator inside scikit-learn's tools, and frames, copies and files around it."""

import copy
import inspect
import pickle
import re

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the import below work
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skprop import MLPSigmoidRegressor

X, Y = load_diabetes(return_X_y=True)
FRAME = load_diabetes(as_frame=True).data


def regressor(**parameters):
    return MLPSigmoidRegressor(
        **{"hidden_layer_sizes": 5, "random_state": 0, "alpha": 1e-4} | parameters
    )


def test_pipeline():
    model = make_pipeline(PolynomialFeatures(2), regressor()).fit(X, Y)
    assert model.score(X, Y) > 0.5


def test_transformed_target():
    model = TransformedTargetRegressor(regressor(), func=np.log, inverse_func=np.exp).fit(X, Y)
    assert model.score(X, Y) > 0.4
    assert model.predict(X).min() > 0


def test_grid_search_in_two_processes():
    grid = {
        "hidden_layer_sizes": [(3,), 5, (4, 3)],
        "alpha": [0.1, 10.0],
        "solver": ["lbfgs", "adam"],
    }
    search = GridSearchCV(regressor(max_iter=60, tol=1e-2), grid, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_score_ > 0.4
    again = clone(search.best_estimator_).fit(X, Y)
    np.testing.assert_array_equal(again.theta_, search.best_estimator_.theta_)


def test_halving_grid_search():
    search = HalvingGridSearchCV(
        regressor(tol=1e-2), {"alpha": [0.01, 0.1, 1.0, 10.0]}, cv=3, random_state=0
    ).fit(X, Y)
    assert search.best_estimator_.score(X, Y) > 0.4
    epochs = HalvingGridSearchCV(
        regressor(solver="adam", n_iter_no_change=1000, tol=0),
        {"alpha": [0.01, 1.0, 10.0]},
        resource="max_iter",
        max_resources=9,
        cv=3,
        random_state=0,
    )
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="max_iter"):
        epochs.fit(X, Y)
    assert epochs.best_estimator_.n_iter_ == 9


def test_cross_val_predict():
    assert np.corrcoef(cross_val_predict(regressor(), X, Y, cv=3), Y)[0, 1] > 0.6


def test_bagging_and_stacking():
    bagging = BaggingRegressor(regressor(), n_estimators=5, random_state=0).fit(X, Y)
    assert bagging.score(X, Y) > regressor().fit(X, Y).score(X, Y) - 0.05
    stacking = StackingRegressor([("mlp", regressor()), ("ridge", Ridge())]).fit(X, Y)
    assert stacking.score(X, Y) > 0.4


def test_several_outputs_by_itself_and_by_wrappers():
    Y2 = np.c_[Y, X[:, 2] * 7]
    direct = regressor().fit(X, Y2)
    assert direct.predict(X).shape == (442, 2)
    assert direct.score(X, Y2) > 0.6
    separate = MultiOutputRegressor(regressor()).fit(X, Y2)
    np.testing.assert_array_equal(separate.predict(X)[:, 0], regressor().fit(X, Y).predict(X))
    assert RegressorChain(regressor()).fit(X, Y2).predict(X).shape == (442, 2)


def test_permutation_importance_and_partial_dependence():
    model = regressor().fit(FRAME, Y)
    importance = permutation_importance(model, FRAME, Y, random_state=0).importances_mean
    assert FRAME.columns[np.argmax(importance)] in ("s5", "bmi")
    mpl.use("agg")
    display = PartialDependenceDisplay.from_estimator(model, FRAME, ["bmi", "s5"])
    curve = display.pd_results[0]["average"][0]
    assert curve[-1] > curve[0]
    display.figure_.clear()


def test_sample_weights_are_routed():
    w = np.random.default_rng(0).uniform(size=len(Y))
    model = regressor()
    plain = cross_validate(model, X, Y, cv=3, return_estimator=True)["estimator"]
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        weighted = cross_validate(
            model, X, Y, params={"sample_weight": w}, cv=3, return_estimator=True
        )["estimator"]
    for a, b in zip(weighted, plain, strict=True):
        assert (a.theta_ != b.theta_).any()
    folds = KFold(3).split(X)
    train = next(folds)[0]
    np.testing.assert_array_equal(
        weighted[0].theta_, regressor().fit(X[train], Y[train], w[train]).theta_
    )


@pytest.mark.parametrize("as_frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames(as_frame):
    frame = as_frame({name: FRAME[name].to_numpy() for name in FRAME})
    model = regressor().fit(frame, as_frame({"y": Y})["y"])
    if as_frame is pd.DataFrame or hasattr(model, "feature_names_in_"):  # polars: newer versions
        assert list(model.feature_names_in_) == list(FRAME.columns)
    np.testing.assert_array_equal(model.predict(frame), regressor().fit(X, Y).predict(X))


COPIES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "joblib": lambda model, path: joblib.load(joblib.dump(model, path / "model.joblib")[0]),
    "deepcopy": lambda model, path: copy.deepcopy(model),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_predict_the_same_and_share_nothing(how, tmp_path):
    model = regressor(early_stopping=True, solver="adam", max_iter=300).fit(X, Y)
    again = COPIES[how](model, tmp_path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.validation_scores_ == model.validation_scores_
    again.coefs_[0][...] = 0
    assert (model.coefs_[0] != 0).all()


def test_clone_is_unfitted_and_equal():
    model = regressor(alpha=0.5).fit(X, Y)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "theta_")


def some_steps_of_cg(objective, theta0):
    return minimize(objective, theta0, jac=True, method="CG", tol=0.1)


STATES = {
    "unfitted": regressor,
    "fitted": lambda: regressor().fit(X, Y),
    "early stopping": lambda: regressor(early_stopping=True).fit(X, Y),
    "Adam": lambda: regressor(solver="adam", tol=1e-2).fit(X, Y),
    "partial_fit": lambda: regressor(solver="sgd").partial_fit(X, Y),
    "two outputs": lambda: regressor().fit(FRAME, np.c_[Y, Y]),
    "no hidden layer": lambda: regressor(hidden_layer_sizes=()).fit(X, Y),
    "raw units": lambda: regressor(standardize=False).fit(X, Y / 300),
    "a solver of one's own": lambda: regressor(solver=some_steps_of_cg).fit(X, Y),
    "set_theta": lambda: regressor().fit(X, Y).set_theta(np.zeros(61)),
}


@pytest.mark.parametrize("state", STATES)
def test_html_repr(state):
    model = STATES[state]()
    html = model._repr_html_()
    assert "hidden_layer_sizes" in html
    link = "https://skprop.readthedocs.io/en/stable/api/MLPSigmoidRegressor.html"
    assert f'href="{link}"' in html
    # scikit-learn from 1.9 on shows what a fit has left, every property of it.
    left = [name for name, _ in inspect.getmembers(model) if re.fullmatch(r"[^_].*_", name)]
    assert ("theta_" in left) == ("coefs_" in left) == (state != "unfitted")
    if hasattr(model, "_get_fitted_attr_html") and left:
        assert all(name in html for name in left)
    assert "MLPSigmoidRegressor" in make_pipeline(StandardScaler(), model)._repr_html_()


def test_set_output_and_repr():
    assert repr(MLPSigmoidRegressor()) == "MLPSigmoidRegressor()"
    assert repr(regressor()) == (
        "MLPSigmoidRegressor(alpha=0.0001, hidden_layer_sizes=5, random_state=0)"
    )
