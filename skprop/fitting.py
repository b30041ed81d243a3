"""The fit of one network or of several side by side: a `Fold` in, a `Fit` out.

What a fit leaves behind becomes attributes of an estimator in one function, `attributes`.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from sklearn.exceptions import ConvergenceWarning

from .folds import MISSING, Fold, Setup
from .laplace import Evidence
from .layout import checked_theta
from .objective import MLPObjective
from .parameters import by_evidence
from .posterior import affordable, laplace, require_dense
from .solvers import (
    CALLBACK,
    INTERRUPTED,
    LIMIT,
    minimize_adam,
    minimize_evidence,
    minimize_lbfgs,
    minimize_lm,
    minimize_sgd,
)
from .solvers.progress import Callback
from .threads import run, single_threaded_blas

__all__ = [
    "DEFAULT_TOL",
    "Fit",
    "Solver",
    "attributes",
    "fit_one",
    "fit_side_by_side",
    "posterior_attributes",
    "warn_of",
]

# An L-BFGS iteration opens about one new direction, as one more parameter would. It must
# raise the Gaussian log-likelihood, -N/2 ln(loss) with N = n_samples × n_outputs, by this
# much (Akaike's criterion charges 1; docs/defaults.md has the measurements), unless the caller
# asks for more accuracy than the default tol.
LOG_LIKELIHOOD_PER_ITERATION, DEFAULT_TOL = 1.5, 1e-4


class Fit(NamedTuple):
    """What the fit of one network leaves behind, in standard units.

    Attributes
    ----------
    theta : ndarray of shape (P,)
    loss : float
        The training loss there.
    n_iter, n_fev : int or None
        Iterations or epochs, with those of the fits that it continued; evaluations. None where a
        solver of the caller's own does not tell.
    n_visited : int
        Rows visited.
    message : str
    loss_curve : list of float
    validation_loss_curve, validation_scores : list of float or None
    state : dict or None
        From which "sgd" and "adam" continue.
    alpha : float or None
        The penalty that the evidence found.
    posterior : Evidence or None
    warning : str or None
        What the caller should be told.
    """

    theta: NDArray
    loss: float
    n_iter: int | None
    n_fev: int | None
    n_visited: int
    message: str
    loss_curve: list[float]
    validation_loss_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    state: dict | None = None
    alpha: float | None = None
    posterior: Evidence | None = None
    warning: str | None = None

    @classmethod
    def of(cls, estimator) -> Self:
        """The part of an earlier fit that another one can continue."""
        curves = ("validation_loss_curve_", "validation_scores_")
        return cls(
            estimator.theta_,
            getattr(estimator, "loss_", math.nan),
            getattr(estimator, "n_iter_", None),
            None,
            getattr(estimator, "t_", 0),
            estimator.message_,
            getattr(estimator, "loss_curve_", []),
            *(getattr(estimator, name, None) for name in curves),
            state=getattr(estimator, "_solver_state", None),
        )


# ---- solvers ----------------------------------------------------------------------------------

COMMON = ("tol", "n_iter_no_change", "max_iter")
STOCHASTIC = (*COMMON, "batch_size", "learning_rate_init", "shuffle")
SOLVERS = {  # the function of each, and the parameters handed on to it
    "lbfgs": (minimize_lbfgs, (*COMMON, "max_fun")),
    "lm": (minimize_lm, (*COMMON, "max_fun")),
    "evidence": (minimize_evidence, (*COMMON, "max_fun")),
    "sgd": (
        minimize_sgd,
        (*STOCHASTIC, "learning_rate", "power_t", "momentum", "nesterovs_momentum"),
    ),
    "adam": (minimize_adam, (*STOCHASTIC, "beta_1", "beta_2", "epsilon")),
}


class Solver(NamedTuple):
    """A function that minimises, with its options.

    Attributes
    ----------
    name : str
        "callable" for one given by the user.
    minimize : callable
        ``minimize(objective, theta0, **options)`` returns an `OptimizeResult`.
    options : dict
    one_epoch : bool
        Whether the run is a single pass over the rows, of a loop that is the caller's.
    verbose : bool
        Whether to print each iteration.
    """

    name: str
    minimize: Callable[..., OptimizeResult]
    options: dict[str, Any]
    one_epoch: bool = False
    verbose: bool = False

    @classmethod
    def of(cls, parameters, one_epoch: bool = False) -> Self:
        """The one that an estimator's parameters ask for."""
        if callable(parameters.solver):
            return cls("callable", partial(of_caller, parameters.solver), {})
        name = "evidence" if by_evidence(parameters) else parameters.solver
        minimize, names = SOLVERS[name]
        options = {option: getattr(parameters, option) for option in names}
        if one_epoch:
            options["max_iter"] = 1
        return cls(name, minimize, options, one_epoch, bool(parameters.verbose))

    def continued(self, fold: Fold) -> Fit | None:
        """The earlier fit, if this run goes on counting from there."""
        earlier = fold.earlier
        if earlier is None or self.name in ("callable", "evidence"):
            return None
        if self.name in ("sgd", "adam"):
            same = earlier.state is not None and earlier.state["solver"] == self.name
        else:  # the same problem, to the last bit
            curve = earlier.loss_curve
            same = bool(curve) and fold.objective.loss(earlier.theta) == curve[-1]
        return earlier if same else None

    def run(self, fold: Fold, earlier: Fit | None, callback: Callback | None) -> OptimizeResult:
        """Minimise the objective of a fold."""
        if self.name == "callable":
            return self.minimize(fold.objective, fold.theta0)
        objective, options = fold.objective, dict(self.options)
        if callback is not None:
            options["callback"] = callback
        if fold.watched is not None:
            options["validation_loss"] = fold.watched.loss
        if self.name == "evidence":
            require_dense(objective.n_params)
            options["min_decay"] = decay_of_noise(objective, objective.total_weight, options["tol"])
        elif self.name in ("sgd", "adam"):
            options |= {"random_state": fold.seed, "state": earlier and earlier.state}
        else:
            options["loss_curve"] = earlier.loss_curve if earlier else ()
            if fold.watched is None:
                n_rows = max(objective.n_samples, objective.total_weight)
                options["min_decay"] = decay_of_noise(objective, n_rows, options["tol"])
        return self.minimize(objective, fold.theta0, **options)


