"""The map that a student was trained on is proven again of its last weights."""

from __future__ import annotations

import json

import torch
from torch import nn

from distill.training.train import train
from tests.distill.conftest import EXP_KD


class Wandering(nn.Module):
    """Pools its map's average when it is new, and the average of its squares once it has trained."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, num_classes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.steps += int(self.training)
        maps = self.features(images)
        return self.head((maps.square() if self.steps > 0 else maps).mean((2, 3)))


WANDERING = {"architecture": "py:tests.distill.training.test_proof:Wandering"}


def test_a_map_that_moved_in_training_is_told(recipe_of, tmp_path, teacher, caplog):
    recipe = recipe_of(student=WANDERING, losses=EXP_KD, teacher={"model": str(teacher)}, epochs=1)
    train(recipe, tmp_path / "run", device="cpu")
    (message,) = caplog.messages
    assert message.startswith("student: the map of its first weights, features ")
    assert "is not proven of its last" in message
    notes = json.loads((tmp_path / "run" / "result.json").read_text())["notes"]
    assert any(note.startswith("student: the map of its first weights") for note in notes)


def test_one_that_stayed_is_not(recipe_of, tmp_path, teacher, caplog):
    recipe = recipe_of(losses=EXP_KD, teacher={"model": str(teacher)}, epochs=1)
    train(recipe, tmp_path / "run", device="cpu")
    notes = json.loads((tmp_path / "run" / "result.json").read_text())["notes"]
    assert not any("first weights" in note for note in notes)
    assert not caplog.messages
