"""Stochastic gradient descent and Adam on mini-batches, in place on one flat vector."""

import copy
import math
import operator
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult
from sklearn.utils import check_random_state, gen_batches

from ..threads import guard
from .progress import Callback, Progress, check_range, floating
from .reasons import CONVERGED, FAILED, INTERRUPTED, limit_reached

__all__ = [
    "DESCENTS", "Descent", "checked_batch_size", "minimize_adam", "minimize_sgd",
    "minimize_together",
]  # fmt: skip

_Run = Generator[tuple[dict, Callable], float | None]
_LEAST_RATE = 1e-6  # where learning_rate="adaptive" ends


def minimize_sgd(
    objective,
    theta0: ArrayLike,
    *,
    batch_size: int | str = "auto",
    learning_rate: str = "constant",
    learning_rate_init: float = 0.01,
    power_t: float = 0.5,
    momentum: float = 0.9,
    nesterovs_momentum: bool = True,
    shuffle: bool = True,
    random_state=None,
    tol: float = 1e-4,
    n_iter_no_change: float = 25,
    max_iter: int = 1000,
    validation_loss: Callable[[NDArray], float] | None = None,
    callback: Callback | None = None,
    state: dict | None = None,
) -> OptimizeResult:
    """Minimise a sum over rows by stochastic gradient descent with momentum.

    At step t, with the gradient g of a mini-batch and the learning rate η_t::

        v ← μ v − η_t g,    θ ← θ + v             (momentum)
                            θ ← θ + μ v − η_t g   (Nesterov)

    Parameters
    ----------
    objective : MLPObjective
        Or anything with ``n_samples``, ``loss(theta)`` and ``objective(theta, rows)`` ->
        (loss, a gradient that may be overwritten); ``rows`` is a slice or an array of int.
    theta0 : array-like of shape (P,)
        Where to start; it is not changed. Ignored if ``state`` is given.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        "constant": η_t = η_0. "invscaling": η_t = η_0 / t^power_t with t the number of the
        step, as in `SGDRegressor`. "adaptive": η is divided by 5 whenever the run stalls, and
        the run ends when it falls to 1e-6.
    learning_rate_init : float, default=0.01
        η_0.
    power_t : float, default=0.5
        The exponent of "invscaling".
    momentum : float, default=0.9
        μ.
    nesterovs_momentum : bool, default=True
        Whether to use the second form.
    shuffle : bool, default=True
        Visit the rows in a new order in every epoch. (A single batch is never shuffled.)
    random_state : int, RandomState instance or None, default=None
        Seeds the orders.
    tol : float, default=1e-4
        The least improvement of the loss of an epoch, or of ``validation_loss``, that counts.
    n_iter_no_change : int or inf, default=25
        The number of epochs in a row without such an improvement that end the run: it has stalled.
    max_iter, validation_loss, callback
        As in `minimize_lbfgs`; an iteration is an epoch.
    state : dict, optional
        ``result.state`` of an earlier run: this one continues it to the last bit.

    Returns
    -------
    OptimizeResult
        ``x``, ``fun`` (the loss over all rows there), ``nit`` (epochs of this run), ``nfev``
        (mini-batches), ``success``, ``status`` (0: the loss stalled, 1: max_iter was reached,
        2: the run diverged, 98: Ctrl-C ended it, 99: the callback did), ``message``,
        ``loss_curve`` (the running mean of the loss over each epoch of this run), ``state`` and, if
        asked for, ``validation_loss_curve``. After 2 and 98 ``x`` is the best θ the run had. After
        98 ``state`` is that of the last whole epoch: a run continued from it gives the same bits
        as one that was not interrupted.

    Raises
    ------
    ValueError, KeyboardInterrupt
        As of `minimize_lbfgs`; a ValueError also if ``state`` is invalid.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and
    momentum in deep learning", ICML 2013, eqs. 1-4 and, for the form of Nesterov's momentum
    used here, Y. Bengio et al., "Advances in optimizing recurrent networks", ICASSP 2013,
    eq. 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skprop import MLPObjective, minimize_sgd
    >>> x = np.linspace(-1, 1, 500)
    >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=20)
    >>> theta0 = objective.initial_theta(random_state=0)
    >>> result = minimize_sgd(
    ...     objective, theta0, batch_size=50, learning_rate_init=0.1, random_state=0
    ... )
    >>> bool(result.fun < 0.1 * objective.loss(theta0))
    True
    """
    return _sgd(
        objective, learning_rate=learning_rate, power_t=power_t, momentum=momentum,
        nesterovs_momentum=nesterovs_momentum, batch_size=batch_size,
        learning_rate_init=learning_rate_init, shuffle=shuffle, tol=tol,
        n_iter_no_change=n_iter_no_change, max_iter=max_iter, validation_loss=validation_loss,
        callback=callback,
    ).minimize(theta0, state, random_state)  # fmt: skip


