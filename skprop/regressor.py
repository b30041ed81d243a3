"""The scikit-learn estimator: its parameters, and every method as a paragraph."""

import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .attributes import attributes
from .callbacks import fit_task
from .compat import CallbackSupportMixin
from .data import Data, held_out_data
from .defaults import settled, told
from .fitting import Fit, Solver, fit_one, fit_side_by_side
from .folds import MISSING, Setup, folds
from .layout import Layout, checked_theta
from .objective import MLPObjective
from .parameters import CONSTRAINTS, by_evidence, check_held_out, check_together, is_incremental
from .predictions import FittedNetworks

__all__ = ["MLPSigmoidRegressor"]


class MLPSigmoidRegressor(
    CallbackSupportMixin, FittedNetworks, MultiOutputMixin, RegressorMixin, BaseEstimator
):
    """Sigmoid networks for regression, with error bars and exact derivatives.

    Without a parameter, `fit` chooses its settings by the size of the data and averages several
    networks (see Notes). ``predict(X, return_std=True)`` gives error bars, `predict_gradient` the
    slopes of the predictions.

    A network takes the features f_0 through K layers, f_i = σ(f_h A_h + b_h) with h = i - 1. The
    last layer is the identity or, if you choose so, σ too. `MLPObjective` states the loss. Features
    and targets are standardised inside, so their units do not change the fit, nor the meaning of
    ``tol``, ``alpha`` and the learning rate.

    Parameters
    ----------
    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Units of each hidden layer; "auto" is (50,), (15, 15) or (50, 50) (see Notes); ``()``
        is no hidden layer, a linear (or logistic) model.
    output_activation : {"identity", "sigmoid"}, default="identity"
        "sigmoid" makes the last layer a sigmoid too: predictions then stay near the range
        of the training targets, which is mapped to [0.1, 0.9] (with ``standardize=False``
        the targets themselves must lie in [0, 1]).
    solver : {"auto", "lbfgs", "lm", "sgd", "adam"} or callable, default="auto"
        "auto" is chosen by the size of the data (see Notes).
        "lbfgs" is a good choice up to some 10⁵ rows. "lm" (Levenberg–Marquardt) gets closer to a
        minimum, for up to some thousand parameters P: it holds two P × P matrices. "adam" and
        "sgd" pass over the rows in mini-batches. A callable gets ``(objective, theta0)``, an
        `MLPObjective` and a starting point, and returns an object whose ``x`` is the θ it found,
        such as a `scipy.optimize.OptimizeResult`.
    alpha : float, sequence of K floats, "evidence", "ard" or "auto", default="auto"
        Strength α of the L2 penalty on the weights (not on the biases), in standardised
        units, as in `Ridge`. A sequence has one α for the weights of each layer.
        "evidence" finds α, and the noise, from the data by MacKay's evidence framework, with
        Levenberg–Marquardt steps: for ``solver="lbfgs"`` (the default) and "lm", without early
        stopping. With P parameters and N = n_samples · n_outputs it takes O(N P min(N, P))
        operations an iteration and four matrices of P × min(N, P) numbers. "ard" finds an α for
        the weights from each feature: automatic relevance determination, for useless features.
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
    tol : float or "auto", default="auto"
        "auto" is 1e-4, and 1e-5 with many rows (see Notes).
        Under "lbfgs" and "lm" the fit ends where no entry of the gradient exceeds ``tol``. Unless
        ``tol`` is below its default, it also ends where going on would probably fit noise: if over
        the last ``n_iter_no_change`` iterations the loss fell by less than a fraction
        3/(n_samples · n_outputs) per iteration. Under "sgd" and "adam" the loss of an epoch has
        improved if it fell by more than ``tol``; with ``early_stopping`` the same holds for the
        validation loss, under every solver.
    verbose : bool or int, default=False
        Print the loss and the time since the run began: 1 or True at iterations 1, 2, …, 9, then
        10, 20, …, 90, then 100, 200, and so on; 2 at every iteration.
    warm_start : bool, default=False
        Whether `fit` continues from the previous fit: "lbfgs" and "lm" from its θ, "sgd" and "adam"
        also with their averages and in their order of rows, as if the two fits had been one.
    momentum : float, default=0.9
        Momentum of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether "sgd" uses Nesterov's form of momentum.
    early_stopping : bool or "auto", default="auto"
        Hold rows out, stop when the loss on them no longer improves, and keep the θ at which it
        was least. For every built-in solver. "auto" is True with many rows (see Notes).
    validation_fraction : float, default=0.1
        Share of the rows to hold out, unless `fit` is given ``X_val``.
    beta_1 : float, default=0.9
        Decay of the average of the gradient in "adam", in [0, 1).
    beta_2 : float, default=0.999
        Decay of the average of the squared gradient in "adam", in [0, 1).
    epsilon : float, default=1e-8
        ε of "adam".
    n_iter_no_change : int, inf or "auto", default="auto"
        Number of iterations or epochs over which progress is judged; "auto" is 25, and 50 with many
        rows (see Notes). With ``inf`` no lack of progress ends a fit.
    max_fun : int, default=15000
        The most evaluations of "lbfgs" and "lm".
    n_members : int or "auto", default="auto"
        Networks fitted from independent starts, side by side; their predictions are averaged.
    initial_spread : float, sequence of floats, None or "auto", default="auto"
        How far the hidden units are from linear at the start: the standard deviation of their
        weighted inputs, for inputs of variance 1, and of their biases. None draws the smaller
        weights that `MLPRegressor` draws. Members take several in turn. "auto" is None, (1, 3)
        under ``alpha="evidence"``, 1 under "ard", and 2 with many rows (see Notes). Raise it where
        a fit learns a linear function only; "evidence" starts again from larger ones there anyway.
    standardize : bool, default=True
        Whether to standardise X and y inside, with the sample weights. A later `fit` standardises
        again; ``warm_start`` and `partial_fit` keep the units of the first call.
    missing_targets : {"error", "ignore"}, default="error"
        Whether a NaN in y is an error, or has weight 0; a row without any target is left out.
    slope_weight : float or "auto", default="auto"
        λ, where slopes ``dydx`` are given to `fit`: the loss gains
        λ Σ_s w_s Σ_k Σ_j (∂f_k/∂x_j − ∂y_k/∂x_j)², in standard units, beside the sum of the squared
        errors of the values. "auto" is 1; under ``alpha="evidence"`` and "ard" the slopes of each
        output then have a noise of their own, so that the data say how much they count. A number
        holds the ratio of the two.

    Attributes
    ----------
    theta_ : ndarray of shape (P,)
        All parameters, {A_0, b_0, …}, in standardised units (the page on the design says how to
        map them to raw ones). With ``n_members > 1`` this and the other arrays of a network have
        the members as first axis; losses are means over the members, ``n_iter_`` is the greatest.
    coefs_ : list of K ndarrays
        The weights A_0, A_1, …: views of ``theta_``. A_h has a row for each unit of layer h and a
        column for each of the next layer; layer 0 is the features.
    intercepts_ : list of K ndarrays of shape (d_i,)
        The biases b_0, b_1, …: views of ``theta_``.
    loss_ : float
        L at ``theta_``, over the rows of the last call.
    loss_curve_ : list of float
        L after each iteration ("lbfgs", "lm"), its running mean over each epoch ("sgd", "adam").
    member_loss_curves_ : list of list of float
        With several members: the curve of each. ``loss_curve_`` is their mean, in which a member
        that has ended keeps its last value.
    best_loss_ : float or None
        The least entry of ``loss_curve_``, or ``loss_`` if that is empty; None with early stopping.
    validation_loss_curve_, validation_scores_ : list of float or None
        With early stopping, after each iteration: ½ of the weighted mean squared error on
        the held-out rows in standardised units, and 1 minus its ratio to that of their mean
        (R², for one output).
    best_validation_score_ : float or None
        The greatest entry of ``validation_scores_``.
    n_iter_ : int
        Iterations or epochs; under the evidence those of all starts of a network. With
        ``warm_start`` and `partial_fit` the count goes on under "sgd" and "adam", and under "lbfgs"
        and "lm" while the problem is the same to the last bit. None if a callable solver does not
        report it.
    n_fev_ : int
        Evaluations of the loss and gradient in the last call; None if the solver does not report
        them.
    t_ : int
        Rows visited, ``n_iter_`` times the number of rows of each call.
    message_ : str
        Why the solver stopped.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if all columns of X have names that are strings.
    n_outputs_ : int
        Number of outputs.
    n_layers_ : int
        K + 1, the input counted as a layer.
    out_activation_ : str
        The activation of the last layer.
    x_scaler_, y_scaler_ : StandardScaler or None
        How X and y were standardised; None with ``standardize=False``.
    settings_ : dict
        The values of the parameters that may be "auto", as the fit worked with them.
    alpha_ : float or ndarray of shape (n_features + K − 1,)
        With ``alpha="evidence"``, the α found; with "ard", the α of each feature, then that of the
        weights of each later layer. With several members, the members are the first axis.
    relevances_ : ndarray of shape (n_features,)
        With ``alpha="ard"``: (1/α_i) / Σ_j (1/α_j), the share of each feature in the prior variance
        of the input of a hidden unit, in the order of ``feature_names_in_``; the mean over members.
        It is nearly 0 for a useless feature, and less for a linear effect than for a curved one.
    noise_variance_ : float or ndarray of shape (n_outputs,)
        Variance σ² of the noise of a row of weight 1, in the units of y squared; a float where y
        was one-dimensional. It exists wherever ``predict(X, return_std=True)`` works.
    slope_noise_variance_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Variance of the noise of the slopes, in the units of ``dydx`` squared, if `fit` was given
        ``dydx``.
    effective_n_parameters_ : float
        γ, the number of parameters that the data determine. This and ``log_evidence_`` exist where
        there is a posterior, hence not in a default fit on many rows.
    log_evidence_ : float
        Log marginal likelihood of the standardised targets, in the Gaussian approximation around
        ``theta_``; -inf where a layer has α = 0. It compares fits to the same data.

    Notes
    -----
    `fit` replaces "auto" by values that depend on the numbers of rows, features and outputs;
    ``settings_`` has them. With N = n_samples · n_outputs and P parameters of one hidden layer of
    50 units, or of the ``hidden_layer_sizes`` given:

    - few rows, N P min(N, P) ≤ 2·10⁹ (8,000 rows of 8 features): ``alpha="evidence"`` and five
      members; with more than 1,000 of them, ``hidden_layer_sizes=(15, 15)``;
    - more rows: "adam" with early stopping, ``hidden_layer_sizes=(50, 50)``, ``alpha=1e-4``,
      ``tol=1e-5``, ``n_iter_no_change=50``, ``initial_spread=2`` and eight members;
    - if you give a ``solver``, an ``alpha`` or ``warm_start``, and in `partial_fit` and
      `make_objective`: one network of 50 units, "lbfgs", ``alpha=1e-4``, no early stopping. The
      same if you give an ``early_stopping`` that differs from that above.

    A fit uses as many threads as BLAS would. `threadpool_limits`, ``OPENBLAS_NUM_THREADS`` and
    joblib's limits apply. Meanwhile BLAS is held to one thread, in the whole process. The result
    is the same to the last bit on any number of threads.

    Ctrl-C ends the run of a built-in solver: the estimator keeps the best θ so far, with the
    ``n_iter_``, ``loss_`` and curves that belong to it, and warns (`ConvergenceWarning`). Inside
    `GridSearchCV` it ends one candidate. Before the first evaluation, and at a second Ctrl-C, a
    KeyboardInterrupt is raised and the previous fit stays. `partial_fit` completes its pass or
    leaves no trace of it.

    From scikit-learn 1.9 on, ``set_callbacks`` takes its callbacks, such as
    `sklearn.callback.ProgressBar` and `sklearn.callback.ScoringMonitor`. `fit` is a task, and every
    iteration or epoch of a built-in solver is a task below it, also in a `Pipeline` or a search. In
    a committee every member is a task with its iterations below it. One hook is called at a time.
    It gets X and y as they were given to `fit` and, at the end of an iteration, the network. A hook
    that returns True ends the run of that network with what it has so far.

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
    _doc_link_template = "https://skprop.readthedocs.io/en/stable/api/{estimator_name}.html"
    _parameter_constraints: ClassVar[dict[str, list]] = CONSTRAINTS

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | Literal["auto"] = "auto",
        *,
        output_activation: str = "identity",
        solver: str | Callable = "auto",
        alpha: float | Sequence[float] | NDArray | Literal["auto", "evidence", "ard"] = "auto",
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.01,
        power_t: float = 0.5,
        max_iter: int = 1000,
        shuffle: bool = True,
        random_state=None,
        tol: float | Literal["auto"] = "auto",
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float | Literal["auto"] = "auto",
        max_fun: int = 15000,
        n_members: int | Literal["auto"] = "auto",
        initial_spread: float | Sequence[float] | Literal["auto"] | None = "auto",
        standardize: bool = True,
        missing_targets: str = "error",
        slope_weight: float | Literal["auto"] = "auto",
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
        self.initial_spread = initial_spread
        self.standardize = standardize
        self.missing_targets = missing_targets
        self.slope_weight = slope_weight

    # ---- fitting -----------------------------------------------------------------------

    def fit(
        self,
        X,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val=None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        dydx: ArrayLike | None = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 is computed in float32, all else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Weight of each row, or of each target. Weight 2 counts as the row (the target) twice;
            rows of weight 0 are left out.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), optional
            Rows to watch with ``early_stopping=True``, instead of a part of X.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight_val : array-like of shape (n_val,) or (n_val, n_outputs), optional
            Their weights.
        dydx : array-like, optional
            Slopes ∂y/∂x of the targets, to be learnt with them: of shape (n_samples, n_outputs,
            n_features) or, for one output, (n_samples, n_features), in units of y per unit of x;
            NaN where a slope is not known. X must be dense. Held-out rows are judged by values.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data, weights or parameters are invalid or do not go together. After any exception
            the estimator is as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If the solver stopped before it was done; the message names the remedy.
        """
        held_out = X_val, y_val, sample_weight_val
        with self._unchanged_on_error():
            self._validate_params()
            earlier = self._earlier() if self.warm_start else None
            settings, *data = self._settled(earlier, X, y, sample_weight, dydx, held_out)
            with fit_task(self, settings.n_members, X, y, sample_weight) as report_of:
                setup, fold_of = folds(settings, *data, earlier)
                forgotten = attributes([]) if earlier is None else {}
                self._set(forgotten | setup.attributes() | {"settings_": told(settings)})
                del data  # the rows as they were given are let go before a solver runs
                fits = fit_side_by_side(fold_of, settings.n_members, Solver.of(settings), report_of)
                self._adopt(fits)
        return self

    @available_if(is_incremental)
    def partial_fit(
        self,
        X,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        dydx: ArrayLike | None = None,
    ) -> Self:
        """Make one pass over X and y, in mini-batches, from where the last call stopped.

        Offered for ``solver="sgd"`` and ``"adam"`` without early stopping. The first call
        draws the network and fixes the standard units from the rows it is given, so give it
        enough to be typical. Each call continues exactly where the last one stopped, also
        after pickling.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        dydx : array-like, optional
            Slopes, as in `fit`.

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
            self._validate_params()
            settings, *data = self._settled(
                self._earlier(), X, y, sample_weight, dydx, one_network=True
            )
            setup, fold_of = folds(settings, *data, self._earlier())
            self._set(setup.attributes() | {"settings_": told(settings)})
            self._adopt([fit_one(fold_of(0), Solver.of(settings, one_epoch=True))])
        return self

    def make_objective(
        self,
        X,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        dydx: ArrayLike | None = None,
    ) -> tuple[MLPObjective, NDArray]:
        """The function that `fit` would minimise, and where it would start.

        Minimise it with anything and hand the result to `set_theta`. An existing fit is
        left as it is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        dydx : array-like, optional
            Slopes, as in `fit`.

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
        self._validate_params()
        settings = settled(self)
        if settings.early_stopping:
            raise ValueError(
                "make_objective with early_stopping=True: early stopping belongs to the built-in "
                "solvers. Set early_stopping=False, and hold rows out yourself."
            )
        if by_evidence(settings):
            raise ValueError(
                f"make_objective with alpha={self.alpha!r}, under which the penalty changes as the "
                "fit goes on. Give alpha a number, or the alpha_ of a fit."
            )
        earlier = self._earlier() if self.warm_start else None
        _, *data = self._settled(earlier, X, y, sample_weight, dydx, one_network=True)
        setup, fold_of = folds(settings, *data, earlier)
        prepared = (setup.attributes() | {"settings_": told(settings)}).items()
        self._prepared = {name: value for name, value in prepared if value is not MISSING}
        fold = fold_of(0)
        return fold.objective, fold.theta0.copy()

    def set_theta(self, theta: ArrayLike) -> Self:
        """Take over a parameter vector, found with `make_objective` or elsewhere.

        After `make_objective` this makes the estimator a fitted one, in the units prepared
        there. On a fitted estimator it replaces θ, and removes the attributes that describe the fit
        of the old θ (``loss_``, ``loss_curve_``, ``n_iter_``, …).

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
        prepared = getattr(self, "_prepared", None)
        if prepared is None:
            check_is_fitted(self, "theta_")
            settings = getattr(self, "settings_", None) or told(settled(self))
            prepared = Setup.of(self).attributes() | {"settings_": settings}
        layout, dtype = Layout(prepared["_sizes"]), prepared["_dtype"]
        n_members = prepared["settings_"]["n_members"]
        if n_members > 1 and np.ndim(theta) == 2 and len(theta) == n_members:
            theta = np.array([checked_theta(row, layout, dtype) for row in theta])
        else:
            theta = checked_theta(theta, layout, dtype).copy()
        message = "theta was given to set_theta."
        with self._unchanged_on_error():
            self._set(attributes([]) | {"feature_names_in_": MISSING} | prepared)
            self._set({"theta_": theta, "message_": message})
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- the steps of a fit --------------------------------------------------------------

    def _earlier(self) -> tuple[Setup, Fit] | None:
        """The setup and the fit that a warm start or `partial_fit` continues."""
        return (Setup.of(self), Fit.of(self)) if hasattr(self, "theta_") else None

    def _settled(
        self,
        earlier,
        X,
        y,
        sample_weight,
        dydx=None,
        held_out=(None, None, None),
        one_network=False,
    ) -> tuple[SimpleNamespace, Data, Data | None]:
        """Validate data, and settle the parameters by them; nothing is stored."""
        watched = held_out[0] is not None
        check_together(settled(self, watched=watched))
        expected = None if earlier is None else earlier[0].expected
        data = self._training_data(X, y, sample_weight, expected, dydx)
        shape = None if one_network else data.rows.shape
        settings = settled(
            self, shape, data.y.shape[1], watched=watched, with_slopes=dydx is not None
        )
        check_together(settings)
        check_held_out(settings, *held_out)
        if watched:
            watched = self._held_out_data(data, *held_out, expected or data.expected)
        return settings, data, watched or None

    def _held_out_data(self, data: Data, X, y, sample_weight, expected) -> Data:
        """The rows to watch; see `held_out_data`."""
        return held_out_data(self, data, X, y, sample_weight, expected)

    def _adopt(self, fits: Sequence[Fit]) -> None:
        """Warn of what went wrong in the fits, and write their attributes."""
        for message in sorted({fit.warning for fit in fits if fit.warning}):
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        self._set(attributes(fits, Setup.of(self), self._slope_factor()))
