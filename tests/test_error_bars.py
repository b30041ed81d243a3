"""Error bars of any fit: the prior and the noise of the linearised network, put off until asked."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
from scipy.linalg import LinAlgError
from scipy.stats import multivariate_normal
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import GridSearchCV

from skprop import MLPObjective, MLPSigmoidRegressor, fitting, minimize_lm, posterior
from skprop.factors import Root
from skprop.laplace import evidence, least_alpha
from skprop.linearised import PRIOR_NOISE, SHARE, LinearMode, most_probable
from skprop.posterior import Deferred, linear_laplace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.sin(X[:, 0]) + X[:, 1] + 0.1 * RNG.normal(size=60)

in_any_case = pytest.mark.filterwarnings(
    "ignore:The error bars are rough", "ignore::sklearn.exceptions.ConvergenceWarning"
)


def fit(x=X, y=Y, hidden=4, **parameters):
    return MLPSigmoidRegressor(hidden, **({"random_state": 0, "alpha": 1e-4} | parameters)).fit(
        x, y
    )


# ---- the linear model ------------------------------------------------------------------------


def linear_problem(n=40, P=6, seed=1):
    rng = np.random.default_rng(seed)
    J, theta = rng.normal(size=(n, P)), rng.normal(size=P)
    r = 0.5 * rng.normal(size=n)
    share = np.array([1.0] * (P - 1) + [SHARE])
    return J, theta, r, share


def solve(J, theta, r, share, M=None, variance=1.0):
    M = J.T @ J if M is None else M
    return most_probable(M, J.T @ r, theta, r @ r, len(r), share, variance)


def test_the_evidence_is_the_greatest_over_all_penalties():
    J, theta, r, share = linear_problem()
    found, target = solve(J, theta, r, share), J @ theta - r

    def log_density(alpha):
        """Of the targets, with one observation more of the prior noise, at its best σ²."""
        K = np.eye(len(r)) + J @ np.diag(1 / (alpha * share)) @ J.T
        noise = (target @ np.linalg.solve(K, target) + PRIOR_NOISE) / (len(r) + 1)
        density = multivariate_normal.logpdf(target, np.zeros(len(r)), noise * K)
        return density - 0.5 * (np.log(noise) + PRIOR_NOISE / noise), noise

    best, noise = log_density(found.alpha)
    assert found.noise == pytest.approx(noise, rel=1e-9)
    for factor in (1e-3, 0.5, 0.999, 1.001, 2, 1e3):
        assert log_density(factor * found.alpha)[0] < best
    H = J.T @ J + np.diag(found.alpha * share)
    np.testing.assert_allclose(found.theta, np.linalg.solve(H, J.T @ target), rtol=1e-9)
    assert found.squares == pytest.approx(np.sum((J @ found.theta - target) ** 2), rel=1e-9)


def test_by_the_smaller_side_it_is_the_same():
    J, theta, r, share = linear_problem(n=20, P=120)
    one, other = solve(J, theta, r, share), solve(J, theta, r, share, M=Root(J.T.copy()))
    assert one.alpha == pytest.approx(other.alpha, rel=1e-7)
    assert one.noise == pytest.approx(other.noise, rel=1e-7)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("factor", [1.3, 1.6, 2, 3])
def test_a_penalty_little_above_the_least_that_is_tried_is_found(factor):
    J, theta, r, share = linear_problem()
    n, P = J.shape
    e = np.linalg.eigvalsh((J / np.sqrt(share)).T @ (J / np.sqrt(share)))
    alpha = factor * 10 * P * np.finfo(np.float64).eps * e.max()
    # without residuals α ‖θ‖² = γ σ² = P (α ‖θ‖² + PRIOR_NOISE variance) / (n + 1)
    variance = alpha * (share @ theta**2) * (n + 1 - P) / (P * PRIOR_NOISE)
    found = solve(J, theta, 0 * r, share, variance=variance)
    assert found.alpha == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("spoilt", ["nothing learned", "exact"])
def test_the_noise_is_never_zero(spoilt):
    J, theta, r, share = linear_problem()
    J, theta = (0 * J, 0 * theta) if spoilt == "nothing learned" else (J, theta)
    found = solve(J, theta, 0 * r, share)
    assert 0 < found.noise <= 1
    assert np.isfinite(found.theta).all()


def test_a_network_without_hidden_layer_is_bayesian_ridge_whatever_its_penalty():
    x, y = X[:, :2], X[:, 0] - 2 * X[:, 1] + 0.5 * RNG.normal(size=60)
    ridge = BayesianRidge(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-12).fit(x, y)
    expected = ridge.predict(x, return_std=True)[1]
    for alpha in (0.0, 1e-4, 1.0):
        model = fit(x, y, (), alpha=alpha, tol=1e-9)
        std = model.predict(x, return_std=True)[1]
        bias = model.predict(x) - ridge.predict(x)
        np.testing.assert_allclose(std**2, expected**2 + bias**2, rtol=0.05)


# ---- honest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lbfgs", "lm", "adam", "sgd"])
@pytest.mark.parametrize("n", [20, 50, 200, 800])
def test_the_median_deviation_is_near_the_error_or_a_warning_says_why_not(n, solver):
    x, y = make_friedman1(n + 1000, noise=1.0, random_state=n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        model = fit(x[:n], y[:n], 10, solver=solver)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mean, std = model.predict(x[n:], return_std=True)
    ratio = np.median(std) / np.sqrt(np.mean((mean - y[n:]) ** 2))
    assert 1 / 1.5 < ratio < 1.5 or len(caught) == 1


def test_a_fit_that_has_followed_the_noise_says_so_each_time():
    model = fit(hidden=20, solver="lm", alpha=0.0, tol=1e-8)
    for again in (model, pickle.loads(pickle.dumps(model))):
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"followed the noise.*early_stopping=True"):
                again.predict(X, return_std=True)
        with pytest.warns(UserWarning, match="rough"):
            again.predict_interval(X)
        again.predict(X)  # without a warning


def test_the_warning_tells_how_far_the_residuals_are_below_the_noise():
    objective = MLPObjective(X, Y, hidden_layer_sizes=20)
    theta = minimize_lm(objective, objective.initial_theta(0)).x
    found = linear_laplace(objective, theta)
    residual = np.mean(objective.residuals(theta) ** 2) * len(Y)
    assert f"rows is {residual / found.noise[0]:.1g} of the noise variance" in found.doubt


@pytest.mark.parametrize(
    ("residual", "noise", "share", "message"),
    [
        (0.11, 1.0, 0.89, None),
        (0.18, 2.0, 0.5, "is 0.09 of the noise"),
        (0.11, 1.0, 0.912, "0.91 parameters each"),
    ],
)
def test_error_bars_are_rough_where_a_tenth_of_the_noise_is_left_or_of_the_freedom(
    residual, noise, share, message
):
    doubt = posterior._doubt(residual, noise, share)
    assert (message in doubt) if message else doubt is None


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
def test_every_parameter_has_its_part_in_the_effective_number_of_one_of_two_groups(n_outputs):
    rng = np.random.default_rng(0)
    y = np.column_stack([np.sin(X @ a) for a in rng.normal(size=(n_outputs, 3))])
    objective = MLPObjective(X, y + 0.1 * rng.normal(size=y.shape), hidden_layer_sizes=3)
    found = linear_laplace(objective, objective.initial_theta(0))
    assert found.gamma.sum() == pytest.approx(found.n_effective, rel=1e-9)
    assert 0.9 * n_outputs < found.gamma[1] <= n_outputs  # of the biases of the last layer


@in_any_case
@pytest.mark.parametrize("alpha", ["evidence", 1e-4])
@pytest.mark.parametrize("n", [1, 60])
def test_a_constant_target_has_a_deviation_above_zero(alpha, n):
    model = fit(X[:n], np.full(n, 3.0), alpha=alpha)
    mean, std = model.predict(X, return_std=True)
    assert (mean == 3).all()
    assert np.isfinite(std).all()
    assert (std > 0).all()
    assert model.noise_variance_ > 0


@pytest.mark.parametrize("members", [1, 2])
def test_fit_posterior_on_the_same_rows_changes_nothing_after_an_evidence_fit(members):
    model = fit(alpha="evidence", n_members=members)
    again = copy.deepcopy(model).fit_posterior(X, Y)
    assert vars(model).keys() == vars(again).keys()
    for name in ("_factor", "_noise", "noise_variance_", "effective_n_parameters_",
                 "log_evidence_"):  # fmt: skip
        np.testing.assert_allclose(getattr(model, name), getattr(again, name), rtol=1e-12)
    np.testing.assert_array_equal(again.predict(X, True)[1], model.predict(X, True)[1])


@in_any_case
@pytest.mark.parametrize("parameters", [{"alpha": "evidence"}, {"n_members": 3}, {}], ids=str)
def test_the_deviation_of_the_model_leaves_out_the_noise(parameters):
    model = fit(**parameters)
    mean, std = model.predict(X, return_std=True)
    same, of_model = model.predict(X, return_std="model")
    np.testing.assert_array_equal(mean, same)
    np.testing.assert_allclose(std**2 - of_model**2, model.noise_variance_, rtol=1e-6)
    with pytest.raises(ValueError, match="return_std='noise'; it is True, False or 'model'"):
        model.predict(X, return_std="noise")


def test_the_leverages_of_the_training_rows_sum_to_gamma():
    model = fit(alpha="evidence")
    leverage = model.predict(X, return_std="model")[1] ** 2 / model.noise_variance_
    assert leverage.sum() == pytest.approx(model.effective_n_parameters_, rel=1e-3)
    far = model.predict(X + 20, return_std="model")[1] ** 2 / model.noise_variance_
    assert np.median(far) > 10 * leverage.mean()


@in_any_case
def test_rounding_that_leaves_the_matrix_indefinite_does_not_cost_a_posterior(monkeypatch):
    expected, least = fit().predict(X, return_std=True)[1], []

    def indefinite(M, theta, squares, N, groups, alphas, noise):
        least.append(alphas)
        if len(least) < 3:
            raise LinAlgError
        return evidence(M, theta, squares, N, groups, alphas, noise)

    monkeypatch.setattr(posterior, "evidence", indefinite)
    np.testing.assert_allclose(fit().predict(X, return_std=True)[1], expected, rtol=1e-3)
    assert len(least) == 3


@pytest.mark.parametrize(("below", "times"), [(0.5, 1), (2.0, 4), (10.0, 16), (40.0, 64)])
def test_the_penalty_grows_until_the_matrix_is_definite(below, times):
    theta = np.ones(2, np.float32)
    least = least_alpha(np.eye(2), theta.dtype)
    mode = LinearMode(alpha=1.0, noise=1.0, theta=theta, squares=1.0)

    def definite(M):
        alphas = np.array([1e-300])
        return posterior._definite(
            M, mode, np.ones(1), [np.arange(2)], alphas, np.ones(1), theta.dtype
        )

    L = definite(np.diag([1.0, -below * least])).factor
    np.testing.assert_allclose(np.diag(L @ L.T), [1 + times * least, (times - below) * least])
    with pytest.raises(LinAlgError):
        definite(np.diag([1.0, -70 * least]))


# ---- when it is computed ---------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch):
    """The θ at which posteriors of a fixed alpha were computed."""
    calls, compute = [], fitting.linear_laplace

    def counted(objective, theta):
        calls.append(theta)
        return compute(objective, theta)

    monkeypatch.setattr(fitting, "linear_laplace", counted)
    return calls


ASKING = {
    "std": lambda model: model.predict(X, return_std=True),
    "model": lambda model: model.predict(X, return_std="model"),
    "interval": lambda model: model.predict_interval(X),
    "noise": lambda model: model.noise_variance_,
    "gamma": lambda model: model.effective_n_parameters_,
    "evidence": lambda model: model.log_evidence_,
    "pickle": pickle.dumps,
    "deepcopy": copy.deepcopy,
}


@in_any_case
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING.keys())
def test_the_posterior_is_computed_once_and_when_first_asked_for(computed, ask):
    model = fit()
    before = dict(vars(model))
    model.predict(X), model.score(X, Y), model.predict_gradient(X), repr(model)
    assert vars(model) == before
    assert computed == []
    ask(model)
    assert len(computed) == 1
    assert "_deferred" not in vars(model)  # the rows are let go
    for ask_again in ASKING.values():
        ask_again(model)
    assert len(computed) == 1


@in_any_case
def test_a_search_computes_no_posterior(computed):
    GridSearchCV(fit(), {"alpha": [1e-3, 1e-1]}, cv=2).fit(X, Y)
    assert computed == []


@in_any_case
def test_a_pickle_holds_no_training_rows():
    n = 5000
    x = np.random.default_rng(1).normal(size=(n, 3))
    assert len(pickle.dumps(fit(x, x[:, 0] ** 2))) < 3 * n * 8


def test_a_posterior_that_was_put_off_is_computed_for_a_copy_and_then_known():
    asked = []
    put_off = Deferred(lambda: asked.append(1) or "posterior")
    other = copy.deepcopy(put_off)
    assert (put_off.get(), other.get(), put_off.get()) == ("posterior",) * 3
    assert asked == [1]


@in_any_case
def test_two_threads_that_ask_at_once_get_the_same_bits(computed):
    model, barrier, found = fit(hidden=20, n_members=2), threading.Barrier(4), []

    def ask():
        barrier.wait()
        found.append(model.predict(X, return_std=True)[1])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 2  # members
    for std in found:
        np.testing.assert_array_equal(std, found[0])


@in_any_case
def test_what_comes_after_a_fit_drops_what_was_put_off(computed):
    model = fit()
    model.set_theta(model.theta_)
    assert not hasattr(model, "noise_variance_")
    model.fit(X, Y).fit_posterior(X, Y)
    assert "_deferred" not in vars(model)
    assert computed == []
    model.set_params(alpha="evidence").fit(X, Y)
    assert "_shift" not in vars(model)


@in_any_case
def test_the_model_of_before_goes_on_without_a_shift():
    model = fit(alpha="evidence")
    expected, state = model.predict(X, True)[1], model.__getstate__()
    old = MLPSigmoidRegressor.__new__(MLPSigmoidRegressor)
    old.__setstate__({name: value for name, value in state.items() if name != "_shift"})
    np.testing.assert_array_equal(old.predict(X, True)[1], expected)


# ---- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 3])
def test_an_interval_is_symmetric_and_grows_with_its_coverage(members):
    model = fit(alpha="evidence", n_members=members)
    mean, std = model.predict(X, return_std=True)
    widths = []
    for coverage in (0.5, 0.8, 0.95):
        lower, upper = model.predict_interval(X, coverage)
        np.testing.assert_allclose((lower + upper) / 2, mean)
        widths.append((upper - lower) / std / 2)
    assert (np.diff(widths, axis=0) > 0).all()
    expected = [0.61, 1.21, 2.00] if members == 1 else [0.56, 1.14, 1.99]
    np.testing.assert_allclose(np.median(widths, axis=1), expected, atol=0.01)


@pytest.mark.parametrize("coverage", [0, 1, 95, -0.5, np.nan, "0.9", None])
def test_a_coverage_is_a_number_between_0_and_1(coverage):
    with pytest.raises(ValueError, match="coverage="):
        fit(alpha="evidence", max_iter=3, tol=1e9).predict_interval(X, coverage)


@in_any_case
def test_intervals_of_several_outputs_and_of_float32():
    lower, upper = fit(y=np.column_stack([Y, 5 * Y])).predict_interval(X)
    assert lower.shape == upper.shape == (60, 2)
    assert (lower < upper).all()
    lower, _ = fit(X.astype(np.float32)).predict_interval(X.astype(np.float32))
    assert lower.dtype == np.float32


@pytest.mark.parametrize("scales", [[1.0], [1.0, 3.0]])
def test_the_prior_of_the_noise_is_one_observation_of_a_hundredth_of_the_variance(scales):
    """Where a linear network is exact: σ_k² (N + 1 − γ) is that observation, N of all outputs."""
    rng = np.random.default_rng(0)
    X, A = rng.normal(size=(200, 2)), rng.normal(size=(2, len(scales))) * scales
    objective = MLPObjective(X, X @ A, hidden_layer_sizes=())
    theta = objective.pack([(A, np.zeros(len(scales)))])
    found = linear_laplace(objective, theta)
    observation = PRIOR_NOISE * (X @ A).var(axis=0)
    expected = observation / (200 * len(scales) + 1 - found.n_effective)
    np.testing.assert_allclose(np.atleast_1d(found.noise), expected, rtol=1e-3)


def test_rows_held_out_tell_the_noise_of_a_committee_and_not_of_one_network():
    """Which has no spread beside it, so that with many parameters its error bars are asked for."""
    options = {"hidden": 300, "early_stopping": True, "max_iter": 2}
    with pytest.warns(ConvergenceWarning):
        one, several = fit(**options), fit(**options, n_members=2)
    assert not hasattr(one, "noise_variance_")
    with pytest.raises(ValueError, match="fit_posterior"):
        one.predict(X, return_std=True)
    assert several.noise_variance_ > 0
