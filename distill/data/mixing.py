"""Batches of which each image is mixed with another one of them: mixup and CutMix, by torchvision's own code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from distill.data.augmentation import derive_seed
from distill.data.batches import LabelledBatch, ProcessRank, TrainingImages
from distill.data.draws import OwnDraws
from distill.data.transforms import scaled_box
from distill.methods import Method
from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError


def mixed_images(
    images: TrainingImages, recipe: Recipe, classes: int, methods: Sequence[Method], rank: ProcessRank
) -> TrainingImages:
    """The images, mixed where the recipe says so.

    Args:
        images: of the training.
        recipe: `data.mixup`, `data.cutmix` and the seed.
        classes: K.
        methods: of the training.
        rank: this process's.

    Raises:
        XkdError: a method that reads one class an image, or one image a process.
    """
    if not recipe.data.mixing:
        return images
    key = recipe.data.mixing[0]
    for method in methods:
        if not method.takes_mixed:
            raise XkdError(
                f"data.{key}: {method.name} needs images of one class each, and mixed ones have two; leave `{key}` or "
                "that loss out, or set takes_mixed in your own if it takes shares of classes or reads no labels"
            )
    if recipe.batch_size < 2 * rank.processes:
        raise XkdError(
            f"data.{key}: {recipe.batch_size // rank.processes} image a process and step found; expected at least 2 to "
            "mix: raise batch_size"
        )
    return MixedTraining(images, recipe, classes, rank)


class MixedTraining:
    """TrainingImages whose images are mixed within a process's part of each batch, before it is split further.

    One share, or one box, is drawn a batch from seed, epoch, step and process. Every image is mixed with the one before
    it; labels become (B, K) float32 shares of classes, after the student's pixels where a box was cut. `indices` stay
    those of the images that were there first.

    Args:
        images: of the training.
        recipe: alphas and seed.
        classes: K.
        rank: this process's.
    """

    def __init__(self, images: TrainingImages, recipe: Recipe, classes: int, rank: ProcessRank) -> None:
        from torchvision.transforms import v2

        self.n_images, self.steps = images.n_images, images.steps
        self._images = images
        self._seed = recipe.seed
        self._rank = rank.rank
        mixup, cutmix = recipe.data.mixup, recipe.data.cutmix
        self._mixup = None if mixup is None else v2.MixUp(alpha=mixup, num_classes=classes)
        self._cutmix = None if cutmix is None else v2.CutMix(alpha=cutmix, num_classes=classes)

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See TrainingImages."""
        for step, batch in enumerate(self._images.batches(epoch, first_step), first_step):
            with OwnDraws(derive_seed(self._seed, epoch, step, self._rank, "mixing")):
                transform = self._drawn()
                drawn = transform.make_params([batch.pixels])
            yield _mixed(batch, transform, drawn)

    def _drawn(self) -> Any:
        """The one of the two that the recipe has, or one of both at random."""
        if self._mixup is not None and self._cutmix is not None:
            return self._mixup if torch.rand(()) < 0.5 else self._cutmix
        return self._mixup or self._cutmix


def _mixed(batch: LabelledBatch, transform: Any, drawn: dict[str, Any]) -> LabelledBatch:
    """A batch by a transform of torchvision's, which is told what it has drawn for the student's view."""
    drawn = {**drawn, "labels": batch.labels, "batch_size": len(batch.labels)}
    views = {id(view): view for view in (batch.pixels, *batch.others)}  # each once: a teacher's may be the student's
    mixed = {key: _mixed_view(view, batch.pixels, transform, drawn) for key, view in views.items()}
    labels = transform.transform(batch.labels, drawn)
    others = tuple(mixed[id(view)] for view in batch.others)
    return batch._replace(pixels=mixed[id(batch.pixels)], labels=labels, others=others)


def _mixed_view(view: Tensor, student: Tensor, transform: Any, drawn: dict[str, Any]) -> Tensor:
    if "box" not in drawn:
        return cast(Tensor, transform.transform(view.float(), drawn))  # a blend of uint8 would be rounded
    scale = view.shape[2] / student.shape[2], view.shape[3] / student.shape[3]
    return cast(Tensor, transform.transform(view, {**drawn, "box": scaled_box(drawn["box"], scale)}))
