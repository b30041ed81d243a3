"""A run that is killed loses what it did since the last checkpoint, and nothing else."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np

SCRIPT = Path(__file__).parents[1] / "examples" / "checkpoint.py"
EPOCHS = 60


def start(path):
    options = ["--epochs", str(EPOCHS), "--every", "2", "--path", path]
    command = [sys.executable, "-X", "utf8", "-W", "error", SCRIPT, *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        env=os.environ | {"MPLBACKEND": "agg"},
    )  # fmt: skip


def digest(printed):
    return re.search(r"SHA-256 of theta_: (\w+)", printed)[1]


def test_a_run_killed_again_and_again_ends_with_the_theta_of_an_undisturbed_one(tmp_path):
    undisturbed = start(tmp_path / "undisturbed.joblib")  # meanwhile
    rng = np.random.default_rng(0)
    path, reached, n_kills = tmp_path / "killed.joblib", 0, 0
    while True:
        process = start(path)
        for line in process.stdout:  # what is killed is a run at work, at a random moment
            if line.startswith("Epoch"):
                time.sleep(rng.uniform(0, 0.05))
                break
        if n_kills == 3:
            break
        process.kill()  # SIGKILL
        process.communicate(timeout=60)
        assert process.returncode != 0
        n_kills += 1
        model = joblib.load(path)  # whole, whenever it was killed
        assert model.n_iter_ % 2 == 0
        assert reached < model.n_iter_ <= EPOCHS
        reached = model.n_iter_
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert digest(printed) == digest(undisturbed.communicate(timeout=120)[0])
    assert np.array_equal(
        joblib.load(path).theta_, joblib.load(tmp_path / "undisturbed.joblib").theta_
    )
