"""The class activation map in closed form: the default explainer, and what the students are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.layers import output_and_logits, target_layer


@register_explainer
@dataclass(frozen=True)
class Cam(Explainer):
    """Class activation map (Zhou et al., CVPR 2016), read off the features of the forward that classifies.

    Attributes:
        reduction: over the channels: "sum" as published, or "mean" (sum / C, as Exp-KD has it); no ranking changes.
        clamp: drop the negative part.
    """

    name: ClassVar[str] = "cam"
    citation: ClassVar[str] = "Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016"
    cost: ClassVar[str] = "1 F, the one that classifies"
    reads_features: ClassVar[bool] = True

    reduction: Literal["sum", "mean"] = "sum"
    clamp: bool = False

    def __post_init__(self) -> None:
        if self.reduction not in ("sum", "mean"):
            raise XkdError(f"explainer 'cam': reduction is {self.reduction!r}; expected 'sum' or 'mean'")

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError, with the reason, for a model without a CAM head."""
        if classifier.head is None:
            raise ExplainerError(
                f"explainer 'cam': {classifier.name} has no class activation map in closed form: "
                f"{classifier.head_refusal}"
            )

    @torch.no_grad()
    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images (or the context's features of them) and (B,) classes -> (B, h, w), as the last map."""
        self.check(classifier)
        known = context.features if context is not None else None
        features = classifier.forward_with_features(images).features if known is None else known
        return self._of_features(classifier, features, classes)

    def differentiable(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """See Explainer; without a forward of its own where the context has the features."""
        known = context.features if context is not None else None
        if known is None:
            layer = target_layer(classifier)
            known = classifier.cam_features(output_and_logits(classifier.model, layer.path, images)[0])
        return self._of_features(classifier, known, classes)

    def _of_features(self, classifier: Classifier, features: Tensor, classes: Tensor) -> Tensor:
        maps = classifier.cams(features, classes[:, None])[:, 0].float()
        if self.reduction == "mean":
            maps = maps / features.shape[1]
        return maps.clamp(min=0) if self.clamp else maps
