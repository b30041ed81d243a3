"""
Error bars
==========

Error bars: where they open, whether they hold, and where to measure next.

Left, a curve with a gap in the data: the 95 % band is narrow at the data and opens in the gap.
Middle, concrete strength, cross-validated: the share of specimens within the interval of each
nominal share. Right, active choice: measure where the network is least sure, or at places drawn in
proportion to its variance, beside measuring at random.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.model_selection import KFold

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9661f", "#2f8f5b", "0.45"


def curve(x):
    return np.sin(2 * x)


def gap(axes, n_members):
    """Fit the curve with a gap, print the width of the band, and draw it."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-3, -1, 40), rng.uniform(1, 3, 40)])
    y = curve(x) + rng.normal(scale=0.1, size=len(x))
    model = MLPSigmoidRegressor(20, n_members=n_members, random_state=0)
    model.fit(x[:, None], y)
    grid = np.linspace(-4, 4, 321)
    mean, std = model.predict(grid[:, None], return_std=True)
    at_data = std[(np.abs(grid) > 1) & (np.abs(grid) < 3)].mean()
    print(f"noise found (0.1 is true): {np.sqrt(model.noise_variance_):.3f}")
    print(f"standard deviation at the data {at_data:.3f}, in the gap {std[160]:.3f}")
    axes.fill_between(grid, mean - 1.96 * std, mean + 1.96 * std, color=BLUE, alpha=0.2, lw=0)
    axes.plot(grid, mean, color=BLUE, label="prediction, 95 % band")
    axes.plot(grid, curve(grid), "--", color=GREY, lw=1, label="truth")
    axes.plot(x, y, ".", color="k", ms=4, label="data")
    axes.set(xlabel="x", ylabel="y", ylim=(-3, 3), title="The band opens where data are missing")
    axes.legend(loc="upper left", fontsize=8)


def calibration(axes, n_members, n_splits):
    """Print and draw the share of concrete specimens within intervals of each nominal share."""
    table = pd.read_csv(HERE / "data" / "concrete.csv")
    X, y = table.iloc[:, :-1].to_numpy(float), table.iloc[:, -1].to_numpy(float)
    z = []
    for train, test in KFold(n_splits, shuffle=True, random_state=0).split(X):
        model = MLPSigmoidRegressor(n_members=n_members, random_state=0)
        mean, std = model.fit(X[train], y[train]).predict(X[test], return_std=True)
        z.append((y[test] - mean) / std)
    z = np.abs(np.concatenate(z))

    def interval(p):  # half its width, in standard deviations, which is the same for every row
        lower, upper = model.predict_interval(X[test][:1], p)
        return (upper - lower)[0] / (2 * std[0])

    nominal = np.linspace(0.02, 0.98, 49)
    axes.plot([0, 1], [0, 1], "--", color=GREY, lw=1)
    for label, style, half in (
        ("predict_interval", "-", interval),
        ("Gaussian", ":", lambda p: norm.ppf((1 + p) / 2)),
    ):
        axes.plot(nominal, [np.mean(z <= half(p)) for p in nominal], style, color=BLUE, label=label)
        for p in (0.5, 0.8, 0.95):
            print(f"{p:.0%} interval covers {np.mean(z <= half(p)):.0%} of the specimens ({label})")
    axes.legend(fontsize=8)
    axes.set(xlabel="nominal share", ylabel="share of specimens within", xlim=(0, 1), ylim=(0, 1),
             title="Calibration on concrete")  # fmt: skip


def surface(X):
    """The unknown response: flat, but for a bump in a corner."""
    return np.sin(X[:, 0]) + 2 * np.exp(-4 * np.sum((X - [1.2, 1.2]) ** 2, axis=1))


def errors_of_run(run, n_steps, choose):
    """The RMSE over the plane as experiments are added where ``choose`` says."""
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-2, 2, 25)]), axis=-1).reshape(-1, 2)
    rng, errors = np.random.default_rng(run), []
    X = rng.uniform(-2, 0, (12, 2))  # the first measurements are all in one corner
    y = surface(X) + rng.normal(scale=0.05, size=len(X))
    for _ in range(n_steps + 1):
        model = MLPSigmoidRegressor(20, alpha="evidence", random_state=0).fit(X, y)
        mean, std = model.predict(grid, return_std="model")
        errors.append(np.sqrt(np.mean((mean - surface(grid)) ** 2)))
        k = choose(std, rng)
        X = np.vstack([X, grid[k]])
        y = np.append(y, surface(grid[[k]]) + rng.normal(scale=0.05))
    return errors


def next_experiment(axes, n_steps, n_runs):
    """Print and draw the errors of networks that choose experiments, and of those that do not."""
    ways = {
        "drawn by variance": (GREEN, lambda std, rng: rng.choice(len(std), p=std**2 / sum(std**2))),
        "where least sure": (BLUE, lambda std, rng: np.argmax(std)),
        "at random": (ORANGE, lambda std, rng: rng.integers(len(std))),
    }
    for label, (colour, choose) in ways.items():
        errors = [errors_of_run(run, n_steps, choose) for run in range(n_runs)]
        low, median, high = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
        axes.fill_between(np.arange(n_steps + 1), low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(median, color=colour, label=label)
        for k in sorted({min(4, n_steps), n_steps}):
            print(
                f"RMSE after {k} experiments {label}: {low[k]:.2f}  {median[k]:.2f}  {high[k]:.2f}"
            )
    axes.set(xlabel="experiments added", ylabel="RMSE over the plane: median, quartiles",
             title=f"The next experiment, {n_runs} runs")  # fmt: skip
    axes.legend(fontsize=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer folds, members and steps")
    parser.add_argument("--output", type=Path, default=HERE / "output", help="for the picture")
    arguments = parser.parse_args()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    n_members = 2 if arguments.quick else 5
    gap(left, n_members)
    calibration(middle, n_members, n_splits=2 if arguments.quick else 10)
    next_experiment(right, *((4, 4) if arguments.quick else (20, 20)))
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "uncertainty.png"
    figure.savefig(path, dpi=110)
    print(f"\nFigure: {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
