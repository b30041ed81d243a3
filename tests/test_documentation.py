"""What a build of the documentation does not see."""

import re
from pathlib import Path

import pytest

import skprop

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", skprop.__all__)
def test_the_api_reference_has_every_public_name(name):
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.search(rf"^\.\. auto(class|function):: {name}$", reference, re.MULTILINE)


def test_the_gallery_lists_every_example():
    listed = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    listed = re.findall(r'"(\w+)"', re.search(r"EXAMPLES = \((.+?)\n\)", listed, re.DOTALL)[1])
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert sorted(listed) == sorted(examples - {"checkpoint"})  # a program to be killed
