"""
Fat in meat, by near-infrared light
===================================

A spectrometer shines light through minced meat. From the spectrum a network predicts the fat, with
an error bar, and tells which components of the spectrum matter. Its errors are compared with those
published for the same data since 1992.

Recorded on a Tecator Infratec Food and Feed Analyzer, 850 to 1050 nm, near-infrared transmission.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "0.45"
QUICK = "--quick" in sys.argv  # fewer widths, two networks

# %%
# The spectra
# -----------
#
# There are 240 samples. Each has its absorbance at 100 wavelengths, and the fat that a chemist
# found. The curves differ in height, for reasons that have nothing to do with fat. What shows the
# fat is a small bump near 930 nm.

table = pd.read_csv(HERE / "data" / "tecator.csv.gz")
fat = table["fat_percent"].to_numpy()
absorbance = table.filter(like="absorbance_")
wavelength = absorbance.columns.str.extract(r"_(\d+)_", expand=False).astype(int)

spectra, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for row, percent in zip(absorbance.to_numpy()[::4], fat[::4], strict=True):
    ax.plot(wavelength, row, color=plt.cm.viridis(percent / fat.max()), lw=0.8)
scale = plt.cm.ScalarMappable(plt.Normalize(0, fat.max()), "viridis")
spectra.colorbar(scale, ax=ax, label="fat (%)")
ax.set(xlabel="wavelength (nm)", ylabel="absorbance", title="Every fourth sample")

# %%
# The task of the literature
# --------------------------
#
# The inputs are 22 principal components of the spectra. 172 samples are for learning, 43 for
# testing. Two more sets lie outside: *E1* has more fat than any sample learned from, *E2* more
# protein.

X = table.filter(like="component_")
part = table["part"]
learn = part.isin(["C", "M"])
linear = LinearRegression().fit(X[learn].iloc[:, :10], fat[learn])
of_linear = root_mean_squared_error(fat[part == "T"], linear.predict(X[part == "T"].iloc[:, :10]))
print(f"Fat of 43 test samples, RMSE: linear model of 10 components {of_linear:.2f} %")

# %%
# Choose by the evidence
# ----------------------
#
# Many components probably say nothing about the fat. For such inputs there is ``alpha="ard"``,
# which has a penalty for each input. How many hidden units? The log evidence tells, from the 172
# samples alone; nothing is held out. The last column, the error on the test samples, takes no part
# in the choice: it shows whether the choice is good. (Do not compare "ard" with the plain evidence
# by the log evidence: "ard" starts where the plain evidence ends, and never falls below it.)

print("\nalpha     units  log evidence  RMSE of the test samples")
found = {}
for alpha in ("evidence", "ard"):
    for units in (3, 12) if QUICK else (2, 3, 4, 6, 12):
        model = MLPSigmoidRegressor(units, alpha=alpha, n_members=2 if QUICK else 5, random_state=0)
        model.fit(X[learn], fat[learn])
        found[alpha, units] = model
        rmse = root_mean_squared_error(fat[part == "T"], model.predict(X[part == "T"]))
        print(f"{alpha:9} {units:5}  {np.mean(model.log_evidence_):12.1f}  {rmse:24.2f}")

# %%
# The committee chosen
# --------------------
#
# Each of the fits above is the mean of five networks.

units = max(
    (units for alpha, units in found if alpha == "ard"),
    key=lambda units: np.mean(found["ard", units].log_evidence_),
)
model = found["ard", units]
rmse = root_mean_squared_error(fat[part == "T"], model.predict(X[part == "T"]))
print(f"\nChosen: {units} units; RMSE {rmse:.2f} % on the test samples")
print("Published: 0.65 (network 10-6-1, early stopping), 0.52 (10-3-1, Bayesian),")
print("           0.36 (13-X-1, Bayesian, automatic relevance determination)")

# %%
# Beyond the data
# ---------------
#
# On E1 the network extrapolates, as it has seen no meat with more than 49 % fat. The errors grow,
# and so do the error bars.

print("\nset  samples  RMSE  mean error bar  within the 95 % intervals")
figure, left = plt.subplots(figsize=(7, 4.6), layout="constrained")
looks = {"T": (GREY, "test"), "E1": (ORANGE, "E1: more fat"), "E2": (BLUE, "E2: more protein")}
for name, (colour, label) in looks.items():
    here = part == name
    mean, std = model.predict(X[here], return_std=True)
    lower, upper = model.predict_interval(X[here], coverage=0.95)
    within = ((lower < fat[here]) & (fat[here] < upper)).mean()
    rmse = root_mean_squared_error(fat[here], mean)
    print(f"{name:4} {here.sum():7}  {rmse:4.2f}  {std.mean():14.2f}  {within:24.0%}")
    left.errorbar(
        fat[here], mean, yerr=[mean - lower, upper - mean], fmt="o", ms=4, lw=1, color=colour,
        label=label,
    )  # fmt: skip
left.axline((0, 0), slope=1, color="k", lw=0.6, zorder=0)
left.set(xlabel="fat found by the chemist (%)", ylabel="fat read off the spectrum (%)")
left.set_title("Beyond the data the bars open")
left.legend(frameon=False)

# sphinx_gallery_thumbnail_number = 2
path = HERE / "output" / "fat_in_meat.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=110)
print(f"Figure: {os.path.relpath(path)}")

# %%
# Which components matter
# -----------------------
#
# ``relevances_`` is the share of each input in what the hidden units receive; for a component of no
# use it is nearly zero. Components are numbered by how much the spectra vary along them, and the
# first is not the one that shows the fat.

relevance = model.relevances_
order = np.argsort(relevance)[::-1]
print("\nMost relevant components:", ", ".join(f"{k + 1} ({relevance[k]:.0%})" for k in order[:5]))
print(f"Components with less than 0.1 %: {np.sum(relevance < 0.001)} of {len(relevance)}")
_, right = plt.subplots(figsize=(7, 4), layout="constrained")
right.bar(np.arange(1, 1 + len(relevance)), np.maximum(relevance, 1e-7), color=BLUE)
right.set(yscale="log", xlabel="principal component", ylabel="relevance", ylim=(1e-6, 1))
right.set_title("Not every component shows the fat")
