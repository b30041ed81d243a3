"""Rows that are elsewhere: sums over parts, and fits by them, are those over all rows."""

import asyncio
import pickle
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score

from skprop import MLPObjective, MLPSigmoidRegressor, SummedObjective
from skprop.elsewhere import RowsElsewhere, part_of, raw_part, total
from skprop.folds import Setup
from skprop.rows import Rows
from skprop.scaling import Moments, fit_scaler, fit_target_scaler
from skprop.summed import Part, added, rows_of_parts

SIZES = (7, 5)


def friedman(n, seed):
    return make_friedman1(n, noise=0.5, random_state=seed)


def cuts(n, kind):
    """The ends of parts of n rows."""
    return {
        "one": [0, n],
        "seven": [n * k // 7 for k in range(8)],
        "rows of one": list(range(n + 1)),
        "with empty ones": [0, 0, 10, 10, 40, n, n],
    }[kind]


def parts_of(X, y, w, ends, **options):
    """An objective of all rows, and `Part`s of those between the ends."""
    whole = MLPObjective(X, y, sample_weight=w, **options)
    parts, sizes = [], []
    for a, b in pairwise(ends):
        used = (
            np.ones(b - a, bool)
            if w is None
            else (w[a:b] if w.ndim == 1 else w[a:b].any(axis=1)) > 0
        )
        sizes.append(int(used.sum()))
        if not sizes[-1]:
            parts.append(None)
            continue
        weight = None if w is None else w[a:b][used]
        objective = MLPObjective(X[a:b][used], y[a:b][used], sample_weight=weight, **options)
        parts.append(Part(objective, whole.weight_sums.exponent))
    return whole, parts, sizes


def sums_over(parts, sizes):
    def sums(method, *arrays, rows=None):
        each = zip(parts, rows_of_parts(rows, sizes), strict=True)
        return added(method, [p and p.sums(method, *arrays, rows=r) for p, r in each])

    return sums


def summed(whole, parts, sizes, alpha):
    return SummedObjective(
        sums_over(parts, sizes),
        n_samples=sum(sizes),
        layout=whole.layout,
        dtype=whole.dtype,
        alpha=alpha,
        weight_sums=whole.weight_sums,
    )


@pytest.mark.parametrize("kind", ["one", "seven", "rows of one", "with empty ones"])
@pytest.mark.parametrize("weights", [None, "rows", "targets"])
def test_sums_over_parts_are_those_over_all_rows(kind, weights):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.normal(size=(90, 2))
    w = {"rows": rng.uniform(0.1, 900, 90), "targets": rng.uniform(0.1, 3, (90, 2))}.get(weights)
    if weights == "targets":
        w[::3, 0] = 0
    options = {"hidden_layer_sizes": SIZES, "alpha": 0.3}
    whole, parts, sizes = parts_of(X, y, w, cuts(90, kind), **options)
    ours = summed(whole, parts, sizes, 0.3)
    theta, v = whole.initial_theta(0), whole.initial_theta(1)

    def close(a, b, tolerance):
        assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    loss, gradient = ours(theta)
    close(loss, whole.loss(theta), 1e-13)
    close(ours.loss(theta), whole.loss(theta), 1e-13)
    close(gradient, whole.gradient(theta), 1e-12)
    close(ours.hessp(theta, v), whole.hessp(theta, v), 1e-12)
    close(ours.hessian(theta), whole.hessian(theta), 1e-12)
    close(ours.gauss_newton(theta), whole.gauss_newton(theta), 1e-12)
    close(ours.loss_of_mean(by_output=True), whole.loss_of_mean(by_output=True), 1e-12)
    close(ours.output_losses(theta), whole.output_losses(theta), 1e-12)
    close(ours.log_posterior(theta, 0.1)[0], whole.log_posterior(theta, 0.1)[0], 1e-12)
    for rows in (slice(5, 60), slice(3, 80, 4), [1, 88, 4, 4, -1], np.arange(90) % 2 == 0):
        close(ours(theta, rows)[0], whole(theta, rows)[0], 1e-13)
        close(ours(theta, rows)[1], whole(theta, rows)[1], 1e-12)
        close(ours.gauss_newton(theta, rows), whole.gauss_newton(theta, rows), 1e-12)


def test_fewer_rows_than_parameters_have_the_same_linear_model():
    X, y = np.random.default_rng(0).normal(size=(2, 8, 20))
    options = {"hidden_layer_sizes": 30, "alpha": 0.1}
    whole, parts, sizes = parts_of(X, y[:, 0], None, [0, 3, 8], **options)
    theta = whole.initial_theta(0)
    ours = summed(whole, parts, sizes, 0.1).linear_model(theta)
    loss, gradient, root = whole.linear_model(theta)
    assert_allclose(ours[0], loss, rtol=1e-13)
    assert_allclose(ours[1], gradient, atol=1e-13)
    assert_allclose(ours[2], root.Jt @ root.Jt.T + np.diag(root.ridge), atol=1e-13)


def test_residuals_are_refused_with_what_to_use_instead():
    whole, parts, sizes = parts_of(np.eye(6), np.arange(6.0), None, [0, 2, 6], hidden_layer_sizes=2)
    ours = summed(whole, parts, sizes, 0.0)
    with pytest.raises(TypeError, match="normal_equations"):
        ours.residuals(ours.initial_theta(0))


def test_an_overflow_is_explained_as_over_all_rows():
    X, y = np.ones((6, 2)), np.arange(6.0)
    y[4] = 1e200
    whole, parts, sizes = parts_of(X, y, None, [0, 2, 6], hidden_layer_sizes=2)
    ours, theta = summed(whole, parts, sizes, 0.0), whole.initial_theta(0)
    assert ours.explain_overflow(theta) == whole.explain_overflow(theta)
    y[4], X[1, 1] = 0, 1e300
    whole, parts, sizes = parts_of(X, y, None, [0, 2, 6], hidden_layer_sizes=2)
    ours = summed(whole, parts, sizes, 0.0)
    assert ours.explain_overflow(theta) == whole.explain_overflow(theta)


def test_a_target_that_overflows_explains_before_a_larger_feature_of_another_part():
    X, y = np.ones((6, 2)), np.arange(6.0)
    X[1, 1], y[4] = 1e300, 1e200
    whole, parts, sizes = parts_of(X, y, None, [0, 2, 6], hidden_layer_sizes=2)
    ours, theta = summed(whole, parts, sizes, 0.0), whole.initial_theta(0)
    assert ours.explain_overflow(theta) == whole.explain_overflow(theta)
    assert ours.explain_overflow(theta).startswith("column 0 of y reaches 1e+200")


@pytest.mark.parametrize("total", [None, 360.0])
def test_without_sums_of_weights_rows_weigh_as_much_as_is_said_in_all(total):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.normal(size=(90, 2))
    w = np.full(90, 1.0 if total is None else total / 90)
    options = {"hidden_layer_sizes": SIZES, "alpha": 0.3}
    whole, _, sizes = parts_of(X, y, w, [0, 30, 90], **options)
    halves = [slice(0, 30), slice(30, 90)]
    parts = [Part(MLPObjective(X[r], y[r], sample_weight=w[r], **options)) for r in halves]
    theta = whole.initial_theta(0)
    ours = SummedObjective(
        sums_over(parts, sizes), n_samples=90, layout=whole.layout, alpha=0.3, total_weight=total
    )
    assert_allclose(ours.loss(theta), whole.loss(theta), rtol=1e-13)
    assert_allclose(ours.output_losses(theta), whole.output_losses(theta), rtol=1e-12)
    assert ours.total_weight == whole.total_weight == (total or 90)
    assert ours.n_observations == whole.n_observations == 180
    if total is None:  # the density knows each weight, which the sums do not tell
        assert_allclose(ours.log_posterior(theta, 0.1)[0], whole.log_posterior(theta, 0.1)[0])


def test_the_mean_of_a_target_of_little_weight_is_its_own():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.normal(5, 1, size=(90, 2))
    w = np.tile([1e-6, 1.0], (90, 1))
    whole, parts, sizes = parts_of(X, y, w, [0, 30, 90], hidden_layer_sizes=SIZES)
    ours = summed(whole, parts, sizes, 0.0)
    expected = whole.loss_of_mean(by_output=True)
    assert_allclose(ours.loss_of_mean(by_output=True), expected, rtol=1e-12)
    assert len(parts[0].sums("loss", whole.initial_theta(0))) == 1  # number, and no gradient


def test_a_sum_without_rows_is_an_error():
    layout = MLPObjective([[0]], [0], hidden_layer_sizes=1).layout
    objective = SummedObjective(lambda *_, **__: None, n_samples=3, layout=layout)
    with pytest.raises(ValueError, match="no part has any of the rows"):
        objective.loss(objective.initial_theta(0))


@pytest.mark.parametrize("kind", ["one", "seven", "rows of one"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_moments_of_parts_make_the_scaler_of_all_rows(kind, weighted, sparse):
    rng = np.random.default_rng(0)
    scales, offsets = [1, 1e-200, 1e150, 1, 1], [0, 0, 0, 300, 0]
    X = rng.normal(size=(70, 5)) * scales + offsets
    X[:, 4] = 0.1
    X = X[np.argsort(X[:, 0])]
    w = rng.uniform(1e-3, 1e3, 70) if weighted else None
    form = csr_matrix if sparse else np.asarray
    ends = cuts(70, kind)
    merged = None
    for a, b in pairwise(ends):
        part = Moments.of(Rows(form(X[a:b])), None if w is None else w[a:b])
        merged = part if merged is None else merged.merged(part)
    ours, whole = merged.scaler(), fit_scaler(Rows(form(X)), w)
    for name in ("mean_", "scale_", "var_"):
        a, b = getattr(ours, name), getattr(whole, name)
        if name == "mean_":  # beside the deviation: means near 0 have no digits of their own
            assert np.all(np.abs(a - b) <= 1e-13 * np.maximum(np.abs(b), whole.scale_))
        else:
            assert_allclose(a, b, rtol=1e-13)
    assert_allclose(ours.n_samples_seen_, whole.n_samples_seen_, rtol=1e-13)


def test_moments_of_targets_leave_out_those_of_weight_zero():
    y = np.array([[1.0, 5], [2, 6], [4, 7], [9, 8]])
    w = np.array([[1.0, 0], [2, 0], [1, 3], [0.5, 1]])
    ours = Moments.of_targets(y[:2], w[:2]).merged(Moments.of_targets(y[2:], w[2:]))
    whole = fit_target_scaler(y, w)
    assert_allclose(ours.scaler().mean_, whole.mean_, rtol=1e-14)
    assert_allclose(ours.scaler().scale_, whole.scale_, rtol=1e-14)
    assert ours.low[1] == 7


# ---- the estimator ------------------------------------------------------------------------------


class HereEngine:
    """Parts of rows, in this process."""

    def __init__(self, X, y, w, ends, dtype):
        names = ("X", "y", "sample_weight")
        self.raw = [
            raw_part([(k, X[a:b], y[a:b], None if w is None else w[a:b])], dtype, True, names)
            for k, (a, b) in enumerate(pairwise(ends))
        ]

    def summary(self, share):
        return total(part_of(data, share, k) for k, data in enumerate(self.raw))

    def sums(self, share, setup: Setup, exponent):
        made = [part_of(data, share, k, setup, exponent) for k, data in enumerate(self.raw)]
        parts = [part for part in made if part is not None]

        def answer(method, *arrays, rows=None):
            each = zip(parts, rows_of_parts(rows, [p.n_samples for p in parts]), strict=True)
            return added(method, [p.sums(method, *arrays, rows=r) for p, r in each])

        return answer


class Elsewhere(MLPSigmoidRegressor):
    """The estimator over parts of seven."""

    def _training_data(self, X, y, sample_weight, expected, dydx=None):
        dtype = "float32" if X.dtype == np.float32 else "float64"
        engine = HereEngine(X, y, sample_weight, cuts(len(y), "seven"), dtype)
        return RowsElsewhere(engine.summary(None), engine)

    def _held_out_data(self, data, X, y, sample_weight, expected):
        return self._training_data(X, y, sample_weight, expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "lm"},
        {"alpha": "evidence"},
        {"alpha": "ard"},
        {"alpha": "evidence", "n_members": 2},
        {"solver": "adam", "batch_size": 30},
        {"solver": "sgd", "n_members": 2, "batch_size": 100},
        {"solver": "lbfgs", "output_activation": "sigmoid"},
        {"solver": "lm", "missing_targets": "ignore"},
        {"solver": "lm", "standardize": False, "alpha": 0.1},
    ],
    ids=str,
)
def test_a_fit_over_parts_is_that_over_all_rows(options):
    X, y = friedman(150, 0)
    w = np.random.default_rng(1).integers(0, 3, 150).astype(float)
    w[:22] = 0  # all of the first part
    if "missing_targets" in options:
        y = np.column_stack([y, -2 * y])
        y[20:70, 1] = np.nan  # all of the second part
    parameters = {"hidden_layer_sizes": 4, "random_state": 0, "max_iter": 8} | options
    one, many = (cls(**parameters).fit(X, y, w) for cls in (MLPSigmoidRegressor, Elsewhere))
    assert one.n_iter_ == many.n_iter_
    if one.standardize:
        assert_allclose(many.x_scaler_.mean_, one.x_scaler_.mean_, rtol=1e-13)
        assert_allclose(many.y_scaler_.scale_, one.y_scaler_.scale_, rtol=1e-13)
    each = zip(many.predict(X, return_std=True), one.predict(X, return_std=True), strict=True)
    for ours, theirs in each:
        assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_members", [1, 2])
def test_rows_are_held_out_part_by_part(n_members):
    X, y = friedman(700, 0)
    model = Elsewhere(
        8, solver="adam", alpha=1e-3, early_stopping=True, n_members=n_members, random_state=0,
        validation_fraction=0.2, max_iter=40, tol=1e-3,
    )  # fmt: skip
    model.fit(X, y)
    n = model.x_scaler_.n_samples_seen_
    assert n == 700 if n_members > 1 else 500 < n < 620
    assert model.best_validation_score_ > 0.7


def test_a_target_of_weight_zero_becomes_the_first_of_its_output_that_counts():
    y = np.array([[np.nan, 1.0], [2, np.nan], [4, 6], [5, 7]])
    part = raw_part([(0, np.eye(4), y, None)], "float64", True, ("X", "y", "w"))
    assert np.array_equal(part.y, [[2, 1], [2, 1], [4, 6], [5, 7]])
    assert np.array_equal(part.weight, [[0, 1], [1, 0], [1, 1], [1, 1]])


@pytest.mark.parametrize(("name", "lengths"), [("y", (4, 3)), ("w", (3, 4))])
def test_a_partition_with_more_rows_of_one_than_of_another_is_refused(name, lengths):
    y, w = map(np.ones, lengths)
    with pytest.raises(
        ValueError, match=f"Partition 2 of X: it has 3 rows, and that of {name} has 4"
    ):
        raw_part([(2, np.eye(3), y, w)], "float64", False, ("X", "y", "w"))


def test_without_a_client_and_outside_of_a_task_there_is_none():
    pytest.importorskip("distributed")
    from skprop.cluster import connected

    with connected(None) as client:
        assert client is None


def test_targets_may_be_as_large_as_the_precision_of_X_allows():
    most = float(np.finfo(np.float32).max)
    for sign in (1, -1):
        pieces = [(0, np.eye(2), np.array([0, sign * most]), None)]
        assert raw_part(pieces, "float32", False, ("X", "y", "w")).y[1, 0] == sign * most
        pieces = [(3, np.eye(2), np.array([0, sign * 2 * most]), None)]
        with pytest.raises(ValueError, match="Partition 3 of X: y has values beyond float32"):
            raw_part(pieces, "float32", False, ("X", "y", "w"))


# ---- partitions of dask collections -------------------------------------------------------------


class Guess:
    """A fitted estimator that predicts some function of X."""

    def __init__(self, predict):
        self.predict = predict


@pytest.mark.parametrize("weights", [None, "rows", "targets"])
def test_r_squared_over_parts_is_that_of_all_rows(weights):
    pytest.importorskip("distributed")
    from skprop.cluster import r_squared

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(70, 3)), rng.normal([0, 30, 0, 0], size=(70, 4))
    y[:, 2:] = 0.3  # constants, of which the prediction misses one
    w = {"rows": rng.uniform(0, 3, 70), "targets": rng.uniform(0, 3, (70, 4))}.get(weights)
    if w is not None:
        w[20:40] = 0  # a part without rows among them
    model = Guess(lambda x: np.c_[x[:, 0], 30 + x[:, 1], np.full((len(x), 2), [0.3, 0.1])])
    each = np.ones(y.shape) if w is None else np.broadcast_to(w.reshape(70, -1), y.shape)
    expected = [
        r2_score(a, b, sample_weight=c)
        for a, b, c in zip(y.T, model.predict(X).T, each.T, strict=True)
    ]
    expected[2:] = 1, 0  # which `r2_score` misses where the mean of 0.3 is rounded

    def engine(ends):
        parts = HereEngine(X, y, w, ends, "float64").raw

        def computed(function, *arguments):
            return [function(part, k, *arguments) for k, part in enumerate(parts)]

        return SimpleNamespace(computed=computed)

    for ends in ([0, 70], [0, 1, 20, 40, 70], cuts(70, "seven")):
        assert_allclose(r_squared(engine(ends), model), np.mean(expected), rtol=1e-12)
    if w is not None:
        with pytest.raises(ValueError, match="X has no rows"):
            r_squared(engine([20, 40]), model)


