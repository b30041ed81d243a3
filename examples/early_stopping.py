"""
When to stop
============

When should a fit end? A network that is trained to the end fits the noise of a small noisy table.
This example compares that with two ways to stop in time, on the 442 patients of scikit-learn's
diabetes data and on concrete.
"""

import os
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

from skprop import LossCurveDisplay, MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 100 iterations at most instead of 500

table = pd.read_csv(HERE / "data" / "concrete.csv")
data = {
    "diabetes": load_diabetes(return_X_y=True, scaled=False),
    "concrete": (table.drop(columns="strength_mpa"), table["strength_mpa"]),
}

# %%
# Three fits of each
# ------------------
#
# Each is one network with a penalty too small to help, ``alpha=1e-4``. (The default needs none of
# this: it finds a penalty from the data.)
#
# - *To the end*: a ``tol`` below its default, so that only the gradient ends the fit.
# - *By progress*: the fit ends where going on would probably fit noise.
# - *Early stopping*: a tenth of the rows is held out, and the network with the least loss on them
#   is kept. It waits for 100 iterations without a gain, so that the curve shows what comes after.

ways = {
    "to the end": {"tol": 1e-6, "max_iter": 100 if QUICK else 500},
    "by progress": {},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 100},
}
fitted = {}
for name, (X, y) in data.items():
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    for way, parameters in ways.items():
        model = MLPSigmoidRegressor(alpha=1e-4, random_state=0, **parameters)
        with warnings.catch_warnings():
            if way == "to the end":  # it warns that it was stopped short
                warnings.simplefilter("ignore", ConvergenceWarning)
            fitted[name, way] = model.fit(X_train, y_train)
        error = root_mean_squared_error(y_test, model.predict(X_test))
        print(f"{name}, {way:14}: {model.n_iter_:3} iterations, test RMSE {error:.2f}")

# %%
# The curves
# ----------
#
# The training loss always falls. On diabetes the validation loss, dashed, rises again after a few
# iterations, and the fit to the end predicts far worse than the other two. On concrete the
# validation loss falls for much longer, and the fit to the end is the best of the three.
#
# Which way is best depends on the noise. The same three fits on five splits of five sets, a tenth
# of the rows for testing, mean test RMSE (``python -m benchmarks accuracy --splits 5 --only "to the
# end" "one network" "early stopping"`` prints it):
#
# ==============  ==========  ===========  ==============
# set             to the end  by progress  early stopping
# ==============  ==========  ===========  ==============
# diabetes        96.7        54.4         56.5
# red wine        0.791       0.656        0.645
# concrete        4.71        5.52         5.63
# airfoil noise   1.97        2.25         1.87
# heating loads   0.505       0.612        0.571
# ==============  ==========  ===========  ==============
#
# *By progress* holds no rows out: it ends where the training loss falls so slowly that, with so few
# rows, going on would probably fit noise.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, name in zip(axes, data, strict=True):
    for way in ways:
        LossCurveDisplay.from_estimator(fitted[name, way], ax=ax, name=way)
    ax.set(title=name.capitalize(), ylabel="Loss, in standard units")

path = HERE / "output" / "early_stopping.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
