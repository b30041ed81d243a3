"""
Checkpoints of a long fit
=========================

Save a long fit while it runs. After a crash continue it, and get the same network to the last bit.
The model itself is the checkpoint. It holds θ, the averages of the solver, the seed of the order of
rows and the number of the epoch. Run this script, kill it at any moment and run it again: it ends
with the θ of a run that was not killed.
"""

import hashlib
import os
import sys
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # fewer epochs
n_epochs, every = (60, 2) if QUICK else (300, 10)
checkpoint = HERE / "output" / "checkpoint.joblib"
checkpoint.parent.mkdir(exist_ok=True)

table = np.loadtxt(HERE / "data" / "concrete.csv", delimiter=",", skiprows=1)
X, X_test, y, y_test = train_test_split(table[:, :-1], table[:, -1], random_state=0)

# %%
# Saving in one step
# ------------------
#
# Write the new checkpoint beside the old one, flush it to the disk, and only then rename it. So the
# file is always whole: either the old checkpoint or the new one.


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
# `partial_fit` makes one epoch, so the loop can save between two of them. Load only files that you
# made yourself: a joblib file is a program.

if checkpoint.exists():
    model = joblib.load(checkpoint)
    print(f"Going on after epoch {model.n_iter_}", flush=True)
else:
    model = MLPSigmoidRegressor(
        50, solver="adam", batch_size=32, alpha=0.1, learning_rate_init=0.003, random_state=0
    )

while getattr(model, "n_iter_", 0) < n_epochs:
    model.partial_fit(X, y)
    if model.n_iter_ % every == 0:
        save(model, checkpoint)
        print(f"Epoch {model.n_iter_}: loss {model.loss_:.4f}", flush=True)

# %%
# The same θ
# ----------
#
# The SHA-256 of a run that was killed and continued is that of an undisturbed run. The finished fit
# needs no checkpoint any more.

print(f"R² on the rows held out: {model.score(X_test, y_test):.3f}")
print(f"SHA-256 of theta_: {hashlib.sha256(model.theta_.tobytes()).hexdigest()}")
checkpoint.unlink()

# %%
# What a kill costs
# -----------------
#
# A kill costs at most the epochs from one dot to the next.

epochs = np.arange(1, n_epochs + 1)
saved = epochs % every == 0
loss = np.array(model.loss_curve_)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.semilogy(epochs, loss, color="#1f5fa8", label="loss of each epoch")
ax.semilogy(epochs[saved], loss[saved], "o", ms=4, color="#d9661f", label="checkpoint")
ax.set(xlabel="epoch", ylabel="loss, in standard units")
ax.set_title(f"{n_epochs} epochs, a checkpoint every {every}")
ax.legend(frameon=False)

path = HERE / "output" / "checkpoint.png"
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
