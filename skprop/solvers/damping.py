"""The damped Gauss–Newton step, and Nielsen's rule for its damping."""

import math

from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from ..factors import Root, factorised, least_damping

__all__ = ["Damping", "linear_model"]

_INITIAL_DAMPING = 1e-2  # Nielsen's τ


def linear_model(objective, theta: NDArray) -> tuple[float, NDArray, NDArray | Root]:
    """½ ‖r‖², Jᵀ r and JᵀJ, the last by its root where the objective can tell it and it pays."""
    model = getattr(objective, "linear_model", None) or objective.normal_equations
    return model(theta)


class Damping:
    """The damping μ of the steps of one run, which begins at 10⁻² max_i M_ii with ν = 2.

    M is the Gauss–Newton matrix JᵀJ, or a multiple of it.

    References
    ----------
    H. B. Nielsen, "Damping parameter in Marquardt's method", report IMM-REP-1999-05, Technical
    University of Denmark, 1999.
    """

    def __init__(self, M: NDArray | Root):
        self.mu, self.nu = _INITIAL_DAMPING * M.diagonal().max(initial=0.0), 2.0

    def step(
        self, M: NDArray | Root, g: NDArray, p: NDArray | float = 0.0
    ) -> tuple[NDArray | None, float]:
        """h of (M + diag(p) + μ I) h = −g, and hᵀ (μ h − g), the predicted decrease of ‖r‖².

        None and infinity where rounding leaves the matrix indefinite.
        """
        self.mu = max(self.mu, least_damping(M))
        try:
            h = -factorised(M, p + self.mu).solve(g)
        except LinAlgError:
            return None, math.inf
        return h, float(h @ (self.mu * h - g))

    def accept(self, gain: float) -> None:
        """Update μ after a step taken, whose decrease was ρ = ``gain`` times the predicted one."""
        self.mu *= max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3)  # μ ← μ max(⅓, 1 − (2 ρ − 1)³)
        self.nu = 2.0

    def reject(self) -> None:
        """Update μ after a step that was not taken."""
        self.mu *= self.nu  # μ ← μ ν
        self.nu *= 2  # ν ← 2 ν
