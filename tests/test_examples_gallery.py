"""The gallery's examples are sound: the documentation's build executes them, so that here they are only read."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import distill
import xkd_eval

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.py"))
PUBLIC = {"xkd_eval": set(xkd_eval.__all__), "distill": set(distill.__all__)}
# Of a code block in the documentation; what is longer has to be scrolled.
WIDEST = 100


@pytest.fixture(params=SCRIPTS, ids=[path.stem for path in SCRIPTS])
def script(request) -> Path:
    return request.param


def test_what_an_example_imports_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, (node.module, missing)


def test_an_example_keeps_to_the_public_names(script):
    tree = ast.parse(script.read_text())
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PUBLIC
    }
    assert used
    assert not [f"{package}.{name}" for package, name in used if name not in PUBLIC[package]]
    modules = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in modules if module.split(".")[0] in PUBLIC]


def test_an_example_has_a_title_and_a_paragraph_and_prose(script):
    text = script.read_text()
    title, rule, nothing, paragraph = (ast.get_docstring(ast.parse(text)) or "").split("\n", 3)
    assert rule == "=" * len(title) and nothing == "" and paragraph.endswith(".")
    assert text.count("# %%") >= 2
    assert not [line for line in text.splitlines() if len(line) > WIDEST]


def test_every_folder_of_examples_has_a_header():
    folders = {path.parent for path in SCRIPTS}
    assert len(folders) <= 3
    for folder in (EXAMPLES, *folders):
        lines = (folder / "GALLERY_HEADER.rst").read_text().splitlines()
        assert set(lines[1]) in ({"="}, {"-"}) and len(lines[1]) == len(lines[0])
