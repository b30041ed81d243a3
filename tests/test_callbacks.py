"""scikit-learn's callbacks: tasks, what the hooks get, stopping, and the estimator afterwards."""

import copy
import re
import time
import warnings

import numpy as np
import pytest
from conftest import Snapshot
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")

X, Y = load_diabetes(return_X_y=True, as_frame=True)
SOLVERS = ("lbfgs", "sgd", "adam", "lm")


def regressor(**parameters):
    return MLPSigmoidRegressor(
        **{"hidden_layer_sizes": 5, "random_state": 0, "alpha": 1e-4} | parameters
    )


def short(**parameters):
    """One that stops by itself before its limit, whatever the solver, and does not warn."""
    return regressor(**{"tol": 1e-2, "n_iter_no_change": 5} | parameters)


class Recorder:
    """Notes every hook as (name, task name, task id, arguments)."""

    def __init__(self, stop_at=None, fail_in=None):
        self.stop_at, self.fail_in, self.notes = stop_at, fail_in, []

    def note(self, name, estimator, context, **arguments):
        self.notes.append((name, context.task_name, context.task_id, arguments))
        if name == self.fail_in:
            raise RuntimeError(f"{name} failed")

    def setup(self, estimator, context):
        self.note("setup", estimator, context, max_subtasks=context.max_subtasks)

    def teardown(self, estimator, context):
        self.note("teardown", estimator, context)

    def on_fit_task_begin(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        arguments = {"X": X, "y": y, "metadata": metadata, "fitted": fitted_estimator}
        self.note("begin", estimator, context, **arguments)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        arguments = {"X": X, "y": y, "metadata": metadata, "fitted": fitted_estimator}
        self.note("end", estimator, context, **arguments)
        return context.task_name == "iteration" and context.task_id == self.stop_at

    def of(self, name, task_name="iteration"):
        return [note[3] for note in self.notes if note[:2] == (name, task_name)]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_is_one_task_with_one_task_an_iteration_below_it(solver, early_stopping):
    recorder = Recorder()
    model = short(solver=solver, early_stopping=early_stopping).set_callbacks(recorder).fit(X, Y)
    assert model.n_iter_ > 5
    assert [note[:3] for note in recorder.notes] == [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        *((name, "iteration", i) for i in range(model.n_iter_) for name in ("begin", "end")),
        ("end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    assert recorder.notes[0][3] == {"max_subtasks": model.max_iter}


@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks_do_not_change_the_fit(solver):
    model = short(solver=solver).set_callbacks(Recorder()).fit(X, Y)
    plain = short(solver=solver).fit(X, Y)
    np.testing.assert_array_equal(model.theta_, plain.theta_)
    assert model.loss_curve_ == plain.loss_curve_
    assert plain.log_evidence_ == model.log_evidence_  # which a fit puts off
    assert vars(model).keys() - vars(plain).keys() == {"_skl_callbacks"}


def test_hooks_get_the_data_as_the_caller_gave_them():
    recorder, w = Recorder(), np.linspace(0, 1, len(Y))
    short().set_callbacks(recorder).fit(X, Y, sample_weight=w)
    for name in ("begin", "end"):
        for task in ("fit", "iteration"):
            for arguments in recorder.of(name, task):
                assert arguments["X"] is X
                assert arguments["y"] is Y
                assert arguments["metadata"]["sample_weight"] is w
    recorder = Recorder()
    short().set_callbacks(recorder).fit(X, Y)
    assert {a["metadata"] for a in recorder.of("end")} == {None}


@pytest.mark.parametrize("solver", SOLVERS)
def test_hooks_get_the_network_before_and_after_each_iteration(solver):
    recorder = Recorder()
    model = short(solver=solver).set_callbacks(recorder).fit(X, Y)
    before = [arguments["fitted"] for arguments in recorder.of("begin")]
    after = [arguments["fitted"] for arguments in recorder.of("end")]
    assert before[0] is None
    for i in range(model.n_iter_):
        assert after[i].n_iter_ == i + 1
        assert after[i].loss_ == model.loss_curve_[i]
        assert np.isfinite(after[i].predict(X)).all()
        if i:
            np.testing.assert_array_equal(before[i].theta_, after[i - 1].theta_)
            assert (after[i].theta_ != before[i].theta_).any()
    np.testing.assert_array_equal(after[-1].theta_, model.theta_)
    (at_the_end,) = recorder.of("end", "fit")
    np.testing.assert_array_equal(at_the_end["fitted"].predict(X), model.predict(X))
    after[-1].theta_[:] = 0  # theirs to change
    assert (model.theta_ != 0).any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_goes_on_counting(solver):
    model = short(solver=solver, warm_start=True, max_iter=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y)
        recorder = Recorder()
        model.set_callbacks(recorder).fit(X, Y)
    n_before = 4
    assert model.n_iter_ > n_before
    counts = [arguments["fitted"].n_iter_ for arguments in recorder.of("end")]
    assert counts == list(range(n_before + 1, model.n_iter_ + 1))
    assert [a["fitted"]._solver_state for a in recorder.of("end")] == [None] * len(counts)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_stop_request_ends_the_fit_with_the_model_so_far_and_no_warning(solver):
    stopped = short(solver=solver).set_callbacks(Recorder(stop_at=3)).fit(X, Y)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == 4
    assert stopped.message_ == "The callback stopped the run."
    with pytest.warns(ConvergenceWarning, match="max_iter=4"):
        limited = short(solver=solver, max_iter=4).fit(X, Y)
    np.testing.assert_array_equal(stopped.theta_, limited.theta_)


def test_a_stop_request_with_early_stopping_restores_the_best_model():
    recorder = Recorder(stop_at=200)
    model = regressor(early_stopping=True, n_iter_no_change=1000, tol=0, hidden_layer_sizes=30)
    model.set_callbacks(recorder).fit(X, Y)
    best = int(np.argmin(model.validation_loss_curve_))
    assert best < 190  # it fits noise since
    np.testing.assert_array_equal(model.theta_, recorder.of("end")[best]["fitted"].theta_)


def test_a_stop_request_inside_a_pipeline_ends_only_the_network():
    model = make_pipeline(StandardScaler(), short().set_callbacks(Recorder(stop_at=2))).fit(X, Y)
    assert model[-1].n_iter_ == 3
    assert model.predict(X).shape == (442,)


@pytest.mark.parametrize("fail_in", ["setup", "begin", "end", "teardown"])
@pytest.mark.parametrize("warm_start", [False, True])
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(fail_in, warm_start):
    model = short(warm_start=warm_start).fit(X, Y)
    recorder = Recorder(fail_in=fail_in)
    model.set_callbacks(recorder)
    before = Snapshot(model)
    with pytest.raises(RuntimeError, match=f"{fail_in} failed"):
        model.fit(X, Y)
    before.assert_unchanged()
    assert len(recorder.of("teardown", "fit")) == 1
    unfitted = short().set_callbacks(Recorder(fail_in=fail_in))
    with pytest.raises(RuntimeError, match=f"{fail_in} failed"):
        unfitted.fit(X, Y)
    assert not hasattr(unfitted, "theta_")


def test_a_fit_with_invalid_data_does_not_begin():
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        short().set_callbacks(recorder).fit(X, Y * np.nan)
    assert recorder.notes == []


def test_a_fit_that_raises_tears_the_callbacks_down():
    recorder = Recorder()
    model = short(standardize=False).set_callbacks(recorder)
    with pytest.raises(ValueError, match="not finite even where the fit starts"):
        model.fit(X, Y * 1e200)
    assert [note[:2] for note in recorder.notes] == [
        ("setup", "fit"), ("begin", "fit"), ("teardown", "fit")
    ]  # fmt: skip
    assert vars(model).keys() - vars(short()).keys() == {"_skl_callbacks"}
    with pytest.raises(ValueError, match="max_iter"):
        model.set_params(max_iter=-1).fit(X, Y)
    assert len(recorder.notes) == 3  # a fit that was never begun


def test_a_solver_of_the_callers_own_is_one_task():
    def solver(objective, theta0):
        return minimize(objective, theta0, jac=True, method="CG", options={"maxiter": 3})

    recorder = Recorder()
    with pytest.warns(ConvergenceWarning, match="Maximum number of iterations"):
        model = regressor(solver=solver).set_callbacks(recorder).fit(X, Y)
    assert [note[0] for note in recorder.notes] == ["setup", "begin", "end", "teardown"]
    assert recorder.notes[0][3] == {"max_subtasks": 0}
    (at_the_end,) = recorder.of("end", "fit")
    np.testing.assert_array_equal(at_the_end["fitted"].theta_, model.theta_)


def test_partial_fit_calls_none():
    recorder = Recorder()
    short(solver="adam").set_callbacks(recorder).partial_fit(X, Y)
    assert recorder.notes == []


MEMBERS = {**{solver: {"solver": solver} for solver in SOLVERS}, "evidence": {"alpha": "evidence"}}


def committee(kind, **parameters):
    return short(n_members=3, **MEMBERS[kind] | parameters)


@pytest.mark.parametrize("kind", MEMBERS)
def test_every_member_of_a_committee_is_a_task_with_its_iterations_below_it(kind):
    recorder = Recorder()
    model, plain = committee(kind).set_callbacks(recorder).fit(X, Y), committee(kind).fit(X, Y)
    np.testing.assert_array_equal(model.theta_, plain.theta_)
    assert [a["fitted"] for a in recorder.of("begin", "member")] == 3 * [None]
    (setup,) = recorder.of("setup", "fit")
    assert setup["max_subtasks"] == 3
    found = {note[2]: note[3]["fitted"] for note in recorder.notes if note[:2] == ("end", "member")}
    assert sorted(found) == [0, 1, 2]
    for j, member in found.items():
        np.testing.assert_array_equal(member.theta_, model.theta_[j])
        assert np.isfinite(member.predict(X)).all()
    counts = [member.n_iter_ for member in found.values()]
    assert max(counts) == model.n_iter_
    assert len(recorder.of("end")) == sum(counts)
    assert [note[:2] for note in recorder.notes[-2:]] == [("end", "fit"), ("teardown", "fit")]


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_request_to_stop_ends_the_run_of_each_member_that_asks(kind):
    model = committee(kind).set_callbacks(Recorder(stop_at=2)).fit(X, Y)
    assert model.n_iter_ == 3
    assert model.theta_.shape[0] == 3
    assert model.message_ == "The callback stopped the run."


@pytest.mark.parametrize("kind", MEMBERS)
def test_hooks_of_members_are_called_one_at_a_time(kind):
    class Exclusive(Recorder):
        inside = False

        def note(self, *note, **arguments):
            assert not self.inside
            self.inside = True
            time.sleep(1e-4)  # lets another thread in, if one could come
            super().note(*note, **arguments)
            self.inside = False

    committee(kind, max_iter=10, tol=1e-2).set_callbacks(Exclusive(stop_at=4)).fit(X, Y)


def test_scoring_monitor_logs_the_iterations_of_every_member():
    monitor = callback.ScoringMonitor(scoring="r2")
    model = committee("adam").set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data
    members = {row["parent_task_id_path"][-1] for row in log if row["task_name"] == "iteration"}
    assert members == {0, 1, 2}
    assert sum(row["task_name"] == "member" for row in log) == 3
    last = [row for row in log if row["task_name"] == "fit"][-1]
    assert last["r2"] == pytest.approx(model.score(X, Y))


def test_a_progress_bar_shows_a_bar_for_every_member(capsys):
    pytest.importorskip("rich")
    committee("lbfgs").set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert len(re.findall(r"member #\d +\S+ +100%", capsys.readouterr().out)) >= 3


def test_verbose_prints_beside_a_callback(capsys):
    model = short(verbose=True).set_callbacks(Recorder(stop_at=2)).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(", ")[0] for line in lines[:-1]] == [
        f"Iteration {i}, loss = {model.loss_curve_[i - 1]:.8g}" for i in (1, 2, 3)
    ]
    assert lines[-1] == model.message_


def test_clones_and_deep_copies_keep_their_callbacks():
    recorder = Recorder()
    model = short().set_callbacks(recorder)
    clone(model).fit(X, Y)
    copy.deepcopy(model).fit(X, Y)
    assert len(recorder.of("setup", "fit")) == 1  # a deep copy has one of its own
    assert not hasattr(clone(model.set_callbacks()), "_skl_callbacks")


def test_scoring_monitor_records_every_iteration():
    monitor = callback.ScoringMonitor(scoring=["r2", "neg_mean_squared_error"])
    model = short().set_callbacks(monitor).fit(X, Y)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit"] + ["iteration"] * model.n_iter_
    scores = [row["r2"] for row in rows]
    assert scores[0] == scores[-1] == pytest.approx(model.score(X, Y), rel=1e-12)
    assert scores[1] < 0 < scores[-1]


def test_scoring_monitor_weighs_as_the_fit_does():
    monitor, w = callback.ScoringMonitor(scoring="r2"), np.linspace(0, 1, len(Y))
    model = short().set_callbacks(monitor).fit(X, Y, sample_weight=w)
    weighted = model.score(X, Y, sample_weight=w)
    assert monitor.get_logs().data[-1]["r2"] == pytest.approx(weighted, rel=1e-12)
    assert abs(weighted - model.score(X, Y)) > 1e-3


def test_scoring_monitor_sees_every_fit_of_a_search_in_two_processes():
    monitor = callback.ScoringMonitor(scoring="r2")
    model = short(max_iter=1000).set_callbacks(monitor)
    search = GridSearchCV(model, {"alpha": [0.1, 10]}, cv=2, n_jobs=2).fit(X, Y)
    rows = monitor.get_logs().data
    fits = [row for row in rows if row["task_name"] == "fit"]
    assert len(fits) == 2 * 2 + 1
    paths = [row["parent_task_id_path"] for row in rows if row["task_name"] == "iteration"]
    assert len(set(paths)) == 5
    refit = max(paths)
    assert paths.count(refit) == search.best_estimator_.n_iter_


@pytest.fixture
def bars(capsys):
    """What the progress bars said in the end, as a list of descriptions."""
    rich = pytest.importorskip("rich")
    # The console of all bars keeps the COLUMNS of its first use, which a parallel run sets to 80.
    rich.reconfigure(width=160)

    def descriptions():
        printed = capsys.readouterr().out
        done = re.findall(r"^ *(.+?) +━+ +100%", printed, flags=re.MULTILINE)
        assert len(done) == printed.count("━ ")  # no bar was left unfinished
        return done

    yield descriptions
    rich.reconfigure()


@pytest.mark.parametrize("solver", SOLVERS)
def test_progress_bar_of_the_estimator_alone(bars, solver):
    short(solver=solver).set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert bars() == ["MLPSigmoidRegressor - fit"]


def test_progress_bar_of_the_estimator_in_a_pipeline(bars):
    make_pipeline(StandardScaler(), short()).set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert bars() == [
        "Pipeline - fit",
        "Pipeline - fit-transform-standardscaler | StandardScaler - fit #0",
        "Pipeline - fit-final-estimator | MLPSigmoidRegressor - fit #1",
    ]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_bars_of_the_estimator_in_a_grid_search(bars, n_jobs):
    search = GridSearchCV(short(), {"alpha": [0.1, 10]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callback.ProgressBar()).fit(X, Y)
    fit = "GridSearchCV - candidate-split-evaluation | MLPSigmoidRegressor - fit"
    assert sorted(bars()) == [
        *(f"{fit} #{i}" for i in range(4)),
        "GridSearchCV - fit",
        "GridSearchCV - refit-with-best-params | MLPSigmoidRegressor - fit #1",
        "GridSearchCV - search #0",
    ]


def test_progress_bars_at_every_level_of_a_search_over_pipelines(bars):
    pipeline = make_pipeline(StandardScaler(), short())
    search = GridSearchCV(pipeline, {"mlpsigmoidregressor__alpha": [0.1, 10]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, Y)
    own = [line for line in bars() if line.endswith("MLPSigmoidRegressor - fit #1")]
    assert own == ["Pipeline - fit-final-estimator | MLPSigmoidRegressor - fit #1"] * 5
