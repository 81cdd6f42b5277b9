"""OFD: a comprehensive overhaul of feature distillation (Heo et al., ICCV 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.methods.alike import check_alike
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod
from xkd_eval.errors import XkdError

_RARE = 0.001
"""The share of negative values below which a channel's margin is not their mean."""


def partial_l2_loss(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Squared distance to the teacher's map behind a margin ReLU, where it asks for anything (Heo et al., ICCV 2019).

    The target is max(teacher, margin). Where it is not positive and the student's value already lies below it, nothing
    is lost: both end as zero behind a ReLU.

    Args:
        student, teacher: (B, C, h, w), before their ReLU.
        margin: (C,), negative, as negative_mean or normal_negative_mean have it.

    Returns:
        Scalar, the sum over channels and places, averaged over the batch.
    """
    check_alike(student, teacher)
    target = torch.maximum(teacher, margin[:, None, None])
    satisfied = (student <= target) & (target <= 0)
    return ((student - target).square() * ~satisfied).sum((1, 2, 3)).mean()


def negative_mean(features: Tensor) -> Tensor:
    """The margin of each channel, the mean of its negative values: (B, C, h, w) -> (C,); 0 where it has none."""
    negative = features.clamp(max=0)
    return negative.sum((0, 2, 3)) / (negative < 0).sum((0, 2, 3)).clamp(min=1)


def normal_negative_mean(mean: Tensor, deviation: Tensor) -> Tensor:
    """The margin of each channel whose values are normally distributed: the mean of the negative ones (Heo et al., ICCV
    2019).

    Args:
        mean, deviation: (C,), of maps (B, C, h, w), as the bias and the weight of a batch norm say them.

    Returns:
        (C,); minus three deviations where fewer than one value in 1,000 is negative.
    """
    mean, deviation = mean.double(), deviation.double().abs()
    ratio = mean / deviation.clamp(min=torch.finfo(deviation.dtype).tiny)
    below, density = torch.special.ndtr(-ratio), (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    margin = mean - deviation * density / below
    return torch.where(below > _RARE, margin, -3 * deviation)


@register
class Ofd(TapMethod):
    """partial_l2_loss over the paired maps before their ReLU, the student's through a trained 1x1 convolution and batch
    norm.

    Each stage weighs half of the next deeper one, and the sum is divided by 1,000, so that a weight of 1 is what is
    published for small images. The margins follow from the batch norms that the teacher's maps come from; where these
    are not known they are measured on the batch of `setup`.
    """

    name = "ofd"
    citation = "Heo et al., ICCV 2019"
    takes_mixed = True
    needs_images = 2  # for its batch norms
    student_maps = "preactivations"
    teacher_maps = "preactivations"

    def __init__(self, student_taps: Sequence[str] | None = None, teacher_taps: Sequence[str] | None = None) -> None:
        super().__init__(student_taps, teacher_taps)
        self.connectors = nn.ModuleList()
        self.margins = nn.ParameterList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        pairs = self.pairs(student, teacher)
        losses = []
        for depth, (connect, margin, (own, other)) in enumerate(
            zip(self.connectors, self.margins, pairs, strict=True), start=1
        ):
            weight = 2.0 ** (depth - len(pairs))
            losses.append(weight * partial_l2_loss(*pool_to_smaller(connect(own), other), margin))
        return {"ofd": torch.stack(losses).sum() / 1000}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        pairs, paths = self.pairs(student, teacher), [other for _, other in self._paired(student, teacher)]
        margins = [self._margin(position, path, teacher.taps[path]) for position, path in enumerate(paths, start=1)]
        self.connectors = nn.ModuleList(_connector(own, other).to(own) for own, other in pairs)
        # Parameters only so that they are saved and moved with the module; they are never trained.
        self.margins = nn.ParameterList(nn.Parameter(margin, requires_grad=False) for margin in margins)
        if measured := [path for path in paths if path not in self.teacher_norms]:
            self.remark = f"margins of {', '.join(measured)} are measured on one batch, as no batch norm is known there"

    def _margin(self, position: int, path: str, features: Tensor) -> Tensor:
        if path in self.teacher_norms:
            return normal_negative_mean(*self.teacher_norms[path]).to(features)
        if not (features < 0).any():
            raise XkdError(
                f"teacher_taps: number {position} has no negative value; expected a map before its ReLU: the last "
                'batch norm of a stage, or "before PATH" of a ReLU'
            )
        return negative_mean(features)


def _connector(student: Tensor, teacher: Tensor) -> nn.Sequential:
    convolution = nn.Conv2d(student.shape[1], teacher.shape[1], 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(teacher.shape[1]))
