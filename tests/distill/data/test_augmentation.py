"""Crops, flips and orders, against slow numpy."""

import numpy as np
import torch

from distill.data.augmentation import crop_and_flip, earlier_times, plan_epoch


def test_crops_and_flips_are_those_of_slow_numpy():
    images = torch.randint(0, 256, (40, 7, 9, 3), dtype=torch.uint8)
    plan = plan_epoch(40, seed=3, epoch=5, padding=2, flip=True)
    ours = crop_and_flip(images[plan.order], plan.shifts, plan.flips, padding=(2, 2))
    assert ours.shape == (40, 3, 7, 9)
    assert ours.dtype == torch.uint8
    for place, image in enumerate(plan.order.tolist()):
        padded = np.pad(images[image].numpy(), ((2, 2), (2, 2), (0, 0)))
        top, left = plan.shifts[place].tolist()
        crop = padded[top : top + 7, left : left + 9]
        crop = crop[:, ::-1] if plan.flips[place] else crop
        np.testing.assert_array_equal(ours[place].permute(1, 2, 0).numpy(), crop)
    assert sorted(plan.order.tolist()) == list(range(40))
    assert 0 < plan.flips.float().mean() < 1
    assert set(plan.shifts.flatten().tolist()) == set(range(5))


def test_every_epoch_and_seed_draws_afresh_and_the_same_again():
    plans = {key: plan_epoch(50, *key, padding=4, flip=True) for key in ((0, 0), (0, 1), (1, 0))}
    again = plan_epoch(50, 0, 1, padding=4, flip=True)
    assert torch.equal(plans[0, 1].order, again.order)
    assert torch.equal(plans[0, 1].shifts, again.shifts)
    orders = [plan.order.tolist() for plan in plans.values()]
    assert len({tuple(order) for order in orders}) == 3


def test_balanced_orders_hold_each_class_as_often_and_each_of_its_images():
    classes = torch.tensor([0] * 900 + [2] * 90 + [3] * 10)
    plans = [plan_epoch(1000, 0, epoch, padding=1, flip=True, classes=classes) for epoch in range(20)]
    orders = torch.stack([plan.order for plan in plans])
    counts = classes[orders.flatten()].bincount().tolist()
    assert counts[1] == 0
    assert all(abs(counts[index] - 20_000 / 3) < 300 for index in (0, 2, 3))  # 4.5 standard deviations
    rare = orders[orders >= 990].bincount()[990:]
    assert (rare.sub(667).abs() < 130).all()
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[3], plan_epoch(1000, 0, 3, padding=1, flip=True, classes=classes).order)


def test_how_often_an_image_stood_before():
    assert earlier_times(torch.tensor([5, 0, 5, 5, 0, 1])).tolist() == [0, 0, 1, 2, 1, 0]
    assert earlier_times(torch.randperm(9)).tolist() == [0] * 9
