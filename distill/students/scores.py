"""How good a classifier is: accuracy, loss, calibration, and how often it agrees with its teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.data.batches import LabelledBatch

BINS = 15
_TOP = 5


@dataclass(frozen=True)
class Scores:
    """What one classifier makes of one set of labelled images; fractions are from 0 to 1.

    Attributes:
        n_images: how many images.
        top1, top5: fraction whose true class is the most probable, or among the five most probable (or all K < 5).
        loss: mean cross-entropy, in nats.
        calibration_error: see `expected_calibration_error`.
        agreement: fraction on which the most probable class is the teacher's; None without one.
    """

    n_images: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    agreement: float | None = None

    def to_dict(self) -> dict[str, float | int]:
        """The attributes by name, without an agreement that is None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(
    classify: Callable[[Tensor], Tensor],
    batches: Iterable[LabelledBatch],
    teacher_answers: Callable[[LabelledBatch], Tensor] | None = None,
    gather: Callable[[Tensor], Tensor] = lambda values: values,
) -> Scores:
    """Measure a classifier on batches of labelled images.

    Args:
        classify: (B, 3, H, W) uint8 -> (B, K) logits; in eval mode.
        batches: of images that were not trained on.
        teacher_answers: batch -> (B,) class indices that the teacher predicts.
        gather: (n, 5) of this process -> (N, 5) of all.
    """
    with torch.inference_mode():
        parts = [_measure(classify, batch, teacher_answers) for batch in batches]
        columns = gather(torch.cat(parts)).double().cpu()
    top1, top5, loss, confidence, agrees = columns.unbind(1)
    return Scores(
        n_images=len(columns),
        top1=top1.mean().item(),
        top5=top5.mean().item(),
        loss=loss.mean().item(),
        calibration_error=expected_calibration_error(confidence, top1),
        agreement=None if teacher_answers is None else agrees.mean().item(),
    )


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """|accuracy - confidence| in bins of equal width, weighted by their images (Guo et al., ICML 2017).

    Args:
        confidence: (N,) probability of the predicted class.
        correct: (N,) 1 where it is the true one.
        bins: ]0, 1/n], ]1/n, 2/n], ...
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)[1:-1]
    place = torch.bucketize(confidence.contiguous(), edges)
    gap = torch.zeros(bins, dtype=confidence.dtype).index_add_(0, place, correct - confidence)
    return (gap.abs().sum() / len(confidence)).item()


def _measure(
    classify: Callable[[Tensor], Tensor],
    batch: LabelledBatch,
    teacher_answers: Callable[[LabelledBatch], Tensor] | None,
) -> Tensor:
    """(B, 5): correct, correct among five, cross-entropy, confidence, agreement."""
    logits = classify(batch.pixels).float()
    best = logits.topk(min(_TOP, logits.shape[1])).indices
    hits = best == batch.labels[:, None]
    agrees = torch.zeros_like(batch.labels)
    if teacher_answers is not None:
        agrees = teacher_answers(batch) == best[:, 0]
    columns = (
        hits[:, 0],
        hits.any(1),
        F.cross_entropy(logits, batch.labels, reduction="none"),
        logits.softmax(1).amax(1),
        agrees,
    )
    return torch.stack([column.float() for column in columns], dim=1)
