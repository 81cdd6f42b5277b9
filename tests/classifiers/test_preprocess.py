"""The input convention: torchvision's and timm's crop to the pixel, BGR and 0-255, masks, and the region seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from xkd_eval.classifiers.conventions import timm_preprocess
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (97, 413), (224, 224)])
@pytest.mark.parametrize(("input_size", "short_side"), [(224, 256), (224, 232), (299, 342)])
def test_crop_is_torchvisions_to_the_pixel(size, input_size, short_side):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    theirs = v2.Compose([v2.Resize(short_side), v2.CenterCrop(input_size), v2.PILToTensor()])(image)
    ours = Preprocess((input_size, input_size), "crop", crop_fraction=input_size / short_side).pixels(image)
    assert torch.equal(ours, theirs)


def test_caffe_networks_get_bgr_and_0_to_255():
    caffe = Preprocess(mean=(104, 117, 123), std=(1, 1, 1), channel_order="BGR", value_range=255)
    red, green, blue = 10, 20, 30
    pixels = torch.tensor([red, green, blue], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert caffe.normalise(pixels).flatten().tolist() == pytest.approx([blue - 104, green - 117, red - 123])
    assert caffe.mean_colour == pytest.approx((123 / 255, 117 / 255, 104 / 255))


def test_a_float_image_in_0_to_1_is_normalised_like_its_bytes():
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(Preprocess().normalise(pixels.float() / 255), Preprocess().normalise(pixels))


def test_a_mask_goes_the_way_of_its_photo():
    mask = np.zeros((300, 500), np.int8)
    mask[:, :250] = 1
    mask[:, 490:] = -1
    squashed = Preprocess((30, 50)).mask(mask)
    assert squashed[0].tolist() == [1] * 25 + [0] * 24 + [-1]
    cropped = Preprocess((30, 30), "crop", crop_fraction=1.0).mask(mask)
    assert cropped[0].tolist() == [1] * 15 + [0] * 15


def test_plain_values_restore_it():
    preprocess = Preprocess((64, 96), "crop", "bicubic", channel_order="BGR", value_range=255.0)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess


def test_a_square_crop_of_a_landscape_by_hand():
    whole = Preprocess((300, 300), "crop", crop_fraction=1.0)
    assert whole.region((500, 300)) == (100, 0, 400, 300)
    half = Preprocess((150, 150), "crop", crop_fraction=0.5)
    assert half.region((500, 300)) == (175, 75, 325, 225)


def test_a_squashed_photo_is_seen_whole():
    assert Preprocess((224, 224), "squash").region((500, 300)) is None


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (97, 413), (224, 224), (1200, 250)])
@pytest.mark.parametrize("fraction", [0.875, 1.0])
@pytest.mark.parametrize("size", [(224, 224), (160, 224)])
def test_the_region_is_where_the_crops_border_comes_from(width, height, fraction, size):
    # Every pixel tells its own place: red rises from left to right, green from top to bottom.
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width)[None]
    ramp[..., 1] = np.linspace(0, 255, height)[:, None]
    preprocess = Preprocess(size, "crop", crop_fraction=fraction)
    seen = preprocess.pixels(Image.fromarray(ramp)).float()
    left, top, right, bottom = preprocess.region((width, height))
    assert seen[0, 0, 0] == pytest.approx(255 * left / width, abs=3)
    assert seen[0, 0, -1] == pytest.approx(255 * right / width, abs=3)
    assert seen[1, 0, 0] == pytest.approx(255 * top / height, abs=3)
    assert seen[1, -1, 0] == pytest.approx(255 * bottom / height, abs=3)


NAN, INFINITE = float("nan"), float("inf")
WRONG = [
    *(
        ("size", value)
        for value in (0, -1, 10**9, True, "224", 1.5, (1, 2, 3), (), (32, True), (32, 0), {}, [None] * 2)
    ),
    *(("resize", value) for value in ("stretch", "", 3, ["crop"])),
    *(("interpolation", value) for value in ("cubic", "BILINEAR", 2)),
    *(("mean", value) for value in ((0.5, 0.5), (0.5, 0.5, NAN), (0, 0, 1e300), (0, 0, 10**400), "0.5", (True,) * 3)),
    *(("std", value) for value in (0, (0.5, 0.5, 0), (-1, 1, 1), INFINITE, 1e-300, "1", (1, 1, None), {})),
    *(("channel_order", value) for value in ("GBR", "rgb", 1)),
    *(("value_range", value) for value in (0, -1, NAN, INFINITE, True, "255", 1e-320)),
    *(("crop_fraction", value) for value in (0, 1.01, 2, -0.5, NAN, 1e-9, True, "0.9", None)),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_one_rule_for_values_wherever_they_come_from(field, value):
    """A constructor, a checkpoint, a caller's option and a recipe, timm: the same sentence."""
    with pytest.raises(XkdError, match=rf"^{field}: .* found; expected ") as direct:
        Preprocess(**{field: value})
    sentence = str(direct.value)
    assert "\n" not in sentence and len(sentence) < 200
    with pytest.raises(XkdError) as stored:
        Preprocess.from_dict({**Preprocess().to_dict(), field: value}, "model: 'a.pt'")
    assert str(stored.value) == f"model: 'a.pt': {sentence}"
    if value is not None:
        with pytest.raises(XkdError) as overridden:
            with_overrides(Preprocess(), {field: value})
        assert str(overridden.value) == sentence


