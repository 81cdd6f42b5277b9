"""Pages of other folders, where people look for them in the repository, as pages of the site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def pages(outside: Mapping[str, str]) -> dict[str, str]:
    """File name -> Markdown, its links led from where the file lies to where the page is.

    Args:
        outside: path in the repository -> page of the site.
    """
    return {PurePosixPath(page).name: _page(path, outside) for path, page in outside.items()}


def _page(path: str, outside: Mapping[str, str]) -> str:
    here = PurePosixPath(path).parent

    def led(link: re.Match[str]) -> str:
        parts: list[str] = []
        for part in (here / link[1]).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        target = outside.get("/".join(parts))
        return f"]({PurePosixPath(target).name}" if target else f"](../{'/'.join(parts).removeprefix('docs/')}"

    return _LINK.sub(led, (ROOT / path).read_text(encoding="utf-8"))
