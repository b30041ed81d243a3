import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blas_threads
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, threads
from skprop.blocks import (
    LEAST_ROWS,
    MAX_PARTS,
    MAX_ROWS,
    MIN_ROWS,
    PART_WORK,
    RowBlocks,
    block_rows,
    split,
)
from skprop.compat import blas_thread_functions
from skprop.layout import Layout
from skprop.threads import SingleThreadedBLAS, run, single_threaded_blas, small_rows


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_blocks_cover_the_rows_in_order(size):
    for rows in (slice(2, 12), np.arange(12, 2, -1)):
        numbers = np.arange(20)
        blocks = split(rows, size)
        joined = np.concatenate([numbers[block.rows] for block in blocks])
        np.testing.assert_array_equal(joined, numbers[rows])
        for block in blocks:
            np.testing.assert_array_equal(joined[block.at], numbers[block.rows])
            assert block.n == len(numbers[block.rows]) <= size


def test_wide_layers_get_short_blocks_and_narrow_ones_long():
    assert block_rows((10, 5000, 1), np.float64) == MIN_ROWS
    assert block_rows((2, 3, 1), np.float64) == MAX_ROWS
    assert block_rows((10, 128, 1), np.float32) == 2 * block_rows((10, 128, 1), np.float64)


@pytest.mark.parametrize("n_rows", [1, 7, 100, 1001])
@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize(
    ("share", "expected"), [(0, 1), (1, 1), (2.5, 2), (3.9, 2), (7, 4), (100, MAX_PARTS)]
)
def test_parts_are_runs_of_neighbours_as_many_as_pay(n_rows, size, share, expected):
    parts = RowBlocks(slice(0, n_rows), n_rows, size, int(share * PART_WORK)).parts
    blocks = [block for part in parts for block in part]
    numbers = np.arange(n_rows)
    np.testing.assert_array_equal(np.concatenate([numbers[b.rows] for b in blocks]), numbers)
    np.testing.assert_array_equal(np.concatenate([numbers[b.at] for b in blocks]), numbers)
    assert [b.n for b in blocks] == [len(numbers[b.rows]) for b in blocks]
    assert max(b.n for b in blocks) <= size
    assert all(parts)
    assert len(parts) <= max(1, min(share, MAX_PARTS, n_rows))
    if size == 1 or expected <= 4:
        assert len(parts) == min(expected, 1 << n_rows.bit_length() - 1)
    if size == 1:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_with_a_gradient_of_its_own_has_enough_rows():
    def n_parts(n_rows):
        return len(RowBlocks(slice(0, n_rows), n_rows, 64, 100 * PART_WORK, LEAST_ROWS).parts)

    assert [n_parts(int(k * LEAST_ROWS)) for k in (0.5, 1, 1.9, 2, 3.9, 4, 100)] == [
        1, 1, 1, 2, 2, 4, MAX_PARTS,
    ]  # fmt: skip


def test_sums_are_added_part_by_part_in_order():
    rows = RowBlocks(slice(0, 100), 100, 10, 4 * PART_WORK)
    total, text = rows.sum(lambda part: (np.array([float(b.n) for b in part[:1]]), str(part[0].at)))
    assert len(rows.parts) == 4
    np.testing.assert_array_equal(total, [40.0])
    assert text == "".join(str(part[0].at) for part in rows.parts)


@pytest.mark.parametrize(("method", "arguments"), [("__call__", 1), ("hessp", 2)])
def test_few_rows_of_a_wide_network_are_one_part(monkeypatch, method, arguments):
    n_parts, total = [], RowBlocks.sum

    def counted(blocks, part_sums):
        n_parts.append(len(blocks.parts))
        return total(blocks, part_sums)

    monkeypatch.setattr(RowBlocks, "sum", counted)
    objective = MLPObjective(np.ones((400, 50)), np.ones(400), hidden_layer_sizes=(256, 256))
    getattr(objective, method)(*[objective.initial_theta(0)] * arguments)
    assert n_parts == [1]


