"""Ctrl-C, wherever it strikes: the best θ so far with curves that agree, or nothing at all."""

import copy
import linecache
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import Snapshot, blas_threads
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from threadpoolctl import threadpool_limits

import skprop
from skprop import (
    MLPObjective,
    MLPSigmoidRegressor,
    minimize_adam,
    minimize_lbfgs,
    minimize_lm,
    minimize_sgd,
)
from skprop.solvers import INTERRUPTED
from skprop.threads import helpers, single_threaded_blas

# Of an interrupt that Python dropped (see `with_interrupt`).
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function WeakSet:pytest.PytestUnraisableExceptionWarning"
)

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 10))
Y = np.sin(X[:, 0]) + X[:, 1] ** 2
SOLVERS = ("lbfgs", "lm", "sgd", "adam")
each_solver = pytest.mark.parametrize("solver", SOLVERS)
MINIMIZE = {"lbfgs": minimize_lbfgs, "lm": minimize_lm, "sgd": minimize_sgd, "adam": minimize_adam}


def regressor(solver="lbfgs", **parameters):
    """One that would go on for as long as its 10,000 iterations take."""
    defaults = {
        "hidden_layer_sizes": 20, "tol": 0, "max_iter": 10_000, "n_iter_no_change": 10_000,
        "learning_rate_init": 1e-3, "batch_size": 500, "random_state": 0, "early_stopping": False,
    }  # fmt: skip
    return MLPSigmoidRegressor(solver=solver, **defaults | parameters)


def assert_consistent(model, X, Y):
    """θ, the loss, the counts and the curves of a fit describe one and the same model."""
    assert len(model.loss_curve_) == model.n_iter_
    n_held_out = -(-len(X) // 10) if model.early_stopping else 0
    assert model.t_ == model.n_iter_ * (len(X) - n_held_out)
    assert np.isfinite(model.theta_).all()
    if model.early_stopping:
        assert len(model.validation_loss_curve_) == len(model.validation_scores_) == model.n_iter_
        if model.n_iter_:
            assert model.best_validation_score_ == max(model.validation_scores_)
        return
    objective, theta0 = clone_of(model).make_objective(X, Y)
    assert model.loss_ == objective.loss(model.theta_)
    assert model.loss_ <= objective.loss(theta0)
    if model.solver in ("lbfgs", "lm") and model.n_iter_:
        assert model.loss_ == min(model.loss_curve_)


def clone_of(model):
    return MLPSigmoidRegressor(**model.get_params() | {"warm_start": False})


def with_interrupt(call, delay):
    """Send SIGINT some time after ``call`` has begun; True if it came out as KeyboardInterrupt.

    Where nothing comes of it in five seconds it is sent again: Python drops an interrupt that comes
    in the callback of a weak reference, as of a thread that is gone.
    """
    done = threading.Event()

    def send():
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)
        while not done.wait(5):
            os.kill(os.getpid(), signal.SIGINT)

    sender, ended = threading.Thread(target=send), False
    try:
        sender.start()
        call()
        ended = True
        done.set()
        sender.join()
        for _ in range(1000):  # where a signal that came late is noticed
            pass
    except KeyboardInterrupt:
        pass
    done.set()
    sender.join()
    return not ended


def interrupted_in_the_middle(model):
    """Fit until Ctrl-C after half a second, or later on a machine that is busy."""
    delay = 0.5
    while with_interrupt(lambda: model.fit(X, Y), delay) or model.n_iter_ <= 3:
        delay *= 2
        assert delay < 60


@each_solver
def test_a_signal_ends_a_fit_with_the_best_theta_so_far(solver):
    model = regressor(solver)
    with pytest.warns(ConvergenceWarning, match="Interrupted after"):
        interrupted_in_the_middle(model)
    assert_consistent(model, X, Y)
    assert model.loss_ < model.loss_curve_[0]
    assert "Interrupted" in model.message_
    assert np.isfinite(model.predict(X)).all()


