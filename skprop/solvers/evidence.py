"""MacKay's evidence framework: Levenberg–Marquardt with the penalty and the noise from the data."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from ..factors import OutputModels, Root
from ..laplace import (
    Evidence,
    alphas,
    common_noise,
    evidence,
    freedom,
    least_alpha,
    noise_variance,
    spread,
)
from .damping import Damping, linear_model
from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, limit_reached, within_tol

__all__ = ["minimize_evidence"]

# A noise below this share of the variance of the targets is rounding.
_LEAST_NOISE = 1e-14
_WINDOW = 8  # iterations
# The least rise of the log-likelihood for each effective parameter, 1.2 (N/(N − γ))^1.5: with many
# rows about the 1 of Akaike's criterion, with few between the slopes of generalised
# cross-validation (exponent 1) and of the corrected Akaike criterion (2).
_PRICE, _EXPONENT = 1.2, 1.5
_PATIENCE = 10  # iterations without a greater log evidence
# In units of the largest entry of M's diagonal. γ_i, at least about its inverse, is then free of
# rounding, and the weights of an input that is lost are too small to matter.
_LARGEST_ALPHA = 1e10


def minimize_evidence(
    objective,
    theta0: ArrayLike,
    *,
    groups: Sequence[NDArray] | None = None,
    alpha0: ArrayLike | None = None,
    noise0: float | None = None,
    to_peak: bool = False,
    tied: bool = False,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: float = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise the penalised loss, with the penalty and the noise that the data make probable.

    With W = Σ w, N observations of weight 1, r_k² = Σ_s w_s (f(x_s) − y_s)_k² for each output k and
    ‖θ_i‖² the sum of the squares of the weights of group i, every iteration takes a damped
    Gauss–Newton step on::

        L(θ) = 1/(2W) [ Σ_k u_k r_k²(θ) + Σ_i α_i ‖θ_i‖² ],    u_k = σ²/σ_k²

    and then sets, with γ_i and γ_k the parts of γ that the weights of group i have, and that
    output k determines (see `skprop.laplace`)::

        σ_k² ← r_k²/(N_k − γ_k),    α_i ← σ² γ_i/‖θ_i‖²

    σ² is the harmonic mean of the σ_k², so the u_k have mean 1. By default all weights are one
    group, and it starts with σ_k² the variance of the targets, so with a strong penalty, which
    decreases as the fit improves.

    Parameters
    ----------
    objective : MLPObjective with ``alpha=0``
        Or anything with its ``loss_of_mean(by_output=True)``, ``total_weight``, ``output_weights``,
        ``layout`` and, for one output, ``loss(theta)`` and ``normal_equations(theta)``, for several
        ``output_losses(theta)`` and ``output_models(theta)``.
    theta0 : array-like of shape (P,)
        Where to start; it is not changed.
    groups : sequence of integer arrays, optional
        The indices in θ of the weights of each α_i; parameters of no group have a flat prior.
    alpha0, noise0 : array-like of shape (n_groups,) and (d_K,), optional
        α_i and σ_k² to start with, as another run has found them at ``theta0``. From a cold start
        a run with many groups may get stuck where some are lost before the network has learnt
        their use; `minimize_relevance` starts from what earlier runs have found.
    to_peak : bool, default=False
        Whether the run ends where the log evidence has not risen for 10 iterations, and returns
        the iterate at which it was greatest.
    tied : bool, default=False
        Whether the slopes of an output, whose weight is then λ times that of its values, have the
        σ_k² of the values.
    tol : float, default=1e-4
        The run ends where no entry of the gradient of L exceeds ``tol`` and neither an α_i nor σ²
        changes by more than ten times this share of itself.
    min_decay : float, default=0.0
        As in `minimize_lbfgs`. Above 0 the run also ends where the log evidence is below one that
        was passed and the log-likelihood −½ N ln σ² has risen, over the last 8 iterations, by less
        than 1.2 (N/(N − γ))^1.5 for every effective parameter by which γ has grown. At 0 the run
        goes on to the fixed point. That is not the greatest evidence, as smaller penalties let ∇f
        grow: on noisy data, and where γ can come close to N, it fits noise.
    n_iter_no_change, max_iter, max_fun
        As in `minimize_lbfgs`; an evaluation (``max_fun``) is that of the loss at a step tried.
    callback : callable, optional
        As in `minimize_lbfgs`; it is also told ``noise_variance`` (σ² of one output, or an array of
        the σ_k²), ``n_effective`` and ``log_evidence``.

    Returns
    -------
    OptimizeResult
        As of `minimize_lbfgs`, ``fun`` with the penalty at the end; ``njev``, the evaluations of
        the normal equations; ``alpha``, a float or, with ``groups``, an array of shape
        (n_groups,); and ``evidence``, the `skprop.laplace.Evidence`
        there: its ``noise`` are the σ_k², its ``n_effective`` γ, and σ² H⁻¹ the covariance of the
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
    check_limits(tol, min_decay, max_iter, max_fun)
    theta, data = floating(theta0), _Data(objective, groups, tied)
    progress, history = Progress(n_iter_no_change, min_decay=min_decay, callback=callback), []
    with progress.running():
        noise = data.variance if noise0 is None else np.array(noise0, np.float64, ndmin=1)
        at, found = data.expand(theta, noise), None
        prior, total = _Prior(np.full(len(data.groups), np.nan), noise), at.squares
        status, message = (None, None) if at.is_finite() else (FAILED, INFINITE)
        if status is None:
            prior = data.first_prior(at, alpha0, noise)
            total += float((data.precision(prior) * theta) @ theta)
            found = data.posterior(at, prior)
        progress.begin(theta, total / (2 * data.W), (theta, total, prior, found))
        damping, peak = Damping(at.M), _Peak(progress.checkpoint)
        while status is None and progress.status is None:
            next_prior = data.update(at, found)
            at, p = at.under(next_prior.noise), data.precision(next_prior)
            slope = at.g + p * at.theta  # half the gradient of r² + α ‖A‖²
            largest = np.abs(slope).max(initial=0.0) / data.W
            history.append((next_prior.noise, found.n_effective, found.log_evidence))
            nit, change = len(progress.loss_curve), _change(prior, next_prior)
            status, message = _reason(largest, change, nit, data.nfev, tol, max_iter, max_fun)
            if min_decay > 0 and status is None:
                status, message = _noise_begins(data, history)
            if status is not None:
                break
            prior = next_prior
            at, total = _step(data, at, prior.noise, p, slope, damping, max_fun)
            if not at.is_finite():
                status, message = FAILED, INFINITE
                break
            found = data.posterior(at, prior)
            progress.record(
                at.theta, total / (2 * data.W), (at.theta, total, prior, found),
                noise_variance=prior.noise_variance, n_effective=found.n_effective,
                log_evidence=found.log_evidence,
            )  # fmt: skip
            status, message = peak.after(progress.checkpoint) if to_peak else (None, None)
    status, message = progress.conclude(status, message)
    theta, total, prior, found = peak.iterate if to_peak else progress.checkpoint
    return progress.result(
        status, message, theta, total / (2 * data.W), nfev=data.nfev, njev=data.njev,
        alpha=float(prior.alpha[0]) if groups is None else prior.alpha, evidence=found,
    )  # fmt: skip


class _Prior(NamedTuple):
    """The hyper-parameters: α_i of each group, and σ_k² of each output."""

    alpha: NDArray
    noise: NDArray

    @property
    def noise_variance(self) -> float | NDArray:
        """The σ_k², of a single output as a float."""
        return float(self.noise[0]) if len(self.noise) == 1 else self.noise


class _Peak:
    """The iterate of greatest log evidence, and how many iterations ago it was."""

    def __init__(self, start: tuple):
        self.iterate, self._age = start, 0

    def after(self, iterate: tuple) -> tuple[int, str] | tuple[None, None]:
        """The status and the message if the run ends with this iterate, else None and None."""
        log_evidence = iterate[-1].log_evidence
        if log_evidence > self.iterate[-1].log_evidence:
            self.iterate, self._age = iterate, 0
        else:
            self._age += 1
        if self._age < _PATIENCE:
            return None, None
        return CONVERGED, f"The log evidence has not risen for {_PATIENCE} iterations."


class _Expansion(NamedTuple):
    """Σ_k u_k r_k² to second order around θ."""

    theta: NDArray
    squares: float  # Σ u r²
    g: NDArray  # half its gradient
    M: NDArray | Root  # Σ u w ∇f ∇fᵀ
    models: OutputModels | None = None  # of several outputs, half the r_k²

    @classmethod
    def of(cls, theta: NDArray, models: OutputModels, noise: NDArray) -> Self:
        """The sum with the u_k of these noises."""
        loss, g, M = models.sum(common_noise(noise)[1])
        return cls(theta, 2 * loss, g, M, models)

    def under(self, noise: NDArray) -> Self:
        """The same at other noises."""
        return self if self.models is None else self.of(self.theta, self.models, noise)

    def squares_and_gammas(self, found: Evidence) -> tuple[NDArray, NDArray]:
        """r_k² and γ_k of each output, at a posterior here."""
        if self.models is None:
            return np.array([self.squares]), np.array([found.n_effective])
        gammas = self.models.traces(found.H, common_noise(found.noise)[1])
        return 2 * self.models.losses, gammas

    def is_finite(self) -> bool:
        return math.isfinite(self.squares + np.abs(self.g).max(initial=0.0) + self.M.trace())


class _Data:
    """Σ u_k r_k² of the data as a function of θ, and the most probable α_i and σ_k²."""

    def __init__(self, objective, groups: Sequence[NDArray] | None, tied: bool):
        self.tied = tied
        self._objective = objective
        self.W, self.N = objective.total_weight, objective.output_weights
        share = self.W / np.where(self.N > 0, self.N, 1.0)
        self.variance = 2 * objective.loss_of_mean(by_output=True) * share  # of targets
        if tied:
            self.variance = self.noise(self.variance * self.N, np.zeros(len(self.N)))
        weights = [np.concatenate(objective.layout.weight_indices())]
        self.groups = weights if groups is None else list(groups)
        self.nfev = self.njev = 0  # evaluations of r², and of its expansion

    def squares(self, theta: NDArray, noise: NDArray) -> float:
        self.nfev += 1
        if len(noise) == 1:
            return 2 * self.W * self._objective.loss(theta)
        losses = self._objective.output_losses(theta)
        return 2 * float(common_noise(noise)[1] @ losses) * self.W

    def expand(self, theta: NDArray, noise: NDArray) -> _Expansion:
        self.nfev, self.njev = self.nfev or 1, self.njev + 1  # the first is an evaluation of r² too
        if len(noise) > 1:
            models = self._objective.output_models(theta).scaled(self.W)
            return _Expansion.of(theta, models, noise)
        loss, g, M = linear_model(self._objective, theta)
        M *= self.W
        return _Expansion(theta, 2 * self.W * loss, self.W * g, M)

    def precision(self, prior: _Prior) -> NDArray:
        """The diagonal of the penalty: α_i at the weights of group i, 0 at the biases."""
        return spread(self.groups, prior.alpha, self._objective.layout.n_params)

    def posterior(self, at: _Expansion, prior: _Prior) -> Evidence:
        return evidence(at.M, at.theta, at.squares, self.N, self.groups, *prior)

    def first_prior(self, at: _Expansion, alpha: ArrayLike | None, noise: NDArray) -> _Prior:
        """The given α_i; by default as if all weights were determined by the data."""
        if alpha is not None:
            return self._within_range(at, np.asarray(alpha, np.float64), noise)
        return self.prior(at, np.array([len(index) for index in self.groups]), noise)

    def prior(self, at: _Expansion, gamma: NDArray, noise: NDArray) -> _Prior:
        """The most probable α_i at given γ_i and σ_k²; infinite where rounding leaves no γ_i."""
        alpha = alphas(at.theta, self.groups, gamma, common_noise(noise)[0])
        alpha = np.where(gamma > 0, alpha, np.inf)
        return self._within_range(at, alpha, noise)

    def _within_range(self, at: _Expansion, alpha: NDArray, noise: NDArray) -> _Prior:
        """α_i where H is not singular and α_i is finite."""
        least = least_alpha(at.M, at.theta.dtype)
        most = max(_LARGEST_ALPHA * at.M.diagonal().max(initial=0.0), 1e5 * least)
        alpha = np.where(alpha < most, alpha, most)  # ``most`` for NaN too
        return _Prior(np.maximum(alpha, least), noise)

    def update(self, at: _Expansion, found: Evidence) -> _Prior:
        """The most probable α_i and σ_k² at the γ_i and γ_k of a posterior."""
        squares, gammas = at.squares_and_gammas(found)
        noise = self.noise(squares, gammas)
        return self.prior(at, found.gamma, np.maximum(noise, _LEAST_NOISE * self.variance))

    def noise(self, squares: NDArray, gammas: NDArray) -> NDArray:
        """The most probable σ_k² at given γ_k, shared by values and slopes if they are ``tied``."""
        if not self.tied:
            return noise_variance(squares, self.N, gammas)
        each = (np.reshape(a, (2, -1)).sum(axis=0) for a in (squares, self.N, gammas))
        return np.tile(noise_variance(*each), 2)

    def log_likelihood(self, noise: NDArray) -> float:
        """ln p of the residuals when their variances are ``noise``, up to a constant."""
        return -0.5 * float(self.N @ np.log(np.where(noise > 0, noise, 1.0)))


def _step(
    data: _Data, at: _Expansion, noise: NDArray, p: NDArray, slope: NDArray, damping: Damping,
    max_fun: int,
) -> tuple[_Expansion, float]:  # fmt: skip
    """Take a step that lowers Σ u r² + Σ p θ²; the expansion at its end, and that sum there.

    At the minimum, and after ``max_fun`` evaluations, nothing changes.
    """
    theta, total = at.theta, at.squares + float(p @ at.theta**2)
    rounding = np.finfo(theta.dtype).eps * total
    while data.nfev < max_fun:
        (h, promised), trial_total = damping.step(at.M, slope, p), math.inf
        if h is not None:
            trial = theta + h.astype(theta.dtype)
            if np.isfinite(trial).all():
                trial_total = data.squares(trial, noise) + float(p @ trial**2)
        if trial_total < total or promised <= rounding >= trial_total - total:
            damping.accept((total - trial_total) / promised if promised > rounding else 1.0)
            return data.expand(trial, noise), trial_total
        if promised <= rounding:
            break
        damping.reject()
    return at, total


def _change(prior: _Prior, next_prior: _Prior) -> float:
    """The largest relative change of an α_i and a σ_k²; 0 where all next σ_k² are 0, exact fits."""
    if not next_prior.noise.any():
        return 0.0
    moved = next_prior.noise != prior.noise
    if not prior.noise[moved].all():
        return math.inf
    ratios = next_prior.alpha / prior.alpha, next_prior.noise[moved] / prior.noise[moved]
    return max(float(np.abs(ratio - 1).max(initial=0.0)) for ratio in ratios)


def _reason(largest, change, nit, nfev, tol, max_iter, max_fun):
    """The status and the message if the run ends here, else None and None."""
    if largest <= tol and change <= 10 * tol:
        return within_tol(largest, tol, ", and the penalties and the noise have settled")
    if nit >= max_iter:
        return limit_reached(max_iter=max_iter)
    if nfev >= max_fun:
        return limit_reached(max_fun=max_fun)
    return None, None


def _noise_begins(data: _Data, history: list[tuple[NDArray, float, float]]):
    """The status and the message if the log evidence is below one that was passed and the
    log-likelihood rose by less than the price for each more effective parameter, else None, None.

    ``history`` has the most probable σ_k², γ and the log evidence of each iteration.
    """
    noise, gamma, log_evidence = history[-1]
    if len(history) <= _WINDOW or log_evidence >= max(passed for _, _, passed in history):
        return None, None
    noise_before, gamma_before, _ = history[-1 - _WINDOW]
    gain = data.log_likelihood(noise) - data.log_likelihood(noise_before)
    paid = gamma - gamma_before
    N = float(data.N.sum())
    price = _PRICE * (N / float(freedom(N, gamma))) ** _EXPONENT
    if paid <= 0 or gain >= price * paid:
        return None, None
    return CONVERGED, (
        f"Stopped early: over {_WINDOW} iterations the log-likelihood rose by {gain:.1f} for "
        f"{paid:.1f} more effective parameters, less than {price:.1f} for each, while the log "
        "evidence fell; going on would probably fit noise. Set tol=1e-5 to continue."
    )
