"""A group of structures: documents of Hypothesis, written as files or handed over."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from attacks.group import BLOCK, Group, Mutant
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.structures import drawn


class ValuesGroup(Group):
    """Mutated structures. A subclass gives `strategy`, `written` and `found`."""

    @abstractmethod
    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        """(case, values, what was changed)."""

    def written(self, case: str, values: Any) -> Files:
        """The files that hold the values; none where they are handed over."""
        return {}

    def is_strict(self, case: str, values: Any) -> bool:
        """Whether other values may never be read."""
        return False

    @abstractmethod
    def found(self, case: str, values: Any, folder: Path) -> Found:
        """What is read of the values, or of their files in the folder."""

    def block(self, seed: int, number: int) -> Iterator[Mutant]:
        start = zlib.crc32(f"{self.name} {seed} {number}".encode())
        for case, values, how in drawn(self.strategy(), start, BLOCK):
            yield Mutant(case, how, self.written(case, values), values, self.is_strict(case, values))

    def read(self, mutant: Mutant, folder: Path) -> Found:
        return self.found(mutant.case, mutant.values, folder)
