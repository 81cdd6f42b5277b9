"""ReviewKD: knowledge review (Chen et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.options import count, one_of
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.taps import Maps, TapMethod

_PYRAMID = (4, 2, 1)


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss: mean squared errors at full size and over average pools of 4, 2 and 1 places a side
    (Chen et al., CVPR 2021).

    Each pool weighs half of the one before; the weights are normalised to a sum of 1, and pools that are not smaller
    than the map are left out.

    Args:
        student, teacher: (B, C, h, w).

    Returns:
        Scalar.
    """
    check_alike(student, teacher)
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in _PYRAMID:
        if side < student.shape[2]:
            weight /= 2
            total += weight
            pooled = F.adaptive_avg_pool2d(student, side), F.adaptive_avg_pool2d(teacher, side)
            loss = loss + weight * F.mse_loss(*pooled)
    return loss / total


class AttentionFusion(nn.Module):
    """Fuse a student's map with what the deeper ones left, by learnt spatial weights.

    Args:
        inputs: channels of the student's map.
        hidden: channels of what passes on from deep to shallow.
        outputs: channels of the teacher's map.
        first: the deepest map, which has nothing to fuse with.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, first: bool) -> None:
        super().__init__()
        reduce = nn.Conv2d(inputs, hidden, 1, bias=False)
        expand = nn.Conv2d(hidden, outputs, 3, padding=1, bias=False)
        for convolution in (reduce, expand):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.reduce = nn.Sequential(reduce, nn.BatchNorm2d(hidden))
        self.attention = None if first else nn.Sequential(nn.Conv2d(2 * hidden, 2, 1), nn.Sigmoid())
        self.expand = nn.Sequential(expand, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(B, inputs, h, w), (B, hidden, h', w') -> (B, outputs, *size) and what passes on (B, hidden, *size)."""
        fused = self.reduce(features)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            shares = self.attention(torch.cat((fused, deeper), dim=1))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        resized = fused if fused.shape[2:] == size else F.interpolate(fused, size=size, mode="nearest")
        return self.expand(resized), resized


@register
class ReviewKd(TapMethod):
    """Each of the teacher's maps before its ReLU from the student's of that depth and all deeper ones; the sum of
    hcl_loss.

    Args:
        hidden: channels of the fusion, at most; the student's deepest map may have fewer.
        embedding: review the embedding too, as a 1x1 map beyond the deepest.
        student_maps: "stages" behind their ReLU, as published for CIFAR; or "preactivations", as for ImageNet.
        student_taps, teacher_taps: see TapMethod.
    """

    name = "reviewkd"
    citation = "Chen et al., CVPR 2021"
    requires = frozenset({"taps", "embedding"})
    takes_mixed = True
    needs_images = 2  # for its batch norms
    teacher_maps = "preactivations"

    def __init__(
        self,
        hidden: int = 512,
        embedding: bool = True,
        student_maps: Maps = "stages",
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.hidden = count("hidden", hidden)
        self.embedding = one_of("embedding", embedding, (True, False))
        self.student_maps = one_of("student_maps", student_maps, get_args(Maps))
        self.fusions = nn.ModuleList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        losses: list[Tensor] = []
        passed: Tensor | None = None
        for fuse, (own, other) in zip(self.fusions, self._deep_to_shallow(student, teacher), strict=True):
            reviewed, passed = fuse(own, passed, other.shape[2:])
            losses.append(hcl_loss(reviewed, other))
        return {"reviewkd": torch.stack(losses).sum()}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        pairs = self._deep_to_shallow(student, teacher)
        hidden = min(self.hidden, pairs[0][0].shape[1])
        self.fusions = nn.ModuleList(
            AttentionFusion(own.shape[1], hidden, other.shape[1], first=depth == 0).to(own)
            for depth, (own, other) in enumerate(pairs)
        )

    def _deep_to_shallow(self, student: Pass, teacher: Pass) -> list[tuple[Tensor, Tensor]]:
        pairs = self.pairs(student, teacher)
        if self.embedding:
            pairs.append((student.embedding()[:, :, None, None], teacher.embedding()[:, :, None, None]))
        return pairs[::-1]
