"""StoredAnswers: a folder of a teacher's answers, as trainings read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from distill.answers.index import AnswerSource, differing, file_of, read_index
from distill.recipe.schema import Recipe
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import check_regular, file_digest, reading

_AGAIN = "`xkd-distill store` makes it again"
_REMEDY = "store them anew, in another folder, by `xkd-distill store`"


class StoredAnswers:
    """A teacher's answers to all training images, as `store_answers` has left them.

    Args:
        path: the folder.
        argument: that named it.

    Attributes:
        path: as given.
        source, form, precision: of what they are, what is stored of each, and in which precision they were computed.
        made: size and SHA-256 of each round's file.

    Raises:
        XkdError: no such folder, or its index is damaged.
    """

    def __init__(self, path: Path, argument: str = "teacher.stored") -> None:
        self.path = path
        self._where = f"{argument}: {str(path)!r}"
        index = read_index(path, argument)
        self.source, self.form, self.precision = index.source, index.form, index.precision
        self.made = tuple(index.rounds)
        self._mapped: tuple[int, np.ndarray] | None = None

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self.made)

    @property
    def bytes(self) -> int:
        """Of all rounds' files."""
        return sum(made.bytes for made in self.made)

    def identity(self, rounds: int) -> dict[str, JsonValue]:
        """How the first `rounds` of them were stored, and a digest of them.

        Raises:
            XkdError: there are fewer.
        """
        self._check_count(rounds)
        digest = digest_of([made.digest for made in self.made[:rounds]])
        how = {"top_k": self.form.top_k, "maps": self.form.maps is not None, "precision": self.precision}
        return {**how, "digest": digest}

    def check(self, source: AnswerSource, classes: int, rounds: int) -> None:
        """Refuse answers that are not those of a training's teacher, or not as they were stored.

        Args:
            source: of the training.
            classes: K of its data.
            rounds: that it has.

        Raises:
            XkdError: names what differs, or the file that is damaged.
        """
        if self.source != source or self.form.classes != classes:
            raise XkdError(f"{self._where} holds answers {differing(self.source, source)}; {_REMEDY}")
        self._check_count(rounds)
        for number in range(rounds):
            if not self.is_whole(number):
                raise XkdError(f"{self._where}: {file_of(number)} is damaged or gone; {_AGAIN}")

    def is_whole(self, number: int) -> bool:
        """Whether a round's file is as it was written."""
        path, made = self.path / file_of(number), self.made[number]
        try:
            check_regular(path)
            return path.stat().st_size == made.bytes and file_digest(path) == made.digest
        except OSError:
            return False

    def read(self, number: int, places: Sequence[int], *fields: str) -> list[np.ndarray]:
        """Of the answers to some images in a round, the fields of AnswerForm.record: (B, ...) each.

        Args:
            number: of the round.
            places: B places among all training images.
            fields: names.

        Raises:
            XkdError: the file cannot be read.
        """
        if self._mapped is None or self._mapped[0] != number:
            path = self.path / file_of(number)
            with reading(f"{self._where}: {path.name} cannot be read", _AGAIN):
                self._mapped = number, np.load(path, mmap_mode="r")
        records = self._mapped[1]
        return [np.ascontiguousarray(records[field][np.asarray(places)]) for field in fields]

    def _check_count(self, rounds: int) -> None:
        if rounds > self.rounds:
            raise XkdError(
                f"{self._where} holds {self.rounds} rounds of augmentations and data.rounds is {rounds}; "
                "`xkd-distill store` makes the others"
            )


def stored_identities(recipe: Recipe) -> dict[str, dict[str, JsonValue]]:
    """By what the stored answers of a recipe's teachers are known again, by the teacher's name.

    Raises:
        XkdError: there are none where the recipe says so, or too few.
    """
    stored = {name: teacher.stored for name, teacher in recipe.named_teachers.items()}
    rounds = recipe.data.rounds or 0
    return {name: StoredAnswers(Path(path)).identity(rounds) for name, path in stored.items() if path is not None}
