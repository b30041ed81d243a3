"""L-BFGS, SciPy's implementation, in the dtype of the objective and with a record of the run."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, minimize

from .progress import Callback, Progress

CONVERGED, LIMIT, CALLBACK = 0, 1, 99  # SciPy's codes; 2 is a failed line search


def minimize_lbfgs(
    objective: Callable[[NDArray], tuple[float, NDArray]],
    theta0: ArrayLike,
    *,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: int = 20,
    max_iter: int = 1000,
    max_fun: int = 15000,
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
        the least improvement of that loss.
    min_decay : float, default=0.0
        Stop when, over the last ``n_iter_no_change`` iterations, ln(loss) fell by less than
        this an iteration. 0 never stops a run.
    n_iter_no_change : int, default=20
        The length of that window; with a ``validation_loss``, the number of iterations in a
        row without improvement that end the run.
    max_iter, max_fun : int, default=1000 and 15000
        The most iterations and evaluations.
    validation_loss : callable θ -> float, optional
        Evaluated at every iteration; the θ at which it was least is the result.
    callback : callable, optional
        Called after every iteration with an `OptimizeResult` of ``x`` (a copy), ``fun`` and
        ``nit``; ends the run by raising StopIteration.

    Returns
    -------
    OptimizeResult
        ``x``, ``fun``, ``nit``, ``nfev``, ``success``, ``status`` (0: converged, 1: a limit was
        reached, 2: the line search failed, 99: the callback stopped the run), ``message``,
        ``loss_curve`` (one entry an iteration) and, if asked for, ``validation_loss_curve``.

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
    theta0 = np.asarray(theta0)
    dtype = theta0.dtype if theta0.dtype == np.float32 else np.dtype(np.float64)
    progress = Progress(tol, n_iter_no_change, validation_loss, callback)
    reason, stopped_by_callback = "", False

    def value_and_gradient(theta: NDArray):
        loss, gradient = objective(theta.astype(dtype))  # a copy: SciPy goes on writing into θ
        return loss, gradient.astype(np.float64, copy=False)

    def each_iteration(intermediate_result: OptimizeResult):
        nonlocal reason, stopped_by_callback
        try:
            progress.record(intermediate_result.x.astype(dtype), intermediate_result.fun)
        except StopIteration:
            reason, stopped_by_callback = "The callback stopped the run.", True
            raise
        if validation_loss is not None and progress.stalled:
            reason = progress.stall_message
        elif progress.decay() < min_decay:
            reason = (
                f"Over the last {n_iter_no_change} iterations the loss fell by less than "
                f"{min_decay:.2g} of itself an iteration."
            )
        if reason:
            raise StopIteration

    found = minimize(
        value_and_gradient,
        theta0.astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=each_iteration,
        options={"gtol": tol, "ftol": 0.0, "maxiter": max_iter, "maxfun": max_fun, "maxls": 50},
    )
    result = OptimizeResult(
        x=found.x.astype(dtype),
        fun=float(found.fun),
        nit=found.nit,
        nfev=found.nfev,
        status=found.status,
        **progress.curves(),
    )
    if validation_loss is not None and progress.best_theta is not None:
        result.x = progress.best_theta
        result.fun = progress.loss_curve[progress.best_iteration]
    if reason:
        result.status = CALLBACK if stopped_by_callback else CONVERGED
        result.message = reason
    elif found.status == CONVERGED:
        largest = float(np.abs(found.jac).max())
        result.message = (
            f"The largest entry of the gradient, {largest:.2g}, is at most tol={tol:g}."
            if largest <= tol
            else "The loss no longer changes in this precision."
        )
    elif found.status == LIMIT:
        limit = f"max_iter={max_iter}" if found.nit >= max_iter else f"max_fun={max_fun}"
        result.message = f"The limit {limit} was reached."
    else:
        result.message = "The line search found no lower loss: rounding errors outweigh the slope."
    result.success = result.status == CONVERGED
    return result
