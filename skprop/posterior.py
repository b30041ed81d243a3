"""The error bars of a fitted network: its linearised Laplace posterior.

Near θ the network is linear in its parameters, so a Gaussian posterior of covariance σ² H⁻¹
(`skprop.laplace`) gives at every x a Gaussian prediction of mean f(x; θ) and, for output k of noise
σ_k² = σ²/u_k, variance::

    σ_k² + σ² gᵀ H⁻¹ g = σ_k² (1 + u_k gᵀ H⁻¹ g),    g = ∂f_k(x; θ)/∂θ

References
----------
D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural Computation
4 (1992), 448-472; in C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, it is
equation 5.173.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from .checks import checked_alphas
from .factors import is_thin, restored
from .laplace import Evidence, common_noise, evidence, noise_variance
from .network import Network
from .objective import MLPObjective
from .rows import Rows
from .threads import guarded
from .workspace import check_memory

__all__ = ["affordable", "laplace", "model_variance", "require_memory"]

# Of the noises of several outputs, from those without parameters to what the posterior makes them.
_ROUNDS = 4
# In parameters and multiplications: such a posterior takes half a second or less and 8 MB.
_MAX_PARAMS, _MAX_WORK = 1000, 2e10


def affordable(objective: MLPObjective) -> bool:
    """Whether the posterior takes so little time and memory that every fit may compute it."""
    P, work = objective.n_params, objective.n_samples * objective.layout.sizes[-1]
    return P <= _MAX_PARAMS and work * P**2 <= _MAX_WORK


def require_memory(objective: MLPObjective) -> None:
    """A ValueError if the four matrices of a posterior exceed the memory."""
    d_K = objective.layout.sizes[-1]
    P, N = objective.n_params, objective.n_samples * d_K
    side = N if is_thin(N, P) else P
    own = (
        0 if d_K == 1 or is_thin(N, P) else 2 * d_K * objective.layout.of_one_output().n_params ** 2
    )
    check_memory(
        8 * (4 * side * P + own),  # M, H, L and L⁻¹; or Jᵀ, B, V and what is kept
        f"The posterior of {P} parameters, four matrices of {side} × {P} numbers,",
        "Use fewer units; or give alpha a number, and n_members=5 with early_stopping=True.",
    )


@guarded
def laplace(objective: MLPObjective, theta: NDArray, alpha) -> Evidence | None:
    """The posterior at θ, given the data of the objective and the penalty ``alpha``, its noises the
    most probable ones; None where it overflows or rounding leaves H indefinite.
    """
    layout, N = objective.layout, objective.output_weights
    alpha = checked_alphas(alpha, layout.n_layers)
    theta = theta.astype(objective.dtype)
    with np.errstate(under="ignore"):
        models = objective.output_models(theta).scaled(objective.total_weight)
        squares = 2 * models.losses
        noise = None if len(N) == 1 else noise_variance(squares, N, np.zeros(len(N)))
        try:
            for _ in range(1 if noise is None else _ROUNDS):
                u = np.ones(1) if noise is None else common_noise(noise)[1]
                loss, _, M = models.sum(u)
                if not np.isfinite(loss + M.trace()):
                    return None
                found = evidence(M, theta, 2 * loss, N, layout.weight_indices(), alpha, noise)
                if noise is not None:
                    noise = noise_variance(squares, N, models.traces(found.H, u))
        except LinAlgError:
            return None
    return found


def model_variance(network: Network, X: Rows, factor: NDArray) -> NDArray:
    """gᵀ H⁻¹ g for each output at each of the rows, of shape (rows, d_K)."""
    n, d_K, H = X.shape[0], network.layout.sizes[-1], restored(factor)
    variance = np.empty((n, d_K))

    def fill(rows: slice, J: NDArray) -> None:
        for j, g in enumerate(J):
            variance[rows, j] = H.inverse_form(g)

    network.for_each_jacobian(X, n * d_K * factor.size, fill)
    return variance
