"""Keep every number that some 40 fits leave behind, and compare them after a change of the code.

python -m tests.bits --save FILE.npz
python -m tests.bits --compare FILE.npz [--rtol 1e-12]

Each fit is small. Together they visit every solver with one and two outputs, both activations of
the last layer, early stopping, members, warm starts, streams, sparse rows, both dtypes and weights.
"""

import argparse
import hashlib
import pickle
import sys
import warnings

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone

from skprop import MLPSigmoidRegressor, minimize_lbfgs

SOLVERS = {
    "lbfgs": {"max_iter": 12},
    "lm": {"solver": "lm", "max_iter": 6},
    "evidence": {"alpha": "evidence", "max_iter": 6},
    "sgd": {"solver": "sgd", "max_iter": 5},
    "adam": {"solver": "adam", "max_iter": 5},
}
HELD_OUT = {"early_stopping": True, "n_iter_no_change": 3, "validation_fraction": 0.3}
SIGMOID, PLAIN = {"output_activation": "sigmoid"}, {"standardize": False}
DEEP, LINEAR = {"hidden_layer_sizes": (5, 4)}, {"hidden_layer_sizes": ()}
LARGE = {"rows": 3000, "features": 20, "hidden_layer_sizes": (60,)}  # several parts of the rows

# What a case is beside the parameters of the estimator, and how it is without a word on it.
DATA = {
    "rows": 150, "features": 5, "outputs": 1, "dtype": "float64", "sparse": False,
    "weights": False, "given": False, "calls": "fit",
}  # fmt: skip

CASES = {
    **{f"{name}": solver for name, solver in SOLVERS.items()},
    **{f"{name}, two outputs": solver | {"outputs": 2} for name, solver in SOLVERS.items()},
    **{f"{name}, deep": solver | DEEP for name, solver in SOLVERS.items()},
    **{f"{name}, large": solver | LARGE for name, solver in SOLVERS.items()},
    **{
        f"{name}, early stopping": SOLVERS[name] | HELD_OUT
        for name in ("lbfgs", "lm", "sgd", "adam")
    },
    **{
        f"{name}, float32, deep, two outputs": SOLVERS[name]
        | DEEP
        | {"dtype": "float32", "outputs": 2}
        for name in SOLVERS
    },
    "lbfgs, sigmoid": SOLVERS["lbfgs"] | SIGMOID,
    "lbfgs, sigmoid, deep, weights": SOLVERS["lbfgs"] | SIGMOID | DEEP | {"weights": True},
    "lm, sigmoid, two outputs": SOLVERS["lm"] | SIGMOID | {"outputs": 2},
    "evidence, sigmoid": SOLVERS["evidence"] | SIGMOID,
    "adam, sigmoid, plain, float32": SOLVERS["adam"] | SIGMOID | PLAIN | {"dtype": "float32"},
    "lbfgs, linear, weights": SOLVERS["lbfgs"] | LINEAR | {"weights": True},
    "lm, linear, two outputs, plain": SOLVERS["lm"] | LINEAR | PLAIN | {"outputs": 2},
    "lbfgs, penalty of each layer": SOLVERS["lbfgs"] | {"alpha": (0.1, 1.0), "rows": 60},
    "lbfgs, wide, sparse, weights": SOLVERS["lbfgs"]
    | {"features": 40, "sparse": True, "weights": True, "rows": 400},
    "evidence, sparse": SOLVERS["evidence"] | {"sparse": True},
    "adam, sparse, float32, deep": SOLVERS["adam"] | DEEP | {"sparse": True, "dtype": "float32"},
    "lm, members": SOLVERS["lm"] | {"n_members": 3, "outputs": 2},
    "adam, members, early stopping, weights": SOLVERS["adam"]
    | HELD_OUT
    | {"n_members": 2, "weights": True},
    "lm, few rows, two outputs": SOLVERS["lm"]
    | {"rows": 20, "hidden_layer_sizes": (20,), "outputs": 2},
    "evidence, few rows, members": SOLVERS["evidence"]
    | {"rows": 30, "hidden_layer_sizes": (20,), "n_members": 2},
    "evidence, members, weights": SOLVERS["evidence"] | {"n_members": 2, "weights": True},
    "ard, members, deep, two outputs": DEEP
    | {"alpha": "ard", "max_iter": 60, "n_members": 2, "outputs": 2},
    "ard, weights, sparse, float32": {
        "alpha": "ard",
        "max_iter": 60,
        "weights": True,
        "sparse": True,
        "dtype": "float32",
    },
    "lbfgs, held-out rows given, weights": SOLVERS["lbfgs"]
    | HELD_OUT
    | {"given": True, "weights": True},
    "lbfgs, warm": SOLVERS["lbfgs"] | {"warm_start": True, "calls": "fit twice"},
    "lm, warm, early stopping": SOLVERS["lm"]
    | HELD_OUT
    | {"warm_start": True, "calls": "fit twice"},
    "evidence, warm": SOLVERS["evidence"] | {"warm_start": True, "calls": "fit twice"},
    "sgd, warm": SOLVERS["sgd"]
    | {"learning_rate": "adaptive", "warm_start": True, "calls": "fit twice"},
    "adam, stream, sparse": SOLVERS["adam"] | {"calls": "partial fit", "sparse": True},
    "sgd, stream, two outputs, weights": SOLVERS["sgd"]
    | {"learning_rate": "invscaling", "calls": "partial fit", "outputs": 2, "weights": True},
    "callable, theta set": {"solver": minimize_lbfgs, "calls": "set theta", "outputs": 2},
}


