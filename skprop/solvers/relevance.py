"""Automatic relevance determination: the evidence with a penalty for each input."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from .progress import Callback, floating
from .runs import Runs

__all__ = ["minimize_relevance"]


def minimize_relevance(
    objective,
    theta0: ArrayLike,
    *,
    tied: bool = False,
    tol: float = 1e-4,
    min_decay: float = 0.0,
    n_iter_no_change: float = 25,
    max_iter: int = 1000,
    max_fun: int = 15000,
    callback: Callback | None = None,
) -> OptimizeResult:
    """Minimise the penalised loss, with a penalty for each input that the data make probable.

    The weights of the first layer have an α_i for each input i, those of each later layer one of
    their own. `minimize_evidence` runs three times: with one α for all weights; with all α_i from
    where that ended; and with all α_i from ``theta0``, whose weights are scaled, input by input, to
    standard deviations in proportion to the 1/√α_i of the second run. So an input that is of use
    only where the network bends has its say before its α_i grows, as from ``theta0`` as it is it
    might not; and the last run does not start where the first has fitted noise by many inputs.

    Parameters
    ----------
    objective, theta0, tied, tol, n_iter_no_change, max_iter, max_fun, callback
        As in `minimize_evidence`; the limits are those of the runs together.
    min_decay : float, default=0.0
        As in `minimize_evidence` for the first run. Above 0 the others end at the greatest log
        evidence that they meet; at 0 they go on to the fixed point.

    Returns
    -------
    OptimizeResult
        As of `minimize_evidence`, of the run whose log evidence is greatest, with the counts and
        the curve of all; ``alpha`` has shape (d_0 + K − 1,).

    References
    ----------
    D. J. C. MacKay, "Bayesian non-linear modelling for the prediction competition", ASHRAE
    Transactions 100 (1994), 1053-1062. R. M. Neal, "Bayesian Learning for Neural Networks", 1996.
    """
    layout = objective.layout
    groups = layout.input_groups()
    runs = Runs(
        objective, tied=tied, tol=tol, n_iter_no_change=n_iter_no_change, max_iter=max_iter,
        max_fun=max_fun, callback=callback,
    )  # fmt: skip
    done = [runs.run(floating(theta0), min_decay=min_decay)]
    first = done[0]
    if first.success:
        known = {"alpha0": [first.alpha] * len(groups), "noise0": first.evidence.noise}
        options = {"groups": groups, "to_peak": min_decay > 0}
        done.append(runs.run(first.x, **known, **options))
        if done[1].success:
            third = _in_proportion(floating(theta0), done[1].alpha, layout)
            done.append(runs.run(third, **options))
    first.alpha = np.full(len(groups), first.alpha)
    best = max(done, key=lambda run: run.evidence.log_evidence) if len(done) > 1 else first
    return runs.joined(best, done[-1])


def _in_proportion(theta0: NDArray, alpha: NDArray, layout) -> NDArray:
    """θ_0 with the weights of input i of a size in proportion to 1/√α_i, that of all unchanged."""
    start = theta0.copy()
    A, size = layout.views(start)[0][0], 1 / np.sqrt(alpha[: layout.sizes[0], None])
    norms = np.linalg.norm(A, axis=1, keepdims=True)
    scale = np.divide(size, norms, out=np.zeros_like(size), where=norms > 0)
    total = np.linalg.norm(scale * A)
    if total > 0:
        A *= scale * (np.linalg.norm(A) / total)
    return start
