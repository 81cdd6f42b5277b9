"""The student of a training on images that are not trained on, by the code that `xkd-distill evaluate` runs."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from distill.runs.epochs import TRAINED
from distill.students.scores import Scores, score
from distill.training.setup import TrainingSetup
from distill.training.teacher_answers import AT_ONCE, SplitName, answering, gathered, named
from xkd_eval.classifiers.classifier import Classifier

Weights = Literal["average", "trained"]


class Evaluation:
    """Scores of the student, on its own input, in float32 whatever the training's precision.

    Args:
        setup: of the training.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup

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
            found = named(split, self._score(split, setup.evaluated))
        if setup.average is not None and weights != "average":
            trained = named(split, self._score(split, setup.student.model))
            found |= {f"{name}{TRAINED}": value for name, value in trained.items()}
        return found

    def _score(self, split: SplitName, network: nn.Module) -> Scores:
        student, setup = self._setup.student, self._setup
        classifier = Classifier(
            network, student.preprocess, name=student.name, num_classes=student.num_classes, head=student.head
        )
        images = setup.test if split == "test" or setup.val is None else setup.val
        answers = setup.answers.of_all(split)
        return score(
            answering(classifier, setup.accelerator.device),
            images.batches(AT_ONCE),
            None if answers is None else lambda batch: answers[batch.indices],
            lambda values: gathered(setup.accelerator, values),
        )


def better_weights(epoch: dict[str, Any], split: SplitName) -> Weights:
    """Which of an epoch's weights are the better ones on a split, at par the average, which is all where none is."""
    trained = epoch.get(f"{split}_top1{TRAINED}")
    return "trained" if trained is not None and trained > epoch[f"{split}_top1"] else "average"
