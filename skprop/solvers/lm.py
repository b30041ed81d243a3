"""Levenberg–Marquardt for least squares, on JᵀJ, with the damping of Marquardt and Nielsen."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from .damping import Damping, linear_model
from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, INTERRUPTED, limit_reached, within_tol

__all__ = ["minimize_lm"]


def minimize_lm(
    objective,
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
    """Minimise a sum of squares L = ½ ‖r‖² by the method of Levenberg and Marquardt.

    With g = Jᵀ r and the damping μ, each iteration tries the step h, and compares its decrease of
    the loss with that of the linear model of r::

        (JᵀJ + μ I) h = −g
        ρ = (L(θ) − L(θ + h)) / (½ hᵀ (μ h − g))

    and then, starting from μ = 10⁻² max_i (JᵀJ)_ii and ν = 2::

        L(θ + h) < L(θ):  θ ← θ + h,  μ ← μ max(⅓, 1 − (2 ρ − 1)³),  ν ← 2
        else:             μ ← μ ν,  ν ← 2 ν

    It takes few iterations, each of O(N P min(N, P)) operations with N = n d_K, and two matrices
    of P × min(N, P) numbers: it is for networks of up to some thousand parameters whose minima
    first-order methods reach slowly.

    Parameters
    ----------
    objective : MLPObjective
        Or anything with ``loss(theta)`` and ``normal_equations(theta)`` -> (L, Jᵀ r, JᵀJ), or a
        ``linear_model(theta)`` like that of `MLPObjective`.
    theta0 : array-like of shape (P,)
        Where to start; it is not changed, and it is the result where it meets ``tol``.
    tol, min_decay, n_iter_no_change, max_iter, max_fun, loss_curve, validation_loss, callback
        As in `minimize_lbfgs`. An iteration is a step taken; an evaluation (``max_fun``) is that
        of the loss at a step tried.

    Returns
    -------
    OptimizeResult
        As of `minimize_lbfgs`, with ``njev``, the evaluations of JᵀJ. The status is 2 where a loss
        became infinite or NaN.

    Raises
    ------
    ValueError
        If JᵀJ does not fit the memory of this machine; it names P and what is needed.

    References
    ----------
    D. W. Marquardt, "An algorithm for least-squares estimation of nonlinear parameters",
    J. SIAM 11 (1963), 431-441; with the damping of H. B. Nielsen, "Damping parameter in
    Marquardt's method", report IMM-REP-1999-05, Technical University of Denmark, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from skprop import MLPObjective, minimize_lm
    >>> x = np.linspace(-1, 1, 50)
    >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5, alpha=1e-4)
    >>> result = minimize_lm(objective, objective.initial_theta(0), tol=1e-8)
    >>> result.success, bool(np.abs(objective.gradient(result.x)).max() <= 1e-8)
    (True, True)
    """
    theta = floating(theta0)
    check_limits(tol, min_decay, max_iter, max_fun)
    progress = Progress(
        n_iter_no_change, tol=-np.inf if validation_loss is None else tol, min_decay=min_decay,
        earlier_losses=loss_curve, validation_loss=validation_loss, callback=callback,
    )  # fmt: skip
    nfev, njev, status, message = 0, 0, None, None
    with progress.running():
        loss, nfev = objective.loss(theta), 1
        progress.begin(theta, loss)
        progress.has_ended()  # by the losses of an earlier run
        damping = JtJ = None
        while progress.status is None:
            if JtJ is None:
                _, g, JtJ = linear_model(objective, theta)
                njev += 1
                damping = damping or Damping(JtJ)
            nit = len(progress.loss_curve)
            status, message = _reason(loss, g, JtJ, nit, nfev, tol, max_iter, max_fun)
            if status is not None:
                break
            (h, promised), trial_loss = damping.step(JtJ, g), math.inf
            if h is not None:
                trial = theta + h.astype(theta.dtype)
                trial_loss = objective.loss(trial) if np.isfinite(trial).all() else math.inf
                nfev += 1
            promised *= 0.5  # of ½ ‖r‖²
            if trial_loss < loss:
                damping.accept((loss - trial_loss) / promised)
                theta, loss, JtJ = trial, trial_loss, None
                progress.record(theta, loss)
            elif promised <= np.finfo(theta.dtype).eps * loss:
                status, message = CONVERGED, "The loss no longer changes in this precision."
                break
            else:
                damping.reject()
    status, message = progress.conclude(status, message)
    if validation_loss is not None or status in (FAILED, INTERRUPTED):
        theta, loss = progress.best()
    return progress.result(status, message, theta, loss, nfev=nfev, njev=njev)


def _reason(loss, g, JtJ, nit, nfev, tol, max_iter, max_fun):
    """The status and the message if the run ends here, else None and None."""
    largest, diagonal = np.abs(g).max(initial=0.0), JtJ.diagonal().max(initial=0.0)
    if nit >= max_iter:
        return limit_reached(max_iter=max_iter)
    if not math.isfinite(loss + largest + diagonal):
        return FAILED, INFINITE
    if largest <= tol:
        return within_tol(largest, tol)
    if nfev >= max_fun:
        return limit_reached(max_fun=max_fun)
    return None, None
