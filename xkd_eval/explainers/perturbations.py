"""Perturbation methods, which need answers alone and hold for every network; maps at the input's resolution.

Occlusion and feature ablation are captum's: a map is the drop of the logit where a region is covered by black as the
network sees it. RISE is written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError
from xkd_eval.explainers.attribution import Attribution, black, check_positive, forward_images
from xkd_eval.explainers.base import Context, Explainer, register_explainer


@register_explainer
@dataclass(frozen=True)
class Occlusion(Attribution):
    """The logit's drop where a black window covers a pixel, averaged over the windows that do.

    Attributes:
        windows: windows that tile a side; their side is the image's divided by it.
        overlap: positions a window's side; 2 moves it by half its side.
    """

    name: ClassVar[str] = "occlusion"
    citation: ClassVar[str] = "Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014"
    cost: ClassVar[str] = "170 F (`windows`, `overlap`)"
    per_image: ClassVar[bool] = True

    windows: int = 7
    overlap: int = 2

    def __post_init__(self) -> None:
        check_positive(self.name, "windows", self.windows)
        check_positive(self.name, "overlap", self.overlap)

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import Occlusion as Method

        window = [max(1, side // self.windows) for side in images.shape[2:]]
        stride = [max(1, side // self.overlap) for side in window]
        return Method(classifier.model).attribute(
            images,
            sliding_window_shapes=(images.shape[1], *window),
            strides=(images.shape[1], *stride),
            baselines=black(classifier, images),
            target=classes,
            perturbations_per_eval=max(1, forward_images(images) // len(images)),
        )

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions[:, 0]  # the window covers all channels at once, and each has the whole drop


@register_explainer
@dataclass(frozen=True)
class FeatureAblation(Attribution):
    """The logit's drop where a superpixel is black; superpixels by scikit-image's SLIC (Achanta et al., PAMI 2012).

    Attributes:
        segments: superpixels an image, about.
        compactness: SLIC's balance of colour and space.
    """

    name: ClassVar[str] = "feature_ablation"
    citation: ClassVar[str] = "Zeiler and Fergus, ECCV 2014, on superpixels as in Ribeiro et al., KDD 2016"
    cost: ClassVar[str] = "51 F (`segments`)"
    per_image: ClassVar[bool] = True

    segments: int = 50
    compactness: float = 10.0

    def __post_init__(self) -> None:
        check_positive(self.name, "segments", self.segments)

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import FeatureAblation as Method

        return Method(classifier.model).attribute(
            images,
            baselines=black(classifier, images),
            target=classes,
            feature_mask=self._superpixels(classifier, images).expand_as(images),
            perturbations_per_eval=max(1, forward_images(images) // len(images)),
        )

    def _superpixels(self, classifier: Classifier, images: Tensor) -> Tensor:
        from skimage.segmentation import slic

        photographs = classifier.preprocess.denormalise(images.detach()).cpu().numpy()
        labels = [
            slic(photograph, self.segments, compactness=self.compactness, start_label=0, channel_axis=0)
            for photograph in photographs
        ]
        return torch.from_numpy(np.stack(labels)).to(images.device)[:, None]

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions[:, 0]  # a superpixel covers all channels at once, and each has the whole drop


@register_explainer
@dataclass(frozen=True)
class Rise(Explainer):
    """The class's probability behind random smooth masks, averaged over the masks by how much of a pixel they show.

    A mask is a grid of cells, each on or off, one cell larger than the image in both directions, up-sampled bilinearly
    and cut out at a random place; what it covers goes to zero in the network's normalised values, as in the authors'
    code. All images are seen through the same masks.

    Attributes:
        masks: how many.
        cells: along a side.
        share: of the cells that are on.
        seed: another seed, other masks.
    """

    name: ClassVar[str] = "rise"
    citation: ClassVar[str] = "Petsiuk et al., RISE: Randomized Input Sampling for Explanation, BMVC 2018"
    cost: ClassVar[str] = "4000 F (`masks`)"
    per_image: ClassVar[bool] = True

    masks: int = 4000
    cells: int = 8
    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self.name, "masks", self.masks)
        check_positive(self.name, "cells", self.cells)
        if not 0 < self.share < 1:
            raise XkdError(f"explainer '{self.name}': share is {self.share}; expected a number between 0 and 1")

    @torch.no_grad()
    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, H, W)."""
        size = (images.shape[2], images.shape[3])
        maps = torch.zeros(len(images), *size, device=images.device)
        generator = torch.Generator().manual_seed(self.seed)
        at_once = forward_images(images)
        for start in range(0, self.masks, at_once):
            drawn = self._drawn(min(at_once, self.masks - start), size, generator).to(images.device)
            for index, (image, label) in enumerate(zip(images, classes, strict=True)):
                probabilities = classifier.model(drawn[:, None] * image).softmax(1)[:, label]
                maps[index] += (probabilities[:, None, None] * drawn).sum(0)
        return maps / (self.masks * self.share)

    def _drawn(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, H, W) in [0, 1]."""
        grids = (torch.rand(count, 1, self.cells, self.cells, generator=generator) < self.share).float()
        heights, widths = (math.ceil(side / self.cells) for side in size)
        larger = F.interpolate(
            grids, ((self.cells + 1) * heights, (self.cells + 1) * widths), mode="bilinear", align_corners=False
        )
        tops = torch.randint(heights, (count,), generator=generator).tolist()
        lefts = torch.randint(widths, (count,), generator=generator).tolist()
        return torch.stack(
            [
                mask[0, top : top + size[0], left : left + size[1]]
                for mask, top, left in zip(larger, tops, lefts, strict=True)
            ]
        )
