"""Slopes that are learnt with the values."""

import pickle

import numpy as np
import pytest
import reference
from conftest import make_problem
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import norm
from sklearn import config_context
from sklearn.metrics import root_mean_squared_error as rmse
from sklearn.model_selection import cross_validate
from sklearn.preprocessing import StandardScaler

from skprop import MLPObjective, MLPSigmoidRegressor
from skprop.factors import Root
from skprop.solvers.hyperparameters import Squares

LAMBDA = 0.7


@pytest.fixture
def slopes(problem):
    """Slopes of the problem, some of them unknown, all those of a row and of an output of a row."""
    return slopes_of(problem)


def slopes_of(problem):
    rng = np.random.default_rng(5)
    dydx = rng.normal(size=(*problem.y.shape, problem.X.shape[1]))
    dydx[1], dydx[3, 0], dydx[5, :, 1] = np.nan, np.nan, np.nan
    return dydx


def objective_of(problem, dydx, dtype=np.float64):
    return problem.objective(dtype, dydx=dydx, slope_weight=LAMBDA)


def weights_of(problem):
    return LAMBDA * problem.weights[..., None]


def differentiated(problem, dydx, theta, h=1e-30):
    definition = dydx, weights_of(problem), *problem.definition
    steps = theta + 1j * h * np.eye(len(theta))
    return np.array([reference.loss_with_slopes(t, *definition).imag / h for t in steps])


def worst(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_the_gradient_is_that_of_the_definition(problem, slopes):
    expected = reference.loss_with_slopes(
        problem.theta, slopes, weights_of(problem), *problem.definition
    )
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-4)):
        loss, gradient = objective_of(problem, slopes, dtype)(problem.theta.astype(dtype))
        assert gradient.dtype == dtype
        assert abs(loss - expected) < tolerance * expected
        assert worst(gradient, differentiated(problem, slopes, problem.theta)) < tolerance


def test_second_order_products_are_those_of_the_definition(problem, slopes):
    objective, theta = objective_of(problem, slopes), problem.theta
    v = np.random.default_rng(1).normal(size=len(theta))
    h, size = 1e-2, np.abs(v).max()
    expected = sum(
        c * (differentiated(problem, slopes, theta + j * h * v / size)
             - differentiated(problem, slopes, theta - j * h * v / size))
        for j, c in ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
    ) * (size / h)  # fmt: skip
    product = objective.hessp(theta, v)
    assert worst(product, expected) < 1e-11
    assert worst(objective_of(problem, slopes, np.float32).hessp(theta, v), expected) < 1e-4
    assert worst(objective.hessian(theta) @ v, expected) < 1e-11


def test_residuals_jacobian_and_normal_equations_agree_with_the_gradient(problem, slopes):
    objective, theta = objective_of(problem, slopes), problem.theta
    loss, gradient = objective(theta)
    r, J = objective.residuals(theta), objective.jacobian(theta)
    assert len(r) >= objective.n_residuals
    assert_allclose(0.5 * r @ r, loss, rtol=1e-13)
    assert worst(J.T @ r, gradient) < 1e-12
    steps = theta + 1e-6 * np.eye(len(theta))
    differences = np.array([objective.residuals(t) - r for t in steps]).T / 1e-6
    assert worst(J, differences) < 1e-4
    half, g, M = objective.normal_equations(theta)
    assert_allclose(half, loss, rtol=1e-13)
    assert worst(g, gradient) < 1e-12
    assert worst(M, J.T @ J) < 1e-12
    shares = objective.output_losses(theta)
    penalty = loss - problem.objective(alpha=0.0, dydx=slopes, slope_weight=LAMBDA).loss(theta)
    assert len(shares) == 2 * problem.y.shape[1]
    assert_allclose(shares.sum(), loss - penalty, rtol=1e-12)


def test_the_thin_form_is_the_other_one(problem, slopes, monkeypatch):
    objective, theta = objective_of(problem, slopes), problem.theta
    d_K = problem.y.shape[1]
    u = np.linspace(0.5, 2.0, 2 * d_K)
    square = objective.output_models(theta)
    monkeypatch.setattr("skprop.flat_objective.is_thin", lambda N, P: True)
    thin = objective.output_models(theta)
    assert isinstance(thin.products, Root)
    for (loss, gradient, M), (other, slope, root) in [(square.sum(u), thin.sum(u))]:
        assert_allclose(loss, other, rtol=1e-12)
        assert_allclose(slope, gradient, rtol=1e-9, atol=1e-12)
        assert worst(root.Jt @ root.Jt.T, M) < 1e-12
    step = 0.01 * np.arange(len(theta)) / len(theta)
    assert_allclose(thin.losses_at(step), square.losses_at(step), rtol=1e-10)


