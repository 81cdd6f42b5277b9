"""What the teachers of a training answer to images that are not trained on, asked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from distill.data.batches import HeldOutImages, ProcessRank
from distill.data.loaders import held_out_images
from distill.data.splits import Labelled, Splits
from distill.recipe.schema import Recipe
from distill.runs.teachers import called, told_of_teacher
from distill.students.scores import Scores, answers_of, scores_of
from distill.training.teachers import FrozenTeacher, StoredTeacher, Teachers
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.input_source import input_line
from xkd_eval.classifiers.told import ToldInput
from xkd_eval.engines.eager import prepare
from xkd_eval.errors import XkdError
from xkd_eval.statistics.chance import best_guess, is_guessing
from xkd_eval.wording import counted

SplitName = Literal["val", "test"]
"""Images that are not trained on."""

AT_ONCE = 250
"""How many images a network answers to at once."""

_POINTS_OFF = 1.0  # of accuracy, within which a teacher is taken for the one that the recipe expects
_WHICH = {"val": "validation", "test": "test"}


class TeacherAnswers:
    """Scores and logits of a training's teachers, each on its own input, in float32 whatever the training's precision.

    Args:
        recipe: names them.
        teachers: None where there are none.
        splits: of the data.
        accelerator: devices and processes.
    """

    def __init__(self, recipe: Recipe, teachers: Teachers | None, splits: Splits, accelerator: Accelerator) -> None:
        self._recipe = recipe
        self._teachers = teachers
        self._splits = splits
        self._accelerator = accelerator
        self._answers: dict[SplitName, Tensor] = {}
        self._scores: dict[str, dict[str, float]] = {name: {} for name in recipe.named_teachers}

    def of_all(self, split: SplitName) -> Tensor | None:
        """(N, K) what all teachers together answer to the images of a split, each in its image's place; of those that
        other processes have, nothing. None without a teacher."""
        if self._teachers is None:
            return None
        if split not in self._answers:
            logits = [self._ask(split, name, teacher) for name, teacher in self._teachers.by_name.items()]
            # Of several, the answer is that of the averaged logits.
            self._answers[split] = torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]
        return self._answers[split]

    def scores(self, *splits: SplitName) -> dict[str, dict[str, float]]:
        """Of each teacher by name, under the names of the splits; those of other splits that were asked for, too."""
        for split in splits:
            self.of_all(split)
        return self._scores

    def check(self, split: SplitName) -> None:
        """Refuse a teacher that is not surely better than guessing on the images of a split.

        Raises:
            XkdError: says what was measured, what the teacher was given, and what is probably wrong.
        """
        classes, named = self._splits.classes.count, self._recipe.named_teachers
        for name, scores in self.scores(split).items():
            told, teacher = self._told(name), called(name, named[name])
            refuse_guessing(teacher, told, scores[f"{split}_top1"], self._labelled(split).labels, classes, split)

    def accuracy(self, name: str, split: SplitName) -> list[str]:
        """ "teacher resnet56: right on 72.3 % of 1,000 test images"; of a teacher that the recipe expects something of,
        which is of test images, a line of these too."""
        expected = self._recipe.named_teachers[name].expected_top1
        lines = []
        for which in dict.fromkeys([split] if expected is None else [split, "test"]):
            top1 = self.scores(which)[name][f"{which}_top1"]
            line = f"{self._told(name).name}: {_right(top1, len(self._labelled(which).labels), which)}"
            lines.append(line + (_beside(expected, top1) if which == "test" else ""))
        return lines

    def inputs(self) -> list[str]:
        """A line for each teacher: what it is given, and who says so."""
        every = [self._told(name) for name in self._scores]
        return [told.warning(f"write it as {told.in_words()}") if told.source.assumed else told.line for told in every]

    def _told(self, name: str) -> ToldInput:
        assert self._teachers is not None
        return told_of_teacher(name, self._recipe.named_teachers[name], self._teachers.by_name[name].classifier)

    def _labelled(self, split: SplitName) -> Labelled:
        labelled = self._splits.test if split == "test" else self._splits.val
        assert labelled is not None
        return labelled

    def _ask(self, split: SplitName, name: str, teacher: FrozenTeacher | StoredTeacher) -> Tensor:
        """(N, K) logits, each in its image's place; the scores are noted."""
        images, found = self._images_of(split, teacher.classifier), []
        forward = answering(teacher.classifier, self._accelerator.device)

        def classify(pixels: Tensor) -> Tensor:
            logits = forward(pixels)
            teacher.note(logits)
            found.append(teacher.of_the_data(logits))
            return found[-1]

        answers = answers_of(classify, images.batches(AT_ONCE))
        teacher.check_finite()
        scores = scores_of(answers.each(lambda values: gathered(self._accelerator, values)))
        self._scores[name] |= named(split, scores)
        placed = found[0].new_zeros(images.n_images, found[0].shape[1])
        placed[answers.indices] = torch.cat(found)
        return placed

    def _images_of(self, split: SplitName, classifier: Classifier) -> HeldOutImages:
        accelerator, labelled = self._accelerator, self._labelled(split)
        rank = ProcessRank(accelerator.process_index, accelerator.num_processes)
        with accelerator.main_process_first():  # the first to come decodes the images for all
            return held_out_images(self._recipe, labelled, classifier.preprocess, accelerator.device, rank)


def answering(classifier: Classifier, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What a network answers on a device: (B, 3, H, W) RGB of 0 to 255 at its size -> logits (B, K), in float32."""
    prepared = prepare(classifier, device)
    return lambda pixels: prepared(classifier.preprocess.normalise(pixels))


def gathered(accelerator: Accelerator, values: Tensor) -> Tensor:
    """(n, ...) of this process -> (N, ...) of all, which need not have as many as each other."""
    if accelerator.num_processes == 1:
        return values
    counts = accelerator.gather(torch.tensor([len(values)], device=values.device)).tolist()
    padded = accelerator.gather(accelerator.pad_across_processes(values.contiguous()))
    parts = padded.chunk(accelerator.num_processes)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def named(split: SplitName, scores: Scores) -> dict[str, float]:
    """Scores under a split's name: "val_top1", ..."""
    return {f"{split}_{name}": value for name, value in scores.to_dict().items() if name != "n_images"}


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


def _beside(expected: float | None, top1: float) -> str:
    """What to say of an accuracy that is not the expected percentage."""
    if expected is None or abs(100 * top1 - expected) <= _POINTS_OFF:
        return ""
    return f", where the recipe expects {expected:.1f} %: published figures are of such a teacher"


def _right(top1: float, n_images: int, split: SplitName) -> str:
    return f"right on {100 * top1:.1f} % of {counted(n_images, f'{_WHICH[split]} image')}"
