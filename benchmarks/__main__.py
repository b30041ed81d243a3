"""skprop beside its peers and beside the floor: ``python -m benchmarks``.

Tables: evaluation, slopes, small, parts, hessp, steps, fit, evidence, committee, predict, memory,
growth (all by default); accuracy and stopping, which have to be named, are described in
`benchmarks.accuracy` and `benchmarks.stopping`. Contenders run in the same
process, interleaved, best of many: skprop, scikit-learn's MLPRegressor, and PyTorch and
JAX (jitted) where installed. The floor is the bare matrix products and one tanh a hidden unit, in
blocks of 512 rows on one thread, divided by the number of threads.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from unittest.mock import patch

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from skprop import MLPObjective

from . import accuracy, stopping
from . import contenders as c
from .straight import evaluate_straight, steps_straight, with_ones
from .timing import best_of

SHAPES = [
    (200, 8, (10,), 1),
    (1_000, 8, (50,), 1),
    (1_000, 10, (100,), 1),
    (10_000, 10, (100,), 1),
    (100_000, 10, (10,), 1),
    (10_000, 50, (100, 100), 1),
    (100_000, 20, (64, 64), 1),
    (5_000, 200, (256,), 5),
    (20_000, 50, (256, 256), 1),
]
WIDE = [(50, (256, 256), 1), (200, (256,), 5)]
SLOPES = [(1_000, 8, (50,)), (10_000, 10, (100,))]
STEPS = [(10, (100,), 200), (10, (20,), 32), (10, (50,), 64), (50, (100, 100), 200)]
FITS = [
    (500, 6, (10,)),
    (2_000, 8, (50,)),
    (10_000, 10, (100,)),
    (100_000, 10, (50,)),
    (20_000, 20, (64, 64)),
]
EVIDENCE = [(100, 8, (50,)), (1_000, 8, (50,))]
COMMITTEES = [  # with the iterations or epochs of each member
    ("evidence", 200, 8, (50,), 15),
    ("evidence", 1_000, 8, (50,), 10),
    ("evidence", 10_000, 10, (50,), 3),
    ("lbfgs", 200, 8, (50,), 60),
    ("lbfgs", 1_000, 8, (50,), 60),
    ("lbfgs", 10_000, 10, (50,), 20),
    ("lbfgs", 100_000, 10, (50,), 5),
    ("adam", 200, 8, (50,), 200),
    ("adam", 1_000, 8, (50,), 100),
    ("adam", 10_000, 10, (50,), 20),
    ("adam", 10_000, 10, (50, 50), 5),
    ("adam", 10_000, 10, (100, 100), 3),
]
DTYPES = {"float64": np.float64, "float32": np.float32}


def n_threads():
    return max((p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"), default=1)


def row(table, label, seconds, **more):
    """Print and return one row: milliseconds of each contender, and ratios to skprop."""
    ours = seconds["skprop"]
    cells = [f"{ours * 1e3:9.3f}"]
    for name, value in seconds.items():
        if name != "skprop":
            cells.append(f"{name} {value * 1e3:9.3f} ({value / ours:5.2f}x)")
    print(f"{label:44s}", "  ".join(cells), *(f" {k} {v}" for k, v in more.items()), flush=True)
    return {"table": table, "label": label, "seconds": seconds, **more}


def evaluation(options):
    for name, dtype in DTYPES.items():
        for n, d, hidden, outputs in SHAPES[: 3 if options.quick else None]:
            X, y = c.problem(n, d, outputs, dtype)
            functions = {
                "skprop": c.evaluate_skprop(X, y, hidden),
                "sklearn": c.evaluate_sklearn(X, y, hidden),
                "torch": c.evaluate_torch(X, y, hidden),
                "jax": c.evaluate_jax(X, y, hidden),
            }
            functions = {k: f for k, f in functions.items() if f}
            seconds = best_of(functions, options.seconds)
            with threadpool_limits(1):
                floor = best_of({"floor": c.evaluate_floor(X, y, hidden)}, options.seconds / 4)
            seconds["floor"] = floor["floor"] / options.n_threads
            yield row("evaluation", f"{n} x {d} {hidden} {outputs} {name}", seconds)


def slopes(options):
    """An evaluation that learns slopes too, beside one that does not and beside JAX. It is meant to
    take at most 1.5 + 1.2 d evaluations without."""
    for n, d, hidden in SLOPES[: 1 if options.quick else None]:
        X, y = c.problem(n, d, 1)
        functions = {
            "skprop": c.evaluate_skprop_slopes(X, y, hidden),
            "without": c.evaluate_skprop(X, y, hidden),
            "jax": c.evaluate_jax_slopes(X, y, hidden),
        }
        functions = {k: f for k, f in functions.items() if f}
        found = {"wall time": best_of(functions, options.seconds)}
        functions.pop("jax", None)  # which has threads of its own
        with threadpool_limits(1):
            seconds = best_of(functions, options.seconds, clock=time.process_time)
        found["CPU time of one thread"] = seconds
        for kind, seconds in found.items():
            times = f"{seconds['skprop'] / seconds['without']:.1f} (aim {1.5 + 1.2 * d:.1f})"
            yield row("slopes", f"{n} x {d} {hidden}, {kind}", seconds, evaluations=times)


def hessp(options):
    """A product with the Hessian, the first at its θ or a further one, beside JAX."""
    for name, dtype in DTYPES.items():
        for n, d, hidden, outputs in SHAPES[: 3 if options.quick else None]:
            X, y = c.problem(n, d, outputs, dtype)
            functions = {
                "skprop": c.hessp_skprop(X, y, hidden),
                "jax": c.hessp_jax(X, y, hidden),
                "further": c.hessp_skprop_further(X, y, hidden),
                "jax further": c.hessp_jax_further(X, y, hidden),
                "loss and gradient": c.evaluate_skprop(X, y, hidden),
            }
            functions = {k: f for k, f in functions.items() if f}
            seconds = best_of(functions, options.seconds)
            yield row("hessp", f"{n} x {d} {hidden} {outputs} {name}", seconds)


def small(options):
    """Calls of few rows beside straight-line NumPy for that shape alone."""
    n, d, h, batch = 200, 8, 10, 32
    X, y = c.problem(n, d, 1)
    theta = MLPObjective(X, y, hidden_layer_sizes=h).initial_theta(0)
    straight_line = evaluate_straight(with_ones(X), y, h)
    functions = {"skprop": c.evaluate_skprop(X, y, (h,)), "straight": lambda: straight_line(theta)}
    same_result([f()[1] for f in functions.values()])
    yield row("small", f"{n} x {d} ({h},), an evaluation", best_of(functions, options.seconds))
    adam, n_steps = c.steps_skprop("adam", d, (h,), batch)
    functions = {"skprop": adam, "straight": steps_straight(d, h, batch, n_steps, theta)}
    same_result([adam().x, functions["straight"]()])
    seconds = {k: s / n_steps for k, s in best_of(functions, options.seconds).items()}
    yield row("small", f"{batch} x {d} ({h},), a step of adam", seconds)


def same_result(pair):
    np.testing.assert_allclose(*pair, rtol=0, atol=1e-12)


def parts(options):
    """CPU time of few rows of wide networks, as they are and with all rows in one part."""
    for d, hidden, outputs in WIDE:
        for n in (200,) if options.quick else (200, 400, 2_000):
            X, y = c.problem(n, d, outputs)
            evaluate = c.evaluate_skprop(X, y, hidden)
            functions = {"skprop": evaluate, "in one part": in_one_part(evaluate)}
            seconds = best_of(functions, options.seconds, clock=time.process_time)
            with threadpool_limits(1):
                peer = {"sklearn": c.evaluate_sklearn(X, y, hidden)}
                seconds |= best_of(peer, options.seconds / 2, clock=time.process_time)
            yield row("parts", f"{n} x {d} {hidden} {outputs}, CPU time", seconds)


def in_one_part(evaluate):
    def in_one():
        with patch("skprop.blocks.MAX_PARTS", 1):
            evaluate()

    return in_one


def steps(options):
    for solver in ("adam", "sgd"):
        for d, hidden, batch in STEPS[: 1 if options.quick else None]:
            functions, per_step = {}, {}
            for name, make in (
                ("skprop", c.steps_skprop), ("sklearn", c.steps_sklearn), ("torch", c.steps_torch)
            ):  # fmt: skip
                if made := make(solver, d, hidden, batch):
                    functions[name], per_step[name] = made
            seconds = best_of(functions, options.seconds)
            seconds = {name: seconds[name] / per_step[name] for name in seconds}
            yield row("steps", f"{solver} {d} {hidden} batch {batch}", seconds)


def fit(options):
    for n, d, hidden in FITS[: 1 if options.quick else None]:
        X, y = c.problem(n, d, 1)
        n_iter = 30 if n >= 20_000 else 100
        models = {"skprop": c.fit_skprop(hidden, n_iter), "sklearn": c.fit_sklearn(hidden, n_iter)}
        functions = {name: partial(m.fit, X, y) for name, m in models.items()}
        seconds = best_of(functions, options.seconds)
        seconds = {name: seconds[name] / models[name].n_iter_ for name in seconds}
        losses = {name: float(m.loss_) for name, m in models.items()}
        label = f"{n} x {d} {hidden}, an iteration"
        yield row("fit", label, seconds, loss={k: f"{v:.5f}" for k, v in losses.items()})


def evidence(options):
    """CPU time of an iteration, by the smaller side and by P × P, and of what LAPACK does in it."""
    for n, d, hidden in EVIDENCE[: 1 if options.quick else None]:
        X, y = c.problem(n, d, 1)
        model = c.fit_evidence(hidden, 10)
        fit = partial(model.fit, X, y)
        functions = {"skprop": fit, "P x P": in_square_form(fit)}
        seconds = best_of(functions, options.seconds, clock=time.process_time)
        seconds = {name: value / model.n_iter_ for name, value in seconds.items()}
        with threadpool_limits(1):
            floor = {"LAPACK": c.evidence_floor(n, model.theta_.size)}
            seconds |= best_of(floor, options.seconds / 4, clock=time.process_time)
        yield row("evidence", f"{n} x {d} {hidden}, an iteration, CPU time", seconds)


def in_square_form(fit):
    def in_square():
        with patch("skprop.flat_objective.is_thin", lambda N, P: False):
            fit()

    return in_square


def committee(options):
    """Five members, beside five fits one after the other on one core, and in warm processes."""
    for kind, n, d, hidden, n_iter in COMMITTEES[:: 4 if options.quick else 1]:
        X, y = c.problem(n, d, 1)
        n_iter = 2 if options.quick else n_iter
        fits = c.committee_fits(kind, X, y, hidden, n_iter, options.n_threads)
        yield row("committee", f"{kind} {n} x {d} {hidden}", best_of(fits, 2 * options.seconds))


def predict(options):
    X, y = c.problem(2_000, 10, 1)
    models = {"skprop": c.fit_skprop((100,), 5), "sklearn": c.fit_sklearn((100,), 5)}
    for model in models.values():
        model.fit(X, y)
    for n in (1, 100, 20_000 if options.quick else 200_000):
        rows, _ = c.problem(n, 10, 1)
        functions = {name: partial(m.predict, rows) for name, m in models.items()}
        yield row("predict", f"predict {n} rows, 10 (100,)", best_of(functions, options.seconds))


def memory(options):
    for n in (100_000,) if options.quick else (100_000, 1_000_000):
        for solver in ("lbfgs", "adam"):
            command = [sys.executable, "-m", "benchmarks.memory", str(n), solver, "float32"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            label, mib = f"{n} x 20 float32 (64, 64) {solver}", float(done.stdout)
            print(f"{label:44s} {mib:7.1f} MiB above the data", flush=True)
            yield {"table": "memory", "label": label, "mib": mib}


def growth(options):
    for n in (10_000,) if options.quick else (1_000, 10_000, 100_000, 1_000_000):
        X, y = c.problem(n, 10, 1)
        functions = {
            "skprop": c.evaluate_skprop(X, y, (50,)),
            "sklearn": c.evaluate_sklearn(X, y, (50,)),
            "torch": c.evaluate_torch(X, y, (50,)),
            "jax": c.evaluate_jax(X, y, (50,)),
        }
        seconds = best_of({k: f for k, f in functions.items() if f}, options.seconds)
        for threads in range(1, options.n_threads):
            with threadpool_limits(threads):
                alone = best_of({"": functions["skprop"]}, options.seconds / 4)
            seconds[f"on {threads} thread" + "s" * (threads > 1)] = alone[""]
        yield row("growth", f"{n} x 10 (50,)", seconds)


TABLES = {
    f.__name__: f
    for f in (
        evaluation,
        slopes,
        small,
        parts,
        hessp,
        steps,
        fit,
        evidence,
        committee,
        predict,
        memory,
        growth,
    )
}


BY_NAME = {"accuracy": accuracy.table, "stopping": stopping.table}  # over real data


def header(options):
    packages = ("skprop", "numpy", "scipy", "scikit-learn", "torch", "jax")
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    blas = {
        f"{p['internal_api']} {p['version']}" for p in threadpool_info() if p["user_api"] == "blas"
    }
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(": ")[1] for x in lines if x.startswith("model name")), cpu)
    return {
        "python": platform.python_version(), **versions, "blas": ", ".join(sorted(blas)),
        "cpu": f"{cpu}, {os.cpu_count()} cores", "threads": options.n_threads,
    }  # fmt: skip


def summarise(rows):
    """Geometric mean and least of the ratios of each peer, by table and precision."""
    groups = {}
    for r in rows:
        if r["table"] in ("memory", *BY_NAME):
            continue
        kind = r["table"] + (
            f" {r['label'].split()[-1]}" if r["table"] in ("evaluation", "hessp") else ""
        )
        for name, value in r["seconds"].items():
            if name != "skprop":
                groups.setdefault((kind, name), []).append(value / r["seconds"]["skprop"])
    print("\nTimes of the peers as multiples of skprop's")
    for (kind, name), ratios in groups.items():
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{kind:22s} {name:10s} geometric mean {mean:6.2f}, least {min(ratios):6.2f}")


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help=f"any of {', '.join({**TABLES, **BY_NAME})}")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--data", type=Path, help="folder of <name>/data.npz, for real data")
    parser.add_argument("--splits", type=int, default=20, help="of real data, at most so many")
    parser.add_argument("--jobs", type=int, default=1, help="of real data, splits side by side")
    parser.add_argument("--only", nargs="+", help="of the table accuracy, these contenders")
    parser.add_argument("--seconds", type=float, help="time for each row (default 2, quick 0.2)")
    parser.add_argument("--save", type=Path, help="write the results as JSON")
    parser.add_argument("--compare", type=Path, help="a stored run to hold the results against")
    options = parser.parse_args()
    if unknown := set(options.tables) - {*TABLES, *BY_NAME}:
        parser.error(f"unknown table {', '.join(unknown)}")
    options.n_threads = n_threads()
    options.seconds = options.seconds or (0.2 if options.quick else 2.0)
    warnings.simplefilter("ignore", ConvergenceWarning)

    head = header(options)
    print("  ".join(f"{k} {v}" for k, v in head.items()), "\n")
    rows = []
    for name in [name for name in options.tables if name in BY_NAME]:
        rows += BY_NAME[name](options)
        options.tables.remove(name)
    for name in options.tables if rows else options.tables or TABLES:
        print(f"{name}" + ("" if name == "memory" else ": ms of skprop, ms of each peer (ratio)"))
        rows += TABLES[name](options)
        print()
    if any("seconds" in r for r in rows):
        summarise(rows)
    if options.save:
        options.save.write_text(json.dumps({"header": head, "rows": rows}, indent=1))
    if options.compare:
        stored = json.loads(options.compare.read_text())["rows"]
        before = {(r["table"], r["label"]): r for r in stored if "seconds" in r}
        print("\nskprop now, as a multiple of the stored run")
        for r in rows:
            if then := before.get((r["table"], r["label"])):
                ratio = r["seconds"]["skprop"] / then["seconds"]["skprop"]
                print(f"{r['table']:12s} {r['label']:44s} {ratio:5.2f}")


if __name__ == "__main__":
    main()
