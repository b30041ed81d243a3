"""The exported graph predicts what the estimator predicts, in float32 and float64."""

import importlib
import itertools
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_linnerud, make_friedman1
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

from onnx.numpy_helper import to_array  # noqa: E402
from skl2onnx.common.data_types import StringTensorType  # noqa: E402

from skprop.onnx import to_onnx  # noqa: E402 - after what it needs

CONCRETE = pd.read_csv(Path(__file__).parents[1] / "examples" / "data" / "concrete.csv")
FLOATS = ["float32", "float64"]


def concrete():
    return CONCRETE.drop(columns="strength_mpa"), CONCRETE["strength_mpa"]


def friedman():
    X, y = make_friedman1(n_samples=500, noise=1.0, random_state=0)
    return X, np.c_[y, 1000 - y**2]


DATA = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "diabetes, one column": lambda: (load_diabetes().data, load_diabetes().target[:, None]),
    "concrete": lambda: tuple(part.to_numpy() for part in concrete()),
    "friedman, two outputs": friedman,
    "linnerud, three outputs": lambda: load_linnerud(return_X_y=True),
}


def network(**parameters):
    defaults = {"hidden_layer_sizes": 10, "random_state": 0, "tol": 1e-2}
    return MLPSigmoidRegressor(**defaults | parameters)


def session(model, X):
    graph = to_onnx(model, X[:1]).SerializeToString()
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def assert_served_alike(model, X, *, rtol=None):
    """That onnxruntime predicts for X what the estimator predicts, in the same precision."""
    X = np.asarray(X)
    served = session(model, X)
    (output,) = served.get_outputs()
    (predicted,) = served.run(None, {served.get_inputs()[0].name: X})
    expected = model.predict(X)
    n_outputs = 1 if expected.ndim == 1 else expected.shape[1]
    assert predicted.shape == (len(X), n_outputs)
    assert output.shape == [None, n_outputs]
    expected = expected.reshape(predicted.shape)
    precision = np.float32 if X.dtype == np.float32 else np.float64
    assert predicted.dtype == precision
    # Some ulps of a standardised target, of the network; and some of the target itself.
    tolerance = 50 * np.finfo(precision).eps if rtol is None else rtol
    scale = np.std(expected, axis=0) + np.abs(expected).max(axis=0)
    assert (np.abs(predicted - expected) <= tolerance * scale).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", [(), 10, (8, 5)], ids=str)
@pytest.mark.parametrize("name", DATA)
def test_served_alone_and_in_a_pipeline(name, hidden, output_activation, dtype):
    X, y = DATA[name]()
    model = network(hidden_layer_sizes=hidden, output_activation=output_activation).fit(X, y)
    assert_served_alike(model, X.astype(dtype))
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    assert_served_alike(pipeline, X.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_large_mean_costs_no_digits(dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 3)) + 1e6 + rng.uniform(size=3)).astype(dtype)
    y = np.sin(X[:, 0] - X[:, 0].mean()) + X[:, 1] - X[:, 1].mean()
    model = network().fit(X.astype(np.float64), y)
    assert model.score(X, y) > 0.9  # so these digits count
    assert_served_alike(model, X)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_network_fitted_in_float32(dtype):
    X, y = load_diabetes(return_X_y=True)
    model = network().fit(X.astype(np.float32), y)
    assert_served_alike(model, X.astype(dtype), rtol=50 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("dtype", FLOATS)
def test_raw_units_and_constant_columns(dtype):
    X, y = load_diabetes(return_X_y=True)
    X = np.c_[X, np.full(len(X), 7.0)].astype(dtype)
    assert_served_alike(network(standardize=False).fit(X, y / 300), X)
    model = network().fit(X, np.c_[y, np.full(len(X), 5.0)])
    X[:, -1] += np.arange(len(X))  # constant in training, so it has no effect
    assert_served_alike(model, X)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_are_computed_in_float64(dtype):
    X, y = concrete()
    X = (X.to_numpy() % 256).astype(dtype)
    assert_served_alike(network().fit(X, y), X)


def test_a_frame_becomes_one_input_a_column():
    X, y = concrete()
    model = network().fit(X, y)
    served = session(model, X)
    assert [i.name for i in served.get_inputs()] == list(X.columns)
    (predicted,) = served.run(None, {name: X[[name]].to_numpy() for name in X})
    np.testing.assert_allclose(predicted[:, 0], model.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2),
        lambda model: StackingRegressor([("network", model), ("ridge", Ridge())], cv=2),
        lambda model: BaggingRegressor(model, n_estimators=2, random_state=0),
        MultiOutputRegressor,
    ],
    ids=["GridSearchCV", "StackingRegressor", "BaggingRegressor", "MultiOutputRegressor"],
)
def test_inside_other_estimators(wrap):
    X, Y = friedman()
    model = wrap(network())
    y = Y if isinstance(model, MultiOutputRegressor) else Y[:, 0]
    assert_served_alike(model.fit(X, y), X)


