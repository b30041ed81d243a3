"""θ → loss, gradient and second-order products: sums over the data, a penalty, all constants."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .checks import checked_alphas
from .data_loss import DataLoss
from .factors import OutputModels, Root, is_thin, plus_diagonal
from .layout import Layout, Params, checked_theta, nearest
from .rows import checked_row_numbers
from .threads import ALONE, guarded, ignoring_overflow, single_threaded_blas
from .workspace import check_memory

__all__ = ["FlatObjective", "WeightSums"]

_FEWER_UNITS = "Use fewer units, or a solver without matrices, as L-BFGS is."


class WeightSums(NamedTuple):
    """Sums over the weights of the data.

    The `DataLoss` has the weights divided by 2^``exponent``, so that float32 holds them.
    """

    total: float  # of the rows, divided so
    exponent: int
    of_outputs: NDArray  # of the targets of each output
    n_observations: int  # targets of positive weight
    logarithms: float  # the sum of their ln w

    def merged(self, other: Self) -> Self:
        """The sums over both."""
        exponent = max(self.exponent, other.exponent)
        totals = (math.ldexp(each.total, each.exponent - exponent) for each in (self, other))
        return WeightSums(
            sum(totals),
            exponent,
            self.of_outputs + other.of_outputs,
            self.n_observations + other.n_observations,
            self.logarithms + other.logarithms,
        )


class FlatObjective:
    """Loss and gradient of a network as functions of its flat parameter vector.

    The formulas are those of `MLPObjective`, with a sum over the data from anywhere.

    Parameters
    ----------
    data : DataLoss
        Or anything with its methods.
    layout : Layout
    dtype : dtype
        Of the arithmetic.
    n_samples : int
    weights : WeightSums
    alpha : float or sequence of K floats
    """

    @ignoring_overflow()
    def __init__(
        self, data: DataLoss, layout: Layout, dtype: DTypeLike, n_samples: int,
        weights: WeightSums, alpha: float | Sequence[float] = 0.0,
    ):  # fmt: skip
        self._data, self.layout, self.dtype = data, layout, np.dtype(dtype)
        self.n_samples, self.n_params = n_samples, layout.n_params
        alphas = checked_alphas(alpha, layout.n_layers)
        self.alpha = float(alpha) if isinstance(alpha, Real) else alphas
        self.output_weights, self.n_observations = weights.of_outputs, weights.n_observations
        self.weight_sums, self._total_weight = weights, weights.total
        self._log_weights = weights.logarithms
        with np.errstate(over="ignore", under="ignore"):
            self.total_weight = float(np.ldexp(weights.total, weights.exponent))  # W
            penalties = np.ldexp(alphas / weights.total, -weights.exponent)  # α/W
        self._penalty = None
        if penalties.any():
            self._penalty = np.zeros(self.n_params)
            for (A, _), penalty in zip(layout.views(self._penalty), penalties, strict=True):
                A[...] = penalty
        # the indices in θ of the entries of each A_i with α_i > 0
        self._penalised = np.flatnonzero(() if self._penalty is None else self._penalty)

    @property
    def n_residuals(self) -> int:
        """The number of errors of values and of slopes in the loss of all rows."""
        return self._data.n_residuals(self.n_samples)

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
            In float32 it is infinite if a finite entry of θ is beyond the range of float32.
        gradient : ndarray of shape (n_params,)
            Computed in the precision of the objective; in float64 if θ is.

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
        """ln p(y | θ) + ln p(θ) and its gradient, for samplers and tools that need the constants.

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

    def loss_of_mean(self, by_output: bool = False) -> float | NDArray:
        """The data loss of predicting the weighted mean of the targets, as a baseline.

        Parameters
        ----------
        by_output : bool, default=False
            Whether to return the share of each output in it, of shape (n_outputs,); with slopes, a
            mean of 0 is predicted for them, and their shares follow, output by output.
        """
        shares = self._data.losses_of_mean() / self._total_weight
        return shares if by_output else float(shares.sum())

    @ignoring_overflow()
    def _evaluate(self, theta, rows, with_gradient) -> tuple[float, NDArray | None]:
        rows, n_rows = checked_row_numbers(rows, self.n_samples)
        given, is_beyond = nearest(theta, self.dtype)
        with ALONE if n_rows <= self._data.small_rows else single_threaded_blas():
            theta = checked_theta(given, self.layout, self.dtype)
            loss, gradient = self._data.sums(theta, rows, n_rows, with_gradient)
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
                if given.dtype == np.float64:  # methods that work in float64 want that of it too
                    gradient = gradient.astype(np.float64, copy=False)
        return math.inf if is_beyond else loss, gradient

    def terms(self, n_rows: int) -> tuple[DataLoss, float, NDArray | None]:
        """The sums over the data, their factor on n_B rows, and α/W of each parameter or None."""
        return self._data, _scale(self, n_rows), self._penalty

    @guarded
    def output_losses(self, theta: ArrayLike) -> NDArray:
        """The share of each output in the loss at θ without the penalty, on all rows.

        Parameters
        ----------
        theta
            As in `__call__`.

        Returns
        -------
        ndarray of shape (n_outputs,), or (2 n_outputs,) with slopes, whose shares follow

        Raises
        ------
        ValueError
            As in `__call__`.
        """
        theta, _, n_rows = _checked(self, theta, None)
        return self._data.output_losses(theta, _scale(self, n_rows))

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
        theta, rows, n_rows = _checked(self, theta, rows)
        v = checked_theta(v, self.layout, self.dtype, name="v")
        with ALONE if 2 * n_rows <= self._data.small_rows else single_threaded_blas():
            product = self._data.hessian_product(theta, v, rows, n_rows)
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
        theta, rows, n_rows = _checked(self, theta, rows)
        _check_square(self.n_params, "The Hessian", "Use hessp, which needs no matrix.")
        H = self._data.hessian(theta, rows, n_rows)
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
            √(α/W) A_i, in the order of θ. With slopes n_B · n_outputs · n_features errors of them
            stand between, row by row and output by output, 0 where one is not known.

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
        theta, rows, n_rows = _checked(self, theta, rows)
        N, penalised = self._data.n_residuals(n_rows), self._penalised
        r = np.empty(N + len(penalised), self.dtype)
        self._data.residuals(theta, rows, n_rows, _scale(self, n_rows), out=r[:N])
        if len(penalised):
            r[N:] = np.sqrt(self._penalty[penalised]) * theta[penalised]  # √(α/W) A
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
        theta, rows, n_rows = _checked(self, theta, rows)
        P, penalised = self.n_params, self._penalised
        n_data = self._data.n_residuals(n_rows)
        N = n_data + len(penalised)
        check_memory(
            N * P * self.dtype.itemsize,
            f"The Jacobian, of {N} residuals by n_params={P},",
            "Use gauss_newton, which goes through it block by block, or fewer rows.",
        )
        Jt = np.zeros((P, N), self.dtype)
        self._data.jacobian(theta, rows, n_rows, _scale(self, n_rows), out=Jt[:, :n_data])
        if len(penalised):
            Jt[penalised, np.arange(n_data, N)] = np.sqrt(self._penalty[penalised])
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
        theta, rows, n_rows = _checked(self, theta, rows)
        _check_square(self.n_params, "JᵀJ", _FEWER_UNITS)
        model = self._data.models(theta, rows, n_rows, _scale(self, n_rows))
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
            What `skprop.factors.factorised` takes; a `Root` where N, the `n_residuals`, is
            less than n_params / 2 and n_params is at least 100.

        Raises
        ------
        ValueError
            As in `normal_equations`.
        """
        N, P = self.n_residuals, self.n_params
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
        theta, rows, n_rows = _checked(self, theta, None)
        N, P, c = self._data.n_residuals(n_rows), self.n_params, _scale(self, n_rows)
        if is_thin(N, P):
            what = f"J, of {N} residuals by n_params={P}, held twice,"
            check_memory(16 * N * P, what, _FEWER_UNITS)
            return self._data.thin_models(theta, c)
        _check_square(P, "JᵀJ", _FEWER_UNITS)
        return self._data.models(theta, rows, n_rows, c)

    def _penalised_model(self, theta, model: OutputModels) -> tuple:
        """½ ‖r‖², Jᵀ r and JᵀJ over the outputs, with the penalty's share of each."""
        loss, gradient, M = model.sum(np.ones(len(model.losses)))
        if self._penalty is None:
            return loss, gradient, M
        shrinkage = self._penalty * theta
        loss += 0.5 * float(np.dot(shrinkage, theta))
        return loss, gradient + shrinkage, plus_diagonal(M, self._penalty)

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

    def explain_overflow(self, theta: NDArray) -> str:
        """The reason why the loss is not finite at θ: the column or parameter that is too large."""
        theta = np.asarray(theta)
        if self._penalty is not None:
            with ignoring_overflow():
                penalty = float(np.dot(self._penalty * theta, theta))
            if not math.isfinite(penalty):
                return f"alpha={self.alpha:g} is too large for the sum of the sample weights."
        name, j, largest = self._data.largest()
        if name == "X" and np.abs(theta).max() > largest:
            return f"theta has entries up to {np.abs(theta).max():.3g}."
        return (
            f"column {j} of {name} reaches {largest:.3g} in the units the network works in, "
            f"which overflows {self.dtype}. Rescale it."
        )


def _checked(objective: FlatObjective, theta, rows) -> tuple:
    """θ, the numbers of the rows and how many they are."""
    theta = checked_theta(theta, objective.layout, objective.dtype)
    return theta, *checked_row_numbers(rows, objective.n_samples)


def _scale(objective: FlatObjective, n_rows: int) -> float:
    """The factor n/(n_B W) of a sum over n_B rows."""
    return objective.n_samples / (n_rows * objective._total_weight)


def _check_square(P: int, what: str, remedy: str) -> None:
    check_memory(16 * P * P, f"{what}, of n_params={P} rows and columns, held twice,", remedy)
