"""Token distillation: a token of the student's, and its head, learn from the teacher (DeiT, ICML 2021)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.kd import kd_loss
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register

Kind = Literal["hard", "soft"]
_KINDS = ("hard", "soft")


def token_kd_loss(
    distilled_logits: Tensor, teacher_logits: Tensor, kind: Kind = "hard", temperature: float = 3.0
) -> Tensor:
    """The distillation token's loss (DeiT, Touvron et al., ICML 2021).

    Args:
        distilled_logits: (B, K), of the student's head on its distillation token.
        teacher_logits: (B, K).
        kind: "hard" is the cross-entropy with the teacher's decision; "soft" is kd_loss.
        temperature: T of "soft".

    Returns:
        Scalar, the mean over the batch.
    """
    one_of("kind", kind, _KINDS)
    check_alike(distilled_logits, teacher_logits)
    if kind == "soft":
        return kd_loss(distilled_logits, teacher_logits, temperature)
    return F.cross_entropy(distilled_logits, teacher_logits.argmax(1))


@register
class TokenKd(Method):
    """The distillation token's head learns from the teacher, while all other losses see the class token's alone.

    For students of two tokens, or of two heads, as timm has them (DeiT's distilled ones, LeViT, EfficientFormer, PiT).
    Once it is trained, and wherever it is evaluated, the student answers by the average of the two. The paper weighs ce
    and this one by 1/2 each.

    Args:
        kind: "hard" for the teacher's decision, "soft" for its softened distribution.
        temperature: T of "soft".
    """

    name = "token_kd"
    citation = "Touvron et al., Training data-efficient image transformers & distillation through attention, ICML 2021"
    requires = frozenset({"logits", "distillation token"})
    takes_mixed = True

    def __init__(self, kind: Kind = "hard", temperature: float = 3.0) -> None:
        super().__init__()
        self.kind: Kind = one_of("kind", kind, _KINDS)
        self.temperature = positive("temperature", temperature)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        loss = token_kd_loss(student.distillation_token(), teacher.logits, self.kind, self.temperature)
        return {"token_kd": loss}