def test_batches_average_to_the_whole_and_blocks_do_not_matter(problem, slopes, monkeypatch):
    objective, theta = objective_of(problem, slopes), problem.theta
    loss, gradient = objective(theta)
    parts = [objective(theta, rows=np.arange(k, 9, 3)) for k in range(3)]
    assert_allclose(np.mean([part[0] for part in parts]), loss, rtol=1e-12)
    assert worst(np.mean([part[1] for part in parts], axis=0), gradient) < 1e-12
    monkeypatch.setattr("skprop.slope_error.block_rows", lambda sizes, dtype: 2)
    monkeypatch.setattr("skprop.blocks.PART_WORK", 1)
    monkeypatch.setattr("skprop.slope_error.LEAST_ROWS", 1)
    in_blocks = objective_of(problem, slopes)
    assert_allclose(in_blocks.loss(theta), loss, rtol=1e-13)
    assert worst(in_blocks.gradient(theta), gradient) < 1e-12
    v = np.ones(len(theta))
    assert worst(in_blocks.hessp(theta, v), objective.hessp(theta, v)) < 1e-12
    assert worst(in_blocks.residuals(theta), objective.residuals(theta)) < 1e-12
    monkeypatch.setattr("skprop.slope_error.slope_rows", lambda width, dtype: 2)
    assert worst(in_blocks.gauss_newton(theta), objective.gauss_newton(theta)) < 1e-12


def test_the_log_posterior_has_the_density_of_the_slopes():
    problem = make_problem(2, 2, "identity", "targets")
    dydx = slopes_of(problem)
    objective, noise = objective_of(problem, dydx), 0.3
    found, gradient = objective.log_posterior(problem.theta, noise)
    without, _ = problem.objective().log_posterior(problem.theta, noise)
    expected = 0.0
    for x, y_s, w in zip(problem.X, dydx, problem.weights, strict=True):
        s = reference.slopes(problem.theta, x, problem.sizes, "identity")
        v = LAMBDA * np.broadcast_to(w[:, None], s.shape)
        seen = ~np.isnan(y_s) & (v > 0)
        expected += norm.logpdf(y_s[seen], s[seen], np.sqrt(noise / v[seen])).sum()
    assert_allclose(found - without, expected, rtol=1e-11)
    assert_allclose(
        gradient, -objective.total_weight / noise * objective.gradient(problem.theta), rtol=1e-12
    )


# ---- the estimator -----------------------------------------------------------------------------


