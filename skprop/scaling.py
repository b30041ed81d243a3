"""Standard units: the scalers of features and targets, fitted block by block, and the way back."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils.sparsefuncs import min_max_axis

from .blocks import MAX_ROWS, split
from .layout import Layout, Params
from .rows import Rows
from .threads import ignoring_overflow

__all__ = [
    "Moments", "StandardUnits", "fit_range_scaler", "fit_scaler", "fit_target_scaler",
    "without_constant",
]  # fmt: skip


class StandardUnits(NamedTuple):
    """The units in which the network works: raw targets y are ``y * scale + mean`` of its own.

    Attributes
    ----------
    x, y : StandardScaler or None
        Of features and of targets; None where they are taken as they are.
    dtype : dtype
        The precision of the arithmetic and of what is returned in raw units.
    single_output : bool
        Whether raw targets are of shape (n,), not (n, n_outputs).
    """

    x: StandardScaler | None
    y: StandardScaler | None
    dtype: str
    single_output: bool

    @classmethod
    def fitted(cls, data, output_activation: str) -> Self:
        """Fit the scalers to a `Data`: to mean 0 and variance 1, the targets of a sigmoid output to
        the range [0.1, 0.9]."""
        weight = data.weight
        of_rows = weight if weight is None or weight.ndim == 1 else weight.mean(axis=1)
        x = fit_scaler(data.rows, of_rows)
        if output_activation == "sigmoid":
            y = fit_range_scaler(Rows(data.y))
        else:
            y = fit_target_scaler(data.y, weight)
        return cls(x, y, data.rows.dtype.name, data.single_output)

    @classmethod
    def of_moments(
        cls, x: "Moments", y: "Moments", output_activation: str, dtype: str, single_output: bool
    ) -> Self:
        """The units that `fitted` finds, from the moments of the rows."""
        of_y = y.range_scaler() if output_activation == "sigmoid" else y.scaler()
        return cls(x.scaler(), of_y, dtype, single_output)

    @property
    def mean(self) -> NDArray:
        """What is added to targets on the way back, of shape (n_outputs,) or (1,)."""
        return np.zeros(1) if self.y is None else self.y.mean_

    @property
    def scale(self) -> NDArray:
        """What targets are multiplied by on the way back, of shape (n_outputs,) or (1,)."""
        return np.ones(1) if self.y is None else self.y.scale_

    def rows(self, X, index: NDArray | None = None) -> Rows:
        """Bind raw rows, so that they are read in standard units."""
        return Rows(X, index=index, scaler=self.x, dtype=self.dtype)

    @ignoring_overflow()
    def targets(self, y: NDArray) -> NDArray:
        """Turn raw targets of shape (n, n_outputs) into standard units, shaped as in `fit`."""
        y = y - self.mean
        y /= self.scale
        return y[:, 0] if self.single_output else y

    @ignoring_overflow()
    def slopes(self, dydx: NDArray) -> NDArray:
        """Turn raw slopes of shape (n, n_outputs, n_features) into standard units."""
        if self.x is None:
            return dydx
        return dydx * self.x.scale_ / self.scale[:, None]

    @ignoring_overflow()
    def raw(self, f: NDArray) -> NDArray:
        """Turn outputs of shape (n, n_outputs) into raw units; a ValueError if one overflows."""
        return self._finite(f if self.y is None else f * self.y.scale_ + self.y.mean_)

    @ignoring_overflow()
    def raw_deviation(self, deviation: NDArray) -> NDArray:
        """Turn standard deviations of shape (n, n_outputs) into raw units."""
        return self._shaped(deviation * self.scale)

    @ignoring_overflow()
    def raw_gradient(self, gradient: NDArray) -> NDArray:
        """Turn derivatives by raw features, of shape (n, n_outputs, n_features, …), into raw units;
        a ValueError if one overflows."""
        scale = self.scale.reshape(-1, *[1] * (gradient.ndim - 2))
        return self._finite(gradient * scale)

    def raw_variance(self, variance: NDArray) -> NDArray:
        """Turn variances of the outputs, of shape (n_outputs,), into raw units."""
        with np.errstate(over="ignore", under="ignore"):
            return (np.sqrt(variance) * self.scale) ** 2

    @ignoring_overflow()
    def raw_network(
        self, layers: Params, output_activation: str, centre: NDArray | float = 0.0
    ) -> Params:
        """The weights and biases of a network that takes raw features, less ``centre``.

        Its outputs are raw targets; those of a sigmoid stay as they are, and `scale` and `mean`
        are still to be applied to them. The first layer becomes D A and b − (μ − c) D A, with
        D = diag(1/s), the last one s_y A and s_y b + μ_y. With c = 0 the bias cancels (μ/s) A x, so
        some log10 |μ/s| of the digits are lost; with c near μ none are.

        Parameters
        ----------
        layers : list of (A_i, b_i)
            In standard units.
        output_activation : {"identity", "sigmoid"}
        centre : ndarray of shape (n_features,) or float, default=0.0

        Returns
        -------
        list of (A_i, b_i)
            New arrays of float64.

        Raises
        ------
        ValueError
            If one of them overflows.
        """
        raw = [(A.astype(np.float64), b.astype(np.float64)) for A, b in layers]
        if self.x is not None:
            A, b = raw[0]
            A /= self.x.scale_[:, None]
            b -= (self.x.mean_ - centre) @ A
        elif np.any(centre):
            A, b = raw[0]
            b += np.broadcast_to(centre, len(A)) @ A
        if self.y is not None and output_activation == "identity":
            A, b = raw[-1]
            A *= self.y.scale_
            b *= self.y.scale_
            b += self.y.mean_
        if not all(np.isfinite(values).all() for layer in raw for values in layer):
            raise ValueError(
                "The weights overflow float64 in the units of X and y: rescale those before the "
                "fit."
            )
        return raw

    def raw_slope_variance(self, variance: NDArray) -> NDArray:
        """Turn variances of slopes, of shape (n_outputs,), into those of raw slopes."""
        with np.errstate(over="ignore", under="ignore"):
            raw = (np.sqrt(variance) * self.scale)[:, None]
            return (raw if self.x is None else raw / self.x.scale_) ** 2

    def _finite(self, values: NDArray) -> NDArray:
        values = self._shaped(values)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argmin(finite.all(axis=tuple(range(1, values.ndim)))))
            raise ValueError(
                f"The prediction for row {row} of X overflows {self.dtype}: is X in the units of "
                "the fit, and did that converge?"
            )
        return values

    def _shaped(self, values: NDArray) -> NDArray:
        values = values.astype(self.dtype, copy=False)
        return values[:, 0] if self.single_output else values


def without_constant(theta: NDArray, layout: Layout, units: StandardUnits, y: NDArray) -> NDArray:
    """A copy of θ whose weights of constant features and of constant targets are zero.

    A weight that starts at zero and has no gradient stays zero: so a constant target is predicted
    exactly, and a feature that was constant in training has no effect later.
    """
    theta, constant = theta.copy(), (y == y[0]).all(axis=0)
    (A_first, _), *_, (A_last, b_last) = 2 * layout.views(theta)
    A_first[units.x.var_ == 0] = 0
    A_last[:, constant], b_last[constant] = 0, 0
    return theta


class Moments(NamedTuple):
    """Extremes, mean and variance of the columns of (weighted) rows; those of parts can be merged.

    Each column is divided by a power of two, which is exact, before its mean and variance are
    taken, so that the variance neither overflows nor vanishes; so are the weights.

    Attributes
    ----------
    n_rows : int
    low, high : ndarray of shape (d,)
        Of the columns as they are.
    exponent : ndarray of int of shape (d,)
        Column j is divided by 2^exponent[j].
    weight : int, float or ndarray of shape (d,)
        The sum of the weights, each divided by 2^weight_exponent; without weights n_rows.
    weight_exponent : int or ndarray of shape (d,)
    mean, variance : ndarray of shape (d,)
        Of the columns divided so.
    """

    n_rows: int
    low: NDArray
    high: NDArray
    exponent: NDArray
    weight: NDArray | float
    weight_exponent: NDArray | int
    mean: NDArray
    variance: NDArray

    @classmethod
    def of(cls, rows: Rows, weights: NDArray | None) -> Self:
        """The moments of rows, dense or CSR, with weights of the rows, in O(block) memory."""
        low, high = _extremes(rows)
        exponent = np.minimum(np.frexp(np.maximum(-low, high))[1], 1023)
        of_weights = 0
        if weights is not None:
            of_weights = np.frexp(weights.max())[1]
            weights = np.ldexp(weights, -of_weights)
        scaler = StandardScaler(with_mean=not rows.sparse)
        for block, x in _blocks(rows):
            if rows.sparse:
                x.data = np.ldexp(x.data, -exponent[x.indices])
            else:
                x = np.ldexp(x, -exponent)
            with np.errstate(invalid="ignore"):  # rounding may leave a variance below 0
                scaler.partial_fit(x, sample_weight=None if weights is None else weights[block])
        n, mean, variance = scaler.n_samples_seen_, scaler.mean_, scaler.var_
        return cls(rows.shape[0], low, high, exponent, n, of_weights, mean, variance)

    @classmethod
    def of_targets(cls, y: NDArray, weights: NDArray | None) -> Self:
        """The moments of targets, with weights of the rows or of the targets.

        A column in which every weight is 0 has no moments, and adds nothing to those of others.
        """
        if weights is None or weights.ndim == 1:
            return cls.of(Rows(y), weights)
        columns = [
            cls.of(Rows(y[:, [k]]), w) if w.any() else _none(len(y))
            for k, w in enumerate(weights.T)
        ]
        _, *fields = zip(*columns, strict=True)
        joined = [np.concatenate([*map(np.atleast_1d, values)]) for values in fields]
        return cls(len(y), *joined)

    def merged(self, other: Self) -> Self:
        """The moments of the rows of both, as T. F. Chan and others (1979) add them.

        The variance is as exact as the means are beside the deviation.
        """
        (w1, w2), of_weights = _alike(self, other, "weight", "weight_exponent", 1)
        (m1, m2), exponent = _alike(self, other, "mean", "exponent", 1)
        (v1, v2), _ = _alike(self, other, "variance", "exponent", 2)
        weight = w1 + w2
        s1, s2 = w1 / np.where(weight > 0, weight, 1), w2 / np.where(weight > 0, weight, 1)
        apart = m2 - m1
        return self._replace(
            n_rows=self.n_rows + other.n_rows,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
            exponent=exponent,
            weight=weight,
            weight_exponent=of_weights,
            mean=m1 + s2 * apart,
            variance=s1 * v1 + s2 * v2 + s1 * s2 * apart**2,
        )

    def scaler(self) -> StandardScaler:
        """To mean 0 and variance 1.

        The mean of a constant column is that constant, not an ulp beside it, and its variance 0.
        """
        n, mean, variance = self.weight, self.mean, self.variance
        constant, eps = self.low == self.high, np.finfo(float).eps
        # scikit-learn's bound of what rounding may make of the variance of a constant
        is_rounding = variance <= n * eps * variance + (n * mean * eps) ** 2
        scaler = StandardScaler()
        scaler.n_features_in_, scaler.n_samples_seen_ = len(mean), n
        with np.errstate(over="ignore", invalid="ignore"):
            scaler.mean_ = np.where(constant, self.low, np.ldexp(mean, self.exponent))
            scale = np.where(is_rounding, 1.0, np.sqrt(variance))
            scaler.scale_ = np.ldexp(scale, self.exponent)
            variance = np.maximum(
                np.ldexp(variance, 2 * self.exponent), np.finfo(float).smallest_subnormal
            )
            scaler.var_ = np.where(constant, 0.0, variance)  # 0 where constant, and only there
        return scaler

    def range_scaler(self) -> StandardScaler:
        """To the range [0.1, 0.9]; see `fit_range_scaler`."""
        return _range_scaler(self.low, self.high, self.n_rows)


def _none(n_rows: int) -> Moments:
    """The moments of a column none of whose rows counts."""
    zero = np.zeros(1)
    return Moments(n_rows, zero + np.inf, zero - np.inf, np.array([-1022]), 0.0, -1022, zero, zero)


def _alike(a: Moments, b: Moments, name: str, of: str, power: int) -> tuple:
    """A field of both, divided by the same power of 2, and its exponent."""
    exponents = getattr(a, of), getattr(b, of)
    exponent = np.maximum(*exponents)
    return [
        value if np.all(own == exponent) else np.ldexp(value, power * (own - exponent))
        for value, own in zip((getattr(a, name), getattr(b, name)), exponents, strict=True)
    ], exponent


def fit_scaler(rows: Rows, weights: NDArray | None) -> StandardScaler:
    """A `StandardScaler` of the (weighted) rows, dense or CSR, in O(block) memory."""
    return Moments.of(rows, weights).scaler()


def fit_target_scaler(y: NDArray, weights: NDArray | None) -> StandardScaler:
    """A `StandardScaler` of targets, with weights of the rows or of the targets."""
    return Moments.of_targets(y, weights).scaler()


def fit_range_scaler(rows: Rows) -> StandardScaler:
    """A `StandardScaler` that takes the range of each column to [0.1, 0.9].

    It maps y to ½ + (y − c)/s with c the middle of the range and s = range/0.8. Where the
    range is a point, s is a power of two for which ½ is mapped back to that very point.
    """
    return _range_scaler(*_extremes(rows), rows.shape[0])


def _range_scaler(low: NDArray, high: NDArray, n_rows: int) -> StandardScaler:
    centre = np.where(low == high, low, low / 2 + high / 2)
    with np.errstate(over="ignore"):
        scale = np.minimum((high - low) / 0.8, np.finfo(float).max)
        for j in np.flatnonzero(scale == 0):
            scale[j] = np.ldexp(1.0, min(np.frexp(centre[j])[1], 1023))
            while (centre[j] - scale[j] / 2) + scale[j] / 2 != centre[j]:
                scale[j] /= 2
    scaler = StandardScaler()
    scaler.n_features_in_ = len(low)
    scaler.n_samples_seen_ = n_rows
    scaler.mean_, scaler.scale_ = centre - scale / 2, scale
    with np.errstate(over="ignore"):
        scaler.var_ = scale**2
    return scaler


def _extremes(rows: Rows) -> tuple[NDArray, NDArray]:
    """The least and the greatest value of each column."""
    pairs = [
        min_max_axis(x, axis=0) if rows.sparse else (x.min(axis=0), x.max(axis=0))
        for _, x in _blocks(rows)
    ]
    low, high = zip(*pairs, strict=True)
    return np.min(low, axis=0), np.max(high, axis=0)


def _blocks(rows: Rows):
    """Yield the raw rows block by block, in float64 and C order."""
    for block, _, _ in split(slice(0, rows.shape[0]), MAX_ROWS):
        x = rows.raw(block)
        yield block, x.astype(np.float64) if rows.sparse else np.ascontiguousarray(x, np.float64)
