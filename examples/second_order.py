"""
Second-order methods
====================

What do second derivatives gain? Five minimisers train one network from one start.
L-BFGS-B takes the gradient, trust-krylov exact products with the Hessian, trust-exact the Hessian,
least_squares the residuals and their Jacobian, and lm, this package's Levenberg–Marquardt, the
Gauss–Newton matrix. All stop at the same size of the gradient. The loss has many minima, so they
need not end at the same one.
"""

import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator
from scipy.optimize import least_squares, minimize
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor, minimize_lm

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # stop at a larger gradient
gtol, max_iter = (1e-3, 200) if QUICK else (1e-6, 1000)

# %%
# The problem
# -----------
#
# A network of ten hidden units learns the strength of concrete, with a weak penalty.

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
model = MLPSigmoidRegressor(hidden_layer_sizes=10, alpha=1e-2, random_state=0)
objective, theta0 = model.make_objective(X, y)
print(
    f"{objective.n_samples} specimens of concrete, {objective.n_params} parameters, "
    f"loss {objective.loss(theta0):.4f} at the start"
)

# %%
# Counting the work
# -----------------
#
# The minimisers get an objective that records every call of any kind, its time, and the least loss
# so far.


class Recorder:
    """An objective that writes down the least loss so far, after each call and its seconds."""

    def __init__(self, objective):
        self.objective = objective
        self.n_calls, self.best, self.start = 0, np.inf, time.perf_counter()
        self.curve = []

    def note(self, loss=np.inf):
        self.n_calls += 1
        self.best = min(self.best, loss)
        self.curve.append((self.n_calls, time.perf_counter() - self.start, self.best))

    def __call__(self, theta):
        loss, gradient = self.objective(theta)
        self.note(loss)
        return loss, gradient

    def loss(self, theta):
        loss = self.objective.loss(theta)
        self.note(loss)
        return loss

    def residuals(self, theta):
        r = self.objective.residuals(theta)
        self.note(0.5 * r @ r)
        return r

    def __getattr__(self, name):  # hessp, hessian, jacobian, normal_equations
        def method(*arguments):
            result = getattr(self.objective, name)(*arguments)
            self.note()
            return result

        return method


# %%
# Five minimisers
# ---------------
#
# Each gets the derivatives that it can use.


def run(method):
    """The θ at which a method ends, and what the recorder wrote."""
    record = Recorder(objective)
    if method == "lm":
        result = minimize_lm(record, theta0, tol=gtol, max_iter=max_iter)
    elif method == "least_squares":
        result = least_squares(
            record.residuals, theta0, record.jacobian,
            gtol=gtol, ftol=None, xtol=None, max_nfev=max_iter,
        )  # fmt: skip
    else:
        options = {"gtol": gtol, "maxiter": max_iter}
        derivatives = {
            "L-BFGS-B": {}, "trust-krylov": {"hessp": record.hessp},
            "trust-exact": {"hess": record.hessian},
        }[method]  # fmt: skip
        if method == "L-BFGS-B":
            options |= {"ftol": 0.0, "maxiter": 10 * max_iter, "maxfun": 20 * max_iter}
        result = minimize(record, theta0, jac=True, method=method, options=options, **derivatives)
    return result.x, np.array(record.curve)


curves = {}
print(f"{'method':14}  {'loss':>9}  {'gradient':>8}  {'calls':>6}  {'seconds':>7}  {'R²':>6}")
for method in ("L-BFGS-B", "trust-krylov", "trust-exact", "least_squares", "lm"):
    with threadpool_limits(1, "blas"):  # matrices this small are not worth sharing out
        theta, curves[method] = run(method)
    calls, seconds, _ = curves[method][-1]
    gradient = np.abs(objective.gradient(theta)).max()
    r2 = model.set_theta(theta).score(X, y)
    print(
        f"{method:14}  {objective.loss(theta):9.6f}  {gradient:8.1e}  {calls:6.0f}  "
        f"{seconds:7.2f}  {r2:6.4f}",
        flush=True,
    )

# %%
# Loss against effort
# -------------------
#
# A call that returns a matrix costs more than one that returns a gradient. So the curves are drawn
# by calls and by seconds. From this start lm ends at the least loss and takes the least time;
# trust-exact makes the fewest calls and takes the most time.

colours = ("0.45", "#1f5fa8", "#6fa8dc", "#3a8f5c", "#d9661f")
figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(10, 4.5), layout="constrained")
for (method, curve), colour in zip(curves.items(), colours, strict=True):
    calls, seconds, loss = curve.T
    left.loglog(calls, loss, color=colour, label=method)
    right.loglog(seconds, loss, color=colour, label=method)
left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
left.yaxis.set_major_formatter("{x:g}")
left.yaxis.set_minor_locator(NullLocator())
left.set(xlabel="calls of the objective, of any kind", ylabel="least loss so far")
left.set_title("Five methods from one start, by calls")
right.set(xlabel="seconds", title="By seconds")
right.legend(frameon=False)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)

path = HERE / "output" / "second_order.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print(f"Figure: {os.path.relpath(path)}")
