"""Levenberg–Marquardt for least squares, on JᵀJ, with the damping of Marquardt and Nielsen."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import OptimizeResult

from ..threads import single_threaded_blas
from .progress import (
    CONVERGED,
    FAILED,
    INFINITE,
    INTERRUPTED,
    LIMIT,
    Callback,
    Progress,
    check_limits,
    floating,
)

INITIAL_DAMPING = 1e-2  # Nielsen's τ


def minimize_lm(
    objective,
    theta0: ArrayLike,
    *,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: int = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    loss_curve: Sequence[float] = (),
    validation_loss: Callable[[NDArray], float] | None = None,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise a sum of squares L = ½ ‖r‖² by the method of Levenberg and Marquardt.

    With g = Jᵀ r and the damping μ, each iteration tries the step h, and compares what it gained
    with what the linear model of r promised::

        (JᵀJ + μ I) h = −g
        ρ = (L(θ) − L(θ + h)) / (½ hᵀ (μ h − g))

    and then, starting from μ = 10⁻² max_i (JᵀJ)_ii and ν = 2::

        L(θ + h) < L(θ):  θ ← θ + h,  μ ← μ max(⅓, 1 − (2 ρ − 1)³),  ν ← 2
        else:             μ ← μ ν,  ν ← 2 ν

    It takes few iterations, each of O(n P²) operations: for networks of up to some thousand
    parameters, and where a minimum is wanted that first-order methods are slow to reach. It needs
    two matrices of P × P numbers.

    Parameters
    ----------
    objective : MLPObjective
        Or anything with ``loss(theta)`` and ``normal_equations(theta)`` -> (L, Jᵀ r, JᵀJ).
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
        n_iter_no_change,
        tol=-np.inf if validation_loss is None else tol,
        min_decay=min_decay,
        earlier_losses=loss_curve,
        validation_loss=validation_loss,
        callback=callback,
    )
    nfev, njev, status, message = 0, 0, None, None
    try:
        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas():
            loss, nfev = objective.loss(theta), 1
            progress.begin(theta, loss)
            progress.has_ended()  # by what came before
            damping, growth, JtJ = None, 2.0, None
            while progress.status is None:
                if JtJ is None:
                    _, g, JtJ = objective.normal_equations(theta)
                    njev += 1
                    largest, diagonal = np.abs(g).max(initial=0.0), JtJ.diagonal().max(initial=0.0)
                    damping = INITIAL_DAMPING * diagonal if damping is None else damping
                status, message = _reason_to_stop(
                    loss, largest, diagonal, len(progress.loss_curve), nfev, tol, max_iter, max_fun
                )
                if status is not None:
                    break
                # A smaller damping would change nothing.
                damping = max(damping, np.finfo(np.float64).eps * diagonal)
                h = _damped_step(JtJ, g, damping)
                if h is not None:
                    trial = theta + h.astype(theta.dtype)
                    trial_loss = objective.loss(trial) if np.isfinite(trial).all() else math.inf
                    nfev += 1
                    promised = 0.5 * float(h @ (damping * h - g))
                    if trial_loss < loss:
                        gain = min((loss - trial_loss) / promised, 1.0)
                        # μ ← μ max(⅓, 1 − (2 ρ − 1)³)
                        damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
                        theta, loss, growth, JtJ = trial, trial_loss, 2.0, None
                        progress.record(theta, loss)
                        continue
                    if promised <= np.finfo(theta.dtype).eps * loss:
                        status, message = CONVERGED, "The loss no longer changes in this precision."
                        break
                damping *= growth
                growth *= 2  # μ ← μ ν, ν ← 2 ν
    except KeyboardInterrupt:
        if not progress.interrupted():
            raise
    status, message = progress.conclude(status, message)
    if validation_loss is not None or status in (FAILED, INTERRUPTED):
        theta, loss = progress.best()
    return OptimizeResult(
        x=theta.copy(),
        fun=loss,
        nit=len(progress.loss_curve),
        nfev=nfev,
        njev=njev,
        success=status == CONVERGED,
        status=status,
        message=message,
        **progress.curves(),
    )


def _reason_to_stop(loss, largest, diagonal, nit, nfev, tol, max_iter, max_fun):
    """Status and message, or None and None."""
    if nit >= max_iter:
        return LIMIT, f"The limit max_iter={max_iter} was reached."
    if not math.isfinite(loss + largest + diagonal):
        return FAILED, INFINITE
    if largest <= tol:
        within = f"is within tol={tol:g}."
        return CONVERGED, f"The largest entry of the gradient, {largest:.1e}, {within}"
    if nfev >= max_fun:
        return LIMIT, f"The limit max_fun={max_fun} was reached."
    return None, None


def _damped_step(JtJ: NDArray, g: NDArray, damping: float) -> NDArray | None:
    """h of (JᵀJ + μ I) h = −g, or None where rounding leaves the matrix indefinite."""
    damped = JtJ.copy()
    damped[np.diag_indices_from(damped)] += damping
    try:  # its transpose is the same matrix in the order of LAPACK
        factor = cho_factor(damped.T, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    return -cho_solve(factor, g, check_finite=False)
