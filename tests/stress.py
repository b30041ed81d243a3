"""Predict from 32 threads while another model is fitted over and over, and hold every answer.

python -m tests.stress [--seconds 60] [--threads 32]
"""

import argparse
import threading
import time
import warnings

import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from skprop import MLPSigmoidRegressor


def stress(seconds: float, n_threads: int) -> dict:
    """Counts of what was done; raises what went wrong."""
    X, y = make_friedman1(20_000, random_state=0)
    parameters = {"hidden_layer_sizes": 30, "max_iter": 5, "random_state": 0}
    # A convergence warning a fit is what is wanted: filters are process-wide, so set them once.
    warnings.simplefilter("ignore", ConvergenceWarning)
    served = MLPSigmoidRegressor(**{"alpha": 1e-4} | parameters).fit(X, y)
    sizes = (1, 7, 300, 5000, 20_000)
    expected = {n: served.predict(X[:n]) for n in sizes}
    references = {
        solver: MLPSigmoidRegressor(solver=solver, **parameters).fit(X, y).theta_
        for solver in ("lbfgs", "adam")
    }

    deadline, counts, wrong = time.monotonic() + seconds, {"predictions": 0, "fits": 0}, []
    lock = threading.Lock()

    def guard(work):
        def run(k):
            rng, done = np.random.default_rng(k), 0
            try:
                while time.monotonic() < deadline and not wrong:
                    work(rng)
                    done += 1
            except BaseException as error:
                wrong.append(error)
            with lock:
                counts[work.__name__] += done

        return run

    def predictions(rng):
        n = int(rng.choice(sizes, p=[0.3, 0.3, 0.3, 0.08, 0.02]))
        if not np.array_equal(served.predict(X[:n]), expected[n]):
            raise AssertionError(f"a prediction of {n} rows is not what it was")

    def fits(rng):
        solver = str(rng.choice(list(references)))
        theta = MLPSigmoidRegressor(solver=solver, **parameters).fit(X, y).theta_
        if not np.array_equal(theta, references[solver]):
            raise AssertionError(f"a fit by {solver} is not what it was")

    threads = [threading.Thread(target=guard(fits), args=(0,))]
    threads += [threading.Thread(target=guard(predictions), args=(k,)) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=seconds + 120)
        if thread.is_alive():
            raise AssertionError("a thread hangs")
    if wrong:
        raise wrong[0]
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=32)
    arguments = parser.parse_args()
    counts = stress(arguments.seconds, arguments.threads)
    print(
        f"{counts['predictions']} calls of predict from {arguments.threads} threads beside "
        f"{counts['fits']} fits in {arguments.seconds:g} s: every answer right"
    )


if __name__ == "__main__":
    main()
