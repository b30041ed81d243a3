"""The evidence once more from other starts, where the first led no further than a line."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError
from scipy.optimize import OptimizeResult

from ..factors import factorised
from ..laplace import freedom, least_alpha
from ..layout import Layout
from .hyperparameters import Squares
from .progress import floating
from .reasons import CALLBACK, CONVERGED, INTERRUPTED
from .runs import Runs

__all__ = ["minimize_evidence_again"]

# What weights and biases are multiplied by. After 1/100 the units are straight to about 10⁻⁴, so a
# network begins as a line; after 4 all are bent.
_NARROW, _WIDE = 0.01, 4.0
# From a wide start a network may pass through all points, and then has nothing left to judge it by.
_LARGEST_SHARE = 0.8  # of γ in N
# Of the squares of a line in those of a constant: below it the rest is rounding.
_LEAST_SHARE = 1e-10


def minimize_evidence_again(objective, theta0: ArrayLike, **options: Any) -> OptimizeResult:
    """`minimize_evidence`, from up to three starts.

    A network that has learnt little is given little freedom by the evidence, and stays as it is:
    on a curve it may end as a line. On a line, the other way round, it takes noise for a curve
    before the run ends. So the result is compared with the best line, by generalised
    cross-validation: the squares divided by (N − γ)². Where the network is no better, it starts
    again, with the weights of its hidden layers multiplied by 4; and where that is no better
    either, or γ is close to N, with those of its first layer divided by 100, from where it bends
    only if that pays: the result is then the iterate found with hindsight.

    Parameters
    ----------
    objective, theta0, **options
        As in `minimize_evidence`; the limits are those of the runs together.

    Returns
    -------
    OptimizeResult
        As of `minimize_evidence`, of the last run that converged, with the counts and the curve of
        all. Where the callback or Ctrl-C ends one, that is the end.

    References
    ----------
    G. H. Golub, M. Heath and G. Wahba, "Generalized cross-validation as a method for choosing a
    good ridge parameter", Technometrics 21 (1979), 215-223, eq. 1.4.
    """
    layout, start, runs = objective.layout, floating(theta0), Runs(objective, **options)
    found = runs.run(start)
    if found.status != CONVERGED or layout.n_layers == 1:
        return found
    data, noise = Squares(objective, None, options.get("tied", False)), found.evidence.noise
    line = _score_of_line(data, layout, start, noise)

    def is_better(run: OptimizeResult) -> bool:
        score = _score(data, data.squares(run.x, noise), run.evidence.n_effective)
        return line is None or score < line

    def restarted(scale: float, n_layers: int) -> OptimizeResult | None:
        try:
            return runs.run(_scaled(layout, start, scale, n_layers), hindsight=scale == _NARROW)
        except LinAlgError:  # float32 may not tell so small derivatives from 0
            return None

    if is_better(found):
        return found
    run = restarted(_WIDE, layout.n_layers - 1)
    too_free = run is not None and run.evidence.n_effective > _LARGEST_SHARE * data.N.sum()
    if run is None or (run.status == CONVERGED and (too_free or not is_better(run))):
        run = restarted(_NARROW, 1)
    if run is None or run.status != CONVERGED:
        stopped = run is not None and run.status in (CALLBACK, INTERRUPTED)
        return runs.joined(found, run if stopped else found)
    return runs.joined(run, run)


def _score(data: Squares, squares: float, gamma: float) -> float:
    """The criterion of generalised cross-validation, up to a factor."""
    N = data.N.sum()
    return squares * float(N / freedom(N, gamma)) ** 2


def _score_of_line(data: Squares, layout: Layout, theta0: NDArray, noise: NDArray) -> float | None:
    """That of the best outputs that are linear in x; None where they pass through all points.

    Without its first layer a network is constant, and its derivatives by the weights there are the
    features.
    """
    theta = theta0.copy()
    A, b = layout.views(theta)[0]
    A[...], b[...] = 0.0, 0.0
    at = data.expand(theta, noise)
    ridge = np.full(len(theta), least_alpha(at.M, theta.dtype))
    try:
        h = factorised(at.M, ridge).solve(at.g)
    except LinAlgError:
        return None
    squares, d, n_outputs = at.squares - float(at.g @ h), layout.sizes[0], layout.sizes[-1]
    if squares <= max(_LEAST_SHARE, 10 * np.finfo(theta.dtype).eps) * at.squares:
        return None
    return _score(data, squares, (d + 1) * n_outputs)


def _scaled(layout: Layout, theta0: NDArray, scale: float, n_layers: int) -> NDArray:
    """θ_0 with the first layers multiplied by ``scale``."""
    theta = theta0.copy()
    for A, b in layout.views(theta)[:n_layers]:
        A *= scale
        b *= scale
    return theta
