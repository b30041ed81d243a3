"""The most probable prior and noise of a network that is taken as linear in θ.

Near a fitted θ the outputs are f(θ) + J (θ' − θ), a linear Gaussian model of the targets. A penalty
that was chosen to help a solver is no prior to believe in; so this model gets one of its own::

    θ' ~ N(0, σ²/α)    for all parameters; σ²/(α SHARE) for the biases of the last layer

The biases of hidden units are included: with a flat prior each of them takes a degree of freedom,
which few rows do not have. With one eigendecomposition the evidence is a function of α alone, and
its greatest value is found on all scales of α. σ² has the prior of one more observation, which is
PRIOR_NOISE of the variance of the targets: so it is never 0.

References
----------
D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4 (1992), 415-447. A. Immer,
M. Korzepa and M. Bauer, "Improving predictions of Bayesian neural nets via local linearization",
AISTATS 2021.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from .factors import Root
from .laplace import least_alpha

__all__ = ["PRIOR_NOISE", "SHARE", "LinearMode", "most_probable"]

SHARE = 1e-3  # of α at the biases of the last layer, which take up the mean of the targets
PRIOR_NOISE = 0.01
_PER_DECADE = 4  # values of α that are tried


class LinearMode(NamedTuple):
    """The hyper-parameters of greatest evidence, and the most probable parameters under them."""

    alpha: float
    noise: float  # σ²
    theta: NDArray  # θ*, of shape (P,)
    squares: float  # Σ_s w_s r_s² at θ*


def most_probable(
    M: NDArray | Root, g: NDArray, theta: NDArray, squares: float, n_observations: float,
    share: NDArray, variance: float,
) -> LinearMode:  # fmt: skip
    """The α and σ² of greatest evidence of the network that is linear around θ.

    M = Σ_s w_s ∇f ∇fᵀ, g = Σ_s w_s r_s ∇f and ``squares`` = Σ_s w_s r_s² at θ; ``share`` is the
    share of α at each parameter, and ``variance`` that of the targets.
    """
    root = np.sqrt(share)
    e, V = _spectrum(M, 1 / root)
    a, b = V.T @ (root * theta), V.T @ (g / root)  # θ and g in the coordinates of V
    extra = PRIOR_NOISE * (variance or 1.0)  # the square of the observation more

    def at(log_alpha: float) -> tuple[float, float, float, float]:
        """α, and at the mode under it r², α ‖θ‖² and σ²."""
        alpha = float(np.exp(log_alpha))
        d = -(b + alpha * a) / (e + alpha)  # θ* − θ
        r2 = max(squares + float(2 * b @ d + e @ d**2), 0.0)
        penalty = alpha * float((a + d) @ (a + d))
        return alpha, r2, penalty, (r2 + penalty + extra) / (n_observations + 1)

    def minus_log_evidence(log_alpha: float) -> float:
        alpha, _, _, noise = at(log_alpha)
        return 0.5 * (np.log1p(e / alpha).sum() + (n_observations + 1) * np.log(noise))

    def slope(log_alpha: float) -> float:
        """Its derivative, times two: where it is 0, γ = α ‖θ‖²/σ²."""
        alpha, _, penalty, noise = at(log_alpha)
        return penalty / noise - float((e / (e + alpha)).sum())

    low = np.log(max(least_alpha(M, theta.dtype), 10 * _rounding(e, len(theta))))
    high = max(np.log(10 * e.max(initial=0.0) + np.finfo(np.float64).tiny), low + 1)
    grid = np.linspace(low, high, 2 + int(_PER_DECADE * (high - low) / np.log(10)))
    best = int(np.argmin([minus_log_evidence(x) for x in grid]))
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    inside = slope(left) < 0 < slope(right)
    alpha, r2, _, noise = at(brentq(slope, left, right, xtol=1e-12) if inside else grid[best])
    mode = V @ ((e * a - b) / (e + alpha)) / root  # θ* = (M + α)⁻¹ (M θ − g)
    return LinearMode(alpha, noise, mode, r2)


def _spectrum(M: NDArray | Root, scale: NDArray) -> tuple[NDArray, NDArray]:
    """The positive eigenvalues of diag(scale) M diag(scale), and their eigenvectors as columns."""
    if isinstance(M, Root):
        B = scale[:, None] * M.Jt
        e, U = np.linalg.eigh(B.T @ B)
    else:
        e, U = np.linalg.eigh(scale[:, None] * M * scale)
    kept = e > _rounding(e, len(scale))
    e, U = e[kept], U[:, kept]
    return e, (B @ U) / np.sqrt(e) if isinstance(M, Root) else U


def _rounding(e: NDArray, n_params: int) -> float:
    """What rounding makes of an eigenvalue 0 of a matrix with the eigenvalues e."""
    return n_params * float(np.finfo(np.float64).eps * e.max(initial=0.0))