def test_partitions_have_the_rows_of_all_columns_with_their_targets_and_weights():
    da = pytest.importorskip("dask.array")
    pytest.importorskip("distributed")
    from skprop.cluster import partitions

    names = "X", "y", "sample_weight"
    X, y, w = np.arange(540.0).reshape(90, 6), np.arange(90.0), np.arange(90.0) % 7
    dX, dy = da.from_array(X, chunks=(40, 2)), da.from_array(y, chunks=40)
    for weight in (None, w, da.from_array(w, chunks=40)):
        found = partitions(dX, dy, weight, names)
        assert [number for number, *_ in found] == [0, 1, 2]
        for (_, x, t, v), at in zip(found, (slice(40), slice(40, 80), slice(80, 90)), strict=True):
            assert np.array_equal(x.compute(), X[at])
            assert np.array_equal(t.compute(), y[at])
            if weight is None:
                assert v is None
            else:
                assert np.array_equal(getattr(v, "compute", lambda v=v: v)(), w[at])
    with pytest.raises(ValueError, match="Partition 1 of X has 40 rows, that of y has 30"):
        partitions(dX, da.from_array(y, chunks=(40, 30, 20)), None, names)
    with pytest.raises(ValueError, match="X has 3 partitions, y has 1: one has no partition 1"):
        partitions(dX[da.ones(90, chunks=40) > 0], da.from_array(y), None, names)
    with pytest.raises(ValueError, match="X has 90 rows, sample_weight has 80"):
        partitions(dX, dy, w[:80], names)


