"""The networks of a training on images that are not trained on, by the code that `xkd-distill evaluate` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill.data.batches import HeldOutImages, ProcessRank
from distill.data.loaders import held_out_images
from distill.runs.epochs import TRAINED
from distill.students.scores import Scores, answers_of, score, scores_of
from distill.training.setup import SplitName, TrainingSetup
from distill.training.teachers import FrozenTeacher, StoredTeacher
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.engines.eager import prepare
from xkd_eval.errors import XkdError

Weights = Literal["average", "trained"]
_AT_ONCE = 250
# A teacher of the data is above it; a wrong class order, size or mean is not.
_LEAST_ABOVE_CHANCE = 0.05
_WHICH = {"val": "validation", "test": "test"}


class Evaluation:
    """Scores of student and teachers. Each network sees its own input, in float32 whatever the training's precision.

    Args:
        setup: of the training.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup
        self._answers: dict[SplitName, Tensor] = {}
        self._teachers: dict[str, dict[str, float]] = {name: {} for name in setup.recipe.named_teachers}

    def scores(self, split: SplitName, weights: Weights | None = None) -> dict[str, float]:
        """Of the student, under the split's name: "val_top1", ...; where there is a moving average these are its, and
        the trained weights' are called "val_top1_trained", ...

        Args:
            split: the images.
            weights: of the two alone; None is both.

        Raises:
            XkdError: the network gives what is no number.
        """
        setup, found = self._setup, {}
        if weights != "trained":
            found = _named(split, self._score(split, setup.evaluated))
        if setup.average is not None and weights != "average":
            trained = _named(split, self._score(split, setup.student.model))
            found |= {f"{name}{TRAINED}": value for name, value in trained.items()}
        return found

    def check_teachers(self, split: SplitName) -> None:
        """Refuse a teacher that is hardly better than chance on the images that select the epoch.

        Raises:
            XkdError: names it, and what is probably wrong.
        """
        self._ask_teachers(split)
        setup = self._setup
        chance = 1 / setup.student.num_classes
        for name, scores in self._teachers.items():
            top1 = scores[f"{split}_top1"]
            if top1 < chance + _LEAST_ABOVE_CHANCE:
                raise XkdError(
                    f"teacher: {_called(name)}is right on {100 * top1:.1f} % of the {_WHICH[split]} images, where "
                    f"chance is {100 * chance:.1f} %; check its classes' order and `preprocess` (size, mean, std), or "
                    "`force` trains all the same"
                )

    def teacher_scores(self, *splits: SplitName) -> dict[str, dict[str, float]]:
        """Of each teacher by name, under the names of the splits."""
        for split in splits:
            self._ask_teachers(split)
        return self._teachers

    def _score(self, split: SplitName, network: nn.Module) -> Scores:
        student, setup = self._setup.student, self._setup
        classifier = Classifier(
            network, student.preprocess, name=student.name, num_classes=student.num_classes, head=student.head
        )
        images = setup.test if split == "test" or setup.val is None else setup.val
        self._ask_teachers(split)
        answers = self._answers.get(split)
        return score(
            self._forward(classifier),
            images.batches(_AT_ONCE),
            None if answers is None else lambda batch: answers[batch.indices],
            self._gathered,
        )

    def _gathered(self, values: Tensor) -> Tensor:
        """(n, ...) of this process -> (N, ...) of all, which need not have as many as each other."""
        accelerator = self._setup.accelerator
        if accelerator.num_processes == 1:
            return values
        counts = accelerator.gather(torch.tensor([len(values)], device=values.device)).tolist()
        padded = accelerator.gather(accelerator.pad_across_processes(values.contiguous()))
        parts = padded.chunk(accelerator.num_processes)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def _forward(self, classifier: Classifier) -> Callable[[Tensor], Tensor]:
        prepared = prepare(classifier, self._setup.accelerator.device)
        return lambda pixels: prepared(classifier.preprocess.normalise(pixels))

    def _ask_teachers(self, split: SplitName) -> None:
        """What all teachers together answer to each image of this process, asked once a split."""
        setup = self._setup
        if setup.teachers is None or split in self._answers:
            return
        logits = [self._ask(split, name, teacher) for name, teacher in setup.teachers.by_name.items()]
        # Of several, the answer is that of the averaged logits.
        self._answers[split] = torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]

    def _ask(self, split: SplitName, name: str, teacher: FrozenTeacher | StoredTeacher) -> Tensor:
        """(N, K) logits, each in its image's place; the scores are noted."""
        images, found = self._images_of(split, teacher.classifier), []
        forward = self._forward(teacher.classifier)

        def classify(pixels: Tensor) -> Tensor:
            logits = forward(pixels)
            teacher.note(logits)
            found.append(teacher.of_the_data(logits))
            return found[-1]

        answers = answers_of(classify, images.batches(_AT_ONCE))
        teacher.check_finite()
        scores = scores_of(answers.each(self._gathered))
        self._teachers[name] |= _named(split, scores)
        placed = found[0].new_zeros(images.n_images, found[0].shape[1])
        placed[answers.indices] = torch.cat(found)
        return placed

    def _images_of(self, split: SplitName, classifier: Classifier) -> HeldOutImages:
        setup = self._setup
        labelled = setup.splits.test if split == "test" else setup.splits.val
        assert labelled is not None
        accelerator = setup.accelerator
        rank = ProcessRank(accelerator.process_index, accelerator.num_processes)
        with accelerator.main_process_first():  # the first to come decodes the images for all
            return held_out_images(setup.recipe, labelled, classifier.preprocess, accelerator.device, rank)


def better_weights(epoch: dict[str, Any], split: SplitName) -> Weights:
    """Which of an epoch's weights are the better ones on a split, at par the average, which is all where none is."""
    trained = epoch.get(f"{split}_top1{TRAINED}")
    return "trained" if trained is not None and trained > epoch[f"{split}_top1"] else "average"


def _called(name: str) -> str:
    return "it " if name == "teacher" else f"{name} "


def _named(split: SplitName, scores: Scores) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in scores.to_dict().items() if name != "n_images"}
