"""What the documentation tells people to type parses, and its Python compiles; tests of their own run it.

Links and cross-references are checked where the site is built: a warning ends the build.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from distill.cli import app as distill_app
from xkd_eval.cli import app as eval_app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/metrics/*.md", "data/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
PROGRAMS = {"xkd-eval": typer.main.get_command(eval_app), "xkd-distill": typer.main.get_command(distill_app)}
RUN_BY = {
    "README.md": "tests/distill/test_python.py",
    **{f"docs/{name}.md": "tests/distill/test_python.py" for name in ("python", "own_loss")},
    **{f"docs/own_{name}.md": "tests/extension/test_docs.py" for name in ("model", "explainer", "data", "metric")},
    **{f"docs/{name}.md": "tests/extension/test_docs.py" for name in ("own_architecture", "extend")},
    "docs/gate.md": "tests/gate/test_docs.py",
    "docs/leaderboard.md": "tests/leaderboard/test_docs.py",
    "docs/paper.md": "tests/cli/test_papers.py",
    "docs/start.md": "tests/site/test_pages.py",
}
"""Each page with Python, and the test that runs it: of the README what it does with a network of one's own."""
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# A line that is nothing but a command: what a page prints of a command's output never begins with its name.
COMMAND = re.compile(r"^(?:\$ |uv run |srun |[A-Z_]+=\S+ )*((?:xkd-eval|xkd-distill|python) .*)")
SHELL = re.compile(r"[<>&]|2>|->")
PLACEHOLDER = re.compile(r"\.\.\.|…")


def code_of(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of each block of code, "" for indented ones and those without a language."""
    text = (ROOT / page).read_text()
    for _, language, block in FENCED.findall(text):
        yield language, block
    for block in re.findall(r"(?:^    .*\n|^\s*\n)+", FENCED.sub("", text), re.MULTILINE):
        yield "", block


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page, and a command as a shell splits it."""
    for page in PAGES:
        for language, block in code_of(page):
            if language in ("", "sh", "yaml", "console"):
                yield from ((page, command) for command in _commands(block))


def _commands(block: str) -> Iterator[list[str]]:
    joined = re.sub(r"\\\n\s*", " ", block)
    for line in joined.splitlines():
        for part in re.split(r";|&&|\||\bdo\b|(?<=:) (?=xkd-)", line):
            if found := COMMAND.match(part.strip()):
                words = shlex.split(found[1], comments=True)
                end = next((at for at, word in enumerate(words) if SHELL.match(word)), len(words))
                yield words[:end]


COMMANDS = [given for given in commands() if not PLACEHOLDER.search(" ".join(given[1]))]


def test_there_are_many():
    assert len(COMMANDS) > 100
    assert {program for _, (program, *_) in COMMANDS} == {"xkd-eval", "xkd-distill", "python"}


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_a_command_parses(page, command):
    program, *words = command
    if program == "python":
        _check_script(words)
        return
    group = PROGRAMS[program]
    if words[0] in group.commands:
        group.commands[words[0]].make_context(words[0], words[1:])
    else:
        assert words in (["--version"], ["--help"]), page


def _check_script(words: list[str]) -> None:
    """A script of this repository, and options that it has."""
    name = words[1].replace(".", "/") if words[0] == "-m" else words[0].removesuffix(".py")
    candidates = [ROOT / f"{name}.py", ROOT / name / "__main__.py", ROOT / "docs/examples" / f"{name}.py"]
    if words[0] == "-c":
        ast.parse(words[1])
        return
    if words[0] == "-m" and not any(path.exists() for path in candidates):
        assert words[1] in ("xkd_eval", "distill", "sphinx", "http.server", "venv"), words
        return
    (script,) = [path for path in candidates if path.exists()]
    source = script.read_text()
    for word in words[1:]:
        if word.startswith("--") and word != "--help":
            assert f'"{word.split("=")[0]}"' in source, (script, word)


def blocks(language: str) -> list[tuple[str, str]]:
    return [(page, block) for page in PAGES for name, block in code_of(page) if name == language]


@pytest.mark.parametrize(("page", "block"), blocks("python"), ids=lambda part: part if part in PAGES else "")
def test_python_compiles(page, block):
    ast.parse(block, page)


@pytest.mark.parametrize(("page", "block"), blocks("yaml"), ids=lambda part: part if part in PAGES else "")
def test_yaml_parses(page, block):
    assert yaml.safe_load(block) is not None


@pytest.mark.parametrize(("page", "block"), blocks("sh"), ids=lambda part: part if part in PAGES else "")
def test_a_shell_reads_scripts(page, block):
    subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_every_page_with_python_is_run_somewhere():
    assert {page for page, _ in blocks("python")} == set(RUN_BY)
    for page, test in RUN_BY.items():
        text = (ROOT / test).read_text()
        assert any(f'"{name}"' in text for name in (page, Path(page).name, Path(page).stem)), page


def test_the_start_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for page, block in blocks("python") if page == "docs/start.md"]
    exec(compile(block, "docs/start.md", "exec"), {"__name__": "__main__"})
    assert "positive" in capsys.readouterr().out


def test_links_of_pages_outside_the_site_lead_somewhere():
    """Sphinx checks those of the site's pages."""
    for page in ("README.md", "CONTRIBUTING.md", "data/README.md", "benchmarks/README.md"):
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(link).exists(), (page, link)
