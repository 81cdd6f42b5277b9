"""docs/extend.md runs as it stands: its files, its commands, its notebook cells and its entry points."""

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

TEXT = (Path(__file__).parents[2] / "docs" / "extend.md").read_text()
REGISTRIES = {registry.group: registry for registry in (EXPLAINERS, DATASETS, ARCHITECTURES, TESTS, METHODS)}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


FILES = [block for block in blocks("python") if block.startswith("# mine.py")]
CELLS = [block for block in blocks("python") if not block.startswith("# mine.py")]


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
    """All the files of the page as one."""
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
    app([*arguments, "--workers", "0", "--device", "cpu"], standalone_mode=False)
    assert re.search(r" (images|photographs) of ", capsys.readouterr().out.replace("\n", " "))


def test_the_cells_of_a_notebook_run_and_run_again(clean, monkeypatch):
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    for cell in [*FILES, *FILES, *CELLS]:
        exec(compile(cell, "cell", "exec"), vars(notebook))
    assert EXPLAINERS["activation"] is notebook.Activation


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
