"""Forms of a map: values in [0, 1], by hand, and what becomes of maps that order nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from xkd_eval.datasets.base import Subset
from xkd_eval.evaluations.forms import FORMS, in_form

SIZE = (8, 6)


def enlarged(maps):
    return F.interpolate(maps[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]


def test_a_map_at_its_own_size_is_min_maxed():
    maps = torch.tensor([[[-1.0, 0.0], [1.0, 3.0]]])
    assert in_form(maps, "minmax", (2, 2))[0].tolist() == [[[0, 0.25], [0.5, 1]]]
    assert in_form(maps, "relu", (2, 2))[0].flatten().tolist() == pytest.approx([0, 0, 1 / 3, 1])
    assert in_form(maps, "magnitude", (2, 2))[0].flatten().tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1])


def test_as_shares_of_the_greatest_magnitude_nothing_stays_nothing():
    maps = torch.tensor([[[1.0, -2.0], [0.0, -4.0]]])
    assert in_form(maps, "absolute", (2, 2))[0].flatten().tolist() == [0.25, 0.5, 0, 1]


def test_low_resolution_first_leaves_the_peak_below_one():
    maps = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    last = in_form(maps, "minmax", SIZE)[0]
    first = in_form(maps, "lowres", SIZE)[0]
    assert (last.amax((1, 2)) == 1).all() and (last.amin((1, 2)) == 0).all()
    low = (maps - maps.amin((1, 2), keepdim=True)) / (maps.amax((1, 2), keepdim=True) - maps.amin((1, 2), keepdim=True))
    torch.testing.assert_close(first, enlarged(low))
    torch.testing.assert_close(in_form(maps, "relu", SIZE)[0] == 0, enlarged(maps.clamp(min=0)) <= 0)


def test_grad_cams_map_is_the_form_relu_but_for_rounding(golden):
    from pytorch_grad_cam.utils.image import scale_cam_image

    entry = golden.metrics["grad-cam_map/difference_from_relu_variant"]["per_image"]
    images = Subset(golden.photographs, range(len(entry)))
    pixels = torch.stack(
        [golden.classifier.preprocess.pixels(images.load(place).image) for place in range(len(images))]
    )
    with torch.no_grad():
        made = golden.classifier.forward_with_features(golden.classifier.preprocess.normalise(pixels))
        maps = golden.classifier.cams(made.features, made.logits.argmax(1)[:, None])[:, 0]
    theirs = scale_cam_image(scale_cam_image(maps.clamp(min=0).numpy(), (224, 224)))
    difference = (torch.from_numpy(theirs) - in_form(maps, "relu", (224, 224))[0]).abs().amax((1, 2))
    assert 0 < difference.max() < 2 * max(entry)


@pytest.mark.parametrize("form", FORMS)
def test_what_orders_nothing_is_a_random_map_and_is_counted(form):
    maps = torch.rand(4, 3, 3)
    maps[0], maps[1, 0, 0], maps[2] = 2.0, torch.nan, -torch.rand(3, 3)
    made, degenerate = in_form(maps, form, SIZE)
    # The third map has nothing left once its negative values are gone.
    assert degenerate.tolist() == [True, True, form == "relu", False]
    assert made.isfinite().all() and torch.equal(made[0], made[1])
    assert sorted(made[0].flatten().tolist()) == pytest.approx([place / 47 for place in range(48)])
    assert not torch.equal(in_form(maps, form, SIZE, tie_seed=1)[0][0], made[0])
