"""SDD: scale decoupled distillation (Wei et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.dkd import dkd_losses
from distill.methods.kd import kd_loss_per_row
from distill.methods.options import count, one_of, positive, several
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to
from xkd_eval.errors import XkdError

Base = Literal["kd", "dkd"]
_BASES = ("kd", "dkd")


def region_logits(cams: Tensor, bias: Tensor | None, scales: Sequence[int]) -> Tensor:
    """What the linear head makes of the features averaged over each region, rather than over the whole map (Wei et al.,
    CVPR 2024).

    Args:
        cams: (B, K, h, w), the class activation maps; the head commutes with the average.
        bias: (K,), or None.
        scales: m for a grid of m x m regions each.

    Returns:
        (B, R, K), R the sum of m^2 over scales, in their order, row by row.
    """
    grids = [pool_to(cams, (scale, scale), "scales").flatten(2) for scale in scales]
    regions = torch.cat(grids, dim=2).transpose(1, 2)
    return regions if bias is None else regions + bias


def consistent_regions(teacher_regions: Tensor, teacher_logits: Tensor) -> Tensor:
    """Where the teacher sees in a region the class that it sees in the image: (B, R, K), (B, K) -> (B, R) bool."""
    return teacher_regions.argmax(2) == teacher_logits.argmax(1)[:, None]


def sdd_losses(
    student_regions: Tensor,
    teacher_regions: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    base: Base = "kd",
    temperature: float = 4.0,
) -> tuple[Tensor, Tensor]:
    """A logit distillation of every region, apart by whether the teacher sees the image's class there (Wei et al., CVPR
    2024).

    Args:
        student_regions, teacher_regions: (B, R, K), of region_logits.
        teacher_logits: (B, K), of the whole image.
        labels: (B,), which the base "dkd" reads.
        base: the loss of a region, "kd" or "dkd" (alpha 1, beta 8).
        temperature: T.

    Returns:
        Of the consistent and of the complementary regions, scalars: regions are added up, images averaged.
    """
    check_alike(student_regions, teacher_regions)
    losses = _per_region(student_regions, teacher_regions, labels, base, temperature)
    consistent = consistent_regions(teacher_regions, teacher_logits)
    return (losses * consistent).sum(1).mean(), (losses * ~consistent).sum(1).mean()


def sdd_loss(
    student_regions: Tensor,
    teacher_regions: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    complementary: float = 2.0,
    base: Base = "kd",
    temperature: float = 4.0,
) -> Tensor:
    """The sum of sdd_losses, the second times `complementary`; a scalar. Other arguments as there."""
    own, others = sdd_losses(student_regions, teacher_regions, teacher_logits, labels, base, temperature)
    return own + complementary * others


@register
class Sdd(Method):
    """A logit distillation on every region, the complementary ones (another class than the image's) weighing more.

    Args:
        scales: m of the grids of m x m regions; 1 is the whole map.
        complementary: beta, the weight of regions whose class is not the image's.
        base: the loss of a region, "kd" or "dkd" (alpha 1, beta 8).
        temperature: T.
    """

    name = "sdd"
    citation = "Wei et al., CVPR 2024"
    requires = frozenset({"logits", "features"})

    def __init__(
        self,
        scales: Sequence[int] = (1, 2, 4),
        complementary: float = 2.0,
        base: Base = "kd",
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        if not scales:
            raise XkdError("scales: empty; expected grid sizes such as [1, 2, 4]")
        self.scales = tuple(count("scales", scale) for scale in several("scales", scales, int))
        self.complementary = positive("complementary", complementary)
        self.base: Base = one_of("base", base, _BASES)
        self.temperature = positive("temperature", temperature)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward. Regions are added up, images averaged."""
        student_regions = region_logits(student.cams(), student.head_bias, self.scales)
        teacher_regions = region_logits(teacher.cams(), teacher.head_bias, self.scales)
        consistent, others = sdd_losses(
            student_regions, teacher_regions, teacher.logits, labels, self.base, self.temperature
        )
        return {"sdd_consistent": consistent, "sdd_complementary": self.complementary * others}


def _per_region(student: Tensor, teacher: Tensor, labels: Tensor, base: Base, temperature: float) -> Tensor:
    """(B, R)."""
    if one_of("base", base, _BASES) == "kd":
        return kd_loss_per_row(student, teacher, temperature)
    regions = student.shape[1]
    check_alike(student[:, 0, 0], labels, name="labels")
    tckd, nckd = dkd_losses(
        student.flatten(0, 1), teacher.flatten(0, 1), labels.repeat_interleave(regions), temperature
    )
    return (tckd + 8.0 * nckd).unflatten(0, (-1, regions))
