"""Images of any number of channels: the same as RGB where they are RGB, channel by channel elsewhere."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from xkd_eval.bands import Bands, displayed, picture_of
from xkd_eval.classifiers.preprocess import Preprocess, in_bytes, in_unit_range, stacked
from xkd_eval.errors import UnreadableImageError, XkdError


def noise(channels: int = 3, height: int = 37, width: int = 53) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("resize", ["squash", "crop", "squash_crop"])
@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_each_channel_comes_to_what_pil_makes_of_rgb(interpolation, resize):
    """Twelve channels of bytes are four RGB images on top of each other."""
    array = noise(12)
    deep = Preprocess(size=(16, 20), resize=resize, interpolation=interpolation, mean=(0.0,) * 12, std=(1.0,) * 12)
    rgb = Preprocess(size=(16, 20), resize=resize, interpolation=interpolation)
    found = deep.pixels(Bands(array))
    assert found.dtype == torch.uint8
    for first in range(0, 12, 3):
        image = Image.fromarray(np.ascontiguousarray(array[:, :, first : first + 3]))
        assert torch.equal(found[first : first + 3], rgb.pixels(image))


@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
def test_finer_values_are_as_bytes_but_for_their_rounding(interpolation):
    array = noise(5)
    preprocess = Preprocess(size=(16, 20), interpolation=interpolation, mean=(0.0,) * 5, std=(1.0,) * 5)
    in_bytes = preprocess.normalise(preprocess.pixels(Bands(array))[None])
    for finer in (array.astype(np.uint16) * 257, array / 255, (array / 255).astype(">f4")):
        pixels = preprocess.pixels(Bands(finer))
        assert pixels.dtype == torch.float32 and pixels.min() >= 0 and pixels.max() <= 1
        # PIL rounds bytes once across and once down, and cuts them off between.
        torch.testing.assert_close(preprocess.normalise(pixels[None]), in_bytes, rtol=0, atol=2 / 255)


def test_sixteen_bits_stay_sixteen_bits():
    array = np.array([[[0, 1, 257, 65534, 65535]]], dtype=np.uint16)
    preprocess = Preprocess(size=(1, 1), mean=(0.0,) * 5, std=(1.0,) * 5, value_range=65535)
    found = preprocess.normalise(preprocess.pixels(Bands(array))[None])
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.0, 1, 257, 65534, 65535]), rtol=0, atol=0.01)


def test_images_of_bytes_and_of_finer_values_make_one_batch_in_0_to_1():
    in_bytes, finer = torch.tensor([[[255]], [[51]]], dtype=torch.uint8), torch.tensor([[[0.25]], [[1.0]]])
    assert torch.equal(stacked([in_bytes, finer]), torch.tensor([[[[1.0]], [[0.2]]], [[[0.25]], [[1.0]]]]))
    assert stacked([in_bytes, in_bytes]).dtype == torch.uint8


def test_an_image_of_bytes_is_so_again_beside_finer_values():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    finer = in_unit_range(pixels).clone()
    finer[0, 3, 5] += 1e-3
    found = in_bytes(stacked([pixels, finer])[0])
    assert found.dtype == torch.uint8 and torch.equal(found, pixels)
    assert torch.equal(in_bytes(finer), finer) and torch.equal(in_bytes(pixels), pixels)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(noise(), noise()), (noise(1), np.repeat(noise(1), 3, 2))],
    ids=["three", "one"],
)
def test_bytes_of_one_or_three_channels_are_a_photograph(given, expected):
    found = picture_of(given)
    assert isinstance(found, Image.Image) and found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_one_channel_of_finer_values_is_grey_for_networks_of_one_and_of_three_channels():
    array = np.array([[[1000]], [[50000]]], dtype=np.uint16)
    three, one = (Preprocess(size=(2, 1), mean=(0.0,) * count, std=(1.0,) * count) for count in (3, 1))
    expected = torch.tensor([1000, 50000]) / 65535
    for preprocess, image in itertools.product((three, one), (picture_of(array), Bands(array))):
        images = preprocess.normalise(preprocess.pixels(image)[None])
        assert images.shape[1] == preprocess.channels
        torch.testing.assert_close(images[0, :, :, 0], expected.expand(preprocess.channels, 2))
    assert displayed(Bands(array)).tolist() == [[[0] * 3], [[255] * 3]]


@pytest.mark.parametrize(
    ("channels", "image", "message"),
    [
        (5, Image.new("RGB", (4, 6)), "^3 channels found, and the network takes 5; expected photographs for .*npy"),
        (3, Bands(noise(13)), "^13 channels found, and the network takes 3;"),
        (1, Bands(noise(2)), "^2 channels found, and the network takes 1;"),
        (
            5,
            Bands(np.moveaxis(noise(5), 2, 0)),
            r"^53 channels .*; its shape is \(5, 37, 53\), and channels come last$",
        ),
    ],
    ids=["photograph", "deep", "two", "channels-first"],
)
def test_other_channels_than_the_networks_are_refused(channels, image, message):
    with pytest.raises(XkdError, match=message) as caught:
        Preprocess(size=(4, 4), mean=(0.5,) * channels, std=(0.5,) * channels).pixels(image)
    assert not isinstance(caught.value, UnreadableImageError)


def test_an_image_that_is_a_photograph_too_is_one_to_networks_of_one_or_three_channels():
    photograph = Image.fromarray(noise())
    image = Bands(noise(4), photograph)
    size = {"size": (8, 9)}
    rgb, grey, four = (
        Preprocess(**size),
        Preprocess(mean=(0.5,), std=(0.5,), **size),
        Preprocess(mean=(0.5,) * 4, **size, std=0.5),
    )
    assert torch.equal(rgb.pixels(image), rgb.pixels(photograph))
    assert torch.equal(grey.pixels(image), grey.pixels(photograph))
    assert torch.equal(four.pixels(image), four.pixels(Bands(noise(4))))


def test_the_photograph_is_moved_as_the_channels_are():
    deep = np.dstack([noise(), noise(2)])
    image = Bands(deep, Image.fromarray(noise()))
    for moved in (
        image.crop((3, 4, 20, 30)),
        image.resize((20, 16), Image.Resampling.BILINEAR),
        image.resize((20, 16), Image.Resampling.BICUBIC, (3, 4, 33, 24)),
        image.copy(),
    ):
        assert moved.photograph is not None and moved.photograph is not image.photograph
        np.testing.assert_array_equal(np.asarray(moved.photograph), moved.array[:, :, :3])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4)), r"float64 of shape \(4, 4\) found; expected \(H, W, C\)"),
        (np.zeros((0, 4, 5)), r"of shape \(0, 4, 5\) found"),
        ([[[1]]], "^array: list found"),
        (np.zeros((4, 4, 5), np.int16), "int16 found; expected uint8, uint16, or floats in 0 to 1"),
        (np.zeros((4, 4, 5), bool), "bool found"),
        (np.full((4, 4, 5), 1.5), r"floats from 1\.5 to 1\.5 found; expected 0 to 1"),
        (np.array([[[0.0, np.nan]]]), "floats from nan to nan found"),
        (np.array([[[0.0, np.inf]]]), "floats from 0 to inf found"),
        (np.array([[[-0.1, 1.0]]]), r"floats from -0\.1 to 1 found"),
    ],
    ids=["two axes", "empty", "list", "int16", "bool", "beyond", "nan", "inf", "below"],
)
def test_what_is_no_such_image_is_refused(array, message):
    with pytest.raises(XkdError, match=message):
        Bands(array)


def test_shown_are_the_first_three_channels_each_stretched():
    """101 values in even steps: the 2nd and the 98th percentile are the third of either end."""
    ramp = np.linspace(0.2, 0.4, 101, dtype=np.float32)
    array = np.stack([ramp, ramp[::-1], np.full(101, 0.3, np.float32), np.ones(101, np.float32)], 1)[None]
    found = displayed(Bands(array))
    assert found.dtype == np.uint8 and found.shape == (1, 101, 3)
    assert found[0, [0, 2, 50, 98, 100], 0].tolist() == [0, 0, 128, 255, 255]
    assert (abs(found[0, :, 1].astype(int) - found[0, ::-1, 0]) <= 1).all()
    assert (found[0, :, 2] == 0).all()  # which has nothing to be stretched
    two = displayed(Bands(array[:, :, [0, 3]]))
    assert (two == two[:, :, :1]).all() and two[0, [0, 100], 0].tolist() == [0, 255]


def test_a_photograph_is_shown_as_it_is():
    photograph = Image.fromarray(noise())
    np.testing.assert_array_equal(displayed(photograph), noise())
    np.testing.assert_array_equal(displayed(Bands(noise(4), photograph)), noise())


def test_an_image_can_be_copied_and_pickled():
    image = Bands(noise(5))
    for copy in (image.copy(), pickle.loads(pickle.dumps(image))):
        np.testing.assert_array_equal(np.asarray(copy), noise(5))
        assert copy.size == (53, 37) and copy.tobytes() == image.tobytes()
    assert not np.shares_memory(image.copy().array, image.array)
