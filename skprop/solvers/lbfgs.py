"""L-BFGS, SciPy's implementation, in the dtype of the objective and with a record of the run."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, minimize

from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, INTERRUPTED, LIMIT, limit_reached, within_tol

__all__ = ["minimize_lbfgs"]

# In the line search an infinite loss is replaced by the least loss plus so many times its size.
_CLIFF = 10.0


def minimize_lbfgs(
    objective: Callable[[NDArray], tuple[float, NDArray]],
    theta0: ArrayLike,
    *,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: float = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    loss_curve: Sequence[float] = (),
    validation_loss: Callable[[NDArray], float] | None = None,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise a function of a flat vector, given with its gradient, by L-BFGS.

    Parameters
    ----------
    objective : callable θ -> (loss, gradient)
        For example an `MLPObjective`. It is called with θ in the dtype of ``theta0``.
    theta0 : array-like of shape (P,)
        Where to start; it is not changed, and it is the result where it meets ``tol``.
    tol : float, default=1e-4
        Stop when no entry of the gradient is larger. With a ``validation_loss`` it is also
        the least improvement of that loss that counts.
    min_decay : float, default=0.0
        Stop when, over the last ``n_iter_no_change`` iterations, ln(loss) fell by less than
        this an iteration. 0 switches this rule off.
    n_iter_no_change : int or inf, default=25
        The number of iterations over which ``min_decay`` is judged; with a ``validation_loss``, the
        number of iterations in a row without improvement that end the run.
    max_iter : int, default=1000
        The largest number of iterations.
    max_fun : int, default=15000
        The largest number of evaluations.
    loss_curve : sequence of float, optional
        The losses of an earlier run on the same objective that ended at ``theta0``; ``min_decay``
        is judged over them too, so a run that it ended stays ended.
    validation_loss : callable θ -> float, optional
        Evaluated at every iteration; the θ at which it was least is the result.
    callback : callable, optional
        Called after every iteration with an `OptimizeResult` of ``x`` (a copy), ``fun``, ``nit``
        and, where there is one, ``validation_loss``; ends the run by raising StopIteration.

    Returns
    -------
    OptimizeResult
        ``x``, ``fun``, ``nit``, ``nfev``, ``success``, ``status`` (0: converged, 1: a limit was
        reached, 2: the line search failed, or a loss became infinite or NaN, 98: Ctrl-C ended the
        run, 99: the callback did), ``message``, ``loss_curve`` (one entry an iteration) and, if
        asked for, ``validation_loss_curve``. However it ended, ``x`` is the best θ found.

    Raises
    ------
    ValueError
        If ``theta0`` or an argument is invalid; the message names it and its value.
    KeyboardInterrupt
        At Ctrl-C before the end of the first evaluation.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained
    optimization", SIAM J. Sci. Comput. 16 (1995), 1190–1208; as `scipy.optimize.minimize`
    offers it.

    Examples
    --------
    >>> import numpy as np
    >>> from skprop import MLPObjective, minimize_lbfgs
    >>> x = np.linspace(-1, 1, 50)
    >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5)
    >>> result = minimize_lbfgs(objective, objective.initial_theta(0), tol=1e-5)
    >>> result.success, len(result.loss_curve) == result.nit
    (True, True)
    >>> bool(np.abs(objective.gradient(result.x)).max() <= 1e-5)
    True
    """
    theta0 = floating(theta0)
    check_limits(tol, min_decay, max_iter, max_fun)
    progress = Progress(
        n_iter_no_change, tol=-np.inf if validation_loss is None else tol, min_decay=min_decay,
        earlier_losses=loss_curve, validation_loss=validation_loss, callback=callback,
    )  # fmt: skip
    has_ended = progress.has_ended()  # by the losses of an earlier run
    if has_ended or max_iter == 0:
        reason = limit_reached(max_iter=0) if max_iter == 0 else (progress.status, progress.message)
        return progress.result(*reason, theta0, objective(theta0)[0], nfev=1)

    evaluate = _FiniteEverywhere(objective, theta0, progress)

    def each_iteration(intermediate_result: OptimizeResult) -> None:
        x, fun = intermediate_result.x.astype(theta0.dtype), intermediate_result.fun
        # A line search that gives up may take the last point it tried for the next iterate.
        if not evaluate.last_is_finite or progress.record(x, fun):
            raise StopIteration

    status = message = None
    with progress.running():
        found = minimize(
            evaluate, theta0, jac=True, method="L-BFGS-B", callback=each_iteration,
            options={"gtol": tol, "ftol": 0.0, "maxiter": max_iter, "maxfun": max_fun, "maxls": 50},
        )  # fmt: skip
        status, message = _reason(found, evaluate, tol, max_iter, max_fun)
    status, message = progress.conclude(status, message)
    x, fun = progress.best()
    if validation_loss is None and status not in (FAILED, INTERRUPTED):
        x, fun = found.x.astype(theta0.dtype), float(found.fun)
    return progress.result(status, message, x, fun, nfev=evaluate.n_evaluations)


class _FiniteEverywhere:
    """A function and its gradient for SciPy's line search: always finite, in float64."""

    def __init__(self, objective, theta0: NDArray, progress: Progress):
        self._objective, self._theta0, self._progress = objective, theta0, progress
        self.n_evaluations = self.n_infinite = 0
        self.last_is_finite = True

    def __call__(self, theta: NDArray) -> tuple[float, NDArray]:
        self.n_evaluations += 1
        self.last_is_finite = True
        if np.isfinite(theta).all():
            # A copy: SciPy goes on writing into θ.
            loss, gradient = self._objective(theta.astype(self._theta0.dtype))
            if self._progress.start is None:
                self._progress.begin(self._theta0, loss)
            if math.isfinite(loss) and np.isfinite(gradient).all():
                return loss, gradient.astype(np.float64, copy=False)
        self.n_infinite += 1
        self.last_is_finite = False
        # The line search interpolates, which it could not do with infinity.
        _, least = self._progress.best()
        return least + _CLIFF * (abs(least) or 1.0), np.zeros(theta.shape)


def _reason(found, evaluate: _FiniteEverywhere, tol, max_iter, max_fun) -> tuple[int, str]:
    """The status and the message of a run that SciPy ended."""
    if not evaluate.last_is_finite:
        return FAILED, INFINITE
    if found.status == LIMIT:
        by_iterations = found.nit >= max_iter
        return limit_reached(max_iter=max_iter) if by_iterations else limit_reached(max_fun=max_fun)
    if found.status != CONVERGED:
        if evaluate.n_infinite:
            return FAILED, INFINITE
        return FAILED, "The line search found no lower loss in this precision."
    largest = np.abs(found.jac).max(initial=0.0)
    if largest > tol:
        return CONVERGED, "The loss no longer changes in this precision."
    return within_tol(largest, tol)
