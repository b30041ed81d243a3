"""Whether error bars and intervals hold: ``python -m benchmarks.error_bars --data FOLDER``.

Three tables on Friedman's first function (noise 1; 20 to 800 rows) and on the sets of FOLDER, which
is as `benchmarks.defaults` describes; at most 2,000 training and 2,000 test rows. *Any fit*: a
fixed alpha, by each solver; with the posterior under the penalty of the fit, and with the prior and
the noise of the linearised network, as ``predict(X, return_std=True)`` has it. *Intervals*:
``alpha="evidence"``, one network and five; Gaussian quantiles, and ``predict_interval``. *Slopes*:
the same networks on Friedman's function, whose derivatives are known; Gaussian quantiles with the
deviations of ``predict_gradient(X, return_std=True)``.
"""

import argparse
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import norm
from sklearn.datasets import make_friedman1

from skprop import MLPSigmoidRegressor
from skprop.committee import Committee
from skprop.data import training_data
from skprop.folds import Setup, objective_of
from skprop.network import Network
from skprop.posterior import affordable, laplace

from .defaults import load

SIZES = (20, 50, 200, 400, 800)
NOMINAL = np.array([0.5, 0.8, 0.95])
MOST_ROWS = 2_000
SOLVERS = ("lbfgs", "lm", "adam", "sgd")


def friedman(n, k):
    """Training and test rows of split k."""
    X, y = make_friedman1(n + MOST_ROWS, noise=1.0, random_state=1000 * k + n)
    return X[:n], y[:n], X[n:], y[n:]


def split(name, folder, k):
    X, y, splits = load(name, folder)
    rng = np.random.RandomState(k)
    train, test = (rng.permutation(rows)[:MOST_ROWS] for rows in splits[k])
    return X[train], y[train], X[test], y[test]


def problems(options):
    """Names and functions that give split k."""
    sizes = SIZES[1:3] if options.quick else SIZES
    for n in sizes:
        yield f"Friedman-1, {n} rows", lambda k, n=n: friedman(n, k)
    names = ["diabetes"]
    if options.data:
        names = sorted(path.parent.name for path in options.data.glob("*/data.npz"))
    for name in names:
        yield name, lambda k, name=name: split(name, options.data, k)


def under_the_penalty_of_the_fit(model, X, y, rows):
    """Standard deviations of test rows from the posterior whose prior is the penalty of the fit."""
    setup = Setup.of(model)
    data = training_data(model, X, y, None, setup.expected)
    found = laplace(objective_of(data, setup, alpha=0.0), model.theta_, model.alpha)
    network = Network(setup.layout, model.theta_, setup.output_activation)
    committee = Committee([network], [found.factor], [found.noise])
    return setup.units.raw_deviation(committee.mean_and_deviation(setup.units.rows(rows))[1])


def quality(mean, std, y, scale):
    """Median std over RMSE; coverage of 50, 80 and 95 %; log-likelihood in units of ``scale``."""
    z = np.abs(y - mean) / std
    covered = [np.mean(z <= norm.ppf((1 + p) / 2)) for p in NOMINAL]
    likelihood = np.mean(norm.logpdf(y, mean, std)) + np.log(scale)
    return [np.median(std) / np.sqrt(np.mean((y - mean) ** 2)), *covered, likelihood]


