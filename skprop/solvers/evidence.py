"""MacKay's evidence framework: Levenberg–Marquardt with the penalty and the noise from the data."""

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from ..factors import Root
from ..laplace import Evidence, alphas, evidence, least_alpha, noise_variance, spread
from .damping import Damping, linear_model
from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, limit_reached, within_tol

__all__ = ["minimize_evidence"]

# A noise below this share of the variance of the targets is rounding.
_LEAST_NOISE = 1e-14
_WINDOW = 10  # iterations
# The least rise of the log-likelihood for each effective parameter; Akaike's criterion asks for 1,
# Schwarz's for ½ ln N (3.4 for 1,000 observations).
_PRICE = 2.5
_LARGEST_ALPHA = 1e20  # in units of the least


def minimize_evidence(
    objective,
    theta0: ArrayLike,
    *,
    groups: Sequence[NDArray] | None = None,
    alpha0: ArrayLike | None = None,
    noise0: float | None = None,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: int = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise the penalised loss, with the penalty and the noise that the data make probable.

    With W = Σ w, N = W d_K observations, r² = Σ_s w_s ‖f(x_s) − y_s‖² and ‖θ_i‖² the sum of the
    squares of the weights of group i, every iteration takes a damped Gauss–Newton step on::

        L(θ) = 1/(2W) [ r²(θ) + Σ_i α_i ‖θ_i‖² ]

    and then sets, with γ_i the part of γ that the weights of group i have (see `skprop.laplace`)::

        σ² ← r²/(N − γ),    α_i ← σ² γ_i/‖θ_i‖²

    By default all weights are one group, and it starts with σ² the variance of the targets, so with
    a strong penalty, which decreases as the fit improves.

    Parameters
    ----------
    objective : MLPObjective with ``alpha=0``
        Or anything with its ``loss(theta)``, ``normal_equations(theta)``, ``loss_of_mean()``,
        ``total_weight`` and ``layout``.
    theta0 : array-like of shape (P,)
        Where to start; it is not changed.
    groups : sequence of integer arrays, optional
        The indices in θ of the weights of each α_i; parameters of no group have a flat prior.
    alpha0, noise0 : array-like of shape (n_groups,) and float, optional
        α_i and σ² to start with, as another run has found them at ``theta0``. From a cold start
        many groups get stuck where some are lost before the network has learnt their use.
    tol : float, default=1e-4
        The run ends where no entry of the gradient of L exceeds ``tol`` and neither an α_i nor σ²
        changes by more than ten times this share of itself.
    min_decay : float, default=0.0
        As in `minimize_lbfgs`. Above 0 the run also ends where the log-likelihood −½ N ln σ² has
        risen, over the last 10 iterations, by less than 2.5 for every effective parameter by which
        γ has grown. At 0 the run goes on to the fixed point. That is not the greatest evidence,
        as smaller penalties let ∇f grow: on noisy data it fits noise.
    n_iter_no_change, max_iter, max_fun
        As in `minimize_lbfgs`; an evaluation (``max_fun``) is that of the loss at a step tried.
    callback : callable, optional
        As in `minimize_lbfgs`; it is also told ``noise_variance``, ``n_effective`` and
        ``log_evidence``.

    Returns
    -------
    OptimizeResult
        As of `minimize_lbfgs`, ``fun`` with the penalty at the end; ``njev``, the evaluations of
        the normal equations; ``alpha``, a float or, with ``groups``, an array of shape
        (n_groups,); and ``evidence``, the `skprop.laplace.Evidence`
        there: its ``noise`` is σ², its ``n_effective`` γ, and σ² H⁻¹ the covariance of the
        posterior, where its ``factor`` is the Cholesky factor L of H = L Lᵀ or, with
        2 N < P for N = n d_K, the array of a `skprop.factors.Woodbury`.

    Raises
    ------
    ValueError
        If P × min(N, P) numbers do not fit the memory of this machine.

    References
    ----------
    D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
    Computation 4 (1992), 448-472. F. D. Foresee and M. T. Hagan, "Gauss-Newton approximation to
    Bayesian learning", ICNN 1997, 1930-1935.
    """
    theta = floating(theta0)
    check_limits(tol, min_decay, max_iter, max_fun)
    data = _Data(objective, groups)
    progress = Progress(n_iter_no_change, min_decay=min_decay, callback=callback)
    status, message, history = None, None, deque(maxlen=_WINDOW + 1)
    with progress.running():
        at, found = data.expand(theta), None
        prior, total = _Prior(np.full(len(data.groups), np.nan), data.variance), at.squares
        if at.is_finite():
            prior = data.first_prior(at, alpha0, noise0)
            total += float((data.precision(prior) * theta) @ theta)
            found = data.posterior(at, prior)
        else:
            status, message = FAILED, INFINITE
        progress.begin(theta, total / (2 * data.W), (theta, total, prior, found))
        damping = Damping(at.M)
        while status is None and progress.status is None:
            next_prior = data.update(at, found)
            p = data.precision(next_prior)
            slope = at.g + p * at.theta  # half the gradient of r² + α ‖A‖²
            largest = np.abs(slope).max(initial=0.0) / data.W
            history.append((data.log_likelihood(next_prior.noise), found.n_effective))
            nit, change = len(progress.loss_curve), _change(prior, next_prior)
            status, message = _reason(largest, change, nit, data.nfev, tol, max_iter, max_fun)
            if min_decay > 0 and status is None:
                status, message = _noise_begins(history)
            if status is not None:
                break
            prior = next_prior
            at, total = _step(data, at, p, slope, damping, max_fun)
            if not at.is_finite():
                status, message = FAILED, INFINITE
                break
            found = data.posterior(at, prior)
            progress.record(
                at.theta, total / (2 * data.W), (at.theta, total, prior, found),
                noise_variance=prior.noise, n_effective=found.n_effective,
                log_evidence=found.log_evidence,
            )  # fmt: skip
    status, message = progress.conclude(status, message)
    theta, total, prior, found = progress.checkpoint
    return progress.result(
        status, message, theta, total / (2 * data.W),
        nfev=data.nfev, njev=data.njev, evidence=found,
        alpha=float(prior.alpha[0]) if groups is None else prior.alpha,
    )  # fmt: skip


class _Prior(NamedTuple):
    """The hyper-parameters: α_i of each group, and σ²."""

    alpha: NDArray
    noise: float


class _Expansion(NamedTuple):
    """r² to second order around θ."""

    theta: NDArray
    squares: float  # r²
    g: NDArray  # half the gradient of r²
    M: NDArray | Root  # Σ w ∇f ∇fᵀ

    def is_finite(self) -> bool:
        return math.isfinite(self.squares + np.abs(self.g).max(initial=0.0) + self.M.trace())


class _Data:
    """r² of the data of an objective as a function of θ, and the most probable α_i and σ²."""

    def __init__(self, objective, groups: Sequence[NDArray] | None):
        d_K = objective.layout.sizes[-1]
        self._objective = objective
        self.W, self.N = objective.total_weight, objective.total_weight * d_K
        self.variance = 2 * objective.loss_of_mean() / d_K  # of the targets
        weights = [np.concatenate(objective.layout.weight_indices())]
        self.groups = weights if groups is None else list(groups)
        self.nfev = self.njev = 0  # evaluations of r², and of its expansion

    def squares(self, theta: NDArray) -> float:
        squares = 2 * self.W * self._objective.loss(theta)
        self.nfev += 1
        return squares

    def expand(self, theta: NDArray) -> _Expansion:
        loss, g, M = linear_model(self._objective, theta)
        M *= self.W
        self.nfev, self.njev = self.nfev or 1, self.njev + 1  # the first is an evaluation of r² too
        return _Expansion(theta, 2 * self.W * loss, self.W * g, M)

    def precision(self, prior: _Prior) -> NDArray:
        """The diagonal of the penalty: α_i at the weights of group i, 0 at the biases."""
        return spread(self.groups, prior.alpha, self._objective.layout.n_params)

    def posterior(self, at: _Expansion, prior: _Prior) -> Evidence:
        return evidence(at.M, at.theta, at.squares, self.N, self.groups, *prior)

    def first_prior(self, at: _Expansion, alpha: ArrayLike | None, noise: float | None) -> _Prior:
        """The given α_i and σ²; by default as if all weights were determined by the data."""
        noise = self.variance if noise is None else noise
        if alpha is not None:
            return self._within_range(at, np.asarray(alpha, np.float64), noise)
        return self.prior(at, np.array([len(index) for index in self.groups]), noise)

    def prior(self, at: _Expansion, gamma: NDArray, noise: float) -> _Prior:
        """The most probable α_i at given γ_i and σ²."""
        return self._within_range(at, alphas(at.theta, self.groups, gamma, noise), noise)

    def _within_range(self, at: _Expansion, alpha: NDArray, noise: float) -> _Prior:
        """α_i where H is not singular and α_i is finite."""
        least = least_alpha(at.M, at.theta.dtype)
        most = min(_LARGEST_ALPHA * least, np.finfo(np.float64).max)
        alpha = np.where(alpha < most, alpha, most)  # ``most`` for NaN too
        return _Prior(np.maximum(alpha, least), noise)

    def update(self, at: _Expansion, found: Evidence) -> _Prior:
        """The most probable α_i and σ² at the γ_i of a posterior."""
        noise = noise_variance(at.squares, self.N, found.n_effective)
        return self.prior(at, found.gamma, max(noise, _LEAST_NOISE * self.variance))

    def log_likelihood(self, noise: float) -> float:
        """ln p of the residuals when their variance is ``noise``, up to a constant."""
        return -0.5 * self.N * math.log(noise or 1.0)


def _step(
    data: _Data, at: _Expansion, p: NDArray, slope: NDArray, damping: Damping, max_fun: int
) -> tuple[_Expansion, float]:
    """Take a step that lowers r² + Σ p θ²; the expansion of r² at its end, and that sum there.

    At the minimum, and after ``max_fun`` evaluations, nothing changes.
    """
    theta, total = at.theta, at.squares + float(p @ at.theta**2)
    rounding = np.finfo(theta.dtype).eps * total
    while data.nfev < max_fun:
        (h, promised), trial_total = damping.step(at.M, slope, p), math.inf
        if h is not None:
            trial = theta + h.astype(theta.dtype)
            if np.isfinite(trial).all():
                trial_total = data.squares(trial) + float(p @ trial**2)
        if trial_total < total or promised <= rounding >= trial_total - total:
            damping.accept((total - trial_total) / promised if promised > rounding else 1.0)
            return data.expand(trial), trial_total
        if promised <= rounding:
            break
        damping.reject()
    return at, total


def _change(prior: _Prior, next_prior: _Prior) -> float:
    """The largest relative change of an α_i and σ²; 0 for a next σ² of 0, an exact fit."""
    if next_prior.noise == 0 or prior.noise == 0:
        return 0.0 if next_prior.noise == 0 else math.inf
    ratios = next_prior.alpha / prior.alpha, next_prior.noise / prior.noise
    return max(float(np.abs(ratio - 1).max()) for ratio in ratios)


def _reason(largest, change, nit, nfev, tol, max_iter, max_fun):
    """The status and the message if the run ends here, else None and None."""
    if largest <= tol and change <= 10 * tol:
        return within_tol(largest, tol, ", and the penalties and the noise have settled")
    if nit >= max_iter:
        return limit_reached(max_iter=max_iter)
    if nfev >= max_fun:
        return limit_reached(max_fun=max_fun)
    return None, None


def _noise_begins(history: deque):
    """The status and the message if the log-likelihood rose by less than ``_PRICE`` for each more
    effective parameter, else None and None."""
    gain, paid = np.subtract(history[-1], history[0])
    if len(history) <= _WINDOW or paid <= 0 or gain >= _PRICE * paid:
        return None, None
    return CONVERGED, (
        f"Over the last {_WINDOW} iterations the log-likelihood rose by {gain:.1f} for {paid:.1f} "
        "more effective parameters: the rest is likely to be noise."
    )
