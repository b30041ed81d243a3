"""
Two million rows from disk
==========================

How long does a fit of two million rows take, how much memory does it need, and what do more rows
gain? X is never read into memory as a whole: it is a file, mapped into memory, from which the fit
takes a batch of rows at a time.
"""

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor

try:
    import resource
except ImportError:  # not on Windows
    resource = None

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # 20,000 rows
n_rows = 20_000 if QUICK else 2_000_000


def peak():
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 if resource else np.nan


def readings(rng, n):
    """Friedman's function: of ten features five matter; the noise has a deviation of 1."""
    X = rng.uniform(size=(n, 10)).astype(np.float32)
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    return X, (y + 10 * X[:, 3] + 5 * X[:, 4] + rng.normal(size=n)).astype(np.float32)


# %%
# A file
# ------
#
# The file is written in pieces, as the rows might come from a logger or a database. Only the
# targets stay in memory: eight megabytes. float32 halves the file and the time.

rng = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
path = Path(folder.name) / "X.npy"
on_disk = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, 10))
y = np.empty(n_rows, np.float32)
for start in range(0, n_rows, 10_000):
    here = slice(start, start + 10_000)
    on_disk[here], y[here] = readings(rng, 10_000)
del on_disk
print(f"{n_rows:,} rows of 10 features: a file of {path.stat().st_size / 2**20:.0f} MiB")

# %%
# The fit
# -------
#
# ``mmap_mode="r"`` maps the file instead of reading it. "adam" takes 1,000 rows at a time; a tenth
# of the rows is held out, and the best of at most eight passes is kept. With a ``solver`` the fit
# is one network. Without it the fit would be a committee, which takes several times as long.

X = np.load(path, mmap_mode="r")
X_test, y_test = readings(rng, 20_000)
sizes = [n_rows // 1000, n_rows // 100, n_rows // 10, n_rows]
errors = []
print("\n     rows  passes  seconds  RMSE (1 is the noise)  peak memory (MiB)")
for size in sizes:
    model = MLPSigmoidRegressor(
        (50, 50), solver="adam", batch_size=min(1000, size // 10), early_stopping=True,
        n_iter_no_change=3, max_iter=8, random_state=0,
    )  # fmt: skip
    start = time.perf_counter()
    with warnings.catch_warnings():  # eight passes may not be enough, and it says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[:size], y[:size])
    seconds = time.perf_counter() - start
    errors.append(root_mean_squared_error(y_test, model.predict(X_test)))
    print(f"{size:9,}  {model.n_iter_:6}  {seconds:7.1f}  {errors[-1]:21.3f}  {peak():17.0f}")

# %%
# What more rows gain
# -------------------
#
# The error falls nearly to the noise. (With the same number of passes more rows are also more
# steps.) The peak memory includes the part of the file that the system keeps as long as no other
# program needs the room.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.semilogx(sizes, errors, "o-", color="#1f5fa8")
ax.axhline(1, color="0.6", lw=1, ls="--")
ax.annotate("noise", (sizes[0], 1), xytext=(0, 4), textcoords="offset points", color="0.4")
ax.set(xlabel="rows", ylabel="RMSE on new rows", title="Eight passes at most over so many rows")
ax.set_ylim(bottom=0)

picture = HERE / "output" / "two_million_rows.png"
picture.parent.mkdir(exist_ok=True)
figure.savefig(picture, dpi=110)
del X  # the file can go only when it is no longer mapped
folder.cleanup()
print(f"Figure: {os.path.relpath(picture)}")
