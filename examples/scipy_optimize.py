"""
The minimisers of SciPy
=======================

Train the network with the minimisers of SciPy, through its loss and flat gradient.

`make_objective` gives the function that `fit` would minimise, θ → (loss, gradient), and the
starting point; `set_theta` makes what a minimiser found the estimator's own.
"""

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

gtol = 1e-2 if "--quick" in sys.argv else 1e-4

table = pd.read_csv(Path(__file__).parent / "data" / "concrete.csv")
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
# Gradient · v, held against a central difference of the loss along a random v.

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
# One call of the objective yields both loss and gradient. Newton's method with conjugate
# gradients also takes products of the Hessian with a vector, which cost one to three times as
# much as a call. Both count as work.


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

best = min(range(len(methods)), key=lambda i: results[i].fun)
model.set_theta(results[best].x)
predicted = model.predict(X_test)
print(
    f"{methods[best]} found the least loss: on {len(y_test)} specimens held out, "
    f"RMSE {root_mean_squared_error(y_test, predicted):.2f} MPa, "
    f"R² {r2_score(y_test, predicted):.3f}"
)

figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for method in methods:
    least = watched[method].least
    ax.loglog(np.arange(1, len(least) + 1), least, label=method)
ax.set(xlabel="Evaluations of loss and gradient, and products H v", ylabel="Least loss so far")
ax.legend(frameon=False)
plt.show()
