"""Blocks of rows: how they are cut, the workspace of one, and running them side by side.

A network is evaluated on a block of rows at a time, so memory is O(P + block) whatever the
number of rows, and a block's buffers stay in the cache between one layer and the next. Blocks
are dealt out to threads in a fixed number of parts, each summed by itself and the sums added in
order: the result is the same to the last bit on any number of threads.
"""

import contextlib
import contextvars
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import ThreadpoolController

from .compat import blas_thread_functions
from .layout import Layout

# What should stay in the (per core) cache is the widest buffer of a block.
CACHE_BYTES = 1024 * 1024
MIN_ROWS, MAX_ROWS = 256, 8192
MAX_PARTS = 16  # each needs a gradient of its own; no more threads than this are of use
# In multiplications of float64: two parts of 0.15 ms are the least that gains from two threads.
PART_WORK = 1_000_000
# Multiplications up to which OpenBLAS does not share out a product of matrices, of a matrix with
# a vector: there is no need to hold it to one thread, which costs as much as a small product.
MATRIX_WORK, VECTOR_WORK = 2**18, 9_000

RowIndex = slice | NDArray[np.intp]


def block_rows(sizes: tuple[int, ...], dtype: DTypeLike) -> int:
    """Number of rows of a block: its widest buffer takes about CACHE_BYTES."""
    rows = CACHE_BYTES // (max(sizes) * np.dtype(dtype).itemsize)
    return min(max(rows, MIN_ROWS), MAX_ROWS)


def split(rows: RowIndex, size: int) -> list[tuple[RowIndex, int]]:
    """Cut a slice of step 1, or an array of row numbers, into blocks of at most ``size`` rows.

    Returns each block with its number of rows.
    """
    if isinstance(rows, slice):
        cuts = [*range(rows.start, rows.stop, size), rows.stop]
        return [(slice(a, b), b - a) for a, b in itertools.pairwise(cuts)]
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [(block, len(block)) for block in blocks]


