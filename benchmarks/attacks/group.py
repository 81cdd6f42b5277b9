"""A group of mutants: what is damaged, how it is read, and what was read before."""

from __future__ import annotations

import os
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from attacks.mutants import Files, mutated_files
from attacks.outcome import Found

BLOCK = 50
"""Mutants that are made at once. A mutant is known by its group, the seed and its number."""

_WRITTEN_AT = 1_700_000_000


@dataclass(frozen=True)
class Mutant:
    """Something to be read.

    Attributes:
        case: the original that it was made of.
        how: it was damaged.
        files: relative path -> bytes; empty where values are handed over as they are.
        values: that are handed over.
        strict: whether other values may never be read of it, see `judge`.
    """

    case: str
    how: str
    files: Files = field(default_factory=dict)
    values: Any = None
    strict: bool = False


class Group(ABC):
    """Mutants of one kind. A subclass says in `about` what they are.

    Attributes:
        name: of the group, as `--group` takes it.
        about: a line for the table.
        remarks: cases whose library speaks on stderr by itself, in C, where nobody can keep it from that.
        originals: case -> what was read of it before any damage; filled by `prepare`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    remarks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.originals: dict[str, Found] = {}

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Make the originals and read them; called once, before processes are forked.

        Args:
            folder: an empty one of the group's own.
        """

    @abstractmethod
    def block(self, seed: int, number: int) -> Iterator[Mutant]:
        """The `BLOCK` mutants of that number; the same for the same seed."""

    @abstractmethod
    def read(self, mutant: Mutant, folder: Path) -> Found:
        """Read a mutant.

        Args:
            mutant: its files lie in `folder`.
            folder: the current one.
        """


class BytesGroup(Group):
    """Damaged files. A subclass gives `cases` and `found`.

    Attributes:
        strict: cases whose format carries a checksum.
        rarely: files that are seldom chosen for damage.
    """

    strict: ClassVar[frozenset[str] | bool] = False
    rarely: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Files] = {}

    @abstractmethod
    def cases(self, folder: Path) -> dict[str, Files]:
        """Case -> files."""

    @abstractmethod
    def found(self, case: str, folder: Path) -> Found:
        """What is read of a case's files, which lie in the folder."""

    def prepare(self, folder: Path) -> None:
        self.files = self.cases(folder)
        for case, files in self.files.items():
            place = folder / f"original-{case}"
            with laid_out(files, place):
                self.originals[case] = self.found(case, place)

    def block(self, seed: int, number: int) -> Iterator[Mutant]:
        names = sorted(self.files)
        for index in range(number * BLOCK, (number + 1) * BLOCK):
            draw = random.Random(f"{self.name} {seed} {index}")
            case = names[index % len(names)]
            files, how = mutated_files(self.files[case], draw, self.rarely)
            files, how = self.finished(case, files, how, draw)
            strict = self.strict if isinstance(self.strict, bool) else case in self.strict
            yield Mutant(case, how, files, strict=strict)

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        """What a group does beside, such as checksums that fit the damage."""
        return files, how

    def read(self, mutant: Mutant, folder: Path) -> Found:
        return self.found(mutant.case, folder)


class laid_out:  # noqa: N801 - used as a function
    """Within it the files lie in the folder, which is the current one; afterwards it is gone.

    All have the same time, as a disk that decays leaves it.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files, self._folder = files, folder

    def __enter__(self) -> Path:
        self._folder.mkdir(parents=True)
        for name, content in self._files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, (_WRITTEN_AT, _WRITTEN_AT))
        self._before = Path.cwd()
        os.chdir(self._folder)
        return self._folder

    def __exit__(self, *failure: object) -> None:
        os.chdir(self._before)
        shutil.rmtree(self._folder, ignore_errors=True)


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


GROUPS: dict[str, Callable[[], Group]] = {}
"""Name -> what makes the group."""


def group(kind: type[Group]) -> type[Group]:
    """Decorator: make a group known by its name."""
    GROUPS[kind.name] = kind
    return kind
