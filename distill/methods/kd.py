"""Knowledge distillation on softened logits (Hinton et al., NIPS workshop 2014), and standardised logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 KL(teacher || student) of the softened class distributions (Hinton et al., 2014).

    Args:
        student_logits, teacher_logits: (B, K).
        temperature: T.

    Returns:
        Scalar, the mean over the batch.
    """
    return kd_loss_per_row(student_logits, teacher_logits, temperature).mean()


def kd_loss_per_row(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """kd_loss of each row of logits, before its mean: (..., K) and (..., K) -> (...)."""
    check_alike(student_logits, teacher_logits)
    positive("temperature", temperature)
    log_student = F.log_softmax(student_logits / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1) * temperature**2


def standardise_logits(logits: Tensor) -> Tensor:
    """Each row to zero mean and unit (unbiased) standard deviation (Sun et al., CVPR 2024): (B, K) -> (B, K)."""
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + 1e-7)


def prepare_logits(student: Pass, teacher: Pass, standardise: bool) -> tuple[Tensor, Tensor]:
    """Both networks' logits (B, K), standardised where the option says so."""
    if standardise:
        return standardise_logits(student.logits), standardise_logits(teacher.logits)
    return student.logits, teacher.logits


@register
class Kd(Method):
    """Hinton's distillation.

    Args:
        temperature: T.
        standardise: z-score each row of logits first, so that T is relative to their spread.
    """

    name = "kd"
    citation = "Hinton et al., NIPS workshop 2014; standardise: Sun et al., CVPR 2024"
    requires = frozenset({"logits"})
    takes_mixed = True

    def __init__(self, temperature: float = 4.0, standardise: bool = False) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.standardise = one_of("standardise", standardise, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        logits = prepare_logits(student, teacher, self.standardise)
        return {"kd": kd_loss(*logits, self.temperature)}
