"""The evidence framework and the error bars, against definitions and closed forms."""

import itertools
import pickle

import numpy as np
import pytest
import reference
import sklearn
from scipy.linalg import null_space
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import ARDRegression, BayesianRidge
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, MLPSigmoidRegressor, fitting, workspace
from skprop.factors import restored
from skprop.laplace import FLAT, alphas, evidence, noise_variance, spread
from skprop.network import Network
from skprop.posterior import affordable, laplace, model_variance
from skprop.rows import Rows
from skprop.solvers import CONVERGED, FAILED, INTERRUPTED, LIMIT, minimize_evidence
from skprop.solvers.evidence import _change, _Peak, _reason
from skprop.solvers.hyperparameters import Prior

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + np.random.default_rng(1).normal(scale=0.2, size=60)
ALPHAS = (0.4, 1.3, 0.7, 2.1)
OBJECTIVE = MLPObjective(X, Y, hidden_layer_sizes=3)
THETA0 = OBJECTIVE.initial_theta(0)


def curvature(problem):
    """Σ w ∇f ∇fᵀ by the complex step, over the outputs too."""
    total = 0.0
    for x, w in zip(problem.X, problem.weights, strict=True):
        J = reference.output_jacobian(problem.theta, x, problem.sizes, problem.output_activation)
        total = total + w * J.T @ J
    return total


def covariance(posterior):
    """H⁻¹, column by column, from what is stored of it."""
    H = restored(posterior.factor)
    return np.array([H.solve(e) for e in np.eye(len(H[0]))])


def arguments(problem):
    """What `evidence` takes of a problem, by definition."""
    groups = problem.objective().layout.weight_indices()
    squares = 2 * problem.W * reference.loss(problem.theta, *problem.definition[:3], 0.0,
                                                   *problem.definition[4:])  # fmt: skip
    N = problem.W * problem.y.shape[1]
    return curvature(problem), problem.theta, squares, N, groups


