"""How a sentence says what it has counted."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 image", "1,234 images".

    Args:
        number: of them.
        noun: in the singular, of a regular plural.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
