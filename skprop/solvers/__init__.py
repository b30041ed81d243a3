"""Solvers: a flat objective and a starting point in, a `scipy.optimize.OptimizeResult` out."""

from .evidence import minimize_evidence
from .lbfgs import minimize_lbfgs
from .lm import minimize_lm
from .reasons import CALLBACK, CONVERGED, FAILED, INTERRUPTED, LIMIT
from .relevance import minimize_relevance
from .restarts import minimize_evidence_again
from .stochastic import minimize_adam, minimize_sgd

__all__ = [
    "CALLBACK", "CONVERGED", "FAILED", "INTERRUPTED", "LIMIT",
    "minimize_adam", "minimize_evidence", "minimize_evidence_again", "minimize_lbfgs",
    "minimize_lm", "minimize_relevance", "minimize_sgd",
]  # fmt: skip
