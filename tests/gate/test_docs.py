"""docs/gate.md: its workflow is YAML with a command of ours, its exit codes are the command's, its Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from xkd_eval.cli.check import EXIT_CODES

TEXT = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The commands of xkd-eval in it, as a shell splits them."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in re.findall(r"^\s*(xkd-eval .*)$", joined, re.MULTILINE)]


def test_the_workflow_is_yaml_with_the_command():
    (block,) = blocks("yaml")
    (job,) = yaml.safe_load(block)["jobs"].values()
    found = [command for step in job["steps"] for command in commands(step.get("run", ""))]
    assert [command[1] for command in found] == ["check"]
    assert all("uses" in step or "run" in step for step in job["steps"])


def test_the_exit_codes_are_those_of_the_command():
    rows = re.findall(r"^\| (\d) \| (\w+) \|", TEXT, re.MULTILINE)
    assert {verdict: int(code) for code, verdict in rows} == EXIT_CODES


def test_the_python_runs(capsys):
    (block,) = blocks("python")
    exec(compile(block, "docs/gate.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("pass pass: exp_kd is no worse than plain")
