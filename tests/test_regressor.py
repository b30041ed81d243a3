import copy
import itertools
import pickle
import re
import warnings
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import Snapshot
from scipy import optimize, sparse
from scipy.optimize import OptimizeResult
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor, minimize_adam, minimize_lbfgs
from skprop import regressor as regressor_module

CONCRETE = Path(__file__).parents[1] / "examples" / "data" / "concrete.csv"
X, Y = load_diabetes(return_X_y=True)
BUILT_IN = ("lbfgs", "lm", "sgd", "adam")
each_solver = pytest.mark.parametrize("solver", BUILT_IN)
stochastic = pytest.mark.parametrize("solver", ["sgd", "adam"])
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def regressor(**parameters):
    return MLPSigmoidRegressor(
        **{"hidden_layer_sizes": 8, "random_state": 0, "alpha": 1e-4} | parameters
    )


# ---- out of the box --------------------------------------------------------------------

TRANSFORMS = {
    "y × 1e12": lambda X, y: (X, y * 1e12),
    "y × 1e-12": lambda X, y: (X, y * 1e-12),
    "y + 1e8": lambda X, y: (X, y + 1e8),
    "X × 1e200": lambda X, y: (X * 1e200, y),
    "X × 1e-200": lambda X, y: (X * 1e-200, y),
    "X + 1e8": lambda X, y: (X + 1e8, y),
    "float32 X": lambda X, y: (X.astype(np.float32), y),
    "float32 X + 1e4": lambda X, y: ((100 * X + 1e4).astype(np.float32), y),
    "CSR × 1e200": lambda X, y: (sparse.csr_array(X * 1e200), y),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_scale_and_offset_do_not_matter(transform):
    plain = MLPSigmoidRegressor(random_state=0, alpha=1e-4).fit(X, Y).score(X, Y)
    data = TRANSFORMS[transform](X, Y)
    assert MLPSigmoidRegressor(random_state=0, alpha=1e-4).fit(*data).score(*data) == pytest.approx(
        plain,
        abs=5e-3 if "float32" in transform else 1e-3,
    )


@each_solver
@quick
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("c", [0.0, 0.1, -1e300, 1e-300, 1 / 3])
def test_a_constant_target_is_predicted_exactly(solver, output_activation, c):
    y = np.column_stack([np.full(50, c), Y[:50]])
    model = regressor(solver=solver, output_activation=output_activation, max_iter=20)
    assert (model.fit(X[:50], y).predict(X)[:, 0] == c).all()


@pytest.mark.parametrize("name", ["diabetes", "concrete"])
def test_the_defaults_are_at_least_as_good_as_mlp_regressor_in_scalers(name):
    if name == "diabetes":
        data = X, Y
    else:
        table = np.loadtxt(CONCRETE, delimiter=",", skiprows=1)
        data = table[:, :-1], table[:, -1]
    folds = KFold(3, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # MLPRegressor's, at 200 epochs
        theirs = TransformedTargetRegressor(
            make_pipeline(StandardScaler(), MLPRegressor(random_state=0)),
            transformer=StandardScaler(),
        )
        bar = cross_val_score(theirs, *data, cv=folds).mean()
    ours = cross_val_score(MLPSigmoidRegressor(random_state=0, alpha=1e-4), *data, cv=folds).mean()
    assert ours >= bar


@each_solver
@quick
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_a_feature_that_was_constant_has_no_effect_later(solver, form):
    constant = np.c_[X[:, :2], np.full(len(X), 0.1)]
    model = regressor(solver=solver, max_iter=10).fit(form(constant), Y)
    assert (model.coefs_[0][2] == 0).all()
    moved = np.c_[X[:, :2], np.full(len(X), 7.0)]
    np.testing.assert_array_equal(model.predict(moved), model.predict(constant))


def test_no_hidden_layer_is_ridge():
    ours = regressor(hidden_layer_sizes=(), alpha=3.0, tol=1e-9).fit(X, Y)
    scaled = StandardScaler().fit_transform(X)
    ridge = Ridge(alpha=3.0).fit(scaled, Y)
    np.testing.assert_allclose(ours.predict(X), ridge.predict(scaled), rtol=1e-6)


def test_a_sigmoid_output_maps_the_range_of_the_targets_to_a_tenth_and_nine_tenths():
    model = regressor(output_activation="sigmoid").fit(X, Y)
    np.testing.assert_allclose(
        model.y_scaler_.transform([[Y.min()], [Y.max()]])[:, 0], [0.1, 0.9], rtol=1e-12
    )
    assert model.out_activation_ == "sigmoid"
    low, high = Y.min() - np.ptp(Y) / 8, Y.max() + np.ptp(Y) / 8  # where σ is 0 and 1
    assert ((low < model.predict(X)) & (model.predict(X) < high)).all()


# ---- fitted attributes -----------------------------------------------------------------


@each_solver
@quick
@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)])
def test_fitted_attributes(solver, hidden):
    Y2 = np.column_stack([Y, -Y])
    model = regressor(solver=solver, hidden_layer_sizes=hidden, max_iter=15).fit(X, Y2)
    sizes = (10, *hidden, 2)
    assert [A.shape for A in model.coefs_] == list(itertools.pairwise(sizes))
    assert [b.shape for b in model.intercepts_] == [(d,) for d in sizes[1:]]
    assert all(np.shares_memory(A, model.theta_) for A in model.coefs_ + model.intercepts_)
    assert (model.n_outputs_, model.n_layers_, model.n_features_in_) == (2, len(sizes), 10)
    assert model.out_activation_ == "identity"
    assert len(model.loss_curve_) == model.n_iter_ > 0
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.t_ == model.n_iter_ * len(X)
    assert model.n_fev_ >= model.n_iter_
    assert model.message_
    assert model.validation_scores_ is model.best_validation_score_ is None
    assert model.validation_loss_curve_ is None
    objective, _ = model.make_objective(X, Y2)
    assert model.loss_ == objective.loss(model.theta_)


