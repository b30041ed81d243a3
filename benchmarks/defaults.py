"""The measurements from which the defaults were chosen: ``python -m benchmarks.defaults``.

Test RMSE of one network with alpha=1e-4 ("default"), of one change at a time to it, and of a fit
without a parameter ("auto"): mean over train/test splits, on diabetes (scikit-learn) and on each
``<name>/data.npz`` of a folder (keys X, y and, per split k, train_k and test_k), as the UCI sets in
the form of Hernández-Lobato and Adams (2015) come. After the mean: the mean number of iterations,
and how many fits warned.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import RepeatedKFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor, fitting

VARIANTS = {
    "default": {},  # one network with alpha=1e-4
    "auto": {"alpha": "auto"},  # what a fit does without a parameter
    "20 units": {"hidden_layer_sizes": 20},
    "30 units": {"hidden_layer_sizes": 30},
    "100 units": {"hidden_layer_sizes": 100},
    "20 + 20 units": {"hidden_layer_sizes": (20, 20)},
    "alpha=1e-2": {"alpha": 1e-2},
    "alpha=0.1": {"alpha": 0.1},
    "alpha=1": {"alpha": 1.0},
    "tol=1e-5": {"tol": 1e-5},
    "n_iter_no_change=10": {"n_iter_no_change": 10},
    "n_iter_no_change=20": {"n_iter_no_change": 20},
    "n_iter_no_change=30": {"n_iter_no_change": 30},
    "rule: 1.0 an iteration": {"rule": 1.0},
    "rule: 1.25 an iteration": {"rule": 1.25},
    "rule: 2.0 an iteration": {"rule": 2.0},
    "rule off": {"rule": 0.0},
    "early_stopping": {"early_stopping": True},
    "lm": {"solver": "lm"},
    "lm, alpha=1": {"solver": "lm", "alpha": 1.0},
    "lm, early_stopping": {"solver": "lm", "early_stopping": True},
    "adam": {"solver": "adam"},
    "adam, early_stopping": {"solver": "adam", "early_stopping": True},
    "sgd": {"solver": "sgd"},
}


def mlp_regressor(seed, **parameters):
    """scikit-learn's network, in the scalers that a careful user puts around it."""
    network = MLPRegressor(random_state=seed, **parameters)
    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )


PEERS = {
    "MLPRegressor in scalers": {},
    "the same, logistic, lbfgs": {"activation": "logistic", "solver": "lbfgs", "max_iter": 1000},
}


def load(name, folder):
    """X, y and the list of splits."""
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
        return X, y, list(RepeatedKFold(n_splits=10, n_repeats=2, random_state=0).split(X))
    with np.load(folder / name / "data.npz") as data:
        n_splits = sum(key.startswith("train_") for key in data)
        splits = [(data[f"train_{k}"], data[f"test_{k}"]) for k in range(n_splits)]
        return data["X"], data["y"], splits


def one_split(variant, name, folder, k):
    X, y, splits = load(name, folder)
    train, test = splits[k]
    if variant in PEERS:
        model = mlp_regressor(k, **PEERS[variant])
    else:
        parameters = dict(VARIANTS[variant])
        fitting.LOG_LIKELIHOOD_PER_ITERATION = parameters.pop("rule", 1.5)
        model = MLPSigmoidRegressor(random_state=k, **{"alpha": 1e-4} | parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X[train], y[train])
    error = model.predict(X[test]) - y[test]
    network = model.regressor_[-1] if variant in PEERS else model
    return np.sqrt(np.mean(error**2)), network.n_iter_, len(caught) > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of <name>/data.npz")
    parser.add_argument("--splits", type=int, default=20, help="at most so many splits a set")
    parser.add_argument("--only", nargs="+", choices=[*VARIANTS, *PEERS], help="these rows alone")
    arguments = parser.parse_args()
    names = ["diabetes"]
    if arguments.data:
        names += sorted(path.parent.name for path in arguments.data.glob("*/data.npz"))
    print("| |", " | ".join(names), "|")
    print("|---" * (len(names) + 1) + "|")
    for variant in arguments.only or [*VARIANTS, *PEERS]:
        row = []
        for name in names:
            n_splits = min(arguments.splits, len(load(name, arguments.data)[2]))
            results = Parallel(n_jobs=-1)(
                delayed(one_split)(variant, name, arguments.data, k) for k in range(n_splits)
            )
            rmse, n_iter, warned = np.transpose(results)
            cell = f"{rmse.mean():#.3g} ({n_iter.mean():.0f}"
            row.append(cell + (f", {warned.sum():.0f} warned)" if warned.any() else ")"))
        print(f"| {variant} |", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
