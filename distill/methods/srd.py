"""SRD: a simple recipe for distillation, by a projector and a logarithm (Miles & Mikolajczyk, AAAI 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register

_EPSILON = 1e-4


def srd_loss(projected: Tensor, teacher: Tensor, power: float = 4.0) -> Tensor:
    """Logarithm of the summed powers of the differences of normalised embeddings (Miles & Mikolajczyk, AAAI 2024).

    Each of the C is normalised over the batch to zero mean and unit variance, as batch norm does in a training.

    Args:
        projected, teacher: (B, C) embeddings, the first the student's through a linear layer of yours.
        power: of the absolute differences.

    Returns:
        Scalar, the logarithm of the sum over B and C.
    """
    check_alike(projected, teacher)
    difference = _normalised(projected) - _normalised(teacher)
    total = difference.abs().pow(power).sum()
    return total.clamp(min=torch.finfo(total.dtype).tiny).log()


@register
class Srd(Method):
    """srd_loss of the embeddings, the student's through a trained linear layer; over the batch of all processes.

    The published loss on ImageNet is twice this one beside `kd` at temperature 1.

    Args:
        power: of the absolute differences.
    """

    name = "srd"
    citation = "Miles & Mikolajczyk, AAAI 2024"
    requires = frozenset({"embedding"})
    takes_mixed = True
    needs_images = 2
    gathers = True

    def __init__(self, power: float = 4.0) -> None:
        super().__init__()
        self.power = positive("power", power)
        self.projector: nn.Module = nn.Identity()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        own, other = gather_batch(self.projector(student.embedding())), gather_batch(teacher.embedding())
        return {"srd": srd_loss(own, other, self.power)}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        own, other = student.embedding(), teacher.embedding()
        self.projector = nn.Linear(own.shape[1], other.shape[1]).to(own)


def _normalised(embeddings: Tensor) -> Tensor:
    return F.batch_norm(embeddings, None, None, training=True, eps=_EPSILON)
