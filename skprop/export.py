"""A fitted model out of Python: as JSON that anything can read, and as a C99 file."""

import json
import re
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from .c_source import Averaged, c_source
from .committee import Committee
from .factors import restored
from .layout import Layout
from .network import Network
from .predictions import FittedNetworks
from .scaling import StandardUnits

__all__ = ["Predictor", "from_json", "to_c", "to_json"]

_FORMAT, _VERSION = "skprop-network", 1


def to_json(model: FittedNetworks, error_bars: bool = False) -> str:
    """A fitted model as JSON: its sizes, activations and weights, in the units of the data.

    A reader needs no scaling: f_0 = x, f_i = σ(f_h A_h + b_h), h = i - 1, the mean of f_K over
    the networks, times ``output_scale``, plus ``output_offset``. The page on export has the table
    of all fields. Floats are written with the digits that make them the same number again.

    Parameters
    ----------
    model : MLPSigmoidRegressor
        A fitted one.
    error_bars : bool, default=False
        Whether to write the posterior too, of P × min(N, P) numbers for each network.

    Returns
    -------
    str

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If ``model`` is no `MLPSigmoidRegressor`.
    ValueError
        If the weights overflow in the units of the data; with ``error_bars``, where
        `MLPSigmoidRegressor.fit_posterior` has to be called first.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skprop import MLPSigmoidRegressor
    >>> from skprop.export import from_json, to_json
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPSigmoidRegressor(5, random_state=0).fit(X, y)
    >>> predictor = from_json(to_json(model))
    >>> bool(np.allclose(predictor.predict(X), model.predict(X), rtol=1e-12))
    True
    """
    networks = _averaged(model, centred=False)
    layout, d_K = Layout(networks.sizes), networks.sizes[-1]
    names = vars(model).get("feature_names_in_")
    K = layout.n_layers
    scale, offset = networks.to_raw or (np.ones(d_K), np.zeros(d_K))
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "sizes": list(networks.sizes),
        "activations": ["sigmoid"] * (K - 1) + [networks.output_activation],
        "single_output": bool(model._fitted()[1].single_output),
        "feature_names": None if names is None else [str(name) for name in names],
        "output_scale": _listed(scale),
        "output_offset": _listed(offset),
        "networks": [
            {"weights": [_listed(A) for A, _ in layers], "biases": [_listed(b) for _, b in layers]}
            for layers in map(layout.views, networks.thetas)
        ],
        "error_bars": _posterior_content(model) if error_bars else None,
    }
    return json.dumps(content, allow_nan=False, ensure_ascii=False)


def _posterior_content(model: FittedNetworks) -> dict[str, Any]:
    """The posterior of a model, in the standard units in which it was computed."""
    committee, units = model._fitted(with_posterior=True)
    n = len(committee.networks)
    factors: list = [_listed(_lower(factor)) for factor in committee.factors] or [None] * n
    shifts: list = [_listed(shift) for shift in committee.shifts] or [None] * n
    return {
        "x_mean": None if units.x is None else _listed(units.x.mean_),
        "x_scale": None if units.x is None else _listed(units.x.scale_),
        "y_mean": None if units.y is None else _listed(units.y.mean_),
        "y_scale": None if units.y is None else _listed(units.y.scale_),
        "networks": [
            {"theta": _listed(net.theta), "factor": factor, "noise": _listed(noise), "shift": shift}
            for net, factor, noise, shift in zip(
                committee.networks, factors, committee.noises, shifts, strict=True
            )
        ],
    }


def _lower(factor: NDArray) -> NDArray:
    """The stored form of H, with zeros above the diagonal, which nothing reads."""
    return np.tril(factor) if len(factor) == factor.shape[1] else factor


def _listed(values: NDArray) -> list:
    """An array as lists of floats; those of float32 as the float64 that they are."""
    return values.astype(np.float64).tolist()


