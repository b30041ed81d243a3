"""Every bad input gets a clear error, and leaves the previous fit as it was."""

import copy

import numpy as np
import pandas as pd
import pytest
from conftest import Snapshot
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError

from skprop import MLPSigmoidRegressor
from skprop.compat import InvalidParameterError

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:40, :4], Y[:40]
FITTED = MLPSigmoidRegressor(hidden_layer_sizes=3, random_state=0, alpha=1e-4).fit(X, Y)


def with_value(array, value):
    array = array.astype(np.result_type(array, type(value)))
    array.flat[3] = value
    return array


BAD_DATA = {
    "NaN in X": (with_value(X, np.nan), Y, None, "X contains NaN"),
    "inf in X": (with_value(X, np.inf), Y, None, "X contains infinity"),
    "NaN in sparse X": (sparse.csr_array(with_value(X, np.nan)), Y, None, "X contains NaN"),
    "complex X": (with_value(X, 1j), Y, None, "Complex data not supported"),
    "strings in X": (np.full((40, 4), "a"), Y, None, "could not convert string to float"),
    "no rows": (X[:0], Y[:0], None, "0 sample"),
    "no features": (X[:, :0], Y, None, "0 feature"),
    "X of one dimension": (X[:, 0], Y, None, "Expected 2D array"),
    "X of three dimensions": (X[None], Y, None, "dim 3"),
    "lengths": (X, Y[:-1], None, "inconsistent numbers of samples: \\[40, 39\\]"),
    "NaN in y": (X, with_value(Y, np.nan), None, "y contains NaN"),
    "inf in y": (X, with_value(Y, np.inf), None, "y contains infinity"),
    "complex y": (X, with_value(Y, 1j), None, "Complex data not supported"),
    "strings in y": (X, np.full(40, "a"), None, "y is not numeric"),
    "digits in strings in y": (X, np.full(40, "1.5"), None, "y is not numeric"),
    "objects in y": (X, np.array([{}] * 40), None, "y is not numeric|float"),
    "y of three dimensions": (X, Y[:, None, None], None, "dim 3"),
    "no outputs": (X, np.empty((40, 0)), None, "0 feature|y has no"),
    "sparse y": (X, sparse.csr_array(Y[:, None]), None, "y is sparse"),
    "y beyond float32": (X.astype(np.float32), Y * 1e300, None, "y has values beyond float32"),
    "negative weight": (X, Y, -np.ones(40), "sample_weight has negative values"),
    "NaN weight": (X, Y, np.full(40, np.nan), "sample_weight contains NaN"),
    "infinite weight": (X, Y, np.full(40, np.inf), "sample_weight contains infinity"),
    "zero weights": (X, Y, np.zeros(40), "sample_weight is all zero"),
    "short weights": (X, Y, np.ones(39), "sample_weight has shape \\(39,\\)"),
    "weights of two dimensions": (X, Y, np.ones((40, 2)), "sample_weight has shape"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "make_objective"])
def test_bad_data(name, method):
    X, y, weight, message = BAD_DATA[name]
    model = copy.deepcopy(FITTED).set_params(solver="adam")
    before = Snapshot(model)
    if method == "partial_fit" and name in ("no features", "y beyond float32"):
        message = "features|y has values beyond|0 feature"
        if name == "y beyond float32":
            model = MLPSigmoidRegressor(solver="adam", hidden_layer_sizes=3)
            before = Snapshot(model)
    with pytest.raises((ValueError, TypeError), match=message) as raised:
        getattr(model, method)(X, y, sample_weight=weight)
    assert ("of X holds text" in str(raised.value)) == (name == "strings in X")
    before.assert_unchanged()


BAD_PARAMETERS = {
    "hidden_layer_sizes": [(5, 0), (5.5,), [[5]], "5", 0, -1, None, (5, "3"), {5}, True],
    "output_activation": ["relu", None],
    "solver": ["newton", None],
    "alpha": [-1.0, "a", None, np.nan, np.inf, [1.0], [1.0, -1.0], [1.0, "a"], [1.0, np.inf]],
    "batch_size": [0, 1.5, "all"],
    "learning_rate": ["fast"],
    "learning_rate_init": [0.0, -1.0],
    "power_t": [-1.0],
    "max_iter": [0, -5, 1.5],
    "shuffle": ["yes"],
    "random_state": ["seed"],
    "tol": [-1e-4, "small"],
    "verbose": ["loud"],
    "warm_start": ["yes"],
    "momentum": [-0.1, 1.1],
    "nesterovs_momentum": ["yes"],
    "early_stopping": ["yes"],
    "validation_fraction": [-0.1, 1.0],
    "beta_1": [-0.1, 1.0],
    "beta_2": [-0.1, 1.0],
    "epsilon": [0.0, -1e-8],
    "n_iter_no_change": [0, 1.5],
    "max_fun": [0],
    "n_members": [0, 1.5],
    "initial_spread": [0.0, -1.0, "wide"],
    "slope_weight": [0.0, -1.0, np.inf, "much"],
    "standardize": ["yes"],
    "missing_targets": [True, "drop"],
}


def test_every_parameter_is_tried():
    assert BAD_PARAMETERS.keys() == MLPSigmoidRegressor(alpha=1e-4).get_params().keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_a_bad_parameter_is_refused_by_name_at_fit(name, value):
    model = copy.deepcopy(FITTED).set_params(**{name: value})
    before = Snapshot(model)
    with pytest.raises(InvalidParameterError, match=name):
        model.fit(X, Y)
    before.assert_unchanged()


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_a_bad_parameter_is_refused_by_name_at_make_objective(name):
    for value in BAD_PARAMETERS[name]:
        model = copy.deepcopy(FITTED).set_params(**{name: value})
        before = Snapshot(model)
        with pytest.raises(InvalidParameterError, match=name):
            model.make_objective(X, Y)
        before.assert_unchanged()


@pytest.mark.parametrize(
    "name", sorted(BAD_PARAMETERS.keys() - {"solver", "early_stopping", "n_members"})
)
def test_a_bad_parameter_is_refused_by_name_at_partial_fit(name):
    for value in BAD_PARAMETERS[name]:
        model = copy.deepcopy(FITTED).set_params(**{"solver": "adam", name: value})
        before = Snapshot(model)
        with pytest.raises(InvalidParameterError, match=name):
            model.partial_fit(X, Y)
        before.assert_unchanged()


def test_predict_refuses_other_features():
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4 features"):
        FITTED.predict(X[:, :3])
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = MLPSigmoidRegressor(hidden_layer_sizes=3, alpha=1e-4).fit(frame, Y)
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame.rename(columns={"a": "e"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.predict(X)


def test_predict_before_fit():
    with pytest.raises(NotFittedError):
        MLPSigmoidRegressor(alpha=1e-4).predict(X)
    with pytest.raises(AttributeError, match="not fitted"):
        _ = MLPSigmoidRegressor(alpha=1e-4).coefs_


def test_targets_outside_the_range_of_a_sigmoid_are_refused():
    model = MLPSigmoidRegressor(output_activation="sigmoid", standardize=False, alpha=1e-4)
    with pytest.raises(ValueError, match=r"targets in \[0, 1\]; y goes from"):
        model.fit(X, Y)
    assert model.fit(X, (Y - Y.min()) / np.ptp(Y)).out_activation_ == "sigmoid"


def test_an_interrupted_fit_leaves_the_previous_one():
    def interrupted(objective, theta0):
        raise KeyboardInterrupt

    model = copy.deepcopy(FITTED).set_params(solver=interrupted)
    before = Snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], Y)
    before.assert_unchanged()
