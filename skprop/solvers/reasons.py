"""The reasons for which a run ends: the status and the message of its result."""

__all__ = [
    "CALLBACK", "CONVERGED", "FAILED", "INFINITE", "INTERRUPTED", "LIMIT", "limit_reached",
    "within_tol",
]  # fmt: skip

# The status of a result; 0, 1, 2 and 99 are SciPy's numbers.
CONVERGED, LIMIT, FAILED, INTERRUPTED, CALLBACK = 0, 1, 2, 98, 99

INFINITE = (
    "The loss or its gradient became infinite or NaN, and no lower finite loss was found: "
    "the data are too large or alpha is too small. Scale X and y, or raise alpha."
)


def limit_reached(**limit: int) -> tuple[int, str]:
    """The status and the message of a run that reached the limit ``name=value``."""
    ((name, value),) = limit.items()
    return LIMIT, f"The limit {name}={value} was reached."


def within_tol(largest: float, tol: float, more: str = "") -> tuple[int, str]:
    """The status and the message of a run that ended at a small gradient; ``more`` is added."""
    within = f"is within tol={tol:g}{more}."
    return CONVERGED, f"The largest entry of the gradient, {largest:.1e}, {within}"
