"""When the evidence should stop: ``python -m benchmarks stopping --data FOLDER``.

Each run of `minimize_evidence` is recorded once, iteration by iteration, and every rule picks its
iterate from the record. For each set: the mean test RMSE of one network, that of the mean of
``SEEDS`` networks, and how far the log evidence of the iterate is below the greatest that the run
passed (the worst run), over the train/test splits. FOLDER is as `benchmarks.defaults` describes;
its set "tecator", if any, is 13 components → fat on random splits of its training rows. Without
FOLDER the table has diabetes alone.
"""

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprop import MLPObjective
from skprop.solvers import minimize_evidence

from .defaults import load

SEEDS, WIDTH, MAX_ITER, MAX_ROWS = 3, 50, 200, 1500
LATEST = "2.5 a parameter, ten iterations"  # of all rules the last to end a run


class Record(NamedTuple):
    """A run, with an entry for its start and one for each iteration."""

    N: int
    likelihood: NDArray  # −½ N ln σ²
    gamma: NDArray
    log_evidence: NDArray
    loss: NDArray
    predictions: NDArray


def recorded(X, y, X_test, seed):
    """Run to the fixed point, or to the limit, in standard units."""
    x_scaler, y_scaler = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
    objective = MLPObjective(x_scaler.transform(X), y_scaler.transform(y[:, None]),
                             hidden_layer_sizes=WIDTH, alpha=0.0)  # fmt: skip
    rows, seen = x_scaler.transform(X_test), []

    def look(at):
        predicted = y_scaler.inverse_transform(objective.predict(at.x, rows)).ravel()
        seen.append((2 * len(y) * objective.loss(at.x), at.n_effective, at.log_evidence, at.fun,
                     predicted))  # fmt: skip

    theta0 = objective.layout.initial_theta(seed, spread=1.0)
    start = minimize_evidence(objective, theta0, max_iter=0)
    look(OptimizeResult(x=theta0, fun=start.fun, **start.evidence._asdict()))
    minimize_evidence(objective, theta0, max_iter=MAX_ITER, callback=look)
    squares, gamma, log_evidence, loss, predictions = (np.array(c) for c in zip(*seen, strict=True))
    likelihood = -0.5 * len(y) * np.log(squares / freedom(len(y), gamma))
    return Record(len(y), likelihood, gamma, log_evidence, loss, predictions)


def freedom(N, gamma):
    return np.maximum(N - gamma, 0.05 * N)


def priced(c, exponent, window, falls=False):
    """End where the likelihood rose by less than c (N/(N − γ))^exponent a parameter; with
    ``falls`` only where the log evidence is below one that the run passed."""

    def rule(run):
        gain = run.likelihood[window:] - run.likelihood[:-window]
        paid = run.gamma[window:] - run.gamma[:-window]
        price = c * (run.N / freedom(run.N, run.gamma[window:])) ** exponent
        ends = (paid > 0) & (gain < price * paid)
        if falls:
            ends &= (run.log_evidence < np.maximum.accumulate(run.log_evidence))[window:]
        decay = np.log(run.loss[1:-25] / run.loss[26:]) / 25 < 3 / run.N  # as fit ends any solver
        first = [window + np.argmax(ends)] if ends.any() else []
        first += [26 + np.argmax(decay)] if decay.any() else []
        return min(first, default=len(run.loss) - 1)

    return rule


RULES = {
    LATEST: priced(2.5, 0, 10),
    "1.2 (N/(N − γ))^1.5, eight, below a greater evidence": priced(1.2, 1.5, 8, falls=True),
    "the same, whatever the evidence": priced(1.2, 1.5, 8),
    "(N/(N − γ))², eight": priced(1.0, 2, 8),
    "1.2 N/(N − γ), ten": priced(1.2, 1, 10),
    "the greatest evidence before the first rule ends": lambda run: int(
        np.argmax(run.log_evidence[: RULES[LATEST](run) + 1])
    ),
    "the fixed point": lambda run: len(run.loss) - 1,
}


def rows(name, folder, k):
    """Training rows, at most ``MAX_ROWS``, and test rows of split k; None after the last."""
    rng = np.random.default_rng(k)
    if name == "tecator":
        with np.load(folder / name / "data.npz") as data:
            known = rng.permutation(np.flatnonzero(np.isin(data["part"], ["C", "M"])))
            X, y = data["components"][:, :13], data["y"][:, 1]
        train, test = known[:129], known[129:]
    else:
        X, y, splits = load(name, folder)
        if k >= len(splits):
            return None
        train, test = splits[k]
    train = rng.permutation(train)[:MAX_ROWS]
    return X[train], y[train], X[test], y[test]


def one_split(name, folder, k):
    """For each rule: RMSE of one network and of their mean, and the worst fall of the evidence."""
    X, y, X_test, y_test = rows(name, folder, k)
    with threadpool_limits(1):
        runs = [recorded(X, y, X_test, seed) for seed in range(SEEDS)]
    found = []
    for rule in RULES.values():
        at = [rule(run) for run in runs]
        predictions = np.array([run.predictions[i] for run, i in zip(runs, at, strict=True)])
        one = np.sqrt(((predictions - y_test) ** 2).mean(axis=1)).mean()
        several = np.sqrt(((predictions.mean(axis=0) - y_test) ** 2).mean())
        falls = [run.log_evidence[: i + 1].max() - run.log_evidence[i]
                 for run, i in zip(runs, at, strict=True)]  # fmt: skip
        found.append((one, several, max(falls)))
    return found


def table(options):
    """Print the table; its rows, for ``--save``."""
    names = ["diabetes"]
    if options.data:
        names = sorted(path.parent.name for path in options.data.glob("*/data.npz"))
    print(f"| set, splits | rule | one network | {SEEDS} | worst fall of the log evidence |")
    print("|---" * 5 + "|")
    saved = []
    for name in names:
        splits = range(1 if options.quick else options.splits)
        splits = [k for k in splits if rows(name, options.data, k) is not None]
        found = np.array(
            Parallel(n_jobs=options.jobs)(delayed(one_split)(name, options.data, k) for k in splits)
        )  # (splits, rules, 3)
        for j, rule in enumerate(RULES):
            one, several = found[:, j, :2].mean(axis=0)
            fall = found[:, j, 2].max()
            print(f"| {name}, {len(splits)} | {rule} | {one:.4g} | {several:.4g} | {fall:.0f} |",
                  flush=True)  # fmt: skip
            saved.append({"table": "stopping", "label": f"{name}, {rule}",
                          "splits": found[:, j].tolist()})  # fmt: skip
    return saved
