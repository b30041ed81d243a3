"""Accuracy on real data: ``python -m benchmarks accuracy --data FOLDER``.

Raw X and y in, one fixed setting for every set, nothing tuned by hand. For each set and contender,
over the train/test splits: test RMSE and mean Gaussian log-likelihood of the test targets (mean ±
standard error), the share of them within the 50, 80 and 95 % intervals, Gaussian ones and those of
`predict_interval`, and the mean CPU seconds of a fit. FOLDER is as `benchmarks.defaults` describes;
without it the table has diabetes alone. CatBoost takes part if it is installed and named:
``--only CatBoost default``.
"""

import time
import warnings

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import norm
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor

from .defaults import load

NOMINAL = np.array([0.5, 0.8, 0.95])


def grid_search(random_state):
    """scikit-learn's network in scalers, α by 3-fold cross-validation over 7 values."""
    alpha = {"regressor__mlpregressor__alpha": np.logspace(-5, 1, 7)}
    scaled = scaled_network(random_state)
    return GridSearchCV(scaled, alpha, cv=3, scoring="neg_mean_squared_error")


def scaled_network(random_state):
    """scikit-learn's network in scalers of X and y, with its defaults."""
    network = make_pipeline(StandardScaler(), MLPRegressor(random_state=random_state))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def boosting(random_state):
    return HistGradientBoostingRegressor(random_state=random_state)


def catboost(random_state):
    """CatBoost with its defaults, on one thread as all the others."""
    from catboost import CatBoostRegressor

    options = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    return CatBoostRegressor(random_seed=random_state, **options)


def ridge(random_state):
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))


def network(**parameters):
    return lambda random_state: MLPSigmoidRegressor(random_state=random_state, **parameters)


CONTENDERS = {
    "default": network(),
    "narrow start, 5 members": network(initial_spread=None, n_members=5),
    "one layer of 50": network(hidden_layer_sizes=50),
    "one spread": network(initial_spread=1.0),
    "one network": network(alpha=1e-4),
    "early stopping": network(alpha=1e-4, early_stopping=True, n_iter_no_change=100),
    "to the end": network(alpha=1e-4, tol=1e-6, max_iter=500),
    "evidence": network(alpha="evidence"),
    "evidence, 5 members": network(alpha="evidence", n_members=5),
    "early stopping, 10 members": network(early_stopping=True, n_members=10),
    "MLPRegressor, grid search": grid_search,
    "MLPRegressor": scaled_network,
    "boosting": boosting,
    "ridge": ridge,
    "CatBoost": catboost,
}


def seconds_of_fit(model, X, y):
    """Fit a model on one thread, and tell the CPU time that it took."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.process_time()
        model.fit(X, y)
        return time.process_time() - start


def one_split(contender, name, folder, k):
    """RMSE, log-likelihood, CPU seconds, and the coverage of both kinds of intervals."""
    X, y, splits = load(name, folder)
    train, test = splits[k]
    model = CONTENDERS[contender](random_state=k)
    seconds = seconds_of_fit(model, X[train], y[train])
    if not isinstance(model, MLPSigmoidRegressor):
        error = model.predict(X[test]) - y[test]
        return np.sqrt(np.mean(error**2)), np.nan, seconds, *np.full(6, np.nan)
    mean, std = model.predict(X[test], return_std=True)
    error = y[test] - mean
    covered = [np.mean(np.abs(error) <= norm.ppf((1 + p) / 2) * std) for p in NOMINAL]
    ends = [model.predict_interval(X[test], p) for p in NOMINAL]
    within = [np.mean((low <= y[test]) & (y[test] <= high)) for low, high in ends]
    likelihood = np.mean(norm.logpdf(y[test], mean, std))
    return np.sqrt(np.mean(error**2)), likelihood, seconds, *covered, *within


def table(options):
    """Print the table; its rows, for ``--save``."""
    if unknown := set(options.only or ()) - {*CONTENDERS}:
        raise SystemExit(f"unknown contender {', '.join(unknown)}; there are {[*CONTENDERS]}")
    names = ["diabetes"]
    if options.data:
        names = sorted(path.parent.name for path in options.data.glob("*/data.npz"))
    print("| set | contender | test RMSE | log-likelihood | Gaussian 50, 80, 95 % | "
          "`predict_interval` | CPU s |")  # fmt: skip
    print("|---" * 7 + "|")
    rows = []
    for name in names:
        n_splits = min(1 if options.quick else options.splits, len(load(name, options.data)[2]))
        for contender in options.only or [name for name in CONTENDERS if name != "CatBoost"]:
            found = np.array(
                Parallel(n_jobs=options.jobs)(
                    delayed(one_split)(contender, name, options.data, k) for k in range(n_splits)
                )
            )
            mean, se = found.mean(axis=0), np.zeros(9)
            if n_splits > 1:
                se = found.std(axis=0, ddof=1) / np.sqrt(n_splits)
            cells = [f"{mean[0]:#.3g} ± {se[0]:#.2g}", "–", "–", "–", f"{mean[2]:.1f}"]
            if np.isfinite(mean[1]):
                cells[1] = f"{mean[1]:.2f} ± {se[1]:.2f}"
                for at, shares in enumerate((mean[3:6], mean[6:]), start=2):
                    cells[at] = ", ".join(f"{100 * share:.0f}" for share in shares)
            print(f"| {name} | {contender} |", " | ".join(cells), "|", flush=True)
            rows.append({"table": "accuracy", "label": f"{name}, {contender}",
                         "splits": found.tolist()})  # fmt: skip
    return rows
