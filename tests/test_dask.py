"""Fits over dask collections are those of one machine, whatever the partitions and the workers."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
from conftest import Snapshot
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skprop import MLPSigmoidRegressor

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

import dask.array as da  # noqa: E402
import psutil  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402

import skprop.cluster  # noqa: E402
import skprop.dask  # noqa: E402
from skprop.dask import DaskMLPSigmoidRegressor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("default::ResourceWarning"),
]
OPTIONS = {"dashboard_address": ":0", "threads_per_worker": 1}


def listening():
    """The ports on which this process and those below it wait for others."""
    here = psutil.Process()
    ports = set()
    for process in (here, *here.children(recursive=True)):
        try:
            connections = process.net_connections(kind="inet")
        except psutil.Error:  # it has just ended, or is not ours to look into
            continue
        ports |= {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    return ports


@pytest.fixture(scope="module", autouse=True)
def _no_port_is_left_open():
    before = listening()
    yield
    end = time.monotonic() + 10
    while listening() - before and time.monotonic() < end:
        time.sleep(0.1)
    assert not listening() - before


@pytest.fixture(scope="module")
def client():
    """Two workers in this process."""
    with (
        LocalCluster(n_workers=2, processes=False, **OPTIONS) as cluster,
        Client(cluster) as client,
    ):
        yield client


def rows(n=120, seed=0, d=6):
    return make_friedman1(n, n_features=d, noise=0.5, random_state=seed)


def regressor(cls=DaskMLPSigmoidRegressor, **parameters):
    return cls(**{"hidden_layer_sizes": 4, "random_state": 0, "max_iter": 8} | parameters)


def collections(X, y, w, kind):
    """Dask arrays of X, y and w, cut in some way."""
    n = len(y)
    size = {"one": n, "seven": -(-n // 7), "rows of one": 1}.get(kind, 25)
    arrays = [da.from_array(a, chunks=(size, *a.shape[1:])) for a in (X, y, w)]
    if kind == "with empty ones":  # as a filter leaves them
        padded = [np.concatenate([a[:25], a, a[:25]]) for a in (X, y, w)]
        arrays = [da.from_array(a, chunks=(25, *a.shape[1:])) for a in padded]
        keep = da.from_array(np.repeat([False, True, False], [25, n, 25]), chunks=25)
        arrays = [a[keep] for a in arrays]
    if kind == "of unknown length":
        keep = da.from_array(np.ones(n, bool), chunks=size)
        arrays = [a[keep] for a in arrays]
    if kind == "chunked columns":
        arrays[0] = arrays[0].rechunk((size, 2))
    return arrays


KINDS = ["one", "seven", "rows of one", "with empty ones", "of unknown length", "chunked columns"]


def test_without_a_fit_nothing_is_predicted_lazily():
    with pytest.raises(NotFittedError):
        regressor().predict(da.zeros((4, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_is_that_of_one_machine(kind, client):
    X, y = rows(40)
    order = np.argsort(y)
    X, y = X[order], y[order]
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    ours, theta = regressor().make_objective(*collections(X, y, w, kind))
    whole, same = regressor(MLPSigmoidRegressor).make_objective(X, y, w)
    assert np.array_equal(theta, same)
    assert_allclose(ours.loss(theta), whole.loss(theta), rtol=1e-13)
    for of in ("gradient", "gauss_newton"):
        a, b = getattr(ours, of)(theta), getattr(whole, of)(theta)
        assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())
    a, b = ours.hessp(theta, theta), whole.hessp(theta, theta)
    assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "lm"},
        {"alpha": "evidence"},
        {"solver": "adam", "batch_size": 60},
        {"solver": "sgd", "batch_size": 60},
    ],
    ids=str,
)
def test_a_fit_is_that_of_one_machine(options, client):
    X, y = rows()
    w = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    dX, dy, dw = collections(X, y, w, "seven")
    many = regressor(**options).fit(dX, dy, dw)
    one = regressor(MLPSigmoidRegressor, **options).fit(X, y, w)
    for name in ("mean_", "scale_"):
        assert_allclose(getattr(many.x_scaler_, name), getattr(one.x_scaler_, name), rtol=1e-13)
    ours, theirs = many.predict(dX, return_std=True), one.predict(X, return_std=True)
    for a, b in zip(ours, theirs, strict=True):
        assert a.chunks == dy.chunks
        assert a.dtype == np.float64
        assert_allclose(a.compute(), b, rtol=0, atol=1e-10 * np.abs(b).max())
    assert_allclose(many.score(dX, dy, dw), one.score(X, y, w), rtol=1e-10)
    assert_allclose(many.predict_gradient(dX).compute(), one.predict_gradient(X), atol=1e-8)
    assert_allclose(many.predict_hessian(dX[:20]).compute(), one.predict_hessian(X[:20]), atol=1e-7)


def test_lbfgs_takes_as_many_iterations_and_ends_as_near_as_rows_in_another_order(client):
    X, y = rows(400)
    options = {"solver": "lbfgs", "max_iter": 60, "tol": 1e-9, "alpha": 0.1}
    dX, dy = da.from_array(X, chunks=(60, -1)), da.from_array(y, chunks=60)
    many = regressor(**options).fit(dX, dy)
    one = regressor(MLPSigmoidRegressor, **options).fit(X, y)
    f, spread = one.predict(X), 0.0
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(y))
        other = regressor(MLPSigmoidRegressor, **options).fit(X[order], y[order])
        spread = max(spread, np.abs(other.predict(X) - f).max())
    assert many.n_iter_ == one.n_iter_
    assert np.abs(many.predict(X) - f).max() <= 10 * spread


def test_several_outputs_float32_and_csr_chunks(client):
    X, y = rows(90)
    X = np.where(X < 0.4, 0, X).astype(np.float32)
    Y = np.column_stack([y, -y])
    dX = da.from_array(X, chunks=(20, -1)).map_blocks(csr_matrix)
    many = regressor(solver="lm").fit(dX, da.from_array(Y, chunks=(20, 2)))
    one = regressor(MLPSigmoidRegressor, solver="lm").fit(csr_matrix(X), Y)
    prediction = many.predict(dX)
    assert prediction.shape == (90, 2)
    assert prediction.dtype == np.float32
    assert_allclose(prediction.compute(), one.predict(csr_matrix(X)), rtol=2e-2)


def test_dataframes_keep_the_names_of_their_columns(client):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    X, y = rows(90)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    dX, dy = dd.from_pandas(frame, npartitions=3), dd.from_pandas(pd.Series(y), npartitions=3)
    many = regressor(solver="lm").fit(dX, dy)
    one = regressor(MLPSigmoidRegressor, solver="lm").fit(frame, y)
    assert list(many.feature_names_in_) == list("abcdef")
    assert_allclose(many.predict(dX).compute(), one.predict(frame), atol=1e-9)
    assert_allclose(many.score(dX, dy), one.score(frame, y), rtol=1e-10)
    with pytest.raises(ValueError, match="columns of X are not those"):
        many.fit_posterior(dX[list("bacdef")], dy)


def test_early_stopping_watches_rows_that_are_given_or_held_out(client):
    X, y = rows(400)
    dX, dy = da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100)
    options = {"solver": "adam", "early_stopping": True, "batch_size": 100}
    many = regressor(**options).fit(dX, dy, X_val=dX[:100], y_val=dy[:100])
    one = regressor(MLPSigmoidRegressor, **options).fit(X, y, X_val=X[:100], y_val=y[:100])
    assert_allclose(many.validation_scores_, one.validation_scores_, rtol=1e-9)
    held_out = regressor(**options).fit(dX, dy)
    assert 330 < held_out.x_scaler_.n_samples_seen_ < 390


def test_partial_fit_and_fit_posterior_are_those_of_one_machine(client):
    X, y = rows(100)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
    many = regressor(solver="adam", batch_size=40).partial_fit(dX, dy).partial_fit(dX, dy)
    one = regressor(MLPSigmoidRegressor, solver="adam", batch_size=40)
    one.partial_fit(X, y).partial_fit(X, y)
    many.fit_posterior(dX, dy)
    one.fit_posterior(X, y)
    for a, b in zip(many.predict(X, return_std=True), one.predict(X, return_std=True), strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max())


@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_what_is_wrong_with_a_partition_names_it(name, client):
    X, y = rows(90)
    w = np.ones(90)
    {"X": X, "y": y, "sample_weight": w}[name][50] = np.nan
    model = regressor()
    with pytest.raises(ValueError, match=rf"Partition 2 of X: .*{name}"):
        model.fit(*collections(X, y, w, "of unknown length"))
    assert not hasattr(model, "theta_")


def test_x_and_y_cut_differently_are_refused(client):
    X, y = rows(90)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=(30, 20, 40))
    with pytest.raises(ValueError, match="Partition 1 of X has 30 rows, that of y has 20"):
        regressor().fit(dX, dy)
    unknown = dX[da.from_array(np.ones(90, bool), chunks=30)]
    with pytest.raises(
        ValueError, match=r"Partition [12] of X: it has 30 rows, and that of y has [24]0"
    ):
        regressor().fit(unknown, dy)
    with pytest.raises(ValueError, match="no partition 2"):
        regressor().fit(unknown, dy.rechunk(45))


def test_missing_targets_have_no_weight(client):
    X, y = rows(90)
    Y = np.column_stack([y, 2 * y])
    Y[20:60, 1] = np.nan
    options = {"solver": "lm", "missing_targets": "ignore"}
    many = regressor(**options).fit(da.from_array(X, chunks=(30, -1)), da.from_array(Y, chunks=30))
    one = regressor(MLPSigmoidRegressor, **options).fit(X, Y)
    assert_allclose(many.predict(X), one.predict(X), rtol=0, atol=1e-9)


def test_a_clone_keeps_the_client_and_a_pickle_does_not(client):
    X, y = rows(90)
    model = regressor(client=client, solver="lm")
    assert clone(model).client is client
    assert clone(model).solver == "lm"
    model.fit(da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30))
    again = pickle.loads(pickle.dumps(model))
    assert again.client is None
    assert model.client is client
    assert np.array_equal(again.predict(X), model.predict(X))
    local = model.to_local()
    assert type(local) is MLPSigmoidRegressor
    assert np.array_equal(local.predict(X), model.predict(X))
    assert set(local.get_params()) == set(model.get_params()) - {"client"}


def test_a_fit_in_a_task_uses_the_client_of_its_worker(client):
    X, y = rows(90)

    def fit_there():
        dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
        return regressor(solver="lm").fit(dX, dy)

    there, here = client.submit(fit_there, pure=False).result(), fit_there()
    assert np.array_equal(there.theta_, here.theta_)


def test_ctrl_c_ends_a_fit_with_the_best_theta_and_callbacks_see_each_iteration(
    client, monkeypatch, capsys
):
    X, y = rows(90)
    get, n_calls = client.get, itertools.count()

    def interrupted(*arguments, **options):
        if next(n_calls) == 8:
            raise KeyboardInterrupt
        return get(*arguments, **options)

    monkeypatch.setattr(client, "get", interrupted)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
    model = regressor(client=client, solver="lbfgs", max_iter=50, verbose=True).fit(dX, dy)
    assert "Interrupted after" in model.message_
    assert 1 <= model.n_iter_ < 9
    assert capsys.readouterr().out.count("loss") >= model.n_iter_
    monkeypatch.undo()
    objective, _ = model.make_objective(dX, dy)
    assert_allclose(objective.loss(model.theta_), min(model.loss_curve_), rtol=1e-12)


class StopsAt:
    """A callback that notes the losses of iterations, with the X that it gets, and ends the fit."""

    def __init__(self, last):
        self.last, self.seen = last, []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context, **_):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None, **_):
        if context.task_name != "iteration":
            return False
        self.seen.append((X, fitted_estimator.loss_, fitted_estimator.predict(X)))
        return context.task_id == self.last


def test_callbacks_get_the_collections_and_stop_a_fit(client):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    X, y = rows(90)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
    callback = StopsAt(2)
    model = regressor(solver="lbfgs").set_callbacks(callback).fit(dX, dy)
    assert model.n_iter_ == len(callback.seen) == 3
    assert [loss for _, loss, _ in callback.seen] == model.loss_curve_
    for given, _, prediction in callback.seen:
        assert given is dX
        assert isinstance(prediction, da.Array)
    assert np.array_equal(prediction.compute(), model.predict(X))


def test_a_search_runs_on_the_cluster_by_joblib(client):
    X, y = rows(90)
    model = regressor(MLPSigmoidRegressor, solver="lm")
    search = GridSearchCV(model, {"alpha": [0.01, 1.0]}, cv=2)
    with joblib.parallel_backend("dask", client=client):
        search.fit(X, y)
    here = GridSearchCV(model, {"alpha": [0.01, 1.0]}, cv=2).fit(X, y)
    assert_allclose(search.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])


@pytest.fixture
def no_client(client, monkeypatch):
    """The client of these tests is not the default one, as before it was made."""
    found = skprop.cluster.default_client

    def default_client():
        if found() is client:
            raise ValueError
        return found()

    monkeypatch.setattr(skprop.cluster, "default_client", default_client)


@pytest.mark.usefixtures("no_client")
def test_without_a_client_an_objective_is_refused_and_arrays_are_fitted_here():
    X, y = rows(60)
    model = regressor(solver="lm").fit(X, y)
    with pytest.raises(ValueError, match="There is no dask client"):
        model.make_objective(da.from_array(X), da.from_array(y))


@pytest.mark.usefixtures("no_client")
def test_without_a_client_a_fit_starts_a_cluster_says_so_and_closes_it(monkeypatch):
    X, y = rows(60)
    ports, started = listening(), []

    def here(**options):
        started.append(LocalCluster(n_workers=1, processes=False, **options))
        return started[-1]

    monkeypatch.setattr(skprop.dask, "LocalCluster", here)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
    with pytest.warns(UserWarning, match="no dask client: 1 workers are started on this machine"):
        model = regressor(solver="lm").fit(dX, dy)
    with pytest.warns(UserWarning, match="no dask client"), pytest.raises(ValueError, match="NaN"):
        model.fit(dX, da.full_like(dy, np.nan))
    assert [cluster.status.name for cluster in started] == ["closed", "closed"]
    assert listening() == ports
    assert_allclose(
        model.predict(X), regressor(MLPSigmoidRegressor, solver="lm").fit(X, y).predict(X)
    )


def test_a_model_of_one_machine_needs_no_dask(client, tmp_path):
    X, y = rows(60)
    model = regressor(solver="lm")
    model.fit(da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30))
    (tmp_path / "model").write_bytes(pickle.dumps(model.to_local()))
    program = """
