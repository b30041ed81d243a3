"""Second derivatives, residuals and their Jacobian, and derivatives by the inputs."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from conftest import make_problem
from scipy import sparse
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, MLPSigmoidRegressor, curvature, flat_objective, jacobian, workspace
from skprop.layout import Layout
from skprop.tangents import TangentWorkspace
from skprop.threads import single_threaded_blas


def assert_close_per_array(ours, expected, sizes, tolerance):
    """|ours − expected| ≤ tolerance · max|expected|, for each A_i and each b_i by itself."""
    layout = Layout(sizes)
    for mine, theirs in zip(layout.views(ours), layout.views(expected), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def direction(problem, seed=0):
    return np.random.default_rng(seed).normal(size=len(problem.theta))


def reference_jacobian(problem):
    """√(w/W) ∂f/∂θ row by row, then √(α/W) where θ has an entry of an A_i."""
    X, _, _, alpha, *network = problem.definition
    data = [
        np.sqrt(w_s / problem.W)[:, None] * reference.output_jacobian(problem.theta, x, *network)
        for x, w_s in zip(X, problem.weights, strict=True)
    ]
    is_weight = np.zeros(len(problem.theta), bool)
    for A, _ in reference.unpack(is_weight, network[0]):
        A[...] = True
    penalty = np.sqrt(alpha / problem.W) * np.eye(len(problem.theta))[is_weight]
    return np.vstack([*data, penalty])


# ---- against the definition ------------------------------------------------------------


def test_hessian_products_are_the_second_derivatives(problem):
    objective = problem.objective()
    for seed in range(3):
        v = direction(problem, seed)
        expected = reference.hessp(problem.theta, v, *problem.definition)
        product = objective.hessp(problem.theta, v)
        assert_close_per_array(product, expected, problem.sizes, 1e-10)


def test_the_hessian_is_symmetric_and_has_the_products_as_columns(problem):
    objective = problem.objective()
    H = objective.hessian(problem.theta)
    np.testing.assert_array_equal(H, H.T)
    columns = [objective.hessp(problem.theta, e) for e in np.eye(len(H))]
    np.testing.assert_allclose(columns, H, rtol=0, atol=1e-12 * np.abs(H).max())
    u, v = direction(problem, 1), direction(problem, 2)
    product = u @ objective.hessp(problem.theta, v)
    scale = np.abs(u) @ np.abs(H) @ np.abs(v)
    assert v @ objective.hessp(problem.theta, u) == pytest.approx(product, abs=1e-12 * scale)


def test_residuals_have_half_their_square_as_loss(problem):
    objective = problem.objective()
    for rows in (None, slice(1, 8, 2), [5, 0, 5]):
        r = objective.residuals(problem.theta, rows)
        assert 0.5 * r @ r == pytest.approx(objective.loss(problem.theta, rows), rel=1e-14)


def test_residuals_are_in_the_order_of_the_rows_then_of_theta(problem):
    X, y, w, alpha, *network = problem.definition
    data = [
        np.sqrt(w_s / problem.W) * (reference.output(problem.theta, x, *network) - y_s)
        for x, y_s, w_s in zip(X, y, w, strict=True)
    ]
    A = [A.ravel() for A, _ in reference.unpack(problem.theta, network[0])]
    expected = np.concatenate([*data, np.sqrt(alpha / problem.W) * np.concatenate(A)])
    r = problem.objective().residuals(problem.theta)
    np.testing.assert_allclose(r, expected, rtol=1e-12, atol=1e-15)
    assert len(problem.objective(alpha=0.0).residuals(problem.theta)) == problem.y.size


def test_jacobian_is_the_complex_step_derivative_of_the_residuals(problem):
    expected = reference_jacobian(problem)
    J = problem.objective().jacobian(problem.theta)
    assert J.shape == expected.shape
    for ours, theirs in zip(J, expected, strict=True):
        assert_close_per_array(ours, theirs, problem.sizes, 1e-12)


@pytest.mark.parametrize("rows", [None, slice(1, 8, 2), [5, 0, 5, 2], [-1]])
def test_residuals_jacobian_and_gauss_newton_belong_together(problem, rows):
    objective = problem.objective()
    r, J = objective.residuals(problem.theta, rows), objective.jacobian(problem.theta, rows)
    loss, gradient = objective(problem.theta, rows)
    assert_close_per_array(J.T @ r, gradient, problem.sizes, 1e-12)
    JtJ = objective.gauss_newton(problem.theta, rows)
    np.testing.assert_allclose(JtJ, J.T @ J, rtol=0, atol=1e-13 * np.abs(JtJ).max())
    np.testing.assert_array_equal(JtJ, JtJ.T)
    normal = objective.normal_equations(problem.theta, rows)
    assert normal[0] == pytest.approx(loss, rel=1e-14)
    assert_close_per_array(normal[1], gradient, problem.sizes, 1e-12)
    np.testing.assert_array_equal(normal[2], JtJ)


@pytest.mark.parametrize("rows", [slice(1, 8, 2), [5, 0, 5, 2], [-1]])
def test_second_derivatives_of_a_subset_are_those_of_its_loss(problem, rows):
    objective = problem.objective()
    n, n_B, W = len(problem.X), len(problem.X[rows]), problem.W
    subset = (
        problem.X[rows], problem.y[rows], problem.w[rows] * n / n_B / W, problem.alpha / W,
        *problem.definition[4:],
    )  # fmt: skip
    v = direction(problem)
    # `reference` divides by the sum of the weights it is given
    expected = reference.hessp(problem.theta, v, *subset) * reference.total(subset[2])
    product = objective.hessp(problem.theta, v, rows)
    assert_close_per_array(product, expected, problem.sizes, 1e-10)
    product_of_matrix = objective.hessian(problem.theta, rows) @ v
    np.testing.assert_allclose(
        product_of_matrix, product, rtol=0, atol=1e-12 * np.abs(product).max()
    )


def test_input_gradient_is_the_complex_step_derivative(problem):
    expected = [
        reference.input_gradient(problem.theta, x, problem.sizes, problem.output_activation)
        for x in problem.X
    ]
    gradient = problem.objective().input_gradient(problem.theta, problem.X)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


def test_float32_is_within_1e_4_of_float64(problem):
    theta32, v = problem.theta.astype(np.float32), direction(problem)
    of64, of32 = problem.objective(), problem.objective(np.float32)
    for name, arguments in {
        "hessp": (v,), "hessian": (), "residuals": (), "jacobian": (), "gauss_newton": (),
        "input_gradient": (problem.X,),
    }.items():  # fmt: skip
        ours = getattr(of32, name)(theta32, *arguments)
        expected = getattr(of64, name)(problem.theta, *arguments)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# ---- properties ------------------------------------------------------------------------


def everything(objective, theta, v, rows=None):
    """All that has second order in it, as one list of arrays."""
    return [
        objective.hessp(theta, v, rows),
        objective.hessian(theta, rows),
        objective.residuals(theta, rows),
        objective.jacobian(theta, rows),
        objective.gauss_newton(theta, rows),
        objective.normal_equations(theta, rows)[1],
    ]


def assert_same(first, second, tolerance):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_the_size_of_the_blocks_does_not_matter(problem, size, monkeypatch):
    v = direction(problem)
    expected = everything(problem.objective(), problem.theta, v)
    monkeypatch.setattr("skprop.curvature.jacobian_rows", lambda width, dtype: size)
    monkeypatch.setattr(jacobian, "TILE_WORK", 1)
    monkeypatch.setattr("skprop.squared_error.block_rows", lambda sizes, dtype: size)
    blocked = problem.objective()
    assert_same(everything(blocked, problem.theta, v), expected, 1e-13)


@pytest.mark.parametrize("scaled", [False, True])
def test_csr_rows_give_what_the_dense_ones_give(problem, scaled):
    X = np.where(np.abs(problem.X) < 0.5, 0.0, problem.X)
    network = {
        "hidden_layer_sizes": problem.hidden, "output_activation": problem.output_activation,
        "alpha": problem.alpha, "random_state": 0, "standardize": scaled,
    }  # fmt: skip
    y = 1 / (1 + np.exp(-problem.y))
    dense, theta = MLPSigmoidRegressor(**network).make_objective(X, y, problem.w)
    csr, _ = MLPSigmoidRegressor(**network).make_objective(sparse.csr_array(X), y, problem.w)
    v = direction(problem)
    for rows in (None, [3, 1, 1]):
        assert_same(everything(csr, theta, v, rows), everything(dense, theta, v, rows), 1e-12)
    np.testing.assert_allclose(
        csr.input_gradient(theta, sparse.csr_array(X)), dense.input_gradient(theta, X), rtol=1e-11
    )


def test_weight_two_is_the_row_twice(problem):
    counts = np.array([1, 2, 0, 3, 1, 1, 2, 1, 1])
    weighted = problem.objective(sample_weight=counts)
    repeated = problem.objective(
        X=problem.X.repeat(counts, axis=0), y=problem.y.repeat(counts, axis=0), sample_weight=None
    )
    theta, v = problem.theta, direction(problem)
    for name in ("hessian", "gauss_newton"):
        expected = getattr(repeated, name)(theta)
        assert_same([getattr(weighted, name)(theta)], [expected], 1e-13)
    assert_same([weighted.hessp(theta, v)], [repeated.hessp(theta, v)], 1e-12)


def test_no_hidden_layer_has_the_hessian_of_ridge():
    rng = np.random.default_rng(0)
    X, Y, w = rng.normal(size=(40, 4)), rng.normal(size=(40, 3)), rng.uniform(0.1, 2, 40)
    objective = MLPObjective(X, Y, hidden_layer_sizes=(), alpha=2.5, sample_weight=w)
    theta = objective.initial_theta(0)
    extended = np.column_stack([X, np.ones(40)])
    penalty = np.diag([2.5, 2.5, 2.5, 2.5, 0])
    expected = np.kron((extended.T * w @ extended + penalty) / w.sum(), np.eye(3))
    np.testing.assert_allclose(objective.hessian(theta), expected, atol=1e-14)
    np.testing.assert_allclose(objective.gauss_newton(theta), expected, atol=1e-14)
    step = np.linalg.solve(objective.hessian(theta), objective.gradient(theta))
    ridge = Ridge(alpha=2.5, solver="cholesky").fit(X, Y, w)
    np.testing.assert_allclose(
        objective.unpack(theta - step)[0][0], ridge.coef_.T, rtol=1e-11, atol=1e-13
    )


def test_the_gradient_of_a_sum_over_inputs_is_linear_in_a_linear_model():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    objective = MLPObjective(X, Y, hidden_layer_sizes=())
    theta = objective.initial_theta(0)
    gradient = objective.input_gradient(theta, X)
    np.testing.assert_allclose(
        gradient, np.broadcast_to(objective.unpack(theta)[0][0].T, (20, 2, 4))
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_saturated_units_give_finite_numbers_and_no_warning(problem, dtype, scale):
    objective = problem.objective(dtype)
    theta = (problem.theta * scale).astype(dtype)
    assert reference.largest_input(theta, problem.X, problem.sizes) > scale
    for array in everything(objective, theta, direction(problem)):
        assert np.isfinite(array).all()
    assert np.isfinite(objective.input_gradient(theta, problem.X)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_that_overflow_are_not_finite_and_warn_of_nothing(problem, dtype):
    objective = problem.objective(dtype)
    v = np.full(len(problem.theta), np.finfo(dtype).max)
    assert not np.isfinite(objective.hessp(problem.theta, v)).all()
    penalised = problem.objective(dtype, alpha=1e6)  # of which only the penalty overflows
    assert not np.isfinite(penalised.hessp(problem.theta, 1e-4 * v)).all()


@pytest.mark.parametrize("name", ["hessian", "gauss_newton"])
def test_a_matrix_beyond_the_range_of_float32_is_infinite_and_warns_of_nothing(name):
    problem = make_problem(1, 1, "identity")
    objective = problem.objective(np.float32, alpha=1e42)
    assert np.isinf(getattr(objective, name)(problem.theta)).any()


def test_inputs_stay_unchanged_and_results_are_fresh(problem):
    theta, v = problem.theta.copy(), direction(problem)
    theta.flags.writeable = v.flags.writeable = False
    objective = problem.objective()
    first = everything(objective, theta, v)
    kept = [a.copy() for a in first]
    everything(objective, 0.5 * theta, 2 * v)
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(first, everything(objective, theta, v), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(a, b)
        assert a.flags.writeable


def test_one_objective_serves_several_threads(monkeypatch):
    monkeypatch.setattr("skprop.squared_error.block_rows", lambda sizes, dtype: 2)
    problem = make_problem(2, 2, "identity")
    objective, v = problem.objective(), direction(problem)
    thetas = [problem.theta * s for s in np.linspace(0.1, 2, 50)]
    expected = [everything(objective, t, v) for t in thetas]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda t: everything(objective, t, v), thetas)
        for ours, theirs in zip(results, expected, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def test_further_products_at_one_theta_do_not_linearise_again(monkeypatch):
    n_times, linearise = 0, curvature.linearise

    def counting(*arguments):
        nonlocal n_times
        n_times += 1
        linearise(*arguments)

    monkeypatch.setattr(curvature, "linearise", counting)
    problem = make_problem(2, 2, "sigmoid")
    objective = problem.objective()
    for seed in range(5):
        objective.hessp(problem.theta.copy(), direction(problem, seed))
    assert n_times == 1


def test_a_product_does_not_depend_on_the_calls_before_it(problem):
    v, other = direction(problem), direction(problem, 1)
    fresh = {}
    for scale in (1.0, 1.5):
        for rows in (None, slice(0, 5), slice(2, 7), [5, 0, 5]):
            product = problem.objective().hessp(scale * problem.theta, v, rows)
            fresh[scale, str(rows)] = scale, rows, product
    objective, theta = problem.objective(), np.empty_like(problem.theta)
    for before in fresh.values():
        for scale, rows, expected in fresh.values():
            objective.hessp(before[0] * problem.theta, other, before[1])
            theta[:] = scale * problem.theta  # the same array, with other numbers in it
            np.testing.assert_array_equal(objective.hessp(theta, v, rows), expected)
    objective.hessian(1.5 * problem.theta)
    np.testing.assert_array_equal(objective.hessp(problem.theta, v), fresh[1.0, "None"][2])


def test_products_follow_sparse_rows_that_their_owner_changes():
    problem = make_problem(1, 1, "identity")
    X, y, v = sparse.csr_array(problem.X), problem.y, direction(problem)
    objective = MLPObjective(X, y, hidden_layer_sizes=problem.sizes[1:-1])
    before = objective.hessp(problem.theta, v)
    X.data *= 2.0
    again = MLPObjective(X, y, hidden_layer_sizes=problem.sizes[1:-1])
    np.testing.assert_array_equal(objective.hessp(problem.theta, v), again.hessp(problem.theta, v))
    assert (objective.hessp(problem.theta, v) != before).any()


def test_a_part_gets_the_workspace_that_is_linearised_at_its_rows():
    spare = workspace.Spare(lambda: SimpleNamespace(place=None))
    first, second, third = (SimpleNamespace(place=place) for place in ("first", "second", "third"))
    for idle in (first, second, third):
        spare.give_back(idle)
    assert spare.take("first") is first
    assert spare.take("another") is third
    assert spare.take() is second
    assert spare.take("first").place is None


def test_an_objective_that_gave_products_survives_pickling(problem):
    objective, v = problem.objective(), direction(problem)
    product = objective.hessp(problem.theta, v)
    again = pickle.loads(pickle.dumps(objective))
    assert len(pickle.dumps(objective)) == len(pickle.dumps(problem.objective()))
    np.testing.assert_array_equal(again.hessp(problem.theta, v), product)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_is_the_same_to_the_last_bit_on_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4_000, 5)).astype(dtype), rng.normal(size=(4_000, 2))
    objective = MLPObjective(
        X, y, hidden_layer_sizes=(12, 8), alpha=0.1, sample_weight=rng.uniform(0, 2, 4_000)
    )
    theta, v = objective.initial_theta(0), objective.initial_theta(1)
    results = []
    for n_threads in (1, 2, 3, 16):
        with threadpool_limits(n_threads, "blas"):
            results.append([*everything(objective, theta, v), objective.input_gradient(theta, X)])
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("P", [1, 5, 300, 2000])
@pytest.mark.parametrize("work", [0, 10**8, 10**12])
def test_tiles_cover_the_lower_triangle_once(P, work):
    count = np.zeros((P, P), int)
    for a, b in jacobian.tiles(P, work):
        count[a, b] += 1
    lower = np.tri(P, dtype=bool)
    assert (count[lower] == 1).all()
    square = sum(a == b for a, b in jacobian.tiles(P, work))
    assert len(jacobian.tiles(P, work)) == square * (square + 1) // 2


# ---- the estimator ---------------------------------------------------------------------


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("kind", ["one", "column", "two", "csr", "float32", "raw"])
def test_predict_gradient_is_the_slope_of_predict(output_activation, kind):
    rng = np.random.default_rng(0)
    X = rng.normal([5.0, -300.0, 0.01], [2.0, 1e3, 1e-3], size=(60, 3))
    Y = np.column_stack([np.sin(X[:, 0]) + X[:, 1] / 1e3, 1e4 * X[:, 2]])
    y = {"two": Y, "column": Y[:, :1]}.get(kind, Y[:, 0])
    if kind == "raw":
        X, y = X / [2, 1e3, 1e-3], 0.5 + 0.2 * np.sin(X[:, 0])
    X = {"csr": sparse.csr_array, "float32": np.float32}.get(kind, np.asarray)(X)
    model = MLPSigmoidRegressor(
        8, output_activation=output_activation, random_state=0, alpha=0.1,
        standardize=kind != "raw",
    ).fit(X, y)  # fmt: skip
    gradient = model.predict_gradient(X)
    assert gradient.shape == (60, *y.shape[1:], 3)
    assert gradient.dtype == model.predict(X).dtype
    if kind == "float32":
        model64 = MLPSigmoidRegressor(
            8, output_activation=output_activation, random_state=0, alpha=1e-4
        )
        model64.make_objective(X.astype(float), y)
        expected = model64.set_theta(model.theta_).predict_gradient(X.astype(float))
        assert_same([gradient], [expected], 1e-3)
        return
    dense = X.toarray() if kind == "csr" else X
    for j, h in enumerate(1e-4 * dense.std(axis=0)):
        step = h * np.eye(3)[j]
        slope = (model.predict(dense + step) - model.predict(dense - step)) / (2 * h)
        np.testing.assert_allclose(
            gradient[..., j], slope, rtol=0, atol=1e-6 * np.abs(gradient[..., j]).max()
        )


def test_a_constant_feature_has_no_slope():
    X = np.column_stack([np.linspace(0, 1, 30), np.full(30, 7.0)])
    model = MLPSigmoidRegressor(5, random_state=0, alpha=1e-4).fit(X, X[:, 0] ** 2)
    gradient = model.predict_gradient(X + np.array([0, 1]))
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, 0] != 0).all()


def test_predict_gradient_takes_more_rows_than_a_block():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 4))
    model = MLPSigmoidRegressor(30, random_state=0, max_iter=5, tol=1e3, alpha=1e-4).fit(X, X[:, 0])
    whole = model.predict_gradient(X)
    some = rng.permutation(20_000)[:50]
    np.testing.assert_allclose(whole[some], model.predict_gradient(X[some]), rtol=1e-12)


# ---- bad input -------------------------------------------------------------------------

OBJECTIVE = MLPObjective(np.eye(4), np.arange(4.0), hidden_layer_sizes=3)
THETA = OBJECTIVE.initial_theta(0)
ONE_THETA = ["hessian", "residuals", "jacobian", "gauss_newton", "normal_equations"]


@pytest.mark.parametrize("name", ONE_THETA)
def test_a_bad_theta_is_refused(name):
    method = getattr(OBJECTIVE, name)
    with pytest.raises(ValueError, match=r"theta has shape \(18,\); .* n_params=19"):
        method(THETA[:-1])
    with pytest.raises(ValueError, match="theta has entries that are NaN or infinite"):
        method(THETA * np.nan)
    with pytest.raises(ValueError, match="theta has dtype complex128"):
        method(THETA + 1j)
    with pytest.raises(IndexError, match="there are 4 rows"):
        method(THETA, [0, 4])
    with pytest.raises(ValueError, match="rows is empty"):
        method(THETA, [])


def test_a_bad_direction_is_refused():
    for v, message in (
        (THETA[:-1], r"v has shape \(18,\); .* n_params=19"),
        (THETA[:, None], r"v has shape \(19, 1\)"),
        (THETA * np.inf, "v has entries that are NaN or infinite"),
        (THETA * 1j, "v has dtype complex128"),
    ):
        with pytest.raises(ValueError, match=message):
            OBJECTIVE.hessp(THETA, v)
    with pytest.raises(ValueError, match=r"theta has shape"):
        OBJECTIVE.hessp(THETA[:-1], THETA)
    with pytest.raises(IndexError, match="there are 4 rows"):
        OBJECTIVE.hessp(THETA, THETA, [-5])


def test_input_gradient_refuses_other_features():
    with pytest.raises(ValueError, match="X has 3 features; the objective has 4"):
        OBJECTIVE.input_gradient(THETA, np.ones((2, 3)))
    with pytest.raises(ValueError, match="theta has shape"):
        OBJECTIVE.input_gradient(THETA[:-1], np.ones((2, 4)))


@pytest.mark.parametrize("name", ["hessian", "gauss_newton", "normal_equations"])
def test_a_matrix_beyond_memory_is_refused_before_it_is_allocated(name):
    objective = MLPObjective(np.ones((2, 18)), np.ones(2), hidden_layer_sizes=50_000)
    with pytest.raises(ValueError, match=r"n_params=1000001 .* 1\.49e\+04 GiB; this machine has"):
        getattr(objective, name)(np.zeros(objective.n_params))


def test_a_jacobian_beyond_memory_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(workspace, "physical_memory", lambda: 4 * 19 * 8)
    assert OBJECTIVE.jacobian(THETA).shape == (4, 19)
    monkeypatch.setattr(workspace, "physical_memory", lambda: 4 * 19 * 8 - 1)
    with pytest.raises(ValueError, match=r"4 residuals by n_params=19, needs .* Use gauss_newton"):
        OBJECTIVE.jacobian(THETA)
    assert OBJECTIVE.jacobian(THETA, [1, 2]).shape == (2, 19)
    with pytest.raises(ValueError, match=r"gradient of shape \(20, 1, 4\) needs .* fewer rows"):
        OBJECTIVE.input_gradient(THETA, np.ones((20, 4)))
    monkeypatch.setattr(workspace, "physical_memory", lambda: None)
    assert OBJECTIVE.jacobian(THETA).shape == (4, 19)


@pytest.mark.parametrize(("method", "rows"), [("loss", 1), ("hessp", 2)])
def test_blas_is_left_alone_only_where_every_product_is_too_small_for_a_second_thread(
    method, rows, monkeypatch
):
    """A product along a direction has twice the rows."""
    objective = MLPObjective(np.ones((400, 20)), np.ones(400), hidden_layer_sizes=30)
    small, held = objective._data.small_rows // rows, []
    assert 1 < small < 400

    def counted():
        held.append(True)
        return single_threaded_blas()

    monkeypatch.setattr(flat_objective, "single_threaded_blas", counted)
    vectors = [objective.initial_theta(0)] * rows
    getattr(objective, method)(*vectors, rows=slice(0, small))
    assert not held
    getattr(objective, method)(*vectors, rows=slice(0, small + 1))
    assert held == [True]


def test_buffers_of_a_block_are_cut_to_size_once_and_few_cuts_are_kept():
    block = TangentWorkspace(Layout((2, 3, 1)), 30, np.float64)
    assert block.first(30) is block.first(30)
    assert block.first(7) is block.first(7)
    for m in range(1, 30):
        assert [len(a) for a in block.first(m).t] == [m] * 3
        assert len(block._cuts) <= 5
