"""What both command lines say of themselves: examples as they are written, and the version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

import distill.cli
import xkd_eval.cli
from xkd_eval import __version__

REPOSITORY = Path(__file__).parents[2]
APPS = {"xkd-eval": xkd_eval.cli.app, "xkd-distill": distill.cli.app}
COMMANDS = {f"{app} {name}": (app, name) for app in APPS for name in get_command(APPS[app]).commands}


def help_of(app: str, name: str) -> str:
    """As a wide terminal prints it, without styles."""
    ended = CliRunner().invoke(APPS[app], [name, "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
    assert ended.exit_code == 0, ended.output
    return ended.output


def plain(marked: str) -> str:
    """Text in rich's markup as it is meant to be read."""
    return re.sub(r"\[/?b\]", "", marked).replace("\\[", "[")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_written_is_what_is_printed(command):
    app, name = COMMANDS[command]
    found = get_command(APPS[app]).commands[name]
    printed = [line.strip("│ ") for line in help_of(app, name).splitlines()]
    for line in (found.epilog or "").splitlines():
        assert plain(line) in printed
    everything = " ".join(" ".join(printed).split())
    for parameter in found.params:
        assert plain(parameter.help or "") in everything


def test_the_sweep_in_the_help_is_one():
    lines = [line.strip() for line in help_of("xkd-distill", "sweep").splitlines()]
    shown = lines[lines.index("sweep.yaml") + 1 : lines.index("Its keys")]
    assert yaml.safe_load("\n".join(shown)) == {
        "recipes": ["{method}/cifar100/{pair}", "teacher/cifar100/resnet56"],
        "grid": {"method": ["kd", "dkd"], "pair": ["resnet56-resnet20"], "losses.kd.weight": [0.5, 0.9]},
        "seeds": [0, 1, 2],
        "data": "cifar100/",
        "set": ["epochs=60"],
    }


@pytest.mark.parametrize(("module", "name"), [("xkd_eval", "xkd-eval"), ("distill", "xkd-distill")])
def test_the_version_is_printed_without_torch_and_threads_spin_for_a_moment(module, name):
    script = (
        "import os, sys; sys.argv = ['x', '--version']\n"
        f"from {module}.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))\n"
        "print(sorted({'torch', 'timm', 'matplotlib', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )

    def printed(**environment: str) -> list[str]:
        ended = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        return ended.stdout.splitlines()

    assert printed() == [f"{name} {__version__}", "0 passive 5000", "[]"]
    assert printed(OMP_WAIT_POLICY="active")[1] == "0 active None"
    assert printed(GOMP_SPINCOUNT="0")[1] == "0 passive 0"


def test_the_version_is_one():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert project["version"] == cited["version"] == __version__


def test_every_extra_that_is_named_is_one_of_this_distribution():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "xkd_eval").rglob("*.py")]
    named = {found for page in pages for found in re.findall(r"\b(xkd[\w-]*)\[(\w+)\]", page.read_text())}
    assert {name for name, _ in named} == {project["name"]}
    assert {extra for _, extra in named} <= set(project["optional-dependencies"])


def test_both_packages_are_typed():
    assert all((REPOSITORY / package / "py.typed").is_file() for package in ("xkd_eval", "distill"))
