"""mixup and CutMix: what is blended, what the labels say of it, and who takes it."""

import pytest
import torch

from distill.data.batches import EpochSteps, LabelledBatch, ProcessRank
from distill.data.mixing import mixed_images
from distill.methods import METHODS, create_method
from distill.recipe.parse import parse_recipe
from tests.distill.conftest import values_of
from xkd_eval.errors import XkdError

CLASSES, BATCH, STEPS = 5, 7, 6


class Plain:
    """Images that are each of one colour, by their number."""

    n_images = BATCH * STEPS
    steps = EpochSteps(n_images, BATCH, 1, drop_last=False)

    def batches(self, epoch, first_step):
        for step in range(first_step, STEPS):
            indices = torch.arange(BATCH) + BATCH * step
            own, other = ((indices * 5).byte()[:, None, None, None].expand(-1, 3, size, size) for size in (20, 40))
            yield LabelledBatch(own, indices % CLASSES, indices, (other, own, other))


def batches_of(keys, rank=None, first_step=0, seed=0, epoch=0):
    recipe = parse_recipe(values_of("x", data={"loader": "device", "path": "x", **keys}, batch_size=14, seed=seed))
    images = mixed_images(Plain(), recipe, CLASSES, [create_method("ce")], rank or ProcessRank())
    return list(images.batches(epoch, first_step))


def shares_of(batch):
    """The share of the image that was there first, as the labels say: the same for all whose two classes differ."""
    shares = batch.labels.gather(1, (batch.indices % CLASSES)[:, None]).squeeze(1)
    assert batch.labels.shape == (BATCH, CLASSES)
    torch.testing.assert_close(batch.labels.sum(1), torch.ones(BATCH))
    differ = batch.indices % CLASSES != batch.indices.roll(1) % CLASSES
    assert shares[differ].unique().numel() == 1
    return shares[differ][0].item()


def test_mixup_blends_pixels_as_it_blends_labels():
    for batch in batches_of({"mixup": 1.0}):
        share = shares_of(batch)
        colours = batch.indices * 5.0
        expected = share * colours + (1 - share) * colours.roll(1)
        for view in (batch.pixels, *batch.others):
            torch.testing.assert_close(view, expected[:, None, None, None].expand_as(view))


def test_cutmix_labels_are_the_areas():
    areas = []
    for batch in batches_of({"cutmix": 1.0}):
        own = batch.pixels[:, 0] == (batch.indices * 5)[:, None, None]
        assert batch.pixels.dtype == torch.uint8
        torch.testing.assert_close(own.float().mean((1, 2)), torch.full((BATCH,), shares_of(batch)))
        others = batch.others[0][:, 0] == (batch.indices * 5)[:, None, None]
        assert torch.equal(others[:, ::2, ::2], own)  # the same box, of twice the size
        assert torch.equal(others[:, 1::2, 1::2], own)
        areas.append(shares_of(batch))
    assert len(set(areas)) == STEPS
    assert min(areas) < 0.8


def test_a_view_that_several_networks_share_is_mixed_once():
    batch = batches_of({"mixup": 1.0})[0]
    assert batch.others[1] is batch.pixels
    assert batch.others[0] is batch.others[2]


def test_both_take_turns_at_random():
    kinds = [batch.pixels.dtype for epoch in range(4) for batch in batches_of({"mixup": 1, "cutmix": 1}, epoch=epoch)]
    assert 6 <= kinds.count(torch.uint8) <= 18


def test_the_draws_are_of_seed_epoch_step_and_process_alone():
    keys = {"mixup": 0.8, "cutmix": 1.0}
    state = torch.random.get_rng_state()
    whole = batches_of(keys)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    for ours, again in zip(whole[2:], batches_of(keys, first_step=2), strict=True):
        assert torch.equal(ours.pixels, again.pixels)
        assert torch.equal(ours.labels, again.labels)
    shares = {
        tuple(shares_of(batch) for batch in batches)
        for batches in (whole, batches_of(keys, ProcessRank(1, 2)), batches_of(keys, seed=1), batches_of(keys, epoch=1))
    }
    assert len(shares) == 4


def test_nothing_is_wrapped_where_nothing_is_mixed():
    plain = Plain()
    assert mixed_images(plain, parse_recipe(values_of("x")), CLASSES, [create_method("dkd")], ProcessRank()) is plain


@pytest.mark.parametrize("method", [name for name in METHODS.names() if not METHODS[name].takes_mixed])
def test_what_needs_one_class_an_image_refuses_it(method):
    data = {"loader": "device", "path": "x", "cutmix": 1.0}
    with pytest.raises(XkdError, match=rf"^data\.cutmix: {method} needs images of one class each, and mixed ones have"):
        mixed_images(Plain(), parse_recipe(values_of("x", data=data)), CLASSES, [create_method(method)], ProcessRank())


def test_those_that_read_labels_or_remember_images_are_known():
    assert {name for name in METHODS.names() if not METHODS[name].takes_mixed} == {"crd", "dkd", "sdd", "tf_kd"}


def test_one_image_a_process_is_nothing_to_mix():
    recipe = parse_recipe(values_of("x", data={"loader": "device", "path": "x", "mixup": 0.2}, batch_size=2))
    with pytest.raises(XkdError, match=r"^data\.mixup: 1 image a process and step found; expected at least 2 to mix"):
        mixed_images(Plain(), recipe, CLASSES, [create_method("ce")], ProcessRank(1, 2))
