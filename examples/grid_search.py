"""
Grid search
===========

Choose the size, the penalty and the solver of the network by cross-validation.

Concrete hardens with the logarithm of its age, so a pipeline takes the logarithm first. The network
standardises its input itself.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 4 candidates instead of 18

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

log_age = make_column_transformer(
    (FunctionTransformer(np.log), ["age_days"]), remainder="passthrough"
)
pipeline = Pipeline([("log_age", log_age), ("network", MLPSigmoidRegressor(random_state=0))])

# %%
# The grid
# --------
#
# The penalty is a power of ten; there are three sizes and two solvers. Each candidate is one
# network, as its penalty is given. (Without ``alpha`` and ``solver`` a fit finds the penalty by
# itself.)

grid = {
    "network__hidden_layer_sizes": [(20,), (50,), (20, 20)],
    "network__alpha": [1e-4, 1e-2, 1.0],
    "network__solver": ["lbfgs", "adam"],
}
if QUICK:
    grid = {
        "network__hidden_layer_sizes": [(5,), (20,)],
        "network__alpha": [1e-2, 100.0],
        "network__solver": ["lbfgs"],
    }
search = GridSearchCV(
    pipeline,
    grid,
    scoring="neg_root_mean_squared_error",
    cv=KFold(5, shuffle=True, random_state=0),
    n_jobs=2,
)

# %%
# From scikit-learn 1.9 on, the search shows a progress bar if the package ``rich`` is installed.
# ``max_propagation_depth=None`` would show a bar for every iteration of every network too.

try:
    from sklearn.callback import ProgressBar

    search.set_callbacks(ProgressBar(max_propagation_depth=0))
except ImportError:
    print("No progress bar: it needs scikit-learn 1.9 and rich.\n")
search.fit(X_train, y_train)

# %%
# What it found
# -------------

results = pd.DataFrame(search.cv_results_).sort_values("rank_test_score")
n_candidates, n_folds = len(results), search.n_splits_
print(f"The best of {n_candidates} candidates, by {n_folds}-fold cross-validation:\n")
print(f"{'hidden layers':13}  {'alpha':>6}  {'solver':6}  {'RMSE (MPa)':>12}  {'s per fit':>9}")
for _, row in results.head().iterrows():
    print(
        f"{row['param_network__hidden_layer_sizes']!s:13}"
        f"  {row['param_network__alpha']:6g}  {row['param_network__solver']:6}"
        f"  {-row['mean_test_score']:5.2f} ± {row['std_test_score']:.2f}"
        f"  {row['mean_fit_time']:9.2f}"
    )

rmse = root_mean_squared_error(y_test, search.predict(X_test))
best = {name.removeprefix("network__"): value for name, value in search.best_params_.items()}
print(
    f"\nBest parameters: {best}"
    f"\nCross-validated RMSE {-search.best_score_:.2f} MPa, on {len(y_test)} specimens held out"
    f" {rmse:.2f} MPa"
)

# %%
# The bars are standard deviations over the folds. Candidates that differ by less than a bar cannot
# be told apart.

figure, ax = plt.subplots(figsize=(8, 2 + 0.2 * n_candidates), layout="constrained")
names = [
    f"{row.param_network__hidden_layer_sizes!s}, α = {row.param_network__alpha:g}, "
    f"{row.param_network__solver}"
    for row in results.itertuples()
]
for solver, color in (("lbfgs", "C0"), ("adam", "C1")):
    of_solver = (results["param_network__solver"] == solver).to_numpy()
    ax.errorbar(
        -results["mean_test_score"][of_solver], np.flatnonzero(of_solver),
        xerr=results["std_test_score"][of_solver], fmt="o", color=color, capsize=3,
    )  # fmt: skip
ax.set_yticks(range(n_candidates), names)
ax.invert_yaxis()
ax.set(title="Candidates, the best on top", xlabel="Cross-validated RMSE (MPa)")
ax.grid(axis="x", alpha=0.3)

path = HERE / "output" / "grid_search.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
