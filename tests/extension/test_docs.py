"""docs/extend.md and the pages on one's own parts run as they stand: files, commands, notebook cells, entry points."""

import re
import shlex
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from distill.methods import METHODS
from xkd_eval.classifiers.architectures import ARCHITECTURES
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.datasets import DATASETS
from xkd_eval.evaluations import TESTS
from xkd_eval.explainers import EXPLAINERS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text()
    for name in ("own_model", "own_explainer", "own_data", "own_architecture", "extend", "own_metric")
}
REGISTRIES = {registry.group: registry for registry in (EXPLAINERS, DATASETS, ARCHITECTURES, TESTS, METHODS)}


def blocks(language, pages=tuple(PAGES)):
    text = "\n".join(PAGES[page] for page in pages)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def is_file(block):
    return block.startswith("# mine.py")


FILES = list(filter(is_file, blocks("python")))


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """A working directory of its own, and registries as a fresh process has them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in REGISTRIES.values():
        registry.names()
        monkeypatch.setattr(registry, "_known", own_things(registry))
        monkeypatch.setattr(registry, "_broken", {})
    yield tmp_path
    sys.modules.pop("mine", None)


def own_things(registry):
    return {name: thing for name, thing in registry._known.items() if registry.is_own(name)}


@pytest.fixture
def mine(clean):
    """All the files of the pages as one."""
    (clean / "mine.py").write_text("\n\n".join(FILES))
    return clean / "mine.py"


def test_each_part_is_at_most_15_lines():
    assert len(FILES) >= 5
    for block in FILES:
        assert len([line for line in block.splitlines()[1:] if line.strip()]) <= 15, block


@pytest.mark.parametrize("command", [line for block in blocks("sh") for line in block.splitlines()])
def test_the_commands_run(command, mine, capsys):
    from xkd_eval.cli import app

    program, *arguments = shlex.split(command)
    assert program == "xkd-eval"
    if arguments[0] == "inspect":
        app(arguments, standalone_mode=False)
        assert "re-derived" in capsys.readouterr().out
        return
    app([*arguments, "--workers", "0", "--device", "cpu"], standalone_mode=False)
    assert re.search(r" (images|photographs) of ", capsys.readouterr().out.replace("\n", " "))


@pytest.mark.parametrize("page", PAGES)
def test_the_cells_of_a_page_run_in_its_own_notebook_and_run_again(page, clean, monkeypatch):
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    cells = blocks("python", [page])
    for cell in [*filter(is_file, cells), *cells]:
        exec(compile(cell, "cell", "exec"), vars(notebook))
    if page == "own_explainer":
        assert EXPLAINERS["activation"] is notebook.Activation


def test_every_page_on_ones_own_parts_is_run():
    tested_elsewhere = {"own_loss"}  # tests/distill/test_python.py
    assert {path.stem for path in DOCS.glob("own_*.md")} - tested_elsewhere == set(PAGES) - {"extend"}


def test_the_recipes_architecture_is_built(mine):
    (recipe,) = map(yaml.safe_load, blocks("yaml"))
    student = recipe["student"]
    made = build_architecture(student["architecture"], {"num_classes": 7, **student["arguments"]}, "student")
    assert [list(parameter.shape) for parameter in made.parameters()][-1] == [7]


def test_the_entry_points_name_what_is_there(mine, monkeypatch):
    (project,) = map(tomllib.loads, blocks("toml"))
    groups = project["project"]["entry-points"]
    assert set(REGISTRIES) <= set(groups)
    import mine as module

    for group, registry in REGISTRIES.items():
        points = [metadata.EntryPoint(name, value, group) for name, value in groups[group].items()]
        monkeypatch.setattr(metadata, "entry_points", lambda group, points=points: points)
        monkeypatch.setattr(registry, "_points", None)
        monkeypatch.setattr(registry, "_known", own_things(registry))  # without what the decorators added
        for name, value in groups[group].items():
            assert registry[name] is getattr(module, value.partition(":")[2])
