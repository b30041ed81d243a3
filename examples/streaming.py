"""
Rows that arrive over time
==========================

The output of a power plant from the weather, learned chunk by chunk with `partial_fit`, as if the
readings came in one after another and none could be kept.
"""

import pickle
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor

path = Path(__file__).parent / "data" / "power_plant.csv.gz"
n_chunks = 20 if "--quick" in sys.argv else 95

# %%
# Test, then learn
# ----------------
#
# Each chunk of 100 readings is predicted before it is learned from, so every prediction is of
# readings never seen. The first call fixes the standard units: its chunk should be typical.
# "adam" and "sgd" make one pass over a chunk, here in steps of 10 readings.

model = MLPSigmoidRegressor(
    solver="adam", batch_size=10, learning_rate_init=0.005, hidden_layer_sizes=20, random_state=0
)
errors = []
for chunk in pd.read_csv(path, chunksize=100, nrows=100 * n_chunks):
    X, y = chunk.drop(columns="power_mw"), chunk["power_mw"]
    if errors or hasattr(model, "theta_"):
        errors.append(root_mean_squared_error(y, model.predict(X)))
    model.partial_fit(X, y)
print(f"{model.t_} readings seen once; RMSE of the last ten chunks {np.mean(errors[-10:]):.2f} MW")

# %%
# Put away and taken up again
# ---------------------------
#
# The state of the solver is in the model: a copy that went through a pickle goes on to the last
# bit.

copy = pickle.loads(pickle.dumps(model))
same = (copy.partial_fit(X, y).theta_ == model.partial_fit(X, y).theta_).all()
print("The same θ, to the last bit:", bool(same))

# %%
# Beside all at once
# ------------------
#
# The line is what the same network reaches on the last thousand readings when `fit` may go over
# all earlier ones as often as it likes.

table = pd.read_csv(path, nrows=100 * n_chunks)
X, y = table.drop(columns="power_mw"), table["power_mw"]
at_once = MLPSigmoidRegressor(hidden_layer_sizes=20, random_state=0, alpha=1e-4).fit(
    X[:-1000], y[:-1000]
)
reached = root_mean_squared_error(y[-1000:], at_once.predict(X[-1000:]))
print(f"All at once: RMSE {reached:.2f} MW")

figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
chunks = np.arange(2, n_chunks + 1)
ax.semilogy(100 * (chunks - 1), errors, ".", color="0.7", label="one chunk, before it is learned")
smooth = np.convolve(errors, np.full(9, 1 / 9), mode="valid")
ax.semilogy(100 * (chunks[4:-4] - 1), smooth, label="mean of nine chunks")
ax.axhline(reached, color="C1", linestyle="--", label="all at once")
ax.set(xlabel="Readings seen", ylabel="RMSE (MW)", yticks=[4, 5, 6, 8, 10, 15])
ax.yaxis.set_major_formatter("{x:g}")
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()
