"""The flat gradient, and what is of second order, in the hands of scipy.optimize."""

import inspect
from functools import partial

import numpy as np
import pytest
from scipy import optimize
from sklearn.datasets import load_diabetes

from skprop import MLPObjective, MLPSigmoidRegressor

X, Y = load_diabetes(return_X_y=True)
OBJECTIVE, THETA0 = MLPSigmoidRegressor(
    hidden_layer_sizes=3, alpha=3.0, random_state=0
).make_objective(X, Y)
METHODS = [  # all that take a gradient, with what else they are given, and a budget
    ("BFGS", {}, {"gtol": 1e-7, "maxiter": 1000}),
    ("L-BFGS-B", {}, {"gtol": 1e-7, "ftol": 0, "maxiter": 2000}),
    ("CG", {}, {"gtol": 1e-7, "maxiter": 5000}),
    ("TNC", {}, {"gtol": 1e-7, "ftol": 0, "xtol": 0, "maxfun": 10_000}),
    ("SLSQP", {}, {"ftol": 1e-15, "maxiter": 2000}),
    ("trust-constr", {}, {"gtol": 1e-7, "maxiter": 2000}),
    ("trust-constr", {"hess": OBJECTIVE.hessian}, {"gtol": 1e-7, "maxiter": 500}),
    ("trust-constr", {"hessp": OBJECTIVE.hessp}, {"gtol": 1e-7, "maxiter": 500}),
    ("Newton-CG", {}, {"xtol": 1e-10, "maxiter": 500}),
    ("Newton-CG", {"hess": OBJECTIVE.hessian}, {"xtol": 1e-10, "maxiter": 500}),
    ("Newton-CG", {"hessp": OBJECTIVE.hessp}, {"xtol": 1e-10, "maxiter": 500}),
    ("trust-ncg", {"hess": OBJECTIVE.hessian}, {"gtol": 1e-7, "maxiter": 500}),
    ("trust-ncg", {"hessp": OBJECTIVE.hessp}, {"gtol": 1e-7, "maxiter": 500}),
    ("trust-krylov", {"hess": OBJECTIVE.hessian}, {"gtol": 1e-7, "maxiter": 500}),
    ("trust-krylov", {"hessp": OBJECTIVE.hessp}, {"gtol": 1e-7, "maxiter": 500}),
    ("trust-exact", {"hess": OBJECTIVE.hessian}, {"gtol": 1e-7, "maxiter": 500}),
]


def norm_of_gradient(theta):
    return np.linalg.norm(OBJECTIVE.gradient(theta))


@pytest.mark.parametrize(
    ("method", "derivatives", "options"),
    METHODS,
    ids=[f"{method}-{'-'.join(given) or 'jac'}" for method, given, _ in METHODS],
)
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0:UserWarning")  # trust-constr, when done
def test_every_method_of_minimize_reaches_a_stationary_point(method, derivatives, options):
    result = optimize.minimize(
        OBJECTIVE, THETA0, jac=True, method=method, options=options, **derivatives
    )
    assert norm_of_gradient(result.x) < 1e-5 * norm_of_gradient(THETA0)
    assert result.fun < 0.5 * OBJECTIVE.loss(THETA0)


def test_dogleg_works_with_the_gauss_newton_matrix_near_a_minimum():
    near = optimize.minimize(OBJECTIVE, THETA0, jac=True, method="BFGS", options={"gtol": 1e-3}).x
    result = optimize.minimize(
        OBJECTIVE, near, jac=True, hess=OBJECTIVE.gauss_newton, method="dogleg",
        options={"gtol": 1e-7, "maxiter": 200},
    )  # fmt: skip
    assert norm_of_gradient(result.x) < 1e-5 * norm_of_gradient(THETA0)
    assert norm_of_gradient(near) > 1e-4 * norm_of_gradient(THETA0)


@pytest.mark.parametrize("method", ["lm", "trf", "dogbox"])
def test_every_method_of_least_squares_reaches_a_stationary_point(method):
    result = optimize.least_squares(
        OBJECTIVE.residuals, THETA0, OBJECTIVE.jacobian, method=method, max_nfev=500,
        ftol=None if method != "lm" else 1e-15, xtol=None if method != "lm" else 1e-15, gtol=1e-7,
    )  # fmt: skip
    assert norm_of_gradient(result.x) < 1e-5 * norm_of_gradient(THETA0)
    assert result.cost == pytest.approx(OBJECTIVE.loss(result.x), rel=1e-14)


def test_a_partial_of_minimize_is_a_solver():
    def adapter(method, objective, theta0, **options):
        hessp = objective.hessp if method == "trust-krylov" else None
        return optimize.minimize(
            objective, theta0, jac=True, hessp=hessp, method=method, options=options
        )

    model = MLPSigmoidRegressor(hidden_layer_sizes=3, alpha=3.0, random_state=0)
    newton = model.set_params(solver=partial(adapter, "trust-krylov", gtol=1e-6)).fit(X, Y)
    assert newton.n_iter_ > 0
    assert norm_of_gradient(newton.theta_) < 1e-6


