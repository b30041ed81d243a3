"""Several networks of one layout evaluated together, each on a batch of rows of its own.

A batch of some hundred rows keeps NumPy busy for as long as Python takes to call it; and members on
threads of their own wait for the interpreter's lock more often than they compute. So the members'
arrays are stacked, and one call does for all of them what it does for one: the equations are those
of `SquaredError`, with the members as first axis, and a member's numbers are the same to the last
bit as if it were alone.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backprop import backward, backward_outer, forward
from .blocks import CACHE_BYTES, RowIndex
from .rows import take
from .sigmoid import tanh, tanh_slope
from .squared_error import SquaredError, sum_of_squares
from .workspace import unit_buffers, without_constant

__all__ = ["Grouping", "Lockstep", "evaluated_together", "grouped"]


# In multiplications of float64: a call for a batch of so many lets the interpreter go for so long
# that another thread gains from it.
_THREAD_WORK = 500_000


class Grouping(NamedTuple):
    """How networks that take steps side by side are grouped."""

    most: int  # in a group, whose members are evaluated together
    threads: bool  # whether groups run on several threads


def grouped(objective, n_rows: int) -> Grouping:
    """How networks of an objective are grouped where each step takes ``n_rows`` rows.

    The widest buffer of a group stays in the cache. Slopes, rows that are sparse or elsewhere, and
    so many that they are cut into blocks, are computed for one network at a time.
    """
    data = objective.terms(n_rows)[0]
    error = data.values
    if error is None:
        return Grouping(1, False)
    threads = n_rows * error.work >= _THREAD_WORK
    if data.slopes is not None or error.X.sparse or not error.is_one_block(n_rows):
        return Grouping(1, threads)
    widest = n_rows * (max(error.layout.sizes) + 1) * error.X.dtype.itemsize
    return Grouping(max(1, CACHE_BYTES // widest), threads)


class Lockstep:
    """Sums of squared errors of M networks over ``n_rows`` rows each, and their gradients."""

    def __init__(self, errors: Sequence[SquaredError], n_rows: int):
        first, M, weights = errors[0], len(errors), [error.weights for error in errors]
        self._errors, self._form = errors, first.form
        layout, dtype = first.layout, first.X.dtype
        self._backward = backward_outer if layout.sizes[2:] == (1,) else backward
        self._B, self._G = np.empty((2, M, layout.n_params), dtype)
        self._layers, self._slopes = map(layout.stacked_members, (self._B, self._G))
        f = unit_buffers(layout, n_rows, dtype, (M,))
        df = [f[0], *map(np.empty_like, f[1:])]
        self._f, self._df = f, df
        self._y = np.empty_like(f[-1])
        self._w = [w if w is None else np.empty((n_rows, w.shape[1]), dtype) for w in weights]

    def sums(self, thetas: NDArray, rows: Sequence[RowIndex], m: int) -> tuple[list, NDArray]:
        """The sums at the rows of ``thetas``, and half their gradients in float64, (M, P).

        ``rows`` are m row numbers for each; the gradients are overwritten by the next call.
        """
        B, G, output = self._layers, self._slopes, self._form.output
        f, df = ([a[:, :m] for a in arrays] for arrays in (self._f, self._df))
        z, delta = without_constant(f), without_constant(df)
        np.multiply(thetas, self._form.scale, out=self._B)
        for B_i in B[1:]:
            B_i[:, -1] += np.add.reduce(B_i[:, :-1], axis=1)  # as in `TanhForm.of`
        y, w = self._read(rows, f[0], m)
        forward(B, f, z, tanh, output.apply)
        residual = np.subtract(f[-1], y, out=delta[-1])
        losses = [*map(sum_of_squares, residual, w)]
        for r, w_k in zip(residual, w, strict=True):
            if w_k is not None:
                r *= w_k
        output.times_slope(delta[-1], f[-1])  # δ_K = w (f_K − y) ∘ φ_K′
        self._backward(B, f, df, delta, G, tanh_slope)
        gradient = self._G.astype(np.float64, copy=False)
        slopes = G if gradient is self._G else self._form.layout.stacked_members(gradient)
        for G_i in slopes[1:]:
            G_i[:, :-1] += G_i[:, -1:]  # as in `TanhForm.pull_back`
        gradient *= self._form.scale
        return losses, gradient

    def _read(self, rows: Sequence[RowIndex], x: NDArray, m: int) -> tuple[NDArray, list]:
        """Write rows of X into x; the targets, and each member's weights or None."""
        y = self._y[:, :m]
        weights = []
        for k, (error, index) in enumerate(zip(self._errors, rows, strict=True)):
            copy = partial(_copied, index)
            found = error.X.read(index, x[k])
            if found is not x[k]:
                x[k] = found
            copy(error.y, y[k])
            weights.append(None if error.weights is None else copy(error.weights, self._w[k][:m]))
        return y, weights


def _copied(rows: RowIndex, a: NDArray, out: NDArray) -> NDArray:
    """Some rows of a, copied into ``out``."""
    found = take(a, rows, out)
    if found is not out:
        out[...] = found
    return out


def evaluated_together(objectives: Sequence, n_rows: int) -> Callable:
    """A function that evaluates objectives of one layout, each on a batch of its own.

    It takes one θ for each, the rows of an array, and row numbers for each, equally many and at
    most ``n_rows``. It returns a list of losses, and gradients as rows of an array, which the next
    call overwrites: the same to the last bit as from one objective after the other.
    """
    data, _, penalties = zip(*(objective.terms(n_rows) for objective in objectives), strict=True)
    errors = [each.values for each in data]
    lockstep, penalty = Lockstep(errors, n_rows), None
    if any(each is not None for each in penalties):
        zeros = np.zeros(objectives[0].n_params)
        penalty = np.array([zeros if each is None else each for each in penalties])

    def evaluate(thetas: NDArray, rows: Sequence) -> tuple[list[float], NDArray]:
        m = rows[0].stop - rows[0].start if isinstance(rows[0], slice) else len(rows[0])
        losses, gradients = lockstep.sums(thetas, rows, m)
        scales = [objective.terms(m)[1] for objective in objectives]
        losses = [loss * (0.5 * scale) for loss, scale in zip(losses, scales, strict=True)]
        gradients *= np.array(scales)[:, None]
        if penalty is not None:
            shrinkage = penalty * thetas  # (α/W) A_i, and 0 for b_i
            squares = [float(np.dot(a, b)) for a, b in zip(shrinkage, thetas, strict=True)]
            losses = [loss + 0.5 * square for loss, square in zip(losses, squares, strict=True)]
            gradients += shrinkage
        return losses, gradients.astype(objectives[0].dtype, copy=False)

    return evaluate
