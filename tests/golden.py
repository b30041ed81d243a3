"""Save models by this version of skprop, for the tests of all later ones.

    python -m tests.golden

writes `tests/golden/<version>/`, which is then never changed. Run it with the lowest versions of
NumPy and scikit-learn that are supported, as these load files of older versions and not of newer
ones, and with skops.
"""

import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import skprop
from skprop import MLPSigmoidRegressor

FOLDER = Path(__file__).parent / "golden"
KINDS = {  # parameters, the number of outputs, and the dtype
    "default": ({"hidden_layer_sizes": (3,), "n_members": 2, "max_iter": 20}, 1, float),
    "relevance": ({"hidden_layer_sizes": (3,), "alpha": "ard", "max_iter": 20}, 1, float),
    "one-network": ({"hidden_layer_sizes": (3, 2), "alpha": 1e-3, "max_iter": 20}, 1, float),
    "outputs-float32": (
        {"hidden_layer_sizes": (4,), "solver": "adam", "alpha": 1e-3, "max_iter": 5}, 2, np.float32,
    ),
    "sigmoid-sgd": (
        {"hidden_layer_sizes": (4,), "solver": "sgd", "output_activation": "sigmoid", "max_iter": 5,
         "alpha": 1e-3}, 1, float,
    ),
    "committee-held-out": (
        {"hidden_layer_sizes": (4,), "solver": "adam", "early_stopping": True, "n_members": 2,
         "alpha": 1e-3, "max_iter": 5}, 1, float,
    ),
}  # fmt: skip


def data(n_outputs, dtype):
    """Rows and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(40, 3))
    y = np.c_[np.sin(X[:, 0]) + X[:, 1], X[:, 1] * X[:, 2]] + 0.1 * rng.normal(size=(40, 2))
    return X.astype(dtype), y[:, :n_outputs].squeeze().astype(dtype)


def save(folder):
    """Save models of all kinds in two formats, and what they predict."""
    import skops.io

    folder.mkdir(parents=True)
    for kind, (parameters, n_outputs, dtype) in KINDS.items():
        X, y = data(n_outputs, dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = MLPSigmoidRegressor(random_state=0, **parameters).fit(X, y)
            mean, deviation = model.predict(X, return_std=True)
            later = pickle.loads(pickle.dumps(model))
            if hasattr(later, "partial_fit"):
                later.partial_fit(X, y)
        (folder / f"{kind}.pickle").write_bytes(pickle.dumps(model, protocol=5))
        skops.io.dump(model, folder / f"{kind}.skops", compression=zipfile.ZIP_DEFLATED)
        np.savez_compressed(
            folder / f"{kind}.npz", X=X, mean=mean, deviation=deviation, later=later.predict(X)
        )


if __name__ == "__main__":
    save(FOLDER / skprop.__version__)
