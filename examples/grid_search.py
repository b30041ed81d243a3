"""Choose the size, the penalty and the solver of the network by cross-validation.

Concrete hardens with the logarithm of its age, so a pipeline takes that first; the network
standardises its input itself.

    python examples/grid_search.py [--quick]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skprop import MLPSigmoidRegressor

GRID = {
    "network__hidden_layer_sizes": [(20,), (50,), (20, 20)],
    "network__alpha": [1e-4, 1e-2, 1.0],
    "network__solver": ["lbfgs", "adam"],
}
QUICK_GRID = {
    "network__hidden_layer_sizes": [(5,), (20,)],
    "network__alpha": [1e-2, 100.0],
    "network__solver": ["lbfgs"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller grid")
    grid = QUICK_GRID if parser.parse_args().quick else GRID

    table = pd.read_csv(Path(__file__).parent / "data" / "concrete.csv")
    X, y = table.drop(columns="strength_mpa"), table["strength_mpa"]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

    log_age = make_column_transformer(
        (FunctionTransformer(np.log), ["age_days"]), remainder="passthrough"
    )
    pipeline = Pipeline([("log_age", log_age), ("network", MLPSigmoidRegressor(random_state=0))])
    search = GridSearchCV(
        pipeline,
        grid,
        scoring="neg_root_mean_squared_error",
        cv=KFold(5, shuffle=True, random_state=0),
        n_jobs=2,
    ).fit(X_train, y_train)

    results = pd.DataFrame(search.cv_results_).sort_values("rank_test_score")
    n_candidates, n_folds = len(results), search.n_splits_
    print(f"The best of {n_candidates} candidates, by {n_folds}-fold cross-validation:\n")
    print(f"{'hidden layers':13}  {'alpha':>6}  {'solver':6}  {'RMSE (MPa)':>12}  {'s per fit':>9}")
    for _, row in results.head().iterrows():
        print(
            f"{row['param_network__hidden_layer_sizes']!s:13}"
            f"  {row['param_network__alpha']:6g}  {row['param_network__solver']:6}"
            f"  {-row['mean_test_score']:5.2f} ± {row['std_test_score']:.2f}"
            f"  {row['mean_fit_time']:9.2f}"
        )

    rmse = root_mean_squared_error(y_test, search.predict(X_test))
    best = {name.removeprefix("network__"): value for name, value in search.best_params_.items()}
    print(
        f"\nBest parameters: {best}"
        f"\nCross-validated RMSE {-search.best_score_:.2f} MPa, on {len(y_test)} specimens held out"
        f" {rmse:.2f} MPa"
    )


if __name__ == "__main__":
    main()
