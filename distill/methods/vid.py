"""VID: variational information distillation (Ahn et al., CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.options import positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from distill.methods.taps import TapMethod
from xkd_eval.errors import XkdError

_SMALLEST_VARIANCE = 1e-5


def vid_loss(predicted: Tensor, teacher: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's map by a Gaussian around a prediction (Ahn et al., CVPR 2019).

    Without its constant, log(2 pi) / 2. The variance of a channel is softplus(log_scale) + 1e-5.

    Args:
        predicted, teacher: (B, C, h, w); the first the student's map through layers of yours.
        log_scale: (C,), trained.

    Returns:
        Scalar, the mean over all four dimensions.
    """
    check_alike(predicted, teacher)
    check_alike(predicted[0, :, 0, 0], log_scale, name="log_scale")
    variance = (F.softplus(log_scale) + _SMALLEST_VARIANCE)[:, None, None]
    return 0.5 * ((predicted - teacher).square() / variance + variance.log()).mean()


class VidRegressor(nn.Module):
    """The Gaussian of a teacher's map: three 1x1 convolutions with ReLU between for its mean, a variance a channel.

    Args:
        inputs: channels of the student's map.
        outputs: channels of the teacher's.
        variance: of all channels at first.
    """

    def __init__(self, inputs: int, outputs: int, variance: float) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )
        self.log_scale = nn.Parameter(torch.full((outputs,), _inverse_softplus(variance - _SMALLEST_VARIANCE)))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(B, inputs, h, w), (B, outputs, h', w') -> scalar: vid_loss at the smaller size, averaged before it."""
        student, teacher = pool_to_smaller(student, teacher)
        return vid_loss(self.mean(student), teacher, self.log_scale)


@register
class Vid(TapMethod):
    """The sum of vid_loss over the paired taps, each with a VidRegressor of its own.

    It may be negative, as a density may be above 1.

    Args:
        variance: of every channel at first.
        student_taps, teacher_taps: see TapMethod.
    """

    name = "vid"
    citation = "Ahn et al., CVPR 2019"
    takes_mixed = True

    def __init__(
        self,
        variance: float = 5.0,
        student_taps: Sequence[str] | None = None,
        teacher_taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_taps, teacher_taps)
        self.variance = positive("variance", variance)
        if variance <= _SMALLEST_VARIANCE:
            raise XkdError(f"variance: {variance} found; expected a number above {_SMALLEST_VARIANCE}")
        self.regressors = nn.ModuleList()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        pairs = zip(self.regressors, self.pairs(student, teacher), strict=True)
        return {"vid": torch.stack([regress(*pair) for regress, pair in pairs]).sum()}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        self.regressors = nn.ModuleList(
            VidRegressor(own.shape[1], other.shape[1], self.variance).to(own)
            for own, other in self.pairs(student, teacher)
        )


def _inverse_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))
