"""The same bits from the same seed and data, whatever else is going on."""

import pickle
import threading

import numpy as np
import pytest
import stress
from joblib import Parallel, delayed
from sklearn.datasets import make_friedman1
from threadpoolctl import threadpool_limits

from skprop import MLPSigmoidRegressor

X, Y = make_friedman1(12_000, random_state=0)
SOLVERS = ("lbfgs", "lm", "sgd", "adam")
each_solver = pytest.mark.parametrize("solver", SOLVERS)
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(solver, X=X, Y=Y, **parameters):
    defaults = {"hidden_layer_sizes": 20, "max_iter": 4, "batch_size": 4000, "random_state": 0}
    return MLPSigmoidRegressor(solver=solver, **defaults | parameters).fit(X, Y)


def theta_of(solver):
    import warnings

    warnings.simplefilter("ignore")  # in a worker there is no filter of pytest
    return fit(solver).theta_


@quick
@each_solver
def test_a_fit_is_the_same_on_1_to_16_threads(solver):
    thetas, predictions = [], []
    for n_threads in (1, 2, 3, 16):
        with threadpool_limits(n_threads, "blas"):
            model = fit(solver)
            thetas.append(model.theta_)
            predictions.append(model.predict(X))
    for theta, predicted in zip(thetas, predictions, strict=True):
        np.testing.assert_array_equal(theta, thetas[0])
        np.testing.assert_array_equal(predicted, predictions[0])


@quick
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fit_is_the_same_in_workers(backend):
    expected = [fit(solver).theta_ for solver in SOLVERS]
    thetas = Parallel(n_jobs=2, backend=backend)(delayed(theta_of)(s) for s in 2 * SOLVERS)
    for theta, reference in zip(thetas, 2 * expected, strict=True):
        np.testing.assert_array_equal(theta, reference)


@quick
@each_solver
def test_a_fit_is_the_same_whatever_ran_before(solver):
    expected = fit(solver).theta_
    for _ in range(2):
        np.random.seed(1)  # noqa: NPY002 - the global state must not matter
        np.random.random(7)  # noqa: NPY002
        fit("adam", X[:100, :3], Y[:100], hidden_layer_sizes=(3, 3), learning_rate_init=1e300)
        fit("lbfgs", X[:5000].astype(np.float32), Y[:5000])
        np.testing.assert_array_equal(fit(solver).theta_, expected)


@quick
@each_solver
def test_predictions_are_the_same_after_pickling(solver):
    model = fit(solver)
    again = pickle.loads(pickle.dumps(model))
    for n in (1, 100, 12_000):
        np.testing.assert_array_equal(again.predict(X[:n]), model.predict(X[:n]))


@quick
@pytest.mark.parametrize("hidden", [(), (50,), (20, 20)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_prediction_of_a_row_does_not_depend_on_the_rows_beside_it(hidden, dtype):
    data = X.astype(dtype)
    model = fit("lbfgs", data, hidden_layer_sizes=hidden)
    whole = model.predict(data)
    rng = np.random.default_rng(0)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for n in (1, 2, 3, 17, 255, 256, 257, 1000, 5000, 11_999):
        rows = rng.permutation(len(data))[:n]
        np.testing.assert_allclose(model.predict(data[rows]), whole[rows], rtol=tolerance)
    one_by_one = np.concatenate([model.predict(data[k : k + 1]) for k in range(300)])
    np.testing.assert_allclose(one_by_one, whole[:300], rtol=tolerance)


@quick
def test_answers_under_load_are_the_answers_alone():
    before = threading.active_count()
    counts = stress.stress(seconds=3, n_threads=32)
    assert counts["predictions"] > 32
    assert counts["fits"] > 0
    assert threading.active_count() <= before + 16  # the helpers stay, and wait
