"""Laplace's approximation of a posterior, and the evidence of its hyper-parameters, on arrays.

The model is y = f(x; θ) + noise of variance σ²/w, with a prior N(0, σ²/α_i) on the weights of
group i and a flat one on all other parameters. Near its mode the posterior is taken as Gaussian,
with the Gauss–Newton matrix in place of the Hessian::

    H = M + diag(α),    M = Σ_s w_s ∇f ∇fᵀ,    cov θ = σ² H⁻¹

so α_i is the α of the loss, and one factorisation of H serves every formula below. Outputs k whose
noises have different variances σ_k² have factors u_k = σ²/σ_k² in the squares and in M, of mean 1;
σ² is what all variances u_k σ_k² then are (`common_noise`).

References
----------
D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural Computation
4 (1992), 448-472. F. D. Foresee and M. T. Hagan, "Gauss-Newton approximation to Bayesian
learning", ICNN 1997, 1930-1935. The equations are cited as C. M. Bishop has them in "Pattern
Recognition and Machine Learning" (PRML), 2006, section 5.7; its α is α_i/σ² here, its β is 1/σ².
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .factors import Cholesky, Root, Woodbury, factorised

__all__ = [
    "FLAT", "Evidence", "above_zero", "alphas", "common_noise", "evidence", "freedom",
    "least_alpha", "noise_variance", "spread",
]  # fmt: skip

# The data may leave a bias open, as that of a unit without effect; with a flat prior it has no
# posterior. So the precision of the flat prior is not 0 but this share of the largest M_ii of all
# biases.
FLAT = 2e-5
# N − γ is at least this share of N: with more parameters than observations γ may come close to N.
_LEAST_FREEDOM = 0.05
# In standard units: where the targets of the fit do not vary, they say nothing of their noise.
_NOISE_OF_CONSTANT = 1e-4


class Evidence(NamedTuple):
    """The posterior at one θ under given α_i and σ², and their evidence."""

    H: Cholesky | Woodbury
    noise: NDArray  # σ_k² of each output
    gamma: NDArray  # γ_i, the effective number of parameters of each group
    n_effective: float  # γ, with those of the flat parameters
    log_evidence: float
    shift: NDArray | None = None  # θ* − θ, from where the fit ended to the mode; None for 0
    doubt: str | None = None  # why error bars are not to be trusted

    @property
    def factor(self) -> NDArray:
        """H as an array, for `skprop.factors.restored`: L of H = L Lᵀ, if M was an array."""
        return self.H.array()


def least_alpha(M: NDArray | Root, dtype: DTypeLike) -> float:
    """The least penalty above the rounding of M, where M was computed in ``dtype``."""
    share = max(10 * np.finfo(dtype).eps, len(M) * np.finfo(np.float64).eps)
    return float(share * max(M.diagonal().max(initial=0.0), np.finfo(dtype).tiny))


def spread(groups: list[NDArray], alpha: NDArray, n_params: int) -> NDArray:
    """A vector of α_i at the parameters of group i, and 0 at the others."""
    p = np.zeros(n_params)
    for index, value in zip(groups, alpha, strict=True):
        p[index] = value
    return p


def evidence(
    M: NDArray | Root, theta: NDArray, squares: float, n_observations: ArrayLike,
    groups: list[NDArray], alpha: NDArray, noise: ArrayLike | None = None,
) -> Evidence:  # fmt: skip
    """The posterior at θ, its effective number of parameters, and the evidence for α and σ_k².

    M, an array or a `Root`, and ``squares``, Σ_s w_s (f − y)², are summed over the outputs with the
    factors u_k of ``noise``, their σ_k². ``n_observations`` are the N_k = Σ_s w_s of the outputs.
    ``groups`` are the indices in θ of the parameters of each α_i; a group of α_i = 0 has a flat
    prior. One output has by default the most probable σ². A LinAlgError is raised where rounding
    leaves H indefinite.
    """
    prior = spread(groups, alpha, len(theta))
    flat = prior == 0
    p = np.where(flat, FLAT * M.diagonal()[flat].max(initial=0.0), prior)
    p = np.maximum(p, least_alpha(M, theta.dtype))
    H = factorised(M, p)
    variances = H.inverse_diagonal()
    sizes = np.array([len(index) for index in groups])
    traces = np.array([variances[index].sum() for index in groups])
    gamma = sizes - alpha * traces  # γ_i = n_i − α_i tr_i H⁻¹ (PRML 5.179)
    n_effective = len(theta) - float(p @ variances)  # γ
    N_k = np.atleast_1d(n_observations)
    noise = noise_variance(squares, N_k, n_effective) if noise is None else np.atleast_1d(noise)
    sigma2, u = common_noise(noise)
    energy = squares + float(prior @ theta**2)
    log_prior = float(np.log(p[~flat]).sum())  # Σ n_i ln α_i
    # ½ [Σ n_i ln α_i − ln |H| − (Σ u w r² + Σ α_i ‖A_i‖²)/σ² − (N − n_flat) ln 2πσ² + Σ N_k ln u_k]
    log_evidence = math.inf  # (PRML 5.175, with a noise of each output)
    if sigma2 > 0:
        log_noise = (N_k.sum() - flat.sum()) * math.log(2 * math.pi * sigma2)
        log_evidence = 0.5 * (log_prior - H.log_det() - energy / sigma2 - log_noise)
        log_evidence += 0.5 * float(N_k @ np.log(u))
    return Evidence(H, noise, gamma, n_effective, log_evidence)


def common_noise(noise: NDArray) -> tuple[float, NDArray]:
    """σ² and the factors u_k = σ²/σ_k² of outputs with noises σ_k², whose mean is 1.

    An output of σ_k² = 0, a constant, has u_k = 1 and no part in σ².
    """
    u, noisy = np.ones(len(noise)), noise > 0
    if not noisy.any():
        return 0.0, u
    precision = 1 / noise[noisy]
    u[noisy] = precision / precision.mean()
    return float((u * noise)[noisy].mean()), u


def above_zero(noise: NDArray) -> NDArray:
    """The σ_k², where 0, as of a target that does not vary, replaced by a small number."""
    return np.where(noise > 0, noise, _NOISE_OF_CONSTANT)


def freedom(n_observations: ArrayLike, n_effective: ArrayLike) -> NDArray:
    """The degrees of freedom that are left, N − γ, but at least a small share of N."""
    return np.maximum(n_observations - n_effective, _LEAST_FREEDOM * n_observations)


def noise_variance(
    squares: NDArray | float, n_observations: NDArray, n_effective: NDArray | float
) -> NDArray:
    """The σ_k² of greatest evidence, at given γ_k."""
    free = freedom(n_observations, n_effective)
    return squares / np.where(free > 0, free, 1.0)  # Σ w r_k² / (N_k − γ_k)  (PRML 5.180)


def alphas(theta: NDArray, groups: list[NDArray], gamma: NDArray, noise: float) -> NDArray:
    """The α_i of greatest evidence, at given γ_i and σ²."""
    norms = np.array([theta[index] @ theta[index] for index in groups])
    with np.errstate(divide="ignore", invalid="ignore"):
        return noise * gamma / norms  # α_i / σ² = γ_i / ‖A_i‖²  (PRML 5.178)
