"""
The heating of buildings
========================

A simulation program took minutes to compute the heating load of each of 768 buildings. A network
learns the program: it predicts the load of a new building in microseconds, with an error bar, and
says what changes it.

A smooth model suits a simulation: a load that depends on lengths and areas bends, but does not
jump.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
BLUE, ORANGE = "#1f5fa8", "#d9661f"
QUICK = "--quick" in sys.argv  # half the rows, and 2 folds

table = pd.read_csv(HERE / "data" / "energy.csv")[:: 2 if QUICK else 1].reset_index(drop=True)
X, y = table.drop(columns="heating_load_kwh_m2"), table["heating_load_kwh_m2"]
folds = KFold(2 if QUICK else 5, shuffle=True, random_state=0)

# %%
# Four regressors
# ---------------
#
# All have their defaults and see the same folds. The sigmoid networks take the table as it is;
# scikit-learn's network needs a scaler on either side, and Ridge one before it.

models = {
    "MLPSigmoidRegressor": MLPSigmoidRegressor(random_state=0),
    "HistGradientBoostingRegressor": HistGradientBoostingRegressor(random_state=0),
    "MLPRegressor": TransformedTargetRegressor(
        make_pipeline(StandardScaler(), MLPRegressor(random_state=0)),
        transformer=StandardScaler(),
    ),
    "Ridge": make_pipeline(StandardScaler(), Ridge()),
}

print(f"Heating load of {len(y)} buildings, {folds.n_splits}-fold cross-validation\n")
print(f"{'model':29}  {'RMSE (kWh/m²)':>13}  {'s per fit':>9}")
predicted, bars = np.empty((2, len(y)))
within = np.empty(len(y), dtype=bool)
for name, model in models.items():
    errors, seconds = [], []
    for train, test in folds.split(X):
        start = time.perf_counter()
        # One thread, so that the times can be compared. The 200 epochs of MLPRegressor are not
        # enough here, and it says so.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X.iloc[train], y.iloc[train])
        seconds.append(time.perf_counter() - start)
        errors.append(root_mean_squared_error(y.iloc[test], model.predict(X.iloc[test])))
        if name == "MLPSigmoidRegressor":
            predicted[test], bars[test] = model.predict(X.iloc[test], return_std=True)
            lower, upper = model.predict_interval(X.iloc[test], coverage=0.95)
            within[test] = (lower < y.iloc[test]) & (y.iloc[test] < upper)
    print(f"{name:29}  {np.mean(errors):6.3f} ± {np.std(errors):.3f}  {np.mean(seconds):9.2f}")

# %%
# Error bars
# ----------
#
# On this smooth surface the sigmoid networks have the smallest error and take the longest. Each of
# their predictions comes with a standard deviation and an interval. The folds held out show whether
# the intervals hold.

print(f"\nBuilding 100: {predicted[100]:.2f} ± {bars[100]:.2f} kWh/m²; simulated {y[100]:.2f}")
print(f"Within the 95 % intervals: {within.mean():.0%} of the buildings held out")

# %%
# What changes the load?
# ----------------------
#
# The derivatives of a prediction by the features are exact. Here they are taken by the share of
# glazing, at every building: they tell how much the load grows if the windows grow by a tenth of
# the floor area.

model = models["MLPSigmoidRegressor"].fit(X, y)
slope = 0.1 * model.predict_gradient(X)[:, X.columns.get_loc("glazing_share")]
for height in (7.0, 3.5):
    these = slope[X["height_m"] == height]
    print(
        f"Buildings of {height} m: 0.1 more glazing adds {np.median(these):.1f} kWh/m² "
        f"({np.quantile(these, 0.05):.1f} to {np.quantile(these, 0.95):.1f})"
    )

# %%
# A design that was never simulated
# ---------------------------------
#
# On the left is one building with every share of glazing. Three shares were simulated: the interval
# is narrow there, wider between them, and opens beyond. On the right are all buildings as predicted
# by networks that had not seen them.

shares = np.linspace(0, 0.5, 101)
design = X.iloc[[310] * len(shares)].assign(glazing_share=shares)
lower, upper = model.predict_interval(design)
same = (X.drop(columns="glazing_share") == X.drop(columns="glazing_share").iloc[310]).all(axis=1)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.fill_between(shares, lower, upper, color=BLUE, alpha=0.2, lw=0, label="95 % interval")
left.plot(shares, model.predict(design), color=BLUE, label="prediction")
left.plot(X["glazing_share"][same], y[same], "ko", ms=5, label="simulated")
left.set(xlabel="glazing, share of the floor area", ylabel="heating load (kWh/m²)")
left.set_title("One building, any windows")
left.legend(loc="upper left", frameon=False)
right.axline((10, 10), slope=1, color="0.6", lw=1, zorder=0)
right.plot(predicted, y, "o", ms=3, alpha=0.4, mew=0, color=ORANGE)
right.set(xlabel="predicted, not seen before (kWh/m²)", ylabel="simulated (kWh/m²)")
right.set_title(f"{len(y)} buildings, RMSE {root_mean_squared_error(y, predicted):.2f} kWh/m²")

path = HERE / "output" / "heating.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print(f"Figure: {os.path.relpath(path)}")
