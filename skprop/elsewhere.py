"""Rows that are elsewhere: what a fit needs to know of them, and what each part of them does.

A fit asks its data for two things: a `Summary`, from which come the architecture, the standard
units and θ_0; and an objective in these units. `RowsElsewhere` has both, from an `Engine` that
knows where the parts are.
"""

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack
from sklearn.utils import check_array

from .checks import FLOATS
from .data import Data, Expected, as_columns
from .flat_objective import WeightSums
from .folds import Setup, objective_of
from .objective import normalised_weights
from .rows import Rows
from .scaling import Moments, StandardUnits
from .summed import Answer, Part, SummedObjective
from .threads import ignoring_overflow

__all__ = ["Engine", "RowsElsewhere", "Share", "Summary", "part_of", "raw_part", "total"]


class Share(NamedTuple):
    """A random share of the rows, drawn part by part: those held out, or those that are left."""

    fraction: float
    seed: int
    held_out: bool


class Summary(NamedTuple):
    """What a fit needs to know of its rows; those of parts can be merged.

    Attributes
    ----------
    x, y : Moments
    weights : WeightSums
    dtype : str
    single_output : bool
    """

    x: Moments
    y: Moments
    weights: WeightSums
    dtype: str
    single_output: bool

    @classmethod
    @ignoring_overflow()
    def of(cls, data: Data) -> Self | None:
        """The summary of rows in memory; None if there are none."""
        if len(data.y) == 0:
            return None
        weight = data.weight
        of_rows = weight if weight is None or weight.ndim == 1 else weight.mean(axis=1)
        _, sums = normalised_weights(weight, data.y.shape, np.float64)
        x, y = Moments.of(data.rows, of_rows), Moments.of_targets(data.y, weight)
        return cls(x, y, sums, data.rows.dtype.name, data.single_output)

    def merged(self, other: Self) -> Self:
        """The summary of the rows of both."""
        x, y = self.x.merged(other.x), self.y.merged(other.y)
        return self._replace(x=x, y=y, weights=self.weights.merged(other.weights))


def total(summaries: Iterable[Summary | None]) -> Summary | None:
    """Merge the summaries of parts, in their order; None if no part has rows."""
    found = None
    for summary in summaries:
        if summary is not None:
            found = summary if found is None else found.merged(summary)
    return found


class Engine(Protocol):
    """What knows where the parts are, and calls the functions of this module there."""

    def summary(self, share: Share | None) -> Summary | None:
        """The merged `Summary` of each part, or of a share of its rows."""

    def sums(self, share: Share | None, setup: Setup, exponent: int) -> Callable[..., Answer]:
        """The ``sums`` of a `SummedObjective`, over what `part_of` makes of each part."""


