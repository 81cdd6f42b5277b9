"""AT: attention transfer (Zagoruyko & Komodakis, ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod


def at_loss(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    """Mean squared difference of the normalised spatial attention maps (Zagoruyko & Komodakis, ICLR 2017).

    Args:
        student, teacher: (B, C_s, h, w) and (B, C_t, h', w'); the larger is averaged to the smaller's size.
        power: p of the attention, mean over channels of `|F|^p`.

    Returns:
        Scalar, the mean over batch and places.
    """
    check_alike(student, teacher, dimensions=1)
    student, teacher = pool_to_smaller(student, teacher)
    return F.mse_loss(_attention(student, power), _attention(teacher, power))


@register
class At(TapMethod):
    """The sum of at_loss over the paired taps.

    Args:
        power: p.
        student_taps, teacher_taps: see TapMethod.
    """

    name = "at"
    citation = "Zagoruyko & Komodakis, ICLR 2017"
    takes_mixed = True

    def __init__(
        self,
        power: float = 2.0,
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.power = positive("power", power)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        losses = [at_loss(*pair, self.power) for pair in self.pairs(student, teacher)]
        return {"at": torch.stack(losses).sum()}


def _attention(features: Tensor, power: float) -> Tensor:
    powers = features.abs().pow(power) if power >= 1 else _root(features, power)
    return F.normalize(powers.mean(1).flatten(1), dim=1)


def _root(features: Tensor, power: float) -> Tensor:
    """|F|^p below p = 1, whose slope at zero is infinite, with the slope 0 there."""
    sizes = features.abs()
    return sizes.clamp(min=torch.finfo(sizes.dtype).tiny).pow(power) * (sizes > 0)
