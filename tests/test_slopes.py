"""The derivatives of ∂f/∂x, by x and by θ, and what is made of them: deviations and Hessians."""

import warnings

import numpy as np
import pytest
import reference
from conftest import make_problem
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skprop import MLPSigmoidRegressor, jacobian
from skprop.factors import Root, factorised
from skprop.jacobian import slope_jacobian
from skprop.layout import Layout
from skprop.network import Network
from skprop.posterior import slope_variance, variance_gradient
from skprop.rows import Rows
from skprop.tanh_form import TanhForm

TOLERANCES = [(np.float64, 1e-11), (np.float32, 1e-4)]
IDS = ["float64", "float32"]


def assert_close(ours, expected, tolerance):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def network_of(problem, dtype=np.float64):
    return Network(Layout(problem.sizes), problem.theta.astype(dtype), problem.output_activation)


_KNOWN = {}  # as the definition takes seconds


def expected(function, problem):
    """A function of `reference` at all rows of a problem."""
    key = function.__name__, problem.theta.tobytes(), problem.output_activation
    if key not in _KNOWN:
        network = problem.sizes, problem.output_activation
        _KNOWN[key] = np.array([function(problem.theta, x, *network) for x in problem.X])
    return _KNOWN[key]


def slopes_by_theta(network, X):
    """∂²f_K/∂x∂θ of rows, of shape (rows, d_K, P, d_0)."""
    found = []
    network.for_each_slope_jacobian(Rows(X), 0, lambda rows, _, S: found.append((rows.start, S)))
    return np.concatenate([np.moveaxis(S, -1, 0) for _, S in sorted(found, key=lambda p: p[0])])


# ---- against the definition ------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=IDS)
def test_the_derivatives_of_slopes_by_theta_are_those_of_the_complex_step(
    problem, dtype, tolerance
):
    found = slopes_by_theta(network_of(problem, dtype), problem.X.astype(dtype))
    assert found.dtype == dtype
    theirs = expected(reference.slope_jacobian, problem)
    rounding = 2e-14  # of the differences of ∂f/∂θ, which is up to 1
    layout = Layout(problem.sizes)
    each = [layout.views(np.moveaxis(J, 2, -1)) for J in (found, theirs)]
    for ours, definition in zip(*each, strict=True):
        for a, b in zip(ours, definition, strict=True):
            atol = tolerance * np.abs(b).max() + rounding
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=IDS)
def test_the_input_hessian_is_that_of_the_complex_step(problem, dtype, tolerance):
    H = network_of(problem, dtype).input_hessian(Rows(problem.X.astype(dtype)))
    assert H.dtype == dtype
    np.testing.assert_array_equal(H, H.swapaxes(-1, -2))
    theirs = expected(reference.input_hessian, problem)
    if not problem.hidden and problem.output_activation == "identity":
        assert not H.any()
        np.testing.assert_allclose(theirs, 0, atol=1e-11)
    else:
        assert_close(H, theirs, tolerance)


def test_a_factor_for_each_slope_and_the_parameters_of_one_output_alone(problem):
    layout, rows = Layout(problem.sizes), Rows(problem.X)
    form = TanhForm(layout, problem.output_activation, np.float64)
    x = rows.read_dense(slice(0, 9), 9)
    d_0, d_K, index = layout.sizes[0], layout.sizes[-1], layout.output_indices()
    factor = np.random.default_rng(0).normal(size=(d_K, d_0, 9))
    J = np.empty((d_K, len(index[0]), d_0, 9))
    slopes = slope_jacobian(form.of(problem.theta), problem.theta, x, form, J, factor)
    gradient = network_of(problem).slopes(rows)
    np.testing.assert_allclose(np.moveaxis(slopes, -1, 0), gradient, rtol=1e-12, atol=1e-14)
    wide = slopes_by_theta(network_of(problem), problem.X)
    for k, at in enumerate(index):
        mine = np.moveaxis(J[k] / factor[k], -1, 0)
        assert_close(mine, wide[:, k, at], 1e-13)
        others = np.setdiff1d(np.arange(layout.n_params), at)
        assert not wide[:, k, others].any()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_size_of_the_blocks_does_not_matter(depth, monkeypatch):
    problem = make_problem(depth, 2, "sigmoid", n_samples=40)
    network = network_of(problem)
    whole = slopes_by_theta(network, problem.X), network.input_hessian(Rows(problem.X))
    monkeypatch.setattr(jacobian, "_JACOBIAN_BYTES", 1)
    monkeypatch.setattr(jacobian, "_MIN_SLOPE_ROWS", 7)
    assert_close(slopes_by_theta(network, problem.X), whole[0], 1e-14)
    assert_close(network.input_hessian(Rows(problem.X)), whole[1], 1e-14)


