"""The fit of one network or of several side by side: a `Fold` in, a `Fit` out."""

import math
import reprlib
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from .callbacks import Report
from .folds import Fold
from .laplace import Evidence
from .layout import checked_theta
from .lockstep import evaluated_together, grouped
from .objective import MLPObjective
from .parameters import by_evidence
from .posterior import Deferred, affordable, held_out_noise, linear_laplace, require_memory
from .printing import Printer
from .solvers import (
    CALLBACK,
    INTERRUPTED,
    LIMIT,
    minimize_adam,
    minimize_evidence_again,
    minimize_lbfgs,
    minimize_lm,
    minimize_relevance,
    minimize_sgd,
)
from .solvers.progress import Callback
from .solvers.stochastic import DESCENTS, checked_batch_size, minimize_together
from .threads import guard, limit, run

__all__ = ["DEFAULT_TOL", "SOLVERS", "Fit", "Solver", "fit_one", "fit_side_by_side"]

# An L-BFGS iteration opens about one new direction, as one more parameter would. It must
# raise the Gaussian log-likelihood, -N/2 ln(loss) with N = n_samples × n_outputs, by this
# much (Akaike's criterion charges 1; docs/defaults.md has the measurements), unless the caller
# asks for more accuracy than the default tol.
LOG_LIKELIHOOD_PER_ITERATION, DEFAULT_TOL = 1.5, 1e-4
# In bytes: of the rows that members stepped together hold, where each has its own.
_OWN_ROWS = 2**28


class Fit(NamedTuple):
    """What the fit of one network leaves behind, in standard units.

    Its counts and curves start with those of the fits that it continued. ``state`` is what "sgd"
    and "adam" continue from, ``alpha`` the penalty that the evidence found, ``held_out_noise`` the
    mean squared error of each output on held-out rows where there is no posterior, and ``warning``
    a message for the user. A solver of the user's own may not tell ``n_iter`` and ``n_fev``.
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
    alpha: float | NDArray | None = None
    posterior: Evidence | Deferred | None = None
    held_out_noise: NDArray | None = None
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

_COMMON = ("tol", "n_iter_no_change", "max_iter")
_STOCHASTIC = (*_COMMON, "batch_size", "learning_rate_init", "shuffle")
SOLVERS = {  # the function of each, and the parameters handed on to it
    "lbfgs": (minimize_lbfgs, (*_COMMON, "max_fun")),
    "lm": (minimize_lm, (*_COMMON, "max_fun")),
    "evidence": (minimize_evidence_again, (*_COMMON, "max_fun")),
    "ard": (minimize_relevance, (*_COMMON, "max_fun")),
    "sgd": (
        minimize_sgd,
        (*_STOCHASTIC, "learning_rate", "power_t", "momentum", "nesterovs_momentum"),
    ),
    "adam": (minimize_adam, (*_STOCHASTIC, "beta_1", "beta_2", "epsilon")),
}


class Solver(NamedTuple):
    """A function that minimises, with its options; "callable" is one given by the user.

    ``one_epoch`` tells that a run is a single pass over the rows, of a loop that is the user's;
    ``verbose`` how many iterations are printed (see `Printer`); ``tied`` that the weight of slopes
    is the user's, also under the evidence.
    """

    name: str
    minimize: Callable[..., OptimizeResult]
    options: dict[str, Any]
    one_epoch: bool = False
    verbose: int = 0
    tied: bool = False

    @classmethod
    def of(cls, parameters, one_epoch: bool = False) -> Self:
        """The solver that an estimator's parameters select."""
        if callable(parameters.solver):
            return cls("callable", partial(_of_caller, parameters.solver), {})
        name = parameters.alpha if by_evidence(parameters) else parameters.solver
        minimize, names = SOLVERS[name]
        options = {option: getattr(parameters, option) for option in names}
        if one_epoch:
            options["max_iter"] = 1
        tied = parameters.slope_weight != "auto"
        return cls(name, minimize, options, one_epoch, int(parameters.verbose), tied)

    @property
    def finds_alpha(self) -> bool:
        """Whether the penalty comes from the data, by its evidence."""
        return self.name in ("evidence", "ard")

    def continued(self, fold: Fold) -> Fit | None:
        """The earlier fit of a fold, if a run of this solver continues its counts and curves."""
        earlier = fold.earlier
        if earlier is None or self.finds_alpha or self.name == "callable":
            return None
        if self.name in ("sgd", "adam"):
            same = earlier.state is not None and earlier.state["solver"] == self.name
        else:  # the same problem, to the last bit
            curve = earlier.loss_curve
            same = bool(curve) and fold.objective.loss(earlier.theta) == curve[-1]
        return earlier if same else None

    def options_of(
        self, fold: Fold, earlier: Fit | None, callback: Callback | None
    ) -> dict[str, Any]:
        """The options for the objective of a fold."""
        if self.name == "callable":
            return {}
        objective, options = fold.objective, dict(self.options)
        n_effective = float(objective.output_weights.sum())
        if callback is not None:
            options["callback"] = callback
        if fold.watched is not None:
            options["validation_loss"] = fold.watched.loss
        if self.finds_alpha:
            require_memory(objective)
            options["min_decay"] = _decay_of_noise(n_effective, options["tol"])
            options["tied"] = self.tied
        elif self.name in ("sgd", "adam"):
            options |= {"random_state": fold.seed, "state": earlier and earlier.state}
        else:
            options["loss_curve"] = earlier.loss_curve if earlier else ()
            if fold.watched is None:
                n_observations = max(objective.n_observations, n_effective)
                options["min_decay"] = _decay_of_noise(n_observations, options["tol"])
        return options


