"""Maps that look at no network: the floors of every table, and the oracle. All at the input's resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.seeding import image_seeds


@register_explainer
@dataclass(frozen=True)
class Random(Explainer):
    """Uniform noise in [0, 1), seeded by the image's id (by its bytes where there are no ids)."""

    name: ClassVar[str] = "random"
    citation: ClassVar[str] = "reference floor: uniform noise"
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True

    seed: int = 0

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) -> (B, H, W); the classifier's weights and the classes are not looked at."""
        size = images.shape[2:]
        noise = [
            np.random.default_rng(seed).random(tuple(size), dtype=np.float32)
            for seed in image_seeds(images, context, self.seed)
        ]
        return torch.from_numpy(np.stack(noise)).to(images.device)


@register_explainer
@dataclass(frozen=True)
class Centre(Explainer):
    """A Gaussian at the image's centre: exp(-r^2 / 2), r in units of `sigma` times the side, axis by axis."""

    name: ClassVar[str] = "centre"
    citation: ClassVar[str] = "reference floor: centre bias, Tatler, Journal of Vision 2007"
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True

    sigma: float = 0.25

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise XkdError(f"explainer 'centre': sigma is {self.sigma}; expected a positive share of the image's side")

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) -> (B, H, W); the classifier's weights and the classes are not looked at."""
        rows, columns = (self._profile(side, images.device) for side in images.shape[2:])
        return (rows[:, None] * columns).expand(len(images), -1, -1).contiguous()

    def _profile(self, side: int, device: torch.device) -> Tensor:
        offset = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
        return torch.exp(-((offset / (self.sigma * side)) ** 2) / 2)


@register_explainer
@dataclass(frozen=True)
class Edges(Explainer):
    """Magnitude of the Sobel gradient of the image's luminance (ITU-R BT.709, values in [0, 1])."""

    name: ClassVar[str] = "edges"
    citation: ClassVar[str] = (
        "reference floor: edge detector, Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"
    )
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) -> (B, H, W); the classifier's weights and the classes are not looked at."""
        from skimage.color import rgb2gray
        from skimage.filters import sobel

        photographs = classifier.preprocess.denormalise(images.detach()).cpu().numpy()
        edges = [sobel(rgb2gray(photograph, channel_axis=0)) for photograph in photographs]
        return torch.from_numpy(np.stack(edges)).float().to(images.device)


@register_explainer
@dataclass(frozen=True)
class FakeCam(Explainer):
    """Ones but for one pixel, the first: it hides next to nothing, and so wins the average drop."""

    name: ClassVar[str] = "fake_cam"
    citation: ClassVar[str] = (
        "reference floor: Poppi et al., Revisiting the Evaluation of CAM Explainability, CVPRW 2021"
    )
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) -> (B, H, W); neither the image nor the classifier nor the classes are looked at."""
        maps = torch.ones(len(images), *images.shape[2:], device=images.device)
        maps[:, 0, 0] = 0
        return maps


@register_explainer
@dataclass(frozen=True)
class Oracle(Explainer):
    """The ground-truth mask: 1 on the object, 0 on background and on ignored pixels."""

    name: ClassVar[str] = "oracle"
    citation: ClassVar[str] = "the ground-truth mask, as an oracle"
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, H, W) of the masks' size; raises ExplainerError where the context holds none."""
        if context is None or context.masks is None:
            raise ExplainerError(
                "explainer 'oracle': needs the object masks and the data has none; use a data set with masks "
                "(ImageNet-Segmentation, the embedded set), or another explainer"
            )
        return context.masks.to(images.device).clamp(min=0).float()
