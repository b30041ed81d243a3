"""The evidence from other starts, where the first led no further than a line."""

import inspect
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import LinAlgError
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression

from skprop import MLPObjective, MLPSigmoidRegressor
from skprop.solvers import CALLBACK, minimize_evidence, minimize_evidence_again, runs
from skprop.solvers.hyperparameters import Squares
from skprop.solvers.restarts import _score_of_line

MIN_DECAY = 1e-2


def objective_of(X, y, hidden=(10,), **options):
    """The objective in standard units, and a start."""
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    objective = MLPObjective(X, (y - y.mean(axis=0)) / y.std(axis=0), hidden_layer_sizes=hidden,
                             **options)  # fmt: skip
    return objective, objective.layout.initial_theta(0, spread=1.0)


def line(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X, slopes = rng.normal(size=(n, d)), np.random.default_rng(99).normal(size=d)
    return X, X @ slopes + 0.3 * rng.normal(size=n)


def waves(n=100, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, 1))
    return X, np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
def test_the_line_is_that_of_least_squares(hidden, n_outputs, weighted):
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(80, 3)), rng.normal(size=(80, n_outputs))
    Y += X @ rng.normal(size=(3, n_outputs))
    w = rng.uniform(0.5, 2, 80) if weighted else np.ones(80)
    objective = MLPObjective(X, Y, hidden_layer_sizes=hidden, sample_weight=w)
    noise = np.array([0.5, 2.0])[:n_outputs]
    u = 1 / noise / np.mean(1 / noise)
    residuals = Y - LinearRegression().fit(X, Y, w).predict(X)
    N = n_outputs * w.sum()
    expected = np.sum(w[:, None] * u * residuals**2) * (N / (N - 4 * n_outputs)) ** 2
    data, theta0 = Squares(objective, None, tied=False), objective.initial_theta(0)
    found = _score_of_line(data, objective.layout, theta0, noise)
    assert_allclose(found, expected, rtol=1e-6)


def test_what_is_better_than_a_line_is_fitted_once():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (100, 2))
    objective, theta0 = objective_of(X, X[:, 0] * X[:, 1] + 0.05 * rng.normal(size=100))
    once = minimize_evidence(objective, theta0, min_decay=MIN_DECAY)
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY)
    assert_array_equal(found.x, once.x)
    assert (found.nit, found.nfev, found.message) == (once.nit, once.nfev, once.message)


def test_a_network_that_ended_as_a_line_on_a_curve_starts_wider():
    objective, _ = objective_of(*waves(seed=2))
    theta0 = objective.layout.initial_theta(2, spread=1.0)
    once = minimize_evidence(objective, theta0, min_decay=0.03)
    found = minimize_evidence_again(objective, theta0, min_decay=0.03)
    assert once.evidence.n_effective < 5
    assert objective.loss(once.x) > 20 * objective.loss(found.x)
    assert found.nfev > once.nfev
    assert found.nit == len(found.loss_curve) > once.nit
    assert found.loss_curve[: once.nit] == once.loss_curve


@pytest.mark.parametrize("seed", range(4))
def test_on_a_line_the_prediction_is_nearly_that_of_least_squares(seed):
    X, y = line(seed=seed)
    X_test, y_test = line(2000, seed=100 + seed)
    least = np.std(LinearRegression().fit(X, y).predict(X_test) - y_test)
    model = MLPSigmoidRegressor(alpha="evidence", random_state=seed).fit(X, y)
    assert np.std(model.predict(X_test) - y_test) < 1.15 * least
    assert 0.25**2 < model.noise_variance_ < 0.4**2
    assert model.effective_n_parameters_ < 15


@pytest.mark.parametrize("seed", range(4))
def test_nor_does_a_committee_of_wide_starts_pass_through_all_points(seed):
    X, y = line(seed=seed)
    X_test, y_test = line(2000, seed=100 + seed)
    least = np.std(LinearRegression().fit(X, y).predict(X_test) - y_test)
    model = MLPSigmoidRegressor(initial_spread=3.0, random_state=seed).fit(X, y)
    assert np.std(model.predict(X_test) - y_test) < 1.15 * least


def test_hindsight_is_the_iterate_of_greatest_likelihood_less_the_price():
    objective, theta0 = objective_of(*line())
    theta0 = 0.01 * theta0
    passed = []

    def look(iteration):
        loss = objective.loss(iteration.x)
        passed.append((iteration.x, iteration.n_effective, loss))

    last = minimize_evidence(objective, theta0, min_decay=MIN_DECAY, callback=look)
    found = minimize_evidence(objective, theta0, min_decay=MIN_DECAY, hindsight=True)
    N = objective.n_samples
    worth = [
        -0.5 * N * math.log(2 * N * loss / (N - gamma))
        - 1.2 * 2 * N * (math.sqrt(N / (N - gamma)) - 1)
        for _, gamma, loss in passed
    ]
    theta, gamma, loss = passed[int(np.argmax(worth))]
    assert_array_equal(found.x, theta)
    assert found.nit == last.nit
    assert found.evidence.n_effective < 0.8 * last.evidence.n_effective
    assert_allclose(found.evidence.n_effective, gamma, rtol=1e-9)
    assert_allclose(found.evidence.noise, 2 * N * loss / (N - gamma), rtol=1e-9)
    assert_allclose(found.fun, loss + found.alpha * weights(objective, theta) / (2 * N), rtol=1e-9)


