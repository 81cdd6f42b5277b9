"""A fixed list of augmentations: what is done to an image in a round, whatever the seed and whoever is held out."""

import pytest
import torch

from distill.data.augmentation import OwnChanges, plan_epoch
from distill.data.batches import ProcessRank
from distill.data.loaders import training_images
from distill.data.splits import open_splits
from distill.data.views import Views
from distill.recipe.parse import parse_recipe
from tests.distill.conftest import values_of
from xkd_eval.classifiers.preprocess import Preprocess

LOADERS = {"device": {"loader": "device", "padding": 2}, "workers": {"loader": "workers", "workers": 0}}


def test_a_plan_repeats_crops_and_flips_in_another_order():
    changes = OwnChanges(seed=0, places=range(40), n_all=40, rounds=2)
    plans = [plan_epoch(40, seed, epoch, 2, True, None, changes) for seed, epoch in ((0, 0), (7, 2), (0, 1))]
    by_image = [(plan.shifts[plan.order.argsort()], plan.flips[plan.order.argsort()]) for plan in plans]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(by_image[0], by_image[1], strict=True))
    assert not torch.equal(by_image[0][0], by_image[2][0])
    assert not torch.equal(plans[0].order, plans[1].order)
    assert [plan.draws.unique().tolist() for plan in plans] == [[0], [0], [1]]


def test_without_rounds_a_draw_counts_how_often_an_image_came_before():
    plan = plan_epoch(60, 0, 5, 0, False, torch.arange(60) % 3)
    times = [int((plan.order[:place] == plan.order[place]).sum()) for place in range(60)]
    assert max(times) > 0
    assert plan.draws.tolist() == [5 + time * 2**31 for time in times]


def images_of(cifar10, loader, epochs, **changes):
    """(draw, place among all training images) -> the teacher's pixels, over some epochs."""
    keys = {key: changes.pop(key) for key in list(changes) if key not in ("seed",)}
    data = LOADERS[loader] | {"path": str(cifar10), "images": 40, "flip": True, "erasing": 0.7, **keys}
    recipe = parse_recipe(values_of(cifar10, data=data, batch_size=8, **changes))
    splits = open_splits(recipe)
    views = Views.of(Preprocess(size=(16, 16)), [Preprocess(size=(24, 24))])
    images = training_images(recipe, splits.train, views, torch.device("cpu"), ProcessRank())
    places = splits.train.own_changes(recipe.seed, None).places
    return {
        (draw, places[index]): pixels
        for epoch in epochs
        for batch in images.batches(epoch, 0)
        for draw, index, pixels in zip(batch.draws.tolist(), batch.indices.tolist(), batch.others[0], strict=True)
    }


@pytest.mark.parametrize("loader", LOADERS)
def test_an_image_looks_the_same_in_a_round_of_any_training(cifar10, loader):
    ours = images_of(cifar10, loader, range(4), rounds=2)
    theirs = images_of(cifar10, loader, range(2), rounds=2, seed=5, val_split=0.25)
    assert {draw for draw, _ in ours} == {0, 1}
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 30
    assert all(torch.equal(ours[key], theirs[key]) for key in shared)
    assert any(not torch.equal(ours[0, place], ours[1, place]) for draw, place in ours if draw == 0)


@pytest.mark.parametrize("loader", LOADERS)
def test_an_image_that_an_epoch_holds_twice_is_erased_elsewhere(cifar10, loader):
    keys = {"padding": 0} if loader == "device" else {}  # by which it would differ anyway
    found = images_of(cifar10, loader, [0], sampling="balanced", flip=False, erasing=1.0, **keys)
    again = [(draw, place) for draw, place in found if draw >= 2**31]
    assert again
    assert any(not torch.equal(found[key], found[0, key[1]]) for key in again)
