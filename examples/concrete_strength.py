"""
The strength of concrete
========================

Predict the strength of concrete from its recipe and age, beside three other regressors.

All are cross-validated on the same folds, with their defaults; those that need standardised
data get it. Specimens of one recipe at several ages fall on both sides of a split, as in
most of the literature; folds of unseen recipes are harder for every nonlinear model.
"""

import argparse
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import PredictionErrorDisplay
from sklearn.model_selection import KFold, cross_val_predict, cross_validate
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprop import LossCurveDisplay, MLPSigmoidRegressor

HERE = Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="3 folds instead of 10")
parser.add_argument("--output", type=Path, default=HERE / "output", help="where the figure goes")
arguments = parser.parse_args()

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
folds = KFold(3 if arguments.quick else 10, shuffle=True, random_state=0)

# %%
# Four regressors
# ---------------
#
# The sigmoid network takes kg/m³, days and MPa as they are. Scikit-learn's network needs a
# scaler on either side, and Ridge one before it.

model = MLPSigmoidRegressor(random_state=0, alpha=1e-4)
models = {
    "MLPSigmoidRegressor": model,
    "Ridge": make_pipeline(StandardScaler(), Ridge()),
    "HistGradientBoostingRegressor": HistGradientBoostingRegressor(random_state=0),
    "MLPRegressor": TransformedTargetRegressor(
        make_pipeline(StandardScaler(), MLPRegressor(random_state=0)),
        transformer=StandardScaler(),
    ),
}

print(f"Strength of {len(y)} specimens of concrete, {folds.n_splits}-fold cross-validation\n")
print(f"{'model':29}  {'RMSE (MPa)':>12}  {'R²':>5}  {'s per fit':>9}")
rmse = {}
for name, regressor in models.items():
    with warnings.catch_warnings():
        if name == "MLPRegressor":  # its 200 epochs are not enough here, and it says so
            warnings.simplefilter("ignore", ConvergenceWarning)
        with threadpool_limits(1):  # so that the times can be compared
            scores = cross_validate(
                regressor, X, y, cv=folds, scoring=("neg_root_mean_squared_error", "r2")
            )
    rmse[name] = -scores["test_neg_root_mean_squared_error"]
    print(
        f"{name:29}  {rmse[name].mean():5.2f} ± {rmse[name].std():.2f}"
        f"  {scores['test_r2'].mean():5.3f}  {scores['fit_time'].mean():9.3f}"
    )

# %%
# One fit, and all predictions
# ----------------------------
#
# On the left, the loss of one fit on the rows it learns from and on a fold it never sees, which
# `fit` is given as its validation set. Its patience is long, to show what the validation loss
# does after its minimum. On the right, each specimen as predicted by the network fitted without
# its fold.

train, held_out = next(folds.split(X))
watched = MLPSigmoidRegressor(early_stopping=True, n_iter_no_change=150, random_state=0, alpha=1e-4)
watched.fit(X.iloc[train], y.iloc[train], X_val=X.iloc[held_out], y_val=y.iloc[held_out])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
LossCurveDisplay.from_estimator(watched, ax=left, name="L-BFGS")
left.set(title="One fit, and rows it never sees", ylabel="Loss, in standard units")
predicted = cross_val_predict(model, X, y, cv=folds)
PredictionErrorDisplay.from_predictions(
    y, predicted, kind="actual_vs_predicted", subsample=None, ax=right,
    scatter_kwargs={"s": 16, "alpha": 0.45, "edgecolor": "none"},
)  # fmt: skip
ours = rmse["MLPSigmoidRegressor"]
right.set(
    title=f"RMSE {ours.mean():.2f} ± {ours.std():.2f} MPa over {len(ours)} folds",
    xlabel="Predicted strength (MPa)",
    ylabel="Measured strength (MPa)",
    xticks=range(0, 81, 20),
    yticks=range(0, 81, 20),
)

arguments.output.mkdir(parents=True, exist_ok=True)
path = arguments.output / "concrete_strength.png"
figure.savefig(path, dpi=150)
print(f"Figure: {os.path.relpath(path)}")
