"""Perturbation methods, by captum; maps at the input's resolution.

A map is the drop of the logit where a region is covered by black as the network sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.explainers.attribution import Attribution, black, check_positive, forward_images
from xkd_eval.explainers.base import Context, register_explainer


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
            sliding_window_shapes=(3, *window),
            strides=(3, *stride),
            baselines=black(classifier, images),
            target=classes,
            perturbations_per_eval=max(1, forward_images(images) // len(images)),
        )

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions[:, 0]  # the window covers all three at once, and each has the whole drop


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
        return attributions[:, 0]  # a superpixel covers all three at once, and each has the whole drop
