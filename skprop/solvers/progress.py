"""What every solver keeps of its run, and the rules by which it stops."""

import math
from collections.abc import Callable

from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

Callback = Callable[[OptimizeResult], object]


class Progress:
    """The curves of a run, its best θ, and how long nothing has improved.

    What is watched is the validation loss where there is one, else the training loss. An
    iteration improves if it beats the best value before it by more than ``tol``.

    Parameters
    ----------
    tol : float
    n_iter_no_change : int
        So many iterations in a row without improvement are a stall.
    validation_loss : callable θ -> float, optional
    callback : callable, optional
        Called after every iteration with an `OptimizeResult` of ``x`` (a copy of θ), ``fun``,
        ``nit`` and, with a validation loss, ``validation_loss``. It ends the run by raising
        StopIteration.
    """

    def __init__(
        self,
        tol: float,
        n_iter_no_change: int,
        validation_loss: Callable[[NDArray], float] | None = None,
        callback: Callback | None = None,
    ):
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_loss = validation_loss
        self.callback = callback
        self.loss_curve: list[float] = []
        self.validation_loss_curve: list[float] = []
        self.best_loss = math.inf
        self.best_theta: NDArray | None = None
        self.best_iteration = -1
        self.n_stalled = 0

    def record(self, theta: NDArray, loss: float) -> None:
        """Take note of one iteration. A StopIteration of the callback passes through."""
        self.loss_curve.append(float(loss))
        watched = float(loss)
        if self.validation_loss is not None:
            watched = float(self.validation_loss(theta))
            self.validation_loss_curve.append(watched)
        self.n_stalled = 0 if watched < self.best_loss - self.tol else self.n_stalled + 1
        if watched < self.best_loss:
            self.best_loss, self.best_theta = watched, theta.copy()
            self.best_iteration = len(self.loss_curve) - 1
        if self.callback is not None:
            iteration = OptimizeResult(x=theta.copy(), fun=float(loss), nit=len(self.loss_curve))
            if self.validation_loss is not None:
                iteration.validation_loss = watched
            self.callback(iteration)

    @property
    def stalled(self) -> bool:
        """Whether the last n_iter_no_change iterations brought no improvement."""
        return self.n_stalled >= self.n_iter_no_change

    @property
    def stall_message(self) -> str:
        watched = "validation" if self.validation_loss is not None else "training"
        return (
            f"The {watched} loss did not improve by more than tol={self.tol:g} "
            f"for {self.n_iter_no_change} iterations in a row."
        )

    def decay(self) -> float:
        """ln(loss) lost per iteration over the last n_iter_no_change; inf before that many."""
        n, curve = self.n_iter_no_change, self.loss_curve
        if len(curve) <= n or not 0 < curve[-1] <= curve[-1 - n]:
            return math.inf
        return math.log(curve[-1 - n] / curve[-1]) / n

    def state(self) -> dict:
        """What a later run needs to go on counting; after a stall it counts afresh."""
        if self.stalled:
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
