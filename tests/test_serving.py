"""The server of the examples answers with what the estimator predicts, and survives nonsense."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from skprop import MLPSigmoidRegressor

pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

SERVER = Path(__file__).parents[1] / "examples" / "server" / "serve.py"
X, Y = load_diabetes(return_X_y=True)


@pytest.fixture(scope="module", params=["float32", "float64"])
def served(request, tmp_path_factory):
    """A model, the type of its graph, and the address where that is served."""
    from skprop.onnx import to_onnx

    model = MLPSigmoidRegressor(5, alpha=1e-2, random_state=0).fit(X, np.c_[Y, Y**2])
    path = tmp_path_factory.mktemp("served") / "model.onnx"
    path.write_bytes(to_onnx(model, X[:1].astype(request.param)).SerializeToString())
    command = [sys.executable, SERVER, path, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield model, request.param, server.stdout.readline().strip()
        finally:
            server.terminate()


def posted(address, body, path="/predict", **headers):
    """The status and the content of an answer."""
    try:
        with urlopen(Request(address + path, data=body, headers=headers), timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_a_request_is_answered_with_the_predictions(served):
    model, dtype, address = served
    status, content = posted(address, json.dumps(X[:20].tolist()).encode())
    assert status == 200
    rtol = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(content["predictions"], model.predict(X[:20]), rtol=rtol)


def test_it_says_what_it_takes(served):
    with urlopen(served[2], timeout=20) as answer:
        assert json.load(answer) == {"features": 10, "predict": "POST /predict"}
    assert posted(served[2], b"[]", "/elsewhere")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[]",
        b"[[1, 2]]",
        b'{"rows": 1}',
        b'[["a"]]',
        b"[[1], [1, 2]]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[[NaN, 0, 0, 0, 0, 0, 0, 0, 0, 0]]",
        b"[[" + b"9" * 400 + b", 0, 0, 0, 0, 0, 0, 0, 0, 0]]",
    ],
)
def test_nonsense_gets_an_error_and_the_next_request_an_answer(served, body):
    address = served[2]
    status, content = posted(address, body)
    assert status == 400
    assert content["error"]
    assert posted(address, json.dumps(X[:1].tolist()).encode())[0] == 200


def test_a_body_that_is_too_large_is_not_read(served):
    request = Request(served[2] + "/predict", data=b"[[1]]", headers={"Content-Length": "99999999"})
    with pytest.raises(HTTPError, match="413"):
        urlopen(request, timeout=20)
