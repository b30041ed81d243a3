"""
Several outputs
===============

Can a network complete the lower half of a handwritten digit from its upper half? That is 32 numbers
in and 32 numbers out; all outputs share the hidden units. The digits come with scikit-learn.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 400 digits

images = load_digits().data  # 1797 images of 8 × 8 pixels, from 0 to 16
train, test = train_test_split(images[:400] if QUICK else images, random_state=0)
(X_train, Y_train), (X_test, Y_test) = np.hsplit(train, 2), np.hsplit(test, 2)

# %%
# A network for all pixels
# ------------------------
#
# Rows times outputs make this a problem of many rows, so by default the fit is a committee trained
# by "adam", until the error on held-out rows no longer falls. ``output_activation="sigmoid"`` keeps
# the predictions near the range of the pixels. Some pixels at the border are blank in nearly all
# images; a target that is constant is predicted exactly.

models = {
    "skprop": MLPSigmoidRegressor(output_activation="sigmoid", random_state=0),
    "ridge": RidgeCV(np.logspace(-1, 3, 9)),
}
completed = {"true": Y_test}
for name, model in models.items():
    completed[name] = model.fit(X_train, Y_train).predict(X_test)
    error = root_mean_squared_error(Y_test, completed[name])
    print(f"{name:6}: {completed[name].shape} predicted, RMSE {error:.2f} of 16 grey levels")
n_members, n_params = models["skprop"].theta_.shape
print(f"{n_members} networks of {n_params} parameters: {models['skprop'].message_}")

# %%
# Twelve digits it has never seen
# -------------------------------
#
# The upper halves are given, the lower halves are completed. The error of the networks is 2.5 of 16
# grey levels, that of ridge regression 3.1.

figure, axes = plt.subplots(3, 12, figsize=(11, 3.2), layout="constrained")
for row, (name, halves) in zip(axes, completed.items(), strict=True):
    for ax, upper, lower in zip(row, X_test, halves, strict=False):
        ax.imshow(np.concatenate((upper, lower)).reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.axhline(3.5, color="C1", linewidth=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)

path = HERE / "output" / "several_outputs.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")
