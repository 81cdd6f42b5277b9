"""DKD: decoupled knowledge distillation (Zhao et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.kd import kd_loss_per_row, prepare_logits
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register


def dkd_losses(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The two parts of a KL divergence: target against the rest, and among the rest (Zhao et al., CVPR 2022).

    Args:
        student_logits, teacher_logits: (B, K).
        labels: (B,).
        temperature: T; both parts are multiplied by its square.

    Returns:
        TCKD (B,) and NCKD (B,).
    """
    check_alike(student_logits, teacher_logits)
    check_alike(student_logits[:, 0], labels, name="labels")
    student = _target_and_rest(student_logits / temperature, labels)
    teacher = _target_and_rest(teacher_logits / temperature, labels)
    tckd = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) * temperature**2
    nckd = kd_loss_per_row(_others(student_logits, labels), _others(teacher_logits, labels), temperature)
    return tckd, nckd


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """alpha TCKD + beta NCKD, of dkd_losses (Zhao et al., CVPR 2022).

    Args:
        student_logits, teacher_logits: (B, K).
        labels: (B,).
        alpha, beta: weights of the target's part and of the other classes'.
        temperature: T.

    Returns:
        Scalar, the mean over the batch.
    """
    tckd, nckd = dkd_losses(student_logits, teacher_logits, labels, temperature)
    return alpha * tckd.mean() + beta * nckd.mean()


@register
class Dkd(Method):
    """alpha TCKD + beta NCKD, each the mean over the batch.

    Args:
        alpha: weight of the target's part.
        beta: weight of the other classes' part.
        temperature: T.
        standardise: z-score each row of logits first.
    """

    name = "dkd"
    citation = "Zhao et al., CVPR 2022; standardise: Sun et al., CVPR 2024"
    requires = frozenset({"logits"})

    def __init__(
        self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, standardise: bool = False
    ) -> None:
        super().__init__()
        self.alpha = positive("alpha", alpha)
        self.beta = positive("beta", beta)
        self.temperature = positive("temperature", temperature)
        self.standardise = one_of("standardise", standardise, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        logits = prepare_logits(student, teacher, self.standardise)
        tckd, nckd = dkd_losses(*logits, labels, self.temperature)
        return {"dkd_target": self.alpha * tckd.mean(), "dkd_others": self.beta * nckd.mean()}


def _target_and_rest(logits: Tensor, labels: Tensor) -> Tensor:
    log_probabilities = F.log_softmax(logits, dim=1)
    target = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    return torch.stack((target, _others(log_probabilities, labels).logsumexp(1)), dim=1)


def _others(values: Tensor, labels: Tensor) -> Tensor:
    """(B, K) -> (B, K - 1), in order. By places and not by a mask, whose number of hits a GPU would be waited for."""
    places = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, places + (places >= labels[:, None]))
