"""
Learning and validation curves
==============================

Would more data help? Is the network too large, or the penalty too weak? Scikit-learn's displays
ask the network these questions as they ask any regressor; here it is to predict the strength of
concrete.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, LearningCurveDisplay, ValidationCurveDisplay

from skprop import MLPSigmoidRegressor

QUICK = "--quick" in sys.argv

table = pd.read_csv(Path(__file__).parent / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
model = MLPSigmoidRegressor(alpha=1e-4, random_state=0)  # one network, which is quick to fit
folds = KFold(3 if QUICK else 5, shuffle=True, random_state=0)
common = {
    "cv": folds, "scoring": "neg_root_mean_squared_error", "negate_score": True, "n_jobs": 2,
    "score_name": "RMSE (MPa)", "std_display_style": "fill_between",
}  # fmt: skip

# %%
# By the number of specimens
# --------------------------
#
# The error on held-out specimens still falls at the right end: more data would help. The gap
# between the two curves is what the network knows of its own specimens beyond what holds for
# others.

sizes = np.linspace(0.1, 1, 3 if QUICK else 7)
learning = LearningCurveDisplay.from_estimator(model, X, y, train_sizes=sizes, **common)
learning.ax_.set(xlabel="Specimens to learn from")
print("Specimens:", *learning.train_sizes)
print("RMSE held out:", *(f"{score:.2f}" for score in -learning.test_scores.mean(axis=1)))
plt.show()

# %%
# By the penalty
# --------------
#
# A larger α draws the curves together and, from some point on, upwards. The two meet where nothing
# more is learned than holds for all.

alphas = np.logspace(-4, 2, 3 if QUICK else 7)
by_alpha = ValidationCurveDisplay.from_estimator(
    model, X, y, param_name="alpha", param_range=alphas, **common
)
print("alpha:", *(f"{alpha:g}" for alpha in alphas))
print("RMSE held out:", *(f"{score:.2f}" for score in -by_alpha.test_scores.mean(axis=1)))
plt.show()

# %%
# By the number of hidden units
# -----------------------------
#
# Beyond some 20 units the error hardly depends on their number, as the fit ends by itself where
# going on would probably fit noise.

widths = [2, 20, 50] if QUICK else [1, 2, 5, 10, 20, 50, 100]
by_width = ValidationCurveDisplay.from_estimator(
    model, X, y, param_name="hidden_layer_sizes", param_range=widths, **common
)
by_width.ax_.set(xlabel="Hidden units", xscale="log")
by_width.ax_.set_xticks(widths, widths)
by_width.ax_.minorticks_off()
print("Hidden units:", *widths)
print("RMSE held out:", *(f"{score:.2f}" for score in -by_width.test_scores.mean(axis=1)))
plt.show()
