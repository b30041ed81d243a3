"""Useless inputs: ``python -m benchmarks.relevance``, or with ``--data FOLDER``, ``--quick``.

Friedman's first function of five inputs, 300 training rows with noise of deviation 1, beside more
and more useless inputs: RMSE on 2,000 test targets with the same noise, so that 1 is perfect. Of
the sets in FOLDER, in the form that `benchmarks.defaults` describes, RMSE over their splits. Each
line is a mean over seeds or splits: RMSE of one network and of a committee of five, CPU seconds
of the committee, and the share of relevance that the useless inputs get.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor

USELESS = (0, 5, 15, 45)


def friedman(n_useless: int, seed: int, n_samples: int = 300, n_test: int = 2000):
    """Training rows and targets, and those to test."""
    rng = np.random.default_rng([seed, n_useless])
    X = rng.random((n_samples + n_test, 5 + n_useless))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    y += 10 * X[:, 3] + 5 * X[:, 4] + rng.normal(size=len(X))
    return X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:]


def splits_of(name: str, folder: Path):
    """The problems of a set, one for each split."""
    with np.load(folder / name / "data.npz") as data:
        X, y = data["X"], data["y"]
        for k in range(sum(key.startswith("train_") for key in data)):
            train, test = data[f"train_{k}"], data[f"test_{k}"]
            yield X[train], y[train], X[test], y[test]


def measured(alpha: str, problem: tuple, seed: int, units: int, n_members: int) -> list[float]:
    """RMSE of one network and of a committee, its CPU seconds, the share of the sixth input on."""
    X, y, X_test, y_test = problem
    found = []
    for n in (1, n_members):
        start = time.process_time()
        model = MLPSigmoidRegressor(units, alpha=alpha, n_members=n, random_state=seed).fit(X, y)
        seconds = time.process_time() - start
        found.append(root_mean_squared_error(y_test, model.predict(X_test)))
    useless = getattr(model, "relevances_", np.full(X.shape[1], np.nan))[5:].sum()
    return [*found, seconds, useless]


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks.relevance", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of <name>/data.npz, in place of Friedman")
    parser.add_argument("--only", nargs="+", help="these sets of the folder alone")
    parser.add_argument("--splits", type=int, default=20, help="at most so many splits a set")
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, two members, few units")
    options = parser.parse_args()
    seeds, n_members, units = range(options.seeds), 5, options.units
    if options.quick:
        seeds, n_members, units = range(1), 2, 5
    problems = {f"Friedman and {n} useless": [friedman(n, seed) for seed in seeds] for n in USELESS}
    if options.data:
        names = sorted(path.parent.name for path in options.data.glob("*/data.npz"))
        problems = {name: splits_of(name, options.data) for name in options.only or names}
    print("| set | alpha | one network | committee | CPU s | useless inputs' share |")
    print("|---" * 6 + "|")
    for name, each in problems.items():
        each = list(islice(each, options.splits))
        for alpha in ("evidence", "ard"):
            rows = [measured(alpha, problem, k, units, n_members) for k, problem in enumerate(each)]
            one, several, seconds, useless = np.mean(rows, axis=0)
            share = "–" if options.data or alpha == "evidence" else f"{useless:.4f}"
            cells = f"{one:.4g} | {several:.4g} | {seconds:.1f} | {share}"
            print(f"| {name} | {alpha} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
