"""The embedded data set: handwritten digits on natural textures, made at run time, with the exact mask of the digit.

It needs no download and answers what an evaluation asks of its data: the object is small and anywhere, its pixels are
known, and nothing but its shape tells the class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, get_args

import numpy as np
from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Sample, content_hash, register_dataset
from xkd_eval.datasets.embedded_sources import SPLITS, Split, load_digits_by_class, load_textures
from xkd_eval.datasets.samples import tight_boxes
from xkd_eval.errors import XkdError

SIDE = 64
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_MARKS = 7
_MARK_SIDES = (14, 26)
_DIGIT_SIDES = (15, 28)
_TINT = (100, 200)
_PEN_LUMA = (140, 230)
_FULL_INK = 16
_EDGE_ALPHA = 64
_LUMA = np.array([0.299, 0.587, 0.114])
_ALONG = np.linspace(0, 1, 16)[:, None]
# (12, 12, 1, 2): where ink's pixels are, in the frame of the 8x8 that the pen keeps to.
_GRID = np.indices((12, 12)).transpose(1, 2, 0)[:, :, None] - 2


class EmbeddedDataset(ImageDataset):
    """Digits pasted at random places, sizes and angles on natural textures, 64x64, among marks that have no class.

    Train, validation and test share neither digits nor texture images. The colours of digit and marks are drawn alike
    and independently of the class. Image i depends on split, seed and i alone, not on `size`.

    Args:
        split: "train", "val" or "test".
        size: number of images; any, the classes take turns.
        seed: of everything random.

    Raises:
        XkdError: an unknown split, a size below 1 or a negative seed.
    """

    def __init__(self, split: Split = "test", size: int = 500, seed: int = 0) -> None:
        _check_arguments(split, size, seed)
        self.split = split
        self.seed = seed
        self.name = f"embedded-{split}"
        # The seed is in the ids, because the digest, of ids, labels and sizes, stands for the images.
        prefix = split if seed == 0 else f"{split}-seed{seed}"
        self.ids = [f"{prefix}-{index:05d}" for index in range(size)]
        self.labels = [_label(index) for index in range(size)]
        self.label_kind = "index"
        self.classes = CLASSES
        self.has_masks = self.has_boxes = True

    def load(self, position: int) -> Sample:
        """The image, RGB 64x64, its mask, (64, 64) int8: 1 where the digit covers the image, else 0, and its box."""
        image, mask, digest = _pixels(self.split, self.seed, range(len(self))[position])
        return Sample(Image.fromarray(image), mask.copy(), digest, tight_boxes(mask))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the arrays, image and mask."""
        return [SIDE * SIDE * 4] * len(self if positions is None else positions)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All at once, for training.

        Returns:
            images (N, 64, 64, 3) uint8, masks (N, 64, 64) uint8 in {0, 1}, labels (N,) int64.
        """
        scenes = [self.scene(position) for position in range(len(self))]
        images = np.stack([scene.image() for scene in scenes])
        masks = np.stack([scene.mask() for scene in scenes])
        return images, masks.astype(np.uint8), np.array(self.labels, dtype=np.int64)

    def scene(self, position: int) -> Scene:
        """Image `position` before the digit is blended into it."""
        index = range(len(self))[position]
        return _compose(self.split, self.seed, index)


@register_dataset("embedded")
def embedded(rest: str, split: str) -> EmbeddedDataset:
    """The data set of a command that names no other: 500 images of the test split.

    Args:
        rest: a split that is meant whatever `split` says, as in "embedded:train"; or "".
        split: "train", "val" or "test"; "val" stands for the test split, as where a set has one held-out part.
    """
    # Any text may stand there, and EmbeddedDataset checks it.
    return EmbeddedDataset(split=rest or ("train" if split == "train" else "test"))  # type: ignore[arg-type]


class Scene(NamedTuple):
    """An image in two layers.

    Attributes:
        background: (64, 64, 3) int32 in 0..255, texture and marks.
        alpha: (64, 64) int32 in 0..255, how much of the digit covers each pixel; 0 or at least a visible amount.
        colour: (3,) int32 in 0..255, of the digit.
    """

    background: np.ndarray
    alpha: np.ndarray
    colour: np.ndarray

    def image(self) -> np.ndarray:
        """(64, 64, 3) uint8."""
        return _blend(self.background, self.alpha, self.colour).astype(np.uint8)

    def mask(self) -> np.ndarray:
        """(64, 64) bool: the pixels that the digit covers."""
        return self.alpha > 0


class _Randomness:
    """Draws by the raw uniform stream alone: NumPy keeps PCG64's stream across versions, but not its distributions'."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._generator.random())

    def below(self, count: int) -> int:
        return int(self._generator.random() * count)

    def many(self, low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * self._generator.random(shape)


def _check_arguments(split: str, size: int, seed: int) -> None:
    if split not in SPLITS:
        raise XkdError(
            f"split: {split!r} is not a split of the embedded data set; expected {', '.join(get_args(Split))}"
        )
    if size < 1:
        raise XkdError(f"size: {size} images asked of the embedded data set; expected 1 or more")
    if seed < 0:
        raise XkdError(f"seed: {seed} is negative; expected 0 or more")


def _label(index: int) -> int:
    # Every ten images hold each class once, and so does every tenth image: a strided subset is balanced too.
    return (index + index // 10) % 10


@lru_cache(maxsize=1024)
def _pixels(split: Split, seed: int, index: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Image, mask and digest, kept: a run that is continued asks for the same ones again, and so do its figures."""
    scene = _compose(split, seed, index)
    image, mask = scene.image(), scene.mask().astype(np.int8)
    return image, mask, content_hash(image, mask)


def _compose(split: Split, seed: int, index: int) -> Scene:
    randomness = _Randomness(seed, SPLITS.index(split), index)
    background = _background(randomness, load_textures(split))
    digits = load_digits_by_class(split)[_label(index)]
    alpha, box = _stamp(randomness, digits[randomness.below(len(digits))] * (255 / _FULL_INK), _DIGIT_SIDES)
    for _ in range(_MARKS):
        mark_alpha, _ = _stamp(randomness, _mark_ink(randomness), _MARK_SIDES)
        mark_colour = _bright_colour(randomness)
        # By the digit's box and not by its shape, so that the marks that stay tell nothing of the class.
        if not mark_alpha[box].any():
            background = _blend(background, mark_alpha, mark_colour)
    return Scene(background, alpha, _bright_colour(randomness))


def _background(randomness: _Randomness, textures: tuple[Image.Image, ...]) -> np.ndarray:
    """A random square of a random texture, of 64 to 256 pixels a side, mirrored or not, tinted and dimmed."""
    texture = textures[randomness.below(len(textures))]
    side = int(randomness.between(SIDE, 257))
    left, top = randomness.below(texture.width - side + 1), randomness.below(texture.height - side + 1)
    crop = texture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    pixels = np.asarray(crop, dtype=np.int32)
    if randomness.below(2):
        pixels = pixels[:, ::-1]
    tint = randomness.many(*_TINT, 3).astype(np.int32)
    return pixels * tint // 255


def _mark_ink(randomness: _Randomness) -> np.ndarray:
    """(12, 12) in 0..255: a blob or an arc, drawn as thick and as coarse as the digits."""
    start, bend, end = randomness.many(0.5, 6.5, 3, 2)
    radius = 1.4
    if randomness.below(3) == 0:
        start, bend, end = 3.5 + (np.stack([start, bend, end]) - 3.5) * 0.3
        radius = 2.2
    curve = _ALONG**2 * start + 2 * _ALONG * (1 - _ALONG) * bend + (1 - _ALONG) ** 2 * end
    distance = np.sqrt(((_GRID - curve) ** 2).sum(-1).min(-1))
    return np.minimum(np.maximum((radius - distance) * 1.25, 0), 1) * 255


def _stamp(randomness: _Randomness, ink: np.ndarray, sides: tuple[int, int]) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Ink (12, 12) in 0..255 at a random place, size and angle: alpha (64, 64) int32 and the box that it was put in."""
    side = randomness.between(*sides)
    angle = randomness.between(-0.25, 0.25)
    top, left = (_towards_the_edges(randomness) * (SIDE - side) for _ in range(2))
    opacity = randomness.between(0.75, 1)

    padded = Image.fromarray(ink.astype(np.uint8))
    scale = 8 / side
    across, along = scale * math.cos(angle), scale * math.sin(angle)
    row, column = top + side / 2, left + side / 2
    # Output (x, y) is looked up at input (ax + by + c, dx + ey + f); the box's centre meets the ink's, (6, 6).
    lookup = (across, along, 6 - across * column - along * row, -along, across, 6 + along * column - across * row)
    smooth = padded.transform((SIDE, SIDE), Image.Transform.AFFINE, lookup, Image.Resampling.BICUBIC)
    strength = np.clip((np.asarray(smooth, dtype=np.int32) - 64) * 2, 0, 255)
    alpha = np.where(strength >= _EDGE_ALPHA, (strength * opacity).astype(np.int32), 0)
    box = (slice(int(top), math.ceil(top + side)), slice(int(left), math.ceil(left + side)))
    return alpha, box


def _towards_the_edges(randomness: _Randomness) -> float:
    # Boxes placed uniformly would overlap in the middle of the image: the arcsine law evens the coverage out.
    return 0.5 - 0.5 * math.cos(math.pi * randomness.between(0, 1))


def _bright_colour(randomness: _Randomness) -> np.ndarray:
    """A random colour, (3,) int32, of a random luma that few textures reach at their dimmed light."""
    colour = randomness.many(0, 256, 3)
    colour += randomness.between(*_PEN_LUMA) - colour @ _LUMA
    return np.clip(colour, 0, 255).astype(np.int32)


def _blend(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """In whole numbers, so that every platform rounds alike."""
    cover = alpha[:, :, None]
    return (canvas * (255 - cover) + colour * cover + 127) // 255