def test_the_effective_numbers_are_those_of_the_definition(problem):
    G, theta, squares, N, groups = arguments(problem)
    alpha = np.array(ALPHAS[: len(groups)])
    found = evidence(G, theta, squares, N, groups, alpha, noise=0.3)
    H = found.factor @ found.factor.T
    np.testing.assert_allclose((H - G)[~np.eye(len(G), dtype=bool)], 0, atol=1e-12)
    share = np.diag(G @ np.linalg.inv(H))  # γ = tr G H⁻¹, as each group's is 1 − α (H⁻¹)_jj
    for index, value in zip(groups, found.gamma, strict=True):
        np.testing.assert_allclose(value, share[index].sum(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.n_effective, share.sum(), rtol=1e-8)
    assert 0 < found.n_effective < len(theta)


def test_the_updates_are_where_the_derivative_of_the_log_evidence_vanishes(problem):
    *known, groups = arguments(problem)
    G, theta, squares, N = known
    alpha, noise = np.array(ALPHAS[: len(groups)]), 0.3

    def log_evidence(log_alpha, log_noise):
        # In groups only, so that γ has no part of a flat prior that is not quite flat.
        some = np.sort(np.concatenate(groups))
        place = [np.searchsorted(some, index) for index in groups]
        arguments = G[np.ix_(some, some)], theta[some], squares, N, place
        return evidence(*arguments, np.exp(log_alpha), np.exp(log_noise))

    at = np.log(alpha), np.log(noise)
    found, h = log_evidence(*at), 1e-4
    norms = np.array([theta[index] @ theta[index] for index in groups])
    for i, step in enumerate(h * np.eye(len(groups))):
        up, down = (log_evidence(at[0] + s, at[1]).log_evidence for s in (step, -step))
        slope = 0.5 * (found.gamma[i] - alpha[i] * norms[i] / noise)
        assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert alphas(theta, groups, found.gamma, noise) * norms == pytest.approx(noise * found.gamma)
    # σ² moves α_i/σ² too: along it with these fixed, the derivative is ½ (Σ w r²/σ² + γ − N).
    up, down = (
        log_evidence(at[0] + s, at[1] + s).log_evidence for s in (h, -h)
    )  # fmt: skip
    slope = 0.5 * (squares / noise + found.gamma.sum() - N)
    assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    best = noise_variance(squares, 100.0, found.gamma.sum())
    assert squares / best + found.gamma.sum() == pytest.approx(100.0)


@pytest.mark.parametrize("n_effective", [95.0, 100.0, 130.0])
def test_the_noise_keeps_a_twentieth_of_the_observations_however_many_parameters(n_effective):
    assert noise_variance(3.0, 100.0, n_effective) == pytest.approx(3 / (0.05 * 100))
    assert noise_variance(3.0, 100.0, 94.0) == pytest.approx(3 / 6)  # N − γ where that is more


@pytest.mark.parametrize("groups", [[[0, 1, 2]], [[0], [2, 1]], [[2], [0], [1]]])
def test_the_log_evidence_is_the_density_of_the_targets(groups):
    alpha, noise, n = np.array(ALPHAS[: len(groups)]), 0.25, len(X)
    p = spread(groups, alpha, 3)
    G = X.T @ X
    theta = np.linalg.solve(G + np.diag(p), X.T @ Y)
    squares = np.sum((X @ theta - Y) ** 2)
    found = evidence(G, theta, squares, n, groups, alpha, noise)
    covariance = noise * (np.eye(n) + X / p @ X.T)
    density = multivariate_normal(np.zeros(n), covariance).logpdf(Y)
    assert found.log_evidence == pytest.approx(density, rel=1e-12)


@pytest.mark.skipif(
    sklearn.__version__.startswith("1.6."), reason="before 1.7 BayesianRidge had another σ²"
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_is_bayesian_ridge_on_what_the_intercept_leaves(diabetes, weighted):
    """A bias of flat prior takes one direction of the n rows, and one of the W observations.

    So with it the posterior is that of `BayesianRidge` without it on the other n − 1. The prior
    is not quite flat but has the precision FLAT W, so what it takes is not quite one.
    """
    X, y = diabetes
    w = np.random.default_rng(0).uniform(0.5, 3, len(y)) if weighted else np.ones(len(y))
    X, y = X - np.average(X, axis=0, weights=w), (y - np.average(y, weights=w)) / y.std()
    X /= X.std(axis=0)
    objective = MLPObjective(X, y, hidden_layer_sizes=(), sample_weight=w)
    found = minimize_evidence(objective, objective.initial_theta(0), tol=1e-11)
    others, W, of_the_bias = null_space(np.sqrt(w)[None]).T, w.sum(), 1 / (1 + FLAT)
    each = np.full(len(y) - 1, (W - of_the_bias) / (len(y) - 1))  # their weights
    rows, targets = others @ (np.sqrt(w) * X.T).T, others @ (np.sqrt(w) * y)
    ridge = BayesianRidge(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-14, max_iter=1000,
        compute_score=True, fit_intercept=False,
    ).fit(rows / np.sqrt(each)[:, None], targets / np.sqrt(each), each)  # fmt: skip
    assert found.status == CONVERGED
    np.testing.assert_allclose(found.x, [*ridge.coef_, 0], atol=1e-9)
    np.testing.assert_allclose(found.alpha, ridge.lambda_ / ridge.alpha_, rtol=1e-9)
    posterior = found.evidence
    np.testing.assert_allclose(posterior.noise, 1 / ridge.alpha_, rtol=1e-9)
    assert posterior.n_effective == pytest.approx(posterior.gamma[0] + of_the_bias, rel=1e-12)
    log_evidence = ridge.scores_[-1] + 0.5 * np.log(of_the_bias / W)
    assert posterior.log_evidence == pytest.approx(log_evidence, rel=1e-7)
    covariance = posterior.noise * np.linalg.inv(posterior.factor @ posterior.factor.T)
    np.testing.assert_allclose(covariance[:10, :10], ridge.sigma_, atol=1e-12)
    np.testing.assert_allclose(covariance[10, 10], posterior.noise * of_the_bias / W)


def test_a_linear_model_with_a_penalty_of_each_input_is_ard_regression(diabetes):
    """Both find the fixed point of MacKay's updates, in which age is lost.

    As above a bias of flat prior takes one of the rows.
    """
    X, y = diabetes[0][:, [0, 1, 2, 3, 6, 8]], diabetes[1]
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    objective = MLPObjective(X, y, hidden_layer_sizes=())
    groups = [np.array([i]) for i in range(6)]
    plain = minimize_evidence(objective, objective.initial_theta(0), tol=1e-12)
    found = minimize_evidence(
        objective, plain.x, tol=1e-12, groups=groups, alpha0=[plain.alpha] * 6,
        noise0=plain.evidence.noise, max_iter=10_000,
    )  # fmt: skip
    n, of_the_bias = len(y), 1 / (1 + FLAT)
    others = null_space(np.ones((1, n))).T * np.sqrt((n - 1) / (n - of_the_bias))
    ard = ARDRegression(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-14, max_iter=10_000,
        threshold_lambda=1e8, fit_intercept=False,
    ).fit(others @ X, others @ y)  # fmt: skip
    assert found.status == CONVERGED
    stays = ard.coef_ != 0
    assert stays.sum() == 5
    np.testing.assert_allclose(found.x, [*ard.coef_, 0], atol=1e-6)
    np.testing.assert_allclose(found.alpha[stays], ard.lambda_[stays] / ard.alpha_, rtol=1e-6)
    assert (found.alpha[~stays] > 1e6 * found.alpha[stays].max()).all()
    np.testing.assert_allclose(found.evidence.noise, 1 / ard.alpha_, rtol=1e-6)
    covariance = found.evidence.noise * np.linalg.inv(
        found.evidence.factor @ found.evidence.factor.T
    )
    np.testing.assert_allclose(covariance[:6, :6][np.ix_(stays, stays)], ard.sigma_, atol=1e-6)


def test_the_regressor_without_hidden_layer_is_a_bayesian_linear_model(diabetes):
    X, y = diabetes
    model = MLPSigmoidRegressor((), alpha="evidence", tol=1e-10).fit(X, y)
    Z = np.column_stack([model.x_scaler_.transform(X), np.ones(len(X))])
    t = (y - y.mean()) / y.std()
    penalty = np.diag([*[model.alpha_] * 10, 0])
    H = Z.T @ Z + penalty
    theta = np.linalg.solve(H, Z.T @ t)
    gamma = np.trace(np.linalg.solve(H, Z.T @ Z))
    noise = np.sum((Z @ theta - t) ** 2) / (len(X) - gamma)
    assert model.effective_n_parameters_ == pytest.approx(gamma, rel=1e-5)
    assert model.noise_variance_ == pytest.approx(noise * y.var(), rel=1e-6)
    assert model.alpha_ == pytest.approx(noise * (gamma - 1) / np.sum(theta[:10] ** 2), rel=1e-5)
    std = np.sqrt(noise * (1 + np.einsum("sp,ps->s", Z, np.linalg.solve(H, Z.T)))) * y.std()
    mean, found = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, Z @ theta * y.std() + y.mean(), rtol=1e-9)
    np.testing.assert_allclose(found, std, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_variance_of_a_prediction_is_that_of_the_definition(problem, dtype):
    objective = problem.objective(dtype)
    found = laplace(objective, problem.theta, problem.alpha)
    network = Network(objective.layout, problem.theta.astype(dtype), problem.output_activation)
    variance = model_variance(network, Rows(problem.X.astype(dtype)), found.factor)
    tolerance = 1e-9 if dtype == np.float64 else 2e-2
    for x, row in zip(problem.X, variance, strict=True):
        J = reference.output_jacobian(problem.theta, x, problem.sizes, problem.output_activation)
        np.testing.assert_allclose(row, np.diag(J @ covariance(found) @ J.T), rtol=tolerance)


def test_the_posterior_of_a_fixed_alpha_does_not_depend_on_the_penalty_of_the_objective(problem):
    found = [
        laplace(problem.objective(alpha=alpha), problem.theta, 0.3) for alpha in (0.0, 0.3, 2.0)
    ]
    for one, other in itertools.pairwise(found):
        np.testing.assert_allclose(covariance(one), covariance(other), rtol=1e-9, atol=1e-9)
        assert one.noise == pytest.approx(other.noise)


def fit(X=X, y=Y, hidden=6, **parameters):
    weight = parameters.pop("sample_weight", None)
    parameters = {"alpha": "evidence", "random_state": 0} | parameters
    return MLPSigmoidRegressor(hidden, **parameters).fit(X, y, weight)


def assert_same(one, other, rtol=1e-6):
    for a, b in zip(one.predict(X, True), other.predict(X, True), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol)
    np.testing.assert_allclose(one.alpha_, other.alpha_, rtol=rtol)
    assert one.log_evidence_ == pytest.approx(other.log_evidence_, rel=rtol)


def test_a_settled_fit_is_at_the_fixed_point():
    model = fit(tol=1e-7, max_iter=5000, hidden=3)
    found = laplace(clone(model).set_params(alpha=0.0).make_objective(X, Y)[0], model.theta_,
                    model.alpha_)  # fmt: skip
    norm = sum(np.sum(A**2) for A in model.coefs_)
    assert model.alpha_ == pytest.approx(found.noise * found.gamma.sum() / norm, rel=1e-5)
    assert model.noise_variance_ == pytest.approx(found.noise * Y.var(), rel=1e-5)
    objective, _ = clone(model).set_params(alpha=model.alpha_).make_objective(X, Y)
    assert np.abs(objective.gradient(model.theta_)).max() < 1e-6
    assert model.loss_ == pytest.approx(objective.loss(model.theta_), rel=1e-9)


@pytest.mark.parametrize(
    ("largest", "change", "nit", "nfev", "status"),
    [
        (0.1, 1.0, 3, 4, CONVERGED),
        (0.1, 1.1, 3, 4, None),
        (0.2, 1.0, 3, 4, None),
        (0.2, 2.0, 5, 4, LIMIT),
        (0.2, 2.0, 3, 9, LIMIT),
        (0.0, 0.0, 5, 9, CONVERGED),
    ],
)
def test_a_run_ends_within_tol_and_ten_times_that_or_at_a_limit(largest, change, nit, nfev, status):
    assert _reason(largest, change, nit, nfev, tol=0.1, max_iter=5, max_fun=9)[0] == status


def test_a_run_to_the_peak_that_never_rises_ends_after_ten_iterations_at_its_start():
    found = evidence(np.eye(1), np.ones(1), 1.0, 5, [np.arange(1)], np.ones(1))
    start = "start", found
    peak = _Peak(start)
    for _ in range(9):
        assert peak.after(("later", found)) == (None, None)
    assert peak.after(("later", found))[0] == CONVERGED
    assert peak.iterate is start
    best = "best", found._replace(log_evidence=found.log_evidence + 1)
    assert peak.after(best) == (None, None)
    assert peak.iterate is best


@pytest.mark.parametrize(
    ("alpha", "noise", "change"),
    [
        ([2.0, 1.0], [1.0, 1.0], 0.0),
        ([3.0, 1.0], [1.0, 1.25], 0.5),
        ([2.0, 1.0], [1.0, 0.25], 0.75),
        ([2.0, 1.0], [0.0, 0.5], 1.0),
        ([3.0, 1.0], [0.0, 0.0], 0.0),  # exact fits
    ],
)
def test_what_has_settled_is_measured_by_the_largest_relative_change(alpha, noise, change):
    before = Prior(np.array([2.0, 1.0]), np.ones(2))
    assert _change(before, Prior(np.array(alpha), np.array(noise))) == change
    constant = Prior(before.alpha, np.array([0.0, 1.0]))  # the first target never varies
    assert _change(constant, constant) == 0
    assert _change(constant, before) == np.inf


def test_it_finds_the_noise_and_covers_as_it_says():
    rng = np.random.default_rng(3)
    x = rng.uniform(-3, 3, (400, 1))
    y = np.sin(2 * x[:, 0]) + rng.normal(scale=0.3, size=400)
    model = fit(x, y, hidden=10)
    assert model.noise_variance_ == pytest.approx(0.09, rel=0.15)
    assert 5 < model.effective_n_parameters_ < 25
    x = rng.uniform(-3, 3, (4000, 1))
    mean, std = model.predict(x, return_std=True)
    z = (np.sin(2 * x[:, 0]) + rng.normal(scale=0.3, size=4000) - mean) / std
    for bound, share in ((0.674, 0.5), (1.282, 0.8), (1.960, 0.95)):
        assert np.mean(np.abs(z) < bound) == pytest.approx(share, abs=0.04)
    assert np.sqrt(np.mean((np.sin(2 * x[:, 0]) - mean) ** 2)) < 0.1


def test_the_band_opens_where_there_are_no_data():
    x = np.concatenate([np.linspace(-3, -1, 40), np.linspace(1, 3, 40)])[:, None]
    model = fit(x, np.sin(2 * x[:, 0]) + np.random.default_rng(0).normal(scale=0.05, size=80))
    at_data, in_gap = model.predict([[-2.0], [0.0]], return_std=True)[1]
    assert in_gap > 3 * at_data
    assert at_data < 2 * np.sqrt(model.noise_variance_)


def test_more_parameters_than_rows():
    model = fit(hidden=(30, 10), X=X[:40], y=Y[:40])
    assert len(model.theta_) > 400
    assert model.effective_n_parameters_ < 40
    mean, std = model.predict(X[40:], return_std=True)
    assert np.sqrt(np.mean((mean - Y[40:]) ** 2)) < 0.8
    assert np.mean(np.abs(mean - Y[40:]) < 2 * std) > 0.8


def friedman(n, seed):
    """Rows without noise, in standard units."""
    x, y = make_friedman1(n, noise=0.0, random_state=seed)
    return (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()


def iterations(X, y, hidden, **options):
    """The objective, the result of a run, and what its callback saw of each iteration."""
    seen = []
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden)
    theta0 = objective.layout.initial_theta(0, spread=1.0)
    return objective, minimize_evidence(objective, theta0, callback=seen.append, **options), seen


@pytest.mark.parametrize(("rows", "hidden"), [((X, Y), 6), (friedman(80, seed=2), 4)])
def test_a_fit_ends_where_the_evidence_falls_and_parameters_cost_more_than_they_give(rows, hidden):
    objective, found, seen = iterations(*rows, hidden, min_decay=1e-300)
    N = len(rows[0])
    gamma = np.array([at.n_effective for at in seen])
    squares = 2 * objective.total_weight * np.array([objective.loss(at.x) for at in seen])
    likelihood = -N / 2 * np.log(squares / (N - gamma))  # −½ N ln σ²
    gain, paid = likelihood[8:] - likelihood[:-8], gamma[8:] - gamma[:-8]
    log_evidence = np.array([at.log_evidence for at in seen])
    fell = log_evidence < np.maximum.accumulate(log_evidence)
    ends = (paid > 0) & (gain < 1.2 * (N / (N - gamma[8:])) ** 1.5 * paid) & fell[8:]
    assert len(ends) > 1
    assert ends[-1]
    assert not ends[:-1].any()
    assert f"rose by {gain[-1]:.1f} for {paid[-1]:.1f} more effective" in found.message


def test_where_parameters_outnumber_rows_a_fit_ends_before_the_evidence_is_lost():
    x, y = friedman(100, seed=0)
    _, found, seen = iterations(x, y, 50, min_decay=1e-300)
    passed = max(at.log_evidence for at in seen)
    assert found.success
    assert found.evidence.log_evidence > passed - 60
    assert found.evidence.n_effective < 80
    _, fixed_point, _ = iterations(x, y, 50, max_iter=40)
    assert fixed_point.evidence.log_evidence < passed - 1000


def test_the_units_of_the_data_do_not_matter():
    model, scaled = fit(), fit(X * [2, 4, 0.5], 8 * Y - 32)
    np.testing.assert_allclose(
        scaled.predict(X * [2, 4, 0.5], True)[1], 8 * model.predict(X, True)[1], rtol=1e-4
    )
    assert scaled.noise_variance_ == pytest.approx(64 * model.noise_variance_, rel=1e-4)
    np.testing.assert_allclose(scaled.alpha_, model.alpha_, rtol=1e-3)


def test_weight_two_is_the_row_twice():
    w = np.random.default_rng(0).integers(0, 3, len(X))
    # Few steps: rounding grows from one to the next.
    weighted = fit(sample_weight=w.astype(float), hidden=3)
    assert_same(weighted, fit(np.repeat(X, w, axis=0), np.repeat(Y, w), hidden=3), rtol=1e-4)


def test_several_outputs():
    Y2 = np.column_stack([Y, 10 * Y + 3])
    model = fit(y=Y2)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (60, 2)
    assert model.noise_variance_.shape == (2,)
    assert model.noise_variance_[1] == pytest.approx(100 * model.noise_variance_[0], rel=0.01)
    assert isinstance(model.alpha_, float)
    column = fit(y=Y[:, None])
    assert column.predict(X, return_std=True)[1].shape == (60, 1)
    assert column.noise_variance_.shape == (1,)
    assert isinstance(fit().noise_variance_, float)


def test_a_target_without_noise_and_a_constant_one():
    model = fit(y=X[:, 0] - 2 * X[:, 1])
    assert model.noise_variance_ < 1e-4
    assert np.abs(model.predict(X) - X[:, 0] + 2 * X[:, 1]).max() < 0.1
    for constant in (0.0, 3.7):
        mean, std = fit(y=np.full(60, constant)).predict(X, return_std=True)
        assert (mean == constant).all()
        assert ((std > 0) & (std < 0.1)).all()
    mixed = fit(y=np.column_stack([np.ones(60), Y]))
    assert (mixed.predict(X)[:, 0] == 1).all()
    assert mixed.predict(X, return_std=True)[1].shape == (60, 2)


@pytest.mark.parametrize("constant", [0.0, 2.0])
def test_a_constant_target_in_its_own_units(constant):
    model = fit(y=np.full(60, constant), standardize=False)
    np.testing.assert_allclose(model.predict(X), constant, atol=1e-6)
    assert model.noise_variance_ < 1e-12


def test_weights_near_the_least_number():
    weight = np.full(60, 1e-310)
    model = fit(sample_weight=weight)
    assert np.isfinite(model.predict(X)).all()
    assert model.n_iter_ > 0


def test_a_penalty_as_small_as_rounding_allows_is_a_float_too():
    x = (1e3 * X[:, :2]).astype(np.float32)
    model = fit(x, 1e3 * X[:, 0], hidden=(), standardize=False)
    assert type(model.alpha_) is float


@pytest.mark.parametrize("n_samples", [1, 2, 5])
def test_very_few_rows(n_samples):
    mean, std = fit(X[:n_samples], Y[:n_samples]).predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


def test_float32():
    model, narrow = fit(hidden=3), fit(X.astype(np.float32), hidden=3)
    mean, std = narrow.predict(X.astype(np.float32), return_std=True)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(std, model.predict(X, return_std=True)[1], rtol=0.1)


@pytest.mark.parametrize("parameters", [{"n_members": 1}, {"n_members": 3}])
def test_the_number_of_threads_does_not_matter(parameters):
    x = np.random.default_rng(0).normal(size=(700, 8))
    models = []
    for n_threads in (1, 4):
        with threadpool_limits(n_threads), pytest.warns(match="max_iter"):
            models.append(fit(x, x[:, 0] ** 2, 20, max_iter=3, **parameters))
        with threadpool_limits(n_threads):
            models[-1].std = models[-1].predict(x, return_std=True)[1]
    one, many = map(vars, models)
    assert one.keys() == many.keys()
    for name in ("theta_", "alpha_", "_factor", "log_evidence_", "std"):
        np.testing.assert_array_equal(one[name], many[name])


def test_a_pickle_gives_the_same_error_bars():
    model = fit(n_members=2)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X, True)[1], model.predict(X, True)[1])


