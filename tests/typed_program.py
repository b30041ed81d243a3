"""A small program of a user, for a type checker; tests/test_typing.py has it checked and run.

A line with ``type: ignore`` is a mistake that the checker must find: an unused one is an error.
"""

from collections.abc import Sequence
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from skprop import (
    LossCurveDisplay,
    MLPObjective,
    MLPSigmoidRegressor,
    feature_importances,
    minimize_adam,
    minimize_lbfgs,
    minimize_sgd,
    sensitivities,
)

rng = np.random.default_rng(0)
X: NDArray[np.float64] = rng.normal(size=(60, 3))
y: NDArray[np.float64] = np.sin(X[:, 0]) + X[:, 1]


def gradient_descent(objective: MLPObjective, theta0: NDArray[np.float64]) -> OptimizeResult:
    theta = theta0.copy()
    for _ in range(20):
        loss, gradient = objective(theta)
        assert_type(loss, float)
        theta -= 0.1 * gradient
    return OptimizeResult(x=theta)


def fit_and_predict(hidden_layer_sizes: int | Sequence[int]) -> None:
    model = MLPSigmoidRegressor(hidden_layer_sizes, alpha=0.1, tol=1e-2, random_state=0)
    assert_type(model.fit(X, y), MLPSigmoidRegressor)
    assert_type(model.fit(X.tolist(), y.tolist(), sample_weight=[1.0] * 60), MLPSigmoidRegressor)
    mean, std = model.predict(X, return_std=True)
    slopes, deviations = model.predict_gradient(X, return_std=True)
    print(slopes.shape, deviations.shape, model.predict_gradient(X).shape)
    print(model.predict_hessian(X).shape, model.predict_std_gradient(X, of="model").shape)
    print(sensitivities(model, X).standardized_squared.shape, feature_importances(model).sum())
    print(mean.shape, std.shape, MLPSigmoidRegressor(alpha="evidence", n_members=2))
    print(model.predict(X).shape, [A.shape for A in model.coefs_], model.intercepts_[0].mean())
    objective, theta0 = model.make_objective(X, y)
    assert_type(objective, MLPObjective)
    assert_type(model.set_theta(theta0), MLPSigmoidRegressor)
    stopped = MLPSigmoidRegressor(solver=gradient_descent).fit(X, y)
    print(stopped.theta_.size, stopped.loss_)


def minimise() -> None:
    objective = MLPObjective(X, y, hidden_layer_sizes=(4, 3), alpha=1e-3)
    theta0 = objective.initial_theta(random_state=0)
    assert_type(objective.loss(theta0), float)
    assert_type((objective.n_samples, objective.n_params), tuple[int, int])
    loss, _ = objective(theta0, slice(0, 10))
    [(A0, b0), *_] = objective.unpack(theta0)
    print(loss, A0.shape, b0.shape, objective.pack([(A0, b0), *objective.unpack(theta0)[1:]]).size)

    def report(iteration: OptimizeResult) -> None:
        if iteration.nit == 2:
            raise StopIteration

    for minimize in (minimize_lbfgs, minimize_sgd, minimize_adam):
        result = minimize(objective, theta0, callback=report, max_iter=5)
        print(result.message, objective.predict(result.x, X).shape)


def draw(model: MLPSigmoidRegressor) -> LossCurveDisplay:
    return LossCurveDisplay.from_estimator(model, name="one")


def mistakes() -> None:
    MLPSigmoidRegressor(hidden_layers=(5,), alpha=1e-4)  # type: ignore[call-arg]
    MLPSigmoidRegressor((5,), "sigmoid", alpha=1e-4)  # type: ignore[call-arg]
    MLPSigmoidRegressor(alpha="strong")  # type: ignore[arg-type]
    MLPSigmoidRegressor(solver=3)  # type: ignore[arg-type]
    MLPObjective(X, y, hidden_layer_sizes=(5,)).loss()  # type: ignore[call-arg]
    minimize_sgd(MLPObjective(X, y, hidden_layer_sizes=(5,)), X[0], step=1)  # type: ignore[call-arg]
    LossCurveDisplay([1.0])  # type: ignore[call-arg]


if __name__ == "__main__":
    fit_and_predict(5)
    fit_and_predict((4, 3))
    minimise()
