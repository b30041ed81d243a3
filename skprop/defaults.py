"""What a fit does where parameters are left to it: one table, without anything of the machine."""

from types import SimpleNamespace
from typing import Any

from .layout import Layout, hidden_sizes

__all__ = ["AUTO", "settled", "told"]

# One network, as any explicit choice of a solver or a penalty gets it.
_ONE: dict[str, Any] = {
    "hidden_layer_sizes": (50,),
    "solver": "lbfgs",
    "alpha": 1e-4,
    "n_members": 1,
    "early_stopping": False,
    "tol": 1e-4,
    "n_iter_no_change": 25,
    "initial_spread": None,
}
# With much smaller inputs of its hidden units a network is linear at the start, and the strong
# penalty of a linear fit then keeps it so.
_SPREADS: dict[str, Any] = {"evidence": (1.0, 3.0), "ard": 1.0}
_FEW_ROWS = _ONE | {
    "alpha": "evidence",
    "n_members": 5,
    "initial_spread": _SPREADS["evidence"],
}
_SOME_ROWS = _FEW_ROWS | {"hidden_layer_sizes": (15, 15)}
_MANY_ROWS = _ONE | {
    "hidden_layer_sizes": (50, 50),
    "solver": "adam",
    "n_members": 8,
    "early_stopping": True,
    "tol": 1e-5,
    "n_iter_no_change": 50,
    "initial_spread": 2.0,
}
AUTO = tuple(_ONE)  # the parameters that may be "auto"
# Multiplications of an iteration under the evidence; five members of 40 iterations then take some
# 20 s on one core.
_MOST_WORK = 2e9
_SOME = 1_000  # with more rows two layers are better than one
_MOST_NUMBERS = 3e7  # of one of the four matrices of a member: a gigabyte together


def settled(
    parameters,
    shape: tuple[int, int] | None = None,
    n_outputs: int = 1,
    *,
    watched: bool = False,
    with_slopes: bool = False,
) -> SimpleNamespace:
    """The parameters of an estimator with a value in the place of each "auto".

    Parameters
    ----------
    parameters : MLPSigmoidRegressor
        Its parameters are read.
    shape : tuple of int, optional
        The numbers of rows and features of X. Without them, as for `partial_fit` and
        `make_objective`, it is one network.
    n_outputs : int, default=1
    watched : bool, default=False
        Whether rows to watch are given, which asks for early stopping.
    with_slopes : bool, default=False
        Whether slopes are given, as many as there are numbers in X for each output.
    """
    values = parameters.get_params(deep=False)
    given = {name: value for name, value in values.items() if not _is_auto(value, name)}
    if watched:
        given.setdefault("early_stopping", True)
    return SimpleNamespace(**(_choice(given, shape, n_outputs, with_slopes) | given))


def told(settings: SimpleNamespace) -> dict[str, Any]:
    """The settings in the place of parameters that may be "auto", as an estimator stores them."""
    return {name: getattr(settings, name) for name in AUTO}


def _is_auto(value: Any, name: str) -> bool:
    return name in AUTO and isinstance(value, str) and value == "auto"


def _choice(
    given: dict, shape: tuple[int, int] | None, n_outputs: int, with_slopes: bool
) -> dict[str, Any]:
    """The row of the table for these parameters and data."""
    if isinstance(given.get("alpha"), str):
        return _ONE | {"initial_spread": _SPREADS[given["alpha"]]}
    if shape is None or "solver" in given or "alpha" in given or given["warm_start"]:
        return _ONE
    n, d = shape
    hidden = hidden_sizes(given.get("hidden_layer_sizes", _FEW_ROWS["hidden_layer_sizes"]))
    N, P = n * n_outputs * (1 + d * with_slopes), Layout((d, *hidden, n_outputs)).n_params
    numbers = P * min(N, P)
    few = N * numbers <= _MOST_WORK and numbers <= _MOST_NUMBERS
    choice = (_SOME_ROWS if n > _SOME else _FEW_ROWS) if few else _MANY_ROWS
    # Early stopping is not for the evidence; without it many rows are for L-BFGS.
    agrees = given.get("early_stopping", choice["early_stopping"]) == choice["early_stopping"]
    return choice if agrees else _ONE
