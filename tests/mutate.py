"""Whether the tests notice a wrong line: mutants of the package, and which of them survive.

A mutant is the package with one operator, constant, condition or statement changed. The tests run
once as they are, which is the control, and the lines that each executes are kept in `.mutants`.
Then each mutant of a seeded sample, in a copy of the tree, meets the tests that execute its line,
the fastest first, until one fails or takes three times as long as it did: those of the modules
first, and what survives all the others.

    python -m tests.mutate --mutants 150 --seed 0 [--only solvers]
    python -m tests.mutate --near --smoke      # three mutants of one module

Survivors are printed as a diff. `tests/equivalent_mutants.txt` has, in the same form, those that
change nothing that is promised, each with the reason; `+ (any)` stands for all changes of a line.
Needs `coverage`, and a system that forks.
"""

import argparse
import ast
import bisect
import hashlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import sklearn.datasets
import sklearn.model_selection
import sklearn.pipeline  # noqa: F401  (what a forked child need not import again)

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".mutants"
NUMERICS = (
    "backprop tangents jacobian curvature objective laplace posterior scaling rows layout fitting"
    " data_loss double_backprop flat_objective slope_error summed"
)
BARS = {"numerics": 0.97, "the rest": 0.93}
LEFT_OUT = {"displays.py", "__init__.py"}
FAR = (  # tests of the whole, which take long: examples, other processes, thousands of cases
    "examples benchmarks dask ecosystem estimator_checks hostile_input interruption resources"
    " typing persistence package"
)
STATIC = "tests/test_documentation.py"  # reads signatures, so it executes no line of them
FIRST_SECONDS, FIRST_FILES = 5.0, 4  # of the tests that a mutant meets before all others
GRACE = 60.0  # s that a run may take beyond three times what its tests took
POLL = 0.02  # s between two looks at a run
OPTIONS = ["-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
OPPOSITE = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Add, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


class Mutant(NamedTuple):
    """A file with one place changed, and the lines of the statement that has it."""

    file: str
    lines: range
    at_import: bool
    source: str
    diff: str


def changes(node):
    """What may stand in the place of an expression or a statement, as source."""
    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPPOSITE:
            yield ast.unparse(changed(node, op=OPPOSITE[type(op)]()))
        case ast.Compare(ops=[op, *others]):
            yield ast.unparse(changed(node, ops=[OPPOSITE[type(op)](), *others]))
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield ast.unparse(node.operand)
        case ast.Constant(value=bool()):
            yield repr(not node.value)
        case ast.Constant(value=int()):
            yield from (repr(node.value + 1), repr(node.value - 1))
        case ast.Constant(value=float()):
            yield repr(2 * node.value or 1.0)
        case (
            ast.Expr(value=ast.Constant() | ast.Yield())
            | ast.Assign(targets=[ast.Name() | ast.Tuple(), *_])
        ):
            pass  # docstrings, and names without which nothing runs
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Break():
            yield "pass"
        case ast.Continue() | ast.Delete():
            yield "pass"


def changed(node, **fields):
    return type(node)(**{name: getattr(node, name) for name in node._fields} | fields)


def walk(node, statement=None, at_import=True):
    """Every node with its statement, and whether that runs when the module is imported."""
    if isinstance(node, ast.ImportFrom | ast.Import | ast.JoinedStr):
        return
    if any(getattr(each, "id", "") == "overload" for each in getattr(node, "decorator_list", ())):
        return  # for type checkers alone
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
        return
    statement = node if isinstance(node, ast.stmt) else statement
    if statement is not None:
        yield node, statement, at_import
    function = isinstance(node, ast.FunctionDef | ast.Lambda)
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns", "decorator_list"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(
                        child, statement, at_import and not (function and name == "body")
                    )


