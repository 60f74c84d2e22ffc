"""The repository stands on its own: nothing in it points into one machine, and what it names exists."""

from __future__ import annotations

import re

import pytest

import clipledger
from tidy.house import PACKAGE, ROOT, none_of, pyproject, texts

# Written in pieces, so that this file does not name what it looks for.
_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("rubygems", "org"),
        ("anaconda", "org"),
        ("artifacts", ""),
        ("artifactory", ""),
        ("nexus", ""),
    )
]
_REGISTRY = re.compile("|".join(rf"(?<![\w-]){re.escape(host)}" for host in _HOSTS), re.I)
_MACHINE_PATH = re.compile(r"(?<![\w.~$})/-])/(?:work|root|tmp)(?=/|$|[\s'\"`),;:])", re.M)


def _matches(pattern: re.Pattern[str], *, tests_too: bool) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"
        for name, text in texts().items()
        if tests_too or not name.startswith("tests/")
        for found in pattern.finditer(text)
    ]


def test_no_package_registry_is_named() -> None:
    """The repository builds from whichever registry its user's tools are set to: it names none."""
    none_of(_matches(_REGISTRY, tests_too=True), "package registry hosts")


def test_no_path_of_one_machine_is_named() -> None:
    """Code and documentation hold for every machine: no path of the one they were written on."""
    found = _matches(_MACHINE_PATH, tests_too=False)
    # What deploy/ says of containers is said of their own file systems.
    none_of(
        [line for line in found if not (line.startswith("deploy/") and line.endswith(": /tmp"))],
        "absolute paths of a machine",
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cd /work/main", True),
        ("`/root`", True),
        ("/tmp/x", True),
        ("/work", True),
        ("https://example.org/work/x", False),
        ("docs/root/x", False),
        ("/workshop", False),
        ("$HOME/tmp/x", False),
    ],
)
def test_the_search_for_paths_finds_paths(text: str, found: bool) -> None:
    """The two rules above would notice what they are there for."""
    assert (_MACHINE_PATH.search(text) is not None) is found
    assert _REGISTRY.search(f"see https://{_HOSTS[0]}/project/x")


def _stands(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _contracts() -> list[dict[str, object]]:
    told: list[dict[str, object]] = pyproject()["tool"]["importlinter"]["contracts"]
    return told


def _layers() -> set[str]:
    (layered,) = (contract for contract in _contracts() if contract["type"] == "layers")
    assert isinstance(layered["layers"], list)
    return {name.strip(" ()") for layer in layered["layers"] for name in re.split("[|:]", layer)}


def test_every_layer_exists() -> None:
    """The import rules speak of modules that are there: a renamed one does not slip out of them."""
    none_of([name for name in sorted(_layers()) if not _stands(f"clipledger.{name}")], "layers that do not exist")


def test_every_part_has_its_layer() -> None:
    """Every module and package at the top of the house has its place among the layers."""
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    none_of(sorted(parts - _layers() - {"__init__"}), "parts of the house without a layer in pyproject.toml")


def test_every_module_of_an_import_rule_exists() -> None:
    """A rule about imports that names a module which is gone guards nothing."""
    named = {
        module
        for contract in _contracts()
        for key in ("source_modules", "forbidden_modules", "modules")
        for module in contract.get(key, ())  # type: ignore[attr-defined]
        if module.partition(".")[0] == "clipledger"
    }
    ignored = {
        side.strip()
        for contract in _contracts()
        for line in contract.get("ignore_imports", ())  # type: ignore[attr-defined]
        for side in line.split("->")
        if side.strip().startswith("clipledger")
    }
    none_of(sorted(name for name in named | ignored if not _stands(name)), "modules in import rules that do not exist")


def test_the_changelog_knows_this_version() -> None:
    """The top of CHANGELOG.md is this version, or what is not released yet."""
    path = ROOT / "CHANGELOG.md"
    assert path.is_file(), "CHANGELOG.md is missing"
    headings = re.findall(r"(?m)^## +(.+)$", path.read_text(encoding="utf-8"))
    assert headings, "CHANGELOG.md has no `## ` entry"
    top = headings[0].strip("[] ")
    assert top.lower().startswith("unreleased") or re.match(rf"v?{re.escape(clipledger.__version__)}\b", top), (
        f"CHANGELOG.md begins with {headings[0]!r}, the version is {clipledger.__version__}"
    )
