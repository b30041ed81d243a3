"""
Learning and validation curves
==============================

Would more data help? Is the penalty too weak, or the network too large? Scikit-learn's tools answer
these questions for any regressor; here for a network that predicts the strength of concrete.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import (
    KFold,
    LearningCurveDisplay,
    ValidationCurveDisplay,
    learning_curve,
    validation_curve,
)

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 3 folds and 3 points a curve

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
model = MLPSigmoidRegressor(alpha=1e-4, random_state=0)  # one network, which is quick to fit
common = {
    "cv": KFold(3 if QUICK else 5, shuffle=True, random_state=0),
    "scoring": "neg_root_mean_squared_error", "n_jobs": 2,
}  # fmt: skip


def print_scores(scores):
    print("RMSE held out:", *(f"{score:.2f}" for score in -scores.mean(axis=1)))


# %%
# Would more data help?
# ---------------------
#
# Yes: the error on specimens held out still falls when the last ones are added.

sizes = np.linspace(0.1, 1, 3 if QUICK else 7)
sizes, *by_size = learning_curve(model, X, y, train_sizes=sizes, **common)
print("Specimens:", *sizes)
print_scores(by_size[1])

# %%
# Is the penalty too weak?
# ------------------------
#
# No: a larger α brings the training and the validation error closer together, but does not lower
# the validation error. From some value on it raises both.

alphas = np.logspace(-4, 2, 3 if QUICK else 7)
by_alpha = validation_curve(model, X, y, param_name="alpha", param_range=alphas, **common)
print("alpha:", *(f"{alpha:g}" for alpha in alphas))
print_scores(by_alpha[1])

# %%
# Is the network too large?
# -------------------------
#
# No: beyond some 20 units their number hardly matters, as the fit ends by itself where going on
# would probably fit noise.

widths = np.array([1, 5, 50] if QUICK else [1, 2, 5, 10, 20, 50, 100])
by_width = validation_curve(
    model, X, y, param_name="hidden_layer_sizes", param_range=widths, **common
)
print("Hidden units:", *widths)
print_scores(by_width[1])

# %%
# The three curves
# ----------------
#
# Means over the folds, and a standard deviation to either side.

figure, axes = plt.subplots(1, 3, sharey=True, figsize=(11, 4), layout="constrained")
displays = (
    LearningCurveDisplay(train_sizes=sizes, train_scores=by_size[0], test_scores=by_size[1]),
    ValidationCurveDisplay(
        param_name="α", param_range=alphas, train_scores=by_alpha[0], test_scores=by_alpha[1]
    ),
    ValidationCurveDisplay(
        param_name="hidden units", param_range=widths, train_scores=by_width[0],
        test_scores=by_width[1],
    ),
)  # fmt: skip
titles = "More specimens help", "A heavy penalty harms", "Width hardly matters from 20 on"
for ax, display, title in zip(axes, displays, titles, strict=True):
    display.plot(ax, negate_score=True, score_name="RMSE (MPa)", std_display_style="fill_between")
    ax.set(title=title, ylabel=None)
axes[0].set(xlabel="specimens to learn from", ylabel="RMSE (MPa)")
axes[1].set_xscale("log")
axes[2].set(xlabel="hidden units", xscale="log")
axes[2].set_xticks(widths, widths)
axes[2].minorticks_off()

path = HERE / "output" / "learning_curves.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
