"""The layer whose activations and gradients the CAM family weighs, and what it gives for an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.errors import ExplainerError

_KNOWN = "target layer"


@dataclass(frozen=True)
class TargetLayer:
    """A module and how its output becomes a spatial map.

    Attributes:
        path: of the module in `classifier.model`.
        layout: of its output; "tokens" is (B, prefix + h * w, C).
        relu: the network applies a ReLU to the output as a function (torchvision's DenseNet).
        prefix: leading tokens that stand for no place: class, distillation, registers.
        patch: (height, width) of a token's patch, for layout "tokens".
    """

    path: str
    layout: Literal["NCHW", "NHWC", "tokens"]
    relu: bool = False
    prefix: int = 0
    patch: tuple[int, int] = (1, 1)

    def to_maps(self, output: Tensor, images: Tensor) -> Tensor:
        """The module's output, or the gradient there, as (B, C, h, w)."""
        if self.layout == "NCHW":
            return output
        if self.layout == "NHWC":
            return output.permute(0, 3, 1, 2)
        places = output[:, self.prefix :].transpose(1, 2)
        return places.unflatten(2, (images.shape[2] // self.patch[0], images.shape[3] // self.patch[1]))


def target_layer(classifier: Classifier) -> TargetLayer:
    """Where the CAM family looks: the CAM head's map, a transformer's last block, or the last spatial map there is.

    In a vision transformer it is the first norm of the last block: behind it the patch tokens no longer reach a logit
    that is read off the class token.

    Raises:
        ExplainerError: no layer has a spatial map.
    """
    head = classifier.head
    if head is not None:
        return TargetLayer(head.features, head.layout, relu=head.relu)
    tokens = _token_layer(classifier.model)
    if tokens is not None:
        return tokens
    if _KNOWN not in classifier.known:
        from xkd_eval.classifiers.head import last_spatial_layer

        found = last_spatial_layer(classifier.model, classifier.preprocess)
        if found is None:
            raise ExplainerError(
                f"{classifier.name}: no layer gives a map of more than one place, which the CAM family weighs; "
                "use saliency, integrated_gradients or occlusion"
            )
        classifier.known[_KNOWN] = TargetLayer(*found)
    layer: TargetLayer = classifier.known[_KNOWN]
    return layer


@contextmanager
def tracked(images: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Copies of both, the images as a leaf that gradients reach, also where the caller is in inference mode."""
    with torch.inference_mode(False), torch.enable_grad():
        yield images.detach().clone().requires_grad_(), classes.clone()


def activations_and_gradients(
    classifier: Classifier, layer: TargetLayer, images: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """What a layer gives, and the gradient of each image's class logit there.

    Args:
        classifier: a private one; left without hooks or gradients.
        layer: see target_layer.
        images: (B, 3, H, W).
        classes: (B,).

    Returns:
        Two (B, C, h, w) float32, detached.
    """
    with tracked(images, classes) as (inputs, labels):
        if layer.relu:
            # No hook sees the output of a functional ReLU; the head is proven, so the logit follows from its maps.
            maps = classifier.forward_with_features(inputs).features
            score = classifier.cams(maps, labels[:, None]).mean((2, 3)).sum()
            (gradients,) = torch.autograd.grad(score, maps)
            return maps.detach().float(), gradients.float()
        output, logits = _output_and_logits(classifier.model, layer.path, inputs)
        (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), output)
    return layer.to_maps(output.detach(), images).float(), layer.to_maps(gradients, images).float()


def _output_and_logits(model: nn.Module, path: str, images: Tensor) -> tuple[Tensor, Tensor]:
    with Outputs({path: model.get_submodule(path)}, copied=True) as outputs:
        logits = model(images)
    return outputs[path], logits


def _token_layer(model: nn.Module) -> TargetLayer | None:
    blocks, encoder = getattr(model, "blocks", None), getattr(model, "encoder", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList) and hasattr(model, "num_prefix_tokens"):  # timm
        if not hasattr(blocks[-1], "norm1") or not hasattr(model, "patch_embed"):
            return None
        height, width = model.patch_embed.patch_size  # type: ignore[union-attr, misc]
        prefix = int(model.num_prefix_tokens)  # type: ignore[arg-type]
        return TargetLayer(f"blocks.{len(blocks) - 1}.norm1", "tokens", prefix=prefix, patch=(height, width))
    if hasattr(model, "class_token") and isinstance(getattr(encoder, "layers", None), nn.Sequential):  # torchvision
        last = list(encoder.layers._modules)[-1]  # type: ignore[union-attr]
        patch = int(model.patch_size)  # type: ignore[arg-type]
        return TargetLayer(f"encoder.layers.{last}.ln_1", "tokens", prefix=1, patch=(patch, patch))
    return None
