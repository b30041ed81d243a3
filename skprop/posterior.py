"""The error bars of a fitted network: its linearised Laplace posterior.

Near θ the network is linear in its parameters, so a Gaussian posterior of covariance σ² H⁻¹
(`skprop.laplace`) gives at every x a Gaussian prediction of mean f(x; θ) and, for output k of noise
σ_k² = σ²/u_k, variance::

    σ_k² + σ² gᵀ H⁻¹ g + (gᵀ (θ* − θ))²,    g = ∂f_k(x; θ)/∂θ

The slope ∂f_k/∂x_j is linear in θ there as well, so its variance is that of the model with
∂g/∂x_j in the place of g; and ∂/∂x_j of the variance above is 2 ∂g/∂x_jᵀ h, with the h of
h = σ² H⁻¹ g + (gᵀ (θ* − θ)) (θ* − θ).

θ* is the mode of the posterior. After ``alpha="evidence"`` it is θ. After a fit with a penalty of
the user's, the prior and θ* are those that the data make most probable (`skprop.linearised`).

References
----------
D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural Computation
4 (1992), 448-472; in C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, it is
equation 5.173.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from .checks import checked_alphas
from .factors import is_thin, restored
from .laplace import Evidence, common_noise, evidence, least_alpha, noise_variance, spread
from .linearised import PRIOR_NOISE, SHARE, LinearMode, most_probable
from .network import Network
from .objective import MLPObjective
from .rows import Rows
from .threads import guarded
from .workspace import check_memory

__all__ = [
    "Deferred", "affordable", "held_out_noise", "laplace", "linear_laplace", "model_variance",
    "require_memory", "slope_variance", "variance_gradient",
]  # fmt: skip

# Of the noises of several outputs, from those without parameters to what the posterior makes them.
_ROUNDS = 4
# In parameters and multiplications: such a posterior takes half a second or less and 8 MB.
_MAX_PARAMS, _MAX_WORK = 1000, 2e10
# Beyond these, std was off by a factor of 1.5 or more in a third of all fits, else in a tenth.
_FITTED_NOISE, _ALL_FREEDOM = 0.1, 0.9


def affordable(objective: MLPObjective) -> bool:
    """Whether the posterior takes so little time and memory that it is computed unasked."""
    P, work = objective.n_params, objective.n_residuals
    return P <= _MAX_PARAMS and work * P**2 <= _MAX_WORK


def require_memory(objective: MLPObjective) -> None:
    """A ValueError if the four matrices of a posterior exceed the memory."""
    P, N, d_K = objective.n_params, objective.n_residuals, len(objective.output_weights)
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
def laplace(
    objective: MLPObjective, theta: NDArray, alpha, noise: NDArray | None = None
) -> Evidence | None:
    """The posterior at θ, given the data of the objective and the penalty ``alpha``.

    ``noise`` are the σ_k², by default, and where those of slopes are missing, the most probable
    ones; ``alpha`` is a number, one for each layer, or one for each input and later layer. None
    where it overflows or rounding leaves H indefinite.
    """
    layout, N = objective.layout, objective.output_weights
    inputs = layout.input_groups()
    groups = inputs if np.size(alpha) == len(inputs) else layout.weight_indices()
    alpha = checked_alphas(alpha, len(groups))
    if noise is not None and len(noise) > len(N):  # of slopes too, which are not given here
        alpha = alpha * (common_noise(noise[: len(N)])[0] / common_noise(noise)[0])
        noise = noise[: len(N)]
    elif noise is not None and len(noise) < len(N):
        noise = None
    theta = theta.astype(objective.dtype)
    with np.errstate(under="ignore"):
        models = objective.output_models(theta).scaled(objective.total_weight)
        squares, rounds = 2 * models.losses, 1
        if noise is None and len(N) > 1:
            noise, rounds = noise_variance(squares, N, np.zeros(len(N))), _ROUNDS
        try:
            for _ in range(rounds):
                u = np.ones(1) if noise is None else common_noise(noise)[1]
                loss, _, M = models.sum(u)
                if not np.isfinite(loss + M.trace()):
                    return None
                found = evidence(M, theta, 2 * loss, N, groups, alpha, noise)
                if rounds > 1:
                    noise = noise_variance(squares, N, models.traces(found.H, u))
        except LinAlgError:
            return None
    return found


@guarded
def linear_laplace(objective: MLPObjective, theta: NDArray) -> Evidence | None:
    """The posterior at θ, under the prior and the noises that are most probable for a network that
    is linear around θ. None where it overflows or rounding leaves H indefinite.
    """
    layout, theta = objective.layout, theta.astype(objective.dtype)
    N, W = objective.output_weights, objective.total_weight
    last = np.arange(layout.n_params - layout.sizes[-1], layout.n_params)  # b_{K-1}
    groups, shares = [np.arange(last[0]), last], np.array([1.0, SHARE])
    share = spread(groups, shares, layout.n_params)
    with np.errstate(under="ignore"):
        models = objective.output_models(theta).scaled(W)
        share_of_weight = W / np.where(N > 0, N, 1.0)
        variances = 2 * objective.loss_of_mean(by_output=True) * share_of_weight
        varied = variances > 0 if variances.any() else N >= 0  # a constant has no part in σ²
        n = N[varied].sum()
        losses, gammas = models.losses, np.zeros(len(N))
        try:
            for _ in range(1 if len(N) == 1 else _ROUNDS):
                noise = (2 * losses + PRIOR_NOISE * variances) / (np.maximum(N - gammas, 0.0) + 1)
                u = common_noise(np.where(variances > 0, noise, 0.0))[1]
                loss, g, M = models.sum(u)
                if not np.isfinite(loss + M.trace()):
                    return None
                variance = float((u * variances)[varied].mean())
                mode = most_probable(M, g, theta, 2 * loss, n, share, variance)
                noise, alphas = np.where(varied, mode.noise / u, 0.0), mode.alpha * shares
                found = _definite(M, mode, N, groups, alphas, noise, theta.dtype)
                if len(N) > 1:
                    losses = models.losses_at(mode.theta - theta)
                    gammas = models.traces(found.H, u)
        except LinAlgError:
            return None
    doubt = _doubt(2 * loss / n, mode.noise, found.n_effective / n)
    return found._replace(shift=mode.theta - theta, doubt=doubt)


def _definite(M, mode: LinearMode, N, groups, alphas, noise, dtype) -> Evidence:
    """The posterior at a mode, with a penalty as large as rounding of M, in float32, asks for."""
    for least in (0, 4, 16):
        p = np.maximum(alphas, least * least_alpha(M, dtype))
        with suppress(LinAlgError):
            return evidence(M, mode.theta, mode.squares, N, groups, p, noise)
    p = np.maximum(alphas, 64 * least_alpha(M, dtype))
    return evidence(M, mode.theta, mode.squares, N, groups, p, noise)


@guarded
def held_out_noise(watched: MLPObjective, theta: NDArray) -> NDArray:
    """The mean squared error of each output on rows that were held out: noise and model error."""
    weights = watched.output_weights
    r = watched.residuals(theta.astype(watched.dtype)).reshape(-1, len(weights))
    share = watched.total_weight / np.where(weights > 0, weights, np.inf)
    return np.einsum("sk,sk->k", r, r, dtype=np.float64) * share


def _doubt(residual: float, noise: float, share: float) -> str | None:
    """Why error bars are not to be trusted: a mean squared residual far below the noise, or a
    ``share`` of effective parameters in the observations near 1."""
    remedy = "Fit with early_stopping=True or alpha='evidence'."
    if residual < _FITTED_NOISE * noise:
        return (
            "The error bars are rough: the fit has followed the noise, as the mean squared "
            f"residual of the training rows is {residual / noise:.1g} of the noise variance that "
            f"the data suggest. {remedy}"
        )
    if share > _ALL_FREEDOM:
        return (
            "The error bars are rough: the training rows leave the noise undetermined, as they "
            f"would determine {share:.2f} parameters each. {remedy}"
        )
    return None


class Deferred:
    """A posterior that is computed when it is first asked for, and then kept.

    Until then it holds what it is computed from, as a function without arguments. It may be asked
    from several threads; pickling asks for it.
    """

    def __init__(self, compute: Callable[[], Evidence | None]):
        self._compute: Callable[[], Evidence | None] | None = compute
        self._found: Evidence | None = None
        self._lock = Lock()

    def get(self) -> Evidence | None:
        """The posterior; None if it cannot be computed."""
        with self._lock:
            if self._compute is not None:
                self._found, self._compute = self._compute(), None
            return self._found

    def __reduce__(self):
        return _settled, (self.get(),)


def _settled(found: Evidence | None) -> Deferred:
    done = Deferred(lambda: found)
    done.get()
    return done


def model_variance(
    network: Network, X: Rows, factor: NDArray, noise: float = 1.0, shift: NDArray | None = None,
) -> NDArray:  # fmt: skip
    """σ² gᵀ H⁻¹ g + (gᵀ (θ* − θ))² for each output at each of the rows, of shape (rows, d_K).

    ``noise`` is σ², and ``shift`` θ* − θ, None for 0.
    """
    n, d_K, H = X.shape[0], network.layout.sizes[-1], restored(factor)
    variance, bias = np.empty((n, d_K)), np.zeros((n, d_K))

    def fill(rows: slice, J: NDArray) -> None:
        for j, g in enumerate(J):
            variance[rows, j] = H.inverse_form(g)
            if shift is not None:
                bias[rows, j] = shift @ g

    network.for_each_jacobian(X, n * d_K * factor.size, fill)
    return noise * variance + bias**2


def slope_variance(
    network: Network, X: Rows, factor: NDArray, noise: float = 1.0, shift: NDArray | None = None,
) -> NDArray:  # fmt: skip
    """The variance of ∂f_k/∂x_j, by features in standard units, of shape (rows, d_K, d_0).

    The arguments are those of `model_variance`.
    """
    n, d_0, d_K = X.shape[0], network.layout.sizes[0], network.layout.sizes[-1]
    H, variance = restored(factor), np.empty((n, d_K, d_0))

    def fill(rows: slice, _: NDArray, S: NDArray) -> None:
        for k, g in enumerate(S.reshape(*S.shape[:2], -1)):  # ∂g/∂x_j of input j and row s
            of_slopes = noise * H.inverse_form(g)
            if shift is not None:
                of_slopes += (shift @ g) ** 2
            variance[rows, k] = of_slopes.reshape(d_0, -1).T

    network.for_each_slope_jacobian(X, n * d_0 * d_K * factor.size, fill)
    return variance


def variance_gradient(
    network: Network, X: Rows, factor: NDArray, noise: float = 1.0, shift: NDArray | None = None,
) -> tuple[NDArray, NDArray]:  # fmt: skip
    """`model_variance`, and its derivatives by the features in standard units, of shape
    (rows, d_K, d_0)."""
    n, d_0, d_K = X.shape[0], network.layout.sizes[0], network.layout.sizes[-1]
    H, variance, gradient = restored(factor), np.empty((n, d_K)), np.empty((n, d_K, d_0))

    def fill(rows: slice, J: NDArray, S: NDArray) -> None:
        for k, g in enumerate(J):
            h = noise * H.solve(g)  # σ² H⁻¹ g + (gᵀ (θ* − θ)) (θ* − θ)
            if shift is not None:
                h += np.outer(shift, shift @ g)
            variance[rows, k] = np.einsum("ps,ps->s", g, h)
            gradient[rows, k] = 2 * np.einsum("pjs,ps->sj", S[k], h)

    network.for_each_slope_jacobian(X, 2 * n * d_K * factor.size, fill)
    return np.maximum(variance, 0.0), gradient
