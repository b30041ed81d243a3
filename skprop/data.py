"""Validated rows: features, targets and weights, as scikit-learn checks them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from .checks import FLOATS, checked_slopes, checked_weights, refuse_unread
from .rows import Rows
from .scaling import StandardUnits
from .threads import ignoring_overflow

__all__ = [
    "Data", "Expected", "as_columns", "checked_features", "held_out_data", "r2_of_targets",
    "training_data",
]  # fmt: skip


class Expected(NamedTuple):
    """The number of outputs and the precision that an earlier fit fixed."""

    n_outputs: int
    dtype: str


class Data(NamedTuple):
    """Validated rows; nothing is ever changed in place.

    Attributes
    ----------
    rows : Rows
        Raw features.
    y : ndarray of shape (n_samples, n_outputs)
        Raw targets, in float64. In the place of one of weight 0, as that which is missing, stands
        the first other one of its output.
    weight : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None
        Of the rows, or of their targets.
    single_output : bool
        Whether y was given as a vector.
    feature_names : ndarray of str or None
    slopes : ndarray of shape (n_samples, n_outputs, n_features) or None
        Raw slopes of the targets, NaN where not known.
    """

    rows: Rows
    y: NDArray
    weight: NDArray | None
    single_output: bool
    feature_names: NDArray | None
    slopes: NDArray | None = None

    def take(self, index: NDArray) -> Self:
        """Select rows by number."""
        weight = None if self.weight is None else self.weight[index]
        slopes = None if self.slopes is None else self.slopes[index]
        return self._replace(
            rows=self.rows.take(index), y=self.y[index], weight=weight, slopes=slopes
        )

    @property
    def expected(self) -> Expected:
        """The number of outputs and the precision that a fit to these rows fixes."""
        return Expected(self.y.shape[1], self.rows.dtype.name)

    def units(self, output_activation: str) -> StandardUnits:
        """The standard units of these rows."""
        return StandardUnits.fitted(self, output_activation)

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Rows to train on, and a random share of them to hold out for early stopping."""
        n = len(self.y)
        if n < 2:
            raise ValueError(
                f"early_stopping=True needs rows to train on and rows to hold out; n_samples={n}. "
                "Set early_stopping=False."
            )
        train, held_out = train_test_split(np.arange(n), test_size=fraction, random_state=seed)
        return self.take(np.sort(train)), self.take(np.sort(held_out))


class _Names(NamedTuple):
    """The names of the arrays in messages."""

    X: str
    y: str
    weight: str


_TRAINING = _Names("X", "y", "sample_weight")
_HELD_OUT = _Names("X_val", "y_val", "sample_weight_val")


@ignoring_overflow()
def training_data(
    estimator, X, y, sample_weight, expected: Expected | None = None, dydx=None
) -> Data:
    """Validate the data of `fit`, with ``expected`` against the features of the estimator.

    The estimator stays as it is, so that it can be used while other data are read.
    """
    refuse_unread(X, _TRAINING.X)
    y, missing = _without_missing(_checked_type(y, _TRAINING), estimator, _TRAINING)
    checker = _blank(estimator) if expected is None else estimator
    with _naming_text(X, _TRAINING.X):
        X, y = validate_data(
            checker,
            X,
            y,
            reset=expected is None,
            accept_sparse="csr",
            dtype=FLOATS,
            multi_output=True,
        )
    names = getattr(checker, "feature_names_in_", None)
    return _data_of(X, y, sample_weight, missing, names, expected, _TRAINING, dydx)


@ignoring_overflow()
def held_out_data(estimator, data: Data, X, y, sample_weight, expected: Expected) -> Data:
    """Validate rows to watch while an estimator is fitted to ``data``."""
    refuse_unread(X, _HELD_OUT.X)
    y, missing = _without_missing(_checked_type(y, _HELD_OUT), estimator, _HELD_OUT)
    with _naming_text(X, _HELD_OUT.X):
        x = check_array(X, accept_sparse="csr", dtype=FLOATS, input_name="X_val")
    n_features = data.rows.shape[1]
    if x.shape[1] != n_features:
        raise ValueError(f"X_val has {x.shape[1]} features, not {n_features} features.")
    checker = _blank(estimator)
    checker.n_features_in_ = n_features
    if data.feature_names is not None:
        checker.feature_names_in_ = data.feature_names
    validate_data(checker, X, reset=False, skip_check_array=True)  # the names of the features
    y = check_array(y, dtype=None, ensure_2d=False, input_name="y_val")
    if len(y) != x.shape[0]:
        raise ValueError(f"X_val has {x.shape[0]} rows, y_val has {len(y)}.")
    return _data_of(x, y, sample_weight, missing, data.feature_names, expected, _HELD_OUT)


def _blank(estimator):
    """An estimator of the same class without attributes, on which scikit-learn notes features."""
    return object.__new__(type(estimator))


@contextmanager
def _naming_text(X, name: str) -> Iterator[None]:
    """Add to an error of the checks of X which column holds text, and what to do about it."""
    try:
        yield
    except ValueError as error:
        column = _first_of_text(X)
        if column is None:
            raise
        raise ValueError(
            f"{error}. Column {column!r} of {name} holds text. Turn it into numbers first, "
            f"a category for example by make_column_transformer((OneHotEncoder(), [{column!r}]), "
            "remainder='passthrough'), or leave it out."
        ) from error