def data(rows, features, outputs, dtype, sparse, weights):
    """X, y in (0, 1) and weights, a zero and a two among them; with rows to hold out apart."""
    rng = np.random.default_rng([rows, features, outputs])
    X = rng.normal(1.0, 2.0, size=(rows, features))
    if sparse:
        X[rng.random(X.shape) < 0.7] = 0.0
    A = rng.normal(size=(features, outputs)) / np.sqrt(features)
    y = 0.5 + 0.4 * np.sin(X @ A) + 0.02 * rng.normal(size=(rows, outputs))
    X, y = X.astype(dtype), np.clip(y, 0.01, 0.99).astype(dtype)
    weight = rng.integers(0, 3, rows).astype(float) if weights else None
    return csr_array(X) if sparse else X, y[:, 0] if outputs == 1 else y, weight


def fitted(case: dict) -> tuple[MLPSigmoidRegressor, tuple]:
    """The estimator of a case, fitted, and the data it was fitted to."""
    case = DATA | {"hidden_layer_sizes": (7,), "random_state": 0} | case
    parameters = {name: value for name, value in case.items() if name not in DATA}
    X, y, weight = data(*(case[name] for name in list(DATA)[:6]))
    model = MLPSigmoidRegressor(**{"alpha": 1e-4} | parameters)
    if case["given"]:
        cut = len(y) // 3
        model.fit(X[cut:], y[cut:], weight[cut:], X[:cut], y[:cut], weight[:cut])
    elif case["calls"] == "partial fit":
        for part in (slice(0, 90), slice(90, None), slice(0, 60)):
            model.partial_fit(X[part], y[part], None if weight is None else weight[part])
            model = pickle.loads(pickle.dumps(model))
    else:
        model.fit(X, y, weight)
    if case["calls"] == "fit twice":
        model.fit(X, y, weight)
    elif case["calls"] == "set theta":
        model.set_theta(1.01 * model.theta_).fit_posterior(X, y, weight)
    return model, (X, y, weight)


