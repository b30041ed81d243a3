import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from conftest import make_problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse
from scipy.stats import norm
from sklearn.linear_model import Ridge

from skprop import MLPObjective
from skprop.layout import Layout


def assert_close_per_array(gradient, expected, sizes, tolerance):
    """|g − g_ref| ≤ tolerance · max|g_ref|, for each A_i and each b_i by itself."""
    layout = Layout(sizes)
    for ours, theirs in zip(layout.views(gradient), layout.views(expected), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


# ---- against the definition ------------------------------------------------------------


def test_loss_is_the_definition(problem):
    expected = reference.loss(problem.theta, *problem.definition)
    assert problem.objective()(problem.theta)[0] == pytest.approx(expected, rel=1e-14)
    assert problem.objective().loss(problem.theta) == pytest.approx(expected, rel=1e-14)


def test_gradient_is_the_complex_step_derivative(problem):
    expected = reference.gradient(problem.theta, *problem.definition)
    gradient = problem.objective()(problem.theta)[1]
    assert_close_per_array(gradient, expected, problem.sizes, 1e-12)
    np.testing.assert_array_equal(problem.objective().gradient(problem.theta), gradient)


def test_float32_gradient_is_within_1e_4_of_the_float64_one(problem):
    gradient64 = problem.objective()(problem.theta)[1]
    loss, gradient32 = problem.objective(np.float32)(problem.theta.astype(np.float32))
    assert gradient32.dtype == np.float32
    assert type(loss) is float
    assert_close_per_array(gradient32, gradient64, problem.sizes, 1e-4)


def test_prediction_is_the_definition(problem):
    expected = [
        reference.output(problem.theta, x, problem.sizes, problem.output_activation)
        for x in problem.X
    ]
    predicted = problem.objective().predict(problem.theta, problem.X)
    np.testing.assert_allclose(predicted, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("rows", [slice(1, 8, 2), [5, 0, 5, 2], [-1, -9], slice(None)])
def test_a_subset_is_the_formula_for_it(problem, rows):
    """L_B = n/(2 n_B W) Σ_B w ‖f − y‖² + α/(2W) Σ ‖A‖², and its gradient."""
    X, y, w, alpha, *network = problem.definition
    n, n_B, W = len(X), len(X[rows]), problem.W

    def subset_loss(theta):
        data = sum(
            np.sum(w_s * (reference.output(theta, x, *network) - y_s) ** 2)
            for x, y_s, w_s in zip(X[rows], y[rows], w[rows], strict=True)
        )
        penalty = sum(np.sum(A**2) for A, _ in reference.unpack(theta, network[0]))
        return n / (2 * n_B * W) * data + alpha / (2 * W) * penalty

    step = 1e-30j * np.eye(len(problem.theta))
    expected = np.array([subset_loss(problem.theta + e).imag for e in step]) / 1e-30
    loss, gradient = problem.objective()(problem.theta, rows)
    assert loss == pytest.approx(subset_loss(problem.theta), rel=1e-13)
    assert problem.objective().loss(problem.theta, rows) == loss
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("size", [1, 2, 4, 7, 9, 100])
def test_the_size_of_the_blocks_does_not_matter(problem, size, monkeypatch):
    whole = problem.objective()
    monkeypatch.setattr("skprop.squared_error.block_rows", lambda sizes, dtype: size)
    blocked = problem.objective()
    assert_close_per_array(
        blocked.gradient(problem.theta), whole.gradient(problem.theta), problem.sizes, 1e-13
    )
    assert blocked.loss(problem.theta) == pytest.approx(whole.loss(problem.theta), rel=1e-14)


def test_csr_rows_give_the_gradient_of_the_dense_ones(problem, monkeypatch):
    X = np.where(np.abs(problem.X) < 0.5, 0.0, problem.X)
    dense = problem.objective(X=X)
    monkeypatch.setattr("skprop.squared_error.block_rows", lambda sizes, dtype: 4)
    csr = problem.objective(X=sparse.csr_array(X))
    for rows in (None, [3, 1, 1]):
        loss, gradient = csr(problem.theta, rows)
        assert loss == pytest.approx(dense.loss(problem.theta, rows), rel=1e-14)
        assert_close_per_array(gradient, dense(problem.theta, rows)[1], problem.sizes, 1e-12)
    np.testing.assert_allclose(
        csr.predict(problem.theta, sparse.csr_array(X)), dense.predict(problem.theta, X), rtol=1e-13
    )


def test_check_grad_of_scipy_agrees(problem):
    objective = problem.objective()
    error = optimize.check_grad(objective.loss, objective.gradient, problem.theta)
    assert error < 1e-5


# ---- properties ------------------------------------------------------------------------


def test_weight_two_is_the_row_twice(problem):
    counts = np.array([1, 2, 0, 3, 1, 1, 2, 1, 1])
    weighted = problem.objective(sample_weight=counts)
    repeated = problem.objective(
        X=problem.X.repeat(counts, axis=0), y=problem.y.repeat(counts, axis=0), sample_weight=None
    )
    assert weighted.loss(problem.theta) == pytest.approx(repeated.loss(problem.theta), rel=1e-14)
    assert_close_per_array(
        weighted.gradient(problem.theta), repeated.gradient(problem.theta), problem.sizes, 1e-13
    )


def test_the_order_of_the_rows_does_not_matter(problem):
    order = np.random.default_rng(0).permutation(len(problem.X))
    shuffled = problem.objective(
        X=problem.X[order], y=problem.y[order], sample_weight=problem.w[order]
    )
    assert_close_per_array(
        shuffled.gradient(problem.theta),
        problem.objective().gradient(problem.theta),
        problem.sizes,
        1e-13,
    )


def test_the_mean_over_a_partition_is_the_whole(problem):
    objective = problem.objective()
    parts = [np.arange(0, 4), np.arange(4, 5), np.arange(5, 9)]
    losses, gradients = zip(*[objective(problem.theta, part) for part in parts], strict=True)
    loss, gradient = objective(problem.theta)
    sizes = [len(part) for part in parts]
    assert np.average(losses, weights=sizes) == pytest.approx(loss, rel=1e-14)
    mean = np.average(gradients, axis=0, weights=sizes)
    assert_close_per_array(mean, gradient, problem.sizes, 1e-12)


def test_a_batch_of_zero_weight_has_the_penalty_alone(problem):
    loss, gradient = problem.objective()(problem.theta, [2])
    A_squared = sum(np.sum(A**2) for A, _ in reference.unpack(problem.theta, problem.sizes))
    assert loss == pytest.approx(problem.alpha / (2 * problem.W) * A_squared)
    assert np.isfinite(gradient).all()


@settings(deadline=None, max_examples=50)
@given(exponent=st.integers(-300, 300), seed=st.integers(0, 99))
def test_a_common_factor_of_the_weights_does_not_matter_without_penalty(exponent, seed):
    problem = make_problem(1, 2, "identity")
    w = np.random.default_rng(seed).uniform(0.1, 1, 9)
    plain = problem.objective(sample_weight=w, alpha=0.0)
    scaled = problem.objective(sample_weight=w * 10.0**exponent, alpha=0.0)
    assert scaled.loss(problem.theta) == pytest.approx(plain.loss(problem.theta), rel=1e-12)
    np.testing.assert_allclose(
        scaled.gradient(problem.theta), plain.gradient(problem.theta), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_no_hidden_layer_is_ridge_in_closed_form(weighted, n_outputs):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 4)), rng.normal(size=(40, n_outputs))
    w = rng.uniform(0.1, 2, 40) if weighted else None
    ridge = Ridge(alpha=2.5, solver="cholesky").fit(X, Y, w)
    objective = MLPObjective(X, Y, hidden_layer_sizes=(), alpha=2.5, sample_weight=w)
    theta = objective.pack([(np.atleast_2d(ridge.coef_).T, np.atleast_1d(ridge.intercept_))])
    assert np.abs(objective.gradient(theta)).max() < 1e-14
    np.testing.assert_allclose(
        objective.predict(theta, X), ridge.predict(X).reshape(40, n_outputs), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [10.0, 100.0, 1e30])
def test_saturated_units_give_finite_numbers_and_no_warning(problem, dtype, scale):
    objective = problem.objective(dtype)
    theta = (problem.theta * scale).astype(dtype)
    loss, gradient = objective(theta)
    if scale < 1e30:
        assert reference.largest_input(theta, problem.X, problem.sizes) > scale
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
        reference_loss = reference.loss(problem.theta * scale, *problem.definition)
        assert loss == pytest.approx(reference_loss, rel=1e-5 if dtype == np.float32 else 1e-12)


# ---- what is handed in and out ---------------------------------------------------------


def test_inputs_stay_unchanged_and_results_are_fresh(problem):
    X, y, w, theta = (a.copy() for a in (problem.X, problem.y, problem.w, problem.theta))
    for a in (X, y, w, theta):
        a.flags.writeable = False
    objective = problem.objective(X=X, y=y, sample_weight=w)
    _, first = objective(theta)
    kept = first.copy()
    _, second = objective(theta * 0.5)
    objective.predict(theta, X)[...] = 0
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(objective(theta)[1], kept)


def test_one_objective_serves_several_threads(monkeypatch):
    monkeypatch.setattr("skprop.squared_error.block_rows", lambda sizes, dtype: 2)
    problem = make_problem(2, 2, "identity")
    objective = problem.objective()
    thetas = [problem.theta * s for s in np.linspace(0.1, 2, 200)]
    expected = [objective(t)[1] for t in thetas]
    with ThreadPoolExecutor(8) as pool:
        for g, (_, ours) in zip(expected, pool.map(objective, thetas), strict=True):
            np.testing.assert_array_equal(ours, g)


def test_an_objective_survives_pickling(problem):
    objective = problem.objective()
    objective(problem.theta)
    again = pickle.loads(pickle.dumps(objective))
    np.testing.assert_array_equal(again.gradient(problem.theta), objective.gradient(problem.theta))


def test_row_numbers_of_any_integer_dtype():
    objective = MLPObjective(np.ones((1000, 1)), np.arange(1000), hidden_layer_sizes=2)
    theta = objective.initial_theta(0)
    for dtype in (np.uint8, np.int8, np.int64):
        assert objective.loss(theta, np.array([0, 5], dtype)) == objective.loss(
            theta, slice(0, 6, 5)
        )


def test_the_loss_of_the_mean_is_that_of_an_output_of_the_mean_also_in_float32():
    rng = np.random.default_rng(0)
    y = (rng.normal(size=(100_000, 2)) + 1e3).astype(np.float32)
    w = rng.uniform(0.1, 2, 100_000)
    objective = MLPObjective(np.zeros((100_000, 1)), y, hidden_layer_sizes=(), sample_weight=w)
    mean = np.average(y.astype(float), axis=0, weights=w)
    expected = objective.loss(objective.pack([(np.zeros((1, 2)), mean)]))
    y32 = MLPObjective(
        np.zeros((100_000, 1), np.float32), y, hidden_layer_sizes=(), sample_weight=w
    )
    assert y32.loss_of_mean() == pytest.approx(expected, rel=1e-6)


def test_targets_of_one_dimension_give_predictions_of_one():
    X = np.eye(3)
    flat = MLPObjective(X, np.arange(3), hidden_layer_sizes=2)
    column = MLPObjective(X, np.arange(3)[:, None], hidden_layer_sizes=2)
    theta = flat.initial_theta(0)
    assert flat.predict(theta, X).shape == (3,)
    assert column.predict(theta, X).shape == (3, 1)
    assert flat.loss(theta) == column.loss(theta)


def test_unpack_and_pack_are_inverse(problem):
    objective = problem.objective()
    params = objective.unpack(problem.theta)
    assert [A.shape for A, _ in params] == list(
        zip(problem.sizes[:-1], problem.sizes[1:], strict=True)
    )
    np.testing.assert_array_equal(objective.pack(params), problem.theta)


# ---- bad input -------------------------------------------------------------------------

X, Y = np.eye(4), np.arange(4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.full((4, 4), np.nan)}, "X contains NaN"),
        ({"X": np.ones(4)}, "2D array"),
        ({"X": np.ones((4, 4)) * 1j}, "Complex"),
        ({"y": np.array([1, 2, np.inf, 4])}, "y contains infinity"),
        ({"y": np.zeros((4, 1, 1))}, "dim 3"),
        ({"y": np.arange(3.0)}, "X has 4 rows, y has 3"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes="),
        ({"output_activation": "relu"}, "output_activation='relu'"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"alpha": np.nan}, "alpha=nan"),
        ({"sample_weight": [1, 2, 3]}, r"sample_weight has shape \(3,\)"),
        ({"sample_weight": [1, -2, 3, 1]}, "sample_weight has negative values, the least -2"),
        ({"sample_weight": [1, np.nan, 3, 1]}, "sample_weight contains NaN"),
        ({"sample_weight": [0, 0, 0, 0]}, "sample_weight is all zero"),
    ],
)
def test_bad_data_are_refused_by_name(changes, message):
    arguments = {"X": X, "y": Y, "hidden_layer_sizes": 3} | changes
    with pytest.raises(ValueError, match=message):
        MLPObjective(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_sparse_targets_are_refused():
    with pytest.raises(TypeError, match="parse"):
        MLPObjective(X, sparse.csr_array(Y[:, None]), hidden_layer_sizes=3)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0, 4], IndexError, "there are 4 rows"),
        ([-5], IndexError, "there are 4 rows"),
        ([], ValueError, "rows"),
        (slice(2, 2), ValueError, "rows is empty"),
        ([0.5], ValueError, "rows is a slice"),
        ([True, False], ValueError, "rows is a slice"),
        ([[0]], ValueError, "rows is a slice"),
    ],
)
def test_bad_rows_are_refused(rows, error, message):
    objective = MLPObjective(X, Y, hidden_layer_sizes=3)
    with pytest.raises(error, match=message):
        objective(objective.initial_theta(0), rows)


