"""A Sphinx extension: the reference pages, written from the code before the pages are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

REFERENCE = "reference"
"""The folder of generated pages, which git ignores."""

OUTSIDE = {
    "data/README.md": f"{REFERENCE}/data.md",
    "benchmarks/README.md": f"{REFERENCE}/benchmarks.md",
    "CONTRIBUTING.md": f"{REFERENCE}/contributing.md",
    "CHANGELOG.md": f"{REFERENCE}/changelog.md",
}
"""Pages that lie where people look for them in the repository, and where they are on the site."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx asks an extension for its hooks by this name."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", _to_pages_of_the_site)
    return {"parallel_read_safe": True, "version": "1"}


def write_reference(app: Sphinx) -> None:
    """Write docs/reference/ anew."""
    from docs.site import api, commands, outside, recipes, registered

    folder = Path(app.srcdir) / REFERENCE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = {**api.pages(), **commands.pages(), **recipes.pages(), **registered.pages(), **outside.pages(OUTSIDE)}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def _to_pages_of_the_site(app: Sphinx, page: str, source: list[str]) -> None:
    """Links of the pages that GitHub shows, led to the site's copies."""
    depth = page.count("/")
    for path, name in OUTSIDE.items():
        source[0] = source[0].replace(f"]({'../' * (depth + 1)}{path}", f"]({'../' * depth}{name}")
