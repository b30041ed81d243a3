"""The training objective: θ → loss and gradient, for any optimiser of a flat vector."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils import check_array

from .checks import FLOATS, checked_rows, checked_slopes, checked_weights
from .data_loss import DataLoss
from .flat_objective import FlatObjective, WeightSums
from .layout import Layout, checked_theta, hidden_sizes
from .network import Network
from .rows import Rows
from .slope_error import SlopeError
from .squared_error import SquaredError
from .threads import guarded, ignoring_overflow

__all__ = ["MLPObjective", "normalised_weights"]

_LN_2 = math.log(2)


class MLPObjective(FlatObjective):
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

    Known slopes y′_skj of the targets, ``dydx``, add to both sums over rows::

        λ Σ_s w_s Σ_k Σ_j (∂f_k(x_s; θ)/∂x_j − y′_skj)²

    with w_sk in the place of w_s where every target has a weight. W stays as it is.

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
        The L2 penalty α, as in `Ridge`; or one α_i for each A_i, with α_i ‖A_i‖² in the sum.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        w, non-negative and not all zero; one for each row, or one for each target.
    dydx : array-like, optional
        The slopes y′, of shape (n_samples, n_outputs, n_features) or, for one output,
        (n_samples, n_features), in units of y per unit of X; NaN where one is not known. X is dense
        then.
    slope_weight : float, default=1.0
        λ, positive.

    Attributes
    ----------
    n_params : int
        P, the length of θ.
    n_samples : int
        n, the number of rows.
    total_weight : float
        W, the sum of the weights of the rows.
    output_weights : ndarray of shape (n_outputs,)
        The sum of the weights of the targets of each output; then, with ``dydx``, of the slopes of
        each, without λ.
    n_observations : int
        The number of targets, and of known slopes, of positive weight.
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
        dydx: ArrayLike | None = None,
        slope_weight: float = 1.0,
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

        layout = Layout((X.shape[1], *hidden_sizes(hidden_layer_sizes), y.shape[1]))
        w, sums = normalised_weights(sample_weight, y.shape, X.dtype)
        values, slopes = SquaredError(X, y, w, layout, output_activation), None
        if dydx is not None:
            y_x, v, sums = _slopes(dydx, slope_weight, (*y.shape, X.shape[1]), w, sums, X)
            slopes = SlopeError(X, y_x, v, layout, output_activation)
        data = DataLoss(values, slopes)
        super().__init__(data, layout, X.dtype, len(y), sums, alpha)
        self.output_activation, self._rows = output_activation, X

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.layout.sizes))
        alpha = self.alpha if isinstance(self.alpha, float) else self.alpha.tolist()
        return (
            f"<MLPObjective of {self.n_samples} samples: network {widths}, "
            f"n_params={self.n_params}, output_activation={self.output_activation!r}, "
            f"alpha={alpha!r}, {self.dtype}>"
        )

    def value(self, theta: ArrayLike) -> float:
        """L(θ), as `loss` on all rows, for tools that treat every argument as a parameter.

        Parameters
        ----------
        theta : array-like of shape (n_params,)

        Returns
        -------
        float

        Raises
        ------
        ValueError
            As in `__call__`.
        """
        return self.loss(theta)

    @guarded
    def losses(self, thetas: ArrayLike) -> NDArray:
        """L at each of several θ, for samplers and optimisers that work with a population.

        Each is the number that `loss` gives for it alone.

        Parameters
        ----------
        thetas : array-like of shape (m, n_params)

        Returns
        -------
        ndarray of shape (m,), in float64

        Raises
        ------
        ValueError
            As in `__call__`, for one of them.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPObjective
        >>> x = np.linspace(-1, 1, 50)
        >>> objective = MLPObjective(x[:, None], np.sin(3 * x), hidden_layer_sizes=5)
        >>> population = np.random.default_rng(0).normal(size=(20, objective.n_params))
        >>> objective.losses(population).shape
        (20,)
        """
        thetas = np.asarray(thetas)
        if thetas.ndim != 2:
            raise ValueError(f"thetas has shape {thetas.shape}; it is (m, n_params).")
        return np.array([self.loss(theta) for theta in thetas], dtype=np.float64)

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
        y = self._network(theta).outputs(checked_rows(X, self._rows))
        return y[:, 0] if self._single_output else y

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
        g = self._network(theta).input_gradient(checked_rows(X, self._rows))
        return g[:, 0] if self._single_output else g

    def _network(self, theta: ArrayLike) -> Network:
        theta = checked_theta(theta, self.layout, self.dtype)
        return Network(self.layout, theta, self.output_activation)


def normalised_weights(
    sample_weight: ArrayLike | None, shape: tuple[int, int], dtype: DTypeLike
) -> tuple[NDArray | None, WeightSums]:
    """The weights of a `DataLoss`, of shape (n, 1) or (n, d_K), and their sums."""
    n, d_K = shape
    if sample_weight is None:
        return None, WeightSums(float(n), 0, np.full(d_K, float(n)), n * d_K, 0.0)
    w = checked_weights(sample_weight, n, d_K)
    exponent = math.frexp(w.max())[1] - 1
    w = np.ldexp(w, -exponent).reshape(n, -1)  # at most 2, so that float32 holds it
    total, each = float(w.mean(axis=1).sum()), np.broadcast_to(w, shape)
    positive = each[each > 0]
    logarithms = float(np.log(positive).sum()) + positive.size * exponent * _LN_2
    with np.errstate(over="ignore", under="ignore"):
        if w.shape[1] == 1:
            of_outputs = np.full(d_K, float(np.ldexp(total, exponent)))
        else:
            of_outputs = np.ldexp(w.sum(axis=0), exponent)
    return w.astype(dtype), WeightSums(total, exponent, of_outputs, positive.size, logarithms)


def _slopes(
    dydx: ArrayLike, factor: float, shape: tuple[int, int, int], w: NDArray | None,
    sums: WeightSums, X: Rows,
) -> tuple[NDArray, NDArray, WeightSums]:  # fmt: skip
    """Slopes of shape (n, d_K, d_0), 0 where not known; their weights λ w; and all sums of weights.

    ``w`` and ``sums`` are those of the values.
    """
    if X.sparse:
        raise ValueError("dydx is given, but X is sparse. Use X.toarray().")
    if not 0 < factor < math.inf:
        raise ValueError(f"slope_weight={factor!r}; it is a positive number.")
    slopes = checked_slopes(dydx, shape)
    known = ~np.isnan(slopes)
    w = np.ones((1, 1)) if w is None else w.astype(np.float64)
    v = np.where(known, w[..., None], 0.0)
    positive = v[v > 0]
    logarithms = np.log(positive).sum() + positive.size * (sums.exponent * _LN_2 + math.log(factor))
    with np.errstate(over="ignore", under="ignore"):
        of_outputs = np.ldexp(v.sum(axis=(0, 2)), sums.exponent)
        slopes = np.where(known, slopes, 0.0).astype(X.dtype)
    if not np.isfinite(slopes).all():
        raise ValueError(f"dydx has values beyond {X.dtype}, in the units the network works in.")
    sums = sums._replace(
        of_outputs=np.concatenate([sums.of_outputs, of_outputs]),
        n_observations=sums.n_observations + positive.size,
        logarithms=sums.logarithms + float(logarithms),
    )
    return slopes, (factor * v).astype(X.dtype), sums
