"""The evidence with a penalty for each input: what it finds, and what it leaves behind."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ARDRegression

from skprop import MLPObjective, MLPSigmoidRegressor
from skprop.attributes import attributes
from skprop.fitting import Fit
from skprop.folds import Setup
from skprop.laplace import FLAT
from skprop.solvers import FAILED, LIMIT, minimize_evidence, minimize_relevance


def friedman(n_samples, n_useless, seed=0, noise=1.0):
    """Friedman's first function of five inputs, with useless ones after them."""
    rng = np.random.default_rng(seed)
    X = rng.random((n_samples, 5 + n_useless))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    return X, y + 10 * X[:, 3] + 5 * X[:, 4] + noise * rng.normal(size=n_samples)


X, Y = friedman(200, 3)
SECOND = 5 * X[:, 1] + 2 * np.sin(6 * X[:, 5]) + 0.3 * np.random.default_rng(1).normal(size=200)
OF_TWO = np.column_stack([Y, SECOND])
WITH_HOLES = np.where(np.random.default_rng(1).random(OF_TWO.shape) < 0.2, np.nan, OF_TWO)
WITH_HOLES[0] = np.nan
MODEL = MLPSigmoidRegressor(8, alpha="ard", random_state=0).fit(X, Y)
OBJECTIVE = MLPObjective((X - X.mean(0)) / X.std(0), (Y - Y.mean()) / Y.std(), hidden_layer_sizes=8)
THETA0 = OBJECTIVE.layout.initial_theta(0, spread=1.0)
MIN_DECAY = 0.01


def test_useless_inputs_neither_cost_accuracy_nor_are_relevant():
    X, y = friedman(300, 15)
    X_test, f_test = friedman(2000, 15, seed=1, noise=0.0)
    plain, ard = (
        MLPSigmoidRegressor(20, alpha=alpha, random_state=0).fit(X, y)
        for alpha in ("evidence", "ard")
    )
    error, plain_error = (
        np.sqrt(np.mean((model.predict(X_test) - f_test) ** 2)) for model in (ard, plain)
    )
    assert error < 0.5 * plain_error
    assert ard.relevances_[:5].min() > 5 * ard.relevances_[5:].max()
    assert ard.noise_variance_ == pytest.approx(1.0, rel=0.2)


def test_without_hidden_layer_it_is_ard_regression():
    """As for `BayesianRidge`, a bias of flat prior takes one of the n rows."""
    X, y = friedman(100, 3)
    model = MLPSigmoidRegressor((), alpha="ard", tol=1e-12, max_iter=10_000).fit(X, y)
    n, of_the_bias = len(y), 1 / (1 + FLAT)
    others = np.linalg.svd(np.ones((1, n)))[2][1:] * np.sqrt((n - 1) / (n - of_the_bias))
    ard = ARDRegression(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-14, max_iter=10_000,
        threshold_lambda=1e8, fit_intercept=False,
    ).fit(others @ model.x_scaler_.transform(X), others @ (y - y.mean()) / y.std())  # fmt: skip
    stays = ard.coef_ != 0
    assert 4 <= stays.sum() < 8
    np.testing.assert_allclose(model.theta_, [*ard.coef_, 0], atol=1e-6)
    np.testing.assert_allclose(model.alpha_[stays], ard.lambda_[stays] / ard.alpha_, rtol=1e-6)
    np.testing.assert_allclose(model.noise_variance_, y.var() / ard.alpha_, rtol=1e-6)
    assert model.relevances_[~stays].max() < 1e-6 * model.relevances_[stays].min()


def test_relevances_are_shares_of_the_prior_variance():
    assert MODEL.alpha_.shape == (9,)  # eight features and the last layer
    np.testing.assert_allclose(MODEL.relevances_, 1 / MODEL.alpha_[:8] / sum(1 / MODEL.alpha_[:8]))