def one_fit(solver, early_stopping, width, k, X, y, X_test, y_test):
    """The quality under either prior, and whether `predict` warned; None without a posterior."""
    model = MLPSigmoidRegressor(width, solver=solver, alpha=1e-4, n_members=1, random_state=k)
    if not affordable(model.make_objective(X, y)[0]):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.set_params(early_stopping=early_stopping).fit(X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mean, std = model.predict(X_test, return_std=True)
    before = under_the_penalty_of_the_fit(model, X, y, X_test)
    return [quality(mean, s, y_test, y.std()) for s in (before, std)], len(caught) > 0


def any_fit(options):
    """Print the table of fits with a fixed alpha."""
    print("| | | median std / RMSE, 20 … 800 rows | 1.5 | 50, 80, 95 % | log-lik. | warned |")
    print("|---" * 7 + "|")
    splits = range(options.first, options.first + options.splits)
    for early_stopping, solver in product((False, True), SOLVERS):
        cells, warned = {}, []
        for (name, data), k, width in product(problems(options), splits, options.widths):
            if found := one_fit(solver, early_stopping, width, k, *data(k)):
                cells.setdefault((name, width), []).append(found[0])
                warned.append(found[1])
        label = f"{solver}, early stopping" if early_stopping else solver
        print_fits(label, cells, f"{sum(warned)} of {len(warned)}")


def print_fits(label, cells, warned):
    """Two rows: under the penalty of the fit, and under the prior of the linearised network."""
    for which, rule in enumerate(("penalty of the fit", "`predict`")):
        found = {}
        for cell, values in cells.items():
            values = np.array(values)[:, which]
            found[cell] = [np.exp(np.log(values[:, 0]).mean()), *values[:, 1:].mean(axis=0)]
        by_name = {}
        for (name, _), values in found.items():
            by_name.setdefault(name, []).append(np.log(values[0]))
        ratios = [np.exp(np.mean(v)) for name, v in by_name.items() if "Friedman" in name]
        table = np.array(list(found.values()))
        good = np.sum(np.abs(np.log(table[:, 0])) < np.log(1.5))
        mean = table.mean(axis=0)
        print(
            f"| {label} | {rule} | {', '.join(f'{r:.2g}' for r in ratios)} |",
            f"{good} of {len(table)} | {', '.join(f'{100 * c:.0f}' for c in mean[1:4])} |",
            f"{mean[4]:.2f} | {warned if which else '–'} |",
            flush=True,
        )


def intervals(options):
    """Print the coverage of intervals under ``alpha="evidence"``."""
    print("\n| set | one network: Gaussian | `predict_interval` | five: Gaussian "
          "| `predict_interval` | CPU s |")  # fmt: skip
    print("|---" * 6 + "|")
    rows = {}
    for name, data in problems(options):
        start, found = time.process_time(), []
        for k in range(options.first, options.first + options.splits):
            X, y, X_test, y_test = data(k)
            found.append([])
            for n_members in (1, 5):
                model = MLPSigmoidRegressor(
                    options.widths[0], alpha="evidence", n_members=n_members, random_state=k
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    mean, std = model.fit(X, y).predict(X_test, return_std=True)
                found[-1].append(quality(mean, std, y_test, 1.0)[1:4])
                ends = [model.predict_interval(X_test, p) for p in NOMINAL]
                found[-1].append([np.mean((a <= y_test) & (y_test <= b)) for a, b in ends])
        rows[name] = np.mean(found, axis=0)
        print_coverage(name, rows[name], f"{time.process_time() - start:.0f}")
    print_coverage("mean", np.mean(list(rows.values()), axis=0), "")


def print_coverage(name, found, seconds):
    cells = [", ".join(f"{100 * share:.0f}" for share in shares) for shares in found]
    print(f"| {name} |", " | ".join(cells), f"| {seconds} |", flush=True)


def friedman_gradient(X):
    """∂y/∂x of Friedman's first function, of which features beyond the fifth are no part."""
    gradient = np.zeros_like(X)
    gradient[:, :2] = 10 * np.pi * (np.cos(np.pi * X[:, 0] * X[:, 1])[:, None] * X[:, 1::-1])
    gradient[:, 2:5] = np.column_stack([40 * (X[:, 2] - 0.5), np.full((len(X), 2), [10.0, 5.0])])
    return gradient


def slopes(options):
    """Print the percent of true slopes within Gaussian intervals, and errors beside deviations."""
    print("\nPercent of slopes within 50, 80, 95 %; RMSE of slopes and root mean square std")
    for n in SIZES[1:3] if options.quick else SIZES:
        for width, n_members in product(options.widths, (1, 5)):
            z, squares = [], []
            for k in range(options.first, options.first + options.splits):
                X, y, X_test, _ = friedman(n, k)
                model = MLPSigmoidRegressor(
                    width, alpha="evidence", n_members=n_members, random_state=k
                )
                found, std = model.fit(X, y).predict_gradient(X_test, return_std=True)
                error = found - friedman_gradient(X_test)
                z.append(np.abs(error) / std)
                squares.append([np.mean(error**2), np.mean(std**2)])
            within = [100 * np.mean(np.array(z) < norm.ppf((1 + p) / 2)) for p in NOMINAL]
            cells = ", ".join(f"{share:.0f}" for share in within)
            rmse, deviation = np.sqrt(np.mean(squares, axis=0))
            print(
                f"| Friedman-1, {n} rows | {width} | {n_members} | {cells} "
                f"| {rmse:.2f} | {deviation:.2f} |"
            )


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks.error_bars", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("tables", nargs="*", help="any_fit, intervals, slopes; all by default")
    parser.add_argument("--data", type=Path, help="folder of <name>/data.npz")
    parser.add_argument("--splits", type=int, default=3, help="so many splits of each set")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--widths", type=int, nargs="+", default=[50, 10], help="hidden units")
    parser.add_argument("--quick", action="store_true", help="two sizes and one split")
    options = parser.parse_args()
    tables = {"any_fit": any_fit, "intervals": intervals, "slopes": slopes}
    if unknown := set(options.tables) - tables.keys():
        parser.error(f"unknown table {', '.join(unknown)}")
    if options.quick:
        options.splits, options.widths = 1, [10]
    for name in options.tables or tables:
        tables[name](options)


if __name__ == "__main__":
    main()
