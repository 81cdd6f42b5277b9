"""TTM: transformed teacher matching (Zheng & Yang, ICLR 2024)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register


def ttm_loss(student_logits: Tensor, teacher_logits: Tensor, exponent: float = 0.1) -> Tensor:
    """KL divergence of the student from the teacher's probabilities, raised to a power (Zheng & Yang, ICLR 2024).

    The power softens the teacher as a temperature of 1 / exponent does; the student has none, and nothing is multiplied
    by its square.

    Args:
        student_logits, teacher_logits: (B, K).
        exponent: gamma.

    Returns:
        Scalar, the mean over the batch.
    """
    return transformed_divergences(student_logits, teacher_logits, exponent)[0].mean()


def transformed_divergences(student_logits: Tensor, teacher_logits: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """The divergences before their mean, and the sum of the teacher's powers: (B, K) and (B, K) -> (B,) and (B,)."""
    check_alike(student_logits, teacher_logits)
    powers = positive("exponent", exponent) * F.log_softmax(teacher_logits, dim=1)
    log_sums = powers.logsumexp(1)
    divergences = F.kl_div(
        F.log_softmax(student_logits, dim=1), powers - log_sums[:, None], reduction="none", log_target=True
    )
    return divergences.sum(1), log_sums.exp()


@register
class Ttm(Method):
    """ttm_loss.

    Args:
        exponent: gamma, the inverse of the teacher's temperature.
    """

    name = "ttm"
    citation = "Zheng & Yang, ICLR 2024"
    requires = frozenset({"logits"})
    takes_mixed = True

    def __init__(self, exponent: float = 0.1) -> None:
        super().__init__()
        self.exponent = positive("exponent", exponent)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"ttm": ttm_loss(student.logits, teacher.logits, self.exponent)}
