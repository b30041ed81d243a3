import numpy as np
import pytest
from conftest import make_problem
from scipy.optimize import least_squares
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, MLPSigmoidRegressor, minimize_lbfgs, minimize_lm

START = np.array([-1.2, 1.0, 0.5])


class Rosenbrock:
    """½ ‖r‖² with r = (10 (x_{i+1} − x_i²), 1 − x_i), i = 1, 2."""

    def __init__(self):
        self.tried, self.taken = [], []

    def residuals(self, x):
        return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])

    def jacobian(self, x):
        (a, b, _), zero = 20 * x, 0.0
        return -np.array([[a, -10, zero], [zero, b, -10], [1, zero, zero], [zero, 1, zero]])

    def loss(self, x):
        self.tried.append(x)
        return float(0.5 * np.sum(self.residuals(x).astype(float) ** 2))

    def normal_equations(self, x):
        self.taken.append(x)
        r, J = self.residuals(x).astype(float), self.jacobian(x).astype(float)
        return 0.5 * r @ r, J.T @ r, J.T @ J


def test_every_step_is_that_of_the_equations():
    """The loop of the docstring, written out once more on dense matrices."""
    path = Rosenbrock()
    result = minimize_lm(path, START, tol=1e-10)
    x, f, nu, expected = START, Rosenbrock(), 2.0, [START]
    loss, g, JtJ = f.normal_equations(x)
    mu = 1e-2 * JtJ.diagonal().max()
    while np.abs(g).max() > 1e-10:
        h = np.linalg.solve(JtJ + mu * np.eye(3), -g)
        rho = (loss - f.loss(x + h)) / (0.5 * h @ (mu * h - g))
        if rho > 0:
            x, nu, mu = x + h, 2.0, mu * max(1 / 3, 1 - (2 * min(rho, 1) - 1) ** 3)
            loss, g, JtJ = f.normal_equations(x)
            expected.append(x)
        else:
            mu, nu = mu * nu, 2 * nu
    assert len(path.taken) == len(expected) == result.nit + 1
    np.testing.assert_allclose(path.taken[:10], expected[:10], rtol=1e-8)
    np.testing.assert_allclose(result.x, 1, rtol=1e-8)
    assert result.nfev == len(path.tried)
    assert result.njev == len(path.taken)
    assert result.nfev > result.njev  # some steps were refused
    assert "within tol=1e-10" in result.message


def test_the_loss_curve_falls_and_ends_at_fun():
    path = Rosenbrock()
    result = minimize_lm(path, START)
    assert len(result.loss_curve) == result.nit
    assert result.loss_curve[-1] == result.fun == path.loss(result.x)
    assert (np.diff(result.loss_curve) < 0).all()
    assert (result.success, result.status) == (True, 0)


def test_a_start_within_tol_is_returned_unchanged():
    result = minimize_lm(Rosenbrock(), np.ones(3), tol=0)
    np.testing.assert_array_equal(result.x, np.ones(3))
    assert (result.nit, result.success, result.loss_curve) == (0, True, [])


@pytest.mark.parametrize("limit", [{"max_iter": 3}, {"max_fun": 5}, {"max_iter": 0}])
def test_a_limit_is_no_success_and_is_named(limit):
    result = minimize_lm(Rosenbrock(), START, **limit)
    ((name, value),) = limit.items()
    assert (result.success, result.status) == (False, 1)
    assert f"{name}={value}" in result.message
    assert (result.nit if name == "max_iter" else result.nfev) == value


def test_the_start_is_left_alone_and_theta_is_not_reused():
    start, path = START.copy(), Rosenbrock()
    result = minimize_lm(path, start)
    np.testing.assert_array_equal(start, START)
    assert not any(np.shares_memory(result.x, x) for x in path.tried)
    np.testing.assert_array_equal(path.tried[0], START)


def test_without_tol_it_ends_where_the_loss_no_longer_changes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    for dtype in (np.float64, np.float32):
        objective = MLPObjective(
            x.astype(dtype), rng.normal(size=60), hidden_layer_sizes=3, alpha=0.1
        )
        result = minimize_lm(objective, objective.initial_theta(0), tol=0.0)
        assert result.success
        assert "no longer changes in this precision" in result.message
        gradient = np.abs(objective.gradient(result.x)).max()
        assert gradient < (1e-8 if dtype == np.float64 else 1e-3)
        assert result.x.dtype == dtype


