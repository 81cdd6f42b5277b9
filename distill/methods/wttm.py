"""WTTM: TTM with a weight for every image (Zheng & Yang, ICLR 2024)."""

from __future__ import annotations

from torch import Tensor

from distill.methods.base import Method
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.ttm import transformed_divergences


def wttm_loss(student_logits: Tensor, teacher_logits: Tensor, exponent: float = 0.2) -> Tensor:
    """ttm_loss, each image weighted by the sum of the teacher's powers (Zheng & Yang, ICLR 2024).

    The sum is 1 where the teacher is certain, and K^(1 - exponent) where all classes are alike to it: images that the
    teacher hesitates about weigh more.

    Args:
        student_logits, teacher_logits: (B, K).
        exponent: gamma, below 1.

    Returns:
        Scalar, the mean over the batch.
    """
    divergences, sums = transformed_divergences(student_logits, teacher_logits, exponent)
    return (sums * divergences).mean()


@register
class Wttm(Method):
    """wttm_loss.

    Args:
        exponent: gamma, the inverse of the teacher's temperature.
    """

    name = "wttm"
    citation = "Zheng & Yang, ICLR 2024"
    requires = frozenset({"logits"})
    takes_mixed = True

    def __init__(self, exponent: float = 0.2) -> None:
        super().__init__()
        self.exponent = positive("exponent", exponent)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"wttm": wttm_loss(student.logits, teacher.logits, self.exponent)}
