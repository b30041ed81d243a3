"""The training objective: θ → loss and gradient, for any optimiser of a flat vector."""

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from . import curvature
from .checks import FLOATS, checked_alphas, checked_rows, checked_weights
from .factors import OutputModels, Root, is_thin, plus_diagonal
from .layout import Layout, Params, checked_theta, hidden_sizes
from .network import Network
from .rows import Rows, checked_row_numbers
from .squared_error import SquaredError
from .threads import ALONE, guarded, ignoring_overflow, single_threaded_blas
from .workspace import check_memory

__all__ = ["MLPObjective"]

_LN_2 = math.log(2)
_FEWER_UNITS = "Use fewer units, or a solver without matrices, as L-BFGS is."


class MLPObjective:
    r"""Loss and gradient of a sigmoid network as functions of its flat parameter vector.

    With f_0 = x, z_i = f_{i-1} A_{i-1} + b_{i-1}, f_i = σ(z_i) for i = 1, …, K (the last
    layer the identity, or σ too) and W = Σ_s w_s, the loss is::

        L(θ) = 1/(2 W) · [ Σ_s w_s ‖f_K(x_s; θ) − y_s‖²  +  α Σ_i ‖A_i‖_F² ]

    summed over outputs; biases are not penalised; w = 1 without sample weights. A weight w_sk for
    every target makes the sum Σ_s Σ_k w_sk (f_K(x_s; θ) − y_s)_k², and W = Σ_s Σ_k w_sk/d_K. With
    δ_i = ∂L/∂z_i the gradient is::

        δ_K     = w (f_K − y) / W                       (∘ f_K ∘ (1 − f_K) for a sigmoid output)
        δ_{i-1} = (δ_i A_{i-1}ᵀ) ∘ f_{i-1} ∘ (1 − f_{i-1})
        ∂L/∂A_{i-1} = f_{i-1}ᵀ δ_i + (α/W) A_{i-1},     ∂L/∂b_{i-1} = 1ᵀ δ_i

    On a subset B of n_B of the n rows it is the unbiased estimate::

        L_B(θ) = n/(2 n_B W) Σ_{s∈B} w_s ‖f_K − y_s‖² + α/(2W) Σ_i ‖A_i‖_F²

    whose mean over a partition of the rows, weighted by n_B, is L.

    Parameters
    ----------
    X : {array-like, CSR matrix} of shape (n_samples, n_features)
        Used as they are: standardise first, or let `MLPSigmoidRegressor.make_objective` do it.
        Dense rows are copied, once. float32 makes everything float32; any other dtype is computed
        in float64.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets, in the units of the loss.
    hidden_layer_sizes : int or sequence of int
        The widths d_1, …, d_{K-1}; ``()`` is a single (linear or logistic) layer.
    output_activation : {"identity", "sigmoid"}, default="identity"
        The activation of the last layer.
    alpha : float or sequence of K floats, default=0.0
        The L2 penalty α, as in `Ridge`; or one for each A_i, α_i ‖A_i‖² in the sum.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        w, non-negative and not all zero; one for each row, or one for each target.

    Attributes
    ----------
    n_params : int
        P, the length of θ.
    n_samples : int
        n, the number of rows.
    total_weight : float
        W, the sum of the weights of the rows.
    output_weights : ndarray of shape (n_outputs,)
        The sum of the weights of the targets of each output.
    n_observations : int
        The number of targets of positive weight.
    layout : Layout
        Where the A_i and b_i lie in θ.
    dtype : numpy.dtype
        float32 or float64: of the arithmetic, the gradient and the predictions.

    Raises
    ------
    ValueError
        If data, sizes, weights or θ are invalid; the message names the argument and its value.

    Notes
    -----
    ``objective(theta)`` is what ``scipy.optimize.minimize(…, jac=True)`` needs. Returned arrays are
    new, and in the precision of the objective unless a method says otherwise. One objective may be
    evaluated from several threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import minimize
    >>> from skprop import MLPObjective
    >>> x = np.linspace(-1, 1, 50)
    >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=(5,))
    >>> theta0 = objective.initial_theta(random_state=0)
    >>> loss, gradient = objective(theta0)
    >>> gradient.shape
    (16,)
    >>> result = minimize(objective, theta0, jac=True, method="L-BFGS-B")
    >>> bool(result.fun < 1e-3 * loss)
    True
    """

    n_samples: int
    n_params: int

    @ignoring_overflow()
    def __init__(
        self,
        X,
        y: ArrayLike,
        *,
        hidden_layer_sizes: int | Sequence[int],
        output_activation: str = "identity",
        alpha: float | Sequence[float] = 0.0,
        sample_weight: ArrayLike | None = None,
    ):
        if not isinstance(X, Rows):
            X = Rows(check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X"))
            X = X.in_memory()
        y = check_array(y, dtype=X.dtype, ensure_2d=False, order="C", copy=True, input_name="y")
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1)
        if len(y) != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows, y has {len(y)}.")
        if output_activation not in ("identity", "sigmoid"):
            raise ValueError(
                f"output_activation={output_activation!r}; it is 'identity' or 'sigmoid'."
            )

        self.n_samples, n_features = X.shape
        self.dtype = X.dtype
        self.layout = Layout((n_features, *hidden_sizes(hidden_layer_sizes), y.shape[1]))
        self.n_params = self.layout.n_params
        alphas = checked_alphas(alpha, self.layout.n_layers)
        self.alpha = float(alpha) if isinstance(alpha, Real) else alphas
        self.output_activation = output_activation
        self.n_observations, self._log_weights = y.size, 0.0  # of targets of positive weight
        self._total_weight, exponent, weights = float(self.n_samples), 0, None
        if sample_weight is not None:
            w = checked_weights(sample_weight, self.n_samples, y.shape[1])
            exponent = math.frexp(w.max())[1] - 1
            w = np.ldexp(w, -exponent).reshape(len(w), -1)  # at most 2, so that float32 holds it
            self._total_weight = float(w.mean(axis=1).sum())
            of_targets = np.broadcast_to(w, y.shape)[np.broadcast_to(w > 0, y.shape)]
            self.n_observations = of_targets.size
            self._log_weights = float(np.log(of_targets).sum()) + of_targets.size * exponent * _LN_2
            weights = w.astype(self.dtype)
        self._error = SquaredError(X, y, weights, self.layout, output_activation)
        with np.errstate(over="ignore", under="ignore"):
            self.total_weight = float(np.ldexp(self._total_weight, exponent))  # W
            if weights is None or weights.shape[1] == 1:
                self.output_weights = np.full(y.shape[1], self.total_weight)
            else:
                self.output_weights = np.ldexp(w.sum(axis=0), exponent)
            penalties = np.ldexp(alphas / self._total_weight, -exponent)  # α/W
        self._penalty = None
        if penalties.any():
            self._penalty = np.zeros(self.n_params)
            for (A, _), penalty in zip(self.layout.views(self._penalty), penalties, strict=True):
                A[...] = penalty
        # the indices in θ of the entries of each A_i with α_i > 0
        self._penalised = np.flatnonzero(() if self._penalty is None else self._penalty)

    def __call__(self, theta: ArrayLike, rows=None) -> tuple[float, NDArray]:
        """Loss and gradient at θ.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_params,)

        Raises
        ------
        ValueError
            If θ has the wrong length or an entry that is NaN or infinite, or ``rows`` is empty or
            neither a slice, an array of row numbers nor a mask of length n_samples.
        IndexError
            If a row number is out of range.
        """
        return self._evaluate(theta, rows, with_gradient=True)

    def loss(self, theta: ArrayLike, rows=None) -> float:
        """The loss alone, without the backward pass (see `__call__`)."""
        return self._evaluate(theta, rows, with_gradient=False)[0]

    def gradient(self, theta: ArrayLike, rows=None) -> NDArray:
        """The gradient alone (see `__call__`)."""
        return self(theta, rows)[1]

    def log_posterior(self, theta: ArrayLike, noise_variance: float) -> tuple[float, NDArray]:
        """ln p(y | θ) + ln p(θ) and its gradient, for samplers and other tools that need its scale.

        With the noise of a target of weight w N(0, σ²/w), the prior of a weight N(0, σ²/α) and that
        of a bias or of a weight with α = 0 flat, it is::

            −(W/σ²) L(θ) − ½ (N + n) ln 2πσ² + ½ Σ ln α + ½ Σ ln w

        N is the number of targets of positive weight, over which ln w is summed, and n the number
        of weights with α > 0, over which ln α is. Without the evidence of the data, which does not
        depend on θ, it is not normalised.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        noise_variance : float
            σ², positive, in the units of the targets of this objective, squared. For outputs with
            noises of their own give the objective ``sample_weight`` 1/σ_k², and 1 here.

        Returns
        -------
        value : float
        gradient : ndarray of shape (n_params,)

        Raises
        ------
        ValueError
            As in `__call__`, and if σ² is not a positive number.

        References
        ----------
        D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
        Computation 4 (1992), 448-472, section 2.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPObjective
        >>> x = np.linspace(-1, 1, 50)
        >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5, alpha=0.01)
        >>> value, gradient = objective.log_posterior(objective.initial_theta(0), 0.1)
        >>> gradient.shape
        (16,)
        """
        if not 0 < noise_variance < math.inf:
            raise ValueError(f"noise_variance={noise_variance!r}; it is a positive number.")
        loss, gradient = self(theta)
        scale = -self.total_weight / noise_variance
        n = self.n_observations + len(self._penalised)
        alphas = self._penalty[self._penalised] * self.total_weight if self._penalised.size else ()
        constant = 0.5 * (float(np.sum(np.log(alphas))) + self._log_weights)
        constant -= 0.5 * n * math.log(2 * math.pi * noise_variance)
        return scale * loss + constant, scale * gradient

    @ignoring_overflow()
    def loss_of_mean(self, by_output: bool = False) -> float | NDArray:
        """The data loss of predicting the weighted mean of the targets, as a baseline.

        Parameters
        ----------
        by_output : bool, default=False
            Whether to return the share of each output in it, of shape (n_outputs,).
        """
        y, w = self._error.y.astype(np.float64), self._error.weights
        w = np.ones((1, 1)) if w is None else w.astype(np.float64)
        w = np.broadcast_to(w, y.shape)
        totals = w.sum(axis=0)
        mean = (w * y).sum(axis=0) / np.where(totals > 0, totals, 1.0)
        squares = np.ascontiguousarray((w * (y - mean) ** 2).T)
        shares = 0.5 * squares.sum(axis=1) / w.mean(axis=1).sum()
        return shares if by_output else float(shares.sum())

    @ignoring_overflow()
    def _evaluate(self, theta, rows, with_gradient) -> tuple[float, NDArray | None]:
        rows, n_rows = checked_row_numbers(rows, self.n_samples)
        with ALONE if n_rows <= self._error.small_rows else single_threaded_blas():
            theta = checked_theta(theta, self.layout, self.dtype)
            loss, gradient = self._error.sums(theta, rows, n_rows, with_gradient)
            scale = _scale(self, n_rows)
            loss *= 0.5 * scale
            if with_gradient:
                gradient *= scale
            if self._penalty is not None:
                shrinkage = self._penalty * theta  # (α/W) A_i, and 0 for b_i
                loss += 0.5 * float(shrinkage.dot(theta))
                if with_gradient:
                    gradient += shrinkage
            if with_gradient:
                gradient = gradient.astype(self.dtype, copy=False)
        return loss, gradient

    def terms(self, n_rows: int) -> tuple[SquaredError, float, NDArray | None]:
        """The sum of squares, its factor on n_B rows, and α/W of each parameter, None for 0."""
        return self._error, _scale(self, n_rows), self._penalty

    def _checked(self, theta, rows) -> tuple:
        theta = checked_theta(theta, self.layout, self.dtype)
        return theta, *checked_row_numbers(rows, self.n_samples)

    @ignoring_overflow()
    def hessp(self, theta: ArrayLike, v: ArrayLike, rows=None) -> NDArray:
        """The product H v of the Hessian H of L at θ with a vector: exact, and H is not formed.

        Parameters
        ----------
        theta, rows
            As in `__call__`.
        v : array-like of shape (n_params,)
            The vector, of finite numbers.

        Returns
        -------
        ndarray of shape (n_params,)

        Raises
        ------
        ValueError, IndexError
            As in `__call__`.

        References
        ----------
        B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994),
        147-160, section 4.1.

        Examples
        --------
        >>> import numpy as np
        >>> from scipy.optimize import minimize
        >>> from skprop import MLPObjective
        >>> x = np.linspace(-1, 1, 50)
        >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5, alpha=0.01)
        >>> result = minimize(
        ...     objective, objective.initial_theta(0), jac=True, hessp=objective.hessp,
        ...     method="trust-krylov", options={"gtol": 1e-6},
        ... )
        >>> bool(np.abs(objective.gradient(result.x)).max() < 1e-6)
        True
        """
        theta, rows, n_rows = self._checked(theta, rows)
        v = checked_theta(v, self.layout, self.dtype, name="v")
        with ALONE if 2 * n_rows <= self._error.small_rows else single_threaded_blas():
            product = curvature.hessian_product(self._error, theta, v, rows, n_rows)
        product *= _scale(self, n_rows)
        if self._penalty is not None:
            product += self._penalty * v
        return product.astype(self.dtype, copy=False)

    @guarded
    def hessian(self, theta: ArrayLike, rows=None) -> NDArray:
        """The Hessian of L at θ, dense: P products like `hessp`, with one forward pass for all.

        Parameters
        ----------
        theta, rows
            As in `__call__`.

        Returns
        -------
        ndarray of shape (n_params, n_params)
            Symmetric.

        Raises
        ------
        ValueError, IndexError
            As in `__call__`; also where the matrix does not fit the memory of this machine.
        """
        theta, rows, n_rows = self._checked(theta, rows)
        _check_square(self.n_params, "The Hessian", "Use hessp, which needs no matrix.")
        H = curvature.hessian(self._error, theta, rows, n_rows)
        H *= 0.5 * _scale(self, n_rows)
        H = H + H.T  # the mean of H and Hᵀ: they differ by rounding
        if self._penalty is not None:
            H[np.diag_indices_from(H)] += self._penalty
        return H.astype(self.dtype, copy=False)

    @guarded
    def residuals(self, theta: ArrayLike, rows=None) -> NDArray:
        """The vector r whose ½ ‖r‖² is L(θ), for `scipy.optimize.least_squares`.

        Parameters
        ----------
        theta, rows
            As in `__call__`.

        Returns
        -------
        ndarray of shape (n_B · n_outputs,), and with α > 0 as many more as there are weights
            √(n w/(n_B W)) (f_K − y) row by row, which is √(w/W) (f_K − y) on all rows; then
            √(α/W) A_i, in the order of θ.

        Raises
        ------
        ValueError, IndexError
            As in `__call__`.

        Examples
        --------
        >>> import numpy as np
        >>> from scipy.optimize import least_squares
        >>> from skprop import MLPObjective
        >>> x = np.linspace(-1, 1, 50)
        >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5, alpha=0.01)
        >>> theta0 = objective.initial_theta(0)
        >>> result = least_squares(objective.residuals, theta0, jac=objective.jacobian)
        >>> bool(np.isclose(result.cost, objective.loss(result.x), rtol=1e-14))
        True
        """
        theta, rows, n_rows = self._checked(theta, rows)
        d_K, penalised = self.layout.sizes[-1], self._penalised
        r = np.empty(n_rows * d_K + len(penalised), self.dtype)
        data = r[: n_rows * d_K].reshape(n_rows, d_K)
        curvature.residuals(self._error, theta, rows, n_rows, _scale(self, n_rows), out=data)
        if len(penalised):
            r[n_rows * d_K :] = np.sqrt(self._penalty[penalised]) * theta[penalised]  # √(α/W) A
        return r

    @guarded
    def jacobian(self, theta: ArrayLike, rows=None) -> NDArray:
        """J = ∂r/∂θ, the Jacobian of `residuals`, so that Jᵀ r is the gradient of L.

        Parameters
        ----------
        theta, rows
            As in `__call__`.

        Returns
        -------
        ndarray of shape (len(residuals), n_params), in Fortran order

        Raises
        ------
        ValueError, IndexError
            As in `__call__`; also where the matrix does not fit the memory of this machine.
        """
        theta, rows, n_rows = self._checked(theta, rows)
        P, d_K, penalised = self.n_params, self.layout.sizes[-1], self._penalised
        N = n_rows * d_K + len(penalised)
        check_memory(
            N * P * self.dtype.itemsize,
            f"The Jacobian, of {N} residuals by n_params={P},",
            "Use gauss_newton, which goes through it block by block, or fewer rows.",
        )
        Jt = np.zeros((P, N), self.dtype)
        data = np.moveaxis(Jt[:, : n_rows * d_K].reshape(P, n_rows, d_K), 2, 0)
        curvature.jacobian(self._error, theta, rows, n_rows, _scale(self, n_rows), out=data)
        if len(penalised):
            Jt[penalised, np.arange(n_rows * d_K, N)] = np.sqrt(self._penalty[penalised])
        return Jt.T

    @guarded
    def gauss_newton(self, theta: ArrayLike, rows=None) -> NDArray:
        """JᵀJ, the Gauss–Newton matrix, summed block by block: J is not formed.

        It is the Hessian of L without the second derivatives of the network, positive
        semidefinite, and near a good fit close to the Hessian.

        Parameters
        ----------
        theta, rows
            As in `__call__`.

        Returns
        -------
        ndarray of shape (n_params, n_params)
            Symmetric.

        Raises
        ------
        ValueError, IndexError
            As in `__call__`; also where the matrix does not fit the memory of this machine.
        """
        return self.normal_equations(theta, rows)[2].astype(self.dtype, copy=False)

    @guarded
    def normal_equations(self, theta: ArrayLike, rows=None) -> tuple[float, NDArray, NDArray]:
        """½ ‖r‖², Jᵀ r and JᵀJ in one pass: the loss, its gradient and `gauss_newton`.

        Parameters
        ----------
        theta, rows
            As in `__call__`.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_params,)
        gauss_newton : ndarray of shape (n_params, n_params)
            The arrays are in float64.

        Raises
        ------
        ValueError, IndexError
            As in `__call__`; also where the matrix does not fit the memory of this machine.
        """
        theta, rows, n_rows = self._checked(theta, rows)
        _check_square(self.n_params, "JᵀJ", _FEWER_UNITS)
        model = curvature.normal_equations(self._error, theta, rows, n_rows, _scale(self, n_rows))
        return self._penalised_model(theta, model)

    @guarded
    def linear_model(self, theta: ArrayLike) -> tuple[float, NDArray, NDArray | Root]:
        """`normal_equations`, with JᵀJ as a `Root` where N × N matrices take less time than P × P.

        Parameters
        ----------
        theta
            As in `__call__`.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_params,)
        gauss_newton : ndarray of shape (n_params, n_params) or Root
            What `skprop.factors.factorised` takes; a `Root` where N = n_samples · n_outputs is
            less than n_params / 2 and n_params is at least 100.

        Raises
        ------
        ValueError
            As in `normal_equations`.
        """
        N, P = self.n_samples * self.layout.sizes[-1], self.n_params
        if not is_thin(N, P):
            return self.normal_equations(theta)
        return self._penalised_model(theta, self.output_models(theta))

    @guarded
    def output_models(self, theta: ArrayLike) -> OutputModels:
        """The share of each output in `linear_model`, without the penalty, on all rows.

        Parameters
        ----------
        theta
            As in `__call__`.

        Returns
        -------
        OutputModels

        Raises
        ------
        ValueError
            As in `normal_equations`.
        """
        theta, rows, n_rows = self._checked(theta, None)
        N, P, c = n_rows * self.layout.sizes[-1], self.n_params, _scale(self, n_rows)
        if is_thin(N, P):
            what = f"J, of {N} residuals by n_params={P}, held twice,"
            check_memory(16 * N * P, what, _FEWER_UNITS)
            return curvature.thin_model(self._error, theta, c)
        _check_square(P, "JᵀJ", _FEWER_UNITS)
        return curvature.normal_equations(self._error, theta, rows, n_rows, c)

    def _penalised_model(self, theta, model: OutputModels) -> tuple:
        """½ ‖r‖², Jᵀ r and JᵀJ over the outputs, with the penalty's share of each."""
        loss, gradient, M = model.sum(np.ones(len(model.losses)))
        if self._penalty is None:
            return loss, gradient, M
        shrinkage = self._penalty * theta
        loss += 0.5 * float(np.dot(shrinkage, theta))
        return loss, gradient + shrinkage, plus_diagonal(M, self._penalty)

    def input_gradient(self, theta: ArrayLike, X) -> NDArray:
        """∂f_K/∂x for each row of X, in the units of X and of the targets of this objective.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        X : {array-like, CSR matrix} of shape (m, n_features)

        Returns
        -------
        ndarray of shape (m, n_features) or (m, n_outputs, n_features), as y was given

        Raises
        ------
        ValueError
            If θ or X is invalid, or the result does not fit the memory of this machine.
        """
        g = self._network(theta).input_gradient(checked_rows(X, self._error.X))
        return g[:, 0] if self._single_output else g

    def _network(self, theta: ArrayLike) -> Network:
        theta = checked_theta(theta, self.layout, self.dtype)
        return Network(self.layout, theta, self.output_activation)

    def initial_theta(self, random_state=None) -> NDArray:
        """Draw a starting point, as `MLPRegressor(activation="logistic")` does.

        Weights and biases of layer i are uniform in ±√(2/(d_{i-1} + d_i)) (Glorot and Bengio 2010).

        Parameters
        ----------
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_params,)
        """
        return self.layout.initial_theta(random_state, self.dtype)

    def unpack(self, theta: ArrayLike) -> Params:
        """View θ as [(A_0, b_0), …, (A_{K-1}, b_{K-1})], A_{i-1} of shape (d_{i-1}, d_i)."""
        return self.layout.views(checked_theta(theta, self.layout, self.dtype))

    def pack(self, params: Sequence[tuple[ArrayLike, ArrayLike]]) -> NDArray:
        """Concatenate [(A_0, b_0), …, (A_{K-1}, b_{K-1})] into a new θ."""
        return self.layout.pack(params).astype(self.dtype, copy=False)

    def predict(self, theta: ArrayLike, X) -> NDArray:
        """f_K(θ, x) for each row of X, in the units of the targets of this objective.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        X : {array-like, CSR matrix} of shape (m, n_features)

        Returns
        -------
        ndarray of shape (m,) or (m, n_outputs), as y was given
        """
        y = self._network(theta).outputs(checked_rows(X, self._error.X))
        return y[:, 0] if self._single_output else y

    def explain_overflow(self, theta: NDArray) -> str:
        """The reason why the loss is not finite at θ: the column or parameter that is too large."""
        theta = np.asarray(theta)
        if self._penalty is not None:
            with ignoring_overflow():
                penalty = float(np.dot(self._penalty * theta, theta))
            if not math.isfinite(penalty):
                return f"alpha={self.alpha:g} is too large for the sum of the sample weights."
        name, j, largest = self._error.largest()
        if name == "X" and np.abs(theta).max() > largest:
            return f"theta has entries up to {np.abs(theta).max():.3g}."
        return (
            f"column {j} of {name} reaches {largest:.3g} in the units the network works in, "
            f"which overflows {self.dtype}. Rescale it."
        )


def _scale(objective: MLPObjective, n_rows: int) -> float:
    """The factor n/(n_B W) of a sum over n_B rows."""
    return objective.n_samples / (n_rows * objective._total_weight)


def _check_square(P: int, what: str, remedy: str) -> None:
    check_memory(16 * P * P, f"{what}, of n_params={P} rows and columns, held twice,", remedy)