def weights(objective, theta):
    """The sum of the squares of the weights."""
    return sum(float(np.sum(A**2)) for A, _ in objective.layout.views(theta))


def test_without_an_end_by_noise_hindsight_changes_nothing():
    objective, theta0 = objective_of(*line())
    plain = minimize_evidence(objective, theta0, max_iter=4)
    found = minimize_evidence(objective, theta0, max_iter=4, hindsight=True)
    assert_array_equal(found.x, plain.x)


@pytest.mark.parametrize("features", [3, 12])
def test_where_a_line_passes_through_all_points_there_is_one_start(features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, features))
    y = X @ rng.normal(size=features) if features < 9 else rng.normal(size=10)
    objective, theta0 = objective_of(X, y)
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY)
    assert_array_equal(found.x, minimize_evidence(objective, theta0, min_decay=MIN_DECAY).x)


def test_a_start_whose_matrix_rounding_leaves_indefinite_is_passed_over(monkeypatch):
    objective, theta0 = objective_of(*line())
    calls, plain = [], runs.minimize_evidence

    def fail(*arguments, **options):
        calls.append(options.get("hindsight"))
        if calls[-1] is not None:
            raise LinAlgError
        return plain(*arguments, **options)

    once = minimize_evidence(objective, theta0, min_decay=MIN_DECAY)
    monkeypatch.setattr(runs, "minimize_evidence", fail)
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY)
    assert calls == [None, False, True]
    assert_array_equal(found.x, once.x)
    assert found.success


def test_iterations_are_counted_on_and_a_request_to_stop_is_the_end():
    objective, theta0 = objective_of(*line())
    first = minimize_evidence(objective, theta0, min_decay=MIN_DECAY)
    seen = []

    def stop(iteration):
        seen.append(iteration.nit)
        if len(seen) == first.nit + 3:
            raise StopIteration

    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY, callback=stop)
    assert seen == [*range(1, first.nit + 4)]
    assert (found.status, found.success) == (CALLBACK, False)
    assert np.isfinite(found.fun)
    assert found.nit == seen[-1]


def test_the_limits_are_those_of_all_runs():
    objective, theta0 = objective_of(*line())
    first = minimize_evidence(objective, theta0, min_decay=MIN_DECAY)
    most = first.nit + 4
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY, max_iter=most)
    assert first.nit < found.nit <= most
    assert_array_equal(found.x, first.x)  # the next had no time to converge
    assert (found.success, found.message) == (True, first.message)


def test_with_two_layers_a_line_is_found_too():
    X, y = line(1500, 10)
    X_test, y_test = line(2000, 10, seed=1)
    least = np.std(LinearRegression().fit(X, y).predict(X_test) - y_test)
    model = MLPSigmoidRegressor((15, 15), alpha="evidence", random_state=0).fit(X, y)
    assert np.std(model.predict(X_test) - y_test) < 1.03 * least


@pytest.mark.parametrize("limit", [{"max_iter": 3}, {"max_fun": 3}])
def test_what_a_limit_ended_is_not_started_again(limit):
    objective, theta0 = objective_of(*line())
    once = minimize_evidence(objective, theta0, min_decay=MIN_DECAY, **limit)
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY, **limit)
    assert_array_equal(found.x, once.x)
    assert found.nfev == once.nfev


def test_without_a_hidden_layer_there_is_one_start():
    objective, theta0 = objective_of(*line(), hidden=())
    found = minimize_evidence_again(objective, theta0, min_decay=MIN_DECAY)
    assert_array_equal(found.x, minimize_evidence(objective, theta0, min_decay=MIN_DECAY).x)


def test_members_take_the_spreads_in_turn():
    X, y = waves()
    parameters = {"alpha": 0.1, "hidden_layer_sizes": 4, "max_iter": 5, "random_state": 0}

    def thetas(spread):
        model = MLPSigmoidRegressor(**parameters, n_members=3, initial_spread=spread)
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            model.fit(X, y)
        return model.theta_

    ones, threes, both = thetas(1.0), thetas(3.0), thetas([1.0, 3.0])
    assert_array_equal(both, [ones[0], threes[1], ones[2]])
    assert not np.array_equal(ones[1], threes[1])


@pytest.mark.parametrize("spread", [[], (1.0, 0.0), (1.0, math.nan), [[1.0]], ["wide"]])
def test_spreads_that_are_none(spread):
    X, y = waves()
    with pytest.raises(ValueError, match=r"initial_spread=.*positive number, several of them"):
        MLPSigmoidRegressor(alpha="evidence", initial_spread=spread).fit(X, y)


@pytest.mark.parametrize("limit", ["max_iter", "max_fun"])
def test_runs_together_have_the_limits_of_one(limit):
    of_one, of_all = (inspect.signature(of).parameters for of in (minimize_evidence, runs.Runs))
    assert of_all[limit].default == of_one[limit].default