def minimize_adam(
    objective,
    theta0: ArrayLike,
    *,
    batch_size: int | str = "auto",
    learning_rate_init: float = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    shuffle: bool = True,
    random_state=None,
    tol: float = 1e-4,
    n_iter_no_change: float = 25,
    max_iter: int = 1000,
    validation_loss: Callable[[NDArray], float] | None = None,
    callback: Callback | None = None,
    state: dict | None = None,
) -> OptimizeResult:
    """Minimise a sum over rows by Adam.

    At step t, with the gradient g of a mini-batch::

        m ← β_1 m + (1 − β_1) g,    v ← β_2 v + (1 − β_2) g²
        θ ← θ − η √(1 − β_2^t)/(1 − β_1^t) · m / (√v + ε)

    Parameters
    ----------
    objective, theta0, batch_size, shuffle, random_state, tol, n_iter_no_change, max_iter, \
validation_loss, callback, state
        As in `minimize_sgd`.
    learning_rate_init : float, default=0.01
        η.
    beta_1 : float, default=0.9
        Decay of the average of g, in [0, 1).
    beta_2 : float, default=0.999
        Decay of the average of g², in [0, 1).
    epsilon : float, default=1e-8
        ε.

    Returns
    -------
    OptimizeResult
        As of `minimize_sgd`.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
    algorithm 1 in the order of computation given at the end of its section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skprop import MLPObjective, minimize_adam
    >>> x = np.linspace(-1, 1, 500)
    >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=20)
    >>> theta0 = objective.initial_theta(random_state=0)
    >>> first = minimize_adam(objective, theta0, max_iter=5, random_state=0)
    >>> then = minimize_adam(objective, None, max_iter=5, state=first.state)
    >>> once = minimize_adam(objective, theta0, max_iter=10, random_state=0)
    >>> bool((then.x == once.x).all())
    True
    """
    return _adam(
        objective, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, batch_size=batch_size,
        learning_rate_init=learning_rate_init, shuffle=shuffle, tol=tol,
        n_iter_no_change=n_iter_no_change, max_iter=max_iter, validation_loss=validation_loss,
        callback=callback,
    ).minimize(theta0, state, random_state)  # fmt: skip


# ---- how a step is made of a gradient ---------------------------------------------------------


class _Rule(NamedTuple):
    """How a step is made of a gradient.

    ``rate(η, t)`` is the factor of step t at the learning rate η, and
    ``step(theta, gradient, moments, factor, scratch)`` changes θ and its moments in place; it may
    write into the gradient and into ``scratch``, of the same shape. It treats every entry by
    itself, so that θ may be several, one a row, with a column of factors.
    """

    n_moments: int
    rate: Callable[[float, int], float]
    step: Callable


def _sgd(
    objective, *, learning_rate: str, power_t: float, momentum: float, nesterovs_momentum: bool,
    **options,
) -> "Descent":  # fmt: skip
    """The descent of `minimize_sgd`."""
    if learning_rate not in ("constant", "invscaling", "adaptive"):
        raise ValueError(
            f"learning_rate={learning_rate!r}; it is 'constant', 'invscaling' or 'adaptive'."
        )
    check_range(Real, 0, power_t=power_t)
    check_range(Real, 0, 1, "both", momentum=momentum)

    def rate(eta: float, t: int) -> float:
        return eta * t**-power_t if learning_rate == "invscaling" else eta

    def step(theta, g, moments, eta, _scratch):
        (v,) = moments
        g *= eta
        v *= momentum
        v -= g  # v ← μ v − η g
        if nesterovs_momentum:
            theta -= g
            np.multiply(v, momentum, out=g)
            theta += g  # θ ← θ + μ v − η g
        else:
            theta += v  # θ ← θ + v

    adaptive = learning_rate == "adaptive"
    return _descent(objective, _Rule(1, rate, step), adaptive=adaptive, **options)


