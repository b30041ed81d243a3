"""What a fit does where parameters are "auto"."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from skprop import MLPSigmoidRegressor
from skprop.defaults import AUTO, settled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=60)
ONE = {
    "hidden_layer_sizes": (50,), "solver": "lbfgs", "alpha": 1e-4, "n_members": 1,
    "early_stopping": False, "tol": 1e-4, "n_iter_no_change": 25,
    "initial_spread": None,
}  # fmt: skip
FEW = ONE | {"alpha": "evidence", "n_members": 5, "initial_spread": (1.0, 3.0)}
SOME = FEW | {"hidden_layer_sizes": (15, 15)}
MANY = ONE | {
    "hidden_layer_sizes": (50, 50), "solver": "adam", "n_members": 8, "early_stopping": True,
    "tol": 1e-5, "n_iter_no_change": 50, "initial_spread": 2.0,
}  # fmt: skip


def auto(**parameters):
    return MLPSigmoidRegressor(**(dict.fromkeys(AUTO, "auto") | {"random_state": 0} | parameters))


def choice(shape, n_outputs=1, watched=False, **parameters):
    settings = settled(auto(**parameters), shape, n_outputs, watched=watched)
    return {name: getattr(settings, name) for name in AUTO}


@pytest.mark.parametrize(
    ("shape", "n_outputs", "expected"),
    [
        ((20, 1), 1, FEW),
        ((1_000, 8), 1, FEW),
        ((1_001, 8), 1, SOME),
        ((7_900, 8), 1, SOME),  # 7,900 · 501² multiplications
        ((8_000, 8), 1, MANY),
        ((500, 100), 1, FEW),  # by the smaller side, 500² · 5,151
        ((700, 100), 1, MANY),
        ((20, 20_000), 1, FEW),
        ((20, 100_000), 1, MANY),  # matrices of 20 · 5,000,101 numbers
        ((1_000, 8), 2, FEW),
        ((1_800, 8), 3, SOME),
        ((1_900, 8), 3, MANY),
        ((1_000_000, 10), 1, MANY),
    ],
)
def test_the_table(shape, n_outputs, expected):
    assert choice(shape, n_outputs) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"alpha": 0.1}, ONE | {"alpha": 0.1}),
        ({"alpha": "evidence"}, ONE | {"alpha": "evidence", "initial_spread": (1.0, 3.0)}),
        ({"alpha": "ard"}, ONE | {"alpha": "ard", "initial_spread": 1.0}),
        ({"solver": "lm"}, ONE | {"solver": "lm"}),
        ({"warm_start": True}, ONE),
        ({"early_stopping": True}, ONE | {"early_stopping": True}),
        ({"n_members": 2}, FEW | {"n_members": 2}),
        ({"hidden_layer_sizes": (9,)}, FEW | {"hidden_layer_sizes": (9,)}),
        ({"tol": 1e-3}, FEW | {"tol": 1e-3}),
    ],
)
def test_what_is_given_is_kept_and_a_solver_or_a_penalty_asks_for_one_network(given, expected):
    assert choice((1_000, 8), **given) == expected


def test_one_output_is_taken_where_none_are_told():
    assert settled(auto(), (8_000, 8)) == settled(auto(), (8_000, 8), 1)


def test_many_rows_without_early_stopping_are_one_network():
    assert choice((100_000, 8), early_stopping=False) == ONE
    assert choice((100_000, 8), early_stopping=True) == MANY


def test_rows_to_watch_ask_for_early_stopping():
    assert choice((1_000, 8), watched=True) == ONE | {"early_stopping": True}
    model = auto().fit(X[:50], Y[:50], X_val=X[50:], y_val=Y[50:])
    assert model.settings_ == ONE | {"early_stopping": True}


def test_the_width_that_is_given_decides_what_is_few():
    assert choice((8_000, 8), hidden_layer_sizes=10)["solver"] == "lbfgs"
    assert choice((1_000, 8), hidden_layer_sizes=(200, 200))["solver"] == "adam"


def test_a_fit_tells_what_it_chose_and_get_params_what_was_given():
    model = auto().fit(X, Y)
    assert model.settings_ == FEW
    assert model.theta_.shape == (5, 251)
    assert all(model.get_params()[name] == "auto" for name in AUTO)
    assert clone(model).get_params() == model.get_params()
    explicit = MLPSigmoidRegressor(**FEW, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(explicit.theta_, model.theta_)


def test_an_objective_is_that_of_one_network():
    model = auto()
    _, theta0 = model.make_objective(X, Y)
    assert model.set_theta(theta0).settings_ == ONE
    assert model.predict(X).shape == (60,)
    assert model.fit_posterior(X, Y).predict(X, return_std=True)[1].shape == (60,)


def test_partial_fit_is_that_of_one_network():
    model = auto(solver="adam").partial_fit(X, Y)
    assert model.settings_ == ONE | {"solver": "adam"}


def test_partial_fit_needs_a_solver():
    with pytest.raises(AttributeError, match="partial_fit"):
        auto().partial_fit(X, Y)


# ---- the page on the defaults --------------------------------------------------------------


def test_the_table_of_the_page_is_what_fit_does():
    page = (Path(__file__).parents[1] / "docs" / "defaults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`" + r" \| `(.+?)`" * 4 + r" \|$", page, re.MULTILINE)
    written = {name: [ast.literal_eval(value) for value in values] for name, *values in rows}
    few, some, many = (choice((n, 8)) for n in (1_000, 1_001, 1_000_000))
    columns = few, some, many, choice((1_000, 8), alpha=1e-4)
    assert written == {name: [column[name] for column in columns] for name in AUTO}


@pytest.mark.parametrize(("n", "d"), [(22_000, 4), (7_900, 8), (1_600, 20), (600, 100)])
def test_few_rows_are_as_many_as_the_page_says(n, d):
    assert choice((n, d)) == (SOME if n > 1_000 else FEW)
    assert choice((n + n // 20, d)) == MANY
