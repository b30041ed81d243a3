"""What the parameters of an `MLPSigmoidRegressor` may be, each by itself and together."""

import math
from numbers import Integral, Real

from .checks import checked_alphas, checked_spreads
from .compat import Interval, InvalidParameterError, Options, StrOptions
from .defaults import AUTO
from .layout import hidden_sizes

__all__ = [
    "CONSTRAINTS", "by_evidence", "check_held_out", "check_together", "check_unchanged",
    "is_incremental",
]  # fmt: skip


def _interval(kind: type, low: float, high: float | None = None, closed: str = "left") -> list:
    return [Interval(kind, low, high, closed=closed)]


_AT_LEAST_0, _ABOVE_0 = _interval(Real, 0), _interval(Real, 0, closed="neither")
_AT_LEAST_1, _BELOW_1, _BOOLEAN = _interval(Integral, 1), _interval(Real, 0, 1), ["boolean"]
_CONSTRAINTS: dict[str, list] = {
    "hidden_layer_sizes": ["array-like", *_AT_LEAST_1],
    "output_activation": [StrOptions({"identity", "sigmoid"})],
    "solver": [StrOptions({"lbfgs", "lm", "sgd", "adam"}), callable],
    "alpha": [*_AT_LEAST_0, StrOptions({"evidence", "ard"}), "array-like"],
    "batch_size": [StrOptions({"auto"}), *_AT_LEAST_1],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": _ABOVE_0,
    "power_t": _AT_LEAST_0,
    "max_iter": _AT_LEAST_1,
    "shuffle": _BOOLEAN,
    "random_state": ["random_state"],
    "tol": _AT_LEAST_0,
    "verbose": ["verbose"],
    "warm_start": _BOOLEAN,
    "momentum": _interval(Real, 0, 1, closed="both"),
    "nesterovs_momentum": _BOOLEAN,
    "early_stopping": _BOOLEAN,
    "validation_fraction": _BELOW_1,
    "beta_1": _BELOW_1,
    "beta_2": _BELOW_1,
    "epsilon": _ABOVE_0,
    "n_iter_no_change": [*_AT_LEAST_1, Options(Real, {math.inf})],
    "max_fun": _AT_LEAST_1,
    "n_members": _AT_LEAST_1,
    "initial_spread": ["array-like", *_ABOVE_0, None],
    "slope_weight": [StrOptions({"auto"}), *_ABOVE_0],
    "missing_targets": [StrOptions({"error", "ignore"})],
    "standardize": _BOOLEAN,
}

CONSTRAINTS = {
    name: [*allowed, *([StrOptions({"auto"})] if name in AUTO else [])]
    for name, allowed in _CONSTRAINTS.items()
}


def by_evidence(parameters) -> bool:
    """Whether the evidence chooses the penalty: one for all weights, or one for each input."""
    return isinstance(parameters.alpha, str)


def check_together(parameters) -> None:
    """Refuse parameters that do not go together, each of which is valid by itself."""
    try:
        sizes = hidden_sizes(parameters.hidden_layer_sizes)
        checked_spreads(parameters.initial_spread)
        if not by_evidence(parameters):
            checked_alphas(parameters.alpha, len(sizes) + 1)
    except ValueError as error:
        raise InvalidParameterError(str(error)) from None
    if by_evidence(parameters):
        if parameters.solver not in ("lbfgs", "lm"):
            raise ValueError(
                f"alpha={parameters.alpha!r} with solver={parameters.solver!r}: it is fitted by "
                "Levenberg–Marquardt. Set solver='lbfgs', the default, or give alpha a number."
            )
        if parameters.early_stopping:
            raise ValueError(
                f"alpha={parameters.alpha!r} with early_stopping=True: the evidence takes the "
                "place of a validation set. Set early_stopping=False, or give alpha a number."
            )
    if parameters.warm_start and parameters.n_members > 1:
        raise ValueError(
            f"warm_start=True with n_members={parameters.n_members}: a committee is fitted from "
            "new starts. Set warm_start=False."
        )
    if parameters.early_stopping and callable(parameters.solver):
        raise ValueError(
            "early_stopping=True with a callable solver: early stopping belongs to the "
            "built-in solvers. Hold rows out inside the callable."
        )


def check_held_out(parameters, X_val, y_val, sample_weight_val) -> None:
    """Refuse a validation set that is incomplete, or that nothing would look at."""
    if X_val is None:
        if y_val is not None or sample_weight_val is not None:
            raise ValueError("y_val or sample_weight_val was given without X_val.")
        if parameters.early_stopping and parameters.validation_fraction == 0:
            raise InvalidParameterError(
                "validation_fraction=0 with early_stopping=True holds out no rows: "
                "give X_val and y_val, or a fraction between 0 and 1."
            )
    elif y_val is None:
        raise ValueError("X_val was given without y_val.")
    elif not parameters.early_stopping:
        raise ValueError(
            "X_val was given with early_stopping=False, so nothing would look at it. "
            "Set early_stopping=True."
        )


def check_unchanged(parameters, **fitted) -> None:
    """Refuse to continue a fit whose network the parameters no longer describe."""
    for name, value in fitted.items():
        asked = getattr(parameters, name)
        if name == "hidden_layer_sizes":
            asked = hidden_sizes(asked)
        if asked != value:
            raise ValueError(
                f"{name}={asked!r}, but the model to continue from was fitted with "
                f"{name}={value!r}. Set it back, or start afresh from a clone."
            )


def is_incremental(parameters) -> bool:
    """Whether `partial_fit` is offered; an AttributeError says why not."""
    if parameters.solver not in ("sgd", "adam"):  # "auto" is neither, as it is not known yet
        raise AttributeError(
            f"partial_fit is offered for solver='sgd' and 'adam', not for {parameters.solver!r}."
        )
    if parameters.early_stopping and parameters.early_stopping != "auto":
        raise AttributeError("partial_fit is not offered with early_stopping=True.")
    if parameters.n_members not in (1, "auto"):
        raise AttributeError("partial_fit is not offered with n_members > 1.")
    return True