@pytest.mark.parametrize(
    ("values", "reason"),
    [(None, "None found"), ([], r"\[\] found"), ({1: 2}, "size: missing"), ("size", "'size' found")],
)
def test_what_is_no_preprocess(values, reason):
    with pytest.raises(XkdError, match=rf"^model: 'a': {reason}"):
        Preprocess.from_dict(values, "model: 'a'")


def test_numbers_of_numpy_and_single_ones_become_plain():
    preprocess = Preprocess(size=np.int64(64), mean=np.float32(0.5), std=(np.int32(1), 2, 0.5))
    assert preprocess == Preprocess(size=(64, 64), mean=(0.5, 0.5, 0.5), std=(1.0, 2.0, 0.5))
    values = (*preprocess.size, *preprocess.mean, *preprocess.std)
    assert [type(value) for value in values] == [int] * 2 + [float] * 6


TIMM = {
    "input_size": (3, 64, 64),
    "interpolation": "bicubic",
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
    "crop_pct": 0.9,
    "crop_mode": "center",
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"std": (0, 0, 0)}, "std: .0, 0, 0. found"),
        ({"mean": 3}, "is not as timm writes it .*; correct it"),
        ({"mean": (0.5,)}, "mean: 1 number beside 3 of .std. found"),
        ({"interpolation": "random"}, "interpolation: 'random' found"),
        ({"crop_mode": "border"}, "resize: 'border' found"),
        ({"crop_mode": ["center"]}, "is not as timm writes it"),
        ({"crop_pct": 1.15}, "crop_fraction: 1.15 found"),
        ({"input_size": 224}, "is not as timm writes it"),
        ({"input_size": (3, 0, 0)}, "size: .0, 0. found"),
    ],
)
def test_a_convention_of_timm_s_that_cannot_be_followed(changed, reason):
    assert timm_preprocess(SimpleNamespace(pretrained_cfg=TIMM)).crop_fraction == 0.9
    with pytest.raises(XkdError, match=rf"^model: its pretrained_cfg.* {reason}"):
        timm_preprocess(SimpleNamespace(pretrained_cfg={**TIMM, **changed}))


def test_one_channel_is_the_luminance():
    preprocess = Preprocess(size=(2, 2), mean=(0.5,), std=(0.25,))
    assert preprocess.channels == 1
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    assert preprocess.normalise(red).tolist() == [[[[pytest.approx((0.299 - 0.5) / 0.25)]]]]
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    normalised = preprocess.normalise(grey)
    assert normalised.shape == (1, 1, 2, 2)
    torch.testing.assert_close(preprocess.denormalise(normalised), grey / 255)
    torch.testing.assert_close(preprocess.colour((1, 1, 1), like=normalised), torch.full((1, 1, 1), 2.0))
    assert preprocess.mean_colour == (0.5, 0.5, 0.5)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess


def test_luminance_is_pils(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    preprocess = Preprocess(size=(5, 7), mean=(0.0,), std=(1.0,))
    ours = preprocess.normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0, 0]
    theirs = np.asarray(Image.fromarray(pixels).convert("L")) / 255
    np.testing.assert_allclose(ours.numpy(), theirs, atol=0.6 / 255)


def test_other_channels_are_fed_with_images_of_as_many():
    preprocess = with_overrides(Preprocess(size=(4, 4)), {"channels": 5})
    assert preprocess.mean == pytest.approx((0.449,) * 5) and preprocess.std == pytest.approx((0.226,) * 5)
    images = torch.rand(2, 5, 4, 4)
    torch.testing.assert_close(preprocess.normalise(images), (images - 0.449) / 0.226)
    with pytest.raises(XkdError, match=r"^images: 3 channels found, and the network takes 5; expected photographs for"):
        preprocess.normalise(torch.rand(2, 3, 4, 4))


def test_an_image_that_is_squashed_and_then_cropped():
    """As transformers' DeiT has it: to 8x8 whatever its proportions, then the middle 4x4."""
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, 2))
    preprocess = Preprocess(size=(4, 4), resize="squash_crop", crop_fraction=0.5, interpolation="nearest")
    assert preprocess.pixels(image)[0].tolist() == np.arange(64).reshape(8, 8)[2:6, 2:6].tolist()
    wide = image.resize((16, 8), Image.Resampling.NEAREST)
    assert torch.equal(preprocess.pixels(wide), preprocess.pixels(image))
    assert preprocess.region((16, 8)) == (4.0, 2.0, 12.0, 6.0)