import pickle, sys, skprop
print(sorted({"dask", "distributed"} & set(sys.modules)))
sys.modules["dask"] = sys.modules["distributed"] = None
with open(sys.argv[1], "rb") as file:
    print(pickle.load(file).predict([[0.5] * 6])[0])
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    imported, prediction = run.stdout.splitlines()
    assert imported == "[]"
    assert float(prediction) == model.predict([[0.5] * 6])[0]


def test_arrays_in_memory_are_taken_as_the_parent_takes_them(client):
    X, y = rows()
    parameters = {"alpha": "evidence", "client": client}
    ours = regressor(**parameters).fit(X, y)
    parent = regressor(MLPSigmoidRegressor, alpha="evidence").fit(X, y)
    for method in ("predict", "predict_gradient", "predict_std_gradient", "predict_hessian"):
        assert_allclose(getattr(ours, method)(X), getattr(parent, method)(X), rtol=1e-12)
    assert_allclose(ours.predict_interval(X), parent.predict_interval(X), rtol=1e-12)
    assert_allclose(ours.score(X, y), parent.score(X, y), rtol=1e-12)
    watched = regressor(solver="lbfgs", early_stopping=True, client=client)
    assert watched.fit(X, y, X_val=X[:20], y_val=y[:20]).best_validation_score_ is not None
    watched.fit(*collections(X, y, y, "seven")[:2], X_val=X[:20], y_val=da.from_array(y[:20]))


