"""What every solver does where the loss is no number, and with arguments that make no sense."""

import math

import numpy as np
import pytest

from skprop import MLPObjective, minimize_adam, minimize_lbfgs, minimize_lm, minimize_sgd
from skprop.solvers import FAILED
from skprop.solvers.stochastic import _value_of

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=80)
OBJECTIVE = MLPObjective(X, Y, hidden_layer_sizes=6, alpha=0.1)
THETA0 = OBJECTIVE.initial_theta(0)
SOLVERS = {
    "lbfgs": minimize_lbfgs, "lm": minimize_lm, "sgd": minimize_sgd, "adam": minimize_adam
}  # fmt: skip
each_solver = pytest.mark.parametrize("solver", SOLVERS)


class Faulty:
    """An objective whose k-th and later evaluations are not finite."""

    def __init__(self, k, fault):
        self.k, self.fault, self.n_calls = k, fault, 0
        self.n_samples = OBJECTIVE.n_samples

    def __call__(self, theta, rows=None):
        loss, gradient = OBJECTIVE(theta, rows)
        self.n_calls += 1
        if self.n_calls < self.k:
            return loss, gradient
        gradient[3] = {"infinite loss": 0.0}.get(self.fault, np.nan)
        return {"infinite loss": math.inf, "NaN loss": math.nan}.get(self.fault, loss), gradient

    def normal_equations(self, theta):
        loss, gradient, JtJ = OBJECTIVE.normal_equations(theta)
        loss, bad = self(theta)
        return loss, np.where(np.isfinite(bad), gradient, bad), JtJ

    def loss(self, theta):
        return OBJECTIVE.loss(theta)


@each_solver
@pytest.mark.parametrize("fault", ["infinite loss", "NaN loss", "NaN gradient"])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_a_loss_or_gradient_that_is_no_number_ends_the_run_at_the_best_theta(solver, fault, k):
    if solver == "lm" and fault == "infinite loss":
        fault = "NaN gradient"
    seen = []
    result = SOLVERS[solver](
        Faulty(k, fault), THETA0, tol=0, callback=lambda iteration: seen.append(iteration.x)
    )
    assert (result.success, result.status) == (False, FAILED)
    assert "infin" in result.message
    assert "cale X and y" in result.message  # the remedy
    assert np.isfinite(result.x).all()
    if math.isfinite(result.fun):
        assert result.fun == OBJECTIVE.loss(result.x)
        assert result.fun <= min(OBJECTIVE.loss(theta) for theta in [THETA0, *seen])
    else:
        assert (k, solver) == (1, "lbfgs")  # then there is no finite loss at all
    assert result.nit == len(result.loss_curve) == len(seen)


@each_solver
def test_a_loss_that_is_never_a_number_is_no_success(solver):
    objective = MLPObjective(X, 1e200 * Y, hidden_layer_sizes=6)
    result = SOLVERS[solver](objective, THETA0)
    assert (result.success, result.status, result.nit) == (False, FAILED, 0)
    assert not math.isfinite(result.fun)
    np.testing.assert_array_equal(result.x, THETA0)


@each_solver
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_never_a_number_is_no_success(solver, value):
    result = SOLVERS[solver](
        OBJECTIVE, THETA0, validation_loss=lambda theta: value, n_iter_no_change=3, max_iter=50
    )
    assert (result.success, result.status, result.nit) == (False, FAILED, 3)
    assert "validation loss was infinite or NaN" in result.message
    assert result.fun == OBJECTIVE.loss(result.x) < OBJECTIVE.loss(THETA0)


BAD = {
    "tol": [-1e-3, math.nan, "a", None],
    "n_iter_no_change": [0, -1, 1.5, math.nan, True],
    "max_iter": [-1, 1.5, None, math.inf],
}
BAD_OF = {
    "lbfgs": {"max_fun": [0, 1.5], "min_decay": [-1.0, math.nan]},
    "lm": {"max_fun": [0, 1.5], "min_decay": [-1.0, math.nan]},
    "sgd": {
        "learning_rate_init": [0, -1, math.nan, math.inf, "fast"],
        "momentum": [2, -0.1, math.nan],
        "power_t": [-1, math.nan],
        "learning_rate": ["fast", None],
        "batch_size": [0, 1.5, "all"],
    },
    "adam": {
        "learning_rate_init": [0, math.inf],
        "beta_1": [1, 1.0, -0.1, math.nan],
        "beta_2": [1, 2, math.nan],
        "epsilon": [-1e-8, math.nan, None],
        "batch_size": [0, -5],
    },
}


@pytest.mark.parametrize(
    ("solver", "name", "value"),
    [
        (solver, name, value)
        for solver in SOLVERS
        for name, values in (BAD | BAD_OF[solver]).items()
        for value in values
    ],
)
def test_an_argument_that_makes_no_sense_is_named(solver, name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        SOLVERS[solver](OBJECTIVE, THETA0, **{name: value})


@each_solver
@pytest.mark.parametrize(
    "theta0", [THETA0[:, None], np.full(len(THETA0), np.nan), THETA0 * 1j, "start", 1.0, THETA0[1:]]
)
def test_a_start_that_makes_no_sense_is_refused(solver, theta0):
    with pytest.raises(ValueError, match="theta"):
        SOLVERS[solver](OBJECTIVE, theta0)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("state", [{}, {"moments": []}, "state", 3])
def test_a_state_that_is_none_is_refused(solver, state):
    with pytest.raises(ValueError, match="state"):
        SOLVERS[solver](OBJECTIVE, None, state=state)


LEAST = {"tol": 0, "n_iter_no_change": 1, "max_iter": 1}
LEAST_OF = {
    "lbfgs": {"max_fun": 1, "min_decay": 0},
    "lm": {"max_fun": 1, "min_decay": 0},
    "sgd": {"momentum": 0, "power_t": 0, "batch_size": 1, "learning_rate_init": 1e-300},
    "adam": {"beta_1": 0, "beta_2": 0, "epsilon": 0, "batch_size": 1},
}


@each_solver
def test_the_least_value_of_an_argument_is_allowed(solver):
    SOLVERS[solver](OBJECTIVE, THETA0, **LEAST | LEAST_OF[solver])
    if solver == "sgd":
        SOLVERS[solver](OBJECTIVE, THETA0, momentum=1, max_iter=1)


def test_a_run_that_leaves_its_epochs_to_others_is_not_run_alone():
    with pytest.raises(RuntimeError, match="left an epoch to somebody else"):
        _value_of(iter(["an epoch"]))
