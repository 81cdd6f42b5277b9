"""Boxes in a study: what is skipped, what is refused, and what tells one run from another."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import xkd_eval
from xkd_eval import XkdError
from xkd_eval.cli import app
from xkd_eval.comparison.compare import compare_models
from xkd_eval.datasets.embedded import EmbeddedDataset


@pytest.fixture
def boxes(tmp_path):
    """A file of the boxes of the first three images but for the second, and of one that the set lacks."""
    path = tmp_path / "boxes.csv"
    path.write_text("test-00000,10,10,40,40\ntest-00002,5,5,30,30\nelse,0,0,5,5\n")
    return path


def run(boxes, **options):
    images = EmbeddedDataset(size=3)
    return xkd_eval.evaluate("embedded/kd", images, tests=["localisation", "segmentation"], boxes=boxes, **options)


def test_an_image_without_a_box_is_skipped(boxes):
    found, segmentation = run(boxes).results
    assert found.summary["n_images"] == 2
    assert found.summary["skipped"]["images"] == [{"id": "test-00001", "reason": "no box of an object of its class"}]
    assert found.summary["data"]["boxes"]["unknown"] == 1
    assert any("name 1 other image, not" in note for note in found.test.notes(found.summary))
    # Tests that need no boxes are the runs that they are without.
    assert segmentation.summary["n_images"] == 3
    assert "boxes" not in segmentation.summary["data"]


def test_other_boxes_are_another_run(boxes, tmp_path):
    def folders():
        return {path.parent.name for path in (tmp_path / "runs").rglob("protocol.json")}

    run(boxes, runs=tmp_path / "runs")
    first = folders()
    run(boxes, runs=tmp_path / "runs", strict=True)  # what has no box was read
    assert folders() == first
    boxes.write_text(boxes.read_text().replace("40,40", "40,41"))
    run(boxes, runs=tmp_path / "runs")
    assert len(folders()) == len(first) + 1


def test_workers_bring_the_boxes(boxes):
    ours, theirs = (run(boxes, workers=workers).results[0].columns for workers in (0, 2))
    assert ours["hits"].tolist() == theirs["hits"].tolist()


def test_boxes_beyond_an_image_end_the_run(boxes):
    boxes.write_text("test-00000,10,10,64,40\n")
    with pytest.raises(
        XkdError, match=r"^boxes: line 1 of '.*': the box 10 10 64 40 goes beyond test-00000, which is 64x64"
    ):
        run(boxes)


def test_boxes_that_nobody_needs(boxes):
    said = r"^boxes: none of the tests needs them \(perturbation\); leave it out$"
    with pytest.raises(XkdError, match=said):
        xkd_eval.evaluate("embedded/kd", boxes=boxes, limit=2)
    with pytest.raises(XkdError, match=said):
        xkd_eval.perturbation_test("embedded/kd", boxes=boxes, limit=2)


def test_commands_take_boxes(boxes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes.write_text("test-00000,10,10,40,40\ntest-00001,5,5,30,30\n")
    given = ["embedded/kd", "--data", "embedded", "--boxes", str(boxes), "--test", "localisation", "--output", "out"]
    result = CliRunner().invoke(app, ["evaluate", *given])
    assert result.exit_code == 0, result.output
    scores = next((tmp_path / "out").rglob("summary.json"))
    assert json.loads(scores.read_text())["n_images"] == 2


def test_comparisons_take_boxes(boxes):
    images = EmbeddedDataset(size=3)
    models = ["embedded/teacher", "embedded/kd"]
    found = compare_models(models, images, boxes=boxes, tests="localisation", floors=False)
    assert set(found.health["n_images"]) == {2}
