"""The teacher that a recipe names: a file or an architecture, or what another recipe's training has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.recipe.networks import Teacher
from distill.runs.layout import STUDENT, directory_name, students_in
from distill.runs.outcome_file import read_result
from distill.students.names import names_of
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import open_classifier, told_of
from xkd_eval.classifiers.told import ToldInput
from xkd_eval.errors import XkdError, renamed

ONLY = "teacher"
"""What a recipe's only teacher is called there."""


def open_teacher(teacher: Teacher, runs: Path) -> Classifier:
    """The classifier that a recipe distils.

    Args:
        teacher: names it.
        runs: where the runs lie that `teacher.recipe` is looked for among.

    Raises:
        XkdError: no such file, a damaged one; or see `student_of`.
    """
    model = teacher.model if teacher.model is not None else str(student_of(str(teacher.recipe), runs))
    overrides: dict[str, Any] = teacher.preprocess
    try:
        return open_classifier(model, weights=teacher.weights, arguments=teacher.arguments, **overrides)
    except XkdError as error:
        raise XkdError(
            renamed(
                str(error),
                {"model": "teacher", "size": "teacher", "weights": "teacher_weights", "arguments": "teacher.arguments"},
            )
        ) from None


def told_of_teacher(name: str, teacher: Teacher, classifier: Classifier) -> ToldInput:
    """What is told of the input of a recipe's teacher.

    Args:
        name: in the recipe.
        teacher: names it.
        classifier: as `open_teacher` has returned it.
    """
    return told_of(classifier, teacher.model or classifier.name, teacher.weights, f"teacher {called(name, teacher)}")


def called(name: str, teacher: Teacher) -> str:
    """What a teacher is called in a line of its own: by its name in the recipe, the only one by that of its model."""
    if name != ONLY:
        return name
    ((own, _),) = names_of([str(teacher.recipe if teacher.model is None else teacher.model)])
    return own


def student_of(recipe: str, runs: Path) -> Path:
    """The checkpoint that a teacher is read from, given the name of the recipe that trains it.

    Args:
        recipe: its name.
        runs: the folder of runs.

    Returns:
        That of the first finished training: the recipe's own, or else of the first of its seeds.

    Raises:
        XkdError: no training of it has finished, and the message says how to make one; or what lies there is not what
            it left.
    """
    directory = runs / directory_name(recipe)
    students = students_in(directory)
    for student in students:
        try:
            finished = read_result(student.parent) is not None
        except XkdError as error:
            raise XkdError(f"teacher: {str(error).removeprefix('output ')}") from None
        if finished:
            return student
    if students:
        raise XkdError(
            f"teacher: {str(students[0])!r} is of no finished training; finish it by `xkd-distill train {recipe} "
            "--resume`, or give `teacher`"
        )
    raise XkdError(
        f"teacher: {str(directory / STUDENT)!r} does not exist; make it by `xkd-distill train {recipe}`, or give "
        "`teacher`"
    )
