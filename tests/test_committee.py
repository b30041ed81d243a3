"""Members of a committee side by side: each is what it would be alone."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skprop import MLPObjective, MLPSigmoidRegressor, fitting, minimize_adam, minimize_sgd
from skprop.lockstep import Grouping, evaluated_together
from skprop.solvers.stochastic import DESCENTS, minimize_together

RNG = np.random.default_rng(0)
X = RNG.normal(size=(230, 4))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * RNG.normal(size=230)
Y2 = np.c_[Y, X[:, 3] ** 2]
WEIGHTS = RNG.integers(1, 4, 230).astype(float)
SHORT = {"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 12, "batch_size": 50}

VARIANTS = {
    "one batch": {"batch_size": 1000},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "two hidden layers": {"hidden_layer_sizes": (6, 5)},
    "three hidden layers": {"hidden_layer_sizes": (6, 5, 4)},
    "narrow": {"hidden_layer_sizes": (3,)},
    "sigmoid output": {"output_activation": "sigmoid"},
    "in order": {"shuffle": False},
    "no penalty": {"alpha": 0.0},
    "a penalty a layer": {"alpha": [0.1, 0.0]},
    "adaptive": {"learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2, "max_iter": 40},
    "invscaling": {"learning_rate": "invscaling"},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "tol": 1e-3},
    "at different times": {"tol": 2e-3, "n_iter_no_change": 3, "max_iter": 200},
}


def one_by_one(monkeypatch):
    """Have members fitted one after the other."""
    monkeypatch.setattr(fitting, "grouped", lambda *_: Grouping(1, False))


def assert_same(committee, other):
    assert vars(committee).keys() == vars(other).keys()
    np.testing.assert_array_equal(committee.theta_, other.theta_)
    for name in ("loss_", "loss_curve_", "n_iter_", "n_fev_", "t_", "message_"):
        assert getattr(committee, name) == getattr(other, name)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["plain", "weights", "two outputs", "float32"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_members_stepped_together_are_those_fitted_one_by_one(variant, solver, kind, monkeypatch):
    model = MLPSigmoidRegressor(n_members=3, solver=solver, **SHORT | VARIANTS[variant])
    x, y = (X.astype(np.float32) if kind == "float32" else X), (Y2 if "two" in kind else Y)
    w = WEIGHTS if kind == "weights" else None
    together = clone(model).fit(x, y, w)
    one_by_one(monkeypatch)
    assert_same(together, clone(model).fit(x, y, w))
    alone = clone(model).set_params(n_members=1)
    if variant != "early stopping":  # where the units are those of the rows trained on
        np.testing.assert_array_equal(together.theta_[0], alone.fit(x, y, w).theta_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_member_does_not_depend_on_those_beside_it():
    model = MLPSigmoidRegressor(solver="adam", **SHORT | VARIANTS["at different times"])
    model.set_params(random_state=1)
    few, many = (clone(model).set_params(n_members=n).fit(X, Y) for n in (1, 5))
    np.testing.assert_array_equal(few.theta_, many.theta_[0])
    assert few.n_iter_ < many.n_iter_  # it ends before others do


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("threads", [True, False])
def test_groups_do_not_change_the_bits(threads, monkeypatch):
    model = MLPSigmoidRegressor(solver="adam", n_members=5, **SHORT)
    expected = clone(model).fit(X, Y)
    monkeypatch.setattr(fitting, "grouped", lambda *_: Grouping(2, threads))
    assert_same(clone(model).fit(X, Y), expected)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_member_that_diverges_leaves_the_others_alone(solver):
    minimize = {"adam": minimize_adam, "sgd": minimize_sgd}[solver]
    objective = MLPObjective(X, Y, hidden_layer_sizes=5)
    starts = [objective.initial_theta(seed) for seed in range(3)]
    starts[1] = np.full_like(starts[1], 1e200)
    options = {"max_iter": 5, "batch_size": 50}
    alone = [minimize(objective, x, random_state=k, **options) for k, x in enumerate(starts)]
    common = {"learning_rate_init": 0.01, "shuffle": True, "tol": 1e-4, "n_iter_no_change": 25}
    rules = {
        "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
        "sgd": {
            "learning_rate": "constant", "power_t": 0.5, "momentum": 0.9,
            "nesterovs_momentum": True,
        },
    }  # fmt: skip
    descents = [DESCENTS[solver](objective, **options, **common, **rules[solver]) for _ in starts]
    begins = [(x, None, k) for k, x in enumerate(starts)]
    found = dict(minimize_together(descents, begins, evaluated_together))
    together = [found[k] for k in range(3)]
    assert [result.status for result in together] == [1, 2, 1]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        assert one.status == other.status


def test_rows_that_are_sparse_or_many_are_not_stacked():
    small = MLPObjective(X, Y, hidden_layer_sizes=5)
    assert fitting.grouped(small, 200) == Grouping(109, False)
    wide = MLPObjective(X, Y, hidden_layer_sizes=(300, 300))
    assert fitting.grouped(wide, 200) == Grouping(2, True)
    many = MLPObjective(np.ones((40_000, 4)), np.ones(40_000), hidden_layer_sizes=5)
    assert fitting.grouped(many, 40_000) == Grouping(1, True)
    from scipy.sparse import csr_array

    assert fitting.grouped(MLPObjective(csr_array(X), Y, hidden_layer_sizes=5), 200).most == 1


def test_members_whose_own_rows_would_fill_the_memory_are_fitted_one_by_one(monkeypatch):
    model = MLPSigmoidRegressor(solver="adam", n_members=3, **SHORT | VARIANTS["early stopping"])
    model.set_params(max_iter=100)  # they end before
    together = clone(model).fit(X, Y)
    monkeypatch.setattr(fitting, "_OWN_ROWS", 1)
    monkeypatch.setattr(fitting, "minimize_together", None)  # it would be called
    assert_same(clone(model).fit(X, Y), together)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_an_interrupt_ends_all_members_and_leaves_the_estimator_as_it_was(solver, monkeypatch):
    model = MLPSigmoidRegressor(solver=solver, n_members=3, **SHORT)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    before, calls, objective_loss = model.theta_.copy(), [], MLPObjective.loss

    def interrupted(self, theta, rows=None):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return objective_loss(self, theta, rows)

    monkeypatch.setattr(MLPObjective, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(max_iter=3).fit(X, Y)
    np.testing.assert_array_equal(model.theta_, before)
