"""
Serving with ONNX
=================

How close is a network exported to ONNX to the original, and how fast? The graph takes the raw
recipe and returns MPa, scaling included. Here onnxruntime runs it in Python; its C++, Java, C# and
browser versions run the same file. To serve it over HTTP::

    python examples/server/serve.py examples/output/concrete_float64.onnx
"""

import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pandas as pd
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor
from skprop.onnx import to_onnx

HERE = Path(__file__).parent
QUICK = "--quick" in sys.argv  # time a few calls instead of many
OUTPUT = HERE / "output"
OUTPUT.mkdir(exist_ok=True)

# %%
# A fitted network
# ----------------

table = pd.read_csv(HERE / "data" / "concrete.csv")
X, y = table.drop(columns="strength_mpa").to_numpy(), table["strength_mpa"].to_numpy()
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = MLPSigmoidRegressor(alpha=1e-4, random_state=0).fit(X_train, y_train)
predicted = model.predict(X_test)
print(f"R² on {len(y_test)} specimens held out: {model.score(X_test, y_test):.3f}")

# %%
# Two files, and what serves them
# -------------------------------
#
# The graph computes in the type of the rows given to ``to_onnx``. The function that serves it needs
# nothing but the file.


def serve(path):
    """A function X -> predictions that knows nothing but a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda X: session.run(None, {name: X})[0][:, 0]  # the one column of (rows, 1)


served, difference = {}, {}
for dtype in ("float64", "float32"):
    path = OUTPUT / f"concrete_{dtype}.onnx"
    path.write_bytes(to_onnx(model, X_train[:1].astype(dtype)).SerializeToString())
    served[dtype] = serve(path)
    difference[dtype] = np.abs(served[dtype](X_test.astype(dtype)) - predicted)
    print(
        f"{path.name}: {path.stat().st_size / 1024:.1f} KiB, "
        f"at most {difference[dtype].max():.1e} MPa from predict"
    )

# %%
# The time of a call
# ------------------
#
# On few rows onnxruntime is quicker, as a call of ``predict`` has a fixed cost. On a hundred rows
# and more only the float32 graph is.


def microseconds(call, X, repeats):
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(X)
        times.append(time.perf_counter() - start)
    return 1e6 * np.median(times)


sizes, repeats = (1, 10, 100, len(X)), 20 if QUICK else 500
calls = {
    "predict": model.predict,
    "onnxruntime, float64": served["float64"],
    "onnxruntime, float32": served["float32"],
}
print(f"{'µs a call, on one thread':24}" + "".join(f"{n:>7} rows" for n in sizes))
times = {}
with threadpool_limits(1):
    for name, call in calls.items():
        rows = X.astype("float32" if "32" in name else "float64")
        times[name] = [microseconds(call, rows[:n], repeats) for n in sizes]
        print(f"{name:24}" + "".join(f"{t:12.0f}" for t in times[name]))

# %%
# What rounding leaves, and the times
# -----------------------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for dtype, color in (("float32", "#1f5fa8"), ("float64", "#d9661f")):
    shown = np.maximum(difference[dtype], 1e-15)  # many are zero
    left.semilogy(
        predicted, shown, "o", color=color, markersize=4, alpha=0.45, markeredgewidth=0,
        label=f"{dtype}: at most {difference[dtype].max():.0e} MPa",
    )  # fmt: skip
left.set(
    title=f"What rounding leaves, on {len(y_test)} specimens held out",
    xlabel="predicted strength (MPa)",
    ylabel="difference of onnxruntime from predict (MPa)",
    ylim=(5e-16, 1),
)
left.legend(frameon=False)
for (name, t), color in zip(times.items(), ("0.45", "#d9661f", "#1f5fa8"), strict=True):
    right.loglog(sizes, t, "o-", color=color, markersize=4, label=name)
right.set(title="One call, on one thread", xlabel="rows", ylabel="time (µs)")
right.set_xticks(sizes, [f"{n:,}" for n in sizes])
right.yaxis.set_major_formatter("{x:g}")
right.minorticks_off()
right.legend(frameon=False)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)

path = OUTPUT / "onnx_serving.png"
figure.savefig(path, dpi=150)
print(f"Figure: {os.path.relpath(path)}")
