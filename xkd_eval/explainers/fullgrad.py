"""FullGrad, by grad-cam's formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import Outputs, takes_hooks
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.gradients import check_gradients
from xkd_eval.explainers.layers import tracked

_SUMMED = (nn.Conv2d, nn.BatchNorm2d)  # by grad-cam, which knows none of their subclasses
_KNOWN, _SEED = "why its biases are not summed", 7


@register_explainer
@dataclass(frozen=True)
class FullGrad(Explainer):
    """Input times gradient plus bias times gradient of every convolution and batch norm, each min-maxed; input size.

    For networks whose biases, but for those of vectors behind the pool, are in these two kinds of layer: no
    transformer, no ConvNeXt, no norm that applies its activation as well.
    """

    name: ClassVar[str] = "fullgrad"
    citation: ClassVar[str] = "Srinivas and Fleuret, Full-Gradient Representation, NeurIPS 2019"
    cost: ClassVar[str] = "1 F + 1 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model with biases elsewhere, or without any."""
        check_gradients(self.name, classifier)
        if _KNOWN not in classifier.known:
            classifier.known[_KNOWN] = _why_not(classifier)
        if classifier.known[_KNOWN]:
            raise ExplainerError(f"explainer 'fullgrad': {classifier.name} {classifier.known[_KNOWN]}")

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, H, W)."""
        self.check(classifier)
        from pytorch_grad_cam import FullGrad as LibraryFullGrad

        method = LibraryFullGrad(classifier.model, [])
        method.activations_and_grads.release()
        with tracked(images, classes) as (inputs, labels):
            outputs, logits = _all_outputs(classifier.model, method.target_layers, inputs)
            used = [index for index in range(len(method.target_layers)) if index in outputs]
            score = logits.gather(1, labels[:, None]).sum()
            slope, *gradients = torch.autograd.grad(score, [inputs, *(outputs[index] for index in used)])
        # grad-cam pairs biases with gradients by order, which holds only where modules run in the order they are
        # defined and all of them run; here both lists are in the order of the modules that ran.
        biases = [torch.from_numpy(method.bias_data[index]).to(images.device)[:, None, None] for index in used]
        size = (images.shape[2], images.shape[3])
        maps = _summed(inputs.detach() * slope, size)
        for bias, gradient in zip(biases, gradients, strict=True):
            maps += _summed(bias * gradient, size)
        return maps


@torch.no_grad()
def _why_not(classifier: Classifier) -> str:
    """Why not all of its biases are on a map of the whole image, on vectors, or both; empty where they are."""
    model = classifier.model
    if not all(takes_hooks(module) for module in model.modules()):
        return "has layers of TorchScript, whose biases nobody sees"
    images = random_images(classifier.preprocess, _SEED).to(classifier.device)
    biased = {
        path: module for path, module in model.named_modules() if isinstance(getattr(module, "bias", None), Tensor)
    }
    with Outputs(biased) as outputs:
        model(images)
    called = [path for path in biased if path in outputs]
    elsewhere = [
        path
        for path in called
        if _has_places(outputs[path]) and not _is_summed(biased[path], outputs[path], len(images))
    ]
    elsewhere += _used_by_others(model, {f"{path}.bias" for path in called}, images)
    if elsewhere:
        where = f"outside of convolutions and batch norms of the image ({elsewhere[0]})"
        return f"has biases {where}, and the method sums over all"
    if any(_is_summed(biased[path], outputs[path], len(images)) for path in called):
        return ""
    return "has no biases in convolutions and batch norms, which the method sums over"


def _has_places(output: Any) -> bool:
    return not isinstance(output, Tensor) or output.ndim > 2


def _is_summed(module: nn.Module, output: Tensor, count: int) -> bool:
    # Some attention puts windows of the image into the batch, whose convolutions see no map of it.
    return type(module) in _SUMMED and output.ndim == 4 and len(output) == count


def _used_by_others(model: nn.Module, seen: set[str], images: Tensor) -> list[str]:
    """Parameters called biases that the logits depend on, and that are of no layer that was called."""
    others = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
        if name.endswith("bias") and name not in seen
    }
    if not others:
        return []
    with torch.enable_grad():
        logits = functional_call(model, others, (images,))
        if not logits.requires_grad:
            return []
        slopes = torch.autograd.grad(logits.sum(), list(others.values()), allow_unused=True)
    return [name for name, slope in zip(others, slopes, strict=True) if slope is not None]


def _summed(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, H, W), magnitudes, min-maxed a channel, summed and up-sampled.

    grad-cam up-samples each channel and then sums, which is the same and takes far longer.
    """
    values = values.abs().float()
    values = values - values.amin((2, 3), keepdim=True)
    values = values / (1e-7 + values.amax((2, 3), keepdim=True))
    return F.interpolate(values.sum(1, keepdim=True), size, mode="bilinear", align_corners=False)[:, 0]


def _all_outputs(model: nn.Module, modules: list[nn.Module], images: Tensor) -> tuple[Outputs[int], Tensor]:
    with Outputs(dict(enumerate(modules)), copied=True) as outputs:
        logits = model(images)
    return outputs, logits
