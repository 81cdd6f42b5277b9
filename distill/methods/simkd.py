"""SimKD: the teacher's classifier on the student's projected map (Chen et al., CVPR 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from distill.methods.base import Method
from distill.methods.fitnet import fitnet_loss
from distill.methods.options import count
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to_smaller
from xkd_eval.classifiers.architectures.reused_head import projector


def simkd_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the last maps (Chen et al., CVPR 2022).

    Args:
        projected: (B, C_t, h, w), the student's map through its projector.
        teacher: (B, C_t, h', w'); the larger of the two is averaged to the smaller's size.

    Returns:
        Scalar, the mean over all four dimensions.
    """
    return fitnet_loss(projected, teacher)


@register
class SimKd(Method):
    """simkd_loss, which trains a student that keeps the projector and ends in the teacher's frozen head.

    A training makes that student of the recipe's (architecture "reused_head"), so that `ce` may be left out, as
    published, and every other method sees the projected map. In a loop of one's own `projector` is the method's: what
    the student learns is to be classified by the teacher's head on the average of its projected map.

    Args:
        factor: the teacher's channels over those within the projector; 8 and 4 are cheaper, 2 is the best published.

    Attributes:
        is_built_in: whether the student's map is projected already, set by the training that sees to it.
        projector: of the student's map; nothing where `is_built_in`.
    """

    name = "simkd"
    citation = "Chen et al., CVPR 2022"
    requires = frozenset({"features"})
    takes_mixed = True
    needs_images = 2  # for its batch norms

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        self.factor = count("factor", factor)
        self.is_built_in = False
        self.projector: nn.Module = nn.Identity()

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        own, other = pool_to_smaller(student.last_map(), teacher.last_map())
        return {"simkd": simkd_loss(self.projector(own), other)}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        if not self.is_built_in:
            own, channels = student.last_map(), teacher.last_map().shape[1]
            self.projector = projector(own.shape[1], channels, hidden_channels(channels, self.factor)).to(own)


def hidden_channels(channels: int, factor: int) -> int:
    """Those within the projector to so many channels of a teacher."""
    return max(channels // factor, 1)