def of_caller(solver: Callable, objective: MLPObjective, theta0: NDArray) -> OptimizeResult:
    """Run a solver of the caller's own; of its result only x is required."""
    result = solver(objective, theta0.copy())
    if not hasattr(result, "x"):
        raise TypeError(f"solver returned {result!r}, which has no attribute x.")
    theta = checked_theta(result.x, objective.layout, objective.dtype).copy()
    success, message = getattr(result, "success", True), str(getattr(result, "message", ""))
    return OptimizeResult(
        x=theta,
        fun=objective.loss(theta),
        nit=getattr(result, "nit", None),
        nfev=getattr(result, "nfev", None),
        success=success,
        status=None,
        message=message,
        warning=None if success else f"solver: {message}",
        loss_curve=getattr(result, "loss_curve", None) or [],
    )


def decay_of_noise(objective: MLPObjective, n_rows: float, tol: float) -> float:
    """The decay of ln(loss) an iteration below which a solver is taken to fit noise."""
    if tol < DEFAULT_TOL:
        return 0.0
    return 2 * LOG_LIKELIHOOD_PER_ITERATION / (n_rows * objective.layout.sizes[-1])


# ---- one fit, and several ---------------------------------------------------------------------


def fit_one(fold: Fold, solver: Solver, report: Callback | None = None, *, label: str = "") -> Fit:
    """Run the solver on one fold.

    ``report`` is called after every iteration. A fit with a ``label``, which starts its printed
    lines, is one of several: Ctrl-C is then raised, as it is in a run of one epoch.
    """
    earlier = solver.continued(fold)
    callbacks = [partial(print_iteration, label)] if solver.verbose else []
    callbacks += [report] if report is not None else []
    callback = each(callbacks, (earlier and earlier.n_iter) or 0) if callbacks else None
    result = solver.run(fold, earlier, callback)
    interrupted = result.status == INTERRUPTED
    if interrupted and (solver.one_epoch or label or not np.isfinite(result.fun)):
        raise KeyboardInterrupt
    if solver.name != "callable" and not np.isfinite(result.fun):
        raise ValueError(
            "The loss is not finite even where the fit starts: "
            f"{fold.objective.explain_overflow(fold.theta0)}"
        )
    return kept(fold, solver, result, earlier)