class RowsElsewhere(NamedTuple):
    """Takes the place of `Data` where the rows are elsewhere."""

    summary: Summary
    engine: Engine
    feature_names: NDArray | None = None
    share: Share | None = None
    slopes: None = None  # which are learnt from rows in memory alone

    @property
    def rows(self) -> SimpleNamespace:
        """The shape and the precision of X."""
        shape = self.summary.x.n_rows, len(self.summary.x.mean)
        return SimpleNamespace(shape=shape, dtype=np.dtype(self.summary.dtype))

    @property
    def y(self) -> NDArray:
        """The least and the greatest target of each output, of shape (2, n_outputs)."""
        return np.array([self.summary.y.low, self.summary.y.high])

    @property
    def single_output(self) -> bool:
        """Whether y was given as a vector."""
        return self.summary.single_output

    @property
    def expected(self) -> Expected:
        """The number of outputs and the precision that a fit to these rows fixes."""
        return Expected(len(self.summary.y.mean), self.summary.dtype)

    def units(self, output_activation: str) -> StandardUnits:
        """The standard units of these rows."""
        x, y, _, dtype, single_output = self.summary
        return StandardUnits.of_moments(x, y, output_activation, dtype, single_output)

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Rows to train on, and a random share of them to hold out: of each row by itself."""
        shares = Share(fraction, seed, False), Share(fraction, seed, True)
        summaries = [self.engine.summary(share) for share in shares]
        if None in summaries:
            raise ValueError(
                f"validation_fraction={fraction:g} of n_samples={self.rows.shape[0]} left no row "
                "to train on, or none to hold out. Give X_val and y_val."
            )
        train, held_out = (
            self._replace(summary=summary, share=share)
            for summary, share in zip(summaries, shares, strict=True)
        )
        return train, held_out

    def objective(self, setup: Setup, alpha) -> SummedObjective:
        """The objective of these rows, in the standard units of a setup."""
        weights = self.summary.weights
        return SummedObjective(
            self.engine.sums(self.share, setup, weights.exponent),
            n_samples=self.summary.x.n_rows,
            layout=setup.layout,
            dtype=setup.dtype,
            alpha=alpha,
            weight_sums=weights,
        )


# ---- where the rows are -------------------------------------------------------------------------


def raw_part(
    pieces: Sequence[tuple], dtype: str, ignore_missing: bool, names: tuple[str, str, str]
) -> Data:
    """The rows of one part, validated.

    Parameters
    ----------
    pieces : sequence of tuple
        ``number, X, y, sample_weight`` for each partition of the part; the last may be None.
    dtype : str
        float32 or float64, of X.
    ignore_missing : bool
        Whether a NaN in y has weight 0.
    names : tuple of str
        Of X, y and the weights in messages.

    Raises
    ------
    ValueError
        If a partition is invalid; the message names it by its number.
    """
    checked = []
    for number, *arrays in pieces:
        try:
            checked.append(_checked(*arrays, dtype, ignore_missing, names))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Partition {number} of {names[0]}: {error}") from None
    X, y, weights = zip(*checked, strict=True)
    X = [x for x in X if x.shape[0]] or X[:1]
    sparse = not isinstance(X[0], np.ndarray)
    X = X[0] if len(X) == 1 else vstack(X, format="csr") if sparse else np.concatenate(X)
    single_output = y[0].ndim == 1
    targets = np.concatenate([as_columns(each) for each in y])
    weight = None
    if any(w is not None for w in weights):
        each = [np.ones(len(t)) if w is None else w for t, w in zip(y, weights, strict=True)]
        if any(w.ndim == 2 for w in each):
            each = [
                np.broadcast_to(as_columns(w), as_columns(t).shape)
                for w, t in zip(each, y, strict=True)
            ]
        weight = np.concatenate(each)
    return _weighted(Data(Rows(X), targets, weight, single_output, None))


def _checked(X, y, weight, dtype: str, ignore_missing: bool, names: tuple) -> tuple:
    """A partition, validated: X, y and weights, 0 for a target that is missing."""
    name_of_X, name_of_y, name_of_weight = names
    n = X.shape[0]
    others = {name_of_y: y} if weight is None else {name_of_y: y, name_of_weight: weight}
    for name, values in others.items():
        if len(values) != n:
            raise ValueError(
                f"it has {n} rows, and that of {name} has {len(values)}. Cut them alike, as "
                f"{name}.rechunk does."
            )
    common = {"ensure_min_samples": 0, "ensure_2d": False}
    X = check_array(
        X, accept_sparse="csr", dtype=FLOATS, input_name=name_of_X, ensure_min_samples=0
    ).astype(dtype, copy=False)
    finite = "allow-nan" if ignore_missing else True
    y = check_array(y, dtype=np.float64, ensure_all_finite=finite, input_name=name_of_y, **common)
    if n and np.nanmax(np.abs(y), initial=0) > np.finfo(dtype).max:
        raise ValueError(f"{name_of_y} has values beyond {dtype}, the dtype of {name_of_X}.")
    if weight is not None:
        weight = check_array(weight, dtype=np.float64, input_name=name_of_weight, **common)
        if weight.min(initial=0) < 0:
            raise ValueError(f"{name_of_weight} has negative values.")
    missing = np.isnan(y) if ignore_missing else np.zeros(0, bool)
    if missing.any():
        each = np.ones(n) if weight is None else weight
        each = each[:, None] if y.ndim > each.ndim else each  # weights of targets
        y, weight = np.where(missing, 0.0, y), np.where(missing, 0.0, each)
    return X, y, weight


def _weighted(data: Data) -> Data:
    """Leave out rows of zero weight; a target of weight 0 becomes another one of its output."""
    y, weight = data.y, data.weight
    if weight is None:
        return data
    if weight.ndim == 2 and len(y):
        first = np.take_along_axis(y, weight.astype(bool).argmax(axis=0)[None], axis=0)
        y = np.where(weight == 0, first, y)
    used = as_columns(weight).any(axis=1)
    return data._replace(y=y).take(np.flatnonzero(used))


def _shared(data: Data, share: Share | None, number: int) -> Data:
    """A share of the rows of the part whose first partition has this number."""
    if share is None:
        return data
    drawn = np.random.default_rng([share.seed, number]).random(len(data.y)) < share.fraction
    return data.take(np.flatnonzero(drawn == share.held_out))


def part_of(
    data: Data, share: Share | None, number: int, setup: Setup | None = None, exponent: int = 0
) -> Summary | Part | None:
    """The `Summary` of a part or, in the units of a setup, its `Part`; None without rows.

    ``number`` is that of its first partition, and ``exponent`` that of the weights of the whole.
    """
    data = _shared(data, share, number)
    if setup is None or len(data.y) == 0:
        return Summary.of(data)
    return Part(objective_of(data, setup, 0.0), exponent)
