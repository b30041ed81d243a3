"""
What the network has learned
============================

Partial dependence shows what the network makes of one feature, averaged over all others. Exact
derivatives show it for every specimen, in the units of the data, and `sensitivities` sums them up.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.inspection import PartialDependenceDisplay
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor, sensitivities

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # coarser curves

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa").astype(float), table["strength_mpa"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = MLPSigmoidRegressor(alpha=0.1, random_state=0).fit(X_train, y_train)
print(f"R² on {len(y_test)} specimens held out: {model.score(X_test, y_test):.3f}")

# %%
# Partial dependence
# ------------------
#
# More cement makes concrete stronger, more water makes it weaker, and it hardens for some two
# months. The thin lines are single specimens; most of them run parallel.

figure, axes = plt.subplots(1, 3, figsize=(10, 4), layout="constrained", sharey=True)
PartialDependenceDisplay.from_estimator(
    model, X_train, ["cement_kg_m3", "water_kg_m3", "age_days"], kind="both",
    subsample=20 if QUICK else 100, grid_resolution=10 if QUICK else 50, random_state=0, ax=axes,
    ice_lines_kw={"color": "#1f5fa8", "alpha": 0.15},
    pd_line_kw={"color": "#d9661f", "linewidth": 3},
)  # fmt: skip
axes = figure.axes[-3:]
for ax, label in zip(axes, ("cement (kg/m³)", "water (kg/m³)", "age (days)"), strict=True):
    ax.set(xlabel=label, ylabel=None)
axes[0].set_ylabel("strength (MPa)")

path = HERE / "output" / "partial_dependence.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")

# %%
# Slopes
# ------
#
# One call gives the derivative of each prediction by each feature. A central difference checks it.

gradient = model.predict_gradient(X_test)
age, h = X_test.columns.get_loc("age_days"), 1e-3
shift = np.eye(X.shape[1])[age] * h
difference = (model.predict(X_test + shift) - model.predict(X_test - shift)) / (2 * h)
print(f"Derivatives of shape {gradient.shape}")
print(
    f"From a difference by the age: at most {abs(gradient[:, age] - difference).max():.1e} MPa/day"
)

# %%
# Sensitivities
# -------------
#
# Which features matter? `sensitivities` takes means over the specimens: of the slope, where signs
# may cancel, and of its absolute value (often called μ*). Here both are in standard deviations of
# strength per standard deviation of the feature. If the two bars of a feature differ, its slope has
# both signs: more cement makes nearly every specimen stronger, more superplasticizer does not.

found = sensitivities(model, X_train)
mean = found.mean * X_train.std(ddof=0).to_numpy() / np.std(model.predict(X_train))
order = np.argsort(found.standardized_absolute)
names = [name.removesuffix("_kg_m3").replace("_", " ") for name in X.columns[order]]
print("Mean absolute slope, standardised:")
for name, value in zip(names[::-1], found.standardized_absolute[order][::-1], strict=True):
    print(f"{name:18} {value:.2f}")

# %%
# On the left are the slopes by age: concrete hardens while it is young. On the right are the
# sensitivities.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.semilogx(X_test["age_days"], gradient[:, age], "o", color="#1f5fa8", ms=4, alpha=0.5)
left.set(title="Specimens held out", xlabel="age (days)", ylabel="slope by age (MPa a day)")
right.barh(
    names, found.standardized_absolute[order], color="#1f5fa8", alpha=0.4, label="mean of |slope|"
)
right.barh(names, mean[order], color="#d9661f", height=0.3, label="mean of slope")
right.axvline(0, color="0.3", linewidth=0.8)
right.set(title="Sensitivities", xlabel="standard deviations per standard deviation")
right.legend(loc="lower right")
