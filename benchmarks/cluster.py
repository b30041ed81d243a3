"""Fits over a cluster beside those of one machine: ``python -m benchmarks.cluster [PART ...]``.

All on one machine, a `LocalCluster` of two worker processes of one thread. The parts:

- ``overhead``: milliseconds of an evaluation of next to no rows, over what the sums themselves
  take, by the number of partitions; and the CPU time of it, in this process, which has the client
  and the scheduler, and in the workers.
- ``rows``: an evaluation of many rows, and a short fit, beside one machine with two threads.
- ``memory``: how far the workers and the client grow above what they had after the same with few
  rows, as a multiple of X, each in a new process. Linux: the peaks are VmHWM, reset before.
- ``batches``: RMSE and seconds of "adam" by batches of several sizes.
"""

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error

from skprop import MLPSigmoidRegressor
from skprop.dask import DaskMLPSigmoidRegressor

from .timing import best_of

N_WORKERS, D = 2, 20


@contextmanager
def cluster():
    """A client of two worker processes of one thread."""
    options = {"threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(n_workers=N_WORKERS, **options) as workers, Client(workers) as client:
        yield client


def friedman(rng, n, d):
    """Rows of Friedman's first function, with noise of deviation 1 as the last column."""
    X = rng.random((n, d))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    y += 10 * X[:, 3] + 5 * X[:, 4] + rng.normal(size=n)
    return np.column_stack([X, y])


def collections(n_partitions, n_rows, d=D):
    """X and y whose partitions are made on the workers, of so many rows each."""

    def made(block_info, columns):
        rng = np.random.default_rng(block_info[None]["chunk-location"][0])
        return friedman(rng, n_rows, d)[:, columns].copy()

    sizes = (n_rows,) * n_partitions
    options = {"dtype": float, "meta": np.empty((0, 0))}
    return (
        da.map_blocks(made, chunks=(sizes, (d,)), columns=slice(d), **options),
        da.map_blocks(made, chunks=(sizes,), columns=d, **options),
    )


def spent(client):
    """CPU seconds of this process and of the workers, so far."""
    return time.process_time(), sum(client.run(time.process_time).values())


def overhead(client, quick):
    print("\n| partitions | least ms | median ms | CPU ms here | CPU ms of the workers |")
    print("|---" * 5 + "|")
    repeats = 3 if quick else 100
    for n_partitions in (8,) if quick else (8, 32, 128):
        X, y = collections(n_partitions, 4)
        options = {"solver": "lbfgs", "random_state": 0}
        ours, theta = DaskMLPSigmoidRegressor(50, **options).make_objective(X, y)
        here, _ = MLPSigmoidRegressor(50, **options).make_objective(*da.compute(X, y))
        least = best_of({"here": lambda here=here, theta=theta: here(theta)}, 0.1)["here"]
        ours(theta)
        before, taken = spent(client), []
        for _ in range(repeats):
            start = time.perf_counter()
            ours(theta)
            taken.append(time.perf_counter() - start - least)
        of_each = np.subtract(spent(client), before) / repeats
        cells = [min(taken), np.median(taken), *of_each]
        print(f"| {n_partitions} |", " | ".join(f"{1e3 * t:.1f}" for t in cells), "|", flush=True)


def rows(client, quick):
    n_partitions, n_rows = (8, 500) if quick else (40, 25_000)
    lazy = collections(n_partitions, n_rows)
    dX, dy = client.persist(lazy)
    X, y = da.compute(dX, dy)
    print(f"\n{len(y)} rows of {D} features, 50 units, seconds, the least of several:\n")
    print("| | cluster | one machine | ratio |\n|---|---|---|---|")
    options = {"solver": "lbfgs", "random_state": 0, "max_iter": 3 if quick else 10}
    many, one = DaskMLPSigmoidRegressor(50, **options), MLPSigmoidRegressor(50, **options)
    ours, theta = many.make_objective(dX, dy)
    here, _ = one.make_objective(X, y)

    def line(name, on_cluster, on_one):
        each = {"cluster": on_cluster, "one machine": on_one}
        taken = best_of(each, 0 if quick else 10, least=1 if quick else 3)
        a, b = taken["cluster"], taken["one machine"]
        print(f"| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} |", flush=True)

    line("an evaluation", lambda: ours(theta), lambda: here(theta))
    line(
        f'a fit by "lbfgs", {many.max_iter} iterations',
        lambda: many.fit(dX, dy),
        lambda: one.fit(X, y),
    )
    step = {"solver": "adam", "max_iter": 1, "batch_size": -(-len(y) // 20)}
    many.set_params(**step), one.set_params(**step)
    line('an epoch of "adam", 20 batches', lambda: many.fit(dX, dy), lambda: one.fit(X, y))


# ---- memory -------------------------------------------------------------------------------------


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident("VmRSS")


def resident(field):
    """Bytes of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def growth(client, what, n_partitions, n_rows):
    """Bytes by which the workers and the client grow at most while they do something."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    settings = {"max_iter": 3, "random_state": 0, "solver": "adam" if what == "adam" else "lbfgs"}
    alpha = "evidence" if what == "evidence" else 1e-4
    model = DaskMLPSigmoidRegressor(10, alpha=alpha, **settings)
    few = collections(n_partitions, 100)
    model.fit(*few)
    done = {"fit_posterior": model.fit_posterior, "score": model.score}.get(what, model.fit)
    done(*few)
    before = sum(client.run(reset_peak).values()), reset_peak()
    done(*collections(n_partitions, n_rows))
    after = sum(client.run(resident, "VmHWM").values()), resident("VmHWM")
    return np.subtract(after, before)


def growth_alone(*arguments):
    with cluster() as client:
        return growth(client, *arguments)


def memory(client, quick):
    n_partitions, n_rows = (8, 500) if quick else (32, 31_250)
    bytes_of_X = n_partitions * n_rows * D * 8
    print(f"\nX of {bytes_of_X / 1e6:.0f} MB in {n_partitions} partitions, 10 units:\n")
    print("| | the workers grow by | the client |\n|---|---|---|")
    for what in ["lbfgs"] if quick else ["lbfgs", "adam", "evidence", "fit_posterior", "score"]:
        if quick:
            found = growth(client, what, n_partitions, n_rows)
        else:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                found = alone.submit(growth_alone, what, n_partitions, n_rows).result()
        of_workers, of_client = found / bytes_of_X
        print(f"| {what} | {of_workers:.2f} X | {of_client:.3f} X |", flush=True)


# ---- batches ------------------------------------------------------------------------------------


def batches(_, quick):
    d, n, n_partitions, epochs = (10, 2_000, 8, 1) if quick else (10, 200_000, 20, 20)
    X, y = collections(n_partitions, n // n_partitions, d)
    test = friedman(np.random.default_rng(10**6), 20_000, d)
    print(f"\nFriedman's first function, {n} rows of {d} features with noise of deviation 1:\n")
    print("| | epochs | batch_size | learning_rate_init | RMSE | seconds |\n" + "|---" * 6 + "|")
    here = da.compute(X, y)

    def line(where, model, *data):
        start = time.perf_counter()
        model.fit(*data)
        taken = time.perf_counter() - start
        rmse = root_mean_squared_error(test[:, d], model.predict(test[:, :d]))
        rate, size = model.learning_rate_init, model.batch_size
        if model.solver == "lbfgs":
            rate, size = "–", "–"
        cells = f"{model.n_iter_} | {size} | {rate} | {rmse:.4f} | {taken:.1f}"
        print(f"| {where} | {cells} |", flush=True)

    common = {"hidden_layer_sizes": 50, "random_state": 0, "tol": 0.0, "n_iter_no_change": 1000}
    adam = common | {"solver": "adam", "max_iter": epochs}
    line("one machine", MLPSigmoidRegressor(**adam, batch_size=200), *here)
    for rate in (0.01,) if quick else (0.001, 0.01, 0.03):
        options = {"batch_size": n // 20, "learning_rate_init": rate}
        line("one machine", MLPSigmoidRegressor(**adam, **options), *here)
        line("cluster", DaskMLPSigmoidRegressor(**adam, **options), X, y)
    common |= {"solver": "lbfgs", "tol": 1e-4, "max_iter": 3 if quick else 100}
    line("one machine, lbfgs", MLPSigmoidRegressor(**common), *here)
    line("cluster, lbfgs", DaskMLPSigmoidRegressor(**common), X, y)


PARTS = {"overhead": overhead, "rows": rows, "memory": memory, "batches": batches}


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks.cluster", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="few rows, once")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    warnings.simplefilter("ignore", ConvergenceWarning)
    with cluster() as client:
        for name in options.parts or PARTS:
            PARTS[name](client, options.quick)


if __name__ == "__main__":
    main()
