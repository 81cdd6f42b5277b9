"""The CAM family, by grad-cam's formulas on activations and gradients that are taken here.

grad-cam's own call clamps, resizes and min-maxes; what is returned here is the weighted map itself. The two methods
that make forwards of their own are written here: grad-cam's draw progress bars, which other threads would see.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import quiet_copy
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import weighting
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.gradients import check_gradients
from xkd_eval.explainers.layers import (
    TargetLayer,
    activations,
    activations_and_gradients,
    differentiable_activations,
    target_layer,
)

# As grad-cam has them; another number moves the logits in their last bits.
_MASKS_AT_ONCE, _CHANNELS_AT_ONCE = 16, 32

_SEED = 8


@dataclass(frozen=True)
class _CamFamily(Explainer):
    """A weighting of one layer's activations; maps at that layer's resolution.

    Attributes:
        relu: keep the part that speaks for the class; on where the paper defines the map so.
    """

    library_class: ClassVar[str]
    needs_gradients: ClassVar[bool] = True

    relu: bool = True

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a spatial map, or through which no gradient passes to it."""
        if self.needs_gradients:
            check_gradients(self.name, classifier)
        target_layer(classifier)

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, h, w) of the target layer's size."""
        layer = target_layer(classifier)
        if self.needs_gradients:
            values, gradients = activations_and_gradients(classifier, layer, images, classes)
        else:
            values = gradients = activations(classifier, layer, images)
        maps = torch.from_numpy(self._weigh(classifier, layer, images, classes, values, gradients))
        maps = maps.float().to(images.device)
        return maps.clamp(min=0) if self.relu else maps

    def _weigh(
        self,
        classifier: Classifier,
        layer: TargetLayer,
        images: Tensor,
        classes: Tensor,
        activations: Tensor,
        gradients: Tensor,
    ) -> np.ndarray:
        method = weighting.library_method(self.library_class, classifier.model, layer.path)
        arrays = (values.cpu().numpy() for values in (activations, gradients))
        return method.get_cam_image(images, None, None, *arrays, eigen_smooth=False)


