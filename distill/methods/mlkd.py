"""MLKD: multi-level logit distillation (Jin et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.kd import kd_loss, standardise_logits
from distill.methods.options import one_of, positives
from distill.methods.passes import Pass
from distill.methods.registry import register

_TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


def mlkd_losses(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperatures: Sequence[float] = _TEMPERATURES,
    standardise: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Alignment of the images, of pairs of images and of pairs of classes (Jin et al., CVPR 2023).

    The images: kd_loss. The pairs: of the softened probabilities P the summed squared differences of P P^T, divided by
    B, and of P^T P, divided by K. Each is summed over the temperatures.

    The published code multiplies each by what its masks come to: the share of the images, or of the classes, that lie
    at the median of the teacher's confidence or below it. That is a half, and more where several are equally confident,
    up to all of them where it is certain. It adds the images' part of a second view without that factor; here of the
    same one.

    Args:
        student_logits, teacher_logits: (B, K); B is the batch that is compared.
        temperatures: one kd_loss and two Gram matrices for each.
        standardise: z-score each row of logits for the images' part (Sun et al., CVPR 2024).

    Returns:
        The images', the batch's and the classes' loss, scalars.
    """
    check_alike(student_logits, teacher_logits)
    certainty = F.softmax(teacher_logits, dim=1)
    images, classes = _share_below_median(certainty.amax(1)), _share_below_median(certainty.sum(0))
    compared = (student_logits, teacher_logits)
    own, other = (standardise_logits(logits) if standardise else logits for logits in compared)
    instance = torch.stack([kd_loss(own, other, temperature) for temperature in temperatures]).sum()
    grams = [_gram_losses(*compared, temperature) for temperature in temperatures]
    batch, between_classes = (torch.stack(losses).sum() for losses in zip(*grams, strict=True))
    return (1 + images) * instance, images * batch, classes * between_classes


def mlkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperatures: Sequence[float] = _TEMPERATURES,
    standardise: bool = False,
) -> Tensor:
    """The sum of mlkd_losses (Jin et al., CVPR 2023), a scalar. Other arguments as there."""
    return torch.stack(mlkd_losses(student_logits, teacher_logits, temperatures, standardise)).sum()


@register
class Mlkd(Method):
    """mlkd_losses, over the batch of all processes.

    The published training shows each image twice, by flips and crops, and by RandAugment besides, and adds up the
    cross-entropies of both. Here a batch holds one view, and both stand for it; `data.randaugment` makes it the
    stronger one.

    Args:
        temperatures: each adds its losses.
        standardise: z-score each row of logits for the images' part.
    """

    name = "mlkd"
    citation = "Jin et al., CVPR 2023; standardise: Sun et al., CVPR 2024"
    requires = frozenset({"logits"})
    takes_mixed = True
    gathers = True

    def __init__(self, temperatures: Sequence[float] = _TEMPERATURES, standardise: bool = False) -> None:
        super().__init__()
        self.temperatures = positives("temperatures", temperatures)
        self.standardise = one_of("standardise", standardise, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        logits = gather_batch(student.logits), gather_batch(teacher.logits)
        instance, batch, classes = mlkd_losses(*logits, self.temperatures, self.standardise)
        return {"mlkd_instance": instance, "mlkd_batch": batch, "mlkd_class": classes}


def _gram_losses(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Of the images over the classes, and of the classes over the images."""
    own, other = (F.softmax(logits / temperature, dim=1) for logits in (student_logits, teacher_logits))
    between_images = (own @ own.T - other @ other.T).square().sum() / len(own)
    between_classes = (own.T @ own - other.T @ other).square().sum() / own.shape[1]
    return between_images, between_classes


def _share_below_median(values: Tensor) -> Tensor:
    """(N,) -> scalar, how many lie at the median or below it, of all."""
    ordered = values.sort().values
    median = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    return (values <= median).to(values.dtype).mean()
