"""The training objective: θ → loss and gradient, for any optimiser of a flat vector."""

import math
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .backprop import backward, forward, from_tanh, halves, to_tanh
from .blocks import (
    MAX_PARTS,
    RowIndex,
    Workspace,
    block_rows,
    check_memory,
    parts,
    positions,
    run,
    single_threaded_blas,
    small_rows,
    split,
    threads_for,
    unit_buffers,
    without_constant,
)
from .jacobian import (
    add_tile,
    fill_input_gradient,
    fill_jacobian,
    jacobian_rows,
    output_slope,
    tiles,
    units,
)
from .layout import Layout, Params, checked_theta, hidden_sizes
from .rows import Rows
from .sigmoid import squared_error_curvature, times_sigmoid_derivative
from .tangents import TangentWorkspace, linearise, tangent

FLOATS = [np.float64, np.float32]
# Around the checks of scikit-learn, which add up all of an array to see whether it is finite.
QUIET = np.errstate(over="ignore", invalid="ignore")


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
    alpha : float or sequence of K floats, default=0.0
        The L2 penalty α, as in `Ridge`; or one for each A_i, α_i ‖A_i‖² in the sum.
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

    @QUIET
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
            penalties = np.ldexp(alphas / self._total_weight, -exponent)  # α/W
        self._penalty = None
        if penalties.any():
            self._penalty = np.zeros(self.n_params)
            for (A, _), penalty in zip(self.layout.views(self._penalty), penalties, strict=True):
                A[...] = penalty
        self._block_rows = min(block_rows(self.layout.sizes, self.dtype), self.n_samples)
        # Multiplications and, at about ten times the cost, activations of a row, in float64.
        work = self.n_params + 10 * sum(self.layout.sizes[1:])
        self._work = work * self.dtype.itemsize // 8
        self._small_rows = small_rows(self.layout)
        self._halves = halves(self.layout, self._output_sigmoid, self.dtype)
        self._idle: list[Workspace] = []  # one is in use by every thread of every evaluation
        self._idle_tangents: list[TangentWorkspace] = []

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
        rows, n_rows = self._checked_rows(rows)
        small = n_rows <= self._small_rows
        with np.errstate(over="ignore", invalid="ignore"), threads_for(small) as n_threads:
            theta = checked_theta(theta, self.layout, self.dtype)
            B = self._tanh_form(theta)
            loss, gradient = self._sum_blocks(B, rows, n_rows, n_threads, with_gradient)
            scale = self.n_samples / (n_rows * self._total_weight)  # n / (n_B W)
            loss *= 0.5 * scale
            if with_gradient:
                self._of_theta(gradient)
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
        sums: list = [None] * len(dealt)

        def sum_part(k: int) -> None:
            sums[k] = self._sum_part(B, dealt[k], with_gradient)

        run(sum_part, len(dealt), n_threads)
        (loss, gradient), *others = sums
        for more_loss, more in others:
            loss += more_loss
            if with_gradient:
                gradient += more
        return loss, gradient

    def _sum_part(self, B, blocks, with_gradient) -> tuple[float, NDArray | None]:
        """The same for one part of them, block after block."""
        try:
            workspace = self._idle.pop()
        except IndexError:
            workspace = Workspace(self.layout, self._block_rows, self.dtype)
        loss, gradient = 0.0, None
        for rows, m in blocks:
            loss += self._block(B, rows, m, workspace, with_gradient)
            if not with_gradient:
                continue
            if gradient is None:
                gradient = workspace.gradient.astype(np.float64)
            else:
                gradient += workspace.gradient
        self._idle.append(workspace)
        return loss, gradient

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
            backward(B, t, delta, delta_inner, workspace.G, x)
        return loss

    # ---- second order --------------------------------------------------------------------

    def hessp(self, theta: ArrayLike, v: ArrayLike, rows=None) -> NDArray:
        """The product H v of the Hessian H of L at θ with a vector: exact, and H is not formed.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        v : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        ndarray of shape (n_params,)
            A new array, in the precision of the objective.

        Raises
        ------
        ValueError
            If θ or v has the wrong length or an entry that is NaN or infinite, or ``rows`` is
            empty or no such thing.
        IndexError
            If a row number is out of range.

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
        theta = checked_theta(theta, self.layout, self.dtype)
        v = checked_theta(v, self.layout, self.dtype, name="v")
        rows, n_rows = self._checked_rows(rows)
        work = 2 * n_rows * self._work
        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
            B, V = self._tanh_form(theta), self._tanh_form(v)
            dealt = parts(rows, n_rows, self._block_rows, work)
            sums: list = [0.0] * len(dealt)

            def sum_part(k: int) -> None:
                with self._tangent_workspace() as workspace:
                    for block, m in dealt[k]:
                        tangent(B, V, *self._linearised(B, block, workspace.first(m)))
                        sums[k] = sums[k] + workspace.RG.astype(np.float64)

            run(sum_part, len(dealt), n_threads)
            product = self._of_theta(sum(sums))
            product *= self.n_samples / (n_rows * self._total_weight)  # n / (n_B W)
            if self._penalty is not None:
                product += self._penalty * v
        return product.astype(self.dtype, copy=False)

    def hessian(self, theta: ArrayLike, rows=None) -> NDArray:
        """The Hessian of L at θ, dense: P products like `hessp`, with one forward pass for all.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        ndarray of shape (n_params, n_params)
            Symmetric; a new array, in the precision of the objective.

        Raises
        ------
        ValueError, IndexError
            As `hessp`; also if the matrix does not fit the memory of this machine.
        """
        theta = checked_theta(theta, self.layout, self.dtype)
        rows, n_rows = self._checked_rows(rows)
        P = self.n_params
        self._check_square("The Hessian", "Use hessp, which needs no matrix.")
        blocks = [b for part in parts(rows, n_rows, self._block_rows, 0) for b in part]
        shares = split(slice(0, P), -(-P // MAX_PARTS))  # of the directions, among threads
        H = np.zeros((P, P))
        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
            B = self._tanh_form(theta)

            def fill_share(k: int) -> None:
                share, unit = shares[k][0], np.zeros(P, self.dtype)
                with self._tangent_workspace() as workspace:
                    for block, m in blocks:
                        linearised = self._linearised(B, block, workspace.first(m))
                        for j in range(share.start, share.stop):
                            unit[j] = 1.0
                            tangent(B, self._tanh_form(unit), *linearised)
                            H[j] += workspace.RG
                            unit[j] = 0.0
                for row in H[share]:
                    self._of_theta(row)

            run(fill_share, len(shares), n_threads)
            H *= 0.5 * self.n_samples / (n_rows * self._total_weight)  # n / (n_B W), and
            H = H + H.T  # the mean of H and Hᵀ: they differ by rounding
            if self._penalty is not None:
                H[np.diag_indices(P)] += self._penalty
        return H.astype(self.dtype, copy=False)

    def residuals(self, theta: ArrayLike, rows=None) -> NDArray:
        """The vector r whose ½ ‖r‖² is L(θ), for `scipy.optimize.least_squares`.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        ndarray of shape (n_B · n_outputs,), and with α > 0 as many more as there are weights
            √(n w/(n_B W)) (f_K − y) row by row, which is √(w/W) (f_K − y) on all rows; then
            √(α/W) A_i, in the order of θ. A new array, in the precision of the objective.

        Raises
        ------
        ValueError, IndexError
            As `__call__`.

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
        theta = checked_theta(theta, self.layout, self.dtype)
        rows, n_rows = self._checked_rows(rows)
        d_K, penalised = self.layout.sizes[-1], self._penalised()
        r = np.empty(n_rows * d_K + len(penalised), self.dtype)
        data = r[: n_rows * d_K].reshape(n_rows, d_K)
        work = n_rows * self._work
        dealt = positions(parts(rows, n_rows, self._block_rows, work))

        def fill_part(k: int) -> None:
            for block, at, m in dealt[k]:
                x, *t = unit_buffers(self.layout, m, self.dtype)
                t[-1] = data[at]
                x = self._X.read(block, x)
                forward(B, [x, *t], [None, *without_constant(t)], self._output_sigmoid)
                data[at] -= self._y[block]
                data[at] *= self._root_weight(block, n_rows)  # √(n w/(n_B W)) (f_K − y)

        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
            B = self._tanh_form(theta)
            run(fill_part, len(dealt), n_threads)
            if len(penalised):
                r[n_rows * d_K :] = np.sqrt(self._penalty[penalised]) * theta[penalised]  # √(α/W) A
        return r

    def jacobian(self, theta: ArrayLike, rows=None) -> NDArray:
        """J = ∂r/∂θ, the Jacobian of `residuals`, so that Jᵀ r is the gradient of L.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        ndarray of shape (len(residuals), n_params), in Fortran order
            A new array, in the precision of the objective.

        Raises
        ------
        ValueError, IndexError
            As `__call__`; also if the matrix does not fit the memory of this machine.
        """
        theta = checked_theta(theta, self.layout, self.dtype)
        rows, n_rows = self._checked_rows(rows)
        P, d_K, penalised = self.n_params, self.layout.sizes[-1], self._penalised()
        N = n_rows * d_K + len(penalised)
        check_memory(
            N * P * self.dtype.itemsize,
            f"The Jacobian, of {N} residuals by n_params={P},",
            "Use gauss_newton, which goes through it block by block, or fewer rows.",
        )
        work = n_rows * (self._work + P * d_K)
        size = min(self._block_rows, jacobian_rows(P * d_K, self.dtype))
        dealt = positions(parts(rows, n_rows, size, work))
        Jt = np.zeros((P, N), self.dtype)
        data = np.moveaxis(Jt[:, : n_rows * d_K].reshape(P, n_rows, d_K), 2, 0)

        def fill_part(k: int) -> None:
            for block, at, m in dealt[k]:
                self._fill_jacobian(theta, B, block, m, n_rows, data[:, :, at])

        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
            B = to_tanh(theta, self.layout, self._halves)
            run(fill_part, len(dealt), n_threads)
            if len(penalised):
                columns = np.arange(n_rows * d_K, N)
                Jt[penalised, columns] = np.sqrt(self._penalty[penalised])
        return Jt.T

    def gauss_newton(self, theta: ArrayLike, rows=None) -> NDArray:
        """JᵀJ, the Gauss–Newton matrix, summed block by block: J is not formed.

        It is the Hessian of L without the second derivatives of the network, positive
        semidefinite, and near a good fit close to the Hessian.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        ndarray of shape (n_params, n_params)
            Symmetric; a new array, in the precision of the objective.

        Raises
        ------
        ValueError, IndexError
            As `__call__`; also if the matrix does not fit the memory of this machine.
        """
        return self.normal_equations(theta, rows)[2].astype(self.dtype, copy=False)

    def normal_equations(self, theta: ArrayLike, rows=None) -> tuple[float, NDArray, NDArray]:
        """½ ‖r‖², Jᵀ r and JᵀJ in one pass: the loss, its gradient and `gauss_newton`.

        Parameters
        ----------
        theta : array-like of shape (n_params,)
        rows : slice or array of int or bool, optional
            The subset B; all rows by default.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_params,)
        gauss_newton : ndarray of shape (n_params, n_params)
            New arrays, in float64.

        Raises
        ------
        ValueError, IndexError
            As `gauss_newton`.
        """
        theta = checked_theta(theta, self.layout, self.dtype)
        rows, n_rows = self._checked_rows(rows)
        P, d_K = self.n_params, self.layout.sizes[-1]
        self._check_square("JᵀJ", "Use fewer units, or a solver without matrices, as L-BFGS is.")
        size = min(jacobian_rows(P * d_K, self.dtype), n_rows)
        J, r = np.zeros(P * d_K * size, self.dtype), np.empty(d_K * size, self.dtype)
        pairs = tiles(P, n_rows * d_K * P * P // 2)
        loss, gradient, JtJ = 0.0, np.zeros(P), np.zeros((P, P))
        with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
            B = to_tanh(theta, self.layout, self._halves)
            for block, m in split(rows, size):
                J_t, r_t = J[: P * d_K * m].reshape(P, d_K, m), r[: d_K * m].reshape(d_K, m)
                if m < size and d_K > 1:
                    J_t[...] = 0  # where the entries for other outputs lie depends on m
                self._fill_residuals(theta, B, block, m, n_rows, n_threads, J_t, r_t)
                J_t, r_t = J_t.reshape(P, d_K * m), r_t.ravel()
                loss += 0.5 * float(np.vdot(r_t, r_t))
                gradient += J_t @ r_t
                run(partial(add_tile, JtJ, J_t, pairs), len(pairs), n_threads)
            for a, b in pairs:
                JtJ[b, a] = JtJ[a, b].T
            if self._penalty is not None:
                shrinkage = self._penalty * theta
                loss += 0.5 * float(np.dot(shrinkage, theta))
                gradient += shrinkage
                JtJ[np.diag_indices(P)] += self._penalty
        return loss, gradient, JtJ

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
            As `predict`.
        """
        X, theta = self._checked_X(X), checked_theta(theta, self.layout, self.dtype)
        g = network_input_gradient(self.layout, theta, X, self.output_activation)
        return g[:, 0] if self._single_output else g

    def _tanh_form(self, theta: NDArray) -> list[NDArray]:
        """[B_0, …, B_{K-1}] for rows as `Rows.read` gives them."""
        B = to_tanh(theta, self.layout, self._halves)
        self._X.fold(B[0])
        return B

    def _of_theta(self, gradient: NDArray) -> NDArray:
        """The transpose of `_tanh_form`, in place."""
        if self._X.sparse:
            self._X.unfold(self.layout.stacked(gradient)[0])
        from_tanh(gradient, self.layout, self._halves)
        return gradient

    @contextmanager
    def _tangent_workspace(self):
        try:
            workspace = self._idle_tangents.pop()
        except IndexError:
            workspace = TangentWorkspace(self.layout, self._block_rows, self.dtype)
        yield workspace
        self._idle_tangents.append(workspace)

    def _linearised(self, B, rows, block: TangentWorkspace) -> tuple:
        """What `tangent` takes after B and V, for the loss Σ ½ w ‖f_K − y‖² of these rows."""
        x = self._X.read(rows, block.t[0])
        forward(B, [x, *block.t[1:]], block.inner["t"], self._output_sigmoid)
        f, delta = block.t[-1], block.delta[-1]
        np.subtract(f, take(self._y, rows, block.y), out=delta)
        curvature = 1.0
        if self._output_sigmoid:
            curvature = squared_error_curvature(delta, f)
            times_sigmoid_derivative(delta, f)
        if self._weights is not None:
            w = take(self._weights, rows, block.w)
            delta *= w
            curvature = curvature * w
        linearise(B, block)
        return x, curvature, block

    def _fill_residuals(self, theta, B, rows, m, n_rows, n_threads, J, r) -> None:
        """Write the residuals of m rows to ``r``, of shape (d_K, m), and ∂r/∂θ to ``J``."""
        work = m * (self._work + self.n_params * len(r))
        dealt = positions(parts(rows, m, m, work))

        def fill_part(k: int) -> None:
            for piece, at, length in dealt[k]:
                out = J.transpose(1, 0, 2)[:, :, at]
                f = self._fill_jacobian(theta, B, piece, length, n_rows, out)
                f -= self._y[piece]
                f *= self._root_weight(piece, n_rows)  # √(n w/(n_B W)) (f_K − y)
                r[:, at] = f.T

        run(fill_part, len(dealt), n_threads)

    def _fill_jacobian(self, theta, B, rows, m, n_rows, J) -> NDArray:
        """Write √(n w/(n_B W)) ∂f_K/∂θ of m rows to ``J``, of shape (d_K, P, m); returns f_K."""
        f, output = units(B, self._X.read_dense(rows, m), self.layout, self._output_sigmoid)
        slope = output_slope(output, self._output_sigmoid)
        slope *= self._root_weight(rows, n_rows)
        fill_jacobian(self.layout.views(theta), f, slope, self.layout, J)
        return output

    def _root_weight(self, rows, n_rows) -> NDArray | float:
        """√(n w/(n_B W)) of some of n_B rows, of shape (rows, 1) or a number."""
        scale = math.sqrt(self.n_samples / (n_rows * self._total_weight))
        return scale if self._weights is None else scale * np.sqrt(self._weights[rows])

    def _penalised(self) -> NDArray:
        """Where in θ the entries of the A_i are, with α > 0; else nothing."""
        return np.flatnonzero(() if self._penalty is None else self._penalty)

    def _check_square(self, what: str, remedy: str) -> None:
        P = self.n_params
        check_memory(16 * P * P, f"{what}, of n_params={P} rows and columns, held twice,", remedy)

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
        X, theta = self._checked_X(X), checked_theta(theta, self.layout, self.dtype)
        y = network_output(self.layout, theta, X, self.output_activation)
        return y[:, 0] if self._single_output else y

    @QUIET
    def _checked_X(self, X) -> Rows:
        """Other rows than those of the objective, to be read as they are."""
        X = check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X")
        if X.shape[1] != self._X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features; the objective has {self._X.shape[1]}.")
        return self._X.like(X)

    def __getstate__(self):
        return self.__dict__ | {"_idle": [], "_idle_tangents": []}  # buffers are not worth storing

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

    small = n <= small_rows(layout)
    with np.errstate(over="ignore", invalid="ignore"), threads_for(small) as n_threads:
        B = to_tanh(theta, layout, halves(layout, output_sigmoid, X.dtype))
        X.fold(B[0])
        run(fill_part, len(dealt), n_threads)
    return output


def network_input_gradient(
    layout: Layout, theta: NDArray, X: Rows, output_activation: str
) -> NDArray:
    """∂f_K/∂x for each of the rows, of shape (rows, d_K, d_0), x in the units of X."""
    n, output_sigmoid = X.shape[0], output_activation == "sigmoid"
    shape = n, layout.sizes[-1], layout.sizes[0]
    check_memory(
        math.prod(shape) * X.dtype.itemsize, f"A gradient of shape {shape}", "Use fewer rows."
    )
    gradient = np.empty(shape, X.dtype)
    work = 2 * n * layout.n_params * layout.sizes[-1]
    dealt = parts(slice(0, n), n, min(block_rows(layout.sizes, X.dtype), n), work)

    def fill_part(k: int) -> None:
        for rows, m in dealt[k]:
            f, output = units(B, X.read_dense(rows, m), layout, output_sigmoid)
            slope = output_slope(output, output_sigmoid)
            fill_input_gradient(layout.views(theta), f, slope, gradient[rows])

    with np.errstate(over="ignore", invalid="ignore"), single_threaded_blas as n_threads:
        B = to_tanh(theta, layout, halves(layout, output_sigmoid, X.dtype))
        run(fill_part, len(dealt), n_threads)
        if X.scaler is not None:
            np.divide(gradient, X.scaler.scale_, out=gradient, casting="same_kind")
    return gradient


def what_overflows(objective: MLPObjective, theta: NDArray) -> str:
    """Why the loss is not finite at θ: which column or parameter is too large."""
    X, name = objective._X, "y"
    with np.errstate(over="ignore", invalid="ignore"):
        if objective._penalty is not None:
            penalty = float(np.dot(objective._penalty * theta, theta))
            if not math.isfinite(penalty):
                return f"alpha={objective.alpha:g} is too large for the sum of the sample weights."
        largest = np.abs(objective._y).max(axis=0).astype(np.float64)
        if np.isfinite(objective.n_samples * np.square(largest).sum()):
            name, largest = "X", np.zeros(X.shape[1])
            for rows, m in split(slice(0, X.shape[0]), objective._block_rows):
                x = np.abs(X.read_dense(rows, m)[:, :-1]).max(axis=0)
                largest = np.fmax(largest, np.where(np.isnan(x), np.inf, x))
    j = int(np.argmax(largest))
    if name == "X" and np.abs(theta).max() > largest[j]:
        return f"theta has entries up to {np.abs(theta).max():.3g}."
    return (
        f"column {j} of {name} reaches {largest[j]:.3g} in the units the network works in, "
        f"which overflows {objective.dtype}. Rescale it."
    )


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


def checked_alphas(alpha: float | ArrayLike, n_layers: int) -> NDArray:
    """α of each layer, or a ValueError that says what is wrong with it."""
    try:
        alphas = np.array([alpha] * n_layers if isinstance(alpha, Real) else alpha, np.float64)
    except (TypeError, ValueError):
        alphas = np.empty(0)
    if alphas.shape != (n_layers,) or not np.all((alphas >= 0) & (alphas < math.inf)):
        raise ValueError(
            f"alpha={alpha!r}; it is a number ≥ 0, or {n_layers} of them, one for each layer."
        )
    return alphas


@QUIET
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
