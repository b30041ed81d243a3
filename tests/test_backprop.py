"""The kernel alone: no blocks, no threads, no objective around it."""

import doctest
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import reference
from conftest import make_problem
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skprop import backprop
from skprop.backprop import backward, backward_outer, forward
from skprop.layout import Layout
from skprop.sigmoid import sigmoid, sigmoid_slope, tanh, tanh_slope
from skprop.tanh_form import TanhForm

PAGE = Path(__file__).parents[1] / "docs" / "backprop.md"
each_form = pytest.mark.parametrize("form", ["sigma on theta", "tanh on the tanh form"])


class Run(NamedTuple):
    """What one pass up and down leaves behind."""

    f: list[NDArray]
    f_K: NDArray
    df: list[NDArray]
    gradient: NDArray


def run(problem, form, backward=backward, x=None) -> Run:
    """Loss gradient without the penalty, by θ; ``x`` takes the place of the dense rows."""
    layout, theta, n = Layout(problem.sizes), problem.theta, len(problem.X)
    last_sigmoid = problem.output_activation == "sigmoid"
    f, df = (
        [*(np.ones((n, d + 1)) for d in problem.sizes[:-1]), np.empty((n, problem.sizes[-1]))]
        for _ in range(2)
    )
    f[0][:, :-1] = problem.X
    df[0] = f[0]
    z, delta = ([*(a[:, :-1] for a in buffers[:-1]), buffers[-1]] for buffers in (f, df))
    gradient = np.empty(layout.n_params)
    G, units = layout.stacked(gradient), [f[0] if x is None else x, *f[1:]]
    tanh_form = TanhForm(layout, problem.output_activation, theta.dtype)
    if form == "tanh on the tanh form":
        A, phi, phi_slope, phi_K = tanh_form.of(theta), tanh, tanh_slope, tanh_form.output.apply
    else:
        A, phi, phi_slope = layout.stacked(theta), sigmoid, sigmoid_slope
        phi_K = sigmoid if last_sigmoid else lambda z: None

    forward(A, units, z, phi, phi_K)
    after_forward, f_K = [a.copy() for a in f], f[-1].copy()
    delta[-1][...] = problem.weights / problem.W * (f_K - problem.y)
    if form == "tanh on the tanh form":
        tanh_form.output.times_slope(delta[-1], f_K)
    elif last_sigmoid:
        delta[-1][...] *= f_K * (1 - f_K)
    backward(A, units, df, delta, G, phi_slope)
    if form == "tanh on the tanh form":
        tanh_form.pull_back(gradient)
    return Run(after_forward, f_K, df, gradient)


def assert_close(gradient, expected, sizes, tolerance):
    """|g − g_ref| ≤ tolerance · max|g_ref|, for the A_i, b_i of each layer."""
    stacked = Layout(sizes).stacked
    for ours, theirs in zip(stacked(gradient), stacked(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@each_form
def test_the_gradient_is_the_complex_step_derivative(problem, form):
    X, y, w, _, *network = problem.definition
    found = run(problem, form)
    outputs = [reference.output(problem.theta, x, *network) for x in X]
    np.testing.assert_allclose(found.f_K, outputs, rtol=1e-13, atol=1e-15)
    expected = reference.gradient(problem.theta, X, y, w, 0.0, *network)
    assert_close(found.gradient, expected, problem.sizes, 1e-13)


@each_form
def test_the_constant_unit_stays_1_and_nothing_flows_back_through_it(problem, form):
    found = run(problem, form)
    for units in found.f[:-1]:
        np.testing.assert_array_equal(units[:, -1], 1.0)
    for differences in found.df[1:-1]:
        np.testing.assert_array_equal(differences[:, -1], 0.0)


@each_form
def test_csr_rows_give_the_gradient_of_the_dense_ones(problem, form):
    expected = run(problem, form).gradient
    found = run(problem, form, x=csr_array(problem.X)).gradient
    assert_close(found, expected, problem.sizes, 1e-14)


@each_form
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("rows", ["narrow", "wide", "sparse"])
def test_one_hidden_layer_and_one_output_have_the_gradient_of_the_general_function(
    form, output_activation, rows
):
    problem = make_problem(1, 1, output_activation, n_features=9 if rows == "wide" else 3)
    x = csr_array(problem.X) if rows == "sparse" else None
    expected = run(problem, form, backward, x)
    found = run(problem, form, backward_outer, x)
    assert_close(found.gradient, expected.gradient, problem.sizes, 1e-14)


# ---- docs/backprop.md ------------------------------------------------------------------------


def the_reference_of_the_page():
    """The function of its first section."""
    names = {"np": np}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text(encoding="utf-8")):
        if example.source.startswith(("def sigma(", "def reference(")):
            exec(example.source, names)
    return names["reference"]


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_the_reference_of_the_page_is_the_objective(depth, n_outputs, output_activation):
    problem = make_problem(depth, n_outputs, output_activation)
    columns = [(A.T, b[:, None]) for A, b in reference.unpack(problem.theta, problem.sizes)]
    objective, pure = problem.objective(), problem.output_activation == "sigmoid"
    half_mean = problem.w / (2 * problem.W)
    penalty = problem.alpha / problem.W
    loss = penalty / 2 * sum(np.sum(A**2) for A, _ in columns)
    gradient = objective.pack([(penalty * A.T, 0 * b[:, 0]) for A, b in columns])
    for x, y, share in zip(problem.X, problem.y, half_mean, strict=True):
        L, dL_dtheta = the_reference_of_the_page()(x[:, None], y[:, None], columns, pure)
        loss += share * L
        gradient += share * objective.pack([(dA.T, db[:, 0]) for dA, db in dL_dtheta])
    assert objective.loss(problem.theta) == pytest.approx(loss, rel=1e-14)
    assert_close(objective.gradient(problem.theta), gradient, problem.sizes, 1e-14)


def code_lines(text):
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_code_that_the_page_quotes_stands_in_the_source():
    sources = {f: code_lines(inspect.getsource(getattr(backprop, f))) for f in backprop.__all__}
    blocks = re.findall(
        r"^```python\n(.+?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    quoted = set()
    for block in map(code_lines, blocks):
        found = [
            name
            for name, source in sources.items()
            if any(source[k : k + len(block)] == block for k in range(len(source)))
        ]
        assert len(found) == 1, "\n".join(block)
        quoted.update(found)
    assert quoted == set(sources)
