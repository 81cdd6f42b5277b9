"""Evaluation: a batch of images and maps -> one row an image; rows -> scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.protocol import Protocol
from xkd_eval.statistics.bootstrap import Score

Columns = dict[str, np.ndarray]
"""One array a column, first axis the images: (B,) or, for lists, (B, n)."""

Forward = Callable[[Tensor], Tensor]
"""(chunk, 3, H, W) normalised -> (chunk, K) logits, float32; always called with exactly one chunk."""


@dataclass(frozen=True)
class Batch:
    """What an evaluation sees of B images, everything on one device.

    Attributes:
        pixels: (B, 3, H, W) uint8 RGB at the model's input size.
        images: (B, 3, H, W) normalised.
        logits: (B, K) float32 of the clean images.
        explained: (B,) int64, the class that `maps` explain.
        labels: (B,) int64, -1 where there is none.
        maps: (B, h, w) raw maps as the explainer returns them.
        masks: (B, 224, 224) int8, 1 object, 0 background, -1 ignored; None for sets without masks.
        preprocess: that made `images` of `pixels`.
    """

    pixels: Tensor
    images: Tensor
    logits: Tensor
    explained: Tensor
    labels: Tensor
    maps: Tensor
    masks: Tensor | None
    preprocess: Preprocess


class Evaluation(ABC):
    """One test under one protocol.

    Attributes:
        name: of the test, as commands and directories call it.
        protocol: its rules.
        needs_labels, needs_masks: what a data set must have.
        forwards_again: whether `rows` runs the model on images of its own making.
    """

    name: ClassVar[str]
    needs_labels: ClassVar[bool]
    needs_masks: ClassVar[bool]
    forwards_again: ClassVar[bool]
    protocol: Protocol

    @abstractmethod
    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """(H, W) to which maps are up-sampled before they are scored."""

    @abstractmethod
    def rows(self, batch: Batch, forward: Forward, chunk: int) -> Columns:
        """Score each image by itself; `forward` takes `chunk` images, neither more nor less."""

    @abstractmethod
    def columns(self, rows: Columns) -> Columns:
        """Finite values an image, whose means the scores are functions of."""

    @abstractmethod
    def scores(self) -> dict[str, Score]:
        """Dotted name -> function of the means of `columns`."""

    @abstractmethod
    def summarise(self, rows: Columns) -> dict[str, Any]:
        """Scores over all rows, each {"value", "ci95"}, as fractions of 1."""