def parts(rows: RowIndex, n_rows: int, size: int, work: int) -> list[list[tuple[RowIndex, int]]]:
    """Blocks of at most ``size`` rows, dealt out into at most MAX_PARTS runs of neighbours.

    There are several parts only if the ``work`` pays for threads. What is in a part does not depend
    on the number of threads.
    """
    n_parts = min(1 << (work // PART_WORK | 1).bit_length() - 1, MAX_PARTS, n_rows)
    if n_parts == 1 and n_rows <= size:
        return [[(rows, n_rows)]]
    n_blocks = max(-(-n_rows // size), n_parts)
    blocks = split(rows, -(-n_rows // n_blocks))
    cuts = [len(blocks) * k // n_parts for k in range(n_parts + 1)]
    return [blocks[a:b] for a, b in itertools.pairwise(cuts) if a < b]


def positions(dealt: list[list[tuple[RowIndex, int]]]) -> list[list[tuple[RowIndex, slice, int]]]:
    """What `parts` returns, with the place of each block among all its rows."""
    stops = itertools.accumulate(m for part in dealt for _, m in part)
    return [
        [(rows, slice((stop := next(stops)) - m, stop), m) for rows, m in part] for part in dealt
    ]


def unit_buffers(layout: Layout, n_rows: int, dtype: DTypeLike) -> list[NDArray]:
    """t_0, …, t_{K-1} with the constant unit 1 as last column, and f_K (see `backprop`)."""
    *wide, last = layout.sizes
    return [*(np.ones((n_rows, d + 1), dtype) for d in wide), np.empty((n_rows, last), dtype)]


def without_constant(buffers: list[NDArray]) -> list[NDArray]:
    """Views of t_0, …, t_{K-1} without that column, and f_K."""
    *wide, last = buffers
    return [*(t[:, :-1] for t in wide), last]


class Workspace:
    """The buffers of one block of at most ``n_rows`` rows.

    Attributes
    ----------
    gradient : ndarray of shape (P,)
        What a block contributes to the gradient.
    G : list of ndarray
        Its layers, `Layout.stacked`.
    """

    def __init__(self, layout: Layout, n_rows: int, dtype: DTypeLike):
        last = layout.sizes[-1]
        self._t = unit_buffers(layout, n_rows, dtype)
        self._delta = [np.empty_like(t) for t in self._t[1:]]
        self._y = np.empty((n_rows, last), dtype)
        self._w = np.empty((n_rows, 1), dtype)
        self._views: dict[int, tuple] = {}
        self.gradient = np.empty(layout.n_params, dtype)
        self.G = layout.stacked(self.gradient)

    def views(self, m: int) -> tuple:
        """t, delta, y, w for m rows, with the ``inner`` views of t and of delta (`backprop`)."""
        if m not in self._views:
            if len(self._views) > 3:  # there are two sizes in a run: full blocks and the last
                self._views.clear()
            t = [t[:m] for t in self._t]
            delta = [delta[:m] for delta in self._delta]
            inner = without_constant(t), [None, *without_constant(delta)]
            self._views[m] = t, inner[0], [None, *delta], inner[1], self._y[:m], self._w[:m]
        return self._views[m]


def physical_memory() -> int | None:
    """The memory of this machine in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no `sysconf`
        return None


def check_memory(n_bytes: int, what: str, remedy: str) -> None:
    """Refuse an array larger than the memory of this machine before it is allocated."""
    available = physical_memory()
    if available is not None and n_bytes > available:
        raise ValueError(
            f"{what} needs {n_bytes / 2**30:.3g} GiB; this machine has {available / 2**30:.3g} GiB "
            f"of memory. {remedy}"
        )


# ---- threads -------------------------------------------------------------------------------


class SingleThreadedBLAS:
    """That BLAS runs on one thread, for the whole process, while there are holders.

    A holder is any object; it counts while it lives and has not let go. So one whose ``with`` block
    Ctrl-C ended between two lines of this class is forgotten, and what it left is put right at
    the next use.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._holders: list[weakref.ref] = []
        self._n_threads = 1
        self._libraries: list | None = None  # found at the first use, as that takes milliseconds
        self._limited: list = []

    def hold(self, holder: object) -> int:
        """Limit BLAS if nobody does, and give the number of threads that it had."""
        with self._lock:
            if not self._others(holder):
                self._lift()  # nothing, unless Ctrl-C came between two of these lines
                if self._libraries is None:
                    found = ThreadpoolController().lib_controllers
                    blas = [library for library in found if library.user_api == "blas"]
                    self._libraries = [blas_thread_functions(library) for library in blas]
                counts = [(get() or 1, set_) for get, set_ in self._libraries]
                self._n_threads = max((n for n, _ in counts), default=1)
                self._limited = [(n, set_) for n, set_ in counts if n > 1]
                for _, set_ in self._limited:
                    set_(1)
            self._holders.append(weakref.ref(holder))
            return self._n_threads

    def let_go(self, holder: object) -> None:
        """Lift the limit if nobody else holds it."""
        with self._lock:
            self._holders = self._others(holder)
            if not self._holders:
                self._lift()

    def _others(self, holder: object) -> list[weakref.ref]:
        return [ref for ref in self._holders if ref() not in (None, holder)]

    def _lift(self) -> None:
        for n, set_ in self._limited:
            set_(n)
        self._limited = []

    def reset(self) -> None:
        """Forget the holders: in a forked child they are not there."""
        self._lock, self._holders = threading.Lock(), []
        self._lift()


class single_threaded_blas:
    """Context in which BLAS runs on one thread, for the whole process.

    Entering gives the number of threads that BLAS had, which is the number to use for blocks:
    so whatever limits BLAS (`threadpool_limits`, OPENBLAS_NUM_THREADS, joblib in its workers)
    limits these. Contexts may overlap, nested or in other threads: the first to enter sets
    the limit, the last to leave lifts it. Setting it costs about as much as a small
    evaluation, so a fit holds it from beginning to end.
    """

    def __enter__(self) -> int:
        return limit.hold(self)

    def __exit__(self, *_) -> None:
        limit.let_go(self)


ALONE = contextlib.nullcontext(1)


def small_rows(layout: Layout) -> int:
    """The most rows whose products BLAS computes on one thread if left to itself."""
    products = [d_in * d_out for d_in, d_out in itertools.pairwise(d + 1 for d in layout.sizes)]
    if max(layout.n_params, *products) > VECTOR_WORK:
        return 0
    return min(MATRIX_WORK // max(products), VECTOR_WORK // (max(layout.sizes) + 1))


def threads_for(small: bool):
    """Context that holds BLAS to one thread, where it needs to be held, and gives the number of
    threads for blocks."""
    return ALONE if small else single_threaded_blas()


class Helper(threading.Thread):
    """A thread that works beside another one, or waits.

    It is handed work through two bare locks, which takes a third of the time of an executor's
    queue and future: that decides whether an evaluation of half a millisecond gains from it.
    """

    def __init__(self):
        super().__init__(name="skprop", daemon=True)  # when it waits, the interpreter may end
        self._begin, self._done = threading.Lock(), threading.Lock()
        self._begin.acquire()
        self._done.acquire()
        self._work: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        while True:
            self._begin.acquire()
            try:
                self._work()
            except BaseException as error:  # it belongs to who handed in the work
                self._error = error
            self._work = None
            if self._done.locked():
                self._done.release()

    def begin(self, work: Callable[[], None]) -> None:
        # In a copy of the caller's context, where NumPy keeps how it treats overflow.
        in_context = partial(contextvars.copy_context().run, work)
        self._work = in_context
        self._begin.release()

    def finish(self) -> BaseException | None:
        """Wait for the end of the work, Ctrl-C or not, and give what was raised."""
        interrupt = None
        while self._work is not None:  # the lock is where to wait, this the answer
            try:
                self._done.acquire()
            except KeyboardInterrupt as error:
                interrupt = error
        error, self._error = self._error, None
        return interrupt or error


class Helpers:
    """The idle helpers of the process. There are at most MAX_PARTS - 1, made when first needed;
    who finds them all at work does its own work alone.
    """

    def __init__(self):
        self._idle: list[Helper] = []
        self._n, self._lock = 0, threading.Lock()

    def take(self, n: int) -> list[Helper]:
        with self._lock:
            while len(self._idle) < n and self._n < MAX_PARTS - 1:
                self._idle.append(Helper())
                self._n += 1
            taken = self._idle[len(self._idle) - min(n, len(self._idle)) :]
            del self._idle[len(self._idle) - len(taken) :]
            return taken

    def give_back(self, helper: Helper) -> None:
        self._idle.append(helper)


limit = SingleThreadedBLAS()
helpers = Helpers()


def _after_fork() -> None:
    """A forked child inherits locks that may be held, and a pool whose threads are not there."""
    limit.reset()
    helpers.__init__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(task: Callable[[int], None], n_tasks: int, n_threads: int) -> None:
    """Call task(0), …, task(n_tasks - 1), each once, on up to ``n_threads`` threads.

    Returns, or raises what a task raised, when none is running any more.
    """
    n_helpers = min(n_threads, n_tasks) - 1
    if n_helpers <= 0:
        for k in range(n_tasks):
            task(k)
        return
    numbers = itertools.count()  # its `next` is atomic

    def work() -> None:
        while (k := next(numbers)) < n_tasks:
            task(k)

    taken = helpers.take(n_helpers)
    try:
        for helper in taken:
            helper.begin(work)
        work()
    except BaseException:
        n_tasks = 0  # the others take no further task
        raise
    finally:
        errors = [helper.finish() for helper in taken]
        for helper in taken:
            helpers.give_back(helper)
    for error in filter(None, errors):
        raise error
