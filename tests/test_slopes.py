"""The derivatives of ∂f/∂x, by x and by θ, and what is made of them: deviations and Hessians."""

import numpy as np
import pytest
import reference
from conftest import make_problem

from skprop import jacobian
from skprop.jacobian import slope_jacobian
from skprop.layout import Layout
from skprop.network import Network
from skprop.rows import Rows
from skprop.tanh_form import TanhForm

TOLERANCES = [(np.float64, 1e-11), (np.float32, 1e-4)]
IDS = ["float64", "float32"]


def assert_close(ours, expected, tolerance):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def network_of(problem, dtype=np.float64):
    return Network(Layout(problem.sizes), problem.theta.astype(dtype), problem.output_activation)


def expected(function, problem):
    return np.array(
        [function(problem.theta, x, problem.sizes, problem.output_activation) for x in problem.X]
    )


def slopes_by_theta(network, X):
    """∂²f_K/∂x∂θ of rows, of shape (rows, d_K, P, d_0)."""
    found = []
    network.for_each_slope_jacobian(Rows(X), 0, lambda rows, J: found.append((rows.start, J)))
    return np.concatenate([np.moveaxis(J, -1, 0) for _, J in sorted(found, key=lambda p: p[0])])


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
