"""The code keeps to the style of the house, so that it stays readable when nobody is looking."""

from __future__ import annotations

import ast
import re
from collections import Counter

from tidy.house import PACKAGE, TESTS, Module, modules, none_of

LINES_MAX = 400
FUNCTION_LINES_MAX = 60

BANNED_WORDS = {"manager", "helper", "helpers", "util", "utils", "common", "base", "handler", "processor"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
BROAD = {"Exception", "BaseException"}
ENTRUSTED = {("src/clipledger/sim/timeloop.py", "_settle")}
"""Broad handlers that are right: an executor hands whatever happened over to the one who awaits it."""

PLAYS = {"src/clipledger/cli/playing.py", "src/clipledger/cli/serving.py"}
"""The one production module behind the two commands that play the simulator."""


def _migration(module: Module) -> bool:
    return "db/migrations/" in module.name


def test_every_module_says_what_it_is_for() -> None:
    """A newcomer reads at the top of each module what it is for."""
    none_of([m.name for m in modules() if not ast.get_docstring(m.tree)], "modules without a docstring at their top")


def test_no_module_outgrows_its_reader() -> None:
    """No module has more than 400 lines: what is larger has more than one subject."""
    long = [f"{m.name}: {count}" for m in modules() if (count := len(m.text.splitlines())) > LINES_MAX]
    none_of(long, f"modules of more than {LINES_MAX} lines; split them by subject")


def test_no_function_outgrows_its_reader() -> None:
    """No function is longer than a screen; migrations, which are written once by a tool, are left out."""
    long = [
        f"{m.name}:{f.lineno} {f.name}: {length} lines"
        for m in modules()
        if not _migration(m)
        for f in m.functions()
        if (length := (f.end_lineno or 0) - f.lineno + 1) > FUNCTION_LINES_MAX
    ]
    none_of(long, f"functions of more than {FUNCTION_LINES_MAX} lines")


def test_no_failure_is_swallowed_unseen() -> None:
    """Nothing catches everything: a broad `except` that does not raise again hides bugs from the operator."""
    found = [
        f"{m.name}:{handler.lineno} in {function.name}"
        for m in modules()
        for function in m.functions()
        for handler in ast.walk(function)
        if isinstance(handler, ast.ExceptHandler)
        and _is_broad(handler)
        and not _raises_again(handler)
        and (m.name, function.name) not in ENTRUSTED
    ]
    none_of(found, "broad `except` clauses; name what can fail, or let it leave the TaskGroup")


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_nothing_is_left_unfinished() -> None:
    """What ships is finished: no notes to oneself, no stubs."""
    found = [
        f"{m.name}:{number}: {line.strip()[:80]}"
        for m in modules()
        for number, line in enumerate(m.text.splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    none_of(found, "unfinished places")


def test_names_say_what_things_are() -> None:
    """No module and no class has a name that fits everything and tells nothing."""
    stems = [f"{m.name} (module)" for m in modules() if set(m.path.stem.lower().split("_")) & BANNED_WORDS]
    packages = [f"{p.name} (package)" for p in PACKAGE.rglob("*") if p.is_dir() and p.name.lower() in BANNED_WORDS]
    classes = [
        f"{m.name}:{node.lineno} {node.name}"
        for m in modules()
        for node in ast.walk(m.tree)
        if isinstance(node, ast.ClassDef) and {word.lower() for word in _words(node.name)} & BANNED_WORDS
    ]
    none_of(stems + packages + classes, f"names with {', '.join(sorted(BANNED_WORDS))} in them")


def _words(name: str) -> list[str]:
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)


def test_names_are_taken_apart_by_their_words() -> None:
    """`Database` holds no `base`, `BaseStore` does: the rule above looks at words."""
    assert _words("Database") == ["Database"]
    assert _words("_BaseStore") == ["Base", "Store"]
    assert _words("HTTPHandler") == ["HTTP", "Handler"]


def test_production_does_not_depend_on_the_simulator() -> None:
    """What archives real posts never runs through the simulator; only the commands that play it import it."""
    found = [
        f"{m.name}:{line}: {name}"
        for m in modules()
        if not m.name.startswith("src/clipledger/sim/") and m.name not in PLAYS
        for line, name in m.imported()
        if name == "clipledger.sim" or name.startswith("clipledger.sim.")
    ]
    none_of(found, "production modules that import the simulator")


def test_every_test_says_what_it_promises() -> None:
    """Whoever sees a red test reads in its docstring which promise to the operator is broken."""
    found = [
        f"{m.name}:{f.lineno} {f.name}"
        for m in modules(TESTS)
        for f in m.functions()
        if f.name.startswith("test_") and not ast.get_docstring(f)
    ]
    none_of(found, "tests without a docstring")


def test_no_test_is_defined_twice() -> None:
    """A test hidden by a second one of the same name never runs: each name is used once in a file."""
    found = [
        f"{m.name}: {name}"
        for m in modules(TESTS)
        for name, count in Counter(
            node.name for node in m.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ).items()
        if count > 1
    ]
    none_of(found, "functions defined twice in a test file")


def test_test_files_have_names_of_their_own() -> None:
    """A report that names a test file names one file only."""
    counts = Counter(m.path.name for m in modules(TESTS) if m.path.name.startswith("test_"))
    none_of([name for name, count in counts.items() if count > 1], "test files that share a name")


def test_our_own_code_is_never_mocked() -> None:
    """Tests run what ships: no mock stands in for it."""
    found = [
        f"{m.name}:{line}: {name}"
        for m in modules(TESTS)
        for line, name in m.imported()
        if name.split(".")[0] in ("mock", "pytest_mock") or name.startswith("unittest.mock")
    ]
    none_of(found, "imports of a mocking library")
