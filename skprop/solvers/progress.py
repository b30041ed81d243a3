"""What every solver keeps of its run, and the rules by which it stops."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

# The status of a result, in SciPy's numbers.
CONVERGED, LIMIT, FAILED, CALLBACK = 0, 1, 2, 99

Callback = Callable[[OptimizeResult], object]


def floating(theta0: ArrayLike) -> NDArray:
    """θ_0 as an array of float32 if it is one, else of float64."""
    theta0 = np.asarray(theta0)
    return theta0 if theta0.dtype == np.float32 else theta0.astype(np.float64, copy=False)


class Progress:
    """The curves of a run, its best θ, and whether it is time to stop.

    What is watched is the validation loss where there is one, else the training loss. An
    iteration improves if it beats the best value before it by more than ``tol``.

    Parameters
    ----------
    n_iter_no_change : int
        So many iterations in a row without improvement are a stall, which stops the run.
    tol : float, default=-inf
        By default every iteration is an improvement.
    min_decay : float, default=0.0
        The run also stops where ln(loss) falls by less than this an iteration, on average over
        the last ``n_iter_no_change``.
    earlier_losses : sequence of float, optional
        What precedes the losses of this run, for ``min_decay`` to look back on.
    validation_loss : callable θ -> float, optional
    callback : callable, optional
        Called after every iteration with an `OptimizeResult` of ``x`` (a copy of θ), ``fun``,
        ``nit`` and, with a validation loss, ``validation_loss``. It stops the run by raising
        StopIteration.

    Attributes
    ----------
    status, message : int and str, or None
        Why the run is to stop.
    """

    def __init__(
        self,
        n_iter_no_change: int,
        *,
        tol: float = -math.inf,
        min_decay: float = 0.0,
        earlier_losses: Sequence[float] = (),
        validation_loss: Callable[[NDArray], float] | None = None,
        callback: Callback | None = None,
    ):
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.min_decay = min_decay
        self.validation_loss = validation_loss
        self.callback = callback
        self.loss_curve: list[float] = []
        self.validation_loss_curve: list[float] = []
        self.best_loss = math.inf
        self.best_theta: NDArray | None = None
        self.best_iteration = -1
        self.n_stalled = 0
        self.status: int | None = None
        self.message: str | None = None
        self._recent = deque(earlier_losses, maxlen=n_iter_no_change + 1)

    def record(self, theta: NDArray, loss: float, **details: float) -> bool:
        """Take note of one iteration, for the callback in detail; whether it was the last."""
        watched = loss = float(loss)
        self.loss_curve.append(loss)
        self._recent.append(loss)
        if self.validation_loss is not None:
            watched = float(self.validation_loss(theta))
            self.validation_loss_curve.append(watched)
        self.n_stalled = 0 if watched < self.best_loss - self.tol else self.n_stalled + 1
        if watched < self.best_loss:
            self.best_loss, self.best_theta = watched, theta.copy()
            self.best_iteration = len(self.loss_curve) - 1
        return self._stopped_by_callback(theta, loss, watched, details) or self.has_ended()

    def has_ended(self) -> bool:
        """Whether a rule ends the run."""
        n, which = self.n_iter_no_change, "training" if not self.validation_loss else "validation"
        if self.n_stalled >= n:
            self.message = (
                f"The {which} loss did not improve by more than tol={self.tol:g} "
                f"in {n} iterations in a row."
            )
        elif self._decay() < self.min_decay:
            self.message = (
                f"Over the last {n} iterations the loss fell by less than "
                f"{self.min_decay:.1e} of itself an iteration: the rest is likely to be noise."
            )
        else:
            return False
        self.status = CONVERGED
        return True

    def go_on(self) -> None:
        """Take a stall for no reason to stop, and count afresh."""
        self.n_stalled, self.status, self.message = 0, None, None

    def _decay(self) -> float:
        """ln(loss) lost per iteration over the last n_iter_no_change; inf before that many."""
        if len(self._recent) <= self.n_iter_no_change:
            return math.inf
        first, last = self._recent[0], self._recent[-1]
        return math.log(first / last) / self.n_iter_no_change if 0 < last <= first else math.inf

    def _stopped_by_callback(self, theta, loss, watched, details) -> bool:
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
        """What a later run needs to go on counting; after a stall it counts afresh."""
        if self.n_stalled >= self.n_iter_no_change:
            return {"best_loss": math.inf, "best_theta": None, "n_stalled": 0}
        theta = self.best_theta if self.validation_loss is not None else None
        return {"best_loss": self.best_loss, "best_theta": theta, "n_stalled": self.n_stalled}

    def resume(self, state: dict) -> None:
        """Go on where an earlier run stood."""
        self.best_loss, self.n_stalled = state["best_loss"], state["n_stalled"]
        self.best_theta = state["best_theta"]

    def curves(self) -> dict:
        """The fields of a result that hold the curves."""
        fields = {"loss_curve": self.loss_curve}
        if self.validation_loss is not None:
            fields["validation_loss_curve"] = self.validation_loss_curve
        return fields