def _of_caller(solver: Callable, objective: MLPObjective, theta0: NDArray) -> OptimizeResult:
    """Run a solver of the caller's own; of its result only x is required."""
    result = solver(objective, theta0.copy())
    if not hasattr(result, "x"):
        raise TypeError(
            f"solver returned {reprlib.repr(result)}, which has no attribute x. Return a result of "
            "SciPy, or OptimizeResult(x=theta)."
        )
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
        loss_curve=getattr(result, "loss_curve", None) or [],
    )


def _decay_of_noise(n_observations: float, tol: float) -> float:
    """The decay of ln(loss) an iteration below which a solver is taken to fit noise."""
    if tol < DEFAULT_TOL:
        return 0.0
    decay = 2 * LOG_LIKELIHOOD_PER_ITERATION / n_observations
    return min(decay, sys.float_info.max)  # the weights of the rows may be tiny


# ---- one fit, and several ---------------------------------------------------------------------


class _Member(NamedTuple):
    """What the run of a network needs beside its solver.

    ``report`` is called after every iteration. A ``label``, which starts printed lines, tells that
    the network is one of several: Ctrl-C is then raised, as it is in a run of one epoch.
    """

    fold: Fold
    report: Report | None = None
    label: str = ""


class _Run(NamedTuple):
    """A run that has ended, and the fit that it continued."""

    member: _Member
    earlier: Fit | None
    result: OptimizeResult


def fit_one(fold: Fold, solver: Solver, report: Report | None = None) -> Fit:
    """Run the solver on one fold; ``report`` is called after every iteration."""
    return _fit_of(_run_alone(_Member(fold, report), solver), solver)


def _run_alone(member: _Member, solver: Solver) -> _Run:
    earlier, options = _prepared(member, solver)
    result = solver.minimize(member.fold.objective, member.fold.theta0, **options)
    return _ended(_Run(member, earlier, result), solver)


def _run_together(members: list[_Member], solver: Solver) -> list[_Run]:
    """Run a stochastic solver on several folds, one step for all of them at a time."""
    earlier, descents, starts = [], [], []
    for member in members:
        before, options = _prepared(member, solver)
        random_state, state = options.pop("random_state"), options.pop("state")
        earlier.append(before)
        descents.append(DESCENTS[solver.name](member.fold.objective, **options))
        starts.append((member.fold.theta0, state, random_state))
    runs: dict[int, _Run] = {}
    for k, result in minimize_together(descents, starts, evaluated_together):
        runs[k] = _ended(_Run(members[k], earlier[k], result), solver)
    return [runs[k] for k in range(len(members))]


def _prepared(member: _Member, solver: Solver) -> tuple[Fit | None, dict]:
    """The fit that a run of the solver continues, and its options."""
    fold, report, label = member
    earlier = solver.continued(fold)
    callbacks: list[Callback] = [Printer(label, solver.verbose)] if solver.verbose else []
    callbacks += [report] if report is not None else []
    callback = _each(callbacks, (earlier and earlier.n_iter) or 0) if callbacks else None
    return earlier, solver.options_of(fold, earlier, callback)


def _ended(run: _Run, solver: Solver) -> _Run:
    """Report the end of a run; an interrupt or an error where it found nothing."""
    (fold, report, label), _, result = run
    interrupted = result.status == INTERRUPTED
    if interrupted and (solver.one_epoch or label or not np.isfinite(result.fun)):
        raise KeyboardInterrupt
    if solver.name != "callable" and not np.isfinite(result.fun):
        raise ValueError(
            "The loss is not finite even where the fit starts: "
            f"{fold.objective.explain_overflow(fold.theta0)}"
        )
    if solver.verbose and result.message:
        print(f"{label}{result.message}")
    if report is not None:
        report.end(result)
    return run


