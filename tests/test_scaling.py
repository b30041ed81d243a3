import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from skprop import scaling
from skprop.layout import Layout
from skprop.network import Network
from skprop.rows import Rows
from skprop.scaling import StandardUnits, fit_range_scaler, fit_scaler

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 4)) * [1, 10, 0.1, 3] + [0, 5, 100, -2]
X[rng.uniform(size=X.shape) < 0.3] = 0
W = rng.uniform(0.1, 3, 50)


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("block", [7, 8192])
def test_blocks_give_the_scaler_of_the_whole(weights, form, block, monkeypatch):
    monkeypatch.setattr(scaling, "MAX_ROWS", block)
    expected = StandardScaler().fit(X, sample_weight=weights)
    ours = fit_scaler(Rows(form(X)), weights)
    np.testing.assert_allclose(ours.mean_, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.scale_, expected.scale_, rtol=1e-12)
    np.testing.assert_allclose(ours.var_, expected.var_, rtol=1e-12)
    np.testing.assert_allclose(ours.transform(X), expected.transform(X), atol=1e-10)


def test_the_scaler_leaves_its_input_alone():
    for form in (np.asarray, sparse.csr_array):
        before = form(X.copy())
        fit_scaler(Rows(before), W)
        np.testing.assert_array_equal((before != form(X)).sum(), 0)


@settings(deadline=None)
@given(exponent=st.integers(-1000, 1000))
def test_a_power_of_two_of_any_size_is_scaled_away_to_the_last_bit(exponent):
    plain = Rows(X, scaler=fit_scaler(Rows(X), None)).in_memory().X
    huge = np.ldexp(X, exponent)
    scaled = Rows(huge, scaler=fit_scaler(Rows(huge), None)).in_memory().X
    np.testing.assert_array_equal(scaled, plain)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_columns_with_the_signs_changed_have_the_same_units(unit, form):
    positive = unit * np.abs(X)
    scaler, other = fit_scaler(Rows(form(positive)), W), fit_scaler(Rows(form(-positive)), W)
    assert np.isfinite(scaler.scale_).all()
    np.testing.assert_array_equal(other.mean_, -scaler.mean_)
    np.testing.assert_array_equal(other.scale_, scaler.scale_)
    np.testing.assert_array_equal(other.var_, scaler.var_)


@pytest.mark.parametrize("c", [0.0, 0.1, -1e300, 1e-300, 1 / 3, 5e-324])
def test_the_mean_of_a_constant_column_is_that_constant(c):
    for rows in (Rows(np.full((50, 1), c)), Rows(sparse.csr_array(np.full((50, 1), c)))):
        scaler = fit_scaler(rows, W)
        assert scaler.mean_ == [c]
        assert np.isfinite(scaler.scale_).all()
        assert (scaler.scale_ > 0).all()


@settings(deadline=None)
@given(c=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_one_half_is_mapped_back_to_a_constant_target_exactly(c):
    scaler = fit_range_scaler(Rows(np.full((3, 1), c)))
    assert 0.5 * scaler.scale_ + scaler.mean_ == [c]
    assert np.frexp(scaler.scale_)[0] == [0.5]  # a power of two
    assert scaler.scale_ > abs(c) / 1000  # and of the size of the constant


def test_the_range_of_the_targets_becomes_a_tenth_to_nine_tenths():
    y = np.array([[-3.0], [1.0], [5.0]])
    scaler = fit_range_scaler(Rows(y))
    np.testing.assert_allclose(scaler.transform(y)[:, 0], [0.1, 0.5, 0.9])
    assert scaler.n_samples_seen_ == len(y)


@pytest.mark.parametrize("c", [0.0, 3.7, -1 / 3, -1e300])
def test_a_constant_target_leaves_the_range_of_another_one_alone(c):
    y = np.array([[-3.0], [1.0], [5.0]])
    alone = fit_range_scaler(Rows(y))
    scaler = fit_range_scaler(Rows(np.column_stack([y[:, 0], np.full(3, c), y[:, 0]])))
    for name in ("mean_", "scale_", "var_"):
        np.testing.assert_array_equal(getattr(scaler, name)[[0, 2]], getattr(alone, name)[[0, 0]])
    assert 0.5 * scaler.scale_[1] + scaler.mean_[1] == c


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_raw_network_takes_features_less_any_centre_and_gives_raw_targets(scaled, activation):
    y, layout = np.column_stack([X[:, 1], 7 + X[:, 3]]), Layout((4, 3, 3, 2))
    theta, centre = rng.normal(size=layout.n_params), X[0] + 1
    units = StandardUnits(None, None, "float64", False)
    if scaled:
        units = units._replace(x=fit_scaler(Rows(X), W), y=fit_scaler(Rows(y), W))
    raw = layout.pack(units.raw_network(layout.views(theta), activation, centre))
    expected = Network(layout, theta, activation).outputs(units.rows(X))
    if activation == "identity":
        expected = units.raw(expected)
    ours = Network(layout, raw, activation).outputs(Rows(X - centre))
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_prediction_that_overflows_names_its_row(n_outputs):
    units = StandardUnits(None, None, "float64", n_outputs == 1)
    f, g = np.ones((5, n_outputs)), np.ones((5, n_outputs, 3))
    f[3, -1], g[2, -1, 1] = np.inf, np.nan
    with pytest.raises(ValueError, match="for row 3 of X overflows float64"):
        units.raw(f)
    with pytest.raises(ValueError, match="for row 2 of X overflows float64"):
        units.raw_gradient(g)
