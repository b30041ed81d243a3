"""The scikit-learn estimator: validation, standard units, and what a fit leaves behind."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import ClassVar, Literal, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from .callbacks import fit_task
from .committee import gathered
from .compat import CallbackSupportMixin, Interval, InvalidParameterError, StrOptions
from .evidence import Evidence
from .layout import Layout, checked_theta, hidden_sizes
from .network import Network
from .objective import FLOATS, MLPObjective, checked_alphas, checked_weights
from .posterior import affordable, laplace, model_variance, require_dense, weight_groups
from .rows import Rows
from .scaling import fit_range_scaler, fit_scaler
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
from .threads import ignoring_overflow, run, single_threaded_blas

# An L-BFGS iteration opens about one new direction, as one more parameter would. It must
# raise the Gaussian log-likelihood, -N/2 ln(loss) with N = n_samples × n_outputs, by this
# much (Akaike's criterion charges 1; docs/defaults.md has the measurements), unless the caller
# asks for more accuracy than the default tol.
LOG_LIKELIHOOD_PER_ITERATION, DEFAULT_TOL = 1.5, 1e-4

# Under alpha="evidence" hidden units start with inputs of this standard deviation: with much
# smaller ones the network is linear, and the strong penalty of a linear fit then keeps it so.
EVIDENCE_SPREAD = 1.0

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

# What a fit knows of its input; all else that it leaves behind describes how it went.
INPUT_ATTRIBUTES = (
    "n_features_in_", "feature_names_in_", "n_outputs_", "n_layers_", "out_activation_",
    "x_scaler_", "y_scaler_", "_sizes", "_dtype", "_single_output", "_seed",
)  # fmt: skip

PRIVATE_ATTRIBUTES = (
    "_sizes", "_dtype", "_single_output", "_seed", "_solver_state", "_prepared",
    "_factor", "_noise",
)  # fmt: skip

# What the evidence finds and `fit_posterior` replaces.
POSTERIOR_ATTRIBUTES = (
    "noise_variance_", "effective_n_parameters_", "log_evidence_", "_factor", "_noise",
)  # fmt: skip


def _is_incremental(estimator) -> bool:
    if estimator.solver not in ("sgd", "adam"):
        raise AttributeError(
            f"partial_fit is offered for solver='sgd' and 'adam', not for {estimator.solver!r}."
        )
    if estimator.early_stopping:
        raise AttributeError("partial_fit is not offered with early_stopping=True.")
    if estimator.n_members > 1:
        raise AttributeError("partial_fit is not offered with n_members > 1.")
    return True


class Data(NamedTuple):
    """Validated rows: raw features, targets of shape (n, n_outputs), weights or None."""

    rows: Rows
    y: NDArray
    weight: NDArray | None

    def take(self, index: NDArray) -> "Data":
        weight = None if self.weight is None else self.weight[index]
        return Data(self.rows.take(index), self.y[index], weight)

    @property
    def n_samples(self) -> int:
        return len(self.y)


class MLPSigmoidRegressor(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Sigmoid multilayer perceptron for regression, trained with an exact gradient.

    The network is f_K ∘ … ∘ f_1 with f_i = σ(f_{i-1} A_{i-1} + b_{i-1}), the last layer the
    identity or, as a choice, σ too; `MLPObjective` states the loss it minimises. Features and
    targets are standardised inside, so the units of the data do not matter, neither to the fit
    nor to what ``tol``, ``alpha`` and the learning rate mean.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(50,)
        Units of each hidden layer; ``()`` is no hidden layer, a linear (or logistic) model.
    output_activation : {"identity", "sigmoid"}, default="identity"
        "sigmoid" makes the last layer a sigmoid too: predictions then stay near the range
        of the training targets, which is mapped to [0.1, 0.9] (with ``standardize=False``
        the targets themselves must lie in [0, 1]).
    solver : {"lbfgs", "lm", "sgd", "adam"} or callable, default="lbfgs"
        "lbfgs" is a good choice up to some 10⁵ rows; "lm" (Levenberg–Marquardt) goes deeper and, up
        to some thousand parameters P, is faster there: it holds two P × P matrices. "adam" and
        "sgd" pass over the rows in mini-batches. A callable is given ``(objective, theta0)``, an
        `MLPObjective` and a starting point, and returns an object whose ``x`` is the θ it found,
        such as a `scipy.optimize.OptimizeResult`.
    alpha : float, sequence of K floats or "evidence", default=1e-4
        Strength α of the L2 penalty on the weights (not on the biases), in standardised
        units; it means what it means in `Ridge`. A sequence has one for the weights of each layer.
        "evidence" finds α, and the noise, from the data by MacKay's evidence framework, with
        Levenberg–Marquardt steps: for ``solver="lbfgs"`` (the default) and "lm", without early
        stopping. It takes O(n P²) operations an iteration and four matrices of P × P numbers.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch of "sgd" and "adam"; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of "sgd"; see `minimize_sgd`.
    learning_rate_init : float, default=0.01
        Learning rate of "sgd" and "adam" at the start.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=1000
        The most iterations ("lbfgs", "lm") or epochs ("sgd", "adam") of one call of `fit`.
    shuffle : bool, default=True
        Whether "sgd" and "adam" visit the rows in a new order in every epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the starting point, the validation split and the shuffling.
    tol : float, default=1e-4
        Under "lbfgs" and "lm" the fit ends where no entry of the gradient exceeds ``tol``. Unless
        ``tol`` is below its default, it also ends where, over the last ``n_iter_no_change``
        iterations, the loss has fallen so slowly that it is likely to fit noise: by less than
        3/(n_samples · n_outputs) of itself an iteration. Under "sgd" and "adam" it is the least
        improvement of the loss of an epoch that counts as one. With ``early_stopping`` it is the
        least improvement of the validation loss that counts, in place of the rule on noise.
    verbose : bool or int, default=False
        Print the loss at every iteration.
    warm_start : bool, default=False
        Whether `fit` continues from the previous fit: "lbfgs" and "lm" from its θ, "sgd" and "adam"
        also with their averages and in their order of rows, as if the two fits had been one.
    momentum : float, default=0.9
        Momentum of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether "sgd" uses Nesterov's form of it.
    early_stopping : bool, default=False
        Watch the loss on rows held out, stop when it no longer improves, and keep the θ at
        which it was least. For every built-in solver.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, unless `fit` is given ``X_val``.
    beta_1 : float, default=0.9
        Decay of the average of the gradient in "adam", in [0, 1).
    beta_2 : float, default=0.999
        Decay of the average of its square, in [0, 1).
    epsilon : float, default=1e-8
        ε of "adam".
    n_iter_no_change : int, default=25
        Over so many iterations or epochs a lack of progress is judged.
    max_fun : int, default=15000
        The most evaluations of "lbfgs" and "lm".
    n_members : int, default=1
        Networks fitted from independent starts, side by side; their predictions are averaged.
    standardize : bool, default=True
        Whether to standardise X and y inside, with the sample weights. A later `fit` does it
        anew, ``warm_start`` and `partial_fit` keep what the first call found.

    Attributes
    ----------
    theta_ : ndarray of shape (P,)
        All parameters, {A_0, b_0, …}, in standardised units (the page on the design tells how
        to map them to raw ones). With ``n_members > 1`` this and all that describes a network have
        the members as first axis; losses are means over them, ``n_iter_`` is the greatest.
    coefs_ : list of K ndarrays of shape (d_{i-1}, d_i)
        The weights A_{i-1}: views of ``theta_``.
    intercepts_ : list of K ndarrays of shape (d_i,)
        The biases b_{i-1}: views of ``theta_``.
    loss_ : float
        L at ``theta_``, over the rows of the last call.
    loss_curve_ : list of float
        L after each iteration ("lbfgs", "lm"), its running mean over each epoch ("sgd", "adam").
    best_loss_ : float or None
        The least entry of ``loss_curve_``, or ``loss_`` if that is empty; None with early stopping.
    validation_loss_curve_, validation_scores_ : list of float or None
        With early stopping, after each iteration: ½ of the weighted mean squared error on
        the held-out rows in standardised units, and 1 minus its ratio to that of their mean
        (R², for one output).
    best_validation_score_ : float or None
        The greatest of those scores.
    n_iter_ : int
        Iterations or epochs. With ``warm_start`` and `partial_fit` "sgd" and "adam" go on counting,
        "lbfgs" and "lm" do while the problem is the same to the last bit. None if a callable solver
        does not tell.
    n_fev_ : int
        Evaluations of the loss and gradient in the last call. None likewise.
    t_ : int
        Rows visited, ``n_iter_`` times the number of rows of each call.
    message_ : str
        Why the solver stopped.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, where X had names that are all strings.
    n_outputs_ : int
        Number of outputs.
    n_layers_ : int
        K + 1, the input counted as a layer.
    out_activation_ : str
        The activation of the last layer.
    x_scaler_, y_scaler_ : StandardScaler or None
        How X and y were standardised; None with ``standardize=False``.
    alpha_ : float
        With ``alpha="evidence"``, the α it found.
    noise_variance_ : float or ndarray of shape (n_outputs,)
        Variance σ² of the noise of a row of weight 1, in the units of y squared; a float where y
        was one-dimensional. This and the next two wherever ``predict(X, return_std=True)`` works.
    effective_n_parameters_ : float
        γ, the number of parameters that the data determine.
    log_evidence_ : float
        Log marginal likelihood of the standardised targets, in the Gaussian approximation around
        ``theta_``; -inf where a layer has α = 0. It compares fits to the same data.

    Notes
    -----
    Blocks of rows run on as many threads as BLAS would use, while BLAS is held to one: so
    `threadpool_limits`, ``OPENBLAS_NUM_THREADS`` and joblib's limits apply. That limit is
    process-wide: during a fit other threads' BLAS calls run on one thread too. The result is the
    same to the last bit on any number of threads.

    Ctrl-C ends the run of a built-in solver with the best θ so far, a `ConvergenceWarning`, and
    ``n_iter_``, ``loss_`` and the curves that belong to it; inside `GridSearchCV` it ends one
    candidate. Before the first evaluation, and at a second Ctrl-C, it comes out as
    KeyboardInterrupt with the previous fit intact. A pass of `partial_fit` is made whole or not at
    all.

    From scikit-learn 1.9 on, ``set_callbacks`` takes its callbacks, such as
    `sklearn.callback.ProgressBar` and `sklearn.callback.ScoringMonitor`. `fit` is a task, and every
    iteration or epoch of a built-in solver is one below it, alone, in a `Pipeline` and in a
    search. The hooks get X and y as `fit` was given them, and at its end the network of each
    iteration; one that returns True ends the fit with the model so far.

    See Also
    --------
    MLPObjective : The loss and its gradient, for `scipy.optimize`.
    sklearn.neural_network.MLPRegressor : More activations and losses.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from skprop import MLPSigmoidRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPSigmoidRegressor(hidden_layer_sizes=10, alpha=3, random_state=0)
    >>> print(f"{cross_val_score(model, X, y).mean():.2f}")
    0.49
    """

    _doc_link_module = "skprop"
    _doc_link_template = "https://skprop.readthedocs.io/en/stable/api.html#skprop.{estimator_name}"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "output_activation": [StrOptions({"identity", "sigmoid"})],
        "solver": [StrOptions({"lbfgs", "lm", "sgd", "adam"}), callable],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"evidence"}), "array-like"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (50,),
        *,
        output_activation: str = "identity",
        solver: str | Callable = "lbfgs",
        alpha: float | Sequence[float] | NDArray | Literal["evidence"] = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.01,
        power_t: float = 0.5,
        max_iter: int = 1000,
        shuffle: bool = True,
        random_state=None,
        tol: float = DEFAULT_TOL,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 25,
        max_fun: int = 15000,
        n_members: int = 1,
        standardize: bool = True,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.output_activation = output_activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_members = n_members
        self.standardize = standardize

    # ---- fitting -----------------------------------------------------------------------

    def fit(
        self,
        X,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val=None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 is computed in float32, all else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Weight 2 counts as the row twice; rows of weight 0 are left out.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), optional
            Rows to watch with ``early_stopping=True``, instead of a part of X.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight_val : array-like of shape (n_val,), optional
            Their weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data, weights or parameters that make no sense. Whatever is raised, the
            estimator is left as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If the solver stopped before it was done; the message tells the remedy.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            validation = self._validation_arguments(X_val, y_val, sample_weight_val)
            warm = self.warm_start and hasattr(self, "theta_")
            with fit_task(self, X, y, sample_weight) as report:
                objective, theta0, held_out = self._prepare(X, y, sample_weight, warm, validation)
                if self.n_members == 1:
                    self._solve(objective, theta0, held_out, report)
                else:
                    self._solve_members(objective, theta0, held_out)
            return self

    @available_if(_is_incremental)
    def partial_fit(self, X, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Make one pass over X and y, in mini-batches, from where the last call stopped.

        Offered for ``solver="sgd"`` and ``"adam"`` without early stopping. The first call
        draws the network and fixes the standard units from the rows it is given, so give it
        enough to be typical. A sequence of calls goes on exactly where it stopped, also
        after pickling.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit` does; also if the architecture or the number of features or outputs
            is no longer that of the first call.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            warm = hasattr(self, "theta_")
            objective, theta0, _ = self._prepare(X, y, sample_weight, warm)
            self._solve(objective, theta0, None, one_epoch=True)
            return self

    def make_objective(
        self, X, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[MLPObjective, NDArray]:
        """The function that `fit` would minimise, and where it would start.

        Minimise it with anything and hand the result to `set_theta`. An existing fit is
        left as it is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        objective : MLPObjective
            Its ``predict`` takes X as it is and returns standardised targets.
        theta0 : ndarray of shape (P,)

        Raises
        ------
        ValueError
            As `fit` does, and with ``early_stopping=True``.

        Examples
        --------
        >>> from scipy.optimize import minimize
        >>> from sklearn.datasets import load_diabetes
        >>> from skprop import MLPSigmoidRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = MLPSigmoidRegressor(hidden_layer_sizes=5, alpha=1.0, random_state=0)
        >>> objective, theta0 = model.make_objective(X, y)
        >>> result = minimize(objective, theta0, jac=True, method="BFGS", options={"gtol": 1e-3})
        >>> print(f"{model.set_theta(result.x).score(X, y):.2f}")
        0.57
        """
        if self.early_stopping:
            raise ValueError(
                "make_objective with early_stopping=True: early stopping belongs to the built-in "
                "solvers. Set early_stopping=False, and hold rows out yourself."
            )
        if self._by_evidence():
            raise ValueError(
                "make_objective with alpha='evidence', under which the penalty changes as the fit "
                "goes on. Give alpha a number, or the alpha_ of a fit."
            )
        self._check_parameters()
        other = copy.copy(self)
        warm = self.warm_start and hasattr(self, "theta_")
        objective, theta0, _ = other._prepare(X, y, sample_weight, warm)
        self._prepared = {k: v for k, v in vars(other).items() if k in INPUT_ATTRIBUTES}
        return objective, theta0.copy()

    def set_theta(self, theta: ArrayLike) -> Self:
        """Take over a parameter vector, found with `make_objective` or elsewhere.

        After `make_objective` this makes the estimator a fitted one, in the units prepared
        there. On a fitted estimator it replaces θ; what described the fit that led to the
        old one (``loss_``, ``loss_curve_``, ``n_iter_``, …) is removed.

        Parameters
        ----------
        theta : array-like of shape (P,) or, with ``n_members > 1``, (n_members, P)

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit` and `make_objective`.
        ValueError
            If θ has the wrong length or an entry that is NaN or infinite.
        """
        fitted = getattr(self, "_prepared", None)
        if fitted is None:
            check_is_fitted(self, "theta_")
            fitted = {k: v for k, v in vars(self).items() if k in INPUT_ATTRIBUTES}
        layout, dtype = Layout(fitted["_sizes"]), fitted["_dtype"]
        if np.ndim(theta) == 2 and len(theta) == self.n_members:
            theta = np.array([checked_theta(row, layout, dtype) for row in theta])
        else:
            theta = checked_theta(theta, layout, dtype).copy()
        with self._unchanged_on_error():
            self._forget()
            vars(self).update(fitted)
            self.theta_ = theta
            self.message_ = "theta was given to set_theta."
            return self

    # ---- the fitted model ----------------------------------------------------------------

    @property
    def coefs_(self) -> list[NDArray]:
        """The weights A_{i-1}, views of ``theta_``."""
        return [A for A, _ in self._layers()]

    @property
    def intercepts_(self) -> list[NDArray]:
        """The biases b_{i-1}, views of ``theta_``."""
        return [b for _, b in self._layers()]

    def _layers(self):
        if not hasattr(self, "theta_"):
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return Layout(self._sizes).views(self.theta_)

    @overload
    def predict(self, X, return_std: Literal[False] = False) -> NDArray: ...

    @overload
    def predict(self, X, return_std: Literal[True]) -> tuple[NDArray, NDArray]: ...

    def predict(self, X, return_std: bool = False) -> NDArray | tuple[NDArray, NDArray]:
        """Predict the targets of the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return a standard deviation for each prediction too: that of the noise and
            of the parameters, from the linearised Laplace posterior.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the shape in which y was given to `fit`, in the precision of the fit.
        std : ndarray of the same shape
            With ``return_std``: of a target of weight 1, in the units of y.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the number or the names of the features are not those of the fit, or a row is so far
            from those of the fit that its prediction overflows; with
            ``return_std``, where `fit_posterior` has to be called first.

        References
        ----------
        D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
        Computation 4 (1992), 448-472.
        """
        rows = self._checked_rows(X)
        layout, variances = Layout(self._sizes), []
        if return_std and not hasattr(self, "_factor"):
            raise ValueError(
                f"return_std=True needs the posterior of the {layout.n_params} parameters, which "
                "fit did not compute by itself. Call fit_posterior(X, y) with the training data."
            )
        outputs = [
            Network(layout, theta, self.out_activation_).outputs(rows)
            for theta in self._of_members("theta_")
        ]
        y = outputs[0] if len(outputs) == 1 else np.mean(outputs, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.y_scaler_ is not None:
                y = (y * self.y_scaler_.scale_ + self.y_scaler_.mean_).astype(self._dtype)
        self._check_finite(y)
        y = y[:, 0] if self._single_output else y
        if not return_std:
            return y
        with np.errstate(over="ignore", invalid="ignore"):
            names = ("theta_", "_factor", "_noise")
            for theta, factor, noise in zip(*map(self._of_members, names), strict=True):
                g = model_variance(Network(layout, theta, self.out_activation_), rows, factor)
                variances.append(noise * (1 + g))  # σ² (1 + gᵀ H⁻¹ g)
            # The mean of the members' variances, and the variance of their means.
            std = np.sqrt(np.mean(variances, axis=0) + np.var(outputs, axis=0, dtype=np.float64))
            if self.y_scaler_ is not None:
                std *= self.y_scaler_.scale_
            return y, (std[:, 0] if self._single_output else std).astype(self._dtype)

    def fit_posterior(self, X, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Compute the posterior of a fitted network, for ``predict(X, return_std=True)``.

        `fit` does so by itself where that takes about half a second or less; after `partial_fit`,
        `set_theta` and the fit of a larger network, call this. It takes O(n P²) operations and two
        matrices of P × P numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows to learn the noise and the posterior from, as a rule those of the fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            As `fit` does; also if P × P numbers do not fit the memory of this machine, or the
            posterior cannot be computed in floating point.
        """
        check_is_fitted(self, "theta_")
        if self._by_evidence() and not hasattr(self, "alpha_"):
            raise ValueError(
                "fit_posterior with alpha='evidence' after set_theta: give alpha the penalty of "
                "the θ that was set."
            )
        require_dense(Layout(self._sizes).n_params)
        single_output = self._single_output
        with self._unchanged_on_error():
            data = self._checked_data(X, y, sample_weight, reset=False)
            self._single_output = single_output
            objective = self._objective(data, alpha=0.0)
            alphas = self._of_members("alpha_") if hasattr(self, "alpha_") else [self.alpha]
            thetas = self._of_members("theta_")
            members = [copy.copy(self) for _ in thetas]
            for k, (member, theta) in enumerate(zip(members, thetas, strict=True)):
                found = laplace(objective, theta, alphas[k % len(alphas)])
                if found is None:
                    raise ValueError(
                        "The posterior cannot be computed: the Gauss–Newton matrix is infinite, "
                        "NaN, or singular to rounding."
                    )
                member._set_posterior(found)
            found = gathered([vars(member) for member in members])
            for name in POSTERIOR_ATTRIBUTES:
                setattr(
                    self, name, found[name] if self.theta_.ndim == 2 else vars(members[0])[name]
                )
        return self

    def _of_members(self, name: str) -> list:
        """A fitted attribute of each member."""
        value = getattr(self, name)
        return [value] if self.theta_.ndim == 1 else list(value)

    def predict_gradient(self, X) -> NDArray:
        """The exact derivatives of the prediction by the features, at the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            ∂y/∂x in units of y per unit of x: what `predict` changes by when a feature does.
            As y was given to `fit`, in the precision of the fit.

        Raises
        ------
        NotFittedError, ValueError
            As `predict` does.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPSigmoidRegressor
        >>> x = np.linspace(0, 10, 200)[:, None]
        >>> model = MLPSigmoidRegressor(20, tol=1e-5, random_state=0).fit(x, np.sin(x[:, 0]))
        >>> slope = model.predict_gradient([[np.pi], [2 * np.pi]])
        >>> slope.shape, bool(np.allclose(slope[:, 0], [-1, 1], atol=0.05))
        ((2, 1), True)
        """
        rows = self._checked_rows(X)
        gradient = np.mean(
            [
                Network(Layout(self._sizes), theta, self.out_activation_).input_gradient(rows)
                for theta in self._of_members("theta_")
            ],
            axis=0,
        )
        if self.y_scaler_ is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                gradient = (gradient * self.y_scaler_.scale_[:, None]).astype(self._dtype)
        self._check_finite(gradient)
        return gradient[:, 0] if self._single_output else gradient

    def _check_finite(self, y: NDArray) -> None:
        """Refuse rows so far from the training data that what was computed there overflowed."""
        finite = np.isfinite(y)
        if not finite.all():
            row = int(np.argmin(finite.all(axis=tuple(range(1, y.ndim)))))
            raise ValueError(
                f"The prediction for row {row} of X overflows {self._dtype}: is X in the units of "
                "the fit, and did that converge?"
            )

    def _checked_rows(self, X) -> Rows:
        """The rows at which to predict, to be read in standard units."""
        check_is_fitted(self, "theta_")
        if not self._is_plainly_valid(X):
            with np.errstate(over="ignore", invalid="ignore"):
                X = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)
        return Rows(X, scaler=self.x_scaler_, dtype=self._dtype)

    def _is_plainly_valid(self, X) -> bool:
        """Whether X is a small array in which `validate_data` would find no fault.

        For a single row that takes longer than all the rest of `predict`.
        """
        return (
            type(X) is np.ndarray
            and X.dtype in FLOATS
            and X.ndim == 2
            and X.shape[1] == self.n_features_in_
            and 0 < X.size <= 4096
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X).all())
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- checks --------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        self._validate_params()
        try:
            sizes = hidden_sizes(self.hidden_layer_sizes)
            if not self._by_evidence():
                checked_alphas(self.alpha, len(sizes) + 1)
        except ValueError as error:
            raise InvalidParameterError(str(error)) from None
        if self._by_evidence():
            if self.solver not in ("lbfgs", "lm"):
                raise ValueError(
                    f"alpha='evidence' with solver={self.solver!r}: it is fitted by "
                    "Levenberg–Marquardt. Set solver='lbfgs', the default, or give alpha a number."
                )
            if self.early_stopping:
                raise ValueError(
                    "alpha='evidence' with early_stopping=True: the evidence takes the place of a "
                    "validation set. Set early_stopping=False, or give alpha a number."
                )
        if self.warm_start and self.n_members > 1:
            raise ValueError(
                f"warm_start=True with n_members={self.n_members}: a committee is fitted from new "
                "starts. Set warm_start=False."
            )
        if self.early_stopping and callable(self.solver):
            raise ValueError(
                "early_stopping=True with a callable solver: early stopping belongs to the "
                "built-in solvers. Hold rows out inside the callable."
            )

    def _by_evidence(self) -> bool:
        return isinstance(self.alpha, str)

    def _validation_arguments(self, X_val, y_val, sample_weight_val):
        """The validation set given to `fit`, or None; refuses what makes no sense."""
        if X_val is None:
            if y_val is not None or sample_weight_val is not None:
                raise ValueError("y_val or sample_weight_val was given without X_val.")
            if self.early_stopping and self.validation_fraction == 0:
                raise InvalidParameterError(
                    "validation_fraction=0 with early_stopping=True holds out no rows: "
                    "give X_val and y_val, or a fraction between 0 and 1."
                )
            return None
        if y_val is None:
            raise ValueError("X_val was given without y_val.")
        if not self.early_stopping:
            raise ValueError(
                "X_val was given with early_stopping=False, so nothing would look at it. "
                "Set early_stopping=True."
            )
        return X_val, y_val, sample_weight_val

    @ignoring_overflow()
    def _checked_data(self, X, y, sample_weight, *, reset: bool, suffix: str = "") -> Data:
        """Validate rows as scikit-learn does, and leave out those of zero weight."""
        if issparse(y):
            raise TypeError(f"y{suffix} is sparse; only X may be. Use y{suffix}.toarray().")
        y = _without_objects(y)
        if suffix:
            X, y = self._checked_held_out(X, y)
        else:
            X, y = validate_data(
                self, X, y, reset=reset, accept_sparse="csr", dtype=FLOATS, multi_output=True
            )
        if y.dtype.kind not in "biuf":
            try:
                y = y.astype(np.float64) if y.dtype.kind == "O" else None
            except (TypeError, ValueError):
                y = None
            if y is None:
                raise ValueError(f"y{suffix} is not numeric.")
        single_output, y = y.ndim == 1, np.array(y.reshape(len(y), -1), dtype=np.float64)
        if not suffix:
            self._single_output = single_output
        if reset:
            self._dtype, self.n_outputs_ = X.dtype.name, y.shape[1]
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y{suffix} has {y.shape[1]} outputs; the model was fitted with {self.n_outputs_}."
            )
        if np.abs(y).max() > np.finfo(self._dtype).max:
            raise ValueError(f"y{suffix} has values beyond {self._dtype}, the dtype of X.")
        if sample_weight is None:
            return Data(Rows(X), y, None)
        weight = checked_weights(sample_weight, len(y), f"sample_weight{suffix}")
        data = Data(Rows(X), y, weight)
        return data if weight.all() else data.take(np.flatnonzero(weight))

    def _checked_held_out(self, X, y):
        """The same checks as of X and y, with the names of X_val and y_val in what is raised."""
        x = check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X_val")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X_val has {x.shape[1]} features, not {self.n_features_in_} features."
            )
        validate_data(self, X, reset=False, skip_check_array=True)  # the names of the features
        y = check_array(y, dtype=None, ensure_2d=False, input_name="y_val")
        if len(y) != x.shape[0]:
            raise ValueError(f"X_val has {x.shape[0]} rows, y_val has {len(y)}.")
        return x, y

    # ---- the steps of a fit --------------------------------------------------------------

    def _prepare(self, X, y, sample_weight, warm, validation=None):
        """Objective, starting point and, with early stopping, objective of the rows held out.

        A cold start fixes the architecture and the standard units; a warm one checks them.
        """
        if not warm:
            self._forget()
        data = self._checked_data(X, y, sample_weight, reset=not warm)
        theta0 = self._check_architecture() if warm else self._draw_network()
        held_out = None
        if validation:
            held_out = self._checked_data(*validation, reset=False, suffix="_val")
        elif self.early_stopping and self.n_members == 1:
            data, held_out = self._split(data)
        if not warm:
            self._fit_scalers(data, theta0)
        if self.early_stopping and held_out is None:
            return partial(self._fold, data), theta0, None
        objective = self._objective(data, 0.0 if self._by_evidence() else self.alpha)
        if held_out is not None:
            held_out = self._objective(held_out, alpha=0.0)
        return objective, theta0, held_out

    def _draw_network(self) -> NDArray:
        """Fix the architecture and draw θ_0 and the seed of all else that is random."""
        hidden = hidden_sizes(self.hidden_layer_sizes)
        self._sizes = (self.n_features_in_, *hidden, self.n_outputs_)
        self.n_layers_ = len(self._sizes)
        self.out_activation_ = self.output_activation
        random_state = check_random_state(self.random_state)
        theta0 = self._start(random_state)
        self._seed = int(random_state.randint(np.iinfo(np.int32).max))
        return theta0

    def _start(self, random_state) -> NDArray:
        spread = EVIDENCE_SPREAD if self._by_evidence() else None
        return Layout(self._sizes).initial_theta(random_state, self._dtype, spread)

    def _check_architecture(self) -> NDArray:
        """The present θ, if the parameters still describe its network."""
        asked = {
            "hidden_layer_sizes": hidden_sizes(self.hidden_layer_sizes),
            "output_activation": self.output_activation,
            "standardize": self.standardize,
        }
        fitted = {
            "hidden_layer_sizes": self._sizes[1:-1],
            "output_activation": self.out_activation_,
            "standardize": self.x_scaler_ is not None,
        }
        for name, value in asked.items():
            if value != fitted[name]:
                raise ValueError(
                    f"{name}={value!r}, but the model to continue from was fitted with "
                    f"{name}={fitted[name]!r}. Set it back, or start afresh from a clone."
                )
        return self.theta_

    def _fold(self, data: Data, seed: int) -> tuple[MLPObjective, MLPObjective]:
        """What a member of a committee learns, and what it holds out for early stopping."""
        train, held_out = self._split(data, seed)
        return self._objective(train, self.alpha), self._objective(held_out, alpha=0.0)

    def _split(self, data: Data, seed: int | None = None) -> tuple[Data, Data]:
        """Hold out a part of the rows for early stopping."""
        if data.n_samples < 2:
            raise ValueError(
                "early_stopping=True needs rows to train on and rows to hold out; "
                f"n_samples={data.n_samples}."
            )
        train, held_out = train_test_split(
            np.arange(data.n_samples),
            test_size=self.validation_fraction,
            random_state=self._seed if seed is None else seed,
        )
        return data.take(np.sort(train)), data.take(np.sort(held_out))

    def _fit_scalers(self, data: Data, theta0: NDArray) -> None:
        """Fix the standard units, and silence what is constant."""
        self.x_scaler_ = self.y_scaler_ = None
        if not self.standardize:
            if self.output_activation == "sigmoid" and not 0 <= data.y.min() <= data.y.max() <= 1:
                raise ValueError(
                    "output_activation='sigmoid' with standardize=False needs targets in [0, 1]; "
                    f"y goes from {data.y.min():g} to {data.y.max():g}. Set standardize=True."
                )
            return
        targets = Rows(data.y)
        self.x_scaler_ = fit_scaler(data.rows, data.weight)
        if self.output_activation == "sigmoid":
            self.y_scaler_ = fit_range_scaler(targets)
        else:
            self.y_scaler_ = fit_scaler(targets, data.weight)
        # A weight that starts at zero and has no gradient stays zero: so a constant target is
        # predicted exactly, and a feature that was constant has no effect later.
        (A_first, _), *_, (A_last, b_last) = 2 * Layout(self._sizes).views(theta0)
        A_first[self.x_scaler_.var_ == 0] = 0
        constant = (data.y == data.y[0]).all(axis=0)
        A_last[:, constant], b_last[constant] = 0, 0

    def _objective(self, data: Data, alpha: float) -> MLPObjective:
        rows = Rows(data.rows.X, index=data.rows.index, scaler=self.x_scaler_, dtype=self._dtype)
        y = data.y
        if self.y_scaler_ is not None:
            with np.errstate(over="ignore"):  # then `MLPObjective` refuses y
                y -= self.y_scaler_.mean_
                y /= self.y_scaler_.scale_
        return MLPObjective(
            rows.in_memory(),
            y[:, 0] if self._single_output else y,
            hidden_layer_sizes=self._sizes[1:-1],
            output_activation=self.out_activation_,
            alpha=alpha,
            sample_weight=data.weight,
        )

    def _solve_members(self, objective, theta0, held_out) -> None:
        """Fit a committee, side by side, and keep what its members found."""
        members = [copy.copy(self) for _ in range(self.n_members)]
        seeds = np.random.RandomState(self._seed).randint(np.iinfo(np.int32).max, size=len(members))

        def solve(j: int) -> None:
            member, start = members[j], theta0
            if j > 0:
                member._seed = int(seeds[j])
                start = self._start(member._seed)
                start[theta0 == 0] = 0  # what is constant
            own = objective(member._seed) if held_out is None and self.early_stopping else None
            of_member = own or (objective, held_out)
            member._solve(of_member[0], start, of_member[1], label=f"Member {j + 1}, ")

        with single_threaded_blas():
            run(solve, len(members))
        for name, value in gathered([vars(member) for member in members]).items():
            setattr(self, name, value)

    def _solve(
        self, objective, theta0, held_out, report=None, *, one_epoch: bool = False, label: str = ""
    ) -> None:
        """Run the solver, which may ``report`` its iterations, and keep what it found."""
        if callable(self.solver):
            result = self.solver(objective, theta0.copy())
            if not getattr(result, "success", True):
                message = getattr(result, "message", "")
                warnings.warn(f"solver: {message}", ConvergenceWarning, stacklevel=3)
            self._keep(result, objective)
            self._keep_posterior(None, objective)
            return
        minimizer, names = SOLVERS["evidence" if self._by_evidence() else self.solver]
        options = {name: getattr(self, name) for name in names}
        if one_epoch:
            options["max_iter"] = 1
        if held_out is not None:
            options["validation_loss"] = held_out.loss
        if self._by_evidence():
            resumed = False
            options |= self._evidence_options(objective)
        elif self.solver in ("lbfgs", "lm"):
            resumed = self._is_continued(objective)
            if held_out is None:
                options["min_decay"] = self._decay_of_noise(objective)
            if resumed:
                options["loss_curve"] = self.loss_curve_
        else:
            state = getattr(self, "_solver_state", None)
            resumed = state is not None and state["solver"] == self.solver
            options |= {"random_state": self._seed, "state": state if resumed else None}
        callbacks = [partial(_print, label)] if self.verbose else []
        if report is not None:
            callbacks.append(report)
        if callbacks:
            options["callback"] = _each(callbacks, n_before=self.n_iter_ if resumed else 0)
        result = minimizer(objective, theta0, **options)
        whole = one_epoch or label  # a pass is made whole or not at all, a committee too
        if result.status == INTERRUPTED and (whole or not np.isfinite(result.fun)):
            raise KeyboardInterrupt
        if not np.isfinite(result.fun):
            raise ValueError(
                "The loss is not finite even where the fit starts: "
                f"{objective.explain_overflow(theta0)}"
            )
        # Before anything is kept: where warnings are errors, this one undoes the fit.
        as_asked = result.status == CALLBACK or (one_epoch and result.status == LIMIT)
        if not result.success and not as_asked:
            remedy = " Raise it, or tol." if result.status == LIMIT else ""
            warnings.warn(result.message + remedy, ConvergenceWarning, stacklevel=3)
        self._keep(result, objective, held_out, resumed)
        self._keep_posterior(result, objective, automatic=not one_epoch)

    def _evidence_options(self, objective: MLPObjective) -> dict:
        """What `minimize_evidence` is to know of the network and of the data."""
        require_dense(objective.n_params)
        return {
            "groups": [np.concatenate(weight_groups(objective.layout))],
            "weight": objective.total_weight,
            "n_observations": objective.total_weight * self.n_outputs_,
            "noise": 2 * objective.loss_of_mean() / self.n_outputs_,
            "stop_at_noise": self.tol >= DEFAULT_TOL,
        }

    def _is_continued(self, objective: MLPObjective) -> bool:
        """Whether a warm start goes on with the same problem, to the last bit."""
        curve = getattr(self, "loss_curve_", None)
        return bool(curve) and objective.loss(self.theta_) == curve[-1]

    def _decay_of_noise(self, objective: MLPObjective) -> float:
        """The decay of ln(loss) an iteration below which L-BFGS is taken to fit noise."""
        if self.tol < DEFAULT_TOL:
            return 0.0
        n_observations = max(objective.n_samples, objective.total_weight) * self.n_outputs_
        return 2 * LOG_LIKELIHOOD_PER_ITERATION / n_observations

    def _keep(self, result, objective: MLPObjective, held_out=None, resumed=False) -> None:
        """Set the fitted attributes; of the result of a callable solver only x is required."""
        built_in = not callable(self.solver)
        if not hasattr(result, "x"):
            raise TypeError(f"solver returned {result!r}, which has no attribute x.")
        theta = checked_theta(result.x, objective.layout, objective.dtype)
        n_iter = getattr(result, "nit", None)
        n_visited = (n_iter or 0) * objective.n_samples
        curve, validation_curve, earlier_scores = [], [], []
        if resumed:
            n_iter, n_visited = self.n_iter_ + n_iter, self.t_ + n_visited
            curve = list(self.loss_curve_)  # new lists: the old ones stay, if this is undone
            validation_curve = list(self.validation_loss_curve_ or [])
            earlier_scores = list(self.validation_scores_ or [])
        scores = []
        if held_out is not None:
            baseline = held_out.loss_of_mean()
            scores = [r_squared(loss, baseline) for loss in result.validation_loss_curve]
        curve.extend(getattr(result, "loss_curve", None) or [])
        self.theta_ = theta if built_in else theta.copy()
        self.loss_ = result.fun if built_in else objective.loss(theta)
        self.n_iter_, self.t_, self.loss_curve_ = n_iter, n_visited, curve
        self.n_fev_ = getattr(result, "nfev", None)
        self.message_ = str(getattr(result, "message", ""))
        self.best_loss_ = self.validation_loss_curve_ = None
        self.validation_scores_ = self.best_validation_score_ = None
        if held_out is None:
            self.best_loss_ = min(curve, default=self.loss_)
        else:
            validation_curve.extend(result.validation_loss_curve)
            earlier_scores.extend(scores)
            self.validation_loss_curve_, self.validation_scores_ = validation_curve, earlier_scores
            self.best_validation_score_ = max(earlier_scores, default=None)
        vars(self).pop("_prepared", None)
        self._solver_state = None
        if built_in and getattr(result, "state", None) is not None:
            self._solver_state = {"solver": self.solver, **result.state}

    def _keep_posterior(self, result, objective: MLPObjective, automatic: bool = True) -> None:
        """Set what `predict` needs for its error bars, if it is at hand or soon computed."""
        for name in (*POSTERIOR_ATTRIBUTES, "alpha_"):
            vars(self).pop(name, None)
        if self._by_evidence():
            self.alpha_ = float(result.alpha[0])
            found = result.evidence
        elif automatic and affordable(objective):
            found = laplace(objective, self.theta_, objective.alpha)
        else:
            return
        if found is not None:
            self._set_posterior(found)

    def _set_posterior(self, found: Evidence) -> None:
        self._factor, self._noise = found.factor, found.noise
        self.effective_n_parameters_ = found.n_effective
        self.log_evidence_ = found.log_evidence
        scale = np.ones(self.n_outputs_) if self.y_scaler_ is None else self.y_scaler_.scale_
        with np.errstate(over="ignore", under="ignore"):
            variance = (np.sqrt(found.noise) * scale) ** 2
        self.noise_variance_ = float(variance[0]) if self._single_output else variance

    # ---- attributes as a whole -----------------------------------------------------------

    def _fitted_names(self) -> list[str]:
        return [
            name
            for name in vars(self)
            if name in PRIVATE_ATTRIBUTES or (name.endswith("_") and not name.startswith("_"))
        ]

    def _forget(self) -> None:
        """Become unfitted."""
        for name in self._fitted_names():
            delattr(self, name)

    def __getstate__(self):
        return super().__getstate__() | {"_skprop_version": _version()}

    def __setstate__(self, state):
        state = dict(state)
        saved_by = state.pop("_skprop_version", "of unknown version")
        if saved_by != _version():
            warnings.warn(
                f"This {type(self).__name__} was saved by skprop {saved_by} and is loaded by "
                f"{_version()}: what it predicts or how it goes on may differ. Fit it anew, or "
                f"use the version that saved it.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)

    @contextmanager
    def _unchanged_on_error(self):
        """Leave the estimator as it was if what runs inside raises."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__ = before  # a single step, so that a second Ctrl-C cannot halve it
            raise


def _without_objects(y):
    """Numbers that came as objects as float64, so that what is wrong with them is said of y."""
    if isinstance(y, list | np.ndarray):
        try:
            array = np.asarray(y)
            return array.astype(np.float64) if array.dtype == object else y
        except (TypeError, ValueError):
            pass  # the checks to come say why
    return y


def _version() -> str:
    from . import __version__

    return __version__


def r_squared(loss: float, baseline: float) -> float:
    """1 − loss/baseline; where the baseline is already exact, 1 for an exact loss, else 0."""
    return 1 - loss / baseline if baseline > 0 else float(loss == 0)


def _each(callbacks, n_before: int):
    """One callback for several, which counts iterations from ``n_before``."""

    def each_iteration(iteration: OptimizeResult) -> None:
        iteration.nit += n_before
        for callback in callbacks:
            callback(iteration)

    return each_iteration


def _print(label: str, iteration: OptimizeResult) -> None:
    line = f"{label}Iteration {iteration.nit}, loss = {iteration.fun:.8g}"
    if "log_evidence" in iteration:
        line += f", noise = {math.sqrt(iteration.noise_variance):.4g}"
        line += f", gamma = {iteration.n_effective:.1f}"
        line += f", log evidence = {iteration.log_evidence:.2f}"
    if "validation_loss" in iteration:
        line += f", validation loss = {iteration.validation_loss:.8g}"
    print(line)
