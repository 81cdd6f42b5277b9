"""What trainings would come from now: data and teachers opened, as their recipes name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.answers.stored import stored_identities
from distill.data.splits import open_splits
from distill.recipe.imports import import_modules
from distill.recipe.networks import Teacher
from distill.recipe.schema import Recipe
from distill.runs.origin import Origin, start_digest, teacher_digest
from distill.runs.teachers import open_teacher
from xkd_eval.digests import digest_of


class Origins:
    """The origins of many trainings; each data set and each teacher is opened once.

    For a call and not for longer: what lies at a path may become another.
    """

    def __init__(self) -> None:
        self._images: dict[str, dict[str, Any]] = {}
        self._teachers: dict[tuple[str, Path], str] = {}

    def of(self, recipe: Recipe, runs: Path) -> Origin:
        """What a recipe's training would come from now.

        Args:
            recipe: as resolved.
            runs: where the teacher's run is looked for.

        Raises:
            XkdError: data or teacher cannot be opened.
        """
        import_modules(recipe)
        data = digest_of(recipe.data.model_dump(mode="json"))
        if data not in self._images:
            splits = open_splits(recipe)
            self._images[data] = splits.identities()
        return Origin(
            recipe=recipe.identity(),
            student=start_digest(recipe.student),
            **self._images[data],
            teachers={name: self._teacher(teacher, runs) for name, teacher in recipe.named_teachers.items()},
            answers=stored_identities(recipe),
            engines=None,
        )

    def _teacher(self, teacher: Teacher, runs: Path) -> str:
        key = (digest_of(teacher.model_dump(mode="json")), runs)
        if key not in self._teachers:
            self._teachers[key] = teacher_digest(teacher, open_teacher(teacher, runs))
        return self._teachers[key]
