"""SP: similarity-preserving distillation (Tung & Mori, ICCV 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.passes import Pass
from distill.methods.registry import register


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the row-normalised similarities of the images of a batch (Tung & Mori, ICCV 2019).

    Args:
        student, teacher: (B, ...), any two shapes.

    Returns:
        Scalar, the sum over the B x B similarities divided by B^2.
    """
    check_alike(student, teacher, dimensions=1)
    return F.mse_loss(_similarities(student), _similarities(teacher))


@register
class Sp(Method):
    """sp_loss of the last maps where both networks have a CAM head, else of the embeddings; over all processes."""

    name = "sp"
    citation = "Tung & Mori, ICCV 2019"
    requires = frozenset({"embedding"})
    takes_mixed = True
    needs_images = 2
    gathers = True

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        if student.features is not None and teacher.features is not None:
            compared = student.features, teacher.features
        else:
            compared = student.embedding(), teacher.embedding()
        return {"sp": sp_loss(*map(gather_batch, compared))}


def _similarities(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return F.normalize(rows @ rows.T, dim=1)
