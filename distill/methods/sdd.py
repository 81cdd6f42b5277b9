"""SDD: scale decoupled distillation (Wei et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.dkd import dkd_losses
from distill.methods.kd import kd_loss_per_row
from distill.methods.options import count, one_of, positive, several
from distill.methods.passes import Pass
from distill.methods.registry import register
from xkd_eval.errors import XkdError

Base = Literal["kd", "dkd"]
_BASES = ("kd", "dkd")
Reference = Literal["label", "teacher"]
_REFERENCES = ("label", "teacher")
_FINEST = 4


def region_logits(cams: Tensor, bias: Tensor | None, scales: Sequence[int]) -> Tensor:
    """What the linear head makes of the features averaged over each region, rather than over the whole map (Wei et al.,
    CVPR 2024).

    As published, the grids of 1, 2 and 4 regions a side are averages of that of 4: of maps whose size 4 does not divide
    these nest, and the whole map's region is no longer quite their mean. A grid finer than the maps repeats places.

    Args:
        cams: (B, K, h, w), the class activation maps; the head commutes with the average.
        bias: (K,), or None.
        scales: m for a grid of m x m regions each.

    Returns:
        (B, R, K), R the sum of m^2 over scales, in their order, row by row.
    """
    finest = F.adaptive_avg_pool2d(cams, _FINEST)
    grids = [F.adaptive_avg_pool2d(cams if _FINEST % scale else finest, scale).flatten(2) for scale in scales]
    regions = torch.cat(grids, dim=2).transpose(1, 2)
    return regions if bias is None else regions + bias


def consistent_regions(
    teacher_regions: Tensor, teacher_logits: Tensor, labels: Tensor, reference: Reference = "label"
) -> Tensor:
    """Where the teacher is of one mind about a region and about the image.

    Args:
        teacher_regions: (B, R, K), of region_logits.
        teacher_logits: (B, K), of the whole image.
        labels: (B,).
        reference: "label": it sees the label's class in both, or in neither, as the published code has it; "teacher":
            it sees the same class in both, as the paper words it.

    Returns:
        (B, R) bool.
    """
    check_alike(teacher_regions[:, 0], teacher_logits)
    regions, whole = teacher_regions.argmax(2), teacher_logits.argmax(1)[:, None]
    if one_of("reference", reference, _REFERENCES) == "teacher":
        return regions == whole
    check_alike(teacher_regions[:, 0, 0], labels, name="labels")
    return (regions == labels[:, None]) == (whole == labels[:, None])


def sdd_losses(
    student_regions: Tensor,
    teacher_regions: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    base: Base = "kd",
    temperature: float = 4.0,
    beta: float = 8.0,
    reference: Reference = "label",
) -> tuple[Tensor, Tensor]:
    """A logit distillation of every region, apart by whether the teacher sees in it what it sees in the image (Wei et
    al., CVPR 2024).

    Args:
        student_regions, teacher_regions: (B, R, K), of region_logits.
        teacher_logits: (B, K), of the whole image.
        labels: (B,).
        base: the loss of a region, "kd" or "dkd".
        temperature: T.
        beta: weight of the other classes' part by the base "dkd".
        reference: see consistent_regions.

    Returns:
        Of the consistent and of the complementary regions, scalars: each is the sum over its regions, divided by the
        number of all regions of the batch.
    """
    check_alike(student_regions, teacher_regions)
    losses = _per_region(student_regions, teacher_regions, labels, base, temperature, beta)
    consistent = consistent_regions(teacher_regions, teacher_logits, labels, reference)
    return (losses * consistent).mean(), (losses * ~consistent).mean()


def sdd_loss(
    student_regions: Tensor,
    teacher_regions: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    complementary: float = 2.0,
    base: Base = "kd",
    temperature: float = 4.0,
    beta: float = 8.0,
    reference: Reference = "label",
) -> Tensor:
    """The sum of sdd_losses, the second times `complementary`; a scalar. Other arguments as there."""
    own, others = sdd_losses(
        student_regions, teacher_regions, teacher_logits, labels, base, temperature, beta, reference
    )
    return own + complementary * others


@register
class Sdd(Method):
    """A logit distillation on every region, the complementary ones (another class than the image's) weighing more.

    Args:
        scales: m of the grids of m x m regions; 1 is the whole map. See region_logits.
        complementary: the weight of regions in which the teacher sees something else than in the image.
        base: the loss of a region, "kd" or "dkd" with alpha 1.
        temperature: T.
        beta: weight of the other classes' part by the base "dkd".
        reference: by which regions are told apart, "label" or "teacher"; see consistent_regions.
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
        beta: float = 8.0,
        reference: Reference = "label",
    ) -> None:
        super().__init__()
        if not scales:
            raise XkdError("scales: empty; expected grid sizes such as [1, 2, 4]")
        self.scales = tuple(count("scales", scale) for scale in several("scales", scales, int))
        self.complementary = positive("complementary", complementary)
        self.base: Base = one_of("base", base, _BASES)
        self.temperature = positive("temperature", temperature)
        self.beta = positive("beta", beta)
        self.reference: Reference = one_of("reference", reference, _REFERENCES)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward. The mean over regions and images."""
        student_regions = region_logits(student.cams(), student.head_bias, self.scales)
        teacher_regions = region_logits(teacher.cams(), teacher.head_bias, self.scales)
        whole = region_logits(teacher.cams(), teacher.head_bias, (1,))[:, 0]
        options = (self.base, self.temperature, self.beta, self.reference)
        consistent, others = sdd_losses(student_regions, teacher_regions, whole, labels, *options)
        return {"sdd_consistent": consistent, "sdd_complementary": self.complementary * others}


def _per_region(
    student: Tensor, teacher: Tensor, labels: Tensor, base: Base, temperature: float, beta: float
) -> Tensor:
    """(B, R)."""
    if one_of("base", base, _BASES) == "kd":
        return kd_loss_per_row(student, teacher, temperature)
    regions = student.shape[1]
    check_alike(student[:, 0, 0], labels, name="labels")
    tckd, nckd = dkd_losses(
        student.flatten(0, 1), teacher.flatten(0, 1), labels.repeat_interleave(regions), temperature
    )
    return (tckd + beta * nckd).unflatten(0, (-1, regions))