class Predictor(NamedTuple):
    """What `from_json` makes: a fitted model that can predict, and no more.

    Attributes
    ----------
    committee : Committee
        The networks, in the units of the data.
    units : StandardUnits
        The scaling of the mean of their outputs: none, unless the outputs are sigmoids.
    feature_names : tuple of str, or None
        The columns of X, in their order.
    posterior : tuple of Committee and StandardUnits, or None
        The networks with their posteriors, in standard units, if they were written.
    """

    committee: Committee
    units: StandardUnits
    feature_names: tuple[str, ...] | None
    posterior: tuple[Committee, StandardUnits] | None

    @overload
    def predict(self, X, return_std: Literal[False] = False) -> NDArray: ...

    @overload
    def predict(self, X, return_std: Literal[True, "model"]) -> tuple[NDArray, NDArray]: ...

    def predict(self, X, return_std=False):
        """Predict the targets of the rows of X, in float64.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns in the order of ``feature_names``.
        return_std : bool or "model", default=False
            As in `MLPSigmoidRegressor.predict`; it needs ``to_json(model, error_bars=True)``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of the same shape
            With ``return_std``.

        Raises
        ------
        ValueError
            If X is invalid, or ``return_std`` is asked for and no error bars were written.
        """
        X = self._checked(X)
        mean = self.units.raw(self.committee.mean(self.units.rows(X)))
        if return_std is False:
            return mean
        if return_std not in (True, "model"):
            raise ValueError(f"return_std={return_std!r}; it is True, False or 'model'.")
        if self.posterior is None:
            raise ValueError(
                "return_std=True needs the posterior, which was not written. Use "
                "to_json(model, error_bars=True)."
            )
        committee, units = self.posterior
        of = "model" if return_std == "model" else "target"
        deviation = committee.mean_and_deviation(units.rows(X), of)[1]
        return mean, units.raw_deviation(deviation)

    def predict_gradient(self, X) -> NDArray:
        """The derivatives of the prediction by the features, at the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)

        Raises
        ------
        ValueError
            If X is invalid.
        """
        rows = self.units.rows(self._checked(X))
        return self.units.raw_gradient(self.committee.input_gradient(rows))

    def _checked(self, X) -> NDArray:
        X = check_array(X, dtype=np.float64, input_name="X")
        n_features = self.committee.networks[0].layout.sizes[0]
        if X.shape[1] != n_features:
            raise ValueError(f"X has {X.shape[1]} features; the model has {n_features}.")
        return X


