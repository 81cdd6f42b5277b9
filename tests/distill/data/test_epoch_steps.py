"""How an epoch's images are shared out over its steps."""

from __future__ import annotations

import pytest

from distill.data.batches import EpochSteps


@pytest.mark.parametrize(
    ("n_images", "parts", "drop_last", "sizes"),
    [
        (50_000, 1, False, (64,) * 781 + (16,)),  # CIFAR by the published recipe: 782 steps
        (50_000, 1, True, (64,) * 781),
        (128, 1, False, (64, 64)),
        (130, 1, False, (64, 64)),  # of two images no batch norm and no angle is learned
        (131, 1, False, (64, 64, 3)),
        (128 + 15, 4, False, (64, 64, 12)),
        (128 + 11, 4, False, (64, 64)),
    ],
)
def test_the_last_batch_is_smaller_or_left_out(n_images, parts, drop_last, sizes):
    steps = EpochSteps(n_images, 64, parts, drop_last=drop_last)
    assert steps.sizes == sizes
    assert (len(steps), steps.n_images) == (len(sizes), sum(sizes))
    places = [range(n_images)[steps.places(step)] for step in range(len(steps))]
    assert [len(images) for images in places] == list(sizes)
    assert [image for images in places for image in images] == list(range(steps.n_images))
    assert [steps.seen_before(step) for step in range(len(steps))] == [images[0] for images in places]
    assert steps.seen_before(len(steps)) == steps.n_images
