"""The benchmarks run; what they measure is not tested."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]


@pytest.fixture
def printed_by(monkeypatch, capsys):
    """The lines that `python -m MODULE ARGUMENTS` prints, run in this process."""
    monkeypatch.syspath_prepend(ROOT)

    def lines(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return capsys.readouterr().out.splitlines()

    return lines


def test_the_benchmark_of_committees_has_a_row_for_each_solver(printed_by):
    with threadpool_limits(1, "blas"):  # so that it starts no processes
        printed = printed_by("benchmarks", "committee", "--quick", "--seconds", "0.01")
    rows = [line for line in printed if "five fits on one core" in line]
    kinds = [line.split()[0] for line in rows if "geometric" not in line]
    assert kinds == ["evidence", "lbfgs", "adam"]


def test_the_table_of_the_readme_is_what_its_command_prints(printed_by):
    printed = printed_by("benchmarks.readme")
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = lines.index(printed[0])
    assert lines[first : first + len(printed)] == printed
    assert not lines[first + len(printed)]


def test_a_split_that_is_missing_in_the_table_is_measured(printed_by, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(80, 2))
    rows = {"n_splits": 1, "train_0": np.arange(60), "test_0": np.arange(60, 80)}
    (tmp_path / "energy").mkdir()
    np.savez(tmp_path / "energy" / "data.npz", X=X, y=X @ [3, 1] + rng.normal(0, 0.1, 80), **rows)
    contenders = ["skprop, without a parameter", "`GaussianProcessRegressor`"]
    arguments = ["--data", tmp_path, "--results", tmp_path / "found.csv", "--sets", "energy"]
    header, _, ours, *_, process = printed_by(
        "benchmarks.readme", *arguments, "--only", *contenders
    )
    energy = header.split("|").index(" energy ")
    for row in ours, process:
        rmse, rest = row.split("|")[energy].split(" ± ")
        assert 0.05 < float(rmse) < 0.2
        assert "(1 splits)" in rest
        assert len(rest.split("; ")) == 3
