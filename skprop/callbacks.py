"""scikit-learn's callbacks: a task for the fit and, below it, one for every iteration or epoch.

The fit of a committee has a task for every member, and a member's iterations are below it.
Callbacks such as scikit-learn's `ProgressBar` and `ScoringMonitor` are set with
``set_callbacks`` (scikit-learn ≥ 1.9) and called through the contexts it hands out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from scipy.optimize import OptimizeResult

from .compat import with_callbacks

__all__ = ["Report", "fit_task"]


class Report:
    """Reports the iterations of one network as tasks below another task.

    Both hooks of an iteration are called at its end: before that no solver knows whether there
    is another one. They get the caller's own X and y, and the network as it was before and after
    the iteration; a hook that returns True ends the run of this network.
    """

    def __init__(self, context, arguments: dict, lock: Lock):
        self._context, self._arguments, self._lock = context, arguments, lock
        self._previous: Callable | None = None

    def __call__(self, iteration: OptimizeResult) -> None:
        """Report an iteration; a StopIteration ends the run."""
        before, after = self._previous, _fitted_attributes(iteration)
        with self._lock:
            task = self._context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(**self._arguments, reconstruction_attributes=before)
            self._previous = after
            if task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=after):
                raise StopIteration

    def end(self, result: OptimizeResult) -> None:
        """Report the end of the run."""


class _MemberReport(Report):
    """Reports a member of a committee, whose task begins and ends with its run."""

    def __init__(self, context, arguments: dict, lock: Lock):
        super().__init__(context, arguments, lock)
        with lock:
            context.call_on_fit_task_begin(**arguments)

    def end(self, result: OptimizeResult) -> None:
        found = _fitted_attributes(result)
        with self._lock:
            self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes=found)


@contextmanager
def fit_task(
    estimator, n_members: int, X, y, sample_weight
) -> Iterator[Callable[[int], Report | None]]:
    """Report the fit of an estimator to its scikit-learn callbacks.

    Yields a function that begins the `Report` of member j, which the solver is to call after each
    iteration, one hook at a time whatever the thread. It gives None without callbacks.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield lambda _: None
        return

    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
    lock = Lock()
    # A callable solver does not report its iterations.
    n_tasks = 0 if callable(estimator.solver) else estimator.max_iter

    def report_of(j: int) -> Report:
        if n_members == 1:
            return Report(fit, arguments, lock)
        with lock:
            member = fit.subcontext(task_name="member", task_id=j, max_subtasks=n_tasks)
        return _MemberReport(member, arguments, lock)

    try:
        options = {"max_subtasks": n_tasks}
        if n_members > 1:
            options = {"max_subtasks": n_members, "sequential_subtasks": False}
        fit = estimator._init_callback_context(**options)
        fit.call_on_fit_task_begin(**arguments)
        yield report_of
        fit.call_on_fit_task_end(**arguments, reconstruction_attributes={})
    finally:
        _tear_down(estimator)


def _fitted_attributes(found: OptimizeResult):
    """A function that gives the fitted attributes of an estimator of this network."""
    return lambda: {
        "theta_": found.x.copy(),
        "loss_": found.fun,
        "n_iter_": found.nit,
        "message_": "The fit goes on.",
        "_solver_state": None,
    }


@with_callbacks
def _tear_down(estimator) -> None:
    """Tear the callbacks down, which `with_callbacks` does after this empty function."""
