"""The CAM family, by grad-cam's formulas on activations and gradients that are taken here.

grad-cam's own call clamps, resizes and min-maxes; what is returned here is the weighted map itself.
"""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.layers import TargetLayer, activations_and_gradients, target_layer


@dataclass(frozen=True)
class _CamFamily(Explainer):
    """A weighting of one layer's activations; maps at that layer's resolution.

    Attributes:
        relu: keep the part that speaks for the class; on where the paper defines the map so.
    """

    library_class: ClassVar[str]

    relu: bool = True

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a spatial map; convolutional networks and transformers have one."""
        target_layer(classifier)

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, h, w) of the target layer's size."""
        layer = target_layer(classifier)
        activations, gradients = activations_and_gradients(classifier, layer, images, classes)
        maps = torch.from_numpy(self._weigh(classifier, layer, images, classes, activations, gradients))
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
        method = _library_method(self.library_class, classifier.model, layer.path)
        return method.get_cam_image(
            images, None, None, activations.cpu().numpy(), gradients.cpu().numpy(), eigen_smooth=False
        )


@register_explainer
@dataclass(frozen=True)
class GradCam(_CamFamily):
    """Channels weighted by the spatial mean of their gradients."""

    name: ClassVar[str] = "gradcam"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "GradCAM"


@register_explainer
@dataclass(frozen=True)
class GradCamPlusPlus(_CamFamily):
    """Channels weighted by their positive gradients, place by place, with second- and third-order weights."""

    name: ClassVar[str] = "gradcam++"
    citation: ClassVar[str] = "Chattopadhay et al., Grad-CAM++, WACV 2018"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "GradCAMPlusPlus"


@register_explainer
@dataclass(frozen=True)
class XGradCam(_CamFamily):
    """Channels weighted by their gradients' mean under the normalised activation."""

    name: ClassVar[str] = "xgradcam"
    citation: ClassVar[str] = "Fu et al., Axiom-based Grad-CAM, BMVC 2020"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "XGradCAM"


@register_explainer
@dataclass(frozen=True)
class LayerCam(_CamFamily):
    """Activations times their positive gradients, place by place, summed over channels."""

    name: ClassVar[str] = "layercam"
    citation: ClassVar[str] = "Jiang et al., LayerCAM, IEEE TIP 2021"
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "LayerCAM"


@register_explainer
@dataclass(frozen=True)
class HiResCam(_CamFamily):
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
    cost: ClassVar[str] = "1 F + 1 B"
    library_class: ClassVar[str] = "EigenCAM"


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

    def _weigh(
        self,
        classifier: Classifier,
        layer: TargetLayer,
        images: Tensor,
        classes: Tensor,
        activations: Tensor,
        gradients: Tensor,
    ) -> np.ndarray:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        # A copy, because grad-cam exchanges modules and would leave them so after an error.
        model = copy.deepcopy(classifier.model)
        method = _library_method(self.library_class, model, layer.path, **self._library_options(layer))
        maps = []
        for image, label, activation in zip(images, classes.tolist(), activations.cpu().numpy(), strict=True):
            targets = [ClassifierOutputTarget(label)]
            module = model.get_submodule(layer.path)
            with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
                maps.append(method.get_cam_image(image[None], module, targets, activation[None], None)[0])
        return np.stack(maps)

    def _library_options(self, layer: TargetLayer) -> dict[str, Any]:
        return {}


@register_explainer
@dataclass(frozen=True)
class ScoreCam(_ForwardWeights):
    """Channels weighted by the logit of the image seen through them, softmaxed over the channels.

    Holds one image masked by every channel in memory: 1.2 GB for ResNet-50 at 224x224.
    """

    name: ClassVar[str] = "scorecam"
    citation: ClassVar[str] = "Wang et al., Score-CAM, CVPR Workshops 2020"
    cost: ClassVar[str] = "1 F + 1 B + C F, C the layer's channels"
    library_class: ClassVar[str] = "ScoreCAM"


@register_explainer
@dataclass(frozen=True)
class AblationCam(_ForwardWeights):
    """Channels weighted by the logit's relative drop where they are set to zero."""

    name: ClassVar[str] = "ablationcam"
    citation: ClassVar[str] = "Desai and Ramaswamy, Ablation-CAM, WACV 2020"
    cost: ClassVar[str] = "2 F + 1 B + C F, C the layer's channels"
    library_class: ClassVar[str] = "AblationCAM"

    def _library_options(self, layer: TargetLayer) -> dict[str, Any]:
        return {"ablation_layer": _ZeroedChannels(channel_dim=1 if layer.layout == "NCHW" else -1)}


class _ZeroedChannels(nn.Module):
    """Stands in for the target layer and gives its output with one channel at zero, another one in each copy.

    grad-cam's own layer subtracts 1e7 instead wherever the activations do not start at zero, which the paper does not.
    """

    def __init__(self, channel_dim: int) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.indices = np.zeros(0, dtype=np.int64)

    def activations_to_be_ablated(self, activations: np.ndarray, ratio_channels_to_ablate: float) -> np.ndarray:
        self.indices = np.arange(len(activations))
        return self.indices

    def set_next_batch(self, input_batch_index: int, activations: Tensor, num_channels_to_ablate: int) -> None:
        copies = activations[input_batch_index].expand(num_channels_to_ablate, *activations.shape[1:]).clone()
        by_channel = copies.movedim(self.channel_dim, 1)
        by_channel[range(num_channels_to_ablate), self.indices[:num_channels_to_ablate]] = 0
        self.output = copies

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.output


def _library_method(library_class: str, model: nn.Module, path: str, **options: Any) -> Any:
    import pytorch_grad_cam

    method = getattr(pytorch_grad_cam, library_class)(model, [model.get_submodule(path)], **options)
    method.activations_and_grads.release()  # its hooks: activations and gradients are taken here
    return method
