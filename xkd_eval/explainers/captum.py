"""Gradient methods, by captum or by rules of our own that are held to captum's; maps at the input's resolution.

A map is the sum over the colour channels of the signed attribution, except for saliency, which is published as the
largest magnitude over the channels. The baseline, where a method has one, is black as the network sees it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.activations import NONLINEAR, GuidedRule, RescaleRule
from xkd_eval.explainers.attribution import GradientAttribution, black, check_positive, forward_images
from xkd_eval.explainers.base import Context, register_explainer
from xkd_eval.explainers.layers import activations_and_gradients, target_layer
from xkd_eval.explainers.seeding import image_seeds


@dataclass(frozen=True)
class _BySlope(GradientAttribution):
    """An attribution by one gradient at the image itself, which can be differentiated."""

    def differentiable(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """See Explainer; by a forward of its own."""
        inputs = images.detach().clone().requires_grad_()
        score = classifier.model(inputs).gather(1, classes[:, None]).sum()
        (slope,) = torch.autograd.grad(score, inputs, create_graph=True)
        return self._over_channels(self._of_slope(slope, inputs.detach()))

    @abstractmethod
    def _of_slope(self, slope: Tensor, images: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> (B, 3, H, W)."""


@register_explainer
@dataclass(frozen=True)
class Saliency(_BySlope):
    """Magnitude of the logit's gradient, the largest over the colour channels."""

    name: ClassVar[str] = "saliency"
    citation: ClassVar[str] = "Simonyan et al., Deep Inside Convolutional Networks, ICLR Workshops 2014"
    cost: ClassVar[str] = "1 F + 1 B"

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import Saliency as Method

        return Method(classifier.model).attribute(images, target=classes, abs=True)

    def _of_slope(self, slope: Tensor, images: Tensor) -> Tensor:
        return slope.abs()

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions.amax(1)


@register_explainer
@dataclass(frozen=True)
class InputXGradient(_BySlope):
    """Input times gradient, in the network's normalised values; summed over the colour channels, signed."""

    name: ClassVar[str] = "input_x_gradient"
    citation: ClassVar[str] = "Shrikumar et al., Not Just a Black Box, arXiv 2016"
    cost: ClassVar[str] = "1 F + 1 B"

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        from captum.attr import InputXGradient as Method

        return Method(classifier.model).attribute(images, target=classes)

    def _of_slope(self, slope: Tensor, images: Tensor) -> Tensor:
        return slope * images


@register_explainer
@dataclass(frozen=True)
class IntegratedGradients(GradientAttribution):
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
            internal_batch_size=max(forward_images(images), len(images)),
        )


@register_explainer
@dataclass(frozen=True)
class GradientShap(GradientAttribution):
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
        # captum draws the same numbers from the generators of the whole process, where other threads draw too.
        baseline = black(classifier, images)[:1]
        maps = []
        seeds = image_seeds(images, context, self.seed)
        for image, label, seed in zip(images.split(1), classes.split(1), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)  # the same numbers on every device
            spread = torch.full((self.samples, *image.shape[1:]), self.noise, dtype=image.dtype)
            noisy = image + torch.normal(0.0, spread, generator=generator).to(image.device)
            shares = np.random.RandomState(seed % 2**32).uniform(0.0, 1.0, self.samples)
            along = torch.tensor(shares, dtype=image.dtype, device=image.device)[:, None, None, None]
            points = (along * noisy + (1 - along) * baseline).detach().requires_grad_()
            gradients = torch.cat(
                [
                    logit_gradients(classifier.model(part), label.expand(len(part)), part)
                    for part in points.split(forward_images(images))
                ]
            )
            maps.append(((noisy - baseline) * gradients).sum(0).detach() / self.samples)
        return torch.stack(maps)


@register_explainer
@dataclass(frozen=True)
class DeepLift(GradientAttribution):
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
        super().check(classifier)
        preprocess, generator = classifier.preprocess, torch.Generator().manual_seed(0)
        noise = torch.rand(1, preprocess.channels, *preprocess.size, generator=generator)
        images = preprocess.normalise(noise).to(classifier.device)
        with torch.no_grad():
            logits = classifier.model(torch.cat([images, black(classifier, images)]))
        difference, label = (logits[0] - logits[1]).abs().max(0)
        maps = self(classifier, images, label[None])
        expected = logits[0, label] - logits[1, label]
        scale = difference.clamp(
            min=max(1e-12, 1e-3 * float(logits.abs().max()))
        )  # below it float32 is all that differs
        if not maps.isfinite().all():
            raise ExplainerError(f"explainer 'deeplift': {classifier.name}: its contributions are not finite")
        error = float((maps.sum() - expected).abs() / scale)
        if not error < 0.02:
            raise ExplainerError(
                f"explainer 'deeplift': {classifier.name}: contributions miss the logit's difference by {error:.0%} "
                "(the rescale rule covers no gating, attention or LayerNorm)"
            )

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        baseline = black(classifier, images)
        with RescaleRule(NONLINEAR, len(images)):
            logits = classifier.model(torch.cat([images, baseline]))
        multipliers = logit_gradients(logits[: len(images)], classes, images)
        return multipliers * (images - baseline)


@register_explainer
@dataclass(frozen=True)
class GuidedBackprop(GradientAttribution):
    """The gradient, with its negative part dropped at every ReLU (and ReLU6); summed over channels, signed."""

    name: ClassVar[str] = "guided_backprop"
    citation: ClassVar[str] = "Springenberg et al., Striving for Simplicity, ICLR Workshops 2015"
    cost: ClassVar[str] = "2 F + 1 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a ReLU."""
        super().check(classifier)
        _check_rectifiers(self.name, classifier)

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        return _guided_gradients(self.name, classifier, images, classes)


@register_explainer
@dataclass(frozen=True)
class GuidedGradCam(GradientAttribution):
    """Guided backprop times the up-sampled, ReLU'd Grad-CAM; summed over channels, signed."""

    name: ClassVar[str] = "guided_gradcam"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017"
    cost: ClassVar[str] = "3 F + 2 B"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model without a ReLU, or whose last map is not (B, C, h, w)."""
        super().check(classifier)
        _check_rectifiers(self.name, classifier)
        if target_layer(classifier).reading.layout != "NCHW":
            raise ExplainerError(f"explainer '{self.name}': the last map of {classifier.name} is no (B, C, h, w)")

    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        activations, gradients = activations_and_gradients(classifier, target_layer(classifier), images, classes)
        maps = (gradients.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True).relu()
        upsampled = F.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)
        return _guided_gradients(self.name, classifier, images, classes) * upsampled


def logit_gradients(logits: Tensor, classes: Tensor, inputs: Tensor) -> Tensor:
    """The gradient at `inputs` of each image's class logit, logits (B, K) and classes (B,)."""
    (gradients,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), inputs)
    return gradients


def _guided_gradients(name: str, classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    with GuidedRule() as rule:
        logits = classifier.model(images)
    if not rule.calls:
        raise ExplainerError(f"explainer '{name}': {classifier.name} has no ReLU for the rule to act on")
    return logit_gradients(logits, classes, images)


def _check_rectifiers(name: str, classifier: Classifier) -> None:
    preprocess = classifier.preprocess
    images = torch.zeros(1, preprocess.channels, *preprocess.size, device=classifier.device).requires_grad_()
    _guided_gradients(name, classifier, images, torch.zeros(1, dtype=torch.int64, device=classifier.device))