def _adam(objective, *, beta_1: float, beta_2: float, epsilon: float, **options) -> "Descent":
    """The descent of `minimize_adam`."""
    check_range(Real, 0, 1, beta_1=beta_1, beta_2=beta_2)
    check_range(Real, 0, epsilon=epsilon)

    def rate(eta: float, t: int) -> float:
        return eta * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)

    def step(theta, g, moments, eta_t, scratch):
        m, v = moments
        m *= beta_1
        np.multiply(g, 1 - beta_1, out=scratch)
        m += scratch  # m ← β_1 m + (1 − β_1) g
        v *= beta_2
        g *= g
        g *= 1 - beta_2
        v += g  # v ← β_2 v + (1 − β_2) g²
        np.sqrt(v, out=g)
        g += epsilon
        np.divide(m, g, out=g)
        g *= eta_t
        theta -= g  # θ ← θ − η_t m / (√v + ε)

    return _descent(objective, _Rule(2, rate, step), **options)


# The descents that the estimator's solvers make of an objective and their options.
DESCENTS = {"sgd": _sgd, "adam": _adam}


def _descent(
    objective, rule: _Rule, *, batch_size, learning_rate_init: float, shuffle: bool, tol: float,
    n_iter_no_change: float, max_iter: int, validation_loss=None, callback=None,
    adaptive: bool = False,
) -> "Descent":  # fmt: skip
    progress = Progress(
        n_iter_no_change, tol=tol, validation_loss=validation_loss, callback=callback
    )
    return Descent(
        objective, rule, progress, batch_size, learning_rate_init, shuffle, max_iter, adaptive
    )


def checked_batch_size(batch_size: int | str, n_samples: int) -> int:
    """The number of rows of a mini-batch; a ValueError unless it is "auto" or at least 1."""
    if batch_size == "auto":
        batch_size = 200
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}; it is 'auto' or an integer ≥ 1.")
    return min(batch_size, n_samples)


# ---- runs, alone and side by side -------------------------------------------------------------


def minimize_together(
    descents: Sequence["Descent"], starts: Sequence[tuple], together: Callable
) -> Iterator[tuple[int, OptimizeResult]]:
    """Run several descents epoch by epoch side by side, each as if it were alone.

    Parameters
    ----------
    descents : sequence of Descent
        Of one rule, and of objectives of one shape.
    starts : sequence of tuple
        ``theta0, state, random_state`` for each, as `minimize_sgd` takes them.
    together : callable
        ``together(objectives, n_rows)`` returns the function that evaluates some objectives
        together, each on a batch of at most ``n_rows`` rows of its own: (θ as rows of an array, a
        list of row numbers) -> (a list of losses, gradients as rows of an array).

    Yields
    ------
    k : int
        The number of a descent that has ended.
    result : OptimizeResult
        As `minimize_sgd` returns it. Ctrl-C ends all of them without a result.
    """
    runs = [d.run(*start, None) for d, start in zip(descents, starts, strict=True)]
    sent: dict[int, float | None] = dict.fromkeys(range(len(runs)))
    epochs = None
    with guard():
        while sent:
            waiting = {}
            for k, loss in sent.items():
                try:
                    waiting[k] = runs[k].send(loss)
                except StopIteration as end:
                    if end.value.status == INTERRUPTED:
                        raise KeyboardInterrupt from None
                    yield k, end.value
            if waiting:
                if epochs is None or epochs.numbers != [*waiting]:
                    epochs = _Epochs(descents, waiting, together)
                losses = epochs.next([begin for _, begin in waiting.values()])
                sent = dict(zip(waiting, losses, strict=True))
            else:
                sent = {}


