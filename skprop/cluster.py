"""The parts of dask collections on a cluster, and the sums over them."""

import asyncio
import copy
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import dask
import dask.array as da
import numpy as np
from dask.sizeof import sizeof
from distributed import Client, default_client, get_worker, worker_client
from distributed.client import CancelledError
from distributed.scheduler import KilledWorker
from numpy.typing import NDArray

from .blocks import RowIndex
from .data import Data, as_columns
from .elsewhere import Share, Summary, part_of, raw_part, total
from .folds import Setup
from .scaling import Moments
from .summed import Answer, Part, added, rows_of_parts

__all__ = [
    "ClusterEngine", "ClusterSums", "connected", "dtype_of", "is_collection", "names_of",
    "partitions", "r_squared",
]  # fmt: skip

MAX_PARTS = 64
# Tasks of an evaluation for each thread of the workers: enough to share the work out, and few, as
# each costs the scheduler about a millisecond.
_TASKS_PER_THREAD = 8
_FAN_IN = 16  # so many answers are added in one place; a power of two, see `added`
_MATRICES = {"hessian", "models"}  # whose answers have P × P numbers: the client takes one alone
PATIENCE = 30.0  # seconds for which a fit waits for a worker where there is none
# Whether a task has left the threads of its worker, which it can do only once.
_HAS_LEFT: ContextVar[bool] = ContextVar("_HAS_LEFT", default=False)
_BUFFERS: WeakValueDictionary = WeakValueDictionary()  # which the parts of this process share


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
        with worker_client(separate_thread=not _HAS_LEFT.get()) as of_worker:
            token = _HAS_LEFT.set(True)
            try:
                yield of_worker
            finally:
                _HAS_LEFT.reset(token)
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
        cuts = [n * k // min(n, MAX_PARTS) for k in range(min(n, MAX_PARTS) + 1)]
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
        make = dask.delayed(_parts_of, pure=False)
        n, size = len(self._raw), 1
        while n > size * _TASKS_PER_THREAD * max(1, sum(self._client.nthreads().values())):
            size *= 2
        runs = [slice(k, k + size) for k in range(0, n, size)]
        lazy = [make(self._raw[run], self._numbers[run], share, setup, exponent) for run in runs]
        parts = self._client.compute(lazy)
        sizes = _brought(self._client, self._client.map(_n_samples, parts, pure=False))
        return ClusterSums(self._client, parts, sizes)


class ClusterSums:
    """The ``sums`` of a `SummedObjective` over parts on a cluster, added in a fixed tree.

    ``runs`` are futures of neighbouring parts, as many in each but the last, a power of two: one
    task answers for a run. ``sizes`` has the numbers of rows of the parts of each.
    """

    def __init__(self, client: Client, runs: list, sizes: list[list[int]]):
        self._client, self._runs, self._sizes = client, runs, sizes

    def __call__(self, method: str, *arrays: NDArray, rows=None) -> Answer:
        """The sum over all parts, or over some rows; see `Part.sums`."""
        name = f"skprop-{method}-{uuid.uuid4().hex}"
        all_sizes = list(chain.from_iterable(self._sizes))
        own = map(_packed, rows_of_parts(rows, all_sizes), all_sizes)
        graph: dict[Any, tuple] = {}
        level = []
        for k, (run, sizes) in enumerate(zip(self._runs, self._sizes, strict=True)):
            key = (name, 0, k)
            graph[key] = (_answer, run, method, arrays, list(islice(own, len(sizes))))
            level.append(key)
        depth, most = 0, 1 if method in _MATRICES else _FAN_IN
        while len(level) > most:
            depth += 1
            groups = [level[k : k + _FAN_IN] for k in range(0, len(level), _FAN_IN)]
            level = [(name, depth, k) for k in range(len(groups))]
            for key, group in zip(level, groups, strict=True):
                graph[key] = (added, method, group)
        futures = self._client.get(graph, level, sync=False)
        return added(method, _brought(self._client, futures))


def _packed(rows: RowIndex | None, n_rows: int) -> RowIndex | None:
    """Numbers of rows of a part that has so many, in as few bytes as they need."""
    return rows.astype(np.min_scalar_type(n_rows)) if isinstance(rows, np.ndarray) else rows


def _brought(client: Client, futures: list) -> list:
    """The results of futures; an error that tells why they cannot be computed."""
    try:
        return client.sync(_gathered, client, futures)
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


async def _gathered(client: Client, futures: list) -> list:
    """The results of futures; an error where the cluster has had no worker for some time."""
    results = asyncio.ensure_future(client.gather(futures, asynchronous=True))
    n_checks = 0
    while not (await asyncio.wait([results], timeout=PATIENCE / 10))[0]:
        n_checks = 0 if await client.nthreads(asynchronous=True) else n_checks + 1
        if n_checks == 10:
            await client.cancel(futures, asynchronous=True)
            await asyncio.wait([results])
            results.exception()  # of what was cancelled, here
            raise RuntimeError(
                f"The cluster has had no worker for {PATIENCE:g} seconds. Start workers, and do "
                "the same again."
            )
    return results.result()


def _summary_of(data: Data, number: int, share: Share | None) -> Summary | None:
    return part_of(data, share, number)


def _parts_of(run: list[Data], numbers: list[int], share, *setup) -> list[Part | None]:
    parts = [part_of(data, share, k, *setup) for data, k in zip(run, numbers, strict=True)]
    for part in parts:
        if part is not None:
            part.share_buffers(_BUFFERS)
    return parts


def _n_samples(run: list[Part | None]) -> list[int]:
    return [0 if part is None else part.n_samples for part in run]


def _answer(run: list[Part | None], method: str, arrays: tuple, rows: list) -> Answer:
    each = zip(run, rows, strict=True)
    return added(method, (part and part.sums(method, *arrays, rows=own) for part, own in each))


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
    # That of a constant is 0, but for rounding where parts are merged.
    variance = np.where(moments.low == moments.high, 0.0, moments.variance)
    variance = np.ldexp(variance, 2 * moments.exponent)
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
    each = 1.0 if weight is None else as_columns(weight)
    return Moments.of_targets(y, weight), (each * (y - f) ** 2).sum(axis=0)
