"""Weights of single targets, and targets that are missing."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skprop import MLPObjective, MLPSigmoidRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = np.c_[np.sin(X[:, 0]) + X[:, 1], 5 + 3 * X[:, 2] * X[:, 1]] + 0.1 * RNG.normal(size=(120, 2))
MISSING = RNG.random(Y.shape) < 0.3
MISSING[0] = True  # a row without any target
HOLED = np.where(MISSING, np.nan, Y)
FITS = {
    "lbfgs": {"alpha": 0.1},
    "lm": {"alpha": 0.1, "solver": "lm"},
    "evidence": {"alpha": "evidence"},
    "committee": {"alpha": "evidence", "n_members": 2},
    "early stopping": {"early_stopping": True},
    "adam": {"solver": "adam", "max_iter": 3, "tol": 0.5, "n_iter_no_change": 1},
    "sgd": {"solver": "sgd", "max_iter": 3, "tol": 0.5, "n_iter_no_change": 1},
    "sigmoid": {"output_activation": "sigmoid", "alpha": 0.1},
}
each_fit = pytest.mark.parametrize("parameters", FITS.values(), ids=FITS)


def model(**parameters):
    return MLPSigmoidRegressor(4, random_state=0, **{"alpha": 1e-4} | parameters)


def assert_same_fit(one, other):
    np.testing.assert_array_equal(one.theta_, other.theta_)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    assert getattr(one, "noise_variance_", None) == pytest.approx(
        getattr(other, "noise_variance_", None), rel=1e-15
    )


@each_fit
def test_a_missing_target_is_one_of_weight_0_whatever_stands_there(parameters):
    ignoring = model(missing_targets="ignore", **parameters).fit(X, HOLED)
    weighted = model(**parameters).fit(X, np.where(MISSING, 1e30, Y), sample_weight=~MISSING)
    assert_same_fit(ignoring, weighted)


@each_fit
def test_a_row_without_any_target_is_left_out(parameters):
    ignoring = model(missing_targets="ignore", **parameters)
    there = ~MISSING.all(axis=1)
    whole = ignoring.fit(X, HOLED)
    assert whole.t_ % np.count_nonzero(there) == 0 or parameters.get("early_stopping")
    assert_same_fit(
        whole, model(missing_targets="ignore", **parameters).fit(X[there], HOLED[there])
    )


@each_fit
def test_without_a_missing_target_nothing_changes(parameters):
    assert_same_fit(
        model(missing_targets="ignore", **parameters).fit(X, Y), model(**parameters).fit(X, Y)
    )


@pytest.mark.parametrize("name", ["lm", "evidence", "sigmoid"])
def test_equal_weights_of_the_targets_are_the_weight_of_the_row(name):
    w = RNG.uniform(0.5, 2.0, len(X))
    rows = model(**FITS[name]).fit(X, Y, w)
    targets = model(**FITS[name]).fit(X, Y, np.c_[w, w])
    np.testing.assert_allclose(targets.predict(X), rows.predict(X), rtol=1e-6)


def test_a_row_is_two_rows_with_a_target_each():
    """By all that counts: the scalers, the loss, α and the noise."""
    twice = np.r_[np.c_[Y[:, 0], np.full(120, np.nan)], np.c_[np.full(120, np.nan), Y[:, 1]]]
    whole = model(alpha="evidence").fit(X, Y)
    halves = model(alpha="evidence", missing_targets="ignore").fit(np.r_[X, X], twice)
    np.testing.assert_allclose(halves.y_scaler_.mean_, whole.y_scaler_.mean_, rtol=1e-12)
    np.testing.assert_allclose(halves.x_scaler_.scale_, whole.x_scaler_.scale_, rtol=1e-12)
    np.testing.assert_allclose(halves.predict(X), whole.predict(X), rtol=1e-6)
    np.testing.assert_allclose(halves.noise_variance_, whole.noise_variance_, rtol=1e-6)
    assert halves.log_evidence_ == pytest.approx(whole.log_evidence_, rel=1e-6)


def test_a_linear_network_is_ridge_on_the_targets_that_are_there():
    alpha = 2.0
    network = MLPSigmoidRegressor(
        (), alpha=alpha, tol=1e-10, missing_targets="ignore", random_state=0
    ).fit(X, HOLED)
    for k in range(2):
        there = ~MISSING[:, k]
        units = StandardScaler().fit(Y[there, k : k + 1])
        ridge = Ridge(alpha, tol=1e-14).fit(
            network.x_scaler_.transform(X[there]), units.transform(Y[there, k : k + 1])[:, 0]
        )
        np.testing.assert_allclose(network.coefs_[0][:, k], ridge.coef_, rtol=1e-6)


def test_the_scale_of_a_target_is_that_of_what_is_there():
    scaler = model(missing_targets="ignore").fit(X, HOLED).y_scaler_
    np.testing.assert_allclose(scaler.mean_, np.nanmean(HOLED, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaler.var_, np.nanvar(HOLED, axis=0), rtol=1e-12)


def test_the_score_counts_what_is_there():
    network = model(missing_targets="ignore").fit(X, HOLED)
    predicted, w = network.predict(X), RNG.uniform(0.5, 2.0, len(X))
    expected = [
        r2_score(Y[there, k], predicted[there, k], sample_weight=w[there])
        for k, there in enumerate(~MISSING.T)
    ]
    assert network.score(X, HOLED, w) == pytest.approx(np.mean(expected), rel=1e-12)
    assert network.score(X, HOLED, np.c_[w, w]) == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_search_over_data_with_missing_targets():
    search = GridSearchCV(model(missing_targets="ignore"), {"alpha": [0.1, 10.0]}, cv=3)
    assert search.fit(X, HOLED).best_score_ > 0.5


def test_a_search_hands_on_weights_of_the_targets():
    with sklearn.config_context(enable_metadata_routing=True):
        network = model().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(network, {"alpha": [0.1]}, cv=3)
        search.fit(X, np.where(MISSING, 1e30, Y), sample_weight=(~MISSING).astype(float))
    assert search.best_score_ > 0.5


def test_rows_to_watch_may_lack_targets():
    network = model(early_stopping=True, missing_targets="ignore")
    network.fit(X[:80], HOLED[:80], X_val=X[80:], y_val=HOLED[80:])
    there = ~MISSING[80:]
    scaled = network.y_scaler_.transform
    squares = (scaled(Y[80:]) - scaled(network.predict(X[80:]))) ** 2
    # ½ Σ (f − y)²/W, with W half the number of targets
    expected = squares[there].sum() / there.sum()
    assert min(network.validation_loss_curve_) == pytest.approx(expected, rel=1e-9)


def test_partial_fit_learns_from_what_is_there():
    streaming = model(solver="adam", missing_targets="ignore")
    for rows in (slice(60), slice(60, 120)):
        streaming.partial_fit(X[rows], HOLED[rows])
    weighted = model(solver="adam")
    for rows in (slice(60), slice(60, 120)):
        weighted.partial_fit(X[rows], Y[rows], sample_weight=~MISSING[rows])
    np.testing.assert_array_equal(streaming.theta_, weighted.theta_)


def test_a_data_frame_may_have_missing_targets():
    frame = pd.DataFrame(HOLED, columns=["a", "b"])
    assert_same_fit(
        model(missing_targets="ignore").fit(X, frame), model(missing_targets="ignore").fit(X, HOLED)
    )


def test_one_output_with_missing_targets_leaves_their_rows_out():
    y, there = HOLED[:, 0], ~MISSING[:, 0]
    assert_same_fit(
        model(missing_targets="ignore").fit(X, y),
        model(missing_targets="ignore").fit(X[there], y[there]),
    )


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="y contains NaN"):
        model().fit(X, HOLED)
    empty = HOLED.copy()
    empty[:, 1] = np.nan
    with pytest.raises(ValueError, match="Every target of output 1 in y is NaN or has weight 0"):
        model(missing_targets="ignore").fit(X, empty)
    with pytest.raises(ValueError, match=r"shape .120, 3.; there are 120 rows and 2 outputs"):
        model().fit(X, Y, np.ones((120, 3)))
    with pytest.raises(ValueError, match="infinity"):
        model(missing_targets="ignore").fit(X, np.where(MISSING, np.inf, Y))


def test_the_baseline_is_the_mean_of_each_target_by_its_weights():
    w = np.where(MISSING, 0.0, 2.0)
    objective = MLPObjective(X, Y, hidden_layer_sizes=(), sample_weight=w)
    squares = np.nansum((HOLED - np.nanmean(HOLED, axis=0)) ** 2)
    assert objective.total_weight == w.sum() / 2
    assert objective.n_observations == np.count_nonzero(w)
    assert objective.loss_of_mean() == pytest.approx(2 * squares / (2 * w.sum() / 2), rel=1e-12)


def test_the_weight_of_a_row_is_the_mean_of_those_of_its_targets():
    w = RNG.uniform(0.0, 2.0, Y.shape)
    scaler = model().fit(X, Y, w).x_scaler_
    np.testing.assert_allclose(scaler.mean_, np.average(X, axis=0, weights=w.mean(axis=1)))
