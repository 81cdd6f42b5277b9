"""The teachers of a training: frozen, each with its own input convention and its own place for every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from distill.data.batches import LabelledBatch
from distill.methods import Pass
from distill.training.observed import Normaliser, Observed
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


class FrozenTeacher:
    """A teacher outside of what is trained, wrapped or saved.

    Args:
        observed: in eval mode, its parameters frozen.
        normalise: its own.
        differentiable: whether a loss differentiates the teacher's output with respect to its input.
        places: (K,) where the teacher has each of the data's classes; None where its classes are the data's.
    """

    def __init__(
        self, observed: Observed, normalise: Normaliser, differentiable: bool, places: Tensor | None = None
    ) -> None:
        self._observed = observed
        self._normalise = normalise
        self._differentiable = differentiable
        self._places = places
        self._finite: Tensor | None = None
        self.classifier = observed.classifier

    def __call__(self, pixels: Tensor) -> Pass:
        """(B, 3, H, W) uint8 RGB at its own size -> Pass of the data's classes."""
        with torch.set_grad_enabled(self._differentiable):
            passed = self._of_the_data(self._observed(self._normalise(pixels)))
        self.note(passed.logits)
        return passed

    def of_the_data(self, logits: Tensor) -> Tensor:
        """The teacher's own logits (B, K') -> (B, K) of the data's classes, in their order."""
        return logits if self._places is None else logits[:, self._places]

    def check_finite(self) -> None:
        """Raise XkdError if logits of any call so far were not finite; waits for the device."""
        if self._finite is not None and not bool(self._finite):
            raise XkdError(
                f"teacher: {self.classifier.name} gives logits that are not finite; check its weights and `preprocess`"
            )

    def _of_the_data(self, passed: Pass) -> Pass:
        places = self._places
        if places is None:
            return passed
        return replace(
            passed,
            logits=self.of_the_data(passed.logits),
            head_weight=None if passed.head_weight is None else passed.head_weight[places],
            head_bias=None if passed.head_bias is None else passed.head_bias[places],
        )

    def note(self, logits: Tensor) -> None:
        """Have `check_finite` know of logits (B, K) that the teacher gave; waits for nothing."""
        finite = logits.detach().isfinite().all()
        if self._finite is None:
            self._finite = finite
        else:
            self._finite.logical_and_(finite)  # in its place, where a CUDA graph finds it


class Teachers:
    """All teachers of a training.

    Args:
        by_name: at least one, in the order of the recipe.

    Attributes:
        by_name: as given.
    """

    def __init__(self, by_name: Mapping[str, FrozenTeacher]) -> None:
        self.by_name = dict(by_name)

    def __call__(self, batch: LabelledBatch) -> tuple[Pass, ...]:
        """What each makes of a batch, whose `others` are at their sizes."""
        return tuple(teacher(pixels) for teacher, pixels in zip(self.by_name.values(), batch.others, strict=True))

    @property
    def preprocesses(self) -> list[Preprocess]:
        """The input convention of each."""
        return [teacher.classifier.preprocess for teacher in self.by_name.values()]

    def check_finite(self) -> None:
        """Raise XkdError for the first whose logits were not finite so far; waits for the device."""
        for teacher in self.by_name.values():
            teacher.check_finite()


def averaged(passes: Sequence[Pass]) -> Pass:
    """The mean of several teachers' logits (B, K); of one, all that it has."""
    if len(passes) == 1:
        return passes[0]
    return Pass(torch.stack([passed.logits.float() for passed in passes]).mean(0))
