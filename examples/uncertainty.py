"""
Error bars
==========

Three questions about error bars: do they open where there are no data, do they cover the share that
they promise, and do they tell where to measure next?
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.model_selection import KFold

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # fewer folds, members, runs and steps
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9661f", "#2f8f5b", "0.45"
n_members = 2 if QUICK else 5

# %%
# Do they open where there are no data?
# -------------------------------------
#
# A curve is measured on both sides of a gap. The fit also finds the noise.

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, -1, 40), rng.uniform(1, 3, 40)])
y = np.sin(2 * x) + rng.normal(scale=0.1, size=len(x))
model = MLPSigmoidRegressor(20, n_members=n_members, random_state=0).fit(x[:, None], y)
line = np.linspace(-4, 4, 321)
curve, bar = model.predict(line[:, None], return_std=True)
at_data = bar[(np.abs(line) > 1) & (np.abs(line) < 3)].mean()
print(f"noise found (0.1 is true): {np.sqrt(model.noise_variance_):.3f}")
print(f"standard deviation at the data {at_data:.3f}, in the gap {bar[160]:.3f}")

# %%
# Do they cover what they promise?
# --------------------------------
#
# The strength of concrete is cross-validated: which share of the specimens held out lies within the
# 50, 80 and 95 % intervals? ``predict_interval`` takes quantiles of Student's t, as errors have
# heavier tails than a Gaussian.

table = pd.read_csv(HERE / "data" / "concrete.csv")
recipes, strength = table.iloc[:, :-1].to_numpy(float), table.iloc[:, -1].to_numpy(float)
z = []
for train, test in KFold(2 if QUICK else 10, shuffle=True, random_state=0).split(recipes):
    model = MLPSigmoidRegressor(n_members=n_members, random_state=0)
    model.fit(recipes[train], strength[train])
    mean, std = model.predict(recipes[test], return_std=True)
    z.append((strength[test] - mean) / std)
z = np.abs(np.concatenate(z))


def student(p):
    """Half an interval in standard deviations, which is the same for every row."""
    lower, upper = model.predict_interval(recipes[test][:1], p)
    return (upper - lower)[0] / (2 * std[0])


def gaussian(p):
    return norm.ppf((1 + p) / 2)


for label, half in (("predict_interval", student), ("Gaussian", gaussian)):
    for p in (0.5, 0.8, 0.95):
        print(f"{p:.0%} interval covers {np.mean(z <= half(p)):.0%} of the specimens ({label})")

# %%
# Do they tell where to measure next?
# -----------------------------------
#
# An unknown surface has a bump in one corner. The first twelve measurements are all in the opposite
# corner. Three ways to choose the next place are compared: where the network is least sure; at
# random in proportion to its variance; and at random everywhere.


def surface(X):
    return np.sin(X[:, 0]) + 2 * np.exp(-4 * np.sum((X - [1.2, 1.2]) ** 2, axis=1))


plane = np.stack(np.meshgrid(*2 * [np.linspace(-2, 2, 25)]), axis=-1).reshape(-1, 2)


def errors_of_run(run, n_steps, choose):
    """The RMSE over the plane as experiments are added where ``choose`` says."""
    rng, errors = np.random.default_rng(run), []
    X = rng.uniform(-2, 0, (12, 2))
    y = surface(X) + rng.normal(scale=0.05, size=len(X))
    for _ in range(n_steps + 1):
        model = MLPSigmoidRegressor(20, alpha="evidence", random_state=0).fit(X, y)
        mean, std = model.predict(plane, return_std="model")
        errors.append(np.sqrt(np.mean((mean - surface(plane)) ** 2)))
        k = choose(std, rng)
        X = np.vstack([X, plane[k]])
        y = np.append(y, surface(plane[[k]]) + rng.normal(scale=0.05))
    return errors


ways = {
    "drawn by variance": lambda std, rng: rng.choice(len(std), p=std**2 / sum(std**2)),
    "where least sure": lambda std, _: np.argmax(std),
    "at random": lambda std, rng: rng.integers(len(std)),
}
n_runs, n_steps = (4, 4) if QUICK else (20, 20)
quartiles = {}
for way, choose in ways.items():
    errors = [errors_of_run(run, n_steps, choose) for run in range(n_runs)]
    quartiles[way] = low, median, high = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
    for k in sorted({4, n_steps}):
        print(f"RMSE after {k} experiments {way}: {low[k]:.2f}  {median[k]:.2f}  {high[k]:.2f}")

# %%
# The three answers
# -----------------
#
# The band opens: the standard deviation is 0.10 at the data and 0.99 in the gap. The 95 % interval
# covers 96 % of the specimens, the 50 % interval 61 %. After 20 experiments the error is 0.24 with
# places drawn by variance, 0.28 where the network is least sure, and 0.27 at random.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
left.fill_between(line, curve - 1.96 * bar, curve + 1.96 * bar, color=BLUE, alpha=0.2, lw=0)
left.plot(line, curve, color=BLUE, label="prediction, 95 % band")
left.plot(line, np.sin(2 * line), "--", color=GREY, lw=1, label="truth")
left.plot(x, y, ".", color="k", ms=4, label="data")
left.set(xlabel="x", ylabel="y", ylim=(-3, 3), title="The band opens where data are missing")
left.legend(loc="upper left", fontsize=8)

nominal = np.linspace(0.02, 0.98, 49)
middle.plot([0, 1], [0, 1], "--", color=GREY, lw=1)
for label, style, half in (("predict_interval", "-", student), ("Gaussian", ":", gaussian)):
    middle.plot(nominal, [np.mean(z <= half(p)) for p in nominal], style, color=BLUE, label=label)
middle.set(xlabel="nominal share", ylabel="share of specimens within", xlim=(0, 1), ylim=(0, 1))
middle.set_title("Calibration on concrete")
middle.legend(fontsize=8)

for (way, (low, median, high)), colour in zip(
    quartiles.items(), (GREEN, BLUE, ORANGE), strict=True
):
    right.fill_between(np.arange(n_steps + 1), low, high, color=colour, alpha=0.2, lw=0)
    right.plot(median, color=colour, label=way)
right.set(xlabel="experiments added", ylabel="RMSE over the plane: median, quartiles")
right.set_title(f"The next experiment, {n_runs} runs")
right.legend(fontsize=8)

path = HERE / "output" / "uncertainty.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
