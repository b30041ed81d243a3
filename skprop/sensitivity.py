"""Sensitivities of a fitted network: means of its exact derivatives by the features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .checks import checked_weights

__all__ = ["Sensitivities", "feature_importances", "sensitivities"]

_N_POINTS = 1024  # of a fixed draw, whose error is the same for all features


class Sensitivities(NamedTuple):
    """Derivative-based global sensitivity measures (DGSM) of each feature.

    Attributes
    ----------
    mean : ndarray of shape (n_features,) or (n_outputs, n_features)
        Mean of ∂y/∂x_j, in units of y per unit of x_j: of either sign, and 0 where slopes cancel.
    absolute, squared : ndarray of the same shape
        Mean of ``|∂y/∂x_j|``, often called μ*, and of (∂y/∂x_j)², called ν (units squared).
    standardized_absolute, standardized_squared : ndarray of the same shape
        The same per standard deviation: μ* s_j/s_y and ν s_j²/s_y², with s_j that of the feature
        and s_y that of the prediction over the rows. They compare features of different units.
        Of a linear function the first is the standardised coefficient.
    """

    mean: NDArray
    absolute: NDArray
    squared: NDArray
    standardized_absolute: NDArray
    standardized_squared: NDArray


def sensitivities(model, X, *, sample_weight: ArrayLike | None = None) -> Sensitivities:
    """Derivative-based sensitivities of the predictions to each feature (DGSM).

    Parameters
    ----------
    model : MLPSigmoidRegressor
        A fitted one. Of a pipeline give the last step, and the rows as they reach it.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows over which derivatives are averaged, in units of the fit, such as the training
        rows.
    sample_weight : array-like of shape (n_samples,), optional
        Of each row in all means and standard deviations; by default 1.

    Returns
    -------
    Sensitivities
        In float64; of shape (n_outputs, n_features) where y was given to `fit` with two axes.

    Raises
    ------
    NotFittedError, ValueError
        As `MLPSigmoidRegressor.predict` does; also if weights are invalid.

    See Also
    --------
    feature_importances : Without rows, for scikit-learn's `RFE` and `SelectFromModel`.

    Notes
    -----
    If the features are independent, ``standardized_squared`` is an upper bound of the total Sobol'
    index of a feature, the share of the variance of f in which the feature has a part. That holds
    for a normal feature; for a feature that is uniform on an interval the bound is 12/π² = 1.22
    times as large. For correlated features, such as those of most tables, it measures steepness and
    is no share of a variance.

    References
    ----------
    I. M. Sobol' and S. Kucherenko, "Derivative based global sensitivity measures and their link
    with global sensitivity indices", Mathematics and Computers in Simulation 79 (2009), 3009-3017;
    for other distributions M. Lamboni, B. Iooss, A.-L. Popelin and F. Gamboa, "Derivative-based
    global sensitivity measures: general links with Sobol' indices and numerical tests", the same
    journal 87 (2013), 45-54.

    Examples
    --------
    >>> import numpy as np
    >>> from skprop import MLPSigmoidRegressor, sensitivities
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 3)) * [1, 100, 1]
    >>> y = X[:, 0] ** 2 + X[:, 1] / 100
    >>> model = MLPSigmoidRegressor(10, alpha="evidence", random_state=0).fit(X, y)
    >>> found = sensitivities(model, X)
    >>> found.absolute.round(2)  # ∂y/∂x_0 = 2 x_0, ∂y/∂x_1 = 1/100
    array([1.01, 0.01, 0.  ])
    >>> bool(abs(found.mean[0]) < 0.1)  # its slopes cancel
    True
    >>> found.standardized_squared.round(1)
    array([1.2, 0.8, 0. ])
    """
    gradient = np.asarray(model.predict_gradient(X), np.float64)
    prediction = np.asarray(model.predict(X), np.float64)
    n = len(gradient)
    w = None if sample_weight is None else checked_weights(sample_weight, n, 1).reshape(n)
    spread_x = np.sqrt(StandardScaler(with_mean=False).fit(X, sample_weight=w).var_)
    centre = np.average(prediction, axis=0, weights=w)
    spread_y = np.sqrt(np.average((prediction - centre) ** 2, axis=0, weights=w))[..., None]
    of_standard = np.divide(
        spread_x, spread_y, where=spread_y > 0, out=np.zeros(gradient.shape[1:])
    )
    mean, absolute, squared = (
        np.average(values, axis=0, weights=w) for values in (gradient, abs(gradient), gradient**2)
    )
    return Sensitivities(mean, absolute, squared, absolute * of_standard, squared * of_standard**2)


def feature_importances(model) -> NDArray:
    """How much each feature moves the predictions, for `RFE`, `SelectFromModel` and the like.

    The root mean square of ∂y/∂x_j, per standard deviations of y and x_j, over 1,024 normal rows,
    always the same, with the means and standard deviations of the training features: a model
    keeps no training rows. Where features are correlated, such rows lie between and beside those of
    the data; `sensitivities` takes rows of your own.

    Parameters
    ----------
    model : MLPSigmoidRegressor or Pipeline
        A fitted one; of a pipeline the last step is asked, so it has to have a column for each
        feature. Without ``standardize`` the rows have mean 0 and standard deviation 1.

    Returns
    -------
    ndarray of shape (n_features,) or (n_outputs, n_features)
        Not negative; the square root of ``standardized_squared`` of `sensitivities`. Of a linear
        function it is the absolute standardised coefficient.

    Raises
    ------
    NotFittedError
        Before `fit`.

    See Also
    --------
    sensitivities : Over rows of your own, in units.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn.feature_selection import SelectFromModel
    >>> from skprop import MLPSigmoidRegressor, feature_importances
    >>> X, y = make_friedman1(200, n_features=8, random_state=0)  # the first five matter
    >>> model = MLPSigmoidRegressor(10, alpha=0.1, random_state=0)
    >>> select = SelectFromModel(model, importance_getter=feature_importances, threshold=0.1)
    >>> select.fit(X, y).get_support(indices=True)
    array([0, 1, 2, 3, 4])
    """
    network = model[-1] if isinstance(model, Pipeline) else model
    check_is_fitted(network, "theta_")
    X = np.random.default_rng(0).standard_normal((_N_POINTS, network.n_features_in_))
    scaler = network.x_scaler_
    if scaler is not None:
        X = X * scaler.scale_ + scaler.mean_
    return np.sqrt(sensitivities(network, X).standardized_squared)
