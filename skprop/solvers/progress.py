"""The frame of a solver's run: its record, the rules that end it, and its result."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from ..compat import Interval
from ..threads import guard
from .reasons import CALLBACK, CONVERGED, FAILED, INTERRUPTED

__all__ = ["Callback", "Progress", "check_limits", "check_range", "floating"]

Callback = Callable[[OptimizeResult], object]


def floating(theta0: ArrayLike) -> NDArray:
    """θ_0 as an array, of float64 unless it is float32; a ValueError if it is invalid."""
    theta0 = np.asarray(theta0)
    if theta0.ndim != 1 or theta0.dtype.kind not in "fiu":
        raise ValueError(
            f"theta0 has dtype {theta0.dtype} and shape {theta0.shape}; it is a vector of numbers."
        )
    theta0 = theta0 if theta0.dtype == np.float32 else theta0.astype(np.float64, copy=False)
    if not np.isfinite(theta0).all():
        raise ValueError("theta0 has entries that are NaN or infinite.")
    return theta0


def check_range(
    kind: type, low: float, high: float | None = None, closed: str = "left", **parameters
) -> None:
    """A ValueError names the first parameter that is not a number of this kind and range."""
    allowed = Interval(kind, low, high, closed=closed)
    for name, value in parameters.items():
        if isinstance(value, bool) or not allowed.is_satisfied_by(value):
            raise ValueError(f"{name}={value!r}; it must be {allowed}.")


def check_limits(tol: float, min_decay: float, max_iter: int, max_fun: int) -> None:
    """A ValueError names the first limit of a deterministic solver that is out of range."""
    check_range(Real, 0, tol=tol, min_decay=min_decay)
    check_range(Integral, 0, max_iter=max_iter)
    check_range(Integral, 1, max_fun=max_fun)


@dataclass
class Progress:
    """The curves of a run, its best θ, and the rules that end it.

    The watched loss is the validation loss where there is one, else the training loss. An
    iteration improves if it beats the best watched loss before it by more than ``tol``.

    A solver loops ``with progress.running():``. There it reports the loss where it starts (`begin`)
    and after every iteration (`record`). Ctrl-C may come between any two operations: it ends the
    loop, and leads back to the run as the last of these calls left it.
    """

    n_iter_no_change: float  # so many iterations in a row without improvement end the run
    _: KW_ONLY
    tol: float = -math.inf  # by default every iteration is an improvement
    min_decay: float = 0.0  # the least mean fall of ln(loss) over n_iter_no_change iterations
    earlier_losses: Sequence[float] = ()  # of an earlier run, for the rule of ``min_decay``
    validation_loss: Callable[[NDArray], float] | None = None
    callback: Callback | None = None

    def __post_init__(self):
        window = self.n_iter_no_change
        if window == math.inf:  # no rule that looks back ends the run
            window = 0
        else:
            check_range(Integral, 1, n_iter_no_change=window)
        self.loss_curve: list[float] = []
        self.validation_loss_curve: list[float] = []
        # The least watched loss of an iteration, the θ there and its training loss.
        self.best_loss, self.best_theta, self.best_fun = math.inf, None, math.inf
        self.n_stalled = 0
        self.status: int | None = None  # with the message, the reason for the end of the run
        self.message: str | None = None
        self.start: tuple[NDArray, float] | None = None  # θ_0 and its loss, once evaluated
        self.checkpoint: Any = None  # of the last commit, in the form that the solver chose
        self._recent = deque(self.earlier_losses, maxlen=int(window) + 1)
        self._whole: tuple = ()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context of a solver's loop, which Ctrl-C ends; before `begin` it raises the interrupt."""
        try:
            with guard():
                yield
        except KeyboardInterrupt:
            if not self._whole:
                raise
            n, best, self.n_stalled, self.checkpoint = self._whole
            self.best_loss, self.best_theta, self.best_fun = best
            del self.loss_curve[n:], self.validation_loss_curve[n:]
            self.status = INTERRUPTED
            self.message = f"Interrupted after {n} iterations; the best of what was found is kept."

    def begin(self, theta: NDArray, loss: float, checkpoint: Any = None) -> None:
        """Record the start and its loss: from here on Ctrl-C leaves a result."""
        self.start = theta.copy(), float(loss)
        self.commit(checkpoint)

    def record(self, theta: NDArray, loss: float, checkpoint: Any = None, **details: float) -> bool:
        """Record an iteration; True if it was the last.

        ``checkpoint`` is what a solver needs to continue from there; ``details`` are fields of the
        `OptimizeResult` that the callback gets.
        """
        watched = loss = float(loss)
        self.loss_curve.append(loss)
        self._recent.append(loss)
        if self.validation_loss is not None:
            watched = float(self.validation_loss(theta))
            self.validation_loss_curve.append(watched)
        self.n_stalled = 0 if watched < self.best_loss - self.tol else self.n_stalled + 1
        # Where no watched loss was a number yet, the training loss has to decide.
        if watched < self.best_loss or (math.isinf(self.best_loss) and loss < self.best_fun):
            self.best_theta, self.best_fun = theta.copy(), loss
            self.best_loss = watched if watched < self.best_loss else math.inf
        self.commit(checkpoint)
        return self._stopped_by_callback(theta, loss, watched, details) or self.has_ended()

    def commit(self, checkpoint: Any) -> None:
        """Store the present record, to which Ctrl-C leads back, in a single assignment."""
        n, best = len(self.loss_curve), (self.best_loss, self.best_theta, self.best_fun)
        self.checkpoint = checkpoint
        self._whole = (n, best, self.n_stalled, checkpoint)

    def best(self) -> tuple[NDArray, float]:
        """The θ of the least watched loss, or else the start, and its training loss."""
        return self.start if self.best_theta is None else (self.best_theta, self.best_fun)

    def has_ended(self) -> bool:
        """Whether a rule ends the run; if so, with status and message."""
        n, which = self.n_iter_no_change, "training" if not self.validation_loss else "validation"
        if self.n_stalled >= n:
            self.message = (
                f"The {which} loss did not improve by more than tol={self.tol:g} "
                f"in {n} iterations in a row."
            )
        elif self._decay() < self.min_decay:
            self.message = (
                f"Stopped early: the loss fell by less than {100 * self.min_decay:.2g} % per "
                "iteration; going on would probably fit noise. Set tol=1e-5 to continue."
            )
        else:
            return False
        self.status = CONVERGED
        return True

    def conclude(self, status: int, message: str) -> tuple[int, str]:
        """The final status and message: those of the solver unless a rule ended the run before."""
        if self.status is not None:
            status, message = self.status, self.message
        if status == CONVERGED and self.validation_loss_curve and math.isinf(self.best_loss):
            status = FAILED
            message = (
                "The validation loss was infinite or NaN in every iteration: the validation rows "
                "or targets are NaN or too large."
            )
        return status, message

    def go_on(self) -> None:
        """Continue after a stall, and count iterations without improvement from 0."""
        self.n_stalled, self.status, self.message = 0, None, None

    def _decay(self) -> float:
        """Mean fall of ln(loss) over the last n_iter_no_change iterations; inf before that many."""
        if len(self._recent) <= self.n_iter_no_change:
            return math.inf
        first, last = self._recent[0], self._recent[-1]
        return math.log(first / last) / self.n_iter_no_change if 0 < last <= first else math.inf

    def _stopped_by_callback(self, theta, loss, watched, details) -> bool:
        """Call the callback; whether it ended the run."""
        if self.callback is None:
            return False
        iteration = OptimizeResult(x=theta.copy(), fun=loss, nit=len(self.loss_curve), **details)
        if self.validation_loss is not None:
            iteration.validation_loss = watched
        try:
            self.callback(iteration)
        except StopIteration:
            self.status, self.message = CALLBACK, "The callback stopped the run."
        return self.status is not None

    def state(self) -> dict:
        """The counts from which a later run continues; after a stall, those of a new run."""
        if self.n_stalled >= self.n_iter_no_change:
            return {"best_loss": math.inf, "best_theta": None, "n_stalled": 0}
        theta = self.best_theta if self.validation_loss is not None else None
        return {"best_loss": self.best_loss, "best_theta": theta, "n_stalled": self.n_stalled}

    def resume(self, state: dict) -> None:
        """Continue from the counts of an earlier run, as `state` gave them."""
        self.best_loss, self.n_stalled = state["best_loss"], state["n_stalled"]
        self.best_theta = state["best_theta"]

    def result(
        self, status: int, message: str, x: NDArray, fun: float, **fields: object
    ) -> OptimizeResult:
        """The result of the run, with its curves and the ``fields`` that a solver adds."""
        result = OptimizeResult(
            x=x.copy(), fun=fun, nit=len(self.loss_curve), **fields, success=status == CONVERGED,
            status=status, message=message, loss_curve=self.loss_curve,
        )  # fmt: skip
        if self.validation_loss is not None:
            result.validation_loss_curve = self.validation_loss_curve
        return result
