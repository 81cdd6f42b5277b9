"""TrainingPoint: where a training is, for bars, log files and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SHOWN = ("val_top1", "test_top1")


@dataclass(frozen=True)
class TrainingPoint:
    """Where a training is after a step, at the end of an epoch, or before its first step.

    Attributes:
        images: seen so far, over all epochs.
        total_images: of the whole training.
        epoch: under way, or just closed; from 1.
        epochs: of the whole training.
        loss: the weighted sum of all losses, its mean over the epoch's steps so far; None where it was not asked for
            lately, since asking waits for the device.
        metrics: of the epoch that has just been closed, as a line of metrics.csv; None after other steps.
        notes: what the user should know, a sentence each; before the first step alone.

    Example:
        >>> import distill
        >>> def tell(point: distill.TrainingPoint) -> None:
        ...     if point.metrics is not None:  # an epoch was closed
        ...         print(point)
        >>> result = distill.train("quickstart/plain", progress=tell)  # doctest: +SKIP
        >>> tell(distill.TrainingPoint(192, 384, epoch=1, epochs=2, loss=2.29, metrics={"test_top1": 0.25}))
        epoch 1/2, loss 2.290, test top1 25.0 %
    """

    images: int
    total_images: int
    epoch: int
    epochs: int
    loss: float | None = None
    metrics: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The epoch, the loss, and the accuracy of an epoch that is closed."""
        told = [f"epoch {self.epoch}/{self.epochs}"]
        if self.loss is not None:
            told.append(f"loss {self.loss:.3f}")
        metrics = self.metrics or {}
        shown = (f"{name.replace('_', ' ')} {100 * metrics[name]:.1f} %" for name in _SHOWN if name in metrics)
        return ", ".join([*told, *shown])


TrainingProgress = Callable[[TrainingPoint], None]
"""Called before the first step, after every step, and after every epoch."""
