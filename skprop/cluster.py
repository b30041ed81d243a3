"""The parts of dask collections on a cluster, and the sums over them."""

import copy
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.sizeof import sizeof
from distributed import Client, default_client, get_worker, worker_client
from distributed.client import CancelledError
from distributed.scheduler import KilledWorker
from numpy.typing import NDArray

from .data import Data
from .elsewhere import Share, Summary, part_of, raw_part, total
from .folds import Setup
from .scaling import Moments
from .summed import Answer, Part, added, rows_of_parts

__all__ = [
    "ClusterEngine", "ClusterSums", "connected", "dtype_of", "is_collection", "names_of",
    "partitions", "r_squared",
]  # fmt: skip

MAX_TASKS = 64  # of an evaluation: each costs the scheduler about a millisecond
_FAN_IN = 8  # so many answers are added by one task


@sizeof.register(Part)
def _size_of_part(part: Part) -> int:
    return part.__sizeof__()


@contextmanager
def connected(client: Client | None) -> Iterator[Client | None]:
    """A context with a client, which is the default one in it; None if there is none.

    In a task of a worker it is one of that worker, and the worker can do other tasks meanwhile.
    """
    if client is not None:
        with client.as_current():
            yield client
    elif _is_in_task():
        with worker_client() as of_worker:
            yield of_worker
    else:
        yield _default()


def _is_in_task() -> bool:
    try:
        get_worker()
    except ValueError:
        return False
    return True


def _default() -> Client | None:
    try:
        return default_client()
    except ValueError:
        return None


# ---- collections ------------------------------------------------------------------------------


def is_collection(X) -> bool:
    """Whether X is a dask array or dataframe."""
    return dask.is_dask_collection(X) and hasattr(X, "to_delayed")


def dtype_of(X) -> str:
    """float32 if all of X is, else float64."""
    dtypes = [X.dtype] if hasattr(X, "dtype") else list(X.dtypes)
    return "float32" if all(dtype == np.float32 for dtype in dtypes) else "float64"


def names_of(X) -> NDArray | None:
    """The names of the columns, if all of them are strings."""
    columns = list(getattr(X, "columns", ()))
    strings = bool(columns) and all(isinstance(name, str) for name in columns)
    return np.array(columns, dtype=object) if strings else None


class _Cut(NamedTuple):
    """The partitions of a collection, and their numbers of rows, NaN where unknown."""

    blocks: list
    sizes: list[float]


def _cut(values, name: str, like: "_Cut | None" = None) -> _Cut:
    """Cut a collection into its partitions; an array in memory as another collection is cut."""
    if not is_collection(values):
        if like is None or any(map(math.isnan, like.sizes)):
            raise ValueError(
                f"{name} is in memory, and X a dask collection with partitions of unknown length. "
                f"Make {name} a dask collection that is cut as X is."
            )
        values = np.asarray(values)
        if len(values) != sum(like.sizes):
            raise ValueError(f"X has {int(sum(like.sizes))} rows, {name} has {len(values)}.")
        ends = np.cumsum([0, *like.sizes]).astype(int)
        return _Cut([values[a:b] for a, b in pairwise(ends)], like.sizes)
    if isinstance(values, da.Array):
        if values.ndim > 1 and values.numblocks[1] > 1:
            values = values.rechunk({1: -1})
        return _Cut(list(values.to_delayed().ravel()), list(values.chunks[0]))
    return _Cut(list(values.to_delayed()), [math.nan] * values.npartitions)


def partitions(X, y, sample_weight, names: tuple[str, str, str]) -> list[tuple]:
    """``number, X, y, sample_weight`` of each partition; a ValueError if they are cut differently.

    Partitions of unknown length are compared where they are, by `raw_part`.
    """
    of_X = _cut(X, names[0])
    others = [
        None if values is None else _cut(values, name, of_X)
        for name, values in zip(names[1:], (y, sample_weight), strict=True)
    ]
    for name, cut in zip(names[1:], others, strict=True):
        if cut is None:
            continue
        for number, (a, b) in enumerate(zip(of_X.sizes, cut.sizes, strict=False)):
            if a != b and not (math.isnan(a) or math.isnan(b)):
                raise ValueError(
                    f"Partition {number} of {names[0]} has {a} rows, that of {name} has {b}. Cut "
                    f"them alike, as {name}.rechunk does."
                )
        if len(cut.blocks) != len(of_X.blocks):
            raise ValueError(
                f"{names[0]} has {len(of_X.blocks)} partitions, {name} has {len(cut.blocks)}: one "
                f"has no partition {min(len(of_X.blocks), len(cut.blocks))}. Cut them alike."
            )
    of_y, of_weight = others
    weights = [None] * len(of_X.blocks) if of_weight is None else of_weight.blocks
    return list(zip(range(len(weights)), of_X.blocks, of_y.blocks, weights, strict=True))


# ---- sums over them ---------------------------------------------------------------------------


