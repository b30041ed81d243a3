"""Random fits, predictions, pickles and kills for as long as one likes: no error, memory flat.

    python -m tests.soak [--minutes 60] [--seed 0]

prints what was done, and the resident memory (Linux) from minute to minute. Ends with status 1 if
its median grows by more than 20 MiB from the second third of the time to the last.
"""

import argparse
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skprop import MLPSigmoidRegressor

MOST_GROWTH = 20.0  # MiB
SHARES = {"fit": 0.6, "predict": 0.2, "pickle": 0.15, "kill": 0.05}


def resident():
    """The resident memory in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def random_fit(rng):
    """A fitted model and its rows, of every kind that there is."""
    n, d, k = int(rng.choice([5, 60, 500, 3000])), int(rng.integers(1, 9)), int(rng.integers(1, 3))
    X = rng.normal(size=(n, d)).astype(rng.choice([np.float32, np.float64]))
    y = (np.sin(X[:, :1]) * np.arange(1, k + 1)).squeeze() + rng.normal(0, 0.1)
    parameters = {
        "hidden_layer_sizes": [(), (5,), (20,), (8, 4)][rng.integers(4)],
        "solver": str(rng.choice(["lbfgs", "lm", "sgd", "adam"])),
        "alpha": float(10.0 ** rng.integers(-6, 1)),
        "n_members": int(rng.integers(1, 4)),
        "early_stopping": bool(rng.random() < 0.3 and n > 50),
        "max_iter": int(rng.integers(1, 20)),
        "random_state": int(rng.integers(100)),
    }
    if rng.random() < 0.3:
        parameters["solver"] = "auto"
        parameters["alpha"] = str(rng.choice(["evidence", "ard"]))
        parameters["early_stopping"] = False
    rows = csr_array(X) if rng.random() < 0.2 else X
    weight = rng.uniform(0, 2, n) if rng.random() < 0.3 else None
    return MLPSigmoidRegressor(**parameters).fit(rows, y, sample_weight=weight), rows, y


def online():
    """The regressor, rows and targets of a process that is to be killed."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 4))
    return MLPSigmoidRegressor(8, solver="adam", random_state=0), X, np.sin(X[:, 0])


def learn(path):
    """Passes over the rows without end, each saved before the next."""
    model, X, y = online()
    while True:
        model.partial_fit(X, y)
        joblib.dump(model, f"{path}.new")
        os.replace(f"{path}.new", path)


def kill(rng, folder):
    """Kill such a process; what it had saved is whole, and has the bits of as many passes."""
    path = Path(folder) / "model.joblib"
    path.unlink(missing_ok=True)
    child = subprocess.Popen([sys.executable, "-m", "tests.soak", "--learn", str(path)])
    try:
        end = time.monotonic() + 300
        while not path.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1))
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    saved, (model, X, y) = joblib.load(path), online()
    for _ in range(saved.n_iter_):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(saved.theta_, model.theta_)


def act(name, rng, kept, folder):
    """One of SHARES, on a model of the last ten or a new one."""
    if name == "kill":
        return kill(rng, folder)
    if name == "fit" or not kept:
        model, rows, y = random_fit(rng)
        again = clone(model).fit(rows, y)
        assert np.isfinite(again.predict(rows)).all()
        kept[rng.integers(10)] = model, rows
        return None
    model, rows = kept[rng.choice(list(kept))]
    expected = model.predict(rows)
    if name == "pickle":
        model = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict(rows), expected)
    if rng.random() < 0.3:
        _, deviation = model.predict(rows, return_std=True)
        assert (deviation >= 0).all()
    return None


def soak(minutes, seed):
    """Counts of what was done, and the memory at the end of each minute."""
    rng, counts, kept, memory = np.random.default_rng(seed), Counter(), {}, []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # error bars that are not to be trusted
        while (elapsed := time.monotonic() - start) < 60 * minutes:
            name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
            try:
                act(name, rng, kept, folder)
            except Exception as error:
                error.add_note(f"{name} number {counts[name] + 1} of seed {seed}")
                raise
            counts[name] += 1
            if elapsed > 60 * len(memory):
                memory.append(resident())
                print(f"{len(memory):4} min {memory[-1]:7.1f} MiB, {dict(counts)}", flush=True)
    return counts, memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.learn:
        learn(arguments.learn)
    counts, memory = soak(arguments.minutes, arguments.seed)
    third = len(memory) // 3
    growth = np.median(memory[-third:]) - np.median(memory[third : 2 * third]) if third else 0.0
    print(f"{dict(counts)}; memory grew by {growth:.1f} MiB from the second third to the last")
    sys.exit(bool(growth > MOST_GROWTH))


if __name__ == "__main__":
    main()
