"""What each member of a committee learns, and from where: rows in standard units, and θ_0."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from .checks import checked_spreads
from .data import Data, Expected
from .flat_objective import FlatObjective
from .layout import Layout, hidden_sizes
from .objective import MLPObjective
from .parameters import by_evidence, check_unchanged
from .scaling import StandardUnits, without_constant

__all__ = ["MISSING", "Fold", "Setup", "folds", "objective_of"]

_LARGEST_SEED = np.iinfo(np.int32).max

MISSING = object()  # the value of an attribute that an estimator does not have


class Setup(NamedTuple):
    """What a cold fit fixes and a warm one keeps: architecture, units, features and seed."""

    sizes: tuple[int, ...]
    output_activation: str
    dtype: str
    single_output: bool
    seed: int = 0
    x_scaler: StandardScaler | None = None
    y_scaler: StandardScaler | None = None
    feature_names: NDArray | None = None

    @classmethod
    def of(cls, estimator) -> Self:
        """The setup that a fitted estimator stores."""
        return cls(*map(vars(estimator).get, _STORED))

    def attributes(self) -> dict[str, Any]:
        """The attributes in which an estimator stores this setup."""
        sizes = self.sizes
        counts = {"n_features_in_": sizes[0], "n_outputs_": sizes[-1], "n_layers_": len(sizes)}
        stored = dict(zip(_STORED, self, strict=True))
        if self.feature_names is None:
            stored["feature_names_in_"] = MISSING
        return counts | stored

    @property
    def layout(self) -> Layout:
        """Where the weights of the network lie in θ."""
        return Layout(self.sizes)

    @property
    def units(self) -> StandardUnits:
        """Into standard units, and back."""
        return StandardUnits(self.x_scaler, self.y_scaler, self.dtype, self.single_output)

    @property
    def expected(self) -> Expected:
        """What later data must be like."""
        return Expected(self.sizes[-1], self.dtype)


_STORED = (  # the attributes of the fields of `Setup`
    "_sizes", "out_activation_", "_dtype", "_single_output", "_seed", "x_scaler_", "y_scaler_",
    "feature_names_in_",
)  # fmt: skip


class Fold(NamedTuple):
    """What one member learns, and from where.

    ``watched`` is the objective of the rows held out for early stopping, ``seed`` that of all that
    is random after θ_0 was drawn, and ``earlier`` the `Fit` to continue.
    """

    objective: FlatObjective
    watched: FlatObjective | None
    theta0: NDArray
    seed: int
    earlier: Any = None


def objective_of(data: Data, setup: Setup, alpha, slope_weight: float = 1.0) -> FlatObjective:
    """The objective of some rows, in the standard units of a setup."""
    if not isinstance(data, Data):  # its rows are elsewhere
        return data.objective(setup, alpha)
    slopes = None if data.slopes is None else setup.units.slopes(data.slopes)
    return MLPObjective(
        setup.units.rows(data.rows.X, data.rows.index).in_memory(),
        setup.units.targets(data.y),
        hidden_layer_sizes=setup.sizes[1:-1],
        output_activation=setup.output_activation,
        alpha=alpha,
        sample_weight=data.weight,
        dydx=slopes,
        slope_weight=slope_weight,
    )


def folds(
    parameters, data: Data, watched: Data | None, earlier: tuple | None
) -> tuple[Setup, Callable[[int], Fold]]:
    """The setup of a fit, and the fold of member j as a function of j.

    Parameters
    ----------
    parameters : MLPSigmoidRegressor
        Its parameters are read.
    data, watched : Data
        Rows to train on, and rows to watch with early stopping; if None, a part of the former.
    earlier : tuple of Setup and Fit, or None
        A fit to continue. Without one the architecture is that of the parameters, and the units are
        those of the rows to train on; of all rows, where members hold out rows of their own.
    """
    if earlier is None:
        setup, theta0 = _new_setup(parameters, data)
    else:
        setup, theta0 = earlier[0]._replace(single_output=data.single_output), earlier[1].theta
        check_unchanged(
            parameters,
            hidden_layer_sizes=setup.sizes[1:-1],
            output_activation=setup.output_activation,
            standardize=setup.x_scaler is not None,
        )
    fraction = parameters.validation_fraction
    holds_out = parameters.early_stopping and watched is None
    if holds_out and parameters.n_members == 1:
        holds_out, (data, watched) = False, data.split(fraction, setup.seed)
    if earlier is None:
        setup, theta0 = _with_units(setup, parameters, data, theta0)
    alpha = 0.0 if by_evidence(parameters) else parameters.alpha
    slope_weight = 1.0 if parameters.slope_weight == "auto" else parameters.slope_weight

    def objectives(train: Data, held_out: Data | None) -> tuple:
        if held_out is not None:  # which are judged by their values alone
            held_out = objective_of(held_out._replace(slopes=None), setup, alpha=0.0)
        return objective_of(train, setup, alpha, slope_weight), held_out

    shared = None
    if not holds_out:  # the rows as they were given are let go before a solver runs
        shared, data, watched = objectives(data, watched), None, None

    def fold_of(j: int) -> Fold:
        seed, start = setup.seed, theta0
        if j > 0:
            seeds = np.random.RandomState(seed).randint(_LARGEST_SEED, size=parameters.n_members)
            seed = int(seeds[j])
            start = _drawn(setup, parameters, seed, j)
            start[theta0 == 0] = 0  # the weights of what is constant
        own = shared or objectives(*data.split(fraction, seed))
        return Fold(*own, start, seed, earlier and earlier[1])

    return setup, fold_of


def _new_setup(parameters, data: Data) -> tuple[Setup, NDArray]:
    """The architecture that the parameters ask for, without units, and θ_0."""
    hidden = hidden_sizes(parameters.hidden_layer_sizes)
    setup = Setup(
        (data.rows.shape[1], *hidden, data.y.shape[1]),
        parameters.output_activation,
        data.rows.dtype.name,
        data.single_output,
        feature_names=data.feature_names,
    )
    random_state = check_random_state(parameters.random_state)
    theta0 = _drawn(setup, parameters, random_state)
    return setup._replace(seed=int(random_state.randint(_LARGEST_SEED))), theta0


def _drawn(setup: Setup, parameters, random_state, j: int = 0) -> NDArray:
    """Draw θ_0 of member j, for a network of this setup."""
    spreads = checked_spreads(parameters.initial_spread)
    return setup.layout.initial_theta(random_state, setup.dtype, spreads[j % len(spreads)])


def _with_units(setup: Setup, parameters, data: Data, theta0: NDArray) -> tuple[Setup, NDArray]:
    """The setup with scalers fitted to the data, and θ_0 without weights of what is constant."""
    if parameters.standardize:
        units = data.units(setup.output_activation)
        theta0 = without_constant(theta0, setup.layout, units, data.y)
        return setup._replace(x_scaler=units.x, y_scaler=units.y), theta0
    if setup.output_activation == "sigmoid" and not 0 <= data.y.min() <= data.y.max() <= 1:
        raise ValueError(
            "output_activation='sigmoid' with standardize=False needs targets in [0, 1]; "
            f"y goes from {data.y.min():g} to {data.y.max():g}. Set standardize=True."
        )
    return setup, theta0