def test_theta_of_ones_own():
    X, y = load_diabetes(return_X_y=True)
    model = network()
    _, theta0 = model.make_objective(X, y)
    assert_served_alike(model.set_theta(2 * theta0), X)


@pytest.mark.parametrize("opset", [9, 15])
def test_older_operator_sets(opset):
    X, y = load_diabetes(return_X_y=True)
    model = network().fit(X, y)
    graph = to_onnx(model, X[:1], target_opset=opset)
    assert [(s.domain, s.version) for s in graph.opset_import] == [("", opset)]
    served = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (predicted,) = served.run(None, {"X": X})
    np.testing.assert_allclose(predicted[:, 0], model.predict(X), rtol=1e-12)


def test_what_cannot_be_exported_says_why():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(NotFittedError):
        to_onnx(network(), X)
    with pytest.raises(ValueError, match="input has 9 features; the model was fitted with 10"):
        to_onnx(network().fit(X, y), X[:, 1:])


def test_units_beyond_float32():
    X, y = load_diabetes(return_X_y=True)
    for unit in (1e-200, 1e200):
        for model, rows in (
            (network().fit(X * unit, y), X * unit),
            (network().fit(X, y * unit), X),
        ):
            with np.errstate(over="ignore"):
                rows_in_float32 = rows.astype(np.float32)
            with pytest.raises(ValueError, match="rows of float64"):
                to_onnx(model, rows_in_float32)
            if rows is not X:
                assert_served_alike(model, rows)


