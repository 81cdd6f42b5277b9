"""The teacher that a recipe names: a file or an architecture, or what another recipe's training has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.recipe.networks import Teacher
from distill.runs.layout import STUDENT, directory_name, students_in
from distill.runs.outcome_file import read_result
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.errors import XkdError, renamed


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
        return load_classifier(model, weights=teacher.weights, arguments=teacher.arguments, **overrides)
    except XkdError as error:
        raise XkdError(
            renamed(
                str(error),
                {"model": "teacher", "size": "teacher", "weights": "teacher_weights", "arguments": "teacher.arguments"},
            )
        ) from None


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