def test_derivatives_of_a_collection_are_lazy_and_those_of_its_rows(client):
    X, y = rows()
    lazy, target, _ = collections(X, y, y, "chunked columns")
    model = regressor(alpha="evidence", client=client).fit(lazy, target)
    local = model.to_local()
    for method in ("predict_gradient", "predict_std_gradient", "predict_hessian"):
        found = getattr(model, method)(lazy)
        assert isinstance(found, da.Array)
        assert_allclose(found.compute(), getattr(local, method)(X), rtol=1e-10)
    gradient, deviation = model.predict_gradient(lazy, return_std=True)
    expected = local.predict_gradient(X, return_std=True)
    assert_allclose((gradient.compute(), deviation.compute()), expected, rtol=1e-10)
    assert_allclose(model.predict_interval(lazy)[0].compute(), local.predict_interval(X)[0])


def test_rows_of_another_width_and_slopes_are_refused(client):
    X, y = rows()
    lazy, target, _ = collections(X, y, y, "seven")
    model = regressor(solver="adam", client=client).partial_fit(lazy, target)
    with pytest.raises(ValueError, match="X has 5 features, not 6 features"):
        model.partial_fit(lazy[:, :5], target)
    with pytest.raises(ValueError, match="2 outputs"):
        model.partial_fit(lazy, da.stack([target, target], axis=1))
    with pytest.raises(ValueError, match="dydx is taken with arrays in memory"):
        model.fit(lazy, target, dydx=lazy)
    with pytest.raises(ValueError, match="no rows, or none of positive weight"):
        model.fit(lazy, target, sample_weight=da.zeros_like(target))