def test_a_mask_selects_rows():
    objective = MLPObjective(X, Y, hidden_layer_sizes=3)
    theta = objective.initial_theta(0)
    assert objective.loss(theta, [True, False, True, False]) == objective.loss(theta, [0, 2])


def test_predict_refuses_another_number_of_features():
    objective = MLPObjective(X, Y, hidden_layer_sizes=3)
    with pytest.raises(ValueError, match="X has 3 features; the objective has 4"):
        objective.predict(objective.initial_theta(0), X[:, :3])


@pytest.mark.parametrize("hidden", [(), (50,), (50, 5), (2,)])
@pytest.mark.parametrize("rows", [None, np.arange(30)])
def test_rows_in_a_file_give_the_same_however_often_they_are_read(tmp_path, hidden, rows):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(300, 4)))
    mapped, y = np.load(tmp_path / "X.npy", mmap_mode="r"), rng.normal(size=300)
    in_memory = MLPObjective(np.array(mapped), y, hidden_layer_sizes=hidden)
    objective = MLPObjective(mapped, y, hidden_layer_sizes=hidden)
    theta = objective.initial_theta(0)
    for _ in range(3):
        for ours, expected in zip(objective(theta, rows), in_memory(theta, rows), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_every_layer_may_have_its_own_penalty(problem):
    alphas = np.array([0.4, 0.0, 1.3, 0.7])[: len(problem.hidden) + 1]
    objective, plain = problem.objective(alpha=alphas), problem.objective(alpha=0.0)
    W, layers = problem.W, plain.unpack(problem.theta)
    penalty = sum(a * np.sum(A**2) for a, (A, _) in zip(alphas, layers, strict=True)) / (2 * W)
    slope = plain.pack([(a / W * A, 0 * b) for a, (A, b) in zip(alphas, layers, strict=True)])
    loss, gradient = objective(problem.theta)
    assert loss == pytest.approx(plain.loss(problem.theta) + penalty, rel=1e-14)
    np.testing.assert_allclose(gradient, plain.gradient(problem.theta) + slope, atol=1e-15)
    r, J = objective.residuals(problem.theta), objective.jacobian(problem.theta)
    assert 0.5 * r @ r == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(J.T @ r, gradient, atol=1e-14)


@pytest.mark.parametrize(
    "alpha", [[1.0], [1.0, 2.0, 3.0], [1.0, -1.0], [1.0, np.nan], "a", [[1, 2]]]
)
def test_penalties_that_are_no_such_thing(alpha):
    with pytest.raises(ValueError, match="alpha="):
        MLPObjective(np.ones((3, 2)), np.ones(3), hidden_layer_sizes=2, alpha=alpha)


def test_the_log_posterior_is_the_density_of_the_targets_and_of_the_weights(problem):
    """By definition: y ~ N(f, σ²/w), A ~ N(0, σ²/α), and biases flat."""
    noise, objective = 0.37, problem.objective()
    f = [
        reference.output(problem.theta, x, problem.sizes, problem.output_activation)
        for x in problem.X
    ]
    there = problem.weights > 0
    deviations = np.sqrt(noise / problem.weights[there])
    expected = norm(np.array(f)[there], deviations).logpdf(problem.y[there]).sum()
    for A, _ in reference.unpack(problem.theta, problem.sizes):
        expected += norm(0, np.sqrt(noise / problem.alpha)).logpdf(A).sum()
    value, gradient = objective.log_posterior(problem.theta, noise)
    assert value == pytest.approx(expected, rel=1e-12)
    scale = -objective.total_weight / noise
    np.testing.assert_allclose(gradient, scale * objective.gradient(problem.theta), rtol=1e-14)
    without = problem.objective(alpha=0.0, sample_weight=None).log_posterior(problem.theta, noise)
    flat = norm(np.array(f), np.sqrt(noise)).logpdf(problem.y).sum()
    assert without[0] == pytest.approx(flat, rel=1e-12)


@pytest.mark.parametrize("noise", [0.0, -1.0, np.nan, np.inf])
def test_a_noise_that_is_not_positive_is_refused(noise):
    objective = make_problem(1, 1, "identity").objective()
    with pytest.raises(ValueError, match="noise_variance="):
        objective.log_posterior(objective.initial_theta(0), noise)


@pytest.mark.parametrize("row", [0, 700, 1499])  # of the first block, another one, and the last
@pytest.mark.parametrize("name", ["X", "y"])
def test_an_overflow_is_explained_by_the_column_with_the_largest_entry_in_any_row(name, row):
    data = {"X": np.ones((1500, 3)), "y": np.ones((1500, 2))}
    data[name][row, 1] = -1e200
    objective = MLPObjective(**data, hidden_layer_sizes=2)
    assert objective.explain_overflow(objective.initial_theta(0)) == (
        f"column 1 of {name} reaches 1e+200 in the units the network works in, "
        "which overflows float64. Rescale it."
    )


@pytest.mark.parametrize(
    ("alpha", "entry", "message"),
    [
        (1e-3, 1e160, "alpha=0.001 is too large for the sum of the sample weights."),
        (0.0, -1e160, "theta has entries up to 1e+160."),
        (0.0, 1.0, "column 0 of X reaches 1 in the units"),  # as large as θ
    ],
)
def test_an_overflow_of_theta_is_explained_by_the_penalty_or_its_largest_entry(
    alpha, entry, message
):
    objective = MLPObjective(np.ones((5, 1)), np.ones(5), hidden_layer_sizes=(), alpha=alpha)
    assert objective.explain_overflow(np.array([entry, 0.0])).startswith(message)