# ---- under the posterior ---------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=IDS)
@pytest.mark.parametrize("form", ["square", "thin"])
def test_variances_of_slopes_and_slopes_of_variances(problem, form, dtype, tolerance):
    rng, P = np.random.default_rng(1), len(problem.theta)
    Jt, p, shift = rng.normal(size=(P, 5)), rng.uniform(0.1, 1, P), 0.1 * rng.normal(size=P)
    M = Jt @ Jt.T
    factor = factorised(Root(Jt) if form == "thin" else M, p).array()
    covariance = 0.3 * np.linalg.inv(M + np.diag(p)) + np.outer(shift, shift)
    g, S = (
        expected(function, problem)
        for function in (reference.output_jacobian, reference.slope_jacobian)
    )
    network, rows = network_of(problem, dtype), Rows(problem.X.astype(dtype))
    variance = np.einsum("skpj,pq,skqj->skj", S, covariance, S)
    found = slope_variance(network, rows, factor, 0.3, shift)
    assert_close(found, variance, tolerance)
    gradient = 2 * np.einsum("skpj,pq,skq->skj", S, covariance, g)
    of_outputs, found = variance_gradient(network, rows, factor, 0.3, shift)
    assert_close(found, gradient, tolerance)
    assert_close(of_outputs, np.einsum("skp,pq,skq->sk", g, covariance, g), tolerance)


KINDS = ["one", "column", "two", "csr", "raw", "sigmoid", "committee", "held out", "fixed alpha"]


def fitted(kind, dtype=np.float64):
    """A regressor with features and targets of very different units, and its rows."""
    rng = np.random.default_rng(0)
    scales = np.ones(3) if kind == "raw" else np.array([2.0, 1e3, 1e-3])
    u = rng.normal(size=(60, 3))
    X = ([5.0, -300.0, 0.01] + u * [2.0, 1e3, 1e-3] if kind != "raw" else u).astype(dtype)
    Y = np.column_stack([np.sin(u[:, 0]) + u[:, 1], 1e4 * u[:, 2] * u[:, 1]])
    Y += rng.normal(scale=[0.1, 300.0], size=(60, 2))
    y = {"two": Y, "column": Y[:, :1]}.get(kind, Y[:, 0])
    parameters = {"alpha": "evidence"}
    if kind == "held out":
        parameters = {
            "solver": "adam", "alpha": 0.1, "n_members": 3, "early_stopping": True, "max_iter": 20
        }  # fmt: skip
    elif kind in ("sigmoid", "fixed alpha"):
        parameters = {"alpha": 0.1}
    elif kind == "committee":
        parameters["n_members"] = 3
    X = sparse.csr_array(X) if kind == "csr" else X
    model = MLPSigmoidRegressor(
        5, random_state=0, standardize=kind != "raw",
        output_activation="sigmoid" if kind == "sigmoid" else "identity", **parameters,
    )  # fmt: skip
    if kind == "held out":
        model.set_params(hidden_layer_sizes=(40, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y), X[:20], scales


def by_differences(function, X, scales, h=1e-3):
    """∂/∂x of a function of rows, the last axis of what is returned, to sixth order in h."""
    X = X.toarray() if sparse.issparse(X) else X
    columns = []
    for step in np.diag(h * scales):
        each = [c * (function(X + i * step) - function(X - i * step)) / step.max()
                for i, c in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))]  # fmt: skip
        columns.append(sum(each))
    return np.stack(columns, axis=-1)


def assert_close_by_feature(ours, theirs, scales, tolerance=1e-7):
    """Relative to the largest of each output, in units of the spread of each feature."""
    ours, theirs = ours * scales, theirs * scales
    if ours.ndim == 4 or (ours.ndim == 3 and ours.shape[-2] == 3):
        ours, theirs = ours * scales[:, None], theirs * scales[:, None]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_is_the_slope_of_the_gradient(kind):
    model, X, scales = fitted(kind)
    H = model.predict_hessian(X)
    assert H.shape == (*model.predict_gradient(X).shape, 3)
    np.testing.assert_array_equal(H, H.swapaxes(-1, -2))
    assert_close_by_feature(H, by_differences(model.predict_gradient, X, scales), scales)


