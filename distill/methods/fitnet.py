"""FitNet: hints from intermediate maps (Romero et al., ICLR 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod


def fitnet_loss(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between maps of the same channels (Romero et al., ICLR 2015).

    Args:
        regressed: (B, C_t, h, w), the student's map through its regressor.
        teacher: (B, C_t, h', w'); the larger of the two is averaged to the smaller's size.

    Returns:
        Scalar, the mean over all four dimensions.
    """
    check_alike(regressed, teacher, dimensions=2)
    return F.mse_loss(*pool_to_smaller(regressed, teacher))


@register
class FitNet(TapMethod):
    """The sum of fitnet_loss over the paired taps, the student's through a trained 1x1 convolution.

    The paper trains a first stage on one hint alone; as in later comparisons it is one loss beside the others here.
    """

    name = "fitnet"
    citation = "Romero et al., ICLR 2015"
    takes_mixed = True

    def __init__(self, student_taps: Sequence[str] | None = None, teacher_taps: Sequence[str] | None = None) -> None:
        super().__init__(student_taps, teacher_taps)
        self.regressors = nn.ModuleList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        pairs = zip(self.regressors, self.pairs(student, teacher), strict=True)
        return {"fitnet": torch.stack([fitnet_loss(regress(own), other) for regress, (own, other) in pairs]).sum()}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        self.regressors = nn.ModuleList(
            nn.Conv2d(own.shape[1], other.shape[1], 1).to(own) for own, other in self.pairs(student, teacher)
        )
