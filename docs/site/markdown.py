"""Plain text as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]<>|$#{}])")


def plain(text: object) -> str:
    """A text as Markdown that shows it as it is."""
    return _SPECIAL.sub(r"\\\1", str(text))


def code(text: object) -> str:
    """A text in a table's cell, as code."""
    return f"`{str(text).replace('|', chr(92) + '|')}`" if str(text) else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of Markdown as a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)
