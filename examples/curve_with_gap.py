"""
A curve, its error band and its slope
=====================================

Eighty noisy readings of a curve, with a gap where nobody measured. One fit without a parameter
gives the curve, a band that opens in the gap, and the slope.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # one network instead of five

# %%
# The readings
# ------------
#
# The truth is sin 2x, the noise has a standard deviation of 0.1, and there is nothing from −1 to 1.

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, -1, 40), rng.uniform(1, 3, 40)])
y = np.sin(2 * x) + rng.normal(scale=0.1, size=80)

# %%
# One fit
# -------
#
# The noise is found from the data. ``predict_interval`` counts it, and what the networks do not
# know between the readings.

model = MLPSigmoidRegressor(n_members=1 if QUICK else "auto", random_state=0)
model.fit(x[:, None], y)
grid = np.linspace(-3.5, 3.5, 281)[:, None]
mean, std = model.predict(grid, return_std=True)
lower, upper = model.predict_interval(grid, coverage=0.95)

covered = (lower < np.sin(2 * grid[:, 0])) & (np.sin(2 * grid[:, 0]) < upper)
print(f"Noise found: {np.sqrt(model.noise_variance_):.3f} (true: 0.1)")
print(f"Standard deviation at x = 2: {std[220]:.2f}; in the gap, at x = 0: {std[140]:.2f}")
print(f"The truth lies within the band at {covered.mean():.0%} of the points")

# %%
# The slope
# ---------
#
# ``predict_gradient`` is exact: it is the derivative of what is predicted.

slope = model.predict_gradient(grid)[:, 0]
at = np.abs(grid[:, 0] - 2).argmin()
print(f"Slope at x = 2: {slope[at]:.2f} (true: {2 * np.cos(4):.2f})")

# sphinx_gallery_thumbnail_number = 1
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.fill_between(grid[:, 0], lower, upper, color="#1f5fa8", alpha=0.2, lw=0, label="95 % interval")
ax.plot(grid, np.sin(2 * grid), "--", color="0.45", lw=1, label="truth")
ax.plot(grid, mean, color="#1f5fa8", label="prediction")
ax.plot(x, y, "k.", ms=4, label="80 readings")
near = np.array([1.5, 2.5])
ax.plot(near, mean[at] + slope[at] * (near - 2), color="#d9661f", lw=1.5, label="slope at 2")
ax.set(xlim=(-3.5, 3.5), ylim=(-2.6, 2.6), xlabel="x", ylabel="y")
ax.set_title("Sure where it was measured, unsure in the gap")
ax.legend(loc="upper left", fontsize=8, ncols=2, frameon=False)

path = HERE / "output" / "curve_with_gap.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