@each_solver
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_signals_at_any_moment_leave_a_whole_model_or_the_one_before(solver, early_stopping):
    blas = blas_threads()
    outcomes = []
    delay, delays = 0.06, np.random.default_rng(1).uniform(0, 0.06, 25).tolist()
    while "kept" not in outcomes or delays:
        delay = delays.pop() if delays else 2 * delay  # on a machine that is busy
        assert delay < 60
        model = regressor(solver, early_stopping=early_stopping)
        before = Snapshot(model)
        if with_interrupt(lambda model=model: model.fit(X, Y), delay):
            before.assert_unchanged()
            outcomes.append("raised")
        else:
            assert_consistent(model, X, Y)
            outcomes.append("kept")
    assert blas_threads() == blas
    assert helpers.all_free()


def test_in_a_search_a_signal_ends_one_candidate(monkeypatch):
    n_calls, evaluate = 0, MLPObjective.__call__

    def evaluate_and_interrupt(self, theta, rows=None):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self, theta, rows)

    monkeypatch.setattr(MLPObjective, "__call__", evaluate_and_interrupt)
    pipeline = make_pipeline(PolynomialFeatures(2), regressor(max_iter=1000, tol=0.05))
    name = "mlpsigmoidregressor__alpha"
    search = GridSearchCV(pipeline, {name: [1e-4, 1.0, 10.0]}, cv=2)
    with pytest.warns(ConvergenceWarning, match="Interrupted") as caught:
        search.fit(X[:500], Y[:500])
    assert len(caught) == 1
    assert n_calls > 40  # the other candidates went on
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@each_solver
def test_before_the_first_evaluation_it_comes_out_and_the_previous_fit_is_whole(
    solver, monkeypatch
):
    small = X[:50], Y[:50]
    model = regressor(solver, max_iter=5, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        model.fit(*small)
    before = Snapshot(model)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPObjective, "_evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*small)
    before.assert_unchanged()


class InterruptAt:
    """Raise KeyboardInterrupt at the k-th line of this package that runs, as Ctrl-C may.

    Not in the locks of `threads`, nor at a ``with``, whose line also runs at its end: from there
    no signal keeps the interpreter from calling ``__exit__``.
    """

    def __init__(self, k):
        self.k, self.n_lines = k, 0
        self.folder = str(Path(skprop.__file__).parent)
        self.left_alone = skprop.threads.__file__

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.enter_function)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def enter_function(self, frame, event, argument):
        file = frame.f_code.co_filename
        return self.each_line if file.startswith(self.folder) and file != self.left_alone else None

    def each_line(self, frame, event, argument):
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):
            self.n_lines += 1
            if self.n_lines == self.k:
                raise KeyboardInterrupt
        return self.each_line


@each_solver
@pytest.mark.parametrize("kind", ["plain", "early stopping", "warm"])
def test_an_interrupt_at_any_line_leaves_a_whole_model_or_the_one_before(solver, kind):
    small = X[:40, :3], Y[:40]
    parameters = {"hidden_layer_sizes": 3, "max_iter": 4, "batch_size": 15}
    first = regressor(solver, early_stopping=kind == "early stopping", **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if kind == "warm":
            first.set_params(warm_start=True).fit(*small)
        with InterruptAt(None) as whole:
            copy.deepcopy(first).fit(*small)
        outcomes = {"raised": 0, "kept": 0}
        lines = range(1, whole.n_lines + 1)
        for k in np.random.default_rng(0).choice(lines, 60, replace=False):
            model = copy.deepcopy(first)
            before = Snapshot(model)
            try:
                with InterruptAt(k):
                    model.fit(*small)
            except KeyboardInterrupt:
                before.assert_unchanged()
                outcomes["raised"] += 1
            else:
                assert_consistent(model, *small)
                outcomes["kept"] += 1
    assert min(outcomes.values()) > 3


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_was_interrupted_goes_on_to_the_last_bit(solver, early_stopping):
    small = X[:200], Y[:200]
    options = {"early_stopping": early_stopping, "batch_size": 20, "warm_start": True}
    once = regressor(solver, max_iter=8, **options)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        once.fit(*small)
    n_visits = 8 * 9 if early_stopping else 8 * 10
    for k in range(15, n_visits, 7):
        model, calls = regressor(solver, **options), 0
        evaluate = MLPObjective.__call__

        def interrupted(self, theta, rows=None, *, k=k, evaluate=evaluate):
            nonlocal calls
            calls += 1
            if calls == k:
                raise KeyboardInterrupt
            return evaluate(self, theta, rows)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MLPObjective, "__call__", interrupted)
            with pytest.warns(ConvergenceWarning, match="Interrupted"):
                model.fit(*small)
        done = (k - 1) // (n_visits // 8)
        assert model.n_iter_ == done
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            model.set_params(max_iter=8 - done).fit(*small)
        np.testing.assert_array_equal(model.theta_, once.theta_)
        assert model.loss_curve_ == once.loss_curve_
        assert model.validation_scores_ == once.validation_scores_


