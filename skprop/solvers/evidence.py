"""MacKay's evidence framework: Levenberg–Marquardt with the penalty and the noise from the data."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from ..laplace import Evidence, freedom
from .damping import Damping
from .hyperparameters import Expansion, Prior, Squares
from .progress import Callback, Progress, check_limits, floating
from .reasons import CONVERGED, FAILED, INFINITE, limit_reached, within_tol

__all__ = ["minimize_evidence"]

_WINDOW = 8  # iterations
# The least rise of the log-likelihood for each effective parameter, 1.2 (N/(N − γ))^1.5: with many
# rows about the 1 of Akaike's criterion, with few between the slopes of generalised
# cross-validation (exponent 1) and of the corrected Akaike criterion (2).
_PRICE, _EXPONENT = 1.2, 1.5
_PATIENCE = 10  # iterations without a greater log evidence


def minimize_evidence(
    objective,
    theta0: ArrayLike,
    *,
    groups: Sequence[NDArray] | None = None,
    alpha0: ArrayLike | None = None,
    noise0: float | None = None,
    to_peak: bool = False,
    hindsight: bool = False,
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
    hindsight : bool, default=False
        Whether the run returns, where ``min_decay`` ends it, the iterate for which the
        log-likelihood less the price of γ (see there) was greatest. In the window of 8 iterations
        a network may take to noise what a line does not explain.
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
    theta, data = floating(theta0), Squares(objective, groups, tied)
    progress = Progress(n_iter_no_change, min_decay=min_decay, callback=callback)
    passed = _Path(data)
    with progress.running():
        noise = data.variance if noise0 is None else np.array(noise0, np.float64, ndmin=1)
        at = data.expand(theta, noise)
        start = theta, at.squares, Prior(np.full(len(data.groups), np.nan), noise), None
        status, message = (None, None) if at.is_finite() else (FAILED, INFINITE)
        if status is None:
            start = _checkpoint(data, at, data.first_prior(at, alpha0, noise))
        _, total, prior, found = start
        progress.begin(theta, total / (2 * data.W), start)
        damping, peak = Damping(at.M), _Peak(progress.checkpoint)
        while status is None and progress.status is None:
            next_prior = data.update(at, found)
            at, p = at.under(next_prior.noise), data.precision(next_prior)
            slope = at.g + p * at.theta  # half the gradient of r² + α ‖A‖²
            largest = np.abs(slope).max(initial=0.0) / data.W
            passed.add(at.theta, Prior(prior.alpha, next_prior.noise), found)
            nit, change = len(progress.loss_curve), _change(prior, next_prior)
            status, message = _reason(largest, change, nit, data.nfev, tol, max_iter, max_fun)
            if min_decay > 0 and status is None:
                status, message = passed.noise_begins()
                if status is not None and hindsight:
                    progress.commit(passed.best())
            if status is not None:
                break
            prior = next_prior
            at, total = _step(data, at, prior.noise, p, slope, damping, max_fun)
            if not at.is_finite():
                status, message = FAILED, INFINITE
                break
            found = data.posterior(at, prior)
            checkpoint = at.theta, total, prior, found
            progress.record(at.theta, total / (2 * data.W), checkpoint, **_told(prior, found))
            status, message = peak.after(progress.checkpoint) if to_peak else (None, None)
    status, message = progress.conclude(status, message)
    theta, total, prior, found = peak.iterate if to_peak else progress.checkpoint
    return progress.result(
        status, message, theta, total / (2 * data.W), nfev=data.nfev, njev=data.njev,
        alpha=float(prior.alpha[0]) if groups is None else prior.alpha, evidence=found,
    )  # fmt: skip


class _Path:
    """The iterates that a run has passed, and what they cost."""

    def __init__(self, data: Squares):
        self._data, self._N = data, float(data.N.sum())
        self._passed: list[tuple[float, float, float]] = []
        self._best: tuple = (-math.inf, None, None)

    def add(self, theta: NDArray, prior: Prior, found: Evidence) -> None:
        """Add an iterate, with the most probable σ_k² there."""
        gamma, power = found.n_effective, _EXPONENT - 1
        log_likelihood = self._data.log_likelihood(prior.noise)
        self._passed.append((log_likelihood, gamma, found.log_evidence))
        paid = _PRICE * self._N / power * (self._share(gamma) ** power - 1)  # ∫ price dγ
        if log_likelihood - paid > self._best[0]:
            self._best = log_likelihood - paid, theta, prior

    def best(self) -> tuple:
        """The checkpoint where the log-likelihood less the price of γ was greatest."""
        _, theta, prior = self._best
        return _checkpoint(self._data, self._data.expand(theta, prior.noise), prior)

    def noise_begins(self) -> tuple[int, str] | tuple[None, None]:
        """The status and the message if the log evidence is below one that was passed and the
        log-likelihood rose by less than the price for each more effective parameter, else None
        and None."""
        log_likelihood, gamma, log_evidence = self._passed[-1]
        if len(self._passed) <= _WINDOW or log_evidence >= max(each[-1] for each in self._passed):
            return None, None
        likelihood_before, gamma_before, _ = self._passed[-1 - _WINDOW]
        gain, paid = log_likelihood - likelihood_before, gamma - gamma_before
        price = _PRICE * self._share(gamma) ** _EXPONENT
        if paid <= 0 or gain >= price * paid:
            return None, None
        return CONVERGED, (
            f"Stopped early: over {_WINDOW} iterations the log-likelihood rose by {gain:.1f} for "
            f"{paid:.1f} more effective parameters, less than {price:.1f} for each, while the log "
            "evidence fell; going on would probably fit noise. Set tol=1e-5 to continue."
        )

    def _share(self, gamma: float) -> float:
        """N/(N − γ)."""
        return self._N / float(freedom(self._N, gamma))


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


def _step(
    data: Squares, at: Expansion, noise: NDArray, p: NDArray, slope: NDArray, damping: Damping,
    max_fun: int,
) -> tuple[Expansion, float]:  # fmt: skip
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


def _checkpoint(data: Squares, at: Expansion, prior: Prior) -> tuple:
    """θ, Σ u r² + Σ p θ², the prior and the posterior."""
    total = at.squares + float((data.precision(prior) * at.theta) @ at.theta)
    return at.theta, total, prior, data.posterior(at, prior)


def _told(prior: Prior, found: Evidence) -> dict:
    """What a callback is told of an iteration."""
    return {
        "noise_variance": prior.noise_variance,
        "n_effective": found.n_effective,
        "log_evidence": found.log_evidence,
    }


def _change(prior: Prior, next_prior: Prior) -> float:
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
