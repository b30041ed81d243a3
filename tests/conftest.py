"""The problems over which every derivative is tested."""

import copy
import itertools
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, settings
from sklearn.datasets import load_diabetes
from threadpoolctl import threadpool_info

from skprop import MLPObjective

# Tests press Ctrl-C, which is ignored in what `nohup` or a script in the background has started.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Of tests that do not say themselves how many examples they want.
settings.register_profile(
    "default", max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("deep", settings.get_profile("default"), max_examples=10_000)
settings.load_profile("default")

HIDDEN = {0: (), 1: (4,), 2: (4, 3), 3: (4, 3, 2)}


@dataclass(frozen=True)
class Problem:
    """Data, weights of rows or of targets (one of them 0), a penalty, and a θ to evaluate at."""

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    alpha: float
    hidden: tuple
    output_activation: str
    theta: np.ndarray

    @property
    def sizes(self):
        return (self.X.shape[1], *self.hidden, self.y.shape[1])

    def objective(self, dtype=np.float64, **changes):
        arguments = {
            "X": self.X.astype(dtype),
            "y": self.y.astype(dtype),
            "hidden_layer_sizes": self.hidden,
            "output_activation": self.output_activation,
            "alpha": self.alpha,
            "sample_weight": self.w,
        }
        arguments |= changes
        return MLPObjective(arguments.pop("X"), arguments.pop("y"), **arguments)

    @property
    def weights(self):
        """The weights of the targets."""
        return np.broadcast_to(self.w.reshape(len(self.w), -1), self.y.shape)

    @property
    def W(self):
        return reference.total(self.w)

    @property
    def definition(self):
        """The arguments of `reference.loss` after θ."""
        return self.X, self.y, self.w, self.alpha, self.sizes, self.output_activation


def make_problem(depth, n_outputs, output_activation, weights="rows", *, n_samples=9, n_features=3):
    rng = np.random.default_rng([depth, n_outputs, output_activation == "sigmoid"])
    X = rng.normal(size=(n_samples, n_features))
    y = rng.normal(size=(n_samples, n_outputs))
    w = rng.uniform(0.2, 3.0, n_samples)
    w[2] = 0.0
    if weights == "targets":
        w = np.c_[w, w[::-1] + 0.1]
        w[2], w[4, 0], w[:3, 1] = 0.0, 0.0, 0.0
    sizes = (n_features, *HIDDEN[depth], n_outputs)
    n_params = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    theta = rng.normal(scale=0.5, size=n_params)
    assert reference.largest_input(theta, X, sizes) <= 5
    return Problem(X, y, w, 0.3, HIDDEN[depth], output_activation, theta)


KINDS = [(1, "rows"), (2, "rows"), (2, "targets")]  # the number of outputs, and what has a weight


@pytest.fixture(
    params=[
        (depth, n_outputs, activation, weights)
        for depth, (n_outputs, weights), activation in itertools.product(
            HIDDEN, KINDS, ("identity", "sigmoid")
        )
    ],
    ids=lambda p: f"depth{p[0]}-outputs{p[1]}-{p[2]}-{p[3]}",
)
def problem(request):
    return make_problem(*request.param)


@pytest.fixture(scope="session")
def diabetes():
    return load_diabetes(return_X_y=True)


def blas_threads():
    """The threads of every BLAS that is loaded (OpenMP has its own, and is no concern of ours)."""
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


class Snapshot:
    """The state of an estimator, to hold a later state against."""

    def __init__(self, estimator):
        self.estimator = estimator
        self.attributes = dict(vars(estimator))
        self.theta = copy.deepcopy(getattr(estimator, "theta_", None))
        self.curve = copy.deepcopy(getattr(estimator, "loss_curve_", None))

    def assert_unchanged(self):
        attributes = vars(self.estimator)
        assert attributes.keys() == self.attributes.keys()
        assert all(attributes[name] is value for name, value in self.attributes.items())
        np.testing.assert_equal(getattr(self.estimator, "theta_", None), self.theta)
        assert getattr(self.estimator, "loss_curve_", None) == self.curve