class ClusterEngine:
    """An `Engine` whose parts are partitions on a cluster, at most 64 runs of neighbours.

    The raw rows of a part are computed when they are needed, and not kept: once for the summary and
    once for the objective, whose rows, in standard units, are kept as long as it is.
    """

    def __init__(
        self, client: Client, pieces: Sequence[tuple], dtype: str, ignore_missing: bool,
        names: tuple[str, str, str],
    ):  # fmt: skip
        self._client = client
        n = len(pieces)
        cuts = [n * k // min(n, MAX_TASKS) for k in range(min(n, MAX_TASKS) + 1)]
        check = dask.delayed(raw_part, pure=False)
        self._numbers = cuts[:-1]
        self._raw = [check(pieces[a:b], dtype, ignore_missing, names) for a, b in pairwise(cuts)]

    def computed(self, function: Callable, *arguments) -> list:
        """``function(data, number, *arguments)`` of the raw rows of each part, brought here."""
        call = dask.delayed(function, pure=False)
        lazy = [
            call(data, number, *arguments)
            for data, number in zip(self._raw, self._numbers, strict=True)
        ]
        return _brought(self._client, self._client.compute(lazy))

    def summary(self, share: Share | None) -> Summary | None:
        """See `Engine`."""
        return total(self.computed(_summary_of, share))

    def sums(self, share: Share | None, setup: Setup, exponent: int) -> Callable[..., Answer]:
        """See `Engine`."""
        make = dask.delayed(_part_of, pure=False)
        lazy = [
            make(data, number, share, setup, exponent)
            for data, number in zip(self._raw, self._numbers, strict=True)
        ]
        parts = self._client.compute(lazy)
        sizes = _brought(self._client, self._client.map(_n_samples, parts, pure=False))
        return ClusterSums(self._client, parts, sizes)


class ClusterSums:
    """The ``sums`` of a `SummedObjective` over parts on a cluster, added in a fixed tree."""

    def __init__(self, client: Client, parts: list, sizes: list[int]):
        self._client, self._sizes = client, sizes
        self._parts = parts

    def __call__(self, method: str, *arrays: NDArray, rows=None) -> Answer:
        """The sum over all parts, or over some rows; see `Part.sums`."""
        name = f"skprop-{method}-{uuid.uuid4().hex}"
        each = zip(self._parts, rows_of_parts(rows, self._sizes), strict=True)
        graph: dict[Any, tuple] = {}
        level = []
        for k, (part, own) in enumerate(each):
            key = (name, 0, k)
            graph[key] = (_answer, part, method, arrays, own)
            level.append(key)
        depth = 0
        while len(level) > 1:
            depth += 1
            groups = [level[k : k + _FAN_IN] for k in range(0, len(level), _FAN_IN)]
            level = [(name, depth, k) for k in range(len(groups))]
            for key, group in zip(level, groups, strict=True):
                graph[key] = (added, method, group)
        (answer,) = _brought(self._client, self._client.get(graph, level, sync=False))
        return answer


def _brought(client: Client, futures: list) -> list:
    """The results of futures; an error that tells which rows cannot be computed again."""
    try:
        return client.gather(futures)
    except KilledWorker as error:
        raise RuntimeError(
            f"Workers died again and again while they computed a part: {error} A part may be too "
            "large for the memory of a worker: cut X into more partitions."
        ) from error
    except CancelledError as error:
        raise RuntimeError(
            "A worker was lost with rows that cannot be computed again, as they were scattered, or "
            "their futures were released. Make X and y of tasks that read or compute them, so that "
            "they can be repeated."
        ) from error


def _summary_of(data: Data, number: int, share: Share | None) -> Summary | None:
    return part_of(data, share, number)


def _part_of(data: Data, number: int, share, setup: Setup, exponent: int) -> Part | None:
    return part_of(data, share, number, setup, exponent)


def _n_samples(part: Part | None) -> int:
    return 0 if part is None else part.n_samples


def _answer(part: Part | None, method: str, arrays: tuple, rows) -> Answer:
    return None if part is None else part.sums(method, *arrays, rows=rows)


# ---- scores -----------------------------------------------------------------------------------


def r_squared(engine: ClusterEngine, model) -> float:
    """The mean over the outputs of R² of a fitted estimator, partition by partition."""
    model = copy.copy(model)
    vars(model).pop("feature_names_in_", None)  # which the rows of parts have no more
    found = [each for each in engine.computed(_errors_of, model) if each is not None]
    if not found:
        raise ValueError("X has no rows.")
    moments, squares = found[0]
    for more, others in found[1:]:
        moments, squares = moments.merged(more), squares + others
    variance = np.ldexp(moments.variance, 2 * moments.exponent)
    around_mean = variance * np.ldexp(moments.weight, moments.weight_exponent)
    exact = np.where(squares == 0, 1.0, 0.0)
    apart = np.where(around_mean > 0, around_mean, 1.0)
    return float(np.mean(np.where(around_mean > 0, 1 - squares / apart, exact)))


def _errors_of(data: Data, _: int, model) -> tuple[Moments, NDArray] | None:
    """The moments of the targets of a part, and the sum of the squared errors of each output."""
    y, weight = data.y, data.weight
    if len(y) == 0:
        return None
    f = model.predict(data.rows.raw(slice(0, len(y)))).reshape(y.shape)
    each = 1.0 if weight is None else weight.reshape(len(y), -1)
    return Moments.of_targets(y, weight), (each * (y - f) ** 2).sum(axis=0)