# ---- any fitted model ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 1.0},
        {"alpha": [1.0, 0.1]},
        {"alpha": 0.0},
        {"alpha": 0.1, "solver": "adam", "max_iter": 300},
        {"alpha": 0.1, "early_stopping": True},
        {"alpha": 0.1, "output_activation": "sigmoid"},
        {"alpha": 0.1, "standardize": False},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_fit_of_a_small_network_has_error_bars(parameters):
    model = fit(**parameters)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert std.shape == mean.shape
    assert (std >= np.sqrt(model.noise_variance_)).all()
    assert model.effective_n_parameters_ < model.theta_.size
    if not model.early_stopping:  # which learns from a part of the rows
        again = pickle.loads(pickle.dumps(model)).fit_posterior(X, Y)
        np.testing.assert_allclose(again.predict(X, True)[1], std, rtol=1e-6)


def test_fit_posterior_is_for_what_fit_does_not_do():
    large = fit(alpha=1.0, hidden=250, max_iter=5, tol=1.0)
    theta = large.theta_.copy()
    set_ = fit(alpha=1.0)
    expected = set_.predict(X, return_std=True)[1]
    set_.set_theta(set_.theta_)
    incremental = MLPSigmoidRegressor(4, solver="adam").partial_fit(X, Y)
    for model in (large, set_, incremental):
        with pytest.raises(ValueError, match=r"fit_posterior\(X, y\)"):
            model.predict(X, return_std=True)
        assert (model.fit_posterior(X, Y).predict(X, return_std=True)[1] > 0).all()
    np.testing.assert_array_equal(large.theta_, theta)
    np.testing.assert_allclose(set_.predict(X, True)[1], expected, rtol=1e-9)
    assert (set_.predict(X, True)[1].shape) == (60,)


