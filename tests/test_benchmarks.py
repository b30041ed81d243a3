"""The benchmarks run; what they measure is not tested."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_benchmark_of_committees_has_a_row_for_each_solver():
    command = [sys.executable, "-m", "benchmarks", "committee", "--quick", "--seconds", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [line for line in done.stdout.splitlines() if "five fits on one core" in line]
    kinds = [line.split()[0] for line in rows if "geometric" not in line]
    assert kinds == ["evidence", "lbfgs", "adam"]