class _Epochs:
    """Epochs of several descents side by side, whose states become views of common arrays."""

    def __init__(self, descents: Sequence["Descent"], waiting: dict, together: Callable):
        self.numbers = [*waiting]
        self._descents = [descents[k] for k in waiting]
        self._states = [state for state, _ in waiting.values()]
        first = self._descents[0]
        self._size, self._rule = first.batch_size, first.rule
        self._evaluate = together([d.objective for d in self._descents], self._size)
        self._theta = np.array([state["theta"] for state in self._states])
        moments = zip(*(state["moments"] for state in self._states), strict=True)
        self._moments = [np.array(moment) for moment in moments]
        self._scratch = np.empty_like(self._theta)
        for k, state in enumerate(self._states):
            state["theta"] = self._theta[k]
            state["moments"] = [moment[k] for moment in self._moments]

    def next(self, begins: Sequence[Callable[[float], None]]) -> list[float | None]:
        """Visit all rows once; for each the mean loss of its batches, or None if it diverged."""
        descents, states, n = self._descents, self._states, self._descents[0].objective.n_samples
        orders = [d.order(state) for d, state in zip(descents, states, strict=True)]
        means: list[float | None] = [0.0] * len(states)
        for batch in gen_batches(n, self._size):
            rows = [batch if order is None else order[batch] for order in orders]
            losses, gradients = self._evaluate(self._theta, rows)
            for k, (loss, g) in enumerate(zip(losses, gradients, strict=True)):
                if descents[k].progress.start is None:
                    begins[k](loss)
                if means[k] is None or not math.isfinite(loss + float(np.dot(g, g))):
                    means[k] = None  # from here on its numbers do not matter
                    continue
                states[k]["n_steps"] += 1
                means[k] += loss * (batch.stop - batch.start) / n
            self._rule.step(self._theta, gradients, self._moments, self._rates(), self._scratch)
        return means

    def _rates(self) -> float | NDArray:
        """The factor of each: a number if it is the same for all, else a column."""
        rate = self._rule.rate
        rates = [rate(state["learning_rate"], state["n_steps"] or 1) for state in self._states]
        if min(rates) == max(rates):
            return rates[0]
        return np.array(rates, self._theta.dtype)[:, None]


