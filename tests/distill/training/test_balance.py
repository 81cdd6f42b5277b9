"""Balanced sampling and class weights in a training: both loaders, resumed, and what they change."""

import os
import signal

import pytest
import torch

from distill.methods.cross_entropy import CrossEntropy
from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, values_of, weights_of
from tests.distill.data.test_parts import write_parts
from xkd_eval.errors import XkdError

BALANCED = [{"method": "ce", "class_weights": "balanced"}]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """36 cats and 4 dogs."""
    folder = tmp_path_factory.mktemp("uneven")
    return write_parts(folder, train=(("cat", 36), ("dog", 4)), test=(("cat", 2), ("dog", 2)))


def small(path, loader="device", losses=({"method": "ce"},), **data):
    more = {"workers": 0} if loader == "workers" else {"padding": 2}
    values = values_of(path, data={"loader": loader, "path": str(path), **more, **data}, batch_size=8, epochs=3)
    values["student"] = {
        "architecture": "resnet8",
        "arguments": {"widths": [2, 2, 4, 4]},
        "preprocess": {"size": [16, 16]},
    }
    return parse_recipe(values | {"losses": list(losses)})


@pytest.mark.parametrize("loader", ["device", "workers"])
def test_balanced_sampling_takes_each_class_as_often(uneven, tmp_path, loader):
    images = set_up(small(uneven, loader, sampling="balanced"), "cpu", tmp_path).train
    epochs = [list(images.batches(epoch, 0)) for epoch in range(6)]
    assert [len(batches) for batches in epochs] == [5] * 6
    labels = torch.cat([batch.labels for batches in epochs for batch in batches])
    assert 90 < int(labels.sum()) < 150  # of 240
    again = next(iter(images.batches(2, 3)))
    assert torch.equal(again.indices, epochs[2][3].indices)
    assert torch.equal(again.pixels, epochs[2][3].pixels)
    pixels = torch.cat([batch.pixels for batch in epochs[0]])
    indices = torch.cat([batch.indices for batch in epochs[0]])
    rare = pixels[indices == 38]
    assert len(rare) > 2
    assert not torch.equal(rare[0], rare[1])  # an image that comes again is cut in another way


@pytest.mark.parametrize(
    "recipe",
    [
        lambda path: small(path, losses=BALANCED),
        lambda path: small(path, sampling="balanced"),
        lambda path: small(path, "workers", sampling="balanced"),
    ],
)
def test_a_balanced_training_is_another_one_and_goes_on_to_the_same_bits(uneven, tmp_path, recipe):
    train(recipe(uneven), tmp_path / "whole", device="cpu")
    plain = small(uneven, recipe(uneven).data.loader)
    train(plain, tmp_path / "plain", device="cpu")
    whole, without = (next(iter(weights_of(tmp_path / run).values())) for run in ("whole", "plain"))
    assert not torch.equal(whole, without)

    def stop(point):
        if point.images == 7 * 8:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe(uneven), tmp_path / "run", device="cpu", progress=stop)
    train(recipe(uneven), tmp_path / "run", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


def test_classes_are_counted_among_the_images_that_are_trained_on(uneven, tmp_path):
    method = set_up(small(uneven, losses=BALANCED, val_split=0.5), "cpu", tmp_path).objective.methods[0]
    assert isinstance(method, CrossEntropy)
    torch.testing.assert_close(method.weights, torch.tensor([20 / (2 * 18), 20 / (2 * 2)]))
    with pytest.raises(XkdError, match=r"^losses: ce: class_weights: 3 numbers found; expected one for each of 2"):
        set_up(small(uneven, losses=[{"method": "ce", "class_weights": [1, 2, 3]}]), "cpu", tmp_path)
