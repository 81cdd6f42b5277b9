"""Floors and oracle, with answers known by hand."""

import pytest
import torch

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, create_explainer

from .conftest import wrap


def test_random_follows_the_id_and_the_seed(classifier, images, classes):
    ids = Context(ids=("a", "b", "a"))
    maps = create_explainer("random")(classifier, images, classes, ids)
    assert maps.shape == (3, 32, 32) and maps.min() >= 0 and maps.max() < 1
    assert torch.equal(maps[0], maps[2]) and not torch.equal(maps[0], maps[1])
    assert torch.equal(maps, create_explainer("random")(classifier, images + 1, classes, ids))
    assert not torch.equal(maps, create_explainer("random", seed=1)(classifier, images, classes, ids))
    # Pinned: another machine or version that draws other noise would silently move the floor.
    assert maps[0, 0, 0].item() == pytest.approx(PINNED, abs=1e-6)


PINNED = 0.5486941


def test_random_without_ids_follows_the_image(classifier, images, classes):
    images[2] = images[0]
    maps = create_explainer("random")(classifier, images, classes)
    assert torch.equal(maps[0], maps[2]) and not torch.equal(maps[0], maps[1])


def test_centre_is_a_gaussian_about_the_middle(classifier, classes):
    maps = create_explainer("centre", sigma=0.5)(classifier, torch.zeros(1, 3, 5, 9), classes[:1])
    assert maps[0, 2, 4] == 1 == maps.max()
    # 2 rows off, sigma 2.5 rows; 4 columns off, sigma 4.5 columns
    assert maps[0, 0, 0].item() == pytest.approx(2.718281828 ** (-(0.8**2) / 2 - ((4 / 4.5) ** 2) / 2))
    assert torch.equal(maps, maps.flip(1)) and torch.equal(maps, maps.flip(2))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_edges_are_where_the_luminance_steps(order, classes):
    photograph = torch.zeros(1, 3, 32, 32)
    photograph[:, 0, :, 16:] = 1  # red half
    classifier = wrap(torch.nn.Identity(), 32, 5, channel_order=order)
    maps = create_explainer("edges")(classifier, classifier.preprocess.normalise(photograph), classes[:1])
    # Sobel's horizontal derivative of a step is its height; the magnitude is over sqrt(2); red's share is 0.2125.
    assert maps[0, 10, 15].item() == pytest.approx(0.2125 / 2**0.5, abs=1e-4)
    assert maps[0, :, :15].abs().max() < 1e-6 and maps[0, :, 17:].abs().max() < 1e-6


def test_fake_cam_is_ones_but_for_one_pixel(classifier, images, classes):
    maps = create_explainer("fake_cam")(classifier, images, classes)
    assert maps.shape == (3, 32, 32) and maps.sum() == 3 * (32 * 32 - 1) and (maps[:, 0, 0] == 0).all()


def test_oracle_is_the_mask(classifier, images, classes):
    masks = torch.randint(-1, 2, (3, 32, 32), dtype=torch.int8)
    maps = create_explainer("oracle")(classifier, images, classes, Context(masks=masks))
    assert torch.equal(maps == 1, masks == 1) and torch.equal(maps == 0, masks <= 0)


def test_oracle_without_masks_says_what_it_needs(classifier, images, classes):
    with pytest.raises(ExplainerError, match=r"oracle.*needs the object masks"):
        create_explainer("oracle")(classifier, images, classes, Context(ids=("a", "b", "c")))
