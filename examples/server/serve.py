"""Serve an ONNX file over HTTP, with nothing but NumPy and onnxruntime.

    python examples/onnx_serving.py                     # writes the files
    python examples/server/serve.py examples/output/concrete_float64.onnx
    curl -d "[[540, 0, 0, 162, 2.5, 1040, 676, 28]]" http://127.0.0.1:8000/predict

POST /predict takes a JSON list of rows and answers {"predictions": [[...], ...]}, one list a row;
GET / tells how many features a row has. It listens to this machine alone; for more than that put
a web server before it, which knows about encryption and passwords.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime

MOST_BYTES = 10_000_000


class Model:
    """A graph of one input, of any number of rows."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests run side by side
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        (self.input,) = self.session.get_inputs()
        self.n_features = self.input.shape[1]
        self.dtype = np.float32 if self.input.type == "tensor(float)" else np.float64

    def predict(self, rows):
        """The predictions for a list of rows; a ValueError says what is wrong with it."""
        try:
            X = np.array(rows, dtype=self.dtype)
        except (TypeError, ValueError, OverflowError):
            raise ValueError("The rows are not lists of numbers of one length.") from None
        if X.ndim != 2 or X.shape[1] != self.n_features or len(X) == 0:
            raise ValueError(
                f"The body is a list of rows of {self.n_features} numbers; its shape is {X.shape}."
            )
        if not np.isfinite(X).all():
            raise ValueError("A number is infinite or NaN.")
        return self.session.run(None, {self.input.name: X})[0].tolist()


class Handler(BaseHTTPRequestHandler):
    """Answers a request with JSON."""

    model: Model

    def do_GET(self):
        if self.path != "/":
            return self.answer(404, {"error": "GET / or POST /predict"})
        return self.answer(200, {"features": self.model.n_features, "predict": "POST /predict"})

    def do_POST(self):
        if self.path != "/predict":
            return self.answer(404, {"error": "GET / or POST /predict"})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            return self.answer(413, {"error": f"A body has at most {MOST_BYTES} bytes."})
        try:
            predictions = self.model.predict(json.loads(self.rfile.read(int(length))))
        except (ValueError, RecursionError) as error:
            return self.answer(400, {"error": str(error)})
        return self.answer(200, {"predictions": predictions})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="an ONNX file that skprop.onnx.to_onnx has made")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    arguments = parser.parse_args()
    Handler.model = Model(arguments.model)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
