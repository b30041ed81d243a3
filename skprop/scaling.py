"""Standard units: the scalers of features and targets, fitted block by block."""

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils.sparsefuncs import min_max_axis

from .blocks import MAX_ROWS, split
from .rows import Rows


def fit_scaler(rows: Rows, weights: NDArray | None) -> StandardScaler:
    """A `StandardScaler` of the (weighted) rows, dense or CSR, in O(block) memory.

    Each column is scaled by a power of two, which is exact, before its mean and variance
    are taken, so that the variance neither overflows nor vanishes; and the mean of a
    constant column is that constant, not an ulp beside it, and its variance 0.
    """
    scaler = StandardScaler(with_mean=not rows.sparse)
    if not rows.shape[1]:
        return scaler
    low, high = extremes(rows)
    exponent = np.minimum(np.frexp(np.maximum(-low, high))[1], 1023)
    if weights is not None:
        weights = np.ldexp(weights, -np.frexp(weights.max())[1])
    for block, x in _blocks(rows):
        if rows.sparse:
            x.data = np.ldexp(x.data, -exponent[x.indices])
        else:
            x = np.ldexp(x, -exponent)
        with np.errstate(invalid="ignore"):  # rounding may leave a variance below 0
            scaler.partial_fit(x, sample_weight=None if weights is None else weights[block])
    scaler.with_mean = True  # of CSR rows too, which `Rows.fold` centres without filling them
    constant = low == high
    with np.errstate(over="ignore"):
        scaler.mean_ = np.where(constant, low, np.ldexp(scaler.mean_, exponent))
        scaler.scale_ = np.ldexp(np.where(scaler.var_ < 0, 1.0, scaler.scale_), exponent)
        variance = np.maximum(
            np.ldexp(scaler.var_, 2 * exponent), np.finfo(float).smallest_subnormal
        )
        scaler.var_ = np.where(constant, 0.0, variance)  # 0 where constant, and only there
    return scaler


def fit_range_scaler(rows: Rows) -> StandardScaler:
    """A `StandardScaler` that takes the range of each column to [0.1, 0.9].

    It maps y to ½ + (y − c)/s with c the middle of the range and s = range/0.8. Where the
    range is a point, s is a power of two for which ½ is mapped back to that very point.
    """
    low, high = extremes(rows)
    centre = np.where(low == high, low, low / 2 + high / 2)
    with np.errstate(over="ignore"):
        scale = np.minimum((high - low) / 0.8, np.finfo(float).max)
        for j in np.flatnonzero(scale == 0):
            scale[j] = np.ldexp(1.0, min(np.frexp(centre[j])[1], 1023))
            while (centre[j] - scale[j] / 2) + scale[j] / 2 != centre[j]:
                scale[j] /= 2
    scaler = StandardScaler()
    scaler.n_features_in_ = rows.shape[1]
    scaler.n_samples_seen_ = rows.shape[0]
    scaler.mean_, scaler.scale_ = centre - scale / 2, scale
    with np.errstate(over="ignore"):
        scaler.var_ = scale**2
    return scaler


def extremes(rows: Rows) -> tuple[NDArray, NDArray]:
    """The least and the greatest value of each column."""
    pairs = [
        min_max_axis(x, axis=0) if rows.sparse else (x.min(axis=0), x.max(axis=0))
        for _, x in _blocks(rows)
    ]
    low, high = zip(*pairs, strict=True)
    return np.min(low, axis=0), np.max(high, axis=0)


def _blocks(rows: Rows):
    """The rows as they are, in float64 and C order, block by block."""
    for block, _, _ in split(slice(0, rows.shape[0]), MAX_ROWS):
        x = rows.raw(block)
        yield block, x.astype(np.float64) if rows.sparse else np.ascontiguousarray(x, np.float64)