def test_relevances_of_a_committee_are_the_mean_over_its_members():
    setup = Setup((2, 1), "identity", "float64", True)
    fits = [Fit(np.zeros(3), 0.0, 1, 1, 1, "", [], alpha=np.array(a)) for a in ([1, 3], [4, 4])]
    found = attributes(fits, setup)
    np.testing.assert_allclose(found["relevances_"], [(0.75 + 0.5) / 2, (0.25 + 0.5) / 2])
    assert found["alpha_"].shape == (2, 2)
    committee = MLPSigmoidRegressor(4, alpha="ard", n_members=2, random_state=0).fit(X, Y)
    assert committee.relevances_.shape == (8,)
    assert committee.relevances_.sum() == pytest.approx(1)


def test_only_ard_has_relevances_and_a_theta_that_was_set_has_none():
    assert not hasattr(MLPSigmoidRegressor(2, alpha="evidence").fit(X, Y), "relevances_")
    model = MLPSigmoidRegressor(2, alpha="ard").fit(X, Y)
    assert not hasattr(model.set_theta(model.theta_), "relevances_")
    refitted = model.fit(X, Y).set_params(alpha=1.0).fit(X, Y)
    assert not hasattr(refitted, "relevances_")


@pytest.mark.parametrize(("hidden", "n_outputs"), [((5, 4), 1), ((4,), 2), ((), 1)])
def test_each_later_layer_has_a_penalty_of_its_own(hidden, n_outputs):
    targets = np.column_stack([Y, Y[::-1] + 5 * X[:, 0]])[:, :n_outputs]
    model = MLPSigmoidRegressor(hidden, alpha="ard", random_state=0).fit(X, targets)
    assert model.alpha_.shape == (8 + len(hidden),)
    assert model.predict(X, return_std=True)[1].shape == targets.shape


def test_a_feature_that_is_constant_has_no_relevance():
    constant = np.column_stack([np.full(len(X), 7.0), X])
    model = MLPSigmoidRegressor(8, alpha="ard", random_state=0).fit(constant, Y)
    assert model.relevances_[0] < 1e-12
    np.testing.assert_array_equal(model.coefs_[0][0], 0)


def test_one_feature():
    x, y = X[:, :1], np.sin(6 * X[:, 0]) + 0.01 * Y
    model = MLPSigmoidRegressor(5, alpha="ard", random_state=0).fit(x, y)
    assert model.relevances_ == pytest.approx([1.0])
    assert model.fit_posterior(x, y).score(x, y) > 0.9


@pytest.mark.parametrize("convert", [csr_array, np.float32])
def test_sparse_rows_and_single_precision_find_the_same_relevances(convert):
    model = MLPSigmoidRegressor(8, alpha="ard", random_state=0).fit(convert(X), Y)
    np.testing.assert_allclose(model.relevances_, MODEL.relevances_, atol=0.02)


@pytest.mark.parametrize("targets", [Y, OF_TWO, WITH_HOLES])
@pytest.mark.parametrize("n_members", [1, 3])
def test_fit_posterior_takes_the_penalties_that_were_found(targets, n_members):
    model = MLPSigmoidRegressor(
        6, alpha="ard", n_members=n_members, missing_targets="ignore", random_state=0
    ).fit(X, targets)
    std, log_evidence = model.predict(X, return_std=True)[1], model.log_evidence_
    found = model.fit_posterior(X, targets)
    np.testing.assert_allclose(found.predict(X, return_std=True)[1], std, rtol=1e-9)
    np.testing.assert_allclose(found.log_evidence_, log_evidence, rtol=1e-9)


def test_a_missing_target_is_one_of_weight_0():
    """For a committee too; row 0 has no target at all."""
    is_missing, model = np.isnan(WITH_HOLES), MLPSigmoidRegressor(6, alpha="ard", n_members=2)
    model.set_params(random_state=0)
    weighted = clone(model).fit(X[1:], OF_TWO[1:], 1.0 - is_missing[1:])
    model.set_params(missing_targets="ignore").fit(X, WITH_HOLES)
    np.testing.assert_allclose(model.relevances_, weighted.relevances_, rtol=1e-6)
    np.testing.assert_allclose(model.noise_variance_, weighted.noise_variance_, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X), weighted.predict(X), rtol=1e-6)


