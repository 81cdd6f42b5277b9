"""Scaled decoding: the same part of a photograph, at far fewer pixels; of JPEGs alone, and never where it shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from distill.answers.shown import shown
from distill.data.crops import Crop, Crops, cut, largest_reduction
from distill.data.views import Views
from distill.recipe.data import WorkerData
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.decode import decode_image
from xkd_eval.datasets.reduction import reduced_jpegs, reduced_size
from xkd_eval.errors import UnreadableImageError

ORIENTATION = 0x0112


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right and green downwards, each from 0 to 255."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack(
        [np.tile(across, (height, 1)), np.tile(down[:, None], (1, width)), np.full((height, width), 128)], 2
    )
    return Image.fromarray(pixels.round().astype(np.uint8))


def stored(image: Image.Image, kind: str = "JPEG", orientation: int | None = None) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    image.save(file, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


class InMemory(ImageDataset):
    name = "in memory"

    def __init__(self, *contents: bytes, change=lambda image: image) -> None:
        self.ids, self.labels = [str(number) for number in range(len(contents))], [None] * len(contents)
        self.contents, self.change = contents, change
        self.decoded: list[tuple[int, int]] = []

    def load(self, position: int) -> Sample:
        image = decode_image(self.contents[position], self.ids[position])
        self.decoded.append(image.size)
        return Sample(self.change(image))


def crops_of(*, scaled: bool, flip: bool = False, **view) -> Crops:
    data = WorkerData(loader="workers", scale=(0.3, 1.0), flip=flip, scaled_decoding=scaled)
    return Crops(Views.of(Preprocess(size=(32, 32)), [Preprocess(**view)] if view else []), data)


@pytest.mark.parametrize(
    ("crop", "sizes", "expected"),
    [
        ((64, 64), [(32, 32)], 2),
        ((63, 640), [(32, 32)], 1),
        ((127, 128), [(32, 32)], 2),
        ((128, 128), [(32, 32)], 4),
        ((4000, 4000), [(32, 32)], 8),
        ((128, 128), [(32, 32), (48, 40)], 2),
        ((20, 20), [(32, 32)], 1),
    ],
)
def test_a_crop_keeps_as_many_pixels_as_the_largest_view_has(crop, sizes, expected):
    views = [Preprocess(size=size) for size in sizes]
    assert largest_reduction(Crop(0, 0, *crop, mirrored=False), views) == expected


@pytest.mark.parametrize("size", [(400, 300), (401, 307)])
def test_a_gradient_is_cut_where_it_would_be_of_the_whole(size):
    dataset = InMemory(stored(gradient(*size)))
    for seed in range(8):
        whole, scaled = (crops_of(scaled=way, flip=True).of(dataset, 0, seed)[0].float() for way in (False, True))
        whole_size, scaled_size = dataset.decoded[-2:]
        assert whole_size == size and scaled_size in [reduced_size(size, by) for by in (2, 4, 8)]
        # A pixel of the reduced image is 255 * 8 / 400 at most.
        assert (whole - scaled).abs()[:2].max() < 255 * 8 / 300
        assert (whole - scaled).mean((1, 2)).abs().max() < 1.5


def test_the_corners_of_a_crop_are_known():
    image = Image.open(io.BytesIO(stored(gradient(256, 256))))
    image.draft("RGB", (64, 64))
    assert image.size == (64, 64)
    crop = Crop(top=64, left=128, height=128, width=128, mirrored=False)
    pixels = cut(image.convert("RGB"), crop, 4, Preprocess(size=(32, 32)))
    expected_red = 255 * (128 + 4 * torch.arange(32) + 1.5) / 255
    expected_green = 255 * (64 + 4 * torch.arange(32) + 1.5) / 255
    assert (pixels[0, 5] - expected_red).abs().max() < 2
    assert (pixels[1, :, 7] - expected_green).abs().max() < 2
    mirrored = cut(image.convert("RGB"), crop._replace(mirrored=True), 4, Preprocess(size=(32, 32)))
    assert torch.equal(mirrored, pixels.flip(2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_exif_turns_is_cut_upright(orientation):
    image = gradient(400, 304)
    dataset = InMemory(stored(image, orientation=orientation))
    whole, scaled = (crops_of(scaled=way).of(dataset, 0, 3)[0].float() for way in (False, True))
    assert (whole - scaled).abs().max() < 4


def test_noise_differs_little_and_each_view_is_of_its_size():
    pixels = np.random.default_rng(0).integers(0, 256, (38, 50, 3), dtype=np.uint8)
    dataset = InMemory(stored(Image.fromarray(pixels).resize((1000, 760), Image.Resampling.BICUBIC)))
    view = {"size": (48, 40), "interpolation": "bicubic"}
    whole, scaled = (crops_of(scaled=way, **view).of(dataset, 0, 1) for way in (False, True))
    assert [tuple(pixels.shape) for pixels in scaled] == [(3, 32, 32), (3, 48, 40)]
    assert dataset.decoded[-1][0] < 1000
    for ours, theirs in zip(scaled, whole, strict=True):
        assert 0 < (ours.float() - theirs).abs().mean() < 3


def test_other_formats_and_small_crops_are_as_without_it():
    dataset = InMemory(stored(gradient(400, 300), "PNG"), stored(gradient(60, 50)))
    for position in (0, 1):
        whole, scaled = (crops_of(scaled=way).of(dataset, position, 1)[0] for way in (False, True))
        assert torch.equal(whole, scaled)
    assert dataset.decoded == [(400, 300)] * 2 + [(60, 50)] * 2


def test_a_set_that_does_more_than_decode_is_cut_from_the_whole():
    content = stored(gradient(400, 300))
    dataset = InMemory(content, change=lambda image: image.crop((0, 0, 100, 100)))
    whole, scaled = (crops_of(scaled=way).of(dataset, 0, 1)[0] for way in (False, True))
    assert torch.equal(whole, scaled)


def test_stored_answers_are_to_scaled_images_or_to_whole_ones():
    views = Views.of(Preprocess(size=(32, 32)), [Preprocess(size=(64, 64))])
    whole, scaled = (shown(WorkerData(loader="workers", scaled_decoding=way), views, 0) for way in (False, True))
    assert scaled == {**whole, "scaled_decoding": [[32, 32], [64, 64]]}


def test_what_is_evaluated_and_what_is_damaged():
    content = stored(gradient(400, 300))
    with reduced_jpegs(lambda size: 4):
        assert decode_image(content, "a").size == (100, 75)
        assert decode_image(stored(gradient(400, 300), orientation=6), "a").size == (75, 100)
        with pytest.raises(UnreadableImageError, match="truncated or damaged"):
            decode_image(content[: len(content) // 2], "a")
    assert decode_image(content, "a").size == (400, 300)
    grey = Image.fromarray(np.full((300, 400), 200, np.uint8)).convert("CMYK")
    with reduced_jpegs(lambda size: 2):
        assert decode_image(stored(grey), "a").size == (200, 150)
