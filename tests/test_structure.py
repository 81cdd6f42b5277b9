"""The layers of the package: each folder imports those below it and none above, function-level imports included."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xkd_eval"

LAYERS = (
    *("digests", "escapes", "errors", "wording", "notebook", "cam", "registry", "foreign"),
    *("arguments", "files", "written", "packages"),
    *("devices", "launch", "ambient", "resizing", "bands", "assets", "statistics"),
    *("classifiers", "datasets", "figures", "explainers", "engines", "explanations", "evaluations"),
    *("study", "comparison", "gate", "report", "leaderboard", "card", "testing", "cli", "__main__"),
)
"""From the lowest to the highest."""

# What speaks to a person, or ends the process, belongs to the command line.
SPEAKS = re.compile(r"\bprint\(|sys\.argv|sys\.exit|SystemExit")


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports_of(path: Path) -> list[str]:
    """Modules of the package that a file imports anywhere, but for type checkers alone."""
    found = []
    for node in _executed(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "xkd_eval":
            found += [f"xkd_eval.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xkd_eval."):
            found.append(str(node.module))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("xkd_eval.")]
    return found


def _executed(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _executed(child)


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_folder_has_its_place():
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in files()} - {"__init__"}
    assert there == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_none_above_it(layer):
    for path in files():
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") == layer:
            for module in imports_of(path):
                other = layer_of(module)
                assert other not in LAYERS or LAYERS.index(other) <= LAYERS.index(layer), (str(path), module)


def test_the_library_neither_prints_nor_exits():
    for path in files():
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        code = [line for line in path.read_text().splitlines() if ">>>" not in line and "..." not in line]
        spoken = [line for line in code if SPEAKS.search(line) and "except" not in line and "BaseException" not in line]
        assert not spoken, (str(path), spoken)


def test_nothing_outside_knows_a_test_by_its_name():
    names = re.compile(r'"(perturbation|segmentation|fidelity|agreement)"')
    for path in files():
        if path.relative_to(PACKAGE).parts[0] not in ("evaluations", "cli"):
            found = [line for line in path.read_text().splitlines() if names.search(line)]
            # In a comparison "agreement" is a table and a kind of cell, not the test.
            assert not [line for line in found if '"agreement"' not in line], (str(path), found)
