"""NST: neuron selectivity transfer (Huang & Wang, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod


def nst_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between the channels' maps, by the polynomial kernel (x . y)^2 (Huang & Wang,
    2017).

    Args:
        student, teacher: (B, C_s, h, w) and (B, C_t, h', w'); the larger is averaged to the smaller's size.

    Returns:
        Scalar, the mean over the batch and the pairs of channels.
    """
    check_alike(student, teacher, dimensions=1)
    student, teacher = (F.normalize(maps.flatten(2), dim=2) for maps in pool_to_smaller(student, teacher))
    return _kernel(teacher, teacher) + _kernel(student, student) - 2 * _kernel(student, teacher)


@register
class Nst(TapMethod):
    """The sum of nst_loss over the paired taps."""

    name = "nst"
    citation = "Huang & Wang, 2017"
    takes_mixed = True

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        losses = [nst_loss(*pair) for pair in self.pairs(student, teacher)]
        return {"nst": torch.stack(losses).sum()}


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.transpose(1, 2)).square().mean()
