"""Cross-entropy with the labels: the loss that every student trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.options import fraction, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short


@register
class CrossEntropy(Method):
    """Cross-entropy on the labels; of mixed images on their shares of the classes.

    Args:
        label_smoothing: fraction of the target spread over all classes, in [0, 1) (Szegedy et al., CVPR 2016).
        class_weights: what the loss of an image is multiplied by, a number above 0 a class; "balanced" for N / (K n_k)
            with n_k training images of class k, N of the K classes that have any (as scikit-learn has it). The mean
            over a batch (of all processes, or a micro-batch of theirs) is divided by the sum of its images' weights.
    """

    name = "ce"
    citation = "cross-entropy with the labels"
    requires = frozenset()
    takes_mixed = True

    weights: Tensor | None

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: Literal["balanced"] | Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.class_weights = class_weights
        if class_weights is not None and class_weights != "balanced":
            self.class_weights = _numbers(class_weights)
        # Made again from the training images, and so no part of a state.
        self.register_buffer("weights", None, persistent=False)
        self.label_smoothing = fraction("label_smoothing", label_smoothing)

    def see_classes(self, counts: Tensor) -> None:
        """See Method."""
        if self.class_weights is None:
            return
        if self.class_weights == "balanced":
            present = counts > 0
            weights = torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
        else:
            weights = torch.tensor(self.class_weights)
        if len(weights) != len(counts):
            raise XkdError(
                f"class_weights: {len(weights)} numbers found; expected one for each of {len(counts)} classes"
            )
        self.weights = weights.to(device=counts.device, dtype=torch.float32)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        if self.class_weights is None:
            labels = labels.to(student.logits.dtype) if labels.is_floating_point() else labels
            return {"ce": F.cross_entropy(student.logits, labels, label_smoothing=self.label_smoothing)}
        if self.weights is None:
            raise XkdError(
                "class_weights: the classes are not counted; call `see_classes` with how many images each has"
            )
        return {"ce": _weighted(student.logits, labels, self.weights.to(student.logits), self.label_smoothing)}


def _numbers(given: object) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise XkdError(f"class_weights: {short(given)} found; expected balanced, or a number above 0 for each class")
    return tuple(positive("class_weights", weight) for weight in given)


def _weighted(logits: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
    """The mean of which an image counts as much as its class, or as its shares (B, K) of the classes do; weights (K,).

    Divided by the mean of the processes' sums of weights: averaged over processes it is that of the whole batch.
    """
    if labels.ndim == 2:
        shares = labels.to(logits)
        targets = (1 - label_smoothing) * shares + label_smoothing / logits.shape[1]
        loss, counted = -(targets * weights * logits.log_softmax(1)).sum(), (shares @ weights).sum()
    else:
        loss = F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=label_smoothing)
        counted = weights[labels].sum()
    return loss / gather_batch(counted[None]).mean()
