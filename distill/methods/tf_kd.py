"""Teacher-free knowledge distillation from a teacher that is made up (Yuan et al., CVPR 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.kd import kd_loss
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

Variant = Literal["paper", "author"]
_VARIANTS = ("paper", "author")


def virtual_teacher(logits: Tensor, labels: Tensor, correct: float) -> Tensor:
    """The logits of a teacher that is always right, and equally unsure between all other classes (eq. 8).

    Args:
        logits: (B, K), whose shape and type they take.
        labels: (B,).
        correct: probability of the label's class.

    Returns:
        (B, K), logarithms of probabilities.
    """
    check_alike(logits[:, 0], labels, name="labels")
    others = (1 - correct) / (logits.shape[1] - 1)
    probabilities = torch.full_like(logits, others).scatter(1, labels[:, None], correct)
    return probabilities.log()


def tf_kd_loss(
    student_logits: Tensor,
    labels: Tensor,
    correct: float = 0.99,
    temperature: float = 20.0,
    variant: Variant = "paper",
) -> Tensor:
    """Distillation from a virtual_teacher (Yuan et al., CVPR 2020, eq. 9).

    Args:
        student_logits: (B, K).
        labels: (B,).
        correct: the virtual teacher's probability of the right class.
        temperature: T.
        variant: "paper" softens both, the virtual teacher's log-probabilities and the student's logits; "author", as
            the public code has it, softens the teacher's probabilities in their place and leaves the student as it is,
            and divides by K.

    Returns:
        Scalar, the mean over the batch.
    """
    teacher = virtual_teacher(student_logits.detach(), labels, correct)
    if one_of("variant", variant, _VARIANTS) == "paper":
        return kd_loss(student_logits, teacher, temperature)
    return kd_loss(student_logits, teacher.exp() / temperature, 1.0) / student_logits.shape[1]


@register
class TfKd(Method):
    """Distillation from a virtual teacher; no network is needed. (The paper's self-training is `kd` with a teacher that
    the student's own recipe has trained.)

    Args:
        correct: the virtual teacher's probability of the right class, from 0.9 on in the paper.
        temperature: T.
        variant: what T softens, "paper" or "author"; see tf_kd_loss.
    """

    name = "tf_kd"
    citation = "Yuan et al., CVPR 2020"
    requires = frozenset()

    def __init__(self, correct: float = 0.99, temperature: float = 20.0, variant: Variant = "paper") -> None:
        super().__init__()
        if isinstance(correct, bool) or not isinstance(correct, int | float) or not 0 < correct < 1:
            raise XkdError(f"correct: {short(correct)} found; expected a number above 0 and below 1")
        self.correct = correct
        self.temperature = positive("temperature", temperature)
        self.variant: Variant = one_of("variant", variant, _VARIANTS)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"tf_kd": tf_kd_loss(student.logits, labels, self.correct, self.temperature, self.variant)}
