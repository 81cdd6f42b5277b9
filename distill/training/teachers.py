"""The teachers of a training: frozen, each with its own input convention and its own place for every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.answers.stored import StoredAnswers
from distill.data.batches import LabelledBatch
from distill.methods import Pass
from distill.recipe.networks import TORCH
from distill.training.observed import Normaliser, Observed
from distill.training.teacher_engine import RunBy
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError


class FrozenTeacher:
    """A teacher outside of what is trained, wrapped or saved.

    Args:
        observed: in eval mode, its parameters frozen.
        normalise: its own.
        differentiable: whether a loss differentiates the teacher's output with respect to its input.
        places: (K,) where the teacher has each of the data's classes; None where its classes are the data's.
        classifier: the teacher as it is evaluated; that of `observed` by default.
        half: `observed` takes bfloat16, and sees to its own precision.
        run_by: what computes `observed`.

    Attributes:
        classifier, run_by: as given.
    """

    def __init__(
        self,
        observed: Observed,
        normalise: Normaliser,
        differentiable: bool,
        places: Tensor | None = None,
        classifier: Classifier | None = None,
        *,
        half: bool = False,
        run_by: RunBy = RunBy(),
    ) -> None:
        self._observed = observed
        self._normalise = normalise
        self._differentiable = differentiable
        self._places = places
        self._finite: Tensor | None = None
        self._half = half
        self.classifier = classifier or observed.classifier
        self.run_by = run_by

    def __call__(self, pixels: Tensor) -> Pass:
        """(B, 3, H, W) uint8 RGB at its own size -> Pass of the data's classes."""
        images = self._normalise(pixels)
        with torch.set_grad_enabled(self._differentiable), self._precision():
            passed = self._of_the_data(self._observed(images.bfloat16() if self._half else images))
        self.note(passed.logits)
        return passed

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.classifier.device.type, enabled=False) if self._half else nullcontext()

    def head_of_the_data(self) -> tuple[Tensor | None, Tensor | None]:
        """Weight (K, C) and bias (K,) of the CAM head, of the data's classes; None where there is none."""
        if self.classifier.head is None:
            return None, None
        weight, bias = self.classifier.head_weight, self.classifier.head_bias
        if self._places is None:
            return weight, bias
        return weight[self._places], None if bias is None else bias[self._places]

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
        if self._places is None:
            return passed
        weight, bias = (None, None) if passed.head_weight is None else self.head_of_the_data()
        explaining = None if passed.explaining is None else passed.explaining.of(self._places)
        logits = self.of_the_data(passed.logits)
        return replace(passed, logits=logits, head_weight=weight, head_bias=bias, explaining=explaining)

    def note(self, logits: Tensor) -> None:
        """Have `check_finite` know of logits (B, K) that the teacher gave; waits for nothing."""
        finite = logits.detach().isfinite().all()
        if self._finite is None:
            self._finite = finite
        else:
            self._finite.logical_and_(finite)  # in its place, where a CUDA graph finds it


class StoredTeacher:
    """A teacher whose answers to the training images are read from where they are stored.

    Args:
        frozen: the teacher itself, which is not run.
        answers: its own, to the images of the training.
        places: of the training's images among those that are answered to.
        with_maps: whether a loss compares its maps.

    Attributes:
        classifier: the teacher's.
    """

    def __init__(self, frozen: FrozenTeacher, answers: StoredAnswers, places: Sequence[int], with_maps: bool) -> None:
        self._frozen = frozen
        self._answers = answers
        self._places = np.asarray(places)
        self._with_maps = with_maps
        self.classifier = frozen.classifier

    def __call__(self, batch: LabelledBatch) -> Pass:
        """Pass of the data's classes; the device is waited for."""
        assert batch.draws is not None
        draws, indices = torch.stack([batch.draws, batch.indices]).tolist()
        read = partial(self._answers.read, draws[0], self._places[indices])  # of a batch all have one round
        form, device = self._answers.form, batch.indices.device
        values, *classes = read("values", *(() if form.top_k is None else ("classes",)))
        logits = form.logits(values, classes[0] if classes else None, device)
        if not self._with_maps:
            return Pass(logits)
        (maps,) = read("maps")
        weight, bias = self._frozen.head_of_the_data()
        return Pass(logits, torch.from_numpy(maps).to(device).float(), weight, bias)

    def of_the_data(self, logits: Tensor) -> Tensor:
        """See FrozenTeacher."""
        return self._frozen.of_the_data(logits)

    def note(self, logits: Tensor) -> None:
        """See FrozenTeacher."""
        self._frozen.note(logits)

    def check_finite(self) -> None:
        """See FrozenTeacher; all that is stored is finite."""
        self._frozen.check_finite()


class Teachers:
    """All teachers of a training.

    Args:
        by_name: at least one, in the order of the recipe.

    Attributes:
        by_name: as given.
        are_stored: whether the answers of any are read where they are stored.
    """

    def __init__(self, by_name: Mapping[str, FrozenTeacher | StoredTeacher]) -> None:
        self.by_name = dict(by_name)
        self.are_stored = any(isinstance(teacher, StoredTeacher) for teacher in by_name.values())

    def __call__(self, batch: LabelledBatch) -> tuple[Pass, ...]:
        """What each makes of a batch, whose `others` are at the sizes of those that look at it."""
        views = iter(batch.others)
        return tuple(
            teacher(batch) if isinstance(teacher, StoredTeacher) else teacher(next(views))
            for teacher in self.by_name.values()
        )

    def networks(self) -> list[nn.Module]:
        """Of those that are run, in order."""
        return [one.classifier.model for one in self.by_name.values() if isinstance(one, FrozenTeacher)]

    @property
    def engines(self) -> dict[str, str]:
        """Of those that torch does not run, by name."""
        run_by = {name: one.run_by.engine for name, one in self.by_name.items() if isinstance(one, FrozenTeacher)}
        return {name: engine for name, engine in run_by.items() if engine != TORCH}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen to run them, where the recipe leaves it open; a sentence each."""
        notes = [one.run_by.note for one in self.by_name.values() if isinstance(one, FrozenTeacher)]
        return tuple(note for note in notes if note)

    def check_finite(self) -> None:
        """Raise XkdError for the first whose logits were not finite so far; waits for the device."""
        for teacher in self.by_name.values():
            teacher.check_finite()


def averaged(passes: Sequence[Pass]) -> Pass:
    """The mean of several teachers' logits (B, K); of one, all that it has."""
    if len(passes) == 1:
        return passes[0]
    return Pass(torch.stack([passed.logits.float() for passed in passes]).mean(0))