@dataclass
class Descent:
    """A run of epochs of mini-batches, with the parameters of `minimize_sgd`."""

    objective: Callable
    rule: _Rule
    progress: Progress
    batch_size: int | str
    learning_rate_init: float
    shuffle: bool
    max_iter: int
    adaptive: bool = False

    def __post_init__(self):
        self.batch_size = checked_batch_size(self.batch_size, self.objective.n_samples)
        check_range(Real, 0, math.inf, "neither", learning_rate_init=self.learning_rate_init)
        check_range(Real, 0, tol=self.progress.tol)
        check_range(Integral, 0, max_iter=self.max_iter)

    def minimize(self, theta0, state: dict | None, random_state) -> OptimizeResult:
        """Run alone."""
        return _value_of(self.run(theta0, state, random_state, self._epoch))

    def run(self, theta0, state: dict | None, random_state, epoch: Callable | None) -> _Run:
        """The run as a generator of the epochs that somebody else has to make.

        It yields ``state, begin`` and is sent what ``epoch(state, begin)`` would return, by which
        it makes its epochs itself where that is given.
        """
        progress, resumed = self.progress, state is not None
        if resumed:
            state = self._continued(state)
        else:
            state = _new_state(floating(theta0), self.rule.n_moments, random_state)
        start, first_step = state["theta"].copy(), state["n_steps"]

        def begin(loss: float) -> None:
            # A new run that is interrupted in its first epoch has no state to continue from.
            progress.begin(start, loss, _snapshot(state) if resumed else None)

        with progress.running():
            status, message = yield from self._epochs(state, begin, epoch)
            x = state["theta"]
            if progress.validation_loss is not None and progress.best_theta is not None:
                x = progress.best_theta
            fun = self._loss(x)
            failed = not math.isfinite(fun)
            if status == CONVERGED and progress.validation_loss is None:
                failed = failed or fun > self._loss(start)  # it stalls, but above where it began
            if failed:
                status, message = self._diverged()
        if progress.status == INTERRUPTED:
            status, message = progress.status, progress.message
        nfev = state["n_steps"] - first_step
        with guard():
            if status in (FAILED, INTERRUPTED):
                candidates = self._candidates(status, start, state["theta"])
                losses = ((self._loss(x), x) for x in candidates)
                fun, x = min(losses, key=operator.itemgetter(0))
            state = self._last_state(status, state, fun)
        return progress.result(status, message, x, fun, nfev=nfev, state=state)

    def _epochs(self, state: dict, begin: Callable[[float], None], epoch: Callable | None) -> _Run:
        """Run epochs to the end of the run; its status and message."""
        progress = self.progress
        for _ in range(self.max_iter):
            state["learning_rate"] = self.learning_rate_init * state["learning_rate_scale"]
            loss = epoch(state, begin) if epoch is not None else (yield state, begin)
            if loss is None:
                return self._diverged()
            state["n_epochs"] += 1
            if progress.record(state["theta"], loss, _snapshot(state)):
                stalled = progress.status == CONVERGED
                if not (stalled and self.adaptive and state["learning_rate"] > _LEAST_RATE):
                    break
                state["learning_rate_scale"] /= 5
                progress.go_on()
                progress.commit(_snapshot(state))
        return progress.conclude(*limit_reached(max_iter=self.max_iter))

    def _epoch(self, state: dict, begin: Callable[[float], None]) -> float | None:
        """Visit all rows once; the mean loss of the batches, or None if it is NaN or infinite."""
        n, mean, theta, order = self.objective.n_samples, 0.0, state["theta"], self.order(state)
        scratch, moments = np.empty_like(theta), state["moments"]
        for batch in gen_batches(n, self.batch_size):
            loss, g = self.objective(theta, batch if order is None else order[batch])
            if self.progress.start is None:
                begin(loss)
            if not math.isfinite(loss + float(np.dot(g, g))):
                return None
            state["n_steps"] += 1
            rate = self.rule.rate(state["learning_rate"], state["n_steps"])
            self.rule.step(theta, g, moments, rate, scratch)
            mean += loss * (batch.stop - batch.start) / n
        return mean

    def order(self, state: dict) -> NDArray | None:
        """The order of the rows in the next epoch; None for their own."""
        n = self.objective.n_samples
        if not self.shuffle or self.batch_size >= n:
            return None  # else a function of the seed and of the epoch's number
        return np.random.default_rng([state["seed"], state["n_epochs"]]).permutation(n)

    def _loss(self, theta: NDArray) -> float:
        """The loss over all rows, infinite if it is NaN."""
        loss = self.objective.loss(theta) if np.isfinite(theta).all() else math.inf
        return math.inf if math.isnan(loss) else loss

    def _diverged(self) -> tuple[int, str]:
        return FAILED, (
            "The loss grew beyond where it started, or to infinity or NaN: learning_rate_init="
            f"{self.learning_rate_init:g} is too large. Lower it, or scale X and y."
        )

    def _candidates(self, status: int, start: NDArray, last: NDArray) -> list[NDArray]:
        """The θ among which a run that diverged or was interrupted chooses its result."""
        best = [] if self.progress.best_theta is None else [self.progress.best_theta]
        if status == FAILED:
            return [start, *best]
        if best and self.progress.validation_loss is not None:
            return best
        return [start, *best, last]

    def _continued(self, state: dict) -> dict:
        """A copy of the state of an earlier run; its counts go to ``progress``."""
        n_moments = self.rule.n_moments
        if not isinstance(state, dict) or len(state.get("moments", ())) != n_moments:
            raise ValueError(
                "state is that of another solver. Use result.state of an earlier run of this one."
            )
        state = copy.deepcopy(state)
        # The counts continue only if the watched loss at θ is the same, to the last bit. (A run of
        # one epoch does not count, so a stream of them is spared the evaluation.)
        watched = self.progress.validation_loss or self.objective.loss
        same_kind = state["watches_validation"] == (self.progress.validation_loss is not None)
        if same_kind and (self.max_iter == 1 or state["watched"] == watched(state["theta"])):
            self.progress.resume(state)
        return state

    def _last_state(self, status: int, state: dict, fun: float) -> dict | None:
        """The state from which a later run continues; None if there is none."""
        state = {FAILED: None, INTERRUPTED: self.progress.checkpoint}.get(status, state)
        if state is None:
            return None
        watches_validation = self.progress.validation_loss is not None
        state |= self.progress.state() | {"watches_validation": watches_validation}
        if self.progress.validation_loss_curve:
            state["watched"] = self.progress.validation_loss_curve[-1]
        elif not watches_validation:
            interrupted = status == INTERRUPTED
            state["watched"] = self.objective.loss(state["theta"]) if interrupted else fun
        return state


def _value_of(run: _Run):
    """What a generator that yields nothing returns."""
    try:
        next(run)
    except StopIteration as end:
        return end.value
    raise RuntimeError("The run has left an epoch to somebody else.")


def _new_state(theta0: NDArray, n_moments: int, random_state) -> dict:
    return {
        "theta": theta0.copy(),
        "moments": [np.zeros_like(theta0) for _ in range(n_moments)],
        "n_steps": 0,
        "n_epochs": 0,
        "learning_rate_scale": 1.0,
        "seed": check_random_state(random_state).randint(np.iinfo(np.int32).max),
    }


def _snapshot(state: dict) -> dict:
    """A copy into which later steps do not write."""
    moments = [moment.copy() for moment in state["moments"]]
    return state | {"theta": state["theta"].copy(), "moments": moments}
