"""What a type checker makes of the public API, seen from a program that uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

import skprop

PROGRAM = Path(__file__).parent / "typed_program.py"


def test_the_package_says_that_it_is_typed():
    assert (Path(skprop.__file__).parent / "py.typed").exists()


def test_mypy_accepts_a_program_and_finds_its_mistakes(tmp_path):
    pytest.importorskip("mypy")
    command = [
        sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent",
        "--ignore-missing-imports", "--config-file=", f"--cache-dir={tmp_path}", PROGRAM,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("The callback stopped the run.") == 3