class Parabola:
    """½ mean (θ − c_s)² over the rows s."""

    centres = np.array([-1.0, 0.0, 1.0, 2.0])
    n_samples = 4

    def __call__(self, theta, rows=slice(None)):
        difference = theta - self.centres[rows, None]
        return 0.5 * float(np.mean(difference**2)), difference.mean(axis=0)

    def loss(self, theta):
        return self(theta)[0]


@pytest.mark.parametrize(("solver", "rate", "tol"), [("sgd", 0.01, 0.45), ("adam", 0.1, 0.42)])
@pytest.mark.parametrize("watched", [{}, {"validation_loss": Parabola().loss}])
def test_a_run_interrupted_anywhere_stalls_at_the_epoch_of_an_undisturbed_one(
    solver, rate, tol, watched
):
    def run(**options):
        return MINIMIZE[solver](
            Parabola(), np.array([3.0]), tol=tol, n_iter_no_change=2, batch_size=2,
            learning_rate_init=rate, random_state=0, **watched, **options,
        )  # fmt: skip

    with InterruptAt(None) as whole:
        once = run()
    assert once.success
    assert once.nit > 3  # with epochs that count as progress and epochs that do not
    places = set()
    for k in range(1, whole.n_lines + 1, 3):  # every third line
        try:
            with InterruptAt(k):
                first = run()
        except KeyboardInterrupt:
            continue  # before the first evaluation, or as the result is handed out
        if first.status != INTERRUPTED or first.nit == once.nit:
            continue  # the last epoch was over
        then = run(state=first.state)
        places.add((first.nit, first.nfev))
        assert then.success
        assert [*first.loss_curve, *then.loss_curve] == once.loss_curve
        np.testing.assert_array_equal(then.x, once.x)
    assert {(1, 3), (3, 7)} <= places  # also in the middle of an epoch


def test_a_pass_of_partial_fit_is_made_whole_or_not_at_all(monkeypatch):
    model = regressor("adam").partial_fit(X, Y)
    before, calls = Snapshot(model), 0
    evaluate = MLPObjective.__call__

    def interrupted(self, theta, rows=None):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return evaluate(self, theta, rows)

    monkeypatch.setattr(MLPObjective, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, Y)
    before.assert_unchanged()


@each_solver
def test_a_solver_called_directly_reports_it(solver):
    objective = MLPObjective(X[:100], Y[:100], hidden_layer_sizes=3)
    theta0 = objective.initial_theta(0)

    def callback(iteration):
        if iteration.nit == 4:
            raise KeyboardInterrupt

    result = MINIMIZE[solver](objective, theta0, callback=callback)
    assert (result.success, result.status, result.nit) == (False, INTERRUPTED, 4)
    assert len(result.loss_curve) == 4
    assert result.fun == objective.loss(result.x) < objective.loss(theta0)
    assert "after 4 iterations" in result.message


@threadpool_limits.wrap(2, "blas")
def test_a_bare_evaluation_that_is_interrupted_leaves_blas_as_it_was():
    blas = blas_threads()
    objective = MLPObjective(X, Y, hidden_layer_sizes=20)
    theta = objective.initial_theta(0)
    expected = objective(theta)
    for k in range(1, 200):
        try:
            with InterruptAt(k):
                objective(theta)
        except KeyboardInterrupt:
            pass
        loss, gradient = objective(theta)
        assert loss == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])
        with single_threaded_blas():  # whatever the interrupt left is put right
            assert {n for n, _ in skprop.threads.limit._limited} == {2}
        assert blas_threads() == blas
