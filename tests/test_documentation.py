"""What a build of the documentation does not see."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import skprop
from skprop import solvers

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", skprop.__all__)
def test_the_api_reference_has_every_public_name(name):
    pages = [ROOT / "docs" / "api.md", *(ROOT / "docs" / "api").glob("*.md")]
    reference = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert re.search(rf"^\.\. auto(class|function):: {name}$", reference, re.MULTILINE)


def test_the_gallery_lists_every_example():
    tree = ast.parse((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"))
    groups = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXAMPLES"
    )
    listed = [name for group in groups.values() for name in group]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


# ---- the defaults that docstrings name ---------------------------------------------------


def public_callables():
    """Each public function, class and method of this package with its name."""
    for name in dict.fromkeys([*skprop.__all__, *solvers.__all__]):
        thing = getattr(skprop, name, None) or getattr(solvers, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            yield name, thing
            for method, function in inspect.getmembers(thing, inspect.isroutine):
                ours = getattr(function, "__module__", None) == thing.__module__
                if ours and (method == "__call__" or not method.startswith("_")):
                    yield f"{name}.{method}", function


CALLABLES = dict(public_callables())


def documented_parameters(thing):
    """What the section "Parameters" of a numpydoc docstring says: {name: (type, description)}."""
    text = inspect.getdoc(thing) or ""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+$|\Z)", text, re.DOTALL | re.MULTILINE
    )
    found = {}
    for entry in re.split(r"\n(?=\S)", section[1].strip()) if section else ():
        head, _, description = entry.partition("\n")
        names, _, type_ = head.partition(" : ")
        for name in names.split(","):
            found[name.strip()] = type_, description
    return found


def defaults(thing):
    """Of each parameter that has one."""
    parameters = inspect.signature(thing).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def documented_default(thing, name):
    """The default that a docstring, or the one it refers to, gives a parameter; as its `repr`.

    The word "optional" stands for None, or for an empty sequence.
    """
    type_, description = documented_parameters(thing).get(name, ("", ""))
    if elsewhere := not type_ and re.search(r"As in `(\w+)`", description):
        owner, _, _ = thing.__qualname__.rpartition(".")
        known = CALLABLES.get(elsewhere[1]) or CALLABLES[f"{owner}.{elsewhere[1]}"]
        return documented_default(known, name)
    if value := re.search(r"default=(.+)$", type_):
        return repr(ast.literal_eval(value[1]))
    return "None" if type_.endswith(", optional") else "nothing"


@pytest.mark.parametrize("name", CALLABLES)
def test_the_defaults_of_a_docstring_are_those_of_the_signature(name):
    thing = CALLABLES[name]
    in_signature, documented = defaults(thing), documented_parameters(thing)
    said = {p: documented_default(thing, p) for p in {*in_signature, *documented}}
    meant = {p: repr(None if value == () else value) for p, value in in_signature.items()}
    if not documented:  # it may refer to another one in a sentence
        assert set(meant.values()) <= {"None"}
        return
    assert {p: value for p, value in said.items() if value != "nothing"} == meant
