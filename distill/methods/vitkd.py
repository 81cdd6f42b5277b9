"""ViTKD: shallow tokens mimicked, the deepest generated (Yang et al., arXiv 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.methods.alike import check_alike
from distill.methods.options import fraction, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod
from xkd_eval.errors import XkdError


def vitkd_loss(own: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared differences of tokens, or of those that are masked, added up over an image (ViTKD, Yang et al., 2022).

    Args:
        own, teacher: (B, C, h, w), tokens as maps, the student's brought to the teacher's channels.
        mask: (B, h, w), 1 for the tokens that count; None counts all.

    Returns:
        Scalar, the mean over the batch.
    """
    check_alike(own, teacher)
    squares = (own - teacher).square().sum(1)
    return (squares if mask is None else squares * mask).sum((1, 2)).mean()


class Generation(nn.Module):
    """Masks some of a map's places and makes all of it of the rest, by two convolutions.

    Args:
        channels: C.
        masked: the fraction of places.
    """

    def __init__(self, channels: int, masked: float) -> None:
        super().__init__()
        self.masked = masked
        self.mask_token = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.generate = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> the generated map (B, C, h, w), and which places were masked (B, h, w)."""
        mask = self._drawn(features)
        shown = torch.where(mask[:, None] > 0, self.mask_token, features)
        return self.generate(shown), mask

    def _drawn(self, features: Tensor) -> Tensor:
        """1 for the masked places, as many in each image."""
        images, _, height, width = features.shape
        noise = torch.rand(images, height * width, device=features.device)
        shown = int(height * width * (1 - self.masked))
        mask = torch.ones_like(noise)
        mask.scatter_(1, noise.argsort(1)[:, :shown], 0.0)
        return mask.unflatten(1, (height, width)).to(features.dtype)


@register
class VitKd(TapMethod):
    """The deepest paired tap is generated from half of its tokens, all shallower ones are mimicked.

    The paper pairs the first two blocks and the last: `student_taps: [blocks.0, blocks.1, blocks.11]`, the teacher's
    alike. What `weight` multiplies is mimicking * (squared difference of an image) and generation / masked * (that of
    its masked tokens), so that it is 1 as published.

    Args:
        mimicking: the paper's alpha.
        generation: its beta.
        masked: its lambda, the fraction of tokens that are masked.
        student_taps, teacher_taps: see TapMethod; maps of other networks are taken as they are.
    """

    name = "vitkd"
    citation = "Yang et al., ViTKD: Feature-based Knowledge Distillation for Vision Transformers, arXiv 2022"
    takes_mixed = True
    capturable = False

    def __init__(
        self,
        mimicking: float = 3e-5,
        generation: float = 3e-6,
        masked: float = 0.5,
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.mimicking = positive("mimicking", mimicking)
        self.generation = positive("generation", generation)
        self.masked = fraction("masked", positive("masked", masked))
        self.align = nn.ModuleList()
        self.generator: Generation | None = None

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        assert self.generator is not None
        pairs = [
            pool_to_smaller(align(own), other)
            for align, (own, other) in zip(self.align, self.pairs(student, teacher), strict=True)
        ]
        made, mask = self.generator(pairs[-1][0])
        generation = self.generation / self.masked * vitkd_loss(made, pairs[-1][1], mask)
        mimicked = [vitkd_loss(own, other) for own, other in pairs[:-1]]
        return {"vitkd/mimicking": self.mimicking * torch.stack(mimicked).sum(), "vitkd/generation": generation}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        pairs = self.pairs(student, teacher)
        if len(pairs) < 2:
            raise XkdError(
                f"student_taps: {len(pairs)} pair found; expected 2 or more, of which the deepest is generated and the "
                "others are mimicked"
            )
        self.align = nn.ModuleList(_aligning(own, other) for own, other in pairs)
        deepest = pairs[-1][1]
        self.generator = Generation(deepest.shape[1], self.masked).to(deepest)


def _aligning(own: Tensor, teacher: Tensor) -> nn.Module:
    """The student's channels to the teacher's, where they differ."""
    channels = own.shape[1], teacher.shape[1]
    return nn.Identity() if channels[0] == channels[1] else nn.Conv2d(*channels, 1).to(own)
