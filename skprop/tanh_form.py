"""A sigmoid network as a tanh network: a linear change of its parameters.

As σ(z) = (1 + tanh(z/2))/2, the network of t_i = 2 f_i − 1 is, for i = 1, …, K − 1,

    t_i = tanh(z_i/2),    z_i/2 = [t_{i−1}, 1] B_{i−1}

where B_{i−1} stacks weights over biases:

    B_0 = [A_0; b_0]/2,    B_i = [A_i/2; b_i + 1ᵀA_i/2]/2

(of the last layer, without the outer /2 if it is the identity). It saves three passes over every
hidden unit. [A_i; b_i] is how A_i and b_i lie in θ, so the step from one form to the other is a few
operations on all of θ.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .layout import Layout, Params
from .sigmoid import IDENTITY, SIGMOID_OF_DOUBLE, Output

__all__ = ["Parameters", "TanhForm"]


class Parameters(NamedTuple):
    """An array for B, and its views, which take longer to make than a small B to fill."""

    flat: NDArray  # of shape (P,)
    layers: list[NDArray]  # B_0, …, B_{K-1}
    above: Params  # weights and biases of B_1, …, B_{K-1}


class TanhForm:
    """The linear map from θ to the parameters B of the tanh network, and its transpose.

    ``scale``, of shape (P,), is the power of ½ by which each entry of A_i and b_i is multiplied in
    B_i; ``output`` is the activation of the last layer, of the argument [t_{K−1}, 1] B_{K−1}.
    """

    output: Output

    def __init__(self, layout: Layout, output_activation: str, dtype: DTypeLike):
        self.layout = layout
        self.output = SIGMOID_OF_DOUBLE if output_activation == "sigmoid" else IDENTITY
        self.scale = np.full(layout.n_params, 0.5, dtype)
        layers = layout.stacked(self.scale)
        for scale in layers[1:]:
            scale[:-1] *= 0.5
        if self.output is IDENTITY:
            layers[-1] *= 2.0

    def parameters(self) -> Parameters:
        """New arrays for `of` to fill."""
        flat = np.empty_like(self.scale)
        return Parameters(flat, self.layout.stacked(flat), self.layout.above(flat))

    def of(self, theta: NDArray, out: Parameters | None = None) -> list[NDArray]:
        """[B_0, …, B_{K-1}], of shapes (d_{i-1} + 1, d_i): new arrays, or those of ``out``."""
        flat, layers, above = out or self.parameters()
        np.multiply(theta, self.scale, out=flat)
        for A_i, b_i in above:
            b_i += np.add.reduce(A_i)  # b_i + 1ᵀA_i/2, halved already
        return layers

    def pull_back(self, gradient: NDArray) -> None:
        """Turn ∂L/∂B, flat, into ∂L/∂θ in place: the transpose of the map `of`."""
        for G_i, g_i in self.layout.above(gradient):
            G_i += g_i
        gradient *= self.scale