def test_fit_posterior_refuses_what_makes_no_sense():
    with pytest.raises(NotFittedError):
        MLPSigmoidRegressor(alpha=1e-4).fit_posterior(X, Y)
    model = fit(alpha=1.0)
    with pytest.raises(ValueError, match="features"):
        model.fit_posterior(X[:, :2], Y)
    assert model.predict(X, return_std=True)[1].shape == (60,)


# ---- committees ------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"alpha": 0.5}, {"alpha": 0.5, "early_stopping": True}])
def test_a_committee_averages_its_members(parameters):
    committee = fit(n_members=3, **parameters)
    P = 6 * 4 + 7
    assert committee.theta_.shape == (3, P)
    assert [A.shape for A in committee.coefs_] == [(3, 3, 6), (3, 6, 1)]
    assert [b.shape for b in committee.intercepts_] == [(3, 6), (3, 1)]
    assert all(np.shares_memory(A, committee.theta_) for A in committee.coefs_)
    assert len({theta.tobytes() for theta in committee.theta_}) == 3
    means, variances, gradients = [], [], []
    for j, theta in enumerate(committee.theta_):
        member = pickle.loads(pickle.dumps(committee)).set_theta(theta)
        for name in ("_factor", "_noise", "_shift"):
            if name in vars(committee):
                setattr(member, name, getattr(committee, name)[j])
        mean, std = member.predict(X, return_std=True)
        means.append(mean)
        variances.append(std**2)
        gradients.append(member.predict_gradient(X))
    mean, std = committee.predict(X, return_std=True)
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(std**2, np.mean(variances, axis=0) + np.var(means, axis=0))
    np.testing.assert_allclose(committee.predict_gradient(X), np.mean(gradients, axis=0))
    np.testing.assert_array_equal(committee.predict(X), mean)


