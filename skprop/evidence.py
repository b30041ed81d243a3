"""The evidence of a network's hyper-parameters, and the posterior it stands on.

The model is y = f(x; θ) + noise of variance σ²/w, with a prior N(0, σ²/α_i) on the weights of
group i and a flat one on what is in no group. Near its mode the posterior is taken as Gaussian,
with the Gauss–Newton matrix in place of the Hessian::

    H = Σ_s w_s ∇f ∇fᵀ + diag(α),    cov θ = σ² H⁻¹

so α_i is the α of the loss, and one factorisation of H serves every formula below.

References
----------
D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural Computation
4 (1992), 448-472; "Bayesian interpolation", ibid. 415-447 (its equations are cited as BI).
F. D. Foresee and M. T. Hagan, "Gauss-Newton approximation to Bayesian learning", ICNN 1997,
1930-1935 (cited as FH). In both α_i/σ² is α and 1/σ² is β.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, lapack

# The data say little of some biases, of a unit without effect nothing. A flat prior then has no
# posterior; so its precision is not 0 but this share of the mean curvature of the flat parameters.
FLAT = 1e-6
# γ may come close to the number of observations, where there are more parameters than these.
LEAST_FREEDOM = 0.05


class Evidence(NamedTuple):
    """What `evidence` finds at one θ."""

    factor: NDArray  # L, lower, of H = L Lᵀ
    gamma: NDArray  # γ_i, the effective number of parameters of each group
    n_effective: float  # γ, with those of the flat parameters
    log_evidence: float


def precision(G: NDArray, groups: list[NDArray], alpha: NDArray) -> NDArray:
    """The diagonal matrix that H adds to G = Σ w ∇f ∇fᵀ, as a vector."""
    flat = np.ones(len(G), bool)
    p = np.zeros(len(G))
    for index, value in zip(groups, alpha, strict=True):
        p[index], flat[index] = value, False
    p[flat] = FLAT * np.mean(G.diagonal()[flat]) if flat.any() else 0.0
    return p


def factorised(G: NDArray, p: NDArray) -> NDArray:
    """L, lower, of G + diag(p) = L Lᵀ; a LinAlgError where that is not positive definite."""
    H = G.copy()
    H[np.diag_indices_from(H)] += p
    factor, info = lapack.dpotrf(H.T, lower=1, clean=1, overwrite_a=1)
    if info != 0:
        raise LinAlgError(f"The leading minor {info} is not positive.")
    return factor


def evidence(
    G: NDArray,
    theta: NDArray,
    squares: float,
    n_observations: float,
    groups: list[NDArray],
    alpha: NDArray,
    noise: float,
) -> Evidence:
    """The evidence for α and σ², and what of it the next α and σ² need.

    Parameters
    ----------
    G : ndarray of shape (P, P)
        Σ_s w_s ∇f ∇fᵀ, over the outputs too.
    theta : ndarray of shape (P,)
    squares : float
        Σ_s w_s ‖f(x_s) − y_s‖².
    n_observations : float
        N: Σ_s w_s, times the number of outputs.
    groups : list of int ndarray
        Where in θ the parameters of each α_i are.
    alpha : ndarray of shape (len(groups),)
    noise : float
        σ².

    Raises
    ------
    LinAlgError
        Where rounding leaves H indefinite.
    """
    p = precision(G, groups, alpha)
    L = factorised(G, p)
    inverse, _ = lapack.dtrtri(L, lower=1)  # H⁻¹ = L⁻ᵀ L⁻¹
    variances = np.einsum("ij,ij->j", inverse, inverse)  # diag H⁻¹
    sizes = np.array([len(index) for index in groups])
    traces = np.array([variances[index].sum() for index in groups])
    gamma = sizes - alpha * traces  # γ_i = n_i − α_i tr_i H⁻¹ (BI 4.9, FH 6)
    n_flat = len(theta) - sizes.sum()
    n_effective = len(theta) - float(p @ variances)
    log_det = 2 * float(np.log(L.diagonal()).sum())
    penalty = float(alpha @ [theta[index] @ theta[index] for index in groups])
    # ½ [Σ n_i ln α_i − ln |H| − (Σ w r² + Σ α_i ‖A_i‖²)/σ² − (N − n_flat) ln 2πσ²]  (BI 4.8)
    log_evidence = 0.5 * (
        float(sizes @ np.log(alpha))
        - log_det
        - (squares + penalty) / noise
        - (n_observations - n_flat) * math.log(2 * math.pi * noise)
    )
    return Evidence(L, gamma, n_effective, log_evidence)


def noise_variance(squares: float, n_observations: float, n_effective: float) -> float:
    """The σ² of greatest evidence, at a given γ."""
    freedom = max(n_observations - n_effective, LEAST_FREEDOM * n_observations)
    return squares / freedom  # σ² = Σ w r² / (N − γ)  (BI 4.10, FH 7)


def alphas(theta: NDArray, groups: list[NDArray], gamma: NDArray, noise: float) -> NDArray:
    """The α_i of greatest evidence, at given γ_i and σ²."""
    norms = np.array([theta[index] @ theta[index] for index in groups])
    with np.errstate(divide="ignore", invalid="ignore"):
        return noise * gamma / norms  # α_i / σ² = γ_i / ‖A_i‖²  (BI 4.9, FH 7)
