"""Memory that is bounded, and threads that do not outlive a fork."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from joblib import Parallel, cpu_count, delayed
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, MLPSigmoidRegressor, threads
from skprop.workspace import container_memory, physical_memory

rng = np.random.default_rng(0)
X = rng.normal(size=(60_000, 20)).astype(np.float32)
Y = np.sin(X[:, 0])
MIB = 2**20


def peak(function):
    """The most memory allocated while it runs, in MiB (NumPy reports its own to tracemalloc)."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def fit(X, y, **parameters):
    defaults = {"hidden_layer_sizes": (64, 64), "alpha": 1e-4, "max_iter": 2, "random_state": 0}
    model = MLPSigmoidRegressor(**defaults | parameters)
    with pytest.warns(match="max_iter"):
        return model.fit(X, y)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_fit_allocates_one_copy_of_x_and_little_more(solver):
    copy, small = X.nbytes * 21 / 20 / MIB, peak(lambda: fit(X[:6000], Y[:6000], solver=solver))
    assert peak(lambda: fit(X, Y, solver=solver)) < copy + small + 30 * Y.nbytes / MIB


def test_rows_that_had_to_be_converted_are_let_go_before_the_solver_runs():
    whole, held = (10 * X).astype(int), []

    def solver(objective, theta0):
        held.append(tracemalloc.get_traced_memory()[0] / MIB)
        return SimpleNamespace(x=theta0)

    peak(lambda: MLPSigmoidRegressor(4, solver=solver).fit(whole, Y))
    assert held[0] < whole.nbytes * 21 / 20 / MIB + 4 * Y.nbytes / MIB


def test_a_fit_on_a_file_never_holds_it_in_memory(tmp_path):
    np.save(tmp_path / "X.npy", np.tile(X, (4, 1)))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    used = peak(lambda: fit(mapped, np.tile(Y, 4)))
    assert used < mapped.nbytes / MIB  # 18 MiB, of which y and the buffers of the blocks take most


def test_predict_allocates_a_block_and_the_predictions():
    model = fit(X[:6000], Y[:6000])
    assert peak(lambda: model.predict(X)) < 3 * Y.nbytes / MIB + 8
    # as much for ten times the rows, but for the predictions themselves
    small, large = (peak(lambda n=n: model.predict(X[:n])) for n in (6000, 60_000))
    assert large < small + 3 * Y.nbytes / MIB + 4


@pytest.mark.parametrize("name", ["hessp", "normal_equations"])
def test_second_order_allocates_a_block_and_its_result(name):
    def used(n):
        objective = MLPObjective(X[:n], Y[:n], hidden_layer_sizes=(30, 10))
        theta = objective.initial_theta(0)
        return peak(lambda: getattr(objective, name)(theta, *[theta] * (name == "hessp")))

    with threadpool_limits(1, "blas"):  # on two threads the second may find the work done
        small, large = used(12_000), used(60_000)
    assert large < small + 4
    matrix = 8 * 951**2 / MIB  # J would take 218 MiB
    with threadpool_limits(2, "blas"):  # each thread has a block of its own
        assert used(60_000) < {"hessp": 30, "normal_equations": matrix + 25}[name]


