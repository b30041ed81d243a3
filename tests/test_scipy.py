"""The flat gradient, and what is of second order, in the hands of scipy.optimize."""

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
        ftol=None if method != "lm" else 1e-15, xtol=None if method != "lm" else 1e-15, gtol=1e-8,
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
