"""NORM: N-to-one representation matching (Liu et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.options import count
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.taps import TapMethod
from xkd_eval.errors import XkdError


def norm_loss(expanded: Tensor, teacher: Tensor) -> Tensor:
    """N times the mean squared error of N student representations with one of the teacher's (Liu et al., ICLR 2023).

    Args:
        expanded: (B, N C, h, w), the student's map, N groups of the teacher's channels.
        teacher: (B, C, h', w'); the larger of the two is max-pooled to the smaller's size.

    Returns:
        Scalar, the sum over the groups of their means.
    """
    groups, rest = divmod(expanded.shape[1], teacher.shape[1])
    if rest or not groups or len(expanded) != len(teacher):
        raise XkdError(
            f"teacher: shape {tuple(teacher.shape)} found; expected as many images as the student's {len(expanded)}, "
            f"and a divisor of its {expanded.shape[1]} channels"
        )
    height, width = (min(sides) for sides in zip(expanded.shape[2:], teacher.shape[2:], strict=True))
    own, other = (F.adaptive_max_pool2d(maps, (height, width)) for maps in (expanded, teacher))
    return F.mse_loss(own, other.repeat(1, groups, 1, 1)) * groups


@register
class Norm(TapMethod):
    """The student's deepest stage, expanded to N times the teacher's channels, matches the teacher's N times over.

    It is expanded by a 1x1 convolution and a batch norm, which are trained.

    The authors put the expansion, and a contraction behind it, into the student between its last map and its pool, and
    fold both into its head afterwards; here they stand beside the student, whose network stays what it is.

    Args:
        groups: N.
        student_taps, teacher_taps: see TapMethod; by default the deepest pair alone. Of several the losses are added.
    """

    name = "norm"
    citation = "Liu et al., NORM: Knowledge Distillation via N-to-One Representation Matching, ICLR 2023"
    takes_mixed = True
    needs_images = 2  # for its batch norm

    def __init__(
        self,
        groups: int = 8,
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.groups = count("groups", groups)
        self.expansions = nn.ModuleList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        pairs = zip(self.expansions, self.pairs(student, teacher), strict=True)
        return {"norm": torch.stack([norm_loss(expand(own), other) for expand, (own, other) in pairs]).sum()}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        self.expansions = nn.ModuleList(self._expansion(own, other) for own, other in self.pairs(student, teacher))

    def _paired(self, student: Pass, teacher: Pass) -> list[tuple[str, str]]:
        pairs = super()._paired(student, teacher)
        is_listed = self.student_taps is not None or self.teacher_taps is not None
        return pairs if is_listed else pairs[-1:]

    def _expansion(self, own: Tensor, teacher: Tensor) -> nn.Module:
        channels = self.groups * teacher.shape[1]
        convolution = nn.Conv2d(own.shape[1], channels, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        return nn.Sequential(convolution, nn.BatchNorm2d(channels)).to(own)