@pytest.mark.parametrize(
    ("constant", "slope"),
    [(1.0, 1e-9), (0.0, 1e-170)],  # what there is to gain is beyond rounding, or underflows
)
def test_a_step_that_changes_nothing_ends_the_run(constant, slope):
    class Flat(Rosenbrock):
        def residuals(self, x):
            return np.array([constant, slope * x[0]])

        def jacobian(self, x):
            return np.array([[0.0], [slope if constant else 1.0]])

    start = np.ones(1)
    result = minimize_lm(Flat(), start, tol=0.0, max_fun=50)
    assert (result.success, result.status, result.nit, result.nfev) == (True, 0, 0, 2)
    assert "no longer changes in this precision" in result.message
    np.testing.assert_array_equal(result.x, start)


def test_it_reaches_the_minimum_of_least_squares():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(80, 2))
    y = np.column_stack([np.sin(3 * x[:, 0]), x[:, 0] * x[:, 1]])
    objective = MLPObjective(
        x, y, hidden_layer_sizes=(4, 3), alpha=0.01, sample_weight=rng.uniform(0.1, 2, 80)
    )
    result = minimize_lm(objective, objective.initial_theta(0), tol=1e-9, max_iter=3000)
    assert result.success
    polished = least_squares(objective.residuals, result.x, objective.jacobian, gtol=1e-12)
    assert result.fun == pytest.approx(polished.cost, rel=1e-9)
    by_gradient = minimize_lbfgs(objective, objective.initial_theta(0), tol=1e-3)
    assert result.fun < by_gradient.fun


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
def test_a_singular_matrix_is_no_obstacle(output_activation):
    """More parameters than residuals, two of the inputs equal, no penalty."""
    x = np.linspace(-1, 1, 6)[:, None] * [1.0, 1.0]
    y = 0.5 + 0.2 * np.sin(3 * x[:, 0])
    objective = MLPObjective(x, y, hidden_layer_sizes=8, output_activation=output_activation)
    result = minimize_lm(objective, objective.initial_theta(0), tol=1e-12)
    assert result.success
    assert result.fun < 1e-16


def test_no_hidden_layer_takes_a_handful_of_steps():
    problem = make_problem(0, 2, "identity")
    objective = problem.objective()
    result = minimize_lm(objective, problem.theta, tol=1e-12)
    assert result.success
    assert result.nit < 12


def test_slow_decay_ends_the_run_and_a_run_it_ended_stays_ended():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    objective = MLPObjective(x, rng.normal(size=200), hidden_layer_sizes=20)
    options = {"tol": 0.0, "min_decay": 2e-2, "n_iter_no_change": 5}
    result = minimize_lm(objective, objective.initial_theta(0), **options)
    curve = result.loss_curve
    assert result.success
    assert "fell by less than 2 % per iteration" in result.message
    assert np.log(curve[-6] / curve[-1]) / 5 < 2e-2 <= np.log(curve[-7] / curve[-2]) / 5
    again = minimize_lm(objective, result.x, **options, loss_curve=curve)
    np.testing.assert_array_equal(again.x, result.x)
    assert (again.nit, again.success, again.fun) == (0, True, result.fun)
    assert again.message == result.message


def test_the_validation_loss_decides_when_it_is_given():
    x = np.linspace(-1, 1, 40)[:, None]
    noise = np.random.default_rng(0).normal(size=(2, 40))
    train, held_out = (
        MLPObjective(x, np.sin(3 * x[:, 0]) + 0.5 * e, hidden_layer_sizes=20) for e in noise
    )
    result = minimize_lm(
        train, train.initial_theta(0), validation_loss=held_out.loss, n_iter_no_change=10
    )
    curve = result.validation_loss_curve
    best = int(np.argmin(curve))
    assert len(curve) == len(result.loss_curve) == result.nit
    assert held_out.loss(result.x) == curve[best]
    assert result.fun == result.loss_curve[best] == train.loss(result.x)
    assert "validation loss did not improve" in result.message
    assert result.nit - 1 - best >= 1


