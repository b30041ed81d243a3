"""BLAS held to one thread, and tasks run side by side in its place."""

import contextlib
import contextvars
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial, wraps

import numpy as np
from threadpoolctl import ThreadpoolController

from .compat import blas_thread_functions
from .layout import Layout

__all__ = [
    "ALONE", "MAX_THREADS", "SingleThreadedBLAS", "guard", "guarded", "helpers",
    "ignoring_overflow", "limit", "run", "single_threaded_blas", "small_rows",
]  # fmt: skip

MAX_THREADS = 16
# Up to so many multiplications OpenBLAS computes a product of matrices, or of a matrix and a
# vector, on one thread: holding it to one thread would cost as much as the product.
_MATRIX_WORK, _VECTOR_WORK = 2**18, 9_000

# For computations whose result is checked, and for scikit-learn's checks, which add up an array to
# see whether it is finite.
ignoring_overflow = partial(np.errstate, over="ignore", invalid="ignore")


class SingleThreadedBLAS:
    """Hold BLAS to one thread, for the whole process, as long as there are holders.

    A holder is any object; it counts while it lives and has not let go. So a holder whose ``with``
    block Ctrl-C ended between two lines of this class is forgotten, and a limit that it left is
    lifted at the next use.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._holders: list[weakref.ref] = []
        self._n_threads = 1
        self._libraries: list | None = None  # found at the first use, as that takes milliseconds
        self._limited: list = []

    @property
    def n_threads(self) -> int:
        """The number of threads that BLAS had before it was limited; 1 where it is not."""
        return self._n_threads if self._holders else 1

    def hold(self, holder: object) -> int:
        """Limit BLAS unless it is limited already; the number of threads that it had."""
        with self._lock:
            if not self._others(holder):
                self._lift()  # does nothing unless Ctrl-C came between two of these lines
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
        """Lift the limit unless there is another holder."""
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
        """Forget all holders, whose threads do not exist in a forked child."""
        self._lock, self._holders = threading.Lock(), []
        self._lift()


class single_threaded_blas:
    """Context in which BLAS runs on one thread, for the whole process.

    Entering gives the number of threads that BLAS had, and `run` uses as many: whatever limits BLAS
    (`threadpool_limits`, OPENBLAS_NUM_THREADS, joblib in its workers) limits them too. Contexts may
    overlap, nested or in several threads: the first to enter sets the limit, the last to leave
    lifts it. Setting it costs about as much as a small evaluation, so a fit holds it from
    beginning to end.
    """

    def __enter__(self) -> int:
        return limit.hold(self)

    def __exit__(self, *_) -> None:
        limit.let_go(self)


# In place of `single_threaded_blas` for products so small that BLAS uses one thread anyway.
ALONE = contextlib.nullcontext(1)


@contextlib.contextmanager
def guard() -> Iterator[None]:
    """Context of a computation: overflow is silent in it, and BLAS runs on one thread."""
    with ignoring_overflow(), single_threaded_blas():
        yield


def guarded(function: Callable) -> Callable:
    """Decorate a function that runs in a `guard`, at a third of its cost."""

    @ignoring_overflow()
    @wraps(function)
    def guarded_function(*arguments, **options):
        with single_threaded_blas():
            return function(*arguments, **options)

    return guarded_function


def small_rows(layout: Layout) -> int:
    """The most rows whose products BLAS computes on one thread if left to itself."""
    products = [d_in * d_out for d_in, d_out in itertools.pairwise(d + 1 for d in layout.sizes)]
    if max(layout.n_params, *products) > _VECTOR_WORK:
        return 0
    return min(_MATRIX_WORK // max(products), _VECTOR_WORK // (max(layout.sizes) + 1))


class _Helper(threading.Thread):
    """A thread that runs one function at a time for another thread.

    The two meet at bare locks, which take a third of the time of an executor's queue and future:
    that decides whether an evaluation of half a millisecond gains from a second thread.
    """

    def __init__(self):
        super().__init__(name="skprop", daemon=True)  # the interpreter may end while it waits
        self._begin, self._done = threading.Lock(), threading.Lock()
        self._begin.acquire()
        self._done.acquire()
        self._work: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._claim: weakref.ref | None = None
        self.start()

    def is_free(self) -> bool:
        """Whether it waits for work and is claimed by no living caller."""
        return self._work is None and (self._claim is None or self._claim() is None)

    def claim(self, caller: "_Caller") -> None:
        """Reserve it for a caller as long as that lives."""
        self._claim = weakref.ref(caller)

    def run(self) -> None:
        while True:
            self._begin.acquire()
            try:
                self._work()
            except BaseException as error:  # `finish` gives it to the thread that called `begin`
                self._error = error
            self._work = None
            if self._done.locked():
                self._done.release()

    def begin(self, work: Callable[[], None]) -> None:
        """Start a function in a copy of the caller's context, which holds NumPy's errstate."""
        self._error = None  # may be left from a caller that Ctrl-C ended in `finish`
        self._work = partial(contextvars.copy_context().run, work)
        self._begin.release()

    def finish(self) -> BaseException | None:
        """Wait until the function ends, also after Ctrl-C; the exception raised, if any."""
        interrupt = None
        while self._work is not None:  # Ctrl-C may leave the lock in either state
            try:
                self._done.acquire()
            except KeyboardInterrupt as error:
                interrupt = error
        error, self._error = self._error, None
        return interrupt or error


class _Caller:
    """The owner of a claim to helpers. They are free again as soon as it is garbage, so that Ctrl-C
    at any line loses no helper."""


class _Helpers:
    """The helper threads of the process, of which it starts at most MAX_THREADS - 1."""

    def __init__(self):
        self._all: list[_Helper] = []
        self._lock = threading.Lock()

    def all_free(self) -> bool:
        return all(helper.is_free() for helper in self._all)

    def take(self, n: int, caller: _Caller) -> list[_Helper]:
        """Claim up to n helpers for a caller; fewer, or none, where others have claimed them."""
        with self._lock:
            taken = [helper for helper in self._all if helper.is_free()][:n]
            while len(taken) < n and len(self._all) < MAX_THREADS - 1:
                try:
                    self._all.append(_Helper())
                except RuntimeError:  # no thread can be started, as in a browser
                    break
                taken.append(self._all[-1])
            for helper in taken:
                helper.claim(caller)
            return taken


limit = SingleThreadedBLAS()
helpers = _Helpers()


def _after_fork() -> None:
    """Start afresh in a forked child, whose copies of locks may be held and threads missing."""
    limit.reset()
    helpers.__init__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(task: Callable[[int], None], n_tasks: int, n_threads: int | None = None) -> None:
    """Call task(0), …, task(n_tasks - 1), each once, on up to ``n_threads`` threads.

    By default as many as BLAS had before it was held to one, and one where it is not held. When no
    task is running any more it returns, or raises the exception of one of them.
    """
    n_helpers = min(limit.n_threads if n_threads is None else n_threads, n_tasks) - 1
    if n_helpers <= 0:
        for k in range(n_tasks):
            task(k)
        return
    numbers = itertools.count()  # its `next` is atomic

    def work() -> None:
        while (k := next(numbers)) < n_tasks:
            task(k)

    taken, caller = [], _Caller()
    try:
        taken = helpers.take(n_helpers, caller)
        for helper in taken:
            helper.begin(work)
        work()
    except BaseException:
        n_tasks = 0  # the others take no further task
        raise
    finally:
        errors = [helper.finish() for helper in taken]
        caller = None  # also where an exception keeps this frame alive
    for error in filter(None, errors):
        raise error
