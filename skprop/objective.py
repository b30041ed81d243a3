"""The training objective: θ → loss and gradient, for any optimiser of a flat vector."""

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .backprop import backward, forward, from_tanh, to_tanh
from .blocks import (
    RowIndex,
    Workspace,
    block_rows,
    parts,
    run,
    threads_for,
    unit_buffers,
    without_constant,
)
from .layout import Layout, Params, checked_theta, hidden_sizes
from .rows import Rows
from .sigmoid import times_sigmoid_derivative

FLOATS = [np.float64, np.float32]


class MLPObjective:
    r"""Loss and gradient of a sigmoid network as functions of its flat parameter vector.

    With f_0 = x, z_i = f_{i-1} A_{i-1} + b_{i-1}, f_i = σ(z_i) for i = 1, …, K (the last
    layer the identity, or σ too) and W = Σ_s w_s, the loss is::

        L(θ) = 1/(2 W) · [ Σ_s w_s ‖f_K(x_s; θ) − y_s‖²  +  α Σ_i ‖A_i‖_F² ]

    summed over outputs; biases are not penalised; w = 1 without sample weights. With
    δ_i = ∂L/∂z_i its gradient is::

        δ_K     = w (f_K − y) / W                       (∘ f_K ∘ (1 − f_K) for a sigmoid output)
        δ_{i-1} = (δ_i A_{i-1}ᵀ) ∘ f_{i-1} ∘ (1 − f_{i-1})
        ∂L/∂A_{i-1} = f_{i-1}ᵀ δ_i + (α/W) A_{i-1},     ∂L/∂b_{i-1} = 1ᵀ δ_i

    On a subset B of n_B of the n rows it is the unbiased estimate::

        L_B(θ) = n/(2 n_B W) Σ_{s∈B} w_s ‖f_K − y_s‖² + α/(2W) Σ_i ‖A_i‖_F²

    whose mean over a partition of the rows, weighted by n_B, is L.

    Parameters
    ----------
    X : {array-like, CSR matrix} of shape (n_samples, n_features)
        Taken as they are: standardise first, or let `MLPSigmoidRegressor.make_objective` do it.
        Dense rows are copied, once. float32 makes everything float32; any
        other dtype is computed in float64.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets, in the units of the loss.
    hidden_layer_sizes : int or sequence of int
        The widths d_1, …, d_{K-1}; ``()`` is a single (linear or logistic) layer.
    output_activation : {"identity", "sigmoid"}, default="identity"
        What the last layer applies to z_K.
    alpha : float, default=0.0
        The L2 penalty α, as in `Ridge`.
    sample_weight : array-like of shape (n_samples,), optional
        w, non-negative and not all zero.

    Attributes
    ----------
    n_params : int
        P, the length of θ.
    n_samples : int
        n, the number of rows.
    total_weight : float
        W, the sum of the weights.
    layout : Layout
        Where the A_i and b_i lie in θ.
    dtype : numpy.dtype
        float32 or float64: of the arithmetic, the gradient and the predictions.

    Raises
    ------
    ValueError
        For data, sizes, weights or a θ that are no such thing, with their name and value.

    Notes
    -----
    ``objective(theta)`` returns what ``scipy.optimize.minimize(…, jac=True)`` wants. The
    gradient is a new array at every call. One objective may be evaluated from several
    threads at once.

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

    def __init__(
        self,
        X,
        y: ArrayLike,
        *,
        hidden_layer_sizes: int | Sequence[int],
        output_activation: str = "identity",
        alpha: float = 0.0,
        sample_weight: ArrayLike | None = None,
    ):
        if not isinstance(X, Rows):
            X = Rows(check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X"))
            X = X.in_memory()
        with np.errstate(over="ignore"):  # then it is too large for the dtype, and is refused
            y = check_array(y, dtype=X.dtype, ensure_2d=False, order="C", copy=True, input_name="y")
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1)
        if len(y) != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows, y has {len(y)}.")
        if output_activation not in ("identity", "sigmoid"):
            raise ValueError(
                f"output_activation={output_activation!r}; it is 'identity' or 'sigmoid'."
            )
        if not isinstance(alpha, Real) or not 0 <= alpha < math.inf:
            raise ValueError(f"alpha={alpha!r}; it is a number ≥ 0.")

        self.n_samples, n_features = X.shape
        self.dtype = X.dtype
        self.layout = Layout((n_features, *hidden_sizes(hidden_layer_sizes), y.shape[1]))
        self.n_params = self.layout.n_params
        self.alpha = float(alpha)
        self.output_activation = output_activation
        self._output_sigmoid = output_activation == "sigmoid"
        self._X, self._y, self._weights = X, y, None
        self._total_weight, exponent = float(self.n_samples), 0
        if sample_weight is not None:
            w = checked_weights(sample_weight, self.n_samples)
            exponent = math.frexp(w.max())[1] - 1
            w = np.ldexp(w, -exponent)  # at most 2, so that float32 holds it
            self._total_weight = float(w.sum())
            self._weights = w.astype(self.dtype)[:, None]
        with np.errstate(over="ignore", under="ignore"):
            self.total_weight = float(np.ldexp(self._total_weight, exponent))  # W
            penalty = float(np.ldexp(self.alpha / self._total_weight, -exponent))  # α/W
        self._penalty = None
        if penalty > 0:
            self._penalty = np.zeros(self.n_params)
            for A, _ in self.layout.views(self._penalty):
                A[...] = penalty
        self._block_rows = min(block_rows(self.layout.sizes, self.dtype), self.n_samples)
        # Multiplications and, at about ten times the cost, activations of a row.
        self._work = self.n_params + 10 * sum(self.layout.sizes[1:])
        self._idle: list[Workspace] = []  # one is in use by every thread of every evaluation

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
            A new array, in the precision of the objective.

        Raises
        ------
        ValueError
            If θ has the wrong length or an entry that is NaN or infinite, or ``rows`` is empty or
            no such thing.
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

    def loss_of_mean(self) -> float:
        """The data loss of predicting the weighted mean of the targets, as a baseline."""
        y = self._y.astype(np.float64)
        w = None if self._weights is None else self._weights[:, 0].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.sum((y - np.average(y, axis=0, weights=w)) ** 2, axis=1)
            return 0.5 * float(np.average(squares, weights=w))

    def _evaluate(self, theta, rows, with_gradient) -> tuple[float, NDArray | None]:
        theta = checked_theta(theta, self.layout, self.dtype)
        rows, n_rows = self._checked_rows(rows)
        work = n_rows * self._work
        with np.errstate(over="ignore", invalid="ignore"), threads_for(work) as n_threads:
            B = to_tanh(theta, self.layout, self._output_sigmoid)
            self._X.fold(B[0])
            loss, gradient = self._sum_blocks(B, rows, n_rows, n_threads, with_gradient)
            scale = self.n_samples / (n_rows * self._total_weight)  # n / (n_B W)
            loss *= 0.5 * scale
            if with_gradient:
                self._X.unfold(self.layout.stacked(gradient)[0])
                from_tanh(gradient, self.layout, self._output_sigmoid)
                gradient *= scale
            if self._penalty is not None:
                shrinkage = self._penalty * theta  # (α/W) A_i, and 0 for b_i
                loss += 0.5 * float(np.dot(shrinkage, theta))
                if with_gradient:
                    gradient += shrinkage
            if with_gradient:
                gradient = gradient.astype(self.dtype, copy=False)
        return loss, gradient

    def _sum_blocks(
        self, B, rows, n_rows, n_threads, with_gradient
    ) -> tuple[float, NDArray | None]:
        """Σ w ‖f_K − y‖² over some rows, and half its gradient by B, in float64."""
        dealt = parts(rows, n_rows, self._block_rows, n_rows * self._work)
        losses, gradients = [0.0] * len(dealt), [None] * len(dealt)

        def sum_part(k: int) -> None:
            try:
                workspace = self._idle.pop()
            except IndexError:
                workspace = Workspace(self.layout, self._block_rows, self.dtype)
            for block, m in dealt[k]:
                losses[k] += self._block(B, block, m, workspace, with_gradient)
                if not with_gradient:
                    continue
                if gradients[k] is None:
                    gradients[k] = workspace.gradient.astype(np.float64)
                else:
                    gradients[k] += workspace.gradient
            self._idle.append(workspace)

        run(sum_part, len(dealt), n_threads)
        total, *others = gradients
        for gradient in others if with_gradient else ():
            total += gradient
        return sum(losses), total

    def _block(self, B, rows, m, workspace, with_gradient) -> float:
        """The same for one block; half its gradient goes to ``workspace.gradient``."""
        (x, *t), t_inner, delta, delta_inner, y, w = workspace.views(m)
        t = [self._X.read(rows, x), *t]
        forward(B, t, t_inner, self._output_sigmoid)
        residual = np.subtract(t[-1], take(self._y, rows, y), out=delta[-1])
        if self._weights is None:
            loss = sum_of_squares(residual)
        else:
            w = take(self._weights, rows, w)
            loss = float(np.einsum("sj,sj,sk->", residual, residual, w, dtype=np.float64))
            residual *= w
        if with_gradient:
            if self._output_sigmoid:
                times_sigmoid_derivative(delta[-1], t[-1])  # δ_K = w (f_K − y) ∘ 2 f_K ∘ (1 − f_K)
            backward(B, t, delta, delta_inner, workspace.G)
        return loss

    def initial_theta(self, random_state=None) -> NDArray:
        """Draw a starting point, in the precision of the objective.

        Every weight and bias of layer i is uniform in ±√(2/(d_{i-1} + d_i)) (Glorot and
        Bengio 2010), drawn as `MLPRegressor(activation="logistic")` draws them.

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
        X = check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X")
        if X.shape[1] != self._X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features; the objective has {self._X.shape[1]}.")
        theta = checked_theta(theta, self.layout, self.dtype)
        y = network_output(self.layout, theta, self._X.like(X), self.output_activation)
        return y[:, 0] if self._single_output else y

    def __getstate__(self):
        return self.__dict__ | {"_idle": []}  # buffers are not worth storing

    def _checked_rows(self, rows) -> tuple[RowIndex, int]:
        """A slice of step 1 or an array of non-negative row numbers, and how many they are."""
        n = self.n_samples
        if rows is None:
            return slice(0, n), n
        if isinstance(rows, slice):
            start, stop, step = rows.indices(n)
            n_rows = len(range(start, stop, step))
            rows = slice(start, stop) if step == 1 else np.arange(start, stop, step)
        else:
            rows = np.asarray(rows)
            if rows.size == 0:
                rows = rows.astype(np.intp)  # an empty list has no dtype of its own
            if rows.dtype == bool and rows.shape == (n,):
                rows = np.flatnonzero(rows)
            if rows.ndim != 1 or rows.dtype.kind not in "iu":
                raise ValueError(
                    "rows is a slice, an array of row numbers, or a mask of "
                    f"length n_samples={n}; got an array of {rows.dtype}, shape {rows.shape}."
                )
            n_rows = len(rows)
            rows = rows.astype(np.intp, copy=False)
            # As unsigned numbers negative ones are huge: one comparison finds all to look at.
            if n_rows and rows.view(np.uintp).max() >= n:
                if rows.min() < -n or rows.max() >= n:
                    raise IndexError(
                        f"rows go from {rows.min()} to {rows.max()}; there are {n} rows."
                    )
                rows = np.where(rows < 0, rows + n, rows)
        if n_rows == 0:
            raise ValueError("rows is empty.")
        return rows, n_rows