def kept(fold: Fold, solver: Solver, result: OptimizeResult, earlier: Fit | None) -> Fit:
    """What is kept of a result, with what the earlier fit it continued had."""
    objective, n_iter = fold.objective, result.nit
    n_visited = (n_iter or 0) * objective.n_samples
    before = earlier or Fit(result.x, math.nan, 0, None, 0, "", [])
    curves = scores = None
    if fold.watched is not None:
        baseline, curve = fold.watched.loss_of_mean(), result.validation_loss_curve
        curves = [*(before.validation_loss_curve or []), *curve]
        scores = [*(before.validation_scores or []), *(r_squared(loss, baseline) for loss in curve)]
    state = getattr(result, "state", None)
    by_evidence = solver.name == "evidence"
    posterior = result.evidence if by_evidence else None
    if not by_evidence and not solver.one_epoch and affordable(objective):
        posterior = laplace(objective, result.x, objective.alpha)
    return Fit(
        theta=result.x,
        loss=result.fun,
        n_iter=None if n_iter is None else (before.n_iter or 0) + n_iter,
        n_fev=result.nfev,
        n_visited=before.n_visited + n_visited,
        message=result.message,
        loss_curve=[*before.loss_curve, *result.loss_curve],
        validation_loss_curve=curves,
        validation_scores=scores,
        state=None if state is None else {"solver": solver.name, **state},
        alpha=result.alpha if by_evidence else None,
        posterior=posterior,
        warning=warning_of(result, solver),
    )


def warning_of(result: OptimizeResult, solver: Solver) -> str | None:
    """What a user should know of a run that did not end as it should."""
    as_asked = result.status == CALLBACK or (solver.one_epoch and result.status == LIMIT)
    if result.success or as_asked:
        return None
    if solver.name == "callable":
        return f"solver: {result.message}"
    return result.message + (" Raise it, or tol." if result.status == LIMIT else "")


def fit_side_by_side(
    fold_of: Callable[[int], Fold], n_members: int, solver: Solver, report: Callback | None
) -> list[Fit]:
    """Fit each member to its fold, on as many threads as BLAS had."""
    if n_members == 1:
        return [fit_one(fold_of(0), solver, report)]
    fits: list = [None] * n_members

    def fit_member(j: int) -> None:
        fits[j] = fit_one(fold_of(j), solver, label=f"Member {j + 1}, ")

    with single_threaded_blas():
        run(fit_member, n_members)
    return fits


def each(callbacks: list[Callback], n_before: int) -> Callback:
    """One callback for several, which counts iterations from ``n_before``."""

    def each_iteration(iteration: OptimizeResult) -> None:
        iteration.nit += n_before
        for callback in callbacks:
            callback(iteration)

    return each_iteration


def print_iteration(label: str, iteration: OptimizeResult) -> None:
    """Print a line on one iteration."""
    line = f"{label}Iteration {iteration.nit}, loss = {iteration.fun:.8g}"
    if "log_evidence" in iteration:
        line += f", noise = {math.sqrt(iteration.noise_variance):.4g}"
        line += f", gamma = {iteration.n_effective:.1f}"
        line += f", log evidence = {iteration.log_evidence:.2f}"
    if "validation_loss" in iteration:
        line += f", validation loss = {iteration.validation_loss:.8g}"
    print(line)


def r_squared(loss: float, baseline: float) -> float:
    """1 − loss/baseline; where the baseline is already exact, 1 for an exact loss, else 0."""
    return 1 - loss / baseline if baseline > 0 else float(loss == 0)