@pytest.mark.parametrize(
    ("n_partitions", "n_threads", "expected"),
    [(8, 1, 1), (9, 1, 2), (17, 1, 4), (24, 3, 1), (25, 3, 2), (64, 1, 8), (200, 1, 8), (9, 0, 2)],
)
def test_an_evaluation_has_at_most_eight_tasks_a_thread_for_at_most_64_parts(
    n_partitions, n_threads, expected, monkeypatch
):
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    from skprop import cluster

    monkeypatch.setattr(cluster, "_parts_of", lambda run, *_: len(run))
    client = SimpleNamespace(
        nthreads=lambda: {"a worker": n_threads},
        compute=lambda lazy: dask.compute(*lazy, scheduler="synchronous"),
        map=lambda function, parts, pure: parts,
        sync=lambda function, client, futures: futures,
    )
    pieces = [(k, np.ones((1, 1)), np.ones(1), None) for k in range(n_partitions)]
    engine = cluster.ClusterEngine(client, pieces, "float64", False, ("X", "y", "w"))
    n_parts = min(n_partitions, 64)
    sizes = engine.sums(None, None, 0)._runs
    assert sum(sizes) == len(engine._raw) == n_parts
    assert set(sizes[:-1]) <= {expected}
    assert len(sizes) == -(-n_parts // expected) <= 8 * max(1, n_threads)


SCALE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")


def test_without_a_worker_sums_are_given_up_after_as_long_as_the_page_on_scale_says(monkeypatch):
    pytest.importorskip("distributed")
    from skprop import cluster

    waited, wait = [], asyncio.wait

    async def at_once(tasks, timeout=None):
        waited.append(timeout or 0)
        return await wait(tasks, timeout=timeout and 0)

    class Client:
        async def gather(self, futures, asynchronous):
            self.cancelled = asyncio.Event()
            await self.cancelled.wait()
            raise ZeroDivisionError

        async def nthreads(self, asynchronous):
            return {}

        async def cancel(self, futures, asynchronous):
            self.cancelled.set()

    monkeypatch.setattr(asyncio, "wait", at_once)
    with pytest.raises(RuntimeError, match="has had no worker for 30 seconds"):
        asyncio.run(cluster._gathered(Client(), []))
    assert sum(waited) == pytest.approx(30)
    assert "a cluster without any worker for 30 seconds" in SCALE


@pytest.mark.parametrize(
    ("n", "given", "size"),
    [(300, "auto", 200), (4_001, "auto", 201), (50_000, "auto", 2_500), (50_000, 32, 32)],
)
def test_a_batch_over_partitions_is_a_twentieth_of_the_rows_and_at_least_200(
    n, given, size, monkeypatch
):
    da = pytest.importorskip("dask.array")
    pytest.importorskip("distributed")
    from skprop.dask import DaskMLPSigmoidRegressor

    model = DaskMLPSigmoidRegressor(solver="adam", batch_size=given)
    data = SimpleNamespace(rows=SimpleNamespace(shape=(n, 3)), y=np.ones((2, 1)))
    monkeypatch.setattr(model, "_training_data", lambda *_: data)
    settings, train, watched = model._settled(None, da.ones((1, 3)), None, None)
    assert (settings.batch_size, train, watched) == (size, data, None)


def test_the_recipe_of_the_page_on_scale_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.+?)^```$", SCALE, re.M | re.S)
    (recipe,) = [block for block in blocks if "ProcessPoolExecutor" in block]
    assert len(recipe.splitlines()) <= 32
    (tmp_path / "recipe.py").write_text(recipe, encoding="utf-8")
    command = [sys.executable, "-W", "error", "recipe.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "R² = 0.99" in run.stdout


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_runs_of_neighbours_can_be_added_first_without_changing_a_bit(size):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 8, 13, 37):
        answers = [(rng.normal(size=3), np.exp(rng.normal(0, 9, 2))) for _ in range(n)]
        for k in range(0, n, 4):
            answers[k] = None  # a part without rows
        runs = [added("loss", answers[k : k + size]) for k in range(0, n, size)]
        ours, whole = added("loss", iter(runs)), added("loss", answers)
        assert (ours is None) == (whole is None) == (n == 1)
        for a, b in zip(ours or (), whole or (), strict=True):
            assert np.array_equal(a, b)
        filled = [answer for answer in answers if answer is not None]
        for j in range(2 if filled else 0):
            assert_allclose(whole[j], sum(answer[j] for answer in filled), rtol=1e-12)


def test_a_part_can_be_sent_and_knows_its_size():
    X, y = np.ones((1000, 9)), np.ones(1000)
    whole, (part, _), _ = parts_of(X, y, None, [0, 900, 1000], hidden_layer_sizes=2)
    theta = whole.initial_theta(0)
    again = pickle.loads(pickle.dumps(part))
    answers = (each.sums("loss_and_gradient", theta)[1] for each in (again, part))
    assert np.array_equal(*answers)
    assert 900 * 10 * 8 <= sys.getsizeof(part) <= 1.2 * 900 * 11 * 8
