"""
A network on a microcontroller
==============================

How small can a network be that predicts the output of a power plant from four sensors, on a chip
without Python? The fitted network is written as one file of C. A compiler on this machine turns it
into a library, whose results are compared with ``predict``.

The program needs a C compiler, ``cc``; without one the file is written, and nothing is run.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor
from skprop.export import to_c

HERE = Path(__file__).parent
BLUE, ORANGE = "#1f5fa8", "#d9661f"
QUICK = "--quick" in sys.argv  # two widths, fewer rows
OUTPUT = HERE / "output"
OUTPUT.mkdir(exist_ok=True)

# %%
# The sensors
# -----------
#
# Temperature, vacuum, pressure and humidity, once an hour, and the megawatts of that hour.

table = pd.read_csv(HERE / "data" / "power_plant.csv.gz")
X, y = table.drop(columns="power_mw"), table["power_mw"]
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=400 if QUICK else 2000, random_state=0
)

# %%
# How small?
# ----------
#
# One network of each width is fitted, with its penalty from the data. The numbers of a network take
# four bytes each in ``float``.

networks, errors = {}, {}
print("units  numbers  bytes  RMSE (MW) of rows held out")
for units in (2, 10) if QUICK else (1, 2, 3, 5, 10, 20, 50):
    model = MLPSigmoidRegressor(units, alpha="evidence", n_members=1, random_state=0)
    networks[units] = model.fit(X_train, y_train)
    errors[units] = root_mean_squared_error(y_test, model.predict(X_test))
    numbers = model.theta_.size + 2 * (X.shape[1] + 1)  # and a mean and a scale for each column
    print(f"{units:5}  {numbers:7}  {4 * numbers:5}  {errors[units]:.2f}")

# %%
# One file of C
# -------------
#
# The network of ten units is written in single precision. The file has two functions: the
# prediction, and its derivatives by the sensors.

model = networks[10]
source = to_c(model, name="plant", dtype="float")
path = OUTPUT / "plant.c"
path.write_text(source, encoding="utf-8")
print(f"\n{path.name}: {len(source.splitlines())} lines")
print("\n".join(line for line in source.splitlines() if line.startswith("void") and ";" in line))

# %%
# Compiled, and called
# --------------------
#
# Here the compiler is that of this machine, and the function is called from Python, to compare it
# with ``predict``. On a chip it would be called from the loop that reads the sensors.

compiler = shutil.which("cc")
served = None
if compiler:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "plant.so"
        subprocess.run(
            [compiler, "-std=c99", "-O2", "-shared", "-fPIC", path, "-o", library, "-lm"],
            check=True,
        )
        plant = ctypes.CDLL(str(library))
        pointer = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
        plant.plant_predict.argtypes = [pointer, pointer]
        rows = np.ascontiguousarray(X_test, np.float32)
        served = np.empty((len(rows), 1), np.float32)
        for row, out in zip(rows, served, strict=True):
            plant.plant_predict(row, out)
        call = min(timeit.repeat(lambda: plant.plant_predict(rows[0], served[0]), number=2000))
    difference = np.abs(served[:, 0] - model.predict(X_test)).max()
    print(f"\nAgainst predict, {len(rows)} rows: at most {difference:.1e} MW apart")
    print(f"A call takes {call / 2000 * 1e6:.1f} µs here, most of it for the call from Python")
else:
    print("\nNo C compiler here: nothing to run")

# %%
# The error against the size
# --------------------------

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
size = [4 * (networks[units].theta_.size + 10) for units in errors]
ax.semilogx(size, list(errors.values()), "o-", color=BLUE)
for units, x in zip(errors, size, strict=True):
    ax.annotate(f"{units}", (x, errors[units]), xytext=(0, 8), textcoords="offset points")
ax.margins(0.12)
ax.xaxis.set_major_formatter("{x:g}")
ax.set(xlabel="bytes of the network", ylabel="RMSE of rows held out (MW)")
ax.set_title("A few hundred bytes are enough (labels: hidden units)")

picture = OUTPUT / "microcontroller.png"
figure.savefig(picture, dpi=110)
print(f"Figure: {os.path.relpath(picture)}")
