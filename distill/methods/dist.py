"""DIST: distillation by correlation (Huang et al., NeurIPS 2022)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.kd import prepare_logits
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register


def dist_losses(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """One minus the Pearson correlation of the softened probabilities, times T^2 (Huang et al., NeurIPS 2022).

    Args:
        student_logits, teacher_logits: (B, K); B is the batch that the intra-class loss correlates over.
        temperature: T.

    Returns:
        Inter-class (each image over classes) and intra-class (each class over images) loss, scalars.
    """
    check_alike(student_logits, teacher_logits)
    student = F.softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits / temperature, dim=1)
    inter = 1 - _pearson(student, teacher, dim=1).mean()
    intra = 1 - _pearson(student, teacher, dim=0).mean()
    return inter * temperature**2, intra * temperature**2


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """beta inter + gamma intra, of dist_losses (Huang et al., NeurIPS 2022).

    Args:
        student_logits, teacher_logits: (B, K).
        beta, gamma: weights of the inter-class and of the intra-class loss.
        temperature: T.

    Returns:
        Scalar.
    """
    inter, intra = dist_losses(student_logits, teacher_logits, temperature)
    return beta * inter + gamma * intra


@register
class Dist(Method):
    """beta inter + gamma intra, over the batch of all processes.

    Args:
        beta: weight of the inter-class loss.
        gamma: weight of the intra-class loss.
        temperature: T.
        standardise: z-score each row of logits first.
    """

    name = "dist"
    citation = "Huang et al., NeurIPS 2022; standardise: Sun et al., CVPR 2024"
    requires = frozenset({"logits"})
    takes_mixed = True
    needs_images = 2
    gathers = True

    def __init__(
        self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0, standardise: bool = False
    ) -> None:
        super().__init__()
        self.beta = positive("beta", beta)
        self.gamma = positive("gamma", gamma)
        self.temperature = positive("temperature", temperature)
        self.standardise = one_of("standardise", standardise, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        own, other = prepare_logits(student, teacher, self.standardise)
        inter, intra = dist_losses(gather_batch(own), gather_batch(other), self.temperature)
        return {"dist_inter": self.beta * inter, "dist_intra": self.gamma * intra}


def _pearson(first: Tensor, second: Tensor, dim: int) -> Tensor:
    centred = (first - first.mean(dim, keepdim=True), second - second.mean(dim, keepdim=True))
    product = centred[0].norm(dim=dim) * centred[1].norm(dim=dim)
    return (centred[0] * centred[1]).sum(dim) / (product + 1e-8)
