"""Trainings with every augmentation at once: they teach something else than without, and continue to the same bits."""

import os
import signal

import pytest
import torch

from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import KD, assert_same_bits, values_of, weights_of
from xkd_eval.errors import XkdError

MIXED = {"mixup": 0.8, "cutmix": 1.0}
CHANGED = {"randaugment": "rand-m9-mstd0.5", "erasing": 0.3}
STUDENT = {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}}


@pytest.fixture
def recipe_with(cifar10, teacher):
    """Three steps beside a teacher of 32 pixels, with some keys of `data` -> Recipe."""

    def make(keys, losses=KD):
        data = {"loader": "device", "path": str(cifar10), "images": 100, **keys}
        values = {"student": STUDENT, "losses": losses, "teacher": {"model": str(teacher)}, "accumulate": 3}
        return parse_recipe(values_of(cifar10, data=data, epochs=1, batch_size=33, **values))

    return make


def test_cut_off_it_continues_to_the_same_bits_and_not_to_those_without(recipe_with, tmp_path):
    def stop(point):
        if point.images == 33:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = recipe_with(MIXED | CHANGED)
    train(recipe, tmp_path / "whole", device="cpu")
    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    train(recipe, tmp_path / "cut", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
    train(recipe_with({}), tmp_path / "plain", device="cpu")
    plain, changed = (weights_of(tmp_path / name) for name in ("plain", "whole"))
    assert any(not torch.equal(value, changed[name]) for name, value in plain.items())


def test_the_teacher_sees_the_mixed_images_and_ce_their_shares(recipe_with, tmp_path):
    setup = set_up(recipe_with(MIXED), "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    assert batch.labels.shape == (33, setup.student.num_classes)
    assert [part.labels.shape[0] for part in batch.micro_batches(3)] == [11, 11, 11]
    assert batch.others[0].shape[2:] == (32, 32)
    small = torch.nn.functional.interpolate(batch.others[0].float(), size=(16, 16), mode="bilinear", antialias=True)
    assert (small - batch.pixels.float()).abs().mean() < 5


def test_a_loss_of_one_class_an_image_refuses_mixed_ones_at_set_up(recipe_with, tmp_path):
    losses = [{"method": "ce"}, {"method": "dkd"}]
    with pytest.raises(XkdError, match=r"^data\.mixup: dkd needs images of one class each"):
        set_up(recipe_with(MIXED, losses), "cpu", tmp_path)