def test_the_first_member_is_the_network_fitted_alone():
    alone, committee = fit(), fit(n_members=2)
    np.testing.assert_array_equal(committee.theta_[0], alone.theta_)
    np.testing.assert_array_equal(committee.alpha_[0], alone.alpha_)
    assert committee.n_iter_ >= alone.n_iter_
    assert isinstance(committee.loss_, float)
    assert len(committee.loss_curve_) == committee.n_iter_


def test_evaluations_and_visited_rows_of_a_committee_are_those_of_all_members(monkeypatch, capsys):
    evaluations, evaluate = [], MLPObjective.__call__

    def counted(self, theta, rows=None):
        evaluations.append(len(theta))
        return evaluate(self, theta, rows)

    monkeypatch.setattr(MLPObjective, "__call__", counted)
    committee = fit(alpha=0.5, n_members=3, verbose=2)
    assert committee.n_fev_ == len(evaluations)
    n_iterations = capsys.readouterr().out.count("Iteration")
    assert committee.t_ == n_iterations * len(X) > committee.n_iter_ * len(X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_committee_has_none_for_what_its_members_do_not_have(early_stopping):
    committee = fit(alpha=0.5, n_members=2, early_stopping=early_stopping)
    with_early_stopping = (
        committee.validation_loss_curve_,
        committee.validation_scores_,
        committee.best_validation_score_,
    )
    assert [found is not None for found in with_early_stopping] == 3 * [early_stopping]
    assert (committee.best_loss_ is None) == early_stopping


def test_members_hold_out_rows_of_their_own():
    committee = fit(alpha=0.0, n_members=3, early_stopping=True, hidden=())
    slopes = committee.theta_[:, 0]
    assert len(set(slopes)) == 3
    watched = fit(alpha=0.0, n_members=2, early_stopping=True)
    assert len(watched.validation_scores_) == watched.n_iter_


def test_theta_of_a_committee_can_be_set():
    committee = fit(n_members=2)
    theta = committee.theta_[::-1].copy()
    expected = committee.predict(X)
    np.testing.assert_allclose(committee.set_theta(theta).predict(X), expected)
    committee.fit_posterior(X, Y)
    assert committee.predict(X, return_std=True)[1].shape == (60,)
    with pytest.raises(ValueError, match="theta has shape"):
        committee.set_theta(np.zeros((3, theta.shape[1])))


def test_what_is_constant_is_silent_in_every_member():
    features = np.column_stack([X, np.full(60, 2.0)])
    committee = fit(features, np.column_stack([Y, np.ones(60)]), n_members=3)
    assert (committee.coefs_[0][:, 3] == 0).all()
    assert (committee.predict(features)[:, 1] == 1).all()


# ---- what is refused, and what is said -------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "adam"}, "solver='adam'"),
        ({"solver": lambda objective, theta0: None}, "solver="),
        ({"early_stopping": True}, "early_stopping=True"),
        ({"n_members": 2, "warm_start": True}, "warm_start=True with n_members=2"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        fit(**parameters)


def test_make_objective_and_partial_fit_are_refused():
    with pytest.raises(ValueError, match="alpha='evidence'"):
        MLPSigmoidRegressor(alpha="evidence").make_objective(X, Y)
    assert not hasattr(MLPSigmoidRegressor(solver="adam", n_members=2), "partial_fit")


def test_too_many_parameters_are_refused_with_an_alternative(monkeypatch):
    monkeypatch.setattr(workspace, "physical_memory", lambda: 2**30)
    with pytest.raises(ValueError, match=r"GiB.*n_members=5 with early_stopping=True"):
        fit(hidden=(100_000, 10))
    with pytest.raises(ValueError, match="four matrices of 13001 × 13001 numbers"):
        MLPSigmoidRegressor(2600, alpha="evidence").fit(np.ones((20_000, 3)), np.ones(20_000))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_few_rows_need_no_square_matrix(monkeypatch):
    monkeypatch.setattr(workspace, "physical_memory", lambda: 4 * 8 * 60 * 501)
    model = fit(hidden=100, max_iter=3)
    assert model.fit_posterior(X, Y).predict(X, return_std=True)[1].shape == (60,)


def square_form(monkeypatch):
    """All that follows is computed from matrices of P × P numbers."""
    monkeypatch.setattr("skprop.flat_objective.is_thin", lambda N, P: False)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("alpha", ["evidence", 0.3])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_fewer_rows_than_parameters_give_the_fit_of_the_square_form(monkeypatch, alpha, n_outputs):
    y = np.column_stack([Y, np.cos(X[:, 1])])[:20, :n_outputs]
    fits, weight = [], np.arange(1.0, 21.0)
    for _ in range(2):
        # Few steps: rounding grows from one to the next.
        fits.append(
            fit(X[:20], y, 20, alpha=alpha, solver="lm", max_iter=6, sample_weight=weight)
        )  # fmt: skip
        assert fits[-1].noise_variance_ is not None  # the posterior, in this form
        square_form(monkeypatch)
    thin, square = fits
    P, N = thin.theta_.size, 20 * n_outputs
    assert thin._factor.shape == (1 + N, P + N)
    assert square._factor.shape == (P, P)
    np.testing.assert_allclose(thin.theta_, square.theta_, rtol=1e-8)
    rtol = 1e-8 if alpha == "evidence" else 1e-5  # an α at which rows are all but interpolated
    for name in ("noise_variance_", "effective_n_parameters_", "log_evidence_"):
        np.testing.assert_allclose(getattr(thin, name), getattr(square, name), rtol=rtol)
    stds = [model.predict(X, return_std=True)[1] for model in fits]
    np.testing.assert_allclose(*stds, rtol=rtol)


def test_a_thin_posterior_survives_a_pickle_and_a_committee_and_a_square_one_of_before_is_read(
    monkeypatch,
):
    def small(**parameters):
        return fit(X[:20], Y[:20], 20, **parameters)

    committee = small(n_members=2)
    again = pickle.loads(pickle.dumps(committee))
    assert committee._factor.shape == (2, 21, 101 + 20)
    np.testing.assert_array_equal(again.predict(X, True)[1], committee.predict(X, True)[1])
    model = small(alpha=0.5)
    expected = model.predict(X, return_std=True)[1]
    square_form(monkeypatch)
    assert model._factor.shape == (21, 121)
    model._factor = small(alpha=0.5)._factor
    assert model._factor.shape == (101, 101)
    np.testing.assert_allclose(model.predict(X, return_std=True)[1], expected, rtol=1e-7)


def test_verbose_tells_the_evidence(capsys):
    model = fit(verbose=2)
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == model.message_
    assert len(lines) == model.n_iter_
    assert "log evidence = " in lines[-1]
    assert "noise = " in lines[-1]
    fit(verbose=True, n_members=2)
    assert capsys.readouterr().out.count("Member 2, Iteration 1,") == 1


def test_a_limit_is_a_warning_and_a_result():
    with pytest.warns(match="max_iter=2"):
        assert fit(max_iter=2).n_iter_ == 2
    found = minimize_evidence(OBJECTIVE, THETA0, max_fun=3)
    assert found.status == LIMIT
    assert found.nfev <= 4


def test_no_iterations_are_none_and_say_so():
    found = minimize_evidence(OBJECTIVE, THETA0, max_iter=0)
    np.testing.assert_array_equal(found.x, THETA0)
    assert (found.nit, found.success, found.status) == (0, False, LIMIT)
    assert "max_iter=0" in found.message


class Counted:
    """An objective that remembers where it was evaluated."""

    layout, total_weight = OBJECTIVE.layout, OBJECTIVE.total_weight
    output_weights = OBJECTIVE.output_weights
    loss_of_mean = OBJECTIVE.loss_of_mean

    def __init__(self):
        self.losses, self.derivatives = [], []

    def loss(self, theta):
        self.losses.append(theta.tobytes())
        return OBJECTIVE.loss(theta)

    def normal_equations(self, theta):
        self.derivatives.append(theta.tobytes())
        return OBJECTIVE.normal_equations(theta)


@pytest.mark.parametrize("limit", [{}, {"max_fun": 7}])
def test_evaluations_are_counted_each_theta_once(limit):
    objective = Counted()
    found = minimize_evidence(objective, THETA0, **limit)
    assert found.nfev == len({*objective.losses, *objective.derivatives})
    assert found.njev == len(objective.derivatives) > 1
    assert limit or found.nfev > found.njev  # some steps were refused


def test_the_posterior_has_the_noise_that_the_callback_was_told():
    told = []
    found = minimize_evidence(
        OBJECTIVE, THETA0, max_iter=5,
        callback=lambda iteration: told.append(iteration.noise_variance),
    )  # fmt: skip
    assert len(set(told)) == 5
    assert found.evidence.noise == told[-1]


@pytest.mark.parametrize("spoilt", ["gradient", "curvature"])
def test_derivatives_that_are_no_numbers_end_the_run_at_the_last_whole_iteration(spoilt):
    objective = MLPObjective(X, Y, hidden_layer_sizes=3)
    theta0, evaluate, n_calls = objective.initial_theta(0), objective.normal_equations, 0

    def normal_equations(theta):
        nonlocal n_calls
        n_calls += 1
        loss, g, G = evaluate(theta)
        if n_calls == 4:
            {"gradient": g, "curvature": G}[spoilt][...] = np.nan
        return loss, g, G

    expected = minimize_evidence(objective, theta0, max_iter=2)
    objective.normal_equations = normal_equations
    found = minimize_evidence(objective, theta0)
    assert (found.success, found.status, found.nit) == (False, FAILED, 2)
    assert "infinite or NaN" in found.message
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.fun == expected.fun


def test_an_interrupt_keeps_what_was_found_and_undoes_a_committee():
    objective = MLPObjective(X, Y, hidden_layer_sizes=3)
    theta0 = objective.initial_theta(0)

    def interrupt(iteration):
        if iteration.nit == 3:
            raise KeyboardInterrupt

    def run(**options):
        return minimize_evidence(objective, theta0, **options)

    found, expected = run(callback=interrupt), run(max_iter=3)
    assert found.status == INTERRUPTED
    assert found.nit == 3
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.alpha == expected.alpha
    np.testing.assert_array_equal(found.evidence.factor, expected.evidence.factor)


def test_a_committee_is_made_whole_or_not_at_all(monkeypatch):
    committee = fit(n_members=2)
    theta, minimizer = committee.theta_.copy(), minimize_evidence

    def interrupted(*arguments, **options):
        result = minimizer(*arguments, **options)
        result.status = INTERRUPTED
        return result

    monkeypatch.setitem(fitting.SOLVERS, "evidence", (interrupted, ("tol",)))
    with pytest.raises(KeyboardInterrupt):
        committee.fit(X, Y)
    np.testing.assert_array_equal(committee.theta_, theta)


def test_the_posterior_is_computed_where_it_is_cheap():
    small = MLPObjective(X, Y, hidden_layer_sizes=20)
    assert affordable(small)
    assert not affordable(MLPObjective(X, Y, hidden_layer_sizes=300))
    many = np.zeros((30_000, 3))
    assert not affordable(MLPObjective(many, many[:, 0], hidden_layer_sizes=199))