def test_an_input_that_one_of_two_outputs_needs_is_relevant():
    model = MLPSigmoidRegressor(8, alpha="ard", random_state=0).fit(X, OF_TWO)
    assert model.relevances_[5] > 0.1  # useless to the first output
    assert model.relevances_[6:].max() < 0.01


def test_a_run_to_the_peak_returns_its_iterate_of_greatest_log_evidence():
    seen, (X, y) = [], friedman(100, 10)
    objective = MLPObjective(X - 0.5, (y - y.mean()) / y.std(), hidden_layer_sizes=8)
    theta0 = objective.layout.initial_theta(0, spread=1.0)
    found = minimize_evidence(objective, theta0, to_peak=True, callback=seen.append)
    each = [iteration.log_evidence for iteration in seen]
    best = seen[int(np.argmax(each))]
    assert found.success
    assert found.nit == len(each) == int(np.argmax(each)) + 1 + 10
    assert found.evidence.log_evidence == max(each) > each[-1]
    np.testing.assert_array_equal(found.x, best.x)
    assert found.fun == best.fun
    assert found.evidence.n_effective == best.n_effective


def test_the_counts_and_the_curve_are_those_of_all_runs():
    seen = []
    found = minimize_relevance(OBJECTIVE, THETA0, min_decay=MIN_DECAY, callback=seen.append)
    first = minimize_evidence(OBJECTIVE, THETA0, min_decay=MIN_DECAY)
    assert found.success
    assert found.nit == len(found.loss_curve) == len(seen) > first.nit
    assert [iteration.nit for iteration in seen] == list(range(1, found.nit + 1))
    assert found.loss_curve[: first.nit] == first.loss_curve
    assert found.nfev > first.nfev
    assert found.evidence.log_evidence == max(
        iteration.log_evidence for iteration in seen[first.nit :]
    )


def test_a_callback_that_stops_early_leaves_the_run_of_greatest_evidence():
    first = minimize_evidence(OBJECTIVE, THETA0, min_decay=MIN_DECAY)
    second = minimize_evidence(
        OBJECTIVE, first.x, groups=OBJECTIVE.layout.input_groups(), alpha0=[first.alpha] * 9,
        noise0=first.evidence.noise, to_peak=True,
    )  # fmt: skip

    def stop(iteration):
        if iteration.nit == first.nit + second.nit + 1:  # the first from the new start
            raise StopIteration

    found = minimize_relevance(OBJECTIVE, THETA0, min_decay=MIN_DECAY, callback=stop)
    assert found.nit == first.nit + second.nit + 1
    np.testing.assert_array_equal(found.x, second.x)
    np.testing.assert_array_equal(found.alpha, second.alpha)


@pytest.mark.parametrize("more", [-2, 0, 3])
def test_the_limits_are_those_of_the_runs_together(more):
    first = minimize_evidence(OBJECTIVE, THETA0, min_decay=MIN_DECAY)
    for limit, n in (
        ({"max_iter": first.nit + more}, "nit"),
        ({"max_fun": first.nfev + more}, "nfev"),
    ):
        found = minimize_relevance(OBJECTIVE, THETA0, min_decay=MIN_DECAY, **limit)
        ((name, value),) = limit.items()
        assert (found.status, found.success) == (LIMIT, False)
        assert found.message == f"The limit {name}={value} was reached."
        assert found[n] <= value + (n == "nfev")
        assert found.alpha.shape == (9,)


def test_a_limit_is_a_warning_and_a_fit():
    model = MLPSigmoidRegressor(8, alpha="ard", max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        model.fit(X, Y)
    np.testing.assert_allclose(model.relevances_, 1 / 8)  # one penalty for all, so far


def test_derivatives_that_are_no_numbers_end_the_run_with_a_penalty_of_each_input():
    found = minimize_relevance(OBJECTIVE, np.full_like(THETA0, 1e200))
    assert (found.status, found.success) == (FAILED, False)
    assert found.alpha.shape == (9,)
