"""scikit-learn's callbacks: a task for the fit and, below it, one for every iteration or epoch.

Callbacks such as scikit-learn's `ProgressBar` and `ScoringMonitor` are set with
``set_callbacks`` (scikit-learn ≥ 1.9) and called through the contexts it hands out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from scipy.optimize import OptimizeResult

from .compat import with_callbacks
from .solvers.progress import Callback

__all__ = ["fit_task"]


@contextmanager
def fit_task(estimator, X, y, sample_weight) -> Iterator[Callback | None]:
    """Report the fit of an estimator to its scikit-learn callbacks.

    Yields a function for the solver to call after each iteration; None without callbacks.

    Both hooks of an iteration are called at its end: before that no solver knows whether there
    is another one. They get the caller's own X and y, and the network as it was before and after
    the iteration; a hook that returns True ends the fit with the model so far.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield None
        return

    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
    previous = None

    def each_iteration(iteration: OptimizeResult) -> None:
        nonlocal previous
        before, after = previous, _fitted_attributes(iteration)
        task = fit.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(**arguments, reconstruction_attributes=before)
        previous = after
        if task.call_on_fit_task_end(**arguments, reconstruction_attributes=after):
            raise StopIteration

    try:
        # A callable solver does not report its iterations.
        n_tasks = 0 if callable(estimator.solver) else estimator.max_iter
        fit = estimator._init_callback_context(max_subtasks=n_tasks)
        fit.call_on_fit_task_begin(**arguments)
        yield each_iteration
        fit.call_on_fit_task_end(**arguments, reconstruction_attributes={})
    finally:
        _tear_down(estimator)


def _fitted_attributes(iteration: OptimizeResult):
    """A function that gives the fitted attributes of the estimator after this iteration."""
    return lambda: {
        "theta_": iteration.x.copy(),
        "loss_": iteration.fun,
        "n_iter_": iteration.nit,
        "message_": "The fit goes on.",
        "_solver_state": None,
    }


@with_callbacks
def _tear_down(estimator) -> None:
    """Tear the callbacks down, which `with_callbacks` does after this empty function."""
