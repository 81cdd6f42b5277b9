"""Changes of single images: drawn by seed, epoch and image alone, and alike in the views of student and teacher."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from distill.data.augmentation import OwnChanges
from distill.data.batches import ProcessRank
from distill.data.loaders import training_images
from distill.data.splits import open_splits
from distill.data.transforms import ImageTransforms, scaled_box
from distill.data.views import Views
from distill.recipe.data import DeviceData
from distill.recipe.parse import parse_recipe
from tests.distill.conftest import values_of
from xkd_eval import Preprocess

STUDENT, TEACHER = Preprocess(size=(20, 20)), Preprocess(size=(40, 40))
CHANGES = OwnChanges(seed=0, places=range(1000), n_all=1000)
KEYS = {
    "randaugment": {"randaugment": "rand-m9-n2-p1-mstd0.5"},
    "erasing": {"erasing": 1.0},
    "colour_jitter": {"colour_jitter": [0.4, 0.4, 0.4, 0.1]},
}
LOADERS = {"device": {"padding": 2, "flip": True}, "workers": {"workers": 0, "flip": True}}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Smooth ones, which look alike at any size."""
    root, generator = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 1)):
        for label in range(2):
            (root / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                coarse.resize((60, 60), Image.Resampling.BICUBIC).save(root / split / f"class{label}" / f"{number}.png")
    return root


def batches_of(root, loader, keys, rank=None, first_step=0, seed=0):
    data = {"loader": loader, "path": str(root)} | LOADERS[loader] | keys
    recipe = parse_recipe(values_of(root, data=data, batch_size=8, seed=seed))
    splits, device = open_splits(recipe), torch.device("cpu")
    images = training_images(recipe, splits.train, Views.of(STUDENT, [TEACHER]), device, rank or ProcessRank())
    return list(images.batches(1, first_step))


def assert_equal(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        assert torch.equal(our.pixels, their.pixels)
        assert torch.equal(our.others[0], their.others[0])
        assert torch.equal(our.indices, their.indices)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("key", KEYS)
def test_it_changes_both_views_alike(photographs, loader, key):
    plain, changed = batches_of(photographs, loader, {}), batches_of(photographs, loader, KEYS[key])
    for before, after in zip(plain, changed, strict=True):
        assert torch.equal(before.indices, after.indices)
        assert after.pixels.dtype == torch.uint8
        for own, other in ((before.pixels, after.pixels), (before.others[0], after.others[0])):
            differing = (own != other).flatten(1).any(1)
            assert differing.sum() >= 6  # an operation may be the identity
        apart = (F.avg_pool2d(after.others[0].float(), 2) - after.pixels.float()).abs()
        unlike = (F.avg_pool2d(after.others[0].float(), 2) - after.pixels.roll(1, 0).float()).abs()
        assert apart.mean() < 12 < 30 < unlike.mean()


@pytest.mark.parametrize("loader", LOADERS)
def test_the_draws_are_of_seed_epoch_and_image_alone(photographs, loader):
    keys = KEYS["randaugment"] | KEYS["erasing"]
    state = torch.random.get_rng_state()
    whole = batches_of(photographs, loader, keys)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert_equal(batches_of(photographs, loader, keys), whole)
    assert_equal(batches_of(photographs, loader, keys, first_step=1), whole[1:])
    halves = [batches_of(photographs, loader, keys, ProcessRank(rank, 2)) for rank in range(2)]
    for ours, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(ours.others[0], torch.cat([first.others[0], second.others[0]]))
    assert not torch.equal(batches_of(photographs, loader, keys, seed=1)[0].pixels, whole[0].pixels)


def test_workers_draw_what_none_do(photographs):
    keys = KEYS["colour_jitter"] | KEYS["erasing"]
    assert_equal(batches_of(photographs, "workers", keys | {"workers": 2}), batches_of(photographs, "workers", keys))


def test_an_erased_box_is_of_the_mean_colour_and_of_one_place():
    views = Views.of(Preprocess(size=(20, 20), mean=0.2), [Preprocess(size=(40, 40), mean=(0.2, 0.4, 0.6))])
    transforms = ImageTransforms(DeviceData(erasing=1.0), views, CHANGES)
    image, large = (torch.zeros(3, size, size, dtype=torch.uint8) for size in (20, 40))
    erased, other = transforms([image, large], 0, 7)
    assert not image.any()
    assert erased.unique().tolist() == [0, 51]
    assert [channel.max().item() for channel in other] == [51, 102, 153]
    box = (erased[0] > 0).float()
    assert torch.equal(F.interpolate(box[None, None], scale_factor=2)[0, 0] > 0, other[0] > 0)
    assert 0.01 < box.mean() < 0.4


def test_a_share_of_the_images_is_erased():
    transforms = ImageTransforms(DeviceData(erasing=0.3), Views.of(STUDENT, []), CHANGES)
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    erased = [bool(transforms([image], 0, position)[0].any()) for position in range(300)]
    assert 60 < sum(erased) < 120


def test_strength_and_number_of_operations_are_those_asked_for():
    coarse = torch.randint(0, 256, (1, 3, 3, 3), generator=torch.Generator().manual_seed(0)).float()
    image = F.interpolate(coarse, size=(20, 20), mode="bilinear")[0].byte()  # smooth: a small shift is a small change

    def changed(words):
        transforms = ImageTransforms(DeviceData(randaugment=words), Views.of(STUDENT, []), CHANGES)
        images = [transforms([image], 0, position)[0] for position in range(60)]
        return torch.stack([(other.float() - image.float()).abs().mean() for other in images])

    assert changed("rand-m9-p1").mean() > 1.5 * changed("rand-m2-p1").mean()
    assert changed("rand-m9-n4-p1").mean() > 1.5 * changed("rand-m9-n1-p1").mean()
    assert (changed("rand-m9-n1-p0.2") == 0).sum() > 35 > 20 > (changed("rand-m9-n1-p1") == 0).sum()
    assert not torch.equal(changed("rand-m5-p1-mstd3"), changed("rand-m5-p1"))


def test_a_box_at_another_size():
    assert scaled_box((2, 3, 8, 9), (2.0, 0.5)) == (1, 6, 4, 18)
