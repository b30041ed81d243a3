"""Where there is nothing, or not much, beyond a line: ``python -m benchmarks.lines``, ``--quick``.

For each problem, over seeds: test RMSE of least squares, and as ratios to it those of the default,
and of the default as it was before: every network from one start of spread 1.
"""

import argparse
from functools import partial

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor, fitting
from skprop.solvers import minimize_evidence

N_TEST = 1000


def line(rng, n_samples, n_features, noise=1.0, bend=0.0):
    """A line, with ``bend`` times a product of two features and noise."""
    X = rng.normal(size=(n_samples + N_TEST, n_features))
    f = X @ rng.normal(size=n_features) + bend * np.sin(2 * X[:, 0]) * X[:, 1]
    return X, f + noise * rng.normal(size=len(X))


def waves(rng, n_samples, frequency):
    X = rng.uniform(-3, 3, (n_samples + N_TEST, 1))
    return X, np.sin(frequency * X[:, 0]) + 0.1 * rng.normal(size=len(X))


def noise(rng, n_samples, n_features):
    X = rng.normal(size=(n_samples + N_TEST, n_features))
    return X, rng.normal(size=len(X))


def friedman(rng, n_samples):
    X = rng.random((n_samples + N_TEST, 5))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    return X, y + 10 * X[:, 3] + 5 * X[:, 4] + rng.normal(size=len(X))


PROBLEMS = {  # what makes rows, their number, and the units of the network
    "a line, 60 × 5, noise 0.3": (partial(line, n_features=5, noise=0.3), 60, "auto"),
    "a line, 300 × 10": (partial(line, n_features=10), 300, "auto"),
    "a line, 1,500 × 10": (partial(line, n_features=10), 1500, "auto"),
    "noise alone, 200 × 6": (partial(noise, n_features=6), 200, "auto"),
    "a line and a weak interaction, 400 × 6": (partial(line, n_features=6, bend=0.5), 400, "auto"),
    "sin 3x, 100 rows, 5 units": (partial(waves, frequency=3), 100, 5),
    "Friedman 1, 50 rows": (friedman, 50, "auto"),
}


def rmse(model, X, y, n_samples):
    model.fit(X[:n_samples], y[:n_samples])
    return root_mean_squared_error(y[n_samples:], model.predict(X[n_samples:]))


def before(X, y, n_samples, units, seed):
    """The RMSE of the default as it was."""
    now = fitting.SOLVERS["evidence"]
    fitting.SOLVERS["evidence"] = minimize_evidence, now[1]
    try:
        model = MLPSigmoidRegressor(units, initial_spread=1.0, random_state=seed)
        return rmse(model, X, y, n_samples)
    finally:
        fitting.SOLVERS["evidence"] = now


def main():
    parser = argparse.ArgumentParser("python -m benchmarks.lines", description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--quick", action="store_true", help="one seed, up to 200 rows")
    options = parser.parse_args()
    print("| | least squares | before | now |\n|---|---|---|---|")
    for name, (problem, n_samples, units) in PROBLEMS.items():
        if options.quick and n_samples > 200:
            continue
        found = []
        for seed in range(options.first, options.first + (1 if options.quick else options.seeds)):
            X, y = problem(np.random.default_rng(seed), n_samples)
            least = rmse(LinearRegression(), X, y, n_samples)
            default = MLPSigmoidRegressor(units, random_state=seed)
            networks = before(X, y, n_samples, units, seed), rmse(default, X, y, n_samples)
            found.append([least, *(error / least for error in networks)])
        least, *ratios = np.mean(found, axis=0)
        print(f"| {name} | {least:.3f} |", *(f"{ratio:.2f} |" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