@each_solver
@quick
def test_fitted_state_is_plain(solver):
    def assert_plain(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for item in value:
                assert_plain(item)
        else:
            assert value is None or isinstance(
                value, (np.ndarray, np.generic, str, bool, int, float, StandardScaler)
            )

    model = regressor(solver=solver, max_iter=5, early_stopping=True).fit(X, Y)
    for name, value in model.__getstate__().items():
        if name not in model.get_params():
            assert_plain(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_the_dtype_of_x_decides(dtype):
    data = (100 * X).astype(dtype)
    model = regressor().fit(data, Y)
    expected = np.float32 if dtype == np.float32 else np.float64
    assert model.theta_.dtype == model.predict(data).dtype == expected
    assert model.predict(data.astype(np.float64)).dtype == expected


def test_targets_in_a_column_give_predictions_in_a_column():
    assert regressor().fit(X, Y).predict(X).shape == Y.shape
    assert regressor().fit(X, Y[:, None]).predict(X).shape == (len(Y), 1)


def test_csr_gives_the_fit_of_the_dense_rows():
    some = np.where(np.abs(X) < 0.03, 0, X)
    dense, csr = regressor().fit(some, Y), regressor().fit(sparse.csr_array(some), Y)
    np.testing.assert_allclose(csr.predict(some), dense.predict(some), rtol=1e-6)
    np.testing.assert_allclose(csr.predict(sparse.csr_matrix(some)), csr.predict(some), rtol=1e-10)


def test_a_memory_mapped_x_gives_the_fit_of_the_array(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(regressor().fit(mapped, Y).theta_, regressor().fit(X, Y).theta_)


# ---- sample weights --------------------------------------------------------------------


@each_solver
@quick
def test_rows_of_zero_weight_are_left_out(solver):
    w = np.ones(len(X))
    w[::3] = 0
    bad = X.copy()
    bad[::3] = 1e30  # neither the scalers nor the solver may see them
    weighted = regressor(solver=solver, max_iter=10).fit(bad, Y, w)
    kept = regressor(solver=solver, max_iter=10).fit(X[w > 0], Y[w > 0])
    np.testing.assert_allclose(weighted.predict(X), kept.predict(X), rtol=1e-6)


def test_integer_weights_are_repetitions():
    w = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = regressor(alpha=0.1).fit(X, Y, w)
    repeated = regressor(alpha=0.1).fit(X.repeat(w, axis=0), Y.repeat(w))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-5)


# ---- curves, verbose, early stopping ---------------------------------------------------


@each_solver
@quick
def test_verbose_prints_a_line_an_iteration(solver, capsys):
    model = regressor(solver=solver, verbose=True, max_iter=4, early_stopping=True).fit(X, Y)
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == model.message_
    assert len(lines) == model.n_iter_ == 4
    for i, line in enumerate(lines):
        assert line.startswith(f"Iteration {i + 1}, loss = {model.loss_curve_[i]:.8g}")
        assert f"validation loss = {model.validation_loss_curve_[i]:.8g}" in line
        assert re.search(r", \d+\.\d s$", line)  # the time since the run began
    regressor(solver=solver, max_iter=2).fit(X, Y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("verbose", "shown"), [(1, [*range(1, 10), 10, 20, 30]), (2, range(1, 33))]
)
@quick
def test_the_lines_that_verbose_prints_thin_out(verbose, shown, capsys):
    regressor(solver="sgd", verbose=verbose, max_iter=32, tol=0).fit(X, Y)
    numbers = re.findall(r"Iteration (\d+),", capsys.readouterr().out)
    assert [*map(int, numbers)] == [*shown]


@each_solver
@quick
@pytest.mark.parametrize("given", [False, True], ids=["split", "X_val"])
def test_early_stopping_keeps_the_theta_of_the_least_validation_loss(solver, given):
    train, held_out = (X[:300], Y[:300]), (X[300:], Y[300:])
    w = np.random.default_rng(0).uniform(0.1, 2, 142)
    model = regressor(
        hidden_layer_sizes=40, solver=solver, early_stopping=True, n_iter_no_change=5,
        learning_rate_init=0.1, max_iter=100,
    )  # fmt: skip
    if given:
        model.fit(*train, X_val=held_out[0], y_val=held_out[1], sample_weight_val=w)
    else:
        model.fit(X, Y)
    curve, scores = model.validation_loss_curve_, model.validation_scores_
    assert len(curve) == len(scores) == model.n_iter_
    assert model.best_loss_ is None
    assert model.best_validation_score_ == max(scores)
    assert "validation loss did not improve" in model.message_
    if given:
        error = (model.predict(held_out[0]) - held_out[1]) / model.y_scaler_.scale_[0]
        assert 0.5 * np.average(error**2, weights=w) == pytest.approx(min(curve), rel=1e-9)
        assert model.score(*held_out, w) == pytest.approx(max(scores), rel=1e-9)


def test_the_scalers_see_the_training_rows_alone():
    far = X + 1e3
    model = regressor(early_stopping=True).fit(X, Y, X_val=far, y_val=Y)
    np.testing.assert_array_equal(model.x_scaler_.mean_, regressor().fit(X, Y).x_scaler_.mean_)


def test_a_validation_set_of_one_row_is_legal():
    model = regressor(early_stopping=True).fit(X, Y, X_val=X[:1], y_val=Y[:1])
    assert set(model.validation_scores_) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"early_stopping": False}, {"X_val": X, "y_val": Y}, "early_stopping=False"),
        ({"early_stopping": True}, {"X_val": X}, "without y_val"),
        ({"early_stopping": True}, {"y_val": Y}, "without X_val"),
        ({"early_stopping": True}, {"sample_weight_val": Y}, "without X_val"),
        ({"early_stopping": True}, {"X_val": X[:, :3], "y_val": Y}, "X_val has 3 features"),
        ({"early_stopping": True}, {"X_val": X, "y_val": Y[:3]}, "y_val has 3"),
        ({"early_stopping": True}, {"X_val": X, "y_val": np.c_[Y, Y]}, "y_val has 2 outputs"),
        ({"early_stopping": True, "validation_fraction": 0}, {}, "validation_fraction=0"),
        (
            {"early_stopping": True},
            {"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(442)},
            "sample_weight_val is all zero",
        ),
        ({"early_stopping": True, "solver": minimize_lbfgs}, {}, "callable solver"),
        ({"early_stopping": "auto", "solver": minimize_lbfgs}, {"y_val": Y}, "without X_val"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(parameters, arguments, message):
    with pytest.raises(ValueError, match=message):
        regressor(**parameters).fit(X, Y, **arguments)


@quick
def test_a_constant_feature_has_no_effect_in_any_member_when_it_varies_later():
    x = np.c_[X[:100], np.full(100, 7.0)]
    model = regressor(n_members=3, max_iter=5).fit(x, Y[:100])
    varied = x + np.eye(11)[-1] * np.arange(100)[:, None]
    np.testing.assert_array_equal(model.predict(varied), model.predict(x))


@quick
def test_units_are_those_of_the_rows_trained_on_and_of_a_committee_those_of_all():
    options = {"early_stopping": True, "max_iter": 2, "validation_fraction": 0.25}
    one, several = (regressor(n_members=n, **options).fit(X[:100], Y[:100]) for n in (1, 2))
    assert (one.x_scaler_.n_samples_seen_, several.x_scaler_.n_samples_seen_) == (75, 100)


def test_one_sample_cannot_be_split():
    with pytest.raises(ValueError, match="n_samples=1"):
        regressor(early_stopping=True).fit(X[:1], Y[:1])


def test_the_rows_as_they_were_given_are_let_go_before_a_solver_runs(monkeypatch):
    given, folds = [], regressor_module.folds

    def noted(settings, data, *others):
        given.append(weakref.ref(data.rows.X))
        return folds(settings, data, *others)

    def solver(objective, theta0):
        assert given[0]() is None
        return OptimizeResult(x=theta0)

    monkeypatch.setattr(regressor_module, "folds", noted)
    regressor(solver=solver).fit(X.tolist(), Y)
    assert len(given) == 1


# ---- continuing ------------------------------------------------------------------------


@stochastic
@pytest.mark.parametrize("early_stopping", [False, True])
@quick
def test_a_warm_start_continues_to_the_last_bit(solver, early_stopping):
    options = {"solver": solver, "batch_size": 50, "early_stopping": early_stopping, "tol": 1e-3}
    once = regressor(max_iter=12, **options).fit(X, Y)
    twice = regressor(max_iter=6, warm_start=True, **options).fit(X, Y)
    twice = pickle.loads(pickle.dumps(twice)).fit(X, Y)
    np.testing.assert_array_equal(twice.theta_, once.theta_)
    assert twice.loss_curve_ == once.loss_curve_
    assert twice.validation_scores_ == once.validation_scores_
    assert (twice.n_iter_, twice.t_) == (once.n_iter_, once.t_)


@quick
def test_a_warm_start_of_lbfgs_goes_on_from_theta():
    first = regressor(max_iter=5, warm_start=True).fit(X, Y)
    loss, scaler = first.loss_, first.x_scaler_
    second = copy.deepcopy(first).fit(X, Y)
    assert second.loss_curve_[:5] == first.loss_curve_
    assert second.loss_ < loss
    assert second.n_iter_ == 10
    np.testing.assert_array_equal(second.x_scaler_.mean_, scaler.mean_)
    other = first.fit(X[:200], Y[:200])  # other rows: another curve
    assert other.n_iter_ == len(other.loss_curve_) == 5


def test_a_converged_warm_start_is_returned_unchanged():
    model = regressor(warm_start=True).fit(X, Y)
    theta = model.theta_.copy()
    np.testing.assert_array_equal(model.fit(X, Y).theta_, theta)


@quick
def test_a_warm_start_may_change_the_solver():
    model = regressor(solver="adam", max_iter=5, warm_start=True).fit(X, Y)
    loss = model.loss_
    assert model.set_params(solver="lbfgs").fit(X, Y).loss_ < loss
    loss = model.loss_
    assert model.set_params(solver="sgd", learning_rate_init=1e-3).fit(X, Y).loss_ < 1.1 * loss


@stochastic
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stream_of_partial_fits_survives_pickling_to_the_last_bit(solver, dtype):
    chunks = np.array_split(np.arange(len(X)), 6)
    straight, pickled = (regressor(solver=solver, batch_size=16) for _ in range(2))
    for i, rows in enumerate(chunks):
        straight.partial_fit(X[rows].astype(dtype), Y[rows])
        pickled.partial_fit(X[rows].astype(dtype), Y[rows])
        if i == 2:
            pickled = pickle.loads(pickle.dumps(pickled))
    np.testing.assert_array_equal(pickled.theta_, straight.theta_)
    assert pickled.theta_.dtype == dtype
    assert pickled.loss_curve_ == straight.loss_curve_
    assert (straight.n_iter_, straight.t_) == (6, len(X))


@stochastic
def test_partial_fit_over_and_over_is_fit(solver):
    over = regressor(solver=solver, batch_size=50)
    for _ in range(4):
        over.partial_fit(X, Y)
    with pytest.warns(ConvergenceWarning):
        fit = regressor(solver=solver, batch_size=50, max_iter=4).fit(X, Y)
    np.testing.assert_array_equal(over.theta_, fit.theta_)


def test_partial_fit_is_offered_where_it_makes_sense():
    assert hasattr(regressor(solver="sgd"), "partial_fit")
    assert hasattr(regressor(solver="adam"), "partial_fit")
    for parameters in ({}, {"solver": minimize_lbfgs}, {"solver": "sgd", "early_stopping": True}):
        assert not hasattr(regressor(**parameters), "partial_fit")


def test_partial_fit_freezes_the_scalers():
    model = regressor(solver="adam").partial_fit(X[:100], Y[:100])
    mean = model.x_scaler_.mean_.copy()
    model.partial_fit(X[100:] + 5, Y[100:])
    np.testing.assert_array_equal(model.x_scaler_.mean_, mean)


CHANGES = [
    ({"hidden_layer_sizes": (3,)}, X, Y, r"hidden_layer_sizes=\(3,\).*hidden_layer_sizes=\(8,\)"),
    ({"output_activation": "sigmoid"}, X, Y, "'sigmoid'.*'identity'"),
    ({"standardize": False}, X, Y, "standardize=False.*standardize=True"),
    ({}, X, np.c_[Y, Y], "2 outputs.* fitted with 1"),
    ({}, X[:, :4], Y, "4 features.*10 features"),
]


@pytest.mark.parametrize(("parameters", "X_new", "y_new", "message"), CHANGES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_nothing_is_continued_after_a_change_and_both_values_are_named(
    parameters, X_new, y_new, message, method
):
    model = regressor(solver="adam", warm_start=method == "fit").partial_fit(X, Y)
    model.set_params(**parameters)
    before = Snapshot(model)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X_new, y_new)
    before.assert_unchanged()


@quick
def test_a_cold_fit_forgets_everything():
    model = regressor(solver="adam", max_iter=3).fit(X, Y)
    again = model.set_params(hidden_layer_sizes=3).fit(X[:, :5], np.c_[Y, Y])
    fresh = regressor(solver="adam", max_iter=3, hidden_layer_sizes=3).fit(X[:, :5], np.c_[Y, Y])
    np.testing.assert_equal(vars(again).keys(), vars(fresh).keys())
    np.testing.assert_array_equal(again.theta_, fresh.theta_)


# ---- the flat objective ----------------------------------------------------------------


def test_make_objective_is_what_fit_minimises():
    model = regressor(alpha=0.1)
    objective, theta0 = model.make_objective(X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    fitted = regressor(alpha=0.1).fit(X, Y)
    assert objective.loss(fitted.theta_) == fitted.loss_
    result = minimize_lbfgs(objective, theta0, max_iter=fitted.n_iter_)
    np.testing.assert_array_equal(result.x, fitted.theta_)
    np.testing.assert_array_equal(model.set_theta(result.x).predict(X), fitted.predict(X))


def test_the_objective_of_an_estimator_takes_raw_rows():
    for form in (np.asarray, sparse.csr_array):
        model = regressor().fit(form(X), Y)
        objective, _ = model.make_objective(form(X), Y)
        standardised = objective.predict(model.theta_, form(X))
        np.testing.assert_allclose(
            standardised * model.y_scaler_.scale_[0] + model.y_scaler_.mean_[0],
            model.predict(X),
            rtol=1e-12,
        )


def test_make_objective_leaves_a_fit_alone_until_set_theta():
    model = regressor().fit(X, Y)
    predicted = model.predict(X)
    objective, theta0 = model.make_objective(X[:, :3], Y * 7)
    np.testing.assert_array_equal(model.predict(X), predicted)
    assert model.n_features_in_ == 10
    model.set_theta(theta0)
    assert model.n_features_in_ == 3
    np.testing.assert_allclose(
        model.predict(X[:, :3]),
        objective.predict(theta0, X[:, :3]) * model.y_scaler_.scale_[0] + model.y_scaler_.mean_[0],
        rtol=1e-12,
    )


def test_set_theta_replaces_theta_alone_on_a_fitted_regressor():
    model = regressor().fit(X, Y)
    scaler, theta = model.x_scaler_, model.theta_ * 0.5
    model.set_theta(theta)
    assert model.x_scaler_ is scaler
    np.testing.assert_array_equal(model.theta_, theta)
    assert not np.shares_memory(model.theta_, theta)
    assert not hasattr(model, "loss_")  # it was that of another θ
    model.predict(X)


def test_set_theta_needs_a_network():
    with pytest.raises(NotFittedError):
        regressor().set_theta(np.zeros(3))


@pytest.mark.parametrize(
    ("theta", "message"),
    [(np.zeros(3), "n_params=97"), (np.full(97, np.nan), "NaN"), (np.full(97, np.inf), "infinite")],
)
def test_set_theta_refuses_a_bad_theta(theta, message):
    model = regressor().fit(X, Y)
    before = Snapshot(model)
    with pytest.raises(ValueError, match=message):
        model.set_theta(theta)
    before.assert_unchanged()


def test_a_fit_can_be_used_while_make_objective_reads_other_data():
    model, seen = regressor().fit(X, Y), []

    class Target:
        def __array__(self, dtype=None, copy=None):
            seen.append(model.predict(X[:2]))
            return np.asarray(Y, dtype)

    expected = model.predict(X[:2])
    model.make_objective(X, Target())
    for prediction in seen:
        np.testing.assert_array_equal(prediction, expected)
    assert seen


def test_make_objective_refuses_early_stopping():
    with pytest.raises(ValueError, match="early_stopping"):
        regressor(early_stopping=True).make_objective(X, Y)


def test_a_callable_solver_needs_to_return_x_alone():
    class Answer:
        def __init__(self, x):
            self.x = x

    model = regressor(solver=lambda objective, theta0: Answer(theta0)).fit(X, Y)
    assert model.n_iter_ is model.n_fev_ is None
    objective, theta0 = regressor().make_objective(X, Y)
    np.testing.assert_array_equal(model.theta_, theta0)
    assert model.loss_ == model.best_loss_ == objective.loss(theta0)


def test_what_a_callable_solver_tells_is_kept():
    model = regressor(solver=partial(minimize_adam, random_state=0)).fit(X, Y)
    direct = minimize_adam(*regressor().make_objective(X, Y), random_state=0)
    assert model.n_iter_ == len(model.loss_curve_) == direct.nit
    assert (model.message_, model.n_fev_) == (direct.message, direct.nfev)
    assert model.loss_ == direct.fun


def test_a_callable_solver_of_scipy():
    def bfgs(objective, theta0):
        return optimize.minimize(objective, theta0, jac=True, method="BFGS", options={"gtol": 1e-3})

    model = regressor(solver=bfgs, alpha=1.0).fit(X, Y)
    lbfgs = regressor(alpha=1.0, tol=1e-6).fit(X, Y)
    assert model.loss_ < lbfgs.loss_ * 1.1
    assert model.n_iter_ > 1


@pytest.mark.parametrize("x", [np.zeros(5), np.full(97, np.nan)])
def test_a_callable_solver_that_returns_nonsense_is_refused(x):
    model = regressor(solver=lambda objective, theta0: OptimizeResult(x=x))
    with pytest.raises(ValueError, match="theta has"):
        model.fit(X, Y)
    assert not hasattr(model, "theta_")


# ---- convergence -----------------------------------------------------------------------


@each_solver
def test_the_warning_names_the_remedy_and_leaves_nothing_half_done_as_an_error(solver):
    model = regressor(solver=solver, max_iter=3)
    with pytest.raises(ConvergenceWarning, match=r"max_iter=3 was reached\. Raise it, or tol"):
        model.fit(X, Y)
    assert not hasattr(model, "theta_")
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    assert "max_iter=3" in model.message_
    assert model.n_iter_ == 3


def test_the_default_ends_by_itself():
    model = MLPSigmoidRegressor(random_state=0, alpha=1e-4).fit(X, Y)  # warnings are errors here
    assert model.n_iter_ < model.max_iter
    assert "noise" in model.message_


@quick
def test_a_tol_below_the_default_leaves_the_decision_to_the_gradient():
    model = regressor(hidden_layer_sizes=3, alpha=1.0, tol=9e-5, max_iter=3000).fit(X, Y)
    objective, _ = model.make_objective(X, Y)
    assert np.abs(objective.gradient(model.theta_)).max() <= 9e-5
    assert "within tol" in model.message_
    assert model.n_iter_ > regressor(hidden_layer_sizes=3, alpha=1.0).fit(X, Y).n_iter_


@stochastic
def test_divergence_keeps_a_finite_model_and_warns(solver):
    model = regressor(solver=solver, learning_rate_init=1e300)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init=1e\\+300 is too large"):
        model.fit(X, Y)
    assert np.isfinite(model.predict(X)).all()


def test_a_diverged_fit_warns_and_does_not_predict_nonsense():
    model = regressor(solver="sgd", learning_rate_init=3.0)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init=3 is too large"):
        model.fit(X, Y)
    assert model.loss_ < 2
    assert np.isfinite(model.predict(X)).all()


def test_a_fit_that_is_infinite_from_the_start_says_what_may_be_to_blame():
    model = regressor(standardize=False)
    with pytest.raises(ValueError, match=r"column 0 of y reaches .*e\+202"):
        model.fit(X, 1e200 * Y)
    assert not hasattr(model, "theta_")


def test_new_validation_targets_of_any_size_leave_nothing_half_done():
    model = regressor(solver="adam", max_iter=5, warm_start=True, early_stopping=True)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y, X_val=X, y_val=Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y, X_val=X, y_val=Y * 1e200)
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_ == 10


def test_csr_with_two_entries_at_one_place_is_their_sum():
    rng = np.random.default_rng(0)
    data, indices = rng.normal(size=1200), rng.integers(0, 3, 1200)
    doubled = sparse.csr_array((data, indices, np.arange(0, 1201, 4)), shape=(300, 3))
    summed = doubled.copy()
    summed.sum_duplicates()
    y = Y[:300]
    ours, theirs = regressor().fit(doubled, y), regressor().fit(summed, y)
    np.testing.assert_array_equal(ours.x_scaler_.scale_, theirs.x_scaler_.scale_)
    np.testing.assert_array_equal(ours.predict(doubled), theirs.predict(summed))
    assert doubled.nnz == 1200


@quick
@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_weights_of_any_size_standardise_alike(size):
    w = np.random.default_rng(0).uniform(0.5, 1, len(X))
    plain, scaled = (regressor(alpha=0, max_iter=5).fit(X, Y, w * s) for s in (1.0, size))
    np.testing.assert_allclose(scaled.x_scaler_.scale_, plain.x_scaler_.scale_, rtol=1e-12)


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("c", [1.7e308, -1.7e308])
def test_the_largest_constant_target(output_activation, c):
    model = regressor(output_activation=output_activation).fit(X, np.full(len(X), c))
    assert (model.predict(X) == c).all()


def test_a_callable_that_returns_nothing_is_named():
    with pytest.raises(TypeError, match="solver returned None"):
        regressor(solver=lambda objective, theta0: None).fit(X, Y)


def test_make_objective_is_forgotten_by_a_later_fit():
    model = regressor(warm_start=True).fit(X, Y)
    model.make_objective(X, Y)
    model.fit(X, Y)
    assert not hasattr(model, "_prepared")
