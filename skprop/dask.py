"""Fits to dask arrays and dataframes: the rows stay on the workers, sums over them come back.

Needs the extra ``dask``: ``pip install "skprop[dask]"``.
"""

import copy
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from sklearn.utils.validation import check_is_fitted

from .cluster import (
    ClusterEngine,
    connected,
    dtype_of,
    is_collection,
    names_of,
    partitions,
    r_squared,
)  # fmt: skip
from .data import Data, Expected
from .elsewhere import RowsElsewhere
from .parameters import CONSTRAINTS
from .regressor import MLPSigmoidRegressor

__all__ = ["DaskMLPSigmoidRegressor"]

_TRAINING, _HELD_OUT = ("X", "y", "sample_weight"), ("X_val", "y_val", "sample_weight_val")
# A batch is a round trip to the cluster, so it is to have work for all workers.
_LEAST_BATCH, _BATCHES = 200, 20


class DaskMLPSigmoidRegressor(MLPSigmoidRegressor):
    """`MLPSigmoidRegressor` for dask arrays and dataframes, whose rows stay on the cluster.

    Every evaluation sends θ to the workers and brings back sums over their rows. So a
    fit differs from that of one machine by rounding only, and is the same to the last bit for the
    same partitions, on any number of workers, even if some of them die. Arrays in memory are fitted
    as by `MLPSigmoidRegressor`.

    Parameters
    ----------
    client : distributed.Client, default=None
        The cluster. None is the default client, or that of the worker in whose task a fit runs; if
        there is neither, `fit`, `fit_posterior` and `score` start a cluster of processes on this
        machine, with a warning, and close it at their end; `partial_fit` and `make_objective` raise
        a ValueError. A client is not part of a pickle.
    *arguments, **parameters
        The other parameters are those of `MLPSigmoidRegressor`. "auto" is one network of 50 units
        by "lbfgs" with ``alpha=1e-4``, whatever the number of rows; and ``batch_size="auto"`` a
        twentieth of the rows, at least 200, as each batch is a round trip to the cluster.

    Notes
    -----
    `fit`, `partial_fit`, `fit_posterior`, `make_objective` and `score` take dask arrays and
    dataframes, with partitions of any, also of unknown, length; X may have chunks of CSR matrices.
    X, y and sample weights have to be cut alike. Partitions are computed twice, once for the
    standard units and once to be kept in these units: persist X where computing is expensive.
    Neighbouring partitions are merged into at most 64 parts. ``validation_fraction`` is the
    probability of each row to be held out, not an exact share. ``dydx`` is for arrays in memory.

    `predict`, `predict_gradient`, `predict_interval`, `predict_std_gradient` and `predict_hessian`
    of a collection are dask arrays, computed when asked for.

    See Also
    --------
    SummedObjective : The same objective over any other engine.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from skprop.dask import DaskMLPSigmoidRegressor
    >>> with Client(processes=False, dashboard_address=":0") as client:
    ...     X = da.random.default_rng(0).uniform(-1, 1, (1000, 3), chunks=(250, 3))
    ...     y = da.sin(3 * X[:, 0]) * X[:, 1]
    ...     model = DaskMLPSigmoidRegressor(10, random_state=0).fit(X, y)
    ...     print(f"{model.score(X, y):.2f}", model.predict(X).chunks)
    1.00 ((250, 250, 250, 250),)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS | {"client": "no_validation"}

    def __init__(self, *arguments, client: Client | None = None, **parameters):
        super().__init__(*arguments, **parameters)
        self.client = client

    # ---- fitting -------------------------------------------------------------------------------

    def fit(
        self, X, y, sample_weight=None, X_val=None, y_val=None, sample_weight_val=None, dydx=None
    ) -> Self:
        """Fit the network; see `MLPSigmoidRegressor.fit` and the class's notes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As there; also if X, y and weights are cut differently, or a partition is invalid: the
            message has its number.
        RuntimeError
            If workers died and rows cannot be computed again. The estimator is left as it was.
        """
        with self._unchanged_on_error(), self._cluster(X, X_val):
            super().fit(X, y, sample_weight, X_val, y_val, sample_weight_val, dydx)
            if is_collection(X):
                self._settle()  # so that no rows stay on the cluster
        return self

    def fit_posterior(self, X, y, sample_weight=None, dydx=None) -> Self:
        """Compute the posterior of a fitted network; see `MLPSigmoidRegressor.fit_posterior`."""
        with self._cluster(X):
            return super().fit_posterior(X, y, sample_weight, dydx)

    def score(self, X, y, sample_weight=None) -> float:
        """R², the mean over the outputs, computed partition by partition."""
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        model = self.to_local()
        with self._cluster(X) as client:
            return r_squared(self._engine(client, X, y, sample_weight, _TRAINING), model)

    def _cluster(self, *collections):
        """The context of a client, or one without, if there is no collection."""
        if any(map(is_collection, collections)):
            return _started(self.client)
        return connected(None)

    def _engine(self, client, X, y, sample_weight, names) -> ClusterEngine:
        pieces = partitions(X, y, sample_weight, names)
        return ClusterEngine(client, pieces, dtype_of(X), self.missing_targets == "ignore", names)

    def _training_data(self, X, y, sample_weight, expected: Expected | None, dydx) -> Data:
        if not is_collection(X):
            return super()._training_data(X, y, sample_weight, expected, dydx)
        if dydx is not None:
            raise ValueError(
                "dydx is taken with arrays in memory, not with dask collections. Give the rows "
                "that fit the memory, as X.compute(), or leave dydx out."
            )
        return self._collection(X, y, sample_weight, _TRAINING, expected)

    def _held_out_data(self, data: Data, X, y, sample_weight, expected) -> Data:
        if isinstance(data, Data):
            return super()._held_out_data(data, X, y, sample_weight, expected)
        if not is_collection(X):
            X = da.from_array(np.asarray(X), chunks=(len(X), -1))
        return self._collection(X, y, sample_weight, _HELD_OUT, expected, data)

    def _collection(
        self, X, y, sample_weight, names, expected: Expected | None, like=None
    ) -> RowsElsewhere:
        """The rows of a collection, compared with those of a fit or with others."""
        with connected(self.client) as client:
            if client is None:
                raise ValueError("There is no dask client: make one by distributed.Client().")
            engine = self._engine(client, X, y, sample_weight, names)
            summary = engine.summary(None)
        if summary is None:
            raise ValueError(f"{names[0]} has no rows, or none of positive weight.")
        data = RowsElsewhere(summary, engine, names_of(X))
        n_features, feature_names = data.rows.shape[1], data.feature_names
        if like is not None:
            wanted, wanted_names = like.rows.shape[1], like.feature_names
        elif expected is not None:
            wanted = self.n_features_in_
            wanted_names = getattr(self, "feature_names_in_", None)
        else:
            return data
        if n_features != wanted:
            raise ValueError(f"{names[0]} has {n_features} features, not {wanted} features.")
        both = feature_names is not None and wanted_names is not None
        if both and list(feature_names) != list(wanted_names):
            raise ValueError(f"The columns of {names[0]} are not those of the fit, in their order.")
        if data.expected.n_outputs != expected.n_outputs:
            raise ValueError(
                f"{names[1]} has {data.expected.n_outputs} outputs; the model was fitted with "
                f"{expected.n_outputs}."
            )
        return data

    def _settled(self, earlier, X, *data, **options) -> tuple[SimpleNamespace, Any, Any]:
        if not is_collection(X):
            return super()._settled(earlier, X, *data, **options)
        settings, train, watched = super()._settled(
            earlier, X, *data, **(options | {"one_network": True})
        )
        if settings.batch_size == "auto":
            settings.batch_size = max(_LEAST_BATCH, -(-train.rows.shape[0] // _BATCHES))
        return settings, train, watched

    # ---- predictions ---------------------------------------------------------------------------

    def predict(self, X, return_std=False):
        """Predict the targets; lazily, a dask array, or two, if X is a collection."""
        if not is_collection(X):
            return super().predict(X, return_std)
        return self._lazily("predict", X, 1 if return_std is False else 2, return_std=return_std)

    def predict_interval(self, X, coverage: float = 0.95):
        """Predict an interval; lazily, two dask arrays, if X is a collection."""
        if not is_collection(X):
            return super().predict_interval(X, coverage)
        return self._lazily("predict_interval", X, 2, coverage=coverage)

    def predict_gradient(self, X, return_std: bool = False):
        """The derivatives by the features; lazily, dask arrays, if X is a collection."""
        if not is_collection(X):
            return super().predict_gradient(X, return_std)
        return self._lazily("predict_gradient", X, 1 + bool(return_std), 1, return_std=return_std)

    def predict_std_gradient(self, X, of="target"):
        """The derivatives of the deviation; lazily, a dask array, if X is a collection."""
        if not is_collection(X):
            return super().predict_std_gradient(X, of)
        return self._lazily("predict_std_gradient", X, 1, 1, of=of)

    def predict_hessian(self, X):
        """The second derivatives by the features; lazily, a dask array, if X is a collection."""
        if not is_collection(X):
            return super().predict_hessian(X)
        return self._lazily("predict_hessian", X, 1, 2)

    def _lazily(self, method: str, X, n_results: int, n_derivatives: int = 0, **options):
        """The results of a method on each partition, as dask arrays of its rows."""
        check_is_fitted(self)
        model = self.to_local()
        tail = () if self._single_output else (self.n_outputs_,)
        tail = (*tail, *[self.n_features_in_] * n_derivatives)
        if isinstance(X, da.Array):
            X = X if X.numblocks[1] == 1 else X.rechunk({1: -1})
            sizes, blocks = X.chunks[0], X.to_delayed().ravel()
        else:
            sizes, blocks = [np.nan] * X.npartitions, X.to_delayed()
        model = dask.delayed(model, traverse=False)
        call = dask.delayed(_called, pure=True)
        each = [call(model, method, block, n_results, (0, *tail), options) for block in blocks]

        def joined(k: int):
            arrays = [
                da.from_delayed(values[k], (size, *tail), dtype=self._dtype)
                for size, values in zip(sizes, each, strict=True)
            ]
            return da.concatenate(arrays, allow_unknown_chunksizes=True)

        results = tuple(map(joined, range(n_results)))
        return results if n_results > 1 else results[0]

    # ---- as a value ----------------------------------------------------------------------------

    def to_local(self) -> MLPSigmoidRegressor:
        """The same model as an `MLPSigmoidRegressor`, which needs no dask.

        Returns
        -------
        MLPSigmoidRegressor
            With the same parameters but the client; fitted if this is.
        """
        local = object.__new__(MLPSigmoidRegressor)
        local.__setstate__(self.__getstate__())
        vars(local).pop("client", None)
        return local

    def __getstate__(self):
        return super().__getstate__() | {"client": None}

    def __sklearn_clone__(self):
        without = copy.copy(self)  # has no client, which cannot be copied
        twin = MLPSigmoidRegressor.__sklearn_clone__(without)
        twin.client = self.client
        return twin


def _signature() -> inspect.Signature:
    """That of the parent with a client, in which scikit-learn looks for parameters."""
    signature = inspect.signature(MLPSigmoidRegressor.__init__)
    client = inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None)
    return signature.replace(parameters=[*signature.parameters.values(), client])


DaskMLPSigmoidRegressor.__init__.__signature__ = _signature()


@contextmanager
def _started(client: Client | None) -> Iterator[Client]:
    """The context of a client: one that is there, or else one of a new cluster on this machine."""
    with connected(client) as found:
        if found is not None:
            yield found
            return
    with LocalCluster(dashboard_address=":0") as cluster, Client(cluster) as own:
        warnings.warn(
            f"There is no dask client: {len(cluster.workers)} workers are started on this machine, "
            "and closed at the end. Make a client by distributed.Client() to keep them.",
            UserWarning,
            stacklevel=4,
        )
        yield own


def _called(model, method: str, X, n_results: int, empty: tuple, options: dict) -> tuple:
    """The results of a method of a fitted estimator; empty ones without rows."""
    if X.shape[0] == 0:
        return tuple(np.empty(empty, model._dtype) for _ in range(n_results))
    results = getattr(model, method)(X, **options)
    return results if n_results > 1 else (results,)
