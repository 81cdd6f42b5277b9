"""OFD: a comprehensive overhaul of feature distillation (Heo et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.methods.alike import check_alike
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod
from xkd_eval.errors import XkdError


def partial_l2_loss(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Squared distance to the teacher's map behind a margin ReLU, where it asks for anything (Heo et al., ICCV 2019).

    The target is max(teacher, margin). Where it is not positive and the student's value already lies below it, nothing
    is lost: both end as zero behind a ReLU.

    Args:
        student, teacher: (B, C, h, w), before their ReLU.
        margin: (C,), negative, as negative_mean has it.

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


@register
class Ofd(TapMethod):
    """partial_l2_loss over the paired taps, the student's through a trained 1x1 convolution and batch norm.

    Taps stand before a ReLU, so they are batch norms as a rule. Each stage weighs half of the next deeper one, and the
    sum is divided by 1,000, as published for small images. The margins are measured on the batch of `setup`, where the
    paper has them from batch norm parameters or from training images.
    """

    name = "ofd"
    citation = "Heo et al., ICCV 2019"
    takes_mixed = True
    needs_images = 2  # for its batch norms

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
        pairs = self.pairs(student, teacher)
        for position, (_, other) in enumerate(pairs):
            if not (other < 0).any():
                raise XkdError(
                    f"teacher_taps: number {position + 1} has no negative value; expected a module before its ReLU, "
                    "such as the last batch norm of a stage"
                )
        self.connectors = nn.ModuleList(
            nn.Sequential(nn.Conv2d(own.shape[1], other.shape[1], 1, bias=False), nn.BatchNorm2d(other.shape[1])).to(
                own
            )
            for own, other in pairs
        )
        # Parameters only so that they are saved and moved with the module; they are never trained.
        self.margins = nn.ParameterList(nn.Parameter(negative_mean(other), requires_grad=False) for _, other in pairs)
