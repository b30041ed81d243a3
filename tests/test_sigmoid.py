import mpmath
import numpy as np
import pytest

from skprop.sigmoid import sigmoid_of_double, tanh_slope, times_sigmoid_derivative


def sigma(z):
    half = np.array(z, dtype=float) / 2
    sigmoid_of_double(half)
    return half


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
        sigmoid_of_double(z)
    np.testing.assert_array_equal(z, [0, 0, 0, 0.5, 1, 1, 1])
    assert z.dtype == dtype


def test_the_derivatives_are_those_of_the_functions():
    h, z = 1e-30, np.linspace(-4, 4, 9)
    t = np.tanh(z)
    tanh_slope(t)
    np.testing.assert_allclose(t, np.tanh(z + 1j * h).imag / h, rtol=1e-10)
    delta = np.full(9, 3.0)
    times_sigmoid_derivative(delta, 1 / (1 + np.exp(-2 * z)))
    expected = 3 * (1 / (1 + np.exp(-2 * (z + 1j * h)))).imag / h
    np.testing.assert_allclose(delta, expected, rtol=1e-10)
