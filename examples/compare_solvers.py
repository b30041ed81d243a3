"""
Comparing solvers
=================

The output of a power plant from the weather, learned by L-BFGS, Adam and plain stochastic
gradients. They minimise the same loss from the same start; what differs is the work, counted in
passes over the rows, and what they reach with it.
"""

import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor

epochs = 10 if "--quick" in sys.argv else 100

table = pd.read_csv(Path(__file__).parent / "data" / "power_plant.csv.gz")
X, y = table.drop(columns="power_mw"), table["power_mw"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# The same number of passes over the rows
# ---------------------------------------
#
# An evaluation by L-BFGS is one pass over the rows, an epoch of the others too; theirs makes a
# step for each batch of 200 rows. A ``tol`` below the default keeps L-BFGS going, ``tol=0`` the
# others.

ways = {
    "L-BFGS": {"solver": "lbfgs", "tol": 1e-8, "max_fun": epochs, "max_iter": epochs},
    "Adam, η = 0.01": {"solver": "adam"},
    "Adam, η = 0.001": {"solver": "adam", "learning_rate_init": 0.001},
    "SGD, η = 0.01": {"solver": "sgd"},
    "SGD, η = 0.1": {"solver": "sgd", "learning_rate_init": 0.1},
}
print(f"{'solver':16}  {'passes':>6}  {'loss':>7}  {'test RMSE (MW)':>14}")
fitted = {}
for name, parameters in ways.items():
    parameters = {"tol": 0.0, "max_iter": epochs, "n_iter_no_change": epochs} | parameters
    model = MLPSigmoidRegressor(random_state=0, **parameters)
    with warnings.catch_warnings():  # none of them is done after so few passes
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted[name] = model.fit(X_train, y_train)
    rmse = root_mean_squared_error(y_test, model.predict(X_test))
    passes = model.n_fev_ if model.solver == "lbfgs" else model.n_iter_
    print(f"{name:16}  {passes:6}  {model.loss_:7.5f}  {rmse:14.2f}")

# %%
# Loss by passes
# --------------
#
# The curve of L-BFGS is the loss of all rows after each iteration; that of the others is the
# mean over the batches of an epoch, during which the network changes. The learning rate decides
# how much noise stays in the latter.

figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for name, model in fitted.items():
    passes = np.linspace(1, epochs, len(model.loss_curve_))
    ax.loglog(passes, model.loss_curve_, label=name)
ax.set(xlabel="Passes over the rows", ylabel="Loss, in standard units")
ax.legend(frameon=False)
plt.show()
