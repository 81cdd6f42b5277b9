"""docs/leaderboard.md: its commands parse, its Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from xkd_eval.cli import app

TEXT = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^    (xkd-eval .*)$", TEXT, re.MULTILINE))
def test_every_command_parses(line):
    _, name, *arguments = shlex.split(line)
    typer.main.get_command(app).commands[name].make_context(name, arguments)


def test_the_python_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(block, "docs/leaderboard.md", "exec"), {"__name__": "__main__"})
    assert Path("leaderboard.md").read_text().count("| embedded/") == 2
