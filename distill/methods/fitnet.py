"""FitNet: hints from intermediate maps (Romero et al., ICLR 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.options import count
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
    """fitnet_loss of one hint, the student's map through a trained convolution, batch norm and ReLU.

    The paper trains a first stage on the hint alone; as in later comparisons it is one loss beside the others here.

    Args:
        hint: which of the stages of both networks is compared, from the input; the last, where there are fewer.
        student_taps, teacher_taps: see TapMethod. Where both networks' are listed, the sum over all pairs.
    """

    name = "fitnet"
    citation = "Romero et al., ICLR 2015"
    takes_mixed = True
    needs_images = 2  # for its batch norms

    def __init__(
        self,
        hint: int = 2,
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.hint = count("hint", hint)
        self.regressors = nn.ModuleList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        pairs = zip(self.regressors, self.pairs(student, teacher), strict=True)
        return {"fitnet": torch.stack([fitnet_loss(regress(own), other) for regress, (own, other) in pairs]).sum()}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        self.regressors = nn.ModuleList(regressor(own, other).to(own) for own, other in self.pairs(student, teacher))

    def _of_stages(self, stages: tuple[str, ...]) -> tuple[str, ...]:
        return stages[: self.hint][-1:]


def regressor(student: Tensor, teacher: Tensor) -> nn.Sequential:
    """A convolution from a student's map to the channels of a teacher's, batch norm and ReLU.

    Args:
        student, teacher: (B, C_s, h_s, w_s) and (B, C_t, h_t, w_t). Of a map twice as large as the teacher's the
            convolution is 3x3 by strides of 2, of one half as large a transposed 4x4, of any other 1x1.
    """
    (inputs, *own), (outputs, *other) = student.shape[1:], teacher.shape[1:]
    convolution: nn.Module
    if own == [2 * side for side in other]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    elif other == [2 * side for side in own]:
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    else:
        convolution = nn.Conv2d(inputs, outputs, 1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
