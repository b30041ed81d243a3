"""What a fitted estimator offers: predictions, their derivatives and deviations, and scores."""

import warnings
from numbers import Real
from typing import Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from .attributes import FittedAttributes, posterior_attributes
from .committee import Committee, quantile
from .data import Data, Expected, checked_features, r2_of_targets, training_data
from .folds import Setup, objective_of
from .layout import Layout
from .network import Network
from .posterior import laplace, linear_laplace, require_memory
from .rows import Rows
from .scaling import StandardUnits

__all__ = ["FittedNetworks"]


class FittedNetworks(FittedAttributes):
    """The methods of an estimator that need its fitted attributes, and nothing of how they came."""

    @property
    def coefs_(self) -> list[NDArray]:
        """The weights A_0, A_1, …, views of ``theta_``: a row for each unit of a layer.

        A_h has a column for each unit of the next layer; layer 0 is the features.
        """
        return [A for A, _ in self._layers()]

    @property
    def intercepts_(self) -> list[NDArray]:
        """The biases b_0, b_1, …, views of ``theta_``."""
        return [b for _, b in self._layers()]

    def _layers(self):
        if not hasattr(self, "theta_"):
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return Layout(self._sizes).views(self.theta_)

    @overload
    def predict(self, X, return_std: Literal[False] = False) -> NDArray: ...

    @overload
    def predict(self, X, return_std: Literal[True, "model"]) -> tuple[NDArray, NDArray]: ...

    def predict(
        self, X, return_std: bool | Literal["model"] = False
    ) -> NDArray | tuple[NDArray, NDArray]:
        """Predict the targets of the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool or "model", default=False
            Whether to return a standard deviation for each prediction too, from the linearised
            Laplace posterior. True counts the noise of a target and the uncertainty of the
            parameters, "model" that of the parameters only. With a fixed ``alpha`` `fit` keeps the
            training rows, in standard units, until this is first asked for.

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
            If ``return_std`` is another string, the number or the names of the features are not
            those of the fit, or a row is so far from those of the fit that its prediction
            overflows; with ``return_std``, where `fit_posterior` has to be called first.

        Warns
        -----
        UserWarning
            With ``return_std``, where a fit with a fixed ``alpha`` has followed the noise, so that
            its error bars are rough; the message names the remedy.

        References
        ----------
        D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
        Computation 4 (1992), 448-472.
        """
        if return_std is False:
            committee, units = self._fitted()
            return units.raw(committee.mean(units.rows(checked_features(self, X))))
        if isinstance(return_std, str) and return_std != "model":
            raise ValueError(f"return_std={return_std!r}; it is True, False or 'model'.")
        return self._mean_and_deviation(X, return_std == "model")

    def _with_posterior(self, X, stacklevel: int = 3) -> tuple[Committee, StandardUnits, Rows]:
        """The committee with its posteriors, its units and the rows of X in them; warns if the
        posteriors are in doubt."""
        committee, units = self._fitted(with_posterior=True)
        rows = units.rows(checked_features(self, X))
        if "_doubt" in vars(self):
            warnings.warn(self._doubt, UserWarning, stacklevel=stacklevel)
        return committee, units, rows

    def _mean_and_deviation(self, X, of_model: bool) -> tuple[NDArray, NDArray]:
        """The prediction and its standard deviation, with the warning of a posterior in doubt."""
        committee, units, rows = self._with_posterior(X, stacklevel=4)
        mean, deviation = committee.mean_and_deviation(rows, "model" if of_model else "target")
        return units.raw(mean), units.raw_deviation(deviation)

    def predict_interval(self, X, coverage: float = 0.95) -> tuple[NDArray, NDArray]:
        """Predict an interval for the target of each row of X.

        It is the prediction ± a quantile of Student's t times the standard deviation of
        ``predict(X, return_std=True)``, as errors have heavier tails than a Gaussian. The degrees
        of freedom, 8 for one network and 5 for several, are those with which the intervals of
        ``alpha="evidence"`` covered their share of test rows (see the page on error bars).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        coverage : float, default=0.95
            Share of targets of weight 1 that lie within, above 0 and below 1.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of y.

        Raises
        ------
        NotFittedError, ValueError
            As `predict` does with ``return_std=True``; a ValueError too if ``coverage`` is not
            between 0 and 1.

        Warns
        -----
        UserWarning
            As `predict` does.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_diabetes
        >>> from skprop import MLPSigmoidRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = MLPSigmoidRegressor(10, alpha="evidence", random_state=0).fit(X[:300], y[:300])
        >>> lower, upper = model.predict_interval(X[300:], coverage=0.8)
        >>> bool(0.7 < np.mean((lower < y[300:]) & (y[300:] < upper)) < 0.9)
        True
        """
        if not (isinstance(coverage, Real) and 0 < coverage < 1):
            raise ValueError(f"coverage={coverage!r}; it is a number between 0 and 1.")
        mean, deviation = self._mean_and_deviation(X, of_model=False)
        half = quantile(coverage, len(self._of_members("theta_"))) * deviation
        half = half.astype(mean.dtype, copy=False)
        return mean - half, mean + half

    def score(self, X, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """R², the mean over the outputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Those that are missing do not count, with ``missing_targets="ignore"``.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional

        Returns
        -------
        float
        """
        prediction = self.predict(X)
        if self.missing_targets == "error" and np.ndim(sample_weight) < 2:
            return r2_score(y, prediction, sample_weight=sample_weight)
        return r2_of_targets(self, y, prediction, sample_weight)

    def fit_posterior(
        self,
        X,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        dydx: ArrayLike | None = None,
    ) -> Self:
        """Compute the posterior of a fitted network, for ``predict(X, return_std=True)``.

        Under ``alpha="evidence"`` `fit` does so by itself; α and σ² then stay those of the fit.
        With a fixed ``alpha`` the posterior is computed when it is first needed, if that takes
        about a second or less. Call this method after `partial_fit`, `set_theta` and the fit of a
        larger network. With N = n_samples · n_outputs it takes O(N P min(N, P)) operations and four
        matrices of P × min(N, P) numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows to learn the noise and the posterior from, usually those of the fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        dydx : array-like, optional
            Slopes, as in `fit`.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            As `fit` does; also if these matrices do not fit the memory of this machine, or the
            posterior cannot be computed in floating point.
        """
        check_is_fitted(self, "theta_")
        setup = Setup.of(self)
        with self._unchanged_on_error():
            data = self._training_data(X, y, sample_weight, setup.expected, dydx)
            objective = objective_of(data, setup, 0.0, self._slope_factor())
            require_memory(objective)
            thetas = self._of_members("theta_")
            if hasattr(self, "alpha_"):  # α and σ² stay those of the fit
                found = self._of_members("alpha_"), self._of_members("_noise")
                posteriors = [laplace(objective, *e) for e in zip(thetas, *found, strict=True)]
            else:
                posteriors = [linear_laplace(objective, theta) for theta in thetas]
            if any(posterior is None for posterior in posteriors):
                raise ValueError(
                    "The posterior cannot be computed: the Gauss–Newton matrix is infinite, "
                    "NaN, or singular to rounding. Fit with fewer hidden units or a larger alpha."
                )
            self._set(posterior_attributes(posteriors, setup, self._slope_factor()))
        return self

    @overload
    def predict_gradient(self, X, return_std: Literal[False] = False) -> NDArray: ...

    @overload
    def predict_gradient(self, X, return_std: Literal[True]) -> tuple[NDArray, NDArray]: ...

    def predict_gradient(self, X, return_std: bool = False) -> NDArray | tuple[NDArray, NDArray]:
        """The exact derivatives of the prediction by the features, at the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return a standard deviation for each derivative too, from the posterior that
            `predict` uses. It counts no noise, as ``predict(X, return_std="model")`` counts none.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            ∂y/∂x in units of y per unit of x: how `predict` responds to a feature. The shape
            follows that of y in `fit`; the precision is that of the fit.
        std : ndarray of the same shape
            With ``return_std``, in the same units.

        Raises
        ------
        NotFittedError, ValueError
            As `predict` does.

        Warns
        -----
        UserWarning
            With ``return_std``, as `predict` does.

        Notes
        -----
        The network is treated as linear in θ around its fit. So ∂f/∂x_j is linear in θ too, and has
        the variance σ² hᵀ H⁻¹ h, h = ∂²f/∂x_j∂θ, in the notation of the page on error bars. The
        variance of a committee is the mean of its members' variances plus the variance of their
        gradients.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPSigmoidRegressor
        >>> x = np.linspace(0, 10, 200)[:, None]
        >>> model = MLPSigmoidRegressor(20, alpha="evidence", random_state=0)
        >>> model = model.fit(x, np.sin(x[:, 0]))
        >>> slope = model.predict_gradient([[np.pi], [2 * np.pi]])
        >>> slope.shape, bool(np.allclose(slope[:, 0], [-1, 1], atol=0.05))
        ((2, 1), True)

        Where there are no data, the slope is as uncertain as the value:

        >>> _, std = model.predict_gradient([[5.0], [15.0]], return_std=True)
        >>> bool(std[1, 0] > 10 * std[0, 0])
        True
        """
        if not return_std:
            committee, units = self._fitted()
            rows = units.rows(checked_features(self, X))
            return units.raw_gradient(committee.input_gradient(rows))
        committee, units, rows = self._with_posterior(X)
        gradient, deviation = committee.gradient_and_deviation(rows)
        return units.raw_gradient(gradient), units.raw_gradient(deviation)

    def predict_std_gradient(self, X, of: Literal["target", "model"] = "target") -> NDArray:
        """The exact derivatives by the features of the standard deviation that `predict` returns.

        With `predict_gradient` they make the gradient of any function of prediction and error bar,
        such as the expected improvement of Bayesian optimisation.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        of : {"target", "model"}, default="target"
            Whether of ``predict(X, return_std=True)`` or of ``predict(X, return_std="model")``.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            ∂std/∂x in units of y per unit of x; 0 where std is 0.

        Raises
        ------
        NotFittedError, ValueError
            As `predict` does with ``return_std=True``; a ValueError too if ``of`` is another word.

        Warns
        -----
        UserWarning
            As `predict` does with ``return_std=True``.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPSigmoidRegressor
        >>> x = np.linspace(0, 10, 200)[:, None]
        >>> model = MLPSigmoidRegressor(20, alpha="evidence", random_state=0)
        >>> model = model.fit(x, np.sin(x[:, 0]))
        >>> model.predict_std_gradient([[-1.0], [11.0]])[:, 0] > 0  # the bars open on both sides
        array([False,  True])
        """
        if of not in ("target", "model"):
            raise ValueError(f"of={of!r}; it is 'target' or 'model'.")
        committee, units, rows = self._with_posterior(X)
        return units.raw_gradient(committee.deviation_gradient(rows, of))

    def predict_hessian(self, X) -> NDArray:
        """The exact second derivatives of the prediction by the features, at the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features, n_features) or \
                (n_samples, n_outputs, n_features, n_features)
            ∂²y/∂x_i∂x_j in units of y per unit of x_i and unit of x_j, symmetric.

        Raises
        ------
        NotFittedError, ValueError
            As `predict` does; a ValueError too, with the size, if the result does not fit the
            memory of this machine.

        Examples
        --------
        >>> import numpy as np
        >>> from skprop import MLPSigmoidRegressor
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> y = X[:, 0] ** 2 + X[:, 0] * X[:, 1] - X[:, 1] ** 2
        >>> model = MLPSigmoidRegressor(10, alpha="evidence", random_state=0).fit(X, y)
        >>> model.predict_hessian([[0.0, 0.0]]).round(1)
        array([[[ 2.,  1.],
                [ 1., -2.]]])
        """
        committee, units = self._fitted()
        rows = units.rows(checked_features(self, X))
        return units.raw_gradient(committee.input_hessian(rows))

    def _fitted(self, with_posterior: bool = False) -> tuple[Committee, StandardUnits]:
        """The committee of the fitted networks, and the units in which it works."""
        if "theta_" not in vars(self):
            check_is_fitted(self, "theta_")  # raises; it takes as long as the product of a row
        setup = Setup.of(self)
        layout, activation = setup.layout, setup.output_activation
        networks = [Network(layout, theta, activation) for theta in self._of_members("theta_")]
        if not with_posterior:
            return Committee(networks), setup.units
        self._settle()
        if "_noise" not in vars(self):
            raise ValueError(
                f"return_std=True needs the posterior of the {self.theta_.shape[-1]} parameters, "
                "which fit did not compute by itself. Call fit_posterior(X, y) with the training "
                "data."
            )
        noises = [np.atleast_1d(noise) for noise in self._of_members("_noise")]
        factors, shifts = self._of_members("_factor"), self._of_members("_shift")
        return Committee(networks, factors, noises, shifts), setup.units

    def _training_data(self, X, y, sample_weight, expected: Expected | None, dydx) -> Data:
        """The rows to learn from; see `skprop.data.training_data`."""
        return training_data(self, X, y, sample_weight, expected, dydx)

    def _of_members(self, name: str) -> list:
        """A fitted attribute of each member; none if there is no such attribute."""
        value = vars(self).get(name)
        if value is None:
            return []
        return [value] if self.theta_.ndim == 1 else list(value)
