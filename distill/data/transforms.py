"""Changes of single training images, drawn once an image and made alike in each of its views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from distill.data.augmentation import OwnChanges
from distill.data.draws import OwnDraws
from distill.data.views import Views
from distill.recipe.augmentation import LARGEST_MAGNITUDE, Augmentation, RandAugmentWords, parse_randaugment

# RandAugment's magnitudes are tenths of one of timm's.
_LEVELS_PER_MAGNITUDE = 10
Transform = Callable[[Tensor], Tensor]
"""(3, H, W) uint8 -> the same; what it draws does not depend on H and W."""


class ImageTransforms:
    """RandAugment or colour jitter, then erasing, on tensors.

    What is drawn depends on `changes` alone. Each view is changed by the same draws: the same
    operations of the same strengths, distances as shares of its sides, an erased box scaled to it and rounded.

    Args:
        augmentation: which of them, and how strong.
        views: of student and teachers.
        changes: of the images of the split.
    """

    def __init__(self, augmentation: Augmentation, views: Views, changes: OwnChanges) -> None:
        from torchvision.transforms import v2

        self._changes = changes
        self._views = views
        self._colours = [_mean_colour(view.mean_colour) for view in views.geometries]
        self._transforms = [_transform(augmentation, colour) for colour in self._colours]
        self._erasing = None if augmentation.erasing is None else v2.RandomErasing(augmentation.erasing)

    def __call__(self, pixels: Sequence[Tensor], draw: int, position: int) -> list[Tensor]:
        """Change one image.

        Args:
            pixels: (3, H_i, W_i) uint8 of each view.
            draw: see EpochPlan.
            position: of the image in its split.

        Returns:
            The same shapes and type.
        """
        changed = list(pixels)
        for place, transform in enumerate(self._transforms):
            if transform is not None:
                with OwnDraws(self._changes.seed_of(draw, position, "transforms")):  # afresh for each view
                    changed[place] = transform(changed[place])
        if self._erasing is None:
            return changed
        with OwnDraws(self._changes.seed_of(draw, position, "erasing")):
            box = self._box(changed[0])
        return changed if box is None else self._erased(changed, box)

    def batch(self, pixels: Sequence[Tensor], draws: Sequence[int], positions: Sequence[int]) -> list[Tensor]:
        """The same for the images of a batch: (B, 3, H_i, W_i) uint8 of each view."""
        images = zip(*(view.unbind() for view in pixels), strict=True)
        changed = [self(*given) for given in zip(images, draws, positions, strict=True)]
        return [torch.stack(view) for view in zip(*changed, strict=True)]

    def _box(self, image: Tensor) -> tuple[int, int, int, int] | None:
        """(left, top, right, bottom) in the student's pixels; None where nothing is erased."""
        assert self._erasing is not None
        if torch.rand(()) >= self._erasing.p:
            return None
        drawn = self._erasing.make_params([image])
        if drawn["v"] is None:  # no box of its shape fitted into the image
            return None
        return drawn["j"], drawn["i"], drawn["j"] + drawn["w"], drawn["i"] + drawn["h"]

    def _erased(self, pixels: Sequence[Tensor], box: tuple[int, int, int, int]) -> list[Tensor]:
        erased = []
        for image, colour, scale in zip(pixels, self._colours, self._views.scales(), strict=True):
            left, top, right, bottom = scaled_box(box, scale)
            image = image.clone()
            for channel, value in zip(image, colour, strict=True):
                channel[top:bottom, left:right].fill_(value)  # a tensor of the colour would be waited for on a device
            erased.append(image)
        return erased


def scaled_box(box: tuple[int, int, int, int], scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) in an image whose height and width are `scale` times as large."""
    left, top, right, bottom = box
    return round(left * scale[1]), round(top * scale[0]), round(right * scale[1]), round(bottom * scale[0])


def _mean_colour(rgb: tuple[float, float, float]) -> list[int]:
    return [min(max(round(255 * value), 0), 255) for value in rgb]


def _transform(augmentation: Augmentation, fill: list[int]) -> Transform | None:
    from torchvision.transforms import v2

    if augmentation.randaugment is not None:
        return _RandAugment(parse_randaugment(augmentation.randaugment), fill)
    if augmentation.colour_jitter is not None:
        jitter: Transform = v2.ColorJitter(*augmentation.colour_jitter)
        return jitter
    return None


class _RandAugment:
    """torchvision's operations, each at a magnitude of its own; `fill` is the colour beyond an image's edge."""

    def __init__(self, words: RandAugmentWords, fill: list[int]) -> None:
        from torchvision.transforms import InterpolationMode, v2

        self._words = words
        levels = LARGEST_MAGNITUDE * _LEVELS_PER_MAGNITUDE + 1
        self._operations = [
            v2.RandAugment(1, level, levels, interpolation=InterpolationMode.BILINEAR, fill=fill)
            for level in range(levels)
        ]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        words = self._words
        for _ in range(words.operations):
            magnitude = words.magnitude + words.deviation * float(torch.randn(()))
            magnitude = min(max(magnitude, 0.0), float(LARGEST_MAGNITUDE))
            if torch.rand(()) < words.probability:
                pixels = self._operations[round(magnitude * _LEVELS_PER_MAGNITUDE)](pixels)
        return pixels
