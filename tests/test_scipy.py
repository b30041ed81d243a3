"""The flat gradient in the hands of scipy.optimize."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.datasets import load_diabetes

from skprop import MLPObjective, MLPSigmoidRegressor

X, Y = load_diabetes(return_X_y=True)
OBJECTIVE, THETA0 = MLPSigmoidRegressor(
    hidden_layer_sizes=3, alpha=3.0, random_state=0
).make_objective(X, Y)
METHODS = {  # budgets that each method meets with room to spare
    "BFGS": {"gtol": 1e-6},
    "L-BFGS-B": {"gtol": 1e-6, "ftol": 0, "maxiter": 2000},
    "CG": {"gtol": 1e-6, "maxiter": 5000},
    "TNC": {"gtol": 1e-6, "maxfun": 5000},
    "SLSQP": {"ftol": 1e-12, "maxiter": 2000},
    "trust-constr": {"gtol": 1e-6, "maxiter": 5000},
    "Newton-CG": {"xtol": 1e-8},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0:UserWarning")  # trust-constr, when done
def test_every_first_order_method_reaches_a_stationary_point(method):
    start = np.abs(OBJECTIVE.gradient(THETA0)).max()
    result = optimize.minimize(OBJECTIVE, THETA0, jac=True, method=method, options=METHODS[method])
    assert np.abs(OBJECTIVE.gradient(result.x)).max() <= 1e-4 * start
    assert result.fun < 0.5 * OBJECTIVE.loss(THETA0)


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
