"""MLD: multi-label logits distillation, a binary distribution a label (Yang et al., ICCV 2023)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.passes import Pass
from distill.methods.registry import register


def mld_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student) of each label's sigmoid, summed over the labels (Yang et al., ICCV 2023).

    Args:
        student_logits, teacher_logits: (B, K), of K labels, any number of which may be an image's.

    Returns:
        Scalar, the mean over the batch.
    """
    check_alike(student_logits, teacher_logits)
    present, absent = (_divergence(sign * student_logits, sign * teacher_logits) for sign in (1, -1))
    return (present + absent).sum(1).mean()


@register
class Mld(Method):
    """Match the probability of each label by itself.

    The labels are not read, so that it teaches by images of one class as well: there it says of each class whether the
    teacher sees it, and not which one it sees most of.
    """

    name = "mld"
    citation = "Yang et al., Multi-Label Knowledge Distillation, ICCV 2023"
    requires = frozenset({"logits"})
    takes_mixed = True

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"mld": mld_loss(student.logits, teacher.logits)}


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """A label's term of the one outcome: p_t (log p_t - log p_s), finite for logits of any size."""
    return teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
