"""The mutants of `python -m tests.mutate` are programs, and other programs."""

import ast
import random
import sys

import mutate
import pytest

if sys.platform == "win32" or not (mutate.ROOT / "skprop").is_dir():
    pytest.skip("needs a checkout, on a system that forks", allow_module_level=True)


@pytest.mark.parametrize("name", ["backprop.py", "layout.py", "solvers/damping.py"])
def test_a_mutant_is_another_program_that_differs_in_the_line_shown(name):
    path = mutate.ROOT / "skprop" / name
    original = ast.dump(ast.parse(path.read_text(encoding="utf-8")))
    mutants = list(mutate.mutants_of(path))
    assert len(mutants) > 20
    for mutant in random.Random(0).sample(mutants, 20):
        assert ast.dump(ast.parse(mutant.source)) != original
        _, before, after = mutant.diff.splitlines()
        assert before[2:] != after[2:]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a + b", ["a - b"]),
        ("a < b", ["a <= b"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("3", ["4", "2"]),
        ("0.5", ["1.0"]),
        ("0.0", ["1.0"]),
        ("True", ["False"]),
        ("'a message'", []),
    ],
)
def test_what_may_stand_in_the_place_of_an_expression(source, expected):
    assert list(mutate.changes(ast.parse(source, mode="eval").body)) == expected


@pytest.mark.parametrize("source", ["a += b", "f(a)", "a[0] = b", "raise a", "break"])
def test_a_statement_may_be_dropped(source):
    (statement,) = ast.parse(source).body
    assert list(mutate.changes(statement)) == ["pass"]


def test_docstrings_imports_and_annotations_are_left_alone():
    source = '"""Text 1."""\nfrom a import b\ndef f(x: int | None) -> 3:\n    """Text 2."""\n'
    found = [
        change for node, *_ in mutate.walk(ast.parse(source)) for change in mutate.changes(node)
    ]
    assert found == []


def test_every_judged_mutant_has_a_reason_and_still_exists():
    text = (mutate.ROOT / "tests" / "equivalent_mutants.txt").read_text(encoding="utf-8")
    every = {form for mutant in mutate.sample(10**9, 0, "") for form in mutate.forms(mutant)}
    for entry in text.strip().split("\n\n"):
        *diff, reason = entry.splitlines()
        assert reason.startswith("= ")
        assert "\n".join(diff) in every
