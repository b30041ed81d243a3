"""Train the network with the minimisers of SciPy, through its loss and flat gradient.

`make_objective` gives the function that `fit` would minimise, θ → (loss, gradient), and the
starting point; `set_theta` makes what a minimiser found the estimator's own.

    python examples/scipy_optimize.py [--quick]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor

METHODS = ("L-BFGS-B", "BFGS", "CG", "TNC", "trust-constr")


def check_gradient(objective, theta):
    """Hold gradient · v against a central difference of the loss along a random v."""
    v = np.random.default_rng(0).standard_normal(theta.size)
    step = 1e-5 * v / np.linalg.norm(v)
    slope = objective.gradient(theta) @ step / 1e-5
    difference = (objective.loss(theta + step) - objective.loss(theta - step)) / 2e-5
    print(
        f"Slope along a random direction: {slope:.10f} by backpropagation, "
        f"{difference:.10f} by differences\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="stop at a larger gradient")
    gtol = 1e-2 if parser.parse_args().quick else 1e-4

    table = pd.read_csv(Path(__file__).parent / "data" / "concrete.csv")
    X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

    model = MLPSigmoidRegressor(hidden_layer_sizes=10, alpha=1e-2, random_state=0)
    objective, theta0 = model.make_objective(X_train, y_train)
    print(
        f"{objective.n_samples} specimens of concrete, {objective.n_params} parameters, "
        f"loss {objective.loss(theta0):.4f} at the start"
    )
    check_gradient(objective, theta0)

    # One call of the objective yields both loss and gradient, so nfev counts all the work.
    print(f"{'method':13}  {'loss':>8}  {'iterations':>10}  {'evaluations':>11}  {'seconds':>7}")
    results = []
    for method in METHODS:
        options = {"gtol": gtol, "maxfun" if method == "TNC" else "maxiter": 5000}
        start = time.perf_counter()
        with threadpool_limits(1, "blas"):  # SciPy's own products are too small to share out
            result = minimize(objective, theta0, jac=True, method=method, options=options)
        seconds = time.perf_counter() - start
        results.append(result)
        print(f"{method:13}  {result.fun:8.5f}  {result.nit:10}  {result.nfev:11}  {seconds:7.2f}")

    best = min(range(len(METHODS)), key=lambda i: results[i].fun)
    model.set_theta(results[best].x)
    predicted = model.predict(X_test)
    print(
        f"\n{METHODS[best]} found the least loss: on {len(y_test)} specimens held out, "
        f"RMSE {root_mean_squared_error(y_test, predicted):.2f} MPa, "
        f"R² {r2_score(y_test, predicted):.3f}"
    )


if __name__ == "__main__":
    main()
