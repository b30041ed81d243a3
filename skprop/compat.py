"""Names from private or version-dependent parts of other packages, each with its versions."""

from collections.abc import Callable

# Private in scikit-learn since 1.2, in the same place up to 1.9 at least.
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
)

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn 1.6 to 1.8 has no callbacks: nothing to set, nothing to call

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A base class with nothing in it."""

    def with_callbacks(method):
        """The method as it is."""
        return method


__all__ = [
    "CallbackSupportMixin", "Interval", "InvalidParameterError", "Options", "StrOptions",
    "blas_thread_functions", "with_callbacks",
]  # fmt: skip


def blas_thread_functions(library) -> tuple[Callable[[], int | None], Callable[[int], object]]:
    """Two functions that get and set the number of threads of a BLAS library of threadpoolctl.

    In threadpoolctl 3.8 `set_num_threads` of OpenBLAS has an effect only in the Python thread that
    called it first, and in any version it looks its symbol up at every call. So these are the C
    functions, where the controller offers them (`_get_symbol`).
    """
    if library.internal_api == "openblas" and library.threading_layer != "openmp":
        find = getattr(library, "_get_symbol", lambda _: None)
        get, set_ = find("openblas_get_num_threads"), find("openblas_set_num_threads")
        if get is not None and set_ is not None:
            return get, set_
    return library.get_num_threads, library.set_num_threads
