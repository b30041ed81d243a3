"""What rows, weights and penalties of an objective may be."""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.utils import check_array

from .rows import Rows
from .threads import ignoring_overflow

__all__ = [
    "FLOATS", "checked_alphas", "checked_rows", "checked_slopes", "checked_spreads",
    "checked_weights", "refuse_unread",
]  # fmt: skip

# What has its rows elsewhere, by the package of its type, and what to do about it.
_UNREAD = {
    "dask": "skprop.dask.DaskMLPSigmoidRegressor, or {name}.compute() where it fits the memory",
    "dask_expr": "skprop.dask.DaskMLPSigmoidRegressor, or {name}.compute()",
    "zarr": "{name}[:] where it fits the memory; else partial_fit with slices of it, or "
    "dask.array.from_zarr with skprop.dask.DaskMLPSigmoidRegressor",
    "h5py": "{name}[:] where it fits the memory; else partial_fit with slices of it, or "
    "dask.array.from_array with skprop.dask.DaskMLPSigmoidRegressor",
    "polars": "{name}.collect() where it fits the memory; else partial_fit with parts of it",
}

FLOATS = [np.float64, np.float32]


@ignoring_overflow()
def checked_rows(X, rows: Rows) -> Rows:
    """The rows of another matrix, validated, with the features and the scaler of ``rows``."""
    X = check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X")
    if X.shape[1] != rows.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features; the objective has {rows.shape[1]}.")
    return rows.like(X)


def checked_alphas(alpha: float | ArrayLike, n_layers: int) -> NDArray:
    """The α of each layer; a ValueError unless they are finite numbers ≥ 0."""
    try:
        alphas = np.array([alpha] * n_layers if isinstance(alpha, Real) else alpha, np.float64)
    except (TypeError, ValueError):
        alphas = np.empty(0)
    if alphas.shape != (n_layers,) or not np.all((alphas >= 0) & (alphas < math.inf)):
        raise ValueError(
            f"alpha={alpha!r}; it is a number ≥ 0, or {n_layers} of them, one for each layer."
        )
    return alphas


def checked_spreads(initial_spread: float | ArrayLike | None) -> tuple[float | None, ...]:
    """The spreads of the starts of members in turn; a ValueError unless they are positive."""
    if initial_spread is None:
        return (None,)
    try:
        spreads = np.array(initial_spread, np.float64, ndmin=1)
    except (TypeError, ValueError):
        spreads = np.empty(0)
    if spreads.ndim != 1 or not len(spreads) or not np.all((spreads > 0) & (spreads < math.inf)):
        raise ValueError(
            f"initial_spread={initial_spread!r}; it is a positive number, several of them, which "
            "members take in turn, or None."
        )
    return tuple(map(float, spreads))


@ignoring_overflow()
def checked_weights(
    sample_weight: ArrayLike, n_samples: int, n_outputs: int, name: str = "sample_weight"
) -> NDArray:
    """Weights of rows or of targets in float64; a ValueError unless they are ≥ 0, finite and not
    all 0."""
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, sample_weight)
    w = check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name=name)
    if w.shape not in ((n_samples,), (n_samples, n_outputs)):
        outputs = f" and {n_outputs} outputs" if w.ndim > 1 else ""
        raise ValueError(f"{name} has shape {w.shape}; there are {n_samples} rows{outputs}.")
    if w.min() < 0:
        raise ValueError(f"{name} has negative values, the least {w.min():g}. Use weights ≥ 0.")
    if w.max() == 0:
        raise ValueError(f"{name} is all zero: no row is left. Give some rows a weight above 0.")
    return w


@ignoring_overflow()
def checked_slopes(dydx: ArrayLike, shape: tuple[int, int, int], name: str = "dydx") -> NDArray:
    """Slopes in float64, of shape (n_samples, n_outputs, n_features), with NaN where not known; a
    ValueError if the shape is another one, or one is infinite."""
    slopes = check_array(
        dydx, dtype=np.float64, ensure_2d=False, allow_nd=True, ensure_all_finite="allow-nan",
        ensure_min_features=0, input_name=name,
    )  # fmt: skip
    n, n_outputs, n_features = shape
    if slopes.shape == (n, n_features) and n_outputs == 1:
        slopes = slopes[:, None]
    if slopes.shape != shape:
        wanted = f"({n}, {n_features}) or {shape}" if n_outputs == 1 else f"{shape}"
        raise ValueError(
            f"{name} has shape {slopes.shape}; for {n} rows, outputs and features it is {wanted}."
        )
    return slopes


def refuse_unread(X, name: str) -> None:
    """A TypeError if X would be read whole without a word, or is a tensor of another library.

    The former are dask collections, zarr and h5py arrays and lazy frames of polars; the latter are
    refused where scikit-learn is told to hand them on.
    """
    if type(X) is np.ndarray:
        return
    package, kind = type(X).__module__.partition(".")[0], type(X).__name__
    if package in _UNREAD and (package != "polars" or kind == "LazyFrame"):
        raise TypeError(
            f"{name} is a {package} {kind}, which would be read whole. Use "
            f"{_UNREAD[package].format(name=name)}."
        )
    is_tensor = hasattr(X, "__array_namespace__") and not isinstance(X, np.ndarray)
    if is_tensor and get_config().get("array_api_dispatch"):
        raise TypeError(
            f"{name} is a {kind} of {package}, and array_api_dispatch is on; skprop computes with "
            f"NumPy. Use numpy.asarray({name}), or turn array_api_dispatch off."
        )
