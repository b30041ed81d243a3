"""
Bayesian optimisation
=====================

Find the minimum of a costly function in few evaluations: fit a network to all evaluations so far,
and evaluate next where it expects the greatest improvement.

Branin's function has three minima of the same depth. Every run begins with 8 points at random.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr
from scipy.stats import norm

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # fewer runs and steps
BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "0.45"
LOW, HIGH = np.array([-5.0, 0.0]), np.array([10.0, 15.0])
LEAST = 10 / (8 * np.pi)  # of Branin's function
N_FIRST = 8


def branin(X):
    x, y = X.T
    valley = y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6
    return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


# %%
# The expected improvement
# ------------------------
#
# It is large where the prediction is low or the error bar is wide. Its logarithm has an exact
# gradient, made of ``predict_gradient`` and ``predict_std_gradient``.


def log_expected_improvement(model, least, X):
    """Its logarithm, with h(u) = φ(u) + u Φ(u) and u = (least − f)/std, and the gradient of that.

    ln EI = ln std + ln h(u), h′ = Φ: so it falls with f by Φ/h and rises with std by φ/h, each over
    std.
    """
    f, std = model.predict(X, return_std="model")
    u = np.maximum((least - f) / std, -30)
    near = np.maximum(u, -6)
    h = np.where(u > -6, norm.pdf(near) + near * ndtr(near), norm.pdf(u) / (u**2 + 3))
    gradient = norm.pdf(u)[:, None] * model.predict_std_gradient(X, of="model")
    gradient -= ndtr(u)[:, None] * model.predict_gradient(X)
    return np.log(std * h), gradient / (h * std)[:, None]


# %%
# The next point
# --------------
#
# L-BFGS climbs the expected improvement from the four best of 300 points, all four at once.


def next_point(X, y, rng, n_starts=4):
    """Where the expected improvement is greatest: climbed from the best of 300 points."""
    model = MLPSigmoidRegressor(20, alpha="evidence", random_state=0).fit(X, y)
    around_best = X[np.argmin(y)] + (HIGH - LOW) * rng.normal(scale=0.05, size=(50, 2))
    starts = np.vstack([rng.uniform(LOW, HIGH, (250, 2)), np.clip(around_best, LOW, HIGH)])
    f, std = model.predict(starts, return_std="model")
    u = (y.min() - f) / std
    starts = starts[np.argsort(-std * (norm.pdf(u) + u * ndtr(u)))[:n_starts]]

    def downhill(x):  # of all starts together: each has its own coordinates
        value, gradient = log_expected_improvement(model, y.min(), x.reshape(-1, 2))
        return -value.sum(), -gradient.ravel()

    bounds = list(zip(LOW, HIGH, strict=True)) * n_starts
    found = minimize(
        downhill, starts.ravel(), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 12},
    )  # fmt: skip
    found = found.x.reshape(-1, 2)
    return found[np.argmax(log_expected_improvement(model, y.min(), found)[0])]


# %%
# Twenty runs, compared with points at random
# -------------------------------------------


def optimise(seed, n_steps):
    """The points of a run, and how far above the minimum the best so far is; also at random."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(LOW, HIGH, (N_FIRST, 2))
    at_random = np.vstack([X, rng.uniform(LOW, HIGH, (n_steps, 2))])
    y = branin(X)
    for _ in range(n_steps):
        X = np.vstack([X, next_point(X, y, rng)])
        y = np.append(y, branin(X[-1:]))
    above = [
        np.minimum.accumulate(values)[N_FIRST - 1 :] - LEAST for values in (y, branin(at_random))
    ]
    return X, *above


n_runs, n_steps = (2, 16) if QUICK else (20, 30)
points, chosen, at_random = zip(*(optimise(run, n_steps) for run in range(n_runs)), strict=True)
print(f"{n_runs} runs; evaluations, and the best value above the minimum (quartiles):")
evaluations = N_FIRST + np.arange(n_steps + 1)
quartiles = {}
for name, above in (("expected improvement", chosen), ("at random", at_random)):
    quartiles[name] = low, median, high = np.quantile(above, [0.25, 0.5, 0.75], axis=0)
    for k in sorted({n_steps // 2, n_steps}):
        print(f"{name}: {evaluations[k]}  {low[k]:.3f}  {median[k]:.3f}  {high[k]:.3f}")

# %%
# Where it looked, and what it found
# ----------------------------------
#
# After 30 steps the best value is 0.017 above the minimum, in the median of the runs; with points
# at random it is 0.884 above.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
grid = np.stack(np.meshgrid(*np.linspace(LOW, HIGH, 200).T), axis=-1)
z = branin(grid.reshape(-1, 2)).reshape(200, 200)
left.contour(*np.moveaxis(grid, -1, 0), np.log(z), levels=15, colors=GREY, linewidths=0.5)
first, later = points[0][:N_FIRST], points[0][N_FIRST:]
left.plot(*first.T, "o", color="k", ms=4, label="at first")
order = left.scatter(*later.T, c=np.arange(n_steps) + 1, s=28, zorder=3)
minima = [-np.pi, np.pi, 9.42478], [12.275, 2.275, 2.475]
left.plot(*minima, "x", color=ORANGE, ms=10, mew=2, zorder=4, label="minima")
figure.colorbar(order, ax=left, label="step")
left.set(xlabel="$x_1$", ylabel="$x_2$", title="One run")
left.legend(loc="center right", fontsize=8)

for (name, (low, median, high)), colour in zip(quartiles.items(), (BLUE, ORANGE), strict=True):
    right.fill_between(evaluations, low, high, color=colour, alpha=0.2, lw=0)
    right.plot(evaluations, median, color=colour, label=f"{name}: median, quartiles")
right.set(xlabel="evaluations", ylabel="best so far, above the minimum", yscale="log")
right.set_title(f"{n_runs} runs")
right.legend(fontsize=8)

path = HERE / "output" / "bayesian_optimisation.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
