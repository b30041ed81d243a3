"""The one place that knows where A_i and b_i lie in the flat vector θ."""

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils import check_random_state

__all__ = ["Layout", "Params", "checked_theta", "hidden_sizes", "nearest"]

Params = list[tuple[NDArray, NDArray]]


class Layout:
    """Where the layers of a network lie in θ = {A_0, b_0, …, A_{K-1}, b_{K-1}}.

    ``sizes`` are the widths (d_0, d_1, …, d_K): features, hidden layers, outputs. ``n_layers`` is K
    and ``n_params`` the length P = Σ_i (d_{i-1} + 1) d_i of θ.
    """

    def __init__(self, sizes: Sequence[int]):
        self.sizes = tuple(int(d) for d in sizes)
        self.n_layers = len(self.sizes) - 1
        self._layers, start = [], 0  # where [A_i; b_i] lies, and its shape
        self._above = []  # where A_i lies, its shape, and where b_i lies, for i ≥ 1
        for d_in, d_out in pairwise(self.sizes):
            stop = start + (d_in + 1) * d_out
            self._layers.append((slice(start, stop), (d_in + 1, d_out)))
            if start:
                weights, biases = slice(start, stop - d_out), slice(stop - d_out, stop)
                self._above.append((weights, (d_in, d_out), biases))
            start = stop
        self.n_params = start

    def views(self, vector: NDArray) -> Params:
        """View a flat vector as [(A_0, b_0), …, (A_{K-1}, b_{K-1})]; nothing is copied.

        The vector is θ or anything else with one entry a parameter, such as the gradient. The
        parameters are its last axis; axes before it are those of each view too.
        """
        first_axes = vector.shape[:-1]
        layers = [vector[..., at].reshape(first_axes + shape) for at, shape in self._layers]
        return [(layer[..., :-1, :], layer[..., -1, :]) for layer in layers]

    def weight_indices(self) -> list[NDArray]:
        """The indices in θ of the entries of each A_i."""
        return [A.ravel() for A, _ in self.views(np.arange(self.n_params))]

    def input_groups(self) -> list[NDArray]:
        """The indices in θ of the weights from each input, then of the entries of A_1, …."""
        inputs = self.views(np.arange(self.n_params))[0][0]
        return [*inputs, *self.weight_indices()[1:]]

    def stacked(self, vector: NDArray) -> list[NDArray]:
        """View a flat vector as [[A_0; b_0], …], each b_i the last row below its A_i, as in θ.

        Nothing is copied. The parameters are the first axis of the vector; axes after it are those
        of each view too.
        """
        other_axes = vector.shape[1:]
        return [vector[at].reshape(shape + other_axes) for at, shape in self._layers]

    def above(self, vector: NDArray) -> Params:
        """View a flat vector as [(A_1, b_1), …, (A_{K-1}, b_{K-1})]: `views` but the first."""
        return [(vector[A].reshape(shape), vector[b]) for A, shape, b in self._above]

    def stacked_members(self, vectors: NDArray) -> list[NDArray]:
        """View vectors of shape (members, P) as [[A_0; b_0], …], with the members as first axis."""
        return [vectors[:, at].reshape(-1, *shape) for at, shape in self._layers]

    def of_one_output(self) -> "Layout":
        """The layout of the network with one of the outputs alone."""
        return Layout((*self.sizes[:-1], 1))

    def output_indices(self) -> list[NDArray]:
        """For each output, the indices in θ of the parameters that it depends on, which are θ of
        the network with that output alone."""
        *hidden, last = self.stacked(np.arange(self.n_params))
        shared = [layer.ravel() for layer in hidden]
        return [np.concatenate([*shared, own]) for own in last.T]

    def pack(self, params: Sequence[tuple[ArrayLike, ArrayLike]]) -> NDArray:
        """Concatenate [(A_0, b_0), …] into a new flat vector; the inverse of `views`."""
        if len(params) != self.n_layers:
            raise ValueError(f"params has {len(params)} layers; this network has {self.n_layers}.")
        flat = []
        for i, ((A, b), shape) in enumerate(zip(params, pairwise(self.sizes), strict=True)):
            A, b = np.asarray(A), np.asarray(b)
            if A.shape != shape or b.shape != shape[1:]:
                raise ValueError(
                    f"params[{i}] has shapes {A.shape} and {b.shape}; "
                    f"this network needs {shape} and {shape[1:]}."
                )
            flat += [A.ravel(), b]
        return np.concatenate(flat)

    def initial_theta(
        self, random_state=None, dtype: DTypeLike = np.float64, spread: float | None = None
    ) -> NDArray:
        """Draw a starting point: every entry of layer i uniform in ±√(2/(d_{i-1} + d_i)).

        With ``spread`` the hidden layers are wider: of variance ``spread²``/d_{i-1} for A_{i-1} and
        ``spread²`` for b_{i-1}, so that units bend within the range of their input.

        Without it the numbers, in their order, are those of scikit-learn's
        `MLPRegressor(activation="logistic")`: the same seed gives the same network.

        References
        ----------
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
        neural networks", AISTATS 2010, eq. 16 (there with 6 in place of 2, for tanh units).
        """
        rng = check_random_state(random_state)
        theta = np.empty(self.n_params, dtype=dtype)
        *hidden, last = self.views(theta)
        for A, b in [*hidden, last]:
            bound_A = bound_b = np.sqrt(2.0 / sum(A.shape))
            if spread is not None and A is not last[0]:
                bound_A, bound_b = spread * np.sqrt(3 / len(A)), spread * np.sqrt(3)
            A[...] = rng.uniform(-bound_A, bound_A, A.shape)
            b[...] = rng.uniform(-bound_b, bound_b, b.shape)
        return theta