def network_output(layout: Layout, theta: NDArray, X: Rows, output_activation: str) -> NDArray:
    """f_K(θ, x) for each of the rows, of shape (rows, d_K), in O(block) memory beside it."""
    n, output_sigmoid = X.shape[0], output_activation == "sigmoid"
    output = np.empty((n, layout.sizes[-1]), X.dtype)
    size = min(block_rows(layout.sizes, X.dtype), n)
    work = n * layout.n_params
    dealt = parts(slice(0, n), n, size, work)

    def fill_part(k: int) -> None:
        buffers = unit_buffers(layout, size, X.dtype)
        for rows, m in dealt[k]:
            x, *t = (a[:m] for a in buffers)
            t[-1] = output[rows]
            forward(B, [X.read(rows, x), *t], [None, *without_constant(t)], output_sigmoid)

    with np.errstate(over="ignore", invalid="ignore"), threads_for(work) as n_threads:
        B = to_tanh(theta, layout, output_sigmoid)
        X.fold(B[0])
        run(fill_part, len(dealt), n_threads)
    return output


def take(a: NDArray, rows: RowIndex, out: NDArray) -> NDArray:
    """Rows of a C-contiguous array: a view of a slice, others gathered in ``out``."""
    if isinstance(rows, slice):
        return a[rows]
    return np.take(a, rows, axis=0, out=out, mode="clip")  # "clip" lets it write straight to out


def sum_of_squares(a: NDArray) -> float:
    """‖a‖_F² of a C-contiguous array, summed in float64."""
    if a.dtype == np.float64:
        a = a.ravel()
        return float(np.dot(a, a))
    return float(np.einsum("ij,ij->", a, a, dtype=np.float64))


def checked_weights(
    sample_weight: ArrayLike, n_samples: int, name: str = "sample_weight"
) -> NDArray:
    """Sample weights as float64, or a ValueError that says what is wrong with them."""
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, sample_weight)
    w = check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name=name)
    if w.shape != (n_samples,):
        raise ValueError(f"{name} has shape {w.shape}; there are {n_samples} rows.")
    if w.min() < 0:
        raise ValueError(f"{name} has negative values, the least {w.min():g}.")
    if w.max() == 0:
        raise ValueError(f"{name} is all zero: no row is left.")
    return w