def _first_of_text(X):
    """The name, or else the number, of the first column with a text that is no number."""
    if hasattr(X, "columns"):
        columns = [(name, X[name]) for name in X.columns]
    else:
        try:
            array = np.asarray(X, dtype=object)
        except ValueError:  # rows of different lengths
            return None
        columns = list(enumerate(array.T)) if array.ndim == 2 else []
    for name, values in columns:
        values = np.asarray(values)
        if values.dtype.kind in "OUST" and any(map(_is_text, values)):
            return name
    return None


def _is_text(value) -> bool:
    if not isinstance(value, str | bytes):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _checked_type(y, names: _Names):
    """Refuse a sparse y, and turn numbers that came as objects into float64, so that what is wrong
    with them is said of y."""
    refuse_unread(y, names.y)
    if issparse(y):
        raise TypeError(f"{names.y} is sparse; only X may be. Use {names.y}.toarray().")
    if isinstance(y, list | np.ndarray):
        try:
            array = np.asarray(y)
            return array.astype(np.float64) if array.dtype == object else y
        except (TypeError, ValueError):
            pass  # the checks to come say why
    return y


def _without_missing(y, estimator, names: _Names) -> tuple:
    """The targets with 0 in the place of each that is missing, and where that is; y itself and
    None unless missing ones are to be ignored."""
    if estimator.missing_targets == "error":
        return y, None
    y = check_array(
        y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan", input_name=names.y
    )
    missing = np.isnan(y)
    if not missing.any():
        return y, None
    return np.where(missing, 0.0, y), missing


def _data_of(
    X, y, sample_weight, missing, feature_names, expected: Expected | None, names: _Names,
    dydx=None,
) -> Data:  # fmt: skip
    """Check targets and weights, and leave out rows of zero weight."""
    if y.dtype.kind not in "biuf":
        try:
            y = y.astype(np.float64) if y.dtype.kind == "O" else None
        except (TypeError, ValueError):
            y = None
        if y is None:
            raise ValueError(f"{names.y} is not numeric. Turn it into numbers first.")
    targets = np.array(as_columns(y), dtype=np.float64)
    data = Data(Rows(X), targets, None, y.ndim == 1, feature_names)
    n_outputs, dtype = expected or data.expected
    if data.y.shape[1] != n_outputs:
        raise ValueError(
            f"{names.y} has {data.y.shape[1]} outputs; the model was fitted with {n_outputs}."
        )
    if np.abs(data.y).max() > np.finfo(dtype).max:
        raise ValueError(
            f"{names.y} has values beyond {dtype}, the dtype of X. Rescale it, or set X to float64."
        )
    if dydx is not None:
        if data.rows.sparse:
            raise ValueError("dydx is given, but X is sparse. Use X.toarray().")
        data = data._replace(slopes=checked_slopes(dydx, (*targets.shape, data.rows.shape[1])))
    weight = _weights_of(sample_weight, missing, targets.shape, names)
    if weight is None:
        return data
    if weight.ndim == 2:
        first = np.take_along_axis(targets, weight.astype(bool).argmax(axis=0)[None], axis=0)
        targets = np.where(weight == 0, first, targets)
    data, used = data._replace(y=targets, weight=weight), as_columns(weight).any(axis=1)
    data = data if used.all() else data.take(np.flatnonzero(used))
    one_each = sample_weight is None and bool((data.weight == 1).all())
    return data._replace(weight=None) if one_each else data


def _weights_of(sample_weight, missing, shape: tuple, names: _Names) -> NDArray | None:
    """The weights of rows or of targets, 0 for those that are missing; None if all are 1."""
    weight = None
    if sample_weight is not None:
        weight = checked_weights(sample_weight, *shape, names.weight)
    if missing is not None:
        weight = np.ones(shape[0]) if weight is None else weight
        weight = np.where(missing.reshape(shape), 0.0, weight.reshape(shape[0], -1))
    if weight is not None and weight.ndim == 2:
        none = np.flatnonzero(~weight.any(axis=0))
        if len(none):
            raise ValueError(
                f"Every target of output {none[0]} in {names.y} is NaN or has weight 0: none is "
                "left. Leave that output out."
            )
        if shape[1] == 1:
            weight = weight[:, 0]
    return weight


def as_columns(values: NDArray) -> NDArray:
    """A column for each output, also where there are no rows."""
    return values[:, None] if values.ndim == 1 else values


def r2_of_targets(estimator, y, prediction: NDArray, sample_weight) -> float:
    """The mean over the outputs of R² on the targets that are there, with their weights."""
    y, missing = _without_missing(_checked_type(y, _TRAINING), estimator, _TRAINING)
    y, prediction = as_columns(np.asarray(y)), as_columns(prediction)
    weight = _weights_of(sample_weight, missing, y.shape, _TRAINING)
    weight = np.ones(len(y)) if weight is None else weight
    columns = np.broadcast_to(as_columns(weight), y.shape).T
    scores = [
        r2_score(y_k[w > 0], f_k[w > 0], sample_weight=w[w > 0])
        for y_k, f_k, w in zip(y.T, prediction.T, columns, strict=True)
    ]
    return float(np.mean(scores))


def checked_features(estimator, X):
    """Validate the X of a prediction: a finite array or CSR matrix with the features of the fit."""
    # For a single row `validate_data` takes longer than all the rest of `predict`.
    if (
        type(X) is np.ndarray
        and X.dtype in FLOATS
        and X.ndim == 2
        and X.shape[1] == estimator.n_features_in_
        and 0 < X.size <= 4096
        and "feature_names_in_" not in vars(estimator)
        and bool(np.isfinite(X).all())
    ):
        return X
    refuse_unread(X, _TRAINING.X)
    with ignoring_overflow(), _naming_text(X, _TRAINING.X):
        return validate_data(estimator, X, accept_sparse="csr", dtype=FLOATS, reset=False)
