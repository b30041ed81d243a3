"""Predict the strength of concrete from its recipe and age, beside three other regressors.

All are cross-validated on the same folds, with their defaults; those that need standardised
data get it. Specimens of one recipe at several ages fall on both sides of a split, as in
most of the literature; folds of unseen recipes are harder for every nonlinear model.

    python examples/concrete_strength.py [--quick] [--output DIR]
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict, cross_validate
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "0.45"

MODELS = {
    "MLPSigmoidRegressor": MLPSigmoidRegressor(random_state=0),
    "Ridge": make_pipeline(StandardScaler(), Ridge()),
    "HistGradientBoostingRegressor": HistGradientBoostingRegressor(random_state=0),
    "MLPRegressor": TransformedTargetRegressor(
        make_pipeline(StandardScaler(), MLPRegressor(random_state=0)),
        transformer=StandardScaler(),
    ),
}


def compare(X, y, folds):
    """Print a line for each model; return the RMSE of every fold, in MPa, by model."""
    print(f"{'model':29}  {'RMSE (MPa)':>12}  {'R²':>5}  {'s per fit':>9}")
    rmse = {}
    for name, model in MODELS.items():
        with warnings.catch_warnings():
            if name == "MLPRegressor":  # its 200 epochs are not enough here, and it says so
                warnings.simplefilter("ignore", ConvergenceWarning)
            scores = cross_validate(
                model, X, y, cv=folds, scoring=("neg_root_mean_squared_error", "r2")
            )
        rmse[name] = -scores["test_neg_root_mean_squared_error"]
        print(
            f"{name:29}  {rmse[name].mean():5.2f} ± {rmse[name].std():.2f}"
            f"  {scores['test_r2'].mean():5.3f}  {scores['fit_time'].mean():9.3f}"
        )
    return rmse


def plot_losses(ax, model, X, y, folds):
    """The loss of one fit on the rows it learns from and on a fold it never sees."""
    train, held_out = next(folds.split(X))
    # The patience is long, to show what the validation loss does after its minimum.
    model = clone(model).set_params(early_stopping=True, n_iter_no_change=150)
    model.fit(X.iloc[train], y.iloc[train], X_val=X.iloc[held_out], y_val=y.iloc[held_out])

    best = np.argmin(model.validation_loss_curve_)
    iterations = np.arange(1, model.n_iter_ + 1)
    ax.semilogy(iterations, model.validation_loss_curve_, color=ORANGE, label="held-out rows")
    ax.semilogy(iterations, model.loss_curve_, color=BLUE, label="training rows")
    ax.plot(
        iterations[best], model.validation_loss_curve_[best], "o", color=ORANGE,
        label="early stopping keeps this",
    )  # fmt: skip
    ax.set(
        title="Learning: one fit with L-BFGS",
        xlabel="iteration",
        ylabel="loss (½ mean squared error, y in standard units)",
        xlim=(0, None),
    )
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.legend(frameon=False)


def plot_predictions(ax, predicted, y, rmse):
    """Each specimen as predicted by the network that was fitted without its fold."""
    limits = (0, 5 + max(y.max(), predicted.max()))
    ax.plot(limits, limits, color=GREY, linewidth=1, zorder=1)
    ax.plot(y, predicted, "o", color=BLUE, markersize=4, alpha=0.45, markeredgewidth=0)
    error = f"RMSE {rmse.mean():.2f} ± {rmse.std():.2f} MPa\nover {len(rmse)} folds"
    ax.text(0.04, 0.96, error, transform=ax.transAxes, verticalalignment="top")
    ax.set(
        title=f"Prediction: {len(y)} specimens, each held out once",
        xlabel="measured strength (MPa)",
        ylabel="predicted strength (MPa)",
        xlim=limits,
        ylim=limits,
        aspect="equal",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 folds instead of 10")
    parser.add_argument(
        "--output", type=Path, default=HERE / "output", help="where the figure goes"
    )
    arguments = parser.parse_args()

    table = pd.read_csv(HERE / "data" / "concrete.csv")
    X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
    folds = KFold(3 if arguments.quick else 10, shuffle=True, random_state=0)

    print(f"Strength of {len(y)} specimens of concrete, {folds.n_splits}-fold cross-validation\n")
    rmse = compare(X, y, folds)

    ours = "MLPSigmoidRegressor"
    figure = Figure(figsize=(10, 4.8), layout="constrained")  # not pyplot: needs no display
    left, right = figure.subplots(1, 2)
    plot_losses(left, MODELS[ours], X, y, folds)
    plot_predictions(right, cross_val_predict(MODELS[ours], X, y, cv=folds), y, rmse[ours])
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)

    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "concrete_strength.png"
    figure.savefig(path, dpi=150)
    print(f"\nFigure: {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
