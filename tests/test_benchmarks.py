"""The benchmarks run; what they measure is not tested."""

import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def test_the_benchmark_of_committees_has_a_row_for_each_solver():
    command = [sys.executable, "-m", "benchmarks", "committee", "--quick", "--seconds", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [line for line in done.stdout.splitlines() if "five fits on one core" in line]
    kinds = [line.split()[0] for line in rows if "geometric" not in line]
    assert kinds == ["evidence", "lbfgs", "adam"]


def table_of_the_readme(*arguments):
    """What `python -m benchmarks.readme` prints, as lines."""
    command = [sys.executable, "-X", "utf8", "-m", "benchmarks.readme", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=True, cwd=ROOT
    )
    return done.stdout.splitlines()


def test_the_table_of_the_readme_is_what_its_command_prints():
    printed = table_of_the_readme()
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = lines.index(printed[0])
    assert lines[first : first + len(printed)] == printed
    assert not lines[first + len(printed)]


def test_a_split_that_is_missing_in_the_table_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(80, 2))
    rows = {"n_splits": 1, "train_0": np.arange(60), "test_0": np.arange(60, 80)}
    (tmp_path / "energy").mkdir()
    np.savez(tmp_path / "energy" / "data.npz", X=X, y=X @ [3, 1] + rng.normal(0, 0.1, 80), **rows)
    contenders = ["skprop, without a parameter", "`GaussianProcessRegressor`"]
    arguments = ["--data", tmp_path, "--results", tmp_path / "found.csv", "--sets", "energy"]
    header, _, ours, *_, process = table_of_the_readme(*arguments, "--only", *contenders)
    energy = header.split("|").index(" energy ")
    for row in ours, process:
        rmse, rest = row.split("|")[energy].split(" ± ")
        assert 0.05 < float(rmse) < 0.2
        assert "(1 splits)" in rest
        assert len(rest.split("; ")) == 3
