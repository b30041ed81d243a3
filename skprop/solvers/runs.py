"""Runs of the evidence one after another, within common limits."""

from typing import Any

from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from .evidence import minimize_evidence
from .progress import Callback
from .reasons import LIMIT, limit_reached

__all__ = ["Runs"]


class Runs:
    """Runs of `minimize_evidence` on one objective.

    Parameters
    ----------
    objective, max_iter, max_fun, callback, **options
        As in `minimize_evidence`; the limits are those of all runs together, and the callback is
        told their iterations as those of one.
    """

    def __init__(
        self, objective, *, max_iter: int = 1000, max_fun: int = 15000,
        callback: Callback | None = None, **options: Any,
    ):  # fmt: skip
        self._objective, self._callback, self._options = objective, callback, options
        self._limits = {"max_iter": max_iter, "max_fun": max_fun}
        self._sums = dict.fromkeys(("nit", "nfev", "njev"), 0)
        self._curve: list[float] = []

    def run(self, start: NDArray, **options: Any) -> OptimizeResult:
        """Run within what the limits leave."""
        callback, nit = self._callback, self._sums["nit"]

        def counted(iteration: OptimizeResult) -> None:
            iteration.nit += nit
            if callback is not None:
                callback(iteration)

        found = minimize_evidence(
            self._objective,
            start,
            max_iter=self._limits["max_iter"] - nit,
            max_fun=max(self._limits["max_fun"] - self._sums["nfev"], 1),
            callback=None if callback is None else counted,
            **self._options,
            **options,
        )
        self._sums = {count: total + found[count] for count, total in self._sums.items()}
        self._curve = [*self._curve, *found.loss_curve]
        return found

    def joined(self, best: OptimizeResult, end: OptimizeResult) -> OptimizeResult:
        """The best run, with the counts and the curve of all, and the end of ``end``."""
        message = end.message
        if end.status == LIMIT:  # in the numbers of the caller
            name = "max_iter" if self._sums["nit"] >= self._limits["max_iter"] else "max_fun"
            _, message = limit_reached(**{name: self._limits[name]})
        return OptimizeResult(
            best,
            **self._sums,
            loss_curve=self._curve,
            success=end.success,
            status=end.status,
            message=message,
        )
