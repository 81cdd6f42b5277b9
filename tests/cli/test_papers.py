"""--paper: what each command writes for a paper, and that a document takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import xkd_eval.cli
from xkd_eval.errors import XkdError

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"


def run(*words: object) -> str:
    ended = CliRunner().invoke(xkd_eval.cli.app, [str(word) for word in words], env={"COLUMNS": "200"})
    if ended.exception is not None:
        raise ended.exception
    return ended.output


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("papers") / "report"
    models = ["embedded/teacher", "embedded/kd"]
    papers = ["--paper", "single.pdf", "--paper", "double.pdf,svg"]
    said = run("compare", *models, "--limit", 8, "--test", "perturbation", "--no-floors", *papers, "-o", folder)
    assert f"figure: {folder}/figures/perturbation_curves-single.pdf" in said
    return folder


def test_a_comparison_has_each_figure_in_each_size(report):
    names = {path.name for path in (report / "figures").iterdir()}
    for name in ("perturbation_curves", "differences"):
        assert {f"{name}-single.pdf", f"{name}-double.pdf", f"{name}-double.svg", f"{name}.pdf"} <= names
    assert not any(name.endswith("-single.svg") for name in names)


def test_a_study_has_the_figures_of_tests_without_joint_curves_run_by_run(tmp_path):
    tests = ["--test", "perturbation,segmentation", "--limit", 4]
    run("evaluate", "embedded/teacher", "embedded/kd", *tests, "--paper", "single", "-o", tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "perturbation_curves-single.pdf",
        "precision_recall-teacher-cam-single.pdf",
        "precision_recall-kd-cam-single.pdf",
    }


def test_an_overlay_is_written_beside_the_one_for_the_screen(tmp_path):
    run("overlay", "--data", "embedded", "--ids", "test-00003", "--paper", "single.svg,png", "-o", tmp_path / "a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a-single.svg", "a-single.png"}


@pytest.mark.parametrize(
    "words", [("perturbation",), ("evaluate", "embedded"), ("compare", "a", "b"), ("overlay", "a")]
)
def test_another_size_is_refused_before_the_work(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(XkdError, match=r"^--paper: the size 'column' in 'column.pdf'; expected single"):
        run(*words, "--paper", "column.pdf")
    assert not list(tmp_path.iterdir())


def test_the_documents_files_are_those_that_are_written(report):
    document = re.search(r"```latex\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    for name in re.findall(r"\\includegraphics\{(.*?)\}", document):
        assert (report / "figures" / f"{name}.pdf").is_file()
    for name in re.findall(r"\\input\{report/(.*?)\}", document):
        table = (report / f"{name}.tex").read_text()
        assert table.count("{") == table.count("}") and table.count(r"\begin{tabular}") == 1
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_the_document_compiles(report):
    document = re.search(r"```latex\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    (report.parent / "paper.tex").write_text(document)
    ended = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=report.parent,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-2000:]


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("teacher", "kd"):
        block = block.replace(f'"{name}.pt"', f'"embedded/{name}"')
    block = block.replace('"imagenet/val"', '"embedded", limit=4, tests="perturbation", floors=False')
    exec(compile(block, "docs/paper.md", "exec"), {"__name__": "__main__", "xkd_eval": xkd_eval})
    assert (tmp_path / "curves.pdf").is_file() and (tmp_path / "figures" / "perturbation_curves-double.svg").is_file()


def test_what_is_printed_never_replaces_an_input(tmp_path):
    photo = tmp_path / "a-single.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(photo)
    before = photo.read_bytes()
    with pytest.raises(XkdError, match=r"a-single\.png"):
        run("overlay", photo, "--paper", "single.png", "-o", tmp_path / "a.png")
    assert photo.read_bytes() == before
