"""The random part of a photograph that is trained on, and how little of a JPEG has to be decoded for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from distill.data.draws import OwnDraws
from distill.data.views import Views
from distill.recipe.data import WorkerData
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.reduction import REDUCTIONS, reduced_jpegs, reduced_size
from xkd_eval.datasets.samples import load_photograph


class Crop(NamedTuple):
    """A box of a photograph, in its pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


class Crops:
    """One box and one flip an image, drawn for it alone, and the same at the size of each view.

    Args:
        views: of student and teachers.
        data: how the boxes are drawn; whether JPEGs may be decoded at a reduced size.
    """

    def __init__(self, views: Views, data: WorkerData) -> None:
        self._geometries = views.geometries
        self._scale = data.scale
        self._flip = 0.5 if data.flip else 0.0
        self._scaled = data.scaled_decoding

    def of(self, dataset: ImageDataset, position: int, seed: int) -> list[Tensor]:
        """What is trained on of an image: (3, H_i, W_i) uint8 of each view.

        Args:
            dataset: holds the image.
            position: of the image in it.
            seed: of its draws.

        Raises:
            XkdError: as `load_photograph`.
        """
        asked: list[tuple[tuple[int, int], Crop, int]] = []

        def choose(size: tuple[int, int]) -> int:
            crop = self._drawn(size, seed)
            asked.append((size, crop, largest_reduction(crop, self._geometries)))
            return asked[-1][2]

        # Masks and boxes are of the whole image.
        may_be = self._scaled and not (dataset.has_masks or dataset.has_boxes)
        within: AbstractContextManager[None] = reduced_jpegs(choose) if may_be else nullcontext()
        with within:
            image = load_photograph(dataset, position)
        if len(asked) == 1:
            ((size, crop, by),) = asked
            if image.size == reduced_size(size, by):
                return [cut(image, crop, by, view) for view in self._geometries]
        if asked:  # by a data set of somebody's own, that does more to an image than decode it
            image = load_photograph(dataset, position)
        crop = self._drawn(image.size, seed)
        return [cut(image, crop, 1, view) for view in self._geometries]

    def _drawn(self, size: tuple[int, int], seed: int) -> Crop:
        """The crop of an image of (width, height)."""
        from torchvision.transforms import v2

        width, height = size
        image = torch.empty(1).expand(1, height, width)  # whose size alone is looked at
        with OwnDraws(seed):
            box = v2.RandomResizedCrop(self._geometries[0].size, self._scale).make_params([image])
            mirrored = bool(torch.rand(1) < self._flip)
        return Crop(**box, mirrored=mirrored)


def largest_reduction(crop: Crop, geometries: Sequence[Preprocess]) -> int:
    """How far an image may be reduced, so that a crop of it is no smaller than any view in either direction."""
    height, width = (max(view.size[axis] for view in geometries) for axis in (0, 1))
    fits = (by for by in REDUCTIONS if crop.height >= by * height and crop.width >= by * width)
    return next(fits, 1)


def cut(image: Image.Image, crop: Crop, by: int, view: Preprocess) -> Tensor:
    """A crop at the size of a view.

    Args:
        image: reduced.
        crop: in the pixels of the image as it was.
        by: what the image is reduced by; where that does not divide its size, the last pixel stands for fewer.
        view: whose size and interpolation are taken.

    Returns:
        (3, H, W) uint8.
    """
    from torchvision.transforms import InterpolationMode, v2

    interpolation = InterpolationMode(view.interpolation)
    if by == 1:
        box = {"top": crop.top, "left": crop.left, "height": crop.height, "width": crop.width}
        made = v2.functional.resized_crop(image, **box, size=list(view.size), interpolation=interpolation)
    else:
        left, top = crop.left / by, crop.top / by
        right, bottom = left + crop.width / by, top + crop.height / by
        # As `resized_crop`: nothing of what lies outside of the crop, but for what shares a pixel with it.
        outer = (int(left), int(top), math.ceil(right), math.ceil(bottom))
        within = (left - outer[0], top - outer[1], right - outer[0], bottom - outer[1])
        made = image.crop(outer).resize(view.size[::-1], Image.Resampling[view.interpolation.upper()], within)
    return v2.functional.pil_to_tensor(v2.functional.horizontal_flip(made) if crop.mirrored else made)
