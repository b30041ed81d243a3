"""An objective whose rows are elsewhere: θ goes out, sums over the rows come back.

The objective is a sum over rows, so it can be computed wherever they are: `Part` answers for some
of them, `added` adds up the answers, and `SummedObjective` makes an objective of the total.
"""

import sys
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .blocks import RowIndex
from .data_loss import DataLoss
from .factors import OutputModels
from .flat_objective import FlatObjective, WeightSums
from .layout import Layout
from .objective import MLPObjective
from .rows import checked_row_numbers
from .threads import guarded, ignoring_overflow

__all__ = ["Answer", "Part", "SummedObjective", "added", "rows_of_parts"]

Answer = tuple[NDArray, ...] | None


class SummedObjective(FlatObjective):
    """Loss and gradient of a sigmoid network over rows that are elsewhere.

    It has the methods of `MLPObjective` that are sums over rows, and every solver of this package
    takes it: `loss`, `gradient`, `hessp`, `hessian`, `normal_equations`, `gauss_newton`,
    `loss_of_mean`, `output_losses`, `log_posterior`, `explain_overflow`, with ``rows`` for a
    subset. `residuals` and `jacobian` are no such sums, and raise a TypeError.

    Parameters
    ----------
    sums : callable
        ``sums(method, *arrays, rows=None)`` returns the sum over all rows, or over some, of what
        `Part.sums` of each part returns: `added` adds up two or more.
    n_samples : int
        n, the number of rows of all parts.
    layout : Layout
        Of the network; that of the `MLPObjective` of any part.
    dtype : dtype, default='float64'
        The precision of the arithmetic, that of the parts.
    alpha : float or sequence of K floats, default=0.0
        The L2 penalty, as in `MLPObjective`; that of the parts is ignored.
    total_weight : float, optional
        W, the sum of the weights of the rows; n by default.
    weight_sums : WeightSums, optional
        The merged ``weight_sums`` of the parts, in the place of ``total_weight``; with weights of
        the targets it is needed.

    Raises
    ------
    ValueError
        If alpha is invalid; and in its methods as `MLPObjective` does.

    Examples
    --------
    Two halves of some rows, each of which might be on a machine of its own:

    >>> import numpy as np
    >>> from skprop import MLPObjective, SummedObjective, minimize_lbfgs
    >>> from skprop.summed import Part, added, rows_of_parts
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> halves = [MLPObjective(x[k::2], np.sin(3 * x[k::2]), hidden_layer_sizes=5) for k in (0, 1)]
    >>> parts = [Part(half) for half in halves]
    >>> def sums(method, *arrays, rows=None):
    ...     each = rows_of_parts(rows, [25, 25])
    ...     return added(method, [p.sums(method, *arrays, rows=r) for p, r in zip(parts, each)])
    >>> objective = SummedObjective(sums, n_samples=50, layout=halves[0].layout, alpha=1e-3)
    >>> result = minimize_lbfgs(objective, objective.initial_theta(0))
    >>> bool(result.fun < 1e-2)
    True
    """

    def __init__(
        self, sums: Callable[..., Answer], *, n_samples: int, layout: Layout,
        dtype: DTypeLike = "float64", alpha: float | Sequence[float] = 0.0,
        total_weight: float | None = None, weight_sums: WeightSums | None = None,
    ):  # fmt: skip
        d_K = layout.sizes[-1]
        if weight_sums is None:
            W = float(n_samples if total_weight is None else total_weight)
            weight_sums = WeightSums(W, 0, np.full(d_K, W), n_samples * d_K, 0.0)
        data = _SummedLoss(sums, layout, n_samples)
        super().__init__(data, layout, dtype, n_samples, weight_sums, alpha)


class _SummedLoss:
    """The `DataLoss` of rows that are elsewhere."""

    values = None  # there are no rows here
    small_rows = sys.maxsize  # nothing here is worth a second thread

    def __init__(self, sums: Callable[..., Answer], layout: Layout, n_samples: int):
        self._sums, self._layout, self._n_samples = sums, layout, n_samples

    def _of(self, method: str, *arrays, rows: RowIndex | None = None) -> tuple[NDArray, ...]:
        """The sums over some rows, as arrays of this caller's own."""
        if isinstance(rows, slice) and rows == slice(0, self._n_samples):
            rows = None
        answer = self._sums(method, *arrays, rows=rows)
        if answer is None:
            raise ValueError(f"sums({method!r}, …) returned None: no part has any of the rows.")
        return tuple(np.array(value, np.float64) for value in answer)

    def n_residuals(self, n_rows: int) -> int:
        return n_rows * self._layout.sizes[-1]

    def sums(self, theta, rows, _, with_gradient) -> tuple[float, NDArray | None]:
        if not with_gradient:
            return float(self._of("loss", theta, rows=rows)[0]), None
        loss, gradient = self._of("loss_and_gradient", theta, rows=rows)
        return float(loss), gradient

    def hessian_product(self, theta, v, rows, _) -> NDArray:
        return self._of("hessian_product", theta, v, rows=rows)[0]

    def hessian(self, theta, rows, _) -> NDArray:
        return self._of("hessian", theta, rows=rows)[0]

    def models(self, theta, rows, _, c) -> OutputModels:
        losses, gradients, products = self._of("models", theta, np.float64(c), rows=rows)
        return OutputModels(losses, gradients, list(products), self._layout.output_indices())

    def thin_models(self, theta, c) -> OutputModels:
        """`models`, of P × P numbers: the sides of a `Root` are rows, which stay where they are."""
        return self.models(theta, None, self._n_samples, c)

    def output_losses(self, theta, c) -> NDArray:
        return self._of("output_losses", theta, np.float64(c))[0]

    def losses_of_mean(self) -> NDArray:
        totals, sums = self._of("target_sums")
        return self._of("losses_around", sums / np.where(totals > 0, totals, 1.0))[0]

    def largest(self) -> tuple[str, int, float]:
        (of_y, j, largest), *_ = self._of("largest")
        return "y" if of_y else "X", int(j), float(largest)

    def residuals(self, *_, **__):
        raise TypeError(
            "residuals and jacobian have a row for every sample, and the samples are elsewhere. "
            "Use loss_of_mean, output_losses, normal_equations or gauss_newton, which are sums."
        )

    jacobian = residuals