def test_blas_is_held_to_one_thread_and_let_go_by_the_last_to_leave():
    with threadpool_limits(3, "blas"):
        before = blas_threads()
        with single_threaded_blas() as n_outer:
            with single_threaded_blas() as n_inner:
                assert set(blas_threads()) == {1}
            assert set(blas_threads()) == {1}
        assert n_outer == n_inner == max(before)
        assert blas_threads() == before


def test_a_holder_that_is_gone_holds_no_longer():
    with threadpool_limits(3, "blas"):
        before, lost = blas_threads(), single_threaded_blas()
        lost.__enter__()
        assert set(blas_threads()) == {1}
        del lost  # as where Ctrl-C comes between the end of a block and its __exit__
        with single_threaded_blas() as n_threads:
            assert n_threads == max(before)
            assert set(blas_threads()) == {1}
        assert blas_threads() == before


def test_blas_is_held_from_any_thread():
    seen = []

    def look():
        with single_threaded_blas():
            seen.extend(blas_threads())

    with threadpool_limits(2, "blas"):  # this thread now has threadpoolctl's leave to set it
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert set(seen) == {1}
        assert set(blas_threads()) == {2}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_forked_while_blas_is_held_gets_its_threads_back():
    with threadpool_limits(3, "blas"):
        before = blas_threads()
        with single_threaded_blas():
            pid = os.fork()
            if pid == 0:  # nothing but the exit status comes out of here
                right = blas_threads() == before
                os._exit(0 if right else 1)
            _, status = os.waitpid(pid, 0)
            assert set(blas_threads()) == {1}  # in the parent it is still held
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_limit_of_blas_is_the_limit_of_the_blocks():
    with threadpool_limits(1, "blas"), single_threaded_blas() as n_threads:
        assert n_threads == 1


def test_every_task_runs_once_on_no_more_threads_than_asked_for():
    for n_threads in (1, 2, 5):
        done, seen = [], set()

        def task(k, done=done, seen=seen):
            done.append(k)
            seen.add(threading.get_ident())

        run(task, 50, n_threads)
        assert sorted(done) == list(range(50))
        assert len(seen) <= n_threads


def test_tasks_do_run_side_by_side():
    meeting = threading.Barrier(2, timeout=30)
    run(lambda k: meeting.wait(), 2, 2)


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_what_a_task_raises_comes_out_when_none_is_running(where):
    meeting, running, caller = threading.Barrier(2, timeout=30), [], threading.get_ident()

    def task(k):
        running.append(k)
        meeting.wait()
        try:
            if (threading.get_ident() == caller) == (where == "caller"):
                raise ZeroDivisionError
        finally:
            running.remove(k)

    with pytest.raises(ZeroDivisionError):
        run(task, 2, 2)
    assert running == []


def test_threads_that_call_at_once_share_the_helpers_and_none_waits_for_one():
    totals, n_threads, n_tasks = {}, 2 * MAX_PARTS, 30

    def caller(name):
        for _ in range(50):
            done = []
            run(done.append, n_tasks, 4)
            assert sorted(done) == list(range(n_tasks))
        totals[name] = True

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(n_threads)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(timeout=60)
    assert len(totals) == n_threads


def test_helpers_are_as_many_as_needed_and_no_more_than_there_may_be(monkeypatch):
    assert threads.MAX_THREADS == MAX_PARTS == 16  # as the page on the design says
    monkeypatch.setattr(threads, "MAX_THREADS", 4)
    helpers, caller, other = threads._Helpers(), threads._Caller(), threads._Caller()
    assert len(helpers.take(1, caller)) == 1
    assert len(helpers._all) == 1
    assert len(helpers.take(9, other)) == len(helpers._all) - 1 == 2
    assert helpers.take(1, other) == []
    del caller
    assert len(helpers.take(9, other)) == 1


def test_a_helper_waits_until_there_is_work_for_it(monkeypatch):
    monkeypatch.setattr(threads._Helper, "start", lambda self: None)
    assert threads._Helper()._begin.locked()


def test_what_went_wrong_before_is_not_told_of_the_next_work():
    helper, done = threads._Helper(), []
    helper._error = ZeroDivisionError()  # as where Ctrl-C ended its caller in `finish`
    helper.begin(lambda: done.append(1))
    assert helper.finish() is None
    assert done == [1]


