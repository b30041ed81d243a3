"""Stochastic gradient descent and Adam on mini-batches, in place on one flat vector."""

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult
from sklearn.utils import check_random_state, gen_batches

from ..threads import guard
from .progress import Callback, Progress, check_range, floating
from .reasons import CONVERGED, FAILED, INTERRUPTED, limit_reached

__all__ = ["minimize_adam", "minimize_sgd"]

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
    n_iter_no_change: int = 25,
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
    n_iter_no_change : int, default=25
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
    if learning_rate not in ("constant", "invscaling", "adaptive"):
        raise ValueError(
            f"learning_rate={learning_rate!r}; it is 'constant', 'invscaling' or 'adaptive'."
        )
    check_range(Real, 0, power_t=power_t)
    check_range(Real, 0, 1, "both", momentum=momentum)

    def step(theta, g, state, scratch):
        (v,) = state["moments"]
        eta = state["learning_rate"]
        if learning_rate == "invscaling":
            eta *= state["n_steps"] ** -power_t
        g *= eta
        v *= momentum
        v -= g  # v ← μ v − η g
        if nesterovs_momentum:
            theta -= g
            np.multiply(v, momentum, out=g)
            theta += g  # θ ← θ + μ v − η g
        else:
            theta += v  # θ ← θ + v

    progress = Progress(
        n_iter_no_change, tol=tol, validation_loss=validation_loss, callback=callback
    )
    adaptive = learning_rate == "adaptive"
    return _Descent(
        objective, step, progress, batch_size, learning_rate_init, adaptive, shuffle, max_iter
    ).minimize(theta0, 1, state, random_state)


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
    n_iter_no_change: int = 25,
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

    check_range(Real, 0, 1, beta_1=beta_1, beta_2=beta_2)
    check_range(Real, 0, epsilon=epsilon)

    def step(theta, g, state, scratch):
        m, v = state["moments"]
        t = state["n_steps"]
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
        g *= state["learning_rate"] * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        theta -= g  # θ ← θ − η_t m / (√v + ε)

    progress = Progress(
        n_iter_no_change, tol=tol, validation_loss=validation_loss, callback=callback
    )
    return _Descent(
        objective, step, progress, batch_size, learning_rate_init, False, shuffle, max_iter
    ).minimize(theta0, 2, state, random_state)


@dataclass
class _Descent:
    """A run of epochs of mini-batches, with the parameters of `minimize_sgd`.

    ``step(theta, gradient, state, scratch)`` changes θ and the moments of the state in place; it
    may write into the gradient and into ``scratch``, of the same shape.
    """

    objective: Callable
    step: Callable
    progress: Progress
    batch_size: int | str
    learning_rate_init: float
    adaptive: bool
    shuffle: bool
    max_iter: int

    def __post_init__(self):
        if self.batch_size == "auto":
            self.batch_size = 200
        if not isinstance(self.batch_size, Integral) or self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size!r}; it is 'auto' or an integer ≥ 1.")
        self.batch_size = min(self.batch_size, self.objective.n_samples)
        check_range(Real, 0, math.inf, "neither", learning_rate_init=self.learning_rate_init)
        check_range(Real, 0, tol=self.progress.tol)
        check_range(Integral, 0, max_iter=self.max_iter)

    def minimize(self, theta0, n_moments: int, state: dict | None, random_state) -> OptimizeResult:
        progress, resumed = self.progress, state is not None
        if resumed:
            state = self._continued(state, n_moments)
        else:
            state = _new_state(floating(theta0), n_moments, random_state)
        start, first_step = state["theta"].copy(), state["n_steps"]

        def begin(loss: float) -> None:
            # A new run that is interrupted in its first epoch has no state to continue from.
            progress.begin(start, loss, _snapshot(state) if resumed else None)

        x = state["theta"]
        with progress.running():
            status, message = self._epochs(state, begin)
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

    def _epochs(self, state: dict, begin: Callable[[float], None]) -> tuple[int, str]:
        """Run epochs to the end of the run; its status and message."""
        progress = self.progress
        for _ in range(self.max_iter):
            state["learning_rate"] = self.learning_rate_init * state["learning_rate_scale"]
            loss = self._epoch(state, begin)
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
        n, mean, theta, order = self.objective.n_samples, 0.0, state["theta"], None
        scratch = np.empty_like(theta)
        if self.shuffle and self.batch_size < n:  # a function of the seed and the epoch's number
            order = np.random.default_rng([state["seed"], state["n_epochs"]]).permutation(n)
        for batch in gen_batches(n, self.batch_size):
            loss, g = self.objective(theta, batch if order is None else order[batch])
            if self.progress.start is None:
                begin(loss)
            if not math.isfinite(loss + float(np.dot(g, g))):
                return None
            state["n_steps"] += 1
            self.step(theta, g, state, scratch)
            mean += loss * (batch.stop - batch.start) / n
        return mean

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

    def _continued(self, state: dict, n_moments: int) -> dict:
        """A copy of the state of an earlier run; its counts go to ``progress``."""
        if not isinstance(state, dict) or len(state.get("moments", ())) != n_moments:
            raise ValueError("state is that of another solver, or none.")
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
