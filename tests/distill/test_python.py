"""docs/python.md, docs/own_loss.md, docs/examples and the README's network of one's own run as they stand."""

from __future__ import annotations

import functools
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

from distill.methods import METHODS
from xkd_eval import load_classifier
from xkd_eval.datasets import embedded

matplotlib.use("agg")
DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
COMPOSE = functools.cache(embedded._compose)
"""Each image of the embedded set, once for all trainings: to draw them is most of the time."""

BLOCKS, README = (
    re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for page in (DOCS / "python.md", DOCS.parent / "README.md")
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory of its own, mynet beside it, and methods as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(embedded, "_compose", COMPOSE)
    METHODS.names()
    monkeypatch.setattr(METHODS, "_known", dict(METHODS._known))
    yield tmp_path
    sys.modules.pop("mynet", None)
    pyplot.close("all")


def run(name, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", [name, "96"])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_the_page_runs_from_top_to_bottom(capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
    told = capsys.readouterr().out
    assert "epoch 2/2, loss" in told and "192 of 192 images" in told and "CAM: 11 " in told
    assert list(names["both"].result["teachers"]) == ["plain", "careful"]
    assert "gap" in names["gap"].metrics
    assert names["found"].table["model"].tolist() == ["kd", "mine", "embedded/teacher (teacher)"]
    assert any(parameter.grad.any() for parameter in names["network"].parameters())


def test_the_page_on_losses_runs_from_top_to_bottom(place, monkeypatch, capsys):
    text = (DOCS / "own_loss.md").read_text()
    cells = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (place / "mine.py").write_text("\n\n".join(cell for cell in cells if cell.startswith("# mine.py")))
    (place / "mine.yaml").write_text(recipe)
    monkeypatch.syspath_prepend(place)
    names: dict[str, object] = {}
    try:
        for cell in cells:
            if not cell.startswith("# mine.py"):
                exec(compile(cell, "docs/own_loss.md", "exec"), names)
    finally:
        sys.modules.pop("mine", None)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert names["result"].result["last"]["logit_distance"] > 0


def test_a_network_of_ones_own_in_the_readme(capsys, caplog, place):
    (block,) = [block for block in README if "save_checkpoint" in block]
    steps = block.split("\n\n", 1)[1]
    assert len(steps.strip().splitlines()) == 5
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    assert "ci95" in capsys.readouterr().out
    assert str(load_classifier(place / "mine.pt").input_from) == "checkpoint"
    assert not caplog.records


def test_a_loop_of_ones_own(monkeypatch, capsys):
    told = run("own_loop.py", monkeypatch, capsys)
    losses = [float(loss) for loss in re.findall(r"^epoch \d: loss (.*)$", told, re.MULTILINE)]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert re.search(r"student 0\.\d+ +0\.\d+ +\d+", told)


def test_a_loss_of_ones_own(place, monkeypatch, capsys):
    told = run("own_loss.py", monkeypatch, capsys)
    rows = [line.split() for line in told.splitlines()]
    assert rows[0] == ["epoch", "ce", "look", "test_top1"]
    assert float(rows[-1][2]) < float(rows[1][2])
    assert (place / "runs/own-loss/student.pt").is_file()


def test_a_student_of_ones_own(monkeypatch, capsys):
    told = run("own_student.py", monkeypatch, capsys)
    assert "CAM: 11 (NCHW, 10x10), head 14" in told
    assert re.search(r"student +agreement +spearman", told)


def test_every_example_is_tried_and_on_the_page():
    files = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert files == ["mynet.py", "own_loop.py", "own_loss.py", "own_student.py"]
    page = (DOCS / "python.md").read_text()
    assert [name for name in files if f"(examples/{name})" not in page] == []