@dataclass(frozen=True)
class _ByFormula(_CamFamily):
    """A weighting that can be differentiated."""

    def differentiable(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """See Explainer; by a forward of its own."""
        pair = differentiable_activations(classifier, target_layer(classifier), images, classes)
        maps = weighting.FORMULAS[self.library_class](*pair)
        return maps.clamp(min=0) if self.relu else maps


@register_explainer
@dataclass(frozen=True)
class GradCam(_ByFormula):
    """Channels weighted by the spatial mean of their gradients."""

    name: ClassVar[str] = "gradcam"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "GradCAM"


@register_explainer
@dataclass(frozen=True)
class GradCamPlusPlus(_ByFormula):
    """Channels weighted by their positive gradients, place by place, with second- and third-order weights."""

    name: ClassVar[str] = "gradcam++"
    citation: ClassVar[str] = "Chattopadhay et al., Grad-CAM++, WACV 2018"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "GradCAMPlusPlus"


@register_explainer
@dataclass(frozen=True)
class XGradCam(_ByFormula):
    """Channels weighted by their gradients' mean under the normalised activation."""

    name: ClassVar[str] = "xgradcam"
    citation: ClassVar[str] = "Fu et al., Axiom-based Grad-CAM, BMVC 2020"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "XGradCAM"


@register_explainer
@dataclass(frozen=True)
class LayerCam(_ByFormula):
    """Activations times their positive gradients, place by place, summed over channels."""

    name: ClassVar[str] = "layercam"
    citation: ClassVar[str] = "Jiang et al., LayerCAM, IEEE TIP 2021"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "LayerCAM"


@register_explainer
@dataclass(frozen=True)
class HiResCam(_ByFormula):
    """Activations times gradients, place by place, summed over channels; signed."""

    name: ClassVar[str] = "hirescam"
    citation: ClassVar[str] = "Draelos and Carin, HiResCAM, arXiv 2020"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "HiResCAM"

    relu: bool = False


@dataclass(frozen=True)
class _PrincipalComponent(_CamFamily):
    """A principal component has no sign, and rounding is enough to flip what a decomposition returns.

    Here the side of larger magnitude is positive (Chung and Ying, Seg-Eigen-CAM, Applied Sciences 2025, eq. 13).
    """

    relu: bool = False

    def _weigh(
        self,
        classifier: Classifier,
        layer: TargetLayer,
        images: Tensor,
        classes: Tensor,
        activations: Tensor,
        gradients: Tensor,
    ) -> np.ndarray:
        maps = super()._weigh(classifier, layer, images, classes, activations, gradients)
        flip = -maps.min(axis=(1, 2), keepdims=True) > maps.max(axis=(1, 2), keepdims=True)
        return np.where(flip, -maps, maps)


@register_explainer
@dataclass(frozen=True)
class EigenCam(_PrincipalComponent):
    """First principal component of the activations; knows no class."""

    name: ClassVar[str] = "eigencam"
    citation: ClassVar[str] = "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020"
    cost: ClassVar[str] = "1 F"
    library_class: ClassVar[str] = "EigenCAM"
    needs_gradients: ClassVar[bool] = False


@register_explainer
@dataclass(frozen=True)
class EigenGradCam(_PrincipalComponent):
    """First principal component of activations times gradients."""

    name: ClassVar[str] = "eigengradcam"
    citation: ClassVar[str] = "Gildenblat et al., pytorch-grad-cam, 2021, after Eigen-CAM, IJCNN 2020"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "EigenGradCAM"


@dataclass(frozen=True)
class _ForwardWeights(_CamFamily):
    """Channels weighted by what forwards with and without them say; image by image, which bounds the memory."""

    per_image: ClassVar[bool] = True
    needs_gradients: ClassVar[bool] = False

    def _weigh(
        self,
        classifier: Classifier,
        layer: TargetLayer,
        images: Tensor,
        classes: Tensor,
        activations: Tensor,
        gradients: Tensor,
    ) -> np.ndarray:
        given = zip(images.split(1), classes.tolist(), activations.split(1), strict=True)
        with torch.no_grad():
            weights = torch.stack([self._weights(classifier.model, layer, *one) for one in given])
        return (weights.cpu().numpy()[:, :, None, None] * activations.cpu().numpy()).sum(1)

    @abstractmethod
    def _weights(self, model: nn.Module, layer: TargetLayer, image: Tensor, label: int, activations: Tensor) -> Tensor:
        """(C,) of an image (1, 3, H, W) with the layer's (1, C, h, w)."""


@register_explainer
@dataclass(frozen=True)
class ScoreCam(_ForwardWeights):
    """Channels weighted by the logit of the image seen through them, softmaxed over the channels.

    Holds one image masked by every channel in memory: 1.2 GB for ResNet-50 at 224x224.
    """

    name: ClassVar[str] = "scorecam"
    citation: ClassVar[str] = "Wang et al., Score-CAM, CVPR Workshops 2020"
    cost: ClassVar[str] = "1 F + C F, C the layer's channels"

    def _weights(self, model: nn.Module, layer: TargetLayer, image: Tensor, label: int, activations: Tensor) -> Tensor:
        masks = F.interpolate(activations, image.shape[2:], mode="bilinear", align_corners=True)[0, :, None]
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masked = image * ((masks - low) / (high - low + 1e-8))
        scores = torch.cat([model(part)[:, label] for part in masked.split(_MASKS_AT_ONCE)])
        return scores.cpu().softmax(0)


@register_explainer
@dataclass(frozen=True)
class AblationCam(_ForwardWeights):
    """Channels weighted by the logit's relative drop where they are set to zero."""

    name: ClassVar[str] = "ablationcam"
    citation: ClassVar[str] = "Desai and Ramaswamy, Ablation-CAM, WACV 2020"
    cost: ClassVar[str] = "2 F + C F, C the layer's channels"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a spatial map, or that takes no other in its place."""
        super().check(classifier)
        images = random_images(classifier.preprocess, _SEED, 1).to(classifier.device)
        ablated = quiet_copy(classifier.model)
        layer = target_layer(classifier)
        module = ablated.get_submodule(layer.path)
        with torch.no_grad(), Outputs({layer.path: module}, copied=True) as outputs:
            intact = ablated(images)
            module.forward = partial(_given, torch.zeros_like(outputs[layer.path]))
            if torch.equal(ablated(images), intact):
                raise ExplainerError(
                    f"explainer '{self.name}': {classifier.name} shows its last map, and takes no other in its place"
                )

    def _weights(self, model: nn.Module, layer: TargetLayer, image: Tensor, label: int, activations: Tensor) -> Tensor:
        ablated = quiet_copy(model)
        module = ablated.get_submodule(layer.path)
        with Outputs({layer.path: module}, copied=True) as outputs:
            intact = ablated(image)[0, label]
        scores = []
        for channels in torch.arange(activations.shape[1], device=image.device).split(_CHANNELS_AT_ONCE):
            # What grad-cam's own layer puts in place of a channel is -1e7 where the activations do not start at zero.
            without = _without_channels(outputs[layer.path], channels, 1 if layer.reading.layout == "NCHW" else -1)
            module.forward = partial(_given, without)
            scores.append(ablated(image.expand(len(channels), -1, -1, -1))[:, label])
        return (intact - torch.cat(scores)) / intact


def _without_channels(output: Tensor, channels: Tensor, channel_dim: int) -> Tensor:
    """(1, ...) -> (n, ...): the n-th with its n-th channel of `channels` at zero."""
    copies = output.expand(len(channels), *output.shape[1:]).clone()
    copies.movedim(channel_dim, 1)[torch.arange(len(channels), device=output.device), channels] = 0
    return copies


def _given(output: Tensor, *inputs: Tensor) -> Tensor:
    """In place of a module's forward."""
    return output