def test_the_callback_sees_copies_and_may_stop_the_run():
    seen = []

    def callback(iteration):
        seen.append(iteration.x)
        iteration.x[...] = np.nan
        if iteration.nit == 3:
            raise StopIteration

    result = minimize_lm(Rosenbrock(), START, callback=callback)
    assert (result.nit, result.success, result.status) == (3, False, 99)
    assert "callback" in result.message
    assert np.isfinite(result.x).all()


class Cliff(Rosenbrock):
    def loss(self, x):
        loss = super().loss(x)
        return np.nan if loss < 0.5 else loss


def test_a_cliff_in_the_loss_is_stepped_back_from():
    path = Cliff()
    result = minimize_lm(path, START, max_fun=500)
    assert 0.5 <= result.fun < Rosenbrock().loss(START)
    assert result.fun == path.loss(result.x)


class Broken(Rosenbrock):
    def normal_equations(self, x):
        loss, g, JtJ = super().normal_equations(x)
        return loss, g, JtJ * (np.inf if len(self.taken) > 2 else 1)


def test_infinite_derivatives_are_a_failure():
    path = Broken()
    result = minimize_lm(path, START)
    assert (result.success, result.status, result.nit) == (False, 2, 2)
    assert "infinite or NaN" in result.message
    assert result.fun == path.loss(result.x) < path.loss(START)


def test_the_result_is_the_same_to_the_last_bit_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 6))
    objective = MLPObjective(X, np.sin(X[:, 0]) * X[:, 1], hidden_layer_sizes=(30,), alpha=0.1)
    results = []
    for n_threads in (1, 2, 16):
        with threadpool_limits(n_threads, "blas"):
            results.append(minimize_lm(objective, objective.initial_theta(0), max_iter=5).x)
    for x in results[1:]:
        np.testing.assert_array_equal(x, results[0])


# ---- in the estimator --------------------------------------------------------------------


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2))
    return X, np.sin(4 * X[:, 0]) + X[:, 1] ** 2 + 0.01 * rng.normal(size=300)


def test_it_goes_deeper_than_lbfgs(waves):
    models = {
        solver: MLPSigmoidRegressor(
            10, solver=solver, tol=1e-5, alpha=1e-3, max_iter=5000, random_state=0
        ).fit(*waves)
        for solver in ("lm", "lbfgs")
    }
    assert models["lm"].loss_ < models["lbfgs"].loss_
    assert models["lm"].n_iter_ < 0.2 * models["lbfgs"].n_iter_
    assert models["lm"].loss_curve_[-1] == models["lm"].loss_
    assert "within tol=1e-05" in models["lm"].message_


def test_a_warm_start_goes_on_where_it_stopped(waves):
    model = MLPSigmoidRegressor(
        10, solver="lm", alpha=1e-3, tol=1e-6, max_iter=5, random_state=0, warm_start=True
    )
    with pytest.warns(UserWarning, match="max_iter=5"):
        first = model.fit(*waves).loss_
    model.set_params(max_iter=1000).fit(*waves)
    assert model.loss_curve_[4] == first
    assert model.n_iter_ == len(model.loss_curve_) > 5
    assert model.loss_ < first


def test_early_stopping_keeps_the_best(waves):
    model = MLPSigmoidRegressor(
        30, solver="lm", alpha=0.0, early_stopping=True, n_iter_no_change=10, random_state=0
    ).fit(*waves)
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_) > 0.99


def test_a_network_too_large_names_what_it_needs(monkeypatch, waves):
    monkeypatch.setattr("skprop.workspace.physical_memory", lambda: 10**6)
    with pytest.raises(ValueError, match=r"n_params=401 .* needs 0\.0024 GiB; .* L-BFGS"):
        MLPSigmoidRegressor(100, solver="lm").fit(*waves)
    assert MLPSigmoidRegressor(10, solver="lm", alpha=1e-2).fit(*waves).score(*waves) > 0.99