def hidden_sizes(hidden_layer_sizes: int | Sequence[int]) -> tuple[int, ...]:
    """The hidden widths as a tuple; a ValueError unless they are integers of at least 1."""
    sizes = [hidden_layer_sizes] if isinstance(hidden_layer_sizes, Integral) else hidden_layer_sizes
    if (
        isinstance(sizes, str)
        or (isinstance(sizes, np.ndarray) and sizes.ndim != 1)
        or not isinstance(sizes, Sequence | np.ndarray)
        or not all(isinstance(d, Integral) and not isinstance(d, bool) and d >= 1 for d in sizes)
    ):
        raise ValueError(
            f"hidden_layer_sizes={hidden_layer_sizes!r}; it is an int or a sequence of ints, "
            "each at least 1: (50,), (20, 10), or () for no hidden layer."
        )
    return tuple(int(d) for d in sizes)


def nearest(theta: ArrayLike, dtype: DTypeLike) -> tuple[NDArray, bool]:
    """θ, with entries that are finite but beyond the range of ``dtype`` put at its ends, and
    whether there are any."""
    theta = np.asarray(theta)
    if theta.dtype != np.float64 or dtype == np.float64:
        return theta, False
    limit = float(np.finfo(dtype).max)
    if not limit < np.abs(theta).max(initial=0) < math.inf:
        return theta, False
    return np.clip(theta, -limit, limit), True


@np.errstate(over="ignore", invalid="ignore")
def checked_theta(
    theta: ArrayLike, layout: Layout, dtype: DTypeLike, name: str = "theta"
) -> NDArray:
    """θ in the given precision; a ValueError unless it is P finite numbers."""
    theta = np.asarray(theta)
    if theta.shape != (layout.n_params,):
        raise ValueError(
            f"{name} has shape {theta.shape}; a network of widths {layout.sizes} "
            f"has n_params={layout.n_params}."
        )
    if theta.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {theta.dtype}; it is a vector of real numbers.")
    if theta.dtype != dtype:
        theta = theta.astype(dtype)
    # The sum of squares, which takes half the time, may overflow: then all entries are looked at.
    if not (math.isfinite(theta.dot(theta)) or np.isfinite(theta).all()):
        raise ValueError(f"{name} has entries that are NaN or infinite.")
    return theta
