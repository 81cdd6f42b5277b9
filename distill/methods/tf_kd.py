"""Teacher-free knowledge distillation from a teacher that is made up (Yuan et al., CVPR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.kd import kd_loss
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short


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


def tf_kd_loss(student_logits: Tensor, labels: Tensor, correct: float = 0.99, temperature: float = 20.0) -> Tensor:
    """Distillation from a virtual_teacher, both softened (Yuan et al., CVPR 2020, eq. 9).

    Args:
        student_logits: (B, K).
        labels: (B,).
        correct: the virtual teacher's probability of the right class.
        temperature: T.

    Returns:
        Scalar, the mean over the batch.
    """
    return kd_loss(student_logits, virtual_teacher(student_logits.detach(), labels, correct), temperature)


@register
class TfKd(Method):
    """Distillation from a virtual teacher; no network is needed. (The paper's self-training is `kd` with a teacher that
    the student's own recipe has trained.)

    The virtual teacher is softened by the temperature as a network is, and so is the student (eq. 9).

    Args:
        correct: the virtual teacher's probability of the right class, from 0.9 on in the paper.
        temperature: T.
    """

    name = "tf_kd"
    citation = "Yuan et al., CVPR 2020"
    requires = frozenset()

    def __init__(self, correct: float = 0.99, temperature: float = 20.0) -> None:
        super().__init__()
        if isinstance(correct, bool) or not isinstance(correct, int | float) or not 0 < correct < 1:
            raise XkdError(f"correct: {short(correct)} found; expected a number above 0 and below 1")
        self.correct = correct
        self.temperature = positive("temperature", temperature)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"tf_kd": tf_kd_loss(student.logits, labels, self.correct, self.temperature)}
