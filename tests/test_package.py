"""The floor plan of docs/design.md, held against the code."""

import ast
import re
from pathlib import Path

import pytest

import skprop

ROOT = Path(__file__).parents[1]
PACKAGE = Path(skprop.__file__).parent  # of a checkout, or where a wheel was installed
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MOST_LINES, MOST_METHODS, MOST_CODE = 650, 25, 60


def name_of(path):
    """The name of a file within the package, as the table has it."""
    return path.relative_to(PACKAGE).as_posix()


def plan():
    """The floor of every file in the table of the page on the design."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text.partition("\n## Modules\n")[2].partition("\n## ")[0]
    floors = {}
    for floor, files in re.findall(r"^\| (\d+) \| (.+?) \|", table, re.MULTILINE):
        for name in re.findall(r"`([\w/]+\.py)`", files):
            assert name not in floors
            floors[name] = int(floor)
    return floors


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """The modules of this package that a module imports, wherever in it, as files."""
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        target = folder.joinpath(*(node.module or "").split("."))
        for name in [alias.name for alias in node.names]:
            for file in (target / f"{name}.py", target.with_suffix(".py"), target / "__init__.py"):
                if file.is_file():
                    yield file
                    break


def definitions(path, kind):
    return [node for node in ast.walk(parsed(path)) if isinstance(node, kind)]


def lines_of_code(function, source):
    """The lines of a function without its docstring, comments and blank lines."""
    docstring = set()
    for node in ast.walk(function):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            docstring |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = source.splitlines()
    return sum(
        n not in docstring and not re.match(r"\s*(#|$)", lines[n - 1])
        for n in range(function.lineno, function.end_lineno + 1)
    )


def test_the_table_has_every_module_and_no_other():
    assert sorted(plan()) == sorted(map(name_of, MODULES))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down(path):
    floors = plan()
    here = floors[name_of(path)]
    for file in imports(path):
        if file == PACKAGE / "__init__.py":
            continue  # for the version
        there = floors[name_of(file)]
        assert there < here, f"{name_of(path)}, floor {here} -> {name_of(file)}, floor {there}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_classes_and_functions_are_small(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    for cls in definitions(path, ast.ClassDef):
        methods = {node.name for node in cls.body if isinstance(node, ast.FunctionDef)}
        assert len(methods) <= MOST_METHODS, cls.name
    for function in definitions(path, ast.FunctionDef):
        assert lines_of_code(function, source) <= MOST_CODE, function.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_private_to_a_module_is_used_there_alone(path):
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            private = [alias.name for alias in node.names if re.match(r"_(?!_)", alias.name)]
            assert not private, f"imports {private}"
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id not in imported or not re.match(
                r"_(?!_|replace|fields)", node.attr
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_what_it_offers(path):
    tree = parsed(path)
    assert ast.get_docstring(tree)
    offered = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__"
    ]
    assert len(offered) == 1, "no __all__"
    defined = {node.name for node in tree.body if hasattr(node, "name")}
    assert {name for name in defined if not name.startswith("_")} <= set(offered[0])
    assert not [name for name in offered[0] if name.startswith("_")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_a_module_imports_from_another_is_offered_there(path):
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.ImportFrom) or not node.level or not node.module:
            continue
        file = path.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
        if not file.is_file():
            continue
        offered = next(
            ast.literal_eval(n.value)
            for n in parsed(file).body
            if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", None) == "__all__"
        )
        missing = {alias.name for alias in node.names} - set(offered)
        assert not missing, f"{name_of(file)} does not offer {sorted(missing)}"


def test_sparse_matrices_are_told_apart_in_one_module_beside_the_targets():
    using = {name_of(p) for p in MODULES if re.search(r"\bissparse\(", p.read_text("utf-8"))}
    assert using == {"rows.py", "data.py"}


def test_overflow_is_silenced_and_blas_held_in_three_places():
    held = re.compile(r"\bwith .*single_threaded_blas\(")
    places = {name_of(p) for p in MODULES if held.search(p.read_text("utf-8"))}
    assert places == {"threads.py", "flat_objective.py", "network.py"}
