import mpmath
import numpy as np
import pytest

from skprop.sigmoid import sigmoid, times_derivative


def sigma(z):
    z = np.array(z, dtype=float)
    sigmoid(z)
    return z


def test_sigmoid_is_exact_to_rounding_of_one():
    z = np.linspace(-40, 40, 401)
    exact = [float(1 / (1 + mpmath.exp(-mpmath.mpf(v)))) for v in z]
    np.testing.assert_allclose(sigma(z), exact, rtol=0, atol=2.3e-16)


def test_sigmoid_keeps_its_relative_digits_down_to_minus_five():
    z = np.linspace(-5, 40, 301)
    exact = [float(1 / (1 + mpmath.exp(-mpmath.mpf(v)))) for v in z]
    np.testing.assert_allclose(sigma(z), exact, rtol=5e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_saturates_without_a_warning(dtype):
    z = np.array([-np.inf, -800, -1e30, 0, 1e30, 800, np.inf], dtype=dtype)
    with np.errstate(all="raise"):
        sigmoid(z)
    np.testing.assert_array_equal(z, [0, 0, 0, 0.5, 1, 1, 1])
    assert z.dtype == dtype


def test_times_derivative_is_delta_times_f_times_one_minus_f():
    rng = np.random.default_rng(0)
    delta, f = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    expected = delta * (f * (1 - f))
    times_derivative(delta, f)
    np.testing.assert_allclose(delta, expected, rtol=1e-15)
