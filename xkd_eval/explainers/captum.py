"""Gradient methods, all but DeepLift by captum; maps at the input's resolution.

A map is the sum over the colour channels of the signed attribution, except for saliency, which is published as the
largest magnitude over the channels. The baseline, where a method has one, is black as the network sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.activations import NONLINEAR, RECTIFIERS, RescaleRule, SeparateActivations
from xkd_eval.explainers.attribution import FORWARD_IMAGES, Attribution, black, check_positive
from xkd_eval.explainers.base import Context, register_explainer
from xkd_eval.explainers.layers import target_layer
from xkd_eval.explainers.seeding import image_seeds


@register_explainer
@dataclass(frozen=True)
class Saliency(Attribution):
    """Magnitude of the logit's gradient, the largest over the colour channels."""

    name: ClassVar[str] = "saliency"
    citation: ClassVar[str] = "Simonyan et al., Deep Inside Convolutional Networks, ICLR Workshops 2014"
    cost: ClassVar[str] = "1 F + 1 B"

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import Saliency as Method

        return Method(classifier.model).attribute(images, target=classes, abs=True)

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions.amax(1)


@register_explainer
@dataclass(frozen=True)
class InputXGradient(Attribution):
    """Input times gradient, in the network's normalised values; summed over the colour channels, signed."""

    name: ClassVar[str] = "input_x_gradient"
    citation: ClassVar[str] = "Shrikumar et al., Not Just a Black Box, arXiv 2016"
    cost: ClassVar[str] = "1 F + 1 B"

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import InputXGradient as Method

        return Method(classifier.model).attribute(images, target=classes)


@register_explainer
@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """Gradients averaged along the line from black to the image, times the difference; signed.

    The map sums to the logit minus the logit of black, up to the quadrature's error.

    Attributes:
        steps: points of the Gauss-Legendre quadrature.
    """

    name: ClassVar[str] = "integrated_gradients"
    citation: ClassVar[str] = "Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017"
    cost: ClassVar[str] = "50 F + 50 B (`steps`)"

    steps: int = 50

    def __post_init__(self) -> None:
        check_positive(self.name, "steps", self.steps)

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import IntegratedGradients as Method

        return Method(classifier.model).attribute(
            images,
            baselines=black(classifier, images),
            target=classes,
            n_steps=self.steps,
            internal_batch_size=max(FORWARD_IMAGES, len(images)),
        )


@register_explainer
@dataclass(frozen=True)
class GradientShap(Attribution):
    """Expected gradients at random points between black and the noisy image, times the difference; signed.

    Random numbers are the image's own, seeded by its id.

    Attributes:
        samples: points an image.
        noise: standard deviation of the Gaussian noise, in the network's normalised values.
        seed: another seed, other points for every image.
    """

    name: ClassVar[str] = "gradient_shap"
    citation: ClassVar[str] = "Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017"
    cost: ClassVar[str] = "25 F + 25 B (`samples`)"
    per_image: ClassVar[bool] = True

    samples: int = 25
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self.name, "samples", self.samples)
        if self.noise < 0:
            raise XkdError(f"explainer '{self.name}': noise is {self.noise}; expected a standard deviation, 0 or more")

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import GradientShap as Method

        method = Method(classifier.model)
        baseline = black(classifier, images)[:1]
        maps = []
        for position, seed in enumerate(image_seeds(images, context, self.seed)):
            with _seeded(seed, images.device):
                one = slice(position, position + 1)
                maps.append(
                    method.attribute(
                        images[one], baseline, n_samples=self.samples, stdevs=self.noise, target=classes[one]
                    ).detach()
                )
        return torch.cat(maps)


