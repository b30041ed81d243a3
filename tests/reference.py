"""The definition of the loss, one sample at a time, and its complex-step derivative.

Slow and obvious on purpose: nothing here knows backpropagation, and no derivative is
written down. The complex step Im L(θ + ih e_k)/h has no cancellation, so it is exact to
rounding at any small h (W. Squire and G. Trapp, SIAM Review 40 (1998), 110-112). Second
derivatives are central differences of it, of eighth order.
"""

import itertools

import numpy as np


def sigma(z):
    """1/(1 + e^{-z}) for complex z, without overflow at either end."""
    negative = np.real(z) < 0
    e = np.exp(np.where(negative, z, -z))
    return np.where(negative, e / (1 + e), 1 / (1 + e))


def unpack(theta, sizes):
    """[(A_0, b_0), …] by the definition of the order of θ."""
    params, start = [], 0
    for d_in, d_out in itertools.pairwise(sizes):
        A = theta[start : start + d_in * d_out].reshape(d_in, d_out)
        b = theta[start + d_in * d_out : start + d_in * d_out + d_out]
        params.append((A, b))
        start += d_in * d_out + d_out
    assert start == len(theta)
    return params


def output(theta, x, sizes, output_activation):
    """f_K(θ, x) for one sample x."""
    f, K = x, len(sizes) - 1
    for i, (A, b) in enumerate(unpack(theta, sizes), start=1):
        z = f @ A + b
        f = sigma(z) if i < K or output_activation == "sigmoid" else z
    return f


def largest_input(theta, X, sizes):
    """The largest |z| of any unit, to show that a test stays where σ is accurate."""
    f, largest = X, 0.0
    for A, b in unpack(theta, sizes):
        z = f @ A + b
        largest = max(largest, np.abs(z).max())
        f = sigma(z)
    return largest


def total(w):
    """W = Σ_s w_s, where w_s is the mean weight of the targets of a row that has one for each."""
    return np.sum(w if w.ndim == 1 else np.mean(w, axis=1))


def loss(theta, X, y, w, alpha, sizes, output_activation):
    """L(θ) = 1/(2 W) [Σ_s Σ_k w_sk (f_K(x_s) − y_s)_k² + α Σ_i ‖A_i‖²]; y of shape (n, d_K)."""
    data = sum(
        np.sum(w_s * (output(theta, x_s, sizes, output_activation) - y_s) ** 2)
        for x_s, y_s, w_s in zip(X, y, w, strict=True)
    )
    penalty = sum(np.sum(A**2) for A, _ in unpack(theta, sizes))
    return (data + alpha * penalty) / (2 * total(w))


def gradient(theta, *problem, h=1e-30):
    """∂L/∂θ by the complex step."""
    g = np.empty(len(theta))
    for k in range(len(theta)):
        shifted = theta.astype(complex)
        shifted[k] += 1j * h
        g[k] = loss(shifted, *problem).imag / h
    return g


def hessp(theta, v, *problem, h=1e-2):
    """H v, by differences of `gradient` along v."""
    scale = h / np.abs(v).max()
    return _difference(lambda theta: gradient(theta, *problem), theta, scale * v) / scale


_EIGHTH_ORDER = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))


def _difference(f, x, step):
    """f(x + step) − f(x) to first order in ``step``, by central differences of eighth order."""
    return sum(c * (f(x + j * step) - f(x - j * step)) for j, c in _EIGHTH_ORDER)


def output_jacobian(theta, x, sizes, output_activation, h=1e-30):
    """∂f_K/∂θ for one sample, of shape (d_K, P), by the complex step."""
    steps = theta + 1j * h * np.eye(len(theta))
    return np.array([output(t, x, sizes, output_activation).imag / h for t in steps]).T


def input_gradient(theta, x, sizes, output_activation, h=1e-30):
    """∂f_K/∂x for one sample, of shape (d_K, d_0), by the complex step."""
    steps = x + 1j * h * np.eye(len(x))
    return np.array([output(theta, s, sizes, output_activation).imag / h for s in steps]).T


def input_hessian(theta, x, *network, h=3e-2):
    """∂²f_K/∂x∂x for one sample, of shape (d_K, d_0, d_0), by differences of `input_gradient`."""
    columns = [
        _difference(lambda x: input_gradient(theta, x, *network), x, step) / h
        for step in h * np.eye(len(x))
    ]
    return np.stack(columns, axis=-1)


def slope_jacobian(theta, x, *network, h=3e-2):
    """∂²f_K/∂x∂θ for one sample, of shape (d_K, P, d_0), by differences of `output_jacobian`."""
    columns = [
        _difference(lambda x: output_jacobian(theta, x, *network), x, step) / h
        for step in h * np.eye(len(x))
    ]
    return np.stack(columns, axis=-1)


def slopes(theta, x, sizes, output_activation):
    """∂f_K/∂x for one sample, of shape (d_K, d_0), by the chain rule forwards, for complex θ."""
    f, along, K = x, np.eye(len(x)), len(sizes) - 1
    for i, (A, b) in enumerate(unpack(theta, sizes), start=1):
        f, along = f @ A + b, along @ A
        if i < K or output_activation == "sigmoid":
            f = sigma(f)
            along = along * (f * (1 - f))
    return along.T


def loss_with_slopes(theta, dydx, v, *problem):
    """The loss with Σ_s Σ_k Σ_j v_skj (∂f_k/∂x_j − y′_skj)², NaN where y′ is not known."""
    X, _, w, _, sizes, output_activation = problem
    errors = [
        slopes(theta, x_s, sizes, output_activation) - y_s for x_s, y_s in zip(X, dydx, strict=True)
    ]
    known = ~np.isnan(dydx)
    return loss(theta, *problem) + np.sum((v * np.array(errors) ** 2)[known]) / (2 * total(w))