def numbers(case: dict) -> dict[str, np.ndarray]:
    """All that a fit leaves behind and computes, by name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, (X, y, weight) = fitted(case)
        model.__getstate__()  # computes what a fit puts off
    found = {"warnings": "; ".join(str(warning.message) for warning in caught)}
    public = {name: value for name, value in vars(model).items() if name.endswith("_")}
    for name, value in public.items():
        if hasattr(value, "get_params"):  # a scaler
            found |= {f"{name}.{part}": getattr(value, part) for part in ("mean_", "scale_")}
        elif value is None or isinstance(value, dict):
            found[name] = str(value)
        else:
            found[name] = value
    found["names of attributes"] = " ".join(sorted(public))
    found["names in the pickle"] = " ".join(sorted(vars(pickle.loads(pickle.dumps(model)))))
    few = X[:50]
    found["predict"], found["predict_gradient"] = model.predict(X), model.predict_gradient(few)
    if hasattr(model, "noise_variance_"):
        found["deviation"] = model.predict(few, return_std=True)[1]
    if not model.early_stopping and not isinstance(model.alpha, str):
        objective, theta = clone(model).make_objective(X, y, weight)
        found["loss"], found["gradient"] = objective(theta)
        found["loss of some rows"], found["gradient of some rows"] = objective(theta, [7, 3, 3])
        found["hessp"] = objective.hessp(theta, np.cos(np.arange(len(theta))))
        found["residuals"] = objective.residuals(theta)
        _, found["Jᵀr"], JtJ = objective.normal_equations(theta)
        found["rows of JᵀJ"], found["sums of JᵀJ"] = JtJ[:20], JtJ.sum(axis=0)
    return {name: np.asarray(value) for name, value in found.items()}


def digest(found: dict[str, np.ndarray]) -> str:
    """A short name of all the bits."""
    bits = hashlib.sha256()
    for name in sorted(found):
        value = found[name]
        bits.update(f"{name} {value.dtype.str} {value.shape}".encode() + value.tobytes())
    return bits.hexdigest()[:12]


def difference(old: np.ndarray, new: np.ndarray, rtol: float) -> str:
    """How two values differ, in words; empty if they do by no more than ``rtol`` of the largest."""
    if old.shape != new.shape or old.dtype != new.dtype:
        if old.dtype.kind == new.dtype.kind == "U":
            return f"{str(old)!r} is now {str(new)!r}"
        return f"{old.dtype}{old.shape} is now {new.dtype}{new.shape}"
    if old.tobytes() == new.tobytes():
        return ""
    if old.dtype.kind not in "if":
        return f"{old} is now {new}"
    with np.errstate(invalid="ignore"):
        distance = np.abs(new.astype(float) - old).max() / max(np.abs(old).max(), 1e-300)
    return "" if distance <= rtol else f"{distance:.1e}"


def save(file: str, cases: dict) -> None:
    """Write the numbers of all cases, with a digest of each."""
    arrays = {}
    for case, parameters in cases.items():
        found = numbers(parameters)
        found["digest"] = np.asarray(digest(found))
        arrays |= {f"{case}/{name}": value for name, value in found.items()}
        print(f"{found['digest']}  {case}")
    np.savez_compressed(file, **arrays)


def compare(file: str, cases: dict, rtol: float = 0.0) -> int:
    """Print of each case what differs from the file; returns the number of cases that do."""
    saved = {}
    with np.load(file) as arrays:
        for key, value in arrays.items():
            case, _, name = key.partition("/")
            saved.setdefault(case, {})[name] = value
    n_differ = 0
    for case, parameters in cases.items():
        old, new = saved.get(case, {}), numbers(parameters)
        same_bits = str(old.pop("digest", "")) == digest(new)
        lines = [f"  {name}: is gone" for name in sorted(old.keys() - new.keys())]
        lines += [f"  {name}: is new" for name in sorted(new.keys() - old.keys())]
        for name in sorted(old.keys() & new.keys()):
            if words := difference(old[name], new[name], rtol):
                lines.append(f"  {name}: {words}")
        n_differ += bool(lines)
        print(
            *[f"{'differs' if lines else 'same' if same_bits else 'close'}  {case}", *lines],
            sep="\n",
        )
    print(f"{n_differ} of {len(cases)} fits differ")
    return n_differ


def main(arguments: list[str] | None = None, cases: dict = CASES) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--save", metavar="FILE")
    task.add_argument("--compare", metavar="FILE")
    parser.add_argument("--rtol", type=float, default=0.0, help="let such differences pass")
    arguments = parser.parse_args(arguments)
    if arguments.save:
        save(arguments.save, cases)
        return 0
    return int(compare(arguments.compare, cases, arguments.rtol) > 0)


if __name__ == "__main__":
    sys.exit(main())