def from_json(text: str | bytes) -> Predictor:
    """Read what `to_json` has written.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    Predictor
        With ``predict`` and ``predict_gradient``. It computes in float64.

    Raises
    ------
    ValueError
        If the text is not JSON of this format and a known version, or its parts do not fit
        together; the message names the field.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f'The text is not of to_json: its field "format" is not "{_FORMAT}".')
    if content.get("version") != _VERSION:
        raise ValueError(
            f'The field "version" is {content.get("version")!r}; this version of skprop reads '
            f"{_VERSION}."
        )
    try:
        return _predictor(content)
    except KeyError as error:
        raise ValueError(f'The field "{error.args[0]}" is missing.') from None
    except TypeError as error:
        raise ValueError(f"A field is not of its type: {error}.") from None


def _predictor(content: dict[str, Any]) -> Predictor:
    layout, activation = Layout(content["sizes"]), content["activations"][-1]
    if content["activations"] != ["sigmoid"] * (layout.n_layers - 1) + [activation] or (
        activation not in ("identity", "sigmoid")
    ):
        raise ValueError(
            f'The field "activations" is {content["activations"]}; it is "sigmoid" for each '
            'hidden layer, and "identity" or "sigmoid" for the last one.'
        )
    single = bool(content["single_output"])
    thetas = []
    for network in content["networks"]:
        weights, biases = network["weights"], network["biases"]
        if len(weights) != len(biases):
            raise ValueError(
                f'The field "weights" has {len(weights)} layers, and "biases" {len(biases)}.'
            )
        layers = zip(weights, biases, strict=True)
        thetas.append(layout.pack([(_array(A), _array(b)) for A, b in layers]))
    if not thetas or not np.isfinite(thetas).all():
        raise ValueError('The field "networks" is empty, or has numbers that are not finite.')
    y = None
    if activation == "sigmoid":
        y = _scaler(content["output_offset"], content["output_scale"])
    names = content["feature_names"]
    return Predictor(
        Committee([Network(layout, theta, activation) for theta in thetas]),
        StandardUnits(None, y, "float64", single),
        None if names is None else tuple(names),
        _posterior(content.get("error_bars"), layout, activation, single),
    )


def _posterior(content, layout: Layout, activation: str, single: bool):
    if content is None:
        return None
    networks = content["networks"]
    factors = [_array(n["factor"]) for n in networks if n["factor"] is not None]
    for factor in factors:
        restored(factor)  # raises
    committee = Committee(
        [Network(layout, _array(n["theta"]), activation) for n in networks],
        factors,
        [_array(n["noise"]) for n in networks],
        [_array(n["shift"]) for n in networks if n["shift"] is not None],
    )
    x = _scaler(content["x_mean"], content["x_scale"])
    y = _scaler(content["y_mean"], content["y_scale"])
    return committee, StandardUnits(x, y, "float64", single)


def _scaler(mean: list | None, scale: list | None) -> StandardScaler | None:
    if mean is None or scale is None:
        return None
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = _array(mean), _array(scale)
    return scaler


def _array(values) -> NDArray:
    return np.array(values, dtype=np.float64)


def to_c(
    model: FittedNetworks,
    name: str = "network",
    dtype: Literal["double", "float"] = "double",
    gradient: bool = True,
) -> str:
    """A fitted model as a C99 file, without dependencies or allocation.

    It defines, for ``dtype="double"``::

        void NAME_predict(const double *x, double *y);       /* n_outputs numbers */
        void NAME_gradient(const double *x, double *dydx);   /* n_outputs rows of n_features */

    x has the raw features of one row, y the raw targets, and dydx their derivatives. The networks
    of a committee are averaged. The file needs ``<math.h>`` alone: link with ``-lm``.

    Parameters
    ----------
    model : MLPSigmoidRegressor
        A fitted one.
    name : str, default="network"
        What all names in the file begin with: a letter, then letters, digits and underscores.
    dtype : {"double", "float"}, default="double"
        The type of all numbers.
    gradient : bool, default=True
        Whether to define ``NAME_gradient``.

    Returns
    -------
    str

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If ``model`` is no `MLPSigmoidRegressor`.
    ValueError
        If ``name`` or ``dtype`` is invalid, or the weights are beyond the range of ``dtype``.

    Notes
    -----
    The means are subtracted before the first layer, so features far from zero, such as 10,000 ± 1,
    lose no digits in float either.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skprop import MLPSigmoidRegressor
    >>> from skprop.export import to_c
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPSigmoidRegressor(5, random_state=0).fit(X, y)
    >>> source = to_c(model, "diabetes", dtype="float")
    >>> "void diabetes_predict(const float *x, float *y);" in source
    True
    """
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)):
        raise ValueError(f"name={name!r}; it is a letter, then letters, digits and underscores.")
    if dtype not in ("double", "float"):
        raise ValueError(f"dtype={dtype!r}; it is 'double' or 'float'.")
    precision = np.float32 if dtype == "float" else np.float64
    networks = _averaged(model, centred=True, dtype=precision)
    if dtype == "float":
        _check_range(networks)
    from . import __version__

    title = f"{name}: a network that skprop {__version__} has fitted"
    names = vars(model).get("feature_names_in_", ())
    return c_source(networks, name, dtype, gradient, title, names)


def _averaged(model: FittedNetworks, centred: bool, dtype: type = np.float64) -> Averaged:
    """The networks of a model in raw units; ``centred`` leaves the means of the features, in the
    given precision, to be subtracted."""
    if not isinstance(model, FittedNetworks):
        raise TypeError(
            f"{type(model).__name__} is not an MLPSigmoidRegressor. Of a pipeline give the last "
            "step; what the steps before it do is left to the caller."
        )
    committee, units = model._fitted()
    layout, _, activation = committee.networks[0]
    centre = np.zeros(layout.sizes[0])
    if centred and units.x is not None:
        with np.errstate(over="ignore"):
            centre = units.x.mean_.astype(dtype).astype(np.float64)
        centre = np.where(np.isfinite(centre), centre, units.x.mean_)  # which is refused
    thetas = [
        layout.pack(units.raw_network(layout.views(network.theta), activation, centre))
        for network in committee.networks
    ]
    scaled = activation == "sigmoid" and units.y is not None
    to_raw = (units.scale, units.mean) if scaled else None
    return Averaged(layout.sizes, activation, np.array(thetas), centre, to_raw)


def _check_range(networks: Averaged) -> None:
    """A ValueError if the numbers of the networks are beyond float32."""
    limits, layout = np.finfo(np.float32), Layout(networks.sizes)
    held = [networks.thetas, networks.centre, *(networks.to_raw or ())]
    first, last = layout.views(networks.thetas)[0][0], layout.views(networks.thetas)[-1][0]
    used = [np.abs(first).max(axis=-1), np.abs(last).max(axis=-2)]  # of each input and output
    used += [] if networks.to_raw is None else [networks.to_raw[0]]
    largest = max(np.abs(values).max() for values in held)
    least = min(values[values > 0].min(initial=1) for values in used)
    if not largest <= limits.max or least < limits.tiny:
        raise ValueError(
            f"The weights of the model in the units of the data, between {least:g} and "
            f"{largest:g}, are beyond float32. Use dtype='double'."
        )