def test_skl2onnx_is_asked_for_by_this_module_alone():
    code = """
import sys
sys.modules["skl2onnx"] = None  # as if it were not installed
import skprop
try:
    import skprop.onnx
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "skprop[onnx]"' in done.stdout


def test_without_skl2onnx_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "skprop.onnx")
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=re.escape('pip install "skprop[onnx]"')):
        importlib.import_module("skprop.onnx")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["diabetes", "friedman, two outputs"])
def test_a_committee_is_averaged_in_the_graph(name, dtype):
    X, y = DATA[name]()
    committee = network(n_members=3).fit(X, y)
    assert_served_alike(committee, X.astype(dtype))
    member = network().fit(X, y)
    assert (member.predict(X) != committee.predict(X)).all()


# ---- folded scaling ------------------------------------------------------------------------

FOLD = {MLPSigmoidRegressor: {"fold": True}}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", [(), (8, 5)], ids=str)
@pytest.mark.parametrize("name", ["concrete", "friedman, two outputs"])
def test_folded_it_is_a_chain_of_gemm_and_sigmoid(
    name, hidden, output_activation, n_members, dtype
):
    X, y = DATA[name]()
    model = network(
        hidden_layer_sizes=hidden, output_activation=output_activation, n_members=n_members, tol=0.1
    ).fit(X, y)
    graph = to_onnx(model, X[:1].astype(dtype), options=FOLD)
    assert {node.op_type for node in graph.graph.node} <= {"Gemm", "Sigmoid"}
    for before, after in itertools.pairwise(graph.graph.node):
        assert after.input[0] == before.output[0]
    assert {to_array(t).dtype for t in graph.graph.initializer} == {np.dtype(dtype)}
    served = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (predicted,) = served.run(None, {"X": X.astype(dtype)})
    expected = model.predict(X).reshape(predicted.shape)
    # folded means cost float32 some digits: those of concrete are up to 14 deviations away
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    scale = np.std(expected, axis=0) + np.abs(expected).max(axis=0)
    assert (np.abs(predicted - expected) <= tolerance * scale).all()


def test_folded_in_raw_units_and_in_a_pipeline():
    X, y = load_diabetes(return_X_y=True)
    raw = network(standardize=False, output_activation="sigmoid", n_members=1).fit(X, y / 400)
    assert [node.op_type for node in to_onnx(raw, X[:1], options=FOLD).graph.node] == [
        "Gemm", "Sigmoid", "Gemm", "Sigmoid",
    ]  # fmt: skip
    pipeline = make_pipeline(StandardScaler(), network()).fit(X, y)
    graph = to_onnx(pipeline, X[:1], options=FOLD)
    assert [node.op_type for node in graph.graph.node][-3:] == ["Gemm", "Sigmoid", "Gemm"]
    served = onnxruntime.InferenceSession(graph.SerializeToString())
    np.testing.assert_allclose(served.run(None, {"X": X})[0][:, 0], pipeline.predict(X), rtol=1e-12)


def test_folded_weights_beyond_float32():
    X, y = load_diabetes(return_X_y=True)
    model = network().fit(X, y * 1e36)
    model.set_theta(100 * model.theta_)
    to_onnx(model, X.astype(np.float32))
    with pytest.raises(ValueError, match="rows of float64"):
        to_onnx(model, X.astype(np.float32), options=FOLD)
    to_onnx(model, X, options=FOLD)


# ---- missing values ------------------------------------------------------------------------


def with_gaps(X):
    X = X.copy()
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.1] = np.nan
    X[:, 3] = np.where(np.isnan(X[:, 3]), 0, X[:, 3])  # a column without any
    return X


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_missing_values_are_filled_in_before_the_network(strategy, add_indicator, dtype):
    X, y = load_diabetes(return_X_y=True)
    X = with_gaps(X).astype(dtype)
    imputer = SimpleImputer(strategy=strategy, add_indicator=add_indicator)
    pipeline = make_pipeline(imputer, network()).fit(X, y)
    assert pipeline[-1].n_features_in_ == (19 if add_indicator else 10)
    assert_served_alike(pipeline, X)


@pytest.mark.parametrize("keep", [False, True])
def test_a_column_without_a_value_is_left_out_or_kept(keep):
    X, y = load_diabetes(return_X_y=True)
    X = with_gaps(X)
    X[:, 5] = np.nan
    imputer = SimpleImputer(add_indicator=True, keep_empty_features=keep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the column is skipped
        pipeline = make_pipeline(imputer, network()).fit(X, y)
        assert_served_alike(pipeline, X)


@pytest.mark.filterwarnings(r"ignore:\s*The format of the columns of the 'remainder'")  # of 1.6
def test_a_frame_with_gaps_in_some_columns():
    X, y = concrete()
    X = X.assign(age_days=X["age_days"].where(X.index % 3 > 0), water_kg_m3=X["water_kg_m3"])
    columns = make_column_transformer(
        (SimpleImputer(add_indicator=True), ["age_days", "slag_kg_m3"]), remainder="passthrough"
    )
    pipeline = make_pipeline(columns, network()).fit(X, y)
    served = session(pipeline, X)
    (predicted,) = served.run(None, {name: X[[name]].to_numpy() for name in X})
    np.testing.assert_allclose(predicted[:, 0], pipeline.predict(X), rtol=1e-12)


def test_other_imputers_are_left_to_skl2onnx():
    X = np.array([["a"], ["b"], [None], ["a"]], dtype=object)
    imputer = SimpleImputer(missing_values="b", strategy="most_frequent").fit(X[[0, 1, 3]])
    graph = to_onnx(imputer, initial_types=[("X", StringTensorType([None, 1]))])
    assert "LabelEncoder" in {node.op_type for node in graph.graph.node}
    with pytest.raises(NotFittedError):
        to_onnx(SimpleImputer(), np.zeros((1, 2)))
