"""The layer whose activations and gradients the CAM family weighs, and what it gives for an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import ForwardHooks, Outputs
from xkd_eval.classifiers.proof.places import Reading, as_map
from xkd_eval.errors import ExplainerError

_KNOWN = "target layer"


@dataclass(frozen=True)
class TargetLayer:
    """A module and how its output becomes a spatial map.

    Attributes:
        path: of the module in `classifier.model`.
        reading: of its output.
        relu: the network applies a ReLU to the output as a function (torchvision's DenseNet).
    """

    path: str
    reading: Reading
    relu: bool = False

    def to_maps(self, output: Tensor, images: Tensor) -> Tensor:
        """The module's output, or the gradient there, as (B, C, h, w)."""
        return as_map(output, self.reading, (images.shape[2], images.shape[3]))


def target_layer(classifier: Classifier) -> TargetLayer:
    """Where the CAM family looks: the CAM head's map, or the last map, or tokens, of places that the logits depend on.

    In a vision transformer that reads its class token it is the first norm of the last block: behind it the patch
    tokens no longer reach a logit.

    Raises:
        ExplainerError: no layer has a spatial map.
    """
    head = classifier.head
    if head is not None:
        return TargetLayer(head.features, head.reading, relu=head.relu)
    if _KNOWN not in classifier.known:
        from xkd_eval.classifiers.proof.target import last_spatial_layer

        found = last_spatial_layer(classifier.model, classifier.preprocess)
        classifier.known[_KNOWN] = None if found is None else TargetLayer(*found)
    layer: TargetLayer | None = classifier.known[_KNOWN]
    if layer is None:
        raise ExplainerError(
            f"{classifier.name}: no layer gives a map of places of the image, which the CAM family weighs"
        )
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
        output, logits = output_and_logits(classifier.model, layer.path, inputs)
        (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), output)
    return layer.to_maps(output.detach(), images).float(), layer.to_maps(gradients, images).float()


def differentiable_activations(
    classifier: Classifier, layer: TargetLayer, images: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """As `activations_and_gradients`, both (B, C, h, w) in the graph of the network's parameters, in the mode it is in.

    Args:
        classifier, layer, images, classes: as there; the classifier is left without hooks.
    """
    seen: dict[str, Tensor] = {}

    def keep(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        values = F.relu(output) if layer.relu else output  # which the network does again, and changes nothing
        seen[path] = values if values.requires_grad else values.detach().requires_grad_()
        return seen[path].clone()

    with ForwardHooks({layer.path: classifier.model.get_submodule(layer.path)}, keep):
        logits = classifier.model(images)
    score = logits.gather(1, classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, seen[layer.path], create_graph=True)
    return layer.to_maps(seen[layer.path], images), layer.to_maps(gradients, images)


@torch.no_grad()
def activations(classifier: Classifier, layer: TargetLayer, images: Tensor) -> Tensor:
    """What a layer gives for images (B, 3, H, W): (B, C, h, w) float32."""
    if layer.relu:
        return classifier.forward_with_features(images).features.float()
    return layer.to_maps(output_and_logits(classifier.model, layer.path, images)[0], images).float()


def output_and_logits(model: nn.Module, path: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a module gives in a forward, and the logits (B, K) that are computed from it."""
    with Outputs({path: model.get_submodule(path)}, copied=True) as outputs:
        logits = model(images)
    return outputs[path], logits
