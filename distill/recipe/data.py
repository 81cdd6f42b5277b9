"""The images of a recipe, by the loader that brings them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.recipe.augmentation import Augmentation
from distill.recipe.fields import Count
from xkd_eval.arguments import MOST_WORKERS

_LARGEST_PADDING = 1024
_MOST_ROUNDS = 10_000  # a file of stored answers each

_LEAST_SHARE = 0.01  # of a photo's area, below which crops of few pixels are replaced by others in silence

_Share = Annotated[float, Field(ge=_LEAST_SHARE, le=1)]


class _Data(Augmentation):
    """What both loaders read, beside Augmentation.

    Attributes:
        path: what `open_dataset` takes; None has to be given as `data`.
        images: train on a seeded, label-stratified sample of at most so many; of the embedded set, how many are made.
        test_split: fraction of a set without test images that is split off to be tested on, stratified by label; the
            same images whatever the recipe's seed.
        val_split: fraction of the training images that is held out, never trained on and used to select the epoch; of
            a set with validation images beside test images, whose they are then, none is.
        sampling: "balanced" draws each image of an epoch anew, all classes as often as each other; None takes each
            image once an epoch.
        drop_last: leave out the images of an epoch, other ones each time, that do not fill a last batch; they make a
            smaller one otherwise, as in the published recipes.
        flip: mirror half of the images.
        rounds: how many augmentations each image has, the same whatever the recipe's seed: epoch e (from 0) sees that
            of number e mod rounds; None draws another one each epoch.
    """

    path: str | None = None
    images: Count | None = None
    test_split: float = Field(default=0.0, ge=0, lt=1)
    val_split: float = Field(default=0.0, ge=0, lt=1)
    sampling: Literal["balanced"] | None = None
    drop_last: bool = False
    flip: bool = False
    rounds: Annotated[int, Field(ge=1, le=_MOST_ROUNDS)] | None = None


class DeviceData(_Data):
    """Small images: all of them on the training device as uint8, cropped and flipped there.

    Attributes:
        padding: zero pixels put around an image before a crop of its own size is cut out at random.
    """

    loader: Literal["device"] = "device"
    padding: Annotated[int, Field(ge=0, le=_LARGEST_PADDING)] = 0


class WorkerData(_Data):
    """Photographs: decoded, cropped and resized by worker processes.

    Attributes:
        workers: processes on each node's device.
        scale: smallest and largest fraction of a photo's area that a random crop covers.
        scaled_decoding: decode a JPEG that is trained on at a half, a quarter or an eighth of its size, where its crop
            then still has as many pixels as the largest input: faster for large photographs, and not quite the same
            pixels. Published recipes decode all of them; validation and test images are always decoded whole.
    """

    loader: Literal["workers"]
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 8
    scale: Annotated[tuple[_Share, _Share], Field(strict=False)] = (0.08, 1.0)
    scaled_decoding: bool = False

    @model_validator(mode="after")
    def _smallest_first(self) -> WorkerData:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: {list(self.scale)} found; expected the smallest fraction first")
        return self


Data = Annotated[DeviceData | WorkerData, Field(discriminator="loader")]
"""By `loader`."""
