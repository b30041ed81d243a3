"""
Checkpoints of a long fit
=========================

Save a long fit as it goes, and take it up again wherever it was ended, to the last bit.

The model itself is the checkpoint: besides θ it holds the averages of the solver, the seed of the
order of rows and the number of the epoch. Run this, kill it at any moment, run it again: the θ it
ends with is that of a run nobody disturbed.

.. code-block:: text

    python examples/checkpoint.py [--quick] [--epochs N] [--every N] [--path FILE]
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skprop import LossCurveDisplay, MLPSigmoidRegressor

parser = argparse.ArgumentParser(description="Save a long fit as it goes.")
parser.add_argument("--quick", action="store_true", help="few epochs")
parser.add_argument("--epochs", type=int, help="in all (300; with --quick 30)")
parser.add_argument("--every", type=int, default=10, help="epochs from one to the next (10)")
parser.add_argument("--path", type=Path, default=Path(tempfile.gettempdir()) / "skprop.joblib")
options = parser.parse_args()
n_epochs = options.epochs or (30 if options.quick else 300)

table = np.loadtxt(Path(__file__).parent / "data" / "concrete.csv", delimiter=",", skiprows=1)
X, X_test, y, y_test = train_test_split(table[:, :-1], table[:, -1], random_state=0)

# %%
# Saving in one step
# ------------------
#
# Whoever opens the file finds the old checkpoint or the new one, whole: the new one is written
# beside it, brought to the disk, and only then given the name.


def save(model, path):
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        joblib.dump(model, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


# %%
# Epoch by epoch
# --------------
#
# Over the same rows again and again `partial_fit` is what `fit` does, with a moment between two
# epochs at which to save. Load only files of your own making: a joblib file is a program.

if options.path.exists():
    model = joblib.load(options.path)
    print(f"Going on after epoch {model.n_iter_}", flush=True)
else:
    model = MLPSigmoidRegressor(
        50, solver="adam", batch_size=32, alpha=0.1, learning_rate_init=0.003, random_state=0
    )

while getattr(model, "n_iter_", 0) < n_epochs:
    model.partial_fit(X, y)
    if model.n_iter_ % options.every == 0 or model.n_iter_ == n_epochs:
        save(model, options.path)
        print(f"Epoch {model.n_iter_}: loss {model.loss_:.4f}", flush=True)

# %%
# The same θ
# ----------

print(f"R² on the rows held out: {model.score(X_test, y_test):.3f}")
print(f"SHA-256 of theta_: {hashlib.sha256(model.theta_.tobytes()).hexdigest()}")

LossCurveDisplay.from_estimator(model)
plt.show()
