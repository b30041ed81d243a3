"""What stands in several places of the project says the same in all of them."""

import re
import tomllib
from pathlib import Path

import pytest

import skprop

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))  # not in what is released


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_names_the_last_release_of_the_changes():
    cited = re.search(r"^version: (\S+)$", read("CITATION.cff"), re.MULTILINE)[1]
    released = re.findall(r"^## (\d\S*)", read("CHANGELOG.md"), re.MULTILINE)
    assert cited == released[0]


def test_the_version_is_the_last_release_or_one_that_follows():
    number = re.compile(r"(\d+)\.(\d+)\.(\d+)")
    version = tuple(map(int, number.match(skprop.__version__).groups()))
    released = tuple(map(int, number.search(read("CHANGELOG.md")).groups()))
    assert version > released or skprop.__version__ == ".".join(map(str, released))


def test_the_supported_versions_are_the_lower_bounds():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    bounds = dict(need.split(">=") for need in project["dependencies"])
    said = " ".join(read("CONTRIBUTING.md").split())
    for name, package in [("NumPy", "numpy"), ("SciPy", "scipy"), ("scikit-learn", "scikit-learn")]:
        assert f"{name} {bounds[package]}" in said
    assert f"Python {project['requires-python'].removeprefix('>=')}" in said


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_and_jobs_have_no_more_rights_than_they_need(path):
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[\d.]+", comment), comment
    assert re.search(r"^permissions:( \{\}|\n  contents: read)$", text, re.MULTILINE)
    assert "secrets." not in text


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path):
    for command in re.findall(r"(\.ci/\w+)", path.read_text(encoding="utf-8")):
        assert (ROOT / command).is_file()
