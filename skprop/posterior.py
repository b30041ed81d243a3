"""The error bars of a fitted network: its linearised Laplace posterior.

Near θ the network is linear in its parameters, so a Gaussian posterior of covariance σ² H⁻¹
(`skprop.laplace`) gives at every x a Gaussian prediction of mean f(x; θ) and variance::

    σ² (1 + gᵀ H⁻¹ g),    g = ∂f(x; θ)/∂θ

References
----------
D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural Computation
4 (1992), 448-472; in C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, it is
equation 5.173.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from .factors import is_thin, plus_diagonal, restored
from .laplace import Evidence, evidence, spread
from .network import Network
from .objective import MLPObjective, checked_alphas
from .rows import Rows
from .threads import guarded
from .workspace import check_memory

__all__ = ["affordable", "laplace", "model_variance", "require_memory"]

# In parameters and multiplications: such a posterior takes half a second or less and 8 MB.
_MAX_PARAMS, _MAX_WORK = 1000, 2e10


def affordable(objective: MLPObjective) -> bool:
    """Whether the posterior takes so little time and memory that every fit may compute it."""
    P, work = objective.n_params, objective.n_samples * objective.layout.sizes[-1]
    return P <= _MAX_PARAMS and work * P**2 <= _MAX_WORK


def require_memory(objective: MLPObjective) -> None:
    """A ValueError if the four matrices of a posterior exceed the memory."""
    P, N = objective.n_params, objective.n_samples * objective.layout.sizes[-1]
    side = N if is_thin(N, P) else P
    check_memory(
        4 * 8 * side * P,  # M, H, L and L⁻¹; or Jᵀ, B, V and what is kept
        f"The posterior of {P} parameters, four matrices of {side} × {P} numbers,",
        "Use fewer units; or give alpha a number, and n_members=5 with early_stopping=True.",
    )


@guarded
def laplace(objective: MLPObjective, theta: NDArray, alpha) -> Evidence | None:
    """The posterior at θ, given the data of the objective and the penalty ``alpha``, its noise the
    most probable one; None where it overflows or rounding leaves H indefinite.
    """
    layout, W = objective.layout, objective.total_weight
    groups = layout.weight_indices()
    own = spread(groups, checked_alphas(objective.alpha, layout.n_layers), layout.n_params)
    alpha = checked_alphas(alpha, layout.n_layers)
    theta = theta.astype(objective.dtype)
    with np.errstate(under="ignore"):
        loss, _, M = objective.linear_model(theta)
        M *= W
        M = plus_diagonal(M, -own)
        squares = max(2 * W * loss - float(own @ theta.astype(np.float64) ** 2), 0.0)
        if not np.isfinite(squares + M.trace()):
            return None
        try:
            return evidence(M, theta, squares, W * layout.sizes[-1], groups, alpha)
        except LinAlgError:
            return None


def model_variance(network: Network, X: Rows, factor: NDArray) -> NDArray:
    """gᵀ H⁻¹ g for each output at each of the rows, of shape (rows, d_K)."""
    n, d_K, H = X.shape[0], network.layout.sizes[-1], restored(factor)
    variance = np.empty((n, d_K))

    def fill(rows: slice, J: NDArray) -> None:
        for j, g in enumerate(J):
            variance[rows, j] = H.inverse_form(g)

    network.for_each_jacobian(X, n * d_K * factor.size, fill)
    return variance