def test_check_hessian():
    error = optimize.check_grad(
        lambda theta: OBJECTIVE.gradient(theta).sum(),
        lambda theta: OBJECTIVE.hessp(theta, np.ones(len(theta))),
        THETA0,
        seed=0,
    )
    assert error < 1e-6


def test_separate_loss_and_gradient():
    both = optimize.minimize(OBJECTIVE, THETA0, jac=True, method="BFGS")
    separate = optimize.minimize(OBJECTIVE.loss, THETA0, jac=OBJECTIVE.gradient, method="BFGS")
    np.testing.assert_array_equal(separate.x, both.x)


def test_check_grad():
    assert optimize.check_grad(OBJECTIVE.loss, OBJECTIVE.gradient, THETA0, seed=0) < 1e-6


def test_a_float32_objective_works_in_float64_hands():
    objective = MLPObjective((20 * X).astype(np.float32), Y / 100, hidden_layer_sizes=3, alpha=3.0)
    theta0 = objective.initial_theta(0)
    result = optimize.minimize(
        objective, theta0.astype(float), jac=True, method="L-BFGS-B", options={"gtol": 1e-3}
    )
    assert result.fun < 0.2 * objective.loss(theta0)


# ---- for other tools -----------------------------------------------------------------------


def float32_objective():
    return MLPObjective((20 * X).astype(np.float32), Y / 100, hidden_layer_sizes=3, alpha=3.0)


@pytest.mark.parametrize("method", ["TNC", "SLSQP", "L-BFGS-B", "BFGS", "CG"])
def test_methods_that_compute_in_float64_take_a_float32_objective(method):
    objective = float32_objective()
    theta0 = objective.initial_theta(0).astype(np.float64)
    result = optimize.minimize(objective, theta0, jac=True, method=method)
    assert result.fun < 0.2 * objective.loss(theta0)


def test_the_gradient_has_the_precision_of_theta_and_the_digits_of_the_objective():
    objective = float32_objective()
    theta = objective.initial_theta(0)
    loss, gradient = objective(theta)
    loss64, gradient64 = objective(theta.astype(np.float64))
    assert (gradient.dtype, gradient64.dtype) == (np.float32, np.float64)
    assert loss64 == loss
    np.testing.assert_array_equal(gradient64, gradient)
    assert OBJECTIVE(THETA0.astype(np.float32))[1].dtype == np.float64


@pytest.mark.parametrize("where", [slice(None), 0, -1, 5])
@pytest.mark.parametrize("value", [1e40, -1e40, 1e300])
def test_a_line_search_that_goes_beyond_float32_finds_an_infinite_loss(value, where):
    objective = float32_objective()
    theta = objective.initial_theta(0).astype(np.float64)
    theta[where] = value
    assert objective.loss(theta) == np.inf
    assert objective(theta)[0] == np.inf
    assert objective.loss(theta, slice(0, 10)) == np.inf


def test_what_is_no_number_is_an_error_still():
    objective = float32_objective()
    for value in (np.inf, -np.inf, np.nan):
        theta = np.full(objective.n_params, value)
        with pytest.raises(ValueError, match="NaN or infinite"):
            objective.loss(theta)
        theta[1:] = 1e40
        with pytest.raises(ValueError, match="NaN or infinite"):
            objective.loss(theta)


def test_value_has_one_argument_alone():
    assert list(inspect.signature(OBJECTIVE.value).parameters) == ["theta"]
    assert OBJECTIVE.value(THETA0) == OBJECTIVE.loss(THETA0)


def test_the_losses_of_a_population_are_those_of_its_members():
    thetas = np.random.default_rng(0).normal(size=(7, len(THETA0)))
    for objective in (OBJECTIVE, float32_objective()):
        population = thetas[:, : objective.n_params]
        population = np.resize(population, (7, objective.n_params))
        losses = objective.losses(population)
        assert losses.dtype == np.float64
        np.testing.assert_array_equal(losses, [objective.loss(theta) for theta in population])
        assert objective.losses(population[:0]).shape == (0,)
        with pytest.raises(ValueError, match=r"thetas has shape"):
            objective.losses(population[0])
        with pytest.raises(ValueError, match="n_params"):
            objective.losses(population[:, :-1])
    population[3] = 1e40
    assert np.flatnonzero(np.isinf(objective.losses(population))).tolist() == [3]


def test_the_repr_says_what_an_objective_is():
    objective = float32_objective()
    assert repr(objective) == (
        f"<MLPObjective of {len(X)} samples: network {X.shape[1]}-3-1, "
        f"n_params={objective.n_params}, output_activation='identity', alpha=3.0, float32>"
    )
    several = MLPObjective(X, Y, hidden_layer_sizes=(), alpha=[0.5], output_activation="sigmoid")
    assert f"network {X.shape[1]}-1, " in repr(several)
    assert "alpha=[0.5]" in repr(several)
