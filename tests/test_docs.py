"""The pages of docs/: every command on them parses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from distill.cli import app as xkd_distill
from xkd_eval.cli import app as xkd_eval

REPOSITORY = Path(__file__).parents[1]
PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "data" / "README.md"]
PROGRAMS = {"xkd-eval": typer.main.get_command(xkd_eval), "xkd-distill": typer.main.get_command(xkd_distill)}


def commands(text: str) -> list[list[str]]:
    """What a reader would paste into a shell: lines of code blocks, continued ones as one."""
    lines = re.findall(r"^ *((?:uv run )?xkd-(?:eval|distill) .*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line.removeprefix("uv run "), comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_commands_parse(page):
    for program, name, *arguments in commands(page.read_text()):
        PROGRAMS[program].commands[name].make_context(name, arguments)