def _fit_of(run: _Run, solver: Solver) -> Fit:
    """Make a `Fit` of a run; its counts and curves follow those of an earlier fit."""
    (fold, *_), earlier, result = run
    objective = fold.objective
    before = earlier or Fit(result.x, math.nan, 0, None, 0, "", [])
    curve = scores = None
    if fold.watched is not None:
        baseline, new = fold.watched.loss_of_mean(), result.validation_loss_curve
        curve = [*(before.validation_loss_curve or []), *new]
        scores = [*(before.validation_scores or []), *(_r_squared(loss, baseline) for loss in new)]
    posterior = result.evidence if solver.finds_alpha else None
    if not solver.finds_alpha and not solver.one_epoch and affordable(objective):
        posterior = Deferred(partial(linear_laplace, objective, result.x))
    noise = None
    if posterior is None and fold.watched is not None:
        noise = held_out_noise(fold.watched, result.x)
    state = getattr(result, "state", None)
    return Fit(
        theta=result.x,
        loss=result.fun,
        n_iter=None if result.nit is None else (before.n_iter or 0) + result.nit,
        n_fev=result.nfev,
        n_visited=before.n_visited + (result.nit or 0) * objective.n_samples,
        message=result.message,
        loss_curve=[*before.loss_curve, *result.loss_curve],
        validation_loss_curve=curve,
        validation_scores=scores,
        state=None if state is None else {"solver": solver.name, **state},
        alpha=result.alpha if solver.finds_alpha else None,
        posterior=posterior,
        held_out_noise=noise,
        warning=_warning_of(result, solver),
    )


def _warning_of(result: OptimizeResult, solver: Solver) -> str | None:
    """A message to the user, unless a run converged or was ended on purpose."""
    as_asked = result.status == CALLBACK or (solver.one_epoch and result.status == LIMIT)
    if result.success or as_asked:
        return None
    if solver.name == "callable":
        return f"solver: {result.message}"
    return result.message + (" Raise it, or tol." if result.status == LIMIT else "")


def fit_side_by_side(
    fold_of: Callable[[int], Fold],
    n_members: int,
    solver: Solver,
    report_of: Callable[[int], Report | None],
) -> list[Fit]:
    """Fit each member to its fold; no member depends on the others.

    Stochastic solvers step the members together. Factorisations leave the interpreter free for long
    enough, so those members run on as many threads as BLAS had. All others follow each other, as
    their evaluations share out their rows: small calls side by side take longer than one by one.
    """
    first = fold_of(0)
    if n_members == 1:
        return [fit_one(first, solver, report_of(0))]
    fits: dict[int, Fit] = {}

    def member_of(j: int) -> _Member:
        return _Member(fold_of(j) if j else first, report_of(j), f"Member {j + 1}, ")

    def fit_group(group: range) -> None:
        alike = solver.name in DESCENTS and len(group) > 1
        members = [member_of(j) for j in group] if alike else map(member_of, group)
        if alike and len({member.fold.objective.n_samples for member in members}) == 1:
            runs = _run_together(members, solver)
        else:
            runs = [_run_alone(member, solver) for member in members]

        def finish(k: int) -> None:
            fits[group[k]] = _fit_of(runs[k], solver)

        run(finish, len(group))

    with guard():
        groups, n_threads = _groups(first, n_members, solver)
        run(lambda k: fit_group(groups[k]), len(groups), n_threads)
    return [fits[j] for j in range(n_members)]


def _groups(first: Fold, n_members: int, solver: Solver) -> tuple[list[range], int | None]:
    """The members in groups, whose rows are held at a time, and on how many threads groups run:
    None for all.
    """
    size, n_threads, objective = n_members, 1, first.objective
    if first.watched is not None:  # members with rows of their own
        n_bytes = objective.n_samples * objective.layout.sizes[0] * objective.dtype.itemsize
        size = min(size, max(1, _OWN_ROWS // n_bytes))
    if solver.name in ("evidence", "lm"):
        n_threads, size = None, 1
    elif solver.name in DESCENTS:
        batch_size = checked_batch_size(solver.options["batch_size"], objective.n_samples)
        most, threads = grouped(objective, batch_size)
        if threads:
            n_threads, most = None, min(most, -(-n_members // limit.n_threads))
        size = min(size, most)
    n_groups = -(-n_members // size)
    cuts = [n_members * k // n_groups for k in range(n_groups + 1)]
    return [range(a, b) for a, b in pairwise(cuts)], n_threads


def _each(callbacks: list[Callback], n_before: int) -> Callback:
    """Make one callback of several, and count iterations from ``n_before``."""

    def each_iteration(iteration: OptimizeResult) -> None:
        iteration.nit += n_before
        for callback in callbacks:
            callback(iteration)

    return each_iteration


def _r_squared(loss: float, baseline: float) -> float:
    """1 − loss/baseline; where the baseline is already exact, 1 for an exact loss, else 0."""
    return 1 - loss / baseline if baseline > 0 else float(loss == 0)