# ---- processes that end ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_processes():
    with (
        # dask gives up a worker that is down again so long after it was lost
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(n_workers=2, **OPTIONS) as cluster,
        Client(cluster, set_as_default=False) as c,
    ):
        yield c


@pytest.fixture
def processes(all_processes):
    """Two workers that are processes of their own."""
    all_processes.wait_for_workers(2, timeout=60)
    return all_processes


class Killer:
    """Ends a worker by SIGKILL right after some evaluations were sent."""

    def __init__(self, client, monkeypatch, at=(2, 4, 6)):
        self.n_calls, self.killed, self._at, self._get = 0, [], at, client.get
        self._scheduler = client.cluster.scheduler
        self.worker = client.cluster.workers[0]  # its nanny, which starts it again
        monkeypatch.setattr(client, "get", self.get)

    def get(self, *arguments, **options):
        if self.n_calls + 1 in self._at:
            self._wait()
        futures = self._get(*arguments, **options)
        self.n_calls += 1
        if self.n_calls in self._at:
            self.killed.append(self.worker.pid)
            os.kill(self.worker.pid, signal.SIGKILL)
        return futures

    def _wait(self):
        """Until the worker has been started again and has told the scheduler so."""
        end = time.monotonic() + 60
        while self.worker.pid in (None, *self.killed) or (
            self.worker.worker_address not in self._scheduler.workers
        ):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize(
    "options", [{"solver": "lbfgs"}, {"alpha": "evidence"}, {"solver": "adam", "batch_size": 60}]
)
def test_workers_that_are_killed_do_not_change_a_bit(options, processes, monkeypatch):
    X, y = rows(240)
    dX, dy = da.from_array(X, chunks=(12, -1)), da.from_array(y, chunks=12)
    model = regressor(client=processes, max_iter=5, **options)
    before = clone(model).fit(dX, dy)
    killer = Killer(processes, monkeypatch)
    after = clone(model).fit(dX, dy)
    assert len(killer.killed) == 3
    assert np.array_equal(after.theta_, before.theta_)
    # of one worker with three tasks where two have five: in either order the sums are a tree
    with LocalCluster(n_workers=1, processes=False, **OPTIONS) as one, Client(one) as client:
        alone = clone(model).set_params(client=client).fit(dX, dy)
    assert np.array_equal(alone.theta_, before.theta_)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_rows_that_cannot_be_computed_again_are_a_clear_error(processes, monkeypatch):
    X, y = rows(240)
    killer = Killer(processes, monkeypatch, at=(2,))
    pieces = processes.scatter(
        [X[k : k + 40] for k in range(0, 240, 40)], workers=[killer.worker.worker_address]
    )
    dX = da.concatenate([da.from_delayed(p, (40, 6), dtype=float) for p in pieces])
    dy = da.from_array(y, chunks=40)
    model = regressor(client=processes, solver="lbfgs")
    with pytest.raises(RuntimeError, match="cannot be computed again"):
        model.fit(dX, dy)
    assert not hasattr(model, "theta_")


def test_without_any_worker_a_fit_ends_with_an_error_and_the_estimator_is_as_before(monkeypatch):
    monkeypatch.setattr(skprop.cluster, "PATIENCE", 1.0)
    X, y = rows(90)
    dX, dy = da.from_array(X, chunks=(30, -1)), da.from_array(y, chunks=30)
    with (
        LocalCluster(n_workers=1, processes=False, **OPTIONS) as one,
        Client(one, set_as_default=False) as client,
    ):
        model = regressor(client=client, solver="lm").fit(dX, dy)
        before, get, n_calls = Snapshot(model), client.get, itertools.count()

        def without_worker(*arguments, **options):
            if next(n_calls) == 2:
                one.scale(0)
                client.sync(one.scheduler.remove_worker, *one.scheduler.workers, stimulus_id="test")
            return get(*arguments, **options)

        monkeypatch.setattr(client, "get", without_worker)
        start = time.monotonic()
        with pytest.raises(RuntimeError, match="has had no worker for 1 seconds"):
            model.fit(dX, dy)
        assert time.monotonic() - start < 20
        before.assert_unchanged()
