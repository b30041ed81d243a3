"""Peak memory of a fit above its data, in a process of its own: ``python -m benchmarks.memory``.

Prints MiB. Linux: the peak is VmHWM, reset before the fit.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

from skprop import MLPSigmoidRegressor


def status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def main():
    n, solver, dtype = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 20), dtype=np.float32).astype(dtype)
    y = np.sin(X[:, 0])
    model = MLPSigmoidRegressor((64, 64), solver=solver, max_iter=2, random_state=0)
    warnings.simplefilter("ignore")
    model.fit(X[:1000], y[:1000])  # what is loaded and allocated once
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    model.fit(X, y)
    print(status("VmHWM") - before)


if __name__ == "__main__":
    main()