def mutants_of(path):
    """All mutants of a file."""
    source, file = path.read_bytes(), path.relative_to(ROOT).as_posix()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, statement, at_import in walk(ast.parse(source)):
        for change in changes(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            plain = isinstance(node, ast.stmt | ast.Constant)
            new = change.encode() if plain else f"({change})".encode()
            left, right = source.rfind(b"\n", 0, start) + 1, source.find(b"\n", end)
            before, after = (
                " ".join((source[left:start] + part + source[end:right]).decode().split())
                for part in (source[start:end], new)
            )
            yield Mutant(
                file, range(statement.lineno, node.end_lineno + 1), at_import,
                (source[:start] + new + source[end:]).decode(), f"{file}\n- {before}\n+ {after}",
            )  # fmt: skip


def sample(number, seed, only):
    """So many mutants of the modules, in a random order."""
    files = [path for path in sorted((ROOT / "skprop").rglob("*.py")) if path.name not in LEFT_OUT]
    every = [m for path in files if only in path.as_posix() for m in mutants_of(path)]
    return random.Random(seed).sample(every, min(number, len(every)))


def forms(mutant):
    """How a list of mutants may have it: itself, or any change of its line."""
    return mutant.diff, mutant.diff.partition("\n+ ")[0] + "\n+ (any)"


def is_numerics(mutant):
    path = Path(mutant.file)
    return path.parent.name == "solvers" or path.stem in NUMERICS.split()


# ---- the tests, and which lines they execute --------------------------------------------


def test_files(near):
    """The files with tests of the modules, or all others."""
    found = [*(ROOT / "tests").rglob("test_*.py"), ROOT / "README.md"]
    found += [*(ROOT / "skprop").rglob("*.py"), *(ROOT / "docs").glob("*.md")]
    far = {path for path in found if path.stem.removeprefix("test_") in FAR.split()}
    far |= {path for path in found if path.suffix == ".md"}
    found = [p for p in found if ROOT / "skprop" not in p.parents or ">>>" in p.read_text("utf-8")]
    return sorted(p.relative_to(ROOT).as_posix() for p in found if (p not in far) == near)


def digest(paths):
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()[:16]


def forked(folder, function, seconds):
    """The status that a function in a child of this process returns; "late" after a time."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.path.insert(0, str(folder))
        os.environ["PYTHONPATH"] = str(folder)
        status = 1
        try:
            status = function()
        finally:  # whatever it raises, the child goes no further
            os._exit(status)
    for _ in range(math.ceil(seconds / POLL)):  # of naps: while both are stopped no time passes
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "late"


class Trace:
    """A plugin of pytest: for each test its time, and the lines of the package it executes."""

    def __init__(self):
        import coverage

        self.coverage = coverage.Coverage(
            data_file=None, branch=True, source=["skprop"], config_file=False
        )
        self.coverage.start()
        self.seconds = {}

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)
        self.start = time.perf_counter()

    def pytest_runtest_logfinish(self, nodeid):
        self.seconds[nodeid] = round(time.perf_counter() - self.start, 3)
        self.coverage.switch_context("")

    def found(self, folder):
        """{test: (seconds, {file: lines})}."""
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {test: defaultdict(list) for test in self.seconds}
        for file in data.measured_files():
            for line, tests in data.contexts_by_lineno(file).items():
                for test in set(tests) - {""}:
                    lines[test][Path(file).relative_to(folder).as_posix()].append(line)
        return {test: (seconds, lines[test]) for test, seconds in self.seconds.items()}


def traced(folder, names):
    """What `Trace.found` says of all tests in some files, from the cache where it is there."""
    common = digest([*(ROOT / "skprop").rglob("*.py"), ROOT / "tests/conftest.py"])
    tests = {}
    for name in names:
        kept = CACHE / f"{common}-{digest([ROOT / name])}-{name.replace('/', '.')}.json"

        def run(name=name, kept=kept):
            plugin = Trace()
            status = pytest.main([name, *OPTIONS], [plugin])
            if status in {0, 5}:
                kept.write_text(json.dumps(plugin.found(folder)))
            return status

        if not kept.exists():
            print(f"The control: {name}", file=sys.stderr, flush=True)
            CACHE.mkdir(exist_ok=True)
            if forked(folder, run, 3600) not in {0, 5}:
                sys.exit(
                    f"Tests fail without a mutant:\n{(folder / 'log.txt').read_text()[-3000:]}"
                )
        tests |= json.loads(kept.read_text())
    return tests


def compile_all(folder, names):
    """Compile the package, some tests, and the plugins of pytest: a mutant then starts in a second.

    What has been changed since is compiled when it runs, and not kept: of a mutant of the same
    second and size it would be taken for the original.
    """

    def run():
        sys.dont_write_bytecode = False
        return pytest.main(["--collect-only", *names, *OPTIONS])

    forked(folder, run, 3600)


class Chosen:
    """A plugin of pytest: these tests and no others, in this order."""

    def __init__(self, tests):
        self.order = {test: i for i, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items):
        mine = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(mine, key=lambda item: self.order[item.nodeid])


def fails(folder, tests, seconds):
    """Whether one of some tests fails, or takes too long."""

    def run():
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        files = dict.fromkeys(test.split("::")[0] for test in tests)
        return pytest.main([*files, *OPTIONS], [Chosen(tests)])

    return bool(tests) and forked(folder, run, 3 * seconds + GRACE) not in {0, 5}


def batches(mutant, tests):
    """The tests that execute its line, the fastest first: some to begin with, and the others.

    To begin with one of each function that several cases share, from few files. A line that runs
    on import has the tests of its module.
    """
    chosen = []
    for test, (_, files) in tests.items():
        lines = files.get(mutant.file, ())
        on_import = mutant.at_import and (lines or test.startswith(STATIC))
        if on_import or any(line in mutant.lines for line in lines):
            chosen.append(test)
    chosen.sort(key=lambda test: tests[test][0])
    cases = Counter()  # so far, of each function
    rank = {}
    for test in chosen:
        rank[test] = cases[test.split("[")[0]]
        cases[test.split("[")[0]] += 1
    chosen.sort(key=rank.get)  # one case of each function, the fastest, then a second one
    chosen.sort(key=lambda test: not test.startswith(STATIC))  # which take no time
    number = Counter(function.split("::")[0] for function in cases)
    files = {file for file, _ in number.most_common(FIRST_FILES)}
    first, seconds = [], 0.0
    for test in chosen:
        if rank[test] == 0 and test.split("::")[0] in files:
            seconds += tests[test][0]
            if seconds < FIRST_SECONDS or not first:
                first.append(test)
    return first, [test for test in chosen if test not in set(first)]


def survives(mutant, tests, folder, most):
    """Whether no test that executes its line fails, among so many seconds of the fastest."""
    path = folder / mutant.file
    path.write_text(mutant.source, encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()
    try:
        first, others = batches(mutant, tests)
        seconds = list(itertools.accumulate(tests[test][0] for test in others))
        others = others[: bisect.bisect(seconds, most)]
        return not any(
            fails(folder, some, sum(tests[test][0] for test in some)) for some in (first, others)
        )
    finally:
        shutil.copy2(ROOT / mutant.file, path)


# ---- the report -------------------------------------------------------------------------


def survivors(mutants, tests, folder, most):
    """Those that survive; the others are remembered, for as long as the package is the same."""
    record = CACHE / f"killed-{digest((ROOT / 'skprop').rglob('*.py'))}.txt"
    killed = set(record.read_text(encoding="utf-8").split("\n\n")) if record.exists() else set()
    for number, mutant in enumerate(mutants, 1):
        if mutant.diff in killed:
            continue
        start = time.monotonic()
        if alive := survives(mutant, tests, folder, most):
            yield mutant
        else:
            with record.open("a", encoding="utf-8") as file:
                file.write(f"{mutant.diff}\n\n")
        seconds = f"{time.monotonic() - start:.0f} s"
        state = f"line {mutant.lines[0]} survives" if alive else "killed"
        print(
            f"{number}/{len(mutants)}, {seconds}: {state}\n{mutant.diff}",
            file=sys.stderr,
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutants", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the path of a module")
    parser.add_argument("--near", action="store_true", help="the tests of the modules alone")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of tests for each mutant")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    mutants = sample(arguments.mutants, arguments.seed, arguments.only)
    names = [test_files(True), test_files(False)][: 1 if arguments.near else 2]
    if arguments.smoke:
        mutants, names = (
            sample(3, arguments.seed, "skprop/backprop.py"),
            [["tests/test_backprop.py"]],
        )
    text = (ROOT / "tests" / "equivalent_mutants.txt").read_text(encoding="utf-8")
    known = {"\n".join(entry.splitlines()[:3]) for entry in text.split("\n\n")}
    judged = [mutant for mutant in mutants if known.isdisjoint(forms(mutant))]

    alive = judged
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work).resolve()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")[:-1]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        for some in names:
            if alive:
                tests = traced(folder, some)
                compile_all(folder, some)
                alive = list(survivors(alive, tests, folder, arguments.seconds))

    print(*(f"{mutant.diff}\n= line {mutant.lines[0]}\n" for mutant in alive), sep="\n")
    print(f"{len(mutants)} mutants, {len(mutants) - len(judged)} of them equivalent")
    low = False
    for name, bar in BARS.items():
        total, left = (
            sum(is_numerics(mutant) == (name == "numerics") for mutant in some)
            for some in (judged, alive)
        )
        rate = 1 - left / max(total, 1)
        low |= rate < bar
        print(f"{name}: {rate:.1%} of {total} killed, at least {bar:.0%} asked")
    sys.exit(low)


if __name__ == "__main__":
    main()
