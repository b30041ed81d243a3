"""
What the network has learned
============================

Partial dependence shows what the network makes of one feature, averaged over all others. Its
derivatives, which `predict_gradient` gives exactly and in the units of the data, show it at every
specimen, and `sensitivities` sums them up.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.inspection import PartialDependenceDisplay
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor, sensitivities

QUICK = "--quick" in sys.argv

table = pd.read_csv(Path(__file__).parent / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa").astype(float), table["strength_mpa"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = MLPSigmoidRegressor(alpha=0.1, random_state=0).fit(X_train, y_train)
print(f"R² on {len(y_test)} specimens held out: {model.score(X_test, y_test):.3f}")

# %%
# Partial dependence
# ------------------
#
# More cement is stronger, more water is weaker, and concrete hardens for some two months. The
# thin lines are single specimens: by and large they run side by side.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", sharey=True)
PartialDependenceDisplay.from_estimator(
    model, X_train, ["cement_kg_m3", "water_kg_m3", "age_days"], kind="both",
    subsample=20 if QUICK else 100, grid_resolution=10 if QUICK else 50, random_state=0, ax=axes,
    ice_lines_kw={"color": "C0", "alpha": 0.15}, pd_line_kw={"color": "C1", "linewidth": 3},
)  # fmt: skip
for ax, label in zip(plt.gcf().axes, ("Strength (MPa)", None, None), strict=False):
    ax.set_ylabel(label)
plt.show()

# %%
# Slopes
# ------
#
# One call gives the derivative of each prediction by each feature. The check is a central
# difference.

gradient = model.predict_gradient(X_test)
age, h = X_test.columns.get_loc("age_days"), 1e-3
shift = np.eye(X.shape[1])[age] * h
difference = (model.predict(X_test + shift) - model.predict(X_test - shift)) / (2 * h)
print(f"Derivatives of shape {gradient.shape}")
print(
    f"From a difference by the age: at most {abs(gradient[:, age] - difference).max():.1e} MPa/day"
)

# %%
# Multiplied by the standard deviation of a feature, the derivatives can be compared: MPa for a
# usual change of each, specimen by specimen. Age matters most while the concrete is young.

usual = gradient * X_train.std().to_numpy()
order = np.argsort(np.median(np.abs(usual), axis=0))
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
low, median, high = np.quantile(usual[:, order], [0.05, 0.5, 0.95], axis=0)
rows = np.arange(len(order))
left.errorbar(median, rows, xerr=[median - low, high - median], fmt="o", capsize=4)
names = [name.removesuffix("_kg_m3").replace("_", " ") for name in X.columns[order]]
left.set_yticks(rows, names)
left.axvline(0, color="0.7", zorder=0)
left.set(title="Specimens held out: median, 5 % and 95 %", xlabel="MPa per standard deviation")
right.semilogx(X_test["age_days"], gradient[:, age], "o", markersize=4, alpha=0.5)
right.set(title="The young ones still harden", xlabel="Age (days)", ylabel="MPa a day")
plt.show()

# %%
# Sensitivities
# -------------
#
# Which features matter? Derivative-based sensitivity measures are means over the specimens: of the
# slope, in which signs may cancel, and of its absolute value (often called μ*), here in standard
# deviations of strength per standard deviation of the feature. Where the two differ the feature
# works both ways: more cement is always stronger, more water or superplasticizer is not.

found = sensitivities(model, X_train)
mean = found.mean * X_train.std(ddof=0).to_numpy() / np.std(model.predict(X_train))
order = np.argsort(found.standardized_absolute)
names = [name.removesuffix("_kg_m3").replace("_", " ") for name in X.columns[order]]
print("Mean absolute slope, standardised:")
for name, value in zip(names[::-1], found.standardized_absolute[order][::-1], strict=True):
    print(f"{name:18} {value:.2f}")
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.barh(names, found.standardized_absolute[order], color="C0", alpha=0.5, label="mean of |slope|")
ax.barh(names, mean[order], color="C1", height=0.3, label="mean of slope")
ax.axvline(0, color="0.3", linewidth=0.8)
ax.set(title="Sensitivities of concrete", xlabel="Standard deviations per standard deviation")
ax.legend(loc="lower right")
plt.show()
