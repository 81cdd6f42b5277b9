"""Grids in a study: what tells one run of them from another."""

from __future__ import annotations

from xkd_eval import evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset

LISTED = "grid_pointing:confidence=0,order=listed,correct_only=false"


def test_another_label_of_any_tile_is_another_run(tmp_path):
    """The class of each tile is explained, though an image of the set has the first one's label."""

    def score(images, runs):
        return evaluate("embedded/kd", images, tests=LISTED, target="true", runs=runs).results[0]

    images, others = EmbeddedDataset("test", size=4), EmbeddedDataset("test", size=4)
    others.labels = [*images.labels[:3], max(images.labels) + 1]
    first, again, anew = score(images, tmp_path / "a"), score(others, tmp_path / "a"), score(others, tmp_path / "b")
    assert first.ids == again.ids == anew.ids
    assert again.summary["grid_pointing"] == anew.summary["grid_pointing"] != first.summary["grid_pointing"]
