"""Solvers: a flat objective and a starting point in, a `scipy.optimize.OptimizeResult` out."""

from .evidence import minimize_evidence
from .lbfgs import minimize_lbfgs
from .progress import CALLBACK, CONVERGED, FAILED, LIMIT
from .stochastic import minimize_adam, minimize_sgd

__all__ = [
    "CALLBACK",
    "CONVERGED",
    "FAILED",
    "LIMIT",
    "minimize_adam",
    "minimize_evidence",
    "minimize_lbfgs",
    "minimize_sgd",
]
