"""Levenberg–Marquardt beside L-BFGS on real data: ``python -m benchmarks.lm``.

From each of several starting points L-BFGS runs for 5,000 iterations, and `minimize_lm` until it is
at the loss where L-BFGS stands then, or in a minimum of its own (no entry of the gradient above
1e-8). All rows, standardised, α = 1e-2. On concrete, and on each ``<name>/data.npz`` of a folder
(keys X, y).

Printed for each set and number of units: the median time of L-BFGS; in how many of the starts LM
got to its loss, and the median time it took there as a part of that of L-BFGS; the median
time of the other runs, to a minimum, likewise; and the median over all starts of the loss of a
whole run of LM, as a part of that of L-BFGS.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from skprop import MLPSigmoidRegressor, minimize_lbfgs, minimize_lm

CONCRETE = Path(__file__).parents[1] / "examples" / "data" / "concrete.csv"


def load(path):
    if path == CONCRETE:
        table = np.loadtxt(path, delimiter=",", skiprows=1)
        return table[:, :-1], table[:, -1]
    with np.load(path) as data:
        return data["X"], data["y"]


def timed(minimize, objective, theta0, **options):
    start = time.perf_counter()
    result = minimize(objective, theta0, **options)
    return time.perf_counter() - start, result


def to_loss(target):
    def callback(iteration):
        if iteration.fun <= target:
            raise StopIteration

    return callback


def one_start(X, y, units, seed):
    """Seconds and loss of L-BFGS, seconds to that loss or a minimum, loss of a whole run of LM."""
    model = MLPSigmoidRegressor(units, alpha=1e-2, random_state=seed)
    objective, theta0 = model.make_objective(X, y)
    t, lbfgs = timed(minimize_lbfgs, objective, theta0, tol=0.0, max_iter=5000, max_fun=10**6)
    options = {"tol": 1e-8, "max_iter": 5000}
    t_lm, first = timed(minimize_lm, objective, theta0, callback=to_loss(lbfgs.fun), **options)
    whole = minimize_lm(objective, first.x, **options)
    return t, lbfgs.fun, t_lm, first.fun, whole.fun


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks.lm", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of <name>/data.npz")
    parser.add_argument("--only", nargs="+", help="these sets alone")
    parser.add_argument("--units", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--starts", type=int, default=10)
    arguments = parser.parse_args()
    sets = {"concrete": CONCRETE}
    if arguments.data:
        sets |= {path.parent.name: path for path in sorted(arguments.data.glob("*/data.npz"))}
    print("| set, units | L-BFGS, s | reached | time, reached | time, else | loss of LM |")
    print("|---" * 6 + "|")
    for name in arguments.only or sets:
        X, y = load(sets[name])
        for units in arguments.units:
            runs = [one_start(X, y, units, seed) for seed in range(arguments.starts)]
            t, target, t_lm, loss, whole = np.transpose(runs)
            reached = loss <= target
            there, elsewhere = (
                f"{np.median((t_lm / t)[which]):.2f}" if which.any() else "–"
                for which in (reached, ~reached)
            )
            share = f"{reached.sum()} of {len(runs)}"
            cells = f"{np.median(t):.2f} | {share} | {there} | {elsewhere}"
            print(f"| {name}, {units} | {cells} | {np.median(whole / target):.3f} |", flush=True)


if __name__ == "__main__":
    main()
