"""Every network of a training sees the same part of a photograph, at its own size."""

import numpy as np
import pytest
import torch
from PIL import Image

from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.loaders import training_images
from distill.data.splits import open_splits
from distill.data.views import Views
from distill.recipe.parse import parse_recipe
from distill.training.setup import set_up
from tests.distill.conftest import KD, values_of
from xkd_eval import Preprocess, load_classifier
from xkd_eval.datasets.samples import load_sample
from xkd_eval.errors import XkdError

STUDENT = {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [20, 20]}}
LOADERS = {
    "device": {"loader": "device", "padding": 3, "flip": True},
    "workers": {"loader": "workers", "workers": 0, "flip": True, "scale": [0.3, 1.0]},
}


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """Photographs whose red grows from left to right and whose green from top to bottom, so that places are colours."""
    root = tmp_path_factory.mktemp("gradients")
    for split, count in (("train", 8), ("test", 1)):
        for label in range(2):
            (root / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                red, green = np.meshgrid(np.linspace(40, 250, 80), np.linspace(40, 250, 80))
                pixels = np.stack([red, green, np.full_like(red, 10 * number + label)], axis=2).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / f"class{label}" / f"{number}.png")
    return root


def batches_of(root, loader, teachers, rank=None):
    data = LOADERS[loader] | {"path": str(root)}
    recipe = parse_recipe(values_of(root, data=data, student=STUDENT, batch_size=8))
    device, views = torch.device("cpu"), Views.of(Preprocess(size=(20, 20)), teachers)
    images = training_images(recipe, open_splits(recipe).train, views, device, rank or ProcessRank())
    return list(images.batches(0, 0))


@pytest.mark.parametrize("loader", LOADERS)
def test_student_and_teacher_see_the_same_crop_and_flip(gradients, loader):
    teachers = [Preprocess(size=(40, 40)), Preprocess(size=(20, 20), mean=0.5)]
    for batch in batches_of(gradients, loader, teachers):
        large, same = batch.others
        assert large.shape == (8, 3, 40, 40)
        assert large.dtype == torch.uint8
        assert same is batch.pixels
        halved = torch.nn.functional.avg_pool2d(large.float(), 2)
        inside = batch.pixels.float().amin(1) > 0  # padding is black, and its edge is blurred
        inside[:, :4] = inside[:, -4:] = inside[:, :, :4] = inside[:, :, -4:] = False
        difference = (halved - batch.pixels.float()).abs().amax(1)[inside]
        assert inside.sum() > 500
        assert difference.max() <= 12  # a pixel of the student's is 10 grey levels wide
        red = batch.pixels[:, 0].float()
        assert 0 < (red[:, 10, 4] > red[:, 10, 15]).sum() < 8  # some are mirrored, some are not


@pytest.mark.parametrize("loader", LOADERS)
def test_processes_share_each_view(gradients, loader):
    whole = batches_of(gradients, loader, [Preprocess(size=(40, 40))])
    halves = [batches_of(gradients, loader, [Preprocess(size=(40, 40))], ProcessRank(rank, 2)) for rank in range(2)]
    for ours, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(ours.others[0], torch.cat([first.others[0], second.others[0]]))


def test_a_view_of_its_own_size_and_interpolation_keeps_the_students_part():
    student = Preprocess(size=(20, 20), resize="crop", crop_fraction=0.9)
    other = Preprocess(size=(40, 40), resize="squash", interpolation="bicubic")
    views = Views.of(student, [student, other, other])
    assert views.teachers == (0, 1, 1)
    assert views.geometries[1].resize == "crop"
    assert views.geometries[1].crop_fraction == 0.9
    assert views.geometries[1].interpolation == "bicubic"
    with pytest.raises(XkdError, match=r"^student\.preprocess\.resize: 'crop' to 20x20 found, with a teacher of 40x30"):
        Views.of(student, [Preprocess(size=(40, 30))]).check_centre_crops()
    views.check_centre_crops()


def test_copies_that_no_device_holds_are_refused(gradients, monkeypatch):
    monkeypatch.setattr("distill.data.resident._memory", lambda device: 2**30)
    message = (
        r"^data\.loader: 'device' would hold 16 images of 20x20 and 9000x9000, 4 GiB, on cpu, which has 1; expected"
    )
    with pytest.raises(XkdError, match=message):
        batches_of(gradients, "device", [Preprocess(size=(9000, 9000))])


def test_micro_batches_split_every_view():
    pixels, other = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 4, 4)
    batch = LabelledBatch(pixels, torch.arange(4), torch.arange(4), (pixels, other))
    first, second = batch.micro_batches(2)
    assert first.others[0] is first.pixels
    assert torch.equal(second.others[1], other[2:])
    assert torch.equal(second.indices, torch.tensor([2, 3]))


def test_the_teacher_of_a_small_student_is_as_good_as_alone(tmp_path):
    """embedded/teacher loses half of its answers where it is shown 20 pixels made 40."""
    data = {"loader": "device", "path": "embedded", "images": 96}
    values = values_of(tmp_path, data=data, student=STUDENT, losses=KD, batch_size=96)
    recipe = parse_recipe(values | {"teacher": {"model": "embedded/teacher"}})
    setup = set_up(recipe, "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    in_training = setup.teachers(batch)[0].logits.argmax(1)
    teacher, images = load_classifier("embedded/teacher"), open_splits(recipe).train.dataset
    with torch.no_grad():
        pixels = torch.stack(
            [teacher.preprocess.pixels(load_sample(images, place).image) for place in batch.indices.tolist()]
        )
        alone = teacher(teacher.preprocess.normalise(pixels)).argmax(1)
    assert batch.pixels.shape[2:] == (20, 20)
    assert torch.equal(in_training, alone)
    assert (alone == batch.labels).float().mean() > 0.85