def evaluate(_=None):
    objective = MLPObjective(X, Y, hidden_layer_sizes=20)
    return objective(objective.initial_theta(0))[1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_works_after_its_parent_used_threads(method):
    if method not in multiprocessing.get_all_start_methods():
        method = "spawn"
    with threadpool_limits(2, "blas"):
        expected = evaluate()
        with multiprocessing.get_context(method).Pool(1) as pool:
            np.testing.assert_array_equal(pool.apply_async(evaluate).get(timeout=120), expected)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_joblib_compute_the_same_bits(backend):
    expected = evaluate()
    for gradient in Parallel(n_jobs=2, backend=backend)(delayed(evaluate)(k) for k in range(4)):
        np.testing.assert_array_equal(gradient, expected)


def threads_in_use(model, X, y):
    """The scorer of a search: runs in the worker that has just fitted the model."""
    return 1 + sum(thread.name == "skprop" for thread in threading.enumerate())


def test_workers_of_a_search_share_the_cores():
    model = MLPSigmoidRegressor(max_iter=1, tol=1e9, random_state=0, alpha=1e-4)
    search = GridSearchCV(model, {"alpha": [1e-3, 1e-2]}, cv=2, n_jobs=2, scoring=threads_in_use)
    search.fit(X, Y)
    total = 2 * search.cv_results_["mean_test_score"].max()  # of both workers
    assert total <= max(2, cpu_count())


def test_nothing_is_left_running_at_exit():
    code = (
        "import numpy as np; from threadpoolctl import threadpool_limits; import skprop\n"
        "o = skprop.MLPObjective(np.ones((50000, 5)), np.ones(50000), hidden_layer_sizes=50)\n"
        "with threadpool_limits(2, 'blas'): o(o.initial_theta(0))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=120, check=True)


def run_python(code, **environment):
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=300, env=os.environ | environment,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_thousand_fits_leave_the_memory_as_it_was():
    printed = run_python(
        """
        import gc, itertools, os, tracemalloc
        import numpy as np
        from skprop import MLPSigmoidRegressor

        if not os.path.exists("/proc/self/statm"):  # elsewhere than on Linux
            tracemalloc.start()

        def resident():
            gc.collect()
            if tracemalloc.is_tracing():
                return tracemalloc.get_traced_memory()[0] / 2**20
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

        rng = np.random.default_rng(0)
        X = rng.normal(size=(2000, 5))
        y = np.sin(X[:, 0])

        def fits(n):
            solvers = itertools.cycle(["lbfgs", "lm", "sgd", "adam"])
            for k, solver in zip(range(n), solvers):
                rows = slice(0, 2000 if k % 20 < 4 else 60)
                MLPSigmoidRegressor(8, solver=solver, max_iter=2).fit(X[rows], y[rows])

        fits(100)
        before = resident()
        fits(1000)
        print(resident() - before)
        """
    )
    assert float(printed) < 5  # MiB


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_fit_on_a_file_larger_than_the_memory_it_may_take(solver, tmp_path):
    n, d = 200_000, 100  # 153 MiB
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (n, d))
    for start in range(0, n, 50_000):
        X[start : start + 50_000] = np.random.default_rng(start).normal(size=(50_000, d))
    X.flush()
    del X
    printed = run_python(
        f"""
        import os, sys
        import numpy as np
        from skprop import MLPSigmoidRegressor

        def fit(X, y):
            return MLPSigmoidRegressor(
                10, solver={solver!r}, max_iter=2, batch_size=5000, random_state=0
            ).fit(X, y)

        X = np.load({str(tmp_path / "X.npy")!r}, mmap_mode="r")
        y = np.sin(X[:, 0])
        fit(X[:50_000], y[:50_000])  # all libraries and threads are there
        if sys.platform == "linux":
            import resource
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20,) * 2)
        model = fit(X, y)
        print(len(model.predict(X)), model.loss_ < 1)
        try:
            assert sys.platform == "linux"
            fit(np.array(X), y)
        except (MemoryError, AssertionError):
            print("what is in memory does not fit")
        """
    )
    assert printed == f"{n} True\nwhat is in memory does not fit\n"


def test_import_needs_nothing_optional():
    optional = "'pandas', 'polars', 'matplotlib', 'pytest', 'torch', 'jax', 'hypothesis'"
    code = (
        "import builtins, sys\n"
        "real = builtins.__import__\n"
        "def checked(name, globals=None, *arguments):\n"
        "    ours = (globals or {}).get('__name__', '').startswith('skprop')\n"
        f"    assert not (ours and name.partition('.')[0] in {{{optional}}}), name\n"
        "    return real(name, globals, *arguments)\n"
        "builtins.__import__ = checked\n"
        "import skprop\n"
        "assert 'skprop.regressor' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GROUPS = {  # /proc/self/cgroup, files with a limit, and the memory that is allowed
    "version 2, its own group as root": ("0::/", {"memory.max": "300"}, 300),
    "version 2, seen from the host": (
        "0::/pod/box", {"pod/memory.max": "200", "pod/box/memory.max": "300"}, 200,
    ),
    "version 2, no limit": ("0::/pod", {"pod/memory.max": "max"}, None),
    "version 1, its own group as root": (
        "5:cpu:/box\n4:memory:/box\n0::/", {"memory/memory.limit_in_bytes": "300"}, 300,
    ),
    "version 1, seen from the host": (
        "4:hugetlb,memory:/box",
        {"memory/memory.limit_in_bytes": "9223372036854771712",
         "memory/box/memory.limit_in_bytes": "300"}, 300,
    ),
    "no control groups": (None, {}, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_the_memory_of_a_container_is_its_limit(kind, tmp_path, monkeypatch):
    groups, files, expected = GROUPS[kind]
    (tmp_path / "proc/self").mkdir(parents=True)
    if groups is not None:
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, limit in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(limit + "\n")
    assert container_memory(tmp_path) == expected
    of_machine = physical_memory()
    monkeypatch.setattr("skprop.workspace.container_memory", lambda: expected)
    if of_machine is not None:
        assert physical_memory() == (expected or of_machine)


FITS = """
    import os, threading
    import numpy as np
    from threadpoolctl import threadpool_limits

    def start(self):
        raise RuntimeError("can't start new thread")

    if "NO_THREADS" in os.environ:
        threading.Thread.start = start

    from skprop import MLPSigmoidRegressor

    X = np.random.default_rng(0).normal(size=(20_000, 10))
    y = np.sin(X[:, 0])
    with threadpool_limits(4, "blas"):
        for parameters in (
            {"solver": "lbfgs", "alpha": 1e-4}, {"solver": "lm"}, {"solver": "adam"},
            {"alpha": "evidence", "n_members": 2}, {"solver": "sgd", "early_stopping": True},
        ):
            n = 20_000 if parameters.get("solver") == "lbfgs" else 300
            model = MLPSigmoidRegressor(10, max_iter=3, random_state=0, **parameters)
            model.fit(X[:n], y[:n])
            print(model.theta_.sum().hex())
    print("threads:", threading.active_count())
"""


def test_where_no_thread_can_be_started_one_computes_the_same_bits():
    """As in a browser (Pyodide)."""
    *expected, threads = run_python(FITS).splitlines()
    *found, alone = run_python(FITS, NO_THREADS="1").splitlines()
    assert found == expected
    assert (threads != "threads: 1", alone) == (True, "threads: 1")


def test_with_a_blas_that_threadpoolctl_does_not_know_a_fit_is_the_same(monkeypatch):
    """Accelerate is such a one: there is nothing to hold, and one thread computes."""
    expected = fit(X[:6000], Y[:6000])
    monkeypatch.setattr("skprop.threads.ThreadpoolController", lambda: Mock(lib_controllers=[]))
    monkeypatch.setattr(threads, "limit", threads.SingleThreadedBLAS())
    with threads.single_threaded_blas() as n_threads:
        assert n_threads == 1
    model = fit(X[:6000], Y[:6000])
    assert threads.limit.n_threads == 1
    np.testing.assert_array_equal(model.theta_, expected.theta_)
