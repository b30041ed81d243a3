"""The table of the README: ``python -m benchmarks.readme``.

Prints it from ``benchmarks/readme.csv``, which has a line for each set, contender and train/test
split; a cell of fewer than 20 splits says so. ``--data FOLDER`` measures what is missing there
first, on folders as `benchmarks.defaults` describes them; to measure all of it anew, delete the
file. Raw X and y in: test RMSE, mean Gaussian log-likelihood of the test targets where there are
error bars, CPU seconds of a fit on one thread.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .accuracy import boosting, network, scaled_network, seconds_of_fit
from .defaults import load

RESULTS = Path(__file__).with_name("readme.csv")
SETS = ("concrete", "energy", "wine", "power")
N_SPLITS = 20
FIELDS = ("set", "contender", "split", "rmse", "log_likelihood", "cpu_seconds")


def gaussian_process(random_state):
    """One length scale for each feature, and noise, by the marginal likelihood; one start."""
    return make_pipeline(StandardScaler(), AnyNumberOfFeatures(random_state=random_state))


def grid_search(random_state):
    """scikit-learn's network in scalers, α by 3-fold cross-validation over 7 values."""
    alpha = {"regressor__mlpregressor__alpha": np.logspace(-5, 1, 7)}
    scaled = scaled_network(random_state)
    return GridSearchCV(scaled, alpha, cv=3, scoring="neg_mean_squared_error")


class AnyNumberOfFeatures(GaussianProcessRegressor):
    """A Gaussian process whose kernel has as many length scales as X has columns."""

    def __init__(self, random_state=None):
        super().__init__(normalize_y=True, random_state=random_state)

    def fit(self, X, y):
        scales = RBF(np.full(X.shape[1], 2.0), (1e-2, 1e4))
        self.kernel = ConstantKernel(1.0, (1e-3, 1e4)) * scales + WhiteKernel(0.1, (1e-6, 10))
        return super().fit(X, y)


CONTENDERS = {
    "skprop, without a parameter": network(),
    "`MLPRegressor`, α by grid search": grid_search,
    "`HistGradientBoostingRegressor`": boosting,
    "`GaussianProcessRegressor`": gaussian_process,
}
WITH_ERROR_BARS = ("skprop, without a parameter", "`GaussianProcessRegressor`")
MOST_ROWS = {"`GaussianProcessRegressor`": 3_000}  # of O(n³) operations and O(n² d) numbers


def one_split(contender, data, k):
    """RMSE, log-likelihood (or an empty string) and CPU seconds."""
    X, y, splits = data
    train, test = splits[k]
    model = CONTENDERS[contender](random_state=k)
    seconds = seconds_of_fit(model, X[train], y[train])
    likelihood = ""
    if contender in WITH_ERROR_BARS:
        mean, std = model.predict(X[test], return_std=True)
        likelihood = np.mean(norm.logpdf(y[test], mean, std))
    else:
        mean = model.predict(X[test])
    return np.sqrt(np.mean((y[test] - mean) ** 2)), likelihood, seconds


def recorded(path):
    """The lines of the file, as dictionaries of strings."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(path, folder, n_splits, contenders, sets):
    """Append to the file what is not yet in it."""
    known = {(line["set"], line["contender"], int(line["split"])) for line in recorded(path)}
    for name in sets:
        data = load(name, folder)
        for contender in contenders:
            if len(data[1]) > MOST_ROWS.get(contender, np.inf):
                continue
            for k in range(min(n_splits, len(data[2]))):
                if (name, contender, k) in known:
                    continue
                found = [f"{x:.5g}" if x != "" else x for x in one_split(contender, data, k)]
                with path.open("a", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    if file.tell() == 0:
                        writer.writerow(FIELDS)
                    writer.writerow([name, contender, k, *found])


def cell(lines):
    """RMSE with its standard error, log-likelihood and seconds: means over the splits."""
    if not lines:
        return "–"
    rmse = np.array([float(line["rmse"]) for line in lines])
    error = rmse.std(ddof=1) / np.sqrt(len(rmse)) if len(rmse) > 1 else 0.0
    digits = 2 if rmse.mean() > 1 else 3
    shortfall = f" ({len(rmse)} splits)" if len(rmse) < N_SPLITS else ""
    parts = [f"{rmse.mean():.{digits}f} ± {error:.{digits}f}{shortfall}"]
    if lines[0]["log_likelihood"]:
        likelihood = np.mean([float(line["log_likelihood"]) for line in lines])
        parts.append(f"{likelihood:.2f}".replace("-", "−"))
    seconds = np.mean([float(line["cpu_seconds"]) for line in lines])
    return "; ".join([*parts, f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"])


def table(lines):
    """The table of what is recorded, line by line."""
    yield "| | " + " | ".join(SETS) + " |"
    yield "|---" * (1 + len(SETS)) + "|"
    for contender in CONTENDERS:
        cells = [
            cell([x for x in lines if (x["set"], x["contender"]) == (name, contender)])
            for name in SETS
        ]
        yield f"| {contender} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="measure what is missing, on this folder")
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="another file of results")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options = parser.parse_args()
    if options.data:
        measure(options.results, options.data, options.splits, options.only, options.sets)
    print("\n".join(table(recorded(options.results))))


if __name__ == "__main__":
    main()
