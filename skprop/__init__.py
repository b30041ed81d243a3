"""Sigmoid multilayer perceptrons for regression, with an exact gradient by hand."""

from .displays import LossCurveDisplay
from .objective import MLPObjective
from .regressor import MLPSigmoidRegressor
from .sensitivity import Sensitivities, feature_importances, sensitivities
from .solvers import minimize_adam, minimize_lbfgs, minimize_lm, minimize_sgd
from .summed import SummedObjective

__all__ = [
    "LossCurveDisplay",
    "MLPObjective",
    "MLPSigmoidRegressor",
    "Sensitivities",
    "SummedObjective",
    "feature_importances",
    "minimize_adam",
    "minimize_lbfgs",
    "minimize_lm",
    "minimize_sgd",
    "sensitivities",
]
__version__ = "0.2.0.dev0"
