"""Maps that were computed elsewhere are refused by every test that would explain something else, and by no other."""

from __future__ import annotations

import pytest
import torch

from xkd_eval import Evaluation, ScoreSpec, XkdError, evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.shipped import SHIPPED
from xkd_eval.explainers.stored import save_maps

SPELT = {"grid_pointing": "grid_pointing:confidence=0,correct_only=false", "localisation": "localisation:regions=masks"}


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_a_test_says_whether_it_explains_again(kind, monkeypatch):
    asked = []
    explain = Batch.explain
    monkeypatch.setattr(Batch, "explain", lambda *given, **named: asked.append(1) or explain(*given, **named))
    models = ["embedded/teacher", "embedded/kd"] if kind.needs_reference else "embedded/kd"
    evaluate(models, EmbeddedDataset("test", size=8), tests=SPELT.get(kind.name, kind.name))
    assert bool(asked) == kind.explains_again


@pytest.fixture
def stored(tmp_path):
    images = EmbeddedDataset("test", size=2)
    save_maps(tmp_path, images.ids, torch.rand(2, 5, 5))
    return images, tmp_path


@pytest.mark.parametrize("test", [kind.name for kind in SHIPPED if kind.explains_again])
def test_stored_maps_are_refused_before_an_image_is_read(stored, test, monkeypatch):
    images, folder = stored
    monkeypatch.setattr(EmbeddedDataset, "load", None)
    with pytest.raises(XkdError, match=rf"^maps: {test} needs maps of images, classes or networks of its own making"):
        evaluate("embedded/kd", images, tests=test, maps=folder)


def test_a_test_that_does_not_say_so_is_refused_when_it_asks(stored):
    class Forgetful(Evaluation):
        name, title, citation = "forgetful", "Forgetful", "for the test"

        def rows(self, batch):
            return {"mean": batch.explain(-batch.images, batch.target).mean((1, 2)).cpu().numpy()}

        def specs(self):
            return (ScoreSpec("mean", "mean", lambda means: means["mean"]),)

    images, folder = stored
    with pytest.raises(XkdError, match=r"^maps: stored maps cannot be made again"):
        evaluate("embedded/kd", images, tests=[Forgetful], maps=folder)
