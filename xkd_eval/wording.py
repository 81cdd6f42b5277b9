"""How a sentence counts, and lists."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 image", "1,234 images".

    Args:
        number: of them.
        noun: in the singular, of a regular plural.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence has them: "size, mean and std"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
