"""AnswerFolder: a folder of a teacher's answers while it is written, a file for each round of augmentations."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from distill.answers.form import AnswerForm
from distill.answers.index import INDEX, AnswerIndex, AnswerRound, AnswerSource, Precision, differing, file_of
from distill.answers.stored import StoredAnswers
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing, writing

_ELSEWHERE = "choose another folder, or remove that one"


class AnswerFolder:
    """A folder of answers that is being written, held for this process.

    Args:
        path: of the folder, which is there and held by this process.
        source, form, precision: of the answers.

    Raises:
        XkdError: other answers, or other files, lie there.
    """

    def __init__(self, path: Path, source: AnswerSource, form: AnswerForm, precision: Precision) -> None:
        self.path = path
        self._index = AnswerIndex(source=source, form=form, precision=precision)
        with writing(f"output {path}:"):
            # The first file without an index, and those with a dot, are what a process that was killed may leave.
            names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} - {file_of(0)}
            if INDEX in names:
                self._index = self._index.model_copy(update={"rounds": self._kept()})
            elif names:
                raise XkdError(
                    f"output {path}: holds files that are no stored answers; choose an empty or a new folder"
                )
            for left in path.glob(".round-*"):
                left.unlink(missing_ok=True)

    def due(self, rounds: int) -> list[int]:
        """The numbers of the rounds that are not there."""
        return list(range(len(self._index.rounds), rounds))

    def bytes_of(self, rounds: int) -> int:
        """What the files of so many rounds have."""
        return rounds * (len(_header(self._dtype, self._n_images)) + self._n_images * self._dtype.itemsize)

    def check_room(self, rounds: int) -> None:
        """Refuse what the disk has no room for.

        Raises:
            XkdError: says how many bytes are missing.
        """
        needed, free = self.bytes_of(len(self.due(rounds))), shutil.disk_usage(self.path).free
        if needed > free:
            raise XkdError(
                f"output {self.path}: {needed:,} bytes are needed and {free:,} are free on that disk; choose another, "
                "a smaller `top_k`, or fewer `rounds`"
            )

    def write(self, number: int, parts: Iterable[np.ndarray]) -> None:
        """Write a round's file, whole or not at all, and note it.

        Args:
            number: the first that is due.
            parts: records of all images, in order.

        Raises:
            XkdError: the disk is full or gone.
        """
        sha = hashlib.sha256()
        path = self.path / file_of(number)
        with writing(f"output {self.path}: {path.name}", "the rounds before it are kept"):
            with replacing(path, durable=True) as file:
                for part in _in_front(_header(self._dtype, self._n_images), parts):
                    sha.update(part)
                    file.write(part)
            made = AnswerRound(bytes=path.stat().st_size, digest=sha.hexdigest())
        self._index = self._index.model_copy(update={"rounds": [*self._index.rounds, made]})
        self._write_index()

    @property
    def _dtype(self) -> np.dtype[np.void]:
        return self._index.form.record

    @property
    def _n_images(self) -> int:
        return self._index.source.n_images

    def _kept(self) -> list[AnswerRound]:
        """Those rounds that are there already, up to the first that is damaged."""
        ours, there = self._index, StoredAnswers(self.path, "output")
        if there.source != ours.source:
            raise XkdError(f"output {self.path}: holds answers {differing(there.source, ours.source)}; {_ELSEWHERE}")
        if (there.form, there.precision) != (ours.form, ours.precision):
            raise XkdError(
                f"output {self.path}: holds answers stored otherwise ({_said(there.form, there.precision)}; here "
                f"{_said(ours.form, ours.precision)}); {_ELSEWHERE}"
            )
        kept: list[AnswerRound] = []
        while len(kept) < there.rounds and there.is_whole(len(kept)):
            kept.append(there.made[len(kept)])
        return kept

    def _write_index(self) -> None:
        with writing(f"output {self.path}: {INDEX}"), replacing(self.path / INDEX, durable=True) as file:
            file.write(self._index.sealed().encode())


def _said(form: AnswerForm, precision: str) -> str:
    kept = "all logits" if form.top_k is None else f"top {form.top_k}"
    return f"{kept}, {'maps' if form.maps else 'no maps'}, {precision}"


def _header(dtype: np.dtype[np.void], n_images: int) -> bytes:
    buffer = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_images,)}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def _in_front(first: bytes, parts: Iterable[np.ndarray]) -> Iterator[bytes]:
    yield first
    for part in parts:
        yield part.tobytes()
