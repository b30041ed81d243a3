"""Activations and their derivatives, in place.

σ is computed as σ(z) = (1 + tanh(z/2))/2, which is the same function. `tanh` saturates at ±1
without overflow for any z, so no branch and no clipping is needed, and NumPy's `tanh` is
vectorised. Its cost is relative accuracy in the far left tail: below z = -5 the sum 1 + tanh(z/2)
cancels, and the absolute error stays below the unit of rounding of 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "IDENTITY", "SIGMOID_OF_DOUBLE", "Output", "sigmoid", "sigmoid_of_double", "sigmoid_slope",
    "tanh", "tanh_slope", "times_sigmoid_derivative",
]  # fmt: skip


def sigmoid(z: NDArray) -> None:
    """Replace z by σ(z)."""
    z *= 0.5
    sigmoid_of_double(z)


def sigmoid_slope(f: NDArray) -> None:
    """Replace f = σ(z) by σ′(z)."""
    f *= 1.0 - f  # σ′ = f (1 − f)


def tanh(z: NDArray) -> None:
    """Replace z by tanh(z)."""
    np.tanh(z, out=z)


def tanh_slope(t: NDArray) -> None:
    """Replace t = tanh(z) by tanh′(z)."""
    t *= t
    np.subtract(1.0, t, out=t)  # tanh′ = 1 − t²


def sigmoid_of_double(z: NDArray) -> None:
    """Replace z by σ(2z)."""
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5  # σ(2z) = ½ + ½ tanh(z)


def times_sigmoid_derivative(delta: NDArray, f: NDArray) -> None:
    """Multiply δ by dσ(2z)/dz = 2 f (1 - f), where f = σ(2z)."""
    delta *= f
    delta *= 2 * (1.0 - f)  # δ ∘ 2 f ∘ (1 − f)


class Output(NamedTuple):
    """The activation of the last layer, of an argument u: z_K, or z_K/2 where it is a sigmoid."""

    apply: Callable[[NDArray], None]  # apply(u) replaces u by f_K
    times_slope: Callable[[NDArray, NDArray], None]  # times_slope(δ, f_K) multiplies δ by ∂f_K/∂u
    # curvature(f_K − y, f_K) is the second derivative of ½ (f_K − y)² by u
    curvature: Callable[[NDArray, NDArray], NDArray | float]
    slope: Callable[[NDArray], NDArray]  # slope(f_K) is ∂f_K/∂z_K, a new array
    bend: Callable[[NDArray], NDArray]  # bend(f_K) is ∂²f_K/∂z_K², a new array


def _squared_error_curvature(residual: NDArray, f: NDArray) -> NDArray:
    """d²/dz² of ½ (f − y)² at f = σ(2z), a new array; ``residual`` is f − y."""
    slope = 2 * f * (1.0 - f)  # f′ = 2 f (1 − f), f″ = 2 (1 − 2 f) f′
    return slope * (slope + 2 * residual * (1.0 - 2 * f))  # f′² + (f − y) f″


def _sigmoid_slope_of(f: NDArray) -> NDArray:
    """σ′(z) where f = σ(z), a new array."""
    return f * (1.0 - f)  # σ′ = f (1 − f)


def _sigmoid_bend_of(f: NDArray) -> NDArray:
    """σ″(z) where f = σ(z), a new array."""
    return _sigmoid_slope_of(f) * (1.0 - 2 * f)  # σ″ = σ′ (1 − 2 f)


def _unchanged(*_) -> None:
    """Leave u as it is: the identity, and multiplication by its slope."""


def _one(*_) -> float:
    """The second derivative 1 of ½ (u − y)²."""
    return 1.0


# Functions with names, so that an objective can be pickled.
IDENTITY = Output(_unchanged, _unchanged, _one, np.ones_like, np.zeros_like)
SIGMOID_OF_DOUBLE = Output(
    sigmoid_of_double, times_sigmoid_derivative, _squared_error_curvature, _sigmoid_slope_of,
    _sigmoid_bend_of,
)  # fmt: skip
