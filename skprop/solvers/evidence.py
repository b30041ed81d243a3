"""MacKay's evidence framework: Levenberg–Marquardt with penalties and noise from the data."""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, lapack
from scipy.optimize import OptimizeResult

from ..laplace import Evidence, alphas, evidence, factorised, least_alpha, noise_variance, spread
from .damping import INITIAL_DAMPING
from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, LIMIT

# A noise below this share of the variance of the targets is rounding.
LEAST_NOISE = 1e-14
WINDOW = 10  # iterations
# What the log-likelihood must gain for each effective parameter, and for each iteration; Akaike's
# criterion charges 1 a parameter, Schwarz's ½ ln N (3.4 for 1,000 observations).
PRICE, GAIN = 2.5, 1.5
LARGEST_ALPHA = 1e20  # in units of the least


def minimize_evidence(
    objective,
    theta0: ArrayLike,
    groups: Sequence[NDArray],
    *,
    weight: float,
    n_observations: float,
    noise: float = 1.0,
    known: ArrayLike = (),
    tol: float = 1e-4,
    stop_at_noise: bool = False,
    n_iter_no_change: int = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise the penalised loss, with the penalties and the noise that the data make probable.

    With W = Σ w, r² = Σ_s w_s ‖f(x_s) − y_s‖² and A_i the parameters of group i, every iteration
    takes a damped Gauss–Newton step on::

        L(θ) = 1/(2W) [ r²(θ) + Σ_i α_i ‖A_i‖² ]

    and then sets, with γ_i of the Gaussian approximation there (see `skprop.laplace`)::

        σ² ← r²/(N − γ),    α_i ← σ² γ_i/‖A_i‖²

    It starts with the noise as large as the targets' variance, so from strong penalties that it
    loosens as the fit improves.

    Parameters
    ----------
    objective : MLPObjective with ``alpha=0``
        Or anything with ``loss(theta)`` and ``normal_equations(theta)`` -> (L, gradient,
        Gauss–Newton matrix) of r²/(2W).
    theta0 : array-like of shape (P,)
        Where to start; it is not changed.
    groups : sequence of int ndarray
        Where in θ the parameters of each α_i are; those in no group have a flat prior.
    weight : float
        W.
    n_observations : float
        N: W times the number of outputs.
    noise : float, default=1.0
        σ² to start with, as a rule the variance of the targets.
    known : array-like of int, optional
        Parameters in no group to leave out of γ and of the posterior. On a linear model without
        its intercepts this gives the fixed point of `sklearn.linear_model.BayesianRidge`.
    tol : float, default=1e-4
        The run ends where no entry of the gradient of L exceeds ``tol`` and no α_i nor σ² changes
        by more than ten times this share of itself.
    stop_at_noise : bool, default=False
        Whether to end also where the log-likelihood −½ N ln σ² has risen, over the last 10
        iterations, by less than 2.5 for every effective parameter by which γ has grown, or by less
        than 1.5 an iteration over the last ``n_iter_no_change``.
        Otherwise the run goes on to the fixed point. That is not the greatest evidence, as
        smaller penalties let ∇f grow: on noisy data it fits noise.
    n_iter_no_change : int, default=25
    max_iter : int, default=1000
    max_fun : int, default=15000
        The most evaluations of the loss.
    callback : callable, optional
        As in `minimize_lbfgs`; it is also told ``noise_variance``, ``n_effective`` and
        ``log_evidence``.

    Returns
    -------
    OptimizeResult
        As of `minimize_lbfgs`, ``fun`` with the penalties at the end; ``alpha``, an array of shape
        (len(groups),); and ``evidence``, the `skprop.laplace.Evidence` there: its ``noise`` is σ²,
        its ``n_effective`` γ, and σ² H⁻¹ the covariance of the posterior, where its ``factor`` is
        the Cholesky factor L of H = L Lᵀ.

    Raises
    ------
    ValueError
        If P × P numbers do not fit the memory of this machine.

    References
    ----------
    D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
    Computation 4 (1992), 448-472. F. D. Foresee and M. T. Hagan, "Gauss-Newton approximation to
    Bayesian learning", ICNN 1997, 1930-1935.
    """
    theta, W, N = floating(theta0), weight, n_observations
    counted = np.setdiff1d(np.arange(len(theta)), np.asarray(known, dtype=np.intp))
    counted_groups = [np.searchsorted(counted, index) for index in groups]
    check_limits(tol, 0.0, max_iter, max_fun)
    least_noise = LEAST_NOISE * noise
    progress = Progress(n_iter_no_change, min_decay=stop_at_noise * 2 * GAIN / N, callback=callback)

    def bounded(alpha: NDArray) -> NDArray:
        """α_i that neither leave H singular nor are beyond all data."""
        least = least_alpha(G, theta.dtype)
        return np.clip(np.nan_to_num(alpha, nan=np.inf), least, LARGEST_ALPHA * least)

    def posterior() -> Evidence:
        if len(counted) == len(theta):
            return evidence(G, theta, squares, N, groups, alpha, noise)
        some = G[np.ix_(counted, counted)]
        return evidence(some, theta[counted], squares, N, counted_groups, alpha, noise)

    nfev = njev = 0
    status, message, history = None, None, deque(maxlen=WINDOW + 1)
    with progress.running():
        squares, g, G = _normal_equations(objective, theta, W)
        nfev = njev = 1
        total, alpha, now = squares, np.full(len(groups), math.nan), None
        if np.isfinite(squares + np.abs(g).max(initial=0.0) + G.trace()):
            sizes = np.array([len(index) for index in groups])
            alpha = bounded(alphas(theta, groups, sizes, noise))  # as if γ_i were n_i
            total, now = squares + float(_penalty(theta, groups, alpha) @ theta), posterior()
        else:
            status, message = FAILED, INFINITE
        progress.begin(theta, total / (2 * W), kept=(theta, total, alpha, now))
        damping, growth = INITIAL_DAMPING * G.diagonal().max(initial=0.0), 2.0
        while status is None and progress.status is None:
            next_noise = max(noise_variance(squares, N, now.n_effective), least_noise)
            next_alpha = bounded(alphas(theta, groups, now.gamma, next_noise))
            change = _change(alpha, next_alpha, noise, next_noise)
            slope = g + _penalty(theta, groups, next_alpha)
            largest = np.abs(slope).max(initial=0.0) / W
            status, message = _reason_to_stop(
                largest, change, len(progress.loss_curve), nfev, tol, max_iter, max_fun
            )
            history.append((-0.5 * N * math.log(next_noise or 1.0), now.n_effective))
            if stop_at_noise and status is None:
                status, message = _noise_begins(history)
            if status is not None:
                break
            noise, alpha = next_noise, next_alpha
            p = spread(groups, alpha, len(theta))
            total = squares + float(p @ theta**2)
            while nfev < max_fun:
                damping = max(damping, np.finfo(np.float64).eps * G.diagonal().max())
                h, trial_total = _damped_step(G, p, slope, damping), math.inf
                promised = math.inf if h is None else float(h @ (damping * h - slope))
                if h is not None:
                    trial = theta + h.astype(theta.dtype)
                    if np.isfinite(trial).all():
                        trial_total = 2 * W * objective.loss(trial) + float(p @ trial**2)
                        nfev += 1
                rounding = np.finfo(theta.dtype).eps * total
                if trial_total < total or promised <= rounding >= trial_total - total:
                    gain = (total - trial_total) / promised if promised > rounding else 1.0
                    # μ ← μ max(⅓, 1 − (2 ρ − 1)³)
                    damping *= max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3)
                    theta, total, growth = trial, trial_total, 2.0
                    squares, g, G = _normal_equations(objective, theta, W)
                    njev += 1
                    break
                if promised <= rounding:
                    break  # at the minimum, for these penalties
                damping *= growth
                growth *= 2  # μ ← μ ν, ν ← 2 ν
            now = posterior()
            progress.record(
                theta,
                total / (2 * W),
                kept=(theta, total, alpha, now),
                noise_variance=noise,
                n_effective=now.n_effective,
                log_evidence=now.log_evidence,
            )
    status, message = progress.conclude(status, message)
    theta, total, alpha, now = progress.kept
    counts = {"nfev": nfev, "njev": njev}
    return progress.result(
        status, message, theta, total / (2 * W), **counts, alpha=alpha, evidence=now
    )


def _change(alpha: NDArray, next_alpha: NDArray, noise: float, next_noise: float) -> float:
    """The largest relative change of a penalty or of the noise; 0 where all is exact."""
    if next_noise == 0:
        return 0.0
    return float(max(np.abs(next_alpha / alpha - 1).max(), abs(next_noise / noise - 1)))


def _normal_equations(objective, theta: NDArray, W: float) -> tuple[float, NDArray, NDArray]:
    """Σ w ‖r‖², half its gradient and Σ w ∇f ∇fᵀ."""
    loss, g, G = objective.normal_equations(theta)
    G *= W
    return 2 * W * loss, W * g, G


def _penalty(theta: NDArray, groups: list[NDArray], alpha: NDArray) -> NDArray:
    """Half the gradient of Σ α_i ‖A_i‖²."""
    return spread(groups, alpha, len(theta)) * theta


def _reason_to_stop(largest, change, nit, nfev, tol, max_iter, max_fun):
    """Status and message, or None and None."""
    if largest <= tol and change <= 10 * tol:
        return CONVERGED, (
            f"The largest entry of the gradient, {largest:.1e}, is within tol={tol:g}, and the "
            "penalties and the noise have settled."
        )
    if nit >= max_iter:
        return LIMIT, f"The limit max_iter={max_iter} was reached."
    if nfev >= max_fun:
        return LIMIT, f"The limit max_fun={max_fun} was reached."
    return None, None


def _noise_begins(history: deque):
    """Status and message, or None and None."""
    gain, paid = np.subtract(history[-1], history[0])
    if len(history) <= WINDOW or paid <= 0 or gain >= PRICE * paid:
        return None, None
    return CONVERGED, (
        f"Over the last {WINDOW} iterations the log-likelihood rose by {gain:.1f} for {paid:.1f} "
        "more effective parameters: the rest is likely to be noise."
    )


def _damped_step(G: NDArray, p: NDArray, slope: NDArray, damping: float) -> NDArray | None:
    """h of (G + diag(p) + μ I) h = −slope, or None where rounding leaves the matrix indefinite."""
    try:
        factor = factorised(G, p + damping)
    except LinAlgError:
        return None
    return -lapack.dpotrs(factor, slope, lower=1)[0]
