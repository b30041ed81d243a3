"""Sensitivities of a fitted network, and the selection of features by them."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor, feature_importances, sensitivities

RNG = np.random.default_rng(0)
X = RNG.normal([3.0, -50.0, 0.2], [2.0, 30.0, 0.1], size=(200, 3))
COEFFICIENTS = np.array([1.5, -0.2, 0.0])


def linear(x=X, y=None, **parameters):
    """A network without hidden layer, which learns a linear function exactly."""
    y = x @ COEFFICIENTS + 7 if y is None else y
    return MLPSigmoidRegressor((), alpha=0.0, tol=1e-10, random_state=0, **parameters).fit(x, y)


def test_of_a_linear_function_they_are_its_coefficients():
    found = sensitivities(linear(), X)
    np.testing.assert_allclose(found.mean, COEFFICIENTS, atol=1e-7)
    np.testing.assert_allclose(found.absolute, np.abs(COEFFICIENTS), atol=1e-7)
    np.testing.assert_allclose(found.squared, COEFFICIENTS**2, atol=1e-7)
    standard = np.abs(COEFFICIENTS) * X.std(axis=0) / (X @ COEFFICIENTS).std()
    np.testing.assert_allclose(found.standardized_absolute, standard, atol=1e-7)
    np.testing.assert_allclose(found.standardized_squared, standard**2, atol=1e-7)


def test_they_are_means_over_the_rows():
    model = MLPSigmoidRegressor(6, alpha=0.1, random_state=0)
    y = np.c_[np.sin(X[:, 0]), X[:, 1] * X[:, 2]]
    model.fit(X, y)
    gradient, found = model.predict_gradient(X), sensitivities(model, X)
    np.testing.assert_allclose(found.mean, gradient.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.absolute, np.abs(gradient).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.squared, (gradient**2).mean(axis=0), rtol=1e-12)
    ratio = X.std(axis=0) / model.predict(X).std(axis=0)[:, None]
    np.testing.assert_allclose(found.standardized_absolute, found.absolute * ratio, rtol=1e-9)
    np.testing.assert_allclose(found.standardized_squared, found.squared * ratio**2, rtol=1e-9)
    assert all(values.shape == (2, 3) for values in found)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_a_row_of_weight_two_counts_twice(kind):
    model = MLPSigmoidRegressor(6, alpha=0.1, random_state=0).fit(X, np.sin(X[:, 0]) + X[:, 1])
    w = RNG.integers(0, 4, len(X))
    rows = sparse.csr_array(X) if kind == "csr" else X
    weighted = sensitivities(model, rows, sample_weight=w)
    repeated = sensitivities(model, np.repeat(X, w, axis=0))
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_units_of_a_feature_change_what_has_units_alone():
    y = np.sin(X[:, 0]) + X[:, 2]
    model = MLPSigmoidRegressor(6, alpha=0.1, random_state=0)
    one = sensitivities(model.fit(X, y), X)
    units = np.array([1.0, 1000.0, 1e-6])
    other = sensitivities(model.fit(X * units, 5 * y), X * units)
    np.testing.assert_allclose(other.absolute * units / 5, one.absolute, rtol=1e-4)
    np.testing.assert_allclose(other.standardized_absolute, one.standardized_absolute, rtol=1e-4)
    np.testing.assert_allclose(other.standardized_squared, one.standardized_squared, rtol=1e-4)


def test_the_squared_ones_bound_the_total_sobol_index():
    """Of x_0 x_1 + x_2² with independent normal features the total indices are 1/3, 1/3, 2/3."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 4))
    model = MLPSigmoidRegressor(30, alpha=1e-3, max_iter=3000, random_state=0)
    model.fit(x, x[:, 0] * x[:, 1] + x[:, 2] ** 2)
    found = sensitivities(model, x).standardized_squared
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 4 / 3, 0], atol=0.1)
    assert found[2] > 2 / 3


def test_of_a_constant_prediction_they_are_zero():
    model = linear(y=np.full(len(X), 3.0))
    assert not np.any(sensitivities(model, X))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], "shape"), (np.ones((200, 2)), "shape"), (-np.ones(200), "negative"),
        (np.zeros(200), "zero"),
    ],
)  # fmt: skip
def test_bad_weights_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        sensitivities(linear(), X, sample_weight=weight)


# ---- selection -------------------------------------------------------------------------

F, T = make_friedman1(200, n_features=9, noise=0.5, random_state=0)  # the first five matter
SCALE = 10.0 ** np.arange(-4, 5)[::-1]


def network(**parameters):
    return MLPSigmoidRegressor(10, random_state=0, alpha=0.1, **parameters)


def test_importances_of_a_linear_function_are_its_standardised_coefficients():
    standard = np.abs(COEFFICIENTS) * X.std(axis=0) / (X @ COEFFICIENTS).std()
    np.testing.assert_allclose(feature_importances(linear()), standard, atol=0.05)
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    raw = linear(rows, rows @ COEFFICIENTS, standardize=False)
    expected = np.abs(COEFFICIENTS) / np.linalg.norm(COEFFICIENTS)
    np.testing.assert_allclose(feature_importances(raw), expected, atol=0.05)


def test_importances_are_sensitivities_over_1024_rows_that_are_drawn_once_and_for_all():
    model = network().fit(F * SCALE, T)
    rows = np.random.default_rng(0).standard_normal((1024, 9))
    rows = rows * (F * SCALE).std(axis=0) + (F * SCALE).mean(axis=0)
    expected = np.sqrt(sensitivities(model, rows).standardized_squared)
    np.testing.assert_allclose(feature_importances(model), expected, rtol=1e-9)


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize(
    "select",
    [
        lambda m: RFE(m, n_features_to_select=5, importance_getter=feature_importances),
        lambda m: SelectFromModel(m, importance_getter=feature_importances, threshold=0.1),
    ],
    ids=["RFE", "SelectFromModel"],
)
def test_the_inputs_of_friedmans_function_are_selected(select, in_pipeline):
    model = make_pipeline(StandardScaler(), "passthrough", network()) if in_pipeline else network()
    chosen = select(model).fit(F * SCALE, T).get_support(indices=True)
    assert chosen.tolist() == [0, 1, 2, 3, 4]


def test_several_outputs_are_selected_for_together():
    both = np.c_[1000 * F[:, 0], np.sin(5 * F[:, 8])]
    importances = feature_importances(network().fit(F, both))
    assert importances.shape == (2, 9)
    assert importances.argmax(axis=1).tolist() == [0, 8]
    select = RFE(network(), n_features_to_select=2, importance_getter=feature_importances)
    assert select.fit(F, both).get_support(indices=True).tolist() == [0, 8]


def test_importances_of_what_is_not_fitted_are_refused():
    for model in (network(), make_pipeline(StandardScaler(), network())):
        with pytest.raises(NotFittedError):
            feature_importances(model)