def test_openblas_is_set_by_its_own_functions_and_others_by_threadpoolctl():
    library = SimpleNamespace(
        internal_api="openblas", threading_layer="pthreads", _get_symbol=lambda name: name,
        get_num_threads=1, set_num_threads=2,
    )  # fmt: skip
    own, threadpoolctls = ("openblas_get_num_threads", "openblas_set_num_threads"), (1, 2)
    assert blas_thread_functions(library) == own
    for name, value in (
        ("internal_api", "mkl"), ("threading_layer", "openmp"), ("_get_symbol", lambda name: None),
    ):  # fmt: skip
        other = SimpleNamespace(**(vars(library) | {name: value}))
        assert blas_thread_functions(other) == threadpoolctls
    del library._get_symbol
    assert blas_thread_functions(library) == threadpoolctls


def test_without_a_blas_that_can_be_set_there_is_one_thread():
    limit = SingleThreadedBLAS()
    limit._libraries = []
    holder = threading.Event()
    assert limit.hold(holder) == limit.n_threads == 1


def test_an_interrupt_waits_for_the_helpers():
    at_work, finished = threading.Event(), []

    def task(k):
        if threading.current_thread() is threading.main_thread():
            at_work.wait(30)
            for _ in range(2):  # the second comes while the first is waiting for the helper
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        else:
            at_work.set()
            time.sleep(0.3)
            finished.append(k)

    with pytest.raises(KeyboardInterrupt):
        run(task, 2, 2)
    assert len(finished) == 1


@pytest.mark.parametrize("call", [1, 3])  # as BLAS is limited, and as the limit is lifted
def test_an_interrupt_while_blas_is_limited_is_made_good_at_the_next_use(monkeypatch, call):
    counts, n_calls = [4, 4], 0

    def library(k):
        def set_(n):
            nonlocal n_calls
            n_calls += 1
            counts[k] = n
            if n_calls == call:
                raise KeyboardInterrupt

        return lambda: counts[k], set_

    limit = SingleThreadedBLAS()
    limit._libraries = [library(0), library(1)]
    monkeypatch.setattr(threads, "limit", limit)
    with pytest.raises(KeyboardInterrupt), single_threaded_blas():
        pass
    with single_threaded_blas() as n_threads:
        assert (n_threads, counts) == (4, [1, 1])
    assert counts == [4, 4]


@pytest.mark.parametrize("hidden", [(), (1,), (10,), (50,), (20, 20)])
def test_small_products_are_the_same_whatever_blas_is_left_to_do(hidden):
    rng = np.random.default_rng(0)
    n = small_rows(Layout((8, *hidden, 1)))
    objective = MLPObjective(
        rng.normal(size=(n, 8)), rng.normal(size=n), hidden_layer_sizes=hidden, alpha=1.0
    )
    theta, results = objective.initial_theta(0), []
    for n_threads in (1, 4):
        with threadpool_limits(n_threads, "blas"):
            results.append((*objective(theta), objective.predict(theta, np.ones((n, 8)))))
    for one, four in zip(*results, strict=True):
        np.testing.assert_array_equal(one, four)


def test_blas_is_held_where_layers_are_wide():
    assert small_rows(Layout((8, 5000, 1))) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_result_is_the_same_to_the_last_bit_on_any_number_of_threads(dtype, weighted):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 5)).astype(dtype), rng.normal(size=(20_000, 2))
    w = rng.uniform(0, 2, 20_000) if weighted else None
    objective = MLPObjective(X, y, hidden_layer_sizes=(40, 10), alpha=0.1, sample_weight=w)
    theta = objective.initial_theta(0)
    subset = rng.permutation(20_000)[:15_000]
    results = []
    for n_threads in (1, 2, 3, 16):
        with threadpool_limits(n_threads, "blas"):
            assert blas_threads()[0] == n_threads
            results.append(
                (objective(theta), objective(theta, subset), objective.predict(theta, X))
            )
    for whole, part, predicted in results[1:]:
        assert whole[0] == results[0][0][0]
        np.testing.assert_array_equal(whole[1], results[0][0][1])
        assert part[0] == results[0][1][0]
        np.testing.assert_array_equal(part[1], results[0][1][1])
        np.testing.assert_array_equal(predicted, results[0][2])
