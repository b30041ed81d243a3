import numpy as np
import pytest
import reference
from sklearn.neural_network import MLPRegressor

from skprop.layout import Layout, checked_theta, hidden_sizes


def test_views_follow_the_order_of_theta():
    theta = np.arange(2 * 3 + 3 + 3 * 1 + 1.0)
    (A0, b0), (A1, b1) = Layout((2, 3, 1)).views(theta)
    np.testing.assert_array_equal(A0, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(b0, [6, 7, 8])
    np.testing.assert_array_equal(A1, [[9], [10], [11]])
    np.testing.assert_array_equal(b1, [12])
    assert all(np.shares_memory(a, theta) for a in (A0, b0, A1, b1))


def test_views_agree_with_the_reference(problem):
    ours = Layout(problem.sizes).views(problem.theta)
    for (A, b), (A_ref, b_ref) in zip(
        ours, reference.unpack(problem.theta, problem.sizes), strict=True
    ):
        np.testing.assert_array_equal(A, A_ref)
        np.testing.assert_array_equal(b, b_ref)


def test_pack_undoes_views(problem):
    layout = Layout(problem.sizes)
    np.testing.assert_array_equal(layout.pack(layout.views(problem.theta)), problem.theta)


def test_pack_names_the_layer_that_does_not_fit():
    layout = Layout((2, 3, 1))
    good = [(np.zeros((2, 3)), np.zeros(3)), (np.zeros((3, 1)), np.zeros(1))]
    with pytest.raises(ValueError, match=r"params has 1 layers; this network has 2"):
        layout.pack(good[:1])
    with pytest.raises(ValueError, match=r"params\[1\] has shapes \(1, 3\) and \(1,\)"):
        layout.pack([good[0], (np.zeros((1, 3)), np.zeros(1))])


@pytest.mark.parametrize("hidden", [(7,), (4, 3)])
def test_the_same_seed_draws_the_network_of_mlp_regressor(hidden):
    X, y = np.ones((4, 5)), np.ones((4, 2))
    theirs = MLPRegressor(
        hidden_layer_sizes=hidden, activation="logistic", random_state=3, solver="sgd"
    )
    theirs.set_params(learning_rate_init=1e-300, max_iter=1).partial_fit(X, y)
    ours = Layout((5, *hidden, 2))
    params = ours.views(ours.initial_theta(3))
    for (A, b), A_ref, b_ref in zip(params, theirs.coefs_, theirs.intercepts_, strict=True):
        np.testing.assert_array_equal(A, A_ref)
        np.testing.assert_array_equal(b, b_ref)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [(5, (5,)), ((), ()), ([5, 3], (5, 3)), (np.array([5, 3]), (5, 3)), (np.int64(2), (2,))],
)
def test_hidden_sizes_accepts(given, sizes):
    assert hidden_sizes(given) == sizes


@pytest.mark.parametrize(
    "given", [0, (5, 0), (5.5,), [[5]], "5", True, None, (-1,), ("5",), 5.0, np.array(3)]
)
def test_hidden_sizes_refuses(given):
    with pytest.raises(ValueError, match="hidden_layer_sizes="):
        hidden_sizes(given)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (np.zeros(12), r"shape \(12,\).*n_params=13"),
        (np.zeros((13, 1)), r"shape \(13, 1\)"),
        (np.r_[np.zeros(12), np.nan], "NaN"),
        (np.r_[np.zeros(12), np.inf], "infinite"),
        (np.zeros(13, dtype=complex), "complex128"),
        (np.array(["a"] * 13), "real numbers"),
    ],
)
def test_a_bad_theta_is_refused(theta, message):
    with pytest.raises(ValueError, match=message):
        checked_theta(theta, Layout((2, 3, 1)), np.float64)


def test_a_huge_but_finite_theta_is_accepted():
    checked_theta(np.full(13, 1e200), Layout((2, 3, 1)), np.float64)


def test_a_wider_start_bends_the_units_within_their_range():
    layout = Layout((8, 500, 400, 2))
    *hidden, (A, b) = layout.views(layout.initial_theta(0, spread=1.5))
    for A_i, b_i in hidden:
        assert np.var(A_i) * len(A_i) == pytest.approx(1.5**2, rel=0.1)
        assert np.var(b_i) == pytest.approx(1.5**2, rel=0.1)
    assert max(np.abs(A).max(), np.abs(b).max()) <= np.sqrt(2 / 402)


def test_views_of_several_networks_have_them_as_first_axis():
    layout = Layout((3, 4, 2))
    thetas = np.arange(5.0 * layout.n_params).reshape(5, -1)
    for j, theta in enumerate(thetas):
        for several, one in zip(layout.views(thetas), layout.views(theta), strict=True):
            for a, b in zip(several, one, strict=True):
                np.testing.assert_array_equal(a[j], b)
                assert np.shares_memory(a, thetas)
