"""The networks of a training on images that are not trained on, by the code that `xkd-distill evaluate` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill.data.batches import HeldOutImages, ProcessRank
from distill.data.loaders import held_out_images
from distill.data.splits import Labelled
from distill.runs.epochs import TRAINED
from distill.runs.teachers import called, told_of_teacher
from distill.students.scores import Scores, answers_of, score, scores_of
from distill.training.setup import SplitName, TrainingSetup
from distill.training.teachers import FrozenTeacher, StoredTeacher
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.input_source import input_line
from xkd_eval.classifiers.told import ToldInput
from xkd_eval.engines.eager import prepare
from xkd_eval.errors import XkdError
from xkd_eval.statistics.chance import best_guess, is_guessing
from xkd_eval.wording import counted

Weights = Literal["average", "trained"]
AT_ONCE = 250
"""How many images a network answers to at once."""

_POINTS_OFF = 1.0  # of accuracy, within which a teacher is taken for the one that the recipe expects
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
        """Refuse a teacher that is not surely better than guessing on the images that select the epoch.

        Raises:
            XkdError: says what was measured, what the teacher was given, and what is probably wrong.
        """
        self._ask_teachers(split)
        classes, named = self._setup.splits.classes.count, self._setup.recipe.named_teachers
        for name, scores in self._teachers.items():
            told, teacher = self._told(name), called(name, named[name])
            refuse_guessing(teacher, told, scores[f"{split}_top1"], self._labels(split), classes, split)

    def accuracy(self, name: str, split: SplitName) -> list[str]:
        """ "teacher resnet56: right on 72.3 % of 1,000 test images"; of a teacher that the recipe expects something of,
        which is of test images, a line of these too."""
        expected = self._setup.recipe.named_teachers[name].expected_top1
        lines = []
        for which in dict.fromkeys([split] if expected is None else [split, "test"]):
            self._ask_teachers(which)
            top1 = self._teachers[name][f"{which}_top1"]
            line = f"{self._told(name).name}: {_right(top1, len(self._labels(which)), which)}"
            lines.append(line + (_beside(expected, top1) if which == "test" else ""))
        return lines

    def inputs(self) -> list[str]:
        """A line for each teacher: what it is given, and who says so."""
        every = [self._told(name) for name in self._teachers]
        return [told.warning(f"write it as {told.in_words()}") if told.source.assumed else told.line for told in every]

    def _told(self, name: str) -> ToldInput:
        setup = self._setup
        assert setup.teachers is not None
        return told_of_teacher(name, setup.recipe.named_teachers[name], setup.teachers.by_name[name].classifier)

    def _labels(self, split: SplitName) -> list[int]:
        return self._images(split).labels

    def _images(self, split: SplitName) -> Labelled:
        splits = self._setup.splits
        labelled = splits.test if split == "test" else splits.val
        assert labelled is not None
        return labelled

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
            images.batches(AT_ONCE),
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

        answers = answers_of(classify, images.batches(AT_ONCE))
        teacher.check_finite()
        scores = scores_of(answers.each(self._gathered))
        self._teachers[name] |= _named(split, scores)
        placed = found[0].new_zeros(images.n_images, found[0].shape[1])
        placed[answers.indices] = torch.cat(found)
        return placed

    def _images_of(self, split: SplitName, classifier: Classifier) -> HeldOutImages:
        setup = self._setup
        accelerator = setup.accelerator
        rank = ProcessRank(accelerator.process_index, accelerator.num_processes)
        with accelerator.main_process_first():  # the first to come decodes the images for all
            return held_out_images(setup.recipe, self._images(split), classifier.preprocess, accelerator.device, rank)


def refuse_guessing(
    teacher: str,
    told: ToldInput,
    top1: float,
    labels: Sequence[int],
    num_classes: int,
    split: SplitName,
    anyway: str = "trains",
) -> None:
    """Refuse a teacher that is not surely better than guessing.

    Args:
        teacher: what it is called.
        told: of its input.
        top1: the fraction of the images that it is right on.
        labels: of the images.
        num_classes: K.
        split: which images they are.
        anyway: what `force` does all the same.

    Raises:
        XkdError: says what was measured, what the teacher was given, and what is probably wrong.
    """
    if not is_guessing(round(top1 * len(labels)), labels, num_classes):
        return
    options = told.in_words() if told.source.assumed else "size, mean and std behind its name"
    raise XkdError(
        f"teacher: {teacher} is {_right(top1, len(labels), split)}, which guessing explains "
        f"({100 * best_guess(labels, num_classes):.1f} %); its input was {input_line(told.preprocess, told.source)}: "
        f"give what it was trained with ({options}), or its classes in the data's order; `force` {anyway} all the same"
    )


def better_weights(epoch: dict[str, Any], split: SplitName) -> Weights:
    """Which of an epoch's weights are the better ones on a split, at par the average, which is all where none is."""
    trained = epoch.get(f"{split}_top1{TRAINED}")
    return "trained" if trained is not None and trained > epoch[f"{split}_top1"] else "average"


def _beside(expected: float | None, top1: float) -> str:
    """What to say of an accuracy that is not the expected percentage."""
    if expected is None or abs(100 * top1 - expected) <= _POINTS_OFF:
        return ""
    return f", where the recipe expects {expected:.1f} %: published figures are of such a teacher"


def _right(top1: float, n_images: int, split: SplitName) -> str:
    return f"right on {100 * top1:.1f} % of {counted(n_images, f'{_WHICH[split]} image')}"


def _named(split: SplitName, scores: Scores) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in scores.to_dict().items() if name != "n_images"}
