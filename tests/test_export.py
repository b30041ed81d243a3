"""What leaves Python as JSON or as C predicts what the estimator predicts."""

import ctypes
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skprop import MLPSigmoidRegressor
from skprop.export import from_json, to_c, to_json
from skprop.layout import Layout
from skprop.scaling import StandardUnits

CONCRETE = pd.read_csv(Path(__file__).parents[1] / "examples" / "data" / "concrete.csv")
FRAME, STRENGTH = CONCRETE.drop(columns="strength_mpa"), CONCRETE["strength_mpa"].to_numpy()
X, Y = load_diabetes(return_X_y=True)


def network(**parameters):
    defaults = {"hidden_layer_sizes": 8, "alpha": 1e-2, "random_state": 0, "tol": 1e-2}
    return MLPSigmoidRegressor(**defaults | parameters)


def two_outputs():
    return FRAME.to_numpy(), np.c_[STRENGTH, 1000 - STRENGTH**2]


MODELS = {
    "one output": lambda: (network(), X, Y),
    "one column": lambda: (network(), X, Y[:, None]),
    "two outputs": lambda: (network(), *two_outputs()),
    "three outputs": lambda: (network(), *load_linnerud(return_X_y=True)),
    "no hidden layer": lambda: (network(hidden_layer_sizes=()), X, Y),
    "two hidden layers": lambda: (network(hidden_layer_sizes=(8, 5)), *two_outputs()),
    "sigmoid": lambda: (network(output_activation="sigmoid"), *two_outputs()),
    "sigmoid in raw units": lambda: (
        network(output_activation="sigmoid", standardize=False, hidden_layer_sizes=(4, 3)),
        X,
        Y / 400,
    ),
    "raw units": lambda: (network(standardize=False), X, np.c_[Y, Y**2] / 300),
    "committee": lambda: (network(n_members=3), *two_outputs()),
    "committee of sigmoids": lambda: (
        network(n_members=3, output_activation="sigmoid"),
        *two_outputs(),
    ),
    "default": lambda: (MLPSigmoidRegressor(random_state=0, max_iter=20), X, Y),
    "a frame": lambda: (network(), FRAME, STRENGTH),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    model, rows, y = MODELS[request.param]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of few iterations
        return model.fit(rows, y), rows


def assert_close(values, expected, tolerance):
    """That values agree, relative to the largest one of their output."""
    assert values.shape == expected.shape
    axes = (0, *range(2, expected.ndim)) if expected.ndim > 1 else 0
    scale = np.abs(expected).max(axis=axes, keepdims=True)
    assert (np.abs(values - expected) <= tolerance * scale).all()


# ---- JSON ----------------------------------------------------------------------------------


def test_what_json_holds_predicts_the_same(fitted):
    model, rows = fitted
    predictor = from_json(to_json(model))
    assert_close(predictor.predict(rows), model.predict(rows), 1e-12)
    gradient = model.predict_gradient(rows)
    by_output = gradient.reshape(len(gradient), -1, model.n_features_in_)
    again = predictor.predict_gradient(rows)
    assert again.shape == gradient.shape
    assert_close(again.reshape(by_output.shape), by_output, 1e-11)


def by_a_reader_of_its_own(content, x):
    """Predict one row from the JSON alone, with the fields as the page on export has them."""
    means = [0.0] * content["sizes"][-1]
    for member in content["networks"]:
        f = x
        layers = zip(member["weights"], member["biases"], content["activations"], strict=True)
        for A, b, activation in layers:
            f = [sum(f[i] * A[i][j] for i in range(len(f))) + b[j] for j in range(len(b))]
            if activation == "sigmoid":
                f = [1 / (1 + math.exp(-z)) for z in f]
        means = [m + f_k / len(content["networks"]) for m, f_k in zip(means, f, strict=True)]
    scaled = zip(means, content["output_scale"], content["output_offset"], strict=True)
    return [m * s + o for m, s, o in scaled]


def test_the_fields_are_enough_for_another_reader(fitted):
    model, rows = fitted
    content = json.loads(to_json(model))
    some = np.asarray(rows)[:20]
    read = np.array([by_a_reader_of_its_own(content, list(map(float, x))) for x in some])
    expected = model.predict(rows)[:20].reshape(len(read), -1)
    assert_close(read, expected, 1e-11)
    assert content["sizes"] == [rows.shape[1], *map(len, content["networks"][0]["biases"])]
    names = getattr(model, "feature_names_in_", None)
    assert content["feature_names"] == (None if names is None else list(names))


def test_floats_survive_the_text_to_the_last_bit(fitted):
    model, _ = fitted
    text = to_json(model)
    layout, units = Layout(json.loads(text)["sizes"]), model._fitted()[1]
    for theta, network in zip(
        np.atleast_2d(model.theta_), from_json(text).committee.networks, strict=True
    ):
        raw = units.raw_network(layout.views(theta), model.out_activation_)
        np.testing.assert_array_equal(network.theta, layout.pack(raw))


@pytest.mark.parametrize("name", ["one output", "two outputs", "committee", "sigmoid"])
def test_error_bars_are_written_on_request(name):
    model, rows, y = MODELS[name]()
    model.fit(rows, y)
    predictor = from_json(to_json(model, error_bars=True))
    for of in (True, "model"):
        mean, deviation = predictor.predict(rows, return_std=of)
        expected_mean, expected = model.predict(rows, return_std=of)
        assert_close(mean, expected_mean, 1e-12)
        np.testing.assert_allclose(deviation, expected, rtol=1e-12)


def standardised_forward(layers, activations, f):
    for (A, b), activation in zip(layers, activations, strict=True):
        f = f @ A + b
        f = 1 / (1 + np.exp(-f)) if activation == "sigmoid" else f
    return f


def variance_by_a_reader_of_its_own(content, x):
    """The variances of the targets of one row, by the formulas of the page on export."""
    bars, layout = content["error_bars"], Layout(content["sizes"])
    x = (x - np.array(bars["x_mean"])) / np.array(bars["x_scale"])
    outputs, variances = [], []
    for member in bars["networks"]:
        theta, L = np.array(member["theta"]), np.array(member["factor"])
        if len(L) == L.shape[1]:
            H = L @ L.T
        else:
            P = len(theta)
            d, B = L[0, :P], L[1:, :P].T
            np.testing.assert_allclose(L[1:, P:] @ L[1:, P:].T, np.eye(len(L) - 1) + B.T @ B)
            H = (np.eye(P) + B @ B.T) / np.outer(d, d)
        steps = theta + 1e-30j * np.eye(len(theta))
        layers = [layout.views(step) for step in [theta, *steps]]
        f, *moved = [standardised_forward(views, content["activations"], x) for views in layers]
        g = np.imag(moved).T / 1e-30
        noise = np.array(member["noise"])
        variance = noise + np.diag(g @ np.linalg.solve(H, g.T)) / np.mean(1 / noise)
        if member["shift"] is not None:
            variance += (g @ member["shift"]) ** 2
        outputs.append(f)
        variances.append(variance)
    return (np.mean(variances, axis=0) + np.var(outputs, axis=0)) * np.square(bars["y_scale"])


@pytest.mark.parametrize("name", ["one output", "two outputs", "committee", "sigmoid", "thin"])
def test_the_fields_of_error_bars_are_enough_for_another_reader(name):
    if name == "thin":
        model, rows, y = network(hidden_layer_sizes=20, alpha="evidence"), X[:60], Y[:60]
    else:
        model, rows, y = MODELS[name]()
    model.fit(rows, y)
    content = json.loads(to_json(model, error_bars=True))
    variance = [variance_by_a_reader_of_its_own(content, x) for x in rows[:5]]
    deviation = model.predict(rows[:5], return_std=True)[1].reshape(5, -1)
    np.testing.assert_allclose(np.sqrt(variance), deviation, rtol=1e-6)


def test_error_bars_by_the_smaller_side():
    model = network(hidden_layer_sizes=20, alpha="evidence").fit(X[:60], Y[:60])
    assert model._factor.shape[0] != model._factor.shape[1]
    predictor = from_json(to_json(model, error_bars=True))
    for got, expected in zip(predictor.predict(X, True), model.predict(X, True), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_error_bars_that_were_not_written_say_so():
    predictor = from_json(to_json(network().fit(X, Y)))
    with pytest.raises(ValueError, match="error_bars=True"):
        predictor.predict(X, return_std=True)
    with pytest.raises(ValueError, match="return_std='all'"):
        predictor.predict(X, return_std="all")


def test_a_float32_fit_is_written_as_the_numbers_that_it_has():
    model = network().fit(X.astype(np.float32), Y)
    predicted = from_json(to_json(model)).predict(X)
    assert predicted.dtype == np.float64
    assert_close(predicted, model.predict(X.astype(np.float32)).astype(float), 1e-5)


def changed(**fields):
    return json.dumps(json.loads(to_json(network(max_iter=50).fit(X, Y))) | fields)


def test_a_text_that_is_not_of_this_format_is_refused():
    for text, message in (
        ("[]", "format"),
        ('{"format": "onnx"}', "format"),
        (changed(version=2), '"version" is 2'),
        (changed(activations=["tanh", "identity"]), "activations"),
        (changed(sizes=[9, 8, 1]), r"params\[0\] has shapes"),
        (changed(networks=[{"weights": []}]), '"biases" is missing'),
        (changed(networks=[{"weights": [[[1.0]]], "biases": []}]), '"weights" has 1 layers, and'),
        (changed(networks=None), "not of its type"),
        (changed(networks=[]), '"networks" is empty'),
        (changed().replace('"weights": [[[', '"weights": [[[NaN, ', 1), "has shapes|inhomogeneous"),
        (re.sub(r'"biases": \[\[[^,]+', '"biases": [[Infinity', changed()), "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            from_json(text)
    with pytest.raises(ValueError, match="10"):
        from_json(changed()).predict(X[:, 1:])


@pytest.mark.parametrize("field", ["weights", "biases"])
def test_a_layer_too_many_is_refused(field):
    content = json.loads(changed())
    content["networks"][0][field].append(content["networks"][0][field][-1])
    with pytest.raises(ValueError, match=r"argument 2|layers"):
        from_json(json.dumps(content))


PAGE = Path(__file__).parents[1] / "docs" / "export.md"
node = shutil.which("node")


@pytest.mark.skipif(node is None, reason="there is no node")
def test_the_reader_in_javascript_of_the_page_on_export(fitted, tmp_path):
    model, rows = fitted
    code = re.search(r"```js\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    (tmp_path / "model.json").write_text(to_json(model), encoding="utf-8")
    (tmp_path / "rows.json").write_text(json.dumps(np.asarray(rows)[:50].tolist()))
    code += """
        const read = (path) => JSON.parse(require("fs").readFileSync(path, "utf-8"));
        const model = read(process.argv[2]);
        console.log(JSON.stringify(read(process.argv[3]).map((x) => predict(model, x))));
    """
    (tmp_path / "reader.js").write_text(code, encoding="utf-8")
    command = [node, *(tmp_path / name for name in ("reader.js", "model.json", "rows.json"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = model.predict(rows)[:50]
    assert_close(np.array(json.loads(done.stdout)), expected.reshape(len(expected), -1), 1e-11)


# ---- C -------------------------------------------------------------------------------------

compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_a_compiler = pytest.mark.skipif(compiler is None, reason="there is no C compiler")
FLAGS = [
    "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion",
    "-Wmissing-prototypes", "-Wdouble-promotion", "-shared", "-fPIC",
]  # fmt: skip


def compiled(source, folder):
    (folder / "network.c").write_text(source, encoding="ascii")
    library = folder / "network.so"
    command = [compiler, *FLAGS, "-o", library, folder / "network.c", "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def called(function, rows, shape, dtype):
    """The results of a function of the library for each row, each followed by a guard."""
    rows = np.ascontiguousarray(rows, dtype)
    n = math.prod(shape)
    out = np.full((len(rows), n + 1), 7, dtype)
    pointer = ctypes.POINTER(ctypes.c_float if dtype == np.float32 else ctypes.c_double)
    function.argtypes, function.restype = [pointer, pointer], None
    for x, y in zip(rows, out, strict=True):
        function(x.ctypes.data_as(pointer), y.ctypes.data_as(pointer))
    assert (out[:, n] == 7).all()  # nothing is written beyond the end
    return out[:, :n].astype(np.float64).reshape(len(rows), *shape)


@needs_a_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [("double", 1e-12), ("float", 1e-5)])
def test_c_predicts_the_same_with_the_same_gradient(fitted, dtype, tolerance, tmp_path):
    model, rows = fitted
    library = compiled(to_c(model, "concrete_2", dtype=dtype), tmp_path)
    precision = np.float32 if dtype == "float" else np.float64
    x = np.asarray(rows, np.float64)
    shape = (model.n_outputs_,)
    expected = model.predict(rows).reshape(len(x), -1)
    assert_close(called(library.concrete_2_predict, x, shape, precision), expected, tolerance)
    shape = (model.n_outputs_, model.n_features_in_)
    expected = model.predict_gradient(rows).reshape(len(x), *shape)
    assert_close(called(library.concrete_2_gradient, x, shape, precision), expected, tolerance)


@needs_a_compiler
@pytest.mark.parametrize("dtype", ["double", "float"])
def test_c_is_equal_number_by_number_where_targets_are_not_near_zero(dtype, tmp_path):
    model = MLPSigmoidRegressor(10, random_state=0).fit(X, Y)
    library = compiled(to_c(model, dtype=dtype, gradient=False), tmp_path)
    precision = np.float32 if dtype == "float" else np.float64
    predicted = called(library.network_predict, X, (1,), precision)[:, 0]
    rtol = 1e-5 if dtype == "float" else 1e-12
    np.testing.assert_allclose(predicted, model.predict(X), rtol=rtol)


def far_from_zero(offset):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 3)) + offset).astype(np.float32).astype(np.float64)
    z = x - offset
    return x, 5 + np.sin(z[:, 0]) + z[:, 1]


@needs_a_compiler
def test_a_large_mean_costs_c_no_digits_and_json_some(tmp_path):
    x, y = far_from_zero(1e4)
    model = network().fit(x, y)
    library = compiled(to_c(model, dtype="float"), tmp_path)
    predicted = called(library.network_predict, x, (1,), np.float32)[:, 0]
    np.testing.assert_allclose(predicted, model.predict(x), rtol=1e-5)
    error = np.abs(from_json(to_json(model)).predict(x) - model.predict(x)).max() / np.std(y)
    assert 1e-14 < error < 1e4 * 1e-14


@needs_a_compiler
def test_extreme_rows_saturate(tmp_path):
    model = network().fit(X, Y)
    library = compiled(to_c(model, dtype="float"), tmp_path)
    rows = np.array([np.full(10, 1e30), np.full(10, -1e30)])
    predicted = called(library.network_predict, rows, (1,), np.float32)[:, 0]
    np.testing.assert_allclose(predicted, model.predict(rows), rtol=1e-5)


@needs_a_compiler
def test_hostile_names_of_features_do_not_leave_the_comment(tmp_path):
    names = ["*/ int x;", "/*", "a\\", "b\n#error", "Zement (kg/m³)", "??/", "// c", '"', "d", "e"]
    model = network().fit(pd.DataFrame(X, columns=names), Y)
    source = to_c(model)
    assert "x[4]: Zement (kg_m_)" in source
    library = compiled(source, tmp_path)
    predicted = called(library.network_predict, X, (1,), np.float64)[:, 0]
    np.testing.assert_allclose(predicted, model.predict(pd.DataFrame(X, columns=names)), rtol=1e-12)


@needs_a_compiler
def test_two_networks_go_into_one_program(tmp_path):
    one, two = network().fit(X, Y), network(random_state=1).fit(X, Y)
    library = compiled(to_c(one, "one") + to_c(two, "two", gradient=False), tmp_path)
    for name, model in (("one", one), ("two", two)):
        predicted = called(getattr(library, f"{name}_predict"), X, (1,), np.float64)[:, 0]
        np.testing.assert_allclose(predicted, model.predict(X), rtol=1e-12)


def test_c_begins_with_what_goes_in_and_what_comes_out():
    source = to_c(network(max_iter=200).fit(FRAME, two_outputs()[1]))
    assert "Raw features x[0..7] in, raw targets y[0..1] out.\n   x[0]: " in source
    features = re.findall(r"x\[(\d)\]: (\w+)", source)
    assert features == [(str(i), name) for i, name in enumerate(FRAME.columns)]


def test_without_the_gradient_there_is_none():
    source = to_c(network().fit(X, Y), gradient=False)
    assert "gradient" not in source
    assert "alloc" not in re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    assert re.findall(r"#include (.+)", source) == ["<math.h>"]


# ---- what cannot be exported ---------------------------------------------------------------


@pytest.mark.parametrize("export", [to_json, to_c])
def test_what_cannot_be_exported_says_why(export):
    with pytest.raises(NotFittedError):
        export(network())
    with pytest.raises(TypeError, match="Pipeline is not an MLPSigmoidRegressor"):
        export(make_pipeline(network()).fit(X, Y))
    model = network().fit(X * 1e-200, Y)
    model.x_scaler_.scale_[0] = 1e-320
    with pytest.raises(ValueError, match="overflow float64"):
        export(model)


def test_names_and_types_of_c_are_checked():
    model = network().fit(X, Y)
    for name in ("", "2nd", "a-b", "_a", "ä", 3):
        with pytest.raises(ValueError, match="name="):
            to_c(model, name)
    with pytest.raises(ValueError, match="dtype='half'"):
        to_c(model, dtype="half")


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_beyond_float_are_refused_and_fine_in_double(unit):
    for model in (network().fit(X * unit, Y), network().fit(X, Y * unit)):
        to_c(model)
        with pytest.raises(ValueError, match="Use dtype='double'"):
            to_c(model, dtype="float")


@pytest.mark.parametrize("of", ["a feature", "an output", "a sigmoid output"])
def test_one_unit_beyond_float_is_refused_beside_others_that_are_not(of):
    if of == "a feature":
        model = network().fit(X * np.where(np.arange(10) == 3, 1e41, 1.0), Y)
    elif of == "an output":
        model = network().fit(X, np.c_[Y, 1e-41 * Y])
    else:  # whose mean is 0
        target = 1e-50 * (Y - (Y.min() + Y.max()) / 2)
        model = network(output_activation="sigmoid").fit(X, target)
    to_c(model)
    with pytest.raises(ValueError, match="Use dtype='double'"):
        to_c(model, dtype="float")


def test_the_least_and_the_largest_number_of_float_are_not_refused():
    limits = np.finfo(np.float32)
    model = network(standardize=False, hidden_layer_sizes=2, max_iter=2000).fit(X[:, :2], Y / 300)
    theta = np.ones(9)
    theta[:4] = limits.tiny, 0, limits.max, limits.tiny / 2  # the weights of each input
    to_c(model.set_theta(theta), dtype="float")
    for at, value in ((0, limits.tiny / 2), (2, 2 * float(limits.max))):
        changed = theta.copy()
        changed[at] = value
        with pytest.raises(ValueError, match="Use dtype='double'"):
            to_c(model.set_theta(changed), dtype="float")


# ---- raw units -----------------------------------------------------------------------------


def test_raw_units_without_scalers_are_those_of_the_network():
    layers = Layout((2, 3, 1)).views(np.arange(13.0))
    raw = StandardUnits(None, None, "float64", True).raw_network(layers, "identity")
    for (A, b), (raw_A, raw_b) in zip(layers, raw, strict=True):
        np.testing.assert_array_equal(raw_A, A)
        np.testing.assert_array_equal(raw_b, b)
        assert not np.shares_memory(raw_A, A)


def test_a_centre_may_be_chosen():
    model = network().fit(X, Y)
    layout, units = Layout((10, 8, 1)), model._fitted()[1]
    plain = layout.pack(units.raw_network(layout.views(model.theta_), "identity"))
    about = layout.pack(units.raw_network(layout.views(model.theta_), "identity", X[0]))
    text = json.loads(to_json(model))

    def predict(theta, rows):
        layers = layout.views(theta)
        networks = [{"weights": [A.tolist() for A, _ in layers], "biases": [b for _, b in layers]}]
        return [by_a_reader_of_its_own(text | {"networks": networks}, list(x))[0] for x in rows]

    np.testing.assert_allclose(predict(about, X[:9] - X[0]), predict(plain, X[:9]), rtol=1e-12)
