"""
Comparing solvers
=================

Which solver needs the least work? The output of a power plant is learned from the weather by
L-BFGS, Adam and stochastic gradients with momentum (SGD). All minimise the same loss from the same
start. Work is counted in passes over the rows.
"""

import os
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

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 10 passes instead of 100
epochs = 10 if QUICK else 100

table = pd.read_csv(HERE / "data" / "power_plant.csv.gz")
X, y = table.drop(columns="power_mw"), table["power_mw"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# The same number of passes over the rows
# ---------------------------------------
#
# L-BFGS passes over the rows once for each evaluation. Adam and SGD pass over them once in an
# epoch, and make a step for each batch of 200 rows. A ``tol`` below the default keeps L-BFGS going,
# ``tol=0`` the others.

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
# After few passes the larger learning rates are ahead. After 100 passes Adam with η = 0.01 and
# L-BFGS have the least loss, and L-BFGS needs no learning rate.
#
# The curve of L-BFGS is the loss of all rows after each iteration. The other curves are means over
# the batches of an epoch, during which the network changes; the smaller the learning rate, the less
# noise they have.

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for name, model in fitted.items():
    passes = np.linspace(1, epochs, len(model.loss_curve_))
    ax.loglog(passes, model.loss_curve_, label=name)
ax.set(xlabel="passes over the rows", ylabel="loss, in standard units")
ax.set_title("The same loss, the same start, five solvers")
ax.legend(frameon=False)

path = HERE / "output" / "compare_solvers.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
