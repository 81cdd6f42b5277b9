"""FullGrad, by grad-cam's formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.gradients import check_gradients
from xkd_eval.explainers.layers import tracked


@register_explainer
@dataclass(frozen=True)
class FullGrad(Explainer):
    """Input times gradient plus bias times gradient of every convolution and batch norm, each min-maxed; input size.

    For networks whose biases, up to the classifier, are in these two kinds of layer: no transformer, no ConvNeXt.
    """

    name: ClassVar[str] = "fullgrad"
    citation: ClassVar[str] = "Srinivas and Fleuret, Full-Gradient Representation, NeurIPS 2019"
    cost: ClassVar[str] = "1 F + 1 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model with biases elsewhere, or without any."""
        check_gradients(self.name, classifier)
        modules = list(classifier.model.modules())
        biased = any(type(module) in (nn.Conv2d, nn.BatchNorm2d) and module.bias is not None for module in modules)
        if not biased or any(isinstance(module, nn.LayerNorm) for module in modules):
            raise ExplainerError(
                f"explainer 'fullgrad': {classifier.name} has biases outside of convolutions and batch norms (or none "
                "at all), and the method sums over all of them"
            )

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