def curves(n, seed=0, noise=0.0, slope_noise=0.0):
    """Rows of two functions of two features in units of their own, with their slopes."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-2, 2, (2, n))
    y = np.c_[np.sin(2 * a) + b**2, 100 * a * b]
    dydx = np.stack([np.c_[2 * np.cos(2 * a), 2 * b], np.c_[100 * b, 100 * a]], axis=1)
    y, units = y + noise * y.std(axis=0) * rng.normal(size=y.shape), np.array([1.0, 1000.0])
    dydx = dydx * (1 + 0 * units)
    dydx += slope_noise * dydx.std(axis=0) * rng.normal(size=dydx.shape)
    return np.c_[a, b] * units, y, dydx / units


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_the_objective_of_an_estimator_is_in_standard_units(activation):
    X, y, dydx = curves(30)
    dydx[3, 0] = np.nan
    model = MLPSigmoidRegressor(4, output_activation=activation, slope_weight=0.3, random_state=0)
    objective, theta = model.make_objective(X, y, dydx=dydx)
    x_scaler = StandardScaler().fit(X)
    values, theta0 = model.make_objective(X, y)
    assert_array_equal(theta, theta0)
    model.set_theta(theta)
    error = (model.predict_gradient(X) - dydx) * x_scaler.scale_ / model.y_scaler_.scale_[:, None]
    added = 0.3 * np.nansum(error**2) / (2 * len(X))
    assert_allclose(objective.loss(theta) - values.loss(theta), added, rtol=1e-10)


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "lbfgs"},
        {"solver": "lm"},
        {"solver": "adam", "max_iter": 300},
        {"solver": "sgd", "max_iter": 300, "learning_rate_init": 0.05},
        {"alpha": "evidence"},
        {"alpha": "ard"},
        {"n_members": 3, "alpha": "evidence"},
        {"n_members": 2, "solver": "adam", "max_iter": 300},
        {"alpha": "evidence", "slope_weight": 0.5},
        {},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_solver_learns_from_slopes(parameters):
    X, y, dydx = curves(25)
    X_test, y_test, dydx_test = curves(300, seed=1)
    errors = []
    for given in (None, dydx):
        model = MLPSigmoidRegressor(10, random_state=0, **parameters).fit(X, y, dydx=given)
        slopes = model.predict_gradient(X_test)
        scale = dydx_test.std(axis=0)
        errors.append(
            [
                rmse(y_test / y.std(axis=0), model.predict(X_test) / y.std(axis=0)),
                rmse((slopes / scale).reshape(300, -1), (dydx_test / scale).reshape(300, -1)),
            ]
        )
    assert errors[1][0] < errors[0][0]
    assert errors[1][1] < 0.8 * errors[0][1]


def test_a_noise_that_values_and_slopes_share_begins_with_the_variance_of_both():
    X, y, dydx = curves(50)
    objective = MLPObjective(X, y, hidden_layer_sizes=3, dydx=dydx)
    each, shared = (Squares(objective, None, tied) for tied in (False, True))
    variance, N = (a.reshape(2, -1) for a in (each.variance, each.N))
    expected = (variance * N).sum(axis=0) / N.sum(axis=0)
    assert_allclose(shared.variance, np.tile(expected, 2), rtol=1e-14)


def test_the_evidence_finds_the_noise_of_slopes_and_error_bars_shrink():
    X, y, dydx = curves(200, noise=0.1, slope_noise=0.3)
    model = MLPSigmoidRegressor(8, alpha="evidence", random_state=0).fit(X, y, dydx=dydx)
    assert model.slope_noise_variance_.shape == (2, 2)
    X_many, y_many, dydx_many = curves(5000, seed=1)
    units = model.slope_noise_variance_**0.5 * model.x_scaler_.scale_
    in_units = units / model.y_scaler_.scale_[:, None]
    expected = 0.3 * dydx_many.std(axis=0) * X_many.std(axis=0) / y_many.std(axis=0)[:, None]
    expected = np.sqrt((expected**2).mean(axis=1))  # one noise for the slopes of an output
    assert_allclose(in_units, np.c_[expected, expected], rtol=0.2)
    assert_allclose(np.sqrt(model.noise_variance_), 0.1 * y_many.std(axis=0), rtol=0.2)
    plain = MLPSigmoidRegressor(8, alpha="evidence", random_state=0).fit(X, y)
    assert not hasattr(plain, "slope_noise_variance_")
    _, bars = model.predict(X_many, return_std="model")
    _, plain_bars = plain.predict(X_many, return_std="model")
    assert (np.median(bars, axis=0) < 0.8 * np.median(plain_bars, axis=0)).all()
    deviation = (model.predict(X_many) - y_many) / bars
    assert 0.5 < np.sqrt(np.mean(deviation**2)) < 2.0


def test_a_weight_of_slopes_under_the_evidence_holds_the_ratio_of_the_noises():
    X, y, dydx = curves(60, noise=0.1, slope_noise=0.3)
    model = MLPSigmoidRegressor(5, alpha="evidence", slope_weight=4.0, random_state=0)
    model.fit(X, y, dydx=dydx)
    ratio = model.y_scaler_.scale_[:, None] / model.x_scaler_.scale_
    in_units = model.slope_noise_variance_ / ratio**2
    values = model.noise_variance_ / model.y_scaler_.scale_**2
    assert_allclose(in_units, np.c_[values, values] / 4.0, rtol=1e-10)


def test_the_posterior_of_the_same_data_is_the_same():
    X, y, dydx = curves(40, noise=0.05)
    y, dydx = y[:, 0], dydx[:, 0]
    model = MLPSigmoidRegressor(5, alpha="evidence", random_state=0).fit(X, y, dydx=dydx)
    before = model.predict(X, return_std=True)[1]
    assert model.slope_noise_variance_.shape == (2,)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X, return_std=True)[1], before)
    again = model.fit_posterior(X, y, dydx=dydx).predict(X, return_std=True)[1]
    assert_allclose(again, before, rtol=1e-6)
    model.fit_posterior(X, y)
    assert not hasattr(model, "slope_noise_variance_")
    assert (model.predict(X, return_std=True)[1] > before).mean() > 0.9


def test_a_fixed_penalty_has_error_bars_that_know_the_slopes():
    X, y, dydx = curves(60, noise=0.05, slope_noise=0.1)
    model = MLPSigmoidRegressor(5, alpha=0.01, random_state=0).fit(X, y, dydx=dydx)
    with_slopes = model.predict(X, return_std="model")[1]
    assert (model.slope_noise_variance_ > 0).all()
    without = model.fit_posterior(X, y).predict(X, return_std="model")[1]
    assert (np.median(with_slopes, axis=0) < np.median(without, axis=0)).all()


def test_slopes_of_one_output_alone_and_no_slopes_at_all():
    X, y, dydx = curves(40)
    dydx[:, 1] = np.nan
    one = MLPSigmoidRegressor(6, alpha="evidence", random_state=0).fit(X, y, dydx=dydx)
    assert np.isfinite(one.predict(X, return_std=True)[1]).all()
    dydx[:] = np.nan
    for alpha in ("evidence", 1e-3):
        none, plain = (
            MLPSigmoidRegressor(6, alpha=alpha, random_state=0).fit(X, y, dydx=given)
            for given in (dydx, None)
        )
        assert_allclose(none.predict(X), plain.predict(X), rtol=1e-6, atol=1e-6)


def test_a_row_of_weight_two_is_two_rows_and_unknown_targets_have_no_slopes():
    X, y, dydx = curves(20)
    w = np.where(np.arange(20) < 5, 2.0, 1.0)
    rows = np.r_[np.arange(20), np.arange(5)]
    model = MLPSigmoidRegressor(3, solver="lm", random_state=0)
    weighted, theta = model.make_objective(X, y, w, dydx)
    repeated, _ = model.make_objective(X[rows], y[rows], None, dydx[rows])
    assert_allclose(weighted.loss(theta), repeated.loss(theta), rtol=1e-12)
    y[4] = np.nan
    model.set_params(missing_targets="ignore")
    without, theta = model.make_objective(X, y, dydx=dydx)
    left = np.arange(20) != 4
    known, _ = model.make_objective(X[left], y[left], dydx=dydx[left])
    assert_allclose(without.loss(theta), known.loss(theta), rtol=1e-12)


def test_early_stopping_and_partial_fit_take_slopes():
    X, y, dydx = curves(200)
    for parameters in ({"solver": "lbfgs"}, {"solver": "adam", "n_members": 2}):
        model = MLPSigmoidRegressor(6, early_stopping=True, random_state=0, **parameters)
        model.fit(X, y, dydx=dydx)
        assert model.best_validation_score_ > 0.2
        model.fit(X, y, X_val=X[:50], y_val=y[:50], dydx=dydx)
    stream = MLPSigmoidRegressor(6, solver="adam", random_state=0)
    whole = MLPSigmoidRegressor(6, solver="adam", max_iter=3, random_state=0)
    for _ in range(3):
        stream.partial_fit(X, y, dydx=dydx)
    with pytest.warns(match="max_iter"):
        whole.fit(X, y, dydx=dydx)
    assert_array_equal(stream.theta_, whole.theta_)


def test_searches_route_slopes_row_by_row():
    X, y, dydx = curves(60)
    with config_context(enable_metadata_routing=True):
        model = MLPSigmoidRegressor(4, alpha=1e-3, random_state=0).set_fit_request(dydx=True)
        scores = cross_validate(model, X, y, cv=3, params={"dydx": dydx})["test_score"]
    assert scores.min() > 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dydx": np.zeros((30, 2))}, r"dydx has shape \(30, 2\).*it is \(30, 2, 2\)"),
        ({"dydx": np.full((30, 2, 2), np.inf)}, "dydx contains infinity"),
        ({"dydx": np.zeros((29, 2, 2))}, "dydx has shape"),
        ({"X": csr_array(np.eye(30))}, "X is sparse"),
        ({"dydx": np.full((30, 2, 2), 1e300), "X": np.eye(30, 2, dtype=np.float32)}, "float32"),
    ],
)
def test_slopes_that_make_no_sense_are_refused(change, message):
    X, y, dydx = curves(30)
    arguments = {"X": X, "y": y, "dydx": dydx} | change
    for model in (MLPSigmoidRegressor(3, alpha=1e-3), MLPSigmoidRegressor(3)):
        with pytest.raises(ValueError, match=message):
            model.fit(**arguments)
        assert not hasattr(model, "theta_")


def test_an_objective_refuses_a_weight_that_is_not_positive():
    X, y, dydx = curves(30)
    with pytest.raises(ValueError, match="slope_weight=0"):
        MLPObjective(X, y, hidden_layer_sizes=3, dydx=dydx, slope_weight=0)
    with pytest.raises(ValueError, match="sparse"):
        MLPObjective(csr_array(X), y, hidden_layer_sizes=3, dydx=dydx)
    single = X.astype(np.float32)
    with pytest.raises(ValueError, match="dydx has values beyond float32"):
        MLPObjective(single, y, hidden_layer_sizes=3, dydx=np.full_like(dydx, 1e300))