# ---- fitted attributes ------------------------------------------------------------------------


def attributes(fits: Sequence[Fit], setup: Setup | None = None) -> dict[str, Any]:
    """The fitted attributes of an estimator, `MISSING` for those that these fits do not have.

    Of one fit they are what it found. Of several, what describes a network gets the members as its
    first axis; losses are averaged, and a curve counts with its last value once it has ended;
    ``n_iter_`` is the greatest, evaluations and rows are summed. Without fits all are missing.
    """

    def joined(join: Callable, values: list) -> Any:
        if len(values) == 1:
            return values[0]
        if not values:
            return MISSING
        return None if any(value is None for value in values) else join(values)

    found = {
        "theta_": joined(np.array, [fit.theta for fit in fits]),
        "loss_": joined(mean, [fit.loss for fit in fits]),
        "n_iter_": joined(max, [fit.n_iter for fit in fits]),
        "n_fev_": joined(sum, [fit.n_fev for fit in fits]),
        "t_": joined(sum, [fit.n_visited for fit in fits]),
        "message_": joined(lambda texts: " ".join(sorted(set(texts))), [f.message for f in fits]),
        "loss_curve_": joined(mean_curve, [fit.loss_curve for fit in fits]),
        "best_loss_": joined(mean, [best_loss(fit) for fit in fits]),
        "validation_loss_curve_": joined(mean_curve, [fit.validation_loss_curve for fit in fits]),
        "validation_scores_": joined(mean_curve, [fit.validation_scores for fit in fits]),
        "best_validation_score_": joined(mean, [best_score(fit) for fit in fits]),
        "_solver_state": joined(lambda states: None, [fit.state for fit in fits]),
        "alpha_": joined(np.array, [fit.alpha for fit in fits]),
        "_prepared": MISSING,
    }
    if found["alpha_"] is None:
        found["alpha_"] = MISSING
    return found | posterior_attributes([fit.posterior for fit in fits], setup)


def posterior_attributes(
    posteriors: Sequence[Evidence | None], setup: Setup | None
) -> dict[str, Any]:
    """Those of `attributes` that describe the posterior, missing unless every network has one."""
    names = (
        "_factor", "_noise", "effective_n_parameters_", "log_evidence_", "noise_variance_",
    )  # fmt: skip
    if not posteriors or any(posterior is None for posterior in posteriors):
        return dict.fromkeys(names, MISSING)
    columns = [
        [p.factor for p in posteriors],
        [p.noise for p in posteriors],
        [p.n_effective for p in posteriors],
        [p.log_evidence for p in posteriors],
    ]
    values = [column[0] if len(posteriors) == 1 else np.array(column) for column in columns]
    variances = [setup.units.raw_variance(noise) for noise in columns[1]]
    variance = np.broadcast_to(np.mean(variances, axis=0), setup.sizes[-1:])
    values.append(float(variance[0]) if setup.single_output else variance.copy())
    return dict(zip(names, values, strict=True))


def best_loss(fit: Fit) -> float | None:
    """The least training loss of an iteration; None with early stopping."""
    if fit.validation_loss_curve is not None:
        return None
    return min(fit.loss_curve, default=fit.loss)


def best_score(fit: Fit) -> float | None:
    """The greatest validation score."""
    return max(fit.validation_scores or [], default=None)


def mean(values: list[float]) -> float:
    return float(np.mean(values, axis=0))


def mean_curve(curves: list[list[float]]) -> list[float]:
    """The mean of several curves; one that has ended counts with its last value."""
    latest, means = [np.nan] * len(curves), []
    for values in zip_longest(*curves):
        latest = [old if new is None else new for old, new in zip(latest, values, strict=True)]
        means.append(float(np.mean(latest)))
    return means


def warn_of(fits: Sequence[Fit]) -> None:
    """Tell the caller of `fit` what the fits want to be told."""
    for message in sorted({fit.warning for fit in fits if fit.warning}):
        warnings.warn(message, ConvergenceWarning, stacklevel=4)