@pytest.mark.filterwarnings("ignore:The error bars are rough")
@pytest.mark.parametrize("of", ["target", "model"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_std_is_its_slope(kind, of):
    model, X, scales = fitted(kind)
    gradient = model.predict_std_gradient(X, of)
    assert gradient.shape == model.predict_gradient(X).shape

    def std(X):
        return model.predict(X, return_std=True if of == "target" else "model")[1]

    theirs = by_differences(std, X, scales)
    if kind == "two":
        assert_close_by_feature(gradient[:, 0], theirs[:, 0], scales)
    assert_close_by_feature(gradient, theirs, scales)


@pytest.mark.filterwarnings("ignore:The error bars are rough")
@pytest.mark.parametrize("kind", KINDS)
def test_the_deviation_of_a_slope_is_that_of_a_small_difference(kind):
    """Of f(x + h) − f(x − h), from the posteriors of the members at both places."""
    model, X, scales = fitted(kind)
    gradient, std = model.predict_gradient(X, return_std=True)
    np.testing.assert_array_equal(gradient, model.predict_gradient(X))
    assert std.shape == gradient.shape
    committee, units = model._fitted(with_posterior=True)
    dense = X.toarray() if sparse.issparse(X) else X

    def jacobians(network, X):
        J = np.empty((len(X), network.layout.sizes[-1], network.layout.n_params))

        def use(at, block):
            J[at] = np.moveaxis(block, -1, 0)

        network.for_each_jacobian(units.rows(X), 0, use)
        return J

    members = []
    for i, network in enumerate(committee.networks):
        S = by_differences(lambda X, network=network: jacobians(network, X), dense, scales)
        slope = by_differences(lambda X, network=network: network.outputs(units.rows(X)), dense,
                               scales)  # fmt: skip
        variance = np.zeros_like(slope)
        if committee.factors:
            noise = committee.noises[i]
            factor = committee.factors[i]
            assert len(factor) == factor.shape[1]
            covariance = np.linalg.inv(factor @ factor.T) / np.mean(1 / noise)
            if committee.shifts:
                covariance += np.outer(committee.shifts[i], committee.shifts[i])
            variance = np.einsum("skpj,pq,skqj->skj", S, covariance, S)
        members.append((slope, variance))
    slopes, variances = map(np.array, zip(*members, strict=True))
    theirs = np.sqrt(variances.mean(axis=0) + slopes.var(axis=0)) * units.scale[:, None]
    assert_close_by_feature(std, theirs[:, 0] if std.ndim == 2 else theirs, scales)


@pytest.mark.parametrize("kind", ["one", "two", "committee"])
def test_float32_is_within_1e_4_of_float64(kind):
    model, X, _ = fitted(kind, np.float32)
    single = [*model.predict_gradient(X, return_std=True), model.predict_std_gradient(X)]
    single.append(model.predict_hessian(X))
    assert all(a.dtype == np.float32 for a in single)
    model._dtype, model.theta_ = "float64", model.theta_.astype(np.float64)
    double = [*model.predict_gradient(X, return_std=True), model.predict_std_gradient(X)]
    double.append(model.predict_hessian(X))
    for a, b in zip(single, double, strict=True):
        axes = tuple(i for i in range(b.ndim) if i == 0)  # each slope has its own units
        atol = 1e-4 * np.abs(b).max(axis=axes)
        assert (np.abs(a - b) <= atol).all()


def test_one_row_at_a_time_is_what_all_give():
    model, X, _ = fitted("two")
    for method in (model.predict_hessian, model.predict_std_gradient,
                   lambda X: model.predict_gradient(X, return_std=True)[1]):  # fmt: skip
        whole = method(X)
        each = np.concatenate([method(row[None]) for row in X])
        np.testing.assert_allclose(each, whole, rtol=1e-9, atol=1e-12 * np.abs(whole).max())


# ---- bad input -------------------------------------------------------------------------


def test_a_hessian_beyond_memory_is_refused_with_its_size(monkeypatch):
    model, X, _ = fitted("one")
    monkeypatch.setattr("skprop.workspace.physical_memory", lambda: 1000)
    with pytest.raises(ValueError, match=r"A Hessian of shape \(20, 1, 3, 3\) needs .* GiB"):
        model.predict_hessian(X)


def test_what_cannot_be_told_is_refused():
    model, X, _ = fitted("one")
    with pytest.raises(ValueError, match="of='noise'; it is 'target' or 'model'"):
        model.predict_std_gradient(X, of="noise")
    for method in ("predict_hessian", "predict_std_gradient"):
        with pytest.raises(NotFittedError):
            getattr(MLPSigmoidRegressor(), method)(X)
        with pytest.raises(ValueError, match="features"):
            getattr(model, method)(X[:, :2])
    bare = MLPSigmoidRegressor(5, solver="adam", random_state=0).partial_fit(X, X[:, 0])
    for ask in (bare.predict_std_gradient, lambda X: bare.predict_gradient(X, return_std=True)):
        with pytest.raises(ValueError, match="fit_posterior"):
            ask(X)


def test_a_posterior_in_doubt_warns_here_too_and_points_at_the_caller():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    model = MLPSigmoidRegressor(30, solver="lm", alpha=0.0, tol=1e-8, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, np.sin(X[:, 0]) + rng.normal(size=40))
    for ask in (
        lambda: model.predict(X, return_std=True),
        lambda: model.predict_gradient(X, return_std=True),
        lambda: model.predict_std_gradient(X),
    ):
        with pytest.warns(UserWarning, match="The error bars are rough") as caught:
            ask()
        assert caught[0].filename == __file__
