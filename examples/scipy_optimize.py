"""
The minimisers of SciPy
=======================

Train the network with the minimisers of SciPy, through its loss and flat gradient.

`make_objective` gives the function that `fit` would minimise, θ → (loss, gradient), and the start.
`set_theta` puts the θ that a minimiser found into the estimator, which then predicts with it.
"""

import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # stop at a larger gradient
gtol = 1e-2 if QUICK else 1e-4

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

model = MLPSigmoidRegressor(hidden_layer_sizes=10, alpha=1e-2, random_state=0)
objective, theta0 = model.make_objective(X_train, y_train)
print(
    f"{objective.n_samples} specimens of concrete, {objective.n_params} parameters, "
    f"loss {objective.loss(theta0):.4f} at the start"
)

# %%
# The gradient is the slope of the loss
# -------------------------------------
#
# The gradient along a random direction v is compared with a central difference of the loss.

v = np.random.default_rng(0).standard_normal(theta0.size)
step = 1e-5 * v / np.linalg.norm(v)
slope = objective.gradient(theta0) @ step / 1e-5
difference = (objective.loss(theta0 + step) - objective.loss(theta0 - step)) / 2e-5
print(
    f"Slope along a random direction: {slope:.10f} by backpropagation, "
    f"{difference:.10f} by differences"
)

# %%
# Five minimisers by the gradient, one by Hessian products
# --------------------------------------------------------
#
# One call of the objective returns the loss and the gradient. Newton-CG also takes products of the
# Hessian with a vector, which cost one to three times as much as a call. The column "work" counts
# calls and products.


class Watched:
    """An objective that remembers the least loss so far after each evaluation or product."""

    def __init__(self, objective):
        self.objective, self.least = objective, []

    def __call__(self, theta):
        loss, gradient = self.objective(theta)
        self.least.append(min([loss, *self.least[-1:]]))
        return loss, gradient

    def hessp(self, theta, v):
        self.least.append(self.least[-1])
        return self.objective.hessp(theta, v)


methods = ("L-BFGS-B", "BFGS", "CG", "TNC", "trust-constr", "Newton-CG")
print(f"{'method':13}  {'loss':>8}  {'iterations':>10}  {'work':>6}  {'seconds':>7}")
results, watched = [], {}
for method in methods:
    watched[method] = Watched(objective)
    options = {"gtol": gtol, "maxfun" if method == "TNC" else "maxiter": 5000}
    if method == "Newton-CG":
        options = {"xtol": gtol / 10, "maxiter": 200}
    start = time.perf_counter()
    with threadpool_limits(1, "blas"):  # SciPy's own products are too small to share out
        hessp = watched[method].hessp if method == "Newton-CG" else None
        result = minimize(
            watched[method], theta0, jac=True, hessp=hessp, method=method, options=options
        )
    seconds = time.perf_counter() - start
    results.append(result)
    work = len(watched[method].least)
    print(f"{method:13}  {result.fun:8.5f}  {result.nit:10}  {work:6}  {seconds:7.2f}")

# %%
# What the best of them found
# ---------------------------
#
# The loss of a network has many minima, so the minimisers may end at different ones.

best = min(range(len(methods)), key=lambda i: results[i].fun)
model.set_theta(results[best].x)
predicted = model.predict(X_test)
print(
    f"{methods[best]} found the least loss: on {len(y_test)} specimens held out, "
    f"RMSE {root_mean_squared_error(y_test, predicted):.2f} MPa, "
    f"R² {r2_score(y_test, predicted):.3f}"
)

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for method in methods:
    least = watched[method].least
    ax.loglog(np.arange(1, len(least) + 1), least, label=method)
ax.set(xlabel="evaluations, and products with the Hessian", ylabel="least loss so far")
ax.set_title("Six minimisers of SciPy, from one start")
ax.legend(frameon=False)

path = HERE / "output" / "scipy_optimize.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
