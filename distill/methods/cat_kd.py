"""CAT-KD: class attention transfer (Guo et al., CVPR 2023)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.options import count, one_of
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to


def cat_kd_loss(student_cams: Tensor, teacher_cams: Tensor, grid: int = 2, normalise: bool = True) -> Tensor:
    """Mean squared error between class activation maps averaged to a coarse grid (Guo et al., CVPR 2023).

    Args:
        student_cams, teacher_cams: (B, K, h, w), of any two sizes.
        grid: n; both are averaged to n x n.
        normalise: divide each class's pooled map by its L2 norm over places.

    Returns:
        Scalar, the mean over batch, classes and places.
    """
    check_alike(student_cams, teacher_cams, dimensions=2)
    student, teacher = (pool_to(cams, (grid, grid), "grid") for cams in (student_cams, teacher_cams))
    if normalise:
        student, teacher = F.normalize(student.flatten(2), dim=2), F.normalize(teacher.flatten(2), dim=2)
    return F.mse_loss(student, teacher)


@register
class CatKd(Method):
    """Match the pooled class activation maps of all classes.

    Args:
        grid: n of the n x n places.
        normalise: keep where a class is seen and drop how strongly.
    """

    name = "cat_kd"
    citation = "Guo et al., CVPR 2023"
    requires = frozenset({"logits", "features"})
    takes_mixed = True

    def __init__(self, grid: int = 2, normalise: bool = True) -> None:
        super().__init__()
        self.grid = count("grid", grid)
        self.normalise = one_of("normalise", normalise, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"cat_kd": cat_kd_loss(student.cams(), teacher.cams(), self.grid, self.normalise)}
