"""What users of `MLPRegressor` and of scikit-learn are used to, and errors that help them on."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.optimize import minimize
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skprop import MLPSigmoidRegressor, minimize_adam

X, Y = load_diabetes(return_X_y=True)


def network(**parameters):
    return MLPSigmoidRegressor(
        **{"hidden_layer_sizes": 3, "alpha": 1e-2, "random_state": 0} | parameters
    )


# ---- n_iter_no_change ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "lm", "sgd", "adam"])
def test_with_an_infinite_n_iter_no_change_no_lack_of_progress_ends_a_fit(solver, early_stopping):
    options = {"solver": solver, "early_stopping": early_stopping, "max_iter": 60}
    patient = network(n_iter_no_change=np.inf, tol=1e-9, **options).fit(X, Y)
    hasty = network(n_iter_no_change=2, tol=1e-2, **options).fit(X, Y)
    assert hasty.n_iter_ < patient.n_iter_
    assert patient.n_iter_ == 60 or solver in ("lbfgs", "lm")  # these may be at a minimum
    for reason in ("did not improve", "likely to be noise"):
        assert reason not in patient.message_


def test_an_infinite_n_iter_no_change_of_a_solver():
    objective, theta0 = network().make_objective(X, Y)
    result = minimize_adam(objective, theta0, tol=1e6, n_iter_no_change=np.inf, max_iter=40)
    assert result.nit == 40
    again = minimize_adam(
        objective, theta0, n_iter_no_change=np.inf, max_iter=10, state=result.state
    )
    assert again.nit == 10
    for bad in (-np.inf, np.nan, 2.5, 0):
        with pytest.raises((ValueError, TypeError), match="n_iter_no_change"):
            minimize_adam(objective, theta0, n_iter_no_change=bad)
        with pytest.raises(ValueError, match="n_iter_no_change"):
            network(n_iter_no_change=bad).fit(X, Y)


def test_under_the_evidence_too():
    model = network(alpha="evidence", n_members=1, n_iter_no_change=np.inf, max_iter=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model.fit(X, Y).n_iter_ <= 30
    assert "noise" not in model.message_


# ---- n_iter_ -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_n_iter_under_a_warm_start_counts_on_where_mlpregressor_starts_anew():
    options = {"hidden_layer_sizes": 3, "max_iter": 7, "tol": 0, "random_state": 0}
    for solver in ("adam", "sgd", "lbfgs"):
        old = MLPRegressor(**options, solver=solver, warm_start=True)
        new = MLPSigmoidRegressor(**options, solver=solver, warm_start=True, alpha=1e-4)
        for done in (7, 14, 21):
            assert old.fit(X, Y).n_iter_ == 7
            assert new.fit(X, Y).n_iter_ == done == len(new.loss_curve_)


# ---- attributes of others ------------------------------------------------------------------


class Annotated(MLPSigmoidRegressor):
    """A subclass that notes something before and after a fit."""

    def fit(self, X, y, **others):
        self.began_ = len(X)
        super().fit(X, y, **others)
        self.loss_in_words_ = "small" if self.loss_ < 1 else "large"
        return self


def test_a_fit_leaves_attributes_of_a_subclass_and_of_the_caller_alone():
    model = Annotated(3, alpha=1e-2, random_state=0)
    model.origin_ = "a file"
    model.fit(X, Y)
    assert (model.origin_, model.began_, model.loss_in_words_) == ("a file", 442, "small")
    model.fit(X[:100], Y[:100])
    assert (model.origin_, model.began_) == ("a file", 100)
    model.set_theta(model.theta_)
    assert (model.origin_, model.loss_in_words_) == ("a file", "small")
    assert not hasattr(model, "loss_")  # which was of the fit that led to another θ
    model.set_params(solver="adam").partial_fit(X, Y)
    assert model.origin_ == "a file"


# ---- columns of text -----------------------------------------------------------------------


def with_text(as_frame):
    columns = {"bmi": X[:, 2], "clinic": np.where(X[:, 1] > 0, "north", "south"), "s5": X[:, 8]}
    return as_frame(columns)


@pytest.mark.parametrize("as_frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_column_of_text_is_named_with_its_remedy(as_frame):
    frame = with_text(as_frame)
    message = r"Column 'clinic' of X holds text.*OneHotEncoder\(\), \['clinic'\].*passthrough"
    with pytest.raises(ValueError, match=message):
        network().fit(frame, Y)
    numbers = as_frame({name: X[:, i] for i, name in enumerate(["bmi", "clinic", "s5"])})
    with pytest.raises(ValueError, match="Column 'clinic'"):
        network().fit(numbers, Y).predict(frame)


def test_the_remedy_works():
    columns = make_column_transformer((OneHotEncoder(), ["clinic"]), remainder="passthrough")
    model = make_pipeline(columns, network()).fit(with_text(pd.DataFrame), Y)
    assert model.score(with_text(pd.DataFrame), Y) > 0.3


def test_a_column_of_text_without_a_name_is_numbered():
    rows = with_text(pd.DataFrame).to_numpy()
    for given in (rows, rows.tolist()):
        with pytest.raises(ValueError, match="Column 1 of X holds text"):
            network().fit(given, Y)
        with pytest.raises(ValueError, match="Column 1 of X_val holds text"):
            network(early_stopping=True).fit(X[:, :3], Y, X_val=given, y_val=Y)
    numbers = X[:, :3].astype(str).astype(object)
    assert network().fit(numbers, Y).n_features_in_ == 3  # as they are for scikit-learn


def test_what_is_wrong_for_another_reason_is_said_as_before():
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        network().fit(np.full((3, 2), np.nan), Y[:3])
    with pytest.raises(ValueError, match="inhomogeneous"):
        network().fit([[1.0, 2.0], [3.0]], Y[:2])


# ---- a callable solver ---------------------------------------------------------------------


def bare(objective, theta0):
    return minimize(objective, theta0, jac=True, tol=0.1).x


def test_a_bare_array_of_a_callable_solver_gives_a_short_error():
    with pytest.raises(TypeError, match=r"returned array.*OptimizeResult\(x=theta\)") as caught:
        network(hidden_layer_sizes=50, solver=bare).fit(X, Y)
    assert len(str(caught.value)) < 200
