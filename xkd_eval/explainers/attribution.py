"""What attributions to pixels have in common: images that gradients reach, a black baseline, a sum over channels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.explainers.gradients import check_gradients
from xkd_eval.explainers.layers import tracked

_FORWARD_IMAGES, _FORWARD_PIXELS = 32, 32 * 224 * 224


def forward_images(images: Tensor) -> int:
    """How many images of this size one forward of a perturbation or path method holds: bounds the memory.

    32 up to 224x224, which take some 4 GB with the gradients of an EfficientNet, and fewer of larger ones, as of grids.

    Args:
        images: (B, 3, H, W).
    """
    return max(1, min(_FORWARD_IMAGES, _FORWARD_PIXELS // (images.shape[2] * images.shape[3])))


@dataclass(frozen=True)
class Attribution(Explainer):
    """Attributes to images that gradients reach, and sums the attribution over the colour channels."""

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, H, W)."""
        with tracked(images, classes) as (inputs, labels):
            attributions = self._attribute(classifier, inputs, labels, context)
        return self._over_channels(attributions.detach().float())

    @abstractmethod
    def _attribute(self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None) -> Tensor:
        """(B, 3, H, W)."""

    def _over_channels(self, attributions: Tensor) -> Tensor:
        return attributions.sum(1)


@dataclass(frozen=True)
class GradientAttribution(Attribution):
    """An attribution by the logits' gradient at the image."""

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError for a model through which no gradient passes."""
        check_gradients(self.name, classifier)


def black(classifier: Classifier, images: Tensor) -> Tensor:
    """The baseline, of the shape of the images."""
    return classifier.preprocess.colour((0, 0, 0), like=images).to(images.dtype).expand_as(images)


def check_positive(name: str, option: str, value: int) -> None:
    """Raise XkdError unless an option is a positive integer."""
    if not isinstance(value, int) or value < 1:
        raise XkdError(f"explainer '{name}': {option} is {value!r}; expected an integer, 1 or more")
