"""
Checkpoints of a long fit
=========================

Save a long fit as it goes, and take it up again wherever it was ended, to the last bit.

The model itself is the checkpoint: besides θ it holds the averages of the solver, the seed of the
order of rows and the number of the epoch. Run it, kill it at any moment, run it again: the
θ it ends with is that of a run nobody disturbed.

.. code-block:: text

    python examples/checkpoint.py [--quick] [--epochs N] [--every N] [--path FILE]
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.model_selection import train_test_split

from skprop import MLPSigmoidRegressor

DEFAULT_PATH = Path(tempfile.gettempdir()) / "skprop-checkpoint.joblib"


def save(model, path: Path) -> None:
    """Replace the checkpoint in one step: whoever opens it finds the old one or the new one."""
    new = path.with_name(path.name + ".new")  # in the same folder, so that it can be renamed
    with open(new, "wb") as file:
        joblib.dump(model, file)
        file.flush()
        os.fsync(file.fileno())  # on the disk, before the name leads to it
    os.replace(new, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[4])
    parser.add_argument("--quick", action="store_true", help="few epochs")
    parser.add_argument("--epochs", type=int, help="in all (300; with --quick 30)")
    parser.add_argument("--every", type=int, default=10, help="epochs from one to the next (10)")
    parser.add_argument("--path", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args()
    n_epochs = arguments.epochs or (30 if arguments.quick else 300)

    path = Path(__file__).parent / "data" / "concrete.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    X_train, X_test, y_train, y_test = train_test_split(table[:, :-1], table[:, -1], random_state=0)

    if arguments.path.exists():
        model = joblib.load(arguments.path)  # load only files of your own making
        print(f"Going on after epoch {model.n_iter_}", flush=True)
    else:
        model = MLPSigmoidRegressor(
            (50, 50), solver="adam", batch_size=32, learning_rate_init=0.003, random_state=0
        ).partial_fit(X_train, y_train)

    while model.n_iter_ < n_epochs:
        model.partial_fit(X_train, y_train)
        if model.n_iter_ % arguments.every == 0 or model.n_iter_ == n_epochs:
            save(model, arguments.path)
            print(f"Epoch {model.n_iter_}: loss {model.loss_:.4f}", flush=True)

    digest = hashlib.sha256(model.theta_.tobytes()).hexdigest()
    print(f"R² on the rows held out: {model.score(X_test, y_test):.3f}")
    print(f"SHA-256 of theta_: {digest}")


if __name__ == "__main__":
    main()
