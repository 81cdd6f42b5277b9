"""The folders of distill import each other in one direction, whoever imports and wherever in a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import distill

ROOT = Path(distill.__file__).parent
LAYERS = ("methods", "recipe", "data", "answers", "students", "runs", "training", "cli")
"""Each may import those before it."""

LONGEST = 300


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def folder_of(module: str) -> str:
    """ "distill.data.splits" -> "data"; "" for what lies beside the folders."""
    first = module.removeprefix("distill").removeprefix(".").partition(".")[0]
    return first if (ROOT / first).is_dir() and first else ""


def imports(path: Path) -> set[str]:
    """All modules of distill that a file imports, those within functions and for types alone included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "distill"}


def test_every_folder_has_its_place():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_folder_imports_only_those_before_it(layer):
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], ""}
    wrong = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / layer).rglob("*.py")
        for name in imports(path)
        if folder_of(name) not in allowed or (folder_of(name) == "" and name != "distill")
    }
    assert not wrong


def test_the_evaluator_does_not_know_the_trainer():
    import xkd_eval

    assert not [path for path in Path(xkd_eval.__file__).parent.rglob("*.py") if imports(path)]


def test_no_file_holds_two_ideas():
    assert not [path.name for path in modules() if len(path.read_text().splitlines()) > LONGEST]


def calls(path: Path) -> set[str]:
    """What a file prints, exits or reads the command line by."""
    tree = ast.parse(path.read_text())
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return (names & {"print", "exit", "SystemExit"}) | (attributes & {"sys.argv", "sys.exit", "os._exit"})


def test_the_library_below_the_commands_neither_prints_nor_exits():
    library = [path for path in modules() if "cli" not in path.parts and path.name != "__main__.py"]
    assert not {path.name: found for path in library if (found := calls(path))}
