"""How good a classifier is: what it answers to each image, and the scores that follow from the answers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.data.batches import LabelledBatch

BINS = 15
_TOP = 5

Classify = Callable[[Tensor], Tensor]
"""(B, 3, H, W) uint8 -> (B, K) logits, in eval mode."""

TeacherAnswers = Callable[[LabelledBatch], Tensor]
"""A batch -> what the teacher answers to it: (B, K) logits, or (B,) class indices."""


@dataclass(frozen=True)
class Answers:
    """What a classifier makes of each of N images; float32, on whatever device it was asked.

    Attributes:
        indices: (N,) int64, each image's place in its split.
        labels: (N,) int64, its class.
        top: (N, k) int64, the k = min(5, K) most probable classes, the most probable first.
        probabilities: (N, k), theirs.
        loss: (N,), the cross-entropy in nats: minus the logarithm of the true class's probability.
        teacher: (N,) int64, the class that the teacher answers; None without one.
        divergence: (N,), KL(teacher || student) in nats at temperature 1; None where the teacher's logits are unknown.
    """

    indices: Tensor
    labels: Tensor
    top: Tensor
    probabilities: Tensor
    loss: Tensor
    teacher: Tensor | None = None
    divergence: Tensor | None = None

    @property
    def predicted(self) -> Tensor:
        """(N,) int64, the most probable class."""
        return self.top[:, 0]

    @property
    def correct(self) -> Tensor:
        """(N,) bool, whether that is the true one."""
        return self.predicted == self.labels

    def each(self, change: Callable[[Tensor], Tensor]) -> Answers:
        """The same with every tensor changed: moved, or gathered from all processes."""
        return Answers(**{name: None if value is None else change(value) for name, value in vars(self).items()})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scores:
    """What one classifier makes of one set of labelled images; fractions are from 0 to 1.

    Attributes:
        n_images: how many images.
        top1, top5: fraction whose true class is the most probable, or among the five most probable (or all K < 5).
        loss: mean cross-entropy, in nats.
        calibration_error: see `expected_calibration_error`.
        agreement: fraction on which the most probable class is the teacher's; None without one.
        divergence: mean KL(teacher || student) in nats at temperature 1; None where the teacher's logits are unknown.
    """

    n_images: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    agreement: float | None = None
    divergence: float | None = None

    def to_dict(self) -> dict[str, float | int]:
        """The attributes by name, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(
    classify: Classify,
    batches: Iterable[LabelledBatch],
    teacher_answers: TeacherAnswers | None = None,
    gather: Callable[[Tensor], Tensor] = lambda values: values,
) -> Scores:
    """Measure a classifier on batches of labelled images.

    Args:
        classify: the classifier.
        batches: of images that were not trained on.
        teacher_answers: of `logits_of`, say: `lambda batch: logits[batch.indices]`.
        gather: (n, ...) of this process -> (N, ...) of all.
    """
    return scores_of(answers_of(classify, batches, teacher_answers).each(gather))


@torch.inference_mode()
def answers_of(
    classify: Classify, batches: Iterable[LabelledBatch], teacher_answers: TeacherAnswers | None = None
) -> Answers:
    """Ask a classifier image by image; arguments as for `score`."""
    parts = [
        _answers(classify(batch.pixels), batch, None if teacher_answers is None else teacher_answers(batch))
        for batch in batches
    ]
    columns = ([getattr(part, name) for part in parts] for name in vars(parts[0]))
    return Answers(*(None if values[0] is None else torch.cat(values) for values in columns))  # type: ignore[arg-type]


@torch.inference_mode()
def logits_of(classify: Classify, batches: Iterable[LabelledBatch], n_images: int) -> Tensor:
    """A classifier's logits, each in its image's place: what a teacher is asked once for all students.

    Args:
        classify: the classifier.
        batches: with `indices` below `n_images`, each once.
        n_images: of the split.

    Returns:
        (N, K) float32, on the device of the logits; NaN for images that are in no batch, as those of other processes.
    """
    found: Tensor | None = None
    for batch in batches:
        logits = classify(batch.pixels).float()
        if found is None:
            found = logits.new_full((n_images, logits.shape[1]), torch.nan)
        found[batch.indices] = logits
    assert found is not None
    return found


def scores_of(answers: Answers) -> Scores:
    """The scores of a classifier's answers to all images."""
    columns = answers.each(lambda values: values.cpu())
    hits = (columns.top == columns.labels[:, None]).double()
    return Scores(
        n_images=len(columns.labels),
        top1=hits[:, 0].mean().item(),
        top5=hits.amax(1).mean().item(),
        loss=columns.loss.double().mean().item(),
        calibration_error=expected_calibration_error(columns.probabilities[:, 0].double(), hits[:, 0]),
        agreement=None if columns.teacher is None else (columns.teacher == columns.predicted).double().mean().item(),
        divergence=None if columns.divergence is None else columns.divergence.double().mean().item(),
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


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of each image, in nats at temperature 1.

    Args:
        teacher, student: (B, K) logits of the same classes.

    Returns:
        (B,), never below 0, where rounding would take it.
    """
    pointwise = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True)
    return pointwise.sum(1).clamp_min(0)


def _answers(logits: Tensor, batch: LabelledBatch, teacher: Tensor | None) -> Answers:
    """Of one batch: (B, K) logits, and the teacher's answers."""
    logits = logits.float()
    top = logits.topk(min(_TOP, logits.shape[1])).indices
    same_classes = teacher is not None and teacher.shape == logits.shape
    return Answers(
        indices=batch.indices,
        labels=batch.labels,
        top=top,
        probabilities=logits.softmax(1).gather(1, top),
        loss=F.cross_entropy(logits, batch.labels, reduction="none"),
        teacher=teacher if teacher is None or teacher.ndim == 1 else teacher.argmax(1),
        divergence=divergence(teacher.float(), logits) if teacher is not None and same_classes else None,
    )