@register_explainer
@dataclass(frozen=True)
class DeepLift(Attribution):
    """Contributions to the logit's difference from black, by the rescale rule; signed.

    The rule is applied to every elementwise activation and max pooling, however the network calls it. `check` proves
    that the contributions sum to the logit's difference, and refuses the networks where they do not: the rule knows no
    products of two activations (squeeze-and-excitation, attention) and no LayerNorm.
    """

    name: ClassVar[str] = "deeplift"
    citation: ClassVar[str] = "Shrikumar et al., Learning Important Features Through Propagating Differences, ICML 2017"
    cost: ClassVar[str] = "2 F + 2 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError where the contributions do not sum to the logit's difference."""
        parameter = next(classifier.model.parameters())
        noise = torch.rand(1, 3, *classifier.preprocess.size, generator=torch.Generator().manual_seed(0))
        images = classifier.preprocess.normalise(noise).to(parameter.device, parameter.dtype)
        with torch.no_grad():
            logits = classifier.model(torch.cat([images, black(classifier, images)]))
        difference, label = (logits[0] - logits[1]).abs().max(0)
        maps = self(classifier, images, label[None])
        expected = logits[0, label] - logits[1, label]
        scale = difference.clamp(
            min=max(1e-12, 1e-3 * float(logits.abs().max()))
        )  # below it float32 is all that differs
        error = float((maps.sum() - expected).abs() / scale)
        if not error < 0.02:
            raise ExplainerError(
                f"explainer 'deeplift': {classifier.name}: contributions miss the logit's difference by {error:.0%} "
                "(the rescale rule covers no gating, attention or LayerNorm); use integrated_gradients, which holds "
                "for every network"
            )

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        baseline = black(classifier, images)
        with RescaleRule(NONLINEAR, len(images)):
            logits = classifier.model(torch.cat([images, baseline]))
        (multipliers,) = torch.autograd.grad(logits[: len(images)].gather(1, classes[:, None]).sum(), images)
        return multipliers * (images - baseline)


@register_explainer
@dataclass(frozen=True)
class GuidedBackprop(Attribution):
    """The gradient, with its negative part dropped at every ReLU (and ReLU6); summed over channels, signed."""

    name: ClassVar[str] = "guided_backprop"
    citation: ClassVar[str] = "Springenberg et al., Striving for Simplicity, ICLR Workshops 2015"
    cost: ClassVar[str] = "2 F + 1 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a ReLU."""
        _check_rectifiers(self.name, classifier)

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import GuidedBackprop as Method

        return Method(_rectified(self.name, classifier, images)).attribute(images, target=classes)


@register_explainer
@dataclass(frozen=True)
class GuidedGradCam(Attribution):
    """Guided backprop times the up-sampled, ReLU'd Grad-CAM; summed over channels, signed."""

    name: ClassVar[str] = "guided_gradcam"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017"
    cost: ClassVar[str] = "3 F + 2 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a ReLU, or whose last map is not (B, C, h, w)."""
        _check_rectifiers(self.name, classifier)
        layer = target_layer(classifier)
        if layer.layout != "NCHW":
            raise ExplainerError(
                f"explainer '{self.name}': the last map of {classifier.name} is no (B, C, h, w); use gradcam"
            )

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import GuidedGradCam as Method

        model = _rectified(self.name, classifier, images)
        module = model.model.get_submodule(target_layer(classifier).path)
        return Method(model, module).attribute(images, target=classes, interpolate_mode="bilinear")


def _rectified(name: str, classifier: Classifier, images: Tensor) -> SeparateActivations:
    model = SeparateActivations(classifier.model, RECTIFIERS, images[:1])
    if not model.slots:
        raise ExplainerError(
            f"explainer '{name}': {classifier.name} has no ReLU for the rule to act on; use saliency or "
            "integrated_gradients"
        )
    return model


def _check_rectifiers(name: str, classifier: Classifier) -> None:
    parameter = next(classifier.model.parameters())
    _rectified(name, classifier, torch.zeros(1, 3, *classifier.preprocess.size).to(parameter))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """captum draws from the global generators; they are put back as they were."""
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
