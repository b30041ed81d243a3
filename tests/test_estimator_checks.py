"""scikit-learn's own checks, whole, for every form of the estimator."""

import pytest
import scipy.optimize
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprop import MLPSigmoidRegressor


class ScipySolver:
    """A solver of the user's own, without an address in its repr: every process that collects the
    tests names them alike."""

    def __call__(self, objective, theta0):
        return scipy.optimize.minimize(
            objective, theta0, jac=True, method="L-BFGS-B", options={"gtol": 1e-2, "maxiter": 5000}
        )

    def __repr__(self):
        return "scipy_solver"


ESTIMATORS = [
    MLPSigmoidRegressor(),
    MLPSigmoidRegressor(alpha=1e-4),
    MLPSigmoidRegressor(solver="lm"),
    MLPSigmoidRegressor(hidden_layer_sizes=10, solver="lm", early_stopping=True),
    MLPSigmoidRegressor(solver="sgd"),
    MLPSigmoidRegressor(solver="adam"),
    MLPSigmoidRegressor(solver=ScipySolver()),
    MLPSigmoidRegressor(hidden_layer_sizes=(5, 3), alpha=1e-4),
    MLPSigmoidRegressor(hidden_layer_sizes=(), alpha=1e-4),
    MLPSigmoidRegressor(output_activation="sigmoid", alpha=1e-4),
    MLPSigmoidRegressor(standardize=False, alpha=1e-4),
    MLPSigmoidRegressor(warm_start=True),
    MLPSigmoidRegressor(hidden_layer_sizes=10, alpha="evidence"),
    MLPSigmoidRegressor(hidden_layer_sizes=10, alpha="ard"),
    MLPSigmoidRegressor(n_members=2, alpha=1e-4),
    MLPSigmoidRegressor(solver="sgd", learning_rate="adaptive"),
    MLPSigmoidRegressor(early_stopping=True, alpha=1e-4),
    MLPSigmoidRegressor(early_stopping=True, solver="adam"),
]


def expected_failed_checks(estimator):
    if estimator.early_stopping is not True:
        return {}
    reason = "the rows held out are drawn by number: repeating rows draws others"
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
def test_scikit_learn_check(estimator, check):
    check(estimator)
