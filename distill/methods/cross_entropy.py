"""Cross-entropy with the labels: the loss that every student trains on."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.base import Method, Pass
from distill.methods.options import fraction
from distill.methods.registry import register


@register
class CrossEntropy(Method):
    """Cross-entropy on the labels; of mixed images on their shares of the classes.

    Args:
        label_smoothing: fraction of the target spread over all classes, in [0, 1) (Szegedy et al., CVPR 2016).
    """

    name = "ce"
    citation = "cross-entropy with the labels"
    requires = frozenset()
    takes_mixed = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = fraction("label_smoothing", label_smoothing)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        labels = labels.to(student.logits.dtype) if labels.is_floating_point() else labels
        return {"ce": F.cross_entropy(student.logits, labels, label_smoothing=self.label_smoothing)}
