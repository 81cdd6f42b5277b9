"""The pages on distillation: their commands parse, their shell scripts too."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

import distill.cli
import xkd_eval.cli

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text()
    for name in ("cluster", "distillation", "exp-kd", "methods", "own_loss", "python", "recipes", "results", "walk")
}
PROGRAMS = {
    "xkd-distill": typer.main.get_command(distill.cli.app),
    "xkd-eval": typer.main.get_command(xkd_eval.cli.app),
}
_COMMAND = r"^ *(?:\$ |srun |NODE_RANK=\S+ MASTER_ADDR=\S+ )*(xkd-(?:distill|eval) .*)$"


def commands(text: str) -> list[str]:
    """Each on one line, without what a shell reads as comments."""
    found = re.findall(_COMMAND, text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.join(shlex.split(line, comments=True)) for line in found]


@pytest.mark.parametrize("line", sorted({line for text in PAGES.values() for line in commands(text)}))
def test_every_command_parses(line):
    program, name, *arguments = shlex.split(line)
    PROGRAMS[program].commands[name].make_context(name, arguments)


def test_commands_are_found_on_the_pages():
    found = {name: len(commands(text)) for name, text in PAGES.items()}
    assert min(found[name] for name in ("cluster", "distillation", "walk")) >= 8


def test_the_scripts_are_what_a_shell_reads():
    scripts = re.findall(r"^```sh\n(.*?)^```", PAGES["cluster"], re.MULTILINE | re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
