"""RKD: relational knowledge distillation (Park et al., CVPR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between all pairwise distances, each divided by the batch's mean distance (Park et al., CVPR 2019).

    Args:
        student, teacher: (B, C_s) and (B, C_t) embeddings.

    Returns:
        Scalar, the mean over the B x B pairs.
    """
    check_alike(student, teacher, dimensions=1)
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between the cosines of the angles at each image between every two others (Park et al., CVPR 2019).

    Args:
        student, teacher: (B, C_s) and (B, C_t) embeddings.

    Returns:
        Scalar, the mean over the B x B x B triplets.
    """
    check_alike(student, teacher, dimensions=1)
    return F.smooth_l1_loss(_angles(student), _angles(teacher))


def rkd_loss(student: Tensor, teacher: Tensor, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """The weighted sum of rkd_distance_loss and rkd_angle_loss (Park et al., CVPR 2019).

    Args:
        student, teacher: (B, C_s) and (B, C_t) embeddings.
        distance, angle: weights.

    Returns:
        Scalar.
    """
    return distance * rkd_distance_loss(student, teacher) + angle * rkd_angle_loss(student, teacher)


@register
class Rkd(Method):
    """Distances and angles of the embeddings, over the batch of all processes.

    Args:
        distance: weight of the distances.
        angle: weight of the angles.
    """

    name = "rkd"
    citation = "Park et al., CVPR 2019"
    requires = frozenset({"embedding"})
    takes_mixed = True
    needs_images = 3  # two have one distance and no angle
    gathers = True

    def __init__(self, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__()
        self.distance = positive("distance", distance)
        self.angle = positive("angle", angle)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        embeddings = gather_batch(student.embedding()), gather_batch(teacher.embedding())
        return {
            "rkd_distance": self.distance * rkd_distance_loss(*embeddings),
            "rkd_angle": self.angle * rkd_angle_loss(*embeddings),
        }


def _relative_distances(embeddings: Tensor) -> Tensor:
    squared = (embeddings[:, None] - embeddings[None]).square().sum(2)
    # Clamped before the root, whose gradient at the diagonal's zeros is infinite.
    images = len(embeddings)
    distances = squared.clamp(min=1e-12).sqrt() * ~torch.eye(images, dtype=torch.bool, device=squared.device)
    return distances / (distances.sum() / (images * (images - 1)))


def _angles(embeddings: Tensor) -> Tensor:
    directions = F.normalize(embeddings[None] - embeddings[:, None], dim=2)
    return directions @ directions.transpose(1, 2)
