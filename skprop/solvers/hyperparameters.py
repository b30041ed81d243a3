"""The squares of the data to second order, and the penalties and noises that they make probable."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..factors import OutputModels, Root
from ..laplace import (
    Evidence,
    alphas,
    common_noise,
    evidence,
    least_alpha,
    noise_variance,
    spread,
)
from .damping import linear_model

__all__ = ["Expansion", "Prior", "Squares"]

# A noise below this share of the variance of the targets is rounding.
_LEAST_NOISE = 1e-14
# In units of the largest entry of M's diagonal. γ_i, at least about its inverse, is then free of
# rounding, and the weights of an input that is lost are too small to matter.
_LARGEST_ALPHA = 1e10


class Prior(NamedTuple):
    """The hyper-parameters: α_i of each group, and σ_k² of each output."""

    alpha: NDArray
    noise: NDArray

    @property
    def noise_variance(self) -> float | NDArray:
        """The σ_k², of a single output as a float."""
        return float(self.noise[0]) if len(self.noise) == 1 else self.noise


class Expansion(NamedTuple):
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
        """Whether neither the sum nor a derivative overflowed."""
        return math.isfinite(self.squares + np.abs(self.g).max(initial=0.0) + self.M.trace())


class Squares:
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
        """Σ_k u_k r_k² with the u_k of these noises."""
        self.nfev += 1
        if len(noise) == 1:
            return 2 * self.W * self._objective.loss(theta)
        losses = self._objective.output_losses(theta)
        return 2 * float(common_noise(noise)[1] @ losses) * self.W

    def expand(self, theta: NDArray, noise: NDArray) -> Expansion:
        """The same to second order."""
        self.nfev, self.njev = self.nfev or 1, self.njev + 1  # the first is an evaluation of r² too
        if len(noise) > 1:
            models = self._objective.output_models(theta).scaled(self.W)
            return Expansion.of(theta, models, noise)
        loss, g, M = linear_model(self._objective, theta)
        M *= self.W
        return Expansion(theta, 2 * self.W * loss, self.W * g, M)

    def precision(self, prior: Prior) -> NDArray:
        """The diagonal of the penalty: α_i at the weights of group i, 0 at the biases."""
        return spread(self.groups, prior.alpha, self._objective.layout.n_params)

    def posterior(self, at: Expansion, prior: Prior) -> Evidence:
        """The posterior at the θ of an expansion under these hyper-parameters."""
        return evidence(at.M, at.theta, at.squares, self.N, self.groups, *prior)

    def first_prior(self, at: Expansion, alpha: ArrayLike | None, noise: NDArray) -> Prior:
        """The given α_i; by default as if all weights were determined by the data."""
        if alpha is not None:
            return self._within_range(at, np.asarray(alpha, np.float64), noise)
        return self.prior(at, np.array([len(index) for index in self.groups]), noise)

    def prior(self, at: Expansion, gamma: NDArray, noise: NDArray) -> Prior:
        """The most probable α_i at given γ_i and σ_k²; infinite where rounding leaves no γ_i."""
        alpha = alphas(at.theta, self.groups, gamma, common_noise(noise)[0])
        alpha = np.where(gamma > 0, alpha, np.inf)
        return self._within_range(at, alpha, noise)

    def _within_range(self, at: Expansion, alpha: NDArray, noise: NDArray) -> Prior:
        """α_i where H is not singular and α_i is finite."""
        least = least_alpha(at.M, at.theta.dtype)
        most = max(_LARGEST_ALPHA * at.M.diagonal().max(initial=0.0), 1e5 * least)
        alpha = np.where(alpha < most, alpha, most)  # ``most`` for NaN too
        return Prior(np.maximum(alpha, least), noise)

    def update(self, at: Expansion, found: Evidence) -> Prior:
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