class Part:
    """Answers for the rows of one part of an objective.

    Parameters
    ----------
    objective : MLPObjective
        Of these rows, in the units and the layout of all parts. Its alpha is ignored.
    exponent : int, default=0
        That of the ``weight_sums`` of the whole: weights are divided by 2^exponent, which is exact.
    """

    def __init__(self, objective: MLPObjective, exponent: int = 0):
        self._data: DataLoss = objective.terms(1)[0]
        self._scale = float(np.ldexp(1.0, objective.weight_sums.exponent - exponent))
        self.n_samples, self.weight_sums = objective.n_samples, objective.weight_sums
        self.layout = objective.layout

    @guarded
    @ignoring_overflow()
    def sums(self, method: str, *arrays, rows=None) -> Answer:
        """A sum over the rows of this part.

        Parameters
        ----------
        method : str
            A name that `SummedObjective` asks for.
        *arrays : ndarray
            What it is given, θ as a rule.
        rows : slice or array of int, optional
            Numbers within this part; all by default.

        Returns
        -------
        tuple of ndarray of float64, or None
            None if ``rows`` is empty.
        """
        if rows is None:
            rows = slice(0, self.n_samples)
        if len(range(*rows.indices(self.n_samples)) if isinstance(rows, slice) else rows) == 0:
            return None
        rows, n_rows = checked_row_numbers(rows, self.n_samples)
        if method == "largest":
            name, j, largest = self._data.largest()
            return (np.array([name == "y", j, largest]),)
        answer = _ANSWERS[method](self._data, rows, n_rows, *arrays)
        return tuple(np.asarray(value, np.float64) * self._scale for value in answer)

    def share_buffers(self, kept: MutableMapping) -> None:
        """Compute in the same buffers, of about 2 MB, as other parts that were given ``kept``."""
        self._data.values.share_buffers(kept)

    def __sizeof__(self) -> int:
        """The bytes of the rows, the targets and the weights."""
        values = self._data.values
        return sum(map(_n_bytes, (values.X, values.y, values.weights)))


def _n_bytes(held) -> int:
    """The bytes of an array, a CSR matrix or `Rows`."""
    if hasattr(held, "in_memory"):
        return held.n_bytes
    return 0 if held is None else held.nbytes


def _models(data: DataLoss, rows: RowIndex, n_rows: int, theta: NDArray, c: NDArray) -> tuple:
    model = data.models(theta, rows, n_rows, float(c))
    return model.losses, model.gradients, np.array(model.products)


_ANSWERS: dict[str, Callable[..., tuple]] = {
    "loss": lambda data, rows, n, theta: data.sums(theta, rows, n, False)[:1],
    "loss_and_gradient": lambda data, rows, n, theta: data.sums(theta, rows, n, True),
    "hessian_product": lambda data, rows, n, theta, v: (data.hessian_product(theta, v, rows, n),),
    "hessian": lambda data, rows, n, theta: (data.hessian(theta, rows, n),),
    "models": _models,
    "output_losses": lambda data, _, __, theta, c: (data.output_losses(theta, float(c)),),
    "target_sums": lambda data, *_: data.target_sums(),
    "losses_around": lambda data, _, __, mean: (data.losses_around(mean),),
}


def added(method: str, answers: Iterable[Answer]) -> Answer:
    """Add up the answers of parts, two neighbours at a time; None, of no rows, is left out.

    The order of the sums is a tree that the number of parts alone fixes: two by two, then these
    sums two by two. So answers of 2, 4, 8, … neighbours can be added first, wherever they are,
    without changing a bit.
    """
    sums: list[tuple[int, Answer]] = []  # those still to be added: height in the tree, sum
    for answer in answers:
        height = 0
        while sums and sums[-1][0] == height:
            answer, height = _both(method, sums.pop()[1], answer), height + 1
        sums.append((height, answer))
    total = None
    for _, left in reversed(sums):
        total = _both(method, left, total)
    return total


def _both(method: str, left: Answer, right: Answer) -> Answer:
    if left is None or right is None:
        return right if left is None else left
    if method == "largest":  # of y before that of X
        a, b = (tuple(values[[0, 2]]) for (values,) in (left, right))
        return right if b > a else left
    return tuple(a + b for a, b in zip(left, right, strict=True))


def rows_of_parts(rows: RowIndex | None, sizes: Sequence[int]) -> list[RowIndex | None]:
    """For parts of these sizes, one after the other: the numbers within each of some rows.

    None, for all rows, is None for each.
    """
    if rows is None:
        return [None] * len(sizes)
    spans = list(pairwise(accumulate(sizes, initial=0)))
    if isinstance(rows, slice):
        rows, _ = checked_row_numbers(rows, sum(sizes))
    if isinstance(rows, slice):
        return [slice(max(rows.start - a, 0), max(min(rows.stop, b) - a, 0)) for a, b in spans]
    return [rows[(rows >= a) & (rows < b)] - a for a, b in spans]
