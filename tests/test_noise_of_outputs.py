"""The noise of each output, which the evidence and the posterior find by itself."""

import numpy as np
import pytest
import reference
from scipy.linalg import null_space
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.linear_model import BayesianRidge

from skprop import MLPObjective, MLPSigmoidRegressor, minimize_lbfgs
from skprop import flat_objective as module
from skprop.factors import Root, factorised
from skprop.laplace import FLAT, common_noise, evidence
from skprop.posterior import linear_laplace
from skprop.solvers import CONVERGED, minimize_evidence

NOISES = np.array([0.02, 1.0])


def two_outputs(n, seed):
    """A clean target and a noisy one, of the same four features."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 4))
    clean = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    f = np.c_[clean, np.cos(1.5 * X[:, 2]) * X[:, 1] + X[:, 3]]
    return X, f, f + rng.normal(size=f.shape) * NOISES


@pytest.mark.parametrize("thin", [False, True])
def test_the_model_of_each_output_is_that_of_the_definition(problem, thin, monkeypatch):
    monkeypatch.setattr(module, "is_thin", lambda N, P: thin)
    models = problem.objective(alpha=0.0).output_models(problem.theta)
    P, d_K = len(problem.theta), problem.y.shape[1]
    u = np.linspace(0.4, 1.7, d_K)
    parts = [(0.0, np.zeros(P), np.zeros((P, P)))] * d_K
    for x, y, w in zip(problem.X, problem.y, problem.weights / problem.W, strict=True):
        network = problem.sizes, problem.output_activation
        r = reference.output(problem.theta, x, *network) - y
        J = reference.output_jacobian(problem.theta, x, *network)
        parts = [
            (loss + w_k * r_k**2 / 2, g + w_k * r_k * J_k, M + w_k * np.outer(J_k, J_k))
            for (loss, g, M), w_k, r_k, J_k in zip(parts, w, r, J, strict=True)
        ]
    losses, gradients, products = (np.array(part) for part in zip(*parts, strict=True))
    np.testing.assert_allclose(models.losses, losses, rtol=1e-12)
    np.testing.assert_allclose(models.gradients, gradients, rtol=1e-10, atol=1e-13)
    if d_K == 1:
        u = np.ones(1)
    loss, g, M = models.sum(u)
    assert loss == pytest.approx(u @ losses, rel=1e-12)
    np.testing.assert_allclose(g, u @ gradients, rtol=1e-10, atol=1e-13)
    expected = np.einsum("k,kij->ij", u, products)
    square = M.Jt @ M.Jt.T if isinstance(M, Root) else M
    np.testing.assert_allclose(square, expected, rtol=1e-9, atol=1e-13)
    d = np.cos(np.arange(P))
    second = np.einsum("i,kij,j->k", d, products, d)
    np.testing.assert_allclose(models.losses_at(d), losses + gradients @ d + second / 2, rtol=1e-9)
    p = np.linspace(0.1, 0.3, P)
    inverse = np.linalg.inv(expected + np.diag(p))
    traces = [u_k * np.trace(inverse @ M_k) for u_k, M_k in zip(u, products, strict=True)]
    np.testing.assert_allclose(models.traces(factorised(M, p), u), traces, rtol=1e-9)


def test_the_factors_of_the_outputs_have_mean_1_and_make_all_noises_one():
    sigma2, u = common_noise(np.array([0.1, 0.0, 2.0]))
    np.testing.assert_allclose(u * [0.1, 0.0, 2.0], [sigma2, 0.0, sigma2])
    assert u[1] == 1
    assert u[[0, 2]].mean() == pytest.approx(1)
    assert common_noise(np.array([0.3])) == (0.3, np.ones(1))


def test_the_log_evidence_is_the_density_of_the_targets_of_both_outputs():
    rng = np.random.default_rng(0)
    n, X = 20, rng.normal(size=(20, 3))
    J = [np.c_[X, np.zeros((n, 1))], np.c_[X[:, :2], np.zeros(n), np.ones(n)]]  # two linear models
    y = [rng.normal(size=n), 3 * rng.normal(size=n)]
    noise, alpha = np.array([0.3, 2.0]), np.array([0.7])
    sigma2, u = common_noise(noise)
    M = sum(u_k * J_k.T @ J_k for u_k, J_k in zip(u, J, strict=True))
    right = sum(u_k * J_k.T @ y_k for u_k, J_k, y_k in zip(u, J, y, strict=True))
    theta = np.linalg.solve(M + alpha * np.eye(4), right)
    squares = [np.sum((J_k @ theta - y_k) ** 2) for J_k, y_k in zip(J, y, strict=True)]
    found = evidence(M, theta, u @ squares, [n, n], [np.arange(4)], alpha, noise)
    both = np.vstack(J)
    covariance = np.diag(np.repeat(noise, n)) + sigma2 / alpha * both @ both.T
    density = multivariate_normal(np.zeros(2 * n), covariance).logpdf(np.concatenate(y))
    assert found.log_evidence == pytest.approx(density, rel=1e-12)


def test_two_linear_outputs_with_penalties_of_their_own_are_two_bayesian_ridges(diabetes):
    X, y = diabetes
    Y = np.c_[y, X[:, 2] + 0.05 * np.random.default_rng(0).normal(size=len(y))]
    X, Y = (X - X.mean(axis=0)) / X.std(axis=0), (Y - Y.mean(axis=0)) / Y.std(axis=0)
    objective = MLPObjective(X, Y, hidden_layer_sizes=())
    groups = list(objective.layout.weight_indices()[0].reshape(10, 2).T)
    found = minimize_evidence(objective, objective.initial_theta(0), tol=1e-11, groups=groups)
    assert found.status == CONVERGED
    n, of_the_bias = len(y), 1 / (1 + FLAT)
    others = null_space(np.ones((1, n))).T * np.sqrt((n - 1) / (n - of_the_bias))
    sigma2, _ = common_noise(found.evidence.noise)
    for k in range(2):
        ridge = BayesianRidge(
            alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-14, max_iter=1000,
            fit_intercept=False,
        ).fit(others @ X, others @ Y[:, k])  # fmt: skip
        A, _ = objective.unpack(found.x)[0]
        np.testing.assert_allclose(A[:, k], ridge.coef_, atol=1e-4)
        np.testing.assert_allclose(found.evidence.noise[k], 1 / ridge.alpha_, rtol=1e-4)
        np.testing.assert_allclose(found.alpha[k] / sigma2, ridge.lambda_, rtol=1e-3)


@pytest.mark.parametrize("n_members", [1, 2])
def test_a_clean_output_and_a_noisy_one_have_their_own_noise_and_cover_as_they_say(n_members):
    X, _, Y = two_outputs(1000, seed=1)
    X_test, f_test, Y_test = two_outputs(2000, seed=2)
    model = MLPSigmoidRegressor(30, alpha="evidence", n_members=n_members, random_state=0)
    mean, deviation = model.fit(X, Y).predict(X_test, return_std=True)
    np.testing.assert_allclose(np.sqrt(model.noise_variance_), NOISES, rtol=0.15)
    covered = np.mean(np.abs(Y_test - mean) < 1.96 * deviation, axis=0)
    assert (covered > 0.92).all()
    assert (covered < 0.97).all()
    own = MLPSigmoidRegressor(30, alpha="evidence", n_members=n_members, random_state=0)
    own.fit(X, Y[:, 0])
    of_its_own = np.std(own.predict(X_test) - f_test[:, 0])
    assert np.std(mean[:, 0] - f_test[:, 0]) < 1.5 * of_its_own


def test_the_posterior_of_a_fixed_penalty_has_a_noise_of_each_output():
    X, _, Y = two_outputs(500, seed=1)
    model = MLPSigmoidRegressor(20, alpha=0.1, random_state=0).fit(X, Y)
    ratio = np.sqrt(model.noise_variance_[1] / model.noise_variance_[0])
    assert ratio > 3
    before = model.predict(X, return_std=True)[1]
    np.testing.assert_allclose(model.fit_posterior(X, Y).predict(X, return_std=True)[1], before)


def test_few_rows_of_two_outputs_have_the_fit_of_either_form(monkeypatch):
    X, _, Y = two_outputs(12, seed=3)
    objective = MLPObjective(X, Y, hidden_layer_sizes=20)
    found = []
    for thin in (False, True):
        monkeypatch.setattr(module, "is_thin", lambda N, P, thin=thin: thin)
        found.append(minimize_evidence(objective, objective.initial_theta(0), max_iter=8))
    np.testing.assert_allclose(found[1].evidence.noise, found[0].evidence.noise, rtol=1e-4)
    np.testing.assert_allclose(found[1].alpha, found[0].alpha, rtol=1e-4)


def test_a_constant_output_costs_the_other_nothing():
    X, _, Y = two_outputs(200, seed=1)
    both = np.c_[np.full(200, 3.0), Y[:, 0]]
    model = MLPSigmoidRegressor(10, alpha="evidence", random_state=0).fit(X, both)
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean[:, 0], 3.0)
    assert np.isfinite(deviation).all()
    assert np.std(mean[:, 1] - Y[:, 0]) < 0.1


def test_a_constant_output_leaves_the_error_bars_of_the_other_alone():
    X, _, Y = two_outputs(200, seed=1)
    objectives = [
        MLPObjective(X, y, hidden_layer_sizes=4, alpha=0.1)
        for y in (Y[:, :1], np.c_[Y[:, 0], np.zeros(200)], np.c_[np.zeros(200), Y[:, 0]])
    ]
    alone, *beside = objectives
    theta = minimize_lbfgs(alone, alone.initial_theta(0)).x
    expected = linear_laplace(alone, theta)
    for k, objective in enumerate(beside):
        both = np.zeros(objective.n_params)
        both[objective.layout.output_indices()[k]] = theta
        found = linear_laplace(objective, both)
        np.testing.assert_allclose(found.noise[k], expected.noise, rtol=0.1)
        assert found.noise[1 - k] == 0


def test_verbose_prints_the_noise_of_each_output(capsys):
    X, _, Y = two_outputs(100, seed=1)
    MLPSigmoidRegressor(5, alpha="evidence", random_state=0, verbose=True).fit(X, Y)
    first = capsys.readouterr().out.splitlines()[0]
    assert len(first.split("noise = ")[1].split(",")[0].split()) == 2


def test_members_too_large_for_a_posterior_have_the_error_of_their_held_out_rows_and_a_spread():
    X, _, Y = two_outputs(400, seed=1)
    X_val, _, Y_val = two_outputs(200, seed=2)
    model = MLPSigmoidRegressor(
        (40, 30), solver="adam", early_stopping=True, n_members=2, random_state=0
    )
    model.fit(X, Y, X_val=X_val, y_val=Y_val)
    assert model.theta_.shape[1] > 1000
    members = [clone(model).set_params(n_members=1).fit(X, Y, X_val=X_val, y_val=Y_val)]
    squares = []
    for theta in model.theta_:
        members[0].set_theta(theta)
        squares.append(np.mean((members[0].predict(X_val) - Y_val) ** 2, axis=0))
    np.testing.assert_allclose(model.noise_variance_, np.mean(squares, axis=0), rtol=1e-9)
    mean, of_model = model.predict(X, return_std="model")
    outputs = [members[0].set_theta(theta).predict(X) for theta in model.theta_]
    np.testing.assert_allclose(mean, np.mean(outputs, axis=0))
    np.testing.assert_allclose(of_model, np.std(outputs, axis=0), atol=1e-12)
    deviation = model.predict(X, return_std=True)[1]
    np.testing.assert_allclose(deviation**2, of_model**2 + model.noise_variance_, rtol=1e-9)
    with pytest.raises(ValueError, match="needs the posterior"):
        members[0].predict(X, return_std=True)
